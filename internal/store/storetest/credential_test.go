package storetest_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func credentialOf(d device.Device, username string) vault.Credential {
	return vault.Credential{ID: newID(), Identifier: newID(), Device: d, Username: username, Kind: vault.Password, Type: vault.LocalUser, Created: start, Updated: start}
}

func addCredential(t *testing.T, db *store.DB, d device.Device, username, password string) vault.Credential {
	t.Helper()
	c := credentialOf(d, username)
	c.HasSecret = password != ""
	c, err := store.Credentials{DB: db, Sealer: newSealer(t)}.Insert(t.Context(), c, secret.New(password), nil, event())
	must(t, err)
	return c
}

func anEvent(vault.Credential) audit.Event { return event() }

func changed(_, _ vault.Credential, _ bool) audit.Event { return event() }

func letsGo(vault.Credential) error { return nil }

func TestCredentials(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Credentials{DB: db, Sealer: newSealer(t)}
		d := addTarget(t, db, "web-01", "10.0.0.1")
		must(t, store.Devices{DB: db}.AddDomain(ctx, "CORP", start, event()))
		authorization := access.Subject{Kind: access.Authorization, ID: newID()}
		c := credentialOf(d, "svc web")
		c.Type, c.Domain, c.Additional, c.Tags, c.Parent = vault.DomainUser, "corp", "two\nlines", []string{"a", "ü"}, 7
		c.Protocols, c.RemoteApp, c.Extra, c.NeverShown, c.Exclusive, c.HasSecret = &[]device.Protocol{device.SSH}, true, map[string]any{"macros": []any{"x"}, "n": 1.5}, true, true, true
		listed := access.Binding{ID: newID(), Subject: authorization, Role: access.CredentialListed, Resource: c.Resource(), Created: start}
		c, err := s.Insert(ctx, c, secret.New("pass wörd"), []access.Binding{listed}, event())
		must(t, err)
		if c.Number != 1 || c.Domain != "CORP" || c.Device.Host != "web-01" {
			t.Errorf("%+v", c)
		}
		if bindings, err := (store.Bindings{DB: db}).BindingsOf(ctx, authorization); err != nil || len(bindings) != 1 || bindings[0].Role != access.CredentialListed {
			t.Errorf("%+v, %v", bindings, err)
		}
		for what, find := range map[string]func() (vault.Credential, error){
			"id":         func() (vault.Credential, error) { return s.ByID(ctx, c.ID) },
			"number":     func() (vault.Credential, error) { return s.ByNumber(ctx, 1) },
			"identifier": func() (vault.Credential, error) { return s.ByIdentifier(ctx, c.Identifier) },
		} {
			got, err := find()
			must(t, err)
			same(t, "credential by "+what, got, c)
		}
		is(t, second(s.ByID(ctx, "gone")), vault.ErrUnknown)
		is(t, second(s.ByNumber(ctx, 2)), vault.ErrUnknown)
		is(t, second(s.ByIdentifier(ctx, strings.ToUpper(c.Identifier)+"X")), vault.ErrUnknown)

		// One user name may be there again in another domain, or with a key; not as the same once more.
		for _, kind := range []vault.Kind{vault.Password, vault.SSHKey} {
			other := credentialOf(d, "svc web")
			other.Kind = kind
			_, err = s.Insert(ctx, other, secret.String{}, nil, event())
			must(t, err)
		}
		twice := credentialOf(d, "svc web")
		_, err = s.Insert(ctx, twice, secret.String{}, nil, event())
		is(t, err, vault.ErrTaken)
		twice.Username, twice.Identifier = "other", c.Identifier
		_, err = s.Insert(ctx, twice, secret.String{}, nil, event())
		is(t, err, vault.ErrTaken)
		twice.Identifier, twice.Domain = newID(), "nowhere"
		_, err = s.Insert(ctx, twice, secret.String{}, nil, event())
		is(t, err, device.ErrUnknownDomain)
		twice.Domain, twice.Device.ID = "", "gone"
		_, err = s.Insert(ctx, twice, secret.String{}, nil, event())
		is(t, err, device.ErrUnknown)
		all, err := s.OfDevice(ctx, d.ID)
		if err != nil || len(all) != 3 || all[0].ID != c.ID {
			t.Errorf("%v, %v", all, err)
		}
	})
}

// Nobody who reads the database reads a secret, and one that is moved to another row opens nothing.
func TestCredentials_secrets_are_sealed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Credentials{DB: db, Sealer: newSealer(t)}
		d := addTarget(t, db, "web-01", "10.0.0.1")
		root, empty := addCredentialWith(t, s, d, "root", "s3cret-of-root"), addCredentialWith(t, s, d, "empty", "")
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM credentials WHERE CAST(secret AS TEXT) LIKE '%s3cret%'`); n != 0 {
			t.Error("the secret lies in the database")
		}
		used := start.Add(time.Hour)
		c, plain, err := s.Secret(ctx, root.ID, used, letsGo, anEvent)
		if err != nil || plain.Reveal() != "s3cret-of-root" || !c.LastUsed.Equal(used) {
			t.Errorf("%v, %v", c.LastUsed, err)
		}
		if c, err = s.ByID(ctx, root.ID); err != nil || !c.LastUsed.Equal(used) || c.NeedsRotation {
			t.Errorf("%+v, %v", c, err)
		}
		_, _, err = s.Secret(ctx, empty.ID, used, letsGo, anEvent)
		is(t, err, vault.ErrNoSecret)
		_, _, err = s.Secret(ctx, "gone", used, letsGo, anEvent)
		is(t, err, vault.ErrUnknown)
		events, mine := countEvents(t, db), errors.New("mine")
		_, plain, err = s.Secret(ctx, root.ID, used, func(vault.Credential) error { return mine }, anEvent)
		is(t, err, mine)
		if !plain.Empty() || countEvents(t, db) != events {
			t.Error("what was refused was given, or recorded")
		}
		storetest.Write(t, db, `UPDATE credentials SET secret = (SELECT secret FROM credentials WHERE username = 'root') WHERE username = 'empty'`)
		if _, plain, err := s.Secret(ctx, empty.ID, used, letsGo, anEvent); err == nil || !plain.Empty() {
			t.Error("a secret opens in another row")
		}
	})
}

func addCredentialWith(t *testing.T, s store.Credentials, d device.Device, username, password string) vault.Credential {
	t.Helper()
	c := credentialOf(d, username)
	c.HasSecret = password != ""
	c, err := s.Insert(t.Context(), c, secret.New(password), nil, event())
	must(t, err)
	return c
}

func TestCredentials_Change(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Credentials{DB: db, Sealer: newSealer(t)}
		d := addTarget(t, db, "web-01", "10.0.0.1")
		root, other := addCredentialWith(t, s, d, "root", "old"), addCredentialWith(t, s, d, "other", "")
		live := liveSession(t, db, "active", d.ID, d.ID, root.ID)
		to := func(id, fresh string, to func(*vault.Credential)) (vault.Credential, bool, error) {
			return s.Change(ctx, id, secret.New(fresh), func(c vault.Credential) (vault.Credential, error) {
				to(&c)
				return c, nil
			}, changed)
		}
		nothing := func(*vault.Credential) {}
		events := countEvents(t, db)
		for _, fresh := range []string{"", "old"} {
			if _, changed, err := to(root.ID, fresh, func(c *vault.Credential) { c.Updated = start.Add(time.Hour) }); err != nil || changed || countEvents(t, db) != events {
				t.Errorf("with %q as secret: %v, %v, %d events", fresh, changed, err, countEvents(t, db)-events)
			}
		}
		storetest.Write(t, db, `UPDATE credentials SET needs_rotation = TRUE`)
		c, changedIt, err := to(root.ID, "new", nothing)
		if err != nil || !changedIt || c.NeedsRotation {
			t.Errorf("%v, %v, %v: another secret is the rotation that was needed", changedIt, c.NeedsRotation, err)
		}
		if _, plain, err := s.Secret(ctx, root.ID, start, letsGo, anEvent); err != nil || plain.Reveal() != "new" {
			t.Errorf("%v", err)
		}
		if c, changedIt, err = to(other.ID, "first", nothing); err != nil || !changedIt || !c.HasSecret {
			t.Errorf("%v, %v, %v", changedIt, c.HasSecret, err)
		}
		_, _, err = to(other.ID, "", func(c *vault.Credential) { c.Username = "root" })
		is(t, err, vault.ErrTaken)
		_, _, err = to(other.ID, "", func(c *vault.Credential) { c.Domain = "nowhere" })
		is(t, err, device.ErrUnknownDomain)
		_, _, err = to("gone", "", nothing)
		is(t, err, vault.ErrUnknown)

		c, _, err = to(root.ID, "", func(c *vault.Credential) {
			c.Username, c.Identifier, c.Additional, c.Tags, c.Parent = "toor", "toor.1", "a", []string{"t"}, 3
			c.Protocols, c.RemoteApp, c.Extra, c.NeverShown, c.Exclusive, c.Updated = &[]device.Protocol{}, true, map[string]any{"a": "b"}, true, true, start.Add(time.Hour)
		})
		must(t, err)
		got, err := s.ByIdentifier(ctx, "toor.1")
		must(t, err)
		got.LastUsed = c.LastUsed
		same(t, "credential", got, c)
		if endAsked(t, db, live) {
			t.Error("a session ended although the credential is active")
		}
		_, _, err = to(root.ID, "", func(c *vault.Credential) { c.Disabled = true })
		must(t, err)
		if !endAsked(t, db, live) {
			t.Error("a session goes on with a credential that is switched off")
		}
	})
}

func TestCredentials_List(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Credentials{DB: db, Sealer: newSealer(t)}
		one, two := addTarget(t, db, "one", "10.0.0.1"), addTarget(t, db, "two", "10.0.0.2")
		a, _, c := addCredentialWith(t, s, one, "a", ""), addCredentialWith(t, s, one, "b", ""), addCredentialWith(t, s, two, "c", "")
		for _, x := range []struct {
			all          bool
			ids, devices []string
			want         string
		}{
			{true, nil, nil, "a b c"}, {false, nil, nil, ""}, {false, []string{c.ID, a.ID}, nil, "a c"}, {false, nil, []string{one.ID}, "a b"}, {false, []string{c.ID}, []string{one.ID, "gone"}, "a b c"},
		} {
			got := walk(t, func(w page.Window) (page.Page[vault.Credential], error) {
				return s.List(ctx, x.all, x.ids, x.devices, w)
			}, func(c vault.Credential) string { return c.Username })
			p, err := s.List(ctx, x.all, x.ids, x.devices, page.Of(0, 100))
			if err != nil || strings.Join(got, " ") != x.want || p.Total != int64(len(got)) {
				t.Errorf("%v, %d in all, want %s, %v", got, p.Total, x.want, err)
			}
		}
	})
}

func custodyOf(c vault.Credential, holder string, taken time.Time) vault.Custody {
	return vault.Custody{Credential: c.ID, Holder: access.Subject{Kind: access.Authorization, ID: holder}, Taken: taken, Until: taken.Add(time.Hour)}
}

func TestCredentials_custody(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Credentials{DB: db, Sealer: newSealer(t)}
		d := addTarget(t, db, "web-01", "10.0.0.1")
		root, empty := addCredentialWith(t, s, d, "root", "pw"), addCredentialWith(t, s, d, "empty", "")
		take := func(c vault.Custody) (string, error) {
			_, plain, err := s.Take(ctx, c, letsGo, anEvent)
			return plain.Reveal(), err
		}
		first := custodyOf(root, "first", start)
		if pw, err := take(first); err != nil || pw != "pw" {
			t.Fatalf("%q, %v", pw, err)
		}
		if pw, err := take(custodyOf(empty, "first", start)); err != nil || pw != "" {
			t.Errorf("one without a secret: %q, %v", pw, err)
		}
		if c, err := s.ByID(ctx, root.ID); err != nil || !c.NeedsRotation {
			t.Errorf("%v, %v", c.NeedsRotation, err)
		}
		must(t, second(take(custodyOf(root, "second", start.Add(time.Minute))))) // it is not exclusive
		_, _, err := s.Change(ctx, root.ID, secret.String{}, func(c vault.Credential) (vault.Credential, error) {
			c.Exclusive = true
			return c, nil
		}, changed)
		must(t, err)

		events := countEvents(t, db)
		_, err = take(custodyOf(root, "third", start.Add(2*time.Minute)))
		is(t, err, vault.ErrHeld)
		if countEvents(t, db) != events {
			t.Error("a refusal was recorded as a check-out")
		}
		holder := access.Subject{Kind: access.Authorization, ID: "second"}
		must(t, s.Release(ctx, root.ID, holder, start.Add(2*time.Minute), event()))
		is(t, s.Release(ctx, root.ID, holder, start.Add(2*time.Minute), event()), vault.ErrNotHeld)
		is(t, s.Release(ctx, root.ID, access.Subject{Kind: access.User, ID: "first"}, start, event()), vault.ErrNotHeld)

		again := custodyOf(root, "first", start.Add(30*time.Minute)) // the same holder renews
		must(t, second(take(again)))
		held, err := s.Custodies(ctx, root.ID, start.Add(80*time.Minute))
		if err != nil || len(held) != 1 {
			t.Fatalf("%v, %v", held, err)
		}
		same(t, "custody", held[0], again)

		// What is over holds nothing, swept or not.
		late := again.Until
		is(t, s.Release(ctx, root.ID, first.Holder, late, event()), vault.ErrNotHeld)
		must(t, second(take(custodyOf(root, "third", late))))
		_, err = take(custodyOf(root, "first", late))
		is(t, err, vault.ErrHeld)
		if _, _, err := s.Take(ctx, custodyOf(vault.Credential{ID: "gone"}, "first", start), letsGo, anEvent); !errors.Is(err, vault.ErrUnknown) {
			t.Errorf("%v", err)
		}
		mine := errors.New("mine")
		_, _, err = s.Take(ctx, custodyOf(root, "third", late), func(vault.Credential) error { return mine }, anEvent)
		is(t, err, mine)
	})
}

func TestCredentials_custody_that_is_over(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Credentials{DB: db, Sealer: newSealer(t)}
		d := addTarget(t, db, "web-01", "10.0.0.1")
		root := addCredentialWith(t, s, d, "root", "pw")
		for _, holder := range []string{"a", "b", "c"} {
			_, _, err := s.Take(ctx, custodyOf(root, holder, start), letsGo, anEvent)
			must(t, err)
		}
		_, _, err := s.Take(ctx, custodyOf(root, "later", start.Add(time.Minute)), letsGo, anEvent)
		must(t, err)
		storetest.Write(t, db, `UPDATE credentials SET needs_rotation = FALSE`)
		var of []string
		expire := func(now time.Time, limit int) int {
			n, err := s.Expire(ctx, now, limit, func(c vault.Custody) audit.Event {
				of = append(of, c.Holder.ID)
				return event()
			})
			must(t, err)
			return n
		}
		events := countEvents(t, db)
		if n := expire(start.Add(time.Hour-time.Microsecond), 10); n != 0 {
			t.Errorf("%d ended too soon", n)
		}
		for _, want := range []int{2, 1, 0} {
			if n := expire(start.Add(time.Hour), 2); n != want {
				t.Errorf("%d ended, want %d", n, want)
			}
		}
		if strings.Join(of, " ") != "a b c" || countEvents(t, db) != events+3 {
			t.Errorf("%v, %d events", of, countEvents(t, db)-events)
		}
		if c, err := s.ByID(ctx, root.ID); err != nil || !c.NeedsRotation {
			t.Errorf("%v, %v", c.NeedsRotation, err)
		}
	})
}

// Of many who take an exclusive credential at a time, on two nodes, exactly one gets it.
func TestCredentials_exclusive_custody_at_a_time(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		sealer := newSealer(t)
		s := store.Credentials{DB: one, Sealer: sealer}
		d := addTarget(t, one, "web-01", "10.0.0.1")
		for _, username := range []string{"a", "b", "c"} {
			c := credentialOf(d, username)
			c.Exclusive, c.HasSecret = true, true
			c, err := s.Insert(t.Context(), c, secret.New("pw"), nil, event())
			must(t, err)
			errs := make([]error, 8)
			var all sync.WaitGroup
			for i := range errs {
				on := store.Credentials{DB: []*store.DB{one, two}[i%2], Sealer: sealer}
				all.Go(func() {
					_, _, errs[i] = on.Take(context.WithoutCancel(t.Context()), custodyOf(c, string(rune('a'+i)), start), letsGo, anEvent)
				})
			}
			all.Wait()
			got := 0
			for _, err := range errs {
				if err == nil {
					got++
				} else if !errors.Is(err, vault.ErrHeld) {
					t.Errorf("%v", err)
				}
			}
			if held, err := s.Custodies(t.Context(), c.ID, start); err != nil || got != 1 || len(held) != 1 {
				t.Errorf("%d got it, %d hold it, %v", got, len(held), err)
			}
		}
	})
}
