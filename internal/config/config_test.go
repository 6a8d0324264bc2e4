package config_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/config"
)

var update = flag.Bool("update", false, "rewrite docs/configuration.md")

func write(t *testing.T, yaml string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "gatehouse.yaml")
	if err := os.WriteFile(name, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func load(t *testing.T, flags map[string]string, env []string, yaml string) config.Config {
	t.Helper()
	file := ""
	if yaml != "" {
		file = write(t, yaml)
	}
	c, err := config.Load(flags, env, file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := load(t, nil, []string{"HOME=/root"}, "")
	if c.Data != "./gatehouse-data" || c.IsPostgres() || c.HTTP != "127.0.0.1:8080" || c.SSH != "127.0.0.1:2222" {
		t.Errorf("%+v", c)
	}
	if c.PublicURL.String() != "http://localhost:8080" || c.PublicSSH != "localhost:2222" || c.ServesTLS() {
		t.Errorf("public: %s %s", c.PublicURL, c.PublicSSH)
	}
	v := c.SSHVerify
	if v.RatePerHour != 500 || v.KeysMax != 32 || v.WebhooksMax != 10 || v.ConfirmTimeout != time.Minute || v.SessionRetention != 90*24*time.Hour {
		t.Errorf("%+v", v)
	}
	if c.Audit != (config.Audit{SealEvery: 250 * time.Millisecond, SealBatch: 1000}) || c.ShutdownTimeout != 20*time.Second {
		t.Errorf("%+v", c)
	}
	if len(c.Warnings) != 0 {
		t.Error(c.Warnings)
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	yaml := "http: 127.0.0.1:1\nssh: 127.0.0.1:4\npublic_ssh: gate:1\ndata: /file\nlog: {level: warn}\n"
	c := load(t, map[string]string{"http": "127.0.0.1:3"}, []string{"GATEHOUSE_HTTP=127.0.0.1:2", "GATEHOUSE_PUBLIC_SSH=gate:2"}, yaml)
	if c.HTTP != "127.0.0.1:3" || c.PublicSSH != "gate:2" || c.Data != "/file" || c.Log.Level != slog.LevelWarn || c.SSH != "127.0.0.1:4" {
		t.Errorf("%+v", c)
	}
}

func TestFileForms(t *testing.T) {
	t.Parallel()
	c := load(t, nil, []string{"GATEHOUSE_SSH_HANDSHAKE_TIMEOUT=7"}, `
ssh:
  listen: 127.0.0.1:22
  auth_timeout: 90
trusted_proxies: [10.0.0.0/8, 192.0.2.7, "::1"]
sshverify:
  invocation_retention: 1.5d
  webhook_allow: [hooks.internal, 10.0.0.0/8]
  rate_per_hour: 0
`)
	if c.SSH != "127.0.0.1:22" || c.SSHDoor.AuthTimeout != 90*time.Second || c.SSHDoor.HandshakeTimeout != 7*time.Second {
		t.Errorf("%+v", c.SSHDoor)
	}
	if got := fmt.Sprint(c.TrustedProxies); got != "[10.0.0.0/8 192.0.2.7/32 ::1/128]" {
		t.Error(got)
	}
	if c.SSHVerify.InvocationRetention != 36*time.Hour || len(c.SSHVerify.WebhookAllow) != 2 || c.SSHVerify.RatePerHour != 0 {
		t.Errorf("%+v", c.SSHVerify)
	}
}

func TestPublicOrigins(t *testing.T) {
	t.Parallel()
	c := load(t, nil, nil, "public_origins: [https://gate.example.com, \"https://gate.example.com:8443\", \"http://localhost:8080\", \"http://[::1]:8080\"]\n")
	if len(c.PublicOrigins) != 4 || c.PublicOrigins[1] != "https://gate.example.com:8443" {
		t.Errorf("%q", c.PublicOrigins)
	}
	for _, wrong := range []string{
		"http://gate.example.com", "https://gate.example.com/", "https://Gate.example.com", "HTTPS://gate.example.com", "https://gate.example.com:443", "http://localhost:80", "https://gate.example.com:",
		"https://u@gate.example.com", "https://gate.example.com?", "gate.example.com", "https://", "null", "*", "ftp://gate.example.com",
	} {
		if _, err := config.Load(nil, []string{"GATEHOUSE_PUBLIC_ORIGINS=" + wrong}, ""); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	file := write(t, "htpp: x\nauth_timeout: 3\nssh: {auth_timeout: soon}\nlog: {format: xml}\n")
	_, err := config.Load(
		map[string]string{"http": "8080", "tls-cert": "c.pem", "public-url": "ftp://x"},
		[]string{"GATEHOUSE_SSHVERIFY_KEYS_MAX=33", "GATEHOUSE_HTPP=1", "GATEHOUSE_PEERS=all", "GATEHOUSE_TEST_X=1", "GATEHOUSE_TRUSTED_PROXIES=10.0.0.0/8,nonsense,1.2.3.4/99", "GATEHOUSE_DATABASE=mysql://root:hunter2@db"},
		file)
	if err == nil {
		t.Fatal("no mistake found")
	}
	want := []string{
		"auth_timeout: no such setting (from " + file + "); did you mean ssh.auth_timeout?",
		"htpp: no such setting (from " + file + "); docs/configuration.md lists them",
		"GATEHOUSE_HTPP: no such setting (from the environment); unset it or correct its name",
		"database: must begin with postgres:// ; leave it empty for SQLite in the data directory (from GATEHOUSE_DATABASE)",
		`http: "8080" is not host:port, such as 127.0.0.1:8080 (from --http)`,
		`trusted_proxies: "nonsense", "1.2.3.4/99": not an address or CIDR, such as 10.0.0.0/8 (from GATEHOUSE_TRUSTED_PROXIES)`,
		`log.format: "xml" is none of text, json (from ` + file + `)`,
		`ssh.auth_timeout: "soon" is not a duration above zero, such as 10s, 5m or 30d (from ` + file + `)`,
		`sshverify.keys_max: "33" is not a whole number from 1 to 32 (from GATEHOUSE_SSHVERIFY_KEYS_MAX)`,
		"public_url: must be http://HOST[:PORT] or https://HOST[:PORT] (from --public-url)",
		"tls.cert and tls.key: one is given without the other; give both or neither",
	}
	if got := err.Error(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestRulesBetweenSettings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		flags map[string]string
		env   []string
		want  string
	}{
		{"PostgreSQL needs a master key", map[string]string{"database": "postgres://u:p@h/d"}, nil, "master_key_file: PostgreSQL needs a master key that all nodes share; give --master-key-file or GATEHOUSE_MASTER_KEY"},
		{"PostgreSQL with one", map[string]string{"database": "postgres://u:p@h/d"}, []string{"GATEHOUSE_MASTER_KEY=x"}, ""},
		{"two master keys", map[string]string{"master-key-file": "f"}, []string{"GATEHOUSE_MASTER_KEY=x"}, "master_key_file: is given as well as GATEHOUSE_MASTER_KEY; give one of them (from --master-key-file)"},
		{"one address for both", map[string]string{"http": "127.0.0.1:7", "ssh": "127.0.0.1:7"}, nil, "http and ssh: both want 127.0.0.1:7; give them different addresses"},
		{"free ports for both", map[string]string{"http": "127.0.0.1:0", "ssh": "127.0.0.1:0"}, nil, ""},
		{"a path in the public URL", map[string]string{"public-url": "https://x/gate"}, nil, "public_url: must not have user, path, query or fragment; Gatehouse needs a host of its own (from --public-url)"},
		{"nodes that are lost between two beats", nil, []string{"GATEHOUSE_REMOTE_LOST_AFTER=5s"}, "remote.lost_after: must be longer than remote.beat_every, or nodes that live would count as lost (from GATEHOUSE_REMOTE_LOST_AFTER)"},
		{"a link that is good for long", nil, []string{"GATEHOUSE_SENHASEGURA_URL_LIFE=31s"}, `senhasegura.url_life: "31s" is not a duration above zero and up to 30s (from GATEHOUSE_SENHASEGURA_URL_LIFE)`},
		{"notices that are no durations", nil, []string{"GATEHOUSE_SENHASEGURA_NOTICES=5m,soon"}, `senhasegura.notices: "5m,soon" is not a list of durations above zero, such as 15m,10m,5m (from GATEHOUSE_SENHASEGURA_NOTICES)`},
		{"no notices", nil, []string{"GATEHOUSE_SENHASEGURA_NOTICES="}, ""},
		{"a slash in the public URL", map[string]string{"public-url": "https://x/"}, nil, ""},
		{"a file that is not there", nil, []string{"GATEHOUSE_CONFIG=/nonexistent/g.yaml"}, "/nonexistent/g.yaml: open /nonexistent/g.yaml: no such file or directory; correct the file or leave --config away"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(tt.flags, tt.env, "")
			if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	c := load(t, map[string]string{"http": "0.0.0.0:80", "public-url": "http://gate.example", "proxy-protocol-from": "0.0.0.0/0"}, nil, "")
	if !c.ServesTLS() || len(c.Warnings) != 3 {
		t.Errorf("%q", c.Warnings)
	}
	c = load(t, map[string]string{"http": "0.0.0.0:8443"}, nil, "")
	if c.PublicURL.String() != "https://localhost:8443" {
		t.Error(c.PublicURL)
	}
}

func TestSecretsNeverPrint(t *testing.T) {
	t.Parallel()
	c := load(t, map[string]string{"database": "postgres://u:hunter2@h/d"}, []string{"GATEHOUSE_MASTER_KEY=hunter2", "GATEHOUSE_ADMIN_PASSWORD=hunter2"}, "")
	if text := fmt.Sprintf("%+v %#v", c, c); strings.Contains(text, "hunter2") {
		t.Error(text)
	}
	if c.Database.Reveal() != "postgres://u:hunter2@h/d" || c.AdminPassword.Reveal() != "hunter2" {
		t.Error("the secrets did not arrive")
	}
}

func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range config.Settings() {
		if seen[s.Env()] || s.Doc == "" || s.Kind == "" {
			t.Errorf("%s: its variable is taken, or it is not described", s.Name)
		}
		seen[s.Env()] = true
	}
}

func TestReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	const name = "../../docs/configuration.md"
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(config.Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil || string(got) != config.Reference() {
		t.Errorf("%s is not current (%v): go test ./internal/config -update", name, err)
	}
}

// Browsers use a security key for the host of the page or for a domain above it; what an operator mistypes is told at the start, not by a key that fails.
func TestWebAuthn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ url, id, want string }{
		"host of the public URL": {"https://Gate.example.com:8443", "", "gate.example.com"},
		"domain above it":        {"https://gate.example.com", "example.com", "example.com"},
		"another host":           {"https://gate.example.com", "other.example.com", ""},
		"part of a label":        {"https://gate.example.com", "ate.example.com", ""},
	} {
		got, err := config.Load(nil, []string{"GATEHOUSE_PUBLIC_URL=" + c.url, "GATEHOUSE_WEBAUTHN_RP_ID=" + c.id}, "")
		if (err == nil) != (c.want != "") || err == nil && got.WebAuthn.RPID != c.want {
			t.Errorf("%s: %q, %v", name, got.WebAuthn.RPID, err)
		}
	}
}
