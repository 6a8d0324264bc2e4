package sshverify_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Rule W1: every route declares what it lets its caller do, and none is open to all.
func TestRoutes_declare_their_action(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, route := range h.dialect.Routes() {
		if route.Action == "" || route.Action == access.Public {
			t.Errorf("%s %s declares %q", route.Method, route.Pattern, route.Action)
		}
		if owner := h.mux.OwnerOf(route.Pattern); owner != "sshverify" {
			t.Errorf("%s belongs to %q", route.Pattern, owner)
		}
	}
}

// target is a path of a route: ids in place of its wildcards, and the slash that the vendor writes.
func target(route api.Route, session, hook string) string {
	return strings.NewReplacer("{session}", session, "{webhook}", hook).Replace(route.Pattern) + "/"
}

// Rule W6: without a key every route gives one and the same answer, whatever else is presented.
func TestRoutes_are_shut_to_strangers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.dialect.Login.Failures.Threshold = 10_000
	const want = `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"Missing, unknown or expired API key","errors":null}` + "\n"
	for _, route := range h.dialect.Routes() {
		for _, header := range []http.Header{
			{},
			{"X-Api-Key": {""}},
			{"X-Api-Key": {h.oldKey}},
			{"X-Api-Key": {h.key + " "}},
			{"Authorization": {"Bearer " + h.key}},
			{"Cookie": {"gatehouse=" + h.key + "; __Host-gatehouse=" + h.key}},
		} {
			w := h.callWith(route.Method, target(route, newID(), newID()), "{}", header)
			if w.Code != http.StatusUnauthorized || w.Body.String() != want || w.Header().Get("WWW-Authenticate") != "ApiKey" {
				t.Errorf("%s %s with %v: %d %s", route.Method, route.Pattern, header, w.Code, w.Body)
			}
		}
	}
}

// Rule W1: an id is a name and no credential. Another project's key finds nothing by it.
func TestRoutes_hide_what_belongs_to_another_project(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	laptop := h.vars()["laptop"]
	ids := map[string][2]string{}
	for kind, body := range map[string]string{
		"verify":  `{"keys":[{"public_key":"` + laptop + `"}],"multi_connection":true}`,
		"collect": `{"multi_connection":true}`,
	} {
		session := h.made(t, "/api/v1/ssh/"+kind+"/sessions/", body)
		hook := h.made(t, "/api/v1/ssh/"+kind+"/sessions/"+session+"/webhooks/", `{"url":"https://shop.example/"}`)
		ids[kind] = [2]string{session, hook}
	}
	const unknown = `{"type":"about:blank","title":"Not Found","status":404,"detail":"Session not found","errors":null}` + "\n"
	for _, route := range h.dialect.Routes() {
		if !strings.Contains(route.Pattern, "{session}") {
			continue
		}
		kind := strings.Split(route.Pattern, "/")[4]
		path := target(route, ids[kind][0], ids[kind][1])
		foreign := h.callWith(route.Method, path, "{}", http.Header{"X-Api-Key": {h.otherKey}})
		if foreign.Code != http.StatusNotFound || foreign.Body.String() != unknown {
			t.Errorf("%s %s with the other project's key: %d %s", route.Method, route.Pattern, foreign.Code, foreign.Body)
		}
		for _, odd := range []string{"7", strings.ToUpper(ids[kind][0]), "urn:uuid:" + ids[kind][0], "{" + ids[kind][0] + "}", "%FF%FE", "null"} {
			if w := h.call(route.Method, target(route, odd, ids[kind][1]), "{}"); w.Code != http.StatusNotFound || w.Body.String() != unknown {
				t.Errorf("%s %s with id %q: %d %s", route.Method, route.Pattern, odd, w.Code, w.Body)
			}
		}
	}
	for kind, id := range ids { // and nothing was changed or deleted by it
		if w := h.call("GET", "/api/v1/ssh/"+kind+"/sessions/"+id[0]+"/webhooks/"+id[1]+"/", ""); w.Code != http.StatusOK {
			t.Errorf("the %s session's webhook: %d %s", kind, w.Code, w.Body)
		}
	}
	for _, kind := range []string{"verify", "collect"} {
		w := h.callWith("GET", "/api/v1/ssh/"+kind+"/sessions/", "", http.Header{"X-Api-Key": {h.otherKey}})
		if !strings.Contains(w.Body.String(), `"items":[],"total":0`) {
			t.Errorf("the other project lists %s", w.Body)
		}
	}
}

func TestBudget_refuses_the_501st_request(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for n := range 500 {
		if w := h.call("GET", "/api/v1/auth/info/", ""); w.Code != http.StatusOK || w.Header().Get("RateLimit-Remaining") != strconv.Itoa(499-n) {
			t.Fatalf("request %d: %d, %v", n+1, w.Code, w.Header())
		}
	}
	for range 30 { // what is refused costs nothing
		w := h.call("GET", "/api/v1/auth/info/", "")
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "8" {
			t.Fatalf("%d, %v", w.Code, w.Header())
		}
	}
	h.clock.pass(8 * time.Second)
	if w := h.call("GET", "/api/v1/auth/info/", ""); w.Code != http.StatusOK {
		t.Errorf("8 s later: %d", w.Code)
	}
	if w := h.call("GET", "/api/v1/auth/info/", ""); w.Code != http.StatusTooManyRequests {
		t.Errorf("and at once again: %d", w.Code)
	}
}

func TestGuessing_is_slowed_down_by_address(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	guess := func() *httptest.ResponseRecorder {
		return h.callWith("GET", "/api/v1/auth/info/", "", http.Header{"X-Api-Key": {"gate_guess"}})
	}
	for n := range 20 {
		if w := guess(); w.Code != http.StatusUnauthorized {
			t.Fatalf("guess %d: %d", n+1, w.Code)
		}
	}
	w := guess()
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "60" || w.Header().Get("RateLimit-Limit") != "" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := h.call("GET", "/api/v1/auth/info/", ""); w.Code != http.StatusOK {
		t.Errorf("a good key from the same address: %d", w.Code)
	}
}

func TestList_caps_a_page_at_100(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 101 {
		h.made(t, "/api/v1/ssh/collect/sessions/", "{}")
	}
	for query, want := range map[string]string{
		"":                     "100 items of 101 at 0+100, more true",
		"?limit=500":           "100 items of 101 at 0+100, more true",
		"?limit=500&offset=1":  "100 items of 101 at 1+100, more false",
		"?offset=100":          "1 items of 101 at 100+100, more false",
		"?limit=40&offset=60":  "40 items of 101 at 60+40, more true",
		"?status=completed":    "0 items of 0 at 0+100, more false",
		"?limit=99&offset=200": "0 items of 101 at 200+99, more false",
	} {
		var p struct {
			Items                []json.RawMessage
			Total, Offset, Limit int64
			HasMore              bool `json:"has_more"`
		}
		must(t, json.Unmarshal(h.call("GET", "/api/v1/ssh/collect/sessions/"+query, "").Body.Bytes(), &p))
		if got := fmt.Sprintf("%d items of %d at %d+%d, more %t", len(p.Items), p.Total, p.Offset, p.Limit, p.HasMore); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
}

// Rule F10: the identifier is the right to try, and the wire leaves it 80 bits of the system's randomness.
func TestIdentifiers_are_random(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	seen, letters := map[string]bool{}, map[rune]bool{}
	for range 60 {
		var made struct {
			Identifier string `json:"connection_identifier"`
		}
		must(t, json.Unmarshal(h.call("POST", "/api/v1/ssh/collect/sessions/", "").Body.Bytes(), &made))
		if !regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{16}$`).MatchString(made.Identifier) || seen[made.Identifier] {
			t.Fatalf("%q, after %d others", made.Identifier, len(seen))
		}
		seen[made.Identifier] = true
		for _, letter := range made.Identifier {
			letters[letter] = true
		}
	}
	if len(letters) != 32 { // by chance once in 10^12 runs
		t.Errorf("960 letters are of %d kinds", len(letters))
	}
}

func TestBody_is_bounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	full := func(size int) string { return `{"external_id":"a"` + strings.Repeat(" ", size-20) + ` }` }
	for _, test := range []struct {
		what, body string
		status     int
		detail     string
	}{
		{"1 MiB", full(1 << 20), 201, ""},
		{"one byte more", full(1<<20 + 1), 413, "Request body is too large"},
		{"16 MiB", full(16 << 20), 413, "Request body is too large"},
		{"64 levels", `{"a":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}`, 422, "validation failed"},
		{"a million levels", strings.Repeat("[", 1_000_000), 400, "Request body is not valid JSON"},
		{"65 levels", strings.Repeat("[", 65) + strings.Repeat("]", 65), 400, "Request body is not valid JSON"},
		{"not UTF-8", "{\"external_id\":\"\xff\"}", 400, "Request body is not valid JSON"},
		{"a long number", `{"timeout":` + strings.Repeat("9", 100_000) + `}`, 422, "validation failed"},
		{"many faults", `{"m":1` + manyMembers(20_000) + `}`, 422, "validation failed"},
	} {
		w := h.call("POST", "/api/v1/ssh/collect/sessions/", test.body)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.detail) {
			t.Errorf("%s: %d %.300s", test.what, w.Code, w.Body)
		}
		if w.Code != http.StatusCreated && w.Body.Len() > 64<<10 {
			t.Errorf("%s: the answer has %d bytes", test.what, w.Body.Len())
		}
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":%d`, i, i)
	}
	return b.String()
}

func TestText_is_bounded_in_characters(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for member, most := range map[string]int{"external_id": 255, "ssh_banner": 4096, "ssh_message": 4096} {
		h.made(t, "/api/v1/ssh/collect/sessions/", `{"`+member+`":"`+strings.Repeat("é", most)+`"}`)
		w := h.call("POST", "/api/v1/ssh/collect/sessions/", `{"`+member+`":"`+strings.Repeat("é", most+1)+`"}`)
		want := fmt.Sprintf(`"errors":[{"message":"expected length <= %d","location":"body.%s"}]`, most, member)
		if w.Code != 422 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", member, w.Code, w.Body)
		}
	}
}

func TestLimits_of_lists(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	keys := strings.TrimSuffix(strings.Repeat(`{"public_key":"x"},`, 33), ",")
	w := h.call("POST", "/api/v1/ssh/verify/sessions/", `{"keys":[`+keys+`]}`)
	if w.Code != 422 || !strings.Contains(w.Body.String(), `"errors":[{"message":"expected array length <= 32","location":"body.keys"}]`) {
		t.Errorf("33 keys: %d %s", w.Code, w.Body)
	}
	hook := `{"url":"https://shop.example/"}`
	hooks := strings.TrimSuffix(strings.Repeat(hook+",", 11), ",")
	w = h.call("POST", "/api/v1/ssh/collect/sessions/", `{"webhooks":[`+hooks+`]}`)
	if w.Code != 422 || !strings.Contains(w.Body.String(), `"errors":[{"message":"expected array length <= 10","location":"body.webhooks"}]`) {
		t.Errorf("11 webhooks: %d %s", w.Code, w.Body)
	}
	session := h.made(t, "/api/v1/ssh/collect/sessions/", `{"webhooks":[`+strings.TrimSuffix(strings.Repeat(hook+",", 10), ",")+`]}`)
	w = h.call("POST", "/api/v1/ssh/collect/sessions/"+session+"/webhooks/", hook)
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), `"detail":"The session has 10 webhooks already"`) {
		t.Errorf("an 11th webhook: %d %s", w.Code, w.Body)
	}
}

// A private key that somebody pastes is refused by name, and stands in no answer and in no log.
func TestPrivateKey_is_never_repeated(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	block, err := ssh.MarshalPrivateKey(testPrivateKey("laptop"), "ana@laptop")
	must(t, err)
	private := string(pem.EncodeToMemory(block))
	pasted, err := json.Marshal(private)
	must(t, err)
	session := h.made(t, "/api/v1/ssh/verify/sessions/", `{"keys":[{"public_key":"`+h.vars()["laptop"]+`"}]}`)
	line := strings.Split(private, "\n")[2] // the middle of it
	for _, body := range []string{
		`{"keys":[{"public_key":` + string(pasted) + `}]}`,
		`{"keys":[{"public_key":"` + h.vars()["tower"] + `"},{"public_key":` + string(pasted) + `,"name":7}]}`,
		`{"keys":[{"public_key":[` + string(pasted) + `]}]}`,
		`{"keys":[` + string(pasted) + `]}`,
		`{"keys":` + string(pasted) + `}`,
		`{"keys":[{"public_key":"x","name":` + string(pasted) + `}]}`,
		`{"keys":[{"public_key":"` + private + `"}]}`,
		private,
	} {
		for _, w := range []*httptest.ResponseRecorder{
			h.call("POST", "/api/v1/ssh/verify/sessions/", body),
			h.call("PATCH", "/api/v1/ssh/verify/sessions/"+session+"/", body),
		} {
			if w.Code < 400 || w.Code >= 500 || strings.Contains(w.Body.String(), line) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
	}
	if !strings.Contains(h.log.String(), "pattern=") || strings.Contains(h.log.String(), line) || strings.Contains(h.log.String(), h.key) {
		t.Errorf("the log: %s", h.log)
	}
}

// brokenStore fails for a reason that is nobody's business.
type brokenStore struct{ keyproof.Store }

func (brokenStore) List(context.Context, keyproof.Filter) (page.Page[keyproof.Session], error) {
	return page.Page[keyproof.Session]{}, errors.New("disk 7 is on fire")
}

func (brokenStore) ByID(context.Context, string, keyproof.Kind, string) (keyproof.Session, error) {
	panic("disk 7 has burnt down")
}

func TestInternalError_names_the_request_and_not_the_cause(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.dialect.Sessions.Store = brokenStore{h.dialect.Sessions.Store}
	for _, call := range [][2]string{{"GET", "/api/v1/ssh/verify/sessions/"}, {"POST", "/api/v1/ssh/verify/sessions/" + newID() + "/complete/"}} {
		w := h.call(call[0], call[1], "")
		id := w.Header().Get("X-Request-Id")
		want := `{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"Internal error","instance":"` + id + `","errors":null}` + "\n"
		if w.Code != http.StatusInternalServerError || w.Body.String() != want || w.Header().Get("RateLimit-Limit") != "500" {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
		if !strings.Contains(h.log.String(), id) || !strings.Contains(h.log.String(), "disk 7") {
			t.Errorf("the log does not tell why: %s", h.log)
		}
	}
}

// A body that never comes holds nothing open, whoever promised it.
func TestBody_must_arrive_in_time(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.dialect.BodyWait = 50 * time.Millisecond
	server := httptest.NewServer(h)
	defer server.Close()
	for who, want := range map[string]string{"": "HTTP/1.1 401", "x-api-key: " + h.key + "\r\n": "HTTP/1.1 400"} {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		must(t, err)
		_, err = fmt.Fprintf(c, "POST /api/v1/ssh/verify/sessions/ HTTP/1.1\r\nHost: x\r\n%sContent-Length: 100\r\n\r\n{", who)
		must(t, err)
		must(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		var answer strings.Builder
		buffer := make([]byte, 4096)
		for err == nil { // until the server hangs up
			var n int
			n, err = c.Read(buffer)
			answer.Write(buffer[:n])
		}
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			t.Errorf("%q: the connection is still open", who)
		}
		if !strings.HasPrefix(answer.String(), want) {
			t.Errorf("%q: %s", who, answer.String())
		}
		must(t, c.Close())
	}
}

// Settings that take a limit away or change it are heeded by the door.
func TestLimits_follow_the_settings(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.dialect.Sessions.MaxKeys, h.dialect.RatePerHour = 1, 7
	one := `{"public_key":"` + h.vars()["laptop"] + `"}`
	w := h.call("POST", "/api/v1/ssh/verify/sessions/", `{"keys":[`+one+`,`+one+`]}`)
	if w.Code != 422 || !strings.Contains(w.Body.String(), "expected array length <= 1") || w.Header().Get("RateLimit-Limit") != "7" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	h.dialect.RatePerHour = 0
	if w := h.call("GET", "/api/v1/auth/info/", ""); w.Header().Get("RateLimit-Limit") != "" {
		t.Errorf("%v", w.Header())
	}
}
