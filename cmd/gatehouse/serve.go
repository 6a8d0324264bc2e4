package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/config"
)

// Listeners are the settings that only a server has.
type Listeners struct {
	HTTP              string `name:"http" placeholder:"ADDR" help:"${http}"`
	SSH               string `name:"ssh" placeholder:"ADDR" help:"${ssh}"`
	PublicURL         string `name:"public-url" placeholder:"URL" help:"${public_url}"`
	PublicSSH         string `name:"public-ssh" placeholder:"ADDR" help:"${public_ssh}"`
	TLSCert           string `name:"tls-cert" placeholder:"FILE" help:"${tls_cert}"`
	TLSKey            string `name:"tls-key" placeholder:"FILE" help:"${tls_key}"`
	Metrics           string `placeholder:"ADDR" help:"${metrics}"`
	TrustedProxies    string `placeholder:"CIDR,..." help:"${trusted_proxies}"`
	ProxyProtocolFrom string `placeholder:"CIDR,..." help:"${proxy_protocol_from}"`
	LogLevel          string `placeholder:"LEVEL" help:"${log_level}"`
	LogFormat         string `placeholder:"FORMAT" help:"${log_format}"`
}

type serveCommand struct {
	Place
	Listeners
}

// Run serves until the process is told to stop.
func (c *serveCommand) Run(ctx context.Context, p *process) error {
	settings, err := p.load()
	if err != nil {
		return err
	}
	log := newLog(p.err, settings)
	for _, warning := range settings.Warnings {
		log.Warn(warning)
	}
	ctx, release := untilSignal(ctx)
	defer release()
	h, err := app.Migrate(ctx, settings, app.Options{Version: version, Log: log})
	if stopped(ctx, err) {
		return nil
	}
	if err != nil {
		return failed("serve", err, "check --data and --database")
	}
	defer h.Close()
	s, err := h.Listen(ctx)
	if stopped(ctx, err) {
		return nil
	}
	if err != nil {
		return failed("serve", err, "check the addresses, certificates and data directory")
	}
	announce(log, s)
	p.showPassword(s)
	if err := s.Run(ctx); err != nil {
		return failed("serve", err, "the log above says more")
	}
	return nil
}

// stopped reports whether something failed only because the process was told to stop.
func stopped(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Canceled)
}

func newLog(w io.Writer, c config.Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Log.Level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// untilSignal ends the context at the first SIGINT, SIGTERM or one of more, and the process at the second:
// somebody who asks twice does not want to wait.
func untilSignal(ctx context.Context, more ...os.Signal) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, append(more, syscall.SIGINT, syscall.SIGTERM)...)
	released := make(chan struct{})
	go func() {
		for {
			select {
			case <-signals:
				if ctx.Err() != nil {
					os.Exit(1)
				}
				cancel()
			case <-released:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(released)
		cancel()
	}
}

// announce logs where the doors are, and by what they are recognised.
func announce(log *slog.Logger, s *app.Server) {
	log.Info("http listens", slog.String("address", s.HTTP.String()), slog.String("public", s.Config.PublicURL.String()))
	if s.TLSPrint != "" {
		log.Info("tls certificate", slog.String("sha256", s.TLSPrint))
	}
	log.Info("ssh listens", slog.String("address", s.SSH.String()), slog.String("public", s.Config.PublicSSH))
	for _, key := range s.HostKeys {
		log.Info("ssh host key", slog.String("fingerprint", key))
	}
}

// showPassword shows the first administrator's generated password. It is no log line: logs are kept.
func (p *process) showPassword(s *app.Server) {
	kept := filepath.Join(s.Config.Data, "initial-password")
	if s.Password.Empty() {
		if _, err := os.Stat(kept); err == nil {
			p.note("the first administrator's password is still in %s; change it with gatehouse user set-password admin --password-stdin", kept)
		}
		return
	}
	fmt.Fprintf(p.err, "\n"+
		"  The first administrator was made.\n\n"+
		"    user      admin\n"+
		"    password  %s\n\n"+
		"  It is shown this once and kept in %s\n"+
		"  until it is changed: gatehouse user set-password admin --password-stdin\n\n",
		s.Password.Reveal(), kept)
}

type migrateCommand struct{ Place }

// Run applies what is missing and says what that was.
func (c *migrateCommand) Run(ctx context.Context, p *process) error {
	settings, err := p.load()
	if err != nil {
		return err
	}
	before, _, err := app.SchemaVersion(ctx, settings)
	if err != nil {
		return failed("migrate", err, "check --data and --database")
	}
	h, err := app.Migrate(ctx, settings, app.Options{Version: version, Log: newLog(p.err, settings)})
	if err != nil {
		return failed("migrate", err, "stop the server that uses the data, and check --data and --database")
	}
	defer h.Close()
	after, _, err := h.DB.SchemaVersion(ctx)
	switch {
	case err != nil:
		return failed("migrate", err, "run it again")
	case before == after:
		p.note("the schema has version %d already; nothing to do", after)
	default:
		p.note("migrated the schema from version %d to %d", before, after)
	}
	return nil
}

type versionCommand struct{ Output }

// Run prints the version.
func (c *versionCommand) Run(p *process) error {
	if p.json {
		return p.printJSON(map[string]string{"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
	}
	fmt.Fprintf(p.out, "gatehouse %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
