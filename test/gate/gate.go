// Package gate runs the real gatehouse binary for end-to-end tests, and the real clients that talk to it.
//
// Each Gate has a data directory, ports and a project of its own; it is ended by its process id. The
// binary is built once for each run of a test package, or named by GATEHOUSE_TEST_BINARY.
package gate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/peers"
)

// Options say how a gate differs from the usual one: SQLite, loopback, short waits.
type Options struct {
	Database string            // URL of a PostgreSQL database; "" is SQLite
	Master   string            // master key, for PostgreSQL; made when empty
	Data     string            // data directory; a temporary one when empty
	Settings map[string]string // settings by name ("sshverify.sweep_every"), given by the environment
	Flags    []string          // further flags of serve
	Env      []string          // further variables, NAME=VALUE
	Binary   string            // another program in place of the built one
}

// Gate is a running gatehouse with a project and its API key.
type Gate struct {
	Data    string
	URL     string // http://127.0.0.1:port
	SSHPort int
	Project string // id, of the project E2E
	APIKey  string

	options Options
	binary  string
	process *peers.Process
	flags   []string
	scan    sync.Once
	hostKey string
}

var build = sync.OnceValues(func() (string, error) {
	if binary := os.Getenv("GATEHOUSE_TEST_BINARY"); binary != "" {
		return binary, nil
	}
	dir, err := os.MkdirTemp("", "gatehouse-test-")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "gatehouse")
	out, err := exec.Command("go", "build", "-o", binary, "github.com/gatehouse-project/gatehouse/cmd/gatehouse").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build gatehouse: %w\n%s", err, out)
	}
	return binary, nil
})

// Binary builds gatehouse, once, and returns its path.
func Binary(tb testing.TB) string {
	tb.Helper()
	binary, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return binary
}

// Main runs the tests of a package and ends the shared peers and the built binary: call it from TestMain.
func Main(m *testing.M) int {
	code := peers.Main(m)
	if os.Getenv("GATEHOUSE_TEST_BINARY") == "" {
		if binary, err := build(); err == nil {
			_ = os.RemoveAll(filepath.Dir(binary)) // a leftover in the temporary directory hurts nobody
		}
	}
	return code
}

// MasterKey is a fixed master key for gates on one PostgreSQL database.
const MasterKey = "Z2F0ZWhvdXNlIGVuZC10by1lbmQgdGVzdCBrZXkgMDE="

// Start starts a gate, waits until it is ready, and gives it a project and an API key.
func Start(tb testing.TB, o Options) *Gate {
	tb.Helper()
	g := Prepare(tb, o)
	g.Serve(tb)
	g.Project = g.AddProject(tb, "E2E")
	g.APIKey = g.AddKey(tb, "E2E", "test")
	return g
}

// Second starts another node on the same PostgreSQL database, with the same project and key.
func (g *Gate) Second(tb testing.TB) *Gate {
	tb.Helper()
	o := g.options
	o.Data = ""
	other := Prepare(tb, o)
	other.Serve(tb)
	other.Project, other.APIKey = g.Project, g.APIKey
	return other
}

// Prepare returns a gate that is not started yet.
func Prepare(tb testing.TB, o Options) *Gate {
	tb.Helper()
	g := &Gate{options: o, Data: o.Data, binary: o.Binary}
	if g.binary == "" {
		g.binary = Binary(tb)
	}
	if g.Data == "" {
		g.Data = filepath.Join(tb.TempDir(), "data")
	}
	httpPort := peers.Port(tb)
	g.SSHPort = peers.Port(tb)
	g.URL = "http://127.0.0.1:" + strconv.Itoa(httpPort)
	g.flags = []string{
		"--http", net.JoinHostPort("127.0.0.1", strconv.Itoa(httpPort)),
		"--ssh", net.JoinHostPort("127.0.0.1", strconv.Itoa(g.SSHPort)),
		"--public-ssh", net.JoinHostPort("127.0.0.1", strconv.Itoa(g.SSHPort)),
	}
	return g
}

// where names the data for every command.
func (g *Gate) where() []string {
	where := []string{"--data", g.Data}
	if g.options.Database != "" {
		where = append(where, "--database", g.options.Database)
	}
	return where
}

// environment is clean but for what programs need, so that no setting of the developer's leaks in.
func (g *Gate) environment() []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.Data, "TZ=UTC"}
	settings := map[string]string{
		"sshverify.rate_per_hour":      "0",
		"sshverify.webhook_allow":      "127.0.0.1",
		"sshverify.webhook_retry_unit": "20ms",
		"sshverify.sweep_every":        "100ms",
		"sshverify.leave_wait":         "2s",
		"audit.seal_every":             "50ms",
		"log.level":                    "debug",
	}
	maps.Copy(settings, g.options.Settings)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		env = append(env, "GATEHOUSE_"+strings.ToUpper(strings.ReplaceAll(name, ".", "_"))+"="+settings[name])
	}
	if g.options.Database != "" {
		master := g.options.Master
		if master == "" {
			master = MasterKey
		}
		env = append(env, "GATEHOUSE_MASTER_KEY="+master)
	}
	return append(append(env, "GATEHOUSE_ADMIN_PASSWORD=correct horse battery staple"), g.options.Env...)
}

// Serve starts the server and waits until it is ready.
func (g *Gate) Serve(tb testing.TB) {
	tb.Helper()
	args := slices.Concat([]string{"serve"}, g.where(), g.flags, g.options.Flags)
	cmd := exec.Command(g.binary, args...)
	cmd.Env = g.environment()
	g.process = peers.Start(tb, cmd)
	peers.Await(tb, g.process, g.ready)
}

func (g *Gate) ready() error {
	r, err := client.Get(g.URL + "/readyz")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz answered %d", r.StatusCode)
	}
	return nil
}

// client speaks to gates. It keeps no connection, so that a restarted gate is reached at once.
var client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// Process is the running server.
func (g *Gate) Process() *peers.Process { return g.process }

// Kill ends the server with SIGKILL, as a crash would.
func (g *Gate) Kill() { g.process.Kill() }

// Stop ends the server in peace.
func (g *Gate) Stop(tb testing.TB) {
	tb.Helper()
	if err := g.process.End(syscall.SIGTERM); err != nil {
		tb.Fatal(err)
	}
}

// Log is what the server printed so far.
func (g *Gate) Log(tb testing.TB) string {
	tb.Helper()
	text, err := os.ReadFile(g.process.Output)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// Result is how a program ended.
type Result struct {
	Stdout, Stderr string
	Exit           int
}

// Run runs a program and returns how it ended. Its input is input, or cmd.Stdin where that is set.
func Run(tb testing.TB, cmd *exec.Cmd, input string) Result {
	tb.Helper()
	var out, errs bytes.Buffer
	if cmd.Stdin == nil {
		cmd.Stdin = strings.NewReader(input)
	}
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Start()
	if err == nil {
		late := time.AfterFunc(2*peers.Patience, func() { _ = cmd.Process.Kill() })
		err = cmd.Wait()
		if !late.Stop() {
			tb.Fatalf("%s did not end\n%s%s", cmd.Path, out.String(), errs.String())
		}
	}
	if _, exited := err.(*exec.ExitError); err != nil && !exited { //nolint:errorlint // exec returns it bare
		tb.Fatalf("run %s: %v", cmd.Path, err)
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// Command runs an administration command on the gate's data.
func (g *Gate) Command(tb testing.TB, input string, args ...string) Result {
	tb.Helper()
	cmd := exec.Command(g.binary, slices.Concat(args, g.where())...)
	cmd.Env = g.environment()
	return Run(tb, cmd, input)
}

// Must is Command for what has to succeed; it returns standard output, trimmed.
func (g *Gate) Must(tb testing.TB, args ...string) string {
	tb.Helper()
	r := g.Command(tb, "", args...)
	if r.Exit != 0 {
		tb.Fatalf("gatehouse %s: exit %d\n%s%s", strings.Join(args, " "), r.Exit, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout)
}

// AddProject makes a project and returns its id.
func (g *Gate) AddProject(tb testing.TB, key string) string {
	tb.Helper()
	var p struct{ ID string }
	if err := json.Unmarshal([]byte(g.Must(tb, "project", "add", key, "--name", key, "--json")), &p); err != nil {
		tb.Fatal(err)
	}
	return p.ID
}

// AddKey makes an API key of a project.
func (g *Gate) AddKey(tb testing.TB, project, name string) string {
	tb.Helper()
	return g.Must(tb, "apikey", "add", "--project", project, "--name", name)
}

// Answer is what the API answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON reads the body into v.
func (a Answer) JSON(tb testing.TB, v any) {
	tb.Helper()
	if err := json.Unmarshal(a.Body, v); err != nil {
		tb.Fatalf("answer %d is not JSON: %v\n%s", a.Status, err, a.Body)
	}
}

// API calls the gate's API with its key. body is JSON text, or any value that becomes JSON, or nil.
func (g *Gate) API(tb testing.TB, method, path string, body any) Answer {
	tb.Helper()
	return g.APIAs(tb, g.APIKey, method, path, body)
}

// APIAs is API with another key.
func (g *Gate) APIAs(tb testing.TB, key, method, path string, body any) Answer {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), method, g.URL+path, reader(tb, body))
	if err != nil {
		tb.Fatal(err)
	}
	request.Header.Set("X-Api-Key", key)
	r, err := client.Do(request)
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return Answer{r.StatusCode, r.Header, text}
}

func reader(tb testing.TB, body any) io.Reader {
	tb.Helper()
	switch b := body.(type) {
	case nil:
		return nil
	case string:
		return strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			tb.Fatal(err)
		}
		return bytes.NewReader(text)
	}
}

// Session is a verify or collect session as the wire shows it.
type Session struct {
	ID                   string
	ConnectionIdentifier string `json:"connection_identifier"`
	Status               string
	Keys                 []Key
	Connections          []struct {
		ID            string
		IPAddress     string `json:"ip_address"`
		ClientVersion string `json:"client_version"`
		Keys          []Key
	}
	Webhooks []struct{ ID string }
}

// Key is a key as the wire shows it.
type Key struct {
	ID        string
	Name      *string
	Algorithm string  `json:"public_key_algorithm"`
	SHA256    string  `json:"public_key_sha256"`
	SSH       string  `json:"public_key_ssh"`
	Verified  *string `json:"verified_at"`
}

// Create makes a session of that kind ("verify", "collect").
func (g *Gate) Create(tb testing.TB, kind string, body map[string]any) Session {
	tb.Helper()
	a := g.API(tb, "POST", "/api/v1/ssh/"+kind+"/sessions/", body)
	if a.Status != http.StatusCreated {
		tb.Fatalf("create %s session: %d %s", kind, a.Status, a.Body)
	}
	var s Session
	a.JSON(tb, &s)
	return s
}

// Session reads a session.
func (g *Gate) Session(tb testing.TB, kind, id string) Session {
	tb.Helper()
	a := g.API(tb, "GET", "/api/v1/ssh/"+kind+"/sessions/"+id+"/", nil)
	if a.Status != http.StatusOK {
		tb.Fatalf("get %s session: %d %s", kind, a.Status, a.Body)
	}
	var s Session
	a.JSON(tb, &s)
	return s
}

// Eventually waits until check returns nil, for at most peers.Patience.
func Eventually(tb testing.TB, check func() error) {
	tb.Helper()
	deadline := time.Now().Add(peers.Patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // the time between two looks, not a guess at how long it takes
	}
}
