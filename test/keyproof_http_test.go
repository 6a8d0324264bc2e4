package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

const (
	verifyPath  = "/api/v1/ssh/verify/sessions/"
	collectPath = "/api/v1/ssh/collect/sessions/"
)

// curl calls the gate's API with the real curl and exactly these headers.
func curl(t testing.TB, g *gate.Gate, method, path, body string, headers ...string) gate.Answer {
	t.Helper()
	peers.Require(t, "curl")
	cmd := exec.Command("curl", "-sS", "-i", "--max-time", "30", "-X", method, g.URL+path)
	for _, h := range headers {
		cmd.Args = append(cmd.Args, "-H", h)
	}
	if body != "" {
		cmd.Args = append(cmd.Args, "-H", "Content-Type: application/json", "--data-binary", "@-")
	}
	r := gate.Run(t, cmd, body)
	answer, err := http.ReadResponse(bufio.NewReader(strings.NewReader(r.Stdout)), nil)
	if r.Exit != 0 || err != nil {
		t.Fatalf("curl %s %s: exit %d, %v\n%s", method, path, r.Exit, err, r.Stderr)
	}
	defer answer.Body.Close()
	_, text, _ := strings.Cut(r.Stdout, "\r\n\r\n")
	return gate.Answer{Status: answer.StatusCode, Header: answer.Header, Body: []byte(text)}
}

// curlWithKey is curl with the gate's API key.
func curlWithKey(t testing.TB, g *gate.Gate, method, path, body string) gate.Answer {
	t.Helper()
	return curl(t, g, method, path, body, "x-api-key: "+g.APIKey)
}

// problem is an answer of application/problem+json.
type problem struct {
	Status int
	Detail string
	Errors []struct {
		Message, Location string
		Value             json.RawMessage
	}
}

// refused checks that an answer is a problem of that status and returns it.
func refused(t testing.TB, a gate.Answer, status int) problem {
	t.Helper()
	var p problem
	a.JSON(t, &p)
	if a.Status != status || p.Status != status || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answer %d (%s), want %d: %s", a.Status, a.Header.Get("Content-Type"), status, a.Body)
	}
	return p
}

// faults are the locations and messages of a problem, in order.
func faults(p problem) []string {
	var list []string
	for _, e := range p.Errors {
		list = append(list, e.Location+": "+e.Message)
	}
	return list
}

// Line 11: limits of listings, and requests with faults.
func TestKeyproof_line11_limits_and_faults(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	key := gate.NewKeys(t, 1)[0]
	var ids []string
	for range 101 {
		ids = append(ids, verifySession(t, g, nil, key).ID)
	}
	slices.Reverse(ids) // newest first
	t.Run("limit", func(t *testing.T) {
		for query, want := range map[string]struct {
			items, limit, offset int
			more                 bool
		}{
			"":                    {100, 100, 0, true},
			"?limit=500":          {100, 100, 0, true},
			"?limit=500&offset=1": {100, 100, 1, false},
			"?limit=7&offset=99":  {2, 7, 99, false},
			"?limit=1&offset=500": {0, 1, 500, false},
		} {
			var page struct {
				Items                []struct{ ID string }
				Total, Offset, Limit int
				More                 bool `json:"has_more"`
			}
			a := curlWithKey(t, g, "GET", verifyPath+query, "")
			a.JSON(t, &page)
			if a.Status != 200 || len(page.Items) != want.items || page.Limit != want.limit || page.Offset != want.offset || page.Total != 101 || page.More != want.more {
				t.Errorf("%q: %d, %d items, limit %d, offset %d, total %d, more %v", query, a.Status, len(page.Items), page.Limit, page.Offset, page.Total, page.More)
			}
			for i, item := range page.Items {
				if item.ID != ids[want.offset+i] {
					t.Errorf("%q: item %d is %s, want %s", query, i, item.ID, ids[want.offset+i])
				}
			}
		}
		for _, query := range []string{"limit=0", "limit=-1", "offset=-1", "limit=x", "limit=99999999999999999999"} {
			name, _, _ := strings.Cut(query, "=")
			if p := refused(t, curlWithKey(t, g, "GET", verifyPath+"?"+query, ""), 422); len(p.Errors) != 1 || p.Errors[0].Location != "query."+name {
				t.Errorf("%s: %q", query, faults(p))
			}
		}
	})
	t.Run("faults", func(t *testing.T) {
		listed := `"keys":[{"public_key":"` + key.Public + `"}]`
		for body, want := range map[string][]string{
			`{` + listed + `,"colour":"red"}`: {"body.colour: unexpected property"},
			`{"Keys":[]}`:                     {"body: expected required property keys to be present", "body.Keys: unexpected property"},
			`{"max_attempts":0,"ssh_banner":{"a":1},"keys":[{"name":["x"],"public_key":"nonsense"}],"timeout":"soon"}`: {
				"body.keys[0].public_key: not a public key in OpenSSH, PEM or RFC 4716 form", "body.keys[0].name: expected string",
				"body.max_attempts: expected number >= 1", "body.ssh_banner: expected string", "body.timeout: expected integer",
			},
		} {
			p := refused(t, curlWithKey(t, g, "POST", verifyPath, body), 422)
			if p.Detail != "validation failed" || !slices.Equal(faults(p), want) {
				t.Errorf("%s:\n%q, want\n%q", body, faults(p), want)
			}
			for _, e := range p.Errors {
				if strings.HasPrefix(string(e.Value), "{") || strings.HasPrefix(string(e.Value), "[") {
					t.Errorf("%s: a value holds an object: %s", e.Location, e.Value)
				}
			}
		}
		if n := g.Count(t, `SELECT COUNT(*) FROM proof_sessions`); n != 101 {
			t.Errorf("%d sessions: a refused request wrote something", n)
		}
	})
}

// Line 12: null clears what may be null and nothing else changes; a plain boolean cannot be cleared.
func TestKeyproof_line12_null_clears(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	key := gate.NewKeys(t, 1)[0]
	s := verifySession(t, g, object{
		"external_id": "order 7", "ssh_message": "hello", "ssh_banner": "welcome", "must_confirm": true, "max_attempts": 4, "multi_key": true, "timeout": 3600,
	}, key)
	path := verifyPath + s.ID + "/"
	before, after := map[string]any{}, map[string]any{}
	curlWithKey(t, g, "GET", path, "").JSON(t, &before)
	if a := curlWithKey(t, g, "PUT", path, `{"ssh_message":null}`); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	curlWithKey(t, g, "GET", path, "").JSON(t, &after)
	if before["ssh_message"] != "hello" {
		t.Errorf("the message was %v", before["ssh_message"])
	}
	for name, was := range before {
		want := fmt.Sprint(was)
		switch name {
		case "ssh_message":
			want = "<nil>"
		case "updated_at":
			continue
		}
		if got := fmt.Sprint(after[name]); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	p := refused(t, curlWithKey(t, g, "PUT", path, `{"must_confirm":null}`), 422)
	if got := faults(p); !slices.Equal(got, []string{"body.must_confirm: expected boolean"}) {
		t.Errorf("%q", got)
	}
	if is := g.Session(t, "verify", s.ID); is.Status != "pending" {
		t.Errorf("status %s", is.Status)
	}
}

// drain calls the API until it answers 429, and returns how many calls passed and the refusal.
func drain(t testing.TB, g *gate.Gate) (passed int, last gate.Answer) {
	t.Helper()
	for {
		last = g.API(t, "GET", "/api/v1/auth/info/", nil)
		switch last.Status {
		case http.StatusOK:
			passed++
		case http.StatusTooManyRequests:
			return passed, last
		default:
			t.Fatalf("call %d: %d %s", passed+1, last.Status, last.Body)
		}
	}
}

const grows = time.Hour / 500 // the time in which one more call is allowed

// budget is 500 calls and what has grown since.
func budget(since time.Time) int { return 500 + int(time.Since(since)/grows) }

// Line 13: the 501st call of an hour is refused with Retry-After, and one passes when that is over,
// however many were refused between.
func TestKeyproof_line13_rate_limit(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: map[string]string{"sshverify.rate_per_hour": "500"}})
	began := time.Now()
	passed, refusal := drain(t, g)
	if most := budget(began); passed < 500 || passed > most {
		t.Errorf("%d calls passed, want 500 to %d", passed, most)
	}
	p := refused(t, refusal, 429)
	if p.Detail != "Rate limit exceeded" || refusal.Header.Get("RateLimit-Limit") != "500" || refusal.Header.Get("RateLimit-Remaining") != "0" {
		t.Errorf("%+v %v", p, refusal.Header)
	}
	wait, err := strconv.Atoi(refusal.Header.Get("Retry-After"))
	if err != nil || wait < 1 || wait > 8 {
		t.Fatalf("Retry-After %q, want 1 to 8 seconds", refusal.Header.Get("Retry-After"))
	}
	over := time.Now().Add(time.Duration(wait) * time.Second)
	for range 50 { // refusals cost nothing
		if a := g.API(t, "GET", "/api/v1/auth/info/", nil); a.Status != http.StatusTooManyRequests && time.Now().Before(over.Add(-time.Second)) {
			t.Fatalf("%d with %v of %d s to wait", a.Status, time.Until(over), wait)
		}
	}
	<-time.After(time.Until(over)) // what is waited for is time itself
	if a := g.API(t, "GET", "/api/v1/auth/info/", nil); a.Status != http.StatusOK {
		t.Errorf("after Retry-After: %d %s", a.Status, a.Body)
	}
	if more, _ := drain(t, g); passed+1+more > budget(began) {
		t.Errorf("%d calls passed in %v", passed+1+more, time.Since(began))
	}
}

// Line 13: two nodes together let through what one would.
func TestKeyproof_line13_rate_limit_of_two_nodes(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{
		Database: peers.Postgres(t).Database(t), Settings: map[string]string{"sshverify.rate_per_hour": "500"},
	})
	nodes := []*gate.Gate{g, g.Second(t)}
	began := time.Now()
	var passed [2]int
	var both sync.WaitGroup
	for i, node := range nodes {
		both.Go(func() { passed[i], _ = drain(t, node) })
	}
	both.Wait()
	if sum, most := passed[0]+passed[1], budget(began); sum < 500 || sum > most {
		t.Errorf("%d and %d calls passed, want 500 to %d", passed[0], passed[1], most)
	}
	if passed[0] == 0 || passed[1] == 0 {
		t.Errorf("one node took all: %v", passed)
	}
}

// Line 15, rule W1: whoever knows an id of another project's session gets 404 at every endpoint, as for an
// id that does not exist, and changes nothing.
func TestKeyproof_line15_ids_of_another_project(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	g.AddProject(t, "OTHER")
	stranger := g.AddKey(t, "OTHER", "stranger")
	key := gate.NewKeys(t, 1)[0]
	for kind, body := range map[string]object{
		"verify":  {"keys": listed(key), "multi_connection": true, "webhooks": hook},
		"collect": {"multi_connection": true, "webhooks": hook},
	} {
		t.Run(kind, func(t *testing.T) {
			s := g.Create(t, kind, body)
			base := "/api/v1/ssh/" + kind + "/sessions/"
			own, other := base+s.ID, map[string]string{"verify": collectPath, "collect": verifyPath}[kind]+s.ID
			before := string(g.API(t, "GET", own, nil).Body)
			unknown := base + "01a00000-0000-7000-8000-000000000000"
			one := "/webhooks/" + s.Webhooks[0].ID
			change := `{"url":"http://127.0.0.1:9/mine","retries":1,"initial_backoff":10,"backoff_multiplier":2}`
			for _, c := range []struct{ method, tail, body, detail string }{
				{"GET", "", "", "Session not found"},
				{"PATCH", "", `{"ssh_message":"mine"}`, "Session not found"},
				{"PUT", "", `{"ssh_message":"mine"}`, "Session not found"},
				{"POST", "/complete", "", "Session not found"},
				{"DELETE", "", "", "Session not found"},
				{"GET", "/webhooks", "", "Session not found"},
				{"POST", "/webhooks", change, "Session not found"},
				{"GET", one, "", "Session not found"},
				{"PUT", one, change, "Session not found"},
				{"PATCH", one, change, "Session not found"},
				{"DELETE", one, "", "Session not found"},
			} {
				for _, slash := range []string{"", "/"} {
					for name, a := range map[string]gate.Answer{
						"of another project": g.APIAs(t, stranger, c.method, own+c.tail+slash, bodyOf(c.body)),
						"unknown":            g.API(t, c.method, unknown+c.tail+slash, bodyOf(c.body)),
						"of another kind":    g.API(t, c.method, other+c.tail+slash, bodyOf(c.body)),
					} {
						if p := refused(t, a, 404); p.Detail != c.detail {
							t.Errorf("%s %s%s %s: %q", c.method, c.tail, slash, name, p.Detail)
						}
					}
				}
			}
			var page struct{ Total int }
			g.APIAs(t, stranger, "GET", base, nil).JSON(t, &page)
			if page.Total != 0 {
				t.Errorf("the stranger's list has %d sessions", page.Total)
			}
			if after := string(g.API(t, "GET", own, nil).Body); after != before {
				t.Errorf("the session was changed:\n%s\n%s", before, after)
			}
		})
	}
}

// bodyOf is a body of JSON text, or none.
func bodyOf(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// Line 17: with strict_status an expired session reads failed in every place, and the filter expired is
// unknown. A collect session has no failed.
func TestKeyproof_line17_strict_status(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	g.Must(t, "project", "set", "E2E", "--strict-status", "on")
	gate.Eventually(t, func() error { // the server hears of it soon
		if a := g.API(t, "GET", verifyPath+"?status=expired", nil); a.Status != 422 {
			return fmt.Errorf("the filter expired: %d", a.Status)
		}
		return nil
	})
	receiver := gate.Receive(t, "", nil)
	s := verifySession(t, g, object{
		"timeout": 1, "multi_connection": true, "webhooks": []object{{"url": receiver.URL, "events": []string{"status_changed"}}},
	}, gate.NewKeys(t, 1)[0])
	gate.Eventually(t, func() error {
		if got := receiver.Got(); len(got) != 1 || !strings.Contains(string(got[0].Payload), `"verify_session_status":"failed"`) {
			return fmt.Errorf("%d requests came: %+v", len(got), got)
		}
		return nil
	})
	if is := g.Session(t, "verify", s.ID); is.Status != "failed" {
		t.Errorf("get reads %s", is.Status)
	}
	for query, want := range map[string]int{"": 1, "?status=failed": 1, "?status=pending": 0, "?status=verified": 0} {
		var page struct {
			Items []gate.Session
			Total int
		}
		g.API(t, "GET", verifyPath+query, nil).JSON(t, &page)
		if page.Total != want || len(page.Items) != want || want == 1 && page.Items[0].Status != "failed" {
			t.Errorf("list %q: %+v", query, page)
		}
	}
	if p := refused(t, g.API(t, "POST", verifyPath+s.ID+"/complete/", nil), 409); p.Detail != "The session is already failed" {
		t.Errorf("complete: %q", p.Detail)
	}
	collect := g.Create(t, "collect", object{"timeout": 1})
	gate.Eventually(t, func() error {
		if is := g.Session(t, "collect", collect.ID); is.Status != "expired" {
			return fmt.Errorf("the collect session is %s", is.Status)
		}
		return nil
	})
}

// Line 19, rule W6: nothing but a key of the project opens this door, and every refusal is one same 401.
func TestKeyproof_line19_what_opens_the_door(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	last := "0"
	if strings.HasSuffix(g.APIKey, "0") {
		last = "1"
	}
	wrongSum := g.APIKey[:len(g.APIKey)-1] + last
	unknown := g.APIKey // well-formed, and nobody's: made by another installation
	if other := gate.Start(t, gate.Options{}); other.APIKey != "" {
		unknown = other.APIKey
	}
	const path = "/api/v1/auth/info/"
	if a := curl(t, g, "GET", path, "", "X-API-Key: "+g.APIKey); a.Status != 200 {
		t.Fatalf("the key itself: %d", a.Status)
	}
	want := ""
	for name, header := range map[string]string{
		"nothing":   "Accept: */*",
		"wrong sum": "x-api-key: " + wrongSum,
		"unknown":   "x-api-key: " + unknown,
		"cookie":    "Cookie: session=" + g.APIKey + "; x-api-key=" + g.APIKey,
		"bearer":    "Authorization: Bearer " + g.APIKey,
		"basic":     "Authorization: Basic " + g.APIKey,
		"api key":   "Authorization: ApiKey " + g.APIKey,
		"proxy":     "X-Forwarded-Api-Key: " + g.APIKey,
	} {
		a := curl(t, g, "GET", path, "", header)
		p := refused(t, a, 401)
		if p.Detail != "Missing, unknown or expired API key" || a.Header.Get("Www-Authenticate") != "ApiKey" {
			t.Errorf("%s: %q, %v", name, p.Detail, a.Header)
		}
		if want == "" {
			want = string(a.Body)
		}
		if string(a.Body) != want {
			t.Errorf("%s: another body than the others: %s", name, a.Body)
		}
	}
	if a := curl(t, g, "GET", path+"?x-api-key="+g.APIKey, ""); a.Status != 401 {
		t.Errorf("the key in the address: %d", a.Status)
	}
}
