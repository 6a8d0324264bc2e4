package vault_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// memory keeps credentials, the devices of the tests, and the role bindings.
type memory struct {
	access.Store // grants, which nobody asks for here

	now         time.Time
	devices     []device.Device
	credentials []vault.Credential
	secrets     map[string]secret.String
	held        []vault.Custody
	events      []audit.Event
	bindings    map[string][]access.Binding
}

func (m *memory) BindingsOf(_ context.Context, of access.Subject) ([]access.Binding, error) {
	return m.bindings[of.ID], nil
}

// devices is the part of memory that is a device.Store, as far as credentials need one.
type devices struct {
	device.Store
	*memory
}

// Lent implements device.Store: what a device is lent is a matter of package device's own tests.
func (devices) Lent(context.Context, device.Device) ([]device.Lent, error) { return nil, nil }

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

func (m devices) ByHost(_ context.Context, host string) (device.Device, error) {
	return m.find(func(d device.Device) bool { return strings.EqualFold(d.Host, host) })
}

func (m devices) Change(_ context.Context, id string, decide func(device.Device) (device.Device, error), event func(was, is device.Device) audit.Event) (device.Device, bool, error) {
	for i, was := range m.devices {
		if was.ID == id {
			is, err := decide(was)
			if err != nil || was.Same(is) {
				return was, false, err
			}
			m.devices[i], m.events = is, append(m.events, event(was, is))
			return is, true, nil
		}
	}
	return device.Device{}, false, device.ErrUnknown
}

// credentials is the part of memory that is a vault.Store.
type credentials struct{ *memory }

func (m credentials) Insert(_ context.Context, c vault.Credential, plain secret.String, listed []access.Binding, e audit.Event) (vault.Credential, error) {
	for _, o := range m.credentials {
		if o.Identifier == c.Identifier || o.Device.ID == c.Device.ID && o.Username == c.Username && o.Domain == c.Domain && o.Kind == c.Kind {
			return vault.Credential{}, vault.ErrTaken
		}
	}
	c.Number = int64(len(m.credentials) + 1)
	m.memory.credentials, m.events, m.secrets[c.ID] = append(m.credentials, c), append(m.events, e), plain
	for _, b := range listed {
		m.bindings[b.Subject.ID] = append(m.bindings[b.Subject.ID], b)
	}
	return c, nil
}

func (m credentials) at(id string) int {
	return slices.IndexFunc(m.credentials, func(c vault.Credential) bool { return c.ID == id })
}

// with is the credential with its device as it is now.
func (m credentials) with(c vault.Credential) vault.Credential {
	c.Device, _ = devices{memory: m.memory}.ByID(context.Background(), c.Device.ID)
	return c
}

func (m credentials) Change(
	_ context.Context, id string, fresh secret.String, decide func(vault.Credential) (vault.Credential, error), event func(was, is vault.Credential, secret bool) audit.Event,
) (vault.Credential, bool, error) {
	i := m.at(id)
	if i < 0 {
		return vault.Credential{}, false, vault.ErrUnknown
	}
	was := m.with(m.credentials[i])
	is, err := decide(was)
	other := !fresh.Empty() && !fresh.Equal(m.secrets[id])
	if err != nil || was.Same(is) && !other {
		return was, false, err
	}
	if other {
		is.HasSecret, is.NeedsRotation, m.secrets[id] = true, false, fresh
	}
	m.credentials[i], m.events = is, append(m.events, event(was, is, other))
	return is, true, nil
}

func (m credentials) find(match func(vault.Credential) bool) (vault.Credential, error) {
	for _, c := range m.credentials {
		if match(c) {
			return m.with(c), nil
		}
	}
	return vault.Credential{}, vault.ErrUnknown
}

func (m credentials) ByID(_ context.Context, id string) (vault.Credential, error) {
	return m.find(func(c vault.Credential) bool { return c.ID == id })
}

func (m credentials) ByNumber(_ context.Context, number int64) (vault.Credential, error) {
	return m.find(func(c vault.Credential) bool { return c.Number == number })
}

func (m credentials) ByIdentifier(_ context.Context, identifier string) (vault.Credential, error) {
	return m.find(func(c vault.Credential) bool { return c.Identifier == identifier })
}

func (m credentials) OfDevice(_ context.Context, id string) (all []vault.Credential, err error) {
	for _, c := range m.credentials {
		if c.Device.ID == id {
			all = append(all, m.with(c))
		}
	}
	return all, nil
}

func (m credentials) List(_ context.Context, all bool, ids, devices []string, w page.Window) (page.Page[vault.Credential], error) {
	p := page.Page[vault.Credential]{Window: w}
	for _, c := range m.credentials {
		if all || slices.Contains(ids, c.ID) || slices.Contains(devices, c.Device.ID) {
			p.Items = append(p.Items, c)
		}
	}
	return p, nil
}

func (m credentials) Secret(_ context.Context, id string, _ time.Time, check func(vault.Credential) error, event func(vault.Credential) audit.Event) (vault.Credential, secret.String, error) {
	c, err := m.ByID(context.Background(), id)
	if err == nil {
		err = check(c)
	}
	if err != nil {
		return vault.Credential{}, secret.String{}, err
	}
	m.events = append(m.events, event(c))
	return c, m.secrets[id], nil
}

func (m credentials) Take(_ context.Context, held vault.Custody, check func(vault.Credential) error, event func(vault.Credential) audit.Event) (vault.Credential, secret.String, error) {
	c, err := m.ByID(context.Background(), held.Credential)
	if err == nil {
		err = check(c)
	}
	others := slices.ContainsFunc(m.held, func(o vault.Custody) bool { return o.Holder != held.Holder && o.Until.After(held.Taken) })
	if err == nil && c.Exclusive && others {
		err = vault.ErrHeld
	}
	if err != nil {
		return vault.Credential{}, secret.String{}, err
	}
	m.memory.credentials[m.at(c.ID)].NeedsRotation = true
	m.held = append(slices.DeleteFunc(m.held, func(o vault.Custody) bool { return o.Holder == held.Holder }), held)
	m.events = append(m.events, event(c))
	return c, m.secrets[c.ID], nil
}

func (m credentials) Release(_ context.Context, credential string, holder access.Subject, now time.Time, e audit.Event) error {
	i := slices.IndexFunc(m.held, func(o vault.Custody) bool {
		return o.Credential == credential && o.Holder == holder && o.Until.After(now)
	})
	if i < 0 {
		return vault.ErrNotHeld
	}
	m.held, m.events = slices.Delete(m.held, i, i+1), append(m.events, e)
	return nil
}

func (m credentials) Custodies(_ context.Context, _ string, now time.Time) (all []vault.Custody, err error) {
	for _, c := range m.held {
		if c.Until.After(now) {
			all = append(all, c)
		}
	}
	return all, nil
}

func (m credentials) Expire(_ context.Context, now time.Time, limit int, event func(vault.Custody) audit.Event) (int, error) {
	ended := 0
	m.held = slices.DeleteFunc(m.held, func(c vault.Custody) bool {
		if ended == limit || c.Until.After(now) {
			return false
		}
		m.events = append(m.events, event(c))
		ended++
		return true
	})
	return ended, nil
}

func (m *memory) last(t *testing.T) audit.Event {
	t.Helper()
	if len(m.events) == 0 {
		t.Fatal("nothing was recorded")
	}
	return m.events[len(m.events)-1]
}

// web and db are the devices of the tests.
var (
	web = device.Device{ID: "00000000-0000-7000-8000-00000000000a", Number: 1, Host: "Web-01", IP: netip.MustParseAddr("10.2.0.11"), Domains: []string{"CORP"}}
	db  = device.Device{ID: "00000000-0000-7000-8000-00000000000b", Number: 2, Host: "db-01", IP: netip.MustParseAddr("10.2.0.12"), Domains: []string{"corp"}}
)

func newService(t *testing.T) (*vault.Service, *memory) {
	t.Helper()
	m := &memory{now: start, devices: []device.Device{web, db}, secrets: map[string]secret.String{}, bindings: map[string][]access.Binding{}}
	ids := 0
	newID := func() string { ids++; return fmt.Sprintf("00000000-0000-7000-8000-%012d", ids) }
	now := func() time.Time { return m.now }
	rights := &access.Service{Store: m, Now: now, NewID: newID}
	return &vault.Service{
		Store: credentials{m}, Access: rights, Devices: &device.Service{Store: devices{memory: m}, Access: rights, Now: now, NewID: newID}, Now: now, NewID: newID,
		Held: time.Hour, FreshFor: 10 * time.Minute, Every: time.Minute, OnError: func(string, error) {},
	}, m
}

func (m *memory) give(kind access.PrincipalKind, who string, role access.Role, on access.Resource) {
	m.bindings[who] = append(m.bindings[who], access.Binding{Subject: access.Subject{Kind: kind, ID: who}, Role: role, Resource: on})
}

func person(name string) access.Caller {
	return access.Caller{Principal: access.Principal{Kind: access.User, ID: name, Name: name}, Scopes: []access.Action{"*"}, At: start}
}

func authorization(name string, scopes ...access.Action) access.Caller {
	return access.Caller{Principal: access.Principal{Kind: access.Authorization, ID: name, Name: name}, Scopes: scopes, At: start}
}

// robot is an authorization that lists the device web.
func robot(m *memory, name string) access.Caller {
	m.give(access.Authorization, name, access.DeviceListed, web.Resource())
	return authorization(name, "device.*", "credential.*")
}

var local = access.LocalCaller("root", start)

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

func second[T any](_ T, err error) error { return err }

func third[T, U any](_ T, _ U, err error) error { return err }

func fourth[T, U, V any](_ T, _ U, _ V, err error) error { return err }

func ptr[T any](v T) *T { return &v }

func privateKey(t *testing.T, key any, passphrase string) secret.String {
	t.Helper()
	var block *pem.Block
	var err error
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	must(t, err)
	return secret.New(string(pem.EncodeToMemory(block)))
}

func ed25519Key(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return key
}

func TestCreate(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx := t.Context()
	m.give(access.User, "mona", access.DeviceManage, web.Resource())
	m.give(access.User, "dana", access.DeviceConnect, web.Resource())
	c, err := s.Create(ctx, person("mona"), vault.New{Device: "WEB-01", Username: "root", Secret: secret.New("pw"), Tags: &[]string{"a", "A"}, Protocols: &[]device.Protocol{"ssh", "rdp", "ssh"}})
	must(t, err)
	if c.Device.ID != web.ID || c.Kind != vault.Password || c.Type != vault.LocalUser || !c.HasSecret || c.NeverShown || c.Identifier == "" || len(c.Tags) != 1 || len(*c.Protocols) != 2 {
		t.Errorf("%+v", c)
	}
	if !c.Speaks(device.RDP) || c.Speaks(device.VNC) || !c.Opens(web) || c.Opens(db) {
		t.Error("what it opens, and by which protocols, is not what was said")
	}
	if e := m.last(t); e.Action != "credential.create" || e.Object.Name != "root@Web-01" || strings.Contains(string(e.Body()), "pw\"") {
		t.Errorf("%s", e.Body())
	}
	denied(t, second(s.Create(ctx, person("dana"), vault.New{Device: "web-01", Username: "x"})))
	is(t, second(s.Create(ctx, person("gus"), vault.New{Device: "web-01", Username: "x"})), device.ErrUnknown)
	is(t, second(s.Create(ctx, local, vault.New{Device: "web-01", Username: "root"})), vault.ErrTaken)
	m.devices[0].Disabled = true
	is(t, second(s.Create(ctx, local, vault.New{Device: "web-01", Username: "x"})), device.ErrUnknown)
}

func TestCreate_refuses(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx := t.Context()
	long := strings.Repeat("x", 256)
	for what, c := range map[string]struct {
		in   vault.New
		want error
	}{
		"a control character":     {vault.New{Username: "a\n"}, vault.ErrUsername},
		"a long user name":        {vault.New{Username: long}, vault.ErrUsername},
		"no text":                 {vault.New{Username: "\xff"}, vault.ErrUsername},
		"an identifier":           {vault.New{Identifier: "a b"}, vault.ErrIdentifier},
		"a long identifier":       {vault.New{Identifier: long}, vault.ErrIdentifier},
		"a type":                  {vault.New{Type: ptr("Token")}, vault.ErrType},
		"a key that is none":      {vault.New{Type: ptr("ssh key"), Secret: secret.New("x")}, vault.ErrKey},
		"a protocol":              {vault.New{Protocols: &[]device.Protocol{"ftp"}}, nil},
		"a tag with a comma":      {vault.New{Tags: &[]string{"a,b"}}, nil},
		"a parent":                {vault.New{Parent: ptr(int64(-1))}, nil},
		"a long additional":       {vault.New{Additional: ptr(strings.Repeat("x", 4097))}, nil},
		"an escape in additional": {vault.New{Additional: ptr("a\x1b[0m")}, nil},
		"a secret that is long":   {vault.New{Secret: secret.New(strings.Repeat("x", 64<<10+1))}, nil},
		"a secret that is bytes":  {vault.New{Secret: secret.New("\xff")}, nil},
	} {
		c.in.Device = web.ID
		err := second(s.Create(ctx, local, c.in))
		if !fault.Is(err, fault.Invalid) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(m.credentials) != 0 || len(m.events) != 0 {
		t.Errorf("%d credentials, %d events", len(m.credentials), len(m.events))
	}
}

// A private key is checked when it is kept, not when somebody needs it: it opens without passphrase, and is no weaker than the keys of people may be.
func TestPrivate_keys(t *testing.T) {
	t.Parallel()
	s, _ := newService(t)
	ctx := t.Context()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	add := func(name string, key secret.String) (vault.Credential, error) {
		return s.Create(ctx, local, vault.New{Device: web.ID, Username: name, Type: ptr(vault.SSHKeyType), Secret: key})
	}
	for name, key := range map[string]any{"ed25519": ed25519Key(t), "ecdsa": ec, "rsa": strong} {
		c, err := add(name, privateKey(t, key, ""))
		if err != nil || c.Kind != vault.SSHKey || !c.NeverShown {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	is(t, second(add("weak", privateKey(t, weak, ""))), vault.ErrKey)
	is(t, second(add("locked", privateKey(t, ed25519Key(t), "phrase"))), vault.ErrPassphrase)
	is(t, second(add("public", secret.New("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGlVAVjn1kiLhkzahBgYK686R+UBMNS3fMDfli80ep8P"))), vault.ErrKey)
	c, err := s.Create(ctx, local, vault.New{Device: web.ID, Username: "shown", Type: ptr(vault.SSHKeyType), Secret: privateKey(t, ec, ""), NeverShown: ptr(false)})
	if err != nil || c.NeverShown {
		t.Errorf("%v, %v", c.NeverShown, err)
	}
	// What the secret is changes only together with it.
	if err := third(s.Update(ctx, local, c.ID, vault.New{Type: ptr(vault.LocalUser)})); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
	c, _, err = s.Update(ctx, local, c.ID, vault.New{Type: ptr("local user"), Secret: secret.New("pw")})
	if err != nil || c.Kind != vault.Password || c.Type != vault.LocalUser {
		t.Errorf("%+v, %v", c, err)
	}
	c, _, err = s.Update(ctx, local, c.ID, vault.New{Type: ptr(vault.SSHKeyType), Secret: privateKey(t, ec, "")})
	if err != nil || !c.NeverShown {
		t.Errorf("a password that becomes a key can be seen: %v, %v", c.NeverShown, err)
	}
}

func TestPut(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx, by := t.Context(), robot(m, "robot")
	put := func(by access.Caller, in vault.New) (vault.Credential, string, error) {
		if in.Host == "" {
			in.Host, in.IP = "WEB-01", web.IP
		}
		c, created, changed, err := s.Put(ctx, by, in)
		return c, fmt.Sprint(created, changed), err
	}
	c, what, err := put(by, vault.New{Username: "root", Secret: secret.New("pw"), Additional: ptr("a"), Extra: map[string]any{"n": 1.0}})
	if err != nil || what != "true true" {
		t.Fatalf("%s, %v", what, err)
	}
	if b := m.bindings["robot"]; len(b) != 2 || b[1].Role != access.CredentialListed || b[1].Resource.ID != c.ID {
		t.Errorf("what an authorization adds is not listed for it: %v", b)
	}
	for _, in := range []vault.New{{Username: "root"}, {Username: "root", Secret: secret.New("pw")}, {Username: "root", Identifier: c.Identifier, Additional: ptr("a"), Extra: map[string]any{"n": 1.0}}} {
		if _, what, err = put(by, in); err != nil || what != "false false" {
			t.Errorf("the same once more: %s, %v", what, err)
		}
	}
	c, what, err = put(by, vault.New{Username: "root", Secret: secret.New("pw2"), Extra: map[string]any{"m": true}})
	if err != nil || what != "false true" || c.Additional != "a" || c.Extra["n"] != 1.0 || c.Extra["m"] != true {
		t.Errorf("%s, %+v, %v", what, c, err)
	}
	if e := m.last(t); e.Detail["changed"] != "extra secret" || strings.Contains(string(e.Body()), "pw2") {
		t.Errorf("%s", e.Body())
	}
	// A new identifier for the user name that is there names it anew; a known one leads to it under another user name.
	c, what, err = put(by, vault.New{Username: "root", Identifier: "web.root"})
	if err != nil || what != "false true" || c.Identifier != "web.root" {
		t.Errorf("%s, %+v, %v", what, c, err)
	}
	c, what, err = put(by, vault.New{Username: "toor", Identifier: "web.root"})
	if err != nil || what != "false true" || c.Username != "toor" || len(m.credentials) != 1 {
		t.Errorf("%s, %+v, %v", what, c, err)
	}
	if c, _, err = put(by, vault.New{}); err != nil || c.Username != "usr" {
		t.Errorf("%+v, %v", c, err)
	}
	// Settings of the device go along.
	_, what, err = put(by, vault.New{Username: "toor", OfDevice: device.New{Host: "ignored", Site: ptr("Graz")}})
	if err != nil || what != "false true" || m.devices[0].Site != "Graz" || m.devices[0].Host != "Web-01" {
		t.Errorf("%s, %+v, %v", what, m.devices[0], err)
	}
}

func TestPut_refuses(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx, by := t.Context(), robot(m, "robot")
	_, _, _, err := s.Put(ctx, by, vault.New{Host: "web-01", IP: web.IP, Identifier: "mine", Username: "root"})
	must(t, err)
	put := func(by access.Caller, in vault.New) error {
		_, _, _, err := s.Put(ctx, by, in)
		return err
	}
	is(t, put(by, vault.New{IP: web.IP}), device.ErrNoHost)
	is(t, put(by, vault.New{Host: "web-01"}), device.ErrNoIP)
	is(t, put(by, vault.New{Host: "web-01", IP: db.IP}), device.ErrUnknown) // that of another
	is(t, put(by, vault.New{Host: "db-01", IP: db.IP}), device.ErrUnknown)  // not on its list
	is(t, put(by, vault.New{Host: "nowhere", IP: db.IP}), device.ErrUnknown)
	m.give(access.Authorization, "robot", access.DeviceListed, db.Resource())
	is(t, put(by, vault.New{Host: "db-01", IP: db.IP, Identifier: "mine", Username: "root"}), vault.ErrElsewhere)
	other := robot(m, "other")
	is(t, put(other, vault.New{Host: "web-01", IP: web.IP, Username: "root"}), vault.ErrTaken) // there, and not on its list
	is(t, put(other, vault.New{Host: "web-01", IP: web.IP, Identifier: "mine", Username: "x"}), vault.ErrTaken)
	reader := authorization("robot", "device.read", "credential.read")
	denied(t, put(reader, vault.New{Host: "web-01", IP: web.IP, Username: "root", Additional: ptr("x")}))
	denied(t, put(reader, vault.New{Host: "web-01", IP: web.IP, Username: "new"}))
	m.devices[0].Disabled = true
	is(t, put(by, vault.New{Host: "web-01", IP: web.IP, Username: "root"}), device.ErrUnknown)
	if len(m.credentials) != 1 {
		t.Errorf("%d credentials", len(m.credentials))
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx := t.Context()
	add := func(in vault.New) vault.Credential {
		c, err := s.Create(ctx, local, in)
		must(t, err)
		return c
	}
	root := add(vault.New{Device: web.ID, Username: "root", Identifier: "web.root"})
	digits := add(vault.New{Device: web.ID, Username: "digits", Identifier: "1"})
	shadow := add(vault.New{Device: web.ID, Username: "shadow", Identifier: root.ID})
	inCorp := add(vault.New{Device: web.ID, Username: "ops", Domain: ptr("CORP")})
	alone := add(vault.New{Device: web.ID, Username: "ops"})
	key := add(vault.New{Device: web.ID, Username: "ops", Type: ptr(vault.SSHKeyType)})
	onlyKey := add(vault.New{Device: db.ID, Username: "root", Type: ptr(vault.SSHKeyType)})
	for ref, want := range map[string]vault.Credential{
		root.ID: root, strings.ToUpper(root.ID): root, // an identifier does not stand before an id
		"1": root, "2": digits, "web.root": root, "root@web-01": root, "root@WEB-01": root, "shadow@web-01": shadow, "ops@web-01": alone, "root@db-01": onlyKey,
		fmt.Sprint(inCorp.Number): inCorp, fmt.Sprint(key.Number): key,
	} {
		if got, err := s.Find(ctx, local, ref); err != nil || got.ID != want.ID {
			t.Errorf("%s: %s %d, %v", ref, got.Username, got.Number, err)
		}
	}
	for _, ref := range []string{"", "99", "WEB.root", "ROOT@web-01", "root@nowhere", "a@b@web-01", "root@web-01@web-01", "@", "00000000-0000-7000-8000-0000000000ff"} {
		is(t, second(s.Find(ctx, local, ref)), vault.ErrUnknown)
	}

	// Nobody sees more than what they have a right to.
	m.give(access.User, "dana", access.CredentialConnect, root.Resource())
	m.give(access.User, "mona", access.DeviceManage, web.Resource())
	m.give(access.Authorization, "robot", access.CredentialListed, key.Resource())
	for _, c := range []struct {
		by   access.Caller
		sees int
	}{{person("dana"), 1}, {person("mona"), 6}, {person("gus"), 0}, {authorization("robot", "credential.read"), 1}, {local, 7}} {
		p, err := s.List(ctx, c.by, page.Of(0, 100))
		on, errOn := s.On(ctx, c.by, web.ID)
		if err != nil || errOn != nil || len(p.Items) != c.sees || len(on) != min(c.sees, 6) {
			t.Errorf("%s sees %d, %d of them on the device, %v, %v", c.by.Name, len(p.Items), len(on), err, errOn)
		}
	}
	is(t, second(s.Find(ctx, person("dana"), "shadow@web-01")), vault.ErrUnknown)
	is(t, second(s.Find(ctx, person("gus"), "1")), vault.ErrUnknown)
	is(t, third(s.Update(ctx, person("gus"), root.ID, vault.New{})), vault.ErrUnknown)
	denied(t, third(s.Update(ctx, person("dana"), root.ID, vault.New{Additional: ptr("x")})))
	denied(t, third(s.SetDisabled(ctx, person("dana"), root.ID, true)))
	if all, err := s.OfDevice(ctx, web.ID); err != nil || len(all) != 6 {
		t.Errorf("%d, %v", len(all), err)
	}
	if !inCorp.Opens(db) || inCorp.Opens(device.Device{ID: "x", Domains: []string{"other"}}) {
		t.Error("a domain's credential opens the devices of its domain, in any case, and no other")
	}
}

func TestSetDisabled(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	c, err := s.Create(t.Context(), local, vault.New{Device: web.ID, Username: "root"})
	must(t, err)
	for _, x := range []struct{ disabled, changed bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		if got, changed, err := s.SetDisabled(t.Context(), local, c.ID, x.disabled); err != nil || changed != x.changed || got.Disabled != x.disabled {
			t.Errorf("%+v: %v, %v", x, changed, err)
		}
	}
	if e := m.last(t); e.Detail["changed"] != "disabled" {
		t.Errorf("%v", e.Detail)
	}
}
