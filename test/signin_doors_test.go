package test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// openDoors lists the doors that the visitor's session opens: pages take cookies alone, the dialects bearers too.
func openDoors(v *gate.Visitor) []string {
	var open []string
	for door, path := range map[string]string{"tsv": tsv + "/status", "fortanix": sys + "/accounts"} {
		if v.Get(path).Status == http.StatusOK {
			open = append(open, door)
		}
	}
	if v.Bearer == "" && who(v) != "" {
		open = append(open, "pages")
	}
	slices.Sort(open)
	return open
}

// wantOpen checks that the visitor's session opens every door.
func wantOpen(t *testing.T, v *gate.Visitor) {
	t.Helper()
	all := []string{"fortanix", "pages", "tsv"}
	if v.Bearer != "" {
		all = []string{"fortanix", "tsv"}
	}
	if open := openDoors(v); !slices.Equal(open, all) {
		t.Fatalf("%s: open are %v, want %v", v.Address, open, all)
	}
}

// wantShut checks that no door opens to a request that comes that long after the session ended, and that it stays so. A request on the way at
// that moment may get through.
func wantShut(t *testing.T, ended time.Time, within time.Duration, all ...*gate.Visitor) {
	t.Helper()
	for _, v := range all {
		for quiet := 0; quiet < 3; {
			asked := time.Now()
			open := openDoors(v)
			if len(open) == 0 {
				quiet++
				continue
			}
			if quiet > 0 {
				t.Fatalf("%s: %v opened again", v.Address, open)
			}
			if late := tookUntil(ended, asked); late > within {
				t.Fatalf("%s: %v open %v after the end", v.Address, open, late)
			}
			time.Sleep(20 * time.Millisecond) // the time between two looks
		}
	}
}

// enterByForm signs in on the page; with is the number of a directory, or "".
func enterByForm(t *testing.T, v *gate.Visitor, name, password, with string) gate.Answer {
	t.Helper()
	return v.Post("/login", url.Values{"username": {name}, "password": {password}, "with": {with}})
}

// bearer signs somebody in as a program and returns a visitor that comes with the token.
func bearer(t *testing.T, v *gate.Visitor, in map[string]any) *gate.Visitor {
	t.Helper()
	var signed struct {
		Token string `json:"access_token"`
	}
	if v.JSON(sys+"/session/auth", in).JSON(t, &signed); signed.Token == "" {
		t.Fatal("no token")
	}
	v.Bearer = signed.Token
	return v
}

func byPassword(name string) map[string]any {
	return map[string]any{"method": "password", "email": name + "@example.test", "password": danaPassword}
}

// A session that ends on one node is over there at once, and on the other within two seconds, at every door (rules F12 and S14). Both know
// the session well when it ends.
func TestSessions_end_at_every_door_of_every_node(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	const here, there = 0, 2 * time.Second
	for what, c := range map[string]struct {
		name   string
		end    func(t *testing.T, v, program *gate.Visitor, name string)
		onA    time.Duration // a command is a process of its own
		cookie bool          // ends the session of the browser
		token  bool          // ends that of the program
		shut   bool          // nor can the user sign in again
	}{
		"signing out on the page": {"anna", func(t *testing.T, v, _ *gate.Visitor, _ string) { v.Post("/login/out", nil) }, here, true, false, false},
		"logging out":             {"bert", func(t *testing.T, v, _ *gate.Visitor, _ string) { v.Post("/logout", nil) }, here, true, false, false},
		"terminating by cookie":   {"carl", func(t *testing.T, v, _ *gate.Visitor, _ string) { v.JSON(sys+"/session/terminate", nil) }, here, true, false, false},
		"terminating by bearer":   {"dave", func(t *testing.T, _, program *gate.Visitor, _ string) { program.JSON(sys+"/session/terminate", nil) }, here, false, true, false},
		"an operator's end":       {"emma", func(t *testing.T, _, _ *gate.Visitor, name string) { p.a.Must(t, "session", "end", "--user", name) }, there, true, true, false},
		"disabling the user":      {"fred", func(t *testing.T, _, _ *gate.Visitor, name string) { p.a.Must(t, "user", "disable", name) }, there, true, true, true},
	} {
		t.Run(what, func(t *testing.T) {
			name := c.name
			addPeople(t, p.a, name)
			v := p.a.Visitor(t)
			enterByForm(t, v, name, danaPassword, "")
			program := bearer(t, p.a.Visitor(t), byPassword(name))
			vb, programB := v.At(p.b), program.At(p.b)
			before, programBefore := v.At(p.a), program.At(p.a) // with what they hold now
			for _, one := range []*gate.Visitor{v, program, vb, programB} {
				wantOpen(t, one)
			}
			c.end(t, v, program, name)
			ended := time.Now()
			if c.cookie {
				wantShut(t, ended, c.onA, before)
				wantShut(t, ended, there, vb)
			} else {
				wantOpen(t, vb)
			}
			if c.token {
				wantShut(t, ended, c.onA, programBefore)
				wantShut(t, ended, there, programB)
			} else {
				wantOpen(t, programB)
			}
			again := p.b.Visitor(t)
			enterByForm(t, again, name, danaPassword, "")
			if in := who(again) != ""; in == c.shut {
				t.Errorf("signed in anew: %v", in)
			}
			if c.shut {
				if a := p.b.Visitor(t).JSON(sys+"/session/auth", byPassword(name)); a.Status != http.StatusUnauthorized {
					t.Errorf("fortanix: %d %s", a.Status, a.Body)
				}
				if a := p.b.Visitor(t).JSON(tsv+"/authenticate", map[string]any{"username": name, "password": danaPassword}); a.Status != http.StatusUnauthorized {
					t.Errorf("tsv: %d %s", a.Status, a.Body)
				}
				p.a.AwaitAudited(t, "login.password", "refused", "disabled")
				p.a.AwaitAudited(t, "user.update", "done", "")
			}
		})
	}
}

// What a provider vouched for ends when the provider is taken away, on every node.
func TestSessions_end_with_their_provider(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	there := peers.OIDC(t, peers.OIDCOptions{Clients: clients("acme"), Redirects: []string{pairURL + "/oauth"}})
	number := addOIDC(t, p.a, there, "Acme", "acme", "--provision")
	v := p.a.Visitor(t)
	v.Get(landed(t, v.Get(arrive(t, v, there, number, "anna"))))
	w := discover(t, p.b.Visitor(t), "Acme")
	program := bearer(t, p.b.Visitor(t), w.code(t, there, "anna"))
	addPeople(t, p.a, "dana")
	own := p.b.Visitor(t)
	enterByForm(t, own, "dana", danaPassword, "")
	vb := v.At(p.b)
	for _, one := range []*gate.Visitor{v, vb, program, own} {
		wantOpen(t, one)
	}
	back := v.At(p.a)
	path := arrive(t, back, there, number, "anna") // a sign-in that is under way
	p.a.Must(t, "idp", "disable", "Acme")
	wantShut(t, time.Now(), 2*time.Second, v, vb, program)
	wantOpen(t, own)
	late := p.a.Visitor(t)
	late.Cookies[preLoginCookie] = back.Cookies[preLoginCookie]
	wantRefused(t, p.a, late, late.Get(path), http.StatusForbidden, "login.oidc", "no such sign-in")
}
