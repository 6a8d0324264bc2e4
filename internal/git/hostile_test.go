package git_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/git"
)

// A hook that somebody laid into a repository never runs, and git's own settings of this machine and
// this process reach nothing (rule S17). A push or a fetch goes on as if they were not there.
func TestHooks_never_run(t *testing.T) {
	both(t, limits(), func(t *testing.T, h *house, address string) {
		mark := filepath.Join(t.TempDir(), "ran")
		hook := []byte("#!/bin/sh\necho $0 >>" + mark + "\nexit 1\n")
		for _, name := range []string{
			"pre-receive", "update", "post-receive", "post-update", "reference-transaction", "proc-receive", "push-to-checkout", "pre-auto-gc", "post-index-change", "fsmonitor-watchman",
		} {
			if err := os.MkdirAll(filepath.Join(h.dir(), "hooks"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(h.dir(), "hooks", name), hook, 0o700); err != nil { //nolint:gosec // a hook can be run
				t.Fatal(err)
			}
		}
		dir := h.work(t)
		h.git(t, dir, "push", "-q", address, "main").must(t)
		h.git(t, t.TempDir(), "clone", "-q", address, "x").must(t)
		if err := h.Maintain(t.Context(), repoID); err != nil {
			t.Error(err)
		}
		if ran, err := os.ReadFile(mark); err == nil {
			t.Errorf("hooks ran: %s", ran)
		}
	})
}

// A directory that is not as we made it is not served: what is planted there could run programs (settings),
// read other repositories (alternates, links) or stand in for the repository (rules S17, W9 and G2).
func TestDamagedRepositories_are_not_served(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "ran")
	run := "touch " + mark
	for name, plant := range map[string]func(dir string) error{
		"settings that run programs": func(dir string) error {
			return appendTo(filepath.Join(dir, "config"), "[core]\n sshCommand = "+run+"\n fsmonitor = "+run+"\n alternateRefsCommand = "+run+
				"\n gitProxy = "+run+"\n[uploadpack]\n packObjectsHook = "+run+"\n[tar \"x\"]\n command = "+run+"\n remote = true\n[receive]\n procReceiveRefs = refs\n[filter \"x\"]\n smudge = "+run+"\n")
		},
		"settings included": func(dir string) error {
			return appendTo(filepath.Join(dir, "config"), "[include]\n path = /etc/gitconfig\n")
		},
		"settings of a worktree": func(dir string) error { return appendTo(filepath.Join(dir, "config.worktree"), "[core]\n") },
		"settings linked": func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "config"), filepath.Join(dir, "c")), os.Symlink("c", filepath.Join(dir, "config")))
		},
		"settings gone": func(dir string) error { return os.Remove(filepath.Join(dir, "config")) },
		"alternates": func(dir string) error {
			return appendTo(filepath.Join(dir, "objects/info/alternates"), "/other/objects\n")
		},
		"a common directory": func(dir string) error {
			return appendTo(filepath.Join(dir, "commondir"), "../other.git\n")
		},
		"a repository within": func(dir string) error { return os.Mkdir(filepath.Join(dir, ".git"), 0o700) },
		"a link to elsewhere": func(dir string) error { return appendTo(filepath.Join(dir, ".git"), "gitdir: /other.git\n") },
		"objects elsewhere": func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "objects"), filepath.Join(dir, "o")), os.Symlink("o", filepath.Join(dir, "objects")))
		},
		"packs elsewhere": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "objects/pack")), os.Symlink("/tmp", filepath.Join(dir, "objects/pack")))
		},
		"a linked HEAD": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "HEAD")), os.Symlink("/etc/passwd", filepath.Join(dir, "HEAD")))
		},
		"no repository but a link": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+"2"), os.Symlink(dir+"2", dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, limits())
			if err := plant(h.dir()); err != nil {
				t.Fatal(err)
			}
			with := git.Exchange{In: strings.NewReader("0000"), Out: io.Discard}
			_, err := h.Receive(t.Context(), repoID, with, h.allow)
			for what, err := range map[string]error{
				"fetch": h.Upload(t.Context(), repoID, with), "archive": h.Archive(t.Context(), repoID, with), "maintain": h.Maintain(t.Context(), repoID),
				"look": h.Announce(t.Context(), repoID, git.UploadPack, with), "push": err,
			} {
				if !isKind(err, fault.Internal) || !strings.Contains(err.Error(), "damaged") {
					t.Errorf("%s: %v", what, err)
				}
			}
			if _, err := os.Stat(mark); err == nil {
				t.Error("a planted program ran")
			}
		})
	}
}

func appendTo(path, text string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// Rule S17: of the server's own environment, and of the client's, nothing reaches git. Rule G2: the git
// that serves clients can open no address.
func TestEnvironment(t *testing.T) {
	root := t.TempDir()
	mark := filepath.Join(root, "environment")
	fake := filepath.Join(root, "git") // notes how it was called; git's own answers are not needed
	script := "#!/bin/sh\ncase $1 in --exec-path) echo " + root + ";; *) { echo \"$@\"; export -p; } >" + mark + ";; esac\n"
	if err := os.WriteFile(fake, []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"PATH": root + ":/usr/bin:/bin", "GIT_DIR": "/x", "GIT_SSH_COMMAND": "x", "GIT_EXEC_PATH": "/x", "GIT_TRACE": "/x", "LD_PRELOAD": "", "GATEHOUSE_MASTER_KEY": "secret", "HTTP_PROXY": "x", "GIT_CONFIG_PARAMETERS": "'a.b=c'",
	} {
		t.Setenv(name, value)
	}
	r, err := git.Open(t.Context(), filepath.Join(root, "repositories"), limits())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Create(t.Context(), repoID, ""); err != nil {
		t.Fatal(err)
	}
	with := git.Exchange{In: strings.NewReader(""), Out: io.Discard, Protocol: "version=2:evil=`id`"}
	if err := r.Upload(t.Context(), repoID, with); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	directory := filepath.Join(root, "repositories", repoID+".git")
	if lines[0] != "upload-pack --strict "+directory {
		t.Errorf("called as %s", lines[0])
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		switch {
		case strings.HasPrefix(name, "GIT_CONFIG_KEY_"), strings.HasPrefix(name, "GIT_CONFIG_VALUE_"), name == "GIT_CONFIG_COUNT", name == "GIT_CONFIG_NOSYSTEM", name == "GIT_CONFIG_GLOBAL",
			name == "GIT_ATTR_NOSYSTEM", name == "GIT_TERMINAL_PROMPT", name == "GIT_NO_REPLACE_OBJECTS", name == "LC_ALL":
		case name == "PWD", name == "OLDPWD": // the shell's own
		case name == "HOME" && strings.Contains(value, "/nonexistent"):
		case name == "PATH" && strings.Trim(value, `'"`) == root:
		default:
			t.Errorf("git got %s", line)
		}
	}
	if all := string(text); !strings.Contains(all, "protocol.allow") || strings.Contains(all, "secret") {
		t.Errorf("git got %s", all)
	}
}

// Rules G3 and W5: what claims to be large ends git, not the machine.
func TestPackBomb(t *testing.T) {
	t.Parallel()
	l := limits()
	l.Memory = 256 << 20
	h := newHouse(t, l)
	for _, kind := range []byte{1, 2, 4} { // commit, tree, tag: those are read whole
		const size = 3 << 30
		head := pktLine(strings.Repeat("0", 40)+" "+strings.Repeat("1", 40)+" refs/heads/main\x00 report-status side-band-64k") + "0000"
		pack := append([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x01"), objectHeader(kind, size)...)
		var squeezed bytes.Buffer
		z, _ := zlib.NewWriterLevel(&squeezed, zlib.BestSpeed)
		_, _ = io.CopyN(z, zeros{}, 8<<20)
		_ = z.Close()
		push := strings.NewReader(head + string(pack) + squeezed.String() + strings.Repeat("\x00", 20))
		var answer bytes.Buffer
		moved, err := h.Receive(t.Context(), repoID, git.Exchange{In: push, Out: &answer, Over: git.HTTP}, h.allow)
		if len(moved) != 1 || moved[0].Done {
			t.Errorf("kind %d: %+v, %v", kind, moved, err)
		}
		if runtime.GOOS == "linux" && !strings.Contains(fmt.Sprint(err, moved), "memory") && !strings.Contains(answer.String(), "memory") {
			t.Errorf("kind %d was not stopped by the bound on memory: %v, %q", kind, err, answer.String())
		}
		h.untouched(t)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func pktLine(text string) string { return string(git.AppendLine(nil, text)) }

func objectHeader(kind byte, size int) []byte {
	first := kind<<4 | byte(size&15)
	var out []byte
	for size >>= 4; size > 0; size >>= 7 {
		out = append(out, first|0x80)
		first = byte(size & 0x7f)
	}
	return append(out, first)
}

// Rule G3: a push that is too large is cut off while it streams, and the person reads why.
func TestPushLimit(t *testing.T) {
	t.Parallel()
	l := limits()
	l.Push = 1 << 20
	both(t, l, func(t *testing.T, h *house, address string) {
		dir := h.work(t)
		big := make([]byte, 8<<20)
		_, _ = rand.Read(big)
		h.commit(t, dir, "big", big)
		out := h.git(t, dir, "push", address, "main")
		if out.err == nil || !strings.Contains(out.text, "the push is larger than this server takes") {
			t.Errorf("the person reads:\n%s", out.text)
		}
		await(t, "the door hears of it", func() bool { // git's client tries again with what is left: that is malformed
			h.mu.Lock()
			defer h.mu.Unlock()
			return slices.ContainsFunc(h.errors, func(err error) bool { return errors.Is(err, git.ErrTooLarge) })
		})
		h.untouched(t)
		h.note(func() {
			for _, r := range h.ran {
				if r.In > l.Push+1<<20 {
					t.Errorf("%d bytes were read", r.In)
				}
			}
		})
	})
}

// pipes is a client that the test plays itself.
type pipes struct {
	git.Exchange
	in   *io.PipeWriter
	out  *io.PipeReader
	done chan error
}

// play starts an exchange over SSH.
func play(serve func(git.Exchange) error) *pipes {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	p := &pipes{in: inW, out: outR, done: make(chan error, 1)}
	p.Exchange = git.Exchange{In: inR, Out: outW, Hangup: func() { inR.CloseWithError(io.ErrClosedPipe); outW.Close() }}
	go func() {
		err := serve(p.Exchange)
		inR.CloseWithError(io.ErrClosedPipe) // the door closes the channel
		outW.Close()
		p.done <- err
	}()
	return p
}

// announced reads what git says first.
func (p *pipes) announced() error {
	lines := &git.LineReader{R: p.out}
	for {
		if _, sign, err := lines.Next(); err != nil || sign == git.Flush {
			return err
		}
	}
}

// started sends the head of a push and the first bytes of its pack.
func (p *pipes) started() error {
	if err := p.announced(); err != nil {
		return err
	}
	text := pktLine(strings.Repeat("0", 40)+" "+strings.Repeat("1", 40)+" refs/heads/main\x00 report-status side-band-64k") + "0000" +
		"PACK\x00\x00\x00\x02\x00\x00\xff\xff"
	if _, err := io.WriteString(p.in, text); err != nil {
		return err
	}
	object := objectHeader(3, 64)
	var squeezed bytes.Buffer
	z := zlib.NewWriter(&squeezed)
	_, _ = z.Write(make([]byte, 64))
	_ = z.Close()
	for range 100 {
		if _, err := p.in.Write(append(object, squeezed.Bytes()...)); err != nil {
			return err
		}
	}
	return nil
}

// children lists the processes whose arguments name this house: those of git and of what it started.
func (h *house) children(tb testing.TB) []string {
	tb.Helper()
	var found []string
	entries, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range entries {
		environment, err := os.ReadFile(path)
		if err == nil && bytes.Contains(environment, []byte(h.dir())) {
			found = append(found, filepath.Base(filepath.Dir(path)))
		}
	}
	return found
}

// However an exchange ends, no process is left of it, no quarantine and no ref (rule G3: the stalled push).
func TestEnds(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("no /proc to look for processes in")
	}
	nothing := func(*pipes, func(), *atomic.Bool) {}
	for name, end := range map[string]struct {
		limit func(*git.Limits, time.Duration) // that ends it: nil where something else does
		do    func(p *pipes, cancel func(), deny *atomic.Bool)
		want  error
	}{
		"the client hangs up":    {nil, func(p *pipes, _ func(), _ *atomic.Bool) { p.in.CloseWithError(io.ErrUnexpectedEOF) }, git.ErrLeft},
		"the context ends":       {nil, func(_ *pipes, cancel func(), _ *atomic.Bool) { cancel() }, git.ErrLeft},
		"the client stalls":      {func(l *git.Limits, d time.Duration) { l.Idle = d }, nothing, git.ErrStalled},
		"the time is over":       {func(l *git.Limits, d time.Duration) { l.Total = d }, nothing, git.ErrTooLong},
		"the right is withdrawn": {nil, func(_ *pipes, _ func(), deny *atomic.Bool) { deny.Store(true) }, errNotThis},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			try := func(t *testing.T, limit time.Duration) (late error) {
				t.Helper()
				l := limits()
				l.Recheck = 10 * time.Millisecond
				if end.limit != nil {
					end.limit(&l, limit)
				}
				h := newHouse(t, l)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var deny atomic.Bool
				allow := func(context.Context, []git.Move) error {
					if deny.Load() {
						return errNotThis
					}
					return nil
				}
				var moved []git.Moved
				p := play(func(with git.Exchange) (err error) {
					moved, err = h.Receive(ctx, repoID, with, allow)
					return err
				})
				late = p.started()
				go func() { _, _ = io.Copy(io.Discard, p.out) }()
				if end.limit == nil {
					await(t, "git and its child run", func() bool { return len(h.children(t)) >= 2 })
				}
				end.do(p, cancel, &deny)
				if err := <-p.done; !errors.Is(err, end.want) {
					t.Errorf("ended with %v, want %v", err, end.want)
				}
				await(t, "nothing of it runs", func() bool { return len(h.children(t)) == 0 })
				if late == nil && (len(moved) != 1 || moved[0].Done || moved[0].Refused == "") {
					t.Errorf("moved %+v", moved)
				}
				h.untouched(t)
				return late
			}
			for i, limit := range growing {
				late := try(t, limit)
				if late == nil {
					return
				}
				if end.limit == nil || i == len(growing)-1 {
					t.Fatal(late)
				}
			}
		})
	}
}

// A client that leaves after git has moved the refs does not leave them unrecorded.
func TestReceive_tells_what_moved_when_the_client_is_gone(t *testing.T) {
	t.Parallel()
	h := newHouse(t, limits())
	dir := h.work(t)
	tip := h.head(t, dir, "main")
	pack, err := h.gitCommand(t, dir, "pack-objects", "--all", "--stdout", "-q").Output()
	if err != nil {
		t.Fatal(err)
	}
	head := pktLine(strings.Repeat("0", 40)+" "+tip+" refs/heads/main\x00 report-status") + "0000"
	moved, err := h.Receive(t.Context(), repoID, git.Exchange{In: strings.NewReader(head + string(pack)), Out: gone{}, Over: git.HTTP}, h.allow)
	if !errors.Is(err, git.ErrLeft) || len(moved) != 1 || !moved[0].Done {
		t.Errorf("%+v, %v", moved, err)
	}
	var deleting bytes.Buffer
	head = pktLine(tip+" "+strings.Repeat("0", 40)+" refs/heads/main\x00 report-status delete-refs") + "0000"
	moved, err = h.Receive(t.Context(), repoID, git.Exchange{In: strings.NewReader(head), Out: &deleting, Over: git.HTTP}, h.allow)
	if err != nil || moved[0].Done || !strings.Contains(moved[0].Refused, "deletion") {
		t.Errorf("the default branch was deleted: %+v, %v", moved, err)
	}
}

// gone is a client that does not read.
type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Rule G3: neither a million refs nor endless lines reach git.
func TestHostilePushes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, limits())
	for name, push := range map[string]struct {
		in   io.Reader
		want error
	}{
		"a million refs":        {&refs{}, git.ErrManyRefs},
		"endless lines":         {&repeat{text: "fff0" + strings.Repeat("a", 65516)}, git.ErrPush},
		"no lines":              {zeros{}, git.ErrPush},
		"endless shallow lines": {&repeat{text: pktLine("shallow " + strings.Repeat("1", 40))}, git.ErrManyRefs},
	} {
		var out bytes.Buffer
		asked := false
		moved, err := h.Receive(t.Context(), repoID, git.Exchange{In: push.in, Out: &out, Over: git.HTTP}, func(context.Context, []git.Move) error { asked = true; return nil })
		if !errors.Is(err, push.want) || asked || len(moved) > 0 {
			t.Errorf("%s: %v, asked %v", name, err, asked)
		}
	}
	h.untouched(t)
	for name, in := range map[string]io.Reader{"endless wants": &repeat{text: pktLine("want " + strings.Repeat("1", 40))}, "endless haves": &repeat{text: "0032have " + strings.Repeat("1", 40) + "\n"}} {
		if err := h.Upload(t.Context(), repoID, git.Exchange{In: in, Out: io.Discard, Over: git.HTTP}); err == nil {
			t.Errorf("%s were served", name)
		}
	}
	endless := &repeat{text: pktLine("command=ls-refs\n") + "0001" + strings.Repeat(pktLine("ref-prefix refs/x\n"), 100) + pktLine("ref-prefix a\n")}
	l := limits()
	l.Request = 1 << 20
	small := newHouse(t, l)
	if err := small.Upload(t.Context(), repoID, git.Exchange{In: endless, Out: io.Discard, Over: git.HTTP, Protocol: "version=2"}); err == nil {
		t.Error("an endless list was served")
	}
	if endless.sent > 4<<20 {
		t.Errorf("%d bytes were read", endless.sent)
	}
}

// repeat sends a text again and again.
type repeat struct {
	text string
	sent int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.sent%len(r.text):])
	r.sent += n
	return n, nil
}

// refs is a push of a million refs.
type refs struct {
	n    int
	rest string
}

func (r *refs) Read(p []byte) (int, error) {
	if r.rest == "" && r.n < 1_000_000 {
		caps := ""
		if r.n == 0 {
			caps = "\x00 report-status"
		}
		r.rest = pktLine(strings.Repeat("0", 40) + " " + strings.Repeat("1", 40) + " refs/heads/b" + strconv.Itoa(r.n) + caps)
		r.n++
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func TestTurns(t *testing.T) {
	t.Parallel()
	l := limits()
	l.Running, l.Queue = 2, time.Minute
	t.Run("a_crowd_is_served_one_after_the_other", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, l)
		var crowd sync.WaitGroup
		var most, now atomic.Int32
		for n := range 40 {
			crowd.Go(func() {
				in := &counted{first: func() {
					if k := now.Add(1); k > most.Load() {
						most.Store(k)
					}
				}, last: func() { now.Add(-1) }}
				if err := h.Upload(context.Background(), repoID, git.Exchange{In: in, Out: io.Discard}); err != nil {
					t.Errorf("%d: %v", n, err)
				}
			})
		}
		crowd.Wait()
		if most.Load() > 2 {
			t.Errorf("%d ran at a time", most.Load())
		}
	})
	t.Run("who_waits_too_long_is_told", func(t *testing.T) {
		t.Parallel()
		l := l
		l.Running, l.Queue = 1, 20*time.Millisecond
		h := newHouse(t, l)
		p := play(func(with git.Exchange) error { return h.Upload(t.Context(), repoID, with) })
		if err := p.announced(); err != nil {
			t.Fatal(err)
		}
		err := h.Upload(t.Context(), repoID, git.Exchange{In: strings.NewReader("0000"), Out: io.Discard})
		if !errors.Is(err, git.ErrBusy) || !isKind(err, fault.Limited) {
			t.Errorf("waited for %v", err)
		}
		_, _ = io.WriteString(p.in, "0000")
		_, _ = io.Copy(io.Discard, p.out)
		if err := <-p.done; err != nil {
			t.Error(err)
		}
		h.note(func() {
			if len(h.ran) != 2 || h.ran[0].Outcome != git.Busy || h.ran[0].Waited < l.Queue || h.ran[1].Outcome != git.Done {
				t.Errorf("observed %+v", h.ran)
			}
		})
		if err := h.Upload(t.Context(), repoID, git.Exchange{In: strings.NewReader("0000"), Out: io.Discard}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// counted asks for nothing and tells when it is listened to.
type counted struct {
	first, last func()
	n           int
}

func (c *counted) Read(p []byte) (int, error) {
	c.n++
	if c.n == 1 {
		c.first()
		return copy(p, "0000"), nil
	}
	c.last()
	return 0, io.EOF
}

func TestSweep(t *testing.T) {
	t.Parallel()
	h := newHouse(t, limits())
	stale := []string{
		".new-x-1/objects/a", ".gone-x-1/config", repoID + ".git/objects/tmp_objdir-incoming-abc/pack/p", repoID + ".git/objects/pack/tmp_pack_abc",
		repoID + ".git/refs/heads/a/main.lock", repoID + ".git/packed-refs.lock",
	}
	kept := []string{repoID + ".git/refs/heads/a/main", repoID + ".git/objects/pack/pack-1.pack", "elsewhere/x.lock", repoID + ".git/config", repoID + ".git/HEAD"}
	for _, name := range append(stale, kept[:3]...) {
		path := filepath.Join(h.root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, name := range stale {
		if _, err := os.Stat(filepath.Join(h.root, name)); err != nil {
			t.Errorf("%s may be in use and is gone", name)
		}
	}
	if err := h.Sweep(t.Context(), time.Now().Add(2*limits().Total)); err != nil {
		t.Fatal(err)
	}
	for _, name := range stale {
		if _, err := os.Stat(filepath.Join(h.root, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	for _, name := range kept {
		if _, err := os.Stat(filepath.Join(h.root, name)); err != nil {
			t.Errorf("%s is gone", name)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(h.dir(), "objects/tmp_*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	h := newHouse(t, limits())
	if err := h.Create(t.Context(), repoID, ""); !errors.Is(err, git.ErrExists) {
		t.Errorf("created twice: %v", err)
	}
	dir := h.work(t)
	h.git(t, dir, "push", "-q", "git@gate.test:PRJ/repo.git", "main").must(t)
	if err := h.Create(t.Context(), repoID, ""); !errors.Is(err, git.ErrExists) {
		t.Errorf("created over a full one: %v", err)
	}
	for n, branch := range []string{"-x", "a..b", "a b", "a.lock", "a\n", "/a", "a/"} {
		if err := h.Create(t.Context(), fmt.Sprint("x", n), branch); !errors.Is(err, git.ErrBranch) {
			t.Errorf("%q: %v", branch, err)
		}
	}
	if err := h.Create(t.Context(), "other", "release/1.0"); err != nil {
		t.Fatal(err)
	}
	if head := h.git(t, filepath.Join(h.root, "other.git"), "symbolic-ref", "HEAD").must(t); head != "refs/heads/release/1.0\n" {
		t.Errorf("HEAD is %s", head)
	}
	for range 2 { // the second finds nothing to do
		if err := h.Remove(t.Context(), repoID); err != nil {
			t.Error(err)
		}
	}
	if err := h.Upload(t.Context(), repoID, git.Exchange{In: strings.NewReader("0000"), Out: io.Discard}); !errors.Is(err, git.ErrNoRepository) {
		t.Errorf("a removed repository: %v", err)
	}
	entries, err := os.ReadDir(h.root)
	if err != nil || len(entries) != 1 || entries[0].Name() != "other.git" {
		t.Errorf("left: %v, %v", entries, err)
	}
}
