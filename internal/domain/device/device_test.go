package device_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// memory keeps devices, and the role bindings of the tests.
type memory struct {
	access.Store // grants, which nobody asks for here

	devices  []device.Device
	domains  []string
	keys     []device.HostKey
	events   []audit.Event
	bindings map[string][]access.Binding
	lent     []device.Lent
}

func (m *memory) BindingsOf(_ context.Context, of access.Subject) ([]access.Binding, error) {
	return m.bindings[of.ID], nil
}

// devices is the part of memory that is a device.Store.
type devices struct{ *memory }

func (m devices) Insert(_ context.Context, d device.Device, listed []access.Binding, e audit.Event) (device.Device, error) {
	if _, err := m.ByHost(context.Background(), d.Host); err == nil {
		return device.Device{}, device.ErrTaken
	}
	d.Number = int64(len(m.devices) + 1)
	m.memory.devices, m.events = append(m.devices, d), append(m.events, e)
	for _, b := range listed {
		m.bindings[b.Subject.ID] = append(m.bindings[b.Subject.ID], b)
	}
	return d, nil
}

func (m devices) Lent(context.Context, device.Device) ([]device.Lent, error) { return m.lent, nil }

func (m devices) Change(_ context.Context, id string, decide func(device.Device) (device.Device, error), event func(was, is device.Device) audit.Event) (device.Device, bool, error) {
	for i, was := range m.devices {
		if was.ID != id {
			continue
		}
		is, err := decide(was)
		if err != nil || was.Same(is) {
			return was, false, err
		}
		m.devices[i], m.events = is, append(m.events, event(was, is))
		return is, true, nil
	}
	return device.Device{}, false, device.ErrUnknown
}

func (m devices) find(match func(device.Device) bool) (device.Device, error) {
	for _, d := range m.devices {
		if match(d) {
			return d, nil
		}
	}
	return device.Device{}, device.ErrUnknown
}

func (m devices) ByID(_ context.Context, id string) (device.Device, error) {
	return m.find(func(d device.Device) bool { return d.ID == id })
}

func (m devices) ByNumber(_ context.Context, number int64) (device.Device, error) {
	return m.find(func(d device.Device) bool { return d.Number == number })
}

func (m devices) ByHost(_ context.Context, host string) (device.Device, error) {
	return m.find(func(d device.Device) bool { return strings.EqualFold(d.Host, host) })
}

func (m devices) ByIP(_ context.Context, ip netip.Addr) (all []device.Device, err error) {
	for _, d := range m.devices {
		if d.IP == ip {
			all = append(all, d)
		}
	}
	return all, nil
}

func (m devices) List(_ context.Context, all bool, ids []string, w page.Window) (page.Page[device.Device], error) {
	p := page.Page[device.Device]{Window: w}
	for _, d := range m.devices {
		if all || slices.Contains(ids, d.ID) {
			p.Items = append(p.Items, d)
		}
	}
	return p, nil
}

func (m devices) AddDomain(_ context.Context, name string, _ time.Time, e audit.Event) error {
	m.domains, m.events = append(m.domains, name), append(m.events, e)
	return nil
}

func (m devices) Domains(context.Context) ([]string, error) { return m.domains, nil }

func (m devices) Saw(_ context.Context, k device.HostKey, e audit.Event) error {
	if !slices.ContainsFunc(m.keys, func(o device.HostKey) bool { return o.Port == k.Port && string(o.Blob) == string(k.Blob) }) {
		m.keys, m.events = append(m.keys, k), append(m.events, e)
	}
	return nil
}

func (m devices) Accept(_ context.Context, k device.HostKey, e audit.Event) (device.HostKey, error) {
	m.events = append(m.events, e)
	for i, o := range m.keys {
		if o.Port == k.Port && string(o.Blob) == string(k.Blob) {
			k.ID = o.ID
			m.keys[i] = k
			return k, nil
		}
	}
	m.keys = append(m.keys, k)
	return k, nil
}

func (m devices) Remove(_ context.Context, _, id string, e audit.Event) error {
	m.keys, m.events = slices.DeleteFunc(m.keys, func(k device.HostKey) bool { return k.ID == id }), append(m.events, e)
	return nil
}

func (m devices) HostKeys(_ context.Context, of string) (all []device.HostKey, err error) {
	for _, k := range m.keys {
		if k.Device == of {
			all = append(all, k)
		}
	}
	return all, nil
}

func (m *memory) last(t *testing.T) audit.Event {
	t.Helper()
	if len(m.events) == 0 {
		t.Fatal("nothing was recorded")
	}
	return m.events[len(m.events)-1]
}

func newService(t *testing.T) (*device.Service, *memory) {
	t.Helper()
	m := &memory{bindings: map[string][]access.Binding{}}
	ids := 0
	newID := func() string { ids++; return fmt.Sprintf("00000000-0000-7000-8000-%012d", ids) }
	now := func() time.Time { return start }
	return &device.Service{
		Store: devices{m}, Access: &access.Service{Store: m, Now: now, NewID: newID}, Now: now, NewID: newID,
		Allowed: func(a netip.Addr) bool { return !a.IsLoopback() },
	}, m
}

func (m *memory) give(who string, role access.Role, on access.Resource) {
	m.bindings[who] = append(m.bindings[who], access.Binding{Subject: access.Subject{Kind: access.User, ID: who}, Role: role, Resource: on})
}

func person(name string) access.Caller {
	return access.Caller{Principal: access.Principal{Kind: access.User, ID: name, Name: name}, Scopes: []access.Action{"*"}, At: start}
}

func authorization(name string, scopes ...access.Action) access.Caller {
	return access.Caller{Principal: access.Principal{Kind: access.Authorization, ID: name, Name: name}, Scopes: scopes, At: start}
}

var (
	local = access.LocalCaller("root", start)
	ip    = netip.MustParseAddr("10.2.0.11")
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%v, want %v", err, want)
	}
}

func denied(t *testing.T, err error) {
	t.Helper()
	if !fault.Is(err, fault.Denied) {
		t.Errorf("%v, want a refusal", err)
	}
}

func invalid(t *testing.T, err error) {
	t.Helper()
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("%v, want that it is invalid", err)
	}
}

func text(s string) *string { return &s }

func TestCreate(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx := t.Context()
	m.give("adam", access.Admin, access.Installation)
	d, err := s.Create(ctx, person("adam"), device.New{
		Host: "Web-01", IP: netip.MustParseAddr("::ffff:10.2.0.11"), Tags: &[]string{"a", " b ", "A", ""}, Connect: &[]device.Connectivity{{Name: "SSH", Port: 22}, {Name: "X11", Port: 6000}},
	})
	must(t, err)
	if d.IP != ip || strings.Join(d.Tags, ",") != "a,b" || d.Number != 1 {
		t.Errorf("%+v", d)
	}
	if port, ok := d.PortOf(device.SSH); port != 22 || !ok {
		t.Errorf("%d, %v", port, ok)
	}
	if e := m.last(t); e.Action != "device.create" || e.Object.Name != "Web-01" || e.Actor.Name != "adam" {
		t.Errorf("%+v", e)
	}
	is(t, second(s.Create(ctx, person("adam"), device.New{Host: "WEB-01", IP: ip})), device.ErrTaken)
	denied(t, second(s.Create(ctx, person("dana"), device.New{Host: "web-02", IP: ip})))
}

func second[T any](_ T, err error) error { return err }

func third[T, U any](_ T, _ U, err error) error { return err }

func TestCreate_refuses(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	long := strings.Repeat("x", 256)
	ctx := t.Context()
	is(t, second(s.Create(ctx, local, device.New{IP: ip})), device.ErrNoHost)
	is(t, second(s.Create(ctx, local, device.New{Host: "a"})), device.ErrNoIP)
	for _, host := range []string{"a b", "a@b", "a/b", "a,b", "a:b", "a\x00", "a\n", long, "53", "00000000-0000-7000-8000-000000000001", "\xff"} {
		invalid(t, second(s.Create(ctx, local, device.New{Host: host, IP: ip})))
	}
	for what, in := range map[string]device.New{
		"a zone":                        {IP: netip.MustParseAddr("fe80::1%eth0")},
		"a long model":                  {IP: ip, Model: &long},
		"a control character":           {IP: ip, Site: text("a\x1bb")},
		"a tag with a comma":            {IP: ip, Tags: &[]string{"a,b"}},
		"a domain with a comma":         {IP: ip, Domains: &[]string{"a,b"}},
		"a port that is none":           {IP: ip, Connect: &[]device.Connectivity{{Name: "SSH", Port: 65536}}},
		"a connectivity without a name": {IP: ip, Connect: &[]device.Connectivity{{Port: 1}}},
		"a protocol twice":              {IP: ip, Connect: &[]device.Connectivity{{Name: "SSH", Port: 22}, {Name: "ssh", Port: 23}}},
		"too many tags":                 {IP: ip, Tags: ptr(strings.Fields(strings.Repeat("x ", 1)), 101)},
	} {
		in.Host = "host"
		if err := second(s.Create(ctx, local, in)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(m.devices) != 0 || len(m.events) != 0 {
		t.Errorf("%d devices, %d events", len(m.devices), len(m.events))
	}
	must(t, second(s.Create(ctx, local, device.New{Host: "2001:db8::1", IP: ip}))) // an address may be a name
}

// ptr is a list of n distinct texts.
func ptr(of []string, n int) *[]string {
	var all []string
	for i := range n {
		all = append(all, of[0]+fmt.Sprint(i))
	}
	return &all
}

// rule W8: through an API nobody makes Gatehouse connect to itself; the server's own command line may.
func TestAddresses(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx, loop := t.Context(), netip.MustParseAddr("127.0.0.1")
	m.give("adam", access.SysAdmin, access.Installation)
	robot := authorization("robot", "device.*")
	for _, by := range []access.Caller{person("adam"), robot} {
		is(t, second(s.Create(ctx, by, device.New{Host: "x", IP: loop})), device.ErrForbidden)
		is(t, second(s.Create(ctx, by, device.New{Host: "x", IP: netip.MustParseAddr("::ffff:127.0.0.1")})), device.ErrForbidden)
	}
	is(t, second(s.Create(ctx, local, device.New{Host: "x", IP: netip.MustParseAddr("0.0.0.0")})), device.ErrForbidden)
	d, err := s.Create(ctx, local, device.New{Host: "loop", IP: loop})
	must(t, err)
	// It is changed through an API as long as it stays where it is, and does not come back once it left.
	must(t, third(s.Update(ctx, person("adam"), d.ID, device.New{Site: text("Graz"), IP: loop})))
	must(t, third(s.Update(ctx, person("adam"), d.ID, device.New{IP: ip})))
	if e := m.last(t); e.Detail["ip"] != "127.0.0.1 to 10.2.0.11" {
		t.Errorf("%v", e.Detail)
	}
	is(t, third(s.Update(ctx, person("adam"), d.ID, device.New{IP: loop})), device.ErrForbidden)
}

func TestPut(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx, robot := t.Context(), authorization("robot", "device.*")
	put := func(by access.Caller, in device.New) (device.Device, string, error) {
		d, created, changed, err := s.Put(ctx, by, in)
		return d, fmt.Sprint(created, changed), err
	}
	in := device.New{Host: "Web-01", IP: ip, Model: text("m"), Tags: &[]string{"a", "b"}, Connect: &[]device.Connectivity{{Name: "SSH", Port: 22}}}
	d, what, err := put(robot, in)
	if err != nil || what != "true true" {
		t.Fatalf("%s, %v", what, err)
	}
	if b := m.bindings["robot"]; len(b) != 1 || b[0].Role != access.DeviceListed || b[0].Resource.ID != d.ID {
		t.Errorf("what an authorization adds is not listed for it: %v", b)
	}
	events := len(m.events)
	in.Tags = &[]string{"b", "a"}
	if _, what, err = put(robot, in); err != nil || what != "false false" || len(m.events) != events {
		t.Errorf("the same once more: %s, %v", what, err)
	}
	// What is absent stays, and so does the spelling of the name.
	d, what, err = put(robot, device.New{Host: "WEB-01", IP: netip.MustParseAddr("10.2.0.12")})
	if err != nil || what != "false true" || d.Model != "m" || len(d.Connect) != 1 || d.Host != "Web-01" || d.IP.String() != "10.2.0.12" {
		t.Errorf("%s, %+v, %v", what, d, err)
	}
	if e := m.last(t); e.Detail["changed"] != "ip" {
		t.Errorf("%v", e.Detail)
	}
	d, what, err = put(robot, device.New{Host: "web-01", Connect: &[]device.Connectivity{}, Model: text("")})
	if err != nil || what != "false true" || d.Model != "" || len(d.Connect) != 0 {
		t.Errorf("%s, %+v, %v", what, d, err)
	}
	_, _, err = put(robot, device.New{IP: ip})
	is(t, err, device.ErrNoHost)
	_, _, err = put(robot, device.New{Host: "web-02"})
	is(t, err, device.ErrNoIP)
	// Another authorization, which does not list it, neither sees nor changes it; a person without rights does not either.
	_, _, err = put(authorization("other", "device.*"), in)
	is(t, err, device.ErrTaken)
	_, _, err = put(person("dana"), in)
	is(t, err, device.ErrTaken)
	// One that reads alone changes nothing.
	reader := authorization("robot", "device.read")
	_, _, err = put(reader, in)
	denied(t, err)
	_, _, err = put(reader, device.New{Host: "web-03", IP: ip})
	denied(t, err)
}

func TestFind(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx := t.Context()
	d, err := s.Create(ctx, local, device.New{Host: "Web-01.Example", IP: ip})
	must(t, err)
	twin, err := s.Create(ctx, local, device.New{Host: "twin", IP: ip})
	must(t, err)
	m.give("dana", access.DeviceConnect, d.Resource())
	m.give("beth", access.DeviceConnect, access.Every(access.DeviceKind))
	for _, ref := range []string{d.ID, strings.ToUpper(d.ID), "1", "web-01.EXAMPLE", "10.2.0.11", "::ffff:10.2.0.11"} {
		if got, err := s.Find(ctx, person("dana"), ref); err != nil || got.ID != d.ID {
			t.Errorf("%s: %s, %v", ref, got.Host, err)
		}
	}
	for _, ref := range []string{twin.ID, "2", "twin", "3", "nowhere", "", "99999999999999999999", "10.2.0.99", "fe80::1%eth0"} {
		is(t, second(s.Find(ctx, person("dana"), ref)), device.ErrUnknown)
	}
	is(t, second(s.Find(ctx, person("beth"), "10.2.0.11")), device.ErrUnknown) // two of one address
	is(t, second(s.Find(ctx, person("gus"), "web-01.example")), device.ErrUnknown)
	if all, err := s.Named(ctx, "10.2.0.11"); err != nil || len(all) != 2 || all[0].ID != d.ID {
		t.Errorf("%v, %v", all, err)
	}
	for who, want := range map[string]int{"dana": 1, "beth": 2, "gus": 0} {
		if p, err := s.List(ctx, person(who), page.Of(0, 10)); err != nil || len(p.Items) != want {
			t.Errorf("%s sees %d devices, %v", who, len(p.Items), err)
		}
	}
}

func TestUpdate_takes_the_right(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx := t.Context()
	d, err := s.Create(ctx, local, device.New{Host: "web-01", IP: ip})
	must(t, err)
	m.give("dana", access.DeviceConnect, d.Resource())
	m.give("mona", access.DeviceManage, d.Resource())
	m.give("adam", access.Admin, access.Installation)
	is(t, third(s.Update(ctx, person("gus"), d.ID, device.New{Site: text("x")})), device.ErrUnknown)
	denied(t, third(s.Update(ctx, person("dana"), d.ID, device.New{Site: text("x")})))
	denied(t, third(s.SetDisabled(ctx, person("dana"), d.ID, true)))
	must(t, third(s.Update(ctx, person("mona"), d.ID, device.New{Site: text("x")})))
	yes := true
	denied(t, third(s.Update(ctx, person("mona"), d.ID, device.New{Unrecorded: &yes}))) // rule W14: by an administrator's word alone
	must(t, third(s.Update(ctx, person("adam"), d.ID, device.New{Unrecorded: &yes})))
	if e := m.last(t); e.Detail["changed"] != "unrecorded" {
		t.Errorf("%v", e.Detail)
	}
	for _, c := range []struct{ disabled, changed bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		if d, changed, err := s.SetDisabled(ctx, person("mona"), d.ID, c.disabled); err != nil || changed != c.changed || d.Disabled != c.disabled {
			t.Errorf("%+v: %v, %v", c, changed, err)
		}
	}
}

func TestDomains(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx := t.Context()
	m.give("dana", access.DeviceConnect, access.Device("x"))
	must(t, s.AddDomain(ctx, local, " corp.example "))
	for _, name := range []string{"", "a b", "a,b", `a\b`, "a@b", "a/b", "a:b", "a\x00"} {
		invalid(t, s.AddDomain(ctx, local, name))
	}
	denied(t, s.AddDomain(ctx, person("dana"), "x"))
	denied(t, s.AddDomain(ctx, authorization("robot", "device.*"), "x"))
	if all, err := s.Domains(ctx, person("dana")); err != nil || strings.Join(all, " ") != "corp.example" {
		t.Errorf("%v, %v", all, err)
	}
	denied(t, second(s.Domains(ctx, person("gus"))))
	d := device.Device{Domains: []string{"Corp.Example"}}
	if !d.In("corp.EXAMPLE") || d.In("other") || d.In("") {
		t.Error("a device belongs to its domains, in any case, and to no other")
	}
}

// rule W7: who manages a device may not bring it into a domain, whose credentials would then be shown to whatever is at its address.
func TestUpdate_joins_no_domain(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx := t.Context()
	m.give("adam", access.Admin, access.Installation)
	d, err := s.Create(ctx, local, device.New{Host: "lab-01", IP: ip, Domains: &[]string{"Lab"}})
	must(t, err)
	m.give("dana", access.DeviceManage, d.Resource())
	denied(t, third(s.Update(ctx, person("dana"), d.ID, device.New{Domains: &[]string{"Lab", "Corp"}})))
	denied(t, third(s.Update(ctx, person("dana"), d.ID, device.New{Domains: &[]string{"corp"}})))
	must(t, third(s.Update(ctx, person("dana"), d.ID, device.New{Domains: &[]string{"LAB"}, Tags: &[]string{"a"}})))
	must(t, third(s.Update(ctx, person("dana"), d.ID, device.New{Domains: &[]string{}})))
	must(t, third(s.Update(ctx, person("adam"), d.ID, device.New{Domains: &[]string{"Corp"}})))
}

// Rule W7: who may not see the passwords that a device is sent cannot have them sent to a machine of their own.
func TestUpdate_moves_no_passwords(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx := t.Context()
	d, err := s.Create(ctx, local, device.New{Host: "lab-01", IP: ip, Connect: &[]device.Connectivity{{Name: "SSH", Port: 22}}})
	must(t, err)
	m.give("dana", access.DeviceManage, d.Resource())
	m.give("adam", access.Admin, access.Installation)
	m.give("sue", access.SysAdmin, access.Installation)
	app := access.Caller{Principal: access.Principal{Kind: access.Authorization, ID: "tool"}, Scopes: []access.Action{"device.*", "credential.*"}}
	m.give("tool", access.DeviceListed, d.Resource())
	m.give("tool", access.CredentialListed, access.Credential(d.ID, "c1"))

	script, elsewhere := "Telnet:login:{password}", netip.MustParseAddr("203.0.113.9")
	port := func(n int) *[]device.Connectivity { return &[]device.Connectivity{{Name: "SSH", Port: n}} }
	must(t, third(s.Update(ctx, person("dana"), d.ID, device.New{Connect: port(23)}))) // nothing is lent yet

	m.lent = []device.Lent{{Credential: "c1", Device: d.ID}}
	for _, in := range []device.New{{IP: elsewhere}, {Connect: port(2222)}, {Script: &script}} {
		denied(t, third(s.Update(ctx, person("dana"), d.ID, in)))
		denied(t, third(s.Update(ctx, person("adam"), d.ID, in)))
	}
	must(t, third(s.Update(ctx, person("dana"), d.ID, device.New{Tags: &[]string{"rack 4"}})))
	must(t, third(s.Update(ctx, app, d.ID, device.New{Connect: port(24)}))) // it may check the password out

	m.lent = append(m.lent, device.Lent{Credential: "c1", Device: d.ID, NeverShown: true})
	denied(t, third(s.Update(ctx, app, d.ID, device.New{Connect: port(25)})))
	must(t, third(s.Update(ctx, person("sue"), d.ID, device.New{Connect: port(25)})))
}
