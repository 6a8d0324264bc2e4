package bitbucket_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
)

// credential is something that a caller may hold, and the ways by which the core and the plugins take it.
type credential struct {
	plain         string
	core, plugins []string
}

// However a header is spelled, a credential is taken by the ways of its door's table, and then does the same; by every other way, and in every
// spelling that is none, it gets the door's plain 401 (rule W6).
func TestDoors_take_a_credential_by_its_ways_alone(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.settle(t)
	in, err := h.repos.Find(t.Context(), access.LocalCaller("root", h.clock.Now()), "OPS", "infra")
	must(t, err)
	personal := h.issued(t, token.OfUser(h.ids["dana"]), "mine", token.RepoRead)
	both, person, program := []string{"bearer", "basic"}, []string{"bearer", "cookie"}, []string{"bearer"}
	credentials := map[string]credential{
		"session":             {h.bearers["dana"], person, person},
		"password":            {password, []string{"basic"}, []string{"basic"}},
		"personal token":      {personal, both, nil},
		"the same, bare":      {strings.TrimPrefix(personal, "BBDC-"), both, nil},
		"project's token":     {h.issued(t, in.Project.Resource(), "project", token.RepoRead), program, nil},
		"repository's token":  {h.issued(t, in.Resource(), "repo", token.RepoRead), program, nil},
		"API key":             {"gate_" + strings.Repeat("A", 40), nil, nil},
		"application session": {h.program, nil, nil},
	}
	var names []string
	for name := range credentials {
		names = append(names, name)
	}
	doors := []struct {
		path, refusal string
		takes         func(credential) []string
	}{
		{"/rest/api/latest/projects/OPS/repos/infra", refusedCredential, func(c credential) []string { return c.core }},
		{"/rest/tsv/latest/status", `{"message":"You must be logged in."}`, func(c credential) []string { return c.plugins }},
	}
	h.login.Lockout.AddressAfter, h.login.Lockout.CaptchaAfter = 1<<30, 0
	good := map[string]string{} // by door: the one answer to whoever is let in
	rapid.Check(t, func(t *rapid.T) {
		door := rapid.SampledFrom(doors).Draw(t, "door")
		c := credentials[rapid.SampledFrom(names).Draw(t, "credential")]
		way := rapid.SampledFrom([]string{"bearer", "basic", "cookie"}).Draw(t, "way")
		header, spelled := spell(t, way, c.plain)
		let := false
		for _, taken := range door.takes(c) {
			let = let || taken == way
		}
		answer := h.call(http.MethodGet, door.path, "", "", header...)
		status, is := answer.Code, strings.TrimSpace(answer.Body.String())
		if !let || !spelled {
			if status != http.StatusUnauthorized || is != door.refusal {
				t.Fatalf("%q answered %d %s", header, status, is)
			}
			_, err := h.login.Lockout.Clear(context.Background(), audit.NewEvent(h.clock.Now(), "guard.unlock", audit.Done), "dana", "dana@example.test")
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		if status != http.StatusOK || good[door.path] != "" && good[door.path] != is {
			t.Fatalf("%q answered %d %s, and another way %s", header, status, is, good[door.path])
		}
		good[door.path] = is
	})
}

// spell draws a spelling of a way to send a credential, and tells whether it is one.
func spell(t *rapid.T, way, plain string) (header []string, ok bool) {
	if way == "cookie" {
		return []string{"Cookie", "gatehouse=" + plain}, true
	}
	value := basic(rapid.SampledFrom([]string{"dana", "DANA", "dana@example.test"}).Draw(t, "name"), plain)
	if way == "bearer" {
		value = "Bearer " + plain
	}
	scheme, rest, _ := strings.Cut(value, " ")
	switch rapid.IntRange(0, 6).Draw(t, "spelling") {
	case 0:
		return []string{"Authorization", strings.ToLower(scheme) + " " + rest}, true // RFC 9110 section 11.1: schemes have no case
	case 1:
		return []string{"Authorization", strings.ToUpper(scheme) + "  " + rest}, true
	case 2:
		return []string{"Authorization", value + ", " + value}, false
	case 3:
		return []string{"Authorization", value, "Authorization", value}, false
	case 4:
		return []string{"Authorization", scheme + rest}, false
	case 5:
		return []string{"Authorization", scheme + " x" + rest}, false
	}
	return []string{"Authorization", value}, true
}
