package git_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/git"
)

func TestClients(t *testing.T) {
	t.Parallel()
	both(t, limits(), func(t *testing.T, h *house, address string) {
		dir := h.work(t)
		empty := filepath.Join(t.TempDir(), "empty")
		h.git(t, t.TempDir(), "clone", "-q", address, empty).must(t)
		if branch := strings.TrimSpace(h.git(t, empty, "symbolic-ref", "HEAD").must(t)); branch != "refs/heads/main" {
			t.Errorf("the branch of an empty repository is %s", branch)
		}

		h.git(t, dir, "push", "-q", address, "main", "main:refs/heads/other", "main~1:refs/tags/v1").must(t)
		tip, before := h.head(t, dir, "main"), h.head(t, dir, "main~1")
		want := []git.Moved{
			{Move: git.Move{Ref: "refs/heads/main", New: tip}, Done: true},
			{Move: git.Move{Ref: "refs/heads/other", New: tip}, Done: true},
			{Move: git.Move{Ref: "refs/tags/v1", New: before}, Done: true},
		}
		h.note(func() {
			if !slices.Equal(h.moved, want) {
				t.Errorf("moved %+v, want %+v", h.moved, want)
			}
			h.moved = nil
		})

		for _, version := range []string{"0", "1", "2"} {
			clone := filepath.Join(t.TempDir(), "clone")
			h.git(t, dir, "-c", "protocol.version="+version, "clone", "-q", address, clone).must(t)
			if got := h.head(t, clone, "HEAD"); got != tip {
				t.Errorf("version %s cloned %s, want %s", version, got, tip)
			}
		}

		clone := filepath.Join(t.TempDir(), "clone")
		h.git(t, dir, "clone", "-q", "--depth=1", address, clone).must(t)
		if n := strings.TrimSpace(h.git(t, clone, "rev-list", "--count", "HEAD").must(t)); n != "1" {
			t.Errorf("a shallow clone has %s commits", n)
		}
		h.git(t, clone, "fetch", "-q", "--unshallow").must(t)

		partial := filepath.Join(t.TempDir(), "partial")
		h.git(t, dir, "clone", "-q", "--no-checkout", "--filter=blob:none", address, partial).must(t)
		if missing := h.git(t, partial, "rev-list", "--objects", "--missing=print", "HEAD").must(t); strings.Count(missing, "?") != 2 {
			t.Errorf("a partial clone misses %q", missing)
		}
		h.git(t, partial, "checkout", "-q", "main").must(t)

		h.git(t, dir, "commit", "-q", "--amend", "-m", "other").must(t)
		if out := h.git(t, dir, "push", address, "main", ":refs/heads/other"); out.err == nil || !strings.Contains(out.text, "[rejected]") {
			t.Errorf("a push that is not forward: %s", out.text)
		}
		h.git(t, dir, "push", "-q", "--force", address, "main", ":refs/heads/other").must(t)
		h.git(t, clone, "fetch", "-q", "--prune").must(t)
		if got, want := h.head(t, clone, "origin/main"), h.head(t, dir, "main"); got != want {
			t.Errorf("fetched %s, want %s", got, want)
		}
		if out := h.git(t, clone, "rev-parse", "--verify", "-q", "origin/other"); out.err == nil {
			t.Error("a deleted branch is still there")
		}
		h.commit(t, clone, "c.txt", bytes.Repeat([]byte("three\n"), 1000))
		h.git(t, clone, "push", "-q", "--atomic", "origin", "HEAD:refs/heads/third").must(t)
		h.git(t, clone, "push", "origin", "HEAD:refs/heads/third").must(t) // nothing moves
		h.git(t, h.dir(), "fsck", "--full", "--strict").must(t)

		for n := range 120 { // many loose objects, then one pack
			h.commit(t, clone, "n.txt", bytes.Repeat([]byte{byte(n)}, 10))
		}
		h.git(t, clone, "push", "-q", "origin", "HEAD:refs/heads/many").must(t)
		if err := h.Maintain(t.Context(), repoID); err != nil {
			t.Error(err)
		}
		h.git(t, t.TempDir(), "clone", "-q", "-b", "many", address, "again").must(t)
		h.note(func() {
			for _, ran := range h.ran {
				if ran.Outcome == git.Done && (ran.Out == 0 || ran.Took == 0) {
					t.Errorf("observed %+v", ran)
				}
			}
		})
	})
}

func TestArchive(t *testing.T) {
	t.Parallel()
	h := newHouse(t, limits())
	dir := h.work(t)
	h.git(t, dir, "push", "-q", "git@gate.test:PRJ/repo.git", "main").must(t)
	out, err := h.gitCommand(t, dir, "archive", "--remote=git@gate.test:PRJ/repo.git", "main").Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for files := tar.NewReader(bytes.NewReader(out)); ; {
		file, err := files.Next()
		if err != nil {
			break
		}
		names = append(names, file.Name)
	}
	if !slices.Contains(names, "a.txt") || !slices.Contains(names, "b.txt") {
		t.Errorf("the archive holds %v", names)
	}
	h.git(t, dir, "archive", "-o", filepath.Join(t.TempDir(), "a.tar.gz"), "--remote=git@gate.test:PRJ/repo.git", "main").must(t)
	for _, wrong := range []string{"main:../../config", h.head(t, dir, "main"), "--output=/tmp/x"} {
		if out := h.git(t, dir, "archive", "--remote=git@gate.test:PRJ/repo.git", "--", wrong); out.err == nil {
			t.Errorf("an archive of %q was made", wrong)
		}
	}
}

func TestReceive(t *testing.T) {
	t.Parallel()
	both(t, limits(), func(t *testing.T, h *house, address string) {
		dir := h.work(t)
		var asked []git.Move
		h.allow = func(_ context.Context, moves []git.Move) error {
			asked = moves
			if _, err := os.Stat(filepath.Join(h.dir(), "refs/heads/main")); err == nil {
				t.Error("asked after the ref had moved")
			}
			return fault.New(fault.Denied, "You may not push to this repository.")
		}
		out := h.git(t, dir, "push", address, "main")
		if out.err == nil || !strings.Contains(out.text, "! [remote rejected] main -> main (You may not push to this repository.)") {
			t.Errorf("the person reads:\n%s", out.text)
		}
		if want := []git.Move{{Ref: "refs/heads/main", New: h.head(t, dir, "main")}}; !slices.Equal(asked, want) {
			t.Errorf("asked for %+v, want %+v", asked, want)
		}
		if err := h.lastError(t); !isKind(err, fault.Denied) || len(h.moved) > 0 {
			t.Errorf("the door hears %v, %+v", err, h.moved)
		}
		h.untouched(t)
		h.allow = func(context.Context, []git.Move) error { return errNotThis }
		if out := h.git(t, dir, "push", address, "main"); out.err == nil || !strings.Contains(out.text, "internal error") || strings.Contains(out.text, errNotThis.Error()) {
			t.Errorf("a fault of ours reads:\n%s", out.text)
		}
		h.untouched(t)
	})
}

// untouched fails the test when a push has left anything in the repository.
func (h *house) untouched(tb testing.TB) {
	tb.Helper()
	err := filepath.WalkDir(h.dir(), func(path string, e os.DirEntry, err error) error {
		name, _ := filepath.Rel(h.dir(), path)
		if err == nil && !e.IsDir() && name != "HEAD" && name != "config" {
			tb.Errorf("left behind: %s", name)
		}
		if strings.Contains(name, "tmp_objdir") {
			tb.Errorf("left behind: %s", name)
		}
		return err
	})
	if err != nil {
		tb.Error(err)
	}
}

func TestAnnounce_serves_two_programs_only(t *testing.T) {
	t.Parallel()
	h := newHouse(t, limits())
	var out bytes.Buffer
	if err := h.Announce(t.Context(), repoID, git.UploadArchive, git.Exchange{Out: &out}); !isKind(err, fault.Invalid) || out.Len() > 0 {
		t.Errorf("%v, %q", err, out.String())
	}
	if err := h.Announce(t.Context(), repoID, git.ReceivePack, git.Exchange{Out: &out, Protocol: "version=2"}); err != nil ||
		!strings.HasPrefix(out.String(), "001f# service=git-receive-pack\n0000") || strings.Contains(out.String(), "version 2") || strings.Contains(out.String(), "push-cert") {
		t.Errorf("%v, %q", err, out.String())
	}
}

func TestExchange_refuses_ids_that_are_none(t *testing.T) {
	t.Parallel()
	h := newHouse(t, limits())
	for id, want := range map[string]error{
		"": git.ErrID, "../x": git.ErrID, "-x": git.ErrID, "a/b": git.ErrID, ".new-x": git.ErrID, "a.git": git.ErrID, "a\x00": git.ErrID, strings.Repeat("a", 65): git.ErrID,
		"other": git.ErrNoRepository,
	} {
		err := h.Upload(t.Context(), id, git.Exchange{In: strings.NewReader("0000"), Out: io.Discard})
		if !errors.Is(err, want) {
			t.Errorf("%q: %v", id, err)
		}
		if errors.Is(want, git.ErrID) && (!errors.Is(h.Create(t.Context(), id, ""), want) || !errors.Is(h.Remove(t.Context(), id), want)) {
			t.Errorf("%q was created or removed", id)
		}
	}
}
