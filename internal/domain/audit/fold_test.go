package audit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
)

func refusal(now time.Time, address, action, name string) audit.Event {
	e := audit.NewEvent(now, action, audit.Refused)
	e.Actor, e.Address, e.Reason = audit.Actor{Kind: "nobody", Name: name}, address, "the key has expired"
	return e
}

// folding runs work in a bubble of fake time beside a running Service, which is stopped in peace at the end.
func folding(t *testing.T, work func(t *testing.T, s *audit.Service, m *memory)) *memory {
	t.Helper()
	m, signer := &memory{}, newSigner(t)
	synctest.Test(t, func(t *testing.T) {
		s := &audit.Service{
			Store: m, Signer: signer, Now: time.Now,
			SealEvery: 250 * time.Millisecond, SealBatch: 1000, Folder: audit.NewFolder(time.Minute),
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		work(t, s, m)
		cancel()
		<-done
	})
	return m
}

// counts lists "action count" of all events in the order of the chain.
func counts(m *memory) []string {
	var all []string
	for _, body := range bodies(m) {
		all = append(all, fmt.Sprintf("%s %s %d", body.Address, body.Action, body.Count))
	}
	return all
}

func TestRefuse(t *testing.T) {
	t.Run("makes_one_event_and_one_counted_event_of_a_flood", func(t *testing.T) {
		m := folding(t, func(t *testing.T, s *audit.Service, m *memory) {
			for range 100 {
				if err := s.Refuse(t.Context(), refusal(time.Now(), "192.0.2.1", "login.api_key", "")); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(time.Second)
			if n := m.sealedEvents(); n != 1 {
				t.Errorf("%d events before the minute is over", n)
			}
			time.Sleep(time.Minute)
			if n := m.sealedEvents(); n != 2 {
				t.Errorf("%d events after the minute", n)
			}
		})
		want(t, counts(m), "192.0.2.1 login.api_key 0", "192.0.2.1 login.api_key 99")
	})
	t.Run("keeps_what_they_are_about_apart", func(t *testing.T) {
		m := folding(t, func(t *testing.T, s *audit.Service, _ *memory) {
			for _, provider := range []string{"corp", "other", "corp"} { // one that is down hides no refusal at another
				e := refusal(time.Now(), "192.0.2.1", "login.oidc", "")
				e.Object = audit.Object{Kind: "provider", ID: provider}
				if err := s.Refuse(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		})
		want(t, counts(m), "192.0.2.1 login.oidc 0", "192.0.2.1 login.oidc 0", "192.0.2.1 login.oidc 1")
	})
	t.Run("keeps_addresses_kinds_and_names_apart_but_not_their_case", func(t *testing.T) {
		m := folding(t, func(t *testing.T, s *audit.Service, _ *memory) {
			for _, e := range []audit.Event{
				refusal(time.Now(), "192.0.2.1", "login.password", "ana"), refusal(time.Now(), "192.0.2.1", "login.password", "ANA"),
				refusal(time.Now(), "192.0.2.1", "login.password", "bob"), refusal(time.Now(), "192.0.2.1", "login.api_key", "ana"),
				refusal(time.Now(), "192.0.2.2", "login.password", "ana"),
			} {
				if err := s.Refuse(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		})
		want(t, counts(m),
			"192.0.2.1 login.password 0", "192.0.2.1 login.password 0", "192.0.2.1 login.api_key 0",
			"192.0.2.2 login.password 0", "192.0.2.1 login.password 1")
	})
	t.Run("begins_anew_every_minute", func(t *testing.T) {
		m := folding(t, func(t *testing.T, s *audit.Service, _ *memory) {
			for range 3 {
				if err := s.Refuse(t.Context(), refusal(time.Now(), "192.0.2.1", "login.api_key", "")); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Minute + time.Second)
			}
		})
		want(t, counts(m), "192.0.2.1 login.api_key 0", "192.0.2.1 login.api_key 0", "192.0.2.1 login.api_key 0")
	})
	t.Run("loses_no_count_while_the_store_is_away", func(t *testing.T) {
		m := folding(t, func(t *testing.T, s *audit.Service, m *memory) {
			setAway(m, true)
			for i := range 10 {
				if err := s.Refuse(t.Context(), refusal(time.Now(), "192.0.2.1", "login.api_key", "")); (err != nil) != (i == 0) {
					t.Errorf("refusal %d: %v", i, err)
				}
			}
			time.Sleep(5 * time.Minute)
			setAway(m, false)
		})
		want(t, counts(m), "192.0.2.1 login.api_key 10")
	})
	t.Run("bounds_the_memory_that_strangers_can_occupy", func(t *testing.T) {
		m := folding(t, func(t *testing.T, s *audit.Service, _ *memory) {
			for i := range 10_100 {
				if err := s.Refuse(t.Context(), refusal(time.Now(), fmt.Sprintf("10.0.%d.%d", i/256, i%256), "login.api_key", "")); err != nil {
					t.Error(err)
				}
			}
		})
		all := counts(m)
		if len(all) != 10_002 || all[len(all)-1] != " login.api_key 99" {
			t.Errorf("%d events, the last %q", len(all), all[len(all)-1])
		}
	})
}

func (m *memory) sealedEvents() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.entries)
}

func setAway(m *memory, away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

func bodies(m *memory) []audit.Event {
	var all []audit.Event
	for _, entry := range m.entries {
		var e audit.Event
		if err := json.Unmarshal(entry.Body, &e); err != nil {
			panic(err)
		}
		all = append(all, e)
	}
	return all
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
