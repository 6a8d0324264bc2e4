package fortanix_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
)

func (h *house) rule(t *testing.T, scope login.BasicScope, is policy.Basic) {
	t.Helper()
	h.dialect.Login.BasicScope = scope
	_, err := h.dialect.Login.Policy.ChangeBasic(t.Context(), access.LocalCaller("root", h.clock.Now()), func(was policy.Basic) (policy.Basic, error) {
		is.Version = was.Version
		return is, nil
	})
	must(t, err)
}

// The policy on HTTP Basic holds here where all doors are meant, for people's Basic alone: what programs send, what bodies hold and what sessions do is no
// concern of it.
func TestBasic_of_people(t *testing.T) {
	t.Parallel()
	const auth, warning, forbidden = "/sys/v1/session/auth", "Basic authentication may be disabled on this instance.", "Basic authentication is disabled"
	body := `{"method":"password","email":"` + email + `","password":"` + password + `"}`
	token := "BBDC-" + strings.Repeat("A", 44)
	all := policy.Basic{Block: true, Warn: true}
	for name, c := range map[string]struct {
		scope        login.BasicScope
		is           policy.Basic
		basic, body  string
		path         string
		status       int
		says, warned string
	}{
		"is_refused_where_it_is_blocked":       {login.ScopeAll, all, basic(email, password), "", auth, http.StatusForbidden, forbidden, warning},
		"wrong_or_right":                       {login.ScopeAll, all, basic(email, "wrong"), "", auth, http.StatusForbidden, forbidden, warning},
		"of_nobody_too":                        {login.ScopeAll, all, basic("nobody@example.test", password), "", auth, http.StatusForbidden, forbidden, warning},
		"goes_on_where_rest_alone_is_meant":    {login.ScopeREST, all, basic(email, password), "", auth, http.StatusOK, "", ""},
		"goes_on_on_a_path":                    {login.ScopeAll, policy.Basic{Block: true, Paths: []string{"/sys/v1/session/*"}}, basic(email, password), "", auth, http.StatusOK, "", ""},
		"and_however_the_path_is_written":      {login.ScopeAll, policy.Basic{Block: true, Paths: []string{auth}}, basic(email, password), "", "//sys/v1/%73ession//auth/", http.StatusOK, "", ""},
		"goes_on_for_a_user":                   {login.ScopeAll, policy.Basic{Block: true, Users: []string{strings.ToUpper(email)}}, basic(email, password), "", auth, http.StatusOK, "", ""},
		"is_warned_of_on_success":              {login.ScopeAll, policy.Basic{Warn: true}, basic(email, password), "", auth, http.StatusOK, "", warning},
		"is_warned_of_on_failure":              {login.ScopeAll, policy.Basic{Warn: true}, basic(email, "wrong"), "", auth, http.StatusUnauthorized, refused, warning},
		"never_means_a_body":                   {login.ScopeAll, all, "", body, auth, http.StatusOK, "", ""},
		"with_a_token_is_refused_as_always":    {login.ScopeAll, all, basic(email, token), "", auth, http.StatusUnauthorized, refused, ""},
		"with_a_token_is_refused_by_default":   {login.ScopeREST, policy.Basic{}, basic(email, token), "", auth, http.StatusUnauthorized, refused, ""},
		"never_means_what_cannot_be_read":      {login.ScopeAll, all, "Basic !", "", auth, http.StatusUnauthorized, refused, ""},
		"is_refused_unread_at_all_other_doors": {login.ScopeAll, all, basic(email, password), "", "/sys/v1/session/refresh", http.StatusUnauthorized, noSession, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, local)
			h.rule(t, c.scope, c.is)
			w := h.post(c.path, c.basic, c.body)
			want(t, w, c.status, c.says)
			if got := w.Header().Get(api.WarningHeader); got != c.warned {
				t.Errorf("warned: %q", got)
			}
			if c.says == forbidden && h.hasher.checks.Load() != 0 {
				t.Error("the password was looked at")
			}
		})
	}
	t.Run("is_not_what_programs_send", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, local)
		session := h.signIn(t, h.asDana())
		h.rule(t, login.ScopeAll, all)
		for _, way := range []string{h.asApp(), session} {
			w := h.call("GET", "/sys/v1/accounts", way, "")
			want(t, w, http.StatusOK, "")
			if w.Header().Get(api.WarningHeader) != "" {
				t.Error("warned")
			}
		}
		h.signIn(t, h.asApp())
	})
}
