package sshd_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/git"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/sshd"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// forge is a door with repositories behind it, on real services, a SQLite file and a folder of their own: the project OPS with infra and tools, the project
// WEB with site. dana may write in OPS and rita may read there.
type forge struct {
	*door
	git    *sshd.Git
	rights *access.Service
	users  *identity.Service
	repos  map[string]repo.Repo // by slug
	ids    map[string]string    // of users, by name
}

type noHasher struct{}

func (noHasher) Hash(context.Context, secret.String) (string, error) { return "none", nil }

func newForge(t *testing.T, change ...func(*sshd.Limits)) *forge {
	t.Helper()
	peers.Require(t, "git")
	ctx, dir := context.WithoutCancel(t.Context()), t.TempDir()
	engine, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, "gatehouse.db")})
	must(t, err)
	t.Cleanup(func() { must(t, engine.Close()) })
	must(t, engine.Migrate(ctx))
	db, now, newID := &store.DB{Engine: engine}, time.Now, func() string { return uuid.Must(uuid.NewV7()).String() }
	served, err := git.Open(ctx, filepath.Join(dir, "git"), git.DefaultLimits())
	must(t, err)
	rights := &access.Service{Store: store.Bindings{DB: db}, Now: now, NewID: newID}
	projects := &project.Service{Store: store.Projects{DB: db}, Access: rights, Now: now, NewID: newID}
	f := &forge{rights: rights, repos: map[string]repo.Repo{}, ids: map[string]string{}, git: &sshd.Git{
		Served: served,
		Keys:   &sshkey.Service{Store: store.SSHKeys{DB: db}, Access: rights, Now: now, NewID: newID, RequireProof: sshkey.ProofOff, AccessKeys: true},
		Repos:  &repo.Service{Store: store.Repos{DB: db}, Access: rights, Projects: projects, Disk: served, Now: now, NewID: newID},
	}}
	f.users = &identity.Service{Store: store.Users{DB: db}, Hasher: noHasher{}, Now: now, NewID: newID, TopRoles: access.TopRoles()}
	for _, name := range []string{"dana", "rita"} {
		u, err := f.users.Add(ctx, rights.For(me()), identity.New{Name: name, Email: name + "@example.test", Password: secret.New("correct horse battery")})
		must(t, err)
		f.ids[name] = u.ID
	}
	for _, one := range [][2]string{{"OPS", "infra"}, {"OPS", "tools"}, {"WEB", "site"}} {
		p, err := projects.Find(ctx, me(), one[0])
		if errors.Is(err, project.ErrUnknown) {
			p, err = projects.Create(ctx, me(), project.New{Key: one[0]})
		}
		must(t, err)
		f.repos[one[1]], err = f.git.Repos.Create(ctx, me(), p, repo.New{Name: one[1]})
		must(t, err)
	}
	ops := f.repos["infra"].Project.Resource()
	must(t, rights.Grant(ctx, me(), access.Subject{Kind: access.User, ID: f.ids["dana"]}, access.RepoWriter, f.repos["infra"].Resource()))
	must(t, rights.Grant(ctx, me(), access.Subject{Kind: access.User, ID: f.ids["rita"]}, access.ProjectReader, ops))
	f.door = open(t, change...)
	f.server.Git = f.git
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func line(s ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}

// userKey puts a key of somebody on file.
func (f *forge) userKey(t *testing.T, user string, s ssh.Signer) sshkey.Registered {
	t.Helper()
	r, err := f.git.Keys.AddUserKey(t.Context(), me(), f.ids[user], sshkey.New{Text: line(s), Label: user + "'s", Via: sshkey.Wire})
	must(t, err)
	return r
}

// accessKey gives a key a place.
func (f *forge) accessKey(t *testing.T, at access.Resource, p sshkey.Permission, s ssh.Signer) sshkey.Registered {
	t.Helper()
	held, err := f.git.Keys.AddAccessKey(t.Context(), me(), at, p, sshkey.New{Text: line(s), Label: "robot", Via: sshkey.Wire})
	must(t, err)
	return held.Key
}

// dial signs in as git.
func (f *forge) dial(t *testing.T, user string, signers ...ssh.Signer) (*ssh.Client, error) {
	t.Helper()
	c, err := ssh.Dial("tcp", f.addr, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signers...)}, HostKeyCallback: ssh.FixedHostKey(hostED().PublicKey()), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, Timeout: patience,
	})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// answer is what a command over SSH said.
type answer struct {
	out, errs string
	exit      int
}

// run runs one command in a session of its own.
func (f *forge) run(t *testing.T, command string, signers ...ssh.Signer) answer {
	t.Helper()
	c, err := f.dial(t, "git", signers...)
	must(t, err)
	defer c.Close()
	s, err := c.NewSession()
	must(t, err)
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = strings.NewReader("0000"), &out, &errs
	if command == "" {
		must(t, s.Shell())
		err = s.Wait()
	} else {
		err = s.Run(command)
	}
	a := answer{out: out.String(), errs: errs.String()}
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		a.exit = exit.ExitStatus()
	} else if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return a
}

// client runs a real git, over a real ssh, with one key.
func (f *forge) client(t *testing.T, key ssh.Signer, keyFile, dir string, args ...string) (string, error) {
	t.Helper()
	peers.Require(t, "ssh", "git")
	_, port, _ := net.SplitHostPort(f.addr)
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.WaitDelay = dir, 10*time.Second
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@b.test", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@b.test",
		"GIT_SSH_COMMAND=ssh -F /dev/null -p " + port + " -i " + keyFile + " -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// keyOnDisk is a key on disk for programs.
func keyOnDisk(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	private := newPrivate()
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	path := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	s, err := ssh.NewSignerFromKey(private)
	must(t, err)
	return s, path
}

// Rules S17, G1: a key reaches what it was given, in the way it was given, and no text that a client sends leads elsewhere.
func TestGit_doors(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	dana, rita, reader, writer, all, stranger := newED(), newED(), newED(), newED(), newED(), newED()
	f.userKey(t, "dana", dana)
	f.userKey(t, "rita", rita)
	f.accessKey(t, f.repos["infra"].Resource(), sshkey.Read, reader)
	f.accessKey(t, f.repos["infra"].Resource(), sshkey.Write, writer)
	f.accessKey(t, f.repos["infra"].Project.Resource(), sshkey.Write, all)

	const no = "There is no such repository, or this key may not do that.\n"
	for _, c := range []struct {
		key     ssh.Signer
		command string
		refused string // "" is served
	}{
		{dana, "git-upload-pack '/OPS/infra.git'", ""},
		{dana, "git upload-pack 'ops/infra'", ""},
		{dana, "git-receive-pack 'ops/infra.git'", ""},
		{dana, "git-upload-pack 'ops/tools.git'", no},
		{dana, "git-upload-pack 'ops/nothing.git'", no},
		{dana, "git-upload-pack 'nothing/infra.git'", no},
		{rita, "git-upload-pack 'ops/tools.git'", ""},
		{rita, "git-receive-pack 'ops/tools.git'", no},
		{rita, "git-upload-pack 'web/site.git'", no},
		{reader, "git-upload-pack 'ops/infra.git'", ""},
		{reader, "git-receive-pack 'ops/infra.git'", no},
		{reader, "git-upload-pack 'ops/tools.git'", no},
		{reader, "git-upload-archive 'ops/tools.git'", no},
		{writer, "git-receive-pack 'ops/infra.git'", ""},
		{writer, "git-receive-pack 'ops/tools.git'", no},
		{all, "git-receive-pack 'ops/tools.git'", ""},
		{all, "git-receive-pack 'ops/infra.git'", ""},
		{all, "git-upload-pack 'web/site.git'", no},
		{dana, "git-upload-pack 'ops/../web/site.git'", git.ErrCommand.Text + "\n"},
		{dana, "git-upload-pack 'ops/infra.git'; id", git.ErrCommand.Text + "\n"},
		{dana, "id", git.ErrCommand.Text + "\n"},
	} {
		a := f.run(t, c.command, c.key)
		if c.refused == "" && (a.exit != 0 || a.out == "" || a.errs != "") {
			t.Errorf("%s was not served: %+v", c.command, a)
		}
		if c.refused != "" && (a != answer{errs: c.refused, exit: 1}) {
			t.Errorf("%s was answered with %+v", c.command, a)
		}
	}
	if _, err := f.dial(t, "git", stranger); err == nil {
		t.Error("a key that is not on file signed in")
	}
}

// Rule S14: a key for git is no way to anything else.
func TestGit_is_no_shell(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	dana, robot := newED(), newED()
	f.userKey(t, "dana", dana)
	f.accessKey(t, f.repos["infra"].Resource(), sshkey.Read, robot)
	for key, name := range map[ssh.Signer]string{dana: "dana", robot: "access key robot"} {
		want := answer{errs: "You are signed in as " + name + "; git over SSH only.\n", exit: 1}
		if a := f.run(t, "", key); a != want {
			t.Errorf("a shell got %+v, want %+v", a, want)
		}
	}
	c, err := f.dial(t, "git", dana)
	must(t, err)
	if _, _, err := c.OpenChannel("direct-tcpip", ssh.Marshal(struct {
		Host  string
		Port  uint32
		From  string
		FPort uint32
	}{"127.0.0.1", 22, "127.0.0.1", 1})); err == nil {
		t.Error("a forward was opened")
	}
	if ok, _, err := c.SendRequest("tcpip-forward", true, nil); ok || err != nil {
		t.Errorf("a remote forward: %v, %v", ok, err)
	}
	s, err := c.NewSession()
	must(t, err)
	if _, err := c.NewSession(); err == nil {
		t.Error("a second session was opened")
	}
	for name, request := range map[string]func() error{
		"a terminal":      func() error { return s.RequestPty("xterm", 24, 80, nil) },
		"a subsystem":     func() error { return s.RequestSubsystem("sftp") },
		"a variable":      func() error { return s.Setenv("LD_PRELOAD", "/tmp/x.so") },
		"an odd protocol": func() error { return s.Setenv("GIT_PROTOCOL", "version=2:x") },
		"an agent": func() error {
			ok, err := s.SendRequest("auth-agent-req@openssh.com", true, nil)
			return refusal(ok, err)
		},
		"an X11 connection": func() error { ok, err := s.SendRequest("x11-req", true, nil); return refusal(ok, err) },
	} {
		if request() == nil {
			t.Errorf("%s was granted", name)
		}
	}
	must(t, s.Setenv("GIT_PROTOCOL", "version=2"))
	must(t, s.Start("git-upload-pack 'ops/infra.git'"))
	if ok, err := s.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{"git-receive-pack 'ops/infra.git'"})); ok || err != nil {
		t.Errorf("a second command: %v, %v", ok, err)
	}
}

func refusal(ok bool, err error) error {
	if err == nil && !ok {
		return errors.New("refused")
	}
	return err
}

// Rules S1, S18, W11: what counts is a signature of a key that opens something at that moment.
func TestGit_keys_that_open_nothing(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	t.Run("an offer is no signature", func(t *testing.T) {
		dana := newED()
		f.userKey(t, "dana", dana)
		if _, err := f.dial(t, "git", forgery{dana.PublicKey(), newED()}); err == nil {
			t.Error("the public half alone signed in")
		}
	})
	t.Run("disabled users, removed keys and access keys that are off", func(t *testing.T) {
		dana, robot := newED(), newED()
		held := f.userKey(t, "dana", dana)
		f.accessKey(t, f.repos["infra"].Resource(), sshkey.Read, robot)
		if _, err := f.dial(t, "git", dana); err != nil {
			t.Fatal(err)
		}
		must(t, f.git.Keys.RemoveAllOf(t.Context(), me(), held.User))
		if _, err := f.dial(t, "git", dana); err == nil {
			t.Error("a removed key signed in")
		}
		f.userKey(t, "dana", dana)
		must(t, f.users.SetDisabled(t.Context(), f.rights.For(me()), f.ids["dana"], true))
		if _, err := f.dial(t, "git", dana); err == nil {
			t.Error("a disabled user signed in")
		}
	})
	t.Run("another door's user name", func(t *testing.T) {
		rita := newED()
		f.userKey(t, "rita", rita)
		if _, err := f.dial(t, "rita", rita); err == nil {
			t.Error("the key opened another door")
		}
	})
}

func TestGit_refusals_are_on_record(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	if _, err := f.dial(t, "git", newED(), newED()); err == nil {
		t.Fatal("strangers signed in")
	}
	if outcome := f.closed(t); outcome != sshd.OutcomeRefused {
		t.Errorf("ended as %s", outcome)
	}
	found := f.refusals.all()
	if len(found) != 1 || found[0].Outcome != audit.Refused || found[0].Reason != "there is no such key" || found[0].Actor.Name != "git" {
		t.Errorf("recorded %+v", found)
	}
}

// forgery shows one key and signs with another.
type forgery struct {
	shown ssh.PublicKey
	ssh.Signer
}

func (f forgery) PublicKey() ssh.PublicKey { return f.shown }

// Rule S7: wrong signatures are few, and offers not without end.
func TestGit_failures_end_the_connection(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	dana := newED()
	f.userKey(t, "dana", dana)
	forged := make([]ssh.Signer, 10)
	for i := range forged {
		forged[i] = forgery{dana.PublicKey(), newED()}
	}
	if _, err := f.dial(t, "git", append(forged, dana)...); err == nil {
		t.Error("the right key was taken after ten forged signatures")
	}
	if _, err := f.dial(t, "git", append(eds(20), dana)...); err != nil {
		t.Errorf("the 21st key of an agent: %v", err)
	}
	if _, err := f.dial(t, "git", append(eds(60), dana)...); err == nil {
		t.Error("60 keys were looked up on one connection")
	}
}

// Rule S4: a security key signs with a touch or not at all.
func TestGit_security_key_needs_a_touch(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	touched, untouched := newAuthenticator(t, ssh.KeyAlgoSKED25519, 0x01), newAuthenticator(t, ssh.KeyAlgoSKED25519, 0x00)
	f.userKey(t, "dana", touched)
	f.userKey(t, "rita", untouched)
	if _, err := f.dial(t, "git", touched); err != nil {
		t.Errorf("with a touch: %v", err)
	}
	if _, err := f.dial(t, "git", untouched); err == nil {
		t.Error("a signature without a touch signed in")
	}
}

func TestGit_that_is_not_installed(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	f.git.Served = nil
	dana := newED()
	f.userKey(t, "dana", dana)
	if a := f.run(t, "git-upload-pack 'ops/infra.git'", dana); a.exit != 1 || !strings.Contains(a.errs, "git is not installed here") {
		t.Errorf("%+v", a)
	}
}

// The real git over the real ssh.
func TestGit_clients(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	dana, danaFile := keyOnDisk(t)
	robot, robotFile := keyOnDisk(t)
	key := f.userKey(t, "dana", dana)
	f.accessKey(t, f.repos["infra"].Resource(), sshkey.Read, robot)
	dir := t.TempDir()
	const address = "ssh://git@127.0.0.1/OPS/infra.git"
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"commit", "-q", "--allow-empty", "-m", "one"}, {"commit", "-q", "--allow-empty", "-m", "two"}, {"push", "-q", address, "main"}} {
		if out, err := f.client(t, dana, danaFile, dir, args...); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	pushes, err := f.git.Repos.Pushes(t.Context(), me(), f.repos["infra"], page.Of(0, 10))
	must(t, err)
	if len(pushes.Items) != 1 || pushes.Items[0].Actor.Name != "dana" || pushes.Items[0].Credential != key.ID || len(pushes.Items[0].Refs) != 1 ||
		pushes.Items[0].Refs[0].Name != "refs/heads/main" || pushes.Items[0].Refs[0].Old != strings.Repeat("0", 40) || pushes.Items[0].Address != "127.0.0.1" {
		t.Errorf("recorded %+v", pushes.Items)
	}
	for _, args := range [][]string{{"clone", "-q", address, "whole"}, {"clone", "-q", "--depth", "1", address, "shallow"}, {"archive", "--remote", address, "-o", "a.tar", "main"}} {
		if out, err := f.client(t, robot, robotFile, dir, args...); err != nil {
			t.Errorf("git %v: %v\n%s", args, err, out)
		}
	}
	if out, err := f.client(t, robot, robotFile, dir, "push", address, "main:other"); err == nil || !strings.Contains(out, "this key may not do that") {
		t.Errorf("a read key pushed: %v\n%s", err, out)
	}
}

// A right that is gone when the refs would move moves nothing.
func TestGit_push_is_asked_about_again(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	dana, file := keyOnDisk(t)
	held := f.userKey(t, "dana", dana)
	dir := t.TempDir()
	hook := filepath.Join(dir, ".git", "hooks", "pre-push") // runs when the refs were told and before the push is sent
	const address = "ssh://git@127.0.0.1/OPS/infra.git"
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"commit", "-q", "--allow-empty", "-m", "one"}} {
		if out, err := f.client(t, dana, file, dir, args...); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	reached, go_ := filepath.Join(dir, "reached"), filepath.Join(dir, "go")
	must(t, os.MkdirAll(filepath.Dir(hook), 0o700))
	must(t, os.WriteFile(hook, []byte("#!/bin/sh\n: >"+reached+"\nwhile [ ! -e "+go_+" ]; do sleep 0.05; done\n"), 0o700)) //nolint:gosec // a hook must be executable
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := f.client(t, dana, file, dir, "push", address, "main")
		done <- result{out, err}
	}()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(reached); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the push did not begin")
		}
	}
	must(t, f.git.Keys.RemoveAllOf(t.Context(), me(), held.User))
	must(t, os.WriteFile(go_, nil, 0o600))
	r := <-done
	if r.err == nil || !strings.Contains(r.out, "this key may not push here") {
		t.Errorf("pushed with a removed key: %v\n%s", r.err, r.out)
	}
	pushes, err := f.git.Repos.Pushes(t.Context(), me(), f.repos["infra"], page.Of(0, 10))
	must(t, err)
	if len(pushes.Items) != 0 {
		t.Errorf("recorded %+v", pushes.Items)
	}
}

// A person is one caller by whichever key, and an access key is one by itself (rule G3).
func TestGit_callers_share_turns(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	seen := &noting{Repositories: f.git.Served}
	f.git.Served = seen
	dana, robot := newED(), newED()
	f.userKey(t, "dana", dana)
	key := f.accessKey(t, f.repos["infra"].Resource(), sshkey.Read, robot)
	for want, signer := range map[string]ssh.Signer{"user " + f.ids["dana"]: dana, "service " + key.ID: robot} {
		f.run(t, "git-upload-pack 'ops/infra.git'", signer)
		if seen.caller != want {
			t.Errorf("%q, want %q", seen.caller, want)
		}
	}
}

// noting keeps who called last, and serves nothing: it hears the client out.
type noting struct {
	sshd.Repositories
	caller string
}

func (n *noting) Upload(_ context.Context, _ string, with git.Exchange) error {
	n.caller = with.Caller
	_, err := io.Copy(io.Discard, with.In)
	return err
}
