package git_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/git"
)

// Rule S17: what is no git command on a well-named repository is nothing.
func TestParseCommand(t *testing.T) {
	t.Parallel()
	want := func(s git.Service, project, slug string) git.Command {
		return git.Command{Service: s, Project: project, Slug: slug}
	}
	for line, is := range map[string]git.Command{
		"git-upload-pack '/PRJ/my-repo.git'":    want(git.UploadPack, "PRJ", "my-repo"),
		"git-upload-pack 'prj/my-repo'":         want(git.UploadPack, "prj", "my-repo"),
		"git upload-pack 'prj/my-repo.git'":     want(git.UploadPack, "prj", "my-repo"),
		"git-receive-pack /PRJ_1/a.b_c-d.git":   want(git.ReceivePack, "PRJ_1", "a.b_c-d"),
		"git receive-pack '/~anna/x'":           want(git.ReceivePack, "~anna", "x"),
		"git-receive-pack '~Åsa.Öberg_1/x.git'": want(git.ReceivePack, "~Åsa.Öberg_1", "x"),
		"git-upload-archive '/PRJ/repo.git'":    want(git.UploadArchive, "PRJ", "repo"),
		"git-upload-pack '/PRJ/repo.git.git'":   want(git.UploadPack, "PRJ", "repo.git"),
		"git upload-archive 'PRJ/_private'":     want(git.UploadArchive, "PRJ", "_private"),
		"git-upload-pack 'P/" + long(128) + "'": want(git.UploadPack, "P", long(128)),
	} {
		if got, err := git.ParseCommand(line); err != nil || got != is {
			t.Errorf("%q is %+v, %v; want %+v", line, got, err, is)
		}
	}
	for _, line := range []string{
		"", "git", "git-upload-pack", "git-upload-pack ", "git-upload-pack ''", "git-upload-pack '/'", "git-upload-pack 'a'",
		"git-shell -c x", "ls", "sh -c 'git-upload-pack a/b'", "git  upload-pack 'a/b'", " git-upload-pack 'a/b'", "git-upload-pack  'a/b'",
		"git-upload-pack 'a/b' ", "git-upload-pack 'a/b' 'c/d'", "git-upload-pack 'a/b';id", "git-upload-pack a/b;id", "git-upload-pack a/b&&id",
		"git-upload-pack --upload-pack=x a/b", "git-upload-pack '--upload-pack=x/b'", "git-upload-pack 'a/-b'", "git-upload-pack '-a/b'", "git-upload-pack '~-a/b'",
		"git-upload-pack '../a/b'", "git-upload-pack 'a/../b'", "git-upload-pack 'a/..'", "git-upload-pack 'a/b..c'", "git-upload-pack './b'", "git-upload-pack 'a/.git'",
		"git-upload-pack 'a/b/c'", "git-upload-pack '//a/b'", "git-upload-pack 'a//b'", "git-upload-pack 'a/b/'", "git-upload-pack '~/b'",
		"git-upload-pack 'a/b\x00'", "git-upload-pack 'a/b\n'", "git-upload-pack 'a/\x1b[2J'", "git-upload-pack 'a/b'\n", "git-upload-pack\t'a/b'",
		`git-upload-pack "a/b"`, `git-upload-pack 'a/b'\''c'`, `git-upload-pack 'a/b`, `git-upload-pack a/b'`, "git-upload-pack 'a/$(id)'", "git-upload-pack 'a/`id`'",
		"git-upload-pack 'Å/b'", "git-upload-pack '~a b/c'", "git-upload-pack '~a:b/c'", "git-upload-pack '~\xff/c'", "git-upload-pack 'ext::sh/x'", "GIT-UPLOAD-PACK 'a/b'",
		"git-upload-pack 'P/" + long(129) + "'", "git-upload-pack '" + strings.Repeat("x", 1<<20) + "/b'",
	} {
		if got, err := git.ParseCommand(line); !errors.Is(err, git.ErrCommand) {
			t.Errorf("%.60q was taken for %+v", line, got)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func FuzzParseCommand(f *testing.F) {
	f.Add("git-upload-pack '/PRJ/my-repo.git'")
	f.Add("git receive-pack '~anna/x'")
	f.Add("git-upload-archive PRJ/a\x00b")
	f.Add(`git-upload-pack 'a/b'\''c'`)
	f.Fuzz(func(t *testing.T, line string) {
		c, err := git.ParseCommand(line)
		if err != nil {
			return
		}
		harmless(t, c.Project, c.Slug)
		again, err := git.ParseCommand(string(c.Service) + " '/" + c.Project + "/" + c.Slug + ".git'")
		if err != nil || again != c {
			t.Errorf("%q is %+v, and written anew %+v, %v", line, c, again, err)
		}
	})
}

func harmless(t *testing.T, project, slug string) {
	t.Helper()
	for _, name := range []string{strings.TrimPrefix(project, "~"), slug} {
		if name == "" || name[0] == '-' || name[0] == '.' || strings.Contains(name, "..") || strings.ContainsAny(name, "/\\'\"`$;&|<>()*?[]{}!#~: \t\r\n\x00\x1b") {
			t.Errorf("a name is %q", name)
		}
	}
}

func TestParsePath(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]git.Request{
		"/scm/prj/repo.git/info/refs?service=git-upload-pack":         {Kind: git.Announce, Service: git.UploadPack, Project: "prj", Slug: "repo"},
		"/scm/PRJ/repo/info/refs?service=git-receive-pack":            {Kind: git.Announce, Service: git.ReceivePack, Project: "PRJ", Slug: "repo"},
		"/scm/~anna/repo.git/git-upload-pack":                         {Kind: git.Call, Service: git.UploadPack, Project: "~anna", Slug: "repo"},
		"/scm/prj/repo.git/git-receive-pack":                          {Kind: git.Call, Service: git.ReceivePack, Project: "prj", Slug: "repo"},
		"/scm/prj/repo.git/info/refs":                                 {Kind: git.Dumb, Project: "prj", Slug: "repo"},
		"/scm/prj/repo.git/info/refs?service=git-upload-archive":      {Kind: git.Dumb, Project: "prj", Slug: "repo"},
		"/scm/prj/repo.git/info/refs?service=git-upload-pack&service": {Kind: git.Dumb, Project: "prj", Slug: "repo"},
		"/scm/prj/repo.git/HEAD":                                      {Kind: git.Dumb, Project: "prj", Slug: "repo"},
		"/scm/prj/repo.git/objects/info/packs":                        {Kind: git.Dumb, Project: "prj", Slug: "repo"},
		"/scm/prj/repo.git/info/lfs/objects/batch":                    {Kind: git.LFS, Project: "prj", Slug: "repo"},
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := git.ParsePath(u.Path, u.Query()); err != nil || got != want {
			t.Errorf("%s is %+v, %v; want %+v", address, got, err, want)
		}
	}
	for _, path := range []string{
		"", "/scm", "/scm/", "/scm/prj", "/scm/prj/repo.git", "/scm/prj/repo.git/", "/scm/prj/repo.git/config", "/scm/prj/repo.git/git-upload-pack/",
		"/scm/../repo.git/git-upload-pack", "/scm/prj/../git-upload-pack", "/scm/prj/-x/git-upload-pack", "/scm/prj//git-upload-pack", "/scm//repo/git-upload-pack",
		"/scm/prj/a\x00/git-upload-pack", "/scm/prj/.git/git-upload-pack", "/rest/prj/repo.git/git-upload-pack", "/scm/prj/repo.git/git-shell",
		"/scm/" + strings.Repeat("x", 1<<20) + "/repo/git-upload-pack",
	} {
		if got, err := git.ParsePath(path, url.Values{"service": {"git-upload-pack"}}); !errors.Is(err, git.ErrPath) {
			t.Errorf("%.60q was taken for %+v", path, got)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("/scm/prj/repo.git/info/refs", "service=git-upload-pack")
	f.Add("/scm/~anna/repo/git-receive-pack", "")
	f.Add("/scm/prj/repo.git/info/lfs/locks", "")
	f.Fuzz(func(t *testing.T, path, query string) {
		values, _ := url.ParseQuery(query)
		if r, err := git.ParsePath(path, values); err == nil {
			harmless(t, r.Project, r.Slug)
		}
	})
}

// Rule S17: of a client's environment one variable passes, in three forms.
func TestProtocol(t *testing.T) {
	t.Parallel()
	for asked, want := range map[string]string{
		"version=0": "version=0", "version=1": "version=1", "version=2": "version=2", "version=3": "", "version=2:x": "", "version=2\n": "",
		"": "", "2": "", " version=2": "", "version=22": "", "version=2\x00": "",
	} {
		if got := git.Protocol(asked); got != want {
			t.Errorf("%q became %q", asked, got)
		}
	}
}
