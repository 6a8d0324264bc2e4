package secret_test

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

func TestParseMasterKey(t *testing.T) {
	t.Parallel()
	m := secret.NewMasterKey()
	text := m.Text().Reveal()
	same, err := secret.ParseMasterKey(" \t" + text + "\r\n")
	if err != nil || same.ID() != m.ID() {
		t.Fatalf("a key does not survive its text: %v", err)
	}
	b64 := base64.StdEncoding.EncodeToString
	for name, bad := range map[string]string{
		"empty": "", "short": b64(secret.Bytes(31)), "long": b64(secret.Bytes(33)), "hex": strings.Repeat("0f", 32),
		"no base64": "correct horse battery staple", "zeros": b64(make([]byte, 32)), "two lines": text[:20] + "\n \n" + text[20:],
	} {
		_, err := secret.ParseMasterKey(bad)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "base64") {
			t.Errorf("%s: %v", name, err)
		}
		if bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%s: the error echoes the key", name)
		}
	}
}

func TestMasterKey_ID_is_short_and_tells_keys_apart(t *testing.T) {
	t.Parallel()
	a, b := secret.NewMasterKey(), secret.NewMasterKey()
	if len(a.ID()) != 16 || a.ID() == b.ID() || (secret.MasterKey{}).ID() != "" {
		t.Errorf("IDs %q and %q", a.ID(), b.ID())
	}
}

func TestMasterKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	if _, err := secret.ReadMasterKeyFile(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("reading nothing: %v", err)
	}
	made, err := secret.CreateMasterKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	read, err := secret.ReadMasterKeyFile(path)
	if err != nil || read.ID() != made.ID() {
		t.Fatalf("read another key: %v", err)
	}
	if _, err := secret.CreateMasterKeyFile(path); !errors.Is(err, secret.ErrMasterKeyExists) {
		t.Errorf("creating it again: %v", err)
	}
	if again, err := secret.ReadMasterKeyFile(path); err != nil || again.ID() != made.ID() {
		t.Errorf("the second creation changed the file: %v", err)
	}
	if _, err := secret.CreateMasterKeyFile(filepath.Join(path, "no", "such")); err == nil {
		t.Error("created a file below a file")
	}
}

func TestReadMasterKeyFile_refuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := secret.NewMasterKey().Text().Reveal()
	file := func(name, text string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, want string }{
		{"a file the group can read", file("group", good, 0o640), "chmod 600"},
		{"a file the world can read", file("world", good, 0o604), "chmod 600"},
		{"a file the group can write", file("write", good, 0o620), "chmod 600"},
		{"an empty file", file("empty", "", 0o600), "is empty"},
		{"a file with no key", file("junk", "password", 0o600), "base64"},
		{"a file with two keys", file("two", good+"\n"+good+"\n", 0o600), "base64"},
		{"a directory", dir, "not a regular file"},
		{"a named pipe, without waiting for a writer", pipe, "not a regular file"},
	} {
		_, err := secret.ReadMasterKeyFile(c.path)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
