package test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/authenticator"
	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// What the Fortanix DSM dialect promises, on the real program: docs/dialects/fortanix.md. Waits are short settings; where no setting is short enough
// the database is told of an earlier time.
func TestFortanix(t *testing.T) {
	t.Parallel()
	sts := peers.STS(t, peers.STSRole())
	v := newVault(t, map[string]string{"aws.sts_base_url": sts.URL, "sso.allow_http": "true"})
	app, secret := v.program(t, "build-agent")
	v.person(t, "dana")
	key := basicAuth(app, secret)
	for i, item := range []struct {
		name string
		test func(*testing.T, vault)
	}{
		{"errors_are_bare_texts", func(t *testing.T, v vault) { errorsAreBareTexts(t, v, key) }},
		{"no_body_is_as_good_as_an_empty_one", func(t *testing.T, v vault) { noBody(t, v, key) }},
		{"a_program_stays_and_multiplies", func(t *testing.T, v vault) { programStays(t, v, key) }},
		{"a_secret_with_another_end_is_wrong", func(t *testing.T, v vault) { anotherEnd(t, v, app, secret) }},
		{"a_pending_session_opens_nothing_else", pendingOpensNothing},
		{"U2F_is_refused", func(t *testing.T, v vault) {
			v.post(t, auth+"/2fa/u2f", v.signIn(t, as("dana")), "whatever").is(t, http.StatusBadRequest, "U2F is no longer supported")
		}},
		{"some_answers_are_objects", someAnswersAreObjects},
		{"paths_with_more_slashes_are_the_same", moreSlashes},
		{"discover_is_the_same_for_everybody", discoverIsTheSame},
		{"cookies", func(t *testing.T, v vault) { cookies(t, v, key) }},
		{"sessions_grow_old", growOld},
		{"a_request_signed_for_AWS", func(t *testing.T, v vault) { signedForAWS(t, v, sts) }},
		{"a_directory", directory},
		{"SAML", samlProvider},
		{"wrong_passwords_look_alike", lookAlike},
		{"another_secret", anotherSecret},
		{"a_terminated_token_dies_on_every_node", diesOnEveryNode},
		{"every_door_has_its_ways", func(t *testing.T, v vault) { everyDoor(t, v, key) }},
		{"backing_off_hashes_nothing", backingOff},
		{"unlocking_and_elevation", unlockingAndElevation},
		{"unknown_extensions_are_tolerated", unknownExtensions},
		{"keys_that_were_enrolled_elsewhere", enrolledElsewhere},
		{"recovery_codes_need_a_fresh_proof", freshProof},
		{"Basic_may_be_shut", basicShut},
	} {
		t.Run(fmt.Sprintf("%02d_%s", i+1, item.name), func(t *testing.T) {
			item.test(t, v.from(10+i))
		})
	}
}

func errorsAreBareTexts(t *testing.T, v vault, key string) {
	for _, c := range []struct {
		method, path, authorization, body string
		status                            int
		want                              string
	}{
		{"POST", auth, "", "", 401, "Authentication required"},
		{"POST", auth, basicAuth("nobody@example.test", "wrong"), "", 401, refusedText},
		{"POST", auth, "Basic !", "", 401, refusedText},
		{"POST", "/sys/v1/session/refresh", "", "", 401, noSessionText},
		{"POST", auth, "", `{"method"`, 400, "Invalid request: body is not JSON"},
		{"POST", auth, "", `{"method":"password"}`, 400, "Invalid request: email"},
		{"POST", auth, key, `{"method":"password"}`, 400, "Only one authentication method may be used"},
		{"POST", auth, key, `{"bind_to":{}}`, 400, "bind_to is not supported"},
		{"POST", auth, "", `{"method":"` + strings.Repeat("x", 256<<10) + `"}`, 413, "Request too large"},
		{"GET", "/sys/v1/nowhere", "", "", 404, "Not found"},
		{"GET", auth, "", "", 405, "Method not allowed"},
		{"GET", "/sys/v1/apps", v.signIn(t, as("dana")), "", 403, "No account selected"},
	} {
		a := v.call(t, c.method, c.path, c.authorization, c.body).is(t, c.status, c.want)
		if a.header.Get("Content-Type") != "text/plain; charset=utf-8" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: %v", c.method, c.path, a.header)
		}
		if wants := a.header.Get("WWW-Authenticate"); (wants == `Bearer realm="gatehouse"`) != (a.status == 401) {
			t.Errorf("%s %s: WWW-Authenticate %q", c.method, c.path, wants)
		}
	}
}

func noBody(t *testing.T, v vault, key string) {
	for _, body := range []string{"", "{}", "{}\n", " \n"} {
		v.post(t, auth, key, body).is(t, http.StatusOK, "")
		v.post(t, auth, key, body, "Content-Type", "application/json; charset=UTF-8").is(t, http.StatusOK, "")
	}
	v.post(t, auth, "", `{"method":"password","email":"dana@example.test","password":"`+phrase+`"}`).is(t, http.StatusOK, "")
}

func programStays(t *testing.T, v vault, key string) {
	first := v.signIn(t, key)
	v.post(t, "/sys/v1/session/refresh", first, "").is(t, http.StatusNoContent, "")
	second := v.post(t, "/sys/v1/session/reauth", first, "").bearer(t)
	if first == second {
		t.Error("reauth gave the same token")
	}
	v.post(t, "/sys/v1/session/terminate", first, "").is(t, http.StatusNoContent, "")
	v.post(t, "/sys/v1/session/refresh", first, "").is(t, http.StatusUnauthorized, noSessionText)
	v.post(t, "/sys/v1/session/refresh", second, "").is(t, http.StatusNoContent, "")
}

func anotherEnd(t *testing.T, v vault, app, secret string) {
	end := map[bool]string{true: "BBBB", false: "AAAA"}[strings.HasSuffix(secret, "AAAA")]
	v.post(t, auth, basicAuth(app, secret[:82]+end), "").is(t, http.StatusUnauthorized, refusedText)
	v.post(t, auth, basicAuth(app, secret[:85]), "").is(t, http.StatusUnauthorized, refusedText)
}

// operations are those that the document lists, with ids of nothing in their paths.
func operations(t *testing.T) [][2]string {
	t.Helper()
	text, err := os.ReadFile("../docs/dialects/fortanix.md")
	if err != nil {
		t.Fatal(err)
	}
	var all [][2]string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z]+) (/sys/v1/[^`]*)` \\|[^|]*\\| `").FindAllStringSubmatch(string(text), -1) {
		all = append(all, [2]string{row[1], regexp.MustCompile(`\{\w+\}`).ReplaceAllString(row[2], defaultID)})
	}
	if len(all) < 30 {
		t.Fatalf("only %d operations are listed", len(all))
	}
	return all
}

func pendingOpensNothing(t *testing.T, v vault) {
	key, codes := v.keyed(t, "pat")
	waiting, asked := v.begin(t, "pat")
	open := regexp.MustCompile(`/2fa/|/terminate$|/auth$|/discover$|/version$|/info$|/health$`)
	for _, o := range operations(t) {
		if !open.MatchString(o[1]) || strings.Contains(o[1], "config_2fa") {
			v.call(t, o[0], o[1], waiting, "").is(t, http.StatusUnauthorized, pendingText)
		}
	}
	answer := assertion(key, asked)
	v.post(t, auth+"/2fa/fido2", waiting, answer).is(t, http.StatusNoContent, "")
	v.call(t, "GET", "/sys/v1/accounts", waiting, "").is(t, http.StatusOK, "")
	v.post(t, auth+"/2fa/fido2", waiting, answer).is(t, http.StatusBadRequest, "Invalid request: no second factor pending")

	code := `{"recovery_code":"` + codes[0] + `"}`
	waiting, _ = v.begin(t, "pat")
	v.post(t, auth+"/2fa/recovery_code", waiting, code).is(t, http.StatusNoContent, "")
	waiting, _ = v.begin(t, "pat")
	v.post(t, auth+"/2fa/recovery_code", waiting, code).is(t, http.StatusUnauthorized, refusedText)

	a := v.post(t, auth, as("pat"), `{"token_type":"Cookie"}`).is(t, http.StatusOK, "")
	before := cookieOf(t, a)
	a2 := v.post(t, auth+"/2fa/fido2", "", assertion(key, v.asks(t, a)), "Cookie", before, "Origin", v.origin()).is(t, http.StatusNoContent, "")
	after := cookieOf(t, a2)
	v.call(t, "GET", "/sys/v1/accounts", "", "", "Cookie", before).is(t, http.StatusUnauthorized, noSessionText)
	v.call(t, "GET", "/sys/v1/accounts", "", "", "Cookie", after).is(t, http.StatusOK, "")
}

// cookieOf is the one cookie that the answer sets, as a browser sends it back.
func cookieOf(t *testing.T, a said) string {
	t.Helper()
	all := (&http.Response{Header: a.header}).Cookies()
	if len(all) != 1 {
		t.Fatalf("cookies: %v", a.header.Values("Set-Cookie"))
	}
	return all[0].Name + "=" + all[0].Value
}

func someAnswersAreObjects(t *testing.T, v vault) {
	dana := v.signIn(t, as("dana"))
	v.post(t, "/sys/v1/session/select_account", dana, `{"acct_id":"`+defaultID+`"}`).is(t, http.StatusOK, "{}\n")
	v.post(t, "/sys/v1/session/config_2fa/auth", dana, `{"password":"`+phrase+`"}`).is(t, http.StatusOK, "{}\n")
}

func moreSlashes(t *testing.T, v vault) {
	v.call(t, "GET", "//sys/v1/version", "", "").is(t, http.StatusOK, "")
	v.call(t, "GET", "/sys//v1/version/", "", "").is(t, http.StatusOK, "")
	v.call(t, "GET", "/sys/v1/apps/", v.administer(t), "").is(t, http.StatusOK, "")
}

func discoverIsTheSame(t *testing.T, _ vault) {
	v := newVault(t, nil)
	v.Must(t, "idp", "add", "--kind", "ldap", "--name", "Corp LDAP", "--url", "ldaps://127.0.0.1:1", "--resolve", "construct", "--template", "uid={name},dc=example,dc=test")
	v.person(t, "dana")
	known := v.post(t, auth+"/discover", "", `{"user_email":"dana@example.test"}`).is(t, http.StatusOK, "")
	v.post(t, auth+"/discover", "", `{"user_email":"nobody@example.test"}`).is(t, http.StatusOK, known.body)
	v.post(t, auth+"/discover", "", "{}").is(t, http.StatusOK, known.body)
	if !strings.HasPrefix(known.body, `[{"method":"password"},{"method":"ldap-password","name":"Corp LDAP","icon_url":"","idp_id":"`) {
		t.Errorf("%s", known.body)
	}
}

func cookies(t *testing.T, v vault, key string) {
	const cookie = `{"token_type":"Cookie"}`
	a := v.post(t, auth, key, cookie).is(t, http.StatusOK, "")
	if strings.Contains(a.body, "access_token") || !strings.Contains(a.body, `"token_type":"Cookie"`) {
		t.Errorf("%s", a.body)
	}
	ours := cookieOf(t, a)
	const foreign = "https://evil.example.test"
	v.post(t, auth, key, cookie, "Origin", foreign).is(t, http.StatusForbidden, "Origin check failed")
	v.post(t, "/sys/v1/session/refresh", "", "", "Cookie", ours, "Origin", foreign).is(t, http.StatusForbidden, "Origin check failed")
	v.post(t, "/sys/v1/session/refresh", "", "", "Cookie", ours).is(t, http.StatusForbidden, "Origin check failed")
	v.post(t, "/sys/v1/session/refresh", "", "", "Cookie", ours, "Origin", v.origin()).is(t, http.StatusNoContent, "")
	if got := a.header.Get("Set-Cookie"); !regexp.MustCompile(`^gatehouse=[\w-]{86}; Path=/; HttpOnly; SameSite=Lax$`).MatchString(got) {
		t.Errorf("Set-Cookie: %s", got)
	}
	t.Run("where_the_public_URL_is_https", func(t *testing.T) {
		a := elsewhere(t, "https://gate.example.test", cookie).is(t, http.StatusOK, "")
		if got := a.header.Get("Set-Cookie"); !regexp.MustCompile(`^__Host-gatehouse=[\w-]{86}; Path=/; Secure; HttpOnly; SameSite=Lax$`).MatchString(got) {
			t.Errorf("Set-Cookie: %s", got)
		}
	})
	t.Run("nor_over_plain_http", func(t *testing.T) {
		elsewhere(t, "http://gate.example.test", cookie).is(t, http.StatusForbidden, "Cookie login needs an https public URL")
	})
}

// elsewhere signs a program in at a gate that people reach by another address.
func elsewhere(t *testing.T, public, body string) said {
	t.Helper()
	v := newVault(t, nil, "--public-url", public)
	id, secret := v.program(t, "build-agent")
	return v.post(t, auth, basicAuth(id, secret), body)
}

// basicShut shows that people's Basic is refused before the password is looked at, right or wrong, where every door is shut to it; bodies and
// programs go on, and so do those whom administrators let through while the server runs. Where it is shut below /rest alone, this wire goes on too.
func basicShut(t *testing.T, _ vault) {
	v := newVault(t, map[string]string{"basicauth.block": "true", "basicauth.scope": "all"})
	v.person(t, "dana")
	id, secret := v.program(t, "build-agent")
	for _, way := range []string{as("dana"), basicAuth(mail("dana"), "wrong"), basicAuth(mail("nobody"), phrase)} {
		v.post(t, auth, way, "").is(t, http.StatusForbidden, "Basic authentication is disabled")
	}
	v.post(t, auth, "", `{"method":"password","email":"`+mail("dana")+`","password":"`+phrase+`"}`).is(t, http.StatusOK, "")
	v.post(t, auth, basicAuth(id, secret), "").is(t, http.StatusOK, "")
	v.call(t, "GET", "/sys/v1/apps/"+id, basicAuth(id, secret), "").is(t, http.StatusOK, "")
	status := v.call(t, "GET", "/rest/tsv/latest/status", as("dana"), "")
	status.is(t, http.StatusForbidden, `{"message":"Basic Authentication has been disabled on this instance."}`+"\n")
	v.AwaitAudited(t, "login.password", "refused", "passwords by Basic are blocked")

	admin := v.post(t, auth, "", `{"method":"password","email":"admin@gatehouse.local","password":"`+phrase+`"}`).bearer(t)
	const at = "/rest/basicauth/latest/config"
	v.call(t, "PUT", at, admin, `{"allowed-users":["DANA@*"],"show-warning-message":true}`).is(t, http.StatusNoContent, "")
	const warning = "Basic authentication may be disabled on this instance."
	if a := v.post(t, auth, as("dana"), "").is(t, http.StatusOK, ""); a.header.Get("X-Gatehouse-Warning") != warning {
		t.Errorf("%v", a.header)
	}
	v.post(t, auth, basicAuth(mail("nobody"), phrase), "").is(t, http.StatusForbidden, "Basic authentication is disabled")
	v.call(t, "PUT", at, admin, `{"block-requests":false}`).is(t, http.StatusNoContent, "")
	v.post(t, auth, basicAuth(mail("nobody"), phrase), "").is(t, http.StatusUnauthorized, refusedText)
	v.AwaitAudited(t, "basicauth.update", "done", "")

	w := newVault(t, map[string]string{"basicauth.block": "true"})
	w.person(t, "dana")
	w.post(t, auth, as("dana"), "").is(t, http.StatusOK, "")
	w.call(t, "GET", "/rest/tsv/latest/status", as("dana"), "").is(t, http.StatusForbidden, status.body)
}

func growOld(t *testing.T, _ vault) {
	v := newVault(t, map[string]string{"session.app_max": "5s", "session.user_max": "5s"})
	v.person(t, "dana")
	id, secret := v.program(t, "build-agent")
	sessions := map[string]string{}
	for name, way := range map[string]string{"a program": basicAuth(id, secret), "a person": as("dana")} {
		a := v.post(t, auth, way, "").is(t, http.StatusOK, "")
		sessions[name] = a.bearer(t)
		if !regexp.MustCompile(`"expires_in":[1-5],`).MatchString(a.body) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	for name, session := range sessions {
		gate.Eventually(t, func() error { // however busy it is
			if b := v.post(t, "/sys/v1/session/refresh", session, ""); b.status != http.StatusUnauthorized || b.body != noSessionText {
				return fmt.Errorf("%s: %d %s", name, b.status, b.body)
			}
			return nil
		})
	}
	v = newVault(t, nil)
	id, secret = v.program(t, "build-agent")
	idle := v.signIn(t, basicAuth(id, secret))
	v.write(t, "UPDATE sessions SET last_used = last_used - $1 WHERE principal = $2", (11 * time.Minute).Microseconds(), id)
	v.post(t, "/sys/v1/session/refresh", idle, "").is(t, http.StatusUnauthorized, noSessionText)
}

func signedForAWS(t *testing.T, v vault, sts *peers.STSDouble) {
	role := peers.STSRole()
	v.post(t, "/sys/v1/apps", v.administer(t), `{"name":"`+role.ARN+`","credential":{"awsiam":{}}}`).is(t, http.StatusOK, "")
	try := func(headers map[string]string, status int, body string) {
		t.Helper()
		text, err := json.Marshal(map[string]any{"method": "aws-iam", "acct_id": defaultID, "region": "eu-west-1", "headers": headers})
		if err != nil {
			t.Fatal(err)
		}
		v.post(t, auth, "", string(text)).is(t, status, body)
	}
	signed := role.SignedByClient(t, "eu-west-1", "")
	if signed["amz-sdk-invocation-id"] == "" && signed["Amz-Sdk-Invocation-Id"] == "" {
		t.Errorf("the client sends no headers of its own: %v", signed)
	}
	try(signed, http.StatusOK, "")
	try(signed, http.StatusUnauthorized, refusedText)
	fresh := role.SignedByClient(t, "eu-west-1", "")
	for name := range fresh {
		if strings.EqualFold(name, "host") {
			delete(fresh, name)
		}
	}
	fresh["host"] = "sts.evil.example.test"
	try(fresh, http.StatusBadRequest, "Invalid request: headers")
	v = v.from(200) // for a program this address backs off
	sts.Answer = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://sts.amazonaws.com/", http.StatusFound)
	}
	try(role.SignedByClient(t, "eu-west-1", ""), http.StatusUnauthorized, refusedText)
	sts.Answer = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `<!DOCTYPE x [<!ENTITY a "b">]>%s`, role.Identity())
	}
	try(role.SignedByClient(t, "eu-west-1", ""), http.StatusUnauthorized, refusedText)
	sts.Answer = nil
	try(role.SignedByClient(t, "eu-west-1", ""), http.StatusOK, "")
}

// addProvider adds an identity provider whose people are linked by their e-mail addresses. files are flags with what the files hold.
func (v vault) addProvider(t *testing.T, secret, kind, name string, files map[string]string, flags ...string) {
	t.Helper()
	args := append([]string{"idp", "add", "--kind", kind, "--name", name, "--link-by", "email"}, flags...)
	for flag, text := range files {
		path := filepath.Join(t.TempDir(), "file.pem")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, flag, path)
	}
	if secret != "" {
		args = append(args, "--secret-stdin")
	}
	if r := v.Command(t, secret, args...); r.Exit != 0 {
		t.Fatalf("%v: %s%s", args, r.Stdout, r.Stderr)
	}
}

// way is what discovery tells of the provider of that name.
func (v vault) way(t *testing.T, name string) map[string]any {
	t.Helper()
	var ways []map[string]any
	a := v.post(t, auth+"/discover", "", "").is(t, http.StatusOK, "")
	if err := json.Unmarshal([]byte(a.body), &ways); err != nil {
		t.Fatal(err)
	}
	for _, way := range ways {
		if way["name"] == name {
			return way
		}
	}
	t.Fatalf("no %s in %s", name, a.body)
	return nil
}

func directory(t *testing.T, _ vault) {
	d := peers.Slapd(t)
	v := newVault(t, nil)
	v.person(t, "dana")
	v.addProvider(t, d.ServicePassword, "ldap", "Corp", map[string]string{"--ca-file": string(d.CA)},
		"--url", d.URL(), "--resolve", "search", "--bind-dn", d.Service, "--base-dn", d.People)
	handle := v.way(t, "Corp")["idp_id"].(string)
	try := func(handle, password string) said {
		return v.post(t, auth, "", `{"method":"ldap-basic-auth","idp_id":"`+handle+`","email":"dana@example.test","password":"`+password+`"}`)
	}
	v.call(t, "GET", "/sys/v1/accounts", try(handle, "dana-password").bearer(t), "").is(t, http.StatusOK, "")
	try(handle, "wrong").is(t, http.StatusUnauthorized, refusedText)
	try(handle, "").is(t, http.StatusBadRequest, "Invalid request: password")

	heard := listenPlainly(t)
	v.addProvider(t, "", "ldap", "Plain", nil, "--url", "ldap://"+heard.address, "--resolve", "construct", "--template", "uid={name},"+d.People)
	try(v.way(t, "Plain")["idp_id"].(string), "dana-password").is(t, http.StatusUnauthorized, refusedText)
	if text := heard.first(t); !strings.Contains(text, "1.3.6.1.4.1.1466.20037") || strings.Contains(text, "dana-password") {
		t.Errorf("it began with %q, not with StartTLS", text)
	}
}

func samlProvider(t *testing.T, v vault) {
	v.person(t, "sam") // the provider's person is Dana, who is there
	idp := peers.SAML(t, peers.SAMLServiceProvider{EntityID: v.origin() + "/saml/metadata.xml", ACS: v.origin() + "/saml"})
	v.addProvider(t, "", "saml", "Corp SAML", map[string]string{"--certificate-file": idp.Certificate}, "--issuer", idp.EntityID, "--sso-url", idp.SSOURL)
	begin := func() (id, response string) {
		way := v.way(t, "Corp SAML")
		_, posted := idp.SignIn(t, url.Values{"SAMLRequest": {way["authn_request"].(string)}}, peers.SAMLUser, peers.SAMLPassword)
		return way["id"].(string), posted.Get("SAMLResponse")
	}
	try := func(id, response string) said {
		text, err := json.Marshal(map[string]any{"method": "saml-response", "id": id, "response": response})
		if err != nil {
			t.Fatal(err)
		}
		return v.post(t, auth, "", string(text))
	}
	id, response := begin()
	raw, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(string) string{
		"unsigned": func(xml string) string {
			return regexp.MustCompile(`(?s)<ds:Signature.*?</ds:Signature>`).ReplaceAllString(xml, "")
		},
		"wrapped": wrap,
		"another audience": func(xml string) string {
			return strings.ReplaceAll(xml, "/saml/metadata.xml</", "/saml/metadata.html</")
		},
		"a longer lifetime": func(xml string) string {
			return regexp.MustCompile(`NotOnOrAfter="20\d\d`).ReplaceAllString(xml, `NotOnOrAfter="2099`)
		},
	} {
		changed := change(string(raw))
		if changed == string(raw) {
			t.Errorf("%s: nothing was changed", name)
		}
		try(id, base64.StdEncoding.EncodeToString([]byte(changed))).is(t, http.StatusUnauthorized, refusedText)
	}
	form := url.Values{"SAMLResponse": {response}}.Encode()
	a := v.post(t, "/saml", "", form, "Content-Type", "application/x-www-form-urlencoded") // a program's flow opens nothing for a browser
	if a.status != http.StatusOK || len(a.header.Values("Set-Cookie")) > 0 {
		t.Errorf("the ACS: %d %v", a.status, a.header)
	}
	v.call(t, "GET", "/sys/v1/accounts", try(id, response).bearer(t), "").is(t, http.StatusOK, "")
	try(id, response).is(t, http.StatusUnauthorized, refusedText)
	finishInBrowser(t, v, idp)
}

// wrap puts an assertion of an attacker's before the one that is signed.
func wrap(xml string) string {
	found := regexp.MustCompile(`(?s)<saml:Assertion.*</saml:Assertion>`).FindString(xml)
	forged := regexp.MustCompile(`(?s)<ds:Signature.*?</ds:Signature>`).ReplaceAllString(found, "")
	forged = strings.Replace(strings.ReplaceAll(forged, peers.SAMLMail, "admin@gatehouse.local"), `ID="`, `ID="x`, 1)
	return strings.Replace(xml, found, forged+found, 1)
}

// finishInBrowser goes through the provider by the sign-in page: the way back ends where the pre-login cookie is looked at.
func finishInBrowser(t *testing.T, v vault, idp *peers.SAMLProvider) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(v.URL)
	if err != nil {
		t.Fatal(err)
	}
	number := v.Rows(t, "SELECT number FROM providers WHERE name = 'Corp SAML'")[0][0]
	page := v.call(t, "GET", "/login/sso/"+number, "", "").is(t, http.StatusOK, "")
	jar.SetCookies(at, (&http.Response{Header: page.header}).Cookies())
	form := url.Values{}
	for _, field := range regexp.MustCompile(`name="(SAMLRequest|RelayState)" value="([^"]*)"`).FindAllStringSubmatch(page.body, -1) {
		form.Set(field[1], strings.ReplaceAll(field[2], "&#43;", "+"))
	}
	_, posted := idp.SignIn(t, form, peers.SAMLUser, peers.SAMLPassword)
	back := v.post(t, "/saml", "", posted.Encode(), "Content-Type", "application/x-www-form-urlencoded").is(t, http.StatusSeeOther, "")
	to := back.header.Get("Location")
	if !strings.HasPrefix(to, "/login/finish?flow=") || len(back.header.Values("Set-Cookie")) > 0 {
		t.Fatalf("back to %s with %v", to, back.header.Values("Set-Cookie"))
	}
	if a := v.call(t, "GET", to, "", ""); a.status != http.StatusForbidden || len(a.header.Values("Set-Cookie")) > 0 {
		t.Errorf("without the cookie: %d %v", a.status, a.header)
	}
	before := jar.Cookies(at)[0]
	a := v.call(t, "GET", to, "", "", "Cookie", before.Name+"="+before.Value)
	session := ""
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == "gatehouse" {
			session = c.Name + "=" + c.Value
		}
	}
	v.call(t, "GET", "/sys/v1/accounts", "", "", "Cookie", session).is(t, http.StatusOK, "")
}

func lookAlike(t *testing.T, v vault) {
	v.person(t, "lou")
	wrong := basicAuth(mail("lou"), "wrong")
	first := v.post(t, auth, wrong, "").is(t, http.StatusUnauthorized, refusedText)
	var last said
	for range 5 {
		last = v.post(t, auth, wrong, "").is(t, http.StatusUnauthorized, refusedText)
	}
	if last.header.Get("X-Gatehouse-Captcha") != "required" {
		t.Errorf("%v", last.header)
	}
	for name := range first.header {
		if name != "Date" && name != "X-Request-Id" && first.header.Get(name) != last.header.Get(name) {
			t.Errorf("%s: %q and %q", name, first.header.Get(name), last.header.Get(name))
		}
	}
	v.post(t, auth, as("lou"), "").is(t, http.StatusUnauthorized, refusedText)
}

func anotherSecret(t *testing.T, v vault) {
	admin := v.administer(t)
	id := v.post(t, "/sys/v1/apps", admin, `{"name":"changing"}`).is(t, http.StatusOK, "").member(t, "app_id")
	secret := func() string {
		var c struct{ Credential struct{ Secret string } }
		a := v.call(t, "GET", "/sys/v1/apps/"+id+"/credential", admin, "").is(t, http.StatusOK, "")
		if err := json.Unmarshal([]byte(a.body), &c); err != nil {
			t.Fatal(err)
		}
		return basicAuth(id, c.Credential.Secret)
	}
	first := secret()
	session := v.signIn(t, first)
	v.post(t, "/sys/v1/apps/"+id+"/reset_secret", admin, "").is(t, http.StatusOK, "")
	second := secret()
	v.call(t, "GET", "/sys/v1/accounts", session, "").is(t, http.StatusUnauthorized, noSessionText)
	v.post(t, auth, first, "").is(t, http.StatusUnauthorized, refusedText)
	session = v.signIn(t, second)
	v.post(t, "/sys/v1/apps/"+id+"/reset_secret", admin, `{"credential_migration_period":5}`).is(t, http.StatusOK, "")
	v.signIn(t, second)
	third := secret()
	v.signIn(t, third)
	gate.Eventually(t, func() error {
		if a := v.call(t, "GET", "/sys/v1/accounts", second, ""); a.status != http.StatusUnauthorized {
			return fmt.Errorf("the old secret works on: %d", a.status)
		}
		return nil
	})
	v.signIn(t, third)
	v.call(t, "GET", "/sys/v1/accounts", session, "").is(t, http.StatusOK, "")
}

func diesOnEveryNode(t *testing.T, _ vault) {
	server := peers.Postgres(t)
	g := gate.Prepare(t, gate.Options{Database: server.Database(t), Settings: map[string]string{"trusted_proxies": "127.0.0.1"}})
	g.Serve(t)
	here := vault{g, "192.0.2.1", stays}
	there := vault{g.Second(t), "192.0.2.1", stays}
	id, secret := here.program(t, "build-agent")
	session := here.signIn(t, basicAuth(id, secret))
	there.call(t, "GET", "/sys/v1/accounts", session, "").is(t, http.StatusOK, "")
	here.post(t, "/sys/v1/session/terminate", session, "").is(t, http.StatusNoContent, "")
	here.call(t, "GET", "/sys/v1/accounts", session, "").is(t, http.StatusUnauthorized, noSessionText)
	over := time.Now()
	for there.call(t, "GET", "/sys/v1/accounts", session, "").status != http.StatusUnauthorized {
		if took(over) > 2*time.Second+500*time.Millisecond { // what a node remembers is two seconds old at most
			t.Fatal("the other node knows it still")
		}
	}
}

func everyDoor(t *testing.T, v vault, key string) {
	user, program := v.signIn(t, as("dana")), v.signIn(t, key)
	native := v.nativeKey(t)
	for name, c := range map[string]struct {
		authorization                string
		auth, refresh, accounts      int
		saysAuth, saysRefresh, saysA string
	}{
		"a person's Basic":    {as("dana"), 200, 401, 401, "", noSessionText, noSessionText},
		"a program's Basic":   {key, 200, 401, 200, "", noSessionText, ""},
		"a person's session":  {user, 401, 204, 200, "Authentication required", "", ""},
		"a program's session": {program, 401, 204, 200, "Authentication required", "", ""},
		"an HTTP token":       {"Bearer BBDC-MDEyMzQ1Njc4OTAxOjqnrs2ZgUfkRAyEjQ4n5HMzKnBn", 401, 401, 401, "Authentication required", noSessionText, noSessionText},
		"a native API key":    {"Bearer " + native, 401, 401, 401, "Authentication required", noSessionText, noSessionText},
		"a JWT":               {"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJkYW5hIn0.", 401, 401, 401, "Authentication required", noSessionText, noSessionText},
		"nothing":             {"", 401, 401, 401, "Authentication required", noSessionText, noSessionText},
		"another scheme":      {"Digest x", 401, 401, 401, "Authentication required", noSessionText, noSessionText},
	} {
		t.Run(name, func(t *testing.T) {
			v.post(t, auth, c.authorization, "").is(t, c.auth, c.saysAuth)
			v.post(t, "/sys/v1/session/refresh", c.authorization, "").is(t, c.refresh, c.saysRefresh)
			v.call(t, "GET", "/sys/v1/accounts", c.authorization, "").is(t, c.accounts, c.saysA)
		})
	}
	v.call(t, "GET", "/sys/v1/accounts", "", "", "X-Api-Key", native).is(t, http.StatusUnauthorized, noSessionText)
}

// nativeKey makes a project and an API key of it.
func (v vault) nativeKey(t *testing.T) string {
	t.Helper()
	v.AddProject(t, "DOORS")
	return v.AddKey(t, "DOORS", "doors")
}

func backingOff(t *testing.T, _ vault) {
	v := newVault(t, map[string]string{"auth.hash_parallel": "1", "auth.hash_wait": "1ms"})
	v.person(t, "lou")
	before := v.hashes(t)
	for n := range 9 {
		began := time.Now()
		v.post(t, auth, basicAuth(mail("lou"), "wrong"), "").is(t, http.StatusUnauthorized, refusedText)
		if took := time.Since(began); took < 250*time.Millisecond {
			t.Errorf("failure %d took %v", n+1, took)
		}
	}
	if n := v.hashes(t) - before; n != 5 {
		t.Errorf("%v hashes, want 5", n)
	}
	answers := make([]said, 24)
	gate.Eventually(t, func() error {
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() {
				answers[i] = v.from(i+50).post(t, auth, basicAuth("n"+strconv.Itoa(i)+"@example.test", phrase), "")
			})
		}
		all.Wait()
		for _, a := range answers {
			if a.status == http.StatusServiceUnavailable && a.body == "Busy" && a.header.Get("Retry-After") != "" {
				return nil
			}
		}
		return fmt.Errorf("nobody was turned away: %v", answers[0])
	})
	for _, a := range answers {
		if a.status != http.StatusServiceUnavailable && a.status != http.StatusUnauthorized {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

func unlockingAndElevation(t *testing.T, v vault) {
	const tsv = "/rest/tsv/1.0/"
	v.person(t, "una")
	una := v.signIn(t, as("una"))
	v.post(t, "/sys/v1/session/config_2fa/auth", una, `{"password":"`+phrase+`"}`).is(t, http.StatusOK, "{}\n")
	v.call(t, "GET", tsv+"elevate-permissions", una, "").is(t, http.StatusNoContent, "") // it counts while there is no second factor
	begun := v.post(t, tsv+"totp/start-voluntary-enrollment", una, "{}", "Content-Type", "application/json").is(t, http.StatusOK, "")
	app := begun.member(t, "secret")
	now := earlyInStep()
	v.post(t, tsv+"totp/complete-voluntary-enrollment", una,
		`{"conversationId":"`+begun.member(t, "conversationId")+`","totpCode":"`+authenticator.Code(app, now.Add(-30*time.Second))+`"}`, "Content-Type", "application/json").is(t, http.StatusOK, "")

	locked := func() said { return v.post(t, "/sys/v1/session/config_2fa/new_challenge?protocol=fido2", una, "") }
	v.post(t, "/sys/v1/session/config_2fa/terminate", una, "").is(t, http.StatusNoContent, "")
	locked().is(t, http.StatusForbidden, "Two factor configuration is locked")
	v.post(t, "/sys/v1/session/config_2fa/auth", una, `{"password":"`+phrase+`"}`).is(t, http.StatusOK, "{}\n")
	locked().is(t, http.StatusOK, "")
	v.call(t, "GET", tsv+"elevate-permissions", una, "").is(t, http.StatusUnauthorized, "") // and no longer
	v.post(t, "/sys/v1/session/config_2fa/terminate", una, "").is(t, http.StatusNoContent, "")
	v.post(t, tsv+"elevate-permissions/totp", una, `{"totpCode":"`+authenticator.Code(app, now)+`"}`, "Content-Type", "application/json").is(t, http.StatusNoContent, "")
	locked().is(t, http.StatusOK, "")
}

func unknownExtensions(t *testing.T, v vault) {
	key, _ := v.keyed(t, "eve")
	for _, extensions := range []string{`null`, `{"example.extension.bool":null}`, `{"example.extension.bool":true,"credProps":{"rk":false}}`} {
		waiting, asked := v.begin(t, "eve")
		var answer map[string]json.RawMessage
		if err := json.Unmarshal([]byte(assertion(key, asked)), &answer); err != nil {
			t.Fatal(err)
		}
		answer["get_client_extension_results"] = json.RawMessage(extensions)
		body, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		v.post(t, auth+"/2fa/fido2", waiting, string(body)).is(t, http.StatusNoContent, "")
	}
}

func enrolledElsewhere(t *testing.T, v vault) {
	for name, algorithm := range map[string]int64{"ed": authenticator.EdDSA, "rs": authenticator.RS256} {
		was, _ := v.keyed(t, name)
		key := authenticator.New(algorithm)
		v.write(t, "UPDATE factor_devices SET credential = $1, public_key = $2, counter = 0 WHERE credential = $3", key.ID, key.Public(), was.ID)
		waiting, asked := v.begin(t, name)
		v.post(t, auth+"/2fa/fido2", waiting, assertion(key, asked)).is(t, http.StatusNoContent, "")
		v.call(t, "GET", "/sys/v1/accounts", waiting, "").is(t, http.StatusOK, "")
	}
}

func freshProof(t *testing.T, _ vault) {
	v := newVault(t, map[string]string{"auth.fresh": "1s"})
	v.person(t, "dana")
	dana := v.signIn(t, as("dana"))
	const codes = "/sys/v1/users/generate_recovery_codes"
	gate.Eventually(t, func() error {
		if a := v.post(t, codes, dana, ""); a.status != http.StatusForbidden || a.body != "Recent authentication required" {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
	gate.Eventually(t, func() error { // it grows old again soon
		v.post(t, "/sys/v1/session/config_2fa/auth", dana, `{"password":"`+phrase+`"}`).is(t, http.StatusOK, "{}\n")
		if a := v.post(t, codes, dana, ""); a.status != http.StatusOK {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
}

// Where Gatehouse ends TLS a program may prove who it is by the certificate of its connection, and then every request does.
func TestFortanix_client_certificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	trusted := selfSigned(t, certFile, keyFile)
	g := gate.Prepare(t, gate.Options{Flags: []string{"--tls-cert", certFile, "--tls-key", keyFile}})
	g.Launch(t, func() error {
		_, err := overTLS(g, trusted)
		return err
	})
	g.URL = strings.Replace(g.URL, "http:", "https:", 1)
	nobody := vault{Gate: g, client: showing(t, trusted)}
	theirs := newClientCertificate(t)
	program := vault{Gate: g, client: showing(t, trusted, theirs)}
	der := base64.StdEncoding.EncodeToString(theirs.Certificate[0])
	id := nobody.post(t, "/sys/v1/apps", nobody.administer(t), `{"name":"robot","credential":{"certificate":"`+der+`"}}`).is(t, http.StatusOK, "").member(t, "app_id")

	session := program.post(t, auth, "", "").bearer(t)
	program.post(t, auth, basicAuth(id, ""), "").is(t, http.StatusOK, "")
	program.call(t, "GET", "/sys/v1/accounts", session, "").is(t, http.StatusOK, "")
	nobody.call(t, "GET", "/sys/v1/accounts", session, "").is(t, http.StatusUnauthorized, noSessionText)
	stranger := vault{Gate: g, client: showing(t, trusted, newClientCertificate(t))}
	stranger.call(t, "GET", "/sys/v1/accounts", session, "").is(t, http.StatusUnauthorized, noSessionText)
	stranger.post(t, auth, "", "").is(t, http.StatusUnauthorized, refusedText)
	stranger.post(t, auth, basicAuth(id, ""), "").is(t, http.StatusUnauthorized, refusedText)
	nobody.post(t, auth, "", "").is(t, http.StatusUnauthorized, "Authentication required")
}
