package session_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// known is what a walk knows of one session, told by the rules of the package comment alone.
type known struct {
	tokens   []secret.String // the last one is good, if the session is
	by       access.Caller
	kind     access.PrincipalKind
	state    session.State
	cookie   bool
	touched  time.Time // at the latest; the service may remember a use up to a grain earlier
	deadline time.Time
	tries    int // wrong proofs in a row
}

// Random walks hold the machine against a plain model: no session before authentication is complete, and nothing
// that ended, expired, was replaced or belongs to somebody disabled opens anything (rules F11, F12 and W11).
func TestSessions_walk_as_the_picture_says(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, ctx := newWorld(), context.Background()
		var all []*known
		disabled := map[string]bool{}
		pick := func(t *rapid.T) *known {
			if len(all) == 0 {
				t.Skip("no session yet")
			}
			return all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
		}
		life := func(k access.PrincipalKind) session.Life {
			if k == access.Application {
				return w.Apps
			}
			return w.Users
		}
		grain := func(k access.PrincipalKind) time.Duration { return min(life(k).Idle/20, time.Minute) }
		alive := func(k *known) bool {
			switch {
			case k.state == session.Terminated, disabled[k.by.ID], !w.clock.Before(k.deadline):
				return false
			case k.state == session.Pending:
				return true
			}
			return w.clock.Before(k.touched.Add(life(k.kind).Idle + grain(k.kind)))
		}
		// unsure is the grain in which both answers are right: a use may have been written, or not yet.
		unsure := func(k *known) bool {
			return alive(k) && k.state != session.Pending && !w.clock.Before(k.touched.Add(life(k.kind).Idle))
		}
		use := func(k *known) {
			if k.state != session.Pending {
				k.touched = w.clock
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"start": func(t *rapid.T) {
				kind := rapid.SampledFrom([]access.PrincipalKind{access.User, access.Application}).Draw(t, "kind")
				id := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "id") + string(kind)
				state := session.Active
				in := session.New{State: state}
				if kind == access.User {
					state = rapid.SampledFrom([]session.State{session.Active, session.Pending, session.EnrolOnly}).Draw(t, "state")
					in = session.New{State: state, Transport: rapid.SampledFrom([]session.Transport{session.Bearer, session.Cookie}).Draw(t, "transport")}
				}
				w.shut[id] = disabled[id]
				token, x, err := w.Start(ctx, w.who(kind, id), in)
				if (err != nil) != disabled[id] {
					t.Fatalf("start: %v, disabled %v", err, disabled[id])
				}
				if err == nil {
					deadline := w.clock.Add(life(kind).Max)
					if state == session.Pending {
						deadline = w.clock.Add(w.Wait)
					}
					all = append(all, &known{[]secret.String{token}, x.Caller(here, "", ""), kind, state, in.Transport == session.Cookie, w.clock, deadline, 0})
				}
			},
			"wait": func(t *rapid.T) {
				w.clock = w.clock.Add(rapid.SampledFrom([]time.Duration{time.Second, 3 * time.Second, time.Minute, 4 * time.Minute, 9 * time.Minute, time.Hour, 23 * time.Hour}).Draw(t, "for"))
			},
			"check": func(t *rapid.T) {
				k := pick(t)
				x, err := w.Check(ctx, k.tokens[len(k.tokens)-1], here)
				if unsure(k) {
					if err == nil {
						use(k)
					} else {
						k.state = session.Terminated
					}
					return
				}
				if (err == nil) != alive(k) {
					t.Fatalf("check: %v, alive %v: %+v", err, alive(k), k)
				}
				if err == nil {
					if x.State != k.state || slices.Contains(x.Caller(here, "", "").Scopes, "*") != (k.state == session.Active) {
						t.Fatalf("state %s, want %s", x.State, k.state)
					}
					use(k)
				}
			},
			"check an old value": func(t *rapid.T) {
				k := pick(t)
				if len(k.tokens) < 2 {
					t.Skip("only one")
				}
				if _, err := w.Check(ctx, k.tokens[len(k.tokens)-2], here); !errors.Is(err, session.ErrInvalid) {
					t.Fatalf("a replaced token: %v", err)
				}
			},
			"complete": func(t *rapid.T) {
				k := pick(t)
				if unsure(k) {
					t.Skip("either way")
				}
				token, x, err := w.Complete(ctx, k.by)
				want := alive(k) && (k.state == session.Pending || k.state == session.EnrolOnly)
				if (err == nil) != want {
					t.Fatalf("complete: %v, want %v: %+v", err, want, k)
				}
				if err == nil {
					k.state, k.touched, k.deadline, k.by = session.Active, w.clock, x.Created.Add(life(k.kind).Max), x.Caller(here, "", "")
					if k.cookie {
						k.tokens = append(k.tokens, token)
					}
				}
			},
			"elevate": func(t *rapid.T) {
				k := pick(t)
				if unsure(k) {
					t.Skip("either way")
				}
				token, _, err := w.Elevate(ctx, k.by, time.Minute)
				want := alive(k) && k.kind == access.User && (k.state == session.Active || k.state == session.EnrolOnly)
				if (err == nil) != want {
					t.Fatalf("elevate: %v, want %v: %+v", err, want, k)
				}
				if err == nil {
					k.tries = 0
				}
				if err == nil && k.cookie {
					k.tokens = append(k.tokens, token)
				}
			},
			"unlock or enrol": func(t *rapid.T) {
				k := pick(t)
				if unsure(k) {
					t.Skip("either way")
				}
				enrol := rapid.Bool().Draw(t, "enrol")
				raise := func() (secret.String, session.Session, error) { return w.Unlock(ctx, k.by, time.Minute) }
				if enrol {
					raise = func() (secret.String, session.Session, error) { return w.Enrolled(ctx, k.by, true) }
				}
				token, _, err := raise()
				want := alive(k) && k.kind == access.User && (k.state == session.Active || k.state == session.EnrolOnly)
				if (err == nil) != want {
					t.Fatalf("unlock or enrol: %v, want %v: %+v", err, want, k)
				}
				if err == nil && k.cookie {
					k.tokens = append(k.tokens, token)
				}
				if err == nil && !enrol {
					k.tries = 0
				}
				if err == nil && enrol {
					k.state, k.touched = session.Active, w.clock
				}
			},
			"prove something wrong": func(t *rapid.T) {
				k := pick(t)
				if unsure(k) {
					t.Skip("either way")
				}
				ended, err := w.Miss(ctx, k.by, 3)
				if (err == nil) != alive(k) {
					t.Fatalf("miss: %v, alive %v: %+v", err, alive(k), k)
				}
				if err != nil {
					return
				}
				if k.tries++; ended != (k.tries >= 3) {
					t.Fatalf("the try %d of 3 ended it: %v", k.tries, ended)
				}
				if ended {
					k.state = session.Terminated
				}
			},
			"reauth": func(t *rapid.T) {
				k := pick(t)
				if unsure(k) {
					t.Skip("either way")
				}
				token, x, err := w.Reauth(ctx, k.by, "")
				want := alive(k) && k.kind == access.Application && k.state == session.Active
				if (err == nil) != want {
					t.Fatalf("reauth: %v, want %v: %+v", err, want, k)
				}
				if err == nil {
					all = append(all, &known{[]secret.String{token}, x.Caller(here, "", ""), k.kind, session.Active, false, w.clock, k.deadline, 0})
				}
			},
			"terminate": func(t *rapid.T) {
				k := pick(t)
				if err := w.Terminate(ctx, k.by); err != nil {
					t.Fatal(err)
				}
				k.state = session.Terminated
			},
			"disable or enable": func(t *rapid.T) {
				k := pick(t)
				disabled[k.by.ID] = !disabled[k.by.ID]
				w.shut[k.by.ID] = disabled[k.by.ID]
				w.ForgetPrincipal(k.by.ID)
			},
		})
	})
}
