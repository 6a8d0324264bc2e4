package test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/gate"
)

// auditList is what `gatehouse audit list` says: the sealed events, oldest first.
func auditList(t testing.TB, g *gate.Gate) []gate.Audited {
	t.Helper()
	var events []gate.Audited
	if err := json.Unmarshal([]byte(g.Must(t, "audit", "list", "--limit", "10000", "--json")), &events); err != nil {
		t.Fatal(err)
	}
	return events
}

// about are the events about an object, oldest first.
func about(events []gate.Audited, id string) []gate.Audited {
	return slices.DeleteFunc(slices.Clone(events), func(e gate.Audited) bool { return e.Object.ID != id })
}

// Line 16: create, update, complete, delete and every attempt, with fingerprint and address.
func TestKeyproof_line16_audit_events(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	keys := gate.NewKeys(t, 2)
	proved := verifySession(t, g, object{"max_attempts": 2}, keys[0])
	expect(t, connect(t, g, proved, gate.With(keys[1])...), 1, noMatchLine(g, proved))
	expect(t, connect(t, g, proved, gate.With(keys[0])...), 0, verifiedLine(keys[0], 1))
	path := verifyPath + proved.ID + "/"
	refused(t, g.API(t, "PATCH", path, object{"ssh_message": "too late"}), 409)
	g.API(t, "DELETE", path, nil)

	collected := g.Create(t, "collect", object{"multi_connection": true})
	collectURL := collectPath + collected.ID + "/"
	g.API(t, "PATCH", collectURL, object{"ssh_message": "hello"})
	g.API(t, "POST", collectURL+"webhooks/", object{"url": "http://127.0.0.1:9/"})
	expect(t, connect(t, g, collected, gate.With(keys[1])...), 0, "hello", "Recorded "+keys[1].SHA256)
	g.API(t, "POST", collectURL+"complete/", nil)
	g.Stop(t)

	all := auditList(t, g)
	type brief struct{ action, outcome, reason, actor, name, address, door, fingerprints, status string }
	check := func(id string, want ...brief) {
		t.Helper()
		var got []brief
		for _, e := range about(all, id) {
			got = append(got, brief{e.Action, e.Outcome, e.Reason, e.Actor.Kind, e.Actor.Name, e.Address, e.Door, e.Detail["fingerprints"], e.Detail["status"]})
			if e.Project != g.Project || e.At.IsZero() {
				t.Errorf("%s: project %s at %v", e.Action, e.Project, e.At)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("events of %s:\n%+v, want\n%+v", id, got, want)
		}
	}
	here := brief{actor: "api_key", name: "test", address: "127.0.0.1", door: "sshverify", outcome: "done"}
	there := brief{actor: "nobody", address: "127.0.0.1", door: "sshd", outcome: "done"}
	with := func(b brief, change func(*brief)) brief { change(&b); return b }
	check(proved.ID,
		with(here, func(b *brief) { b.action = "keyproof.create" }),
		with(there, func(b *brief) { b.action, b.outcome, b.reason = "keyproof.attempt", "refused", "no_match" }),
		with(there, func(b *brief) { b.action, b.fingerprints, b.status = "keyproof.attempt", keys[0].SHA256, "verified" }),
		with(here, func(b *brief) { b.action = "keyproof.delete" }))
	check(collected.ID,
		with(here, func(b *brief) { b.action = "keyproof.create" }),
		with(here, func(b *brief) { b.action = "keyproof.update" }),
		with(here, func(b *brief) { b.action = "keyproof.webhook" }),
		with(there, func(b *brief) { b.action, b.fingerprints = "keyproof.attempt", keys[1].SHA256 }),
		with(here, func(b *brief) { b.action, b.status = "keyproof.complete", "completed" }))
	if r := g.Command(t, "", "audit", "verify"); r.Exit != 0 || !strings.Contains(r.Stdout, "the record is whole") {
		t.Errorf("verify: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
}

// Line 16: an event is written in the transaction of its change. The server is killed at full load: every
// session that exists has its event, every event its session, and every answer that was given both.
func TestKeyproof_line16_an_event_with_each_change(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	body, err := json.Marshal(object{"keys": listed(gate.NewKeys(t, 1)...)})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	created := []string{}
	enough := make(chan struct{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for id := create(g, body); id != ""; id = create(g, body) {
				mu.Lock()
				if created = append(created, id); len(created) == 200 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	g.Kill()
	all.Wait()
	g.Serve(t)
	sessions, events := []string{}, []string{}
	for _, row := range g.Rows(t, `SELECT id FROM proof_sessions ORDER BY id`) {
		sessions = append(sessions, row[0])
	}
	for _, e := range g.Audited(t, "keyproof.create") {
		events = append(events, e.Object.ID)
	}
	slices.Sort(events)
	if !slices.Equal(sessions, events) {
		t.Errorf("%d sessions and %d events of creation", len(sessions), len(events))
	}
	for _, id := range created {
		if _, found := slices.BinarySearch(sessions, id); !found {
			t.Errorf("session %s was answered and is lost", id)
		}
	}
	g.Stop(t)
	if r := g.Command(t, "", "audit", "verify"); r.Exit != 0 {
		t.Errorf("verify: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
}

// create creates a session and returns its id, or "" when the server has gone.
func create(g *gate.Gate, body []byte) string {
	request, err := http.NewRequest("POST", g.URL+verifyPath, bytes.NewReader(body))
	if err != nil {
		return ""
	}
	request.Header.Set("X-Api-Key", g.APIKey)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	var s gate.Session
	if json.NewDecoder(answer.Body).Decode(&s) != nil {
		return ""
	}
	return s.ID
}

// Line 16: a hundred bad keys from one address in a minute are one event and one counted event of each
// kind: refused, and turned away at the door.
func TestKeyproof_line16_a_flood_of_bad_keys(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	statuses := map[int]int{}
	for i := range 100 {
		bad := g.APIKey[:20] + strings.Repeat(string(rune('a'+i%26)), len(g.APIKey)-20)
		statuses[g.APIAs(t, bad, "GET", "/api/v1/auth/info/", nil).Status]++
	}
	if statuses[401]+statuses[429] != 100 || statuses[401] == 0 || statuses[429] == 0 {
		t.Errorf("answers %v", statuses)
	}
	if a := g.API(t, "GET", "/api/v1/auth/info/", nil); a.Status != 200 {
		t.Errorf("a good key from that address: %d", a.Status)
	}
	g.Stop(t) // stores what was counted
	sums, events := map[string]int{}, map[string][]int{}
	for _, e := range auditList(t, g) {
		if !strings.HasPrefix(e.Action, "login.") {
			continue
		}
		events[e.Action] = append(events[e.Action], e.Count)
		sums[e.Action] += max(1, e.Count)
		if e.Address != "127.0.0.1" || e.Outcome != "refused" || e.Door != "sshverify" || e.Reason == "" {
			t.Errorf("%+v", e)
		}
	}
	if sums["login.api_key"] != statuses[401] || sums["login.limited"] != statuses[429] || len(events) != 2 {
		t.Errorf("events stand for %v, answers were %v", sums, statuses)
	}
	for action, counts := range events {
		if len(counts) != 2 || counts[0] != 0 || counts[1] < 2 {
			t.Errorf("%s: counts %v, want one event and one counted", action, counts)
		}
	}
	for _, row := range g.Rows(t, `SELECT body FROM audit_events`) {
		if strings.Contains(row[0], g.APIKey[5:20]) {
			t.Errorf("an event holds a key: %s", row[0])
		}
	}
}
