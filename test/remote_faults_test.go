package test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// stuck is a target that says what it is, and nothing more.
func stuck(t *testing.T, banner string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var open sync.WaitGroup
	stop := make(chan struct{})
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer c.Close()
				_, _ = c.Write([]byte(banner)) // whoever came may have gone
				<-stop
			})
		}
	})
	t.Cleanup(func() { l.Close(); close(stop); open.Wait() })
	return l.Addr().String()
}

// quickly is the longest that somebody else's terminal may take to answer while others are harmed, on a machine that is busy with tests.
const quickly = 2 * time.Second

// A target that hangs, and one that floods, harm their own session alone.
func TestRemoteFaults_bad_targets(t *testing.T) {
	t.Parallel()
	e := build(t, gate.Options{Settings: map[string]string{"remote.dial_timeout": "10s"}})
	_, calm := e.session(t, nil)
	n := 100
	others := func(what string) {
		t.Helper()
		var all []time.Duration
		for range 5 {
			n++
			began := time.Now()
			calm.answers(t, n)
			all = append(all, took(began))
		}
		if slices.Sort(all); all[len(all)/2] > quickly { // more than a moment at which nobody got on
			t.Errorf("%s: somebody else's terminal took %v", what, all)
		}
	}
	type bad struct {
		what  string
		line  *line
		tab   *tab
		began time.Time
		w     *socket
	}
	var all []bad // at once, for all that say nothing are waited for as long
	for what, banner := range map[string]string{"no banner": "", "no key exchange": "SSH-2.0-stuck\r\n", "no SSH": "HTTP/1.1 400 Bad Request\r\n\r\n", "an endless banner": strings.Repeat("x", 1<<20)} {
		b, host := bad{what: what, line: newLine(t, stuck(t, banner))}, fmt.Sprintf("bad-%d", len(all))
		e.device(t, host, b.line.port)
		e.Must(t, "grant", "add", "--user", "dana", "--device", host)
		b.tab, b.began = e.open(t, members{"device": host}), time.Now()
		b.w = b.tab.terminal(t)
		others(what)
		all = append(all, b)
	}
	for _, b := range all {
		if why := b.w.ends(t); why != "error" || took(b.began) > 30*time.Second {
			t.Errorf("%s: ended for %q after %v", b.what, why, time.Since(b.began))
		}
		wantEnd(t, e.Gate, b.tab.id, "error")
		keep(t, e.Gate, b.tab.id)
		gate.Eventually(t, func() error {
			if came, living := b.line.seen(); came == 0 || living != 0 {
				return fmt.Errorf("%s: of %d connections %d live", b.what, came, living)
			}
			return nil
		})
	}

	p, loud := e.session(t, nil)
	loud.enter(t, "yes 0123456789abcdef0123456789abcdef0123456789abcdef")
	loud.await(t, "flood", func() bool { return len(loud.screen()) > 1<<20 })
	others("flood")
	deaf := e.open(t, nil) // its page draws nothing any more
	w := deaf.terminalFrom(t, deaf.ticket(t), 0, true)
	w.enter(t, "yes 0123456789abcdef0123456789abcdef0123456789abcdef")
	w.await(t, "what it was sent ahead", func() bool { return len(w.screen()) > 1<<19 })
	others("flood to a page that draws nothing")
	if sent := len(w.screen()); sent > 3<<20 {
		t.Errorf("a page that draws nothing was sent %d bytes", sent)
	}
	if now := resident(t, e.Gate); now > 400 {
		t.Errorf("%d MiB", now)
	}
	for _, id := range []string{p.id, deaf.id} { // both can be ended at once
		e.Must(t, "remote", "end", id)
		wantEnd(t, e.Gate, id, "dropped")
	}
	began := time.Now()
	if why := loud.ends(t); why != "dropped" || took(began) > quickly {
		t.Errorf("ended for %q after %v", why, time.Since(began))
	}
	keep(t, e.Gate, p.id)
	others("after the flood")
}

// flood prints until the session is over, or until something is told of it.
func flood(t *testing.T, w *socket, until func() bool) {
	t.Helper()
	w.enter(t, "while :; do head -c 65536 /dev/zero | tr '\\0' x; echo; done")
	late := time.After(2 * peers.Patience)
	for !until() {
		select {
		case <-w.done:
			return
		case <-w.changed:
		case <-late:
			t.Fatal("nothing happens")
		}
	}
}

// never waits for the end.
func never() bool { return false }

// loudly checks that a session which goes on unrecorded says so to everybody: page, audit log and metric.
func loudly(t *testing.T, e *estate, p *tab, w *socket) {
	t.Helper()
	wantEvent(t, e.Gate, "session.unrecorded", "failed", func(a gate.Audited) bool { return a.Object.ID == p.id })
	if n := e.Metrics(t)["gatehouse_remote_sessions_unrecorded_total"]; n != 1 {
		t.Errorf("the metric says %v", n)
	}
	w.answers(t, 71)
	if now := standing(t, e.Gate, p.id); now.State != "active" {
		t.Errorf("%+v", now)
	}
	p.must(t, http.StatusNoContent, "POST", p.path("/end"), nil)
	w.ends(t)
}

// Rule W14: a recorder whose disk is full ends the session, unless the device is set to go on; then it is said loudly.
//
// What was broken elsewhere: sessions went on unrecorded when the disk was full, and nobody knew.
// How it is attacked: the disk of the spool is full in the middle of a session that floods.
// What must happen: the session ends as unrecorded, and everything that its person saw is recorded; on a device that is set so it goes on with a banner, an
// event and a metric.
func TestAttack_W14_disk_full(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	must(t, os.MkdirAll(filepath.Join(data, "spool"), 0o700))
	must(t, os.Chmod(data, 0o700))
	if err := syscall.Mount("tmpfs", filepath.Join(data, "spool"), "tmpfs", 0, "size=3m,mode=700"); err != nil {
		t.Skipf("a small disk takes the right to mount one: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(filepath.Join(data, "spool"), syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	e := build(t, gate.Options{Data: data, Settings: map[string]string{"recording.segment_bytes": "64MiB", "recording.min_free": "0"}})
	e.device(t, "web-02", e.line.port, "--unrecorded")
	e.Must(t, "grant", "add", "--user", "dana", "--device", "web-02")

	p, w := e.session(t, nil)
	flood(t, w, never)
	if why := w.ends(t); why != "unrecorded" {
		t.Errorf("ended for %q", why)
	}
	wantEnd(t, e.Gate, p.id, "unrecorded")
	said := keep(t, e.Gate, p.id)
	shown, recorded := strings.Count(w.screen(), "x"), strings.Count(e.Must(t, "recording", "export", p.id, "--raw"), "x")
	if shown > recorded || shown < 1<<20 {
		t.Errorf("the person saw %d bytes of it and %d are recorded", shown, recorded)
	}
	if !strings.Contains(said, "recording failed") {
		t.Errorf("verify says nothing of it: %s", said)
	}

	p, w = e.session(t, members{"device": "web-02"})
	flood(t, w, func() bool { return w.told("unrecorded") })
	w.interrupt(t)
	loudly(t, e, p, w)
	gate.Eventually(t, func() error {
		if r := e.Command(t, "", "recording", "verify", p.id); !strings.Contains(r.Stdout, "not recorded") {
			return fmt.Errorf("the coverage says nothing of it: %+v", r)
		}
		return nil
	})
}

// Rule W14 where somebody prints until their recording is as large as one may be: also on a device whose sessions may go on unrecorded.
func TestAttack_W14_endless_recording(t *testing.T) {
	t.Parallel()
	e := build(t, gate.Options{Settings: map[string]string{"recording.max_bytes": "1MiB"}})
	e.device(t, "web-02", e.line.port, "--unrecorded")
	e.Must(t, "grant", "add", "--user", "dana", "--device", "web-02")
	for _, device := range []string{"web-01", "web-02"} {
		p, w := e.session(t, members{"device": device})
		flood(t, w, never)
		if why := w.ends(t); why != "unrecorded" {
			t.Errorf("%s: ended for %q", device, why)
		}
		wantEvent(t, e.Gate, "session.ended", "done", func(a gate.Audited) bool {
			return a.Object.ID == p.id && a.Reason == "the recording is as large as recordings may be"
		})
		said := keep(t, e.Gate, p.id)
		shown, recorded := strings.Count(w.screen(), "x"), strings.Count(e.Must(t, "recording", "export", p.id, "--raw"), "x")
		if shown > recorded || recorded > 1<<20 || !strings.Contains(said, "as large as") {
			t.Errorf("%s: the person saw %d bytes of it, %d are recorded; %s", device, shown, recorded, said)
		}
	}
}

// Rule W14 where the bucket goes away in the middle of a session, and comes back.
func TestAttack_W14_bucket_gone(t *testing.T) {
	t.Parallel()
	backend := s3mem.New()
	must(t, backend.CreateBucket("tapes"))
	var listening net.ListenConfig
	at := fmt.Sprintf("127.0.0.1:%d", peers.Port(t)) // nobody else has it while the bucket is gone
	l, err := listening.Listen(t.Context(), "tcp", at)
	must(t, err)
	serve := func(l net.Listener) *httptest.Server {
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: gofakes3.New(backend).Server(), ReadHeaderTimeout: time.Minute}}
		s.Start()
		t.Cleanup(s.Close)
		return s
	}
	bucket := serve(l)
	data := filepath.Join(t.TempDir(), "data")
	must(t, os.MkdirAll(filepath.Join(data, ".aws"), 0o700))
	must(t, os.Chmod(data, 0o700))
	must(t, os.WriteFile(filepath.Join(data, ".aws/credentials"), []byte("[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = secret\n"), 0o600))
	e := build(t, gate.Options{Data: data, Settings: map[string]string{
		"recording.url":           "s3://tapes?region=eu-test-1&endpoint=http://" + at + "&use_path_style=true",
		"recording.segment_bytes": "8KiB", "recording.upload_patience": "2s",
	}})
	e.device(t, "web-02", e.line.port, "--unrecorded")
	e.Must(t, "grant", "add", "--user", "dana", "--device", "web-02")
	whole, w := e.session(t, nil)
	whole.must(t, http.StatusNoContent, "POST", whole.path("/end"), nil)
	w.ends(t)
	keep(t, e.Gate, whole.id)

	p, w := e.session(t, nil)
	lax, going := e.session(t, members{"device": "web-02"})
	bucket.CloseClientConnections()
	bucket.Close()
	began := time.Now()
	for _, one := range []*socket{w, going} {
		one.enter(t, "head -c 20000 /dev/zero | tr '\\0' x; echo")
	}
	if why := w.ends(t); why != "unrecorded" {
		t.Errorf("ended for %q", why)
	}
	t.Logf("ended after %v", time.Since(began))
	wantEnd(t, e.Gate, p.id, "unrecorded")
	going.await(t, "the banner", func() bool { return going.told("unrecorded") })
	loudly(t, e, lax, going)
	fresh := e.open(t, nil) // a session begins in the spool, whatever the bucket does
	fresh.terminal(t).answers(t, 81)

	l, err = listening.Listen(t.Context(), "tcp", at)
	must(t, err)
	serve(l)
	for _, id := range []string{p.id, lax.id, whole.id} { // what was left in the spool is brought there
		gate.Eventually(t, func() error {
			if n := e.Count(t, "SELECT count(*) FROM recordings WHERE session = $1 AND settled", id); n != 1 {
				return fmt.Errorf("%s is not signed", id)
			}
			return nil
		})
	}
	if text := e.Must(t, "recording", "export", p.id, "--raw"); strings.Count(text, "x") < strings.Count(w.screen(), "x") {
		t.Error("the person saw what is not recorded")
	}
}

// kill -9 with 100 sessions open: after the restart each has ended as lost, and its recording holds what was printed and says that it was cut.
func TestRemoteFaults_node_killed(t *testing.T) {
	t.Parallel()
	n := 100
	if testing.Short() {
		n = 20
	}
	settings := map[string]string{"remote.beat_every": "500ms", "recording.segment_bytes": "4KiB"}
	e := build(t, gate.Options{Settings: settings})
	tabs, sockets := make([]*tab, n), make([]*socket, n)
	for i := range n {
		tabs[i] = e.open(t, nil)
		sockets[i] = tabs[i].terminal(t)
		sockets[i].enter(t, fmt.Sprintf("seq -s, 1 2000; echo $((%d + 1))-here", 1000+i)) // more than a segment
	}
	for i, w := range sockets {
		w.shows(t, fmt.Sprintf("%d-here", 1001+i))
	}
	if live := e.Metrics(t)["gatehouse_remote_sessions"]; int(live) != n {
		t.Errorf("%v live", live)
	}
	e.Kill()
	for _, w := range sockets {
		w.ends(t)
	}
	settings["remote.lost_after"] = "5s" // nobody waits for it before
	e.Serve(t)
	gate.Eventually(t, func() error {
		ended := e.Count(t, "SELECT count(*) FROM remote_sessions WHERE state = 'ended' AND end_reason = 'node_lost'")
		signed := e.Count(t, "SELECT count(*) FROM recordings WHERE settled AND cut = 'node lost'")
		if ended != n || signed != n {
			return fmt.Errorf("%d ended, %d signed of %d", ended, signed, n)
		}
		return nil
	})
	for _, x := range tabs { // what offline verifiers read is what the database knows
		known := e.Rows(t, "SELECT manifest FROM recordings WHERE session = $1", x.id)[0][0]
		if kept, err := os.ReadFile(filepath.Join(e.Data, "recordings", x.id, "manifest.json")); err != nil || string(kept) != known {
			t.Errorf("the manifest of %s is not the one that the database has: %v", x.id, err)
		}
	}
	lost := 0
	for _, a := range e.Audited(t, "session.ended") {
		if a.Detail["why"] == "node_lost" {
			lost++
		}
	}
	if lost != n {
		t.Errorf("%d events say so", lost)
	}
	for i := 0; i < n; i += n / 10 {
		if said := keep(t, e.Gate, tabs[i].id); !strings.Contains(said, "node lost") {
			t.Errorf("verify does not say that it was cut: %s", said)
		}
		if text := e.Must(t, "recording", "export", tabs[i].id, "--format", "txt"); !strings.Contains(text, fmt.Sprintf("%d-here", 1001+i)) {
			t.Errorf("what was printed is not in the recording: %q", text[max(0, len(text)-200):])
		}
		if r := tabs[i].must(t, http.StatusOK, "GET", tabs[i].path(""), nil); !strings.Contains(string(r.Body), "The server that carried it is gone.") {
			t.Errorf("%s", r.Body)
		}
	}
	gate.Eventually(t, func() error { // the targets are rid of them
		if _, living := e.line.seen(); living != 0 {
			return fmt.Errorf("%d connections to the target live", living)
		}
		return nil
	})
	e.session(t, nil)
}

// What opens a session is withdrawn while it lives: it ends within two seconds, at the target too.
func TestRemoteFaults_withdrawn(t *testing.T) {
	t.Parallel()
	e := build(t, gate.Options{})
	withdrawn := func(what string, in members, undo []string, do ...string) {
		t.Helper()
		p, w := e.session(t, in)
		var ended time.Time
		over := make(chan struct{})
		go func() {
			<-w.done
			ended = time.Now()
			close(over)
		}()
		e.Must(t, do...)
		done := time.Now()
		if why := w.ends(t); why != "revoked" {
			t.Errorf("%s: ended for %q", what, why)
		}
		<-over
		if after := tookUntil(done, ended); after > 2*time.Second {
			t.Errorf("%s: ended after %v", what, after)
		}
		t.Logf("%s: %v after the command", what, ended.Sub(done))
		wantEnd(t, e.Gate, p.id, "revoked")
		gate.Eventually(t, func() error {
			if _, living := e.line.seen(); living != 0 {
				return fmt.Errorf("%d connections to the target live", living)
			}
			return nil
		})
		if r := p.call(t, "POST", p.path("/ticket"), nil); r.Status != http.StatusGone && r.Status != http.StatusOK {
			t.Errorf("%s: %v", what, r)
		}
		if r := e.ask(t, in); r.Status == http.StatusOK {
			t.Errorf("%s: another link is made", what)
		}
		if undo != nil {
			e.Must(t, undo...)
		}
		keep(t, e.Gate, p.id)
	}
	credential := e.target.Account.Name + "@web-01"
	withdrawn("credential", nil, []string{"credential", "enable", credential}, "credential", "disable", credential)
	withdrawn("user", nil, []string{"user", "enable", "dana"}, "user", "disable", "dana")
	number := e.Rows(t, "SELECT number FROM role_bindings WHERE number > 0")[0][0]
	withdrawn("grant", nil, []string{"grant", "add", "--user", "dana", "--device", "web-01"}, "grant", "remove", number)
	withdrawn("device", nil, nil, "device", "disable", "web-01")
}

// Ten thousand links that nobody uses expire, are forgotten, and take no memory.
func TestRemoteFaults_links_never_used(t *testing.T) {
	t.Parallel()
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	e := build(t, gate.Options{Settings: map[string]string{"senhasegura.url_life": "20s", "senhasegura.sweep_every": "200ms", "senhasegura.finished_url_kept": "1s", "log.level": "info"}})
	e.session(t, nil)
	before := resident(t, e.Gate)
	var makers sync.WaitGroup
	began := time.Now()
	for i := range 8 {
		makers.Go(func() {
			for range n / 8 {
				r, err := e.tool.try("POST", "/api/pam/remote/session", members{"user": "dana", "credential": e.target.Account.Name, "device": "web-01", "protocol": "ssh"})
				if err != nil || r.Status != http.StatusOK {
					t.Errorf("maker %d: %v %v", i, r, err)
					return
				}
			}
		})
	}
	makers.Wait()
	t.Logf("%d links in %v", n, time.Since(began))
	most := resident(t, e.Gate)
	gate.Eventually(t, func() error {
		if left := e.Count(t, "SELECT count(*) FROM remote_sessions WHERE state IN ('issued', 'expired')"); left != 0 {
			return fmt.Errorf("%d links are there still", left)
		}
		return nil
	})
	if told := e.Count(t, `SELECT count(*) FROM audit_events WHERE body LIKE '%session_url.expired%' AND body LIKE '%"attempted":"false"%'`); told != n {
		t.Errorf("%d events tell of %d links", told, n)
	}
	t.Logf("%d MiB before, %d MiB with the links, %d MiB after", before, most, resident(t, e.Gate))
	if most > before+150 {
		t.Errorf("%d MiB more", most-before)
	}
	e.session(t, nil)
}
