package senhasegura_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

const form = "application/x-www-form-urlencoded"

func (c client) credentials() string {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {c.client}, "client_secret": {c.secret}}.Encode()
}

func messageOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var out struct {
		Response struct {
			Message string `json:"message"`
		} `json:"response"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("answered %d %q: %v", w.Code, w.Body, err)
	}
	return out.Response.Message
}

func want(t *testing.T, w *httptest.ResponseRecorder, status int, message string) {
	t.Helper()
	if got := messageOf(t, w); w.Code != status || got != message {
		t.Fatalf("answered %d %q, want %d %q", w.Code, got, status, message)
	}
}

// Who guesses ten times waits, whatever they present then; another client from there, and the same from elsewhere, does not.
func TestToken_ten_failures_block_the_client_at_that_address(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	full := h.clients["full"]
	wrong := strings.Replace(full.credentials(), full.secret, strings.Repeat("0", 32), 1)
	for range 10 {
		want(t, h.call("", "POST", "/api/oauth2/token", form, wrong), http.StatusUnauthorized, "Client authentication failed.")
		h.clock.pass(time.Second)
	}
	w := h.call("", "POST", "/api/oauth2/token", form, full.credentials())
	want(t, w, http.StatusTooManyRequests, "Too many requests")
	if got := w.Header().Get("Retry-After"); got != "50" || !strings.HasPrefix(w.Body.String(), `{"error":"temporarily_unavailable",`) {
		t.Errorf("Retry-After %q, %s", got, w.Body)
	}
	if w := h.call("", "POST", "/api/oauth2/token", form, h.clients["reader"].credentials()); w.Code != http.StatusOK {
		t.Errorf("another client: %d %s", w.Code, w.Body)
	}
	h.clock.pass(50 * time.Second)
	if w := h.call("", "POST", "/api/oauth2/token", form, full.credentials()); w.Code != http.StatusOK {
		t.Errorf("a minute later: %d %s", w.Code, w.Body)
	}
}

func TestToken_is_given_600_times_a_minute(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.dialect.Authorizations.PerMinute = 4 // one is there already
	for range 3 {
		if w := h.call("", "POST", "/api/oauth2/token", form, h.clients["full"].credentials()); w.Code != http.StatusOK {
			t.Fatalf("answered %d %s", w.Code, w.Body)
		}
	}
	w := h.call("", "POST", "/api/oauth2/token", form, h.clients["full"].credentials())
	want(t, w, http.StatusTooManyRequests, "Too many requests")
	if w.Header().Get("Retry-After") != "60" {
		t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
	}
	h.clock.pass(time.Minute)
	if w := h.call("", "POST", "/api/oauth2/token", form, h.clients["full"].credentials()); w.Code != http.StatusOK {
		t.Errorf("a minute later: %d %s", w.Code, w.Body)
	}
}

// Whoever tries tokens is told to wait; a good one passes all the same.
func TestBearer_guesses_are_counted_by_address(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.clients["guess"] = client{bearer: "gha_" + strings.Repeat("A", 43)}
	for range 20 {
		want(t, h.call("guess", "GET", "/api/device", "", ""), http.StatusUnauthorized, "Client authentication failed.")
	}
	w := h.call("guess", "GET", "/api/device", "", "")
	want(t, w, http.StatusTooManyRequests, "Too many requests")
	if w.Header().Get("Retry-After") != "60" {
		t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
	}
	want(t, h.call("core", "GET", "/api/device/dc-01", "", ""), http.StatusOK, "Device 2")
}

// What is changed holds from the next call on, for tokens that were issued before (rules W7 and W11).
func TestAuthorization_changes_hold_at_once(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx, as, on, off := t.Context(), h.rights.For(root(h)), true, false
	change := func(to identity.AuthorizationChange) {
		t.Helper()
		_, err := h.dialect.Authorizations.Update(ctx, as, h.clients["core"].id, to)
		must(t, err)
	}
	expect := func(status int, message string) {
		t.Helper()
		want(t, h.call("core", "GET", "/api/device/dc-01", "", ""), status, message)
	}
	expect(http.StatusOK, "Device 2")
	change(identity.AuthorizationChange{Enabled: &off})
	expect(http.StatusUnauthorized, "Client authentication failed.")
	want(t, h.call("", "POST", "/api/oauth2/token", form, h.clients["core"].credentials()), http.StatusUnauthorized, "Client authentication failed.")
	change(identity.AuthorizationChange{Enabled: &on})
	expect(http.StatusOK, "Device 2")
	change(identity.AuthorizationChange{Resources: &[]string{"A2A"}})
	expect(http.StatusInternalServerError, "You are not authorized to access this resource.")
	change(identity.AuthorizationChange{Resources: &[]string{identity.PAMCore}, Addresses: &[]netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	expect(http.StatusInternalServerError, "You are not authorized to access this resource.")
	all, soon := identity.AnyAddress(), h.clock.Now().Add(time.Minute)
	change(identity.AuthorizationChange{Addresses: &all, Expires: &soon})
	expect(http.StatusOK, "Device 2")
	h.clock.pass(time.Minute)
	expect(http.StatusUnauthorized, "Client authentication failed.")
	change(identity.AuthorizationChange{Expires: &time.Time{}})
	expect(http.StatusOK, "Device 2")
	must(t, h.apps.SetDisabled(ctx, as, h.app, true))
	expect(http.StatusUnauthorized, "Client authentication failed.")
	must(t, h.apps.SetDisabled(ctx, as, h.app, false))
	expect(http.StatusOK, "Device 2")
	must(t, h.apps.Delete(ctx, as, h.app))
	expect(http.StatusUnauthorized, "Client authentication failed.")
	held, err := h.rights.Store.BindingsOf(ctx, access.Subject{Kind: access.Authorization, ID: h.clients["core"].id})
	if err != nil || len(held) > 0 {
		t.Errorf("it still holds %v, %v", held, err)
	}
}

// All three forms of a body mean the same.
func TestBodies_mean_the_same_in_every_form(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	values := map[string]string{"hostname": "db-01", "ip": "10.2.0.30", "model": "ä \" & = +", "connectivities": "SSH:22"}
	asForm, parts, asJSON := url.Values{}, &bytes.Buffer{}, map[string]any{}
	m := multipart.NewWriter(parts)
	for name, value := range values {
		asForm.Set(name, value)
		asJSON[name] = value
		must(t, m.WriteField(name, value))
	}
	must(t, m.Close())
	text, err := json.Marshal(asJSON)
	must(t, err)
	changed := "true"
	for _, sent := range [][2]string{{form, asForm.Encode()}, {m.FormDataContentType(), parts.String()}, {"application/json; charset=utf-8", string(text)}, {"", string(text)}, {"", asForm.Encode()}, {form, string(text)}} {
		w := h.call("core", "POST", "/api/device", sent[0], sent[1])
		if w.Code != http.StatusCreated || !strings.Contains(w.Body.String(), `"changed":"`+changed+`"`) || !strings.Contains(w.Body.String(), `"model":"ä \" & = +"`) {
			t.Errorf("%s: %d %s", sent[0], w.Code, w.Body)
		}
		changed = "false"
	}
}

func TestBodies_that_are_refused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, sent := range []struct {
		kind, body, message string
		status              int
		header              []string
	}{
		{"application/json", `[]`, "Malformed request body", 400, nil},
		{"application/json", `{"a":`, "Malformed request body", 400, nil},
		{"application/json", "{\"hostname\":\"\xff\"}", "Malformed request body", 400, nil},
		{"text/xml", "<a/>", "Malformed request body", 400, nil},
		{"no type", "{}", "Malformed request body", 400, nil},
		{form, "hostname=%zz", "Malformed request body", 400, nil},
		{form, "hostname=%00", "Malformed request body", 400, nil},
		{"multipart/form-data", "--x\r\n", "Malformed request body", 400, nil},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"hostname\"\r\n\r\nhalf", "Malformed request body", 400, nil},
		{"multipart/form-data; boundary=x", strings.Repeat("--x\r\n\r\n\r\n", 1001) + "--x--\r\n", "Malformed request body", 400, nil},
		{"application/json", `{}`, "Malformed request body", 400, []string{"Content-Encoding", "gzip"}},
		{"application/json", `{"hostname":"` + strings.Repeat("a", 1<<20) + `"}`, "Request body is too large", 413, nil},
		{"application/json", `{}`, "1004: Device hostname not informed", 400, []string{"Content-Encoding", "identity"}},
		{"", "", "1004: Device hostname not informed", 400, nil},
	} {
		w := h.call("core", "POST", "/api/device", sent.kind, sent.body, sent.header...)
		if got := messageOf(t, w); w.Code != sent.status || got != sent.message {
			t.Errorf("%s %.40q: %d %q", sent.kind, sent.body, w.Code, got)
		}
	}
}

// A call that does not end in time is told so; one whose caller has gone is told nothing.
func TestCalls_have_their_time(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.dialect.Timeout = time.Nanosecond
	for _, call := range [][2]string{{"GET", "/api/device"}, {"POST", "/api/oauth2/token"}} {
		w := h.call("core", call[0], call[1], form, h.clients["core"].credentials())
		want(t, w, http.StatusGatewayTimeout, "Request timed out.")
	}
}

// A fault of ours says nothing of itself but the id by which it stands in the log.
func TestFaults_of_ours(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.dialect.Remote.Store = broken{h.dialect.Remote.Store}
	w := h.call("core", "GET", "/api/session/remotesessions/1", "", "")
	want(t, w, http.StatusInternalServerError, "Unexpected error.")
	id := w.Header().Get("X-Request-Id")
	if !strings.Contains(w.Body.String(), `"detail":"`+id+`"`) || strings.Contains(w.Body.String(), "disk") {
		t.Errorf("answered %s", w.Body)
	}
	if log := h.log.String(); !strings.Contains(log, "the disk is gone") || !strings.Contains(log, id) {
		t.Errorf("logged %s", log)
	}
	if h.observed.last.Denied {
		t.Error("metrics call it a refusal")
	}
}

// The vendor says 500 where others say 403: metrics are told that it is a refusal.
func TestRefusals_by_500_are_no_faults(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	want(t, h.call("proxy", "GET", "/api/device", "", ""), http.StatusInternalServerError, "You are not authorized to access this resource.")
	if !h.observed.last.Denied || h.observed.last.Status != http.StatusInternalServerError {
		t.Errorf("observed %+v", h.observed.last)
	}
	want(t, h.call("core", "GET", "/api/device/nowhere", "", ""), http.StatusBadRequest, "1011: Device not found")
	if h.observed.last.Denied {
		t.Errorf("observed %+v", h.observed.last)
	}
	if strings.Contains(h.log.String(), "ERROR") {
		t.Errorf("logged %s", h.log)
	}
}

// Every call leaves a row, refused ones too, and no row holds a secret.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	handle := strings.Repeat("ab", 32)
	h.call("core", "GET", "/iso/pam/device/dc-01?access_token=queried", "", "")
	h.call("reader", "DELETE", "/api/session/drop/"+handle, "", "")
	h.call("", "POST", "/api/oauth2/token", form, h.clients["full"].credentials())
	h.call("", "POST", "/api/oauth2/token", form, strings.Replace(h.clients["full"].credentials(), h.clients["full"].secret, strings.Repeat("0", 32), 1))
	h.call("", "GET", "/api/nothing/"+handle, "", "")
	h.call("", "PATCH", "/api/device", "", "")
	h.call("far", "GET", "/api/device", "", "")
	rows, err := h.dialect.Authorizations.Calls(t.Context(), h.rights.For(root(h)), page.Behind("", 100))
	must(t, err)
	var got []string
	for _, r := range slices.Backward(rows.Items) {
		if r.Address != "192.0.2.1" || r.Node != "node-1" || !r.At.Equal(start) {
			t.Errorf("row %+v", r)
		}
		got = append(got, fmt.Sprintf("%t %s %s %s %s %s %d %s", r.Client != "", r.Name, r.Resource, r.Event, r.Method, r.Path, r.Status, r.Error))
	}
	if text := strings.Join(got, "\n"); text != strings.TrimSpace(`
true billing/core PAM Core device.read GET /api/device/dc-01 200 
true billing/reader PAM Core remote.end DELETE /api/session/drop/*** 400 1039: Without PAM Configuration Access permission
true billing/full  public POST /api/oauth2/token 200 
true billing/full  public POST /api/oauth2/token 401 Client authentication failed.
false    GET /api/nothing/*** 404 Resource sub not found
false    PATCH /api/device 405 Resource sub not found
true billing/far PAM Core device.read GET /api/device 500 You are not authorized to access this resource.`) {
		t.Errorf("got\n%s", text)
	}
}

// A flood of strangers does not fill the access log.
func TestAccessLog_of_strangers_is_bounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 70 {
		h.call("", "GET", "/api/device", "", "")
	}
	h.call("core", "GET", "/api/device", "", "")
	rows, err := h.dialect.Authorizations.Calls(t.Context(), h.rights.For(root(h)), page.Behind("", 100))
	must(t, err)
	if len(rows.Items) != 61 || rows.Items[0].Name != "billing/core" {
		t.Errorf("%d rows, the latest of %q", len(rows.Items), rows.Items[0].Name)
	}
	h.clock.pass(time.Minute)
	h.call("", "GET", "/api/device", "", "")
	if rows, err = h.dialect.Authorizations.Calls(t.Context(), h.rights.For(root(h)), page.Behind("", 100)); err != nil || len(rows.Items) != 62 {
		t.Errorf("%d rows a minute later, %v", len(rows.Items), err)
	}
}

// Neither the database nor the log holds what was given out (rule W2).
func TestNothingGivenOutIsKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.prepare(t)
	link, handle := h.launched(t, web)
	w := h.call("", "POST", "/api/oauth2/token", form, h.clients["full"].credentials())
	var got struct {
		Token string `json:"access_token"`
	}
	must(t, json.Unmarshal(w.Body.Bytes(), &got))
	h.call("full", "DELETE", "/api/session/drop/"+handle, "", "")
	for name, secret := range map[string]string{"_sr": link, "token": handle, "access token": got.Token, "client secret": h.clients["full"].secret, "password": "pw-svc-web"} {
		if len(secret) < 10 {
			t.Fatalf("no %s", name)
		}
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log holds the %s", name)
		}
		files, err := filepath.Glob(filepath.Join(h.dir, "*"))
		must(t, err)
		for _, file := range files {
			raw, err := os.ReadFile(file)
			must(t, err)
			if bytes.Contains(raw, []byte(secret)) {
				t.Errorf("%s holds the %s", filepath.Base(file), name)
			}
		}
	}
}

// Two who leave the credential to us get different ones, at the same moment too.
func TestLaunch_picks_for_each_another_credential(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.prepare(t)
	var wait sync.WaitGroup
	codes := make([]int, 4)
	for i := range codes {
		wait.Go(func() {
			codes[i] = h.call("picker", "POST", "/api/remote/session", "", `{"user":"mlopes","device":"pool","protocol":"ssh"}`).Code
		})
	}
	wait.Wait()
	slices.Sort(codes)
	if !slices.Equal(codes, []int{200, 200, 400, 400}) {
		t.Errorf("answered %v", codes)
	}
}

// require_credential off leaves the credential to us for everybody.
func TestLaunch_without_a_credential_where_the_setting_allows_it(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.prepare(t)
	body := `{"user":"mlopes","device":"pool","protocol":"ssh"}`
	want(t, h.call("full", "POST", "/api/remote/session", "", body), http.StatusBadRequest, "Credential not specified")
	h.dialect.Remote.Settings.RequireCredential = false
	want(t, h.call("full", "POST", "/api/remote/session", "", body), http.StatusOK, "Session created successfully")
}

// A listing of many sessions is whole, and in order.
func TestSessions_are_streamed_whole(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.prepare(t)
	const many = 120
	for i := range many {
		h.ended(t, h.started(t, web, fmt.Sprintf("%040x", i+1)).ID)
	}
	for query, most := range map[string]int{"": many, "?limit=110": 110, "?offset=115": 5, "?active=1": 0} {
		var out struct {
			Sessions []struct {
				ID string `json:"id"`
			} `json:"remote_sessions"`
		}
		w := h.call("full", "GET", "/api/session/remotesessions"+query, "", "")
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || len(out.Sessions) != most {
			t.Errorf("%q: %d sessions, %v", query, len(out.Sessions), err)
		}
		for i, x := range out.Sessions[:min(len(out.Sessions), 110)] {
			if query != "?offset=115" && x.ID != fmt.Sprint(many-i) {
				t.Fatalf("%q: session %d is %s", query, i, x.ID)
			}
		}
	}
}

// The document lists every route, and names its test.
func TestTheDocumentListsEveryRoute(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/dialects/senhasegura.md")
	must(t, err)
	var listed, routes []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /api/[^`]*)` \\|[^|]*\\|[^|]*\\| ([^|]+) \\|$").FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, row[1])
		for _, file := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			if _, err := os.Stat("../../../" + file[1]); err != nil {
				t.Errorf("%s: its test is not there: %v", row[1], err)
			}
		}
	}
	for _, route := range newHouse(t).mux.Routes() {
		routes = append(routes, route.Method+" "+route.Pattern)
	}
	slices.Sort(listed)
	slices.Sort(routes)
	if !slices.Equal(listed, routes) {
		t.Errorf("listed:\n%s\nroutes:\n%s", strings.Join(listed, "\n"), strings.Join(routes, "\n"))
	}
}

// broken is a store of sessions that cannot be read.
type broken struct{ remote.Store }

// ByNumber implements remote.Store.
func (broken) ByNumber(context.Context, int64) (remote.Session, error) {
	return remote.Session{}, errors.New("the disk is gone")
}
