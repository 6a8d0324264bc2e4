package peers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Server is a PostgreSQL server on 127.0.0.1 with a data directory of its own.
type Server struct {
	bin      string // folder of initdb and postgres
	dir      string
	port     int
	settings []string
	process  *Process
	names    atomic.Int64
}

const postgresUser, postgresPassword = "gate", "not-secret"

var sharedPostgres = sync.OnceValues(func() (*Server, error) {
	// Without fsync: what these tests ask does not depend on surviving a power cut, and hundreds
	// of CREATE DATABASE would. Figures and crash tests use OwnPostgres.
	s, err := newServer("fsync=off", "synchronous_commit=off", "full_page_writes=off",
		"max_connections=300", "deadlock_timeout=20ms")
	if err == nil {
		untilMainEnds(s.remove)
	}
	return s, err
})

// Postgres returns the server that all tests of this process share, with fsync off for speed.
func Postgres(tb testing.TB) *Server {
	tb.Helper()
	requirePostgres(tb)
	s, err := sharedPostgres()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// OwnPostgres starts a server for one test, which may stop and start it. It is durable unless a
// setting, such as "fsync=off", says otherwise.
func OwnPostgres(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	requirePostgres(tb)
	s, err := newServer(settings...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			s.process.logTo(tb)
		}
		s.remove()
	})
	return s
}

func requirePostgres(tb testing.TB) {
	tb.Helper()
	if postgresBin() == "" {
		missing(tb, "PostgreSQL (initdb, postgres)")
	}
	if os.Getuid() == 0 {
		Require(tb, "setpriv")
		if _, err := user.Lookup("postgres"); err != nil {
			missing(tb, "user postgres")
		}
	}
}

// postgresBin finds the newest installation: Debian keeps the server's programs out of PATH.
func postgresBin() string {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return ""
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest)
}

func version(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return n
}

func newServer(settings ...string) (s *Server, err error) {
	dir, err := os.MkdirTemp("", "gatehouse-postgres-")
	if err != nil {
		return nil, err
	}
	s = &Server{bin: postgresBin(), dir: dir, settings: settings}
	defer func() {
		if err != nil {
			s.remove()
		}
	}()
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	if err := s.initialise(); err != nil {
		return nil, err
	}
	return s, s.start()
}

func (s *Server) initialise() error {
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(postgresPassword+"\n"), 0o600); err != nil {
		return err
	}
	if os.Getuid() == 0 { // the programs refuse root; the folder becomes theirs
		owner, err := user.Lookup("postgres")
		if err != nil {
			return err
		}
		uid, _ := strconv.Atoi(owner.Uid)
		gid, _ := strconv.Atoi(owner.Gid)
		if err := errors.Join(os.Chown(s.dir, uid, gid), os.Chown(password, uid, gid)); err != nil {
			return err
		}
	}
	out, err := s.command("initdb", "-D", s.data(), "-A", "scram-sha-256", "-U", postgresUser, "--pwfile="+password,
		"-E", "UTF8", "--locale=C.UTF-8", "--no-sync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	args = append([]string{filepath.Join(s.bin, name)}, args...)
	if os.Getuid() == 0 {
		// pdeathsig again: the kernel forgets it when the user changes.
		args = append([]string{"setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "TERM"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // ended by its process id
	cmd.Dir = s.dir
	return cmd
}

func (s *Server) start() error {
	args := []string{"-D", s.data(), "-c", "listen_addresses=127.0.0.1", "-p", strconv.Itoa(s.port), "-k", s.dir}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	p, err := start(s.command("postgres", args...), filepath.Join(s.dir, "postgres.log"))
	if err != nil {
		return err
	}
	s.process = p
	if err := await(p, func() error { return s.query("postgres", "SELECT 1") }); err != nil {
		text, _ := os.ReadFile(p.Output)
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

// Stop takes the server away in good order: sessions are ended.
func (s *Server) Stop(tb testing.TB) { s.end(tb, syscall.SIGINT) }

// Crash takes the server away without warning; it recovers from its log at the next Start.
func (s *Server) Crash(tb testing.TB) { s.end(tb, syscall.SIGQUIT) }

func (s *Server) end(tb testing.TB, how os.Signal) {
	tb.Helper()
	if err := s.process.End(how); err != nil {
		tb.Fatal(err)
	}
}

// Start brings the server back on the same port with the same data.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
}

// Restart is Stop and Start.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Stop(tb)
	s.Start(tb)
}

func (s *Server) remove() {
	if s.process != nil {
		_ = s.process.End(syscall.SIGQUIT)
	}
	_ = os.RemoveAll(s.dir)
}

// Database makes an empty database and returns its URL.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("gate_%d", s.names.Add(1))
	if err := s.query("postgres", "CREATE DATABASE "+name); err != nil {
		tb.Fatal(err)
	}
	return s.url(name)
}

func (s *Server) url(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(postgresUser, postgresPassword),
		Host: "127.0.0.1:" + strconv.Itoa(s.port), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

func (s *Server) query(database, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url(database))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// Log returns what the server has printed so far.
func (s *Server) Log(tb testing.TB) string {
	tb.Helper()
	text, err := os.ReadFile(s.process.Output)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.ToValidUTF8(string(text), "?")
}
