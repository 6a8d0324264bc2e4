package login_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/recent"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// accesses keeps one HTTP access token.
type accesses struct {
	token.AccessStore
	one  token.Access
	used []recent.Use
	err  error
}

func (s *accesses) Insert(_ context.Context, t token.Access, _ int, _ audit.Event) error {
	s.one = t
	return nil
}

func (s *accesses) ByHandle(_ context.Context, handle string) (token.Access, error) {
	if s.err == nil && s.one.Handle != handle {
		return token.Access{}, token.ErrNoAccess
	}
	t := s.one
	if t.Personal() {
		t.UserName, t.UserEmail = "Dana", "Dana.Reyes@example.test"
	}
	return t, s.err
}

func (s *accesses) MarkUsed(_ context.Context, uses []recent.Use) error {
	s.used = append(s.used, uses...)
	return nil
}

// withToken gives a world one token of a scope.
func withToken(t *testing.T, scope access.Resource) (*world, *accesses, login.Presented) {
	t.Helper()
	w, s := newWorld(), &accesses{}
	clock := func() time.Time { return w.now }
	w.HTTPTokens = &token.Accesses{
		Store: s, Access: &access.Service{Now: clock}, Now: clock, NewID: func() string { return "a1" }, UsedEvery: time.Hour, FreshFor: time.Minute, MaxPerScope: 1,
	}
	by := access.Caller{Principal: access.Principal{Kind: access.User, ID: "dana", Name: "Dana"}, At: w.now, Scopes: []access.Action{"*"}}
	if scope.Kind != access.UserKind {
		by = access.LocalCaller("root", w.now)
	}
	plain, _, err := w.HTTPTokens.Issue(t.Context(), by, scope, token.Draft{Name: "ci", Permissions: []token.Permission{token.RepoRead}})
	if err != nil {
		t.Fatal(err)
	}
	return w, s, login.Presented{
		Kind: login.HTTPToken, Secret: plain, Address: netip.MustParseAddr("192.0.2.1"), Door: "git", Accepts: []login.Kind{login.Session, login.HTTPToken}, Request: "r1",
	}
}

// Rule W6: one token gives one caller by every way that a door takes it, and nothing by the others.
func TestAuthenticate_takes_an_access_token(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scope  access.Resource
		change func(*login.Presented)
		reason string // "" is let in
	}{
		"personal":                         {token.OfUser("dana"), nil, ""},
		"without the prefix":               {token.OfUser("dana"), func(p *login.Presented) { p.Secret = secret.New(strings.TrimPrefix(p.Secret.Reveal(), "BBDC-")) }, ""},
		"as a password, with the name":     {token.OfUser("dana"), func(p *login.Presented) { p.Name, p.Basic = "Dana", login.BasicREST }, ""},
		"as a password, with the slug":     {token.OfUser("dana"), func(p *login.Presented) { p.Name, p.Basic = "dana", login.BasicElsewhere }, ""},
		"as a password, with the e-mail":   {token.OfUser("dana"), func(p *login.Presented) { p.Name, p.Basic = "dana.reyes@EXAMPLE.test", login.BasicREST }, ""},
		"as a password, another's name":    {token.OfUser("dana"), func(p *login.Presented) { p.Name, p.Basic = "eve", login.BasicREST }, "the access token belongs to somebody else than was named"},
		"as a password, another's e-mail":  {token.OfUser("dana"), func(p *login.Presented) { p.Name = "dana@example.test" }, "the access token belongs to somebody else than was named"},
		"as a password, without a name":    {token.OfUser("dana"), func(p *login.Presented) { p.Basic = login.BasicREST }, "the access token belongs to somebody else than was named"},
		"as a password, no name at all":    {token.OfUser("dana"), func(p *login.Presented) { p.Name = "\x00" }, "the access token belongs to somebody else than was named"},
		"a project's":                      {access.Project("ops"), nil, ""},
		"a project's, as a password":       {access.Project("ops"), func(p *login.Presented) { p.Name, p.Basic = "x", login.BasicREST }, "an access token of a project or repository came in the place of a password"},
		"a repository's":                   {access.Repo("ops", "infra"), nil, ""},
		"a repository's, without any name": {access.Repo("ops", "infra"), func(p *login.Presented) { p.Basic = login.BasicElsewhere }, "an access token of a project or repository came in the place of a password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s, p := withToken(t, c.scope)
			if c.change != nil {
				c.change(&p)
			}
			by, err := w.Authenticate(t.Context(), p)
			stop(w)
			if c.reason != "" {
				if !errors.Is(err, token.ErrBadAccess) || by.Kind != "" || len(s.used) != 0 {
					t.Errorf("%+v, %v, used %+v", by, err, s.used)
				}
				e := w.events.all[0]
				if len(w.events.all) != 1 || e.Action != "login.http_token" || e.Reason != c.reason || e.Object.ID != "a1" || e.Outcome != audit.Refused || e.Door != "git" {
					t.Errorf("%s", e.Body())
				}
				return
			}
			kind, id := access.ServiceIdentity, "a1"
			if c.scope.Kind == access.UserKind {
				kind, id = access.User, "dana"
			}
			if err != nil || by.Kind != kind || by.ID != id || by.Credential != "a1" || by.Method != "http_token" || by.Door != "git" || by.Request != "r1" || by.Address != p.Address || len(w.events.all) != 0 {
				t.Errorf("%+v, %v", by, err)
			}
			if len(s.used) != 1 || s.used[0].ID != "a1" || s.used[0].Door != "git" || s.used[0].Address != "192.0.2.1" {
				t.Errorf("used %+v", s.used)
			}
		})
	}
}

// stop lets the loop of a world's tokens write what it holds.
func stop(w *world) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w.HTTPTokens.Run(ctx)
}

func TestAuthenticate_counts_bad_access_tokens_by_address(t *testing.T) {
	t.Parallel()
	w, s, good := withToken(t, token.OfUser("dana"))
	bad := good
	bad.Secret = secret.New("BBDC-" + strings.Repeat("A", 44))
	for i := range 30 {
		_, err := w.Authenticate(t.Context(), bad)
		if limited := errors.Is(err, login.ErrBlocked); limited != (i >= 20) || !limited && !errors.Is(err, token.ErrBadAccess) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if _, err := w.Authenticate(t.Context(), good); err != nil {
		t.Errorf("a good token from the blocked address: %v", err)
	}
	if len(w.failures.rows) != 1 { // and under no name: nobody is locked out by them
		t.Errorf("%+v", w.failures.rows)
	}
	s.err = errors.New("away")
	if _, err := w.Authenticate(t.Context(), good); !fault.Is(err, fault.Internal) {
		t.Error(err)
	}
	good.Accepts = []login.Kind{login.Session, login.Password}
	if _, err := w.Authenticate(t.Context(), good); !errors.Is(err, login.ErrNotAccepted) && !errors.Is(err, login.ErrBlocked) {
		t.Errorf("at a door that takes none: %v", err)
	}
	if _, err := w.SignIn(t.Context(), good, login.Begin{}); err == nil {
		t.Error("a token began a session")
	}
}
