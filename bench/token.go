package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gatehouse-project/gatehouse/bench/load"
	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
)

// Calls of an API that an HTTP access token opens. The first tells everybody the same, so it is the check alone.
const (
	settingsPath = "/rest/ssh/latest/settings"
	ownKeysPath  = "/rest/ssh/latest/keys"
)

func measureToken(r *run) section {
	database := r.postgres()
	var all, real []*checks
	for _, c := range []checks{{house: r.open(nil, nil), target: 20000}, {house: r.open(&database, nil), target: 15000}} {
		tokens := c.house.httpTokens(c.house.people(sitting))
		alone, whole := c, c
		alone.ask = load.Requests{Method: http.MethodGet, Path: settingsPath, Authorize: tokens, Want: http.StatusOK}
		whole.ask = load.Requests{Method: http.MethodGet, Path: ownKeysPath, Authorize: tokens, Want: http.StatusOK}
		all, real = append(all, &alone), append(real, &whole)
	}
	for round := range r.rounds {
		for i := range all {
			all[i].measure(r, round, r.lasting/4)
			real[i].measure(r, round, r.lasting/5)
		}
	}
	s := section{Note: fmt.Sprintf("`GET %s` checks the personal HTTP access token of a Bearer and then tells everybody the same: it is the check alone. `GET %s` reads the SSH keys of the caller, "+
		"who has none, from the database after it. Both over %d connections that stay open, with the tokens of %d people in turns. A good token is believed for two seconds, so here nearly every check is "+
		"answered from memory. The tail is that of a paced load, counted from when each request was due.", settingsPath, ownKeysPath, concurrency, sitting)}
	s.checks("HTTP token check", all, true)
	s.checks("SSH keys of a token's owner", real, false)
	return s
}

// httpTokens makes a personal token for each of them, and returns the Authorization headers.
func (h *house) httpTokens(of []person) []string {
	all := make([]string, len(of))
	h.inside(func(ctx context.Context, in *app.House, _ access.Caller) error {
		return each(len(of), func(i int) error {
			by := of[i].caller()
			by.Scopes = []access.Action{"*"}
			plain, _, err := in.HTTPTokens.Issue(ctx, by, token.OfUser(of[i].id), token.Draft{Name: "bench", Permissions: []token.Permission{token.RepoRead}})
			all[i] = "Bearer " + plain.Reveal()
			return err
		})
	})
	return all
}
