package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/config"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

type demoCommand struct {
	HTTP    string        `name:"http" placeholder:"ADDR" help:"Address of the HTTP listener, on this machine alone. Without it, a free port."`
	SSH     string        `name:"ssh" placeholder:"ADDR" help:"Address of the SSH listener. Without it, a free port of this machine."`
	Once    bool          `help:"End after the first session: with exit code 0 when it was verified."`
	Timeout time.Duration `default:"10m" placeholder:"TIME" help:"With --once: give up after this time (${default})."`
}

// demo is a server on throwaway data, programs that ask it for proofs and for sessions, a receiver of its webhooks, and a machine behind it.
type demo struct {
	p        *process
	dir      string // all of it lies here, and goes with it
	server   *app.Server
	known    string // file with the server's host keys
	client   app.Client
	key      secret.String // API key of the project DEMO
	receiver *receiver
	journey  journey // to a machine behind the gate
	mine     ownKeys
	view     view
	pressed  <-chan byte // keys on the terminal; nil where nobody can be asked
	asked    int         // sessions so far
}

var (
	errTimeout = errors.New("demo: nobody proved a key in time; run it again, or give more with --timeout")
	errProof   = errors.New("demo: the session ended without a proof; run it again and type the ssh line it prints")
)

// Run shows a stranger what Gatehouse does. Nothing of it is left behind.
func (c *demoCommand) Run(ctx context.Context, p *process) (err error) {
	ctx, release := untilSignal(ctx, syscall.SIGHUP) // a closed window, too, leaves nothing behind
	defer release()
	settings, dir, err := c.prepare()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	log, err := os.OpenFile(filepath.Join(dir, "server.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return failed("start demo", err, "check the directory for temporary files")
	}
	defer log.Close()
	d := &demo{p: p, dir: dir, client: app.LoopbackClient()}
	stop, err := d.start(ctx, settings, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		return failed("start demo", err, "try again")
	}
	defer func() {
		stopped := stop()
		if err == nil {
			err = stopped
		}
		d.keepLog(err)
	}()
	quit, cancel := context.WithCancel(ctx)
	defer cancel()
	screen := openScreen(p, cancel)
	defer screen.close()
	d.view, d.pressed = screen.view, screen.pressed
	return d.walk(quit, c)
}

// prepare makes the temporary directory and the settings of the server in it. Nothing is taken from the
// environment: a demo is the same everywhere.
func (c *demoCommand) prepare() (settings config.Config, dir string, err error) {
	flags := map[string]string{"http": c.HTTP, "ssh": c.SSH}
	for name, address := range flags {
		if address != "" {
			continue
		}
		if flags[name], err = freeAddress(); err != nil {
			return settings, "", failed("start demo", err, "give an address with --"+name)
		}
	}
	if !onThisMachine(flags["http"]) {
		return settings, "", usagef("--http %s: the demo calls its own API in the clear, so it listens on this machine alone; give 127.0.0.1:PORT", c.HTTP)
	}
	if dir, err = os.MkdirTemp("", "gatehouse-"); err != nil {
		return settings, "", failed("start demo", err, "check the directory for temporary files")
	}
	flags["data"] = filepath.Join(dir, "data")
	settings, err = config.Load(flags, []string{
		"GATEHOUSE_SSHVERIFY_WEBHOOK_ALLOW=127.0.0.1", "GATEHOUSE_SHUTDOWN_TIMEOUT=2s", "GATEHOUSE_SSHVERIFY_SWEEP_EVERY=1s",
	}, "")
	if err != nil {
		return settings, "", errors.Join(&usageError{err}, os.RemoveAll(dir))
	}
	return settings, dir, nil
}

// freeAddress finds a port of this machine that is free a moment later still, as far as anybody can tell.
func freeAddress() (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func onThisMachine(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return true // config names what is wrong with it
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// start starts the server, the receiver and the machine behind the gate, and makes what programs and people need. stop ends them.
func (d *demo) start(ctx context.Context, settings config.Config, log *slog.Logger) (stop func() error, err error) {
	house, err := app.Migrate(ctx, settings, app.Options{Version: version, Log: log})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			house.Close()
		}
	}()
	if d.server, err = house.Listen(ctx); err != nil {
		return nil, err
	}
	// A server that does not run cannot give its listeners back: from here on it runs, and is stopped.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- d.server.Run(running) }()
	stop = func() error {
		cancel()
		err := <-ended
		if d.receiver != nil {
			d.receiver.close()
		}
		if d.journey.target != nil {
			d.journey.target.close()
		}
		house.Close()
		return err
	}
	if err := d.furnish(ctx, house); err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

// furnish makes a sample user, a project with an API key, the receiver, the list of known hosts, and the way to a machine.
func (d *demo) furnish(ctx context.Context, h *app.House) (err error) {
	by := access.LocalCaller(osUser(), h.Now())
	ana, err := h.Users.Add(ctx, h.Access.For(by), identity.New{Name: visitor, Email: "ana@example.com"})
	if err != nil {
		return err
	}
	made, err := h.Projects.Create(ctx, by, project.New{Key: "DEMO", Name: "Demo"})
	if err != nil {
		return err
	}
	if d.key, _, err = h.Tokens.IssueAPIKey(ctx, by, made.ID, "demo program", time.Time{}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "api-key"), []byte(d.key.Reveal()+"\n"), 0o600); err != nil {
		return err
	}
	if d.receiver, err = startReceiver(secret.New("whsec_" + base64.StdEncoding.EncodeToString(secret.Bytes(32)))); err != nil {
		return err
	}
	lines, err := d.server.KnownHosts(ctx, reachable(d.server.SSH.String()))
	if err != nil {
		return err
	}
	d.known = filepath.Join(d.dir, "hosts")
	if err := os.WriteFile(d.known, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	if d.mine, err = findKeys(ctx, d.p.env, d.dir); err != nil {
		return err
	}
	return d.furnishDevice(ctx, h, by, ana)
}

// reachable is an address to connect to, for one that a listener names.
func reachable(address string) string {
	at, err := netip.ParseAddrPort(address)
	if err == nil && at.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port()).String()
	}
	return address
}

func (d *demo) url() string  { return "http://" + d.server.HTTP.String() }
func (d *demo) data() string { return filepath.Join(d.dir, "data") }

// program is how the person calls this program.
func (d *demo) program() string {
	if strings.Contains(d.p.name, "/") {
		return d.p.name
	}
	return "gatehouse"
}

// keepLog shows the end of the server's log when something went wrong: the file goes with the rest.
func (d *demo) keepLog(err error) {
	if err == nil || errors.Is(err, errTimeout) || errors.Is(err, errProof) {
		return
	}
	text, readErr := os.ReadFile(filepath.Join(d.dir, "server.log"))
	if readErr != nil {
		return
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	fmt.Fprintln(d.p.err, "The last lines of the server's log:")
	for _, line := range lines[max(0, len(lines)-15):] {
		fmt.Fprintln(d.p.err, "  "+clean(line))
	}
}
