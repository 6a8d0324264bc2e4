package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// wish is a session that the demo asks for.
type wish struct {
	kind    string // verify or collect
	title   string
	about   string
	keys    []ownKey
	confirm bool
	tries   int
}

// session is a session as the API tells it: what a program needs of it.
type session struct {
	ID          string              `json:"id"`
	Identifier  string              `json:"connection_identifier"`
	Status      string              `json:"status"`
	Connections []sessionConnection `json:"connections"`
}

type sessionConnection struct {
	Address string       `json:"ip_address"`
	Client  string       `json:"client_version"`
	Keys    []sessionKey `json:"keys"`
}

type sessionKey struct {
	Fingerprint string `json:"public_key_sha256"`
}

// proven counts the keys of all connections.
func (s session) proven() int {
	n := 0
	for _, c := range s.Connections {
		n += len(c.Keys)
	}
	return n
}

// question is a session that was asked for, with all that a person needs to see.
type question struct {
	wish
	session
	path string   // of the session in the API
	curl []string // the same request by hand, in parts that may stand on lines of their own
	ssh  []string
}

// walk goes with the person from one session to the next.
func (d *demo) walk(ctx context.Context, c *demoCommand) error {
	d.view.begin(d)
	if c.Once {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, errTimeout)
		defer cancel()
	}
	status, err := d.prove(ctx, d.first())
	switch {
	case ctx.Err() != nil:
		if c.Once && context.Cause(ctx) == errTimeout { //nolint:errorlint // the very cause that was given above
			return errTimeout
		}
		return nil
	case err != nil:
		return failed("ask for a session", err, "the log says more")
	case c.Once && status != "verified":
		return errProof
	case c.Once:
		return nil
	}
	return d.next(ctx)
}

func (d *demo) first() wish {
	return wish{kind: "verify", title: "A program asks: does this person hold one of these keys?", keys: d.mine.keys, tries: 5}
}

// next offers what else there is, until the person has had enough. Without a terminal it shows what
// arrives until the process is told to end.
func (d *demo) next(ctx context.Context) error {
	d.view.menu(d)
	for {
		select {
		case <-ctx.Done():
			return nil
		case h := <-d.receiver.arrivals:
			if d.arrived(ctx, h) && h.Type != "" {
				d.view.menu(d)
			}
		case key := <-d.pressed:
			again, err := d.choose(ctx, key)
			if ctx.Err() != nil || err != nil {
				return err
			}
			if again {
				d.view.menu(d)
			}
		}
	}
}

// choose does what a key stands for. again says that the menu is due once more.
func (d *demo) choose(ctx context.Context, key byte) (again bool, err error) {
	switch key {
	case '\r', '\n', 'c':
		_, err = d.prove(ctx, wish{
			kind: "verify", title: "The same, but the person must press y.", keys: d.mine.keys, tries: 5, confirm: true,
			about: "Nothing counts before the answer: a stolen agent alone proves nothing.",
		})
	case 'o':
		_, err = d.prove(ctx, wish{
			kind: "collect", title: "Which keys does a client offer?",
			about: "An offer proves nothing: everybody knows your public keys. Use it to learn keys, never to sign in.",
		})
	case 'f':
		var stranger ownKey
		if stranger, err = strangersKey(); err == nil {
			_, err = d.prove(ctx, wish{
				kind: "verify", title: "A key that you do not have.", keys: []ownKey{stranger}, tries: 1,
				about: "One try, and the private key exists nowhere: the session will fail.",
			})
		}
	case 'g':
		d.view.journey(d)
		return false, nil
	case 'b':
		var at string
		if at, err = d.link(ctx); err == nil {
			d.view.link(at)
			return false, nil
		}
	case 'a':
		d.view.api(d)
	case 'd':
		d.command(ctx, "webhook", "deliveries", "--limit", "12")
	case 'v':
		d.command(ctx, "audit", "verify")
	default:
		return false, nil
	}
	if err != nil {
		err = failed("ask for a session", err, "the log says more")
	}
	return true, err
}

// strangersKey is a public key whose private half was thrown away.
func strangersKey() (ownKey, error) {
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		return ownKey{}, err
	}
	return publicKey(public, "somebody else's key", "nowhere")
}

// command runs another command of this program on the demo's data, as the person could.
func (d *demo) command(ctx context.Context, args ...string) {
	args = append(args, "--data", d.data())
	var table, notes bytes.Buffer
	p := &process{in: strings.NewReader(""), out: &table, err: &notes, name: d.p.name, now: d.p.now}
	p.run(ctx, args)
	d.view.ran(append([]string{d.program()}, args...), table.String(), notes.String())
}

// prove asks for a session and shows what happens until it has ended, the person goes on, or ctx ends.
func (d *demo) prove(ctx context.Context, w wish) (status string, err error) {
	q, err := d.ask(ctx, w)
	if err != nil {
		return "", err
	}
	d.view.question(q)
	begun := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-tick.C:
			d.view.waiting(time.Since(begun))
		case key := <-d.pressed:
			if key == 's' {
				d.view.skipped()
				return "", nil
			}
		case h := <-d.receiver.arrivals:
			if ended := d.arrived(ctx, h); ended && h.Session == q.session.ID {
				return h.status(), nil
			}
			d.view.waiting(time.Since(begun))
		}
	}
}

// arrived shows a webhook, and behind the last one of a session what the API says now.
func (d *demo) arrived(ctx context.Context, h hook) (ended bool) {
	if h.Type != "" {
		d.told(ctx, h)
		return h.Type == sessionEnded
	}
	d.view.event(h, d.mine.nameOf(h.Payload.Fingerprint))
	if h.Event != "status_changed" || h.status() == "pending" {
		return false
	}
	path := sessionsPath(strings.TrimSuffix(h.Entity, "_session")) + h.Session + "/"
	var now session
	if err := d.call(ctx, http.MethodGet, path, nil, &now); err != nil {
		d.view.trouble(err)
		return true
	}
	d.view.ended(path, now)
	return true
}

func sessionsPath(kind string) string { return "/api/v1/ssh/" + kind + "/sessions/" }

// ask makes a session by the API, as any program would.
func (d *demo) ask(ctx context.Context, w wish) (question, error) {
	d.asked++
	body, err := json.MarshalIndent(d.body(w), "", "  ")
	if err != nil {
		return question{}, err
	}
	file := filepath.Join(d.dir, w.kind+".json")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		return question{}, err
	}
	q := question{wish: w}
	if err := d.call(ctx, http.MethodPost, sessionsPath(w.kind), body, &q.session); err != nil {
		return q, err
	}
	q.path = sessionsPath(w.kind) + q.session.ID + "/"
	q.curl = d.curl(sessionsPath(w.kind), "--json @"+file)
	q.ssh, err = d.sshLine(q.session.Identifier)
	return q, err
}

// curl is a request to the API by hand. The key lies in a file, so that the line is short and the key in
// no shell history.
func (d *demo) curl(path string, options ...string) []string {
	line := []string{"curl -sS", fmt.Sprintf(`-H "x-api-key: $(cat %s)"`, filepath.Join(d.dir, "api-key"))}
	return append(append(line, options...), d.url()+path)
}

// body is the request of a session.
func (d *demo) body(w wish) map[string]any {
	body := map[string]any{
		"external_id": fmt.Sprintf("demo-%d", d.asked), "timeout": 3600, "must_confirm": w.confirm,
		"ssh_message": "Hello from the Gatehouse demo.",
		"webhooks":    []any{map[string]any{"url": d.receiver.url, "secret": d.receiver.secret.Reveal(), "retries": 3, "initial_backoff": 1}},
	}
	if w.kind == "collect" {
		body["multi_key"] = true
		return body
	}
	var keys []any
	for _, k := range w.keys {
		keys = append(keys, map[string]any{"name": k.name, "public_key": k.SSH()})
	}
	body["keys"], body["max_attempts"] = keys, w.tries
	return body
}

// sshLine is what the person types, in words that may stand on lines of their own. The server's host keys
// lie in a file of the demo: ssh checks them, asks nothing, and ~/.ssh/known_hosts stays as it is.
func (d *demo) sshLine(identifier string) ([]string, error) {
	host, port, err := net.SplitHostPort(reachable(d.server.SSH.String()))
	if err != nil {
		return nil, err
	}
	line := []string{"ssh -p " + port + " -o UserKnownHostsFile=" + d.known}
	if d.mine.identity != "" {
		line = append(line, "-i "+d.mine.identity)
	}
	return append(line, identifier+"@"+host), nil
}

// call makes one request to the API.
func (d *demo) call(ctx context.Context, method, path string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, d.url()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("x-api-key", d.key.Reveal())
	r.Header.Set("Content-Type", "application/json")
	return d.do(r, into)
}

// do sends a request and reads the answer.
func (d *demo) do(r *http.Request, into any) error {
	answer, err := d.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxHook))
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s answered %s: %s", r.Method, r.URL.Path, answer.Status, text)
	}
	return json.Unmarshal(text, into)
}
