package test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/authenticator"
	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// phrase is everybody's password in these tests, the first administrator's too.
const phrase = "correct horse battery staple"

const (
	auth      = "/sys/v1/session/auth"
	defaultID = "00000000-0000-7000-8000-000000000001" // the account that is there from the first start

	refusedText   = "Invalid credentials"
	noSessionText = "Session is invalid or expired"
	pendingText   = "Two factor authentication required"
)

// vault is a gate that programs of Fortanix DSM speak to. Each caller has an address of its own, so that nobody backs off for another's failures.
type vault struct {
	*gate.Gate
	address string
	client  *http.Client
}

// newVault starts a gate behind a trusted proxy: the test.
func newVault(t *testing.T, settings map[string]string, flags ...string) vault {
	t.Helper()
	all := map[string]string{"trusted_proxies": "127.0.0.1"}
	for name, value := range settings {
		all[name] = value
	}
	g := gate.Prepare(t, gate.Options{Settings: all, Flags: flags})
	g.Serve(t)
	return vault{g, "192.0.2.1", stays}
}

// from is the vault as somebody at that address sees it.
func (v vault) from(last int) vault {
	v.address = fmt.Sprintf("192.0.2.%d", last)
	return v
}

// origin is whose pages are the gate's own.
func (v vault) origin() string { return strings.Replace(v.URL, "127.0.0.1", "localhost", 1) }

// said is an answer.
type said struct {
	status int
	header http.Header
	body   string
}

var stays = &http.Client{
	Timeout: peers.Patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport: &http.Transport{DisableKeepAlives: true},
}

// call sends a request without a Content-Type, as many clients of this wire do. header are names and values.
func (v vault) call(t *testing.T, method, path, authorization, body string, header ...string) said {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, v.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if v.address != "" {
		r.Header.Set("X-Forwarded-For", v.address)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := v.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return said{answer.StatusCode, answer.Header, string(text)}
}

func (v vault) post(t *testing.T, path, authorization, body string, header ...string) said {
	t.Helper()
	return v.call(t, "POST", path, authorization, body, header...)
}

// is compares status and, where one is given, body, to the byte.
func (a said) is(t *testing.T, status int, body string) said {
	t.Helper()
	if a.status != status || body != "" && a.body != body {
		t.Fatalf("answered %d %q, want %d %q", a.status, a.body, status, body)
	}
	return a
}

// member returns a text of the answer's object.
func (a said) member(t *testing.T, name string) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(a.body), &all); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	text, _ := all[name].(string)
	return text
}

// bearer is the Authorization header of the session that the answer began.
func (a said) bearer(t *testing.T) string {
	t.Helper()
	token := a.is(t, http.StatusOK, "").member(t, "access_token")
	if len(token) != 86 {
		t.Fatalf("no token in %s", a.body)
	}
	return "Bearer " + token
}

var challenged = regexp.MustCompile(`"challenge":"([\w-]{43})"`)

// asks is what the answer asks of a security key.
func (v vault) asks(t *testing.T, a said) authenticator.Ceremony {
	t.Helper()
	found := challenged.FindStringSubmatch(a.body)
	if found == nil {
		t.Fatalf("no challenge in %d %s", a.status, a.body)
	}
	challenge, err := base64.RawURLEncoding.DecodeString(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return authenticator.Ceremony{Challenge: challenge, Origin: v.origin(), RPID: "localhost"}
}

func basicAuth(name, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+secret))
}

// as is a person's Basic.
func as(name string) string { return basicAuth(mail(name), phrase) }

func mail(name string) string { return name + "@example.test" }

// person adds a user and returns the id.
func (v vault) person(t *testing.T, name string) string {
	t.Helper()
	r := v.Command(t, phrase, "user", "add", name, "--email", mail(name), "--password-stdin", "--json")
	var u struct{ ID string }
	if err := json.Unmarshal([]byte(r.Stdout), &u); err != nil {
		t.Fatalf("%s%s: %v", r.Stdout, r.Stderr, err)
	}
	return u.ID
}

// program adds an application and returns its id and secret.
func (v vault) program(t *testing.T, name string) (id, secret string) {
	t.Helper()
	var made struct {
		ID     string `json:"app_id"`
		Secret string
	}
	if err := json.Unmarshal([]byte(v.Must(t, "app", "add", name)), &made); err != nil {
		t.Fatal(err)
	}
	return made.ID, made.Secret
}

// signIn begins a session by Basic.
func (v vault) signIn(t *testing.T, basic string) string {
	t.Helper()
	return v.post(t, auth, basic, "").bearer(t)
}

// administer is a session of the administrator, in the default account.
func (v vault) administer(t *testing.T) string {
	t.Helper()
	admin := v.signIn(t, basicAuth("admin", phrase))
	v.post(t, "/sys/v1/session/select_account", admin, `{"acct_id":"`+defaultID+`"}`).is(t, http.StatusOK, "{}\n")
	return admin
}

// enrol gives the holder of a session a security key.
func (v vault) enrol(t *testing.T, bearer, user string) *authenticator.Key {
	t.Helper()
	key := authenticator.New(authenticator.ES256)
	v.post(t, "/sys/v1/session/config_2fa/auth", bearer, `{"password":"`+phrase+`"}`).is(t, http.StatusOK, "{}\n")
	asked := v.asks(t, v.post(t, "/sys/v1/session/config_2fa/new_challenge?protocol=fido2", bearer, ""))
	answer := string(authenticator.AttestationJSON(key.Create(asked)))
	v.call(t, "PATCH", "/sys/v1/users/"+user, bearer, `{"add_mfa_devices":[{"name":"Blue key","attestationResult":`+answer+`}]}`).is(t, http.StatusOK, "")
	return key
}

// keyed adds a user who has a security key and ten recovery codes.
func (v vault) keyed(t *testing.T, name string) (*authenticator.Key, []string) {
	t.Helper()
	id := v.person(t, name)
	session := v.signIn(t, as(name))
	key := v.enrol(t, session, id)
	var list struct {
		Codes []string `json:"recovery_codes"`
	}
	a := v.post(t, "/sys/v1/users/generate_recovery_codes", session, "").is(t, http.StatusOK, "")
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || len(list.Codes) != 10 {
		t.Fatalf("%s: %v", a.body, err)
	}
	return key, list.Codes
}

// begin signs in up to the second factor.
func (v vault) begin(t *testing.T, name string) (bearer string, asked authenticator.Ceremony) {
	t.Helper()
	a := v.post(t, auth, as(name), "")
	return a.bearer(t), v.asks(t, a)
}

func assertion(key *authenticator.Key, asked authenticator.Ceremony) string {
	return string(authenticator.AssertionJSON(key.Get(asked)))
}

// write changes the gate's database behind its back: what no door offers yet.
func (v vault) write(t *testing.T, statement string, args ...any) {
	t.Helper()
	source := (&url.URL{Scheme: "file", Path: filepath.Join(v.Data, "gatehouse.db"), RawQuery: "_pragma=busy_timeout(5000)"}).String()
	db, err := sql.Open("sqlite", source)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	changed, err := db.ExecContext(t.Context(), statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := changed.RowsAffected(); n != 1 || err != nil {
		t.Fatalf("%d rows, %v", n, err)
	}
}

// hashes is how many passwords were hashed so far.
func (v vault) hashes(t *testing.T) float64 {
	t.Helper()
	return v.Metrics(t)["gatehouse_hash_queue_seconds_count"]
}

// showing is a client that trusts one server and shows these certificates.
func showing(t *testing.T, trusted []byte, certificates ...tls.Certificate) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	c := *stays
	c.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: certificates}, DisableKeepAlives: true}
	return &c
}

// newClientCertificate makes a certificate that nobody signed but itself.
func newClientCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "robot"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// eavesdropper is a server that takes one connection, hears how it begins and hangs up.
type eavesdropper struct {
	address string
	heard   chan string
}

func listenPlainly(t *testing.T) eavesdropper {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := eavesdropper{l.Addr().String(), make(chan string, 1)}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return // the test is over
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(peers.Patience))
		buffer := make([]byte, 4096)
		n, _ := conn.Read(buffer) // nothing was heard, then
		e.heard <- string(buffer[:n])
	}()
	return e
}

// first is what it heard.
func (e eavesdropper) first(t *testing.T) string {
	t.Helper()
	select {
	case text := <-e.heard:
		return text
	case <-time.After(peers.Patience):
		t.Fatal("nobody called")
		return ""
	}
}
