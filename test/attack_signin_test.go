package test

import (
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/authenticator"
	"github.com/gatehouse-project/gatehouse/test/gate"
)

// Rules F6, F7 and W13: who guesses gets nowhere, and costs little.
//
// What was broken elsewhere: a flood of wrong passwords filled the log and the memory, or went on until the right one.
// How it is attacked: ten thousand wrong passwords of one name from sixteen clients, then the right one.
// What must happen: all are refused alike, the right one too while the name backs off; memory and the record of it
// stay small; after the time that it takes the right one opens the door again.
func TestAttack_W13_ten_thousand_wrong_passwords(t *testing.T) {
	t.Parallel()
	tries := 10_000
	if testing.Short() {
		tries = 1_000
	}
	g := gate.Start(t, gate.Options{Settings: quick("log.level", "warn")})
	people(t, g, "dana")
	before := resident(t, g)
	from := net.IPv4(127, 9, 9, 9)
	var next atomic.Int64
	var flood sync.WaitGroup
	bodies := make([]map[string]int, 16)
	for i := range bodies {
		bodies[i] = map[string]int{}
		c := visitFrom(g, from)
		flood.Go(func() {
			for n := next.Add(1); n <= int64(tries); n = next.Add(1) {
				r, err := c.try("POST", tsv+"/authenticate", members{"username": "dana", "password": "wrong horse " + strconv.FormatInt(n, 10)})
				if err != nil {
					t.Error(err)
					return
				}
				bodies[i][r.String()]++
			}
		})
	}
	flood.Wait()
	all := map[string]int{}
	for _, one := range bodies {
		for body, n := range one {
			all[body] += n
		}
	}
	if len(all) != 1 || !strings.HasPrefix(slices.Collect(maps.Keys(all))[0], "401 ") {
		t.Errorf("answers: %v", all)
	}
	// By the name alone: it comes from elsewhere.
	if r := visit(g).call(t, "POST", tsv+"/authenticate", members{"username": "dana", "password": danaPassword}); r.Status != http.StatusUnauthorized || len(r.Cookies) > 0 {
		t.Errorf("the right password while the name backs off: %v", r)
	}
	if grown := resident(t, g) - before; grown > 150 {
		t.Errorf("memory grew by %d MiB", grown)
	}
	if n := len(g.Audited(t, "login.password")); n > 50 {
		t.Errorf("%d events for a flood", n)
	}
	if n := g.Count(t, "SELECT count(*) FROM lockouts"); n > 4 {
		t.Errorf("%d records of failures", n)
	}
	g.AwaitAudited(t, "guard.lock", "done", "too many failed sign-ins")
	g.AwaitAudited(t, "login.password", "refused", "backing off after failures")
	unlockName(t, g, "dana")
	visit(g).must(t, http.StatusOK, "POST", tsv+"/authenticate", members{"username": "dana", "password": danaPassword})
	hushed(t, g, "wrong horse", danaPassword)
}

// Rule W13: passwords are hashed by a fixed pool.
//
// What was broken elsewhere: each login takes 19 MiB, so five hundred at once ended the server.
// How it is attacked: five hundred sign-ins at once, each with a name and from an address of its own, so that nothing
// slows them down; a session is used meanwhile.
// What must happen: memory stays within the pool's; some are told that it is busy, and when to come again; sessions
// are checked as fast as ever.
func TestAttack_W13_five_hundred_sign_ins_at_once(t *testing.T) { // alone: it takes the whole machine for a second, and measures
	const parallel = 1
	g := gate.Start(t, gate.Options{Settings: quick("auth.hash_parallel", strconv.Itoa(parallel), "auth.hash_wait", "1s", "log.level", "warn")})
	people(t, g, "dana")
	dana, _ := withToken(t, g, "dana")
	before := resident(t, g)
	var calls []func() (reply, error)
	for i := range 500 {
		c := visitFrom(g, net.IPv4(127, 8, byte(i>>8), byte(i)))
		body := members{"method": "password", "email": fmt.Sprintf("stranger%d@example.test", i), "password": danaPassword}
		calls = append(calls, func() (reply, error) { return c.try("POST", sys+"/session/auth", body) })
	}
	var over atomic.Bool
	var most int
	refresh := func() time.Duration {
		began := time.Now()
		if r, err := dana.try("POST", sys+"/session/refresh", nil); err != nil || r.Status != http.StatusNoContent {
			t.Errorf("a session meanwhile: %v, %v", r, err)
		}
		return took(began)
	}
	var alone, slow []time.Duration
	for range 20 {
		alone = append(alone, refresh())
	}
	var watch sync.WaitGroup
	watch.Go(func() {
		for !over.Load() && !t.Failed() {
			slow = append(slow, refresh())
			most = max(most, resident(t, g))
		}
	})
	answers := atOnce(t, calls...)
	over.Store(true)
	watch.Wait()
	busy := 0
	for _, a := range answers {
		switch {
		case a.Status == http.StatusServiceUnavailable:
			if busy++; string(a.Body) != "Busy" || a.Header.Get("Retry-After") == "" {
				t.Errorf("%v, Retry-After %q", a, a.Header.Get("Retry-After"))
			}
		case a.Status != http.StatusUnauthorized:
			t.Errorf("%v", a)
		}
	}
	if busy == 0 || busy == len(answers) {
		t.Errorf("%d of %d were turned away", busy, len(answers))
	}
	if grown := most - before; grown > parallel*19*3+100 { // hashes that the collector has not found yet, and 500 connections
		t.Errorf("memory grew by %d MiB", grown)
	}
	if len(slow) == 0 {
		t.Fatal("no session was checked meanwhile")
	}
	slices.Sort(alone)
	slices.Sort(slow)
	usual := max(250*time.Millisecond, 5*alone[len(alone)/2]) // a disk that is slow is so for who is alone, too
	if middle := slow[len(slow)/2]; middle > usual {
		t.Errorf("of %d checks of a session the middle one took %v", len(slow), middle)
	}
	g.AwaitAudited(t, "login.password", "refused", "there is no such user")
	hushed(t, g, danaPassword, dana.bearer)
}

// Rule F4: our own name comes from the configuration, and where somebody goes afterwards is a path of ours.
//
// What was broken elsewhere: links in answers and mails led to the host that the attacker's request had named;
// a return address with a backslash left the site.
// How it is attacked: forged hosts in every header, at every page and answer that holds a link; return addresses
// of every kind at every sign-in.
// What must happen: the forged name is nowhere; who signs in goes to a path of ours.
func TestAttack_F4_forged_hosts_and_targets(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: quick()})
	people(t, g, "dana")
	number := acme(t, g)
	const evil = "evil.example"
	forged := map[string]string{
		"Host": evil, "X-Forwarded-Host": evil, "X-Forwarded-Server": evil, "X-Original-Host": evil, "X-Host": evil, "Forwarded": "host=" + evil + ";proto=https",
		"X-Forwarded-Proto": "https", "X-Forwarded-Port": "444", "X-Original-URL": "https://" + evil + "/", "X-Rewrite-URL": "/" + evil, "X-Forwarded-Prefix": "//" + evil,
	}
	signIn := members{"username": "dana", "password": danaPassword}
	for _, call := range []struct {
		method, path string
		body         any
	}{
		{"GET", "/", nil},
		{"GET", "/login", nil},
		{"GET", "/login/second", nil},
		{"GET", "/login/enrol", nil},
		{"GET", "/login/sso/" + number + "?target=/projects", nil},
		{"GET", "/login/static/", nil},
		{"GET", "/saml/metadata.xml", nil},
		{"GET", "/oauth?code=1&state=2", nil},
		{"GET", "/docs", nil},
		{"GET", "/docs/", nil},
		{"GET", "/openapi.json", nil},
		{"GET", tsv + "/authenticate/captcha", nil},
		{"GET", tsv + "//authenticate", nil},
		{"GET", tsv + "/nothing", nil},
		{"GET", sys + "/version", nil},
		{"POST", sys + "/session/auth/discover", members{"user_email": "dana@example.test"}},
		{"POST", tsv + "/authenticate", signIn},
		{"POST", "/login", url.Values{"username": {"dana"}, "password": {danaPassword}}},
		{"POST", "/logout", nil},
	} {
		c := visit(g)
		c.header = forged
		r := c.call(t, call.method, call.path, call.body)
		if r.Status >= 500 || strings.Contains(string(r.Body)+fmt.Sprint(r.Header), evil) || strings.Contains(fmt.Sprint(r.Header), ":444") {
			t.Errorf("%s %s: %v %v", call.method, call.path, r, r.Header)
		}
	}
	dana := signedIn(t, g, "dana")
	dana.must(t, http.StatusNoContent, "POST", tsv+"/elevate-permissions/password", members{"password": danaPassword})
	dana.header = forged
	if r := dana.must(t, http.StatusOK, "POST", tsv+"/totp/start-voluntary-enrollment", nil); strings.Contains(string(r.Body), evil) {
		t.Errorf("an enrolment: %v", r)
	}

	for _, target := range []string{
		"//" + evil, "///" + evil, "/\\" + evil, "\\\\" + evil, "https://" + evil, "http:" + evil, "javascript:alert(1)", "data:text/html,x", "/\t/" + evil, "/\n//" + evil, "/\r\nSet-Cookie: a=b",
		" //" + evil, "/%0d%0aX: y\\", "@" + evil, evil, "\u2028//" + evil, "/" + strings.Repeat("a", 4000), "https:/" + evil, "//" + evil + "@localhost/", "\x00/", "?x", "#x", "/\u0085/" + evil,
	} {
		c := visit(g)
		if r := c.call(t, "POST", tsv+"/authenticate", members{"username": "dana", "password": danaPassword, "targetUrl": target}); r.Status >= 500 || r.Status == 200 && r.text(t, "next") != "/" {
			t.Errorf("%q: %v", target, r)
		}
		r := c.call(t, "POST", "/login", url.Values{"username": {"dana"}, "password": {danaPassword}, "target": {target}})
		if r.Status != http.StatusSeeOther || r.Header.Get("Location") != "/" || r.Header.Get("Set-Cookie") == "a=b" {
			t.Errorf("%q on the page: %v, Location %q", target, r, r.Header.Get("Location"))
		}
		if r := c.call(t, "GET", "/login?target="+url.QueryEscape(target), nil); r.Status != http.StatusOK || strings.Contains(string(r.Body), `href="`+target) {
			t.Errorf("%q in a link: %v", target, r)
		}
	}
	if r := visit(g).must(t, http.StatusOK, "POST", tsv+"/authenticate", members{"username": "dana", "password": danaPassword, "targetUrl": "/projects/A?x=1#y"}); r.text(t, "next") != "/projects/A?x=1#y" {
		t.Errorf("a path of ours: %v", r)
	}
	if e := g.AwaitAudited(t, "session.start", "done", ""); strings.Contains(fmt.Sprint(e), evil) {
		t.Errorf("audit log: %+v", e)
	}
	hushed(t, g, danaPassword, clientSecret)
}

// Rule F13: headers that claim a person or an address are nobody's word, at the doors of people too.
//
// What was broken elsewhere: whoever wrote the header of a proxy that was not there was an administrator.
// How it is attacked: every such header at every door, with no credential and with a wrong one; the address is
// forged to get around the back-off.
// What must happen: the answer is that for nothing; the address in the record is the true one, and it backs off.
func TestAttack_F13_forged_identity(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: quick()})
	person(t, g, "dana", "--admin")
	forged := map[string]string{"X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/healthz", "X-Ssl-Client-Verify": "SUCCESS", "X-Ssl-Client-Cert": "x", "X-Client-Cert": "x", "X-Forwarded-Client-Cert": "x"}
	for _, name := range []string{
		"Remote-User", "X-Remote-User", "X-Forwarded-User", "X-Forwarded-Preferred-Username", "X-Auth-Request-User", "X-Gatehouse-User", "X-Ausername", "X-Authenticated-Userid", "X-Webauth-User",
		"X-Forwarded-Email", "X-User", "X-Account-Id", "X-Seraph-Loginreason", "Cf-Access-Authenticated-User-Email",
	} {
		forged[name] = "dana"
	}
	for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Cluster-Client-Ip"} {
		forged[name] = "203.0.113.9"
	}
	forged["Forwarded"] = "for=203.0.113.9"
	for _, door := range doors {
		plain, c := visit(g).call(t, "GET", door, nil), visit(g)
		maps.Copy(c.header, forged)
		if r := c.call(t, "GET", door, nil); r.Status != plain.Status || string(r.Body) != string(plain.Body) {
			t.Errorf("%s: %v, without headers: %v", door, r, plain)
		}
	}
	from := net.IPv4(127, 7, 7, 7)
	try := func(i int) {
		c := visitFrom(g, from)
		maps.Copy(c.header, forged)
		c.header["X-Forwarded-For"] = fmt.Sprintf("203.0.113.%d", i)
		if r := c.call(t, "POST", tsv+"/authenticate", members{"username": fmt.Sprint("nobody", i), "password": "wrong horse"}); r.Status != http.StatusUnauthorized {
			t.Errorf("%v", r)
		}
	}
	for i := range 30 { // another forged address and another name each time: only the true address can back off
		try(i)
	}
	c := visitFrom(g, from)
	c.header["X-Forwarded-For"] = "203.0.113.77"
	dana := func() reply {
		return c.call(t, "POST", tsv+"/authenticate", members{"username": "dana", "password": danaPassword})
	}
	for i, r := 30, dana(); r.Status != http.StatusUnauthorized; i, r = i+1, dana() { // the first back-off is short, and over for who was held up: each failure doubles it
		if i == 33 {
			t.Fatalf("after %d failures a forged address gets past the back-off: %v", i, r)
		}
		try(i)
	}
	if e := g.AwaitAudited(t, "login.password", "refused", "there is no such user"); e.Address != "127.7.7.7" || e.Actor.Kind != "nobody" {
		t.Errorf("audit log: %+v", e)
	}
	for _, e := range g.Audited(t, "") {
		if strings.HasPrefix(e.Address, "203.0.113.") {
			t.Errorf("a forged address is on record: %+v", e)
		}
	}
	hushed(t, g, danaPassword)
}

// keyOptions are what a browser is asked by the wire of sessions.
type keyOptions struct {
	Challenge string
	RPID      string `json:"rpId"`
	RP        struct{ ID string }
}

// Rule F8: WebAuthn is judged on the server.
//
// What was broken elsewhere: the challenge of one purpose was good for another; the origin was checked in
// the page alone; a copied key was not noticed.
// How it is attacked: answers with one field wrong at a time, the challenge of a sign-in for an enrolment and the other
// way round, a used challenge again, and a counter that goes back.
// What must happen: none opens anything; the counter that went back has an event of its own.
func TestAttack_F8_security_keys(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: quick("tsv.tries", "50")})
	people(t, g, "dana")
	origin := strings.Replace(g.URL, "127.0.0.1", "localhost", 1)
	key := authenticator.New(authenticator.ES256)
	key.Counter = 100
	dana, auth := withToken(t, g, "dana")
	id := auth.text(t, "entity_id")
	dana.must(t, http.StatusOK, "POST", sys+"/session/config_2fa/auth", members{"password": danaPassword})
	begin := func() authenticator.Ceremony {
		var o keyOptions
		dana.must(t, http.StatusOK, "POST", sys+"/session/config_2fa/new_challenge?protocol=fido2", nil).JSON(t, &o)
		return authenticator.Ceremony{Challenge: decoded(t, o.Challenge), Origin: origin, RPID: "localhost"}
	}
	enrol := func(c authenticator.Ceremony) reply {
		return dana.call(t, "PATCH", sys+"/users/"+id, members{"add_mfa_devices": []members{{"name": "Blue", "attestationResult": jsonText(authenticator.AttestationJSON(key.Create(c)))}}})
	}
	wrong := map[string]func(c *authenticator.Ceremony){
		"challenge":    func(c *authenticator.Ceremony) { c.Challenge = append([]byte("x"), c.Challenge[1:]...) },
		"no challenge": func(c *authenticator.Ceremony) { c.Challenge = nil },
		"origin":       func(c *authenticator.Ceremony) { c.Origin = "https://evil.example" },
		"sub-origin":   func(c *authenticator.Ceremony) { c.Origin = strings.Replace(origin, "localhost", "x.localhost", 1) },
		"port":         func(c *authenticator.Ceremony) { c.Origin = "http://localhost:1" },
		"rp id":        func(c *authenticator.Ceremony) { c.RPID = "evil.example" },
		"type":         func(c *authenticator.Ceremony) { c.Type = "payment.get" },
	}
	for name, change := range wrong {
		c := begin()
		change(&c)
		if r := enrol(c); r.Status != http.StatusBadRequest {
			t.Errorf("an enrolment with a wrong %s: %v", name, r)
		}
	}
	right := begin()
	if r := enrol(right); r.Status != http.StatusOK {
		t.Fatalf("an enrolment: %v", r)
	}
	if r := enrol(right); r.Status != http.StatusBadRequest {
		t.Errorf("the same enrolment again: %v", r)
	}

	pending := func() (*caller, authenticator.Ceremony) {
		c, r := withToken(t, g, "dana")
		var o struct {
			Options keyOptions `json:"fido2_assertion_options"`
		}
		r.JSON(t, &o)
		return c, authenticator.Ceremony{Challenge: decoded(t, o.Options.Challenge), Origin: origin, RPID: "localhost"}
	}
	prove := func(c *caller, k *authenticator.Key, at authenticator.Ceremony) reply {
		return c.call(t, "POST", sys+"/session/auth/2fa/fido2", string(authenticator.AssertionJSON(k.Get(at))))
	}
	other := authenticator.New(authenticator.ES256)
	other.ID = key.ID // another key that claims to be dana's
	for name, change := range wrong {
		c, at := pending()
		change(&at)
		if r := prove(c, key, at); r.Status != http.StatusUnauthorized && r.Status != http.StatusBadRequest || len(openTo(t, c)) > 0 {
			t.Errorf("a sign-in with a wrong %s: %v, open %v", name, r, openTo(t, c))
		}
		unlockName(t, g, "dana")
	}
	c, at := pending()
	if r := prove(c, other, at); r.Status != http.StatusUnauthorized {
		t.Errorf("another key: %v", r)
	}
	unlockName(t, g, "dana")
	dana.must(t, http.StatusOK, "POST", sys+"/session/config_2fa/auth", members{"password": danaPassword})
	enrolment := begin()
	if r := prove(c, key, enrolment); r.Status != http.StatusUnauthorized {
		t.Errorf("the challenge of an enrolment at a sign-in: %v", r)
	}
	if r := enrol(at); r.Status != http.StatusBadRequest {
		t.Errorf("the challenge of a sign-in at an enrolment: %v", r)
	}
	_, foreign := pending()
	if r := prove(c, key, foreign); r.Status != http.StatusUnauthorized {
		t.Errorf("the challenge of another sign-in: %v", r)
	}
	untouched := *key
	untouched.Flags = 0
	if r := prove(c, &untouched, at); r.Status != http.StatusUnauthorized {
		t.Errorf("without a touch: %v", r)
	}
	unlockName(t, g, "dana")

	copied := *key
	if r := prove(c, key, at); r.Status != http.StatusNoContent || len(openTo(t, c)) == 0 {
		t.Fatalf("a sign-in: %v", r)
	}
	if r := prove(c, key, at); r.Status != http.StatusBadRequest {
		t.Errorf("the used challenge again: %v", r)
	}
	copied.Counter -= 50
	late, again := pending()
	if r := prove(late, &copied, again); r.Status != http.StatusUnauthorized || len(openTo(t, late)) > 0 {
		t.Errorf("a copy of the key: %v", r)
	}
	if e := g.AwaitAudited(t, "factor.regression", "refused", ""); e.Detail["device"] != "Blue" {
		t.Errorf("audit log: %+v", e)
	}
	g.AwaitAudited(t, "login.fido2", "refused", "")
	hushed(t, g, danaPassword, dana.bearer, c.bearer)
}

// Bad input at the doors of people: a clear refusal, quickly, whatever comes; nothing inside shows, nothing is echoed.
func TestAttack_bad_input_at_sign_in(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: quick("tsv.tries", "100")})
	people(t, g, "dana", "erin")
	const marker = "hush9a11ba5e"
	bodies := map[string]string{
		"no JSON": marker, "cut": `{"username":"` + marker, "two values": `{} {"` + marker + `":1}`, "broken UTF-8": "{\"username\":\"\xff\xfe" + marker + "\"}",
		"an array": `["` + marker + `"]`, "null": `null`, "a text": `"` + marker + `"`, "deep objects": strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000),
		"deep arrays": strings.Repeat("[", 200_000), "3 MiB": `{"username":"` + strings.Repeat("a", 3<<20) + `"}`,
		"numbers":    `{"username":1e400,"password":99999999999999999999,"conversationId":1.5,"totpCode":-1,"method":7,"user_email":8,"id":9,"response":10}`,
		"objects":    `{"username":{},"password":[],"conversationId":{},"totpCode":[[]],"recoveryCode":{},"method":{},"user_email":{},"id":{},"response":[],"totp_code":{},"recovery_code":[],"token_type":{}}`,
		"NUL":        `{"username":"` + marker + `\u0000","password":"\u0000","conversationId":"\u0000","totpCode":"\u0000","recoveryCode":"\u0000","totp_code":"\u0000","recovery_code":"\u0000","user_email":"\u0000@x.y","method":"password"}`,
		"long":       `{"username":"` + strings.Repeat("a", 200_000) + `","password":"` + marker + strings.Repeat("b", 30_000) + `","conversationId":"` + strings.Repeat("c", 10_000) + `","totpCode":"` + strings.Repeat("1", 10_000) + `","recoveryCode":"` + strings.Repeat("A", 10_000) + `"}`,
		"bad base64": `{"method":"saml-response","response":"***` + marker + `","id":"=!=","rawId":"§","type":7,"idp_id":"%%%"}`,
		"bad keys":   `{"id":"AQID","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"AAAA","signature":"AAAA"}}`,
		"bad device": `{"add_mfa_devices":[{"name":"` + marker + `","attestationResult":{"id":"AQID","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"oWNmbXRkbm9uZQ"}}}]}`,
		"bad handle": `{"method":"ldap-basic-auth","email":"a@b.c","password":"x","idp_id":"AAAA"}`,
		"bad code":   `{"method":"oauth-auth-code","email":"a@b.c","code":"` + marker + `","idp_id":"AAAAAAAAAAAAAAAAAAAAAA=="}`,
		"bad cloud":  `{"method":"aws-iam","acct_id":"00000000-0000-7000-8000-000000000001","region":"evil.example/","headers":{"Authorization":"` + marker + `","Host":"evil.example"}}`,
		"bombs":      `{"method":"saml-response","response":"` + strings.Repeat("PCFET0NUWVBF", 15_000) + `"}`,
	}
	signed, elevated := signedIn(t, g, "dana"), signedIn(t, g, "erin")
	his := withApp(t, signed)
	elevated.must(t, http.StatusNoContent, "POST", tsv+"/elevate-permissions/password", members{"password": danaPassword})
	pending, _ := withToken(t, g, "dana")
	fast := func(name string, c *caller, method, path string, body any) {
		t.Helper()
		for range 2 { // a disk that stands still does so once
			began := time.Now()
			r := c.call(t, method, path, body)
			if r.Status < 400 || r.Status >= 500 || strings.Contains(string(r.Body), marker) {
				t.Errorf("%s %s with %s: %v", method, path, name, r)
			}
			if took(began) <= 5*time.Second {
				return
			}
		}
		t.Errorf("%s %s with %s: late, twice", method, path, name)
	}
	for name, body := range bodies {
		for _, path := range []string{
			tsv + "/authenticate", tsv + "/authenticate/totp-code", tsv + "/authenticate/recovery-code", tsv + "/totp/start-enforced-enrollment", tsv + "/totp/complete-enforced-enrollment",
			sys + "/session/auth",
		} {
			fast(name, visit(g), "POST", path, body)
		}
		for _, path := range []string{sys + "/session/auth/2fa/totp", sys + "/session/auth/2fa/recovery_code", sys + "/session/auth/2fa/fido2"} {
			fast(name, pending, "POST", path, body)
		}
		for _, path := range []string{tsv + "/totp/complete-voluntary-enrollment", native + "/session/elevate", native + "/providers", native + "/accounts"} {
			fast(name, elevated, "POST", path, body)
		}
		shown := strings.ReplaceAll(body, marker, "") // the page keeps what somebody typed, but for secrets
		fast(name, visit(g), "POST", "/login", url.Values{"username": {"dana"}, "password": {body}, "target": {shown}, "with": {shown}, "captcha": {body}, "answer": {body}})
		// What no browser began is left to the program that may have: nobody reads it here.
		if r := visit(g).call(t, "POST", "/saml", url.Values{"SAMLResponse": {body}, "RelayState": {body}}); r.Status >= 500 || len(r.Cookies) > 0 || strings.Contains(string(r.Body), marker) {
			t.Errorf("a response with %s: %v", name, r)
		}
		fast(name, visit(g), "GET", "/oauth?code="+url.QueryEscape(shortenText(body))+"&state="+url.QueryEscape(shortenText(body)), nil)
		fast(name, visit(g), "GET", "/login/finish?flow="+url.QueryEscape(shortenText(body)), nil)
		fast(name, visit(g), "GET", "/captcha/"+url.PathEscape(shortenText(marker)), nil)
		unlockName(t, g, "dana")
		unlockName(t, g, "erin")
	}
	for _, number := range []string{"0", "-1", "99", strconv.Itoa(math.MaxInt64), "1e3", "x", "%00", "99999999999999999999"} {
		fast(number, visit(g), "GET", "/login/sso/"+number, nil)
	}
	if r := visit(g).call(t, "POST", sys+"/session/auth/discover", bodies["objects"]); r.Status != http.StatusBadRequest {
		t.Errorf("discover: %v", r)
	}
	if log := g.Log(t); strings.Contains(log, "panic") || strings.Contains(log, "internal error") || strings.Contains(log, "level=ERROR") {
		t.Error("the log tells of an error")
	}
	if open := openTo(t, pending); len(open) > 0 {
		t.Errorf("%v are open", open)
	}
	hushed(t, g, marker, danaPassword, his.secret, his.recovery)
}
