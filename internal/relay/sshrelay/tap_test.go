package sshrelay_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pkg/sftp"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/relay/sshrelay"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// book keeps notes.
type book struct {
	mu    sync.Mutex
	notes []remote.Note
}

func (b *book) note(n remote.Note) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes = append(b.notes, n)
	return nil
}

// lines are the notes as short text.
func (b *book) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for _, n := range b.notes {
		lines = append(lines, strings.TrimSpace(fmt.Sprint(n.Way, " ", filepath.Base(n.Name), " ", n.Bytes, " ", n.Done, " ", n.Text)))
	}
	return lines
}

func (b *book) of(way string) remote.Note {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.notes {
		if n.Way == way {
			return n
		}
	}
	return remote.Note{}
}

// tapped is a channel that a tap follows.
type tapped struct {
	remote.Channel
	tap remote.FileTap
}

func (c tapped) Read(p []byte) (int, error) {
	n, err := c.Channel.Read(p)
	if bad := c.tap.FromTarget(p[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

func (c tapped) Write(p []byte) (int, error) {
	if err := c.tap.ToTarget(p); err != nil {
		return 0, err
	}
	return c.Channel.Write(p)
}

// files is an SFTP client at a real server, behind a tap.
func files(t testing.TB, s *peers.SSHServer) (*sftp.Client, *book) {
	t.Helper()
	ch, err := dial(t, byKey(s)).Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := &book{}
	c := tapped{ch, sshrelay.NewTap(b.note)}
	client, err := sftp.NewClientPipe(c, c, sftp.UseConcurrentWrites(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client, b
}

func hashed(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

func TestTap_notes_what_happens_to_files(t *testing.T) {
	t.Parallel()
	s := peers.Sshd(t, peers.SSHOptions{})
	client, b := files(t, s)
	dir := t.TempDir()
	content := make([]byte, 5<<20+123)
	_, _ = rand.Read(content)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	up, err := client.Create(filepath.Join(dir, "up"))
	check(err)
	_, err = up.ReadFrom(bytes.NewReader(content)) // many writes at a time, in any order
	check(err)
	check(up.Close())
	if n := b.of("upload"); n.SHA256 != hashed(content) || n.Bytes != int64(len(content)) || !n.Done || n.Text != "" || n.Name != filepath.Join(dir, "up") {
		t.Errorf("upload: %+v", n)
	}
	down, err := client.Open(filepath.Join(dir, "up"))
	check(err)
	var got bytes.Buffer
	_, err = down.WriteTo(&got)
	check(err)
	check(down.Close())
	if n := b.of("download"); n.SHA256 != hashed(content) || n.Bytes != int64(len(content)) || !n.Done || n.Text != "" || !bytes.Equal(got.Bytes(), content) {
		t.Errorf("download: %+v", n)
	}
	b.notes = nil
	check(client.Mkdir(filepath.Join(dir, "d")))
	check(client.Rename(filepath.Join(dir, "up"), filepath.Join(dir, "renamed")))
	check(client.PosixRename(filepath.Join(dir, "renamed"), filepath.Join(dir, "again")))
	check(client.Symlink("again", filepath.Join(dir, "s")))
	check(client.Link(filepath.Join(dir, "again"), filepath.Join(dir, "l")))
	check(client.Chmod(filepath.Join(dir, "again"), 0o600))
	check(client.Truncate(filepath.Join(dir, "again"), 10))
	check(client.Remove(filepath.Join(dir, "l")))
	check(client.RemoveDirectory(filepath.Join(dir, "d")))
	_, err = client.ReadDir(dir)
	check(err)
	_, err = client.Open(filepath.Join(dir, "absent"))
	if err == nil {
		t.Error("what is not there was opened")
	}
	part, err := client.OpenFile(filepath.Join(dir, "again"), os.O_RDWR)
	check(err)
	_, err = part.WriteAt([]byte("abc"), 4)
	check(err)
	_, err = part.ReadAt(make([]byte, 3), 5)
	check(err)
	check(part.Close())
	want := []string{
		"mkdir d 0 true", "rename up 0 true to " + dir + "/renamed", "rename renamed 0 true to " + dir + "/again", "symlink s 0 true to again",
		"link l 0 true to " + dir + "/again", "attributes again 0 true", "attributes again 0 true", "remove l 0 true", "rmdir d 0 true",
		"list " + filepath.Base(dir) + " 0 true", "download absent 0 false refused with status 2",
		"upload again 3 true partial: from byte 4", "download again 3 true partial: from byte 5",
	}
	for i, line := range b.lines() {
		if i >= len(want) || line != want[i] {
			t.Errorf("note %d is %q", i, line)
		}
	}
	if len(b.notes) != len(want) {
		t.Errorf("%d notes", len(b.notes))
	}
}

// However the bytes are cut.
func TestTap_changes_nothing(t *testing.T) {
	t.Parallel()
	s := peers.Sshd(t, peers.SSHOptions{})
	ch, err := dial(t, byKey(s)).Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	b := &book{}
	tap := sshrelay.NewTap(b.note)
	c := tapped{ch, tap}
	file := filepath.Join(t.TempDir(), "f")
	fromClient := io.MultiReader(
		bytes.NewReader(packet(1, word(3))),
		bytes.NewReader(packet(3, word(0x1a), text(file), word(0x1a), word(0))),
	)
	for { // one byte at a time
		var one [1]byte
		if _, err := io.ReadFull(fromClient, one[:]); err != nil {
			break
		}
		if _, err := c.Write(one[:]); err != nil {
			t.Fatal(err)
		}
	}
	var seen []byte
	for at := -1; at < 0 || len(seen) < at+5+4+4; at = bytes.Index(seen, []byte{102, 0, 0, 0, 0x1a}) { // a handle of four bytes
		var one [1]byte
		if _, err := c.Read(one[:]); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, one[0])
	}
	if seen[4] != 2 || binary.BigEndian.Uint32(seen[5:]) != 3 {
		t.Errorf("got % x", seen)
	}
	if err := tap.Close(); err != nil {
		t.Fatal(err)
	}
	if got := b.lines(); len(got) != 1 || got[0] != "upload f 0 false left open" {
		t.Errorf("got %q", got)
	}
}

func word(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func long(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
func text(s string) []byte { return append(word(uint32(len(s))), s...) }

// packet is one of SFTP.
func packet(kind byte, fields ...[]byte) []byte {
	body := append([]byte{kind}, bytes.Join(fields, nil)...)
	return append(word(uint32(len(body))), body...)
}

// opened is a tap that follows one open file, "h".
func opened(t testing.TB, flags uint32) (remote.FileTap, *book) {
	t.Helper()
	b := &book{}
	tap := sshrelay.NewTap(b.note)
	if err := errors.Join(
		tap.ToTarget(packet(1, word(3))), tap.FromTarget(packet(2, word(3))),
		tap.ToTarget(packet(3, word(0), text("/f"), word(flags), word(0))), tap.FromTarget(packet(102, word(0), text("h"))),
	); err != nil {
		t.Fatal(err)
	}
	return tap, b
}

// finish closes the file, and returns what was noted.
func finish(t testing.TB, tap remote.FileTap, b *book) remote.Note {
	t.Helper()
	if err := errors.Join(tap.ToTarget(packet(4, word(1<<31), text("h"))), tap.FromTarget(packet(101, word(1<<31), word(0), text(""), text("")))); err != nil {
		t.Fatal(err)
	}
	return b.notes[len(b.notes)-1]
}

func TestTap_hashes_in_the_order_of_offsets(t *testing.T) {
	t.Parallel()
	all := make([]byte, 1<<20)
	_, _ = rand.Read(all)
	const size = 32 << 10
	blocks := len(all) / size
	write := func(tap remote.FileTap, i int) error {
		return errors.Join(
			tap.ToTarget(packet(6, word(uint32(i+1)), text("h"), long(uint64(i*size)), text(string(all[i*size:(i+1)*size])))),
			tap.FromTarget(packet(101, word(uint32(i+1)), word(0), text(""), text(""))),
		)
	}
	t.Run("backwards", func(t *testing.T) {
		tap, b := opened(t, 2)
		for i := blocks - 1; i >= 0; i-- {
			if err := write(tap, i); err != nil {
				t.Fatal(err)
			}
		}
		if n := finish(t, tap, b); n.SHA256 != hashed(all) || n.Text != "" {
			t.Errorf("got %+v", n)
		}
	})
	t.Run("from the middle", func(t *testing.T) {
		tap, b := opened(t, 2)
		for i := blocks / 2; i < blocks; i++ {
			if err := write(tap, i); err != nil {
				t.Fatal(err)
			}
		}
		if n := finish(t, tap, b); n.SHA256 != hashed(all[len(all)/2:]) || n.Text != fmt.Sprintf("partial: from byte %d", len(all)/2) {
			t.Errorf("got %+v", n)
		}
	})
	t.Run("twice", func(t *testing.T) {
		tap, b := opened(t, 2)
		if err := errors.Join(write(tap, 0), write(tap, 1), write(tap, 0)); err != nil {
			t.Fatal(err)
		}
		want := hashed(bytes.Join([][]byte{all[:2*size], all[:size]}, nil))
		if n := finish(t, tap, b); n.SHA256 != want || !strings.Contains(n.Text, "twice") || n.Bytes != 3*size {
			t.Errorf("got %+v", n)
		}
	})
	t.Run("with a hole", func(t *testing.T) {
		tap, b := opened(t, 2)
		if err := errors.Join(write(tap, 0), write(tap, 2)); err != nil {
			t.Fatal(err)
		}
		want := hashed(bytes.Join([][]byte{all[:size], all[2*size : 3*size]}, nil))
		if n := finish(t, tap, b); n.SHA256 != want || n.Text != "partial: in pieces" {
			t.Errorf("got %+v", n)
		}
	})
	t.Run("more comes early than is held back", func(t *testing.T) { // rule W5
		tap, b := opened(t, 2)
		var want []byte
		for i := 1; i <= 200; i++ { // 6 MiB, and the beginning never comes
			p := all[(i%blocks)*size : (i%blocks+1)*size]
			want = append(want, p...)
			if err := errors.Join(
				tap.ToTarget(packet(6, word(uint32(i)), text("h"), long(uint64(i*size)), text(string(p)))),
				tap.FromTarget(packet(101, word(uint32(i)), word(0), text(""), text(""))),
			); err != nil {
				t.Fatal(err)
			}
		}
		if n := finish(t, tap, b); n.SHA256 != hashed(want) || n.Text != fmt.Sprintf("partial: from byte %d", size) {
			t.Errorf("got %+v", n)
		}
	})
	t.Run("the target refuses a part", func(t *testing.T) {
		tap, b := opened(t, 2)
		if err := errors.Join(
			tap.ToTarget(packet(6, word(1), text("h"), long(0), text("abc"))), tap.FromTarget(packet(101, word(1), word(4), text("full"), text(""))),
		); err != nil {
			t.Fatal(err)
		}
		if n := finish(t, tap, b); n.Done || n.Text != "the target refused part of it" {
			t.Errorf("got %+v", n)
		}
	})
}

// rule W5: what cannot be followed is not carried on, and nothing is kept without bound.
func TestTap_follows_no_nonsense(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(tap remote.FileTap) error
	}{
		{"a packet of 4 GiB", func(tap remote.FileTap) error { return tap.ToTarget([]byte{0xff, 0xff, 0xff, 0xff, 6}) }},
		{"an empty packet", func(tap remote.FileTap) error { return tap.FromTarget([]byte{0, 0, 0, 0, 0}) }},
		{"a request without end", func(tap remote.FileTap) error { return tap.ToTarget(append(word(100_000), 14)) }},
		{"a handle without end", func(tap remote.FileTap) error { return tap.FromTarget(append(word(1000), 102)) }},
		{"a write with a huge handle", func(tap remote.FileTap) error {
			return tap.ToTarget(packet(6, word(1), word(0xffffffff), make([]byte, 100)))
		}},
		{"a write that is longer than its packet", func(tap remote.FileTap) error { return tap.ToTarget(packet(6, word(1), text("h"), long(0), word(99))) }},
		{"an offset beyond all files", func(tap remote.FileTap) error {
			return tap.ToTarget(packet(6, word(1), text("h"), long(1<<63), text("x")))
		}},
		{"an answer that nobody asked for", func(tap remote.FileTap) error { return tap.FromTarget(packet(103, word(9), text("x"))) }},
		{"data in place of a status", func(tap remote.FileTap) error {
			return errors.Join(tap.ToTarget(packet(13, word(1), text("/f"))), tap.FromTarget(packet(103, word(1), text("x"))))
		}},
		{"more data than was asked for", func(tap remote.FileTap) error {
			return errors.Join(tap.ToTarget(packet(5, word(1), text("h"), long(0), word(3))), tap.FromTarget(packet(103, word(1), text("four"))))
		}},
		{"one number for two requests", func(tap remote.FileTap) error {
			return errors.Join(tap.ToTarget(packet(13, word(1), text("/a"))), tap.ToTarget(packet(13, word(1), text("/b"))))
		}},
		{"one handle for two files", func(tap remote.FileTap) error {
			return errors.Join(tap.ToTarget(packet(3, word(1), text("/g"), word(1), word(0))), tap.FromTarget(packet(102, word(1), text("h"))))
		}},
		{"a second beginning", func(tap remote.FileTap) error { return tap.ToTarget(packet(1, word(3))) }},
		{"another version, asked for later", func(tap remote.FileTap) error {
			return tap.ToTarget(packet(200, word(1), text("version-select"), text("6")))
		}},
		{"another version", func(tap remote.FileTap) error { return tap.FromTarget(packet(2, word(6))) }},
		{"a write to what is not open", func(tap remote.FileTap) error {
			return errors.Join(tap.ToTarget(packet(6, word(1), text("x"), long(0), text("y"))), tap.FromTarget(packet(101, word(1), word(0))))
		}},
		{"requests without end", func(tap remote.FileTap) error {
			for i := range uint32(5000) {
				if err := tap.ToTarget(packet(17, word(i), text("/"))); err != nil {
					return err
				}
			}
			return nil
		}},
		{"files without end", func(tap remote.FileTap) error {
			for i := range uint32(2000) {
				err := errors.Join(tap.ToTarget(packet(3, word(1), text("/"), word(1), word(0))), tap.FromTarget(packet(102, word(1), word(4), word(i))))
				if err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tap, _ := opened(t, 3)
			if err := c.do(tap); err == nil {
				t.Error("it was followed")
			}
			if tap.ToTarget(packet(17, word(77), text("/"))) == nil {
				t.Error("something was carried afterwards")
			}
		})
	}
}

// rule W14: what a request does that nobody here knows is not known, but that it was made is.
func TestTap_notes_what_it_does_not_know(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		request    []byte
	}{
		{"a copy on the target", "copy a 0 true to /b", packet(200, word(1), text("copy-file"), text("/a"), text("/b"), []byte{1})},
		{"an extension of somebody's", "unknown . 0 true exec@example.net", packet(200, word(1), text("exec@example.net"), text("rm"))},
		{"a packet of a later version", "unknown . 0 true packet 21", packet(21, word(1), text("/a"), text("/b"), []byte{0})},
		{"a packet of nobody's", "unknown . 0 true packet 99", packet(99, word(1))},
	} {
		tap, b := opened(t, 1)
		if err := errors.Join(tap.ToTarget(c.request), tap.FromTarget(packet(101, word(1), word(0), text(""), text("")))); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := b.lines(); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	tap, b := opened(t, 1)
	quiet := errors.Join(
		tap.ToTarget(packet(17, word(1), text("/a"))), tap.FromTarget(packet(105, word(1), word(0))),
		tap.ToTarget(packet(200, word(2), text("statvfs@openssh.com"), text("/"))), tap.FromTarget(packet(201, word(2))),
	)
	if quiet != nil || len(b.lines()) != 0 {
		t.Errorf("%v, %q", quiet, b.lines())
	}
}

// FuzzTap gives a tap whatever two ends may say, cut anywhere. A tap that follows two halves follows the whole, and notes the same.
func FuzzTap(f *testing.F) {
	f.Add(packet(6, word(1), text("h"), long(0), text("abc")), packet(101, word(1), word(0)), 7)
	f.Add(packet(5, word(1), text("h"), long(5), word(3)), packet(103, word(1), text("abc")), 3)
	f.Add(packet(200, word(1), text("posix-rename@openssh.com"), text("a"), text("b")), packet(101, word(1), word(4)), 11)
	f.Add(packet(18, word(1), text("a"), text("b")), []byte{0xff, 0xff, 0xff, 0xff, 103}, 2)
	f.Fuzz(func(t *testing.T, up, down []byte, cut int) {
		whole, b := opened(t, 3)
		halves, c := opened(t, 3)
		err := errors.Join(whole.ToTarget(up), whole.FromTarget(down))
		at := min(max(cut, 0), len(up))
		bad := errors.Join(halves.ToTarget(up[:at]), halves.ToTarget(up[at:]))
		at = min(max(cut, 0), len(down))
		bad = errors.Join(bad, halves.FromTarget(down[:at]), halves.FromTarget(down[at:]))
		if (err == nil) != (bad == nil) {
			t.Errorf("whole: %v, in halves: %v", err, bad)
		}
		_, _ = whole.Close(), halves.Close()
		if err == nil && len(b.notes) != len(c.notes) {
			t.Errorf("%q differs from %q", b.lines(), c.lines())
		}
	})
}
