package ldap_test

import (
	"context"
	"errors"
	"net"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/idp/ldap"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

func TestMain(m *testing.M) { os.Exit(peers.Main(m)) }

// house is a Directory that counts the connections it makes.
type house struct {
	ldap.Directory
	dialled *atomic.Int64
}

func newHouse(t *testing.T) house {
	t.Helper()
	policy, err := outbound.NewPolicy(nil)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	return house{ldap.Directory{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		n.Add(1)
		return policy.DialInside(ctx, network, address)
	}}, &n}
}

// bySearch is a provider that finds people by uid or e-mail address.
func bySearch(d *peers.Directory, changes ...func(*identity.Provider)) identity.Provider {
	p := identity.Provider{ID: "one", Kind: identity.LDAP, Secret: secret.New(d.ServicePassword), Settings: identity.ProviderSettings{LDAP: &identity.LDAPSettings{
		URL: d.URL(), CA: string(d.CA), Resolve: "search", BindDN: d.Service, BaseDN: d.Base, Filter: "(|(uid={login})(mail={mail}))",
	}}}
	for _, change := range changes {
		change(&p)
	}
	return p
}

// byTemplate is a provider that makes the DN of the name and has no service account.
func byTemplate(d *peers.Directory, changes ...func(*identity.Provider)) identity.Provider {
	return bySearch(d, append([]func(*identity.Provider){func(p *identity.Provider) {
		p.Secret = secret.String{}
		s := p.Settings.LDAP
		s.Resolve, s.Template, s.Filter, s.BindDN, s.BaseDN = "construct", "uid={name},"+d.People, "", "", ""
	}}, changes...)...)
}

func startTLS(d *peers.Directory) func(*identity.Provider) {
	return func(p *identity.Provider) { p.Settings.LDAP.URL = d.PlainURL() }
}

func staff(d *peers.Directory) func(*identity.Provider) {
	return func(p *identity.Provider) { p.Settings.LDAP.Active = "(memberOf=cn=staff," + d.Groups + ")" }
}

// refused tells why a sign-in was, and fails the test when it was not.
func (h house) refused(t *testing.T, p identity.Provider, name, password string) string {
	t.Helper()
	v, err := h.Bind(t.Context(), p, name, secret.New(password))
	var wrong *login.Wrong
	if !errors.As(err, &wrong) || !reflect.DeepEqual(v, identity.Visitor{}) {
		t.Fatalf("%q came in as %+v, error %v", name, v, err)
	}
	if password != "" && strings.Contains(wrong.Reason, password) || strings.Contains(wrong.Reason, "gate-password") {
		t.Errorf("the reason tells a password: %s", wrong.Reason)
	}
	return wrong.Reason
}

func (h house) admitted(t *testing.T, p identity.Provider, name, password string) identity.Visitor {
	t.Helper()
	v, err := h.Bind(t.Context(), p, name, secret.New(password))
	if err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	return v
}

func TestBind_says_who_the_name_and_the_password_belong_to(t *testing.T) {
	t.Parallel()
	d, h := peers.Slapd(t), newHouse(t)
	subjects := make(map[string]bool)
	for what, p := range map[string]identity.Provider{
		"search over LDAPS":      bySearch(d),
		"search over StartTLS":   bySearch(d, startTLS(d)),
		"template over LDAPS":    byTemplate(d),
		"template over StartTLS": byTemplate(d, startTLS(d)),
		"search among staff":     bySearch(d, staff(d)),
		"template and service": bySearch(d, staff(d), func(p *identity.Provider) {
			p.Settings.LDAP.Resolve, p.Settings.LDAP.Template = "construct", "uid={name},"+d.People
		}),
		"another name in the proof": bySearch(d, func(p *identity.Provider) { p.Settings.LDAP.ServerName = "localhost" }),
	} {
		for _, name := range []string{"dana", "dana@example.test", "Dana@Example.TEST", " dana "} {
			v := h.admitted(t, p, name, "dana-password")
			subjects[v.Subject] = true
			v.Subject = ""
			want := identity.Visitor{Name: "dana", Email: "dana@example.test", EmailVerified: true, Display: "Person dana"}
			if !reflect.DeepEqual(v, want) {
				t.Errorf("%s, %q: %+v", what, name, v)
			}
		}
	}
	if len(subjects) != 1 || subjects[""] {
		t.Errorf("one person has the subjects %v", subjects)
	}
}

func TestBind_refuses(t *testing.T) {
	t.Parallel()
	d, h := peers.Slapd(t), newHouse(t)
	const nobody, wrong, unlike = "the directory has nobody of that name", "bind: the directory does not take name and password", "the name cannot be one of a directory"
	for _, c := range []struct{ name, password, search, template string }{
		{"dana", "dana-Password", wrong, wrong},
		{"dana", "dana-password\x00", "no password was given", "no password was given"},
		{"frank", "dana-password", nobody, wrong},
		{"twins@example.test", "twin1-password", "the directory has several entries of that name", wrong},
		// rule F6: names are values, whatever they look like.
		{"*", "dana-password", nobody, wrong},
		{"dan*", "dana-password", nobody, wrong},
		{"dana)(uid=*", "dana-password", nobody, wrong},
		{"*)(objectClass=*", "dana-password", nobody, wrong},
		{`dana\00`, "dana-password", nobody, wrong},
		{"dana,ou=people", "dana-password", nobody, wrong},
		{"dana+cn=Person dana", "dana-password", nobody, wrong},
		{"{name}", "dana-password", nobody, wrong},
		{"dana\x00", "dana-password", unlike, unlike},
		{"", "dana-password", unlike, unlike},
		{"\xff", "dana-password", unlike, unlike},
		{strings.Repeat("d", 257), "dana-password", unlike, unlike},
		{"@example.test", "dana-password", "the name has nothing before its @", "the name has nothing before its @"},
		// The template takes what is before the @; the rest must be theirs all the same, or one person had many names.
		{"dana@elsewhere.test", "dana-password", nobody, "the entry does not hold the name as it was presented"},
		// The referral is not followed: there is nobody at its other end, which would take another reason.
		{"away", "away-password", nobody, ""},
	} {
		if got := h.refused(t, bySearch(d), c.name, c.password); got != c.search {
			t.Errorf("search, %q: %s", c.name, got)
		}
		if got := h.refused(t, byTemplate(d), c.name, c.password); c.template != "" && got != c.template {
			t.Errorf("template, %q: %s", c.name, got)
		}
	}
}

func TestBind_takes_names_that_hold_what_filters_are_made_of(t *testing.T) {
	t.Parallel()
	d, h := peers.Slapd(t), newHouse(t)
	for _, p := range []identity.Provider{bySearch(d), byTemplate(d)} {
		if v := h.admitted(t, p, "st*r (odd)", "st*r (odd)-password"); v.Name != "st*r (odd)" || v.Email != "star@example.test" {
			t.Errorf("got %+v", v)
		}
	}
}

// rule F6: many servers say yes to a name without a password. Ours refuses it before anybody is asked.
func TestBind_asks_nobody_about_an_empty_password(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := &peers.Directory{Base: "dc=example,dc=test", People: "ou=people,dc=example,dc=test", Service: "cn=gate", ServicePassword: "x"}
	for _, p := range []identity.Provider{bySearch(d), byTemplate(d)} {
		for _, password := range []string{"", "\x00", "\x00x"} {
			if got := h.refused(t, p, "dana", password); got != "no password was given" {
				t.Errorf("%q: %s", password, got)
			}
		}
	}
	if n := h.dialled.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

func TestBind_looks_whether_somebody_is_active_after_the_password(t *testing.T) {
	t.Parallel()
	d, h := peers.Slapd(t), newHouse(t)
	p := bySearch(d, staff(d))
	if got := h.refused(t, p, "eve", "eve-password"); got != "the entry is not active in the directory, or cannot be read" {
		t.Errorf("right password: %s", got)
	}
	if got := h.refused(t, p, "eve", "wrong"); got != "bind: the directory does not take name and password" {
		t.Errorf("wrong password: %s", got)
	}
}

// A mail address that two entries hold says nothing about who came.
func TestBind_does_not_vouch_for_a_shared_address(t *testing.T) {
	t.Parallel()
	d, h := peers.Slapd(t), newHouse(t)
	v := h.admitted(t, bySearch(d), "twin1", "twin1-password")
	if v.Email != "twins@example.test" || v.EmailVerified {
		t.Errorf("got %+v", v)
	}
}

func TestBind_trusts_the_certificate_or_nobody(t *testing.T) {
	t.Parallel()
	d, h := peers.Slapd(t), newHouse(t)
	other := string(peers.NewCertificate(t, "127.0.0.1").CA)
	for _, tls := range []func(*identity.Provider){func(*identity.Provider) {}, startTLS(d)} {
		for want, change := range map[string]func(*identity.LDAPSettings){
			"start TLS: the certificate is signed by no authority that is trusted": func(s *identity.LDAPSettings) { s.CA = other },
			"start TLS: the certificate is for another name":                       func(s *identity.LDAPSettings) { s.ServerName = "dir.example.test" },
		} {
			if got := h.refused(t, bySearch(d, tls, func(p *identity.Provider) { change(p.Settings.LDAP) }), "dana", "dana-password"); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		system := bySearch(d, tls, func(p *identity.Provider) { p.Settings.LDAP.CA = "" })
		if got := h.refused(t, system, "dana", "dana-password"); got != "start TLS: the certificate is signed by no authority that is trusted" {
			t.Errorf("the system's authorities: %s", got)
		}
	}
}

func TestBind_tells_a_wrong_service_password(t *testing.T) {
	t.Parallel()
	d, h := peers.Slapd(t), newHouse(t)
	p := bySearch(d, func(p *identity.Provider) { p.Secret = secret.New("not the service's") })
	if got := h.refused(t, p, "dana", "dana-password"); got != "bind the service account: the directory does not take name and password" {
		t.Errorf("got %s", got)
	}
}

func TestBind_obeys_the_dialer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := &peers.Directory{Base: "dc=example,dc=test", Service: "cn=gate", ServicePassword: "x"}
	p := bySearch(d, func(p *identity.Provider) { p.Settings.LDAP.URL, p.Settings.LDAP.CA = "ldaps://169.254.169.254", "" })
	if got := h.refused(t, p, "dana", "dana-password"); got != "connect: target address is not allowed" { // rule W8
		t.Errorf("got %s", got)
	}
}

func TestSubject_outlives_every_change_of_an_entry(t *testing.T) {
	t.Parallel()
	d, h := peers.Slapd(t), newHouse(t)
	d.AddPerson(t, "grace")
	d.AddPerson(t, "heidi")
	p := bySearch(d)
	before := h.admitted(t, p, "grace", "grace-password")
	d.Modify(t, "dn: "+d.DN("grace")+"\nchangetype: modrdn\nnewrdn: uid=hopper\ndeleteoldrdn: 1\n")
	d.Modify(t, "dn: "+d.DN("hopper")+"\nchangetype: modify\nreplace: mail\nmail: hopper@example.test\n")
	t.Cleanup(func() { d.Delete(t, d.DN("hopper")) })
	after := h.admitted(t, p, "hopper@example.test", "grace-password")
	if before.Subject != after.Subject || after.Name != "hopper" || after.Subject == h.admitted(t, p, "heidi", "heidi-password").Subject {
		t.Errorf("before %+v, after %+v", before, after)
	}
	byDN := bySearch(d, func(p *identity.Provider) { p.Settings.LDAP.Subject = "employeeNumber" })
	if v := h.admitted(t, byDN, "hopper", "grace-password"); v.Subject != d.DN("hopper") {
		t.Errorf("without the attribute the subject is %s", v.Subject)
	}
}

// Whoever may write the attribute that should not change could claim to be somebody who has none.
func TestSubject_is_never_the_DN_of_somebody_else(t *testing.T) {
	t.Parallel()
	d, h := peers.Slapd(t), newHouse(t)
	d.AddPerson(t, "ivan", "employeeNumber: "+d.DN("dana"))
	d.AddPerson(t, "judy", "employeeType: 1", "employeeType: 2")
	claims := func(attribute string) identity.Provider {
		return bySearch(d, func(p *identity.Provider) { p.Settings.LDAP.Subject = attribute })
	}
	if got := h.refused(t, claims("employeeNumber"), "ivan", "ivan-password"); got != "the attribute that should never change holds something that cannot be a subject" {
		t.Errorf("got %s", got)
	}
	if got := h.refused(t, claims("employeeType"), "judy", "judy-password"); got != "the entry has several values of the attribute that should never change" {
		t.Errorf("got %s", got)
	}
}

func TestPresent_follows_an_entry_to_its_end(t *testing.T) {
	t.Parallel()
	d, h := peers.Slapd(t), newHouse(t)
	for what, attribute := range map[string]string{"by entryUUID": "", "by DN": "employeeNumber"} {
		uid := "kim" + strings.ToLower(attribute)
		d.AddPerson(t, uid, "employeeType: here")
		p := bySearch(d, func(p *identity.Provider) {
			p.Settings.LDAP.Subject, p.Settings.LDAP.Active = attribute, "(employeeType=here)"
		})
		subject := h.admitted(t, p, uid, uid+"-password").Subject
		present := func() bool {
			t.Helper()
			yes, err := h.Present(t.Context(), p, subject)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			return yes
		}
		if !present() {
			t.Errorf("%s: not there", what)
		}
		d.Modify(t, "dn: "+d.DN(uid)+"\nchangetype: modify\nreplace: employeeType\nemployeeType: left\n")
		if present() {
			t.Errorf("%s: active after leaving", what)
		}
		d.Modify(t, "dn: "+d.DN(uid)+"\nchangetype: modify\nreplace: employeeType\nemployeeType: here\n")
		if !present() {
			t.Errorf("%s: not there after coming back", what)
		}
		d.Delete(t, d.DN(uid))
		if present() {
			t.Errorf("%s: there after being deleted", what)
		}
	}
}

// An error means that nobody knows: no account is shut because its directory is ill.
func TestPresent_knows_when_it_does_not_know(t *testing.T) {
	t.Parallel()
	d, h := peers.Slapd(t), newHouse(t)
	subject := h.admitted(t, bySearch(d), "dana", "dana-password").Subject
	if _, err := h.Present(t.Context(), byTemplate(d), subject); !errors.Is(err, ldap.ErrNoServiceAccount) {
		t.Errorf("without a service account: %v", err)
	}
	for what, change := range map[string]func(*identity.Provider){
		"a wrong password of the service": func(p *identity.Provider) { p.Secret = secret.New("wrong") },
		"a base that is not there":        func(p *identity.Provider) { p.Settings.LDAP.BaseDN = "ou=nowhere," + d.Base },
		"a service that sees nothing": func(p *identity.Provider) {
			p.Settings.LDAP.BindDN, p.Secret = d.DN("eve"), secret.New("eve-password")
		},
		"another authority": func(p *identity.Provider) { p.Settings.LDAP.CA = string(peers.NewCertificate(t, "127.0.0.1").CA) },
		"broken settings":   func(p *identity.Provider) { p.Settings.LDAP.URL = "http://127.0.0.1" },
	} {
		for _, of := range []string{subject, "uid=frank," + d.People, ""} {
			if yes, err := h.Present(t.Context(), bySearch(d, change), of); err == nil || yes {
				t.Errorf("%s, %q: present %v, error %v", what, of, yes, err)
			}
		}
	}
	for _, of := range []string{d.DN("away"), ""} { // a referral is not followed
		if yes, err := h.Present(t.Context(), bySearch(d), of); err == nil || yes {
			t.Errorf("%q: present %v, error %v", of, yes, err)
		}
	}
}

func TestBind_and_Present_say_that_the_server_is_away(t *testing.T) {
	t.Parallel()
	d, h := peers.OwnSlapd(t), newHouse(t)
	p := bySearch(d)
	subject := h.admitted(t, p, "dana", "dana-password").Subject
	d.Stop(t)
	if got := h.refused(t, p, "dana", "dana-password"); got != "connect: the directory cannot be reached" {
		t.Errorf("got %s", got)
	}
	if _, err := h.Present(t.Context(), p, subject); err == nil {
		t.Error("a server that is away knows who is there")
	}
	if steps := h.Test(t.Context(), p); len(steps) != 2 || steps[1].OK || steps[1].Name != "connect" {
		t.Errorf("steps %+v", steps)
	}
	d.Start(t)
	if after := h.admitted(t, p, "dana", "dana-password").Subject; after != subject {
		t.Errorf("subject %s became %s", subject, after)
	}
}

func TestTest_stops_at_the_first_step_that_fails(t *testing.T) {
	t.Parallel()
	d, h := peers.Slapd(t), newHouse(t)
	type change = func(*identity.Provider)
	for _, c := range []struct {
		want   string // names of the steps; the last failed where it ends in !
		change change
	}{
		{"settings connect tls bind base search", func(*identity.Provider) {}},
		{"settings connect tls bind base search", startTLS(d)},
		{"settings connect tls bind", func(p *identity.Provider) { *p = byTemplate(d) }},
		{"settings!", func(p *identity.Provider) { p.Settings.LDAP.URL = "ldapi:///" }},
		{"settings connect!", func(p *identity.Provider) { p.Settings.LDAP.URL = "ldaps://169.254.169.254" }},
		{"settings connect tls!", func(p *identity.Provider) { p.Settings.LDAP.ServerName = "dir.example.test" }},
		{"settings connect tls!", func(p *identity.Provider) { p.Settings.LDAP.URL = strings.Replace(d.PlainURL(), "ldap:", "ldaps:", 1) }},
		{"settings connect tls bind!", func(p *identity.Provider) { p.Secret = secret.New("hush-hush") }},
		{"settings connect tls bind base!", func(p *identity.Provider) { p.Settings.LDAP.BaseDN = "ou=nowhere," + d.Base }},
	} {
		p := bySearch(d, c.change)
		steps := h.Test(t.Context(), p)
		var names []string
		for _, s := range steps {
			if !s.OK {
				s.Name += "!"
			}
			names = append(names, s.Name)
			if s.Note == "" || strings.Contains(s.Note, "hush-hush") || strings.Contains(s.Note, d.ServicePassword) {
				t.Errorf("note of %s: %q", s.Name, s.Note)
			}
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("got %s, want %s: %+v", got, c.want, steps)
		}
	}
}

// Nobody waits for goroutines that a sign-in left behind.
func TestBind_leaves_nothing_running(t *testing.T) {
	d, h := peers.Slapd(t), newHouse(t)
	running := goleak.IgnoreCurrent()
	h.admitted(t, bySearch(d, startTLS(d)), "dana", "dana-password")
	h.refused(t, bySearch(d), "dana", "wrong")
	h.refused(t, bySearch(d, func(p *identity.Provider) { p.Settings.LDAP.ServerName = "dir.example.test" }), "dana", "dana-password")
	ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
	defer cancel()
	if _, err := h.Bind(ctx, bySearch(d), "dana", secret.New("dana-password")); err == nil {
		t.Error("in no time")
	}
	goleak.VerifyNone(t, running)
}
