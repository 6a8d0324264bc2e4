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
		e.Action, e.Outcome = string(access.CredentialLend), audit.Done
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

// CheckOut shows the secret of a credential, which may be empty, to who has the right to see it, and gives them custody until they check it in or it
// ends by itself; once more renews it. The credential is marked for rotation. It reports ErrUnknown, ErrInactive, ErrNotShown and ErrHeld, and
// access.ErrNotFresh to people who signed in too long ago.
func (s *Service) CheckOut(ctx context.Context, by access.Caller, key string) (Credential, secret.String, Custody, error) {
	c, err := s.Find(ctx, by, key)
	if err != nil {
		return Credential{}, secret.String{}, Custody{}, err
	}
	if err := s.mayHold(ctx, by, access.CredentialCheckOut, c); err != nil {
		return Credential{}, secret.String{}, Custody{}, err
	}
	now := s.Now()
	held := Custody{Credential: c.ID, Holder: access.Subject{Kind: by.Kind, ID: by.ID}, Taken: now, Until: now.Add(s.Held)}
	c, plain, err := s.Store.Take(ctx, held, shown, func(c Credential) audit.Event {
		return named(by.Event(now, access.CredentialCheckOut, c.Resource(), audit.Done), c).With("until", held.Until.UTC().Format(time.RFC3339))
	})
	if err != nil {
		return Credential{}, secret.String{}, Custody{}, err
	}
	return c, plain, held, nil
}

// mayHold asks for the right, and of people, who are not programs, for a fresh proof of who they are (rule F14).
func (s *Service) mayHold(ctx context.Context, by access.Caller, do access.Action, c Credential) error {
	if err := s.Access.Require(ctx, by, do, c.Resource()); err != nil {
		return err
	}
	if by.Kind != access.User || do != access.CredentialCheckOut {
		return nil
	}
	return access.Fresh(by, s.Now(), s.FreshFor)
}

func shown(c Credential) error {
	if err := active(c); err != nil {
		return err
	}
	if c.NeverShown {
		return ErrNotShown
	}
	return nil
}

// CheckIn ends the caller's custody of a credential. It reports ErrUnknown and ErrNotHeld.
func (s *Service) CheckIn(ctx context.Context, by access.Caller, key string) (Credential, error) {
	return s.release(ctx, by, key, access.Subject{Kind: by.Kind, ID: by.ID})
}

// CheckInFor ends somebody else's custody of a credential, by the right to change the credential.
func (s *Service) CheckInFor(ctx context.Context, by access.Caller, key string, holder access.Subject) (Credential, error) {
	c, err := s.Find(ctx, by, key)
	if err != nil {
		return Credential{}, err
	}
	if err := s.Access.Require(ctx, by, access.CredentialUpdate, c.Resource()); err != nil {
		return Credential{}, err
	}
	return s.release(ctx, by, c.ID, holder)
}

func (s *Service) release(ctx context.Context, by access.Caller, key string, holder access.Subject) (Credential, error) {
	c, err := s.Find(ctx, by, key)
	if err != nil {
		return Credential{}, err
	}
	if err := s.mayHold(ctx, by, access.CredentialCheckIn, c); err != nil {
		return Credential{}, err
	}
	now := s.Now()
	e := named(by.Event(now, access.CredentialCheckIn, c.Resource(), audit.Done), c).With("holder", string(holder.Kind)+" "+holder.ID)
	return c, s.Store.Release(ctx, c.ID, holder, now, e)
}

// Custodies tells who has checked a credential out, to who may see the credential.
func (s *Service) Custodies(ctx context.Context, by access.Caller, id string) ([]Custody, error) {
	if _, err := s.may(ctx, by, access.CredentialRead, id); err != nil {
		return nil, err
	}
	return s.Store.Custodies(ctx, id, s.Now())
}

// batch is how many custodies one transaction ends.
const batch = 500

// Run ends custody that is over, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
				s.OnError("end custody of credentials", err)
			}
		}
	}
}

// Sweep ends all custody that is over now, each with an event.
func (s *Service) Sweep(ctx context.Context) error {
	for {
		now := s.Now()
		n, err := s.Store.Expire(ctx, now, batch, func(c Custody) audit.Event {
			e := access.SystemCaller(now).Event(now, access.CredentialExpire, access.Resource{Kind: access.CredentialKind, ID: c.Credential}, audit.Done)
			return e.With("holder", string(c.Holder.Kind)+" "+c.Holder.ID).With("until", c.Until.UTC().Format(time.RFC3339))
		})
		if err != nil || n < batch {
			return err
		}
	}
}
