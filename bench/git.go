package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/bench/load"
	"github.com/gatehouse-project/gatehouse/bench/proc"
	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/git"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// forge is a server and one repository on it. Peers serve a copy of the folder that Gatehouse keeps.
type forge struct {
	server    server
	label     string
	web       bool
	user      string // over SSH
	address   string
	path      string
	cipher    string // over SSH; "" is what client and server agree on
	authorize string // over HTTP

	rate, streamed, cpu, streamCPU, memory series
	failed                                 int
}

// url is what git clones.
func (f *forge) url() string {
	if f.web {
		return "http://" + f.address + f.path
	}
	return "ssh://" + f.user + "@" + f.address + f.path
}

// sshArgs are those of an ssh that leaves nothing behind and asks nothing.
func (r *run) sshArgs(f *forge) []string {
	_, port, err := net.SplitHostPort(f.address)
	r.must(err, "read address")
	args := []string{"-F", "/dev/null", "-p", port, "-i", r.keyFile()}
	for _, o := range []string{"IdentitiesOnly=yes", "IdentityAgent=none", "BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"} {
		args = append(args, "-o", o)
	}
	if f.cipher != "" {
		args = append(args, "-c", f.cipher)
	}
	return args
}

// keyFile is the clients' key as programs read it.
func (r *run) keyFile() string {
	path := filepath.Join(r.dir, "key")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	block, err := ssh.MarshalPrivateKey(ed25519.NewKeyFromSeed(seed), "")
	r.must(err, "write key")
	r.must(os.WriteFile(path, pem.EncodeToMemory(block), 0o600), "write key")
	return path
}

// client is a real git on its way to a forge.
func (r *run) client(f *forge, dir string, args ...string) *exec.Cmd {
	first := []string{"-c", "core.fsync=none", "-c", "gc.auto=0"} // what the client's disk does is nobody's merit
	if f.authorize != "" {
		first = append(first, "-c", "http.extraHeader=Authorization: "+f.authorize)
	}
	cmd := exec.Command("git", append(first, args...)...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@bench.test", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@bench.test",
	}
	if !f.web {
		cmd.Env = append(cmd.Env, "GIT_SSH_COMMAND=ssh "+strings.Join(r.sshArgs(f), " "))
	}
	return cmd
}

func (r *run) git(f *forge, dir string, args ...string) string {
	out, err := r.client(f, dir, args...).CombinedOutput()
	if err != nil {
		r.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// repository makes a repository of files that nothing can make smaller, and pushes it. It returns how it is reached over SSH and over HTTP, its folder and its tip.
func (h *house) repository(name string, files, size int) (shell, web *forge, folder, tip string) {
	var made repo.Repo
	var header string
	h.inside(func(ctx context.Context, in *app.House, by access.Caller) error {
		p, err := in.Projects.Find(ctx, by, "BENCH")
		if err != nil {
			return err
		}
		if made, err = in.Repos.Create(ctx, by, p, repo.New{Name: name}); err != nil {
			return err
		}
		if _, err := in.Keys.AddAccessKey(ctx, by, made.Resource(), sshkey.Write, sshkey.New{Text: publicKey(), Label: "bench", Via: sshkey.Wire}); err != nil {
			return err
		}
		plain, _, err := in.HTTPTokens.Issue(ctx, by, made.Resource(), token.Draft{Name: "bench", Permissions: []token.Permission{token.RepoRead}})
		header = "Bearer " + plain.Reveal()
		return err
	})
	shell = &forge{label: h.name, server: h.server, user: "git", address: h.ssh, path: "/bench/" + name + ".git"}
	web = &forge{label: h.name, server: h.server, web: true, address: h.http, path: "/scm/bench/" + name + ".git", authorize: header}
	shell.server.tree, web.server.tree = true, true
	work := h.r.TempDir()
	h.r.git(shell, work, "init", "-q", "-b", "main")
	content := make([]byte, size)
	for i := range files {
		_, _ = rand.Read(content) // never fails
		h.r.must(os.WriteFile(filepath.Join(work, fmt.Sprintf("file-%d", i)), content, 0o600), "write file")
	}
	h.r.git(shell, work, "add", ".")
	h.r.git(shell, work, "commit", "-q", "-m", "all")
	h.r.git(shell, work, "push", "-q", shell.url(), "main")
	tip = h.r.git(shell, work, "rev-parse", "HEAD")
	h.r.must(os.RemoveAll(work), "remove work")
	return shell, web, filepath.Join(h.data, "git", made.ID+".git"), tip
}

// plainly serves a copy of a repository without Gatehouse: over sshd with git itself, and over HTTP with git's http-backend.
func (r *run) plainly(folder string) (shell, web *forge) {
	peers.Require(r, "ssh", "git")
	root := r.TempDir()
	r.must(os.CopyFS(filepath.Join(root, "plain.git"), os.DirFS(folder)), "copy repository")
	daemon := r.sshd()
	shell = &forge{label: "sshd and git", server: daemon, user: me(r), address: daemon.ssh, path: filepath.Join(root, "plain.git")}
	cmd := r.self("bare-git")
	cmd.Dir = root
	backend, address := r.speak(cmd, nil)
	web = &forge{label: "git http-backend", server: server{name: "git http-backend", pid: backend.cmd.Process.Pid, tree: true}, web: true, address: address, path: "/plain.git"}
	return shell, web
}

// streamRequest is what a client of git asks that wants everything, in one go.
func streamRequest(tip string) string {
	b := git.AppendLine(nil, "want "+tip+" side-band-64k ofs-delta no-progress\n")
	return string(git.AppendLine(git.AppendFlush(b), "done\n"))
}

// stream has the pack sent to nobody, and returns its size and how long that took.
func (r *run) stream(f *forge, tip string) (size int64, took time.Duration) {
	if f.web {
		done := order[load.Downloaded](r, "load-fetch", load.Download{URL: f.url() + "/git-upload-pack", Authorize: f.authorize, Body: streamRequest(tip)})
		return done.Bytes, done.Took
	}
	cmd := exec.Command("ssh", append(r.sshArgs(f), f.user+"@127.0.0.1", "git-upload-pack '"+f.path+"'")...)
	var counted counter
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(streamRequest(tip)), &counted, &errs
	began := time.Now()
	if err := cmd.Run(); err != nil {
		r.Fatalf("%s: %v: %s", f.label, err, errs.String())
	}
	return int64(counted), time.Since(began)
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// ReadFrom reads in pieces large enough to be no limit.
func (c *counter) ReadFrom(from io.Reader) (int64, error) {
	buffer, before := make([]byte, 256<<10), *c
	for {
		n, err := from.Read(buffer)
		*c += counter(n)
		if err == io.EOF { //nolint:errorlint // readers return it bare
			err = nil
		} else if err == nil {
			continue
		}
		return int64(*c - before), err
	}
}

// megabyte is what a file of the large repository has, and the unit of its figures.
const megabyte = 1_000_000

// measureClone needs no comparison of databases: a clone reads two rows.
func measureClone(r *run) section {
	files := 200
	if r.quick {
		files = 20
	}
	h := r.open(nil, nil)
	shell, web, folder, tip := h.repository("big", files, megabyte)
	plain, backend := r.plainly(folder)
	const gcm = "aes128-gcm@openssh.com"
	plainGCM, shellGCM := *plain, *shell
	plainGCM.cipher, shellGCM.cipher = gcm, gcm
	plainGCM.label, shellGCM.label = plain.label+", aes128-gcm", shell.label+" over SSH, aes128-gcm"
	shell.label, web.label = shell.label+" over SSH", web.label+" over HTTP"
	pairs := [][2]*forge{{&plainGCM, &shellGCM}, {plain, shell}, {backend, web}}
	for round := range r.rounds {
		for _, pair := range pairs {
			for _, f := range pair {
				r.clone(f, tip, int64(files)*megabyte)
				r.say("  round %d: %-45s clone %5.0f MB/s, %4.0f ms CPU; stream %5.0f MB/s, %4.0f ms CPU", round+1, f.label, f.rate.last(), f.cpu.last(), f.streamed.last(), f.streamCPU.last())
			}
		}
	}
	s := section{Note: fmt.Sprintf("A repository of %d files of 1 MB of random bytes, in one pack, cloned by the real git (`clone --bare`, without fsync) in turns. The peers serve a copy of the same folder: OpenSSH's sshd, which starts git itself by way of a shell without startup files, and git's own "+
		"`http-backend` as a CGI below Go's net/http, without encryption on both sides. A stream is the same pack asked for by one request and thrown away, without the work of a client (which inflates, hashes and writes): the harder comparison. "+
		"Without another word ssh and sshd agree on chacha20-poly1305, ssh and Gatehouse, which has no ChaCha20, on aes128-ctr with HMAC. CPU is of the server's process with its children, git among them, for one clone.", files)}
	t := table{Head: []string{"server", "clone, MB/s", "x peer's", "CPU, ms", "stream, MB/s", "x peer's", "CPU, ms", "x peer's CPU"}}
	for _, pair := range pairs {
		peer, ours := pair[0], pair[1]
		for _, f := range pair {
			t.add(f.label, f.rate.text("%.0f"), ratio(f.rate, peer.rate).text("%.2f"), f.cpu.text("%.0f"), f.streamed.text("%.0f"), ratio(f.streamed, peer.streamed).text("%.2f"), f.streamCPU.text("%.0f"), ratio(f.streamCPU, peer.streamCPU).text("%.2f"))
		}
		clone, stream := ratio(ours.rate, peer.rate), ratio(ours.streamed, peer.streamed)
		s.figure(fmt.Sprintf("clone of %d MB, %s: of %s's throughput", files, ours.label, peer.label), percent(clone).text("%.0f")+" %", ">= 90 %", clone.median() >= 0.9)
		s.figure(fmt.Sprintf("stream of %d MB, %s: of %s's throughput", files, ours.label, peer.label), percent(stream).text("%.0f")+" %", ">= 90 %", stream.median() >= 0.9)
	}
	s.Tables = append(s.Tables, t)
	return s
}

func percent(s series) series {
	out := make(series, len(s))
	for i, v := range s {
		out[i] = 100 * v
	}
	return out
}

// clone is one round: a clone, and the same pack without a client.
func (r *run) clone(f *forge, tip string, size int64) {
	r.must(nil, "clone")
	into := r.TempDir()
	before := r.spent(f.server)
	began := time.Now()
	r.git(f, into, "clone", "-q", "--bare", f.url(), "copy.git")
	f.rate.add(float64(size) / megabyte / time.Since(began).Seconds())
	f.cpu.add(r.afterwards(f.server, before))
	r.must(os.RemoveAll(into), "remove clone")

	stopProfile := r.profileOf(f.server, f.label)
	before = r.spent(f.server)
	got, took := r.stream(f, tip)
	if got < size {
		r.Fatalf("%s sent %d bytes of %d", f.label, got, size)
	}
	f.streamed.add(float64(got) / megabyte / took.Seconds())
	f.streamCPU.add(r.afterwards(f.server, before))
	stopProfile()
}

// afterwards is what a server has spent since, in milliseconds, once it has waited for its children.
func (r *run) afterwards(s server, before proc.CPU) float64 {
	time.Sleep(200 * time.Millisecond)
	return milliseconds(r.spent(s).Since(before).Sum())
}

// fetches is how many clients come at the same moment.
const fetches = 100

func measureFetch(r *run) section {
	database := r.postgres()
	lite, post := r.open(nil, nil), r.open(&database, nil)
	liteShell, liteWeb, folder, _ := lite.repository("small", 10, 10_000)
	postShell, postWeb, _, _ := post.repository("small", 10, 10_000)
	plain, backend := r.plainly(folder)
	over := map[bool]string{false: " over SSH", true: " over HTTP"}
	pairs := [][]*forge{{plain, liteShell, postShell}, {backend, liteWeb, postWeb}}
	for round := range r.rounds {
		for _, group := range pairs {
			for _, f := range group {
				r.fetchAll(f)
				r.say("  round %d: %-45s %3.0f s for %d, %d failed, %.0f ms CPU each, %.1f MiB at most", round+1, f.label+over[f.web], f.rate.last(), fetches, f.failed, f.cpu.last(), f.memory.last())
			}
		}
	}
	careful := r.open(nil, map[string]string{"SSH_UNAUTHENTICATED_PER_ADDRESS": "20", "SSH_UNAUTHENTICATED_TOTAL": "1024"})
	capped, _, _, _ := careful.repository("small", 10, 10_000)
	r.fetchAll(capped)

	s := section{Note: fmt.Sprintf("%d clones by the real git at the same moment, of a repository of 10 files of 10 kB. The clients run on the same processors and take most of them. Gatehouse runs %d operations of git at a time here (`git.parallel`), the others wait; "+
		"the peers, as in clone, run all at once. Caps on SSH connections that have not authenticated are lifted, but for the last line. Memory is that of the server with its children at its highest, seen every 50 ms; what they share counts once.", fetches, git.DefaultLimits().Running)}
	t := table{Head: []string{"server", "all done, s", "x peer's", "failed", "CPU each, ms", "x peer's", "memory at most, MiB", "x peer's"}}
	for _, group := range pairs {
		peer := group[0]
		for i, f := range group {
			name := f.label + over[f.web]
			t.add(name, f.rate.text("%.1f"), ratio(f.rate, peer.rate).text("%.2f"), fmt.Sprint(f.failed), f.cpu.text("%.1f"), ratio(f.cpu, peer.cpu).text("%.2f"), f.memory.text("%.0f"), ratio(f.memory, peer.memory).text("%.2f"))
			if i == 0 {
				continue
			}
			s.figure(fmt.Sprintf("%d fetches at once, %s: failed", fetches, name), fmt.Sprintf("%d of %d", f.failed, fetches*len(f.rate)), "none", f.failed == 0)
			s.figure(fmt.Sprintf("%d fetches at once, %s: time and memory", fetches, name), fmt.Sprintf("%s s (%s x of %s), %s MiB at most (%s x)", f.rate.text("%.1f"), ratio(f.rate, peer.rate).text("%.2f"), peer.label, f.memory.text("%.0f"), ratio(f.memory, peer.memory).text("%.2f")), "", true)
		}
	}
	s.figure(fmt.Sprintf("%d fetches at once from one address over SSH, caps as by default: failed", fetches), fmt.Sprintf("%d of %d", capped.failed, fetches), "", true)
	s.Tables = append(s.Tables, t)
	return s
}

// fetchAll is one round: rate is how long it took in all.
func (r *run) fetchAll(f *forge) {
	r.must(nil, "fetch")
	into := r.TempDir()
	before, highest := r.spent(f.server), watchMemory(f.server)
	var failed atomic.Int64
	var first atomic.Value
	var clients sync.WaitGroup
	began := time.Now()
	for i := range fetches {
		cmd := r.client(f, into, "clone", "-q", "--bare", f.url(), fmt.Sprintf("copy-%d.git", i))
		clients.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				failed.Add(1)
				first.CompareAndSwap(nil, strings.TrimSpace(string(out)))
			}
		})
	}
	clients.Wait()
	f.rate.add(time.Since(began).Seconds())
	f.memory.add(mebi(highest()))
	f.cpu.add(r.afterwards(f.server, before) / fetches)
	f.failed += int(failed.Load())
	if text, some := first.Load().(string); some {
		r.say("  %s: %d of %d failed, the first with: %s", f.label, failed.Load(), fetches, text)
	}
	r.must(os.RemoveAll(into), "remove clones")
}

// watchMemory looks at a server and its children until the function that it returns is called, which tells the most that they took.
func watchMemory(s server) (highest func() int64) {
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		var peak int64
		for {
			peak = max(peak, proc.OfTreeMemory(s.pid))
			select {
			case <-tick.C:
			case <-stop:
				most <- peak
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-most
	}
}
