package storetest_test

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func addProgram(t *testing.T, db *store.DB, name string) identity.Application {
	t.Helper()
	a := identity.Application{
		ID: newID(), Account: identity.DefaultAccount, Name: name, AuthType: identity.BySecret, Creator: identity.Creator{Kind: "user", ID: "u"}, Created: start, Updated: start,
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}
	must(t, store.Applications{DB: db}.Insert(t.Context(), a, secret.String{}, start, event()))
	return a
}

func addAuthorization(t *testing.T, db *store.DB, of identity.Application, name string) identity.Authorization {
	t.Helper()
	a := identity.Authorization{
		ID: newID(), Application: of.ID, Name: name, ClientID: strings.Repeat("a", 40-len(name)) + name, Digest: [32]byte{1, 2, 3}, Enabled: true, Expires: start.Add(time.Hour),
		Resources: []string{identity.PAMCore}, Writes: true, Addresses: identity.AnyAddress(), Referrers: []string{"tools.example.test"}, AutoPick: true,
		Ancestors: []string{"https://tools.example.test"}, Created: start, Updated: start, ApplicationName: of.Name, Account: of.Account, Within: of.Addresses,
	}
	must(t, store.Authorizations{DB: db}.Insert(t.Context(), a, event()))
	return a
}

func TestAuthorizations(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Authorizations{DB: db}, t.Context()
		billing := addProgram(t, db, "billing")
		one, two := addAuthorization(t, db, billing, "one"), addAuthorization(t, db, billing, "two")
		other := addAuthorization(t, db, addProgram(t, db, "other"), "three")

		if got, err := s.ByID(ctx, one.ID); err != nil || !reflect.DeepEqual(got, one) {
			t.Errorf("by id %+v, %v; want %+v", got, err, one)
		}
		if got, err := s.ByClient(ctx, two.ClientID); err != nil || got.ID != two.ID {
			t.Errorf("by client %+v, %v", got, err)
		}
		_, err := s.ByClient(ctx, strings.ToUpper(two.ClientID))
		wantErr(t, err, identity.ErrNoAuthorization)
		_, err = s.ByID(ctx, newID())
		wantErr(t, err, identity.ErrNoAuthorization)
		lone := one
		lone.ID, lone.ClientID, lone.Application = newID(), strings.Repeat("b", 40), newID()
		wantErr(t, s.Insert(ctx, lone, event()), identity.ErrNoApplication)

		if all, err := s.All(ctx, ""); err != nil || len(all) != 3 {
			t.Errorf("all: %d, %v", len(all), err)
		}
		if all, err := s.All(ctx, billing.ID); err != nil || len(all) != 2 || all[0].ID != one.ID || all[1].ID != two.ID {
			t.Errorf("of billing: %+v, %v", all, err)
		}
		is, err := s.Change(ctx, one.ID, func(a identity.Authorization) (identity.Authorization, error) {
			a.Enabled, a.Expires, a.Resources, a.Addresses, a.Name = false, time.Time{}, nil, nil, "renamed"
			return a, nil
		}, event())
		if got, errGot := s.ByID(ctx, one.ID); err != nil || errGot != nil || got.Enabled || !got.Expires.IsZero() || len(got.Resources)+len(got.Addresses) > 0 || got.Name != "renamed" || is.Name != got.Name {
			t.Errorf("changed to %+v, %v, %v", got, err, errGot)
		}
		_, err = s.Change(ctx, newID(), func(a identity.Authorization) (identity.Authorization, error) { return a, nil }, event())
		wantErr(t, err, identity.ErrNoAuthorization)
		_, err = s.Change(ctx, one.ID, func(a identity.Authorization) (identity.Authorization, error) { return a, errRefused }, event())
		wantErr(t, err, errRefused)

		// What an application was allowed goes with it.
		must(t, giveAuthorization(t, db, two.ID))
		must(t, store.Applications{DB: db}.Delete(ctx, billing.ID, event()))
		_, err = s.ByID(ctx, two.ID)
		wantErr(t, err, identity.ErrNoAuthorization)
		if held, err := (store.Bindings{DB: db}).BindingsOf(ctx, access.Subject{Kind: access.Authorization, ID: two.ID}); err != nil || len(held) > 0 {
			t.Errorf("still holds %v, %v", held, err)
		}
		if all, err := s.All(ctx, ""); err != nil || len(all) != 1 || all[0].ID != other.ID {
			t.Errorf("left: %+v, %v", all, err)
		}
	})
}

var errRefused = errors.New("refused")

func giveAuthorization(t *testing.T, db *store.DB, authorization string) error {
	t.Helper()
	return store.Bindings{DB: db}.Grant(t.Context(), access.Binding{
		ID: newID(), Subject: access.Subject{Kind: access.Authorization, ID: authorization}, Role: access.DeviceListed, Resource: access.Every(access.DeviceKind), Created: start,
	}, event())
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func TestAuthorizationTokens(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, db, node *store.DB) {
		s, ctx := store.Authorizations{DB: db}, t.Context()
		a := addAuthorization(t, db, addProgram(t, db, "billing"), "one")
		issue := func(s store.Authorizations, text string, at time.Time, most int) error {
			return s.InsertToken(ctx, identity.AuthorizationToken{Digest: secret.Digest(text), Authorization: a.ID, Created: at, Expires: at.Add(time.Hour)}, at.Add(-time.Minute), most, event())
		}
		must(t, issue(s, "first", start, 10))
		if got, err := s.ByToken(ctx, secret.Digest("first"), start); err != nil || got.ID != a.ID {
			t.Errorf("%+v, %v", got, err)
		}
		_, err := s.ByToken(ctx, secret.Digest("second"), start)
		wantErr(t, err, identity.ErrNoAuthorization)
		_, err = s.ByToken(ctx, secret.Digest("first"), start.Add(time.Hour)) // rule W11: at its end it is over
		wantErr(t, err, identity.ErrNoAuthorization)
		wantErr(t, s.InsertToken(ctx, identity.AuthorizationToken{Digest: secret.Digest("x"), Authorization: newID(), Created: start, Expires: start}, start, 1, event()), identity.ErrNoAuthorization)

		// Of two nodes that issue the last one that a minute allows, one does.
		var wait sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wait.Go(func() {
				on := []*store.DB{db, node}[i%2]
				errs[i] = issue(store.Authorizations{DB: on}, "race"+string(rune('a'+i)), start.Add(time.Second), 4)
			})
		}
		wait.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else {
				wantErr(t, err, identity.ErrTooManyTokens)
			}
		}
		if made != 3 {
			t.Errorf("%d made beside the one that was there, want 3", made)
		}
		must(t, issue(s, "later", start.Add(2*time.Minute), 4))

		must(t, s.Sweep(ctx, start.Add(time.Hour+time.Second), start.Add(-time.Hour)))
		if _, err := s.ByToken(ctx, secret.Digest("later"), start); err != nil {
			t.Errorf("the sweep took one that is good: %v", err)
		}
		_, err = s.ByToken(ctx, secret.Digest("first"), start)
		wantErr(t, err, identity.ErrNoAuthorization)
	})
}

func TestAuthorizationCalls(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Authorizations{DB: db}, t.Context()
		var all []identity.Call
		for i := range 5 {
			c := identity.Call{
				ID: newID(), At: start.Add(time.Duration(i) * time.Minute), Client: "c", Name: "billing/one", Address: "192.0.2.1", Resource: identity.PAMCore, Event: "device.read", Method: "GET",
				Path: "/api/device", Status: 200 + i, Error: "", Node: "node-1", Took: 1500 * time.Microsecond,
			}
			must(t, s.AddCall(ctx, c))
			all = append([]identity.Call{c}, all...)
		}
		p, err := s.Calls(ctx, page.Behind("", 3))
		if err != nil || !reflect.DeepEqual(p.Items, all[:3]) || !p.HasMore() {
			t.Fatalf("%+v, %v", p, err)
		}
		p, err = s.Calls(ctx, page.Behind(p.Next, 3))
		if err != nil || !reflect.DeepEqual(p.Items, all[3:]) || p.HasMore() {
			t.Errorf("%+v, %v", p, err)
		}
		must(t, s.Sweep(ctx, start, start.Add(2*time.Minute)))
		if p, err = s.Calls(ctx, page.Behind("", 10)); err != nil || len(p.Items) != 3 {
			t.Errorf("%d left, %v", len(p.Items), err)
		}
	})
}
