package fortanix_test

import (
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api/apitest"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
)

// Every operation of signing in and of sessions, and every refusal, stands in testdata, byte for byte.
func TestExchanges(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"auth", "session", "doors", "cookie", "open", "busy"} {
		apitest.Dir(t, "testdata/"+family+"*.txtar", func(t *testing.T) apitest.Replay {
			t.Helper()
			h := newHouse(t, publicURL(t.Name()))
			return apitest.Replay{Handler: h, Vars: h.vars(), Steps: h.steps()}
		})
	}
}

// Every operation of second factors stands there as well, with people who have some.
func TestSecondFactors(t *testing.T) {
	t.Parallel()
	apitest.Dir(t, "testdata/second*.txtar", func(t *testing.T) apitest.Replay {
		t.Helper()
		h := newHouse(t, local)
		p, vars := h.second(t)
		if strings.HasSuffix(t.Name(), "second-demanded") {
			h.dialect.Login.Enforcement = login.DemandAll
		}
		maps.Copy(vars, h.vars())
		return apitest.Replay{Handler: p, Vars: vars, Steps: h.steps()}
	})
}

// And every way in for which somebody else vouches.
func TestProviders(t *testing.T) {
	t.Parallel()
	apitest.Dir(t, "testdata/provider*.txtar", func(t *testing.T) apitest.Replay {
		t.Helper()
		h := newHouse(t, local)
		vars := h.provide(t)
		maps.Copy(vars, h.vars())
		return apitest.Replay{Handler: answering{h}, Vars: vars, Steps: h.steps()}
	})
}

// steps are what happens between the requests of a file.
func (h *house) steps() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"ten minutes and more pass": func(*testing.T) { h.clock.pass(11 * time.Minute) },
		"half a minute passes":      func(*testing.T) { h.clock.pass(30 * time.Second) },
		"the store is gone":         func(*testing.T) { h.down.Store(true) },
		"hashing is busy":           func(*testing.T) { h.hasher.busy.Store(true) },
	}
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

// vars are the words that testdata uses for what each run makes anew.
func (h *house) vars() map[string]string {
	return map[string]string{
		"account": identity.DefaultAccount, "other": h.other, "admin": h.admin, "dana": h.dana, "app": h.app, "secret": h.secret,
		"upperapp": strings.ToUpper(h.app),
		"asdana":   strings.TrimPrefix(h.asDana(), "Basic "), "asadmin": strings.TrimPrefix(basic("admin", password), "Basic "),
		"asapp":     strings.TrimPrefix(h.asApp(), "Basic "),
		"asupper":   base64.StdEncoding.EncodeToString([]byte(strings.ToUpper(h.app) + ":" + h.secret)),
		"wrongdana": base64.StdEncoding.EncodeToString([]byte(email + ":wrong")),
		"nobody":    base64.StdEncoding.EncodeToString([]byte("nobody@example.test:" + password)),
		"wrongapp":  base64.StdEncoding.EncodeToString([]byte(h.app + ":" + h.secret[:82] + "AAAA")),
		"noapp":     base64.StdEncoding.EncodeToString([]byte(newID() + ":" + h.secret)),
		"certapp":   base64.StdEncoding.EncodeToString([]byte(h.app + ":")),
		"nocolon":   base64.StdEncoding.EncodeToString([]byte("dana")),
		"notutf":    base64.StdEncoding.EncodeToString([]byte("dana\xff:x")),
		"bare":      base64.RawURLEncoding.EncodeToString([]byte("dana:" + password)),
		"long":      strings.Repeat("a", 256<<10),
	}
}
