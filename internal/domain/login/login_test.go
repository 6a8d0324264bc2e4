package login_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// tokens, failures and events are what the rooms below keep, as far as a login needs it.
type tokens struct {
	token.Store
	one  token.Token
	used []token.Use
	err  error
}

func (s *tokens) ByDigest(_ context.Context, digest [32]byte) (token.Token, error) {
	if s.err != nil {
		return token.Token{}, s.err
	}
	if s.one.Digest != digest {
		return token.Token{}, token.ErrUnknown
	}
	return s.one, nil
}

func (s *tokens) MarkUsed(_ context.Context, uses []token.Use) error {
	s.used = append(s.used, uses...)
	return nil
}

type failures struct {
	rows map[string]guard.Counter
	err  error
}

func (s *failures) Count(_ context.Context, key string, decide func(guard.Counter, bool) guard.Counter) (guard.Counter, error) {
	if s.err != nil {
		return guard.Counter{}, s.err
	}
	row, found := s.rows[key]
	s.rows[key] = decide(row, found)
	return s.rows[key], nil
}

func (s *failures) Sweep(context.Context, time.Time) error { return nil }

type events struct {
	audit.Store
	mu  sync.Mutex
	all []audit.Event
	err error
}

func (s *events) Append(_ context.Context, more ...audit.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.all = append(s.all, more...)
	return nil
}

func (s *events) SealNext(context.Context, int, func(audit.Seal, []audit.Hash) (audit.Seal, []audit.Hash)) (int, error) {
	return 0, nil
}

type world struct {
	*login.Service
	now      time.Time
	tokens   *tokens
	failures *failures
	events   *events
	plain    secret.String
}

func newWorld() *world {
	w := &world{
		now: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC), plain: token.NewAPIKey(),
		tokens: &tokens{}, failures: &failures{rows: map[string]guard.Counter{}}, events: &events{},
	}
	clock := func() time.Time { return w.now }
	w.tokens.one = token.Token{
		ID: "t1", Kind: token.APIKey, Name: "ci", Project: "p1", Digest: secret.Digest(w.plain.Reveal()),
		Created: w.now, Expires: w.now.Add(time.Hour),
	}
	w.Service = &login.Service{
		Tokens:   &token.Service{Store: w.tokens, Now: clock, UsedEvery: time.Hour},
		Failures: &guard.Failures{Store: w.failures, Now: clock, Threshold: 20, Window: time.Minute},
		Audit:    &audit.Service{Store: w.events, Now: clock, SealEvery: time.Hour, SealBatch: 1000, Folder: audit.NewFolder(time.Minute)},
		Now:      clock,
	}
	return w
}

func presented(key secret.String) login.Presented {
	return login.Presented{
		Kind: login.APIKey, Secret: key, Address: netip.MustParseAddr("192.0.2.1"), Door: "sshverify",
		Accepts: []login.Kind{login.APIKey}, Request: "r1",
	}
}

// stop lets the loops below write what they hold.
func (w *world) stop() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w.Tokens.Run(ctx)
	w.Audit.Run(ctx)
}

func TestAuthenticate_makes_a_caller_of_a_good_key(t *testing.T) {
	t.Parallel()
	w := newWorld()
	by, err := w.Authenticate(context.Background(), presented(w.plain))
	if err != nil {
		t.Fatal(err)
	}
	if by.Principal != (access.Principal{Kind: access.APIKey, ID: "t1", Name: "ci"}) || by.Method != "api_key" || !by.At.Equal(w.now) ||
		by.Limit.ID != "p1" || by.Limit.Kind != access.ProjectKind || by.Door != "sshverify" || by.Request != "r1" || by.Address.String() != "192.0.2.1" {
		t.Errorf("%+v", by)
	}
	rights := &access.Service{Now: func() time.Time { return w.now }}
	for do, want := range map[access.Action]bool{
		access.KeyproofCreate: true, access.KeyproofWebhook: true, access.AuthInfo: true,
		access.TokenIssue: false, access.TokenRead: false, access.ProjectRead: false, access.AccessGrant: false, access.DeliveryRead: false,
	} {
		inside, _ := rights.Decide(context.Background(), by, do, access.Within("p1", "x", "y"))
		outside, _ := rights.Decide(context.Background(), by, do, access.Within("p2", "x", "y"))
		if inside.Allowed != want || outside.Allowed {
			t.Errorf("%s: inside %v, outside %v", do, inside.Allowed, outside.Allowed)
		}
	}
	w.stop()
	if len(w.tokens.used) != 1 || w.tokens.used[0] != (token.Use{ID: "t1", At: w.now, Address: "192.0.2.1"}) {
		t.Errorf("used %+v", w.tokens.used)
	}
	if len(w.events.all) != 0 || len(w.failures.rows) != 0 {
		t.Errorf("a good key left events %+v and failures %+v", w.events.all, w.failures.rows)
	}
}

func TestAuthenticate_refuses_with_one_answer_and_records_the_true_reason(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(*world)
		present func(*world) secret.String
		reason  string
		object  string
		project string
	}{
		"missing":   {nil, func(*world) secret.String { return secret.String{} }, "no key was sent", "", ""},
		"malformed": {nil, func(*world) secret.String { return secret.New("gate_x") }, "it is not spelled like an API key", "", ""},
		"unknown":   {nil, func(*world) secret.String { return token.NewAPIKey() }, "there is no such key", "", ""},
		"expired":   {func(w *world) { w.now = w.now.Add(time.Hour) }, nil, "the key has expired", "t1", "p1"},
		"revoked":   {func(w *world) { w.tokens.one.Revoked = w.now }, nil, "the key was revoked", "t1", "p1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			key := w.plain
			if c.present != nil {
				key = c.present(w)
			}
			if c.change != nil {
				c.change(w)
			}
			by, err := w.Authenticate(context.Background(), presented(key))
			if !fault.Is(err, fault.Unauthenticated) || fault.Text(err) != "Missing, unknown or expired API key" || by.Kind != "" || by.Scopes != nil {
				t.Errorf("%+v, %v", by, err)
			}
			if len(w.events.all) != 1 {
				t.Fatalf("%d events", len(w.events.all))
			}
			e := w.events.all[0]
			if e.Action != "login.api_key" || e.Outcome != audit.Refused || e.Reason != c.reason || e.Object.ID != c.object || e.Object.Kind != "api_key" ||
				e.Project != c.project || e.Address != "192.0.2.1" || e.Door != "sshverify" || e.Actor.Kind != "nobody" {
				t.Errorf("%s", e.Body())
			}
			w.stop()
			if len(w.tokens.used) != 0 {
				t.Errorf("counted as used: %+v", w.tokens.used)
			}
		})
	}
}

func TestAuthenticate_folds_a_flood_into_two_events_of_each_kind(t *testing.T) {
	t.Parallel()
	w := newWorld()
	refused, limited := 0, 0
	for range 100 {
		_, err := w.Authenticate(context.Background(), presented(token.NewAPIKey()))
		var blocked *login.Blocked
		switch {
		case errors.As(err, &blocked):
			limited++
			if !errors.Is(err, login.ErrBlocked) || !fault.Is(err, fault.Limited) || fault.Text(err) != "Too many failed attempts from this address" || blocked.RetryAfter != time.Minute {
				t.Fatalf("%v after %v", err, blocked.RetryAfter)
			}
		case fault.Is(err, fault.Unauthenticated):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if refused != 20 || limited != 80 {
		t.Errorf("%d refused, %d limited", refused, limited)
	}
	if by, err := w.Authenticate(context.Background(), presented(w.plain)); err != nil || by.ID != "t1" {
		t.Errorf("a good key from the blocked address: %v", err)
	}
	w.stop()
	var got []string
	for _, e := range w.events.all {
		got = append(got, fmt.Sprintf("%s %d", e.Action, e.Count))
		if e.Reason != "there is no such key" {
			t.Errorf("reason %q", e.Reason)
		}
	}
	slices.Sort(got)
	if want := []string{"login.api_key 0", "login.api_key 19", "login.limited 0", "login.limited 79"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestAuthenticate_opens_no_door_with_what_it_does_not_accept(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*login.Presented){
		"a door that takes nothing":   func(p *login.Presented) { p.Accepts = nil },
		"a door that takes something": func(p *login.Presented) { p.Accepts = []login.Kind{"cookie"} },
		"a kind that nobody knows":    func(p *login.Presented) { p.Kind = "cookie"; p.Accepts = []login.Kind{"cookie"} },
		"no kind":                     func(p *login.Presented) { p.Kind = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			p := presented(w.plain)
			change(&p)
			if by, err := w.Authenticate(context.Background(), p); !errors.Is(err, login.ErrNotAccepted) || !fault.Is(err, fault.Unauthenticated) || by.Kind != "" {
				t.Errorf("%+v, %v", by, err)
			}
			if len(w.events.all) != 1 {
				t.Errorf("%d events", len(w.events.all))
			}
		})
	}
}

func TestAuthenticate_when_something_is_away(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	t.Run("the_tokens", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.tokens.err = away
		if _, err := w.Authenticate(context.Background(), presented(w.plain)); !fault.Is(err, fault.Internal) || len(w.failures.rows) != 0 {
			t.Errorf("%v, failures %+v", err, w.failures.rows)
		}
	})
	t.Run("the_counters", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.failures.err = away
		if _, err := w.Authenticate(context.Background(), presented(token.NewAPIKey())); !errors.Is(err, away) {
			t.Error(err)
		}
	})
	t.Run("the_audit_log_is_told_to_the_log_and_not_to_the_caller", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.events.err = away
		_, err := w.Authenticate(context.Background(), presented(token.NewAPIKey()))
		if !errors.Is(err, away) || !fault.Is(err, fault.Unauthenticated) || fault.Text(err) != token.ErrUnknownKey.Text {
			t.Error(err)
		}
	})
}

func TestAuthenticate_keeps_the_key_out_of_what_is_recorded_and_said(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.tokens.one.Revoked = w.now
	_, err := w.Authenticate(context.Background(), presented(w.plain))
	recorded, _ := json.Marshal(w.events.all)
	everything := fmt.Sprintf("%v %+v %s %+v", err, presented(w.plain), recorded, w.tokens.one)
	for i := 5; i+8 <= 43; i++ {
		if part := w.plain.Reveal()[i : i+8]; strings.Contains(everything, part) {
			t.Fatalf("%q is in %s", part, everything)
		}
	}
}
