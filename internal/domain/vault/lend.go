package vault

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// checkSecret returns why something cannot be the secret of a credential, or nil. Nothing is the secret of one that has none yet, or keeps its own.
func checkSecret(kind Kind, s secret.String) error {
	plain := s.Reveal()
	switch {
	case plain == "":
		return nil
	case len(plain) > maxContent:
		return fault.Fields("a secret has at most 65,536 bytes", fault.Field{Path: "content", Message: "at most 65,536 bytes"})
	case !utf8.ValidString(plain):
		return fault.Fields("a secret is text in UTF-8", fault.Field{Path: "content", Message: "UTF-8"})
	case kind == SSHKey:
		return checkKey(plain)
	}
	return nil
}

// checkKey takes private keys that the relay can use as they lie, by the rules that public keys on file follow.
func checkKey(pem string) error {
	key, err := ssh.ParseRawPrivateKey([]byte(pem))
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return ErrPassphrase
	}
	switch key.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey, *ed25519.PrivateKey, ed25519.PrivateKey:
	default:
		return ErrKey
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return ErrKey
	}
	if _, err := sshkey.FromWire(signer.PublicKey()); err != nil {
		return ErrKey
	}
	return nil
}

// Lend gives the secret of an active credential on an active device to the relay that signs in with it for a session, and records it. It asks for no
// right: package remote has decided. e is the event of the lending without its action, object and moment: who the session is of.
func (s *Service) Lend(ctx context.Context, id string, e audit.Event) (secret.String, Credential, error) {
	now := s.Now()
	c, plain, err := s.Store.Secret(ctx, id, now, active, func(c Credential) audit.Event {
		e := e
		e.At, e.Action, e.Outcome = now.UTC().Truncate(time.Microsecond), string(access.CredentialLend), audit.Done
		e.Object = audit.Object{Kind: access.CredentialKind, ID: c.ID}
		return named(e, c)
	})
	return plain, c, err
}

func active(c Credential) error {
	if c.Disabled || c.Device.Disabled {
		return ErrInactive
	}
	return nil
}
