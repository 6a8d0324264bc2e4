package peers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// Certificate is a certificate of a server with the authority that signed it, everything as PEM.
type Certificate struct{ CA, Chain, Key []byte }

// NewCertificate makes an authority of its own and a certificate for host names and addresses, good for a day.
func NewCertificate(tb testing.TB, hosts ...string) Certificate {
	tb.Helper()
	c, err := newCertificate(hosts...)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func newCertificate(hosts ...string) (Certificate, error) {
	authority := template("Gatehouse test authority")
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	server := template(hosts[0])
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, host)
		}
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Certificate{}, err
	}
	ca, err := x509.CreateCertificate(rand.Reader, authority, authority, signer.Public(), signer)
	if err != nil {
		return Certificate{}, err
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Certificate{}, err
	}
	leaf, err := x509.CreateCertificate(rand.Reader, server, authority, own.Public(), signer)
	if err != nil {
		return Certificate{}, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return Certificate{}, err
	}
	return Certificate{CA: armour("CERTIFICATE", ca), Chain: armour("CERTIFICATE", leaf), Key: armour("PRIVATE KEY", key)}, nil
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // never fails: crypto/rand ends the process instead
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func armour(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
