package bitbucket_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/api/bitbucket"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/git"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// forge is a house whose repositories are on disk and served: infra and site of OPS, and open, which anybody may read. dana is the administrator of OPS; nils
// may do nothing.
type forge struct {
	*house
	http.Handler
	git *bitbucket.Git
}

func newForge(t *testing.T, change ...func(*git.Limits)) *forge {
	t.Helper()
	peers.Require(t, "git")
	ctx := t.Context()
	h := newHouse(t, local)
	h.settle(t)
	limits := git.DefaultLimits()
	for _, c := range change {
		c(&limits)
	}
	served, err := git.Open(ctx, filepath.Join(t.TempDir(), "git"), limits)
	must(t, err)
	root := access.LocalCaller("root", h.clock.Now())
	_, err = h.users.Add(ctx, h.login.Access.For(root), identity.New{Name: "nils", Email: "nils@example.test", Password: secret.New(password)})
	must(t, err)
	ops, err := h.projects.ByKey(ctx, root, "OPS")
	must(t, err)
	_, err = h.repos.Create(ctx, root, ops, repo.New{Name: "open", Public: true})
	must(t, err)
	all, err := h.repos.OfProject(ctx, root, ops, page.Of(0, 100))
	must(t, err)
	for _, r := range all.Items {
		must(t, served.Create(ctx, r.ID, ""))
	}
	f := &forge{house: h, git: &bitbucket.Git{
		Login: h.login, Repos: h.repos, Served: served, Now: h.clock.Now, Cookies: h.dialect.Cookies, Passwords: true, BodyWait: 10 * time.Second,
		OnError: func(doing string, err error) { t.Errorf("%s: %v", doing, err) },
	}}
	mux, err := api.Mount(f.git.Owner())
	must(t, err)
	f.Handler = &api.Door{Handler: mux, Log: slog.New(slog.DiscardHandler), Now: h.clock.Now, Verbatim: f.git.Verbatim}
	return f
}

func (f *forge) repo(t *testing.T, slug string) repo.Repo {
	t.Helper()
	r, err := f.repos.Find(t.Context(), access.LocalCaller("root", f.clock.Now()), "OPS", slug)
	must(t, err)
	return r
}

// issue makes an HTTP token.
func (f *forge) issue(t *testing.T, at access.Resource, p token.Permission) (string, token.Access) {
	t.Helper()
	plain, made, err := f.tokens.Issue(t.Context(), f.caller(t, "dana"), at, token.Draft{Name: "ci " + at.ID + string(p), Permissions: []token.Permission{p}})
	must(t, err)
	return plain.Reveal(), made
}

func (f *forge) ask(method, path, authorization string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, http.NoBody)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	f.Handler.ServeHTTP(w, r)
	return w
}

const (
	fetch    = "/info/refs?service=git-upload-pack"
	push     = "/info/refs?service=git-receive-pack"
	bad      = "Authentication failed. Please check your credentials and try again.\n"
	noRight  = "You are not permitted to do that in this repository.\n"
	noRepo   = "There is no such repository.\n"
	realm    = `Basic realm="Gatehouse"`
	asPlain  = "text/plain; charset=utf-8"
	disabled = "Basic Authentication has been disabled on this instance.\n"
)

// Rules W6 and G1: the table of what opens this door, cell by cell, and that a credential reaches its repository alone.
func TestGit_door_table(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	dana := access.Resource{Kind: access.UserKind, ID: f.ids["dana"]}
	infra := f.repo(t, "infra")
	personal, _ := f.issue(t, dana, token.RepoWrite)
	reading, _ := f.issue(t, dana, token.RepoRead)
	ofRepo, _ := f.issue(t, infra.Resource(), token.RepoWrite)
	ofProject, _ := f.issue(t, infra.Project.Resource(), token.RepoRead)
	bearer := func(s string) string { return "Bearer " + s }
	for name, c := range map[string]struct {
		path, with string
		status     int
		text       string // of a refusal
	}{
		"nobody, a public one":                 {"/scm/ops/open.git" + fetch, "", 200, ""},
		"nobody, in capitals, without suffix":  {"/scm/OPS/open" + fetch, "", 200, ""},
		"nobody, pushes to a public one":       {"/scm/ops/open.git" + push, "", 401, bad},
		"nobody":                               {"/scm/ops/infra.git" + fetch, "", 401, bad},
		"nobody, one that is missing":          {"/scm/ops/nothing.git" + fetch, "", 401, bad},
		"nobody, no project":                   {"/scm/nothing/infra.git" + fetch, "", 401, bad},
		"a session":                            {"/scm/ops/infra.git" + push, f.bearer("dana"), 200, ""},
		"a password":                           {"/scm/ops/infra.git" + push, basic("dana", password), 200, ""},
		"a password, by e-mail":                {"/scm/ops/infra.git" + fetch, basic("dana@example.test", password), 200, ""},
		"a wrong password":                     {"/scm/ops/infra.git" + fetch, basic("nils", "wrong"), 401, bad},
		"a wrong password, a public one":       {"/scm/ops/open.git" + fetch, basic("nils", "wrong"), 401, bad},
		"a password with a second factor":      {"/scm/ops/infra.git" + fetch, basic("erin", password), 401, bad},
		"a personal token":                     {"/scm/ops/infra.git" + push, bearer(personal), 200, ""},
		"a personal token by Basic":            {"/scm/ops/infra.git" + push, basic("dana", personal), 200, ""},
		"a personal token, its prefix left":    {"/scm/ops/infra.git" + push, basic("dana", strings.TrimPrefix(personal, "BBDC-")), 200, ""},
		"a personal token by another name":     {"/scm/ops/infra.git" + fetch, basic("nils", personal), 401, bad},
		"a reading token":                      {"/scm/ops/infra.git" + fetch, bearer(reading), 200, ""},
		"a reading token pushes":               {"/scm/ops/infra.git" + push, bearer(reading), 403, noRight},
		"a repository's token":                 {"/scm/ops/infra.git" + push, bearer(ofRepo), 200, ""},
		"a repository's token by Basic":        {"/scm/ops/infra.git" + fetch, basic("dana", ofRepo), 401, bad},
		"a repository's token, next door":      {"/scm/ops/site.git" + fetch, bearer(ofRepo), 403, noRight},
		"a project's token":                    {"/scm/ops/site.git" + fetch, bearer(ofProject), 200, ""},
		"a project's token pushes":             {"/scm/ops/site.git" + push, bearer(ofProject), 403, noRight},
		"a project's token, no such":           {"/scm/ops/nothing.git" + fetch, bearer(ofProject), 404, noRepo},
		"a token that nobody issued":           {"/scm/ops/open.git" + fetch, bearer("BBDC-" + strings.Repeat("A", 44)), 401, bad},
		"a program's session":                  {"/scm/ops/open.git" + fetch, bearer(f.program), 401, bad},
		"a program's secret":                   {"/scm/ops/open.git" + fetch, basic(f.appID, f.appSecret), 401, bad},
		"something else":                       {"/scm/ops/open.git" + fetch, "Digest x", 401, bad},
		"who may not read":                     {"/scm/ops/infra.git" + fetch, basic("nils", password), 403, noRight},
		"who may not read, a public one":       {"/scm/ops/open.git" + fetch, basic("nils", password), 200, ""},
		"who may not push to a public one":     {"/scm/ops/open.git" + push, basic("nils", password), 403, noRight},
		"a repository that is missing":         {"/scm/ops/nothing.git" + fetch, basic("dana", password), 404, noRepo},
		"a project that is missing":            {"/scm/nothing/infra.git" + fetch, basic("dana", password), 404, noRepo},
		"a way out of the folder":              {"/scm/ops/..%2f..%2finfra.git" + fetch, f.bearer("dana"), 404, ""},
		"a doubled slash":                      {"/scm//ops/infra.git" + fetch, f.bearer("dana"), 404, ""},
		"the dumb protocol":                    {"/scm/ops/open.git/info/refs", "", 403, "Only git's smart protocol is served here.\n"},
		"a file of the dumb protocol":          {"/scm/ops/open.git/objects/info/packs", "", 403, "Only git's smart protocol is served here.\n"},
		"an archive, which is for SSH":         {"/scm/ops/open.git/info/refs?service=git-upload-archive", "", 403, "Only git's smart protocol is served here.\n"},
		"something beneath that is no request": {"/scm/ops/open.git/settings", "", 404, ""},
	} {
		w := f.ask("GET", c.path, c.with)
		if w.Code != c.status || c.text != "" && w.Body.String() != c.text {
			t.Errorf("%s: answered %d %q, want %d %q", name, w.Code, w.Body, c.status, c.text)
		}
		if got := w.Header().Get("WWW-Authenticate"); (got == realm) != (c.status == 401) {
			t.Errorf("%s: asks for %q", name, got)
		}
		if kind := w.Header().Get("Content-Type"); c.status != 200 && kind != asPlain {
			t.Errorf("%s: an answer of type %q", name, kind)
		}
	}
	t.Run("a cookie is not looked at, and no window is opened over a page", func(t *testing.T) {
		w := f.ask("GET", "/scm/ops/infra.git"+fetch, "", "Cookie", f.git.Cookies.Name()+"="+f.bearers["dana"])
		if w.Code != 401 || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("answered %d, asks for %q", w.Code, w.Header().Get("WWW-Authenticate"))
		}
		if w := f.ask("GET", "/scm/ops/infra.git"+fetch, "", "X-Requested-With", "XMLHttpRequest"); w.Header().Get("WWW-Authenticate") != "" {
			t.Error("a script's request was answered with a challenge")
		}
	})
	t.Run("two credentials are none", func(t *testing.T) {
		if w := f.ask("GET", "/scm/ops/open.git"+fetch, f.bearer("dana"), "Authorization", basic("dana", password)); w.Code != 401 {
			t.Errorf("answered %d", w.Code)
		}
	})
	t.Run("methods and types", func(t *testing.T) {
		if w := f.ask("GET", "/scm/ops/open.git/git-upload-pack", ""); w.Code != 405 || w.Header().Get("Allow") != "POST" {
			t.Errorf("GET of a call answered %d, allows %q", w.Code, w.Header().Get("Allow"))
		}
		if w := f.ask("POST", "/scm/ops/open.git/git-upload-pack", "", "Content-Type", "text/plain"); w.Code != 415 {
			t.Errorf("another type answered %d", w.Code)
		}
	})
	t.Run("large files are told off in their client's own form", func(t *testing.T) {
		w := f.ask("POST", "/scm/ops/open.git/info/lfs/objects/batch", "", "Content-Type", "application/vnd.git-lfs+json")
		if w.Code != 501 || w.Header().Get("Content-Type") != "application/vnd.git-lfs+json" || !strings.Contains(w.Body.String(), `{"message":"Git LFS is not offered here.`) {
			t.Errorf("answered %d %q", w.Code, w.Body)
		}
	})
	t.Run("a revoked token is dead at once", func(t *testing.T) {
		plain, made := f.issue(t, dana, token.ProjectRead)
		must(t, f.tokens.Remove(t.Context(), f.caller(t, "dana"), dana, made.Handle))
		if w := f.ask("GET", "/scm/ops/infra.git"+fetch, bearer(plain)); w.Code != 401 {
			t.Errorf("answered %d", w.Code)
		}
	})
	t.Run("there is no git", func(t *testing.T) {
		served := f.git.Served
		f.git.Served = nil
		defer func() { f.git.Served = served }()
		w := f.ask("GET", "/scm/ops/open.git"+fetch, "")
		if w.Code != 503 || !strings.HasPrefix(w.Body.String(), "git is not installed here") {
			t.Errorf("answered %d %q", w.Code, w.Body)
		}
	})
}

// Rule W13: what happens to passwords.
func TestGit_passwords(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	const path = "/scm/ops/infra.git" + fetch
	mara := f.caller(t, "mara")
	_, err := f.login.Policy.ChangeBasic(t.Context(), mara, func(b policy.Basic) (policy.Basic, error) {
		b.Block, b.Warn, b.Users = true, true, []string{"nils"}
		return b, nil
	})
	must(t, err)
	plain, _ := f.issue(t, access.Resource{Kind: access.UserKind, ID: f.ids["dana"]}, token.RepoRead)
	t.Run("the policy for REST leaves git alone", func(t *testing.T) {
		if w := f.ask("GET", path, basic("dana", password)); w.Code != 200 || w.Header().Get("X-Gatehouse-Warning") != "" {
			t.Errorf("answered %d, warns %q", w.Code, w.Header().Get("X-Gatehouse-Warning"))
		}
	})
	t.Run("the policy for all blocks unread, and not tokens", func(t *testing.T) {
		f.login.BasicScope = login.ScopeAll
		defer func() { f.login.BasicScope = login.ScopeREST }()
		before := f.hasher.checks.Load()
		if w := f.ask("GET", path, basic("dana", password)); w.Code != 403 || w.Body.String() != disabled || w.Header().Get("X-Gatehouse-Warning") == "" || f.hasher.checks.Load() != before {
			t.Errorf("answered %d %q after %d hashes", w.Code, w.Body, f.hasher.checks.Load()-before)
		}
		if w := f.ask("GET", path, basic("nils", password)); w.Code != 403 || w.Body.String() != noRight {
			t.Errorf("somebody let through was answered %d %q", w.Code, w.Body)
		}
		if w := f.ask("GET", path, basic("dana", plain)); w.Code != 200 {
			t.Errorf("a token was answered %d %q", w.Code, w.Body)
		}
	})
	t.Run("the operator shuts the way", func(t *testing.T) {
		f.git.Passwords = false
		defer func() { f.git.Passwords = true }()
		before := f.hasher.checks.Load()
		if w := f.ask("GET", path, basic("dana", password)); w.Code != 401 || f.hasher.checks.Load() != before {
			t.Errorf("answered %d", w.Code)
		}
		if w := f.ask("GET", path, basic("dana", plain)); w.Code != 200 {
			t.Errorf("a token was answered %d %q", w.Code, w.Body)
		}
	})
	t.Run("a full queue", func(t *testing.T) {
		f.hasher.busy.Store(true)
		defer f.hasher.busy.Store(false)
		if w := f.ask("GET", path, basic("dana", password)); w.Code != 503 || w.Body.String() != "Busy\n" || w.Header().Get("Retry-After") == "" {
			t.Errorf("answered %d %q", w.Code, w.Body)
		}
	})
	t.Run("failures call for a CAPTCHA, which there is no place for here", func(t *testing.T) {
		var w *httptest.ResponseRecorder
		for range 8 {
			w = f.ask("GET", path, basic("nils", "wrong"))
			f.clock.pass(time.Hour / 2)
		}
		if w.Code != 403 || w.Body.String() != "CAPTCHA required. Log in on the web to continue.\n" {
			t.Errorf("answered %d %q", w.Code, w.Body)
		}
	})
}

// client runs a real git against a served forge.
func (f *forge) client(t *testing.T, dir, authorization string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.WaitDelay = dir, 10*time.Second
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@b.test", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@b.test",
	}
	if authorization != "" {
		cmd.Env = append(cmd.Env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader", "GIT_CONFIG_VALUE_0=Authorization: "+authorization)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (f *forge) mustClient(t *testing.T, dir, authorization string, args ...string) string {
	t.Helper()
	out, err := f.client(t, dir, authorization, args...)
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return out
}

// The real git, over the real front door.
func TestGit_clients(t *testing.T) {
	t.Parallel()
	f := newForge(t, func(l *git.Limits) { l.Push, l.Recheck = 1<<20, 20*time.Millisecond })
	server := httptest.NewServer(f.Handler)
	t.Cleanup(server.Close)
	infra := server.URL + "/scm/ops/infra.git"
	plain, made := f.issue(t, f.repo(t, "infra").Resource(), token.RepoWrite)
	robot, dir := "Bearer "+plain, t.TempDir()
	f.mustClient(t, dir, "", "init", "-q", "-b", "main", ".")
	f.mustClient(t, dir, "", "commit", "-q", "--allow-empty", "-m", "one")
	f.mustClient(t, dir, "", "commit", "-q", "--allow-empty", "-m", "two")

	t.Run("pushes, on record with the token", func(t *testing.T) {
		f.mustClient(t, dir, robot, "push", "-q", infra, "main")
		pushes, err := f.repos.Pushes(t.Context(), access.LocalCaller("root", f.clock.Now()), f.repo(t, "infra"), page.Of(0, 10))
		must(t, err)
		if len(pushes.Items) != 1 || pushes.Items[0].Actor.Kind != access.ServiceIdentity || pushes.Items[0].Credential != made.ID || pushes.Items[0].Door != "git" ||
			len(pushes.Items[0].Refs) != 1 || pushes.Items[0].Refs[0].Name != "refs/heads/main" || pushes.Items[0].Refs[0].Old != strings.Repeat("0", 40) {
			t.Errorf("recorded %+v", pushes.Items)
		}
	})
	t.Run("clones whole, shallow and by old protocols", func(t *testing.T) {
		for name, args := range map[string][]string{"whole": nil, "shallow": {"--depth", "1"}, "v0": {"-c", "protocol.version=0"}, "v1": {"-c", "protocol.version=1"}} {
			f.mustClient(t, dir, robot, append(append([]string{"clone", "-q"}, args...), infra, name)...)
		}
		if out := f.mustClient(t, filepath.Join(dir, "shallow"), "", "rev-list", "--count", "HEAD"); strings.TrimSpace(out) != "1" {
			t.Errorf("a shallow clone has %s commits", out)
		}
	})
	t.Run("anybody clones a public one, and nobody pushes to it", func(t *testing.T) {
		open := server.URL + "/scm/ops/open.git"
		f.mustClient(t, dir, f.bearer("dana"), "push", "-q", open, "main")
		f.mustClient(t, dir, "", "clone", "-q", open, "open")
		if out, err := f.client(t, dir, "", "push", open, "main:other"); err == nil {
			t.Errorf("pushed without a credential: %s", out)
		}
	})
	t.Run("a push that is too large is refused in git's own words", func(t *testing.T) {
		big := make([]byte, 3<<20)
		_, _ = rand.Read(big) // never fails
		must(t, os.WriteFile(filepath.Join(dir, "big"), big, 0o600))
		f.mustClient(t, dir, "", "add", "big")
		f.mustClient(t, dir, "", "commit", "-q", "-m", "big")
		if out, err := f.client(t, dir, robot, "push", infra, "main"); err == nil || !strings.Contains(out, "larger than this server takes") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("a body in gzip form", func(t *testing.T) {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write([]byte("0014command=ls-refs\n0016object-format=sha10001000csymrefs\n0000"))
		must(t, z.Close())
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, infra+"/git-upload-pack", struct{ *bytes.Buffer }{&packed}) // no length: chunked
		must(t, err)
		r.Header.Set("Authorization", robot)
		r.Header.Set("Content-Encoding", "gzip")
		r.Header.Set("Content-Type", "application/x-git-upload-pack-request")
		r.Header.Set("Git-Protocol", "version=2")
		got, err := server.Client().Do(r)
		must(t, err)
		defer got.Body.Close()
		var answer bytes.Buffer
		_, err = answer.ReadFrom(got.Body)
		must(t, err)
		if got.StatusCode != 200 || !strings.Contains(answer.String(), "refs/heads/main") {
			t.Errorf("answered %d %q", got.StatusCode, answer.String())
		}
	})
}

// A right that is gone when the refs would move moves nothing.
func TestGit_push_is_asked_about_again(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	server := httptest.NewServer(f.Handler)
	t.Cleanup(server.Close)
	infra := f.repo(t, "infra")
	plain, made := f.issue(t, infra.Resource(), token.RepoWrite)
	late := &revoking{Repositories: f.git.Served, revoke: func() {
		must(t, f.tokens.Remove(context.WithoutCancel(t.Context()), f.caller(t, "dana"), infra.Resource(), made.Handle))
	}}
	f.git.Served = late
	dir := t.TempDir()
	f.mustClient(t, dir, "", "init", "-q", "-b", "main", ".")
	f.mustClient(t, dir, "", "commit", "-q", "--allow-empty", "-m", "one")
	out, err := f.client(t, dir, "Bearer "+plain, "push", server.URL+"/scm/ops/infra.git", "main")
	if err == nil || !strings.Contains(out, "You are not permitted to do that in this repository.") {
		t.Errorf("pushed with a revoked token: %v\n%s", err, out)
	}
}

// Whoever is disabled while their push is under way moves nothing, by password either, although their roles are still there (rule F12).
func TestGit_push_of_somebody_disabled_meanwhile(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	server := httptest.NewServer(f.Handler)
	t.Cleanup(server.Close)
	f.repo(t, "infra")
	f.git.Served = &revoking{Repositories: f.git.Served, revoke: func() {
		must(t, f.users.SetDisabled(context.WithoutCancel(t.Context()), f.login.Access.For(access.LocalCaller("root", f.clock.Now())), f.ids["dana"], true))
	}}
	dir := t.TempDir()
	f.mustClient(t, dir, "", "init", "-q", "-b", "main", ".")
	f.mustClient(t, dir, "", "commit", "-q", "--allow-empty", "-m", "one")
	out, err := f.client(t, dir, basic("dana", password), "push", server.URL+"/scm/ops/infra.git", "main")
	if err == nil || !strings.Contains(out, "You are not permitted to do that in this repository.") {
		t.Errorf("pushed by somebody who is disabled: %v\n%s", err, out)
	}
}

// revoking takes the right away between the door and git.
type revoking struct {
	bitbucket.Repositories
	revoke func()
}

func (r *revoking) Receive(ctx context.Context, id string, with git.Exchange, allow func(context.Context, []git.Move) error) ([]git.Moved, error) {
	r.revoke()
	return r.Repositories.Receive(ctx, id, with, allow)
}

// Who shares turns: a person by whichever credential, a token by itself, and strangers by where they come from (rule G3).
func TestGit_callers_share_turns(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	personal, _ := f.issue(t, access.Resource{Kind: access.UserKind, ID: f.ids["dana"]}, token.RepoRead)
	seen := &noting{Repositories: f.git.Served}
	f.git.Served = seen
	for _, c := range []struct{ with, want string }{
		{"", "address 192.0.2.1/32"}, {basic("dana", password), "user " + f.ids["dana"]}, {"Bearer " + personal, "user " + f.ids["dana"]},
	} {
		if w := f.ask("GET", "/scm/ops/open.git"+fetch, c.with); w.Code != http.StatusOK || seen.caller != c.want {
			t.Errorf("%d, %q, want %q", w.Code, seen.caller, c.want)
		}
	}
}

// noting keeps who called last.
type noting struct {
	bitbucket.Repositories
	caller string
}

func (n *noting) Announce(ctx context.Context, id string, service git.Service, with git.Exchange) error {
	n.caller = with.Caller
	return n.Repositories.Announce(ctx, id, service, with)
}
