package login

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Certificate is the kind of a client that presents a certificate and no name.
const Certificate Kind = "certificate" // Certificate

type certificates struct{ *Service }

// Prove implements Method with a client's certificate, which the connection has proved: exactly one application must be meant by it.
func (s certificates) Prove(ctx context.Context, p Presented) (Proof, error) {
	presented, err := x509.ParseCertificate(p.Certificate)
	if err != nil {
		return Proof{}, &Wrong{Reason: "there is no certificate that can be read"}
	}
	candidates, err := s.Applications.ForLoginByCertificate(ctx, sha256.Sum256(p.Certificate))
	if err != nil {
		return Proof{}, err
	}
	var meant []identity.Application
	for _, a := range candidates {
		if a.HasCertificate(presented, s.Now()) {
			meant = append(meant, a)
		}
	}
	if len(meant) != 1 {
		return Proof{}, &Wrong{Reason: "the certificate is not that of exactly one application"}
	}
	return s.bound(p, meant[0], nil, true)
}

// bound makes a proof of an application whose session is bound to its certificate.
func (s *Service) bound(p Presented, a identity.Application, err error, ok bool) (Proof, error) {
	sum := sha256.Sum256(p.Certificate)
	return s.program(p, a, Proof{Certificate: sum[:]}, unfit(a, err, ok, "the certificate is another one", p))
}

// byOther proves an application that has no secret: by the certificate of the connection, or by a directory.
func (s *Service) byOther(ctx context.Context, p Presented, a identity.Application) (Proof, error) {
	switch a.AuthType {
	case identity.ByCertificate, identity.ByAuthority:
		presented, err := x509.ParseCertificate(p.Certificate)
		return s.bound(p, a, nil, err == nil && p.Secret.Empty() && a.HasCertificate(presented, s.Now()))
	case identity.ByLDAP:
		ok, err := s.byDirectory(ctx, p, a)
		if err != nil {
			return Proof{}, err
		}
		return s.program(p, a, Proof{}, unfit(a, nil, ok, "the password is wrong", p))
	}
	return s.program(p, a, Proof{}, "the application signs in otherwise")
}

// byDirectory asks the application's directory for its password, under the application's own name.
func (s *Service) byDirectory(ctx context.Context, p Presented, a identity.Application) (bool, error) {
	if s.Directory == nil || s.Providers == nil || p.Secret.Empty() || a.Shut() || !a.From(p.Address) {
		return false, nil
	}
	to, err := s.Providers.Store.ByID(ctx, a.Provider)
	if fault.Is(err, fault.NotFound) || err == nil && (!to.Enabled || to.Kind != identity.LDAP) {
		return false, nil
	}
	if err == nil {
		_, err = s.Directory.Bind(ctx, to, a.Name, p.Secret)
	}
	return err == nil, err
}

// program makes a proof of an application, unless something speaks against it.
func (s *Service) program(p Presented, a identity.Application, proof Proof, why string) (Proof, error) {
	who := access.Principal{Kind: access.Application, ID: a.ID, Name: a.Name}
	if why != "" {
		w := &Wrong{Reason: why}
		if a.ID != "" {
			w.Who = who
		}
		return Proof{}, w
	}
	proof.Caller = s.caller(p, who)
	proof.Caller.Account = a.Account
	proof.Stamp = hex.EncodeToString(a.Digest[:])
	return proof, nil
}

// unfit returns why an application is not let in, or "" (rules F12 and W7).
func unfit(a identity.Application, err error, ok bool, otherwise string, p Presented) string {
	switch {
	case err != nil:
		return "there is no such application"
	case a.Disabled:
		return "the application is disabled"
	case a.AccountShut:
		return "the account is disabled"
	case !ok:
		return otherwise
	case !a.From(p.Address):
		return "the application may not come from that address"
	}
	return ""
}
