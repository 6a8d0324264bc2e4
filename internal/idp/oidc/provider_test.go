package oidc_test

import (
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/idp/oidc"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

const (
	redirect     = "http://127.0.0.1:1/oauth"
	clientSecret = "the-client-secret"
)

func federation(t *testing.T, allow ...string) *oidc.Federation {
	t.Helper()
	policy, err := outbound.NewPolicy(allow)
	if err != nil {
		t.Fatal(err)
	}
	client := policy.Client()
	t.Cleanup(client.CloseIdleConnections)
	return &oidc.Federation{Client: client, RedirectURI: redirect, AllowHTTP: true, Now: time.Now}
}

func oidcProvider(issuer, client string) identity.Provider {
	return identity.Provider{
		ID: "corp", Kind: identity.OIDC, Name: "Corp", Enabled: true, Secret: secret.New(clientSecret),
		Settings: identity.ProviderSettings{OIDC: &identity.OIDCSettings{Issuer: issuer, ClientID: client, NameClaim: "${preferred_username}"}},
	}
}

func depart(t *testing.T, f *oidc.Federation, p identity.Provider) (login.Flow, login.Departure) {
	t.Helper()
	flow := login.Flow{ID: "flow", Provider: p.ID}
	d, err := f.Depart(t.Context(), p, &flow)
	if err != nil {
		t.Fatal(err)
	}
	return flow, d
}

// refused checks that a refusal is a *login.Wrong with that reason, and that no secret is in it.
func refused(t *testing.T, err error, reason string) {
	t.Helper()
	var w *login.Wrong
	if !errors.As(err, &w) {
		t.Fatalf("got %v, want a *login.Wrong: %s", err, reason)
	}
	if !strings.Contains(w.Reason, reason) {
		t.Errorf("the reason is %q, want %q", w.Reason, reason)
	}
	if strings.Contains(w.Reason, clientSecret) || strings.Contains(w.Reason, "evil") {
		t.Errorf("the reason tells too much: %q", w.Reason)
	}
}

func back(q url.Values) login.Return {
	return login.Return{Code: q.Get("code"), State: q.Get("state"), Issuer: q.Get("iss"), Refused: q.Get("error")}
}

// rule F5: a certified provider, with every algorithm that we take and every way to prove a client.
func TestSignIn_at_a_real_provider(t *testing.T) {
	t.Parallel()
	real := peers.OIDC(t, peers.OIDCOptions{
		Clients: []peers.OIDCClient{
			{ID: "rs", Secret: clientSecret},
			{ID: "es", Secret: clientSecret, Alg: "ES256", Auth: "client_secret_post"},
			{ID: "ps", Secret: clientSecret, Alg: "PS256"},
			{ID: "public", Auth: "none"},
		},
		Redirects: []string{redirect},
		Accounts:  map[string]map[string]any{"eve": {"email_verified": false}, "una": {"email_verified": nil}},
	})
	f := federation(t, "127.0.0.1")
	arrive := func(t *testing.T, p identity.Provider, name string) (identity.Visitor, error) {
		flow, d := depart(t, f, p)
		flow.Browser = secret.New("of our own page")
		v, once, err := f.Arrive(t.Context(), p, &flow, back(real.SignIn(t, d.URL, redirect, name)))
		if len(once) != 1 || !strings.HasPrefix(once[0].Key, "oidc code corp ") {
			t.Errorf("once is %+v", once)
		}
		return v, err
	}
	for _, client := range []string{"rs", "es", "ps", "public"} {
		t.Run("signs in as "+client, func(t *testing.T) {
			t.Parallel()
			p := oidcProvider(real.Issuer, client)
			if client == "public" {
				p.Secret = secret.String{}
			}
			v, err := arrive(t, p, "ann")
			want := identity.Visitor{Subject: "ann", Name: "ann", Email: "ann@example.test", EmailVerified: true, Display: "ann of the tests"}
			if err != nil || !reflect.DeepEqual(v, want) {
				t.Errorf("got %+v, %v", v, err)
			}
		})
	}
	t.Run("an address that is not verified is none", func(t *testing.T) {
		t.Parallel()
		v, err := arrive(t, oidcProvider(real.Issuer, "rs"), "eve")
		if err != nil || v.Email != "" || v.EmailVerified || v.Subject != "eve" {
			t.Errorf("got %+v, %v", v, err)
		}
		p := oidcProvider(real.Issuer, "rs")
		p.Settings.OIDC.NameClaim = "${email}"
		_, err = arrive(t, p, "eve")
		refused(t, err, "the provider says that the e-mail address is not verified")
	})
	t.Run("an address of which nothing is said is not verified", func(t *testing.T) {
		t.Parallel()
		v, err := arrive(t, oidcProvider(real.Issuer, "rs"), "una")
		if err != nil || v.Email != "una@example.test" || v.EmailVerified {
			t.Errorf("got %+v, %v", v, err)
		}
	})
	t.Run("a program adds what is missing to the partial URL", func(t *testing.T) {
		t.Parallel()
		p := oidcProvider(real.Issuer, "es")
		flow, d := depart(t, f, p)
		for _, missing := range []string{"response_type=", "client_id=", "redirect_uri=", "state="} {
			if strings.Contains(d.Partial, missing) {
				t.Errorf("%s is in %s", missing, d.Partial)
			}
		}
		q := url.Values{"response_type": {"code"}, "client_id": {d.ClientID}, "redirect_uri": {d.RedirectURI}, "state": {flow.State.Reveal()}}
		came := back(real.SignIn(t, d.Partial+"&"+q.Encode(), redirect, "bob"))
		came.Issuer = "" // a program hands on code and state alone
		if f.StateOf(came) != flow.State.Reveal() {
			t.Error("the state is not found")
		}
		if v, _, err := f.Arrive(t.Context(), p, &flow, came); err != nil || v.Name != "bob" {
			t.Errorf("got %+v, %v", v, err)
		}
	})
	t.Run("a browser's code needs the name of its issuer", func(t *testing.T) {
		t.Parallel()
		p := oidcProvider(real.Issuer, "rs")
		for issuer, reason := range map[string]string{"": "names itself with every code", "https://evil.test": "another issuer"} {
			flow, d := depart(t, f, p)
			flow.Browser = secret.New("of our own page")
			came := back(real.SignIn(t, d.URL, redirect, "bob"))
			came.Issuer = issuer
			_, _, err := f.Arrive(t.Context(), p, &flow, came)
			refused(t, err, reason)
		}
	})
	t.Run("another verifier, another secret and a used code are refused", func(t *testing.T) {
		t.Parallel()
		p := oidcProvider(real.Issuer, "rs")
		flow, d := depart(t, f, p)
		came := back(real.SignIn(t, d.URL, redirect, "bob"))
		stolen := flow
		stolen.Verifier = secret.New(strings.Repeat("x", 43))
		_, first, err := f.Arrive(t.Context(), p, &stolen, came)
		refused(t, err, "the token endpoint refused the code: invalid_grant")
		_, again, err := f.Arrive(t.Context(), p, &stolen, came)
		refused(t, err, "invalid_grant")
		if len(first) != 1 || len(again) != 1 || first[0].Key != again[0].Key || strings.Contains(first[0].Key, came.Code) {
			t.Errorf("the code is remembered as %+v and %+v", first, again)
		}
		flow, d = depart(t, f, p)
		came = back(real.SignIn(t, d.URL, redirect, "bob"))
		p.Secret = secret.New("not-it")
		_, _, err = f.Arrive(t.Context(), p, &flow, came)
		refused(t, err, "the token endpoint refused the code: invalid_client")
	})
	t.Run("a code of nobody's flow needs leave, and no verifier that is missing", func(t *testing.T) {
		t.Parallel()
		p := oidcProvider(real.Issuer, "rs")
		_, d := depart(t, f, p)
		bound := back(real.SignIn(t, d.URL, redirect, "bob"))
		_, _, err := f.Arrive(t.Context(), p, nil, bound)
		refused(t, err, "the code belongs to no sign-in that was begun here")
		p.Settings.OIDC.AllowUnbound = true
		_, _, err = f.Arrive(t.Context(), p, nil, bound) // the provider remembers the challenge
		refused(t, err, "invalid_grant")
		own := d.URL[:strings.IndexByte(d.URL, '?')] + "?" + url.Values{"response_type": {"code"}, "client_id": {"rs"}, "redirect_uri": {redirect}, "scope": {"openid email profile"}}.Encode()
		if v, _, err := f.Arrive(t.Context(), p, nil, back(real.SignIn(t, own, redirect, "bob"))); err != nil || v.Subject != "bob" {
			t.Errorf("got %+v, %v", v, err)
		}
		p.Secret = secret.String{}
		_, _, err = f.Arrive(t.Context(), p, nil, bound)
		refused(t, err, "the code belongs to no sign-in")
	})
	t.Run("typed endpoints do as well", func(t *testing.T) {
		t.Parallel()
		p := oidcProvider(real.Issuer, "es")
		s := p.Settings.OIDC
		s.NoDiscovery, s.AuthURL, s.TokenURL, s.UserInfoURL = true, real.Issuer+"/auth", real.Issuer+"/token", real.Issuer+"/me"
		if err := f.Check(p); err != nil {
			t.Fatal(err)
		}
		if v, err := arrive(t, p, "ann"); err != nil || v.Email != "ann@example.test" { // userinfo decides
			t.Errorf("got %+v, %v", v, err)
		}
		s.KeysURL = real.Issuer + "/jwks"
		if v, err := arrive(t, p, "ann"); err != nil || v.Email != "ann@example.test" {
			t.Errorf("got %+v, %v", v, err)
		}
	})
	t.Run("provisioning follows its expressions", func(t *testing.T) {
		t.Parallel()
		p := oidcProvider(real.Issuer, "rs")
		p.Settings.JIT = identity.JIT{Provision: true, Display: "${preferred_username} (Corp)", Email: "${sub}@corp.test"}
		if v, err := arrive(t, p, "ann"); err != nil || v.Display != "ann (Corp)" || v.Email != "ann@corp.test" || v.EmailVerified {
			t.Errorf("got %+v, %v", v, err)
		}
		p.Settings.JIT.Email, p.Settings.JIT.Display = "${email}", "${nickname}"
		if v, err := arrive(t, p, "ann"); err != nil || v.Display != "" || v.Email != "ann@example.test" || !v.EmailVerified {
			t.Errorf("got %+v, %v", v, err)
		}
		p.Settings.OIDC.NameClaim = "${nickname}"
		_, err := arrive(t, p, "ann")
		refused(t, err, "the user name: there is no value for ${nickname}")
	})
	t.Run("a test call tells what is wrong", func(t *testing.T) {
		t.Parallel()
		good := oidcProvider(real.Issuer, "rs")
		steps := f.Test(t.Context(), good)
		if len(steps) != 5 || !steps[4].OK {
			t.Errorf("got %+v", steps)
		}
		bad := oidcProvider(real.Issuer, "rs")
		bad.Secret = secret.New("not-it")
		unknown := oidcProvider(real.Issuer, "nobody")
		elsewhere := oidcProvider(real.Issuer+"/", "rs")
		half := oidcProvider("ftp://x", "rs")
		for _, c := range []struct {
			p    identity.Provider
			step string
			note string
		}{
			{bad, "token endpoint", "check client id and client secret"},
			{unknown, "authorization endpoint", "check the client id, and that " + redirect},
			{elsewhere, "discovery", "by a slash at the end"},
			{half, "settings", "must be an https URL"},
		} {
			steps := f.Test(t.Context(), c.p)
			last := steps[len(steps)-1]
			if last.OK || last.Name != c.step || !strings.Contains(last.Note, c.note) {
				t.Errorf("want %s: %s, got %+v", c.step, c.note, steps)
			}
		}
	})
}

func TestSignIn_survives_new_keys(t *testing.T) {
	t.Parallel()
	real := peers.OIDC(t, peers.OIDCOptions{
		Clients: []peers.OIDCClient{{ID: "rs", Secret: clientSecret}}, Redirects: []string{redirect}, ClaimsInIDToken: true,
	})
	f := federation(t, "127.0.0.1")
	now := time.Now()
	f.Now = func() time.Time { return now }
	p := oidcProvider(real.Issuer, "rs")
	arrive := func() error {
		flow, d := depart(t, f, p)
		_, _, err := f.Arrive(t.Context(), p, &flow, back(real.SignIn(t, d.URL, redirect, "ann")))
		return err
	}
	if err := arrive(); err != nil {
		t.Fatal(err)
	}
	real.Rotate(t, true)
	refused(t, arrive(), "none of the provider's keys") // asked less than a minute ago
	now = now.Add(61 * time.Second)
	if err := arrive(); err != nil {
		t.Error(err)
	}
	real.Rotate(t, false)
	now = now.Add(61 * time.Second)
	if err := arrive(); err != nil {
		t.Error(err)
	}
}

// rule F12: the same name at two issuers is two people, and a code of one is nothing at the other.
func TestSignIn_keeps_issuers_apart(t *testing.T) {
	t.Parallel()
	options := peers.OIDCOptions{Clients: []peers.OIDCClient{{ID: "rs", Secret: clientSecret}}, Redirects: []string{redirect}}
	one, two := peers.OIDC(t, options), peers.OIDC(t, options)
	f := federation(t, "127.0.0.1")
	p, q := oidcProvider(one.Issuer, "rs"), oidcProvider(two.Issuer, "rs")
	q.ID = "other"
	flow, d := depart(t, f, p)
	came := back(one.SignIn(t, d.URL, redirect, "ann"))
	_, _, err := f.Arrive(t.Context(), q, &flow, came)
	refused(t, err, "another issuer than the provider's")
	came.Issuer = ""
	_, _, err = f.Arrive(t.Context(), q, &flow, came)
	refused(t, err, "begun at another provider")
	flow.Provider = q.ID
	_, _, err = f.Arrive(t.Context(), q, &flow, came)
	refused(t, err, "invalid_grant")
}

// rule W8: what an administrator typed is called only where the policy says so.
func TestDepart_obeys_the_policy(t *testing.T) {
	t.Parallel()
	f := federation(t)
	for _, issuer := range []string{"http://127.0.0.1:9", "https://localhost:9", "https://10.0.0.1", "https://169.254.169.254", "https://[::ffff:127.0.0.1]"} {
		p := oidcProvider(issuer, "rs")
		_, err := f.Depart(t.Context(), p, &login.Flow{})
		refused(t, err, "target address is not allowed")
		if steps := f.Test(t.Context(), p); steps[len(steps)-1].OK {
			t.Errorf("%s: %+v", issuer, steps)
		}
	}
}
