package saml

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const (
	maxIssuer       = 1024 // bytes, SAML core 8.3.6
	maxCertificates = 16
	minRSA          = 2048 // bits
)

// settled are settings that can work.
type settled struct {
	identity.SAMLSettings
	keys []*x509.Certificate // for signatures
	jit  identity.JIT
}

// Check returns what is wrong with a provider's settings, all at once, as an Invalid fault. A provider without a certificate cannot be set up (rule F2).
func (f *Federation) Check(p identity.Provider) error {
	_, err := f.settle(p)
	return err
}

func (f *Federation) settle(p identity.Provider) (settled, error) {
	if p.Kind != identity.SAML || p.Settings.SAML == nil {
		return settled{}, fault.New(fault.Invalid, "the provider has no settings of SAML")
	}
	s := settled{SAMLSettings: *p.Settings.SAML, jit: p.Settings.JIT}
	var found faults
	if s.Issuer == "" || len(s.Issuer) > maxIssuer || strings.ContainsFunc(s.Issuer, unicode.IsControl) || strings.TrimSpace(s.Issuer) != s.Issuer {
		found.add("saml.issuer", "expected the provider's entity id, at most 1024 bytes in one line")
	}
	if !f.mayPost(s.SSOURL) {
		found.add("saml.sso_url", "expected an https URL without user name and fragment (http is for tests on loopback, by the setting sso.allow_http)")
	}
	var err error
	if s.keys, err = parseCertificates(s.Certificate); err != nil {
		found.add("saml.certificate", err.Error())
	}
	if err := identity.CheckExpression(s.NameClaim); err != nil {
		found.add("saml.name_claim", fault.Text(err))
	}
	if s.SignRequests && f.Key == nil {
		found.add("saml.sign_requests", "requests cannot be signed: this installation has no key for it")
	}
	return s, found.fault()
}

// mayPost says whether a browser may be sent to that URL (rule F3).
func (f *Federation) mayPost(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" || strings.ContainsFunc(text, unicode.IsControl) {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && f.AllowHTTP && loopback(u.Hostname())
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// parseCertificates reads the certificates of a provider: PEM, or bare base64, each after a blank line, a comma or a semicolon.
func parseCertificates(text string) ([]*x509.Certificate, error) {
	blocks, err := pemBlocks(text)
	if !strings.Contains(text, "-----BEGIN") {
		blocks, err = bareBlocks(text)
	}
	switch {
	case err != nil:
		return nil, err
	case len(blocks) == 0 || len(blocks) > maxCertificates:
		return nil, errors.New("expected 1 to 16 certificates: without one nothing that the provider says could be believed")
	}
	certificates := make([]*x509.Certificate, 0, len(blocks))
	for _, der := range blocks {
		c, err := x509.ParseCertificate(der)
		if err != nil || !strongEnough(c) {
			return nil, errors.New("expected X.509 certificates of RSA keys of 2048 bits or more, or of ECDSA keys on P-256, P-384 or P-521")
		}
		certificates = append(certificates, c)
	}
	return certificates, nil
}

func pemBlocks(text string) (blocks [][]byte, err error) {
	rest := []byte(text)
	for len(strings.TrimSpace(string(rest))) > 0 {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, errors.New("expected certificates and nothing else")
		}
		blocks = append(blocks, block.Bytes)
	}
	return blocks, nil
}

var betweenCertificates = regexp.MustCompile(`\r?\n[ \t]*\r?\n|[,;]`)

func bareBlocks(text string) (blocks [][]byte, err error) {
	for _, part := range betweenCertificates.Split(text, -1) {
		if strings.TrimSpace(part) == "" {
			continue
		}
		der, err := unbase64(part)
		if err != nil {
			return nil, errors.New("expected PEM or base64")
		}
		blocks = append(blocks, der)
	}
	return blocks, nil
}

func strongEnough(c *x509.Certificate) bool {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSA
	case *ecdsa.PublicKey:
		return slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, key.Curve)
	}
	return false
}

// unbase64 decodes text that white space may break.
func unbase64(text string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, errors.New("no base64")
	}
	return raw, nil
}

// faults collects what is wrong where.
type faults []fault.Field

func (f *faults) add(path, message string) {
	*f = append(*f, fault.Field{Path: path, Message: message})
}

func (f *faults) fault() error {
	if len(*f) == 0 {
		return nil
	}
	return fault.Fields("the SAML provider's settings cannot work", *f...)
}
