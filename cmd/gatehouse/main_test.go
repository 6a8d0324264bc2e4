package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shell runs commands on one data directory.
type shell struct {
	t    *testing.T
	data string
}

func newShell(t *testing.T) shell {
	t.Helper()
	s := shell{t, filepath.Join(t.TempDir(), "data")}
	s.must("", "migrate")
	return s
}

// run runs a command and returns its exit code and what it printed.
func (s shell) run(input string, args ...string) (code int, out, errs string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	p := &process{in: strings.NewReader(input), out: &stdout, err: &stderr, name: "gatehouse", now: time.Now}
	if s.data != "" {
		args = append(args, "--data", s.data)
	}
	code = p.run(context.Background(), args)
	return code, stdout.String(), stderr.String()
}

func (s shell) must(input string, args ...string) string {
	s.t.Helper()
	code, out, errs := s.run(input, args...)
	if code != 0 {
		s.t.Fatalf("gatehouse %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// fails expects an exit code and a text in the one line of the error.
func (s shell) fails(want int, text string, args ...string) {
	s.t.Helper()
	code, _, errs := s.run("", args...)
	if code != want || !strings.Contains(errs, text) {
		s.t.Errorf("gatehouse %s: exit %d, want %d with %q\n%s", strings.Join(args, " "), code, want, text, errs)
	}
	if strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "gatehouse: ") || !strings.Contains(errs, "; ") {
		s.t.Errorf("gatehouse %s: no line of what, why and what to do: %q", strings.Join(args, " "), errs)
	}
}

func TestWrong_usage_exits_2(t *testing.T) {
	t.Parallel()
	s := shell{t: t}
	for _, args := range [][]string{
		{"bogus"},
		{"user"},
		{"user", "add"},
		{"user", "add", "ana"},
		{"user", "set-password", "admin"},
		{"apikey", "add", "--project", "DEMO"},
		{"apikey", "add", "--project", "DEMO", "--name", "n", "--expires", "soon"},
		{"apikey", "add", "--project", "DEMO", "--name", "n", "--expires", "-3d"},
		{"project", "set", "DEMO"},
		{"project", "set", "DEMO", "--strict-status", "perhaps"},
		{"project", "set", "DEMO", "--rate-per-hour", "many"},
		{"idp", "set", "Corp"},
		{"sso", "set"},
		{"sso", "set", "--login-form", "perhaps"},
		{"basic-auth", "set"},
		{"basic-auth", "set", "--block"},
		{"group", "add", "Operators"},
		{"group", "grant", "Operators"},
		{"token", "list"},
		{"token", "add", "--name", "n", "--permission", "repo.read"},
		{"token", "add", "--project", "DEMO", "--name", "n"},
		{"token", "add", "--project", "DEMO", "--name", "n", "--permission", "repo.read", "--days", "-1"},
		{"token", "list", "--project", "DEMO", "--user", "ana"},
		{"token", "expiring", "--days", "0"},
		{"key", "list"},
		{"key", "add", "--user", "ana"},
		{"access-key", "list"},
		{"access-key", "add"},
		{"project", "grant", "DEMO", "read"},
		{"project", "grant", "DEMO", "king", "--user", "ana"},
		{"project", "revoke", "DEMO"},
		{"repo", "grant", "DEMO/x", "read"},
		{"repo", "pushes", "DEMO/x", "--limit", "0"},
		{"webhook", "deliveries", "--state", "lost"},
		{"webhook", "deliveries", "--limit", "0"},
		{"audit", "verify", "--key", "/nowhere/key"},
		{"audit", "verify", "--head", "/nowhere/head"},
		{"serve", "--no-such-flag"},
		{"migrate", "--to", "postgres://host/name"},
		{"demo", "--http", "0.0.0.0:0"},
	} {
		s.fails(2, "", args...)
	}
}

func TestEvery_mistake_in_the_configuration_is_a_line(t *testing.T) {
	t.Parallel()
	code, _, errs := shell{t: t}.run("", "serve", "--http", "nonsense", "--log-format", "xml")
	if code != 2 || strings.Count(errs, "gatehouse: ") != 2 {
		t.Errorf("exit %d:\n%s", code, errs)
	}
}

func TestOverview_and_help(t *testing.T) {
	t.Parallel()
	s := shell{t: t}
	for _, args := range [][]string{nil, {"--help"}} {
		code, out, _ := s.run("", args...)
		if code != 0 || !strings.Contains(out, "gatehouse demo") || !strings.Contains(out, "\nManage\n") {
			t.Errorf("%v: exit %d\n%s", args, code, out)
		}
	}
	if code, out, _ := s.run("", "apikey", "add", "--help"); code != 0 || !strings.Contains(out, "--expires=90d|TIME") {
		t.Errorf("exit %d\n%s", code, out)
	}
	for _, command := range []string{"add", "set"} {
		if code, out, _ := s.run("", "idp", command, "--help"); code != 0 || strings.ContainsAny(out, "“”‘’") || !strings.Contains(out, "--domain") {
			t.Errorf("exit %d\n%s", code, out)
		}
	}
	s.fails(2, `--login-form must be one of "on","off" but got "perhaps"`, "sso", "set", "--login-form", "perhaps")
	if code, out, _ := s.run("", "version"); code != 0 || !strings.HasPrefix(out, "gatehouse "+version) {
		t.Errorf("exit %d\n%s", code, out)
	}
}

func TestMigrate_says_from_where_to_where(t *testing.T) {
	t.Parallel()
	s := shell{t, filepath.Join(t.TempDir(), "data")}
	if _, _, errs := s.run("", "migrate"); !strings.Contains(errs, "from version 0 to ") {
		t.Error(errs)
	}
	if _, _, errs := s.run("", "migrate"); !strings.Contains(errs, "nothing to do") {
		t.Error(errs)
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("secret words\n", "user", "add", "ana", "--email", "ana@example.com", "--password-stdin", "--admin")
	s.must("", "user", "add", "ben", "--email", "ben@example.com")
	s.must("", "user", "disable", "Ben")
	lines := strings.Split(s.must("", "user", "list"), "\n")
	if !strings.HasPrefix(lines[0], "NAME  EMAIL") || strings.Join(strings.Fields(lines[1])[:5], " ") != "ana ana@example.com yes enabled yes" ||
		strings.Join(strings.Fields(lines[2])[:5], " ") != "ben ben@example.com no disabled no" {
		t.Errorf("list:\n%s", strings.Join(lines, "\n"))
	}
	s.fails(1, "a user of that name exists", "user", "add", "ANA", "--email", "other@example.com")
	s.fails(1, "user not found; see `gatehouse user list`", "user", "enable", "nobody")
	s.fails(1, "user enable ben", "user", "grant-admin", "ben")
	s.must("", "user", "enable", "ben")
	s.must("", "user", "grant-admin", "ben")
	var users []struct {
		Name  string
		Admin bool
	}
	if err := json.Unmarshal([]byte(s.must("", "user", "list", "--json")), &users); err != nil || len(users) != 2 || !users[1].Admin {
		t.Errorf("%v %v", users, err)
	}
}

func TestPasswords_are_read_whole_and_alone(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	if code, _, _ := s.run("one\ntwo\n", "user", "add", "ana", "--email", "a@example.com", "--password-stdin"); code != 2 {
		t.Errorf("two lines: exit %d", code)
	}
	if code, _, errs := s.run("", "user", "add", "ana", "--email", "a@example.com", "--password-stdin"); code != 1 {
		t.Errorf("no password: exit %d %s", code, errs)
	}
	if code, _, errs := s.run(strings.Repeat("x", 1025), "user", "add", "ana", "--email", "a@example.com", "--password-stdin"); code != 1 || !strings.Contains(errs, "1024") {
		t.Errorf("long password: exit %d %s", code, errs)
	}
}

func TestSet_password_of_admin_removes_the_initial_one(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("first", "user", "add", "admin", "--email", "admin@gatehouse.local", "--password-stdin")
	s.must("first", "user", "add", "ana", "--email", "ana@example.com", "--password-stdin")
	file := filepath.Join(s.data, "initial-password")
	if err := os.WriteFile(file, []byte("first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must("second", "user", "set-password", "ana", "--password-stdin")
	if !exists(file) {
		t.Error("another user's password removed the file")
	}
	s.must("second", "user", "set-password", "admin", "--password-stdin")
	if exists(file) {
		t.Error("the file is still there")
	}
}

func TestProjects_and_keys(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("", "project", "add", "shop", "--name", "The shop")
	s.must("", "project", "set", "SHOP", "--strict-status", "on", "--rate-per-hour", "0")
	if out := s.must("", "project", "list"); !strings.Contains(out, "SHOP  The shop  on             unlimited") {
		t.Error(out)
	}
	s.must("", "project", "set", "SHOP", "--rate-per-hour", "default")
	if out := s.must("", "project", "list"); !strings.Contains(out, "SHOP  The shop  on             default") {
		t.Error(out)
	}
	s.fails(1, "project not found", "apikey", "add", "--project", "none", "--name", "n")
	s.fails(1, "a project with that key exists", "project", "add", "SHOP", "--name", "n")

	key := s.must("", "apikey", "add", "--project", "shop", "--name", "ci", "--expires", "90d")
	if !strings.HasPrefix(key, "gate_") || strings.Count(key, "\n") != 1 || len(key) != 44 {
		t.Errorf("not the key alone: %q", key)
	}
	var made struct{ ID, Key string }
	if err := json.Unmarshal([]byte(s.must("", "apikey", "add", "--project", "shop", "--name", "other", "--json")), &made); err != nil || !strings.HasPrefix(made.Key, "gate_") {
		t.Errorf("%v %v", made.ID, err)
	}
	s.must("", "apikey", "revoke", made.ID)
	out := s.must("", "apikey", "list", "--project", "shop")
	if !strings.Contains(out, "other  revoked") || !strings.Contains(out, "ci     active") || strings.Contains(out, "gate_") {
		t.Error(out)
	}
	s.fails(1, "token not found", "apikey", "revoke", "nothing")
}

func TestApplications_and_sessions(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("a long enough phrase", "user", "add", "ana", "--email", "ana@example.com", "--password-stdin")
	var made struct {
		ID     string `json:"app_id"`
		Secret string `json:"secret"`
	}
	if err := json.Unmarshal([]byte(s.must("", "app", "add", "build agent", "--allow-ip", "10.0.0.0/8")), &made); err != nil || len(made.ID) != 36 || len(made.Secret) != 86 {
		t.Errorf("%q %d %v", made.ID, len(made.Secret), err)
	}
	s.fails(1, "an application of that name exists", "app", "add", "build agent")
	s.fails(1, "account not found", "app", "add", "other", "--account", "nowhere")
	s.fails(2, "not an address or CIDR", "app", "add", "other", "--allow-ip", "everywhere")

	s.must("", "user", "unlock", "ana")
	s.fails(1, "user not found", "user", "unlock", "nobody")
	s.must("", "user", "reset-2fa", "ana")
	s.fails(1, "user not found", "user", "reset-2fa", "nobody")
	if out := s.must("", "session", "list", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("%q", out)
	}
	s.must("", "session", "list", "--user", "Ana")
	s.must("", "session", "end", "--user", "Ana")
	s.must("", "session", "end", "--app", made.ID)
	s.fails(1, "session not found", "session", "end", "nothing")
	s.fails(2, "name one session", "session", "end")
	s.fails(2, "name one session", "session", "end", "x", "--user", "ana")
}

func TestDeliveries_of_nobody(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	if out := s.must("", "webhook", "deliveries", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("%q", out)
	}
	s.fails(1, "see `gatehouse webhook deliveries`", "webhook", "show", "nothing")
	code, _, errs := s.run("", "webhook", "resend", "one", "two")
	if code != 1 || strings.Count(errs, "gatehouse: ") != 2 {
		t.Errorf("exit %d\n%s", code, errs)
	}
}

func TestData_that_is_not_there_is_named(t *testing.T) {
	t.Parallel()
	s := shell{t, filepath.Join(t.TempDir(), "none")}
	s.fails(1, "there is no database in", "user", "list")
	s.fails(1, "there is no database in", "audit", "verify")
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                     {},
		"90d":                  now.Add(90 * 24 * time.Hour),
		"12h":                  now.Add(12 * time.Hour),
		"2027-01-01T00:00:00Z": time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got, err := expiry(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"0d", "-1d", "d", "99999999999d", "200000d", "1.5d", "tomorrow", "2027-01-01"} {
		if got, err := expiry(text, now); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}
