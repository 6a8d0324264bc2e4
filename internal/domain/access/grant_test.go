package access_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

func grant(number int64, who string, role access.Role, on access.Resource, terms access.Terms) access.Binding {
	return access.Binding{Subject: access.Subject{Kind: access.User, ID: who}, Role: role, Resource: on, Number: number, Terms: terms}
}

func TestGoverning(t *testing.T) {
	t.Parallel()
	box, root := access.Device("box"), access.Credential("box", "root")
	free, why, agreed := access.Terms{}, access.Terms{Reason: true}, access.Terms{Approval: true}
	over := access.Terms{Approval: true, NotAfter: now}
	opening := access.Opening{Device: "box", Credential: "root", Target: "box", Protocol: "ssh", Port: 22}
	elsewhere := opening
	elsewhere.Target = "other"
	for name, c := range map[string]struct {
		held []access.Binding
		wish access.Opening
		want int64 // 0: none
	}{
		"none":                                 {nil, opening, 0},
		"a device's, for all its credentials":  {[]access.Binding{grant(1, "ana", access.DeviceConnect, box, free)}, opening, 1},
		"a credential's":                       {[]access.Binding{grant(1, "ana", access.CredentialConnect, root, free)}, opening, 1},
		"of another credential":                {[]access.Binding{grant(1, "ana", access.CredentialConnect, access.Credential("box", "web"), free)}, opening, 0},
		"of every device":                      {[]access.Binding{grant(1, "ana", access.DeviceConnect, access.Every(access.DeviceKind), free)}, elsewhere, 1},
		"somebody else's":                      {[]access.Binding{grant(1, "bob", access.DeviceConnect, box, free)}, opening, 0},
		"a reason outweighs nothing":           {[]access.Binding{grant(1, "ana", access.DeviceConnect, box, free), grant(2, "ana", access.CredentialConnect, root, why)}, opening, 2},
		"approval outweighs a reason":          {[]access.Binding{grant(1, "ana", access.DeviceConnect, box, why), grant(2, "ana", access.CredentialConnect, root, agreed)}, opening, 2},
		"the lower number among equals":        {[]access.Binding{grant(4, "ana", access.DeviceConnect, box, why), grant(3, "ana", access.CredentialConnect, root, why)}, opening, 3},
		"what is over counts no more":          {[]access.Binding{grant(1, "ana", access.DeviceConnect, box, free), grant(2, "ana", access.CredentialConnect, root, over)}, opening, 1},
		"other protocols do not count":         {[]access.Binding{grant(1, "ana", access.DeviceConnect, box, access.Terms{Protocols: []string{"rdp"}})}, opening, 0},
		"other ports do not count":             {[]access.Binding{grant(1, "ana", access.DeviceConnect, box, access.Terms{Ports: []int{2222}})}, opening, 0},
		"a device's own is not for its domain": {[]access.Binding{grant(1, "ana", access.DeviceConnect, box, free)}, elsewhere, 0},
		"a credential's is for its domain":     {[]access.Binding{grant(1, "ana", access.CredentialConnect, root, free)}, elsewhere, 1},
		"but for the targets it names":         {[]access.Binding{grant(1, "ana", access.CredentialConnect, root, access.Terms{Targets: []string{"box"}})}, elsewhere, 0},
		"managing opens nothing":               {[]access.Binding{grant(0, "ana", access.DeviceManage, box, free), grant(0, "ana", access.CredentialManage, root, free)}, opening, 0},
		"nor does administering the whole":     {[]access.Binding{grant(0, "ana", access.SysAdmin, access.Installation, free)}, opening, 0},
		"listing opens nothing for a user":     {[]access.Binding{grant(0, "ana", access.CredentialListed, root, free)}, opening, 0},
	} {
		b, err := service(&memory{bindings: c.held}).Governing(t.Context(), "ana", c.wish)
		if b.Number != c.want || (err == nil) != (c.want > 0) || err != nil && !errors.Is(err, access.ErrNoGrant) {
			t.Errorf("%s: grant %d, %v", name, b.Number, err)
		}
	}
	if _, err := service(&memory{err: errors.New("away")}).Governing(t.Context(), "ana", opening); err == nil {
		t.Error("bindings that cannot be read opened something")
	}
}

// Whoever may do everything else opens no session but by a grant, and is told why.
func TestDecide_opens_by_grants_alone(t *testing.T) {
	t.Parallel()
	root := access.Credential("box", "root")
	m := &memory{bindings: []access.Binding{grant(0, "ana", access.SysAdmin, access.Installation, access.Terms{})}}
	s := service(m)
	says := func(by access.Caller, on access.Resource, allowed bool, why string) {
		t.Helper()
		d, err := s.Decide(t.Context(), by, access.RemoteOpen, on)
		if err != nil || d.Allowed != allowed || !strings.Contains(d.String(), why) {
			t.Errorf("%v: %s, %v", d.Allowed, d, err)
		}
	}
	says(user("ana", "*"), root, false, "no grant opens credential root now")
	m.bindings = append(m.bindings, grant(7, "ana", access.DeviceConnect, access.Device("box"), access.Terms{Hours: []access.Hours{{From: "09:00", To: "10:00"}}}))
	says(user("ana", "*"), root, false, "grant 7, role device.connect on device box: it is outside the hours of the grant")
	m.bindings = append(m.bindings, grant(8, "ana", access.CredentialConnect, root, access.Terms{StepUp: true, Approval: true}))
	says(user("ana", "*"), root, true, "grant 8, role credential.connect on credential root opens it, after a second factor, then somebody's approval")
	says(user("ana", "*"), access.RemoteSession("s", "box", "root"), true, "grant 8")
	says(user("ana", "*"), access.Device("box"), false, "no grant")
	says(user("ana", "project.*"), root, false, "no scope")
	says(listing(m, "root"), root, false, "only people open sessions")
}

func TestGrantTerms(t *testing.T) {
	t.Parallel()
	ctx, bob := t.Context(), access.Subject{Kind: access.User, ID: "bob"}
	m := &memory{bindings: []access.Binding{
		grant(0, "ana", access.Admin, access.Installation, access.Terms{}), grant(0, "mia", access.DeviceManage, access.Device("box"), access.Terms{}),
	}}
	s := service(m)
	// Nobody holds what a grant gives by another role, so who may give roles there gives it: rule W7 asks for all the rest.
	for _, by := range []access.Caller{user("ana", "*"), user("mia", "*"), access.LocalCaller("root", now)} {
		b, err := s.GrantTerms(ctx, by, bob, access.DeviceConnect, access.Device("box"), access.Terms{Reason: true})
		if err != nil || b.Number == 0 || !b.Terms.Reason {
			t.Errorf("%s: %+v, %v", by.Name, b, err)
		}
	}
	if e := m.events[0]; e.Action != "access.grant" || e.Object.ID != "box" || e.Detail["terms"] != `{"reason":true}` || e.Detail["to"] != "user bob" {
		t.Errorf("%+v", e)
	}
	for name, c := range map[string]struct {
		by    access.Caller
		to    access.Subject
		role  access.Role
		on    access.Resource
		terms access.Terms
		kind  fault.Kind
	}{
		"one's own grant gives none":          {user("bob", "*"), bob, access.DeviceConnect, access.Device("box"), access.Terms{}, fault.Denied},
		"nor the manager of another device":   {user("mia", "*"), bob, access.DeviceConnect, access.Device("den"), access.Terms{}, fault.Denied},
		"nor a token without the scope":       {user("ana", "device.*"), bob, access.DeviceConnect, access.Device("box"), access.Terms{}, fault.Denied},
		"a role without terms":                {user("ana", "*"), bob, access.DeviceManage, access.Device("box"), access.Terms{}, fault.Invalid},
		"terms that mean nothing":             {user("ana", "*"), bob, access.DeviceConnect, access.Device("box"), access.Terms{Zone: "Nowhere"}, fault.Invalid},
		"on something else":                   {user("ana", "*"), bob, access.DeviceConnect, access.Project("p"), access.Terms{}, fault.Invalid},
		"to a program":                        {user("ana", "*"), access.Subject{Kind: access.Application, ID: "a"}, access.DeviceConnect, access.Device("box"), access.Terms{}, fault.Invalid},
		"to a group that is not there":        {user("ana", "*"), access.Subject{Kind: access.Group, ID: "g"}, access.DeviceConnect, access.Device("box"), access.Terms{}, fault.NotFound},
		"to an authorization, which has none": {user("ana", "*"), access.Subject{Kind: access.Authorization, ID: "z"}, access.DeviceConnect, access.Device("box"), access.Terms{}, fault.Invalid},
	} {
		if _, err := s.GrantTerms(ctx, c.by, c.to, c.role, c.on, c.terms); !fault.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.SetRole(ctx, user("ana", "*"), bob, access.DeviceConnect, access.Device("box")); !fault.Is(err, fault.Invalid) {
		t.Errorf("a grant without a number: %v", err)
	}
	if err := s.Grant(ctx, access.LocalCaller("root", now), bob, access.UserListed, access.Listed("eve", nil)); !fault.Is(err, fault.Invalid) {
		t.Errorf("a person who lists people: %v", err)
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()
	ctx, w := t.Context(), page.Of(0, 10)
	m := &memory{bindings: []access.Binding{
		grant(0, "ana", access.Admin, access.Installation, access.Terms{}), grant(0, "mia", access.DeviceManage, access.Device("box"), access.Terms{}),
		grant(1, "bob", access.DeviceConnect, access.Device("box"), access.Terms{}), grant(2, "eve", access.DeviceConnect, access.Device("den"), access.Terms{}),
	}}
	s := service(m)
	if p, err := s.Grants(ctx, user("ana", "*"), access.Subject{}, w); err != nil || p.Total != 2 {
		t.Errorf("all: %+v, %v", p, err)
	}
	if p, err := s.Grants(ctx, user("bob", "*"), access.Subject{Kind: access.User, ID: "bob"}, w); err != nil || p.Total != 1 || p.Items[0].Number != 1 {
		t.Errorf("one's own: %+v, %v", p, err)
	}
	for _, of := range []access.Subject{{}, {Kind: access.User, ID: "eve"}} {
		if _, err := s.Grants(ctx, user("bob", "*"), of, w); !fault.Is(err, fault.Denied) {
			t.Errorf("%+v: %v", of, err)
		}
	}
	if _, err := s.Grants(ctx, user("bob", "project.*"), access.Subject{Kind: access.User, ID: "bob"}, w); !fault.Is(err, fault.Denied) {
		t.Errorf("without scope: %v", err)
	}
	for who, sees := range map[string][]int64{"ana": {1, 2}, "mia": {1}, "bob": {1}, "eve": {2}, "zoe": nil} {
		for _, number := range []int64{1, 2, 3} {
			_, err := s.GrantByNumber(ctx, user(who, "*"), number)
			if want := slices.Contains(sees, number); (err == nil) != want || err != nil && !errors.Is(err, access.ErrNoGrantOf) {
				t.Errorf("%s, grant %d: %v", who, number, err)
			}
		}
	}
	if err := s.RevokeGrant(ctx, user("mia", "*"), 1); err != nil {
		t.Error(err)
	}
	if err := s.RevokeGrant(ctx, user("bob", "*"), 1); !fault.Is(err, fault.Denied) {
		t.Errorf("one's own grant is not one's to take back: %v", err)
	}
	if err := s.RevokeGrant(ctx, user("mia", "*"), 2); !errors.Is(err, access.ErrNoGrantOf) {
		t.Error(err)
	}
}

// listing is a caller by an authorisation that lists credential ids of device box, and box.
func listing(m *memory, credentials ...string) access.Caller {
	z := access.Subject{Kind: access.Authorization, ID: "z"}
	m.bindings = append(m.bindings, access.Binding{Subject: z, Role: access.DeviceListed, Resource: access.Device("box")},
		access.Binding{Subject: z, Role: access.UserListed, Resource: access.Resource{Kind: access.UserKind, ID: "ana"}},
		access.Binding{Subject: z, Role: access.GroupListed, Resource: access.Resource{Kind: access.GroupKind, ID: "ops"}})
	for _, id := range credentials {
		m.bindings = append(m.bindings, access.Binding{Subject: z, Role: access.CredentialListed, Resource: access.Credential("box", id)})
	}
	return access.Caller{Principal: access.Principal{Kind: access.Authorization, ID: "z", Name: "billing"}, Scopes: []access.Action{"device.*", "credential.*", "remote.*"}}
}

func TestDecide_for_authorizations_goes_by_their_lists(t *testing.T) {
	t.Parallel()
	m := &memory{}
	by := listing(m, "web")
	s := service(m)
	for _, c := range []struct {
		do      access.Action
		on      access.Resource
		allowed bool
	}{
		{access.DeviceRead, access.Device("box"), true},
		{access.DeviceUpdate, access.Device("box"), true},
		{access.DeviceRead, access.Device("den"), false},
		{access.DeviceTrust, access.Device("box"), false},
		{access.DeviceCreate, access.Device("new"), true},
		{access.CredentialCreate, access.Device("box"), true},
		{access.CredentialCreate, access.Credential("box", ""), true},
		{access.CredentialCreate, access.Device("den"), false},
		{access.CredentialCheckOut, access.Credential("box", "web"), true},
		{access.CredentialCheckOut, access.Credential("box", "root"), false},
		{access.RemoteLaunch, access.Credential("box", "web"), true},
		{access.RemoteRead, access.RemoteSession("s", "box", "web"), true},
		{access.RemoteWatch, access.RemoteSession("s", "box", "web"), false},
		{access.RemoteFor, access.Listed("ana", nil), true},
		{access.RemoteFor, access.Listed("bob", []string{"ops"}), true},
		{access.RemoteFor, access.Listed("bob", []string{"dev"}), false},
		{access.UserRead, access.Listed("ana", nil), false},
	} {
		if d, err := s.Decide(t.Context(), by, c.do, c.on); err != nil || d.Allowed != c.allowed {
			t.Errorf("%s on %s: %s, %v", c.do, c.on, d, err)
		}
	}
	by.Scopes = []access.Action{access.DeviceRead}
	if d, err := s.Decide(t.Context(), by, access.DeviceCreate, access.Device("new")); err != nil || d.Allowed {
		t.Errorf("reading alone creates: %s, %v", d, err)
	}
}

func TestReach_sees_all_of_a_kind(t *testing.T) {
	t.Parallel()
	m := &memory{}
	by := listing(m, "web", "app")
	s := service(m)
	if all, ids, err := s.Reach(t.Context(), by, access.CredentialRead, access.CredentialKind); all || err != nil || !slices.Equal(ids, []string{"web", "app"}) {
		t.Errorf("%v, %v, %v", all, ids, err)
	}
	m.bindings = append(m.bindings, access.Binding{Subject: access.Subject{Kind: access.Authorization, ID: "z"}, Role: access.CredentialListed, Resource: access.Every(access.CredentialKind)})
	if all, ids, err := s.Reach(t.Context(), by, access.CredentialRead, access.CredentialKind); !all || err != nil || ids != nil {
		t.Errorf("%v, %v, %v", all, ids, err)
	}
	if all, ids, err := s.Reach(t.Context(), by, access.DeviceRead, access.DeviceKind); all || err != nil || !slices.Equal(ids, []string{"box"}) {
		t.Errorf("%v, %v, %v", all, ids, err)
	}
}

func TestCovers_says_nothing_of_rights(t *testing.T) {
	t.Parallel()
	by := user("ana", access.RemoteRead)
	if !by.Covers(access.RemoteRead, access.Device("box")) || by.Covers(access.RemoteEnd, access.Device("box")) {
		t.Error("scopes")
	}
	by.Limit = access.Project("p1")
	if by.Covers(access.RemoteRead, access.Device("box")) {
		t.Error("place")
	}
}

// People see and end their own sessions without any role; nobody opens one by being its user.
func TestRemoteSessions_are_their_users_own(t *testing.T) {
	t.Parallel()
	own := access.RemoteSession("s", "box", "web")
	own.Parents = append(own.Parents, access.Resource{Kind: access.UserKind, ID: "ana"})
	s := service(&memory{})
	for do, allowed := range map[access.Action]bool{access.RemoteRead: true, access.RemoteEnd: true, access.RemoteWatch: false, access.RemoteOpen: false, access.RemoteApprove: false, access.RecordingRead: false} {
		if d, err := s.Decide(context.Background(), user("ana", "*"), do, own); err != nil || d.Allowed != allowed {
			t.Errorf("%s: %s, %v", do, d, err)
		}
	}
	if d, err := s.Decide(context.Background(), user("bob", "*"), access.RemoteRead, own); err != nil || d.Allowed {
		t.Errorf("somebody else's: %s, %v", d, err)
	}
}
