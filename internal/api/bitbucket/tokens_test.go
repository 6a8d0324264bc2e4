package bitbucket_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/recent"
)

// gather makes two groups of the default account: ops, which dana is in, and Crew.
func (h *house) gather(t *testing.T) {
	t.Helper()
	by := h.login.Access.For(access.LocalCaller("root", h.clock.Now()))
	ops, err := h.groups.Create(t.Context(), by, identity.DefaultAccount, "ops")
	must(t, err)
	must(t, h.groups.AddMember(t.Context(), by, ops.ID, h.ids["dana"]))
	_, err = h.groups.Create(t.Context(), by, identity.DefaultAccount, "Crew")
	must(t, err)
}

const (
	inOPS   = "/rest/access-tokens/latest/projects/OPS"
	inInfra = "/rest/access-tokens/latest/projects/OPS/repos/infra"
	ofDana  = "/rest/access-tokens/latest/users/dana"

	notFresh = `{"errors":[{"context":null,"message":"Log in again or confirm your identity to change credentials.","exceptionName":"com.atlassian.bitbucket.AuthorisationException"}]}`
)

// at says what is wrong with a member.
func at(member, text string) string {
	return `{"errors":[{"context":"` + member + `","message":"` + text + `","exceptionName":null}]}`
}

// shownToken is a token as the wire shows it.
type shownToken struct {
	ID, Name, Token                            string
	CreatedDate, ExpiryDate, LastAuthenticated *int64
	Permissions                                []string
}

// issue makes a token and returns it with its plain text.
func (h *house) issue(t *testing.T, who, base, permissions string) shownToken {
	t.Helper()
	w := h.call("PUT", base, h.bearer(who), `{"name":"ci","permissions":[`+permissions+`]}`)
	want(t, w, http.StatusOK, "")
	var made shownToken
	must(t, json.Unmarshal(w.Body.Bytes(), &made))
	return made
}

// The form of ids and of plain texts, and by which ways each token opens what (rule W6): with and without its prefix, as Bearer, and, a person's alone, in
// the place of the password of whom it belongs to.
func TestTokens_open_doors(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.settle(t)
	personal, ofProject, ofRepo := h.issue(t, "dana", ofDana, `"PROJECT_READ"`), h.issue(t, "dana", inOPS, `"PROJECT_READ"`), h.issue(t, "olga", inInfra, `"REPO_READ"`)
	for _, made := range []shownToken{personal, ofProject, ofRepo} {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(made.Token, "BBDC-"))
		if len(made.Token) != 49 || err != nil || len(raw) != 33 || string(raw[:13]) != made.ID+":" || !regexp.MustCompile("^[1-9][0-9]{11}$").MatchString(made.ID) {
			t.Errorf("%+v: %q, %v", made, raw, err)
		}
	}
	bare := strings.TrimPrefix(personal.Token, "BBDC-")
	const repo = "/rest/api/latest/projects/OPS/repos/infra"
	for name, c := range map[string]struct {
		header string
		as     string // X-AUSERNAME; "" is refused
	}{
		"personal, Bearer":                     {"Bearer " + personal.Token, "dana"},
		"personal, without prefix":             {"Bearer " + bare, "dana"},
		"personal, as dana":                    {basic("dana", personal.Token), "dana"},
		"personal, as dana, without prefix":    {basic("dana", bare), "dana"},
		"personal, as DANA":                    {basic("DANA", personal.Token), "dana"},
		"personal, by the e-mail address":      {basic("Dana@example.test", personal.Token), "dana"},
		"personal, as somebody else":           {basic("erin", personal.Token), ""},
		"personal, as nobody":                  {basic("", personal.Token), ""},
		"personal, in lower case":              {"Bearer " + strings.ToLower(personal.Token), ""},
		"personal, cut":                        {"Bearer " + personal.Token[:48], ""},
		"personal, another secret":             {"Bearer " + personal.Token[:40] + "AAAAAAAAA", ""},
		"project, Bearer":                      {"Bearer " + ofProject.Token, "ci"},
		"project, without prefix":              {"Bearer " + ofProject.Token[5:], "ci"},
		"project, in the place of a password":  {basic("dana", ofProject.Token), ""},
		"project, under its own name":          {basic("ci", ofProject.Token), ""},
		"repository, Bearer":                   {"Bearer " + ofRepo.Token, "ci"},
		"repository, in a password's place":    {basic("olga", ofRepo.Token), ""},
		"repository, as nobody":                {basic("", ofRepo.Token), ""},
		"two headers":                          {"", ""},
		"the program's session":                {"Bearer " + h.program, ""},
		"a program's secret":                   {basic(h.appID, h.appSecret), ""},
		"somebody's session as a password":     {basic("dana", h.bearers["dana"]), ""},
		"a wrong password":                     {basic("dana", "wrong"), ""},
		"a password of who has another factor": {basic("erin", password), ""},
	} {
		t.Run(name, func(t *testing.T) {
			var w *httptest.ResponseRecorder
			if w = h.call("GET", repo, c.header, ""); name == "two headers" {
				w = h.call("GET", repo, "Bearer "+personal.Token, "", "Authorization", "Bearer "+personal.Token)
			}
			if got := w.Header().Get("X-AUSERNAME"); got != c.as {
				t.Errorf("known as %q", got)
			}
			if c.as != "" {
				want(t, w, http.StatusOK, "")
				return
			}
			want(t, w, http.StatusUnauthorized, refusedCredential)
		})
	}
	// Plugins and administrators' routes know no tokens; what signs people in looks at none.
	for _, header := range []string{"Bearer " + personal.Token, basic("dana", personal.Token), "Bearer " + ofProject.Token} {
		for _, door := range officeDoors {
			want(t, h.tsv("latest", door, header, ""), http.StatusUnauthorized, notIn)
		}
		want(t, h.call("POST", "/rest/tsv/latest/authenticate", "", `{"username":"dana","password":"`+personal.Token+`"}`), http.StatusUnauthorized, "")
	}
	admins := h.issue(t, "admin", "/rest/access-tokens/latest/users/admin", `"REPO_ADMIN","PROJECT_ADMIN"`)
	for _, route := range h.mux.Routes() {
		if strings.Contains(route.Pattern, "/admin/") {
			want(t, h.call(route.Method, route.Pattern+"?name=dana&permission=ADMIN&password=a-long-phrase&emailAddress=x@example.test", "Bearer "+admins.Token, ""), http.StatusUnauthorized, notPermitted)
		}
	}
}

// Who may do what with whose tokens: every kind of caller at each of the fifteen operations.
func TestTokens_matrix(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.settle(t)
	all := `"REPO_ADMIN","PROJECT_ADMIN"`
	personal, ofProject, ofRepo := h.issue(t, "dana", ofDana, all), h.issue(t, "dana", inOPS, all), h.issue(t, "olga", inInfra, `"REPO_ADMIN"`)
	weak := h.issue(t, "dana", ofDana, `"REPO_WRITE","PROJECT_WRITE"`)
	targets := map[string]struct{ base, owner, permissions string }{
		"person": {ofDana, "dana", all}, "project": {inOPS, "dana", all}, "repository": {inInfra, "olga", `"REPO_ADMIN"`},
	}
	// In the order list, show, change, remove, create: y may, n is 401.
	for caller, c := range map[string]struct{ header, person, project, repository string }{
		"nobody":                    {"", "nnnnn", "nnnnn", "nnnnn"},
		"a reader":                  {h.bearer("erin"), "nnnnn", "nnnnn", "nnnnn"},
		"the person":                {h.bearer("dana"), "yyyyy", "yyyyy", "yyyyy"},
		"the person, by password":   {basic("dana", password), "yyyyy", "yyyyy", "yyyyy"},
		"the repository's":          {h.bearer("olga"), "nnnnn", "nnnnn", "yyyyy"},
		"an administrator":          {h.bearer("mara"), "yyyyn", "yyyyy", "yyyyy"},
		"a system administrator":    {h.bearer("admin"), "yyyyn", "yyyyy", "yyyyy"},
		"a strong personal token":   {"Bearer " + personal.Token, "yynnn", "yyyyn", "yyyyn"},
		"the same as a password":    {basic("dana", personal.Token), "yynnn", "yyyyn", "yyyyn"},
		"a weak personal token":     {"Bearer " + weak.Token, "yynnn", "nnnnn", "nnnnn"},
		"a token of the project":    {"Bearer " + ofProject.Token, "nnnnn", "yyyyn", "yyyyn"},
		"a token of the repository": {"Bearer " + ofRepo.Token, "nnnnn", "nnnnn", "yyyyn"},
		"a program":                 {"Bearer " + h.program, "nnnnn", "nnnnn", "nnnnn"},
	} {
		for target, may := range map[string]string{"person": c.person, "project": c.project, "repository": c.repository} {
			at := targets[target]
			one := h.issue(t, at.owner, at.base, at.permissions)
			for i, call := range []struct {
				method, path, body string
				status             int
			}{
				{"GET", at.base, "", http.StatusOK},
				{"GET", at.base + "/" + one.ID, "", http.StatusOK},
				{"POST", at.base + "/" + one.ID, `{"name":"changed"}`, http.StatusOK},
				{"DELETE", at.base + "/" + one.ID, "", http.StatusNoContent},
				{"PUT", at.base, `{"name":"ci","permissions":["REPO_READ"]}`, http.StatusOK},
			} {
				status := call.status
				if may[i] == 'n' {
					status = http.StatusUnauthorized
				}
				if w := h.call(call.method, call.path, c.header, call.body); w.Code != status {
					t.Errorf("%s %ss of a %s: %d %s, want %d", caller, call.method, target, w.Code, w.Body, status)
				}
			}
		}
	}
}

// What a token cannot do any more the moment its owner cannot, and what it could never do (rule W7).
func TestTokens_never_exceed_their_owner(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.settle(t)
	root := access.LocalCaller("root", h.clock.Now())
	dana := access.Subject{Kind: access.User, ID: h.ids["dana"]}
	ops, err := h.projects.ByKey(t.Context(), root, "OPS")
	must(t, err)
	made := h.issue(t, "dana", ofDana, `"PROJECT_ADMIN"`)
	change := func(status int) {
		t.Helper()
		want(t, h.call("PUT", "/rest/api/latest/projects/OPS", "Bearer "+made.Token, `{"description":"d"}`), status, "")
	}
	change(http.StatusOK)
	must(t, h.login.Access.SetRole(t.Context(), root, dana, access.ProjectReader, ops.Resource()))
	change(http.StatusUnauthorized)
	must(t, h.login.Access.SetRole(t.Context(), root, dana, access.ProjectAdmin, ops.Resource()))
	change(http.StatusOK)
	want(t, h.call("POST", ofDana+"/"+made.ID, h.bearer("dana"), `{"permissions":["PROJECT_READ"]}`), http.StatusOK, "")
	change(http.StatusUnauthorized)
	want(t, h.call("GET", "/rest/api/latest/projects/OPS", "Bearer "+made.Token, ""), http.StatusOK, "")
	must(t, h.users.SetDisabled(t.Context(), h.login.Access.For(root), h.ids["dana"], true))
	want(t, h.call("GET", "/rest/api/latest/projects/OPS", "Bearer "+made.Token, ""), http.StatusUnauthorized, refusedCredential)
}

// What makes or changes a person's token proves the person anew, and what takes it away does not (rule F14).
func TestTokens_of_people_take_a_fresh_proof(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	made := h.issue(t, "dana", ofDana, `"REPO_READ"`)
	h.clock.pass(11 * time.Minute)
	body := `{"name":"ci","permissions":["REPO_READ"]}`
	want(t, h.call("PUT", ofDana, h.bearer("dana"), body), http.StatusUnauthorized, notFresh)
	want(t, h.call("POST", ofDana+"/"+made.ID, h.bearer("dana"), body), http.StatusUnauthorized, notFresh)
	want(t, h.call("PUT", ofDana, basic("dana", password), body), http.StatusOK, "")
	want(t, h.tsv("latest", "POST /elevate-permissions/password", h.bearer("dana"), `{"password":"`+password+`"}`), http.StatusNoContent, "")
	want(t, h.call("PUT", ofDana, h.bearer("dana"), body), http.StatusOK, "")
	want(t, h.call("POST", ofDana+"/"+made.ID, h.bearer("dana"), body), http.StatusOK, "")
	h.clock.pass(11 * time.Minute)
	want(t, h.call("DELETE", ofDana+"/"+made.ID, h.bearer("dana"), ""), http.StatusNoContent, "")
}

// What gives rights on the installation proves who gives them anew, as at every door (rule F14); taking them back does not.
func TestPermissions_on_the_installation_take_a_fresh_proof(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	stale := h.bearer("mara")
	h.clock.pass(11 * time.Minute)
	const dana = "/rest/api/latest/admin/permissions/users?name=dana"
	want(t, h.call("PUT", dana+"&permission=PROJECT_CREATE", stale, ""), http.StatusUnauthorized, notFresh)
	want(t, h.call("PUT", dana+"&permission=PROJECT_CREATE", basic("mara", password), ""), http.StatusNoContent, "")
	want(t, h.call("DELETE", dana, stale, ""), http.StatusNoContent, "")
}

// Pages are by id, hold what is asked for, and tell where the next begins. A token shows when it was used last.
func TestTokens_pages(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	var ids []string
	for range 5 {
		ids = append(ids, h.issue(t, "dana", ofDana, `"REPO_READ"`).ID)
	}
	slices.Sort(ids)
	used, err := h.tokens.Store.ByHandle(t.Context(), ids[1])
	must(t, err)
	must(t, h.tokens.Store.MarkUsed(t.Context(), []recent.Use{{ID: used.ID, At: h.clock.Now(), Address: "192.0.2.1", Door: "test"}}))
	start, got := 0, []string{}
	for range 3 {
		var p struct {
			Size, Limit, Start int
			IsLastPage         bool
			Values             []shownToken
			NextPageStart      *int
		}
		must(t, json.Unmarshal(h.call("GET", ofDana+"?limit=2&start="+strconv.Itoa(start), h.bearer("dana"), "").Body.Bytes(), &p))
		if p.Size != len(p.Values) || p.Limit != 2 || p.Start != start || p.IsLastPage != (p.NextPageStart == nil) {
			t.Errorf("%+v", p)
		}
		for _, one := range p.Values {
			got = append(got, one.ID)
			if lastly := one.LastAuthenticated; (lastly != nil) != (one.ID == ids[1]) || lastly != nil && *lastly != h.clock.Now().UnixMilli() {
				t.Errorf("%s was used %v", one.ID, lastly)
			}
		}
		if p.NextPageStart != nil {
			start = *p.NextPageStart
		}
	}
	if !slices.Equal(got, ids) {
		t.Errorf("%v, want %v", got, ids)
	}
}

// Every pair of permissions, at each kind of holder.
func TestTokens_permissions_that_go_together(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.tokens.MaxPerScope = 1000
	h.settle(t)
	repos, projects := []string{"", "REPO_READ", "REPO_WRITE", "REPO_ADMIN"}, []string{"", "PROJECT_READ", "PROJECT_WRITE", "PROJECT_ADMIN"}
	for base, who := range map[string]string{ofDana: "dana", inOPS: "dana", inInfra: "olga"} {
		for i, repo := range repos {
			for j, project := range projects {
				words := slices.DeleteFunc([]string{repo, project}, func(word string) bool { return word == "" })
				status, answer := http.StatusOK, ""
				switch {
				case len(words) == 0:
					status, answer = http.StatusBadRequest, at("permissions", "At least one permission is required.")
				case base == inInfra && j > 0:
					status, answer = http.StatusBadRequest, at("permissions", "Project permissions cannot be granted to a repository token.")
				case i > 0 && j > i:
					status, answer = http.StatusBadRequest, at("permissions", repo+" cannot be combined with "+project+".")
				}
				body, err := json.Marshal(map[string]any{"name": "ci", "permissions": words})
				must(t, err)
				t.Log(base, words)
				want(t, h.call("PUT", base, h.bearer(who), string(body)), status, answer)
			}
		}
	}
}

// What is wrong with a token is said in the wire's own words, and nothing is made by it.
func TestTokens_are_refused(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for _, c := range []struct{ member, value, text string }{
		{"name", `"` + strings.Repeat("é", 256) + `"`, "The name must be at most 255 characters long."},
		{"name", `"a\u0007b"`, "The name contains characters that are not allowed."},
		{"name", `{}`, "name must be a string."},
		{"name", `"\u0000"`, "name must be a string."},
		{"permissions", `[7]`, "Unknown permission: 7"},
		{"permissions", `[null]`, "permissions must be a list of strings."},
		{"permissions", `{}`, "permissions must be a list of strings."},
		{"permissions", `["?repo.read"]`, "Unknown permission: ?repo.read"},
		{"permissions", `["REPO_READ","repo.admin"]`, "Unknown permission: repo.admin"},
		{"permissions", `["PROJECT_ADMIN","REPO_READ","REPO_WRITE"]`, "REPO_WRITE cannot be combined with PROJECT_ADMIN."},
		{"expiryDays", `-9223372036854775808`, "expiryDays must be positive."},
		{"expiryDays", `9223372036854775808`, "expiryDays must be a whole number."},
		{"expiryDays", `2147483648`, "expiryDays must be a whole number."},
		{"expiryDays", `"soon"`, "expiryDays must be a whole number."},
		{"expiryDays", `true`, "expiryDays must be a whole number."},
	} {
		body := map[string]json.RawMessage{"name": json.RawMessage(`"ci"`), "permissions": json.RawMessage(`["REPO_READ"]`)}
		body[c.member] = json.RawMessage(c.value)
		text, err := json.Marshal(body)
		must(t, err)
		t.Log(c.member, c.value)
		want(t, h.call("PUT", ofDana, h.bearer("dana"), string(text)), http.StatusBadRequest, at(c.member, c.text))
	}
	want(t, h.call("GET", ofDana, h.bearer("dana"), ""), http.StatusOK, `{"size":0,"limit":25,"isLastPage":true,"values":[],"start":0,"nextPageStart":null}`)
	h.tokens.ExpiryRequired = true
	want(t, h.call("PUT", ofDana, h.bearer("dana"), `{"name":"ci","permissions":["REPO_READ"]}`), http.StatusBadRequest, at("expiryDays", "An expiry is required."))
	want(t, h.call("PUT", ofDana, h.bearer("dana"), `{"name":"ci","permissions":["REPO_READ"],"expiryDays":2147483647}`), http.StatusOK, "")
}

// The published examples of access tokens, sent by a system administrator, as printed.
func TestPublishedExamples_of_access_tokens(t *testing.T) {
	t.Parallel()
	const project, repo, person = "/projects/PRJ", "/projects/PRJ/repos/my-repo", "/users/admin"
	printed := published(t, "token", nil)
	noProject := at("permissions", "Project permissions cannot be granted to a repository token.")
	for name, e := range map[string]struct {
		operation string // {id} is a token on file, without an expiry
		body      string
		status    int
		answer    string // "" is not compared
		expires   bool   // 2154 days after it was made
	}{
		"list of a project":      {"GET " + project, "", 200, "", false},
		"make for a project":     {"PUT " + project, printed, 200, "", true},
		"show of a project":      {"GET " + project + "/{id}", "", 200, "", false},
		"change of a project":    {"POST " + project + "/{id}", printed, 200, "", true},
		"remove of a project":    {"DELETE " + project + "/{id}", "", 204, "", false},
		"list of a repository":   {"GET " + repo, "", 200, "", false},
		"make for a repository":  {"PUT " + repo, printed, 400, noProject, false},
		"show of a repository":   {"GET " + repo + "/{id}", "", 200, "", false},
		"change of a repository": {"POST " + repo + "/{id}", printed, 400, noProject, false},
		"remove of a repository": {"DELETE " + repo + "/{id}", "", 204, "", false},
		"list of a person":       {"GET " + person, "", 200, "", false},
		"make for a person":      {"PUT " + person, printed, 200, "", true},
		"show of a person":       {"GET " + person + "/{id}", "", 200, "", false},
		"change of a person":     {"POST " + person + "/{id}", printed, 200, "", true},
		"remove of a person":     {"DELETE " + person + "/{id}", "", 204, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, local)
			h.settle(t)
			method, path, _ := strings.Cut(e.operation, " ")
			path, hasID := strings.CutSuffix("/rest/access-tokens/latest"+path, "/{id}")
			base := path
			onFile := h.issue(t, "admin", base, `"REPO_READ"`)
			if hasID {
				path += "/" + onFile.ID
			}
			types := []string{"Content-Type", "application/json", "Accept", "application/json;charset=UTF-8"}
			want(t, h.call(method, path, "", e.body, types...), http.StatusUnauthorized, notPermitted)
			w := h.call(method, path, h.bearer("admin"), e.body, types...)
			want(t, w, e.status, e.answer)
			if !e.expires {
				if method == "DELETE" {
					want(t, h.call(method, path, h.bearer("admin"), "", types...), http.StatusNotFound, "")
				}
				return
			}
			var shown shownToken
			must(t, json.Unmarshal(w.Body.Bytes(), &shown))
			if shown.ExpiryDate == nil || *shown.ExpiryDate != *shown.CreatedDate+186105600000 || shown.Name != "My access token" ||
				!slices.Equal(shown.Permissions, []string{"REPO_ADMIN", "PROJECT_READ"}) || (shown.Token != "") != (method == "PUT") {
				t.Errorf("%s", w.Body)
			}
			if method == "PUT" {
				h.tokens.MaxDays = 365
				want(t, h.call(method, path, h.bearer("admin"), e.body, types...), http.StatusBadRequest, at("expiryDays", "An expiry of at most 365 days is required."))
				return
			}
			short := h.call("PUT", base, h.bearer("admin"), `{"name":"short","permissions":["REPO_READ"],"expiryDays":30}`)
			must(t, json.Unmarshal(short.Body.Bytes(), &shown))
			want(t, h.call(method, base+"/"+shown.ID, h.bearer("admin"), e.body, types...), http.StatusBadRequest, at("expiryDays", "Expiry can only be shortened."))
		})
	}
}

// A page of somebody who is gone shows nothing of them: neither their permissions nor their personal project's owner.
func TestPeople_who_are_gone_are_shown_nowhere(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.settle(t)
	want(t, h.call("POST", "/rest/api/latest/projects/~erin/repos", basic("admin", password), `{"name":"x"}`), http.StatusNotFound, "")
	want(t, h.call("POST", "/rest/api/latest/projects/~dana/repos", h.bearer("dana"), `{"name":"notes"}`), http.StatusCreated, "")
	made := h.issue(t, "dana", ofDana, `"REPO_READ"`)
	kept := h.issue(t, "dana", inOPS, `"PROJECT_READ"`)
	want(t, h.call("DELETE", "/rest/api/latest/admin/users?name=dana", h.bearer("mara"), ""), http.StatusOK, "")
	want(t, h.call("GET", "/rest/api/latest/projects/OPS", "Bearer "+made.Token, ""), http.StatusUnauthorized, refusedCredential)
	h.clock.pass(3 * time.Second) // nobody tells this house what its nodes remember
	want(t, h.call("GET", "/rest/api/latest/projects/OPS", h.bearer("dana"), ""), http.StatusUnauthorized, refusedCredential)
	want(t, h.call("GET", "/rest/api/latest/projects/OPS", "Bearer "+kept.Token, ""), http.StatusOK, "") // outlives who made it
	for _, path := range []string{"/projects/OPS/permissions/users", "/projects/~dana/permissions/users", "/users?filter=dana"} {
		if w := h.call("GET", "/rest/api/latest"+path, h.bearer("mara"), ""); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "dana") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	w := h.call("GET", "/rest/api/latest/projects/~dana/repos/notes", h.bearer("mara"), "")
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "owner") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
