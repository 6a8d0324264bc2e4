package vault_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

func TestCheckOut(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx, by := t.Context(), robot(m, "robot")
	_, _, _, err := s.Put(ctx, by, vault.New{Host: "web-01", IP: web.IP, Username: "root", Identifier: "web.root", Secret: secret.New("correct horse")})
	must(t, err)
	c, plain, held, err := s.CheckOut(ctx, by, "root@web-01")
	if err != nil || plain.Reveal() != "correct horse" || !held.Until.Equal(start.Add(time.Hour)) || c.Identifier != "web.root" {
		t.Fatalf("%+v, %v", held, err)
	}
	if e := m.last(t); e.Action != "credential.checkout" || e.Detail["until"] != "2026-11-22T10:00:00Z" || strings.Contains(string(e.Body()), "correct horse") {
		t.Errorf("%s", e.Body())
	}
	if c, err := s.Get(ctx, c.ID); err != nil || !c.NeedsRotation {
		t.Errorf("somebody has seen it, and it needs no rotation: %v", err)
	}
	m.now = start.Add(30 * time.Minute)
	if _, _, held, err = s.CheckOut(ctx, by, "web.root"); err != nil || !held.Until.Equal(start.Add(90*time.Minute)) {
		t.Errorf("once more does not renew: %v, %v", held.Until, err)
	}
	if all, err := s.Custodies(ctx, by, c.ID); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	if got, err := s.CheckIn(ctx, by, "1"); err != nil || got.ID != c.ID || m.last(t).Action != "credential.checkin" {
		t.Errorf("%v", err)
	}
	is(t, second(s.CheckIn(ctx, by, "1")), vault.ErrNotHeld)
	is(t, second(s.CheckIn(ctx, by, "nothing")), vault.ErrUnknown)

	// What a scope or a list does not give is not given.
	denied(t, fourth(s.CheckOut(ctx, authorization("robot", "credential.read"), "1")))
	is(t, fourth(s.CheckOut(ctx, robot(m, "other"), "1")), vault.ErrUnknown)
	// Someone who manages devices sees no secret by that.
	m.give(access.User, "adam", access.Admin, access.Installation)
	m.give(access.User, "mona", access.DeviceManage, web.Resource())
	denied(t, fourth(s.CheckOut(ctx, person("adam"), "1")))
	denied(t, fourth(s.CheckOut(ctx, person("mona"), "1")))
}

// rule F14: a person who sees a secret has proved a moment ago who they are; programs have no such moment.
func TestCheckOut_is_fresh(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx, by := t.Context(), robot(m, "robot")
	m.give(access.User, "root", access.SysAdmin, access.Installation)
	_, _, _, err := s.Put(ctx, by, vault.New{Host: "web-01", IP: web.IP, Username: "root", Secret: secret.New("pw")})
	must(t, err)
	must(t, fourth(s.CheckOut(ctx, person("root"), "1")))
	m.now = start.Add(11 * time.Minute)
	is(t, fourth(s.CheckOut(ctx, person("root"), "1")), access.ErrNotFresh)
	must(t, fourth(s.CheckOut(ctx, by, "1")))
	must(t, second(s.CheckIn(ctx, person("root"), "1"))) // that needs none
}

func TestCheckOut_refuses(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx := t.Context()
	one, two := robot(m, "one"), robot(m, "two")
	c, err := s.Create(ctx, local, vault.New{Device: web.ID, Username: "root", Secret: secret.New("pw"), Exclusive: ptr(true)})
	must(t, err)
	for _, who := range []string{"one", "two"} {
		m.give(access.Authorization, who, access.CredentialListed, c.Resource())
	}
	must(t, fourth(s.CheckOut(ctx, one, "1")))
	is(t, fourth(s.CheckOut(ctx, two, "1")), vault.ErrHeld)
	must(t, fourth(s.CheckOut(ctx, one, "1")))
	m.now = start.Add(time.Hour) // over, swept or not
	must(t, fourth(s.CheckOut(ctx, two, "1")))
	is(t, second(s.CheckIn(ctx, one, "1")), vault.ErrNotHeld)
	denied(t, second(s.CheckInFor(ctx, authorization("one", "credential.read", "credential.checkin"), "1", access.Subject{Kind: access.Authorization, ID: "two"})))
	must(t, second(s.CheckInFor(ctx, local, "1", access.Subject{Kind: access.Authorization, ID: "two"})))

	events := len(m.events)
	must(t, third(s.Update(ctx, local, c.ID, vault.New{NeverShown: ptr(true)})))
	is(t, fourth(s.CheckOut(ctx, one, "1")), vault.ErrNotShown)
	must(t, third(s.Update(ctx, local, c.ID, vault.New{NeverShown: ptr(false)})))
	must(t, third(s.SetDisabled(ctx, local, c.ID, true)))
	is(t, fourth(s.CheckOut(ctx, one, "1")), vault.ErrInactive)
	must(t, third(s.SetDisabled(ctx, local, c.ID, false)))
	m.devices[0].Disabled = true
	is(t, fourth(s.CheckOut(ctx, one, "1")), vault.ErrInactive)
	if len(m.events) != events+4 {
		t.Errorf("%d events, want those of the four changes", len(m.events)-events)
	}
}

func TestLend(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx := t.Context()
	c, err := s.Create(ctx, local, vault.New{Device: web.ID, Username: "root", Secret: secret.New("correct horse"), NeverShown: ptr(true)})
	must(t, err)
	e := audit.NewEvent(start, "", audit.Done)
	e.Actor = audit.Actor{Kind: "user", ID: "dana", Name: "dana"}
	plain, got, err := s.Lend(ctx, c.ID, e.With("session", "s-1"))
	if err != nil || plain.Reveal() != "correct horse" || got.ID != c.ID {
		t.Fatalf("%v", err)
	}
	if e := m.last(t); e.Action != "credential.lend" || e.Actor.Name != "dana" || e.Object.ID != c.ID || e.Object.Name != "root@Web-01" || e.Detail["session"] != "s-1" || strings.Contains(string(e.Body()), "correct horse") {
		t.Errorf("%s", e.Body())
	}
	if c, err := s.Get(ctx, c.ID); err != nil || c.NeedsRotation {
		t.Errorf("nobody has seen it, and it needs rotation: %v", err)
	}
	events := len(m.events)
	is(t, third(s.Lend(ctx, "gone", e)), vault.ErrUnknown)
	m.devices[0].Disabled = true
	is(t, third(s.Lend(ctx, c.ID, e)), vault.ErrInactive)
	m.devices[0].Disabled = false
	must(t, third(s.SetDisabled(ctx, local, c.ID, true)))
	plain, _, err = s.Lend(ctx, c.ID, e)
	is(t, err, vault.ErrInactive)
	if !plain.Empty() || len(m.events) != events+1 {
		t.Error("what was not lent was given or recorded")
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx, by := t.Context(), robot(m, "robot")
	_, _, _, err := s.Put(ctx, by, vault.New{Host: "web-01", IP: web.IP, Username: "root", Secret: secret.New("pw")})
	must(t, err)
	must(t, fourth(s.CheckOut(ctx, by, "1")))
	events := len(m.events)
	must(t, s.Sweep(ctx))
	if len(m.events) != events {
		t.Error("custody ended too soon")
	}
	m.now = start.Add(time.Hour)
	must(t, s.Sweep(ctx))
	must(t, s.Sweep(ctx))
	if e := m.last(t); len(m.events) != events+1 || e.Action != "credential.expire" || e.Detail["holder"] != "authorization robot" || e.Actor.Kind != "system" {
		t.Errorf("%d events, %+v", len(m.events)-events, e)
	}
}
