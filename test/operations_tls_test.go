package test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// selfSigned writes a certificate for localhost and its key, and returns the certificate in PEM form.
func selfSigned(t *testing.T, certFile, keyFile string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), certFile: public} {
		if err := os.WriteFile(name+".new", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	return public
}

// overTLS asks for /readyz, trusting this certificate alone, and returns the fingerprint that was shown.
func overTLS(g *gate.Gate, trusted []byte) (fingerprint string, err error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, DisableKeepAlives: true}
	c := http.Client{Timeout: peers.Patience, Transport: transport}
	r, err := c.Get("https://" + g.URL[strings.LastIndex(g.URL, "/")+1:] + "/readyz")
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	if body, _ := io.ReadAll(r.Body); r.StatusCode != 200 {
		return "", fmt.Errorf("%d %s", r.StatusCode, body)
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:]), nil
}

// TLS by files: they are served, replaced files are noticed without a restart, and files that cannot be
// read leave the certificate before in use.
func TestOperations_TLS_by_files(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	trusted := selfSigned(t, certFile, keyFile)
	g := gate.Prepare(t, gate.Options{Flags: []string{"--tls-cert", certFile, "--tls-key", keyFile}})
	g.Launch(t, func() error {
		_, err := overTLS(g, trusted)
		return err
	})
	trusted = selfSigned(t, certFile, keyFile)
	gate.Eventually(t, func() error {
		_, err := overTLS(g, trusted)
		return err
	})
	if !strings.Contains(g.Log(t), "certificate reloaded") {
		t.Error("the log says nothing of the renewal")
	}
	if err := os.WriteFile(certFile, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	gate.Eventually(t, func() error {
		if _, err := overTLS(g, trusted); err != nil {
			t.Fatalf("a broken renewal closed the door: %v", err)
		}
		if !strings.Contains(g.Log(t), "reload certificate; the one before stays in use") {
			return fmt.Errorf("the log does not tell of the broken renewal")
		}
		return nil
	})
	conn := dialFrom(t, "127.0.0.1", g.URL[strings.LastIndex(g.URL, "/")+1:])
	_, _ = io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if answer, _ := io.ReadAll(conn); bytes.Contains(answer, []byte(" 200 ")) {
		t.Errorf("plain HTTP is answered: %s", answer)
	}
	if r := g.Command(t, "", "serve", "--tls-cert", certFile); r.Exit != 2 || !strings.Contains(r.Stderr, "tls.key") {
		t.Errorf("a certificate without a key: exit %d, %s", r.Exit, r.Stderr)
	}
}

// A listener that other machines can reach never speaks plain HTTP: it makes a certificate, prints its
// fingerprint, and keeps it.
func TestOperations_TLS_by_own_certificate(t *testing.T) {
	t.Parallel()
	g := gate.Prepare(t, gate.Options{})
	address := strings.TrimPrefix(g.URL, "http://")
	_, port, _ := net.SplitHostPort(address)
	g.Flags("--http", "0.0.0.0:"+port, "--public-url", "https://localhost:"+port)
	ready := func() error {
		trusted, err := os.ReadFile(filepath.Join(g.Data, "tls.crt"))
		if err != nil {
			return err
		}
		_, err = overTLS(g, trusted)
		return err
	}
	var prints []string
	for range 2 {
		g.Launch(t, ready)
		trusted, err := os.ReadFile(filepath.Join(g.Data, "tls.crt"))
		if err != nil {
			t.Fatal(err)
		}
		shown, err := overTLS(g, trusted)
		if err != nil || !strings.Contains(g.Log(t), "sha256="+shown) {
			t.Errorf("the certificate shown, %s, is not the one printed (%v)", shown, err)
		}
		prints = append(prints, shown)
		g.Stop(t)
	}
	if prints[0] != prints[1] {
		t.Errorf("another certificate after a restart: %v", prints)
	}
	if info, err := os.Stat(filepath.Join(g.Data, "tls.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
}
