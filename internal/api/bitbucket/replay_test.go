package bitbucket_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api/apitest"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Every operation and every refusal stands in testdata, byte for byte.
func TestExchanges(t *testing.T) {
	t.Parallel()
	apitest.Dir(t, "testdata/*.txtar", func(t *testing.T) apitest.Replay {
		t.Helper()
		h := newHouseThatDemands(t, publicURL(t.Name()), demandIn(t.Name()))
		cert := certificate(t)
		passes := func(d time.Duration) func(*testing.T) { return func(*testing.T) { h.clock.pass(d) } }
		return apitest.Replay{Handler: h, Vars: h.vars(t, cert), Steps: map[string]func(*testing.T){
			"half a minute passes":   passes(30 * time.Second),
			"nine minutes pass":      passes(9 * time.Minute),
			"eleven minutes pass":    passes(11 * time.Minute),
			"hashing is busy":        func(*testing.T) { h.hasher.busy.Store(true) },
			"an administrator helps": func(t *testing.T) { h.unlock(t, "dana") },
			"erin's password changes": func(t *testing.T) {
				t.Helper()
				by := h.login.Access.For(access.LocalCaller("root", h.clock.Now()))
				must(t, h.users.SetPassword(t.Context(), by, h.ids["erin"], secret.New("another: horse battery")))
			},
			"erin is shut out": func(t *testing.T) {
				t.Helper()
				by := h.login.Access.For(access.LocalCaller("root", h.clock.Now()))
				must(t, h.users.SetDisabled(t.Context(), by, h.ids["erin"], true))
			},
			"a second factor is demanded of all": func(*testing.T) { h.login.Enforcement = login.DemandAll },
			"an hour passes":                     passes(time.Hour),
			"providers are on file":              func(t *testing.T) { h.provide(t, cert) },
			"thirty days pass":                   passes(30 * 24 * time.Hour),
			"access keys are switched off":       func(*testing.T) { h.keys.AccessKeys = false },
			"a key is used":                      func(t *testing.T) { h.use(t, 1) },
			"settings of OPS are reserved":       func(t *testing.T) { h.reserve(t, "OPS") },
			"there are repositories":             func(t *testing.T) { h.settle(t) },
			"tokens last a year at most":         func(*testing.T) { h.tokens.MaxDays = 365 },
			"tokens have to expire":              func(*testing.T) { h.tokens.ExpiryRequired = true },
			"two tokens are enough":              func(*testing.T) { h.tokens.MaxPerScope = 2 },
			"there are groups":                   func(t *testing.T) { h.gather(t) },
			"the instance is not ready":          func(*testing.T) { h.reasons = []string{"the database is away"} },
			"another change comes first":         func(*testing.T) { h.policies.next = true },
			"zoe and bob come from a provider": func(t *testing.T) {
				h.comes(t, "zoe")
				h.comes(t, "bob")
			},
		}}
	})
}

// publicURL is the one that a file is about.
func publicURL(name string) string {
	switch {
	case strings.HasSuffix(name, "cookie-https"):
		return "https://gate.example.test"
	case strings.HasSuffix(name, "cookie-http"):
		return "http://gate.example.test"
	}
	return local
}

func demandIn(name string) string {
	switch {
	case strings.Contains(name, "enforced-admins"):
		return login.DemandAdmins
	case strings.Contains(name, "enforced"):
		return login.DemandAll
	}
	return login.DemandNone
}

func (h *house) unlock(t *testing.T, name string) {
	t.Helper()
	_, err := h.login.Unlock(t.Context(), access.LocalCaller("root", h.clock.Now()), h.ids[name])
	must(t, err)
}

// vars are the words that testdata uses for what each run makes anew.
func (h *house) vars(t *testing.T, cert string) map[string]string {
	t.Helper()
	return map[string]string{
		"admin": h.bearers["admin"], "dana": h.bearers["dana"], "erin": h.bearers["erin"], "mara": h.bearers["mara"], "olga": h.bearers["olga"],
		"erinapp": h.erin, "erinkey": h.erinKey, "enrolling": h.session(t, "dana", session.EnrolOnly),
		"asdana": strings.TrimPrefix(basic("dana", password), "Basic "), "wrongdana": strings.TrimPrefix(basic("dana", "wrong"), "Basic "),
		"asadmin": strings.TrimPrefix(basic("admin", password), "Basic "), "asmara": strings.TrimPrefix(basic("mara", password), "Basic "),
		"aserin": strings.TrimPrefix(basic("erin", password), "Basic "),
		"long":   strings.Repeat("a", 1<<20),
		"cert":   cert, "hundred": strings.TrimSuffix(strings.Repeat(`"/rest",`, 100), ","),
	}
}
