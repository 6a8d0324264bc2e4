package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// bare calls a gate over HTTP with exactly this head, which is more than an HTTP client lets one do.
func bare(tb testing.TB, g *gate.Gate, from, request string) (status int, header http.Header, body string) {
	tb.Helper()
	conn := dialFrom(tb, from, strings.TrimPrefix(g.URL, "http://"))
	defer conn.Close()
	go io.WriteString(conn, request)
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		tb.Fatalf("no answer: %v\n%s", err, request)
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return r.StatusCode, r.Header, string(text)
}

// Rule W6: each door lists what it accepts.
//
// What was broken elsewhere: a token that one header refused was taken from another, or with another scope.
// How it is attacked: the same good API key presented in every way that callers know but x-api-key, each
// way alone and all together, then twice.
// What must happen: one and the same 401, whatever was presented; the refusals are recorded.
func TestAttack_W6_other_ways_to_present_a_key(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: unlimited()})
	k := g.APIKey
	ways := map[string]string{
		"nothing": "", "bearer": "Authorization: Bearer " + k, "basic": "Authorization: Basic " + basic(k, ""), "basic password": "Authorization: Basic " + basic("x", k),
		"token": "Authorization: Token " + k, "api key scheme": "Authorization: ApiKey " + k, "bare authorization": "Authorization: " + k,
		"cookie": "Cookie: x-api-key=" + k + "; gatehouse=" + k, "underscores": "X_Api_Key: " + k, "auth token": "X-Auth-Token: " + k,
		"proxy": "Proxy-Authorization: Bearer " + k, "original": "X-Original-X-Api-Key: " + k, "empty": "X-Api-Key:", "twice": "X-Api-Key: " + k + "\r\nX-Api-Key: " + k,
		"listed": "X-Api-Key: " + k + ", " + k, "upper case": "X-Api-Key: " + strings.ToUpper(k), "cut": "X-Api-Key: " + k[:len(k)-1], "longer": "X-Api-Key: " + k + "0",
	}
	want := ""
	for name, header := range ways {
		for _, path := range []string{"/api/v1/auth/info/", "/api/v1/auth/info/?x-api-key=" + k + "&api_key=" + k + "&access_token=" + k} {
			head := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
			if header != "" {
				head += header + "\r\n"
			}
			// An address of its own for each way, or the guard against guessing would answer for the door.
			from := fmt.Sprintf("127.0.1.%d", 1+len(name))
			status, h, body := bare(t, g, from, head+"\r\n")
			if status != 401 || h.Get("WWW-Authenticate") != "ApiKey" || strings.Contains(body, k) {
				t.Errorf("%s at %s: %d %v %s", name, path, status, h, body)
			}
			if want == "" {
				want = body
			}
			if body != want {
				t.Errorf("%s: another 401:\n%s\n%s", name, body, want)
			}
		}
	}
	if status, _, body := bare(t, g, "127.0.0.1", "GET /api/v1/auth/info HTTP/1.1\r\nHost: x\r\nConnection: close\r\nx-ApI-kEy: "+k+"\r\n\r\n"); status != 200 {
		t.Errorf("the one way that is meant: %d %s", status, body)
	}
	if e := g.AwaitAudited(t, "login.api_key", "refused", ""); e.Door != "sshverify" || !strings.HasPrefix(e.Address, "127.0.1.") {
		t.Errorf("audit log: %+v", e)
	}
}

func basic(user, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}

// Rule F13: identity headers are hostile.
//
// What was broken elsewhere: gateways believed whoever wrote X-Forwarded-For, or a user's name in a header.
// How it is attacked: every header of the kind, from an address that is no trusted proxy; then from a
// trusted one with a forged first hop.
// What must happen: the audit log shows the true address; nobody is let in by a header.
func TestAttack_F13_forged_headers(t *testing.T) {
	t.Parallel()
	forged := "X-Forwarded-For: 203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\nCF-Connecting-IP: 203.0.113.9\r\nTrue-Client-IP: 203.0.113.9\r\n" +
		"Remote-User: admin\r\nX-Remote-User: admin\r\nX-Forwarded-User: admin\r\nX-Forwarded-Host: evil.test\r\nX-Gatehouse-User: admin\r\nX-Original-URL: /healthz\r\n" +
		"X-HTTP-Method-Override: DELETE\r\nX-Request-Id: forged\r\n"
	ask := func(t *testing.T, g *gate.Gate, from, more string) {
		t.Helper()
		status, _, body := bare(t, g, from, "GET /api/v1/ssh/verify/sessions/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"+forged+more+"X-Api-Key: gate_wrong\r\n\r\n")
		if status != 401 || strings.Contains(body, "forged") {
			t.Errorf("%d %s", status, body)
		}
	}
	t.Run("nobody is trusted", func(t *testing.T) {
		g := gate.Start(t, gate.Options{})
		ask(t, g, "127.0.0.9", "")
		if e := g.AwaitAudited(t, "login.api_key", "refused", ""); e.Address != "127.0.0.9" || e.Actor.Kind != "nobody" {
			t.Errorf("audit log: %+v", e)
		}
	})
	t.Run("a proxy is trusted for its own hop alone", func(t *testing.T) {
		g := gate.Start(t, gate.Options{Settings: map[string]string{"trusted_proxies": "127.0.0.8"}})
		ask(t, g, "127.0.0.8", "X-Forwarded-For: 198.51.100.7\r\n")
		if e := g.AwaitAudited(t, "login.api_key", "refused", ""); e.Address != "198.51.100.7" {
			t.Errorf("audit log: %+v", e)
		}
	})
}

// Rule W8: one dialer for outward calls.
//
// What was broken elsewhere: webhooks that were checked as text reached metadata services and admin pages
// by another spelling, by a name, or by a redirect.
// How it is attacked: inner addresses in every spelling, a name that resolves inward, a public-looking
// receiver that redirects inward.
// What must happen: literals are refused at once, names at the dial, redirects are failures; the victim
// hears nothing, and the delivery's log says why without a byte of an answer.
func TestAttack_W8_webhooks_inward(t *testing.T) {
	t.Parallel()
	var heard atomic.Int64
	victim := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		heard.Add(1)
		_, _ = io.WriteString(w, "inner-secret")
	}))
	defer victim.Close()
	at, _ := url.Parse(victim.URL)
	g := gate.Start(t, gate.Options{Settings: unlimited("sshverify.webhook_allow", "127.0.0.2")})
	keys := gate.NewKeys(t, 1)
	hooked := func(target string) gate.Answer {
		return g.API(t, "POST", "/api/v1/ssh/verify/sessions/", sessionOf([]string{keys[0].Public}, "webhooks", []map[string]any{{"url": target, "events": []string{"status_changed"}}}))
	}
	port := at.Port()
	for _, host := range []string{
		"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "169.254.169.254", "10.0.0.1", "100.64.0.1", "0.0.0.0", "[64:ff9b::7f00:1]", "[fe80::1]", "[fc00::1]", "224.0.0.1",
	} {
		if a := hooked("http://" + host + ":" + port + "/"); a.Status != 422 || !strings.Contains(string(a.Body), "target address is not allowed") {
			t.Errorf("%s: %d %s", host, a.Status, a.Body)
		}
	}
	refused := map[string]string{"http://localhost:" + port + "/": "target address is not allowed"}
	for _, spelling := range []string{"2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost."} {
		refused["http://"+spelling+":"+port+"/"] = ""
	}
	redirect := &http.Server{Handler: http.RedirectHandler(victim.URL, http.StatusTemporaryRedirect)}
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	go redirect.Serve(l)
	defer redirect.Close()
	refused["http://"+l.Addr().String()+"/"] = "answered 307"
	for target, reason := range refused {
		a := hooked(target)
		if a.Status == 422 && reason == "" {
			continue // refused as it is written: just as good
		}
		if a.Status != 201 {
			t.Errorf("%s: %d %s", target, a.Status, a.Body)
			continue
		}
		var s gate.Session
		a.JSON(t, &s)
		if out, code := proveFrom(t, g, "127.0.0.1", s.ConnectionIdentifier, keys[0].Signer(t)); code != 0 {
			t.Fatalf("exit %d, %s", code, out)
		}
		gate.Eventually(t, func() error {
			rows := g.Rows(t, "SELECT state, reason FROM webhook_deliveries WHERE owner = $1", s.ID)
			if len(rows) != 1 || rows[0][0] != "failed" || reason != "" && rows[0][1] != reason || strings.Contains(rows[0][1], "inner-secret") {
				return fmt.Errorf("%s: deliveries %q, want failed with %q", target, rows, reason)
			}
			return nil
		})
	}
	if n := heard.Load(); n != 0 {
		t.Errorf("the victim was called %d times", n)
	}
	if events := g.Audited(t, "keyproof.create"); len(events) == 0 || events[0].Outcome != "done" {
		t.Errorf("audit log: %+v", events)
	}
}

// Rule W10: terminal output is data.
//
// What was broken elsewhere: names and answers with escape sequences drove the terminal of the
// administrator who looked at them.
// How it is attacked: control bytes in names of keys and sessions, in the client's version line, in an
// SSH user name, and in the answer of a webhook receiver.
// What must happen: what is refused is refused; what is shown by the command line, the log or the person's
// own terminal holds no control byte but line ends.
func TestAttack_W10_control_bytes(t *testing.T) {
	t.Parallel()
	const evil = "\x1b]0;owned\x07\x1b[2J\x1b]52;c;ZXZpbA==\x07\u009b31m\u202eevil"
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Evil", "quiet")
		w.WriteHeader(500)
		_, _ = io.WriteString(w, "first line\n"+evil+"\nthird\x00line\x9b\xff")
	}))
	defer receiver.Close()
	g := gate.Start(t, gate.Options{Settings: unlimited()})
	keys, lines := memoryKeys(t, 1)
	for field, body := range map[string]map[string]any{
		"external_id": sessionOf(lines, "external_id", evil), "ssh_banner": sessionOf(lines, "ssh_banner", evil), "ssh_message": sessionOf(lines, "ssh_message", evil),
		"keys[0].name": {"keys": []map[string]any{{"public_key": lines[0], "name": evil}}},
	} {
		if a := g.API(t, "POST", "/api/v1/ssh/verify/sessions/", body); a.Status != 422 || !strings.Contains(string(a.Body), "body."+field) {
			t.Errorf("%s: %d %s", field, a.Status, a.Body)
		}
	}
	if r := g.Command(t, "", "project", "add", "EVIL", "--name", evil); r.Exit == 0 || dirty(r.Stdout+r.Stderr) {
		t.Errorf("project with an evil name: exit %d, %q", r.Exit, r.Stdout+r.Stderr)
	}
	if r := g.Command(t, "", "apikey", "add", "--project", "E2E", "--name", evil); r.Exit == 0 || dirty(r.Stdout+r.Stderr) {
		t.Errorf("key with an evil name: exit %d, %q", r.Exit, r.Stdout+r.Stderr)
	}

	s := g.Create(t, "verify", sessionOf(lines, "webhooks", []map[string]any{{"url": receiver.URL, "events": []string{"status_changed"}}}))
	r := rawHelloAs(t, g, "SSH-2.0-evil\x1b]0;x\x07\x9b")
	r.begin()
	r.sign(s.ConnectionIdentifier, keys[0].PublicKey(), keys[0])
	r.close()
	raw := rawConnect(t, g)
	raw.request("user"+evil, "none", nil)
	raw.offer("user"+evil, "ssh-ed25519", keys[0].PublicKey().Marshal())
	raw.close()
	g.AwaitAudited(t, "ssh.login", "refused", "no door")
	gate.Eventually(t, func() error {
		if rows := g.Rows(t, "SELECT id FROM webhook_deliveries WHERE state = 'failed'"); len(rows) != 1 {
			return errors.New("the delivery has not failed yet")
		}
		return nil
	})
	id := g.Rows(t, "SELECT id FROM webhook_deliveries")[0][0]
	shown := g.Must(t, "webhook", "show", id)
	if !strings.Contains(shown, "first line") || !strings.Contains(shown, "owned") {
		t.Errorf("the answer is not shown:\n%s", shown)
	}
	for name, text := range map[string]string{
		"webhook show": shown, "webhook deliveries": g.Must(t, "webhook", "deliveries"), "webhook show --json": g.Must(t, "webhook", "show", id, "--json"),
		"audit list": g.Must(t, "audit", "list"), "audit list --json": g.Must(t, "audit", "list", "--json"), "the log": g.Log(t),
		"the session": string(g.API(t, "GET", "/api/v1/ssh/verify/sessions/"+s.ID, nil).Body), "wrong usage": g.Command(t, "", "webhook", "show", evil).Stderr,
		"unknown command": g.Command(t, "", evil).Stderr,
	} {
		if dirty(text) {
			t.Errorf("%s holds control bytes:\n%q", name, text)
		}
	}
}

// dirty reports whether text could drive a terminal.
func dirty(text string) bool {
	for _, r := range text {
		if r == '\n' || r == '\t' {
			continue
		}
		if r < 0x20 || r >= 0x7f && r <= 0x9f || r == '\u202e' {
			return true
		}
	}
	return false
}

// Bad input on the real binary: the error that the spec names, nothing written, nothing secret echoed.
// Everything that a careless or hostile caller sends carries a marker that must be found nowhere.
func TestAttack_bad_input_over_HTTP(t *testing.T) {
	t.Parallel()
	const marker = "hush5e7c0ffee"
	g := gate.Start(t, gate.Options{Settings: unlimited()})
	key := gate.NewKeys(t, 1)[0]
	const path = "/api/v1/ssh/verify/sessions/"
	private := privateKeys(t, marker)
	count := func() int { return g.Count(t, "SELECT count(*) FROM proof_sessions") }
	type answer struct {
		status int
		detail string
	}
	for name, c := range map[string]struct {
		body any
		want answer
	}{
		"no JSON":            {marker, answer{400, "Request body is not valid JSON"}},
		"cut JSON":           {`{"keys":[{"public_key":"` + marker, answer{400, "Request body is not valid JSON"}},
		"two values":         {`{"keys":[]} {"x":1}`, answer{400, "Request body is not valid JSON"}},
		"broken UTF-8":       {"{\"external_id\":\"\xff\xfe\"}", answer{400, "Request body is not valid JSON"}},
		"an array":           {`[]`, answer{422, "validation failed"}},
		"deep nesting":       {strings.Repeat(`{"keys":`, 100_000) + strings.Repeat("}", 100_000), answer{400, ""}},
		"deep arrays":        {strings.Repeat(`[`, 200_000), answer{400, ""}},
		"2 MiB":              {`{"external_id":"` + strings.Repeat("a", 2<<20) + `"}`, answer{413, "Request body is too large"}},
		"unknown field":      {`{"keys":[],"` + marker + `":1}`, answer{422, "validation failed"}},
		"number as text":     {map[string]any{"keys": key.Public}, answer{422, "validation failed"}},
		"33 keys":            {sessionOf(slices.Repeat([]string{key.Public}, 33)), answer{422, "validation failed"}},
		"huge numbers":       {`{"keys":[{"public_key":"` + key.Public + `"}],"max_attempts":1e400,"timeout":99999999999999999999}`, answer{422, "validation failed"}},
		"absurd time":        {sessionOf([]string{key.Public}, "expired_at", "9999999-01-01T00:00:00Z"), answer{422, "validation failed"}},
		"the past":           {sessionOf([]string{key.Public}, "expired_at", "1999-01-01T00:00:00Z"), answer{400, "expired_at must be in the future"}},
		"NUL in a name":      {sessionOf([]string{key.Public}, "external_id", marker+"\x00"), answer{422, "validation failed"}},
		"options of a file":  {sessionOf([]string{`command="` + marker + `" ` + key.Public}), answer{422, "validation failed"}},
		"private OpenSSH":    {sessionOf([]string{private["openssh"]}), answer{422, "validation failed"}},
		"private PEM":        {sessionOf([]string{private["pem"]}), answer{422, "validation failed"}},
		"private PuTTY":      {sessionOf([]string{private["putty"]}), answer{422, "validation failed"}},
		"bad webhook secret": {sessionOf([]string{key.Public}, "webhooks", []map[string]any{{"url": "https://example.test", "events": []string{"status_changed"}, "secret": "whsec_" + marker + "!"}}), answer{422, "validation failed"}},
		"bad header":         {sessionOf([]string{key.Public}, "webhooks", []map[string]any{{"url": "https://example.test", "events": []string{"status_changed"}, "headers": map[string]any{"X-Key": []string{marker + "\r\nHost: evil"}}}}), answer{422, "validation failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := count()
			a := g.API(t, "POST", path, c.body)
			var p struct{ Detail string }
			a.JSON(t, &p)
			if a.Status != c.want.status || c.want.detail != "" && p.Detail != c.want.detail || a.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %s", a.Status, shorten(a.Body))
			}
			if strings.HasPrefix(name, "private") && !strings.Contains(string(a.Body), "this is a private key; send only the public key, and replace this key pair") {
				t.Errorf("it is not told what it is: %s", a.Body)
			}
			if strings.Contains(string(a.Body), marker) && name != "unknown field" && name != "NUL in a name" && name != "options of a file" {
				t.Errorf("it is echoed: %s", a.Body)
			}
			if after := count(); after != before {
				t.Errorf("%d sessions were written", after-before)
			}
		})
	}
	for query, want := range map[string]int{
		"limit=0": 422, "limit=-1": 422, "limit=9223372036854775808": 422, "limit=abc": 422, "offset=-1": 422, "offset=9223372036854775807": 200,
		"limit=9223372036854775807": 200, "status=gone": 422, "external_id=%00": 422, "limit=%zz": 400,
	} {
		if a := g.API(t, "GET", path+"?"+query, nil); a.Status != want {
			t.Errorf("%s: %d %s", query, a.Status, a.Body)
		}
	}
	t.Run("ids of other projects", func(t *testing.T) { foreignIDs(t, g, key) })
	a := g.API(t, "PUT", path+g.Create(t, "verify", sessionOf([]string{key.Public})).ID, `{"keys":[{"public_key":`+quoted(private["openssh"])+`}]}`)
	if a.Status != 422 || strings.Contains(string(a.Body), marker) {
		t.Errorf("a private key in an update: %d %s", a.Status, a.Body)
	}
	nowhere(t, g, marker, private["openssh"][60:120], private["pem"][60:100])
}

// privateKeys are private keys as people paste them by mistake, with the marker inside.
func privateKeys(t *testing.T, marker string) map[string]string {
	t.Helper()
	k := gate.NewKey(t, "rsa", "-m", "PEM", "-b", "2048", "-C", marker)
	asPEM, err := os.ReadFile(k.Path)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ssh.ParseRawPrivateKey(asPEM)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(parsed, marker)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"pem": string(asPEM), "openssh": string(pem.EncodeToMemory(block)),
		"putty": "PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\nComment: " + marker + "\r\nPublic-Lines: 0\r\nPrivate-Lines: 1\r\n" + marker + "\r\nPrivate-MAC: 00\r\n",
	}
}

func quoted(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

func shorten(b []byte) []byte { return b[:min(len(b), 500)] }

// foreignIDs asks for a session of another project on every endpoint.
func foreignIDs(t *testing.T, g *gate.Gate, key gate.KeyFile) {
	t.Helper()
	g.AddProject(t, "OTHER")
	other := g.AddKey(t, "OTHER", "other")
	s := g.Create(t, "verify", sessionOf([]string{key.Public}, "multi_connection", true, "webhooks", []map[string]any{{"url": "https://example.test/", "events": []string{"status_changed"}}}))
	base, hook := "/api/v1/ssh/verify/sessions/"+s.ID+"/", s.Webhooks[0].ID
	for _, call := range [][2]string{
		{"GET", ""},
		{"PATCH", ""},
		{"PUT", ""},
		{"DELETE", ""},
		{"POST", "complete/"},
		{"GET", "webhooks/"},
		{"POST", "webhooks/"},
		{"GET", "webhooks/" + hook},
		{"PUT", "webhooks/" + hook},
		{"PATCH", "webhooks/" + hook},
		{"DELETE", "webhooks/" + hook},
	} {
		foreign := g.APIAs(t, other, call[0], base+call[1], `{}`)
		unknown := g.APIAs(t, other, call[0], strings.ReplaceAll(base, s.ID, "019a4c00-11aa-7bcd-8e01-0a1b2c3d4e5f")+call[1], `{}`)
		if foreign.Status != 404 || !bytes.Equal(foreign.Body, unknown.Body) {
			t.Errorf("%s %s: %d %s; unknown: %s", call[0], call[1], foreign.Status, foreign.Body, unknown.Body)
		}
		if a := g.API(t, call[0], strings.Replace(base, "verify", "collect", 1)+call[1], `{}`); a.Status != 404 {
			t.Errorf("%s of the other kind: %d %s", call[0], a.Status, a.Body)
		}
	}
	if s = g.Session(t, "verify", s.ID); s.Status != "pending" || len(s.Webhooks) != 1 {
		t.Errorf("the session was changed: %+v", s)
	}
}

// nowhere checks that no file of the gate and no line of its log holds any of these texts.
func nowhere(t *testing.T, g *gate.Gate, texts ...string) {
	t.Helper()
	log := g.Log(t)
	for _, text := range texts {
		if strings.Contains(log, text) {
			t.Errorf("the log holds %q", text)
		}
	}
	err := filepath.WalkDir(g.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, text := range texts {
			if bytes.Contains(content, []byte(text)) {
				t.Errorf("%s holds %q", filepath.Base(path), text)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Slow clients of the HTTP door: heads and bodies that never end are cut off, and everybody else is served
// the while.
func TestAttack_slow_HTTP(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for deadlines of 10 and 30 seconds")
	}
	g := gate.Start(t, gate.Options{})
	address := strings.TrimPrefix(g.URL, "http://")
	slow := func(name, head, drip string, most time.Duration) {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // all of them wait
			conn := dialFrom(t, "127.0.0.5", address)
			_ = conn.SetDeadline(time.Now().Add(2 * peers.Patience))
			began := time.Now()
			_, _ = io.WriteString(conn, head)
			ended := make(chan []byte, 1)
			go func() {
				answer, _ := io.ReadAll(conn)
				ended <- answer
			}()
			tick := time.NewTicker(200 * time.Millisecond) // slowness is the attack
			defer tick.Stop()
			for {
				select {
				case answer := <-ended:
					if took := time.Since(began); took > most || bytes.Contains(answer, []byte(" 2")) && bytes.HasPrefix(answer, []byte("HTTP/1.1 2")) {
						t.Errorf("it ended after %v with %q", took, answer)
					}
					return
				case <-tick.C:
					_, _ = io.WriteString(conn, drip)
				}
			}
		})
	}
	slow("a head that never ends", "POST /api/v1/ssh/verify/sessions/ HTTP/1.1\r\nHost: x\r\n", "X-A: b\r\n", 25*time.Second)
	slow("a body that never ends", "POST /api/v1/ssh/verify/sessions/ HTTP/1.1\r\nHost: x\r\nX-Api-Key: "+g.APIKey+"\r\nContent-Length: 100000\r\n\r\n{", " ", 50*time.Second)
	slow("chunks that never end", "POST /api/v1/ssh/verify/sessions/ HTTP/1.1\r\nHost: x\r\nX-Api-Key: "+g.APIKey+"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "1\r\n \r\n", 50*time.Second)
	for range 200 {
		_, _ = io.WriteString(dialFrom(t, "127.0.0.6", address), "GET / HTTP/1.1\r\nHost: x\r\n")
	}
	promptly(t, "a good client", func() {
		if a := g.API(t, "GET", "/api/v1/auth/info", nil); a.Status != 200 {
			t.Errorf("a good client: %d", a.Status)
		}
	})
}
