package repo_test

import (
	"context"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

func TestSlug(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"infra": "infra", "Infra": "infra", "  Infra Tools ": "infra-tools", "a.b_c-d": "a.b_c-d", "1": "1", "A&B": "a-b", "aéb": "a-b", "infra.git": "infra", "INFRA.GIT": "infra",
		"a--b": "a--b", "a/b": "a-b", `a\b`: "a-b", "a:b": "a-b", "a\x00b": "a-b", "a\xffb": "a-b", "gitty": "gitty", ".git": "", "git": "git",
		"": "", " ": "", ".": "", "..": "", "../a": "", "a/../b": "", "a..b": "", "-a": "", "--upload-pack=x": "", "a-": "", "_a": "", "a_": "", ".a": "", "a.": "",
		"é": "", "ça": "", "a.lock": "", "a.LOCK": "", "a.git.git": "", "a.git.lock": "", "a.lock.git": "", "~a": "",
		strings.Repeat("a", 128): strings.Repeat("a", 128), strings.Repeat("a", 129): "",
	} {
		if got := repo.Slug(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	for _, text := range []string{"A", "a b", "a/b", "ä", "a\n", "\na", "a\x00"} {
		if repo.IsSlug(text) {
			t.Errorf("%q is one", text)
		}
	}
}

// checkSlug is rule S17 in other words than the code's.
func checkSlug(t interface{ Errorf(string, ...any) }, name string) {
	slug := repo.Slug(name)
	if slug == "" {
		return
	}
	edge := slug[:1] + slug[len(slug)-1:]
	switch {
	case strings.Trim(slug, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "", len(slug) > 128, strings.ContainsAny(slug, "/\\\x00 ~:"):
		t.Errorf("%q: %q holds what it may not", name, slug)
	case strings.ContainsAny(edge, "-._"), strings.Contains(slug, ".."):
		t.Errorf("%q: %q is an option or a way out", name, slug)
	case strings.HasSuffix(slug, ".git"), strings.HasSuffix(slug, ".lock"):
		t.Errorf("%q: %q is a name that git reads otherwise", name, slug)
	case repo.Slug(slug) != slug, !repo.IsSlug(slug):
		t.Errorf("%q: %q is no slug of itself", name, slug)
	}
}

func TestSlug_is_neither_option_nor_path(t *testing.T) {
	t.Parallel()
	piece := rapid.OneOf(rapid.SampledFrom([]string{".", "..", "-", "_", "/", ".git", ".lock", ".GIT", " ", "a", "0", "Z", "\x00", "\xff", "é", "ſ", "K"}), rapid.StringN(0, 4, -1))
	rapid.Check(t, func(t *rapid.T) {
		name := strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "name"), "")
		checkSlug(t, name)
	})
}

func FuzzSlug(f *testing.F) {
	for _, name := range []string{"infra", "../a", "-x", "a.git.git", "a.lock", "\xff", "a..b"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) { checkSlug(t, name) })
}

// made tells whether a repository can be made so.
func made(n repo.New) error {
	w := newWorld()
	_, err := w.Create(context.Background(), w.admin, w.ops, n)
	return err
}

func TestCreate_checks_names(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"infra": true, "Infra Tools": true, "a": true, strings.Repeat("a", 128): true, "a" + strings.Repeat("é", 126) + "a": true,
		"": false, " ": false, "a\nb": false, "a\x1bb": false, "a\xffb": false, strings.Repeat("a", 129): false, "é": false, "..": false, "-a": false,
	} {
		if err := made(repo.New{Name: name}); (err == nil) != ok || !ok && (!fault.Is(err, fault.Invalid) || len(fault.FieldsOf(err)) != 1) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestCreate_checks_branches(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"": true, "main": true, "feature/a": true, "a-b": true, "a@b": true, "größe": true, "a.b": true, "v1.0": true, "a/HEAD": true, strings.Repeat("a", 255): true,
		"-a": false, "--upload-pack=x": false, "@": false, "HEAD": false, "a..b": false, "a@{b": false, "a//b": false, "/a": false, "a/": false, ".a": false, "a/.b": false,
		"a.lock": false, "a.lock/b": false, "a.": false, "a b": false, "a\tb": false, "a\nb": false, "a\x00b": false, "a\x7fb": false, "a~b": false, "a^b": false, "a:b": false,
		"a?b": false, "a*b": false, "a[b": false, `a\b`: false, "a\xff": false, strings.Repeat("a", 256): false,
	} {
		if err := made(repo.New{Name: "infra", DefaultBranch: name}); (err == nil) != ok || !ok && !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	// What is let through cannot end the line that it is written into, and climbs out of nothing.
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.SampledFrom([]rune("ab./-@{~^: \n\\\x00é")), 1, 12, -1).Draw(t, "name")
		if made(repo.New{Name: "infra", DefaultBranch: name}) == nil && (name[0] == '-' || strings.ContainsAny(name, "\n\x00 \\") || strings.Contains(name, "..")) {
			t.Errorf("%q is let through", name)
		}
	})
}
