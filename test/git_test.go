package test

import (
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// gitGate is a gate with the project OPS, its repositories infra and tools, and open, which anybody may read; dana may write in OPS.
type gitGate struct {
	*gate.Gate
	dir string // a work tree with two commits
}

func newGitGate(t *testing.T, settings map[string]string) *gitGate {
	t.Helper()
	peers.Require(t, "git", "ssh")
	f := &gitGate{Gate: gate.Start(t, gate.Options{Settings: settings}), dir: t.TempDir()}
	f.AddProject(t, "OPS")
	for _, args := range [][]string{{"OPS/infra"}, {"OPS/tools"}, {"OPS/open", "--public"}} {
		f.Must(t, append([]string{"repo", "add"}, args...)...)
	}
	if r := f.Command(t, phrase+"\n", "user", "add", "dana", "--email", "dana@example.test", "--password-stdin"); r.Exit != 0 {
		t.Fatal(r.Stderr)
	}
	f.Must(t, "project", "grant", "OPS", "write", "--user", "dana")
	f.git(t, gate.KeyFile{}, "", "init", "-q", "-b", "main", ".").must(t)
	f.git(t, gate.KeyFile{}, "", "commit", "-q", "--allow-empty", "-m", "one").must(t)
	if err := os.WriteFile(filepath.Join(f.dir, "file"), []byte("content\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.git(t, gate.KeyFile{}, "", "add", "file").must(t)
	f.git(t, gate.KeyFile{}, "", "commit", "-q", "-m", "two").must(t)
	return f
}

// gitResult is how git ended and what it said.
type gitResult struct {
	gate.Result
	what string
}

func (r gitResult) must(t *testing.T) string {
	t.Helper()
	if r.Exit != 0 {
		t.Fatalf("%s: exit %d\n%s%s", r.what, r.Exit, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// fails wants a refusal that says so.
func (r gitResult) fails(t *testing.T, text string) {
	t.Helper()
	if r.Exit == 0 || !strings.Contains(r.Stderr, text) {
		t.Errorf("%s: exit %d, without %q\n%s%s", r.what, r.Exit, text, r.Stdout, r.Stderr)
	}
}

// git runs a client's git in the work tree, with a key for SSH and an Authorization for HTTP.
func (f *gitGate) git(t *testing.T, key gate.KeyFile, authorization string, args ...string) gitResult {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = f.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@b.test", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@b.test", "GIT_TRACE_PACKET=" + filepath.Join(f.dir, ".git", "trace"),
		fmt.Sprintf("GIT_SSH_COMMAND=ssh -F /dev/null -p %d -i %s -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR", f.SSHPort, key.Path),
	}
	if authorization != "" {
		cmd.Env = append(cmd.Env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader", "GIT_CONFIG_VALUE_0=Authorization: "+authorization)
	}
	return gitResult{gate.Run(t, cmd, ""), "git " + strings.Join(args, " ")}
}

func overSSH(repo string) string { return "ssh://git@127.0.0.1/ops/" + repo + ".git" }

func (f *gitGate) overHTTP(repo string) string { return f.URL + "/scm/ops/" + repo + ".git" }

// addKey puts a key on file and returns its number.
func (f *gitGate) addKey(t *testing.T, key gate.KeyFile, args ...string) string {
	t.Helper()
	r := f.Command(t, key.Public+"\n", append(args, "--json")...)
	if r.Exit != 0 {
		t.Fatalf("%v: %s", args, r.Stderr)
	}
	var made struct {
		Number int64
		Key    struct{ Number int64 }
	}
	if err := json.Unmarshal([]byte(r.Stdout), &made); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(made.Number + made.Key.Number)
}

func gitPassword(name, word string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+word))
}

// Rules G1, S17: what each key and token reaches, with the real programs at both ends.
func TestGit(t *testing.T) {
	t.Parallel()
	f := newGitGate(t, map[string]string{"sshkey.require_proof": "off"})
	keys := gate.NewKeys(t, 5)
	dana, reader, writer, all, revoked := keys[0], keys[1], keys[2], keys[3], keys[4]
	f.addKey(t, dana, "key", "add", "--user", "dana")
	f.addKey(t, reader, "access-key", "add", "--repo", "OPS/infra")
	f.addKey(t, writer, "access-key", "add", "--repo", "OPS/infra", "--write")
	f.addKey(t, all, "access-key", "add", "--project", "OPS")
	const no = "There is no such repository, or this key may not do that."

	f.git(t, dana, "", "push", "-q", overSSH("infra"), "main").must(t)
	f.git(t, dana, "", "push", "-q", overSSH("tools"), "main").must(t)
	f.git(t, dana, "", "push", "-q", overSSH("open"), "main").must(t)

	t.Run("a read key clones, shallow too, and archives, and cannot push", func(t *testing.T) {
		f.git(t, reader, "", "clone", "-q", overSSH("infra"), "whole").must(t)
		f.git(t, reader, "", "clone", "-q", "--depth", "1", overSSH("infra"), "shallow").must(t)
		if n := strings.TrimSpace(f.git(t, reader, "", "-C", "shallow", "rev-list", "--count", "HEAD").must(t)); n != "1" {
			t.Errorf("%s commits in a shallow clone", n)
		}
		f.git(t, reader, "", "archive", "--remote", overSSH("infra"), "-o", "a.tar", "main").must(t)
		f.git(t, reader, "", "push", overSSH("infra"), "main:other").fails(t, no)
		f.git(t, reader, "", "clone", overSSH("tools"), "next-door").fails(t, no)
	})
	t.Run("protocol version 2 is spoken", func(t *testing.T) {
		f.git(t, reader, "", "-c", "protocol.version=2", "ls-remote", overSSH("infra")).must(t)
		trace, err := os.ReadFile(filepath.Join(f.dir, ".git", "trace"))
		if err != nil || !strings.Contains(string(trace), "< version 2") {
			t.Errorf("the trace has no version 2 (%v)", err)
		}
	})
	t.Run("a write key pushes, there alone", func(t *testing.T) {
		f.git(t, writer, "", "push", "-q", overSSH("infra"), "main:by-robot").must(t)
		f.git(t, writer, "", "push", overSSH("tools"), "main:by-robot").fails(t, no)
	})
	t.Run("a project's key reaches all of its repositories", func(t *testing.T) {
		f.git(t, all, "", "clone", "-q", overSSH("infra"), "all-infra").must(t)
		f.git(t, all, "", "clone", "-q", overSSH("tools"), "all-tools").must(t)
		f.git(t, all, "", "push", overSSH("tools"), "main:other").fails(t, no)
	})
	t.Run("a revoked key opens nothing", func(t *testing.T) {
		number := f.addKey(t, revoked, "access-key", "add", "--repo", "OPS/infra", "--write")
		f.git(t, revoked, "", "ls-remote", overSSH("infra")).must(t)
		f.Must(t, "access-key", "remove", "--repo", "OPS/infra", number)
		gate.Eventually(t, func() error { // the command is another process: the server hears of it within 2 seconds
			if r := f.git(t, revoked, "", "ls-remote", overSSH("infra")); r.Exit == 0 {
				return fmt.Errorf("a revoked key read: %s", r.Stdout)
			}
			return nil
		})
	})
	t.Run("no shell", func(t *testing.T) {
		r := gate.Run(t, f.SSH(t, "git", "-i", dana.Path), "")
		if r.Exit != 1 || !strings.Contains(r.Stderr, "You are signed in as dana; git over SSH only.") {
			t.Errorf("exit %d: %s%s", r.Exit, r.Stdout, r.Stderr)
		}
	})
	t.Run("anybody clones what is public, over HTTP", func(t *testing.T) {
		f.git(t, gate.KeyFile{}, "", "clone", "-q", f.overHTTP("open"), "anonymous").must(t)
		f.git(t, gate.KeyFile{}, "", "clone", f.overHTTP("infra"), "denied").fails(t, "could not read Username")
	})
	t.Run("a password opens git, a wrong one does not", func(t *testing.T) {
		f.git(t, gate.KeyFile{}, gitPassword("dana", phrase), "push", "-q", f.overHTTP("infra"), "main:by-password").must(t)
		f.git(t, gate.KeyFile{}, gitPassword("dana", "wrong"), "ls-remote", f.overHTTP("infra")).fails(t, "could not read Username")
	})
	t.Run("a repository's token pushes there, and is dead once revoked", func(t *testing.T) {
		token := f.Must(t, "token", "add", "--repo", "OPS/infra", "--name", "ci", "--permission", "repo.write")
		f.git(t, gate.KeyFile{}, "Bearer "+token, "push", "-q", f.overHTTP("infra"), "main:by-token").must(t)
		f.git(t, gate.KeyFile{}, "Bearer "+token, "ls-remote", f.overHTTP("tools")).fails(t, "403")
		f.git(t, gate.KeyFile{}, gitPassword("dana", token), "ls-remote", f.overHTTP("infra")).fails(t, "could not read Username")
		var listed []struct{ Handle string }
		if err := json.Unmarshal([]byte(f.Must(t, "token", "list", "--repo", "OPS/infra", "--json")), &listed); err != nil || len(listed) != 1 {
			t.Fatalf("%v: %+v", err, listed)
		}
		f.Must(t, "token", "revoke", "--repo", "OPS/infra", listed[0].Handle)
		gate.Eventually(t, func() error {
			if r := f.git(t, gate.KeyFile{}, "Bearer "+token, "ls-remote", f.overHTTP("infra")); r.Exit == 0 {
				return fmt.Errorf("a revoked token read: %s", r.Stdout)
			}
			return nil
		})
	})
	t.Run("pushes are on record, by whom and by what", func(t *testing.T) {
		shown := f.Must(t, "repo", "pushes", "OPS/infra")
		for _, ref := range []string{"refs/heads/main", "by-robot", "by-password", "by-token"} {
			if !strings.Contains(shown, ref) {
				t.Errorf("no push of %s:\n%s", ref, shown)
			}
		}
	})
	t.Run("a token that has expired opens nothing", func(t *testing.T) { // rule W11
		token := f.Must(t, "token", "add", "--repo", "OPS/infra", "--name", "old", "--permission", "repo.read", "--days", "1")
		f.git(t, gate.KeyFile{}, "Bearer "+token, "ls-remote", f.overHTTP("infra")).must(t)
		yesterday(t, f.Gate, "old")
		gate.Eventually(t, func() error {
			if r := f.git(t, gate.KeyFile{}, "Bearer "+token, "ls-remote", f.overHTTP("infra")); r.Exit == 0 || !strings.Contains(r.Stderr, "could not read Username") {
				return fmt.Errorf("an expired token read: %s%s", r.Stdout, r.Stderr)
			}
			return nil
		})
	})
	t.Run("what was pushed outlives a restart, and last uses are shown", func(t *testing.T) {
		token := f.Must(t, "token", "add", "--repo", "OPS/infra", "--name", "used", "--permission", "repo.read")
		f.git(t, gate.KeyFile{}, "Bearer "+token, "ls-remote", f.overHTTP("infra")).must(t)
		f.Stop(t) // last uses are written every minute, and at the end
		f.Serve(t)
		f.git(t, reader, "", "clone", "-q", overSSH("infra"), "after").must(t)
		var tokens []struct {
			Name     string
			LastUsed string `json:"last_used_at"`
			Door     string `json:"last_door"`
		}
		must(t, json.Unmarshal([]byte(f.Must(t, "token", "list", "--repo", "OPS/infra", "--json")), &tokens))
		if len(tokens) != 1 || tokens[0].Name != "used" || tokens[0].LastUsed == "" || tokens[0].Door == "" {
			t.Errorf("%+v", tokens)
		}
		var keys []struct {
			LastUsed string `json:"last_used_at"`
		}
		must(t, json.Unmarshal([]byte(f.Must(t, "key", "list", "--user", "dana", "--json")), &keys))
		if len(keys) != 1 || keys[0].LastUsed == "" {
			t.Errorf("%+v", keys)
		}
	})
}

// yesterday ends the life of a token of that name behind the gate's back.
func yesterday(t *testing.T, g *gate.Gate, name string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(g.Data, "gatehouse.db")+"?_pragma=busy_timeout(5000)")
	must(t, err)
	defer db.Close()
	_, err = db.Exec(`UPDATE http_tokens SET created = created - 172800000000, expires = expires - 172800000000 WHERE name = ?`, name)
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A key that must be proven opens nothing before its owner has proven it by a real ssh, and git after that.
func TestGit_obeys_keys_that_are_proven(t *testing.T) {
	t.Parallel()
	f := newGitGate(t, map[string]string{"sshkey.require_proof": "all"})
	key := gate.NewKeys(t, 1)[0]
	f.git(t, gate.KeyFile{}, gitPassword("dana", phrase), "push", "-q", f.overHTTP("infra"), "main").must(t)

	dana := visit(f.Gate)
	dana.header["Authorization"] = "Basic " + basic("dana@example.test", phrase)
	signed := dana.must(t, http.StatusOK, "POST", sys+"/session/auth", nil)
	delete(dana.header, "Authorization")
	dana.bearer = signed.text(t, "access_token")
	made := dana.must(t, http.StatusCreated, "POST", "/api/v1/ssh-keys", members{"text": key.Public, "label": "laptop"})
	if state := made.text(t, "state"); state != "waiting" {
		t.Errorf("a key that nobody has proved is %s", state)
	}
	f.git(t, key, "", "ls-remote", overSSH("infra")).fails(t, "Permission denied")

	proof := dana.must(t, http.StatusOK, "POST", "/api/v1/ssh-keys/"+made.text(t, "id")+"/prove", members{})
	r := gate.Run(t, f.SSH(t, proof.text(t, "identifier"), gate.With(key)...), "y\n")
	if r.Exit != 0 {
		t.Fatalf("proof: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
	gate.Eventually(t, func() error {
		if r := f.git(t, key, "", "ls-remote", overSSH("infra")); r.Exit != 0 || !strings.Contains(r.Stdout, "refs/heads/main") {
			return fmt.Errorf("a proven key: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
		}
		return nil
	})
}

func TestGit_passwords_are_shut(t *testing.T) {
	t.Parallel()
	t.Run("by the operator", func(t *testing.T) {
		f := newGitGate(t, map[string]string{"git.http_password": "false"})
		f.git(t, gate.KeyFile{}, gitPassword("dana", phrase), "ls-remote", f.overHTTP("infra")).fails(t, "could not read Username")
	})
	t.Run("by the policy that covers all doors", func(t *testing.T) {
		f := newGitGate(t, map[string]string{"basicauth.block": "true", "basicauth.scope": "all"})
		f.git(t, gate.KeyFile{}, gitPassword("dana", phrase), "ls-remote", f.overHTTP("infra")).fails(t, "403")
		token := f.Must(t, "token", "add", "--repo", "OPS/infra", "--name", "ci", "--permission", "repo.read")
		f.git(t, gate.KeyFile{}, "Bearer "+token, "ls-remote", f.overHTTP("infra")).must(t)
	})
}
