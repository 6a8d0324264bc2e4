package bitbucket_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/recent"
)

const (
	laptop = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c laptop"
	deploy = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU deploy"

	refusedCredential = `{"errors":[{"context":null,"message":"Authentication failed. Please check your credentials and try again.","exceptionName":"com.atlassian.bitbucket.auth.IncorrectPasswordAuthenticationException"}]}`
	notPermitted      = `{"errors":[{"context":null,"message":"You are not permitted to access this resource","exceptionName":"com.atlassian.bitbucket.AuthorisationException"}]}`
	noValidKey        = `{"errors":[{"context":"text","message":"The SSH key is not valid.","exceptionName":null}]}`
	noKeyPermission   = `{"errors":[{"context":"permission","message":"Only read and write permissions can be granted to an access key.","exceptionName":null}]}`
)

// use notes that a key was used for git.
func (h *house) use(t *testing.T, number int64) {
	t.Helper()
	k, err := h.keys.Store.ByNumber(t.Context(), number, h.clock.Now())
	must(t, err)
	must(t, h.keys.Store.MarkUsed(t.Context(), []recent.Use{{ID: k.ID, At: h.clock.Now(), Address: "192.0.2.1"}}))
}

// reserve leaves the settings of a project's repositories to its administrators.
func (h *house) reserve(t *testing.T, key string) {
	t.Helper()
	root, yes := access.LocalCaller("root", h.clock.Now()), true
	p, err := h.projects.ByKey(t.Context(), root, key)
	must(t, err)
	_, err = h.projects.Update(t.Context(), root, p.ID, project.Change{Restricted: &yes})
	must(t, err)
}

// keep puts keys on file: 1, which opens project and repository, and 2 of a user.
func (h *house) keep(t *testing.T, key, slug, user string) {
	t.Helper()
	root := access.LocalCaller("root", h.clock.Now())
	in, err := h.repos.Find(t.Context(), root, key, slug)
	must(t, err)
	for _, at := range []access.Resource{in.Resource(), in.Project.Resource()} {
		_, err := h.keys.AddAccessKey(t.Context(), root, at, sshkey.Read, sshkey.New{Text: deploy, Via: sshkey.Wire})
		must(t, err)
	}
	_, err = h.keys.AddUserKey(t.Context(), root, h.ids[user], sshkey.New{Text: laptop, Via: sshkey.Wire})
	must(t, err)
}

// tokens of the core: what dana may use, and what belongs to no person.
func (h *house) issued(t *testing.T, of access.Resource, name string, p ...token.Permission) string {
	t.Helper()
	plain, _, err := h.tokens.Issue(t.Context(), h.caller(t, "dana"), of, token.Draft{Name: name, Permissions: p})
	must(t, err)
	return plain.Reveal()
}

// The operations on access keys of a repository and its project, and on keys of people, by what tokens may do.
var (
	placeDoors = []string{
		"GET /keys/projects/OPS/repos/infra/ssh", "POST /keys/projects/OPS/repos/infra/ssh", "GET /keys/projects/OPS/repos/infra/ssh/1",
		"PUT /keys/projects/OPS/repos/infra/ssh/1/permission/REPO_READ", "DELETE /keys/projects/OPS/repos/infra/ssh/7",
		"GET /keys/projects/OPS/ssh", "POST /keys/projects/OPS/ssh", "GET /keys/projects/OPS/ssh/1",
		"PUT /keys/projects/OPS/ssh/1/permission/PROJECT_READ", "DELETE /keys/projects/OPS/ssh/7",
		"DELETE /keys/ssh/7", "GET /keys/ssh/1/projects", "GET /keys/ssh/1/repos",
	}
	ownKeys    = []string{"GET /ssh/keys", "GET /ssh/keys/2"}
	ownChanges = []string{"POST /ssh/keys", "DELETE /ssh/keys/2", "DELETE /ssh/keys"}
	keyDoors   = slices.Concat(placeDoors, ownKeys, ownChanges, []string{"GET /ssh/settings"})
)

// core calls an operation by its name in the lists above.
func (h *house) core(version, operation, body string, header ...string) *http.Response {
	method, path, _ := strings.Cut(operation, " ")
	_, part, _ := strings.Cut(path, "/")
	part, rest, _ := strings.Cut(part, "/")
	return h.call(method, "/rest/"+part+"/"+version+"/"+rest, "", body, header...).Result()
}

// Each door takes what it takes by every way that it accepts, and each way does the same; everything else gets the one plain 401 (rule W6).
func TestDoors_of_keys(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.settle(t)
	h.keep(t, "OPS", "infra", "dana")
	in, err := h.repos.Find(t.Context(), access.LocalCaller("root", h.clock.Now()), "OPS", "infra")
	must(t, err)
	personal := h.issued(t, token.OfUser(h.ids["dana"]), "mine", token.RepoAdmin, token.ProjectAdmin)
	weak := h.issued(t, token.OfUser(h.ids["dana"]), "weak", token.RepoWrite)
	ofProject := h.issued(t, in.Project.Resource(), "project", token.RepoAdmin, token.ProjectAdmin)
	ofRepo := h.issued(t, in.Resource(), "repo", token.RepoAdmin)
	bare := strings.TrimPrefix(personal, "BBDC-")

	people := map[string][]string{
		"a session as a bearer": {"Authorization", h.bearer("dana")},
		"a session as a cookie": {"Cookie", "gatehouse=" + h.bearers["dana"], "X-Atlassian-Token", "no-check"},
		"name and password":     {"Authorization", basic("dana", password)},
		"address and password":  {"Authorization", basic("dana@example.test", password)},
	}
	programs := map[string][]string{
		"a personal token":                               {"Authorization", "Bearer " + personal},
		"a personal token without prefix":                {"Authorization", "Bearer " + bare},
		"a personal token by Basic":                      {"Authorization", basic("dana", personal)},
		"a personal token by Basic, without prefix":      {"Authorization", basic("dana", bare)},
		"a personal token by Basic, with an address":     {"Authorization", basic("dana@example.test", personal)},
		"a personal token by Basic, in another spelling": {"Authorization", basic("DANA", personal)},
	}
	refused := map[string][]string{
		"a session that is none":                {"Authorization", "Bearer " + strings.Repeat("A", 86)},
		"a session that waits":                  {"Authorization", "Bearer " + h.session(t, "dana", session.Pending)},
		"a session good for enrolment":          {"Authorization", "Bearer " + h.session(t, "dana", session.EnrolOnly)},
		"an application's session":              {"Authorization", "Bearer " + h.program},
		"a token that is none":                  {"Authorization", "Bearer BBDC-" + strings.Repeat("A", 44)},
		"a wrong token":                         {"Authorization", "Bearer " + personal[:len(personal)-4] + "AAAA"},
		"somebody else's token by Basic":        {"Authorization", basic("erin", personal)},
		"nobody's token by Basic":               {"Authorization", basic("", personal)},
		"a project's token by Basic":            {"Authorization", basic("dana", ofProject)},
		"a repository's token by Basic":         {"Authorization", basic("", ofRepo)},
		"a native API key":                      {"Authorization", "Bearer gate_" + strings.Repeat("A", 40)},
		"a JWT":                                 {"Authorization", "Bearer eyJhbGciOiJub25lIn0.e30."},
		"another scheme":                        {"Authorization", "Digest x"},
		"two headers":                           {"Authorization", h.bearer("dana"), "Authorization", h.bearer("dana")},
		"a bad header with a good cookie":       {"Authorization", "Bearer x", "Cookie", "gatehouse=" + h.bearers["dana"]},
		"a person with a second factor":         {"Authorization", basic("erin", password)},
		"a cookie that is none":                 {"Cookie", "gatehouse=" + strings.Repeat("A", 86), "X-Atlassian-Token", "no-check"},
		"an application's id and secret, Basic": {"Authorization", basic(h.appID, h.appSecret)},
	}
	nobody := map[string][]string{
		"nothing":                     {},
		"an API key's header":         {"X-Api-Key", "gate_" + strings.Repeat("A", 40)},
		"a cookie of another dialect": {"Cookie", "BITBUCKETSESSIONID=" + h.bearers["dana"]},
	}
	check := func(doors []string, with map[string][]string, refusal string) {
		t.Helper()
		for _, door := range doors {
			for name, header := range with {
				r := h.core("latest", door, "", header...)
				is := bodyOf(t, r)
				switch {
				case refusal != "" && (r.StatusCode != http.StatusUnauthorized || is != refusal):
					t.Errorf("%s with %s answered %d %s", door, name, r.StatusCode, is)
				case refusal == "" && (r.StatusCode == http.StatusUnauthorized || r.StatusCode == http.StatusForbidden):
					t.Errorf("%s with %s answered %d %s", door, name, r.StatusCode, is)
				}
			}
		}
	}
	every := keyDoors[:len(keyDoors)-2] // that one's own keys go is seen in testdata
	every = append(slices.DeleteFunc(slices.Clone(every), func(d string) bool { return d == "DELETE /ssh/keys/2" }), "GET /ssh/settings", "DELETE /ssh/keys/7")
	check(every, people, "")
	check(slices.Concat(placeDoors, ownKeys, []string{"GET /ssh/settings"}), programs, "")
	check(ownChanges, programs, notPermitted)
	asRepo, asProject, weakly := map[string][]string{"a repository's token": {"Authorization", "Bearer " + ofRepo}}, map[string][]string{"a project's token": {"Authorization", "Bearer " + ofProject}}, map[string][]string{"a token for pushes": {"Authorization", "Bearer " + weak}}
	check(placeDoors[:5], asRepo, "")
	check(placeDoors[5:10], asRepo, notPermitted)
	check(placeDoors, asProject, "")
	check(placeDoors[:10], weakly, notPermitted)
	check(ownKeys, weakly, "")
	check(slices.Concat(ownKeys, ownChanges), asProject, notPermitted)
	check(slices.Concat(ownKeys, ownChanges), asRepo, notPermitted)
	check(keyDoors, nobody, notPermitted)
	check(keyDoors[:1], refused, refusedCredential)
	for _, read := range []string{"a person with a second factor", "an application's id and secret, Basic"} { // these are counted
		delete(refused, read)
	}
	check(keyDoors, refused, refusedCredential)
	if n := len(h.listedKeys(t)); n != 1 {
		t.Errorf("dana has %d keys, want 1", n)
	}
}

func (h *house) listedKeys(t *testing.T) []string {
	t.Helper()
	return strings.SplitAfter(strings.TrimSpace(bodyOf(t, h.core("latest", "GET /ssh/keys", "", "Authorization", h.bearer("dana")))), `"fingerprint"`)[1:]
}

// The core asks browsers for a password only where no page of ours would see the question: without a cookie, and not for scripts.
func TestTheCoreAsksForAPassword(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for _, c := range []struct {
		asks   bool
		header []string
	}{
		{true, nil},
		{true, []string{"Authorization", "Bearer x"}},
		{false, []string{"X-Requested-With", "XMLHttpRequest"}},
		{false, []string{"Cookie", "gatehouse=x"}},
		{false, []string{"Cookie", "gatehouse=x; gatehouse=y"}},
		{false, []string{"Cookie", "gatehouse=x", "Authorization", "Bearer x"}},
		{true, []string{"Cookie", "theme=dark"}},
	} {
		r := h.core("latest", "GET /ssh/keys", "", c.header...)
		if is := r.Header.Get("WWW-Authenticate"); r.StatusCode != http.StatusUnauthorized || is != map[bool]string{true: `Basic realm="Gatehouse"`}[c.asks] {
			t.Errorf("%q: %d, asked with %q", c.header, r.StatusCode, is)
		}
		must(t, r.Body.Close())
	}
}

// What is refused at every door looks here as it does there, and keeps the core's form where the core has one.
func TestTheCoreRefuses(t *testing.T) {
	t.Parallel()
	const blocked = `{"message":"Basic Authentication has been disabled on this instance."}`
	for name, c := range map[string]struct {
		before func(t *testing.T, h *house)
		header []string
		body   string
		status int
		answer string
		more   string // a header that comes along
	}{
		"a cookie of a request that began elsewhere": {
			header: []string{"Cookie", "{{cookie}}", "Origin", "https://evil.example"}, status: 403, answer: "XSRF check failed",
		},
		"a cookie of a request that began nobody knows where": {header: []string{"Cookie", "{{cookie}}"}, status: 403, answer: "XSRF check failed"},
		"a cookie of a request of ours":                       {header: []string{"Cookie", "{{cookie}}", "Origin", local}, status: 400, answer: noValidKey},
		"a body that is too large": {
			header: []string{"Authorization", "{{bearer}}"}, body: `{"text":"` + strings.Repeat("a", 1<<20) + `"}`, status: 413,
			answer: `{"errors":[{"context":null,"message":"The request body is too large.","exceptionName":null}]}`,
		},
		"passwords while Basic is blocked": {
			before: func(t *testing.T, h *house) {
				t.Helper()
				want(t, h.tsv("latest", "PUT /basicauth/config", h.bearer("admin"), `{"block-requests":true}`), 204, "")
			},
			header: []string{"Authorization", basic("dana", password)}, status: 403, answer: blocked,
		},
		"a CAPTCHA that is due": {
			before: func(t *testing.T, h *house) {
				t.Helper()
				for range 5 {
					must(t, h.core("latest", "GET /ssh/keys", "", "Authorization", basic("dana", "wrong")).Body.Close())
				}
			},
			header: []string{"Authorization", basic("dana", password)}, status: 403,
			answer: `{"errors":[{"context":null,"message":"CAPTCHA required. Log in on the web to continue.","exceptionName":"com.atlassian.bitbucket.auth.CaptchaRequiredAuthenticationException"}]}`,
		},
		"passwords while hashing is busy": {
			before: func(_ *testing.T, h *house) { h.hasher.busy.Store(true) },
			header: []string{"Authorization", basic("dana", password)}, status: 503, answer: `{"errors":[{"context":null,"message":"Busy","exceptionName":null}]}`, more: "Retry-After",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, local)
			if c.before != nil {
				c.before(t, h)
			}
			known := strings.NewReplacer("{{cookie}}", "gatehouse="+h.bearers["dana"], "{{bearer}}", h.bearer("dana"))
			header := slices.Clone(c.header)
			for i := range header {
				header[i] = known.Replace(header[i])
			}
			r := h.core("latest", "POST /ssh/keys", c.body, header...)
			if is := bodyOf(t, r); r.StatusCode != c.status || is != c.answer || c.more != "" && r.Header.Get(c.more) == "" {
				t.Errorf("answered %d %s %v", r.StatusCode, is, r.Header)
			}
		})
	}
}

// What a path or a query holds is never too much for a database.
func TestOddNamesAreNobodys(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.settle(t)
	for operation, status := range map[string]int{
		"GET /keys/projects/%FF/ssh":                           404,
		"GET /keys/projects/OPS/repos/%FE%FF/ssh":              404,
		"GET /keys/projects/OPS/ssh?filter=%00":                200,
		"GET /keys/projects/OPS/ssh?filter=%FF&start=99999999": 200,
		"GET /keys/projects/OPS/ssh?start=9223372036854775807": 200,
		"GET /keys/projects/OPS/ssh?permission=%FF":            400,
		"GET /keys/projects/OPS/ssh/99999999999999999999":      404,
		"GET /ssh/keys?user=%00":                               404,
		"GET /ssh/keys?user=%FF":                               404,
		"DELETE /ssh/keys/-1":                                  204,
	} {
		r := h.core("1.0", operation, "", "Authorization", h.bearer("dana"))
		if is := bodyOf(t, r); r.StatusCode != status {
			t.Errorf("%s answered %d %s", operation, r.StatusCode, is)
		}
	}
}

// The published examples of access keys and SSH keys, sent by a system administrator, and what they answer when their one fault is mended.
func TestPublishedExamples_of_keys(t *testing.T) {
	t.Parallel()
	const inRepo, inProject = "/keys/projects/PRJ/repos/my-repo/ssh", "/keys/projects/PRJ/ssh"
	accessKey := func(permission any) string {
		return published(t, "access-key", map[string]any{"permission": permission})
	}
	for name, e := range map[string]struct {
		operation, body string
		status          int
		answer          string // "" is not compared
	}{
		"access keys of a repository":                     {"GET " + inRepo, "", 200, ""},
		"another one":                                     {"POST " + inRepo, published(t, "access-key", nil), 400, noKeyPermission},
		"another one, with a permission":                  {"POST " + inRepo, accessKey("REPO_READ"), 400, noValidKey},
		"an access key of a repository":                   {"GET " + inRepo + "/1", "", 200, ""},
		"which goes":                                      {"DELETE " + inRepo + "/1", "", 204, ""},
		"and goes when it is not there":                   {"DELETE " + inRepo + "/7", "", 204, ""},
		"what it may do":                                  {"PUT " + inRepo + "/1/permission/REPO_READ", "", 200, ""},
		"what no key may do":                              {"PUT " + inRepo + "/1/permission/USER_ADMIN", "", 400, noKeyPermission},
		"access keys of a project":                        {"GET " + inProject, "", 200, ""},
		"another one of a project":                        {"POST " + inProject, published(t, "access-key", nil), 400, noKeyPermission},
		"another one of a project, with a permission":     {"POST " + inProject, accessKey("PROJECT_READ"), 400, noValidKey},
		"an access key of a project":                      {"GET " + inProject + "/1", "", 200, ""},
		"which goes there":                                {"DELETE " + inProject + "/1", "", 204, ""},
		"what it may do there":                            {"PUT " + inProject + "/1/permission/PROJECT_READ", "", 200, ""},
		"what no key may do there":                        {"PUT " + inProject + "/1/permission/USER_ADMIN", "", 400, noKeyPermission},
		"a key and all its places":                        {"DELETE /keys/ssh/1", published(t, "locations", nil), 204, ""},
		"a key that is not there":                         {"DELETE /keys/ssh/7", published(t, "locations", nil), 204, ""},
		"projects of a key":                               {"GET /keys/ssh/1/projects", "", 200, ""},
		"repositories of a key":                           {"GET /keys/ssh/1/repos", "", 200, ""},
		"keys of a user":                                  {"GET /ssh/keys", "", 200, ""},
		"another key of a user":                           {"POST /ssh/keys", published(t, "ssh-key", nil), 400, noValidKey},
		"another key of a user, with one that is written": {"POST /ssh/keys", published(t, "ssh-key", map[string]any{"text": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO1JKMYo0cLG6ukDOJBZlWEpWSc6XGP5NjbBRhSshzfR"}), 201, ""},
		"all keys of a user go":                           {"DELETE /ssh/keys", "", 204, ""},
		"a key of a user":                                 {"GET /ssh/keys/2", "", 200, ""},
		"a key of a user goes":                            {"DELETE /ssh/keys/2", "", 204, ""},
		"settings":                                        {"GET /ssh/settings", "", 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, local)
			h.settle(t)
			h.keep(t, "PRJ", "my-repo", "admin")
			types := []string{"Content-Type", "application/json", "Accept", "application/json;charset=UTF-8"}
			if r := h.core("latest", e.operation, e.body, types...); r.StatusCode != 401 || bodyOf(t, r) != notPermitted {
				t.Errorf("nobody is answered %d", r.StatusCode)
			}
			for range 2 { // what is gone goes once more
				r := h.core("latest", e.operation, e.body, append(types, "Authorization", h.bearer("admin"))...)
				if is := bodyOf(t, r); r.StatusCode != e.status || e.answer != "" && is != e.answer {
					t.Errorf("answered %d %s", r.StatusCode, is)
				}
				if !strings.HasPrefix(e.operation, "DELETE") {
					break
				}
			}
		})
	}
	h := newHouse(t, local)
	r := h.core("latest", "DELETE /keys/ssh/1", published(t, "locations", nil), "Authorization", h.bearer("admin"))
	if is := bodyOf(t, r); r.StatusCode != 404 || !strings.Contains(is, `"Project PRJ does not exist."`) {
		t.Errorf("without the project: %d %s", r.StatusCode, is)
	}
}

// Keys that come in here open something at once, unless every key must be proven; no answer tells which.
func TestProofIsDemandedByTheSettingAlone(t *testing.T) {
	t.Parallel()
	for setting, state := range map[sshkey.RequireProof]sshkey.State{sshkey.ProofConsole: sshkey.Active, sshkey.ProofOff: sshkey.Active, sshkey.ProofAll: sshkey.Waiting} {
		t.Run(string(setting), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, local)
			h.settle(t)
			h.keys.RequireProof = setting
			for operation, body := range map[string]string{"POST /ssh/keys": `{"text":"` + laptop + `"}`, "POST /keys/projects/OPS/ssh": `{"key":{"text":"` + deploy + `"}}`} {
				r := h.core("latest", operation, body, "Authorization", h.bearer("dana"))
				if is := bodyOf(t, r); r.StatusCode != http.StatusCreated || strings.Contains(is, "state") || strings.Contains(is, "proven") {
					t.Errorf("%s answered %d %s", operation, r.StatusCode, is)
				}
			}
			for number := range int64(2) {
				k, err := h.keys.Store.ByNumber(t.Context(), number+1, h.clock.Now())
				must(t, err)
				if k.State != state || !k.Unproven() {
					t.Errorf("key %d is %s", number+1, k.State)
				}
			}
		})
	}
}
