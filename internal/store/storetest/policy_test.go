package storetest_test

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Policies{DB: db}, t.Context()
		sso, err := s.SSO(ctx)
		must(t, err)
		basic, err := s.Basic(ctx)
		must(t, err)
		if !reflect.DeepEqual(sso, policy.SSO{}) || !reflect.DeepEqual(basic, policy.Basic{}) {
			t.Errorf("before any change: %+v, %+v", sso, basic)
		}

		hidden := policy.SSO{HideForm: true, Fallback: true, Extra: map[string]string{"cron": `0 0 * * * ? "ü"`}, Version: 1, Updated: start}
		blocked := policy.Basic{Block: true, Paths: []string{"/rest/*"}, Users: []string{"robot-*", "ünal"}, Warn: true, Version: 1, Updated: start.Add(time.Second)}
		must(t, s.ChangeSSO(ctx, 0, hidden, event()))
		must(t, s.ChangeBasic(ctx, 0, blocked, event()))
		same := func() {
			t.Helper()
			if sso, err := s.SSO(ctx); err != nil || !reflect.DeepEqual(sso, hidden) {
				t.Errorf("%+v, %v", sso, err)
			}
			if basic, err := s.Basic(ctx); err != nil || !reflect.DeepEqual(basic, blocked) {
				t.Errorf("%+v, %v", basic, err)
			}
		}
		same()

		events := countEvents(t, db)
		for _, was := range []int64{0, 2, -1} { // nobody's version, one to come
			is(t, s.ChangeSSO(ctx, was, policy.SSO{}, event()), policy.ErrOvertaken)
			is(t, s.ChangeBasic(ctx, was, policy.Basic{}, event()), policy.ErrOvertaken)
		}
		same()
		if n := countEvents(t, db); n != events {
			t.Errorf("%d events of changes that were not made", n-events)
		}

		blocked.Block, blocked.Paths, blocked.Version, blocked.Updated = false, nil, 2, start.Add(time.Hour)
		must(t, s.ChangeBasic(ctx, 1, blocked, event()))
		same()
		if n := countEvents(t, db); n != events+1 {
			t.Errorf("%d events", n-events)
		}
	})
}

// Of many who change the same version exactly one does, also where there is none yet, and what it chose stays.
func TestPolicies_let_exactly_one_change_a_version(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		for was := range int64(3) {
			var wait sync.WaitGroup
			outcomes := make([]error, 8)
			for i := range outcomes {
				wait.Go(func() {
					s := store.Policies{DB: []*store.DB{one, two}[i%2]}
					outcomes[i] = s.ChangeBasic(t.Context(), was, policy.Basic{Users: []string{string(rune('a' + i))}, Version: was + 1, Updated: start}, event())
				})
			}
			wait.Wait()
			got, err := store.Policies{DB: one}.Basic(t.Context())
			must(t, err)
			won := 0
			for i, err := range outcomes {
				switch {
				case err == nil && got.Users[0] == string(rune('a'+i)):
					won++
				case !errors.Is(err, policy.ErrOvertaken):
					t.Errorf("version %d: %v", was, err)
				}
			}
			if won != 1 || got.Version != was+1 {
				t.Errorf("version %d: %d have changed it, and it is %+v", was, won, got)
			}
		}
	})
}

func TestPolicies_tell_every_node(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var heard sync.Map // a notice may come twice: from this handle at once, and over the database
		listening := make(chan struct{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- db.Listen(ctx, func(payload string) { heard.Store(payload, true) }, sync.OnceFunc(func() { close(listening) }))
		}()
		<-listening
		s := store.Policies{DB: db}
		for _, change := range []func(was int64, e audit.Event) error{
			func(was int64, e audit.Event) error { return s.ChangeSSO(ctx, was, policy.SSO{HideForm: true}, e) },
			func(was int64, e audit.Event) error { return s.ChangeBasic(ctx, was, policy.Basic{Block: true}, e) },
		} {
			must(t, change(0, event()))
			if _, ok := heard.Load("policy"); !ok {
				t.Error("the change was done before its notice was heard")
			}
			heard.Clear()
		}
		stop()
		must(t, <-ended)
	})
}

func countEvents(t *testing.T, db *store.DB) int64 {
	t.Helper()
	var n int64
	must(t, db.Read(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		n, err = store.One(ctx, tx, store.Value[int64], `SELECT COUNT(*) FROM audit_events`)
		return err
	}))
	return n
}
