package oidc_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	f := federation(t)
	for _, c := range []struct {
		change func(*identity.Provider)
		want   string
	}{
		{func(*identity.Provider) {}, ""},
		{func(p *identity.Provider) { p.Kind = identity.SAML }, "no settings of OpenID Connect"},
		{func(p *identity.Provider) { p.Settings.OIDC = nil }, "no settings of OpenID Connect"},
		{func(p *identity.Provider) { p.Settings.OIDC.Issuer = "" }, "the issuer is missing"},
		{func(p *identity.Provider) { p.Settings.OIDC.Issuer = "http://corp.test" }, "the issuer must be an https URL"},
		{func(p *identity.Provider) { p.Settings.OIDC.Issuer = "http://127.0.0.1:80" }, ""},
		{func(p *identity.Provider) { p.Settings.OIDC.Issuer = "https://corp.test/?x=1" }, "the issuer holds no query"},
		{func(p *identity.Provider) { p.Settings.OIDC.ClientID = "" }, "the client id"},
		{func(p *identity.Provider) { p.Settings.OIDC.ClientID = "a\nb" }, "the client id"},
		{func(p *identity.Provider) { p.Settings.OIDC.Scopes = []string{"groups", "a b"} }, "a scope is a word"},
		{func(p *identity.Provider) { p.Settings.OIDC.NameClaim = "${" }, "the expression for the user name"},
		{func(p *identity.Provider) { p.Settings.JIT.Email = "${" }, "the expression for the e-mail address"},
		{func(p *identity.Provider) { p.Settings.OIDC.CA = "none" }, "no PEM certificate"},
		{func(p *identity.Provider) { p.Settings.OIDC.AllowUnbound = true }, ""},
		{func(p *identity.Provider) { p.Settings.OIDC.AllowUnbound, p.Secret = true, secret.String{} }, "need a client secret"},
		{func(p *identity.Provider) { p.Settings.OIDC.NoDiscovery = true }, "the authorization endpoint is missing"},
		{func(p *identity.Provider) {
			s := p.Settings.OIDC
			s.NoDiscovery, s.AuthURL, s.TokenURL = true, "https://corp.test/a", "https://corp.test/t"
		}, "the userinfo endpoint is missing"},
		{func(p *identity.Provider) {
			s := p.Settings.OIDC
			s.NoDiscovery, s.AuthURL, s.TokenURL, s.KeysURL = true, "https://corp.test/a", "https://corp.test/t", "https://corp.test/k"
		}, ""},
	} {
		p := oidcProvider("https://corp.test", "gate")
		c.change(&p)
		err := f.Check(p)
		if c.want == "" && err != nil || c.want != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(fault.Text(err), c.want)) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	f.AllowHTTP = false
	if err := f.Check(oidcProvider("http://127.0.0.1:80", "gate")); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Text(err), "sso.allow_http") {
		t.Errorf("plain http: %v", err)
	}
}

// rule F5: each flow has a state, a nonce and a challenge of its own, and what the provider's address held stays.
func TestDepart(t *testing.T) {
	t.Parallel()
	e := newEvil(t)
	e.document = func(d map[string]any) {
		d["authorization_endpoint"] = d["authorization_endpoint"].(string) + "&state=evil&scope=evil"
	}
	f, p := federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate")
	p.Settings.OIDC.Scopes = []string{"groups", "email"}
	one, d := depart(t, f, p)
	two, _ := depart(t, f, p)
	if one.State.Equal(two.State) || one.Nonce.Equal(two.Nonce) || one.Verifier.Equal(two.Verifier) || one.State.Equal(one.Nonce) {
		t.Error("two flows share a secret")
	}
	if len(one.State.Reveal()) != 43 || len(one.Nonce.Reveal()) != 43 || len(one.Verifier.Reveal()) != 43 {
		t.Errorf("state, nonce or verifier is not 32 bytes: %q", one.State.Reveal())
	}
	full, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	partial, err := url.Parse(d.Partial)
	if err != nil {
		t.Fatal(err)
	}
	q := full.Query()
	for name, want := range map[string]string{
		"tenant": "7", "scope": "openid email profile groups", "code_challenge_method": "S256", "response_type": "code",
		"client_id": "gate", "redirect_uri": redirect, "state": one.State.Reveal(), "nonce": one.Nonce.Reveal(),
	} {
		if len(q[name]) != 1 || q.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, q[name], want)
		}
	}
	for _, added := range []string{"response_type", "client_id", "redirect_uri", "state"} {
		q.Del(added)
	}
	if q.Encode() != partial.Query().Encode() || strings.Contains(d.URL, one.Verifier.Reveal()) {
		t.Errorf("partial is %s of %s", d.Partial, d.URL)
	}
}
