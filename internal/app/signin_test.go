package app_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/config"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// clock is turned by tests.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

const phrase = "the first administrator's phrase"

var from = netip.MustParseAddr("192.0.2.1")

// serve runs a server on an empty data directory until the test ends.
func serve(t *testing.T) (*app.Server, config.Config, *clock) {
	t.Helper()
	c, err := config.Load(map[string]string{"data": t.TempDir() + "/data", "http": "127.0.0.1:0", "ssh": "127.0.0.1:0"},
		[]string{"GATEHOUSE_ADMIN_PASSWORD=" + phrase}, "")
	if err != nil {
		t.Fatal(err)
	}
	turned := &clock{now: time.Now()}
	options := app.Options{Version: "test", Log: slog.New(slog.DiscardHandler), Now: turned.Now}
	h, err := app.Migrate(t.Context(), c, options)
	if err != nil {
		t.Fatal(err)
	}
	s, err := h.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		h.Close()
	})
	return s, c, turned
}

func signIn(t *testing.T, h *app.House, name string) login.Signed {
	t.Helper()
	p := login.Presented{Kind: login.Password, Name: name, Secret: secret.New(phrase), Address: from, Door: "test", Accepts: []login.Kind{login.Password}}
	in, err := h.Login.SignIn(t.Context(), p, login.Begin{})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func check(t *testing.T, h *app.House, in login.Signed) error {
	t.Helper()
	_, err := h.Login.Authenticate(t.Context(), login.Presented{Kind: login.Session, Secret: in.Token, Address: from, Door: "test", Accepts: []login.Kind{login.Session}})
	return err
}

// What is ended on a node is refused there at once, and what another process ends within two seconds, told or not (rules F12 and S14).
func TestSessions_end_here_at_once_and_elsewhere_soon(t *testing.T) {
	t.Parallel()
	s, c, turned := serve(t)
	ctx, local := t.Context(), access.LocalCaller("test", turned.Now())
	as := s.Access.For(local)
	if _, err := s.Users.Add(ctx, as, identity.New{Name: "dana", Email: "dana@example.test", Password: secret.New(phrase)}); err != nil {
		t.Fatal(err)
	}

	in := signIn(t, s.House, "dana")
	if err := check(t, s.House, in); err != nil {
		t.Fatal(err)
	}
	if err := s.Users.SetDisabled(ctx, as, in.Caller.ID, true); err != nil {
		t.Fatal(err)
	}
	if err := check(t, s.House, in); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("disabled here: %v", err)
	}
	if err := s.Users.SetDisabled(ctx, as, in.Caller.ID, false); err != nil {
		t.Fatal(err)
	}
	if err := check(t, s.House, in); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("came back to life: %v", err)
	}

	in = signIn(t, s.House, "DANA@example.test")
	if err := check(t, s.House, in); err != nil {
		t.Fatal(err)
	}
	other, err := app.Open(ctx, c, app.Options{Version: "test", Log: slog.New(slog.DiscardHandler), Now: turned.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Sessions.End(ctx, local, in.Session.ID); err != nil {
		t.Fatal(err)
	}
	turned.turn(2 * time.Second)
	if err := check(t, s.House, in); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("ended elsewhere: %v", err)
	}
}

// The first administrator is a member of the first account, and administers it.
func TestFirst_administrator(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t)
	in := signIn(t, s.House, "admin")
	mine, err := s.Accounts.Mine(t.Context(), s.Access.For(in.Caller))
	if err != nil || len(mine) != 1 || mine[0].Account.Name != identity.DefaultAccountName || mine[0].Member.Role != identity.Administrator {
		t.Fatalf("%+v, %v", mine, err)
	}
	if err := s.Sessions.Select(t.Context(), in.Caller, mine[0].Account.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Apps.Create(t.Context(), s.Access.For(in.Caller), identity.NewApplication{Account: mine[0].Account.ID, Name: "ci"}); err != nil {
		t.Fatal(err)
	}
}
