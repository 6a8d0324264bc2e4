package storetest_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func target(host, ip string) device.Device {
	return device.Device{ID: newID(), Host: host, IP: netip.MustParseAddr(ip), Created: start, Updated: start}
}

func addTarget(t *testing.T, db *store.DB, host, ip string) device.Device {
	t.Helper()
	d, err := store.Devices{DB: db}.Insert(t.Context(), target(host, ip), nil, event())
	must(t, err)
	return d
}

// changing is a device.Store's Change with one event.
func changing(t *testing.T, db *store.DB, id string, to func(*device.Device)) (device.Device, bool, error) {
	t.Helper()
	return store.Devices{DB: db}.Change(t.Context(), id, func(d device.Device) (device.Device, error) {
		to(&d)
		return d, nil
	}, func(_, _ device.Device) audit.Event { return event() })
}

func TestDevices(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Devices{DB: db}
		must(t, s.AddDomain(ctx, "Corp.Example.net", start, event()))
		authorization := access.Subject{Kind: access.Authorization, ID: newID()}
		d := target("Web-01.Example.net", "10.2.0.11")
		d.Model, d.Type, d.Vendor, d.Site, d.Script, d.Unrecorded = "m", "server", "v", "größer", "Telnet:login:\"$USER\"", true
		d.Domains, d.Tags, d.Connect = []string{"corp.example.NET"}, []string{"a", "b"}, []device.Connectivity{{Name: "SSH", Port: 22}, {Name: "HTTPS", Port: 8443}}
		listed := access.Binding{ID: newID(), Subject: authorization, Role: access.DeviceListed, Resource: d.Resource(), Created: start}
		d, err := s.Insert(ctx, d, []access.Binding{listed}, event())
		must(t, err)
		if d.Number != 1 || d.Domains[0] != "Corp.Example.net" {
			t.Errorf("number %d, domains %v: a domain is written as it was registered", d.Number, d.Domains)
		}
		if bindings, err := (store.Bindings{DB: db}).BindingsOf(ctx, authorization); err != nil || len(bindings) != 1 || bindings[0].Role != access.DeviceListed || bindings[0].Resource.ID != d.ID {
			t.Errorf("%+v, %v", bindings, err)
		}

		for what, find := range map[string]func() (device.Device, error){
			"id":     func() (device.Device, error) { return s.ByID(ctx, d.ID) },
			"number": func() (device.Device, error) { return s.ByNumber(ctx, 1) },
			"host":   func() (device.Device, error) { return s.ByHost(ctx, "WEB-01.example.NET") },
		} {
			got, err := find()
			must(t, err)
			same(t, "device by "+what, got, d)
		}
		is(t, second(s.ByID(ctx, "gone")), device.ErrUnknown)
		is(t, second(s.ByNumber(ctx, 2)), device.ErrUnknown)
		is(t, second(s.ByHost(ctx, "web-01")), device.ErrUnknown)

		// A host is there once, in any case; one that is refused leaves no event and no binding.
		events := countEvents(t, db)
		listed.ID = newID()
		_, err = s.Insert(ctx, target("WEB-01.EXAMPLE.NET", "10.2.0.12"), []access.Binding{listed}, event())
		is(t, err, device.ErrTaken)
		strange := target("other", "10.2.0.12")
		strange.Domains = []string{"nowhere"}
		_, err = s.Insert(ctx, strange, nil, event())
		is(t, err, device.ErrUnknownDomain)
		if countEvents(t, db) != events {
			t.Error("a refusal was recorded as a change")
		}

		addTarget(t, db, "web-02", "10.2.0.11")
		at, err := s.ByIP(ctx, netip.MustParseAddr("::ffff:10.2.0.11"))
		if err != nil || len(at) != 2 || at[0].ID != d.ID {
			t.Errorf("%v, %v", at, err)
		}
	})
}

func TestDevices_Change(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Devices{DB: db}
		must(t, s.AddDomain(ctx, "CORP", start, event()))
		d, other := addTarget(t, db, "one", "10.0.0.1"), addTarget(t, db, "two", "10.0.0.2")
		events := countEvents(t, db)
		got, changed, err := changing(t, db, d.ID, func(d *device.Device) {
			d.Host, d.IP, d.Tags, d.Domains = "ONE", netip.MustParseAddr("2001:db8::1"), []string{"x", "y"}, []string{"corp"}
		})
		must(t, err)
		if there, err := s.ByHost(ctx, "one"); err != nil || !changed || there.IP.String() != "2001:db8::1" || there.Host != "ONE" || there.Domains[0] != "CORP" || !there.Same(got) {
			t.Errorf("%v %+v, %v", changed, there, err)
		}
		// The same in another order or spelling is no change, and no event.
		_, changed, err = changing(t, db, d.ID, func(d *device.Device) {
			d.Tags, d.Domains, d.Updated = []string{"y", "x"}, []string{"Corp"}, start.Add(time.Hour)
		})
		if err != nil || changed || countEvents(t, db) != events+1 {
			t.Errorf("changed %v, %v, %d events", changed, err, countEvents(t, db)-events)
		}
		if there, _ := s.ByID(ctx, d.ID); !there.Updated.Equal(start) {
			t.Errorf("updated %v", there.Updated)
		}
		_, _, err = changing(t, db, d.ID, func(d *device.Device) { d.Host = "TWO" })
		is(t, err, device.ErrTaken)
		_, _, err = changing(t, db, other.ID, func(d *device.Device) { d.Domains = []string{"CORP", "gone"} })
		is(t, err, device.ErrUnknownDomain)
		_, _, err = changing(t, db, "gone", func(*device.Device) {})
		is(t, err, device.ErrUnknown)
		mine := errors.New("mine")
		_, _, err = s.Change(ctx, d.ID, func(d device.Device) (device.Device, error) { return d, mine }, func(_, _ device.Device) audit.Event { return event() })
		is(t, err, mine)
	})
}

// liveSession puts a session into the table as package remote would have it.
func liveSession(t *testing.T, db *store.DB, state, on, target, credential string) string {
	t.Helper()
	id := newID()
	storetest.Write(t, db, fmt.Sprintf(`INSERT INTO remote_sessions (id, state, way, origin, session, user_id, user_name, credential, username, device, target, target_host, target_ip, protocol, port,
		screen, bound, address, request_id, grant_number, terms, reason, reference, node, created, expires, end_reason, end_asked, ended_by, hold)
		VALUES ('%s', '%s', 'browser', '', '', 'u', 'dana', '%s', 'root', '%s', '%s', 'h', '10.0.0.1', 'ssh', 22, '', '', '', '', 0, '{}', '', '', 'n', 0, 0, '', '', '', FALSE)`,
		id, state, credential, on, target))
	return id
}

func endAsked(t *testing.T, db *store.DB, id string) bool {
	t.Helper()
	return storetest.Count(t, db, `SELECT COUNT(*) FROM remote_sessions WHERE id = $1 AND end_asked = 'revoked'`, id) == 1
}

// A device that is switched off takes its credentials and its sessions with it; switched on again it comes alone.
func TestDevices_switched_off(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		d, other := addTarget(t, db, "one", "10.0.0.1"), addTarget(t, db, "two", "10.0.0.2")
		root, others := addCredential(t, db, d, "root", "x"), addCredential(t, db, other, "root", "x")
		credentials := store.Credentials{DB: db, Sealer: newSealer(t)}
		active := liveSession(t, db, "active", d.ID, d.ID, root.ID)
		waiting := liveSession(t, db, "waiting", d.ID, d.ID, root.ID)
		byDomain := liveSession(t, db, "active", d.ID, other.ID, root.ID)
		toIt := liveSession(t, db, "active", other.ID, d.ID, others.ID)
		over, issued := liveSession(t, db, "ended", d.ID, d.ID, root.ID), liveSession(t, db, "issued", d.ID, d.ID, root.ID)
		beside := liveSession(t, db, "active", other.ID, other.ID, others.ID)
		told := watch(t, db)

		_, changed, err := changing(t, db, d.ID, func(d *device.Device) { d.Disabled = true })
		if err != nil || !changed {
			t.Fatalf("%v, %v", changed, err)
		}
		for _, id := range []string{active, waiting, byDomain, toIt} {
			if !endAsked(t, db, id) {
				t.Errorf("session %s may go on", id)
			}
		}
		for _, id := range []string{over, issued, beside} {
			if endAsked(t, db, id) {
				t.Errorf("session %s was asked to end", id)
			}
		}
		heard := map[string]bool{}
		for len(heard) < 4 {
			select {
			case payload := <-told:
				if strings.HasPrefix(payload, "remote ") {
					heard[payload] = true
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("the nodes heard only of %v", heard)
			}
		}
		if !heard["remote "+active] || !heard["remote "+toIt] {
			t.Errorf("%v", heard)
		}
		if c, err := credentials.ByID(ctx, root.ID); err != nil || !c.Disabled || !c.Device.Disabled {
			t.Errorf("its credential: %v, %v", c.Disabled, err)
		}
		if c, err := credentials.ByID(ctx, others.ID); err != nil || c.Disabled {
			t.Errorf("another's credential: %v, %v", c.Disabled, err)
		}
		_, _, err = changing(t, db, d.ID, func(d *device.Device) { d.Disabled = false })
		must(t, err)
		if c, err := credentials.ByID(ctx, root.ID); err != nil || !c.Disabled || c.Device.Disabled {
			t.Errorf("after the device came back its credential is %v, %v", c.Disabled, err)
		}
	})
}

func TestDevices_List(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Devices{DB: db}
		var ids []string
		for _, host := range []string{"z", "y", "x", "w", "v"} {
			ids = append(ids, addTarget(t, db, host, "10.0.0.1").ID)
		}
		host := func(d device.Device) string { return d.Host }
		many := []string{ids[4], ids[0]}
		for range 2000 { // more than one statement names
			many = append(many, newID())
		}
		for _, c := range []struct {
			all  bool
			ids  []string
			want string
		}{{true, nil, "z y x w v"}, {false, nil, ""}, {false, []string{ids[3], ids[1], ids[0], "gone"}, "z y w"}, {false, ids[:3], "z y x"}, {false, many, "z v"}} {
			want := strings.Fields(c.want)
			got := walk(t, func(w page.Window) (page.Page[device.Device], error) { return s.List(ctx, c.all, c.ids, w) }, host)
			if strings.Join(got, " ") != c.want {
				t.Errorf("behind each other %v, want %s", got, c.want)
			}
			p, err := s.List(ctx, c.all, c.ids, page.Of(1, 2))
			if err != nil || p.Total != int64(len(want)) || strings.Join(names(p.Items, host), " ") != strings.Join(want[min(1, len(want)):min(3, len(want))], " ") {
				t.Errorf("the second and third of %s: %d, %v, %v", c.want, p.Total, names(p.Items, host), err)
			}
			if p, err = s.List(ctx, c.all, c.ids, page.Of(9, 2)); err != nil || len(p.Items) != 0 {
				t.Errorf("beyond the end: %v, %v", p.Items, err)
			}
		}
	})
}

func TestDevices_domains(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Devices{DB: db}
		events := countEvents(t, db)
		for _, name := range []string{"b.example", "CORP", "corp", "a.example"} {
			must(t, s.AddDomain(ctx, name, start, event()))
		}
		all, err := s.Domains(ctx)
		if err != nil || strings.Join(all, " ") != "a.example b.example CORP" || countEvents(t, db) != events+3 {
			t.Errorf("%v, %v, %d events", all, err, countEvents(t, db)-events)
		}
	})
}

func hostBlob(t *testing.T) []byte {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	key, err := ssh.NewPublicKey(public)
	must(t, err)
	return key.Marshal()
}

// rule S16: a pin belongs to one port of one device.
func TestDevices_host_keys(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Devices{DB: db}
		d, other := addTarget(t, db, "one", "10.0.0.1"), addTarget(t, db, "two", "10.0.0.2")
		seen := device.HostKey{ID: newID(), Device: d.ID, Port: 22, Blob: hostBlob(t), Seen: start}
		events := countEvents(t, db)
		must(t, s.Saw(ctx, seen, event()))
		again := seen
		again.ID = newID()
		must(t, s.Saw(ctx, again, event()))
		keys, err := s.HostKeys(ctx, d.ID)
		if err != nil || len(keys) != 1 || countEvents(t, db) != events+1 {
			t.Fatalf("%v, %v, %d events", keys, err, countEvents(t, db)-events)
		}
		same(t, "host key", keys[0], seen)

		decided := start.Add(time.Minute)
		accept := device.HostKey{ID: newID(), Device: d.ID, Port: 22, Blob: seen.Blob, Accepted: true, Seen: decided, Decided: decided, DecidedBy: "root"}
		got, err := s.Accept(ctx, accept, event())
		must(t, err)
		want := seen
		want.Accepted, want.Decided, want.DecidedBy = true, decided, "root"
		same(t, "accepted host key", got, want)
		must(t, s.Saw(ctx, again, event())) // one that was accepted stays so
		later := accept
		later.Decided, later.DecidedBy = decided.Add(time.Hour), "somebody"
		if got, err := s.Accept(ctx, later, event()); err != nil || got.DecidedBy != "root" || countEvents(t, db) != events+2 {
			t.Errorf("%+v, %v, %d events", got, err, countEvents(t, db)-events)
		}

		elsewhere := accept
		elsewhere.ID, elsewhere.Port = newID(), 2222
		if got, err := s.Accept(ctx, elsewhere, event()); err != nil || got.ID != elsewhere.ID {
			t.Errorf("on another port: %+v, %v", got, err)
		}
		if keys, err := s.HostKeys(ctx, other.ID); err != nil || len(keys) != 0 {
			t.Errorf("another device: %v, %v", keys, err)
		}
		is(t, s.Remove(ctx, other.ID, seen.ID, event()), device.ErrUnknownHostKey)
		must(t, s.Remove(ctx, d.ID, seen.ID, event()))
		is(t, s.Remove(ctx, d.ID, seen.ID, event()), device.ErrUnknownHostKey)
		again.Device = "gone"
		is(t, s.Saw(ctx, again, event()), device.ErrUnknown)
		accept.Device = "gone"
		is(t, second(s.Accept(ctx, accept, event())), device.ErrUnknown)
	})
}

// A target that shows another key each time fills nothing, and does not push out what was accepted.
func TestDevices_host_keys_are_few(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Devices{DB: db}
		d := addTarget(t, db, "one", "10.0.0.1")
		_, err := s.Accept(ctx, device.HostKey{ID: newID(), Device: d.ID, Port: 22, Blob: hostBlob(t), Seen: start, Decided: start, DecidedBy: "root"}, event())
		must(t, err)
		var last device.HostKey
		for i := range device.MostSeen + 5 {
			last = device.HostKey{ID: newID(), Device: d.ID, Port: 22, Blob: hostBlob(t), Seen: start.Add(time.Duration(i+1) * time.Second)}
			must(t, s.Saw(ctx, last, event()))
		}
		keys, err := s.HostKeys(ctx, d.ID)
		if err != nil || len(keys) != device.MostSeen+1 || !keys[0].Accepted || keys[len(keys)-1].ID != last.ID {
			t.Errorf("%d keys, %v", len(keys), err)
		}
	})
}

// Two who add a device of one name at a time: one does.
func TestDevices_of_one_name_at_a_time(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		for i := range 5 {
			var errs [2]error
			var all sync.WaitGroup
			for n, db := range []*store.DB{one, two} {
				all.Go(func() {
					_, errs[n] = store.Devices{DB: db}.Insert(t.Context(), target([]string{"Host", "HOST"}[n]+fmt.Sprint(i), "10.0.0.1"), nil, event())
				})
			}
			all.Wait()
			if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs[:]...), device.ErrTaken) {
				t.Errorf("%v", errs)
			}
		}
	})
}
