package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// window is a stream on a ledger, inside a synctest bubble.
type window struct {
	*testing.T
	*webhook.Stream
	ledger *ledger
	over   error // what is wrong with everybody's session
}

func follow(t *testing.T, test func(w *window)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &window{T: t, ledger: &ledger{roles: map[string]access.Role{"ann": access.Admin}}}
		w.Stream = &webhook.Stream{
			Chain: w.ledger, Access: &access.Service{Store: w.ledger}, Living: func(context.Context, access.Caller) error { return w.over },
			Look: 2 * time.Second, Beat: 15 * time.Second, PerUser: 2,
		}
		w.Start()
		test(w)
	})
}

func (w *window) tail(who string, after int64, types ...string) *webhook.Tail {
	w.Helper()
	t, err := w.Follow(w.Context(), user(who), types, after)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(t.Close)
	return t
}

// next is what the follower gets next, as "position type" each.
func (w *window) next(t *webhook.Tail) string {
	w.Helper()
	events, err := t.Next(w.Context())
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, e := range events {
		_, rest, _ := strings.Cut(string(e.Body), `{"type":"`)
		kind, _, _ := strings.Cut(rest, `"`)
		all = append(all, fmt.Sprint(e.Position, " ", kind))
	}
	return strings.Join(all, ", ")
}

func (w *window) want(what, got, want string) {
	w.Helper()
	if got != want {
		w.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestStream_tells_what_happens(t *testing.T) {
	follow(t, func(w *window) {
		w.ledger.seal("session.start", "")
		tail := w.tail("ann", webhook.FromEnd)
		began := time.Now()
		go func() {
			time.Sleep(time.Second)
			w.ledger.seal("session.end", "")
			w.ledger.seal("token.issue", "")
			w.Wake()
		}()
		w.want("next", w.next(tail), "2 session.end, 3 token.issue")
		w.want("at once", time.Since(began).String(), "1s")
		w.want("then", w.next(tail), "")
		w.want("after a while", time.Since(began).String(), "16s")
	})
}

// Whoever was away gets what happened meanwhile, in order and once.
func TestStream_resumes(t *testing.T) {
	follow(t, func(w *window) {
		for range 600 {
			w.ledger.seal("token.issue", "")
		}
		w.ledger.seal("session.start", "")
		w.want("of what is asked for", w.next(w.tail("ann", 2, "session.*")), "601 session.start")
		events, err := w.tail("ann", 2).Next(w.Context())
		if err != nil || len(events) != 256 || events[0].Position != 3 || events[255].Position != 258 {
			w.Errorf("%d events, %v", len(events), err)
		}
	})
}

func TestStream_does_not_wait_for_a_position_of_another_chain(t *testing.T) {
	follow(t, func(w *window) {
		w.ledger.seal("session.start", "")
		tail := w.tail("ann", 1000)
		w.ledger.seal("session.end", "")
		w.want("next", w.next(tail), "2 session.end")
	})
}

// Without the right to read all events one gets those of one's own sign-ins, and no others.
func TestStream_tells_everybody_of_their_own_sign_ins(t *testing.T) {
	follow(t, func(w *window) {
		tail := w.tail("bob", webhook.FromEnd)
		w.ledger.seal("session.start", "ann")
		w.ledger.seal("session.start", "bob")
		w.ledger.seal("token.issue", "")
		w.want("next", w.next(tail), "2 session.start")
		w.want("then", w.next(tail), "")
		if _, err := w.Follow(w.Context(), access.NobodyAt(user("x").Address, "test", time.Now()), nil, 0); !fault.Is(err, fault.Denied) {
			w.Errorf("nobody: %v", err)
		}
	})
}

func TestStream_ends_with_the_right(t *testing.T) {
	follow(t, func(w *window) {
		tail, began := w.tail("ann", webhook.FromEnd), time.Now()
		go func() {
			time.Sleep(time.Second)
			w.ledger.mu.Lock()
			w.ledger.roles["ann"] = ""
			w.ledger.mu.Unlock()
		}()
		_, err := tail.Next(w.Context())
		if took := time.Since(began); !errors.Is(err, webhook.ErrNoRight) || took > 2*time.Second {
			w.Errorf("%v after %v", err, took)
		}
	})
}

func TestStream_ends_with_the_session_even_when_there_is_always_something_to_tell(t *testing.T) {
	follow(t, func(w *window) {
		over := fault.New(fault.Unauthenticated, "the session is over")
		began := time.Now()
		tail := w.tail("ann", webhook.FromEnd)
		for n := 0; ; n++ {
			w.ledger.seal("session.start", "")
			if _, err := tail.Next(w.Context()); err != nil {
				if took := time.Since(began); !errors.Is(err, over) || took > 5*time.Second {
					w.Errorf("%v after %v", err, took)
				}
				break
			}
			if n == 10 {
				w.over = over
			}
			time.Sleep(100 * time.Millisecond)
		}
		if _, err := w.Follow(w.Context(), user("ann"), nil, 0); !errors.Is(err, over) {
			w.Errorf("another one: %v", err)
		}
	})
}

func TestStream_is_open_a_few_times_at_once(t *testing.T) {
	follow(t, func(w *window) {
		first := w.tail("ann", 0)
		w.tail("ann", 0)
		w.tail("bob", 0)
		if _, err := w.Follow(w.Context(), user("ann"), nil, 0); !fault.Is(err, fault.Limited) {
			w.Errorf("a third: %v", err)
		}
		first.Close()
		third, err := w.Follow(w.Context(), user("ann"), nil, 0)
		if err != nil || w.Open() != 3 {
			w.Fatalf("%v with %d open", err, w.Open())
		}
		third.Close()
	})
}

func TestStream_stops_with_the_server(t *testing.T) {
	follow(t, func(w *window) {
		tail := w.tail("ann", webhook.FromEnd)
		go func() {
			time.Sleep(time.Second)
			w.Stop()
			w.Stop()
		}()
		if _, err := tail.Next(w.Context()); !errors.Is(err, webhook.ErrStopped) {
			w.Error(err)
		}
		if _, err := w.tail("bob", 0).Next(w.Context()); !errors.Is(err, webhook.ErrStopped) {
			w.Errorf("one who comes later: %v", err)
		}
	})
}

func TestStream_ends_with_its_client(t *testing.T) {
	follow(t, func(w *window) {
		ctx, cancel := context.WithCancel(w.Context())
		tail := w.tail("ann", webhook.FromEnd)
		go func() { time.Sleep(time.Second); cancel() }()
		if _, err := tail.Next(ctx); !errors.Is(err, context.Canceled) {
			w.Error(err)
		}
	})
}

func TestStream_refuses_patterns_that_are_none(t *testing.T) {
	follow(t, func(w *window) {
		if _, err := w.Follow(w.Context(), user("ann"), webhook.Patterns{"session*"}, 0); !fault.Is(err, fault.Invalid) {
			w.Error(err)
		}
	})
}
