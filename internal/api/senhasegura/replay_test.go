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
		h.prepare(t)
		return apitest.Replay{Handler: h, Vars: h.words(), Steps: h.steps(t)}
	})
}

// steps are what happens between the requests of a file.
func (h *house) steps(*testing.T) map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"an hour passes":      func(*testing.T) { h.clock.pass(time.Hour) },
		"half an hour passes": func(*testing.T) { h.clock.pass(30 * time.Minute) },
	}
}

func (h *house) prepare(*testing.T) {}

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
