package test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// told is what providers that lie would like to see in our log.
const told = "inner-secret"

// lies starts a provider that answers as it likes, and returns its issuer.
func lies(t *testing.T, answer func(issuer string, w http.ResponseWriter, r *http.Request)) string {
	t.Helper()
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(s.URL, w, r) }))
	t.Cleanup(s.Close)
	return s.URL
}

// describes answers with a discovery document, less what replaces its members.
func describes(w http.ResponseWriter, issuer string, more members) {
	doc := members{"issuer": issuer, "authorization_endpoint": issuer + "/auth", "token_endpoint": issuer + "/token", "jwks_uri": issuer + "/keys"}
	for name, value := range more {
		doc[name] = value
	}
	_ = json.NewEncoder(w).Encode(doc) // who hangs up misses it
}

// silent is the issuer of a provider that takes calls and never says anything.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return "http://" + l.Addr().String()
}

// outdated is the issuer of a provider whose TLS certificate is out of date.
func outdated(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = nil
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// comeBack is the last answer on the way that begins at a path with which a provider sends the browser back.
func comeBack(v *gate.Visitor, path string) gate.Answer {
	a := v.Get(path)
	if to := a.Header.Get("Location"); strings.HasPrefix(to, "/login/finish?") {
		a = v.Get(to)
	}
	return a
}

// Providers that fail, lie or are attacked (rules F5, F12 and W8). Nobody is let in by them, the record says why, the log holds nothing of theirs, and
// whoever has a password signs in meanwhile by the form that is shown on request.
func TestAttack_providers_that_fail(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	admin := administrator(t, p.a)
	admin.must(t, http.StatusOK, "PATCH", authconfig+"/sso", members{"show-login-form": false, "enable-authentication-fallback": true})
	addPeople(t, p.a, "erin")
	byForm := func(t *testing.T) {
		t.Helper()
		v := p.a.Visitor(t)
		if a := v.Get("/login?auth_fallback"); !strings.Contains(string(a.Body), `name="password"`) {
			t.Errorf("no form: %s", a.Body)
		}
		if enterByForm(t, v, "erin", danaPassword, ""); who(v) != "erin" {
			t.Error("erin does not come in by the form")
		}
	}
	redirects := []string{pairURL + "/oauth"}
	var heard sync.Map // what was called that must not be
	victim := lies(t, func(_ string, _ http.ResponseWriter, r *http.Request) { heard.Store(r.URL.Path, true) })

	t.Run("all", func(t *testing.T) {
		for name, c := range map[string]struct{ issuer, reason string }{
			"down":     {"http://127.0.0.1:" + strconv.Itoa(peers.Port(t)), "the discovery document: the target refused the connection"},
			"slow":     {silent(t), "the discovery document: no answer in time"},
			"nonsense": {lies(t, func(_ string, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<h1>"+told+"</h1>") }), "the answer is not the JSON that it should be"},
			"endless": {lies(t, func(_ string, w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, strings.Repeat(told, 1<<20))
			}), "the answer is larger than"},
			"failing":   {lies(t, func(_ string, w http.ResponseWriter, _ *http.Request) { http.Error(w, told, http.StatusBadGateway) }), "the discovery document: answered 502"},
			"elsewhere": {lies(t, func(_ string, w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, victim, http.StatusFound) }), "the discovery document: answered 302"},
			"renamed":   {lies(t, func(_ string, w http.ResponseWriter, _ *http.Request) { describes(w, "https://"+told+".example", nil) }), "issuer is not the one that is set"},
			"over plain": {lies(t, func(i string, w http.ResponseWriter, _ *http.Request) {
				describes(w, i, members{"token_endpoint": "http://192.0.2.1/t"})
			}), "token endpoint must be an https URL"},
			"out of date": {outdated(t), "the discovery document: the certificate is out of date"},
			"inside":      {"https://10.255.255.1", "the discovery document: target address is not allowed"},
			"of a cloud":  {"https://169.254.169.254", "the discovery document: target address is not allowed"},
		} {
			t.Run(name, func(t *testing.T) {
				number := admin.configure(t, anOIDC(name, c.issuer, nil))
				v := p.a.Visitor(t)
				var a gate.Answer
				var asked sync.WaitGroup
				asked.Go(func() { a = v.Get("/login/sso/" + number) })
				byForm(t) // also while the provider keeps us waiting
				asked.Wait()
				wantRefused(t, p.a, v, a, http.StatusForbidden, "login.oidc", c.reason)
				if e := p.a.AwaitAudited(t, "login.oidc", "refused", c.reason); e.Object.Kind != "provider" {
					t.Errorf("the record does not say which provider: %+v", e)
				}
				if !strings.Contains(string(a.Body), "/login?auth_fallback") {
					t.Errorf("the page does not lead to the form: %s", a.Body)
				}
				byForm(t)
			})
		}
		t.Run("its document leads inside", func(t *testing.T) {
			issuer := lies(t, func(i string, w http.ResponseWriter, _ *http.Request) {
				describes(w, i, members{"token_endpoint": "https://10.255.255.1/token"})
			})
			number := admin.configure(t, anOIDC("Inward", issuer, nil))
			v := p.a.Visitor(t)
			to, err := url.Parse(begin(t, v, number).Header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			a := v.Get("/oauth?" + url.Values{"code": {told}, "state": {to.Query().Get("state")}}.Encode())
			wantRefused(t, p.a, v, a, http.StatusForbidden, "login.oidc", "the token endpoint: target address is not allowed")
		})
		t.Run("its keys are others", func(t *testing.T) {
			there := peers.OIDC(t, peers.OIDCOptions{Clients: clients("acme"), Redirects: redirects})
			number := admin.configure(t, anOIDC("Rotating", there.Issuer, nil))
			v := p.a.Visitor(t)
			if comeBack(v, arrive(t, v, there, number, "rosa")); who(v) != "rosa" {
				t.Fatalf("signed in as %q", who(v))
			}
			there.Rotate(t, false)
			soon := p.a.Visitor(t) // this node asked for keys a moment ago, and asks at most once a minute
			wantRefused(t, p.a, soon, comeBack(soon, arrive(t, soon, there, number, "rosa")), http.StatusForbidden, "login.oidc", "none of the provider's keys signed the ID token")
			other := p.b.Visitor(t) // that one has never asked
			if comeBack(other, arrive(t, other, there, number, "rosa")); who(other) != "rosa" {
				t.Errorf("with the new keys signed in as %q", who(other))
			}
		})
		t.Run("it leaves out what the mapping names", func(t *testing.T) {
			there := peers.OIDC(t, peers.OIDCOptions{Clients: clients("acme"), Redirects: redirects})
			jit := func(display string) members {
				return members{"user-provisioning-enabled": true, "mapping-display-name": display, "mapping-email": "${email}"}
			}
			for name, c := range map[string]struct {
				claim string
				of    members
			}{
				"Nameless": {"employee_number", members{"username-claim": "${employee_number}"}},
				"Faceless": {"nickname", members{"jit-configuration": jit("${name} (${nickname})")}},
			} {
				number := admin.configure(t, anOIDC(name, there.Issuer, c.of))
				v := p.a.Visitor(t)
				wantRefused(t, p.a, v, comeBack(v, arrive(t, v, there, number, "nina")), http.StatusForbidden, "login.oidc", c.claim)
			}
			if n := p.a.Count(t, "SELECT count(*) FROM users WHERE name = 'nina'"); n != 0 {
				t.Errorf("%d users were made all the same", n)
			}
		})
		t.Run("its SAML certificate is out of date", func(t *testing.T) { // dates do not end trust in the key, and the operator is told
			there := peers.SAML(t, peers.SAMLServiceProvider{EntityID: pairURL + "/saml/metadata.xml", ACS: pairURL + "/saml", Expired: true})
			number := admin.configure(t, aSAML("Basement", there))
			v := p.a.Visitor(t)
			if v.Get(landed(t, v.Post("/saml", arriveSAML(t, v, there, number)))); who(v) != "dana" {
				t.Errorf("signed in as %q", who(v))
			}
			if r := p.a.Command(t, "", "idp", "test", "Basement"); r.Exit != 0 || !strings.Contains(r.Stdout+r.Stderr, "it has expired, and its key is still trusted") {
				t.Errorf("%+v", r)
			}
			logout := p.a.Visitor(t)
			a := logout.Post("/oauth/logout/"+number, url.Values{"logout_token": {"a.b.c"}})
			wantRefused(t, p.a, logout, a, http.StatusBadRequest, "login.logout_token", "send no logout tokens")
		})
	})
	heard.Range(func(path, _ any) bool { t.Errorf("the victim was asked for %s", path); return true })
	for _, g := range []*gate.Gate{p.a, p.b} {
		hushed(t, g, told, clientSecret, danaPassword, "nina@example.test")
	}
}

// listening is where a real provider sends its logout tokens: they are noted, and go on to a gate.
type listening struct {
	url string

	mu     sync.Mutex
	to     string
	tokens []string
}

func listen(t *testing.T) *listening {
	t.Helper()
	l := &listening{}
	l.url = lies(t, func(_ string, w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tokens = append(l.tokens, r.PostFormValue("logout_token"))
		answer, err := http.PostForm(l.to, r.PostForm)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		answer.Body.Close()
		w.WriteHeader(answer.StatusCode)
	})
	return l
}

func (l *listening) last(t *testing.T) string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.tokens) == 0 {
		t.Fatal("the provider sent no logout token")
	}
	return l.tokens[len(l.tokens)-1]
}

// part is a part of a token with members put in place of its own; nil takes one away.
func part(t *testing.T, text string, more members) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	var all members
	gate.Answer{Body: raw}.JSON(t, &all)
	for name, value := range more {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	changed, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(changed)
}

// idToken is a real ID token that the provider gave to our client.
func idToken(t *testing.T, p *peers.OIDCProvider, name string) string {
	t.Helper()
	redirect := pairURL + "/oauth"
	back := p.SignIn(t, p.Issuer+"/auth?"+url.Values{
		"client_id": {"acme"}, "response_type": {"code"}, "scope": {"openid"}, "redirect_uri": {redirect}, "nonce": {"n"}, "state": {"s"},
	}.Encode(), redirect, name)
	form := url.Values{"grant_type": {"authorization_code"}, "code": {back.Get("code")}, "redirect_uri": {redirect}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("acme", clientSecret)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got struct {
		ID string `json:"id_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || got.ID == "" {
		t.Fatalf("no ID token: %s %v", answer.Status, err)
	}
	return got.ID
}

// Nobody but the provider ends sessions by a logout token, and not twice by one (rules F5 and F12).
//
// How it is attacked: a real token of a real provider again, at either node; the same with other claims, without a signature, signed by the
// client's secret or by a stranger's key; an ID token in its place; the right token for another provider.
// What must happen: one answer for all, the true reason on record, and whoever is signed in stays so.
func TestAttack_logout_tokens(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	admin, ear := administrator(t, p.a), listen(t)
	there := peers.OIDC(t, peers.OIDCOptions{Clients: []peers.OIDCClient{{ID: "acme", Secret: clientSecret, Logout: ear.url}}, Redirects: []string{pairURL + "/oauth"}})
	other := peers.OIDC(t, peers.OIDCOptions{Clients: clients("acme"), Redirects: []string{pairURL + "/oauth"}})
	number, another := admin.configure(t, anOIDC("Acme", there.Issuer, nil)), admin.configure(t, anOIDC("Other", other.Issuer, nil))
	ear.to = p.a.URL + "/oauth/logout/" + number
	in := func() *gate.Visitor {
		v := p.b.Visitor(t)
		if comeBack(v, arrive(t, v, there, number, "lou")); who(v) != "lou" {
			t.Fatalf("signed in as %q", who(v))
		}
		return v
	}
	before := in()
	there.SignOut(t, "lou")
	wantShut(t, time.Now(), 2*time.Second, before)
	real := ear.last(t)
	victim := in()

	parts := strings.Split(real, ".")
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	everybody := part(t, parts[1], members{"sid": nil, "jti": "another"}) // all of lou's sessions
	bySecret := func(head, body string) string {
		mac := hmac.New(sha256.New, []byte(clientSecret))
		mac.Write([]byte(head + "." + body))
		return head + "." + body + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	byStranger := func(head, body string) string {
		digest := sha256.Sum256([]byte(head + "." + body))
		signature, err := rsa.SignPKCS1v15(nil, stranger, crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return head + "." + body + "." + base64.RawURLEncoding.EncodeToString(signature)
	}
	key := members{
		"kty": "RSA", "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(stranger.N.Bytes()), "use": "sig",
	}
	const unsigned, malformed = "none of the provider's keys signed the logout token", "the logout token is malformed, or signed by something other"
	answers := map[string]bool{}
	for name, c := range map[string]struct {
		g                     *gate.Gate
		number, token, reason string
	}{
		"again":                            {p.a, number, real, "the token was used before"},
		"again, at the other node":         {p.b, number, real, "the token was used before"},
		"with other claims":                {p.a, number, parts[0] + "." + everybody + "." + parts[2], unsigned},
		"of a stranger":                    {p.a, number, byStranger(parts[0], everybody), unsigned},
		"of a stranger who brings a key":   {p.a, number, byStranger(part(t, parts[0], members{"jwk": key, "kid": nil}), everybody), unsigned},
		"of a stranger who names a place":  {p.a, number, byStranger(part(t, parts[0], members{"jku": ear.url, "kid": nil}), everybody), unsigned},
		"without a signature":              {p.a, number, part(t, parts[0], members{"alg": "none"}) + "." + everybody + ".", malformed},
		"signed by the secret":             {p.a, number, bySecret(part(t, parts[0], members{"alg": "HS256"}), everybody), malformed},
		"an ID token":                      {p.a, number, idToken(t, there, "max"), "has a nonce, which none may have"},
		"of another provider":              {p.b, another, real, unsigned},
		"an ID token of another":           {p.a, number, idToken(t, other, "lou"), unsigned},
		"for a provider that is not there": {p.a, "999", real, "there is no such identity provider"},
		"for no number":                    {p.a, "1e0", real, "there is no such identity provider"},
		"nothing":                          {p.a, number, "", malformed},
		"far too long":                     {p.a, number, strings.Repeat("x", 70<<10), malformed},
	} {
		v := c.g.Visitor(t)
		v.Origin = "https://evil.example"
		a := v.Post("/oauth/logout/"+c.number, url.Values{"logout_token": {c.token}})
		t.Run(name, func(t *testing.T) { wantRefused(t, p.a, v, a, http.StatusBadRequest, "login.logout_token", c.reason) })
		answers[fmt.Sprint(string(a.Body), a.Header.Get("Cache-Control"))] = true
	}
	if len(answers) != 1 {
		t.Errorf("the answers differ: %v", answers)
	}
	if a := p.a.Visitor(t).Get("/oauth/logout/" + number + "?logout_token=" + real); a.Status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d %s", a.Status, a.Body)
	}
	if who(victim) != "lou" {
		t.Error("lou was signed out")
	}
	for _, g := range []*gate.Gate{p.a, p.b} {
		hushed(t, g, clientSecret, parts[2], everybody)
	}
	there.SignOut(t, "lou")
	wantShut(t, time.Now(), 2*time.Second, victim)
}
