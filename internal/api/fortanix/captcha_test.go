package fortanix_test

import (
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// A CAPTCHA that was read is the way out of a lock-out: it caps the back-off at 30 s. Without one nothing is looked at, and Basic cannot carry one.
func TestCaptcha_lets_the_right_password_in(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for range 10 { // the tenth backs off for 32 s
		want(t, h.post("/sys/v1/session/auth", basic(email, "wrong"), ""), http.StatusUnauthorized, refused)
		h.clock.pass(time.Minute)
		h.fail(t)
	}
	try := func(solution string) int {
		return h.post("/sys/v1/session/auth", "", `{"method":"password","email":"`+email+`","password":"`+password+`","recaptcha_response":`+solution+`}`).Code
	}
	hashes := h.hasher.checks.Load()
	solved := func() string {
		id, err := h.captcha.New()
		must(t, err)
		text, _ := h.captcha.Text(id)
		return `"` + id + ":" + text + `"`
	}
	for _, wrong := range []string{`null`, `""`, `"a token of somebody else's service"`, `"x:ABCDEF"`} {
		if code := try(wrong); code != http.StatusUnauthorized {
			t.Errorf("%s: %d", wrong, code)
		}
	}
	early := solved()
	if code := try(early); code != http.StatusUnauthorized {
		t.Errorf("within the back-off: %d", code)
	}
	if n := h.hasher.checks.Load() - hashes; n != 0 {
		t.Errorf("%d hashes for what must not be looked at", n)
	}
	h.clock.pass(30 * time.Second)
	if code := try(early); code != http.StatusUnauthorized {
		t.Errorf("the same CAPTCHA again: %d", code)
	}
	want(t, h.post("/sys/v1/session/auth", h.asDana(), ""), http.StatusUnauthorized, refused)
	if code := try(solved()); code != http.StatusOK {
		t.Errorf("a solved one: %d", code)
	}
	want(t, h.post("/sys/v1/session/auth", h.asDana(), ""), http.StatusOK, "")
}

// fail counts one more failure of Dana's name, with a CAPTCHA where one is due.
func (h *house) fail(t *testing.T) {
	t.Helper()
	id, err := h.captcha.New()
	must(t, err)
	text, _ := h.captcha.Text(id)
	w := h.post("/sys/v1/session/auth", "", `{"method":"password","email":"`+email+`","password":"wrong","recaptcha_response":"`+id+":"+text+`"}`)
	want(t, w, http.StatusUnauthorized, refused)
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

// An address that asks for more than a minute's share of flows is told of the password alone.
func TestDiscover_begins_so_many_flows_a_minute(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.provide(t)
	h.dialect.Login.Discoveries.Threshold = 3
	const alone = `[{"method":"password"}]` + "\n"
	for n := range 6 {
		w := h.post("/sys/v1/session/auth/discover", "", "")
		if w.Code != http.StatusOK || (w.Body.String() == alone) != (n >= 3) {
			t.Errorf("call %d: %d %s", n+1, w.Code, w.Body)
		}
	}
	h.clock.pass(2 * time.Minute)
	if w := h.post("/sys/v1/session/auth/discover", "", ""); w.Body.String() == alone {
		t.Error("and for ever")
	}
}

// People whom a provider vouches for have no password here: asking for it is refused, and a fresh sign-in is their unlock.
func TestSettings_of_who_has_no_password(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	vars := h.provide(t)
	root := h.dialect.Access.For(access.LocalCaller("root", h.clock.Now()))
	_, err := h.dialect.Users.Add(t.Context(), root, identity.New{Name: "olga", Email: address("olga")})
	must(t, err)
	w := h.post("/sys/v1/session/auth", "", `{"method":"ldap-basic-auth","idp_id":"`+vars["ldap"]+`","email":"`+address("olga")+`","password":"`+theirs+`"}`)
	want(t, w, http.StatusOK, "")
	olga := "Bearer " + accessToken(t, w)
	want(t, h.post("/sys/v1/session/config_2fa/auth", olga, `{"password":"`+theirs+`"}`), http.StatusForbidden, "This operation is forbidden")
	want(t, h.post("/sys/v1/session/config_2fa/new_challenge?protocol=fido2", olga, ""), http.StatusOK, "")
	h.clock.pass(10 * time.Minute)
	want(t, h.post("/sys/v1/session/config_2fa/new_challenge?protocol=fido2", olga, ""), http.StatusForbidden, "Two factor configuration is locked")
}

var samlID = regexp.MustCompile(`"id":"([^"]+)"`)

// Who has a second factor proves it after a directory's password, and after a provider where that is asked for.
func TestProviders_and_second_factors(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	vars := h.provide(t)
	p, _ := h.second(t)
	dana := h.signIn(t, h.asDana())
	h.unlock(t, dana)
	h.enrolKey(t, dana, "Green key")
	assertion := func() string {
		ways := h.post("/sys/v1/session/auth/discover", "", "").Body.String()
		id := samlID.FindStringSubmatch(ways)[1]
		return `{"method":"saml-response","id":"` + id + `","response":"` + base64Of([]byte(id+" "+theirs)) + `"}`
	}
	ldap := `{"method":"ldap-basic-auth","idp_id":"` + vars["ldap"] + `","email":"` + address("fred") + `","password":"` + theirs + `"}`
	w := h.post("/sys/v1/session/auth", "", ldap)
	want(t, w, http.StatusOK, "")
	want(t, h.prove("Bearer "+accessToken(t, w), p.key, ceremony(t, w.Body.Bytes())), http.StatusNoContent, "")
	w = h.post("/sys/v1/session/auth", "", assertion())
	want(t, w, http.StatusOK, "")
	want(t, h.call("GET", "/sys/v1/accounts", "Bearer "+accessToken(t, w), ""), http.StatusOK, "")
	h.dialect.Login.MFAAfterSSO = true
	w = h.post("/sys/v1/session/auth", "", assertion())
	want(t, w, http.StatusOK, "")
	want(t, h.call("GET", "/sys/v1/accounts", "Bearer "+accessToken(t, w), ""), http.StatusUnauthorized, pending)
}
