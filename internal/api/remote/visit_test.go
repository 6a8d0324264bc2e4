package remote_test

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	remoteapi "github.com/gatehouse-project/gatehouse/internal/api/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// An id is no credential: every page and call of a session wants its cookie (rule W1).
func TestVisit_wants_the_cookie(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sessions.put(waiting())
	for _, call := range []string{"GET ", "POST /step-up", "POST /reason", "GET /events", "POST /ticket", "POST /end", "GET /terminal", "GET /files", "GET /files/content", "PUT /files/content"} {
		method, path, _ := strings.Cut(call, " ")
		for _, cookie := range []string{"", "gh_ws=" + token, "gh_ws=" + someID + ".other", "gh_ws=" + someID + "." + token + "; gh_ws=x.y", "gh_ws=01890000-0000-7000-8000-000000000002." + token, "gatehouse=dana"} {
			a := h.ask(t, method, "/ws/"+someID+path, "Cookie", cookie, "X-Gatehouse-Csrf", "1")
			if a.StatusCode != 404 {
				t.Errorf("%s with %q: %d", call, cookie, a.StatusCode)
			}
		}
	}
	h.sessions.moved = true
	if a := h.ask(t, "GET", "/ws/"+someID, mine()...); a.StatusCode != 403 || !strings.Contains(a.text, "another computer or network") {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
}

// What a session's page asks begins at that page: streams and files too (rule W1).
func TestVisit_wants_its_own_pages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sessions.put(waiting())
	for _, call := range []string{"POST /step-up", "POST /reason", "GET /events", "POST /ticket", "POST /end", "GET /files", "GET /files/content", "PUT /files/content"} {
		method, path, _ := strings.Cut(call, " ")
		for name, headers := range map[string][]string{
			"foreign": {"Origin", "https://evil.example"}, "null": {"Origin", "null"}, "unsaid": nil, "another site": {"Sec-Fetch-Site", "cross-site"},
			"vouched but foreign": {"Origin", "https://evil.example", "X-Gatehouse-Csrf", "1"},
		} {
			if a := h.ask(t, method, "/ws/"+someID+path, append(mine(), headers...)...); a.StatusCode != 403 {
				t.Errorf("%s, %s: %d", call, name, a.StatusCode)
			}
		}
	}
}

func TestSteps(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(o *remoteapi.Options) {
		o.Unbuilt = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("terminal")) }
	})
	h.sessions.put(waiting())
	h.sessions.due = []remote.Step{{Kind: remote.StepUpDue}, {Kind: remote.ReasonDue}, {Kind: remote.ApprovalWanted, Request: remote.Request{Number: 7, Reason: `<b>disk</b>`}}, {}}
	path := "/ws/" + someID
	see := func(want string) answer {
		t.Helper()
		a := h.ask(t, "GET", path, mine()...)
		if a.StatusCode != 200 || !strings.Contains(a.text, want) {
			t.Fatalf("want %q: %d %s", want, a.StatusCode, a.text)
		}
		return a
	}
	post := func(step string, form url.Values) answer {
		t.Helper()
		return h.send(t, "POST", path+step, form.Encode(), append(mine(), "Origin", h.URL, "Content-Type", "application/x-www-form-urlencoded")...)
	}
	// Browsers hide the origin of forms on pages that hide everything.
	if a := see("Confirm that it is you"); !strings.Contains(a.text, `<meta name="referrer" content="same-origin">`) || a.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Error("the page's forms do not say where they began")
	}
	if a := post("/step-up", url.Values{"code": {"000000"}}); a.StatusCode != 401 || !strings.Contains(a.text, "not right") {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	if a := h.send(t, "POST", path+"/step-up", `{"code":"123456"}`, append(mine(), "Origin", h.URL, "Content-Type", "application/json")...); a.StatusCode != 400 {
		t.Errorf("what is no form: %d", a.StatusCode)
	}
	if a := post("/step-up", url.Values{"code": {" 123456 "}}); a.StatusCode != 303 || a.Header.Get("Location") != path {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	see("Why do you need this session?")
	if a := post("/reason", url.Values{"reason": {"  "}}); a.StatusCode != 400 || !strings.Contains(a.text, "in a few words") {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	if a := post("/reason", url.Values{"reason": {"disk full"}}); a.StatusCode != 303 {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	if a := see("Waiting for approval"); !strings.Contains(a.text, "<dd>7</dd>") || !strings.Contains(a.text, "&lt;b&gt;disk") {
		t.Errorf("%s", a.text)
	}

	// The page goes on by itself.
	r, _ := http.NewRequestWithContext(t.Context(), "GET", h.URL+path+"/events", nil)
	r.Header.Set("Cookie", "gh_ws="+someID+"."+token)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	stream, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if got := stream.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("%q", got)
	}
	lines := bufio.NewScanner(stream.Body)
	lines.Scan() // it waits
	h.sessions.done()
	h.pages.Heard(someID)
	for lines.Scan() && lines.Text() != "event: change" {
	}
	if lines.Text() != "event: change" {
		t.Error("the page is not told")
	}
	see("terminal")
}

func TestSteps_refuse(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sessions.put(waiting())
	h.sessions.dueErr = remote.ErrNoFactor
	if a := h.ask(t, "GET", "/ws/"+someID, mine()...); a.StatusCode != 403 || !strings.Contains(a.text, `href="/login/enrol"`) {
		t.Errorf("without a second factor: %d %s", a.StatusCode, a.text)
	}
	h.sessions.dueErr, h.sessions.stepUp = nil, fault.New(fault.Limited, "slow down")
	a := h.send(t, "POST", "/ws/"+someID+"/step-up", "code=1", append(mine(), "Origin", h.URL, "Content-Type", "application/x-www-form-urlencoded")...)
	if a.StatusCode != 429 || !strings.Contains(a.text, "Too many wrong codes") {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
}

// The page at the end says why, whatever the reason is.
func TestEnd_says_why(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	seen := map[string]remote.Reason{}
	for _, why := range []remote.Reason{
		remote.Closed, remote.Idle, remote.Dropped, remote.Window, remote.Absolute, remote.Moved, remote.Revoked, remote.Failed, remote.Unrecorded,
		remote.NodeLost, remote.Refused, remote.Abandoned, remote.Drained,
	} {
		x := waiting()
		x.State, x.End, x.Ended = remote.Ended, why, time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
		h.sessions.put(x)
		a := h.ask(t, "GET", "/ws/"+someID, mine()...)
		_, after, _ := strings.Cut(a.text, "</h1>")
		text, _, _ := strings.Cut(after, "</p>")
		if before, twice := seen[text]; twice || a.StatusCode != 200 {
			t.Errorf("%s: %d, the text of %q: %s", why, a.StatusCode, before, text)
		}
		seen[text] = why
		if told := strings.Contains(a.text, "<dd>not &lt;today&gt;</dd>"); told != (why == remote.Refused) {
			t.Errorf("%s: the note of who denied is told: %v: %s", why, told, a.text)
		}
		if a := h.ask(t, "POST", "/ws/"+someID+"/ticket", own()...); a.StatusCode != 410 || !strings.Contains(a.text, `"code":"`+string(why)+`"`) {
			t.Errorf("%s: %d %s", why, a.StatusCode, a.text)
		}
	}
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sessions.put(waiting())
	s, _ := h.attach(t, 0)
	if a := h.ask(t, "POST", "/ws/"+someID+"/end", own()...); a.StatusCode != 204 {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	if m := s.hear("end"); m.Reason != "closed" {
		t.Errorf("%+v", m)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.engine.root = t.TempDir()
	x := waiting()
	h.sessions.put(x)
	path := "/ws/" + someID + "/files"
	if a := h.ask(t, "GET", path, own()...); a.StatusCode != 409 {
		t.Errorf("before the session lives: %d %s", a.StatusCode, a.text)
	}
	h.attach(t, 0)
	write(t, filepath.Join(h.engine.root, "b.txt"), "hello")
	write(t, filepath.Join(h.engine.root, "<i>.txt"), "x")
	if err := os.Mkdir(filepath.Join(h.engine.root, "zoo"), 0o700); err != nil {
		t.Fatal(err)
	}
	content := func(name string) string {
		return path + "/content?path=" + url.QueryEscape(filepath.Join(h.engine.root, name))
	}

	t.Run("lists a folder, folders first", func(t *testing.T) {
		a := h.ask(t, "GET", path+"?path="+url.QueryEscape(h.engine.root), own()...)
		if a.StatusCode != 200 || !strings.Contains(a.text, `"kind":"folder"`) || strings.Index(a.text, `"zoo"`) > strings.Index(a.text, `"b.txt"`) || !strings.Contains(a.text, `"size":5`) {
			t.Errorf("%d %s", a.StatusCode, a.text)
		}
	})
	// What a target holds is kept, never shown or run (rule W4).
	t.Run("gives a file to be kept", func(t *testing.T) {
		a := h.ask(t, "GET", content("<i>.txt"), own()...)
		if a.StatusCode != 200 || a.text != "x" || a.Header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(a.Header.Get("Content-Disposition"), "attachment; filename=") ||
			!strings.HasPrefix(a.Header.Get("Content-Security-Policy"), "sandbox;") || a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%d %q %v", a.StatusCode, a.text, a.Header)
		}
	})
	t.Run("takes a file", func(t *testing.T) {
		big := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
		if a := h.send(t, "PUT", content("new"), string(big), own()...); a.StatusCode != 204 {
			t.Fatalf("%d %s", a.StatusCode, a.text)
		}
		if got, err := os.ReadFile(filepath.Join(h.engine.root, "new")); err != nil || !bytes.Equal(got, big) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if a := h.ask(t, "GET", content("new"), own()...); a.text != string(big) {
			t.Errorf("%d bytes come back", len(a.text))
		}
	})
	t.Run("replaces none unless it shall", func(t *testing.T) {
		if a := h.send(t, "PUT", content("b.txt"), "other", own()...); a.StatusCode != 409 {
			t.Errorf("%d %s", a.StatusCode, a.text)
		}
		if a := h.send(t, "PUT", content("b.txt")+"&replace=true", "bye", own()...); a.StatusCode != 204 {
			t.Errorf("%d %s", a.StatusCode, a.text)
		}
		if a := h.ask(t, "GET", content("b.txt"), own()...); a.text != "bye" {
			t.Errorf("%q", a.text)
		}
	})
	t.Run("says what does not work", func(t *testing.T) {
		for call, status := range map[string]int{
			"GET " + content("nowhere"): 404, "GET " + content("zoo"): 409, "GET " + path + "/content": 400, "PUT " + path + "/content": 400, "PUT " + content("no/where"): 404,
			"GET " + path + "?path=/nowhere": 404,
		} {
			method, at, _ := strings.Cut(call, " ")
			if a := h.ask(t, method, at, own()...); a.StatusCode != status {
				t.Errorf("%s: %d %s", call, a.StatusCode, a.text)
			}
		}
	})
	t.Run("is refused where the grant does not give it", func(t *testing.T) {
		x.State, x.Terms.Features = remote.Active, []access.Feature{access.Shell}
		h.sessions.put(x)
		for _, call := range []string{"GET " + path, "GET " + content("b.txt"), "PUT " + content("c")} {
			method, at, _ := strings.Cut(call, " ")
			if a := h.ask(t, method, at, own()...); a.StatusCode != 403 {
				t.Errorf("%s: %d %s", call, a.StatusCode, a.text)
			}
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The page of the terminal says what the grant gives, and lets no script of others run.
func TestShow_terminal(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	x := waiting()
	x.Protocol, x.Terms.Features = device.Telnet, []access.Feature{access.Shell}
	h.sessions.put(x)
	a := h.ask(t, "GET", "/ws/"+someID, mine()...)
	if a.StatusCode != 200 || !strings.Contains(a.text, `data-files="false"`) || !strings.Contains(a.text, `data-clipboard="false"`) || !strings.Contains(a.text, "You are being recorded") {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	csp := a.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "script-src 'self';") || strings.Contains(csp, "unsafe-eval") || !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("%s", csp)
	}
	if strings.Contains(a.text, token) {
		t.Error("the cookie stands in the page")
	}
}
