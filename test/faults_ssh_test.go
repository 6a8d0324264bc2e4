package test

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// settled waits until the gate holds hardly more goroutines and file descriptors than before.
func settled(t *testing.T, g *gate.Gate, before map[string]float64) {
	t.Helper()
	for name, room := range map[string]float64{"go_goroutines": 25, "process_open_fds": 15} {
		g.AwaitMetric(t, name, func(n float64) bool { return n <= before[name]+room })
	}
	g.AwaitMetric(t, "gatehouse_ssh_unauthenticated", func(n float64) bool { return n == 0 })
}

// untouched checks that no connection of a session was recorded and nothing counted.
func untouched(t *testing.T, g *gate.Gate, s gate.Session) {
	t.Helper()
	if s = g.Session(t, "verify", s.ID); s.Status != "pending" || len(s.Connections) != 0 {
		t.Errorf("the session is %s with %d connections", s.Status, len(s.Connections))
	}
}

// Scanners: they leave no record and no attempt, and hold nothing.
func TestFaults_scanners(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: unlimited("ssh.handshake_timeout", "20s")})
	key := gate.NewKeys(t, 1)[0]
	s := g.Create(t, "verify", sessionOf([]string{key.Public}))
	before := g.Metrics(t)
	t.Run("ssh-keyscan", func(t *testing.T) {
		peers.Require(t, "ssh-keyscan")
		r := gate.Run(t, exec.Command("ssh-keyscan", "-p", strconv.Itoa(g.SSHPort), "127.0.0.1"), "")
		if !strings.Contains(r.Stdout, "ssh-ed25519") || !strings.Contains(r.Stdout, "ssh-rsa") {
			t.Errorf("%s%s", r.Stdout, r.Stderr)
		}
	})
	t.Run("nc with garbage", func(t *testing.T) {
		peers.Require(t, "nc")
		for _, garbage := range []string{"", "\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", strings.Repeat("\x00", 4096), strings.Repeat("A", 1<<20), "SSH-2.0-\r\n" + strings.Repeat("\xff", 300), "SSH-1.5-old\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"} {
			gate.Run(t, exec.Command("nc", "-w", "1", "127.0.0.1", strconv.Itoa(g.SSHPort)), garbage)
		}
	})
	t.Run("200 quick connects", func(t *testing.T) {
		for range 200 {
			dialFrom(t, "127.0.0.1", g.SSHAddr()).Close()
		}
	})
	t.Run("half-open connections", func(t *testing.T) {
		for range 15 {
			conn := dialFrom(t, "127.0.0.4", g.SSHAddr()).(*net.TCPConn)
			_, _ = io.WriteString(conn, "SSH-2.0-half\r\n")
			_ = conn.CloseWrite()
		}
		for range 15 { // and some that end with a reset
			conn := dialFrom(t, "127.0.0.4", g.SSHAddr()).(*net.TCPConn)
			_, _ = io.WriteString(conn, "SSH-2.0-reset\r\n")
			_ = conn.SetLinger(0)
			conn.Close()
		}
	})
	t.Run("a user name and nothing more", func(t *testing.T) {
		r := rawConnect(t, g)
		r.request(s.ConnectionIdentifier, "none", nil)
		r.close()
	})
	settled(t, g, before)
	untouched(t, g, s)
	if n := len(g.Audited(t, "keyproof.attempt")); n != 0 {
		t.Errorf("%d attempts in the audit log", n)
	}
	if out, code := proveFrom(t, g, "127.0.0.2", s.ConnectionIdentifier, key.Signer(t)); code != 0 {
		t.Errorf("a good client: exit %d, %s", code, out)
	}
}

// A hundred silent connections on each listener keep nobody waiting: neither a good client over SSH, from
// another address, nor one over HTTP, from the same.
func TestFaults_slow_clients(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: unlimited("ssh.handshake_timeout", "60s")})
	key := gate.NewKeys(t, 1)[0]
	before := g.Metrics(t)
	var silent []net.Conn
	for range 100 {
		silent = append(silent, dialFrom(t, "127.0.0.1", g.SSHAddr()), dialFrom(t, "127.0.0.1", strings.TrimPrefix(g.URL, "http://")))
	}
	promptly(t, "HTTP", func() { g.Create(t, "verify", sessionOf([]string{key.Public})) })
	promptly(t, "both", func() {
		s := g.Create(t, "verify", sessionOf([]string{key.Public}))
		if out, code := proveFrom(t, g, "127.0.0.2", s.ConnectionIdentifier, key.Signer(t)); code != 0 {
			t.Errorf("exit %d, %s", code, out)
		}
	})
	for _, c := range silent {
		c.Close()
	}
	settled(t, g, before)
}

// promptly does something that must not have to wait, so that one try of five takes less than a second: who waits for a silent client waits
// for a minute, and who shares the machine with other tests may wait as well, but not each time.
func promptly(t *testing.T, what string, do func()) {
	t.Helper()
	var last time.Duration
	for range 5 {
		began := time.Now()
		do()
		if last = took(began); last < time.Second {
			return
		}
	}
	t.Errorf("%s took %v", what, last)
}

// A thousand SSH connections at once, from many addresses: every one is served or politely closed, and
// what they took is given back.
func TestFaults_thousand_connections(t *testing.T) {
	t.Parallel()
	n := 1000
	if testing.Short() {
		n = 200
	}
	g := gate.Start(t, gate.Options{Settings: unlimited("ssh.handshake_timeout", "5m", "ssh.auth_timeout", "5m")})
	keys, lines := memoryKeys(t, 1)
	before := g.Metrics(t)
	sessions := make([]gate.Session, n)
	for i := range sessions {
		sessions[i] = g.Create(t, "verify", sessionOf(lines, "max_attempts", 5))
	}
	var all, idle sync.WaitGroup
	var verified, busy atomic.Int64
	begin := make(chan struct{})
	for i, s := range sessions {
		all.Go(func() {
			<-begin
			out, code := proveFrom(t, g, fmt.Sprintf("127.0.2.%d", 1+i%100), s.ConnectionIdentifier, keys[0])
			switch {
			case code == 0 && strings.Contains(out, "Verified with"):
				verified.Add(1)
			case code == -1: // closed: it may come again
				busy.Add(1)
			default:
				t.Errorf("connection %d: exit %d, %q", i, code, out)
			}
		})
	}
	close(begin)
	idle.Go(func() { // while they work, the API answers
		for range 20 {
			if a := g.API(t, "GET", "/api/v1/auth/info", nil); a.Status != 200 {
				t.Errorf("the API answered %d", a.Status)
			}
		}
	})
	all.Wait()
	idle.Wait()
	t.Logf("%d verified, %d closed", verified.Load(), busy.Load())
	if verified.Load() < int64(n)*9/10 {
		t.Errorf("only %d of %d were verified", verified.Load(), n)
	}
	settled(t, g, before)
	if got := g.Count(t, "SELECT count(*) FROM proof_sessions WHERE status = 'verified'"); got < int(verified.Load()) {
		t.Errorf("%d clients saw their success, %d sessions are verified", verified.Load(), got)
	}
	if got := g.Count(t, "SELECT count(*) FROM proof_sessions WHERE status NOT IN ('verified', 'pending')"); got != 0 {
		t.Errorf("%d sessions ended otherwise", got)
	}
	stillServes(t, g, gate.NewKeys(t, 1)[0])
}

// A client that offers 200 keys is told what to do, or cut off by the library's cap; it proves nothing and
// hurts nobody. The right key at the end of a long list is found below the cap.
func TestFaults_client_with_200_keys(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: unlimited()})
	keys, lines := memoryKeys(t, 200)
	s := g.Create(t, "verify", sessionOf(lines[199:]))
	out, code := proveFrom(t, g, "127.0.0.1", s.ConnectionIdentifier, keys...)
	if code == 0 {
		t.Errorf("200 keys: exit %d, %s", code, out)
	}
	if e := attemptOf(t, g, s.ID); e.Reason != "no_match" {
		t.Errorf("audit log: %+v", e)
	}
	if s = g.Session(t, "verify", s.ID); s.Status != "failed" || len(s.Connections) != 1 {
		t.Errorf("the session is %s with %d connections", s.Status, len(s.Connections))
	}
	s = g.Create(t, "verify", sessionOf(lines[99:100]))
	if out, code := proveFrom(t, g, "127.0.0.1", s.ConnectionIdentifier, keys[:100]...); code != 0 {
		t.Errorf("the hundredth key: exit %d, %s", code, out)
	}
	c := g.Create(t, "collect", map[string]any{"multi_key": true, "multi_connection": true})
	out, code = proveFrom(t, g, "127.0.0.1", c.ConnectionIdentifier, keys[:120]...)
	if code != 0 {
		t.Errorf("collecting: exit %d, %s", code, out)
	}
	if c = g.Session(t, "collect", c.ID); len(c.Connections) != 1 || len(c.Connections[0].Keys) != 64 {
		t.Errorf("collected: %s", fmt.Sprint(len(c.Connections)))
	}
	key := gate.NewKeys(t, 1)[0]
	stillServes(t, g, key)
}

// dialQuietly connects to the SSH door, which may be dead.
func dialQuietly(g *gate.Gate) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", g.SSHAddr(), peers.Patience)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(peers.Patience))
	}
	return conn, err
}
