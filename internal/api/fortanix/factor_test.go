package fortanix_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/authenticator"
)

const pending = "Two factor authentication required"

// add adds a user, NAME@example.test, with everybody's password, and returns the id.
func (h *house) add(t *testing.T, name string) string {
	t.Helper()
	root := h.dialect.Access.For(access.LocalCaller("root", h.clock.Now()))
	u, err := h.dialect.Users.Add(t.Context(), root, identity.New{Name: name, Email: address(name), Password: secret.New(password)})
	must(t, err)
	return u.ID
}

func address(name string) string { return name + "@example.test" }

func as(name string) string { return basic(address(name), password) }

// caller is who holds the session of an Authorization header.
func (h *house) caller(t *testing.T, bearer string) access.Caller {
	t.Helper()
	by, err := h.dialect.Login.Authenticate(t.Context(), login.Presented{
		Kind: login.Session, Secret: secret.New(strings.TrimPrefix(bearer, "Bearer ")), Accepts: []login.Kind{login.Session},
		States: []session.State{session.Active, session.EnrolOnly},
	})
	must(t, err)
	return by
}

// enrolApp gives the holder of a session an authenticator app, and returns its secret and the recovery key.
func (h *house) enrolApp(t *testing.T, bearer string) (app, key string) {
	t.Helper()
	by, s := h.caller(t, bearer), h.dialect.Login
	_, err := s.ElevateByPassword(t.Context(), by, secret.New(password))
	must(t, err)
	e, err := s.StartVoluntary(t.Context(), by)
	must(t, err)
	app = e.Secret.Reveal()
	done, err := s.CompleteVoluntary(t.Context(), by, e.Token, secret.New(authenticator.Code(app, h.clock.Now().Add(-30*time.Second))))
	must(t, err)
	return app, done.Recovery.Reveal()
}

// unlock opens the second-factor settings of a session.
func (h *house) unlock(t *testing.T, bearer string) {
	t.Helper()
	want(t, h.post("/sys/v1/session/config_2fa/auth", bearer, `{"password":"`+password+`"}`), http.StatusOK, "{}\n")
}

// enrolKey gives the holder of an unlocked session a security key.
func (h *house) enrolKey(t *testing.T, bearer, name string) *authenticator.Key {
	t.Helper()
	key := authenticator.New(authenticator.ES256)
	want(t, h.addKey(t, bearer, name, key), http.StatusOK, "")
	return key
}

// addKey tries that.
func (h *house) addKey(t *testing.T, bearer, name string, key *authenticator.Key) *httptest.ResponseRecorder {
	t.Helper()
	w := h.post("/sys/v1/session/config_2fa/new_challenge?protocol=fido2", bearer, "")
	want(t, w, http.StatusOK, "")
	answer := authenticator.AttestationJSON(key.Create(ceremony(t, w.Body.Bytes())))
	return h.call("PATCH", "/sys/v1/users/"+h.caller(t, bearer).ID, bearer, `{"add_mfa_devices":[{"name":"`+name+`","attestationResult":`+string(answer)+`}]}`)
}

var challenged = regexp.MustCompile(`"challenge":"([\w-]{43})"`)

// ceremony is what an answer of the server asks of a security key.
func ceremony(t *testing.T, answer []byte) authenticator.Ceremony {
	t.Helper()
	found := challenged.FindSubmatch(answer)
	if found == nil {
		t.Fatalf("no challenge in %s", answer)
	}
	challenge, err := base64.RawURLEncoding.DecodeString(string(found[1]))
	must(t, err)
	return authenticator.Ceremony{Challenge: challenge, Origin: local, RPID: "localhost"}
}

// begin signs in up to the second factor, and returns the Authorization header and what was asked.
func (h *house) begin(t *testing.T, basic string) (bearer string, asked authenticator.Ceremony) {
	t.Helper()
	w := h.post("/sys/v1/session/auth", basic, "")
	want(t, w, http.StatusOK, "")
	return "Bearer " + accessToken(t, w), ceremony(t, w.Body.Bytes())
}

// prove finishes a sign-in with a security key.
func (h *house) prove(bearer string, key *authenticator.Key, asked authenticator.Ceremony) *httptest.ResponseRecorder {
	return h.post("/sys/v1/session/auth/2fa/fido2", bearer, string(authenticator.AssertionJSON(key.Get(asked))))
}

// holder stands before the house for one file of testdata and answers for a person: ASSERTION in a body becomes what the person's security
// key says to the challenge that was last seen, AGAIN what it said before, ATTESTATION and KNOWN what a new key and that one say about themselves,
// code(SECRET) what the app shows now.
type holder struct {
	*house
	key       *authenticator.Key
	challenge []byte
	said      []byte
}

var shown = regexp.MustCompile(`code\(([A-Z2-7]{32})\)`)

// ServeHTTP implements http.Handler.
func (p *holder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	body = p.fill(body)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	seen := httptest.NewRecorder()
	p.house.ServeHTTP(seen, r)
	if found := challenged.FindSubmatch(seen.Body.Bytes()); found != nil {
		p.challenge, _ = base64.RawURLEncoding.DecodeString(string(found[1])) // the pattern lets nothing else through
	}
	for name, values := range seen.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(seen.Code)
	_, _ = w.Write(seen.Body.Bytes()) // a recorder takes everything
}

func (p *holder) fill(body []byte) []byte {
	asked := authenticator.Ceremony{Challenge: p.challenge, Origin: local, RPID: "localhost"}
	switch {
	case bytes.Contains(body, []byte("ASSERTION")):
		p.said = authenticator.AssertionJSON(p.key.Get(asked))
		body = bytes.ReplaceAll(body, []byte("ASSERTION"), p.said)
	case bytes.Contains(body, []byte("ATTESTATION")):
		body = bytes.ReplaceAll(body, []byte("ATTESTATION"), authenticator.AttestationJSON(authenticator.New(authenticator.ES256).Create(asked)))
	case bytes.Contains(body, []byte("KNOWN")):
		body = bytes.ReplaceAll(body, []byte("KNOWN"), authenticator.AttestationJSON(p.key.Create(asked)))
	}
	body = bytes.ReplaceAll(body, []byte("AGAIN"), p.said)
	return shown.ReplaceAllFunc(body, func(m []byte) []byte {
		return []byte(authenticator.Code(string(m[5:37]), p.clock.Now()))
	})
}

// second furnishes the house with people who have second factors: erin has an app, fred a security key, which answers for whoever is asked; hugo has nothing.
func (h *house) second(t *testing.T) (*holder, map[string]string) {
	t.Helper()
	p, vars := &holder{house: h}, map[string]string{}
	for _, name := range []string{"erin", "fred", "hugo"} {
		vars[name] = h.add(t, name)
		vars["as"+name] = strings.TrimPrefix(as(name), "Basic ")
	}
	erin := h.signIn(t, as("erin"))
	vars["erinapp"], vars["erinkey"] = h.enrolApp(t, erin)
	fred := h.signIn(t, as("fred"))
	h.unlock(t, fred)
	p.key = h.enrolKey(t, fred, "Blue key")
	w := h.post("/sys/v1/users/generate_recovery_codes", fred, "")
	want(t, w, http.StatusOK, "")
	var list struct {
		Codes []string `json:"recovery_codes"`
	}
	must(t, json.Unmarshal(w.Body.Bytes(), &list))
	vars["fredcode"], vars["fredother"] = list.Codes[0], list.Codes[1]
	vars["fredkey"] = base64.RawURLEncoding.EncodeToString(p.key.ID)
	return p, vars
}

// What waits for its second factor opens nothing but that and its own end (rule F7): every other route says so.
func TestPendingSession_opens_nothing_else(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.second(t)
	waiting, _ := h.begin(t, as("fred"))
	for _, route := range h.dialect.Routes() {
		if route.Action == access.Public || strings.HasPrefix(route.Pattern, "/sys/v1/session/auth/2fa/") || route.Pattern == "/sys/v1/session/terminate" {
			continue
		}
		path := regexp.MustCompile(`\{\w+\}`).ReplaceAllString(route.Pattern, newID())
		if w := h.call(route.Method, path, waiting, ""); w.Code != http.StatusUnauthorized || w.Body.String() != pending {
			t.Errorf("%s %s: %d %q", route.Method, route.Pattern, w.Code, w.Body)
		}
	}
	for _, open := range []string{"/sys/v1/version", "/sys/v1/info"} {
		want(t, h.call("GET", open, waiting, ""), http.StatusOK, "")
	}
	want(t, h.post("/sys/v1/session/terminate", waiting, ""), http.StatusNoContent, "")
	want(t, h.post("/sys/v1/session/auth/2fa/recovery_code", waiting, "{}"), http.StatusUnauthorized, noSession)
}

// A bearer keeps its token; a cookie gets another one, and the old one is dead (rule F11).
func TestSecondFactor_changes_a_cookie(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	p, _ := h.second(t)
	w := h.post("/sys/v1/session/auth", as("fred"), `{"token_type":"Cookie"}`)
	want(t, w, http.StatusOK, "")
	before := w.Result().Cookies()[0]
	ours := []string{"Cookie", before.String(), "X-Gatehouse-Csrf", "1"}
	body := string(authenticator.AssertionJSON(p.key.Get(ceremony(t, w.Body.Bytes()))))
	want(t, h.post("/sys/v1/session/auth/2fa/fido2", "", body, "Cookie", before.String()), http.StatusForbidden, "Origin check failed")
	w = h.post("/sys/v1/session/auth/2fa/fido2", "", body, ours...)
	want(t, w, http.StatusNoContent, "")
	after := w.Result().Cookies()[0]
	if before.Value == after.Value {
		t.Error("the cookie is the same")
	}
	want(t, h.call("GET", "/sys/v1/accounts", "", "", "Cookie", before.String()), http.StatusUnauthorized, noSession)
	want(t, h.call("GET", "/sys/v1/accounts", "", "", "Cookie", after.String()), http.StatusOK, "")

	ours[1] = after.String()
	w = h.post("/sys/v1/session/config_2fa/auth", "", `{"password":"`+password+`"}`, ours...) // elevation does so as well
	want(t, w, http.StatusOK, "{}\n")
	if again := w.Result().Cookies(); len(again) != 1 || again[0].Value == after.Value {
		t.Errorf("unlocking: %v", again)
	}
	want(t, h.call("GET", "/sys/v1/accounts", "", "", "Cookie", after.String()), http.StatusUnauthorized, noSession)
}

// Five wrong tries over all factors end the pending session, and count as failed sign-ins; what is malformed is no try (rule F7).
func TestSecondFactor_bounds_wrong_tries(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	p, vars := h.second(t)
	waiting, asked := h.begin(t, as("fred"))
	for _, malformed := range []string{"", "{}", `{"id":1}`, `{"id":"AQ","response":{"clientDataJSON":"AQ","authenticatorData":"AQ","signature":"AQ"}}`} {
		if w := h.post("/sys/v1/session/auth/2fa/fido2", waiting, malformed); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", malformed, w.Code, w.Body)
		}
	}
	wrong := func(path, body string) {
		t.Helper()
		want(t, h.post("/sys/v1/session/auth/2fa/"+path, waiting, body), http.StatusUnauthorized, refused)
	}
	foreign := asked
	foreign.Origin = "https://evil.example.test"
	wrong("recovery_code", `{"recovery_code":"AAAAA-AAAAA-AAAAA-AAAAA"}`)
	wrong("totp", `{"totp_code":"000000"}`)
	wrong("fido2", string(authenticator.AssertionJSON(authenticator.New(authenticator.ES256).Get(asked))))
	wrong("fido2", string(authenticator.AssertionJSON(p.key.Get(foreign))))
	waits, last := h.waited.last()
	if waits != 4 || last != 250*time.Millisecond {
		t.Errorf("%d waits, the last %v", waits, last)
	}
	wrong("recovery_code", `{"recovery_code":"`+vars["erinkey"]+`"}`)
	want(t, h.post("/sys/v1/session/auth/2fa/recovery_code", waiting, `{"recovery_code":"`+vars["fredcode"]+`"}`), http.StatusUnauthorized, noSession)
	w := h.post("/sys/v1/session/auth", as("fred"), "")
	want(t, w, http.StatusUnauthorized, refused)
	if w.Header().Get("X-Gatehouse-Captcha") != "required" {
		t.Error("five failures of the name, and no CAPTCHA is due")
	}
}

// The challenge is for five minutes.
func TestSecondFactor_comes_in_time(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	p, _ := h.second(t)
	waiting, asked := h.begin(t, as("fred"))
	h.clock.pass(5 * time.Minute)
	want(t, h.prove(waiting, p.key, asked), http.StatusUnauthorized, noSession)
}

// Keys that were enrolled elsewhere answer here, whatever they sign with.
func TestSecondFactor_takes_keys_that_were_enrolled_elsewhere(t *testing.T) {
	t.Parallel()
	for name, algorithm := range map[string]int64{"EdDSA": authenticator.EdDSA, "RS256": authenticator.RS256} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, local)
			h.add(t, "fred")
			fred := h.signIn(t, as("fred"))
			h.unlock(t, fred)
			key := authenticator.New(algorithm)
			want(t, h.addKey(t, fred, "Green key", key), http.StatusBadRequest,
				"Invalid request: the algorithm of the security key is not one of those that were offered")
			by, s := h.caller(t, fred), h.dialect.Login
			made, err := s.StartDevice(t.Context(), by, []int64{algorithm})
			must(t, err)
			asked := authenticator.Ceremony{Challenge: made.Challenge, Origin: local, RPID: "localhost"}
			_, err = s.AddDevice(t.Context(), by, "Green key", key.Create(asked), []int64{algorithm})
			must(t, err)
			waiting, asked := h.begin(t, as("fred"))
			want(t, h.prove(waiting, key, asked), http.StatusNoContent, "")
			want(t, h.call("GET", "/sys/v1/accounts", waiting, ""), http.StatusOK, "")
		})
	}
}

// An imported U2F key is told of in both forms and answers for its AppID.
func TestSecondFactor_takes_imported_U2F_keys(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	id := h.add(t, "fred")
	const appID = "https://old.example.test/u2f.json"
	key := authenticator.NewU2F(appID)
	_, err := h.dialect.Login.ImportU2F(t.Context(), access.LocalCaller("root", h.clock.Now()), id, "Old key", key.ID, key.Point(), appID)
	must(t, err)
	w := h.post("/sys/v1/session/auth", as("fred"), "")
	want(t, w, http.StatusOK, "")
	var in struct {
		Challenge struct {
			Challenge []byte `json:"u2f_challenge"`
			Keys      []struct {
				Handle  []byte `json:"keyHandle"`
				Version string
			} `json:"u2f_keys"`
		}
		Options struct {
			Extensions struct{ AppID string }
		} `json:"fido2_assertion_options"`
	}
	must(t, json.Unmarshal(w.Body.Bytes(), &in))
	asked := ceremony(t, w.Body.Bytes())
	if u := in.Challenge; !bytes.Equal(u.Challenge, asked.Challenge) || len(u.Keys) != 1 || !bytes.Equal(u.Keys[0].Handle, key.ID) || u.Keys[0].Version != "U2F_V2" {
		t.Errorf("%s", w.Body)
	}
	if in.Options.Extensions.AppID != appID {
		t.Errorf("appid %q", in.Options.Extensions.AppID)
	}
	want(t, h.prove("Bearer "+accessToken(t, w), key, asked), http.StatusNoContent, "")
}

// A second factor of either kind of code works at most once, however often it is sent (rule F7).
func TestSecondFactor_is_not_taken_twice(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	p, vars := h.second(t)
	code := `{"recovery_code":"` + vars["fredcode"] + `"}`
	waiting, _ := h.begin(t, as("fred"))
	want(t, h.post("/sys/v1/session/auth/2fa/recovery_code", waiting, strings.ToLower(code)), http.StatusNoContent, "")
	waiting, asked := h.begin(t, as("fred"))
	want(t, h.post("/sys/v1/session/auth/2fa/recovery_code", waiting, code), http.StatusUnauthorized, refused)
	answer := string(authenticator.AssertionJSON(p.key.Get(asked)))
	want(t, h.post("/sys/v1/session/auth/2fa/fido2", waiting, answer), http.StatusNoContent, "")
	want(t, h.post("/sys/v1/session/auth/2fa/fido2", waiting, answer), http.StatusBadRequest, "Invalid request: no second factor pending")
	other, _ := h.begin(t, as("fred"))
	want(t, h.post("/sys/v1/session/auth/2fa/fido2", other, answer), http.StatusUnauthorized, refused)
	totp := `{"totp_code":"` + authenticator.Code(vars["erinapp"], h.clock.Now()) + `"}`
	waiting, _ = h.begin(t, as("erin"))
	want(t, h.post("/sys/v1/session/auth/2fa/totp", waiting, totp), http.StatusNoContent, "")
	waiting, _ = h.begin(t, as("erin"))
	want(t, h.post("/sys/v1/session/auth/2fa/totp", waiting, totp), http.StatusUnauthorized, refused)
}

// Unknown extensions, and the one of the vendor's documentation, are no reason to refuse.
func TestSecondFactor_tolerates_extensions(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	p, _ := h.second(t)
	for _, extensions := range []string{`null`, `{}`, `{"example.extension.bool":null}`, `{"example.extension.bool":true,"credProps":{"rk":true},"appid":null,"appidExclude":false}`} {
		waiting, asked := h.begin(t, as("fred"))
		var answer map[string]json.RawMessage
		must(t, json.Unmarshal(authenticator.AssertionJSON(p.key.Get(asked)), &answer))
		answer["get_client_extension_results"] = json.RawMessage(extensions)
		answer["authenticatorAttachment"] = json.RawMessage(`"usb"`)
		body, err := json.Marshal(answer)
		must(t, err)
		want(t, h.post("/sys/v1/session/auth/2fa/fido2", waiting, string(body)), http.StatusNoContent, "")
	}
}

// Recovery codes need a proof that is ten minutes old at most (rule F14).
func TestRecoveryCodes_need_a_fresh_proof(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	dana := h.signIn(t, h.asDana())
	h.clock.pass(11 * time.Minute)
	want(t, h.post("/sys/v1/users/generate_recovery_codes", dana, ""), http.StatusForbidden, "Recent authentication required")
	h.unlock(t, dana)
	want(t, h.post("/sys/v1/users/generate_recovery_codes", dana, ""), http.StatusOK, "")
	h.clock.pass(10 * time.Minute)
	want(t, h.post("/sys/v1/users/generate_recovery_codes", dana, ""), http.StatusForbidden, "Recent authentication required")
}

// The unlock is for ten minutes and does not roll; the elevation of the other dialects unlocks too.
func TestSettings_lock_by_themselves(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	dana := h.signIn(t, h.asDana())
	challenge := func() *httptest.ResponseRecorder {
		return h.post("/sys/v1/session/config_2fa/new_challenge?protocol=fido2", dana, "")
	}
	want(t, challenge(), http.StatusForbidden, "Two factor configuration is locked")
	h.unlock(t, dana)
	h.clock.pass(9 * time.Minute)
	want(t, challenge(), http.StatusOK, "")
	h.clock.pass(time.Minute)
	want(t, challenge(), http.StatusForbidden, "Two factor configuration is locked")
	_, err := h.dialect.Login.ElevateByPassword(t.Context(), h.caller(t, dana), secret.New(password))
	must(t, err)
	want(t, challenge(), http.StatusOK, "")
}

// Of whom a second factor is demanded may look at themselves and set one up, and nothing else (the document, second factors).
func TestEnrolOnlySession(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.dialect.Login.Enforcement = login.DemandAll
	dana := h.signIn(t, h.asDana())
	const first = "Two factor authentication must be configured"
	own := "/sys/v1/users/" + h.dana
	allowed := map[string]bool{
		"POST /sys/v1/session/refresh": true, "POST /sys/v1/session/terminate": true, "GET /sys/v1/users/{user}": true, "PATCH /sys/v1/users/{user}": true,
		"POST /sys/v1/users/generate_recovery_codes": true, "POST /sys/v1/users/generate_recovery_code": true,
		"POST /sys/v1/session/config_2fa/auth": true, "POST /sys/v1/session/config_2fa/terminate": true, "POST /sys/v1/session/config_2fa/new_challenge": true,
		"POST /sys/v1/session/auth/2fa/u2f": true, // is refused to everybody
	}
	for _, route := range h.dialect.Routes() {
		if route.Action == access.Public || allowed[route.Method+" "+route.Pattern] {
			continue
		}
		path := regexp.MustCompile(`\{\w+\}`).ReplaceAllString(route.Pattern, newID())
		if w := h.call(route.Method, path, dana, ""); w.Code != http.StatusForbidden || w.Body.String() != first {
			t.Errorf("%s %s: %d %q", route.Method, route.Pattern, w.Code, w.Body)
		}
	}
	want(t, h.call("GET", own, dana, ""), http.StatusOK, "")
	want(t, h.call("PATCH", own, dana, `{"first_name":"Dana"}`), http.StatusOK, "")
	want(t, h.call("GET", "/sys/v1/users/"+h.admin, dana, ""), http.StatusNotFound, "")
	want(t, h.post("/sys/v1/users/generate_recovery_codes", dana, ""), http.StatusOK, "")
	want(t, h.post("/sys/v1/session/refresh", dana, ""), http.StatusNoContent, "")
	other := h.signIn(t, h.asDana())
	h.unlock(t, dana)
	h.enrolKey(t, dana, "Blue key")
	want(t, h.call("GET", "/sys/v1/accounts", dana, ""), http.StatusOK, "")
	want(t, h.post("/sys/v1/session/refresh", other, ""), http.StatusUnauthorized, noSession)
	w := h.call("PATCH", own, dana, `{"del_mfa_devices":[{"name":"Blue key"}]}`)
	want(t, w, http.StatusForbidden, "This operation is forbidden")
}

// An account may demand one of its members, as the installation may.
func TestAccountDemandsSecondFactors(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	root := h.dialect.Access.For(access.LocalCaller("root", h.clock.Now()))
	must(t, h.dialect.Accounts.SetRequireFactor(t.Context(), root, identity.DefaultAccount, identity.EverybodyMust))
	dana := h.signIn(t, h.asDana())
	want(t, h.call("GET", "/sys/v1/accounts", dana, ""), http.StatusForbidden, "Two factor authentication must be configured")
}

// Somebody who administers the account takes a member's key away, once their own settings are open, and nothing else of a member.
func TestAdministrator_removes_keys_of_members(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	p, vars := h.second(t)
	root := h.dialect.Access.For(access.LocalCaller("root", h.clock.Now()))
	must(t, h.dialect.Accounts.SetMember(t.Context(), root, identity.DefaultAccount, h.dana, identity.Administrator))
	dana, fred := h.signIn(t, h.asDana()), "/sys/v1/users/"+vars["fred"]
	want(t, h.post("/sys/v1/session/select_account", dana, `{"acct_id":"`+identity.DefaultAccount+`"}`), http.StatusOK, "")
	const removal = `{"del_mfa_devices":[{"name":"Blue key"}]}`
	want(t, h.call("PATCH", fred, dana, removal), http.StatusForbidden, "Two factor configuration is locked")
	h.unlock(t, dana)
	for _, other := range []string{`{"first_name":"Fred"}`, `{"rename_mfa_devices":[{"old_name":"Blue key","new_name":"Red key"}]}`} {
		want(t, h.call("PATCH", fred, dana, other), http.StatusForbidden, "This operation is forbidden")
	}
	waiting, asked := h.begin(t, as("fred"))
	want(t, h.call("PATCH", fred, dana, removal), http.StatusOK, "")
	want(t, h.prove(waiting, p.key, asked), http.StatusUnauthorized, noSession) // the member's sessions are over, what waited too
	h.signIn(t, as("fred"))
}
