package git

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Faults of repositories.
var (
	ErrNoRepository = fault.New(fault.NotFound, "there is no such repository")
	ErrExists       = fault.New(fault.Conflict, "the repository exists")
	ErrID           = fault.New(fault.Invalid, "the repository's id is malformed")
	ErrBranch       = fault.New(fault.Invalid, "the name of the default branch is malformed")
)

// config is the whole config file of every repository, byte for byte. It never grows: settings are given
// to each process (environment.go), so a file that differs was written by somebody else.
const config = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"

// Names of directories that are half made or half gone. No id begins with a dot.
const (
	madeDirectory = ".new-"
	goneDirectory = ".gone-"
)

// Create makes an empty repository whose HEAD is the given branch, "main" where none is given. It comes
// to be whole or not at all, and is on disk when Create returns. It reports ErrExists, ErrID or ErrBranch.
func (r *Repositories) Create(_ context.Context, id, branch string) error {
	directory, err := r.directory(id)
	if err != nil {
		return err
	}
	if branch == "" {
		branch = "main"
	}
	if branch[0] == '-' || !refName("refs/heads/"+branch) {
		return ErrBranch
	}
	made := filepath.Join(r.root, madeDirectory+id+"-"+rand.Text())
	defer os.RemoveAll(made) //nolint:errcheck // it is gone when all went well; otherwise Sweep tries again
	for _, name := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(made, name), 0o700); err != nil {
			return err
		}
	}
	if err := writeSynced(filepath.Join(made, "config"), config); err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(made, "HEAD"), "ref: refs/heads/"+branch+"\n"); err != nil {
		return err
	}
	for _, name := range []string{"objects", "refs", ""} {
		if err := syncDirectory(filepath.Join(made, name)); err != nil {
			return err
		}
	}
	if err := os.Rename(made, directory); errors.Is(err, fs.ErrExist) {
		return ErrExists
	} else if err != nil {
		return err
	}
	return syncDirectory(r.root)
}

// Remove takes a repository away at once and then deletes it. A repository that is not there is removed
// already. What a crash leaves half deleted, Sweep deletes.
func (r *Repositories) Remove(_ context.Context, id string) error {
	directory, err := r.directory(id)
	if err != nil {
		return err
	}
	gone := filepath.Join(r.root, goneDirectory+id+"-"+rand.Text())
	if err := os.Rename(directory, gone); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return errors.Join(syncDirectory(r.root), os.RemoveAll(gone))
}

// directory returns where a repository lies. Ids are made by us: letters, digits and hyphens.
func (r *Repositories) directory(id string) (string, error) {
	if id == "" || len(id) > 64 || id[0] == '-' || strings.ContainsFunc(id, func(c rune) bool {
		return !asciiLetter(c) && (c < '0' || c > '9') && c != '-'
	}) {
		return "", ErrID
	}
	return filepath.Join(r.root, id+".git"), nil
}

// served returns a repository's directory when it is as Create left it. Objects and refs may have come;
// what could lead git elsewhere or make it run something may not. Such files come from a restored copy
// or from an intruder, never from a push.
func (r *Repositories) served(id string) (string, error) {
	directory, err := r.directory(id)
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(directory); errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoRepository
	}
	for _, name := range []string{"", "objects", "objects/info", "objects/pack", "refs"} {
		found, err := os.Lstat(filepath.Join(directory, name))
		if err == nil && !found.IsDir() || err != nil && name != "objects/info" && name != "objects/pack" {
			return "", damaged(id, name+" is no directory")
		}
	}
	for _, name := range []string{"config", "HEAD"} {
		if found, err := os.Lstat(filepath.Join(directory, name)); err != nil || !found.Mode().IsRegular() {
			return "", damaged(id, name+" is no file")
		}
	}
	for _, name := range []string{".git", "commondir", "config.worktree", "objects/info/alternates"} {
		if _, err := os.Lstat(filepath.Join(directory, name)); !errors.Is(err, fs.ErrNotExist) {
			return "", damaged(id, name+" does not belong there")
		}
	}
	if !holds(filepath.Join(directory, "config"), config) {
		return "", damaged(id, "config is not ours")
	}
	return directory, nil
}

func damaged(id, why string) error {
	return fault.Wrap(fault.Internal, "the repository is damaged", errors.New("repository "+id+": "+why))
}

// holds says whether a file holds exactly that text.
func holds(path, text string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	found, err := io.ReadAll(io.LimitReader(file, int64(len(text))+1))
	return err == nil && bytes.Equal(found, []byte(text))
}

// Sweep deletes what crashes and killed processes left: half made and half deleted repositories,
// quarantined objects of pushes that never ended, and locks of refs that nobody holds. It touches nothing
// younger than the longest exchange, so it may run at any time and on every node.
func (r *Repositories) Sweep(ctx context.Context, now time.Time) error {
	before := now.Add(-max(r.limits.Total, r.limits.Maintain) - time.Minute)
	entries, err := os.ReadDir(r.root)
	if err != nil {
		return err
	}
	var faults []error
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := filepath.Join(r.root, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), madeDirectory), strings.HasPrefix(e.Name(), goneDirectory):
			faults = append(faults, removeOld(path, e, before))
		case e.IsDir() && strings.HasSuffix(e.Name(), ".git"):
			faults = append(faults, sweepRepository(path, before))
		}
	}
	return errors.Join(faults...)
}

func sweepRepository(directory string, before time.Time) error {
	var faults []error
	remove := func(folder string, leftOver func(name string) bool) {
		entries, err := os.ReadDir(filepath.Join(directory, folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, err)
		}
		for _, e := range entries {
			if leftOver(e.Name()) {
				faults = append(faults, removeOld(filepath.Join(directory, folder, e.Name()), e, before))
			}
		}
	}
	locked := func(name string) bool { return strings.HasSuffix(name, ".lock") }
	remove("objects", func(name string) bool { return strings.HasPrefix(name, "tmp_objdir-") })
	remove("objects/pack", func(name string) bool { return strings.HasPrefix(name, "tmp_") || strings.HasPrefix(name, ".tmp-") })
	remove("", locked)
	err := filepath.WalkDir(filepath.Join(directory, "refs"), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a ref that was deleted meanwhile
		}
		if err == nil && !e.IsDir() && locked(e.Name()) {
			err = removeOld(path, e, before)
		}
		return err
	})
	return errors.Join(append(faults, err)...)
}

// removeOld deletes what was last touched before a time.
func removeOld(path string, e fs.DirEntry, before time.Time) error {
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.ModTime().Before(before) {
		return nil
	}
	return errors.Join(err, os.RemoveAll(path))
}

func writeSynced(path, text string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Sync(), file.Close())
}

func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
