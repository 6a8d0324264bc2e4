package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pires/go-proxyproto"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// A PROXY header from a trusted load balancer tells where the client is; from anybody else it is garbage.
func TestOperations_PROXY_protocol(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: unlimited("proxy_protocol_from", "127.0.0.3/32")})
	keys, lines := memoryKeys(t, 1)
	to := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: g.SSHPort}
	for name, c := range map[string]struct {
		version byte
		client  net.IP
	}{
		"v1": {1, net.ParseIP("203.0.113.77")}, "v2": {2, net.ParseIP("203.0.113.78")}, "v2 over IPv6": {2, net.ParseIP("2001:db8::7")},
	} {
		target := to
		if c.client.To4() == nil {
			target = &net.TCPAddr{IP: net.IPv6loopback, Port: g.SSHPort}
		}
		header := proxyproto.HeaderProxyFromAddrs(c.version, &net.TCPAddr{IP: c.client, Port: 4711}, target)
		for from, believed := range map[string]bool{"127.0.0.3": true, "127.0.0.4": false} {
			s := g.Create(t, "verify", sessionOf(lines))
			conn := dialFrom(t, from, g.SSHAddr())
			if _, err := header.WriteTo(conn); err != nil {
				t.Fatal(err)
			}
			out, code := proveOver(conn, s.ConnectionIdentifier, keys[0])
			s = g.Session(t, "verify", s.ID)
			switch {
			case believed && (code != 0 || len(s.Connections) != 1 || s.Connections[0].IPAddress != c.client.String()):
				t.Errorf("%s: exit %d, %s, connections %+v", name, code, out, s.Connections)
			case believed:
			case len(s.Connections) != 0 && s.Connections[0].IPAddress != from:
				// Text before the version line may be skipped (RFC 4253 section 4.2): v1 is no more than that.
				t.Errorf("%s from a stranger is believed: connections %+v", name, s.Connections)
			case c.version == 2 && (code != -1 || len(s.Connections) != 0):
				t.Errorf("%s from a stranger: exit %d, %s, connections %+v", name, code, out, s.Connections)
			}
		}
	}
	s := g.Create(t, "verify", sessionOf(lines))
	if out, code := proveFrom(t, g, "127.0.0.5", s.ConnectionIdentifier, keys[0]); code != 0 {
		t.Errorf("a client without a header: exit %d, %s", code, out)
	}
	if s = g.Session(t, "verify", s.ID); s.Connections[0].IPAddress != "127.0.0.5" {
		t.Errorf("its address is %s", s.Connections[0].IPAddress)
	}
	status, _, _ := bare(t, g, "127.0.0.3", "PROXY TCP4 203.0.113.79 127.0.0.1 1 2\r\nGET /api/v1/auth/info HTTP/1.1\r\nHost: x\r\nX-Api-Key: wrong\r\n\r\n")
	if e := g.AwaitAudited(t, "login.api_key", "refused", ""); status != 401 || e.Address != "203.0.113.79" {
		t.Errorf("over HTTP: %d, audit log %+v", status, e)
	}
	if status, _, _ = bare(t, g, "127.0.0.4", "PROXY TCP4 203.0.113.80 127.0.0.1 1 2\r\nGET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"); status != 400 {
		t.Errorf("over HTTP from a stranger: %d", status)
	}
}

// /metrics has what was promised, and the figures are true.
func TestOperations_metrics(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: unlimited()})
	keys, lines := memoryKeys(t, 2)
	receiver := gate.Receive(t, "", func(n int) int { return map[bool]int{true: 500, false: 200}[n == 1] })
	hook := []map[string]any{{"url": receiver.URL, "events": []string{"status_changed"}, "retries": 1, "initial_backoff": 1}}
	s := g.Create(t, "verify", sessionOf(lines[:1], "webhooks", hook))
	proveFrom(t, g, "127.0.0.1", s.ConnectionIdentifier, keys[0])
	s = g.Create(t, "verify", sessionOf(lines[:1]))
	proveFrom(t, g, "127.0.0.1", s.ConnectionIdentifier, keys[1])
	s = g.Create(t, "collect", map[string]any{})
	proveFrom(t, g, "127.0.0.1", s.ConnectionIdentifier, keys[1])
	r := rawHello(t, g)
	r.write(kexInit("aes128-cbc"))
	r.ends()
	for series, want := range map[string]float64{
		`gatehouse_keyproof_proofs_total{kind="verify"}`:                         1,
		`gatehouse_keyproof_attempts_total{kind="verify",verdict="proven"}`:      1,
		`gatehouse_keyproof_attempts_total{kind="verify",verdict="no_match"}`:    1,
		`gatehouse_keyproof_attempts_total{kind="collect",verdict="recorded"}`:   1,
		`gatehouse_keyproof_sessions_ended_total{kind="verify",status="failed"}`: 1,
		`gatehouse_ssh_connections_total{outcome="proven"}`:                      1,
		`gatehouse_ssh_handshakes_failed_total{reason="no common algorithm"}`:    1,
		`gatehouse_webhook_deliveries_total{outcome="retried"}`:                  1,
		`gatehouse_webhook_deliveries_total{outcome="delivered"}`:                1,
		`gatehouse_webhook_queue`:                                                0,
		`gatehouse_webhook_queue_age_seconds`:                                    0,
		`gatehouse_ssh_unauthenticated`:                                          0,
	} {
		g.AwaitMetric(t, series, func(n float64) bool { return n == want })
	}
	metrics := g.Metrics(t)
	for _, family := range []string{
		"gatehouse_store_seconds_count", "gatehouse_webhook_delivery_seconds_count", "gatehouse_http_request_seconds_count", "gatehouse_audit_events_sealed_total",
		"gatehouse_audit_seal_seconds_count", "gatehouse_build_info", "process_open_fds", "process_resident_memory_bytes", "go_goroutines",
	} {
		found := false
		for series, value := range metrics {
			found = found || strings.HasPrefix(series, family) && value > 0
		}
		if !found {
			t.Errorf("no figure in %s", family)
		}
	}
	for series := range metrics { // labels take values from fixed lists: no stranger chooses one
		if strings.Contains(series, s.ID) || strings.Contains(series, s.ConnectionIdentifier) {
			t.Errorf("a label holds an id: %s", series)
		}
	}
}

// SIGTERM lets what has begun end in peace: a person who is being asked, a webhook on its way. Then the
// exit code is 0.
func TestOperations_graceful_stop(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: unlimited("shutdown_timeout", "2m", "sshverify.webhook_timeout", "100s", "sshverify.webhook_lease", "110s")})
	key := gate.NewKeys(t, 1)[0]
	held, release := make(chan struct{}), make(chan struct{})
	receiver := gate.Receive(t, "", func(n int) int {
		if n == 1 {
			close(held)
			<-release
		}
		return 200
	})
	hook := []map[string]any{{"url": receiver.URL, "events": []string{"status_changed"}}}
	slow := g.Create(t, "verify", sessionOf([]string{key.Public}, "webhooks", hook))
	proveFrom(t, g, "127.0.0.1", slow.ConnectionIdentifier, key.Signer(t))
	asked := g.Create(t, "verify", sessionOf([]string{key.Public}, "must_confirm", true))
	answer := waiting(t, g, asked, key)
	idle := dialFrom(t, "127.0.0.1", g.SSHAddr())
	<-held

	if err := g.Process().Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(idle); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that is no attempt stays open: %q, %v", rest, err)
	}
	gate.Eventually(t, func() error {
		conn, err := net.Dial("tcp", g.SSHAddr())
		if err == nil {
			conn.Close()
			return errors.New("the door is still open")
		}
		return nil
	})
	if out, code := answer("y\n"); code != 0 || !strings.Contains(out, "Verified with") {
		t.Errorf("the person who was being asked: exit %d\n%s", code, out)
	}
	close(release)
	if code := g.Process().ExitCode(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if n := g.Count(t, "SELECT count(*) FROM webhook_deliveries WHERE owner = $1 AND state = 'delivered' AND attempts = 1", slow.ID); n != 1 {
		t.Errorf("the slow delivery: %v", g.Rows(t, "SELECT state, attempts, reason FROM webhook_deliveries"))
	}
	if n := g.Count(t, "SELECT count(*) FROM audit_events WHERE position IS NULL"); n != 0 {
		t.Errorf("%d audit events are not sealed", n)
	}
	g.Serve(t)
	if s := g.Session(t, "verify", asked.ID); s.Status != "verified" {
		t.Errorf("the session is %s", s.Status)
	}
	if got := len(receiver.Got()); got != 1 {
		t.Errorf("the receiver was called %d times", got)
	}
}

// What a script relies on: exit codes, one line for each error, standard output for what was asked alone.
func TestOperations_refusals_at_start(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	free := []string{"--http", "127.0.0.1:0", "--ssh", "127.0.0.1:0"}
	check := func(t *testing.T, r gate.Result, exit int, text string) {
		t.Helper()
		lines := strings.Split(strings.TrimSpace(r.Stderr), "\n")
		last := lines[len(lines)-1]
		if r.Exit != exit || !strings.HasPrefix(last, "gatehouse: ") || !strings.Contains(last, text) || r.Stdout != "" {
			t.Errorf("exit %d, want %d with %q:\n%s%s", r.Exit, exit, text, r.Stdout, r.Stderr)
		}
		if exit == 1 && len(lines) != 1 {
			t.Errorf("an error of %d lines:\n%s", len(lines), r.Stderr)
		}
	}
	t.Run("the same data twice", func(t *testing.T) {
		check(t, g.Command(t, "", append([]string{"serve"}, free...)...), 1, "; ")
		if a := g.API(t, "GET", "/api/v1/auth/info", nil); a.Status != 200 {
			t.Errorf("the first server: %d", a.Status)
		}
	})
	t.Run("migrate under a running server", func(t *testing.T) {
		check(t, g.Command(t, "", "migrate"), 1, "stop")
	})
	t.Run("wrong usage", func(t *testing.T) {
		check(t, g.Command(t, "", "serve", "--no-such-flag"), 2, "--no-such-flag")
		check(t, g.Command(t, "", "project", "add"), 2, "")
		check(t, g.Command(t, "", "serve", "--http", "nonsense"), 2, "http")
	})
	t.Run("a port that is taken", func(t *testing.T) {
		other := gate.Prepare(t, gate.Options{})
		check(t, other.Command(t, "", "serve", "--http", strings.TrimPrefix(g.URL, "http://"), "--ssh", "127.0.0.1:0"), 1, "listen on")
	})
	t.Run("no such data", func(t *testing.T) {
		other := gate.Prepare(t, gate.Options{})
		check(t, other.Command(t, "", "project", "list"), 1, "there is no database")
	})
	t.Run("a master key that is gone", func(t *testing.T) {
		other := gate.Start(t, gate.Options{})
		other.Stop(t)
		if err := os.Remove(filepath.Join(other.Data, "master.key")); err != nil {
			t.Fatal(err)
		}
		check(t, other.Command(t, "", append([]string{"serve"}, free...)...), 1, "master key")
	})
	t.Run("PostgreSQL with a wrong master key, and with none", func(t *testing.T) {
		database := peers.Postgres(t).Database(t)
		right := gate.Start(t, gate.Options{Database: database})
		wrong := gate.Prepare(t, gate.Options{Database: database, Master: "b3RoZXIgZ2F0ZWhvdXNlIGVuZC10by1lbmQga2V5IDI="})
		check(t, wrong.Command(t, "", append([]string{"serve"}, free...)...), 1, "master key")
		none := gate.Prepare(t, gate.Options{})
		r := none.Command(t, "", append([]string{"serve", "--database", database}, free...)...)
		check(t, r, 2, "GATEHOUSE_MASTER_KEY")
		if strings.Contains(r.Stderr, "not-secret") {
			t.Errorf("the database's password is printed: %s", r.Stderr)
		}
		if a := right.API(t, "GET", "/api/v1/auth/info", nil); a.Status != 200 {
			t.Errorf("the right one: %d", a.Status)
		}
	})
}

var hostKeyLine = regexp.MustCompile(`fingerprint="?(ssh-\S+ SHA256:[^"\s]+)`)

// The host keys are the same after every start.
func TestOperations_host_keys_stay(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	shown := func() []string {
		var keys []string
		for _, m := range hostKeyLine.FindAllStringSubmatch(g.Log(t), -1) {
			keys = append(keys, m[1])
		}
		return keys
	}
	before, scanned := shown(), g.HostKey(t)
	g.Stop(t)
	g.Serve(t)
	if after := shown(); len(before) != 2 || !slices.Equal(before, after) {
		t.Errorf("host keys before %v, after %v", before, after)
	}
	if !slices.Contains(before, "ssh-ed25519 "+scanned) || g.HostKey(t) != scanned {
		t.Errorf("ssh-keyscan sees %s of %v", scanned, before)
	}
}

// A whole tour at the most talkative level: no secret, and no identifier in full, stands in the log; no
// secret lies in the data in plain.
func TestOperations_logs_hold_no_secret(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func() string{
		"SQLite":     func() string { return "" },
		"PostgreSQL": func() string { return peers.Postgres(t).Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			g := gate.Start(t, gate.Options{Database: database(), Settings: unlimited()})
			const secret, header = "whsec_Z2F0ZWhvdXNlLXdlYmhvb2stc2VjcmV0LTAx", "Bearer hush-header-1"
			receiver := gate.Receive(t, secret, func(int) int { return 500 })
			keys, lines := memoryKeys(t, 2)
			hook := []map[string]any{{"url": receiver.URL + "?token=hush-query-1", "events": []string{"status_changed", "new_connection"}, "secret": secret, "headers": map[string]any{"Authorization": []string{header}}, "retries": 1, "initial_backoff": 1}}
			s := g.Create(t, "verify", sessionOf(lines[:1], "webhooks", hook, "max_attempts", 5))
			proveFrom(t, g, "127.0.0.1", s.ConnectionIdentifier, keys[1])
			proveFrom(t, g, "127.0.0.1", s.ConnectionIdentifier, keys[0])
			proveFrom(t, g, "127.0.0.1", s.ConnectionIdentifier, keys[0]) // used up
			proveFrom(t, g, "127.0.0.1", "guess3dguess3dgu", keys[0])
			proveFrom(t, g, "127.0.0.1", "hush-user-name", keys[0])
			g.APIAs(t, "gate_hushwrongkey", "GET", "/api/v1/auth/info", nil)
			g.API(t, "GET", "/api/v1/ssh/verify/sessions?external_id=hush-filter", nil)
			g.Command(t, "hush password of a user\n", "user", "add", "ana", "--email", "ana@example.test", "--password-stdin")
			gate.Eventually(t, func() error {
				if n := g.Count(t, "SELECT count(*) FROM webhook_deliveries WHERE state = 'failed'"); n != 3 { // two connections, one end
					return fmt.Errorf("%d deliveries have failed", n)
				}
				return nil
			})
			g.Stop(t)
			secrets := []string{
				g.APIKey, strings.TrimPrefix(secret, "whsec_"), "gatehouse-webhook-secret-01", "hush-header-1", "hush password of a user", "correct horse battery staple",
				gate.MasterKey, "gate_hushwrongkey",
			}
			if name == "SQLite" {
				nowhere(t, g, secrets...) // in no file
			}
			for _, table := range []string{"users", "tokens", "webhooks", "webhook_deliveries", "webhook_attempts", "audit_events"} {
				rows := fmt.Sprint(g.Rows(t, "SELECT * FROM "+table))
				for _, secret := range secrets {
					if strings.Contains(rows, secret) {
						t.Errorf("table %s holds %q", table, secret)
					}
				}
			}
			log := g.Log(t)
			for _, private := range append(secrets, s.ConnectionIdentifier, "guess3dguess3dgu", "not-secret", "hush-query-1", "hush-filter") {
				if strings.Contains(log, private) {
					t.Errorf("the log holds %q", private)
				}
			}
		})
	}
}

// The interface's description is one JSON document with both kinds of sessions, and the page that shows it
// loads nothing from another host.
func TestOperations_description(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	var document struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	g.API(t, "GET", "/openapi.json", nil).JSON(t, &document)
	if !strings.HasPrefix(document.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %q", document.OpenAPI)
	}
	for _, kind := range []string{"verify", "collect"} {
		for path, methods := range map[string][]string{
			"": {"get", "post"}, "/{session}": {"get", "patch", "put", "delete"}, "/{session}/complete": {"post"}, "/{session}/webhooks": {"get", "post"}, "/{session}/webhooks/{webhook}": {"get", "patch", "put", "delete"},
		} {
			found := document.Paths["/api/v1/ssh/"+kind+"/sessions"+path+"/"]
			if found == nil {
				found = document.Paths["/api/v1/ssh/"+kind+"/sessions"+path]
			}
			for _, method := range methods {
				if found[method] == nil {
					t.Errorf("%s of %s sessions%s is not described", method, kind, path)
				}
			}
		}
	}
	page := g.API(t, "GET", "/docs", nil)
	if policy := page.Header.Get("Content-Security-Policy"); page.Status != http.StatusOK || !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "://") {
		t.Errorf("%d, policy %q", page.Status, policy)
	}
	loads := regexp.MustCompile(`(?i)(\bsrc\s*=\s*["']?|<link[^>]*href\s*=\s*["']?|url\(\s*["']?|@import\s+["']?|import\s*\(?\s*["']|fetch\(\s*["'])(https?:)?//[^\s"')]+`)
	if found := loads.FindAllString(string(page.Body), -1); found != nil {
		t.Errorf("the page loads %q", found)
	}
}
