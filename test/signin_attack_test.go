package test

import (
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// What browsers call the two nodes, and the cookies that they keep for them.
const (
	pairURL        = "https://gate.example.test"
	sessionCookie  = "__Host-gatehouse"
	preLoginCookie = "__Host-gatehouse-login"
)

// pair is two nodes on one PostgreSQL that browsers know by one address.
type pair struct{ a, b *gate.Gate }

func newPair(t *testing.T, more ...string) pair {
	t.Helper()
	a := gate.Start(t, gate.Options{Database: peers.Postgres(t).Database(t), Settings: withProviders(append([]string{"public_url", pairURL}, more...)...)})
	return pair{a, a.Second(t)}
}

// who reads from the page at the root who is signed in; "" is nobody.
func who(v *gate.Visitor) string {
	found := regexp.MustCompile(`<dt>User</dt><dd>([^<]*)</dd>`).FindSubmatch(v.Get("/").Body)
	if found == nil {
		return ""
	}
	return string(found[1])
}

// wantRefused checks that the visitor was refused, has no session, and that the record says why.
func wantRefused(t *testing.T, g *gate.Gate, v *gate.Visitor, a gate.Answer, status int, action, reason string) {
	t.Helper()
	if a.Status != status {
		t.Errorf("%d to %s, want %d: %.300s", a.Status, v.Address, status, a.Body)
	}
	if strings.Contains(a.Header.Get("Set-Cookie"), sessionCookie+"=") || who(v) != "" {
		t.Errorf("%s has a session", v.Address)
	}
	if reason != "" && strings.Contains(string(a.Body), reason) {
		t.Errorf("the answer says why: %s", a.Body)
	}
	gate.Eventually(t, func() error {
		for _, e := range g.Audited(t, action) {
			if e.Address == v.Address && e.Outcome == "refused" && strings.Contains(e.Reason, reason) {
				return nil
			}
		}
		return fmt.Errorf("no %s refused to %s with reason %q", action, v.Address, reason)
	})
}

// begin goes to a provider and returns where the browser is sent.
func begin(t *testing.T, v *gate.Visitor, number string) gate.Answer {
	t.Helper()
	a := v.Get("/login/sso/" + number)
	if a.Status != http.StatusSeeOther && a.Status != http.StatusOK || v.Cookies[preLoginCookie] == "" {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	return a
}

// arrive begins at an OpenID Connect provider, signs in there, and returns the path with which the provider sends the browser back.
func arrive(t *testing.T, v *gate.Visitor, p *peers.OIDCProvider, number, name string) string {
	t.Helper()
	return "/oauth?" + p.SignIn(t, begin(t, v, number).Header.Get("Location"), pairURL+"/oauth", name).Encode()
}

// arriveSAML does the same at a SAML provider and returns what it has the browser post.
func arriveSAML(t *testing.T, v *gate.Visitor, p *peers.SAMLProvider, number string) url.Values {
	t.Helper()
	form := url.Values{}
	for _, found := range regexp.MustCompile(`name="(SAMLRequest|RelayState)" value="([^"]*)"`).FindAllSubmatch(begin(t, v, number).Body, -1) {
		form.Set(string(found[1]), html.UnescapeString(string(found[2])))
	}
	_, posted := p.SignIn(t, form, peers.SAMLUser, peers.SAMLPassword)
	return posted
}

// landed is the path to which an answer of /oauth or /saml leads on.
func landed(t *testing.T, a gate.Answer) string {
	t.Helper()
	to := a.Header.Get("Location")
	if a.Status != http.StatusSeeOther || !strings.HasPrefix(to, "/login/finish?flow=") {
		t.Fatalf("%d to %q: %s", a.Status, to, a.Body)
	}
	if strings.Contains(a.Header.Get("Set-Cookie"), sessionCookie+"=") {
		t.Fatal("a session before the cookie of the browser that began was seen")
	}
	return to
}

// way is what discovery tells a program about a provider.
type way struct {
	Method, Name, ID, State string
	IDP                     []byte `json:"idp_id"`
	URL                     string `json:"authorization_url"`
	ClientID                string `json:"client_id"`
	RedirectURI             string `json:"redirect_uri"`
	BindingURL              string `json:"binding_url"`
	Request                 string `json:"authn_request"`
}

// discover begins sign-ins for a program at every provider, and returns the one of that name.
func discover(t *testing.T, v *gate.Visitor, name string) way {
	t.Helper()
	var all []way
	v.JSON("/sys/v1/session/auth/discover", map[string]any{"user_email": "somebody@example.test"}).JSON(t, &all)
	for _, w := range all {
		if w.Name == name {
			return w
		}
	}
	t.Fatalf("no way by %s: %+v", name, all)
	return way{}
}

// code signs in at the provider for a program and returns what goes into its sign-in.
func (w way) code(t *testing.T, p *peers.OIDCProvider, name string) map[string]any {
	t.Helper()
	u, err := url.Parse(w.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("response_type", "code")
	q.Set("client_id", w.ClientID)
	q.Set("redirect_uri", w.RedirectURI)
	q.Set("state", w.State)
	u.RawQuery = q.Encode()
	back := p.SignIn(t, u.String(), w.RedirectURI, name)
	return map[string]any{"method": "oauth-auth-code", "idp_id": w.IDP, "code": back.Get("code"), "email": name + "@example.test", "state": w.State}
}

// response does the same at a SAML provider.
func (w way) response(t *testing.T, p *peers.SAMLProvider) map[string]any {
	t.Helper()
	_, posted := p.SignIn(t, url.Values{"SAMLRequest": {w.Request}}, peers.SAMLUser, peers.SAMLPassword)
	return map[string]any{"method": "saml-response", "id": w.ID, "response": posted.Get("SAMLResponse")}
}

// together does all of it at the same moment and returns how many succeeded.
func together(works ...func() bool) int {
	var all sync.WaitGroup
	begin, good := make(chan struct{}), make([]bool, len(works))
	for i, work := range works {
		all.Go(func() {
			<-begin
			good[i] = work()
		})
	}
	close(begin)
	all.Wait()
	n := 0
	for _, g := range good {
		if g {
			n++
		}
	}
	return n
}

// What was broken elsewhere: answers of providers that anybody may bring, bring twice, or bring to another door.
func TestAttack_answers_of_providers(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	redirects := []string{pairURL + "/oauth"}
	acme := peers.OIDC(t, peers.OIDCOptions{Clients: clients("acme"), Redirects: redirects})
	other := peers.OIDC(t, peers.OIDCOptions{Clients: clients("other"), Redirects: redirects})
	atAcme, atOther := addOIDC(t, p.a, acme, "Acme", "acme", "--provision"), addOIDC(t, p.a, other, "Other", "other", "--provision")

	t.Run("end in the browser that began, once", func(t *testing.T) { // rule F11
		v := p.a.Visitor(t)
		finish := landed(t, v.Get(arrive(t, v, acme, atAcme, "anna")))
		bare := p.a.Visitor(t)
		wantRefused(t, p.a, bare, bare.Get(finish), http.StatusForbidden, "login.oidc", "another browser began it")
		foreign := p.b.Visitor(t)
		begin(t, foreign, atAcme)
		wantRefused(t, p.a, foreign, foreign.Get(finish), http.StatusForbidden, "login.oidc", "another browser began it")

		again := v.At(p.b)
		if a := v.Get(finish); a.Status != http.StatusSeeOther || a.Header.Get("Location") != "/" || who(v) != "anna" {
			t.Fatalf("%d %s, signed in as %q", a.Status, a.Body, who(v))
		}
		if v.Cookies[preLoginCookie] != "" {
			t.Error("the pre-login cookie is left")
		}
		wantRefused(t, p.a, again, again.Get(finish), http.StatusForbidden, "login.oidc", "no such sign-in")
		if who(v) != "anna" {
			t.Error("the second try ended the session")
		}
	})
	t.Run("a code opens once", func(t *testing.T) { // rule F5
		v := p.a.Visitor(t)
		back := arrive(t, v, acme, atAcme, "bert")
		finish := landed(t, v.Get(back))
		thief := v.At(p.b)
		wantRefused(t, p.a, thief, thief.Get(back), http.StatusForbidden, "login.oidc", "no such sign-in")

		u, _ := url.Parse(back)
		u2, _ := url.Parse(arrive(t, thief, acme, atAcme, "bert"))
		mixed := u2.Query()
		mixed.Set("code", u.Query().Get("code"))
		fresh := p.b.Visitor(t) // so that this refusal is not folded with the last one
		wantRefused(t, p.a, fresh, fresh.Get("/oauth?"+mixed.Encode()), http.StatusForbidden, "login.oidc", "used before")
		if v.Get(finish); who(v) != "bert" {
			t.Error("the thief's tries ended the sign-in")
		}
	})
	t.Run("a code of one provider is none at another", func(t *testing.T) { // rule F5
		v := p.a.Visitor(t)
		there, _ := url.Parse(arrive(t, v, other, atOther, "carl"))
		here, _ := url.Parse(arrive(t, v, acme, atAcme, "carl"))
		mixed := there.Query() // the other provider's code and iss
		mixed.Set("state", here.Query().Get("state"))
		wantRefused(t, p.a, v, v.Get("/oauth?"+mixed.Encode()), http.StatusForbidden, "login.oidc", "")
		fresh := p.b.Visitor(t)
		wantRefused(t, p.a, fresh, fresh.Get(here.String()), http.StatusForbidden, "login.oidc", "no such sign-in") // the mix-up ended it

		program := p.a.Visitor(t)
		in := discover(t, program, "Acme").code(t, acme, "carl")
		in["idp_id"] = discover(t, program, "Other").IDP
		wantRefused(t, p.a, program, program.JSON("/sys/v1/session/auth", in), http.StatusUnauthorized, "login.oidc", "begun at another identity provider")
	})
	t.Run("what a program began opens no browser's session", func(t *testing.T) { // rule F11
		v := p.a.Visitor(t)
		begin(t, v, atAcme) // a browser with a cookie of its own
		in := discover(t, v, "Acme").code(t, acme, "dave")
		a := v.Get("/oauth?" + url.Values{"code": {in["code"].(string)}, "state": {in["state"].(string)}, "iss": {acme.Issuer}}.Encode())
		if a.Status != http.StatusOK || a.Header.Get("Location") != "" || len(a.Header.Values("Set-Cookie")) != 0 || who(v) != "" {
			t.Errorf("%d %v", a.Status, a.Header)
		}
		for _, guess := range []string{in["state"].(string), in["code"].(string)} {
			thief := v.At(p.b)
			wantRefused(t, p.a, thief, thief.Get("/login/finish?flow="+url.QueryEscape(guess)), http.StatusForbidden, "login.oidc", "no such sign-in")
		}
		delete(in, "state") // the code, which the browser brought, says which sign-in it is
		var signed struct {
			Token string `json:"access_token"`
		}
		v.At(p.b).JSON("/sys/v1/session/auth", in).JSON(t, &signed)
		if signed.Token == "" {
			t.Error("the program itself is refused")
		}
	})
	t.Run("what a browser began opens nothing for a program", func(t *testing.T) { // rule F11
		v, program := p.a.Visitor(t), p.b.Visitor(t)
		back, _ := url.Parse(arrive(t, v, acme, atAcme, "emma"))
		in := map[string]any{
			"method": "oauth-auth-code", "idp_id": discover(t, program, "Acme").IDP, "email": "emma@example.test",
			"code": back.Query().Get("code"), "state": back.Query().Get("state"),
		}
		wantRefused(t, p.a, program, program.JSON("/sys/v1/session/auth", in), http.StatusUnauthorized, "login.oidc", "begun by a browser")
		if v.Get(landed(t, v.Get(back.String()))); who(v) != "emma" {
			t.Error("the program's try ended the browser's sign-in")
		}
	})
	t.Run("of two nodes at the same moment one opens", func(t *testing.T) { // rule F5
		rounds := 6
		if testing.Short() {
			rounds = 2
		}
		for round := range rounds {
			v := p.a.Visitor(t)
			back := arrive(t, v, acme, atAcme, "fred")
			finish := make(chan string, 4)
			land := func(v *gate.Visitor) func() bool {
				return func() bool {
					a := v.Get(back)
					if a.Status == http.StatusSeeOther {
						finish <- a.Header.Get("Location")
					}
					return a.Status == http.StatusSeeOther
				}
			}
			if n := together(land(v.At(p.a)), land(v.At(p.b)), land(v.At(p.a)), land(v.At(p.b))); n != 1 {
				t.Fatalf("round %d: a code opened %d times", round, n)
			}
			to := <-finish
			end := func(v *gate.Visitor) func() bool {
				return func() bool { return v.Get(to).Status == http.StatusSeeOther }
			}
			if n := together(end(v.At(p.a)), end(v.At(p.b)), end(v.At(p.a)), end(v.At(p.b))); n != 1 {
				t.Errorf("round %d: a sign-in ended %d times", round, n)
			}
			in := discover(t, v, "Acme").code(t, acme, "fred")
			auth := func(v *gate.Visitor) func() bool {
				return func() bool { return v.JSON("/sys/v1/session/auth", in).Status == http.StatusOK }
			}
			if n := together(auth(v.At(p.a)), auth(v.At(p.b)), auth(v.At(p.a)), auth(v.At(p.b))); n != 1 {
				t.Errorf("round %d: a program's code opened %d times", round, n)
			}
		}
		if n := startsOf(t, p.a, "fred"); n != 2*rounds {
			t.Errorf("%d sessions began, want %d", n, 2*rounds)
		}
	})
}

// startsOf counts the sessions of somebody that ever began.
func startsOf(t *testing.T, g *gate.Gate, name string) int {
	t.Helper()
	n := 0
	for _, e := range g.Audited(t, "session.start") {
		if e.Actor.Name == name && e.Outcome == "done" {
			n++
		}
	}
	return n
}

// A SAML response serves once, on all nodes together (rule F2), and only the browser that asked for it (rule F11).
func TestAttack_SAML_responses(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	there := peers.SAML(t, peers.SAMLServiceProvider{EntityID: pairURL + "/saml/metadata.xml", ACS: pairURL + "/saml"})
	addPeople(t, p.a, "dana")
	number := addSAML(t, p.a, there, "Basement", "--link-by", "email")

	t.Run("replayed", func(t *testing.T) {
		v := p.a.Visitor(t)
		posted := arriveSAML(t, v, there, number)
		program := p.b.Visitor(t)
		in := map[string]any{"method": "saml-response", "response": posted.Get("SAMLResponse")}
		wantRefused(t, p.a, program, program.JSON("/sys/v1/session/auth", in), http.StatusUnauthorized, "login.saml", "another request than the one that was named")

		bare := v.At(p.b) // the form comes from another site, so it brings no cookies
		bare.Cookies, bare.Origin = map[string]string{}, "https://idp.example.test"
		finish := landed(t, bare.Post("/saml", posted))
		for _, g := range []*gate.Gate{p.a, p.b} {
			thief := g.Visitor(t)
			wantRefused(t, p.a, thief, thief.Post("/saml", posted), http.StatusForbidden, "login.saml", "no such sign-in")
		}
		if v.Get(finish); who(v) != "dana" {
			t.Error("the replays ended the sign-in")
		}
	})
	t.Run("of a program", func(t *testing.T) {
		v := p.a.Visitor(t)
		begin(t, v, number)
		in := discover(t, v, "Basement").response(t, there)
		a := v.Post("/saml", url.Values{"SAMLResponse": {in["response"].(string)}})
		if a.Status != http.StatusOK || len(a.Header.Values("Set-Cookie")) != 0 || who(v) != "" {
			t.Errorf("a program's response opens something for a browser: %d %v", a.Status, a.Header)
		}
		if a := v.JSON("/sys/v1/session/auth", in); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		for _, g := range []*gate.Gate{p.a, p.b} {
			thief := g.Visitor(t)
			wantRefused(t, p.a, thief, thief.JSON("/sys/v1/session/auth", in), http.StatusUnauthorized, "login.saml", "no request of that id")
		}
	})
	t.Run("at two nodes at the same moment", func(t *testing.T) {
		for round := range 3 {
			v := p.a.Visitor(t)
			posted := arriveSAML(t, v, there, number)
			land := func(v *gate.Visitor) func() bool {
				return func() bool { return v.Post("/saml", posted).Status == http.StatusSeeOther }
			}
			if n := together(land(v.At(p.a)), land(v.At(p.b)), land(v.At(p.a)), land(v.At(p.b))); n != 1 {
				t.Errorf("round %d: a response opened %d times", round, n)
			}
			in := discover(t, v, "Basement").response(t, there)
			auth := func(v *gate.Visitor) func() bool {
				return func() bool { return v.JSON("/sys/v1/session/auth", in).Status == http.StatusOK }
			}
			if n := together(auth(v.At(p.a)), auth(v.At(p.b)), auth(v.At(p.a)), auth(v.At(p.b))); n != 1 {
				t.Errorf("round %d: a program's response opened %d times", round, n)
			}
		}
	})
	t.Run("broken", func(t *testing.T) {
		v := p.a.Visitor(t)
		posted := arriveSAML(t, v, there, number)
		plain, err := base64.StdEncoding.DecodeString(posted.Get("SAMLResponse"))
		if err != nil {
			t.Fatal(err)
		}
		forged := strings.ReplaceAll(string(plain), peers.SAMLMail, "admin@example.test") // rule F1
		if forged == string(plain) {
			t.Fatal("there was nothing to forge")
		}
		wantRefused(t, p.a, v, v.Post("/saml", url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(forged))}}), http.StatusForbidden, "login.saml", "")
	})
}

// Nobody hands somebody else a session: neither by planting one before they sign in (rule F11), nor by signing them in from another site.
func TestAttack_sessions_that_others_hand_over(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: withProviders("public_url", pairURL)})
	addPeople(t, g, "dana", "eve")
	form := func(name string) url.Values { return url.Values{"username": {name}, "password": {danaPassword}} }

	t.Run("planted before", func(t *testing.T) {
		eve := g.Visitor(t)
		if eve.Post("/login", form("eve")); who(eve) != "eve" {
			t.Fatal("eve is not in")
		}
		for _, planted := range []string{eve.Cookies[sessionCookie], "planted"} {
			v := g.Visitor(t)
			v.Cookies[sessionCookie] = planted
			if v.Post("/login", form("dana")); who(v) != "dana" || v.Cookies[sessionCookie] == planted {
				t.Errorf("signed in as %q with the cookie that was planted", who(v))
			}
			thief := g.Visitor(t)
			thief.Cookies[sessionCookie] = planted
			if name := who(thief); name == "dana" {
				t.Error("what was planted is dana's session now")
			}
		}
	})
	t.Run("from another site", func(t *testing.T) {
		for _, origin := range []string{"https://evil.example", "null", "http://gate.example.test", pairURL + ".evil.example", ""} {
			v := g.Visitor(t)
			v.Origin = origin
			a := v.Post("/login", form("eve"))
			if a.Status != http.StatusForbidden || len(a.Header.Values("Set-Cookie")) != 0 || who(v) != "" {
				t.Errorf("Origin %q: %d %v", origin, a.Status, a.Header)
			}
		}
		if n := startsOf(t, g, "eve"); n > 1 { // the one of the other subtest
			t.Errorf("%d sessions began", n)
		}
	})
}
