package login

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	serviceKeyBits  = 3072
	serviceKeyYears = 10
	samlServiceKey  = "saml"
)

// ServiceKeyMake is the action under which the making of a service key is recorded.
const ServiceKeyMake access.Action = "servicekey.make"

// ServiceKey is a key by which providers know the installation: made once, the same on every node.
type ServiceKey struct {
	Name        string // what it is for
	Sealed      []byte // the private key, PKCS #8, bound to its name
	Certificate []byte // DER, self-signed
	Created     time.Time
}

// ServiceKeyStore keeps the service keys of the installation.
type ServiceKeyStore interface {
	// ServiceKey returns the key of that name, or fault.NotFound.
	ServiceKey(ctx context.Context, name string) (ServiceKey, error)
	// InsertFirstServiceKey adds k and records e, both or neither, unless there is a key of that name already, whoever made it. It returns
	// the one that is there then.
	InsertFirstServiceKey(ctx context.Context, k ServiceKey, e audit.Event) (ServiceKey, error)
}

// KeyPair is a service key ready for use. Its certificate wraps the public key for others; who holds it trusts that key.
type KeyPair struct {
	Private     *rsa.PrivateKey
	Certificate *x509.Certificate
}

// ServiceKeys opens the key that SAML providers know, and makes it when it is first asked for: most installations have no such provider, and
// making it takes longer than a start should. It may be used from everywhere at once.
type ServiceKeys struct {
	Store  ServiceKeyStore
	Sealer *secret.Sealer
	Host   string // after which the certificate is named
	Now    func() time.Time

	mu   sync.Mutex
	pair KeyPair
}

// SAML returns the key. Nodes that ask for it together end up with the same one. It is everybody's, so whoever asks first and goes away does
// not take it with them.
func (k *ServiceKeys) SAML(ctx context.Context) (KeyPair, error) {
	ctx = context.WithoutCancel(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pair.Private != nil {
		return k.pair, nil
	}
	kept, err := k.Store.ServiceKey(ctx, samlServiceKey)
	if fault.Is(err, fault.NotFound) {
		kept, err = k.make(ctx)
	}
	if err != nil {
		return KeyPair{}, fmt.Errorf("read service key: %w", err)
	}
	pair, err := kept.open(k.Sealer)
	if err != nil {
		return KeyPair{}, fmt.Errorf("open service key %s: %w", kept.Name, err)
	}
	k.pair = pair
	return pair, nil
}

func (k *ServiceKeys) make(ctx context.Context) (ServiceKey, error) {
	now := k.Now()
	private, err := rsa.GenerateKey(rand.Reader, serviceKeyBits)
	if err != nil {
		return ServiceKey{}, err
	}
	certificate, err := selfSigned(private, k.Host, now)
	if err != nil {
		return ServiceKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return ServiceKey{}, err
	}
	sealed, err := k.Sealer.Seal(der, serviceKeySealedAs(samlServiceKey))
	if err != nil {
		return ServiceKey{}, err
	}
	digest := sha256.Sum256(certificate)
	e := access.SystemCaller(now).Event(now, ServiceKeyMake, access.Installation, audit.Done).
		With("name", samlServiceKey).With("certificate_sha256", hex.EncodeToString(digest[:]))
	return k.Store.InsertFirstServiceKey(ctx, ServiceKey{Name: samlServiceKey, Sealed: sealed, Certificate: certificate, Created: now}, e)
}

// selfSigned returns a certificate that says whose key it is, and nothing about what else it may do.
func selfSigned(private *rsa.PrivateKey, host string, now time.Time) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: host, Organization: []string{"Gatehouse"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(serviceKeyYears, 0, 0), // an hour for providers whose clocks are behind
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, BasicConstraintsValid: true,
	}
	return x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
}

// serviceKeySealedAs is the place that a sealed service key is bound to.
func serviceKeySealedAs(name string) string { return "service_keys/" + name }

// open unseals the key and makes sure that it is the private half of the one that the certificate shows to others.
func (k ServiceKey) open(sealer *secret.Sealer) (KeyPair, error) {
	der, err := sealer.Open(k.Sealed, serviceKeySealedAs(k.Name))
	if err != nil {
		return KeyPair{}, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return KeyPair{}, err
	}
	certificate, err := x509.ParseCertificate(k.Certificate)
	if err != nil {
		return KeyPair{}, err
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok || !private.PublicKey.Equal(certificate.PublicKey) {
		return KeyPair{}, fault.New(fault.Internal, "the sealed private key does not belong to the certificate beside it")
	}
	return KeyPair{Private: private, Certificate: certificate}, nil
}
