package test

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// at is a browser like this one, whose requests reach another node.
func (c *caller) at(g *gate.Gate) *caller {
	other := *c
	other.g, other.cookies, other.header = g, maps.Clone(c.cookies), maps.Clone(c.header)
	return &other
}

// Two nodes on one PostgreSQL: a session on A is listed, watched, ended and played from B, what is withdrawn on B ends it on A within two seconds, a link is
// taken once, on whichever node, and what A carried when it was killed ends as lost.
func TestRemoteNodes(t *testing.T) {
	t.Parallel()
	public := fmt.Sprintf("http://localhost:%d", peers.Port(t)) // both nodes are behind one name
	tapes := "file://" + filepath.ToSlash(t.TempDir())
	settings := map[string]string{"public_url": public, "recording.url": tapes, "remote.beat_every": "500ms"}
	e := build(t, gate.Options{Database: peers.Postgres(t).Database(t), Settings: settings})
	b := e.Second(t)
	person(t, e.Gate, "erik", "--admin")
	erik := signedIn(t, b, "erik")
	onA := func(in members) (*tab, *socket) {
		t.Helper()
		p := e.open(t, in)
		w := p.terminal(t)
		w.answers(t, 41)
		return p, w
	}

	t.Run("listed, watched, ended and played", func(t *testing.T) {
		p, w := onA(nil)
		number := standing(t, b, p.id).Number
		tool := e.tool.at(b)
		if list := tool.must(t, http.StatusOK, "GET", "/api/session/remotesessions?active=1", nil); !strings.Contains(string(list.Body), `"id":"`+number+`"`) {
			t.Errorf("B does not list it: %s", list.Body)
		}
		if list := erik.must(t, http.StatusOK, "GET", "/api/v1/remote-sessions?active=true", nil); !strings.Contains(string(list.Body), p.id) {
			t.Errorf("B does not list it: %s", list.Body)
		}
		watching := lookOn(t, erik, number)
		watching.await(t, "what was printed before", func() bool { return strings.Contains(string(watching.traffic()), "42-here") })
		w.answers(t, 51)
		watching.await(t, "what is printed", func() bool { return strings.Contains(string(watching.traffic()), "52-here") })
		began := time.Now()
		erik.must(t, http.StatusOK, "POST", "/api/v1/remote-sessions/"+number+"/end", nil)
		if why := w.ends(t); why != "dropped" || took(began) > 2*time.Second {
			t.Errorf("ended for %q after %v", why, time.Since(began))
		}
		if why := watching.ends(t); why != "over" {
			t.Errorf("who looks on is told %q", why)
		}
		wantEnd(t, b, p.id, "dropped")
		keep(t, b, p.id)
		if text := b.Must(t, "recording", "export", p.id, "--format", "txt"); !strings.Contains(text, "52-here") {
			t.Errorf("%q", text)
		}
		wantEvent(t, b, "session.watched", "done", func(a gate.Audited) bool { return a.Actor.Name == "erik" && a.Object.ID == p.id })
	})
	t.Run("dropped by the tool", func(t *testing.T) {
		link := e.launch(t, nil)
		p := redeem(t, visit(e.Gate), link)
		w := p.terminal(t)
		w.answers(t, 41)
		began := time.Now()
		e.tool.at(b).must(t, http.StatusOK, "DELETE", "/api/session/drop/"+link.Token, nil)
		if why := w.ends(t); why != "dropped" || took(began) > 2*time.Second {
			t.Errorf("ended for %q after %v", why, time.Since(began))
		}
	})
	t.Run("a link, once", func(t *testing.T) {
		for round := range 10 {
			link := e.launch(t, nil)
			var calls []func() (reply, error)
			for i := range 8 {
				c := visit([]*gate.Gate{e.Gate, b}[i%2])
				calls = append(calls, func() (reply, error) { return c.try("GET", link.Path, nil) })
			}
			opened := 0
			for _, r := range atOnce(t, calls...) {
				if r.Status == http.StatusSeeOther {
					opened++
				} else if r.Status != http.StatusGone {
					t.Errorf("%v", r)
				}
			}
			if opened != 1 {
				t.Errorf("round %d: %d opened it", round, opened)
			}
		}
	})
	t.Run("redeemed here, carried there", func(t *testing.T) {
		p := e.open(t, nil)
		there := &tab{p.at(b), p.id}
		ticket := p.ticket(t) // of A
		w := there.terminalFrom(t, ticket, 0, false)
		w.answers(t, 41)
		if again := p.terminal(t); again.ends(t) != "elsewhere" {
			t.Errorf("A carries it too: %s", again.tail())
		}
		w.answers(t, 51)
		there.must(t, http.StatusNoContent, "POST", p.path("/end"), nil)
		w.ends(t)
	})
	t.Run("a user who is disabled on B", func(t *testing.T) {
		p, w := onA(nil)
		id := e.Rows(t, "SELECT user_id FROM remote_sessions WHERE id = $1", p.id)[0][0]
		began := time.Now()
		if r := erik.call(t, "POST", "/api/v1/users/"+id+"/disable", nil); r.Status/100 != 2 {
			t.Fatalf("%v", r)
		}
		if why := w.ends(t); why != "revoked" || took(began) > 2*time.Second {
			t.Errorf("ended for %q after %v", why, time.Since(began))
		}
		t.Logf("thrown out after %v", time.Since(began))
		wantEnd(t, b, p.id, "revoked")
		b.Must(t, "user", "enable", "dana")
	})
	t.Run("A is killed", func(t *testing.T) {
		p, w := onA(nil)
		b.Stop(t)
		settings["remote.lost_after"] = "3s" // nobody waits for it before
		b.Serve(t)
		e.Kill()
		w.ends(t)
		wantEnd(t, b, p.id, "node_lost")
		gate.Eventually(t, func() error {
			if n := b.Count(t, "SELECT count(*) FROM recordings WHERE session = $1 AND settled AND cut = 'node lost'", p.id); n != 1 {
				return fmt.Errorf("B does not sign what A brought")
			}
			return nil
		})
		e.Serve(t) // and brings the rest
		gate.Eventually(t, func() error {
			if r := b.Command(t, "", "recording", "export", p.id, "--format", "txt"); !strings.Contains(r.Stdout, "42-here") {
				return fmt.Errorf("what A had is not there: %+v", r)
			}
			return nil
		})
		if said := keep(t, b, p.id); !strings.Contains(said, "node lost") {
			t.Errorf("%s", said)
		}
	})
}
