package test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// The example of the vendor's documentation, byte for byte, through to a prompt on the target.
func TestRemote_the_vendors_example(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: map[string]string{"senhasegura.tenant": "senhasegura"}})
	person(t, g, "dleite")
	e := &estate{Gate: g, target: peers.Sshd(t, peers.SSHOptions{User: "usrsudonopass"})}
	e.line = newLine(t, e.target.At.String())
	e.device(t, "45.163.147.135", e.line.port) // is what it is called; where it is, nobody is taken by a test
	g.Must(t, "grant", "add", "--user", "dleite", "--device", "45.163.147.135")
	c := authorize(t, g, "--user", "dleite")
	r := c.must(t, http.StatusOK, "POST", "/api/pam/remote/session", `{
            "user": "dleite",
            "credential":"usrsudonopass",
            "device": "45.163.147.135",
            "protocol": "ssh"
}`)
	var got, want any
	read(t, `{"code":200,"response":{"status":200,"message":"Session created successfully","error":false,"error_code":0,"detail":"","Message":"Session created successfully","erro":false,"cod_erro":0},
		"tenant":"senhasegura","session":{"session_url":"","token":""}}`, &want)
	r.JSON(t, &got)
	holds(t, "answer", got, want)
	link := linkIn(t, r)
	if !regexp.MustCompile(`^/modulos/auth\?_sr=[A-Za-z0-9_-]{43}$`).MatchString(link.Path) || !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(link.Token) {
		t.Errorf("%+v", link)
	}
	p := redeem(t, visit(g), link)
	w := p.terminal(t)
	w.shows(t, "# ")
	w.enter(t, "whoami=$USER; echo I-am-$whoami; PS1='prompt> '")
	w.shows(t, "prompt> ")
	list := c.must(t, http.StatusOK, "GET", "/api/pam/session/remotesessions", nil)
	for _, want := range []string{`"user":"dleite"`, `"credential":"usrsudonopass"`, `"protocol":"ssh"`, `"proxy":"Web Proxy"`} {
		if !strings.Contains(string(list.Body), want) {
			t.Errorf("the list has no %s: %s", want, list.Body)
		}
	}
	c.must(t, http.StatusOK, "DELETE", "/api/pam/session/drop/"+link.Token, nil)
	if why := w.ends(t); why != "dropped" {
		t.Errorf("ended for %q", why)
	}
	keep(t, g, p.id)
	for _, event := range []string{"session_url.created", "session_url.redeemed", "session.started", "credential.lend", "session.ended"} {
		wantEvent(t, g, event, "done", nil)
	}
}

// holds checks that got has every member of want with its value; of an empty text, any text.
func holds(t *testing.T, at string, got, want any) {
	t.Helper()
	in, ok := want.(map[string]any)
	if !ok {
		if text, isText := got.(string); got != want && (want != "" || !isText) || want == "" && isText && text == "" && !strings.HasSuffix(at, "detail") {
			t.Errorf("%s is %v, want %v", at, got, want)
		}
		return
	}
	has, ok := got.(map[string]any)
	if !ok {
		t.Errorf("%s is %v", at, got)
		return
	}
	for name, value := range in {
		holds(t, at+"."+name, has[name], value)
	}
}

// Nobody who does not sign in to the target sees what signs in there: the password and the private key of a target stand in no log, answer, page, frame,
// recording, manifest or file of the gate, in no form that they travel in.
func TestRemote_no_secret_of_a_target_leaks(t *testing.T) {
	t.Parallel()
	e := build(t, gate.Options{Settings: map[string]string{"recording.keystrokes": "true", "log.level": "debug"}})
	e.Must(t, "credential", "add", "--device", "web-01", "--username", e.target.Account.Name, "--key-file", e.target.KeyFile, "--identifier", "by-key", "--type", "SSH Key")
	person(t, e.Gate, "erik", "--admin")
	erik := signedIn(t, e.Gate, "erik")
	var heard bytes.Buffer
	hear := func(r reply) reply {
		heard.Write(r.Body)
		_ = r.Header.Write(&heard) // into memory
		return r
	}
	var tabs []*tab
	for _, in := range []members{nil, {"credential": "by-key"}} {
		link := linkIn(t, hear(e.ask(t, in)))
		c := visit(e.Gate)
		p := redeem(t, c, link)
		tabs = append(tabs, p)
		for _, path := range []string{"", "/files"} {
			hear(p.call(t, "GET", p.path(path), nil))
		}
		w := p.terminal(t)
		w.answers(t, 41)
		w.enter(t, "set; env; ps aux | head -50; echo all-$((1 + 1))")
		w.shows(t, "all-2")
		watching := lookOn(t, erik, p.id)
		for _, path := range []string{"", "/files", "/files/content?path=.profile"} {
			hear(p.call(t, "GET", p.path(path), nil))
		}
		hear(p.call(t, "PUT", p.path("/files/content?path=up.txt"), "text"))
		for _, path := range []string{"/ws/watch/" + p.id, "/api/v1/remote-sessions", "/api/v1/remote-sessions/" + p.id, "/api/v1/devices", "/api/v1/credentials", "/api/v1/recordings", "/api/v1/grants"} {
			hear(erik.call(t, "GET", path, nil))
		}
		for _, path := range []string{"/api/session/remotesessions", "/api/device", "/api/credential"} {
			hear(e.tool.call(t, "GET", path, nil))
		}
		if p.must(t, http.StatusNoContent, "POST", p.path("/end"), nil); w.ends(t) == "" {
			t.Error("no end")
		}
		watching.ends(t)
		heard.Write(w.traffic())
		heard.Write(watching.traffic())
		hear(p.call(t, "GET", p.path(""), nil))
		heard.WriteString(keep(t, e.Gate, p.id) + e.Must(t, "recording", "export", p.id, "--raw"))
		for _, path := range []string{"/ws/play/" + p.id, "/api/v1/recordings/" + p.id} {
			hear(erik.call(t, "GET", path, nil))
		}
	}
	// And where things go wrong: the credential is refused.
	if r := e.Command(t, "wr0ng-and-secret", "credential", "set", e.target.Account.Name+"@web-01", "--password-stdin"); r.Exit != 0 {
		t.Fatalf("%+v", r)
	}
	p := e.open(t, nil)
	w := p.terminal(t)
	if why := w.ends(t); why != "error" {
		t.Errorf("ended for %q", why)
	}
	heard.Write(w.traffic())
	hear(p.call(t, "GET", p.path(""), nil))
	for _, args := range [][]string{{"credential", "list", "--json"}, {"device", "list", "--json"}, {"remote", "list", "--json"}, {"recording", "list", "--json"}, {"audit", "list", "--json"}} {
		heard.WriteString(e.Must(t, args...))
	}
	heard.WriteString(e.Log(t))
	for _, row := range e.Rows(t, "SELECT body FROM audit_events") {
		heard.WriteString(row[0])
	}

	var key []string // its lines but for the first, which all keys of a kind begin with
	for line := range strings.Lines(string(e.target.Key)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
			key = append(key, line)
		}
	}
	secrets := append(forms(e.target.Account.Password), forms("wr0ng-and-secret")...)
	secrets = append(secrets, key[1:len(key)-1]...)
	if len(secrets) < 6 || len(tabs) != 2 || heard.Len() < 10_000 {
		t.Fatalf("nothing to look for, or in: %d, %d", len(secrets), heard.Len())
	}
	without(t, "what was answered, shown, sent, played or logged", heard.Bytes(), secrets)
	files, recorded := 0, 0
	must(t, filepath.WalkDir(e.Data, func(path string, d fs.DirEntry, err error) error { // database, spool, recordings
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if files++; strings.HasSuffix(path, ".cast") {
			recorded++
		}
		without(t, path, content, secrets)
		return err
	}))
	if files < 5 || recorded < 2 {
		t.Errorf("%d files, %d of recordings: nothing to look in", files, recorded)
	}
}

// forms are how a password travels.
func forms(password string) []string {
	quoted, _ := json.Marshal(password) // a text always marshals
	return []string{
		password, strings.Trim(string(quoted), `"`), strings.Trim(fmt.Sprintf("%+q", password), `"`), url.QueryEscape(password), url.PathEscape(password),
		base64.StdEncoding.EncodeToString([]byte(password)), base64.RawURLEncoding.EncodeToString([]byte(password)), fmt.Sprintf("%x", password),
	}
}

func without(t *testing.T, where string, content []byte, secrets []string) {
	t.Helper()
	for _, secret := range secrets {
		if i := bytes.Index(content, []byte(secret)); i >= 0 {
			t.Errorf("%s: %q stands in it: %q", where, secret, content[max(0, i-100):min(len(content), i+100)])
		}
	}
}
