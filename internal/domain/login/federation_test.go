package login_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// vouchers keeps providers and links.
type vouchers struct {
	identity.ProviderStore
	all     []identity.Provider
	links   []identity.Link
	due     []identity.Link
	checked []string
	said    []string
}

func (s *vouchers) find(meant func(identity.Provider) bool) (identity.Provider, error) {
	if i := slices.IndexFunc(s.all, meant); i >= 0 {
		return s.all[i], nil
	}
	return identity.Provider{}, identity.ErrNoProvider
}

func (s *vouchers) ByID(_ context.Context, id string) (identity.Provider, error) {
	return s.find(func(p identity.Provider) bool { return p.ID == id })
}

func (s *vouchers) ByNumber(_ context.Context, n int64) (identity.Provider, error) {
	return s.find(func(p identity.Provider) bool { return p.Number == n })
}

func (s *vouchers) ByHandle(_ context.Context, h [16]byte) (identity.Provider, error) {
	return s.find(func(p identity.Provider) bool { return p.Handle == h })
}

func (s *vouchers) All(context.Context) ([]identity.Provider, error) { return slices.Clone(s.all), nil }

func (s *vouchers) LinkOf(_ context.Context, provider, subject string) (identity.Link, error) {
	for _, l := range s.links {
		if l.Provider == provider && l.Subject == subject {
			return l, nil
		}
	}
	return identity.Link{}, identity.ErrNoLink
}

func (s *vouchers) DueLinks(_ context.Context, provider string, _ time.Time, limit int, _ time.Time) (out []identity.Link, _ error) {
	for len(s.due) > 0 && len(out) < limit {
		if s.due[0].Provider == provider {
			out = append(out, s.due[0])
		}
		s.due = s.due[1:]
	}
	return out, nil
}

func (s *vouchers) Checked(_ context.Context, l identity.Link, present bool, _ time.Time, event func(string) audit.Event) error {
	s.checked = append(s.checked, fmt.Sprint(l.Subject, " ", present))
	s.said = append(s.said, event("changed").Object.ID)
	return nil
}

// ways keeps flows.
type ways struct {
	rows  map[string]login.Flow
	codes map[string]string // to ids
}

func (s *ways) Insert(_ context.Context, f login.Flow) error {
	s.rows[f.ID] = f
	return nil
}

func (s *ways) find(meant func(login.Flow) bool, now time.Time) (login.Flow, error) {
	for _, f := range s.rows {
		if meant(f) && now.Before(f.Expires) {
			return f, nil
		}
	}
	return login.Flow{}, login.ErrNoFlow
}

func (s *ways) ByState(_ context.Context, state string, now time.Time) (login.Flow, error) {
	return s.find(func(f login.Flow) bool { return f.State.Reveal() == state && f.Finish.Empty() }, now)
}

func (s *ways) TieCode(ctx context.Context, state, code string, now time.Time) (login.Flow, error) {
	f, err := s.ByState(ctx, state, now)
	if err == nil {
		s.codes[code] = f.ID
	}
	return f, err
}

func (s *ways) ByCode(_ context.Context, code string, now time.Time) (login.Flow, error) {
	return s.find(func(f login.Flow) bool { return f.ID == s.codes[code] && f.Finish.Empty() }, now)
}

func (s *ways) Take(_ context.Context, id string, now time.Time) (login.Flow, error) {
	f, err := s.find(func(f login.Flow) bool { return f.ID == id && f.Finish.Empty() }, now)
	delete(s.rows, f.ID)
	return f, err
}

func (s *ways) Answered(_ context.Context, f login.Flow, now time.Time) error {
	if _, err := s.find(func(is login.Flow) bool { return is.ID == f.ID && is.Finish.Empty() }, now); err != nil {
		return err
	}
	s.rows[f.ID] = f
	return nil
}

func (s *ways) TakeFinished(_ context.Context, finish, browser string, now time.Time) (login.Flow, error) {
	f, err := s.find(func(f login.Flow) bool { return f.Finish.Reveal() == finish && f.Browser.Reveal() == browser }, now)
	delete(s.rows, f.ID)
	return f, err
}

func (s *ways) Sweep(context.Context, time.Time) error { return nil }

// spent remembers what was used.
type spent struct {
	guard.OnceStore
	mu   sync.Mutex
	keys map[string]time.Time
}

func (s *spent) Use(_ context.Context, key string, until, now time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end, ok := s.keys[key]; ok && now.Before(end) {
		return false, nil
	}
	s.keys[key] = until
	return true, nil
}

func (s *spent) Used(_ context.Context, key string, now time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.keys[key]), nil
}

// abroad is a provider's room whose answers say who came: "subject" is vouched for, "bad ..." is refused.
type abroad struct {
	kind  identity.ProviderKind
	away  bool
	asked int
	begun int

	sid   string    // the provider's own session
	until time.Time // when that ends

	meanwhile func() // what somebody else does while the provider is asked

	mu   sync.Mutex
	meet int           // how many are asked at the same time before any answers; 0: each answers by itself
	met  chan struct{} // closed when they are
}

func (a *abroad) Depart(_ context.Context, p identity.Provider, f *login.Flow) (login.Departure, error) {
	if a.away || p.Secret.Empty() {
		return login.Departure{}, &login.Wrong{Reason: "the provider cannot be asked"}
	}
	a.mu.Lock()
	a.begun++
	begun := a.begun
	if begun == a.meet {
		close(a.met)
	}
	a.mu.Unlock()
	if a.meet > 0 {
		<-a.met
	}
	f.State, f.Nonce = secret.New(fmt.Sprint(a.kind, " state ", begun)), secret.New("nonce")
	return login.Departure{Provider: p, URL: "https://" + p.ID, Flow: *f}, nil
}

func (a *abroad) StateOf(back login.Return) string {
	if a.kind == identity.SAML {
		_, state, _ := strings.Cut(back.Response, " to ")
		return state
	}
	return back.State
}

func (a *abroad) Arrive(_ context.Context, p identity.Provider, f *login.Flow, back login.Return) (identity.Visitor, []login.Once, error) {
	a.asked++
	if a.meanwhile != nil {
		a.meanwhile()
	}
	said := back.Code
	if a.kind == identity.SAML {
		said, _, _ = strings.Cut(back.Response, " to ")
	}
	once := []login.Once{{Key: "said " + said, Until: time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)}}
	if back.Refused != "" || strings.HasPrefix(said, "bad") || f == nil && (p.Kind != identity.SAML || !p.Settings.SAML.IDPInitiated) {
		return identity.Visitor{}, once, &login.Wrong{Reason: "what came back is bad"}
	}
	return identity.Visitor{Subject: strings.Fields(said)[0], Email: "dana@example.test", EmailVerified: true, Session: a.sid, Until: a.until}, once, nil
}

func (a *abroad) Logout(_ context.Context, _ identity.Provider, token string) (login.Logout, []login.Once, error) {
	subject, sid, ok := strings.Cut(token, "/")
	if !ok || a.away {
		return login.Logout{}, nil, &login.Wrong{Reason: "what came is no logout token"}
	}
	return login.Logout{Subject: subject, Session: sid}, []login.Once{{Key: "token " + token, Until: time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)}}, nil
}

func (a *abroad) Check(p identity.Provider) error {
	if p.Secret.Empty() {
		return fault.New(fault.Invalid, "no secret")
	}
	return nil
}

func (a *abroad) Test(context.Context, identity.Provider) []login.Step {
	return []login.Step{{Name: "connect", OK: true}, {Name: "keys", OK: !a.away}}
}

// folder is a directory in which everybody has the same password.
type folder struct {
	present map[string]bool
	err     error
	asked   int
}

func (d *folder) Bind(_ context.Context, _ identity.Provider, name string, password secret.String) (identity.Visitor, error) {
	d.asked++
	if d.err != nil {
		return identity.Visitor{}, d.err
	}
	if !password.Equal(secret.New(right)) {
		return identity.Visitor{}, &login.Wrong{Reason: "the directory refuses the password"}
	}
	return identity.Visitor{Subject: "dana", Name: name}, nil
}

func (d *folder) Present(_ context.Context, _ identity.Provider, subject string) (bool, error) {
	d.asked++
	return d.present[subject], d.err
}

func (d *folder) Check(identity.Provider) error { return nil }

func (d *folder) Test(context.Context, identity.Provider) []login.Step { return nil }

// sky knows the ARN in the headers.
type sky struct{}

func (sky) Identify(ctx context.Context, _ string, headers map[string]string, used func(context.Context, login.Once) (bool, error)) (string, error) {
	if headers["authorization"] == "" {
		return "", fault.New(fault.Invalid, "not signed")
	}
	again, err := used(ctx, login.Once{Key: headers["authorization"], Until: time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil || again {
		return "", errors.Join(err, &login.Wrong{Reason: "used before"})
	}
	return headers["authorization"], nil
}

// port is a hall with providers: 1 corp (OIDC), 2 other (OIDC), 3 saml, 4 ldap. dana is linked to all of them.
type port struct {
	*hall
	vouchers *vouchers
	flows    *ways
	oidc     *abroad
	saml     *abroad
	ldap     *folder
}

func newPort() *port {
	h := newHall()
	p := &port{
		hall: h, vouchers: &vouchers{}, flows: &ways{map[string]login.Flow{}, map[string]string{}},
		oidc: &abroad{kind: identity.OIDC}, saml: &abroad{kind: identity.SAML}, ldap: &folder{present: map[string]bool{}},
	}
	for i, kind := range []identity.ProviderKind{identity.OIDC, identity.OIDC, identity.SAML, identity.LDAP} {
		one := identity.Provider{ID: []string{"corp", "other", "saml", "ldap"}[i], Number: int64(i + 1), Handle: [16]byte{byte(i + 1)}, Kind: kind, Enabled: true, Secret: secret.New("s")}
		switch kind {
		case identity.OIDC:
			one.Settings.OIDC = &identity.OIDCSettings{}
		case identity.SAML:
			one.Settings.SAML = &identity.SAMLSettings{}
		case identity.LDAP:
			one.Settings.LDAP = &identity.LDAPSettings{BindDN: "cn=gatehouse"}
		}
		p.vouchers.all = append(p.vouchers.all, one)
		p.vouchers.links = append(p.vouchers.links, identity.Link{Provider: one.ID, Subject: "dana", User: "u1"})
	}
	now, ids := func() time.Time { return h.clock }, 0
	h.Providers = &identity.Providers{Store: p.vouchers, Users: h.people, Now: now, NewID: func() string { return "new" }, Guarded: func(context.Context, string) (bool, error) { return false, nil }}
	h.Flows, h.Once, h.Directory, h.Cloud = p.flows, &spent{keys: map[string]time.Time{}}, p.ldap, sky{}
	h.Federations = map[identity.ProviderKind]login.Federation{identity.OIDC: p.oidc, identity.SAML: p.saml}
	h.NewID = func() string { ids++; return fmt.Sprint("f", ids) }
	h.Discoveries = &guard.Failures{Store: &failures{rows: map[string]guard.Counter{}}, Now: now, Threshold: 60, Window: time.Minute}
	h.Accounts = &identity.Accounts{Store: &rooms{}}
	return p
}

type rooms struct{ identity.AccountStore }

func (rooms) ByID(_ context.Context, id string) (identity.Account, error) {
	if id != accID {
		return identity.Account{}, identity.ErrNoAccount
	}
	return identity.Account{ID: id}, nil
}

func (rooms) OfUser(context.Context, string) ([]identity.Joined, error) { return nil, nil }

func (p *port) vouched(kind login.Kind, number byte, text string) login.Presented {
	return login.Presented{
		Kind: kind, Provider: [16]byte{number}, Name: "Dana@Example.test", Secret: secret.New(text), Address: inside, Door: "test", Accepts: []login.Kind{login.OIDC, login.SAML, login.LDAP, login.AWSIAM, login.Certificate},
	}
}

func (p *port) at() login.Presented { return login.Presented{Address: inside, Door: "test"} }

// begin begins flows for a program and returns that of a provider.
func (p *port) begin(t *testing.T, id string) login.Flow {
	t.Helper()
	all, err := p.Ways(t.Context(), p.at())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		if w.Provider != nil && w.Provider.ID == id {
			return w.Departure.Flow
		}
	}
	t.Fatalf("no way to %s", id)
	return login.Flow{}
}

// why is the reason of the last refusal on record.
func (p *port) why() string {
	if len(p.events.all) == 0 {
		return ""
	}
	return p.events.all[len(p.events.all)-1].Reason
}

func names(ways []login.Way) string {
	var out []string
	for _, w := range ways {
		switch {
		case w.Provider == nil:
			out = append(out, "password")
		case w.Departure != nil:
			out = append(out, w.Provider.ID+" by "+w.Departure.URL)
		default:
			out = append(out, w.Provider.ID)
		}
	}
	return strings.Join(out, ", ")
}

func TestWays(t *testing.T) {
	t.Parallel()
	const everything = "password, corp by https://corp, other by https://other, saml by https://saml, ldap"
	ask := func(t *testing.T, p *port, name, account string, want string) {
		t.Helper()
		q := p.at()
		q.Name, q.Account = name, account
		got, err := p.Ways(t.Context(), q)
		if err != nil || names(got) != want {
			t.Errorf("%q %q: %s, %v", name, account, names(got), err)
		}
		for _, w := range got {
			if w.Provider != nil && !w.Provider.Secret.Empty() || w.Departure != nil && !w.Departure.Flow.Browser.Empty() {
				t.Errorf("%+v", w)
			}
		}
	}
	t.Run("are_the_same_for_who_exists_and_who_does_not", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		for _, name := range []string{"", "dana@example.test", "nobody@example.test", "no address"} {
			ask(t, p, name, "", everything)
		}
		ask(t, p, "dana@example.test", accID, everything)
		ask(t, p, "dana@example.test", strings.ToUpper(accID), everything)
		ask(t, p, "", "11111111-1111-4111-8111-111111111111", "password")
	})
	t.Run("are_asked_for_at_the_same_time", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.oidc.meet, p.oidc.met = 2, make(chan struct{}) // a slow provider keeps no other waiting
		ask(t, p, "dana@example.test", "", everything)
	})
	t.Run("depend_on_the_domain_of_the_address", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.vouchers.all = p.vouchers.all[2:]
		p.vouchers.all[0].Settings.Domains = []string{"Example.test"}
		ask(t, p, "x@EXAMPLE.test", "", "password, saml by https://saml, ldap")
		ask(t, p, "x@sub.example.test", "", "password, ldap")
		ask(t, p, "", "", "password, ldap")
		ask(t, p, "x@elsewhere.test", accID, "password, saml by https://saml, ldap")
	})
	t.Run("leave_out_what_is_disabled_or_away", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.vouchers.all[0].Enabled, p.saml.away = false, true
		ask(t, p, "", "", "password, other by https://other, ldap")
	})
	t.Run("begin_sixty_times_a_minute_from_one_address", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		for range 60 {
			ask(t, p, "", "", everything)
		}
		begun := p.oidc.begun
		ask(t, p, "", "", "password")
		if _, err := p.Depart(t.Context(), 1, "/", p.at()); !errors.Is(err, login.ErrBlocked) || p.oidc.begun != begun {
			t.Errorf("%v, %d more were begun", err, p.oidc.begun-begun)
		}
		p.clock = p.clock.Add(time.Minute)
		ask(t, p, "", "", everything)
	})
}

func TestSignIn_with_a_code(t *testing.T) {
	t.Parallel()
	t.Run("found_by_its_state", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		in := p.vouched(login.OIDC, 1, "dana code")
		in.State = p.begin(t, "corp").State.Reveal()
		signed, err := p.SignIn(t.Context(), in, login.Begin{})
		if err != nil || signed.Caller.ID != "u1" || signed.Session.Provider != "corp" || signed.Session.Method != "oidc" || signed.Session.State != session.Active {
			t.Fatalf("%+v, %v", signed, err)
		}
	})
	t.Run("found_by_the_code_that_a_browser_brought", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		f := p.begin(t, "corp")
		landing, err := p.Land(t.Context(), identity.OIDC, login.Return{Code: "dana code", State: f.State.Reveal()}, p.at())
		if err != nil || !landing.Program || !landing.Finish.Empty() || p.oidc.asked != 0 {
			t.Fatalf("%+v, %v", landing, err)
		}
		if err := p.try(t, p.vouched(login.OIDC, 1, "dana code")); err != nil {
			t.Error(err)
		}
	})
	for what, c := range map[string]struct {
		spoil  func(*port, *login.Presented)
		reason string
	}{
		"with_another_state":            {func(_ *port, in *login.Presented) { in.State = "other" }, "no sign-in of that state"},
		"at_another_provider":           {func(_ *port, in *login.Presented) { in.Provider = [16]byte{2} }, "begun at another"},
		"at_a_provider_of_another_kind": {func(_ *port, in *login.Presented) { in.Provider = [16]byte{3} }, "of another kind"},
		"at_no_provider":                {func(_ *port, in *login.Presented) { in.Provider = [16]byte{9} }, "no such identity provider"},
		"at_a_disabled_provider":        {func(p *port, _ *login.Presented) { p.vouchers.all[0].Enabled = false }, "is disabled"},
		"of_another_address":            {func(_ *port, in *login.Presented) { in.Name = "eve@example.test" }, "e-mail address at the provider is another"},
		"that_the_provider_refuses":     {func(_ *port, in *login.Presented) { in.Secret = secret.New("bad code") }, "what came back is bad"},
		"too_late":                      {func(p *port, _ *login.Presented) { p.clock = p.clock.Add(10 * time.Minute) }, "no sign-in of that state"},
		"of_a_stranger":                 {func(_ *port, in *login.Presented) { in.Secret = secret.New("eve code") }, "no user is linked"},
		"of_a_disabled_user":            {func(p *port, _ *login.Presented) { p.people.one.Disabled = true }, "disabled"},
		"of_no_flow":                    {func(_ *port, in *login.Presented) { in.State = "" }, "what came back is bad"},
	} {
		t.Run("never_"+what, func(t *testing.T) {
			t.Parallel()
			p := newPort()
			in := p.vouched(login.OIDC, 1, "dana code")
			in.State = p.begin(t, "corp").State.Reveal()
			c.spoil(p, &in)
			err := p.try(t, in)
			want(t, err, login.ErrFailed)
			if !strings.Contains(p.why(), c.reason) || len(p.seats.rows) != 0 || strings.Contains(err.Error(), c.reason) {
				t.Errorf("%q, %v", p.why(), err)
			}
		})
	}
	// rule F5: a code is tried once, right or wrong, and a state leads there once.
	t.Run("once", func(t *testing.T) {
		t.Parallel()
		for _, code := range []string{"dana code", "bad code"} {
			p := newPort()
			in := p.vouched(login.OIDC, 1, code)
			in.State = p.begin(t, "corp").State.Reveal()
			_ = p.try(t, in)
			asked := p.oidc.asked
			p.Audit.Folder = audit.NewFolder(time.Minute) // or the next refusal is folded with this one
			want(t, p.try(t, in), login.ErrFailed)
			if p.oidc.asked != asked || !strings.Contains(p.why(), "no sign-in of that state") {
				t.Errorf("%s: asked again, %q", code, p.why())
			}
			in.State = p.begin(t, "corp").State.Reveal()
			p.Audit.Folder = audit.NewFolder(time.Minute)
			want(t, p.try(t, in), login.ErrFailed)
			if p.oidc.asked != asked || !strings.Contains(p.why(), "used before") {
				t.Errorf("%s in another flow: asked again, %q", code, p.why())
			}
		}
	})
}

// A browser's flow is finished by that browser alone, and opens nothing for a program (rule F11).
func TestFinish(t *testing.T) {
	t.Parallel()
	land := func(t *testing.T, p *port, code string) (login.Departure, login.Landing) {
		t.Helper()
		d, err := p.Depart(t.Context(), 1, "/keys", p.at())
		if err != nil || d.Flow.Browser.Empty() || !d.Provider.Secret.Empty() {
			t.Fatalf("%+v, %v", d, err)
		}
		landing, err := p.Land(t.Context(), identity.OIDC, login.Return{Code: code, State: d.Flow.State.Reveal()}, p.at())
		if err != nil || landing.Program || landing.Finish.Empty() {
			t.Fatalf("%+v, %v", landing, err)
		}
		return d, landing
	}
	t.Run("opens_the_session_of_the_browser_that_began", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		d, landing := land(t, p, "dana code")
		if len(p.seats.rows) != 0 {
			t.Error("a session before the cookie was seen")
		}
		for _, cookie := range []string{"", "another", landing.Finish.Reveal()} {
			p.Audit.Folder = audit.NewFolder(time.Minute) // or the next refusal is folded with this one
			_, err := p.Finish(t.Context(), landing.Finish, secret.New(cookie), p.at(), login.Begin{})
			want(t, err, login.ErrNoFlow)
			if !strings.Contains(p.why(), "another browser began it") {
				t.Errorf("on record: %q", p.why())
			}
		}
		signed, err := p.Finish(t.Context(), landing.Finish, d.Flow.Browser, p.at(), login.Begin{Transport: session.Cookie})
		if err != nil || signed.Caller.ID != "u1" || signed.Session.Provider != "corp" || signed.Target != "/keys" {
			t.Fatalf("%+v, %v", signed, err)
		}
		_, err = p.Finish(t.Context(), landing.Finish, d.Flow.Browser, p.at(), login.Begin{})
		want(t, err, login.ErrNoFlow)
	})
	t.Run("waits_two_minutes", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		d, landing := land(t, p, "dana code")
		p.clock = p.clock.Add(2 * time.Minute)
		_, err := p.Finish(t.Context(), landing.Finish, d.Flow.Browser, p.at(), login.Begin{})
		want(t, err, login.ErrNoFlow)
	})
	t.Run("looks_at_the_person_last", func(t *testing.T) { // rule F12
		t.Parallel()
		for what, change := range map[string]func(*port){
			"disabled":             func(p *port) { p.people.one.Disabled = true },
			"account is disabled":  func(p *port) { p.people.one.AccountShut = true },
			"no user is linked":    func(p *port) { p.vouchers.links = nil },
			"provider is disabled": func(p *port) { p.vouchers.all[0].Enabled = false },
		} {
			p := newPort()
			d, landing := land(t, p, "dana code")
			change(p)
			_, err := p.Finish(t.Context(), landing.Finish, d.Flow.Browser, p.at(), login.Begin{})
			want(t, err, login.ErrFailed)
			if !strings.Contains(p.why(), what) || len(p.seats.rows) != 0 {
				t.Errorf("%s: %q", what, p.why())
			}
		}
	})
	t.Run("is_not_for_programs", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		d, err := p.Depart(t.Context(), 1, "/", p.at())
		want(t, err, nil)
		in := p.vouched(login.OIDC, 1, "dana code")
		in.State = d.Flow.State.Reveal()
		want(t, p.try(t, in), login.ErrFailed)
		if !strings.Contains(p.why(), "begun by a browser") || p.oidc.asked != 0 {
			t.Errorf("%q", p.why())
		}
		if _, err := p.Land(t.Context(), identity.OIDC, login.Return{Code: "dana code", State: in.State}, p.at()); err != nil {
			t.Errorf("a program's try ended the browser's sign-in: %v", err)
		}
	})
	t.Run("of_two_with_one_code_the_first", func(t *testing.T) { // rule F5: and the second takes nothing away from it
		t.Parallel()
		p := newPort()
		d, err := p.Depart(t.Context(), 1, "/", p.at())
		want(t, err, nil)
		back := login.Return{Code: "dana code", State: d.Flow.State.Reveal()}
		p.oidc.meanwhile = func() {
			_, err := p.Land(t.Context(), identity.OIDC, back, p.at())
			want(t, err, login.ErrFailed)
		}
		landing, err := p.Land(t.Context(), identity.OIDC, back, p.at())
		want(t, err, nil)
		if _, err := p.Finish(t.Context(), landing.Finish, d.Flow.Browser, p.at(), login.Begin{}); err != nil || p.oidc.asked != 1 {
			t.Errorf("%v, asked %d times", err, p.oidc.asked)
		}
	})
	t.Run("a_code_once", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		land(t, p, "dana code")
		d, err := p.Depart(t.Context(), 1, "/", p.at())
		want(t, err, nil)
		_, err = p.Land(t.Context(), identity.OIDC, login.Return{Code: "dana code", State: d.Flow.State.Reveal()}, p.at())
		want(t, err, login.ErrFailed)
		if p.oidc.asked != 1 {
			t.Error("the code was sent twice")
		}
	})
	t.Run("a_state_once", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		for _, back := range []login.Return{{Code: "bad code"}, {Refused: "access_denied"}, {Code: "dana code"}} {
			d, err := p.Depart(t.Context(), 1, "/", p.at())
			want(t, err, nil)
			back.State = d.Flow.State.Reveal()
			_, _ = p.Land(t.Context(), identity.OIDC, back, p.at())
			back.Code, back.Refused = "dana second", ""
			_, err = p.Land(t.Context(), identity.OIDC, back, p.at())
			want(t, err, login.ErrNoFlow)
		}
	})
	t.Run("not_a_state_of_another_kind_of_provider", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		d, err := p.Depart(t.Context(), 1, "/", p.at())
		want(t, err, nil)
		_, err = p.Land(t.Context(), identity.SAML, login.Return{Response: "dana to " + d.Flow.State.Reveal()}, p.at())
		want(t, err, login.ErrNoFlow)
		if p.saml.asked != 0 {
			t.Error("asked")
		}
	})
	t.Run("nothing_where_nobody_departs", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.vouchers.all[1].Enabled = false
		for _, number := range []int64{0, 2, 4, 9} {
			_, err := p.Depart(t.Context(), number, "/", p.at())
			want(t, err, identity.ErrNoProvider)
		}
		p.oidc.away = true
		_, err := p.Depart(t.Context(), 1, "/", p.at())
		want(t, err, login.ErrFailed)
	})
}

func TestSignIn_with_an_assertion(t *testing.T) {
	t.Parallel()
	t.Run("to_a_request_of_a_program", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		f := p.begin(t, "saml")
		state := f.State.Reveal()
		if landing, err := p.Land(t.Context(), identity.SAML, login.Return{Response: "dana to " + state}, p.at()); err != nil || !landing.Program || p.saml.asked != 0 {
			t.Fatalf("%+v, %v", landing, err)
		}
		in := p.vouched(login.SAML, 0, "dana to "+state)
		in.State = state
		signed, err := p.SignIn(t.Context(), in, login.Begin{})
		if err != nil || signed.Session.Provider != "saml" {
			t.Fatalf("%+v, %v", signed, err)
		}
		want(t, p.try(t, in), login.ErrFailed)
	})
	for what, c := range map[string]struct {
		browser bool
		text    string // %s is the request
		state   string
		reason  string
	}{
		"to_another_request":            {false, "dana to %s", "other", "another request"},
		"to_a_request_that_is_not_said": {false, "dana to %s", "", "another request"},
		"to_none_where_one_is_said":     {false, "dana", "%s", "another request"},
		"to_none":                       {false, "dana", "", "no identity provider may send such"},
		"that_is_bad":                   {false, "bad to %s", "%s", "what came back is bad"},
		"to_a_browser_s_request":        {true, "dana to %s", "%s", "begun by a browser"},
		"to_a_request_of_nobody":        {false, "dana to x", "x", "no request of that id"},
	} {
		t.Run("never_"+what, func(t *testing.T) {
			t.Parallel()
			p := newPort()
			state := p.begin(t, "saml").State.Reveal()
			if c.browser {
				d, err := p.Depart(t.Context(), 3, "/", p.at())
				want(t, err, nil)
				state = d.Flow.State.Reveal()
			}
			in := p.vouched(login.SAML, 0, strings.ReplaceAll(c.text, "%s", state))
			in.State = strings.ReplaceAll(c.state, "%s", state)
			want(t, p.try(t, in), login.ErrFailed)
			if !strings.Contains(p.why(), c.reason) {
				t.Errorf("%q", p.why())
			}
		})
	}
	t.Run("unasked_where_the_provider_may_begin", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.vouchers.all[2].Settings.SAML.IDPInitiated = true
		in := p.vouched(login.SAML, 0, "dana")
		if err := p.try(t, in); err != nil {
			t.Error(err)
		}
		want(t, p.try(t, in), login.ErrFailed) // rule F2: used once
		if !strings.Contains(p.why(), "used before") {
			t.Errorf("%q", p.why())
		}
		if landing, err := p.Land(t.Context(), identity.SAML, login.Return{Response: "dana"}, p.at()); err != nil || !landing.Program {
			t.Errorf("%+v, %v", landing, err)
		}
	})
	t.Run("not_of_an_OpenID_Connect_flow", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		state := p.begin(t, "corp").State.Reveal()
		in := p.vouched(login.SAML, 0, "dana to "+state)
		in.State = state
		want(t, p.try(t, in), login.ErrFailed)
		if p.saml.asked != 0 {
			t.Error("asked")
		}
	})
}

// Nobody who fails by an assertion locks anybody out: neither those who come elsewhere from, nor a name.
func TestSignIn_counts_what_nobody_is_named_in_by_address(t *testing.T) {
	t.Parallel()
	p := newPort()
	p.vouchers.all[2].Settings.SAML.IDPInitiated = true
	for i := range 9 {
		in := p.vouched(login.SAML, 0, fmt.Sprint("bad ", i))
		in.Name = ""
		want(t, p.try(t, in), login.ErrFailed)
	}
	in := p.vouched(login.SAML, 0, "dana")
	in.Name, in.Address = "", netip.MustParseAddr("198.51.100.1")
	if err := p.try(t, in); err != nil {
		t.Errorf("%v: %q", err, p.why())
	}
}

func TestSignIn_at_a_directory(t *testing.T) {
	t.Parallel()
	p := newPort()
	signed, err := p.SignIn(t.Context(), p.vouched(login.LDAP, 4, right), login.Begin{})
	if err != nil || signed.Caller.ID != "u1" || signed.Session.Provider != "ldap" || signed.Session.Method != "ldap" {
		t.Fatalf("%+v, %v", signed, err)
	}
	for reason, spoil := range map[string]func(*port, *login.Presented){
		"refuses the password":      func(_ *port, in *login.Presented) { in.Secret = secret.New("wrong") },
		"directory could be asked":  func(_ *port, in *login.Presented) { in.Secret = secret.String{} }, // rule F6
		"no name and password":      func(_ *port, in *login.Presented) { in.Name = "a\x00b" },
		"no such identity":          func(_ *port, in *login.Presented) { in.Provider = [16]byte{} },
		"of another kind":           func(_ *port, in *login.Presented) { in.Provider = [16]byte{1} },
		"the user or the account":   func(p *port, _ *login.Presented) { p.people.one.Disabled = true },
		"no user is linked":         func(p *port, _ *login.Presented) { p.vouchers.links = nil },
		"identity provider is disa": func(p *port, _ *login.Presented) { p.vouchers.all[3].Enabled = false },
	} {
		p := newPort()
		in := p.vouched(login.LDAP, 4, right)
		spoil(p, &in)
		want(t, p.try(t, in), login.ErrFailed)
		if !strings.Contains(p.why(), reason) || len(p.seats.rows) != 0 || p.strikes.n == 0 || len(p.waited) != 1 {
			t.Errorf("%s: %q, %d counted, waited %v", reason, p.why(), p.strikes.n, p.waited)
		}
		if in.Secret.Empty() && p.ldap.asked > 0 {
			t.Error("an empty password reached the directory")
		}
	}
}

func TestSignIn_of_a_program_known_to_AWS(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:sts::111122223333:assumed-role/deploy/i-0abc"
	fresh := func() (*port, login.Presented) {
		p := newPort()
		p.programs.one.Name, p.programs.one.AuthType, p.programs.one.Digest = arn, identity.ByAWSIAM, [32]byte{}
		in := p.vouched(login.AWSIAM, 0, "")
		in.Name, in.Account, in.Region, in.Headers = "", strings.ToUpper(accID), "eu-central-1", map[string]string{"authorization": arn}
		return p, in
	}
	p, in := fresh()
	signed, err := p.SignIn(t.Context(), in, login.Begin{})
	if err != nil || signed.Caller.Kind != access.Application || signed.Caller.ID != appID || signed.Caller.Account != accID {
		t.Fatalf("%+v, %v", signed, err)
	}
	want(t, p.try(t, in), login.ErrFailed) // rule F9: used once
	in.Headers = nil
	if err := p.try(t, in); !fault.Is(err, fault.Invalid) {
		t.Errorf("malformed: %v", err)
	}
	for reason, spoil := range map[string]func(*port, *login.Presented){
		"no such application":     func(_ *port, in *login.Presented) { in.Headers = map[string]string{"authorization": arn + "x"} },
		"signs in otherwise":      func(p *port, _ *login.Presented) { p.programs.one.AuthType = identity.BySecret },
		"application is disabled": func(p *port, _ *login.Presented) { p.programs.one.Disabled = true },
		"account is disabled":     func(p *port, _ *login.Presented) { p.programs.one.AccountShut = true },
		"come from that address": func(p *port, _ *login.Presented) {
			p.programs.one.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		},
	} {
		p, in := fresh()
		spoil(p, &in)
		want(t, p.try(t, in), login.ErrFailed)
		if !strings.Contains(p.why(), reason) {
			t.Errorf("%s: %q", reason, p.why())
		}
	}
	p, _ = fresh()
	want(t, p.try(t, program(appID, "")), login.ErrFailed) // it has no secret, so none opens it
}

func TestSignIn_of_a_program_whose_password_a_directory_checks(t *testing.T) {
	t.Parallel()
	p := newPort()
	p.programs.one.AuthType, p.programs.one.Provider, p.programs.one.Digest = identity.ByLDAP, "ldap", [32]byte{}
	if err := p.try(t, program(appID, right)); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(){
		"wrong password":    func() {},
		"disabled provider": func() { p.vouchers.all[3].Enabled = false },
		"no provider":       func() { p.programs.one.Provider = "gone" },
	} {
		spoil()
		text := right
		if what == "wrong password" {
			text = "wrong"
		}
		p.clock = p.clock.Add(time.Hour)
		if err := p.try(t, program(appID, text)); !errors.Is(err, login.ErrFailed) {
			t.Errorf("%s: %v", what, err)
		}
		p.vouchers.all[3].Enabled, p.programs.one.Provider = true, "ldap"
	}
	want(t, p.try(t, program(appID, "")), login.ErrFailed)
}

func TestTestProvider(t *testing.T) {
	t.Parallel()
	p := newPort()
	steps, err := p.TestProvider(t.Context(), access.LocalCaller("root", p.clock), "corp")
	if err != nil || len(steps) != 2 || !steps[1].OK {
		t.Fatalf("%+v, %v", steps, err)
	}
	p.oidc.away = true
	steps, err = p.TestProvider(t.Context(), access.LocalCaller("root", p.clock), "corp")
	if e := p.events.all[len(p.events.all)-1]; err != nil || steps[1].OK || e.Outcome != audit.Failed || e.Reason != "keys" {
		t.Errorf("%+v, %v, %+v", steps, err, e)
	}
	_, err = p.TestProvider(t.Context(), access.NobodyAt(inside, "test", p.clock), "corp")
	if !fault.Is(err, fault.Denied) {
		t.Error(err)
	}
	if err := p.CheckProvider(identity.Provider{Kind: "vcd"}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func TestRecheckDue(t *testing.T) {
	t.Parallel()
	due := func() []identity.Link {
		return []identity.Link{{Provider: "ldap", Subject: "dana", User: "u1"}, {Provider: "ldap", Subject: "eve", User: "u2"}}
	}
	t.Run("tells_who_is_gone_and_who_is_there", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.vouchers.due, p.ldap.present = due(), map[string]bool{"dana": true}
		p.RecheckDue(t.Context(), time.Minute)
		if !slices.Equal(p.vouchers.checked, []string{"dana true", "eve false"}) || !slices.Equal(p.vouchers.said, []string{"u1", "u2"}) {
			t.Errorf("%v %v", p.vouchers.checked, p.vouchers.said)
		}
	})
	t.Run("changes_nothing_when_nobody_knows", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		var heard []string
		p.OnError = func(doing string, _ error) { heard = append(heard, doing) }
		p.vouchers.due, p.ldap.err = due(), errors.New("away")
		p.RecheckDue(t.Context(), time.Minute)
		if len(p.vouchers.checked) != 0 || len(heard) != 1 || p.ldap.asked != 1 {
			t.Errorf("%v, %v, asked %d times", p.vouchers.checked, heard, p.ldap.asked)
		}
	})
	t.Run("asks_no_directory_that_is_disabled_or_has_no_service_account", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.vouchers.due = due()
		p.vouchers.all[3].Enabled = false
		p.RecheckDue(t.Context(), time.Minute)
		p.vouchers.all[3].Enabled, p.vouchers.all[3].Settings.LDAP.BindDN = true, ""
		p.RecheckDue(t.Context(), time.Minute)
		if p.ldap.asked != 0 {
			t.Error("asked")
		}
	})
}

// Of several identity providers the record says at which one somebody failed: to reach it, by what it said, or by a word of it to end sessions.
func TestRefusals_name_the_provider(t *testing.T) {
	t.Parallel()
	for name, try := range map[string]func(t *testing.T, p *port) error{
		"that is away": func(t *testing.T, p *port) error {
			p.oidc.away = true
			_, err := p.Depart(t.Context(), 1, "/", p.at())
			return err
		},
		"that sends nonsense": func(t *testing.T, p *port) error {
			d, err := p.Depart(t.Context(), 1, "/", p.at())
			want(t, err, nil)
			_, err = p.Land(t.Context(), identity.OIDC, login.Return{Code: "bad code", State: d.Flow.State.Reveal()}, p.at())
			return err
		},
		"that lies to a program": func(t *testing.T, p *port) error {
			_, err := p.SignIn(t.Context(), p.vouched(login.OIDC, 1, "bad code"), login.Begin{})
			return err
		},
		"that ends nothing": func(t *testing.T, p *port) error { return p.LoggedOut(t.Context(), 1, "garbage", p.at()) },
	} {
		p := newPort()
		p.vouchers.all[0].Name = "Corp"
		if err := try(t, p); err == nil {
			t.Fatalf("%s: no error", name)
		}
		if e := p.events.all[len(p.events.all)-1]; e.Object.Kind != "provider" || e.Object.ID != "corp" || e.Object.Name != "Corp" || e.Actor.Name != "" {
			t.Errorf("%s: on record is %+v", name, e)
		}
	}
}
