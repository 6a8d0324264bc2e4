package test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/gate"
)

// doors are where a session of a person opens something: at each dialect, and on our own pages.
var doors = []string{sys + "/accounts", sys + "/users/accounts", tsv + "/status", tsv + "/sso-management-status", tsv + "/elevate-permissions", native + "/session", native + "/factors", "/login/confirm", "/login/enrol", "/"}

// openTo lists the doors that are open to a caller.
func openTo(t *testing.T, c *caller) (open []string) {
	t.Helper()
	for _, door := range doors {
		r := c.call(t, "GET", door, nil)
		unauthenticated := r.Status == http.StatusUnauthorized && !strings.Contains(string(r.Body), "elevationMethods")
		away := r.Status == http.StatusSeeOther && r.Header.Get("Location") != "/login/confirm"
		if !unauthenticated && !away && !strings.Contains(string(r.Body), "Welcome") {
			open = append(open, door)
		}
	}
	return open
}

// with is another browser with that session's cookie, or a program with it as a bearer.
func with(g *gate.Gate, value string, asBearer bool) *caller {
	c := visit(g)
	if c.cookies["gatehouse"] = value; asBearer {
		delete(c.cookies, "gatehouse")
		c.bearer = value
	}
	return c
}

// Rule F11: new rights, new value of the cookie, and the old value is dead at every door.
//
// What was broken elsewhere: a session id that an attacker had planted, or had seen before, was worth more
// after the victim had signed in or had confirmed something.
// How it is attacked: a planted cookie at each way to sign in; the value of before each step that gives more rights,
// as cookie and as bearer, at every door.
// What must happen: each step gives another value, and nothing takes the old one; the use of a dead one is on record.
func TestAttack_F11_values_of_cookies(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: quick()})
	people(t, g, "dana", "erin", "finn", "hana")
	planted := strings.Repeat("planted0", 11)
	signIns := map[string]func(c *caller) reply{
		"page": func(c *caller) reply {
			return c.call(t, "POST", "/login", url.Values{"username": {"dana"}, "password": {danaPassword}})
		},
		"two-step wire": func(c *caller) reply {
			return c.call(t, "POST", tsv+"/authenticate", members{"username": "dana", "password": danaPassword})
		},
		"session wire": func(c *caller) reply {
			return c.call(t, "POST", sys+"/session/auth", members{"token_type": "Cookie", "method": "password", "email": "dana@example.test", "password": danaPassword})
		},
	}
	var dead []string
	for name, do := range signIns {
		c := with(g, planted, false)
		if r := do(c); r.Status >= 400 || c.cookies["gatehouse"] == planted || c.cookies["gatehouse"] == "" {
			t.Fatalf("%s: %v, cookie %q", name, r, c.cookies)
		}
		if open := openTo(t, with(g, planted, false)); len(open) > 0 {
			t.Errorf("%s: the planted cookie opens %v", name, open)
		}
		again := c.cookies["gatehouse"]
		if do(c); c.cookies["gatehouse"] == again {
			t.Errorf("%s: the second sign-in keeps the cookie", name)
		}
	}
	// changes takes a step and checks what became of the cookie.
	changes := func(c *caller, step string, do func() reply) reply {
		t.Helper()
		before := c.cookies["gatehouse"]
		r := do()
		after := c.cookies["gatehouse"]
		if r.Status >= 400 || after == before || after == "" {
			t.Fatalf("%s: %v; the cookie stays", step, r)
		}
		for _, asBearer := range []bool{false, true} {
			if open := openTo(t, with(g, before, asBearer)); len(open) > 0 {
				t.Errorf("%s: the old value opens %v (bearer: %t)", step, open, asBearer)
			}
		}
		dead = append(dead, before, after)
		return r
	}
	dana := signedIn(t, g, "dana")
	changes(dana, "elevation by the password", func() reply {
		return dana.call(t, "POST", tsv+"/elevate-permissions/password", members{"password": danaPassword})
	})
	begun := dana.must(t, http.StatusOK, "POST", tsv+"/totp/start-voluntary-enrollment", nil)
	secret := begun.text(t, "secret")
	recovery := changes(dana, "an enrolment", func() reply {
		return dana.call(t, "POST", tsv+"/totp/complete-voluntary-enrollment", members{"conversationId": begun.text(t, "conversationId"), "totpCode": code(t, secret, -1)})
	}).text(t, "recoveryCode")
	if open := openTo(t, dana); len(open) != len(doors) {
		t.Errorf("the new value opens %v alone", open)
	}

	page := visit(g)
	page.must(t, http.StatusSeeOther, "POST", "/login", url.Values{"username": {"dana"}, "password": {danaPassword}})
	if open := openTo(t, page); len(open) > 0 {
		t.Errorf("before the second factor %v are open", open)
	}
	changes(page, "a second factor", func() reply {
		return page.call(t, "POST", "/login/second", url.Values{"kind": {"totp"}, "code": {code(t, secret, 0)}})
	})
	next := changes(page, "elevation by a recovery code", func() reply {
		return page.call(t, "POST", tsv+"/elevate-permissions/recovery-code", members{"recoveryCode": recovery})
	}).text(t, "recoveryCode")
	changes(page, "elevation by an app", func() reply {
		return page.call(t, "POST", tsv+"/elevate-permissions/totp", members{"totpCode": code(t, secret, 1)})
	})
	erin := signedIn(t, g, "erin")
	changes(erin, "unlocking the settings", func() reply {
		return erin.call(t, "POST", sys+"/session/config_2fa/auth", members{"password": danaPassword})
	})
	finn := signedIn(t, g, "finn")
	changes(finn, "confirming on the page", func() reply { return finn.call(t, "POST", "/login/confirm", url.Values{"password": {danaPassword}}) })

	hana := signedIn(t, g, "hana")
	changes(hana, "elevation by our own wire", func() reply {
		return hana.call(t, "POST", native+"/session/elevate", members{"password": danaPassword})
	})

	// A bearer keeps its value, which opens nothing but the second step before that (rule S3).
	program, _ := withToken(t, g, "dana")
	if open := openTo(t, program); len(open) > 0 {
		t.Errorf("a pending bearer opens %v", open)
	}
	r := program.must(t, http.StatusNoContent, "POST", sys+"/session/auth/2fa/recovery_code", members{"recovery_code": next})
	if len(r.Cookies) > 0 || len(openTo(t, program)) == 0 {
		t.Errorf("a bearer with its second factor: %v, %v", r, openTo(t, program))
	}
	g.AwaitAudited(t, "login.session", "refused", "")
	hushed(t, g, append(dead, secret, recovery, next, danaPassword, program.bearer, planted)...)
}

// Rule F12: who is shut out is out, by every method, and at once where a session is on.
//
// What was broken elsewhere: deactivated people signed in by the method that somebody had forgotten, or went on by the
// session, the conversation or the cookie that they had.
// How it is attacked: everything that a person can present is collected, the person is disabled, and all of it is tried.
// What must happen: each is refused as what is wrong is refused; the true reason is in the audit log alone.
func TestAttack_F12_shut_out(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: quick("basic.refuse_2sv_users", "false")})
	people(t, g, "dana", "erin")
	elevated := signedIn(t, g, "dana")
	his := withApp(t, elevated)
	pending, _ := withToken(t, g, "dana")
	ready, _ := withToken(t, g, "dana")
	ready.must(t, http.StatusNoContent, "POST", sys+"/session/auth/2fa/totp", members{"totp_code": code(t, his.secret, 0)})
	waiting := visit(g)
	waiting.must(t, http.StatusSeeOther, "POST", "/login", url.Values{"username": {"dana"}, "password": {danaPassword}})
	conversation := talk(t, g, "dana")
	conversation2 := talk(t, g, "dana")
	enrolling := signedIn(t, g, "erin")
	if len(openTo(t, ready)) == 0 || len(openTo(t, elevated)) == 0 {
		t.Fatal("the sessions are closed already")
	}

	g.Must(t, "user", "disable", "dana")

	wrong := visit(g).call(t, "POST", tsv+"/authenticate", members{"username": "dana", "password": "wrong horse"})
	if r := visit(g).call(t, "POST", tsv+"/authenticate", members{"username": "dana", "password": danaPassword}); r.Status != 401 || string(r.Body) != string(wrong.Body) {
		t.Errorf("a password is told apart: %v; wrong: %v", r, wrong)
	}
	for name, header := range map[string]string{"name": basic("dana", danaPassword), "address": basic("dana@example.test", danaPassword)} {
		c := visit(g)
		c.header["Authorization"] = "Basic " + header
		for _, call := range [][2]string{{"POST", sys + "/session/auth"}, {"GET", tsv + "/status"}, {"GET", sys + "/accounts"}} {
			if r := c.call(t, call[0], call[1], nil); r.Status != http.StatusUnauthorized {
				t.Errorf("Basic by %s at %s: %v", name, call[1], r)
			}
		}
	}
	if r := visit(g).call(t, "POST", sys+"/session/auth", members{"method": "password", "email": "dana@example.test", "password": danaPassword}); r.Status != http.StatusUnauthorized {
		t.Errorf("session wire: %v", r)
	}
	if r := visit(g).call(t, "POST", "/login", url.Values{"username": {"dana"}, "password": {danaPassword}}); r.Status != http.StatusUnauthorized || len(r.Cookies) > 0 {
		t.Errorf("page: %v", r)
	}
	for path, body := range map[string]members{
		"/authenticate/totp-code":     {"conversationId": conversation, "totpCode": code(t, his.secret, 1)},
		"/authenticate/recovery-code": {"conversationId": conversation2, "recoveryCode": his.recovery},
	} {
		if r := visit(g).call(t, "POST", tsv+path, body); r.Status != http.StatusBadRequest && r.Status != http.StatusUnauthorized || len(r.Cookies) > 0 {
			t.Errorf("%s: %v", path, r)
		}
	}
	// A command is another process, and a node may answer from memory for two seconds what another one changed.
	gate.Eventually(t, func() error {
		for name, c := range map[string]*caller{"elevated": elevated, "bearer": ready} {
			if open := openTo(t, c); len(open) > 0 {
				return fmt.Errorf("%s still opens %v", name, open)
			}
		}
		return nil
	})
	if r := pending.call(t, "POST", sys+"/session/auth/2fa/recovery_code", members{"recovery_code": his.recovery}); r.Status != http.StatusUnauthorized {
		t.Errorf("pending bearer: %v", r)
	}
	if r := waiting.call(t, "POST", "/login/second", url.Values{"kind": {"recovery_code"}, "code": {his.recovery}}); r.Status != http.StatusSeeOther || r.Header.Get("Location") != "/login" && !strings.HasPrefix(r.Header.Get("Location"), "/login?") {
		t.Errorf("pending page: %v, %s", r, r.Header.Get("Location"))
	}
	if r := elevated.call(t, "POST", tsv+"/totp/recovery-code/rotate", nil); r.Status != http.StatusUnauthorized {
		t.Errorf("elevated: %v", r)
	}
	if len(openTo(t, enrolling)) == 0 {
		t.Error("erin is out as well")
	}
	g.AwaitAudited(t, "login.password", "refused", "the user is disabled")
	g.AwaitAudited(t, "login.session", "refused", "")
	hushed(t, g, danaPassword, his.secret, his.recovery, conversation, pending.bearer, ready.bearer)
}

// Rule F14: who makes or changes a credential has proved who they are not long ago.
//
// What was broken elsewhere: a stolen session enrolled a security key, or made codes, and outlived itself.
// How it is attacked: a session that is no longer fresh at each route of each door that makes or changes a
// credential of a person.
// What must happen: none answers with a success, nothing changes, and a fresh proof opens them.
func TestAttack_F14_stale_sessions(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: quick("auth.fresh", "10s", "tsv.elevation", "10s", "auth.config2fa", "10s", "sso.allow_http", "true")})
	person(t, g, "dana", "--admin")
	people(t, g, "erin")
	dana := signedIn(t, g, "dana")
	his := withApp(t, dana)
	me := dana.must(t, http.StatusOK, "GET", tsv+"/status", nil).Header.Get("X-AUSERNAME")
	id := g.Rows(t, "SELECT id FROM users WHERE name = $1", me)[0][0]
	gate.Eventually(t, func() error {
		if r := dana.call(t, "GET", tsv+"/elevate-permissions", nil); r.Status != http.StatusUnauthorized {
			return fmt.Errorf("the session is still elevated: %v", r)
		}
		return nil
	})
	gate.Eventually(t, func() error {
		if r := dana.call(t, "POST", sys+"/users/generate_recovery_codes", nil); r.Status != http.StatusForbidden {
			return fmt.Errorf("the session is still fresh: %v", r)
		}
		return nil
	})
	factors := func() [][]string {
		return append(g.Rows(t, "SELECT * FROM factor_totp"), g.Rows(t, "SELECT * FROM factor_codes")...)
	}
	before := fmt.Sprint(factors(), g.Count(t, "SELECT count(*) FROM users"))
	for _, call := range []struct {
		method, path string
		body         any
		status       int
	}{
		{"POST", tsv + "/totp/start-voluntary-enrollment", nil, 401},
		{"POST", tsv + "/totp/complete-voluntary-enrollment", members{"conversationId": "x", "totpCode": "000000"}, 401},
		{"POST", tsv + "/totp/start-enrollment-update", nil, 401},
		{"POST", tsv + "/totp/complete-enrollment-update", members{"conversationId": "x", "totpCode": "000000"}, 401},
		{"POST", tsv + "/totp/recovery-code/rotate", nil, 401},
		{"DELETE", tsv + "/totp/unenroll", nil, 401},
		{"DELETE", tsv + "/totp/unenroll/user/erin", members{"totpCode": ""}, 401},
		{"POST", sys + "/users/generate_recovery_codes", nil, 403},
		{"POST", sys + "/users/generate_recovery_code", nil, 403},
		{"POST", sys + "/users", members{"user_email": "mallory@example.test", "user_password": "correct: horse battery"}, 403},
		{"POST", sys + "/users/change_password", members{"current_password": "wrong horse", "new_password": "another horse battery"}, 401},
		{"POST", sys + "/session/config_2fa/new_challenge?protocol=fido2", nil, 403},
		{"PATCH", sys + "/users/" + id, members{"rename_mfa_devices": []members{{"old_name": "a", "new_name": "b"}}}, 403},
		{"PATCH", sys + "/users/" + id, members{"del_mfa_devices": []members{{"name": "a"}}}, 403},
		{"PATCH", native + "/factors/devices/a", members{"name": "b"}, 403},
		{"DELETE", native + "/factors/devices/a", nil, 403},
		{"POST", native + "/factors/recovery-codes", nil, 403},
		{"PUT", native + "/session/password", members{"old": "wrong horse", "new": "another horse battery"}, 0},
		{"POST", native + "/users", members{"name": "mallory", "email": "mallory@example.test"}, 403},
		{"PUT", native + "/users/" + id + "/password", members{"password": "another horse battery"}, 403},
		{"POST", native + "/users/" + id + "/reset-factors", nil, 403},
		{"POST", native + "/users/" + id + "/devices", members{"name": "a"}, 403},
		{"POST", native + "/users/" + id + "/grant-admin", nil, 403},
		{"POST", native + "/users/" + id + "/links", members{"provider": id, "subject": "x"}, 403},
		{"DELETE", native + "/users/" + id + "/links/" + id, nil, 403},
		{"POST", native + "/providers", members{"kind": "oidc", "name": "Evil"}, 403},
		{"PATCH", native + "/providers/" + id, members{"name": "Evil"}, 403},
		{"DELETE", native + "/providers/" + id, nil, 403},
		{"POST", native + "/providers/" + id + "/enable", nil, 403},
		{"POST", "/login/enrol/app", url.Values{}, 303},
		{"POST", "/login/enrol/app", url.Values{"conversation": {"x"}, "code": {"000000"}}, 303},
		{"POST", "/login/enrol/key", url.Values{"name": {"Blue"}}, 303},
	} {
		r := dana.call(t, call.method, call.path, call.body)
		if r.Status != call.status && (call.status != 0 || r.Status < 400) || r.Status == http.StatusSeeOther && r.Header.Get("Location") != "/login/confirm" {
			t.Errorf("%s %s by a stale session: %v, %v", call.method, call.path, r, r.Header.Get("Location"))
		}
	}
	if after := fmt.Sprint(factors(), g.Count(t, "SELECT count(*) FROM users")); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
	unlockName(t, g, "dana")
	dana.must(t, http.StatusNoContent, "POST", tsv+"/elevate-permissions/totp", members{"totpCode": code(t, his.secret, 0)})
	fresh := dana.must(t, http.StatusOK, "POST", tsv+"/totp/recovery-code/rotate", nil).text(t, "recoveryCode")
	if fresh == his.recovery {
		t.Error("the recovery key stays")
	}
	g.AwaitAudited(t, "factor.codes", "done", "")
	hushed(t, g, danaPassword, his.secret, his.recovery, fresh)
}

// Rule W12: cookies need TLS, whichever door sets them.
//
// What was broken elsewhere: one door of many set a cookie without the flags of the others.
// How it is attacked: a tour of everything that sets or takes away a cookie, under each kind of public URL.
// What must happen: each Set-Cookie has the one form of its kind; over plain http there is none at all.
func TestAttack_W12_cookies_of_all_doors(t *testing.T) {
	t.Parallel()
	for kind, c := range map[string]struct{ url, prefix, flags string }{
		"https":      {"https://gate.example.test", "__Host-", "; Secure"},
		"loopback":   {"http://localhost:8080", "", ""},
		"plain http": {"http://gate.example.test", "", ""},
	} {
		t.Run(kind, func(t *testing.T) {
			g := gate.Start(t, gate.Options{Settings: quick("public_url", c.url)})
			people(t, g, "dana")
			number := acme(t, g)
			v := visit(g)
			form := url.Values{"username": {"dana"}, "password": {danaPassword}}
			tour := []struct {
				method, path string
				body         any
				sets         bool
			}{
				{"POST", "/login", form, true},
				{"POST", tsv + "/authenticate", members{"username": "dana", "password": danaPassword}, true},
				{"POST", sys + "/session/auth", members{"token_type": "Cookie", "method": "password", "email": "dana@example.test", "password": danaPassword}, true},
				{"POST", tsv + "/elevate-permissions/password", members{"password": danaPassword}, true},
				{"POST", sys + "/session/config_2fa/auth", members{"password": danaPassword}, true},
				{"POST", "/login/confirm", url.Values{"password": {danaPassword}}, true},
				{"POST", native + "/session/elevate", members{"password": danaPassword}, true},
				{"GET", native + "/session", nil, false},
				{"POST", sys + "/session/terminate", nil, true},
				{"POST", "/login", form, true},
				{"POST", "/login/out", url.Values{}, true},
				{"POST", "/logout", nil, true},
				{"GET", "/login/sso/" + number, nil, true},
				{"GET", "/login", nil, false},
				{"GET", "/", nil, false},
				{"GET", "/saml/metadata.xml", nil, false},
				{"GET", tsv + "/authenticate/captcha", nil, false},
				{"POST", sys + "/session/auth/discover", members{"user_email": "dana@example.test"}, false},
			}
			seen := 0
			for _, one := range tour {
				r := v.call(t, one.method, one.path, one.body)
				lines := r.Header.Values("Set-Cookie")
				if one.sets && kind != "plain http" && len(lines) == 0 || len(lines) > 0 && (kind == "plain http" || !one.sets) {
					t.Errorf("%s %s: %v, cookies %q", one.method, one.path, r, lines)
				}
				for _, line := range lines {
					seen++
					name, rest, _ := strings.Cut(line, "=")
					_, attributes, _ := strings.Cut(rest, ";")
					attributes = strings.Replace(attributes, "; Max-Age=0", "", 1)
					if plain, ok := strings.CutPrefix(name, c.prefix); !ok || plain != "gatehouse" && plain != "gatehouse-login" || attributes != " Path=/"+c.flags+"; HttpOnly; SameSite=Lax" {
						t.Errorf("%s %s: %s", one.method, one.path, strings.Replace(line, rest, "...; "+attributes, 1))
					}
				}
			}
			if kind != "plain http" && seen < 10 {
				t.Errorf("only %d cookies seen", seen)
			}
			if kind == "plain http" && g.Count(t, "SELECT count(*) FROM sessions") != 0 {
				t.Error("a session was begun for which there can be no cookie")
			}
			if kind != "plain http" {
				g.AwaitAudited(t, "session.start", "done", "")
			}
			hushed(t, g, danaPassword, clientSecret)
		})
	}
}

// Rule W6: each door lists what it accepts, and everything else gets its plain 401.
//
// What was broken elsewhere: a credential that one header refused was taken from another, or at another door.
// How it is attacked: one living token of a person, a password and an API key, each in every way that callers know, at each
// door that it does not open so.
// What must happen: the door's own 401, the same as for nothing at all.
func TestAttack_W6_other_ways_to_present_a_session(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: quick()})
	people(t, g, "dana")
	program, _ := withToken(t, g, "dana")
	token, browser := program.bearer, signedIn(t, g, "dana")
	accepted := func(door string, header map[string]string, cookies map[string]string) int {
		c := visit(g)
		maps.Copy(c.header, header)
		maps.Copy(c.cookies, cookies)
		return c.call(t, "GET", door, nil).Status
	}
	plain := map[string]string{}
	for _, door := range []string{sys + "/accounts", tsv + "/status", native + "/session"} {
		for way, header := range map[string]map[string]string{"bearer": {"Authorization": "Bearer " + token}, "spaced": {"Authorization": "bearer   " + token}} {
			if status := accepted(door, header, nil); status != 200 {
				t.Errorf("%s by %s: %d", door, way, status)
			}
		}
		if status := accepted(door, nil, browser.cookies); status != 200 {
			t.Errorf("%s by cookie: %d", door, status)
		}
		plain[door] = string(visit(g).must(t, http.StatusUnauthorized, "GET", door, nil).Body)
	}
	plain["/api/v1/auth/info/"] = string(visit(g).must(t, http.StatusUnauthorized, "GET", "/api/v1/auth/info/", nil).Body)
	ways := map[string]map[string]string{
		"token": {"Authorization": "Token " + token}, "bare": {"Authorization": token}, "basic": {"Authorization": "Basic " + basic("dana", token)},
		"basic name": {"Authorization": "Basic " + basic(token, "")}, "x-auth-token": {"X-Auth-Token": token}, "x-api-key": {"X-Api-Key": token},
		"proxy": {"Proxy-Authorization": "Bearer " + token}, "original": {"X-Original-Authorization": "Bearer " + token}, "longer": {"Authorization": "Bearer " + token + "A"},
		"cut": {"Authorization": "Bearer " + token[:len(token)-1]}, "listed": {"Authorization": "Bearer " + token + ", Bearer " + token},
		"an API key": {"Authorization": "Bearer " + g.APIKey}, "an API key by basic": {"Authorization": "Basic " + basic(g.APIKey, "")}, "case": {"Authorization": "Bearer " + strings.ToUpper(token)},
	}
	for _, door := range slices.Sorted(maps.Keys(plain)) {
		nobody := visit(g)
		nobody.bearer = strings.Repeat("A", len(token))
		wrong := string(nobody.must(t, http.StatusUnauthorized, "GET", door, nil).Body) // our own wire tells nothing and what is over apart
		for way, header := range ways {
			c := visit(g)
			maps.Copy(c.header, header)
			query := "?access_token=" + token + "&token=" + token + "&session=" + token
			if r := c.call(t, "GET", door+query, nil); r.Status != http.StatusUnauthorized || string(r.Body) != plain[door] && string(r.Body) != wrong || strings.Contains(string(r.Body), token) {
				t.Errorf("%s by %s: %v", door, way, r)
			}
		}
		for way, cookies := range map[string]map[string]string{
			"other names": {"session": token, "__Host-gatehouse": token, "Gatehouse": token, "JSESSIONID": token, "gatehouse-login": token},
		} {
			c := visit(g)
			maps.Copy(c.cookies, cookies)
			if r := c.call(t, "GET", door, nil); r.Status != http.StatusUnauthorized || string(r.Body) != plain[door] {
				t.Errorf("%s by %s: %v", door, way, r)
			}
		}
	}
	// A header that is not good is not made up for by a cookie that is.
	browser.header["Authorization"] = "Bearer wrong"
	if open := openTo(t, browser); slices.ContainsFunc(open, func(door string) bool { return strings.HasPrefix(door, "/rest") || strings.HasPrefix(door, "/sys") }) {
		t.Errorf("with a wrong bearer and a good cookie %v are open", open)
	}
	g.AwaitAudited(t, "login.session", "refused", "")
	hushed(t, g, token, danaPassword)
}
