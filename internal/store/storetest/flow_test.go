package storetest_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func flowOf(p identity.Provider, name string) login.Flow {
	return login.Flow{
		ID: newID(), Provider: p.ID, State: secret.New("state " + name), Browser: secret.New("browser " + name), Nonce: secret.New("nonce " + name),
		Verifier: secret.New("verifier " + name), Target: "/" + name, Created: start, Expires: start.Add(10 * time.Minute),
	}
}

func plain(f login.Flow) string {
	return f.ID + f.Provider + f.State.Reveal() + f.Browser.Reveal() + f.Nonce.Reveal() + f.Verifier.Reveal() + f.Finish.Reveal() + f.Target + f.Created.String() + f.Expires.String() + f.Visitor.Subject
}

func TestFlows(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		seal := sealer(t)
		s, ctx, now, over := store.Flows{DB: db, Sealer: seal}, t.Context(), start.Add(time.Minute), start.Add(10*time.Minute)
		p := addProvider(t, store.Providers{DB: db, Sealer: seal}, "corp")
		one, two := flowOf(p, "one"), flowOf(p, "two")
		two.Browser = secret.String{}
		must(t, s.Insert(ctx, one))
		must(t, s.Insert(ctx, two))
		for _, f := range []login.Flow{one, two} {
			if got, err := s.ByState(ctx, f.State.Reveal(), now); err != nil || plain(got) != plain(f) {
				t.Errorf("%+v, %v", got, err)
			}
			_, err := s.ByState(ctx, f.State.Reveal(), over)
			is(t, err, login.ErrNoFlow) // rule W11
		}
		for _, state := range []string{"", "state", "STATE ONE", "state %"} {
			_, err := s.ByState(ctx, state, now)
			is(t, err, login.ErrNoFlow)
		}
		orphan := flowOf(identity.Provider{ID: "nobody"}, "orphan")
		is(t, s.Insert(ctx, orphan), identity.ErrNoProvider)

		t.Run("have_one_code_at_most", func(t *testing.T) {
			_, err := s.ByCode(ctx, "", now)
			is(t, err, login.ErrNoFlow)
			if got, err := s.TieCode(ctx, "state two", "code", now); err != nil || plain(got) != plain(two) {
				t.Errorf("%+v, %v", got, err)
			}
			_, err = s.TieCode(ctx, "state two", "code", now)
			must(t, err) // somebody reloads the page
			_, err = s.TieCode(ctx, "state two", "another", now)
			is(t, err, login.ErrNoFlow)
			_, err = s.TieCode(ctx, "state one", "code", now)
			is(t, err, login.ErrNoFlow)
			_, err = s.TieCode(ctx, "state one", "late", over)
			is(t, err, login.ErrNoFlow)
			_, err = s.TieCode(ctx, "state none", "code2", now)
			is(t, err, login.ErrNoFlow)
			if got, err := s.ByCode(ctx, "code", now); err != nil || plain(got) != plain(two) {
				t.Errorf("%+v, %v", got, err)
			}
			_, err = s.ByCode(ctx, "code", over)
			is(t, err, login.ErrNoFlow)
		})
		t.Run("wait_for_the_browser_that_began_them", func(t *testing.T) {
			answered := one
			answered.Finish, answered.Visitor.Subject, answered.Expires = secret.New("finish"), "dana", now.Add(2*time.Minute)
			must(t, s.Answered(ctx, answered, now))
			is(t, s.Answered(ctx, answered, now), login.ErrNoFlow)
			_, err := s.ByState(ctx, "state one", now)
			is(t, err, login.ErrNoFlow)
			_, err = s.Take(ctx, one.ID, now)
			is(t, err, login.ErrNoFlow)
			_, err = s.TieCode(ctx, "state one", "code3", now)
			is(t, err, login.ErrNoFlow)
			for _, wrong := range [][2]string{{"finish", "browser two"}, {"finish", ""}, {"", "browser one"}, {"other", "browser one"}} {
				_, err := s.TakeFinished(ctx, wrong[0], wrong[1], now)
				is(t, err, login.ErrNoFlow)
			}
			_, err = s.TakeFinished(ctx, "finish", "browser one", now.Add(2*time.Minute))
			is(t, err, login.ErrNoFlow)
			if got, err := s.TakeFinished(ctx, "finish", "browser one", now); err != nil || plain(got) != plain(answered) {
				t.Errorf("%+v, %v", got, err)
			}
			_, err = s.TakeFinished(ctx, "finish", "browser one", now)
			is(t, err, login.ErrNoFlow)
		})
		t.Run("are_swept_when_they_are_over", func(t *testing.T) {
			must(t, s.Sweep(ctx, over))
			if n := storetest.Count(t, db, `SELECT COUNT(*) FROM login_flows`); n != 1 {
				t.Errorf("%d are left", n)
			}
			must(t, s.Sweep(ctx, over.Add(time.Second)))
			if n := storetest.Count(t, db, `SELECT COUNT(*) FROM login_flows`); n != 0 {
				t.Errorf("%d are left", n)
			}
		})
	})
}

// Of many that finish the same flow at the same moment, on whatever nodes, one does (rules F2 and F5).
func TestFlows_are_taken_once(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		seal, ctx, now := sealer(t), context.Background(), start.Add(time.Minute)
		nodes := []store.Flows{{DB: one, Sealer: seal}, {DB: two, Sealer: seal}}
		p := addProvider(t, store.Providers{DB: one, Sealer: seal}, "corp")
		once := func(what string, try func(store.Flows, int) error) {
			t.Helper()
			var won atomic.Int32
			var wg sync.WaitGroup
			for i := range 12 {
				wg.Go(func() {
					switch err := try(nodes[i%2], i); {
					case err == nil:
						won.Add(1)
					case !errors.Is(err, login.ErrNoFlow):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Errorf("%s: %d did", what, won.Load())
			}
		}
		taken, tied, answered := flowOf(p, "taken"), flowOf(p, "tied"), flowOf(p, "answered")
		for _, f := range []login.Flow{taken, tied, answered} {
			must(t, nodes[0].Insert(ctx, f))
		}
		once("take", func(s store.Flows, _ int) error {
			_, err := s.Take(ctx, taken.ID, now)
			return err
		})
		once("tie", func(s store.Flows, i int) error {
			_, err := s.TieCode(ctx, "state tied", string(rune('a'+i)), now)
			return err
		})
		answered.Finish = secret.New("finish")
		once("answer", func(s store.Flows, _ int) error { return s.Answered(ctx, answered, now) })
		once("finish", func(s store.Flows, _ int) error {
			_, err := s.TakeFinished(ctx, "finish", "browser answered", now)
			return err
		})
	})
}
