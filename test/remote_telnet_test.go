package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// routerPassword opens the router, and must be nowhere else.
const routerPassword = "r0uter-s3same: word"

// routerLogin asks as routers do, and lets admin in.
const routerLogin = `
printf 'Router 7\r\n\r\nUsername: '; read -r name
stty -echo; printf 'Password: '; read -r word; stty echo; echo
if [ "$name" != admin ] || [ "$word" != '` + routerPassword + `' ]; then
	sleep 0.2; printf '\r\n%% Login invalid\r\n'; exit 1
fi
echo "Last login: yesterday"
PS1='router# ' exec /bin/sh -i 2>&1
`

// withRouter adds a router that speaks Telnet alone, and a grant on it.
func withRouter(t *testing.T, e *estate) {
	t.Helper()
	s := peers.Telnetd(t, routerLogin)
	e.Must(t, "device", "add", "router-7", "--ip", "127.0.0.1", "--connect", fmt.Sprint("telnet:", s.At.Port()))
	if r := e.Command(t, routerPassword, "credential", "add", "--device", "router-7", "--username", "admin", "--password-stdin"); r.Exit != 0 {
		t.Fatalf("%+v", r)
	}
	e.Must(t, "grant", "add", "--user", "dana", "--device", "router-7")
}

// A machine that speaks Telnet alone is reached from the browser and with an SSH client; signing in there is Gatehouse's business, and on no screen.
func TestTelnet(t *testing.T) {
	t.Parallel()
	d := newDesktop(t, gate.Options{Settings: map[string]string{"recording.keystrokes": "true"}})
	withRouter(t, d.estate)
	secrets := []string{routerPassword, "s3same", "Password:", "Username:"}
	ended := func(t *testing.T, id string) {
		t.Helper()
		wantEnd(t, d.Gate, id, "closed")
		if said := keep(t, d.Gate, id); !strings.Contains(said, "recorded: terminal terminal") {
			t.Errorf("what is recorded: %s", said)
		}
		raw := d.Must(t, "recording", "export", id, "--raw")
		if !strings.Contains(raw, "42-here") || !strings.Contains(raw, "Last login") {
			t.Errorf("the recording holds %q", raw)
		}
		for _, text := range secrets {
			if strings.Contains(raw, text) {
				t.Errorf("the recording holds %q", text)
			}
		}
	}
	t.Run("in_the_browser", func(t *testing.T) {
		p := redeem(t, visit(d.Gate), linkIn(t, d.ask(t, members{"device": "router-7", "credential": "admin", "protocol": "telnet"})))
		w := p.terminal(t)
		w.shows(t, "router# ")
		w.enter(t, "stty size; echo 4''2-here")
		w.shows(t, "42-here")
		if !strings.Contains(w.screen(), "24 80") {
			t.Errorf("the size of the window: %q", w.screen())
		}
		for _, text := range secrets {
			if strings.Contains(w.screen(), text) {
				t.Errorf("the screen shows %q", text)
			}
		}
		if r := p.call(t, "GET", p.path("/files"), nil); r.Status == http.StatusOK {
			t.Errorf("files over Telnet: %v", r)
		}
		w.enter(t, "exit")
		if why := w.ends(t); why != "closed" {
			t.Errorf("ended for %q", why)
		}
		ended(t, p.id)
	})
	t.Run("with_an_SSH_client", func(t *testing.T) {
		const there = "dana:admin@router-7"
		r := gate.OnTerminal(t, d.sshCommand(t, there, "", "-t", "-o", "BatchMode=yes"), [2]string{"router# ", "echo 4''2-here\r"}, [2]string{"42-here", "exit\r"})
		if !strings.Contains(r.Stdout, "This session is recorded.") || r.Exit != 0 {
			t.Errorf("%+v", r)
		}
		for _, text := range secrets {
			if strings.Contains(r.Stdout, text) {
				t.Errorf("the screen shows %q", text)
			}
		}
		ended(t, d.latest(t))
		if r := d.ssh(t, there, "", "echo in"); r.Exit != 255 || r.Stdout != "" || r.Stderr == "" {
			t.Errorf("a command over Telnet: %+v", r)
		}
		if r := d.copies(t, "sftp", "-o", "User="+there, "127.0.0.1"); r.Exit == 0 {
			t.Errorf("files over Telnet: %+v", r)
		}
	})
	t.Run("a_wrong_password", func(t *testing.T) {
		if r := d.Command(t, "another word", "credential", "set", "admin@router-7", "--password-stdin"); r.Exit != 0 {
			t.Fatalf("%+v", r)
		}
		r := d.ssh(t, "dana:admin@router-7", "", "")
		if r.Exit != 255 || strings.Contains(r.Stdout, "router#") || !strings.Contains(r.Stderr, "the target refused the stored credential") {
			t.Errorf("%+v", r)
		}
	})
	hushed(t, d.Gate, routerPassword, "another word")
}
