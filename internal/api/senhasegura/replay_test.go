package senhasegura_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api/apitest"
)

// Every operation, and every refusal, stands in testdata, byte for byte.
func TestExchanges(t *testing.T) {
	t.Parallel()
	apitest.Dir(t, "testdata/*.txtar", func(t *testing.T) apitest.Replay {
		t.Helper()
		h := newHouse(t)
		if strings.Contains(t.Name(), "launch") || strings.Contains(t.Name(), "sessions") {
			h.prepare(t)
		}
		return apitest.Replay{Handler: h, Vars: h.words(), Steps: h.steps(t)}
	})
}

// web asks for a session as most stories do.
const web = `{"user":"mlopes","credential":"svc-web","device":"web-01.example.net","protocol":"ssh"}`

// steps are what happens between the requests of a file.
func (h *house) steps(t *testing.T) map[string]func(*testing.T) {
	t.Helper()
	first := ""
	return map[string]func(*testing.T){
		"an hour passes":                     func(*testing.T) { h.clock.pass(time.Hour) },
		"half an hour passes":                func(*testing.T) { h.clock.pass(30 * time.Minute) },
		"three minutes pass":                 func(*testing.T) { h.clock.pass(3*time.Minute + 12*time.Second) },
		"a session is started":               func(t *testing.T) { first = h.started(t, web, strings.Repeat("4be1", 10)).ID },
		"another is started":                 func(t *testing.T) { h.started(t, strings.Replace(web, "ssh", "https", 1), strings.Repeat("5c", 20)) },
		"the first session ends":             func(t *testing.T) { h.ended(t, first) },
		"people have three sessions at most": func(*testing.T) { h.dialect.Remote.Settings.PerUser = 3 },
		"mlopes has one more":                func(t *testing.T) { h.started(t, web, strings.Repeat("6d", 20)) },
		"one of the pool is busy": func(t *testing.T) {
			h.started(t, strings.NewReplacer("svc-web", "one", "web-01.example.net", "pool").Replace(web), strings.Repeat("7e", 20))
		},
	}
}

// words are what testdata calls what each run makes anew.
func (h *house) words() map[string]string {
	basic := func(name, secret string) string {
		return base64.StdEncoding.EncodeToString([]byte(name + ":" + secret))
	}
	full := h.clients["full"]
	h.vars["basic"] = basic(full.client, full.secret)
	h.vars["barebasic"] = strings.TrimRight(basic(full.client, full.secret), "=")
	h.vars["wrongbasic"] = basic(full.client, strings.Repeat("0", 32))
	h.vars["upperclient"] = strings.ToUpper(full.client)
	h.vars["wrongsecret"] = strings.Repeat("0", 32)
	h.vars["noclient"] = strings.Repeat("a", 40)
	h.vars["dead"] = "gha_" + strings.Repeat("A", 43)
	return h.vars
}
