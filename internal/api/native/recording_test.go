package native_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// recorded puts the recording of a session of dana's on file.
func recorded(t *testing.T, h *house) string {
	t.Helper()
	x := remote.Session{
		ID: "01930000-0000-7000-8000-000000000001", State: remote.Ended, Way: remote.Web, Origin: access.Subject{Kind: access.User, ID: h.ids["dana"]},
		User: access.Principal{Kind: access.User, ID: h.ids["dana"], Name: "dana"}, Device: "d1", Credential: "c1", Username: "svc", Target: "d1", Host: "web-01.example.test",
		Protocol: device.SSH, Port: 22, Created: start, Expires: start,
	}
	_, err := store.Remotes{DB: h.db}.Insert(t.Context(), x, nil, remote.Digests{}, 0, func(remote.Session) audit.Event { return audit.NewEvent(start, "remote.open", audit.Done) })
	must(t, err)
	kept := store.Recordings{DB: h.db}
	must(t, kept.BeginRecording(t.Context(), x.ID, start))
	manifest := `{"manifest":{"coverage":[{"channel":"terminal","kind":"terminal","is":"recorded","bytes":5}]}}`
	must(t, kept.FinishRecording(t.Context(), x.ID, nil, start.Add(time.Minute), []byte(manifest), ""))
	return x.ID
}

// plays counts how often the record says that something was played.
func plays(t *testing.T, h *house) int64 {
	t.Helper()
	var n int64
	must(t, h.db.Read(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		n, err = store.One(ctx, tx, store.Value[int64], `SELECT COUNT(*) FROM audit_events WHERE body LIKE '%"action":"recording.play"%'`)
		return err
	}))
	return n
}

func TestRecordings(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := recorded(t, h)
	root, dana := h.signIn(t, "root"), h.signIn(t, "dana")
	call := func(token, method, path string) (int, string) {
		answer := h.call(method, "/api/v1/recordings"+path, "", "Authorization", "Bearer "+token)
		return answer.Code, answer.Body.String()
	}
	if code, body := call(root, "GET", ""); code != http.StatusOK || !strings.Contains(body, `"host":"web-01.example.test"`) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := call(root, "GET", "/"+id); code != http.StatusOK || !strings.Contains(body, `"tracks":[{"name":"terminal"`) || !strings.Contains(body, `"is":"recorded"`) {
		t.Errorf("%d %s", code, body)
	}
	before := plays(t, h)
	if code, body := call(root, "GET", "/"+id+"/tracks/terminal?format=txt"); code != http.StatusOK || body != "terminal txt false\n" {
		t.Errorf("%d %s", code, body)
	}
	if n := plays(t, h); n != before+1 {
		t.Errorf("%d events of one play", n-before)
	}
	if code, _ := call(root, "GET", "/"+id+"/tracks/other"); code != http.StatusNotFound {
		t.Errorf("a track that is not there: %d", code)
	}
	if code, body := call(root, "GET", "/"+id+"/tracks/terminal?format=gif"); code != http.StatusBadRequest {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := call(root, "PUT", "/"+id+"/hold"); code != http.StatusNoContent {
		t.Errorf("hold: %d", code)
	}
	if _, body := call(root, "GET", "/"+id); !strings.Contains(body, `"hold":true`) {
		t.Error(body)
	}
	if code, _ := call(root, "DELETE", "/"+id+"/hold"); code != http.StatusNoContent {
		t.Errorf("release: %d", code)
	}

	// Whose session it was has no right to it by that, and does not learn that it is there.
	if code, body := call(dana, "GET", ""); code != http.StatusOK || strings.Contains(body, id) {
		t.Errorf("%d %s", code, body)
	}
	for _, of := range []struct{ method, path string }{{"GET", "/" + id}, {"GET", "/" + id + "/tracks/terminal"}, {"PUT", "/" + id + "/hold"}, {"GET", "/01930000-0000-7000-8000-000000000002"}} {
		if code, body := call(dana, of.method, of.path); code != http.StatusNotFound || !strings.Contains(body, "Recording not found") {
			t.Errorf("%s %s: %d %s", of.method, of.path, code, body)
		}
	}
	// Rule W1: no page of another site has it played. Rule W4: a browser keeps it in a file.
	foreign := h.call("GET", "/api/v1/recordings/"+id+"/tracks/terminal", "", "Cookie", "gatehouse="+root, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	if foreign.Code != http.StatusForbidden {
		t.Errorf("from elsewhere: %d %s", foreign.Code, foreign.Body)
	}
	own := h.call("GET", "/api/v1/recordings/"+id+"/tracks/terminal", "", "Cookie", "gatehouse="+root, "Sec-Fetch-Site", "same-origin")
	if own.Code != http.StatusOK || own.Header().Get("Content-Disposition") != "attachment" || own.Header().Get("Content-Security-Policy") != "sandbox" || own.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %v", own.Code, own.Header())
	}
}
