package storetest_test

import (
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func serviceKey(name, of string) login.ServiceKey {
	return login.ServiceKey{Name: name, Sealed: []byte("sealed \x00 of " + of), Certificate: []byte("certificate \xff of " + of), Created: start}
}

func TestServiceKeys(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.ServiceKeys{DB: db}, t.Context()
		if _, err := s.ServiceKey(ctx, "saml"); !fault.Is(err, fault.NotFound) {
			t.Errorf("before the first: %v", err)
		}
		one, two := serviceKey("saml", "one"), serviceKey("saml", "two")
		for _, k := range []login.ServiceKey{one, two} {
			if there, err := s.InsertFirstServiceKey(ctx, k, event()); err != nil || !reflect.DeepEqual(there, one) {
				t.Errorf("%+v, %v", there, err)
			}
		}
		if got, err := s.ServiceKey(ctx, "saml"); err != nil || !reflect.DeepEqual(got, one) {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := s.ServiceKey(ctx, "SAML"); !fault.Is(err, fault.NotFound) {
			t.Errorf("another name: %v", err)
		}
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`); n != 1 {
			t.Errorf("%d events: a key that is not kept is not on record", n)
		}
		other := serviceKey("other", "three")
		if there, err := s.InsertFirstServiceKey(ctx, other, event()); err != nil || !reflect.DeepEqual(there, other) {
			t.Errorf("%+v, %v", there, err)
		}
	})
}

func TestServiceKeys_of_nodes_that_make_them_together(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		var there [8]login.ServiceKey
		var all sync.WaitGroup
		for i := range there {
			s := store.ServiceKeys{DB: []*store.DB{one, two}[i%2]}
			all.Go(func() {
				var err error
				if there[i], err = s.InsertFirstServiceKey(t.Context(), serviceKey("saml", fmt.Sprint(i)), event()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, k := range there[1:] {
			if !reflect.DeepEqual(k, there[0]) {
				t.Errorf("%s and %s", k.Sealed, there[0].Sealed)
			}
		}
		if n := storetest.Count(t, one, `SELECT COUNT(*) FROM audit_events`); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}
