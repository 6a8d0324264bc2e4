package app

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
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	lookAgain   = 5 * time.Second      // how often certificate files are looked at
	ownLifetime = 397 * 24 * time.Hour // of a certificate that we made
	renewBefore = 30 * 24 * time.Hour  // it is made anew when less is left
)

// certificate serves a key pair from files and notices when they change. A pair that cannot be read
// leaves the one before in use: a renewal that goes wrong closes no door.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu     sync.Mutex
	pair   *tls.Certificate
	looked time.Time
	stamp  string // sizes and times of the files when pair was read, or last failed to be
}

// openCertificate reads a key pair; it must be readable at start.
func openCertificate(certFile, keyFile string, log *slog.Logger, now func() time.Time) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, now: now}
	stamp, err := c.stat()
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s with key %s: %w", certFile, keyFile, err)
	}
	c.pair, c.stamp, c.looked = &pair, stamp, now()
	return c, nil
}

func (c *certificate) stat() (string, error) {
	text := ""
	for _, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf("%d %d;", info.Size(), info.ModTime().UnixNano())
	}
	return text, nil
}

// get implements tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= lookAgain {
		c.looked = now
		c.reload()
	}
	return c.pair, nil
}

func (c *certificate) reload() {
	stamp, err := c.stat()
	if err == nil && stamp == c.stamp {
		return
	}
	c.stamp = stamp
	pair, loadErr := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err = errors.Join(err, loadErr); err != nil {
		c.log.Error("reload certificate; the one before stays in use", slog.String("error", err.Error()))
		return
	}
	c.pair = &pair
	c.log.Info("certificate reloaded", slog.String("sha256", c.fingerprint()))
}

// fingerprint is the SHA-256 of the leaf, as browsers show it.
func (c *certificate) fingerprint() string {
	sum := sha256.Sum256(c.pair.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// config asks clients for a certificate and takes any, or none: what it is worth is for package login to say. That its holder has the key is proved.
func (c *certificate) config() *tls.Config {
	return &tls.Config{GetCertificate: c.get, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}

// ownCertificate makes a self-signed certificate in the data directory unless a good one is there, and
// returns its files.
func ownCertificate(data string, hosts []string, now time.Time) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(data, "tls.crt"), filepath.Join(data, "tls.key")
	good, err := stillGood(certFile, keyFile, hosts, now)
	if good || err != nil {
		return certFile, keyFile, err
	}
	certPEM, keyPEM, err := selfSigned(hosts, now)
	if err != nil {
		return "", "", err
	}
	return certFile, keyFile, errors.Join(replaceFile(keyFile, keyPEM, 0o600), replaceFile(certFile, certPEM, 0o644))
}

func stillGood(certFile, keyFile string, hosts []string, now time.Time) (bool, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read own certificate: %w; remove %s and %s to have them made anew", err, certFile, keyFile)
	}
	if now.Add(renewBefore).After(pair.Leaf.NotAfter) {
		return false, nil
	}
	for _, host := range hosts {
		if pair.Leaf.VerifyHostname(host) != nil {
			return false, nil
		}
	}
	return true, nil
}

func selfSigned(hosts []string, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: hosts[0], Organization: []string{"Gatehouse"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(ownLifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return encodePEM("CERTIFICATE", der), encodePEM("PRIVATE KEY", keyDER), nil
}

func encodePEM(kind string, der []byte) []byte {
	var b bytes.Buffer
	if err := pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

// replaceFile writes a file beside its name and moves it there: a crash leaves the old one or the new one.
func replaceFile(name string, content []byte, mode fs.FileMode) error {
	temporary, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }() // gone already when all went well
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Chmod(mode), temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), name)
}
