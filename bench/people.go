package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/config"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	sessions "github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// password is that of everybody who signs in here. It is no secret.
const password = "not-a-secret-of-anybody"

// person is somebody who signs in.
type person struct{ id, name, email string }

// people makes n users with the same password. One is made as the product does it, the others are copies: a password hash
// each would take longer than what is measured.
func (h *house) people(n int) []person {
	var model identity.User
	h.inside(func(ctx context.Context, in *app.House, by access.Caller) (err error) {
		model, err = in.Users.Add(ctx, in.Access.For(by), identity.New{Name: "model", Email: "model@bench.test", Password: secret.New(password)})
		return err
	})
	db := h.store()
	defer db.Close()
	made, err := fillUsers(db, model.ID, n)
	h.r.must(err, "copy users")
	h.settle()
	return made
}

// basic is the Authorization header by which somebody signs in.
func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

func basics(of []person) []string {
	all := make([]string, len(of))
	for i, p := range of {
		all[i] = basic(p.email, password)
	}
	return all
}

// programs makes n applications and returns the Authorization headers by which they sign in. The first has as many sessions
// already as one may have.
func (h *house) programs(n int) (all []string) {
	h.inside(func(ctx context.Context, in *app.House, by access.Caller) error {
		for i := range n {
			a, plain, err := in.Apps.Create(ctx, in.Access.For(by), identity.NewApplication{Account: identity.DefaultAccount, Name: fmt.Sprintf("program-%d", i)})
			if err != nil {
				return err
			}
			all = append(all, basic(a.ID, plain.Reveal()))
			if i > 0 {
				continue
			}
			busy := access.Caller{Principal: access.Principal{Kind: access.Application, ID: a.ID, Name: a.Name}, Account: a.Account, Method: "app_secret", At: time.Now(), Door: "bench"}
			err = each(in.Sessions.Apps.Limit, func(int) error {
				_, _, err := in.Sessions.Start(ctx, busy, sessions.New{State: sessions.Active})
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return all
}

// tokens begins a session for each of them, without the password, and returns its token.
func (h *house) tokens(of []person) []string {
	all := make([]string, len(of))
	h.inside(func(ctx context.Context, in *app.House, _ access.Caller) error {
		return each(len(of), func(i int) error {
			token, _, err := in.Sessions.Start(ctx, of[i].caller(), sessions.New{State: sessions.Active})
			all[i] = token.Reveal()
			return err
		})
	})
	return all
}

// authenticatorApp is the secret of everybody's authenticator app. It is none.
const authenticatorApp = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

// enrol gives each of them an authenticator app.
func (h *house) enrol(of []person) {
	h.inside(func(ctx context.Context, in *app.House, _ access.Caller) error {
		return each(len(of), func(i int) error {
			_, err := in.Factors.Store.Change(ctx, of[i].id, func(set *factor.Set) (factor.Change, error) {
				set.TOTP = &factor.App{Secret: secret.New(authenticatorApp), Enabled: in.Now()}
				return factor.Change{}, nil
			})
			return err
		})
	})
}

// pending begins sign-ins that wait for the second factor, and returns the tokens of their sessions.
func (h *house) pending(of []person) []string {
	all := make([]string, len(of))
	h.inside(func(ctx context.Context, in *app.House, _ access.Caller) error {
		return each(len(of), func(i int) error {
			token, x, err := in.Sessions.Start(ctx, of[i].caller(), sessions.New{State: sessions.Pending})
			if err != nil {
				return err
			}
			all[i] = token.Reveal()
			_, _, err = in.Factors.Begin(ctx, factor.Conversation{Purpose: factor.SignIn, User: of[i].id, Name: of[i].email, Method: "password", Session: x.ID})
			return err
		})
	})
	return all
}

func (p person) caller() access.Caller {
	return access.Caller{Principal: access.Principal{Kind: access.User, ID: p.id, Name: p.name}, Method: "password", At: time.Now(), Door: "bench"}
}

// each does something n times, some at a time.
func each(n int, do func(i int) error) error {
	var next atomic.Int64
	var first atomic.Value
	var workers sync.WaitGroup
	for range concurrency {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && first.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					first.CompareAndSwap(nil, fmt.Errorf("%w", err))
				}
			}
		})
	}
	workers.Wait()
	err, _ := first.Load().(error)
	return err
}

// inside opens the house's data beside the server, as commands do.
func (h *house) inside(work func(ctx context.Context, in *app.House, by access.Caller) error) {
	c, err := config.Load(nil, h.env, "")
	h.r.must(err, "read settings")
	ctx := context.Background()
	in, err := app.Open(ctx, c, app.Options{Version: "bench", Log: slog.New(slog.DiscardHandler)})
	h.r.must(err, "open data")
	defer in.Close()
	h.r.must(work(ctx, in, access.LocalCaller("bench", time.Now())), "prepare "+h.name)
}
