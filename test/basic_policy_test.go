package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// byBasic asks for a path with a name and a password, from an address that has not failed before.
func byBasic(t *testing.T, g *gate.Gate, path, name, password string) reply {
	t.Helper()
	c := visit(g)
	c.header["Authorization"] = basicAuth(name, password)
	method := "GET"
	if path == auth {
		method = "POST"
	}
	return c.call(t, method, path, nil)
}

// An administrator shuts Basic to people by REST, while both nodes run: below which paths and for whom it stays open is a matter of patterns, what is shut
// looks at no password, and programs notice nothing. That the policy holds below /rest alone unless it is told otherwise is shown by TestFortanix.
func TestBasic_is_shut_by_REST(t *testing.T) {
	t.Parallel()
	a := gate.Start(t, gate.Options{Database: peers.Postgres(t).Database(t), Settings: quick("basicauth.scope", "all")})
	p := pair{a, a.Second(t)}
	people(t, p.a, "dana", "dan", "erin")
	admin := administrator(t, p.a)
	id, secret := vault{p.a, "", stays}.program(t, "build-agent")
	const status, warning = tsv + "/status", "Basic authentication may be disabled on this instance."
	set := func(t *testing.T, body members) {
		t.Helper()
		admin.must(t, http.StatusNoContent, "PUT", basicauth, body)
	}
	hashes := func() float64 {
		return p.a.Metrics(t)["gatehouse_hash_queue_seconds_count"] + p.b.Metrics(t)["gatehouse_hash_queue_seconds_count"]
	}
	// soon asks both nodes until they answer so: the other hears of a change by a notice.
	soon := func(t *testing.T, path, name string, want int) {
		t.Helper()
		for _, g := range []*gate.Gate{p.a, p.b} {
			gate.Eventually(t, func() error {
				if r := byBasic(t, g, path, name, danaPassword); r.Status != want {
					return fmt.Errorf("%s by %s: %v, want %d", path, name, r, want)
				}
				return nil
			})
		}
	}

	t.Run("first they are warned, right or wrong", func(t *testing.T) {
		set(t, members{"show-warning-message": true})
		for password, want := range map[string]int{danaPassword: http.StatusOK, "wrong": http.StatusUnauthorized} {
			if r := byBasic(t, p.a, status, "dana", password); r.Status != want || r.Header.Get("X-Gatehouse-Warning") != warning {
				t.Errorf("%v %v", r, r.Header)
			}
		}
		if r := visit(p.a).call(t, "GET", status, nil); r.Header.Get("X-Gatehouse-Warning") != "" {
			t.Error("somebody is warned who sent no password")
		}
		if log := p.a.Log(t); !strings.Contains(log, "password by HTTP Basic") || strings.Contains(log, basic("dana", danaPassword)) {
			t.Error("the log does not tell of it, or too much")
		}
	})
	t.Run("then it is shut, before a password is looked at", func(t *testing.T) {
		set(t, members{"block-requests": true})
		soon(t, status, "dana", http.StatusForbidden)
		before := hashes()
		for name, password := range map[string]string{"dana": danaPassword, "erin": "wrong", "nobody": danaPassword, "admin": phrase} {
			for _, g := range []*gate.Gate{p.a, p.b} {
				r := byBasic(t, g, status, name, password)
				if r.Status != http.StatusForbidden || string(r.Body) != `{"message":"Basic Authentication has been disabled on this instance."}`+"\n" || r.Header.Get("X-Ausername") != "" {
					t.Errorf("%s: %v %v", name, r, r.Header)
				}
				if r := byBasic(t, g, auth, name+"@example.test", password); r.Status != http.StatusForbidden {
					t.Errorf("%s, fortanix: %v", name, r)
				}
			}
		}
		if n := hashes() - before; n != 0 {
			t.Errorf("%v passwords were hashed", n)
		}
		p.a.AwaitAudited(t, "login.password", "refused", "passwords by Basic are blocked")
	})
	t.Run("but for a path that fits a pattern", func(t *testing.T) {
		set(t, members{"allowed-paths": []string{"/rest/tsv/*/status"}})
		soon(t, status, "dana", http.StatusOK)
		soon(t, "/rest//tsv/1.0/status/?x=1", "dana", http.StatusOK)
		before := hashes()
		for _, path := range []string{
			"/rest/tsv/latest/sso-management-status", basicauth, basicauth + "?/rest/tsv/latest/status", "/REST/tsv/latest/status", auth,
			"/rest/tsv/latest/status/../../../basicauth/latest/config", "/rest/tsv/latest/status/%2e%2e/%2e%2e/%2e%2e/basicauth/latest/config", "/rest/tsv/..%2fbasicauth/latest/config/status",
			"/rest/tsv/latest/status;/../../../basicauth/latest/config", "/rest/basicauth/latest/config/rest/tsv/latest/status",
		} {
			if r := byBasic(t, p.a, path, "admin", phrase); r.Status < 300 || r.Header.Get("X-Ausername") != "" {
				t.Errorf("%s: %v", path, r)
			}
		}
		if n := hashes() - before; n != 0 {
			t.Errorf("%v passwords were hashed", n)
		}
		set(t, members{"allowed-paths": []string{"/sys/v1/session/*"}})
		soon(t, auth, "dana@example.test", http.StatusOK)
		soon(t, status, "dana", http.StatusForbidden)
	})
	t.Run("but for a user who fits a pattern", func(t *testing.T) {
		set(t, members{"allowed-paths": []string{}, "allowed-users": []string{"DAN*"}})
		soon(t, status, "dana", http.StatusOK)
		soon(t, auth, "dana@example.test", http.StatusForbidden) // addresses are not meant
		set(t, members{"allowed-users": []string{"DAN*", "DAN*@*"}})
		soon(t, status, "dana", http.StatusOK)
		soon(t, status, "dan", http.StatusOK)
		soon(t, auth, "dana@example.test", http.StatusOK)
		soon(t, status, "erin", http.StatusForbidden)
		set(t, members{"allowed-users": []string{"dan"}})
		soon(t, status, "dana", http.StatusForbidden) // the whole name must fit
		soon(t, status, "DAN", http.StatusOK)
	})
	t.Run("programs, sessions and forms notice nothing", func(t *testing.T) {
		set(t, members{"allowed-users": []string{}})
		soon(t, status, "dan", http.StatusForbidden)
		for _, g := range []*gate.Gate{p.a, p.b} {
			if r := byBasic(t, g, auth, id, secret); r.Status != http.StatusOK || r.Header.Get("X-Gatehouse-Warning") != "" {
				t.Errorf("a program: %v %v", r, r.Header)
			}
			if a := g.API(t, "GET", "/api/v1/auth/info", nil); a.Status != http.StatusOK {
				t.Errorf("an API key: %d %s", a.Status, a.Body)
			}
			v := g.Visitor(t)
			if enterByForm(t, v, "erin", danaPassword, ""); who(v) != "erin" {
				t.Error("erin does not come in by the form")
			}
			signedIn(t, g, "erin")
		}
		admin.must(t, http.StatusOK, "GET", basicauth, nil)
		set(t, members{"block-requests": false, "show-warning-message": false})
		soon(t, status, "dana", http.StatusOK)
	})
	hushed(t, p.a, danaPassword, phrase, secret)
}
