package telnetrelay_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/relay"
	"github.com/gatehouse-project/gatehouse/internal/relay/telnetrelay"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

func TestMain(m *testing.M) { os.Exit(peers.Main(m)) }

func dialer(t testing.TB) *telnetrelay.Dialer {
	t.Helper()
	policy, err := outbound.NewPolicy(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &telnetrelay.Dialer{Outward: relay.Outward{Connect: policy.DialInside, Patience: 20 * time.Second}, Quiet: 300 * time.Millisecond, Silence: 20 * time.Second}
}

// login asks as most systems do, and lets admin in with "s3same,:word".
const login = `
printf 'Welcome\n\nrouter login: '; read name
stty -echo; printf 'Password: '; read -r word; stty echo; echo
if [ "$name" != admin ] || [ "$word" != 's3same,:word' ]; then
	sleep 0.2; printf '\nLogin incorrect\nrouter login: '; read name; exit 1
fi
echo "Last login: yesterday"
exec /bin/sh -i 2>&1
`

func target(s *peers.TelnetServer) remote.Target {
	return remote.Target{At: s.At, Protocol: device.Telnet, Username: "admin", Password: secret.New("s3same,:word")}
}

// expect reads until the target has said something.
func expect(t *testing.T, r io.Reader, wanted string) string {
	t.Helper()
	var said []byte
	buffer := make([]byte, 4096)
	for !bytes.Contains(said, []byte(wanted)) {
		n, err := r.Read(buffer)
		said = append(said, buffer[:n]...)
		if err != nil {
			t.Fatalf("waited for %q, got %q: %v", wanted, said, err)
		}
	}
	return string(said)
}

func say(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, to remote.Target) (remote.Link, remote.Channel) {
	t.Helper()
	link, err := dialer(t).Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	ch, err := link.Terminal(t.Context(), remote.Terminal{PTY: true, Size: remote.Size{Cols: 133, Rows: 44}})
	if err != nil {
		t.Fatal(err)
	}
	return link, ch
}

func TestDial_signs_in_to_telnetd(t *testing.T) {
	t.Parallel()
	link, ch := open(t, target(peers.Telnetd(t, login)))
	say(t, ch, "stty size; echo $TERM; echo e''nd\r")
	said := expect(t, ch, "end\r\n")
	if !strings.Contains(said, "44 133") || !strings.Contains(said, "xterm-256color") {
		t.Errorf("got %q", said)
	}
	if !strings.Contains(said, "Last login: yesterday") || strings.Contains(said, "Welcome") || strings.Contains(said, "s3same") || strings.Contains(said, "ssword") {
		t.Errorf("what passed at the sign-in is shown: %q", said)
	}
	if err := ch.Resize(remote.Size{Cols: 255, Rows: 50}); err != nil { // 255 is IAC
		t.Fatal(err)
	}
	say(t, ch, "sleep 0.2; stty size; echo h''ere\r")
	if said = expect(t, ch, "here\r\n"); !strings.Contains(said, "50 255") {
		t.Errorf("got %q", said)
	}
	say(t, ch, "printf '\\377\\n' | od -An -tx1; echo b''yte\r")
	if said = expect(t, ch, "byte\r\n"); !strings.Contains(said, "ff 0a") {
		t.Errorf("got %q", said)
	}
	say(t, ch, "sh -c 'echo b\"\"egun; exec sleep 60'\r") // one process: a shell that is about to fork may miss the signal
	expect(t, ch, "begun\r\n")
	if err := ch.Signal("INT"); err != nil {
		t.Fatal(err)
	}
	say(t, ch, "echo s''topped\r")
	expect(t, ch, "stopped\r\n")
	say(t, ch, "exit\r")
	if _, err := io.Copy(io.Discard, ch); err != nil {
		t.Error(err)
	}
	if exit := ch.Wait(); exit.Status != 0 || link.Err() != nil {
		t.Errorf("got %+v, %v", exit, link.Err())
	}
}

func TestDial_says_when_the_target_refuses(t *testing.T) {
	t.Parallel()
	s := peers.Telnetd(t, login)
	for name, change := range map[string]func(to *remote.Target){
		"a wrong password":              func(to *remote.Target) { to.Password = secret.New("wrong-word") },
		"a password with a line end":    func(to *remote.Target) { to.Password = secret.New("wrong\nrm") },
		"a script that is malformed":    func(to *remote.Target) { to.Script = "Telnet:x" },
		"a script that expects nothing": func(to *remote.Target) { to.Script = "Telnet: :x" },
		"a script with too many steps":  func(to *remote.Target) { to.Script = strings.Repeat("Telnet:a:b,", 20) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := target(s)
			change(&to)
			_, err := dialer(t).Dial(t.Context(), to)
			if !errors.Is(err, remote.ErrTargetLogin) {
				t.Errorf("got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "wrong") {
				t.Error("the password stands in the error")
			}
		})
	}
}

func TestDial_follows_a_script(t *testing.T) {
	t.Parallel()
	s := peers.Telnetd(t, `
printf 'Press ENTER to begin'; read nothing
printf 'Domain\Operator? '; read name
stty -echo; printf 'Geheimwort> '; read -r word; stty echo; echo
printf 'enable> '; read -r mode
echo "name=$name mode=$mode word=$word ."
read -r more
`)
	to := target(s)
	to.Domain = "CORP"
	to.Script = `SSH:x:y, telnet:press enter:,Telnet:operator?:{domain}\{username},Telnet:GEHEIMWORT>:{password},Telnet:enable>:yes`
	link, err := dialer(t).Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	ch, err := link.Terminal(t.Context(), remote.Terminal{})
	if err != nil {
		t.Fatal(err)
	}
	// The shell's read takes the backslash. A target that shows the password is not helped by it.
	if said := expect(t, ch, "."); !strings.Contains(said, `name=CORPadmin mode=yes word= .`) {
		t.Errorf("got %q", said)
	}
}

// serve is a target in this process.
func serve(t *testing.T, with func(net.Conn)) remote.Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
		with(c)
	}()
	return remote.Target{At: l.Addr().(*net.TCPAddr).AddrPort(), Username: "admin", Password: secret.New("s3same")}
}

// hear reads a line that ends with a return.
func hear(c net.Conn) string {
	var line []byte
	for one := make([]byte, 1); ; {
		if _, err := c.Read(one); err != nil || one[0] == '\r' {
			return string(line)
		}
		line = append(line, one[0])
	}
}

// What a target shows of the password, because it echoes what is typed, is not shown to the person.
func TestDial_hides_a_password_that_is_echoed(t *testing.T) {
	t.Parallel()
	_, ch := open(t, serve(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "login: ")
		hear(c)
		_, _ = io.WriteString(c, "\r\nPassword: ")
		_, _ = io.WriteString(c, hear(c)+"\r\nwelcome\r\n# ")
	}))
	if said := expect(t, ch, "# "); strings.Contains(said, "s3same") || !strings.Contains(said, "welcome") {
		t.Errorf("got %q", said)
	}
}

// A target that asks for the password alone gets it alone.
func TestDial_without_a_name(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 1)
	_, ch := open(t, serve(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "User Access Verification\r\n\r\nPassword: ")
		heard <- hear(c)
		_, _ = io.WriteString(c, "\r\nRouter>")
	}))
	if got := <-heard; got != "s3same" {
		t.Errorf("got %q", got)
	}
	expect(t, ch, "Router>")
}

// rule W5: hostile targets.
func TestDial_does_not_wait_for_ever(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		with  func(net.Conn)
		want  error
		waits bool // until our patience ends
	}{
		"it says nothing":          {func(net.Conn) {}, remote.ErrTargetLogin, true},
		"it closes":                {func(c net.Conn) { c.Close() }, remote.ErrUnreachable, false},
		"it floods":                {func(c net.Conn) { flood(c, strings.Repeat("no prompt here\r\n", 100)) }, remote.ErrUnreachable, false},
		"it negotiates on":         {func(c net.Conn) { go io.Copy(io.Discard, c); flood(c, "\xff\xfd\x63\xff\xfb\x63") }, remote.ErrUnreachable, false},
		"it begins and never ends": {func(c net.Conn) { flood(c, "\xff\xfa\x18"+strings.Repeat("x", 1000)) }, remote.ErrTargetLogin, true},
		"it closes after the password": {func(c net.Conn) {
			_, _ = io.WriteString(c, "login: ")
			hear(c)
			_, _ = io.WriteString(c, "Password: ")
			hear(c)
			c.Close()
		}, remote.ErrTargetLogin, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := dialer(t)
			if c.waits {
				d.Outward.Patience = time.Second
			}
			_, err := d.Dial(t.Context(), serve(t, c.with))
			if c.waits && errors.Is(err, remote.ErrUnreachable) { // a slow machine was not there in time
				d.Outward.Patience = 20 * time.Second
				_, err = d.Dial(t.Context(), serve(t, c.with))
			}
			if !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func flood(c net.Conn, text string) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
	}
}

func TestLink_offers_one_terminal(t *testing.T) {
	t.Parallel()
	link, _ := open(t, target(peers.Telnetd(t, login)))
	for name, ask := range map[string]func() error{
		"a second terminal": func() error { _, err := link.Terminal(t.Context(), remote.Terminal{}); return err },
		"files":             func() error { _, err := link.Files(t.Context()); return err },
		"a forward":         func() error { _, err := link.Forward(t.Context(), "127.0.0.1", 1); return err },
	} {
		if err := ask(); !errors.Is(err, remote.ErrNotOffered) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
