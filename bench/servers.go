package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/bench/load"
	"github.com/gatehouse-project/gatehouse/bench/proc"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// server is something that is measured.
type server struct {
	name string
	pid  int
	tree bool   // its CPU time is that of its descendants too
	ssh  string // address
}

func (r *run) spent(s server) proc.CPU {
	read := proc.Of
	if s.tree {
		read = proc.OfTree
	}
	c, err := read(s.pid)
	r.must(err, "read CPU time of "+s.name)
	return c
}

// seed is the key that all clients prove. It is no secret.
var seed = bytes.Repeat([]byte{7}, ed25519.SeedSize)

// publicKey is the public half, in the form of an authorized_keys line.
func publicKey() string {
	key, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed).Public())
	if err != nil {
		panic(err) // an ed25519 key always is one
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// bareSSH starts the SSH server with nothing behind it.
func (r *run) bareSSH() server {
	s, address := r.speak(r.self("bare-ssh"), nil)
	return server{name: "bare x/crypto", pid: s.cmd.Process.Pid, ssh: address}
}

// sshd starts OpenSSH's server; the user to log in as is the one who runs this.
func (r *run) sshd() server {
	path := "/usr/sbin/sshd"
	peers.Require(r, path, "ssh-keygen")
	dir := r.TempDir()
	if os.Getuid() == 0 {
		r.must(os.MkdirAll("/run/sshd", 0o755), "make /run/sshd")
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "host")).CombinedOutput(); err != nil {
		r.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	r.must(os.WriteFile(filepath.Join(dir, "keys"), []byte(publicKey()+"\n"), 0o600), "write authorized keys")
	port := peers.Port(r)
	config := []string{
		"Port " + strconv.Itoa(port), "ListenAddress 127.0.0.1", "HostKey " + filepath.Join(dir, "host"), "PidFile " + filepath.Join(dir, "pid"),
		"AuthorizedKeysFile " + filepath.Join(dir, "keys"), "UsePAM no", "StrictModes no", "PasswordAuthentication no", "PermitRootLogin yes",
		"MaxStartups 1000:30:2000", "MaxSessions 1000", "Subsystem sftp internal-sftp", "LogLevel ERROR",
		"AcceptEnv GIT_PROTOCOL", "SetEnv SHLVL=1", // so that bash does not read what whoever runs this has for their own shells
	}
	r.must(os.WriteFile(filepath.Join(dir, "config"), []byte(strings.Join(config, "\n")+"\n"), 0o600), "write sshd's configuration")
	p := peers.Start(r, exec.Command(path, "-D", "-e", "-f", filepath.Join(dir, "config")))
	address := "127.0.0.1:" + strconv.Itoa(port)
	r.awaitSSH(address)
	return server{name: "OpenSSH sshd", pid: p.Pid(), tree: true, ssh: address}
}

// awaitSSH waits until a whole login works.
func (r *run) awaitSSH(address string) {
	r.await("sshd", 10*time.Second, func() error {
		done, err := load.Login(load.Logins{
			Address: address, KeyExchange: ssh.KeyExchangeCurve25519, Seed: seed, Users: []string{me(r)}, Parallel: 1, Lasting: time.Millisecond,
		})
		if err == nil && done.Done == 0 {
			err = errors.New(done.FirstFail)
		}
		return err
	})
}

func me(r *run) string {
	u, err := user.Current()
	r.must(err, "find own user name")
	return u.Username
}

// postgres is a PostgreSQL server with fsync on.
type postgres struct {
	url string
	pid int
}

func (r *run) postgres() postgres {
	server := peers.OwnPostgres(r)
	p := postgres{url: server.Database(r)}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, p.url)
	r.must(err, "connect to PostgreSQL")
	defer conn.Close(ctx)
	var backend int
	r.must(conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&backend), "ask PostgreSQL")
	p.pid, err = proc.Parent(backend)
	r.must(err, "find PostgreSQL")
	return p
}

func (p postgres) spent(r *run) proc.CPU { return r.spent(server{"PostgreSQL", p.pid, true, ""}) }

// house is a running gatehouse.
type house struct {
	server
	http string // address
	key  string // API key of the project "bench"

	r        *run
	env      []string
	data     string
	database *postgres // nil is SQLite
	cmd      *exec.Cmd
	log      string

	firstStart time.Duration // until ready, on new data
}

// open starts gatehouse on new data, SQLite or PostgreSQL, and makes a project and a key. settings are
// GATEHOUSE_ variables without the prefix.
func (r *run) open(database *postgres, settings map[string]string) *house {
	h := &house{r: r, data: filepath.Join(r.TempDir(), "data"), database: database}
	h.name = "gatehouse, SQLite"
	h.http, h.ssh = "127.0.0.1:"+strconv.Itoa(peers.Port(r)), "127.0.0.1:"+strconv.Itoa(peers.Port(r))
	h.log = h.data + ".log"
	all := map[string]string{
		"DATA": h.data, "HTTP": h.http, "SSH": h.ssh, "LOG_LEVEL": "warn", "ADMIN_PASSWORD": "not-a-secret-of-anybody",
		"SSHVERIFY_RATE_PER_HOUR": "0", "SSH_UNAUTHENTICATED_PER_ADDRESS": "100000", "SSH_UNAUTHENTICATED_TOTAL": "100000",
	}
	if database != nil {
		h.name = "gatehouse, PostgreSQL"
		all["DATABASE"], all["MASTER_KEY_FILE"] = database.url, h.data+".key"
		_, err := secret.CreateMasterKeyFile(all["MASTER_KEY_FILE"])
		r.must(err, "make master key")
	}
	for name, value := range settings {
		all[name] = value
	}
	h.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir}
	for name, value := range all {
		h.env = append(h.env, "GATEHOUSE_"+name+"="+value)
	}
	h.firstStart = h.start()
	h.command("project", "add", "BENCH", "--name", "bench")
	h.key = h.command("apikey", "add", "--project", "BENCH", "--name", "bench")
	return h
}

// beside starts another node on the same PostgreSQL, which reaches it by that URL.
func (h *house) beside(database string) *house {
	other := &house{r: h.r, data: filepath.Join(h.r.TempDir(), "data"), database: h.database, key: h.key}
	other.name = h.name
	other.http, other.ssh = "127.0.0.1:"+strconv.Itoa(peers.Port(h.r)), "127.0.0.1:"+strconv.Itoa(peers.Port(h.r))
	other.log = other.data + ".log"
	own := map[string]string{"GATEHOUSE_DATA": other.data, "GATEHOUSE_HTTP": other.http, "GATEHOUSE_SSH": other.ssh, "GATEHOUSE_DATABASE": database}
	for _, given := range h.env {
		name, value, _ := strings.Cut(given, "=")
		if mine, differs := own[name]; differs {
			value = mine
		}
		other.env = append(other.env, name+"="+value)
	}
	other.firstStart = other.start()
	return other
}

// start starts the server and returns how long it took until it was ready.
func (h *house) start() time.Duration {
	h.cmd = exec.Command(h.r.gatehouse(), "serve")
	h.cmd.Env = h.env
	log, err := os.OpenFile(h.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	h.r.must(err, "make log")
	defer log.Close()
	h.cmd.Stdout, h.cmd.Stderr = log, log
	began := time.Now()
	h.r.launch(h.cmd)
	h.pid = h.cmd.Process.Pid
	client := http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	for {
		answer, err := client.Get("http://" + h.http + "/readyz")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return time.Since(began)
			}
		}
		if time.Since(began) > 30*time.Second {
			text, _ := os.ReadFile(h.log)
			h.r.Fatalf("gatehouse is not ready: %v\n%s", err, text)
		}
		time.Sleep(time.Millisecond)
	}
}

// stop ends the server: SIGTERM in peace, SIGKILL not. It returns when the process is gone.
func (h *house) stop(how syscall.Signal) {
	h.r.must(h.cmd.Process.Signal(how), "stop gatehouse")
	h.r.await("gatehouse ends", 40*time.Second, func() error {
		if err := syscall.Kill(h.pid, 0); err == nil {
			return errors.New("it runs")
		}
		return nil
	})
}

// command runs a command on the server's data and returns what it printed.
func (h *house) command(args ...string) string {
	cmd := exec.Command(h.r.gatehouse(), args...)
	cmd.Env = h.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		h.r.Fatalf("gatehouse %s: %v: %s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

// request makes n requests of one kind as fast as they go, outside of what is measured.
func (h *house) request(o load.Requests) load.RequestsDone {
	o.Address, o.Key = h.http, h.key
	if o.Parallel == 0 {
		o.Parallel = 16
	}
	done := order[load.RequestsDone](h.r, "load-request", o)
	if done.Failed > 0 {
		h.r.Fatalf("%s: %d of %d requests failed: %s", o.Path+fmt.Sprint(len(o.Paths)), done.Failed, done.Failed+done.Done, done.FirstFail)
	}
	return done
}

// session is what the benchmarks want to know of a new session.
type session struct {
	ID         string `json:"id"`
	Identifier string `json:"connection_identifier"`
}

const sessionsPath = "/api/v1/ssh/verify/sessions/"

// sessions makes n verify sessions that list the clients' key, through the API.
func (h *house) sessions(n int, options string) ([]session, load.RequestsDone) {
	body := fmt.Sprintf(`{"keys":[{"name":"bench","public_key":%q}]%s}`, publicKey(), options)
	done := h.request(load.Requests{Method: "POST", Path: sessionsPath, Body: body, Want: http.StatusCreated, Count: n, Keep: true})
	made := make([]session, len(done.Bodies))
	for i, text := range done.Bodies {
		h.r.must(json.Unmarshal([]byte(text), &made[i]), "read session")
	}
	return made, done
}

// metric adds up the lines of /metrics that begin with name.
func (h *house) metric(name string) float64 {
	answer, err := http.Get("http://" + h.http + "/metrics")
	h.r.must(err, "read metrics")
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	h.r.must(err, "read metrics")
	sum := 0.0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, name) {
			continue
		}
		fields := strings.Fields(line)
		n, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		h.r.must(err, "read metric "+name)
		sum += n
	}
	return sum
}
