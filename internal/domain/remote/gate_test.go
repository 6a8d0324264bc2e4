package remote_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

var wish = remote.Want{User: "ana", Device: "WEB-01", Credential: "svc", Protocol: device.SSH}

// Each row has one fault, and those of the rows behind it too: the first in order wins.
func TestLaunch_checks_in_order(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		want error
		do   func(g *gate, w *remote.Want) access.Caller
	}{
		{"unknown user", remote.ErrNoUser, func(g *gate, w *remote.Want) access.Caller {
			w.User = "zoe"
			w.Device = "nowhere"
			return g.everything()
		}},
		{"nobody is listed", remote.ErrNoUser, func(g *gate, w *remote.Want) access.Caller { return g.api("device *", "credential *") }},
		{"user shut", remote.ErrUserShut, func(g *gate, w *remote.Want) access.Caller {
			p := g.people["ana"]
			p.Shut = true
			g.people["ana"], w.Device = p, "nowhere"
			return g.everything()
		}},
		{"unknown device", remote.ErrNoDevice, func(g *gate, w *remote.Want) access.Caller {
			w.Device, w.Credential = "nowhere", "no"
			return g.everything()
		}},
		{"device not listed", remote.ErrNoDevice, func(g *gate, w *remote.Want) access.Caller { return g.api("credential *", "user ana") }},
		{"device inactive", remote.ErrNoDevice, func(g *gate, w *remote.Want) access.Caller { g.devices[0].Disabled = true; return g.everything() }},
		{"unknown credential", remote.ErrNoCredential, func(g *gate, w *remote.Want) access.Caller { w.Credential = "root"; return g.everything() }},
		{"credential not listed", remote.ErrNoCredential, func(g *gate, w *remote.Want) access.Caller { return g.api("device *", "user *") }},
		{"credential left out", remote.ErrNoCredential, func(g *gate, w *remote.Want) access.Caller { w.Credential = ""; return g.everything() }},
		{"credential inactive", remote.ErrInactive, func(g *gate, w *remote.Want) access.Caller {
			g.creds[0].Disabled, w.Target = true, "nowhere"
			return g.everything()
		}},
		{"domain's without target", remote.ErrNeedsTarget, func(g *gate, w *remote.Want) access.Caller { g.creds[0].Domain = "CORP"; return g.everything() }},
		{"unknown target", remote.ErrNoTarget, func(g *gate, w *remote.Want) access.Caller { w.Target = "nowhere"; return g.everything() }},
		{"target not listed", remote.ErrNoTarget, func(g *gate, w *remote.Want) access.Caller {
			g.creds[0].Domain, w.Target = "CORP", "dc-01"
			return g.api("device web", "credential *", "user *")
		}},
		{"target outside the domain", remote.ErrNoTarget, func(g *gate, w *remote.Want) access.Caller {
			g.creds[0].Domain, w.Target = "OTHER", "dc-01"
			return g.everything()
		}},
		{"local credential, other target", remote.ErrNoAccess, func(g *gate, w *remote.Want) access.Caller { w.Target = "dc-01"; return g.everything() }},
		{"no grant", remote.ErrNoAccess, func(g *gate, w *remote.Want) access.Caller { g.bindings = nil; return g.everything() }},
		{"grant is over", remote.ErrNoAccess, func(g *gate, w *remote.Want) access.Caller {
			g.bindings[0].Terms.NotAfter = gateStart
			return g.everything()
		}},
		{"protocol off", remote.ErrProtocolOff, func(g *gate, w *remote.Want) access.Caller {
			g.creds[0].Protocols, w.Port = &[]device.Protocol{}, 99
			return g.everything()
		}},
		{"device does not speak it", remote.ErrProtocolOff, func(g *gate, w *remote.Want) access.Caller {
			g.devices[0].Connect = []device.Connectivity{{Name: "RDP", Port: 3389}}
			return g.everything()
		}},
		{"port of nobody", remote.ErrPort, func(g *gate, w *remote.Want) access.Caller { w.Port, w.RemoteApp = 2222, 3; return g.everything() }},
		{"port outside the grant's", remote.ErrPort, func(g *gate, w *remote.Want) access.Caller {
			g.bindings[0].Terms.Ports = []int{2222}
			return g.everything()
		}},
		{"remote app", remote.ErrRemoteApp, func(g *gate, w *remote.Want) access.Caller {
			w.RemoteApp, g.Settings.PerUser = 3, 1
			return g.everything()
		}},
		{"a credential for remote apps", remote.ErrRemoteApp, func(g *gate, _ *remote.Want) access.Caller { g.creds[0].RemoteApp = true; return g.everything() }},
		{"no session of one's own", remote.ErrNotSignedIn, func(g *gate, w *remote.Want) access.Caller { by := g.as("ana"); by.Session = ""; return by }},
		{"a link for somebody else", remote.ErrNoUser, func(g *gate, w *remote.Want) access.Caller { return g.as("eve") }},
	} {
		g, w := newGate(t), wish
		by := c.do(g, &w)
		if _, err := g.Launch(t.Context(), by, w); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, not %v", c.name, err, c.want)
		}
		if len(g.sessions) != 0 || len(g.events) != 0 {
			t.Errorf("%s: something was stored", c.name)
		}
	}
	g := newGate(t)
	g.Settings.PerUser = 1
	g.launch(t, g.everything(), wish)
	if _, err := g.Launch(t.Context(), g.everything(), wish); !errors.Is(err, remote.ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
}

func (g *gate) launch(t *testing.T, by access.Caller, w remote.Want) remote.Launched {
	t.Helper()
	made, err := g.Launch(t.Context(), by, w)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestLaunch_names(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.creds[0].Domain = "CORP"
	g.bindings[0] = access.Binding{Subject: access.Subject{Kind: access.User, ID: "ana"}, Role: access.CredentialConnect, Resource: access.Credential("web", "svc"), Number: 1}
	by := g.everything()
	for _, name := range []string{"svc", `corp\svc`, "svc@Corp", "svc-id"} {
		for _, target := range []string{"dc-01", "10.0.0.2", "2", "DC-01"} {
			w := wish
			w.Credential, w.Target = name, target
			if x := g.launch(t, by, w).Session; x.Target != "dc" || x.Port != 2222 || x.Device != "web" {
				t.Errorf("%s to %s: %+v", name, target, x)
			}
		}
	}
	if e := g.events[0]; e.Action != "session_url.created" || e.Detail["authorization"] != "z" || e.Detail["user"] != "ana" || e.Detail["device"] != "dc-01" || e.Detail["port"] != "2222" {
		t.Errorf("%+v", e)
	}
}

func TestLaunch_picks_what_is_free(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.creds[0].LastUsed = gateStart
	g.credential("web", vault.Credential{ID: "old", Username: "old"})
	g.credential("web", vault.Credential{ID: "key", Username: "key", Kind: vault.SSHKey})
	by, w := g.everything(), wish
	w.Credential, w.Pick = "", true
	first := g.launch(t, by, w)
	if first.Session.Username != "old" || g.launch(t, by, w).Session.Username != "svc" {
		t.Errorf("not the longest unused first: %s", first.Session.Username)
	}
	if _, err := g.Launch(t.Context(), by, w); !errors.Is(err, remote.ErrNoneFree) {
		t.Errorf("a key, or one twice: %v", err)
	}
	g.pass(30 * time.Second) // nobody came: the reservation is over
	if x := g.launch(t, by, w).Session; x.Username != "old" {
		t.Errorf("%s", x.Username)
	}
}

// People open a second terminal on a machine, which takes a credential that is in use.
func TestBegin_goes_to_the_same_machine_twice(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	w := wish
	w.Credential, w.Pick = "", true
	for range 3 {
		if x, err := g.Begin(t.Context(), g.as("ana"), w); err != nil || x.Username != "svc" || x.State != remote.Waiting {
			t.Errorf("%+v %v", x, err)
		}
	}
	g.creds[0].Disabled = true
	if _, err := g.Begin(t.Context(), g.as("ana"), w); !errors.Is(err, remote.ErrNoneFree) {
		t.Errorf("%v", err)
	}
}

func visit(made remote.Launched, from string) remote.Visit {
	return remote.Visit{Link: made.Link, Address: netip.MustParseAddr(from), Door: "remote", Request: "r1"}
}

func (g *gate) redeem(t *testing.T, v remote.Visit) (remote.Session, secret.String) {
	t.Helper()
	x, cookie, err := g.Redeem(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	return x, cookie
}

func (g *gate) turned(t *testing.T, v remote.Visit, want error, told string) {
	t.Helper()
	if _, _, err := g.Redeem(t.Context(), v); !errors.Is(err, want) {
		t.Errorf("%v, not %v", err, want)
	}
	if got := g.told(); got != told {
		t.Errorf("recorded %q, not %q", got, told)
	}
}

// Rule S14: a link is good once, for seconds, from where it is for.
func TestRedeem(t *testing.T) {
	t.Parallel()
	w := wish
	w.Bound = netip.MustParseAddr("::ffff:192.0.2.1")
	g := newGate(t)
	by := g.everything()
	made := g.launch(t, by, w)
	g.told()
	g.turned(t, visit(made, "192.0.2.2"), remote.ErrLinkElsewhere, "session_url.wrong_address")
	g.turned(t, visit(made, "192.0.2.2"), remote.ErrLinkElsewhere, "") // folded
	g.pass(29 * time.Second)
	x, cookie := g.redeem(t, visit(made, "192.0.2.1"))
	if x.State != remote.Waiting || x.Address != netip.MustParseAddr("192.0.2.1") || g.told() != "session_url.redeemed" {
		t.Errorf("%+v", x)
	}
	g.turned(t, visit(made, "192.0.2.1"), remote.ErrLinkUsed, "session_url.reused")
	again := visit(made, "192.0.2.1")
	again.Earlier = []secret.String{secret.New("other"), cookie}
	if own, _, err := g.Redeem(t.Context(), again); !errors.Is(err, remote.ErrLinkUsed) || own.ID != x.ID {
		t.Errorf("who has the cookie finds the way back: %v, %v", own.ID, err)
	}
	g.told()

	late := g.launch(t, by, wish)
	g.pass(31 * time.Second)
	g.told()
	g.turned(t, visit(late, "192.0.2.3"), remote.ErrLinkLate, "session_url.expired")
	if err := g.SweepOnce(t.Context()); err != nil || g.told() != "" {
		t.Errorf("the sweep tells of it again: %v", err)
	}
	swept := g.launch(t, by, wish)
	g.pass(31 * time.Second)
	g.told()
	if err := g.SweepOnce(t.Context()); err != nil || len(g.events) != 1 || g.events[0].Action != "session_url.expired" || g.events[0].Detail["attempted"] != "false" {
		t.Errorf("%v, %+v", err, g.events)
	}
	g.told()
	g.turned(t, visit(swept, "192.0.2.4"), remote.ErrLinkLate, "session_url.expired")

	cancelled := g.launch(t, by, wish)
	if _, err := g.End(t.Context(), by, cancelled.Handle.Reveal(), remote.Dropped); err != nil {
		t.Fatal(err)
	}
	if got := g.told(); got != "session_url.created session_url.cancelled" {
		t.Error(got)
	}
	g.turned(t, visit(cancelled, "192.0.2.5"), remote.ErrLinkCancelled, "session_url.cancelled")
	g.turned(t, remote.Visit{Link: secret.New("never"), Address: netip.MustParseAddr("192.0.2.6")}, remote.ErrLinkUnknown, "session_url.unknown")
}

func TestRedeem_two_at_once(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	made := g.launch(t, g.everything(), wish)
	var errs [2]error
	var all sync.WaitGroup
	var one sync.Mutex // the maps of the test's store are not for two at once; the race itself is run on both databases
	for i := range errs {
		all.Go(func() {
			one.Lock()
			defer one.Unlock()
			_, _, errs[i] = g.Redeem(context.Background(), visit(made, "192.0.2.1"))
		})
	}
	all.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs[:]...), remote.ErrLinkUsed) {
		t.Errorf("%v", errs)
	}
}

func TestRedeem_asks_again_and_burns(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]func(g *gate){
		"grant":      func(g *gate) { g.bindings = g.bindings[1:] },
		"user":       func(g *gate) { delete(g.people, "ana") },
		"shut user":  func(g *gate) { p := g.people["ana"]; p.Shut = true; g.people["ana"] = p },
		"device":     func(g *gate) { g.devices[0].Disabled = true },
		"credential": func(g *gate) { g.creds[0].Disabled = true },
		"protocol":   func(g *gate) { g.creds[0].Protocols = &[]device.Protocol{} },
		"authorization": func(g *gate) {
			g.Stands = func(context.Context, string) (bool, error) { return false, nil }
		},
	} {
		g := newGate(t)
		made := g.launch(t, g.everything(), wish)
		gone(g)
		g.told()
		if g.turned(t, visit(made, "192.0.2.1"), remote.ErrLinkDenied, "session_url.denied"); t.Failed() {
			t.Fatal(name)
		}
		g.turned(t, visit(made, "192.0.2.1"), remote.ErrLinkUsed, "session_url.reused")
	}
}

func TestRedeem_of_a_console_user_belongs_to_their_session(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	made := g.launch(t, g.as("ana"), wish)
	g.told()
	v := visit(made, "192.0.2.1")
	for _, other := range []string{"", "console of eve"} {
		v.Session = other
		if _, _, err := g.Redeem(t.Context(), v); !errors.Is(err, remote.ErrLinkElsewhere) {
			t.Errorf("%q: %v", other, err)
		}
	}
	v.Session = "console of ana"
	g.redeem(t, v)
}

func TestRedeem_refusals_are_limited(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	made := g.launch(t, g.everything(), wish)
	guess := remote.Visit{Link: secret.New("guess"), Address: netip.MustParseAddr("198.51.100.1")}
	for range 10 {
		if _, _, err := g.Redeem(t.Context(), guess); !errors.Is(err, remote.ErrLinkUnknown) {
			t.Fatal(err)
		}
	}
	if _, _, err := g.Redeem(t.Context(), guess); !errors.Is(err, remote.ErrTooManyLinks) || !fault.Is(err, fault.Limited) {
		t.Error(err)
	}
	if _, _, err := g.Redeem(t.Context(), visit(made, "198.51.100.1")); !errors.Is(err, remote.ErrTooManyLinks) {
		t.Errorf("a good link from there: %v", err)
	}
	g.redeem(t, visit(made, "192.0.2.1"))
}

// Rule S15: a session that is bound to an address ends when a request comes from another one.
func TestResume(t *testing.T) {
	t.Parallel()
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.9")
	for _, c := range []struct {
		scope      string
		pin, bound bool
		ends       bool
	}{{"session", false, true, true}, {"session", false, false, false}, {"session", true, false, true}, {"start", true, true, false}} {
		g := newGate(t)
		g.Settings.AddressScope, g.Settings.PinAlways = c.scope, c.pin
		w := wish
		if c.bound {
			w.Bound = here
		}
		x, cookie := g.redeem(t, visit(g.launch(t, g.everything(), w), "192.0.2.1"))
		if _, err := g.Resume(t.Context(), x.ID, cookie, netip.AddrFrom16(here.As16())); err != nil {
			t.Errorf("IPv4 in IPv6: %v", err)
		}
		_, err := g.Resume(t.Context(), x.ID, cookie, there)
		if errors.Is(err, remote.ErrLinkElsewhere) != c.ends || g.sessions[x.ID].End == remote.Moved != c.ends {
			t.Errorf("%+v: %v, %+v", c, err, g.sessions[x.ID])
		}
		if _, err := g.Resume(t.Context(), x.ID, secret.New("guess"), here); !errors.Is(err, remote.ErrUnknown) {
			t.Error(err)
		}
	}
}

// Step-up, reason, approval: in this order, and each only once.
func TestSteps(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := newGate(t)
	g.bindings[0].Terms = access.Terms{StepUp: true, Reason: true, Approval: true, ApprovalFor: time.Hour}
	g.grants("root", access.SysAdmin, access.Installation, access.Terms{})
	x, _ := g.redeem(t, visit(g.launch(t, g.everything(), wish), "192.0.2.1"))
	if got := g.told(); got != "session_url.created session_url.redeemed session.waiting" {
		t.Error(got)
	}
	due := func(want remote.StepKind) remote.Step {
		t.Helper()
		step, err := g.Due(ctx, g.sessions[x.ID])
		if err != nil || step.Kind != want {
			t.Fatalf("%q is due, not %q: %v", step.Kind, want, err)
		}
		return step
	}
	due(remote.StepUpDue)
	if _, err := g.Explain(ctx, x, "why", ""); !errors.Is(err, remote.ErrNotWaiting) {
		t.Errorf("a reason before the second factor: %v", err)
	}
	if _, err := g.StepUp(ctx, x, remote.Answer{Code: "000000"}); !fault.Is(err, fault.Unauthenticated) {
		t.Error(err)
	}
	due(remote.StepUpDue)
	g.factor = false
	if _, err := g.Due(ctx, g.sessions[x.ID]); !errors.Is(err, remote.ErrNoFactor) {
		t.Error(err)
	}
	g.factor = true
	x, err := g.StepUp(ctx, x, remote.Answer{Code: "123456"})
	if err != nil {
		t.Fatal(err)
	}
	due(remote.ReasonDue)
	for _, bad := range []string{"", " \n", "\x1b[2J", strings.Repeat("x", 1001)} {
		if _, err := g.Explain(ctx, x, bad, ""); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if x, err = g.Explain(ctx, x, " the disk is full ", "T-1"); err != nil || x.Why != "the disk is full" || x.Reference != "T-1" {
		t.Fatal(x.Why, err)
	}
	g.told()
	r := due(remote.ApprovalWanted).Request
	due(remote.ApprovalWanted)
	if got := g.told(); got != "session.waiting" || r.Reason != "the disk is full" || !r.Expires.Equal(gateStart.Add(time.Hour)) {
		t.Errorf("%s, %+v", got, r)
	}
	for _, c := range []struct {
		by   access.Caller
		want error
	}{{g.as("ana"), remote.ErrOwnRequest}, {g.as("eve"), remote.ErrNoRequest}} {
		if _, err := g.Decide(ctx, c.by, r.Number, true, ""); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.by.Name, err)
		}
	}
	g.pass(30 * time.Minute)
	if r, err = g.Decide(ctx, g.as("root"), r.Number, true, "fine"); err != nil || r.State != remote.Approved || g.told() != "session.approved" {
		t.Errorf("%+v, %v", r, err)
	}
	due(remote.NothingDue)
	if _, err := g.Decide(ctx, g.as("root"), r.Number, false, ""); !errors.Is(err, remote.ErrDecided) {
		t.Error(err)
	}
	g.pass(10 * time.Minute)
	if err := g.SweepOnce(ctx); err != nil || g.sessions[x.ID].End != remote.Abandoned || g.told() != "session.ended" {
		t.Errorf("%v, %+v", err, g.sessions[x.ID])
	}
}

func TestSteps_a_factor_counts_for_a_while_in_one_browser(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.bindings[0].Terms.StepUp = true
	by := g.everything()
	x, cookie := g.redeem(t, visit(g.launch(t, by, wish), "192.0.2.1"))
	if _, err := g.StepUp(t.Context(), x, remote.Answer{Code: "123456"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after   time.Duration
		earlier []secret.String
		due     remote.StepKind
	}{{4 * time.Minute, []secret.String{cookie}, remote.NothingDue}, {0, nil, remote.StepUpDue}, {time.Minute, []secret.String{cookie}, remote.StepUpDue}} {
		g.pass(c.after)
		v := visit(g.launch(t, by, wish), "192.0.2.1")
		v.Earlier = c.earlier
		next, _ := g.redeem(t, v)
		if step, err := g.Due(t.Context(), next); err != nil || step.Kind != c.due {
			t.Errorf("%s later %q is due: %v", c.after, step.Kind, err)
		}
	}
}

func TestSteps_approval_denied_named_and_late(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := newGate(t)
	g.bindings[0].Terms = access.Terms{Approval: true, Approvers: []access.Subject{{Kind: access.Group, ID: "bosses"}}}
	g.grants("root", access.SysAdmin, access.Installation, access.Terms{})
	g.people["eve"] = remote.Person{User: g.people["eve"].User, Groups: []string{"bosses"}}
	g.person("root")
	wait := func() (remote.Session, remote.Request) {
		x, _ := g.redeem(t, visit(g.launch(t, g.everything(), wish), "192.0.2.1"))
		step, err := g.Due(ctx, x)
		if err != nil {
			t.Fatal(err)
		}
		g.told()
		return x, step.Request
	}
	x, r := wait()
	if _, err := g.Decide(ctx, g.as("root"), r.Number, true, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("an administrator whom the grant does not name: %v", err)
	}
	if _, err := g.Decide(ctx, g.as("eve"), r.Number, false, "no"); err != nil || g.told() != "session.refused session.ended" || g.sessions[x.ID].End != remote.Refused {
		t.Errorf("%v, %+v", err, g.sessions[x.ID])
	}
	if _, err := g.Due(ctx, g.sessions[x.ID]); !errors.Is(err, remote.ErrOver) {
		t.Error(err)
	}
	x, r = wait()
	g.pass(10 * time.Minute)
	if _, err := g.Decide(ctx, g.as("eve"), r.Number, true, ""); !errors.Is(err, remote.ErrDecided) {
		t.Errorf("late: %v", err)
	}
	if err := g.SweepOnce(ctx); err != nil || g.sessions[x.ID].End != remote.Refused || g.told() != "session.refused session.ended" {
		t.Errorf("%v, %+v", err, g.sessions[x.ID])
	}
}

func TestEnd(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := newGate(t)
	by := g.everything()
	made := g.launch(t, by, wish)
	x, _ := g.redeem(t, visit(made, "192.0.2.1"))
	stranger := by
	stranger.ID = "another"
	for name, c := range map[string]access.Caller{"another authorization": stranger, "another user": g.as("eve")} {
		for _, ref := range []string{made.Handle.Reveal(), x.ID} {
			if _, err := g.End(ctx, c, ref, remote.Dropped); !errors.Is(err, remote.ErrUnknown) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	g.told()
	if x, err := g.End(ctx, by, made.Handle.Reveal(), remote.Dropped); err != nil || x.State != remote.Ended || x.End != remote.Dropped || x.EndedBy != "billing" || g.told() != "session.ended" {
		t.Errorf("%+v, %v", x, err)
	}
	if _, err := g.End(ctx, by, made.Handle.Reveal(), remote.Dropped); !errors.Is(err, remote.ErrOver) {
		t.Error(err)
	}
	own := g.launch(t, g.as("ana"), wish)
	y := g.sessions[own.Session.ID]
	y.State, y.Node = remote.Active, "n2"
	g.sessions[y.ID] = y
	g.told()
	if y, err := g.End(ctx, g.as("ana"), own.Handle.Reveal(), remote.Dropped); err != nil || y.State != remote.Active || y.EndAsked != remote.Dropped || g.told() != "remote.end" {
		t.Errorf("%+v, %v", y, err)
	}
	if _, err := g.End(ctx, g.as("ana"), "nonsense", remote.Dropped); !errors.Is(err, remote.ErrUnknown) {
		t.Error(err)
	}
}

// Rule W13: nothing that is recorded holds what a link, a handle or a cookie is.
func TestEvents_hold_no_secrets(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	made := g.launch(t, g.everything(), wish)
	_, cookie := g.redeem(t, visit(made, "192.0.2.1"))
	_, _, _ = g.Redeem(t.Context(), visit(made, "192.0.2.1"))
	if len(made.Link.Reveal()) != 43 || len(made.Handle.Reveal()) != 64 || len(g.events) != 3 {
		t.Fatalf("%d events", len(g.events))
	}
	for _, e := range g.events {
		for _, plain := range []secret.String{made.Link, made.Handle, cookie} {
			if strings.Contains(string(e.Body()), plain.Reveal()) {
				t.Errorf("%s holds a secret", e.Action)
			}
		}
	}
}

// Another site can have a browser send as many requests as it likes: they are one event.
func TestForeign(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	made := g.launch(t, g.everything(), wish)
	before := len(g.events)
	for range 3 {
		g.Foreign(t.Context(), made.Session, netip.MustParseAddr("192.0.2.9"), "remote", "it began elsewhere")
	}
	if len(g.events) != before+1 {
		t.Fatalf("%d events", len(g.events)-before)
	}
	e := g.events[before]
	if e.Action != "session.request_refused" || e.Outcome != audit.Refused || e.Reason != "it began elsewhere" || e.Object.ID != made.Session.ID || e.Address != "192.0.2.9" || e.Actor.ID != "" {
		t.Errorf("%+v", e)
	}
}
