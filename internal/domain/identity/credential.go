package identity

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const maxAuthorities = 16

// Credential says how an application is to prove who it is. The zero Credential is a secret that is made for it.
type Credential struct {
	Type        AuthType
	Certificate []byte   // ByCertificate: DER
	Authorities [][]byte // ByAuthority: DER each
	Subject     string   // ByAuthority: as Application.Subject
	Provider    string   // ByLDAP: id of the identity provider
}

// give writes the credential into the application, and returns the secret that was made for it, where one was.
func (c Credential) give(a *Application, now time.Time) (secret.String, error) {
	a.AuthType = c.Type
	switch c.Type {
	case "", BySecret:
		plain := NewSecret(secretSize)
		a.AuthType, a.Digest = BySecret, secret.Digest(plain.Reveal())
		return plain, nil
	case ByAWSIAM:
		return secret.String{}, nil
	case ByLDAP:
		if c.Provider == "" {
			return secret.String{}, unusable("ldap", "an identity provider")
		}
		a.Provider = c.Provider
		return secret.String{}, nil
	case ByCertificate:
		if _, err := x509.ParseCertificate(c.Certificate); err != nil {
			return secret.String{}, unusable("certificate", "a certificate, DER")
		}
		a.Certificate = sha256.Sum256(c.Certificate)
		return secret.String{}, nil
	case ByAuthority:
		return secret.String{}, c.trust(a, now)
	}
	return secret.String{}, unusable("credential", "one that is known here")
}

// directory finds the LDAP provider that is meant, by its id or by its handle written like one.
func (s *Applications) directory(ctx context.Context, id string) (string, error) {
	if s.Providers == nil {
		return "", unusable("ldap", "an identity provider")
	}
	p, err := s.Providers.ByID(ctx, id)
	if handle, wrong := uuid.Parse(id); fault.Is(err, fault.NotFound) && wrong == nil {
		p, err = s.Providers.ByHandle(ctx, handle)
	}
	if fault.Is(err, fault.NotFound) || err == nil && p.Kind != LDAP {
		return "", unusable("ldap", "an identity provider that speaks LDAP")
	}
	return p.ID, err
}

func (c Credential) trust(a *Application, now time.Time) error {
	if c.Subject == "" || checkText("subject", c.Subject) != nil {
		return unusable("subject", "the subject of the certificates")
	}
	if len(c.Authorities) == 0 || len(c.Authorities) > maxAuthorities {
		return unusable("ca_certificates", "1 to 16 certificates of authorities, DER")
	}
	for _, der := range c.Authorities {
		authority, err := x509.ParseCertificate(der)
		if err != nil || !authority.IsCA || now.After(authority.NotAfter) {
			return unusable("ca_certificates", "certificates of authorities, DER, that are not over")
		}
		a.Authorities += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	a.Subject = c.Subject
	return nil
}

func unusable(member, message string) error {
	return fault.Fields("the credential cannot be used: "+member, fault.Field{Path: member, Message: message})
}

// HasCertificate reports whether a certificate, which the connection has proved, opens the application now: it is the one, or it was
// signed by an authority of the application's for clients, and has the subject.
func (a Application) HasCertificate(presented *x509.Certificate, now time.Time) bool {
	switch a.AuthType {
	case ByCertificate:
		sum := sha256.Sum256(presented.Raw)
		return secret.Equal(sum[:], a.Certificate[:]) && !now.Before(presented.NotBefore) && !now.After(presented.NotAfter) // rule W11
	case ByAuthority:
		roots := x509.NewCertPool()
		if a.Subject == "" || subjectOf(presented) != a.Subject || !roots.AppendCertsFromPEM([]byte(a.Authorities)) {
			return false
		}
		_, err := presented.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return err == nil
	}
	return false
}

// subjectOf writes all of a certificate's subject, in its order. Certificate.Subject keeps the last of several names of one kind, and an authority may
// let people choose the others.
func subjectOf(c *x509.Certificate) string {
	var names pkix.RDNSequence
	if rest, err := asn1.Unmarshal(c.RawSubject, &names); err != nil || len(rest) > 0 {
		return ""
	}
	return names.String()
}
