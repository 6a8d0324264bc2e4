package app

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/gatehouse-project/gatehouse/internal/api"
	remoteapi "github.com/gatehouse-project/gatehouse/internal/api/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/sshd"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// Server is a House with its doors open.
type Server struct {
	*House
	HTTP     net.Addr      // where the HTTP door listens
	SSH      net.Addr      // where the SSH door listens
	HostKeys []string      // fingerprints of the SSH host keys, as "ssh-ed25519 SHA256:..."
	TLSPrint string        // SHA-256 of the TLS certificate; "" for plain http
	Password secret.String // of the first administrator, when this start made it; to be shown once

	http, metricsHTTP       *http.Server
	httpListener, metricsIn net.Listener
	ssh                     *sshd.Server
	sshListener             net.Listener
	ready                   readiness

	pages *remoteapi.Pages // of remote sessions
}

// Listen opens the listeners and makes what the first start needs. Nothing is served before Run.
func (h *House) Listen(ctx context.Context) (*Server, error) {
	s := &Server{House: h, ready: readiness{db: h.DB, now: h.Now}}
	if err := s.listenAll(ctx); err != nil {
		s.closeListeners()
		return nil, err
	}
	return s, nil
}

func (s *Server) listenAll(ctx context.Context) (err error) {
	if s.Password, err = s.firstAdministrator(ctx); err != nil {
		return fmt.Errorf("make first administrator: %w", err)
	}
	s.metrics.registry.MustRegister(newQueue(s.Webhooks.Store, s.Now), newLag(s.Subscriptions.Store))
	s.metrics.gauge("gatehouse_event_streams", "Live streams of events that are open on this node.", s.Events.Open)
	if err := s.findGit(); err != nil {
		return fmt.Errorf("open repositories: %w", err)
	}
	if err := s.listenRecordings(ctx); err != nil {
		return err
	}
	s.connectRemote()
	s.metrics.countRemote(s.Remote)
	if err := s.listenHTTP(ctx); err != nil {
		return err
	}
	return s.listenSSH(ctx)
}

func (s *Server) closeListeners() {
	for _, l := range []net.Listener{s.httpListener, s.metricsIn, s.sshListener} {
		if l != nil {
			_ = l.Close() // nothing was accepted yet
		}
	}
}

func (s *Server) listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	if len(s.Config.ProxyProtocolFrom) == 0 {
		return l, nil
	}
	return &proxyproto.Listener{Listener: l, ConnPolicy: s.proxyPolicy, ReadHeaderTimeout: 10 * time.Second}, nil
}

// proxyPolicy reads a PROXY header from listed load balancers alone. From anybody else such a header is
// ordinary, malformed input.
func (s *Server) proxyPolicy(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
	if tcp, ok := o.Upstream.(*net.TCPAddr); ok {
		addr := tcp.AddrPort().Addr().Unmap().WithZone("")
		for _, p := range s.Config.ProxyProtocolFrom {
			if p.Contains(addr) {
				return proxyproto.USE, nil
			}
		}
	}
	return proxyproto.SKIP, nil
}

func (s *Server) listenHTTP(ctx context.Context) error {
	var err error
	if s.httpListener, err = s.listen(ctx, s.Config.HTTP); err != nil {
		return err
	}
	s.HTTP = s.httpListener.Addr()
	if u := *s.Config.PublicURL; u.Port() == "0" {
		u.Host = net.JoinHostPort(u.Hostname(), portOf(s.HTTP))
		s.Config.PublicURL = &u
	}
	if s.Factors.Origins = s.Config.WebAuthn.Origins; len(s.Factors.Origins) == 0 {
		s.Factors.Origins = s.cookies().Own()
	}
	handler, err := s.handler()
	if err != nil {
		return err
	}
	s.http = api.NewServer(handler, s.Log)
	s.http.RegisterOnShutdown(s.Events.Stop)
	if s.Config.ServesTLS() {
		if err := s.useTLS(); err != nil {
			return err
		}
	}
	if s.Config.Metrics == "" {
		return nil
	}
	var lc net.ListenConfig
	if s.metricsIn, err = lc.Listen(ctx, "tcp", s.Config.Metrics); err != nil {
		return fmt.Errorf("listen on %s for metrics: %w", s.Config.Metrics, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics.handler())
	s.metricsHTTP = api.NewServer(mux, s.Log)
	return nil
}

// portOf is the port that the system chose where port 0 was asked for.
func portOf(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String()) // an address of a listener has a port
	return port
}

func (s *Server) useTLS() error {
	certFile, keyFile := s.Config.TLS.Cert, s.Config.TLS.Key
	if certFile == "" {
		var err error
		if certFile, keyFile, err = ownCertificate(s.Config.Data, s.certificateHosts(), s.Now()); err != nil {
			return fmt.Errorf("make own certificate: %w", err)
		}
	}
	c, err := openCertificate(certFile, keyFile, s.Log, s.Now)
	if err != nil {
		return err
	}
	s.TLSPrint = c.fingerprint()
	s.httpListener = tls.NewListener(s.httpListener, c.config())
	return nil
}

// certificateHosts are the names by which a certificate of our own making is known.
func (s *Server) certificateHosts() []string {
	hosts := []string{s.Config.PublicURL.Hostname()}
	if name, err := os.Hostname(); err == nil && name != "" {
		hosts = append(hosts, name)
	}
	return append(hosts, "localhost", "127.0.0.1", "::1")
}

func (s *Server) listenSSH(ctx context.Context) error {
	keys, err := sshkey.OpenHostKeys(ctx, store.HostKeys{DB: s.DB}, s.Sealer, s.Now())
	if err != nil {
		return err
	}
	for _, k := range keys {
		public, err := sshkey.FromWire(k.PublicKey())
		if err != nil {
			return err
		}
		s.HostKeys = append(s.HostKeys, public.Type()+" "+public.SHA256())
	}
	if s.sshListener, err = s.listen(ctx, s.Config.SSH); err != nil {
		return err
	}
	s.SSH = s.sshListener.Addr()
	if host, port, err := net.SplitHostPort(s.Config.PublicSSH); err == nil && port == "0" {
		s.Config.PublicSSH = net.JoinHostPort(host, portOf(s.SSH))
	}
	s.ssh = s.sshDoor(keys)
	s.metrics.gauge("gatehouse_ssh_unauthenticated", "SSH connections that have not authenticated yet.", s.ssh.Unauthenticated)
	return nil
}

// Run serves until ctx ends, then lets requests and connections that have begun end in peace, for at most
// the shutdown timeout. It returns the error that ended it otherwise.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var doors, loops sync.WaitGroup
	open := func(name string, serve func() error) {
		doors.Go(func() {
			if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
				cancel(fmt.Errorf("serve %s: %w", name, err))
			}
		})
	}
	open("http", func() error { return s.http.Serve(s.httpListener) })
	open("ssh", func() error { return s.ssh.Serve(ctx, s.sshListener) })
	if s.metricsHTTP != nil {
		open("metrics", func() error { return s.metricsHTTP.Serve(s.metricsIn) })
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.startLoops(background, &loops)
	s.ready.open()

	<-ctx.Done()
	s.ready.close()
	s.Log.Info("stopping", slog.Duration("at_most", s.Config.ShutdownTimeout))
	s.shutDown()
	doors.Wait()
	stop()
	loops.Wait()
	s.finish()
	s.Log.Info("stopped")
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// startLoops starts what nouns do by themselves. All nodes run all of them: work is claimed in the store.
func (s *Server) startLoops(ctx context.Context, loops *sync.WaitGroup) {
	for _, run := range []func(context.Context){
		s.Webhooks.Run, s.Subscriptions.Run, s.Keyproof.Sweep, s.Tokens.Run, s.HTTPTokens.Run, s.Keys.Run, s.Keys.Sweep, s.Audit.Run, s.hear, spareCollector, s.maintainGit, s.Sessions.Sweep, s.Recordings.Run, s.Library.Run, s.Vault.Run, s.Remote.Sweep, s.Remote.Run,
		func(ctx context.Context) { s.Failures.Run(ctx, time.Minute) },
		func(ctx context.Context) { s.Lockout.Run(ctx, time.Minute) },
		func(ctx context.Context) { guard.SweepOnce(ctx, s.Once, s.Now, time.Minute) },
		func(ctx context.Context) { s.Apps.Run(ctx, time.Minute) },
		func(ctx context.Context) { s.Authorizations.Run(ctx, time.Minute) },
		func(ctx context.Context) { s.Factors.Run(ctx, time.Minute) },
		func(ctx context.Context) { s.Login.Recheck(ctx, s.Config.SSO.Recheck) },
		func(ctx context.Context) { login.SweepFlows(ctx, s.Login.Flows, s.Now, time.Minute) },
	} {
		loops.Go(func() { run(ctx) })
	}
}

// hear passes on what this and other nodes changed.
func (s *Server) hear(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.DB.Listen(ctx, s.heard, s.missed); err != nil {
			s.failed("listen for changes", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

func (s *Server) shutDown() {
	ctx, cancel := context.WithTimeout(context.Background(), s.Config.ShutdownTimeout)
	defer cancel()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	s.pages.Shut()
	sessions.Go(func() { // their sockets are no requests any more, which Shutdown would wait for
		s.Remote.Drain(ctx)
		s.pages.Drain(ctx)
	})
	for _, server := range []*http.Server{s.http, s.metricsHTTP} {
		if server == nil {
			continue
		}
		if err := server.Shutdown(ctx); err != nil {
			_ = server.Close() // the time is up
		}
	}
}

// finish gives leftover request budget back and seals what the last loops wrote.
func (s *Server) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Budget.Return(ctx); err != nil {
		s.failed("return request budget", err)
	}
	s.Audit.Finish(ctx)
}

// firstAdministrator makes the user admin when there is no user, and returns the password when it was
// generated here: it is shown once and lies in the data directory until it is changed. The file comes
// first, so that a crash leaves no administrator whose password nobody knows.
func (h *House) firstAdministrator(ctx context.Context) (secret.String, error) {
	if someone, err := h.Users.Store.Any(ctx); someone || err != nil {
		return secret.String{}, err
	}
	if given := h.Config.AdminPassword; !given.Empty() {
		_, err := h.Users.EnsureFirst(ctx, given)
		return secret.String{}, err
	}
	password, path := secret.New(randomPassword()), filepath.Join(h.Config.Data, "initial-password")
	if err := os.MkdirAll(h.Config.Data, 0o700); err != nil {
		return secret.String{}, err
	}
	if err := replaceFile(path, []byte(password.Reveal()+"\n"), 0o600); err != nil {
		return secret.String{}, err
	}
	made, err := h.Users.EnsureFirst(ctx, password)
	if !made && err == nil { // another node was first, with a password of its own
		return secret.String{}, os.Remove(path)
	}
	return password, err
}

// randomPassword has 160 random bits (rule F10).
func randomPassword() string {
	var b [20]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// expected reports whether a failed database call was an answer rather than a failure.
func expected(err error) bool {
	return !fault.Is(err, fault.Internal) || store.Absent(err) || store.ViolatesKind(err, store.Unique) ||
		store.ViolatesKind(err, store.ForeignKey) || errors.Is(err, context.Canceled) || errors.Is(err, fs.ErrNotExist)
}
