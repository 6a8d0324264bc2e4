package sshrelay

import (
	"bytes"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// Bounds on what a target may say before the person is in (rule W5).
const (
	maxPinned     = 64       // host keys that are looked at
	maxBanners    = 32       // messages before the sign-in
	maxBannerSize = 64 << 10 // all of them together
	maxRounds     = 8        // of keyboard-interactive
)

// entry is one sign-in at a target.
type entry struct {
	target   remote.Target
	accepted []ssh.PublicKey

	strange *remote.StrangeKey // what the target showed instead of an accepted key
	known   bool               // it showed an accepted one
	given   bool               // the password was shown to it
	rounds  int                // of keyboard-interactive
	banners int
	said    int // bytes of banners
}

// config is how the library signs in. A stored key that cannot be used is ErrTargetLogin.
func (e *entry) config() (*ssh.ClientConfig, error) {
	for _, blob := range e.target.HostKeys {
		if key, err := ssh.ParsePublicKey(blob); err == nil {
			e.accepted = append(e.accepted, key)
		}
	}
	config := &ssh.ClientConfig{
		Config:            algorithms(),
		User:              e.target.Username,
		HostKeyCallback:   e.check,
		HostKeyAlgorithms: prefer(e.accepted),
		BannerCallback:    e.banner,
		ClientVersion:     version,
	}
	if !e.target.Key.Empty() {
		signer, err := parseSigner([]byte(e.target.Key.Reveal()))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", remote.ErrTargetLogin, err)
		}
		config.Auth = []ssh.AuthMethod{ssh.PublicKeys(signer)}
	} else if !e.target.Password.Empty() {
		config.Auth = []ssh.AuthMethod{ssh.PasswordCallback(e.password), ssh.KeyboardInteractive(e.answer)}
	}
	return config, nil
}

// parseSigner reads a stored private key. RSA signs by SHA-2 alone.
func parseSigner(pem []byte) (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		var locked *ssh.PassphraseMissingError
		if errors.As(err, &locked) {
			return nil, errors.New("the stored key is locked with a passphrase")
		}
		return nil, errors.New("the stored key cannot be read") // what the parser says may quote the key
	}
	switch signer.PublicKey().Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return signer, nil
	case ssh.KeyAlgoRSA:
		several, ok := signer.(ssh.AlgorithmSigner)
		if !ok {
			return nil, errors.New("the stored key cannot sign with SHA-2")
		}
		return ssh.NewSignerWithAlgorithms(several, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
	}
	return nil, errors.New("the stored key is of a kind that is not used any more")
}

// check compares the key that the target has proven with the accepted ones, by all their bytes (rules S8, S16). It runs before anything is shown to the
// target, and again at each later key exchange.
func (e *entry) check(_ string, _ net.Addr, shown ssh.PublicKey) error {
	blob := shown.Marshal()
	for _, key := range e.target.HostKeys {
		if bytes.Equal(key, blob) && !weak(shown) {
			e.known = true
			return nil
		}
	}
	e.strange = &remote.StrangeKey{Blob: blob, Changed: len(e.target.HostKeys) > 0}
	return e.strange
}

// weak reports RSA keys that are too small to be trusted (rule S6).
func weak(key ssh.PublicKey) bool {
	crypto, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return true
	}
	public, ok := crypto.CryptoPublicKey().(*rsa.PublicKey)
	return ok && (public.N.BitLen() < minRSA || public.N.BitLen() > maxRSA)
}

// RSA keys outside of these sizes, in bits, are not trusted.
const minRSA, maxRSA = 2048, 8192

// banner counts what the target says, and forgets it.
func (e *entry) banner(text string) error {
	e.banners, e.said = e.banners+1, e.said+len(text)
	if e.banners > maxBanners || e.said > maxBannerSize {
		return errors.New("the target says too much before the sign-in")
	}
	return nil
}

// password gives the password, once a sign-in: a target that refuses it once is not asked to count a second failure.
func (e *entry) password() (string, error) {
	if e.given {
		return "", errGiven
	}
	e.given = true
	return e.target.Password.Reveal(), nil
}

var errGiven = errors.New("the target asks for more than the password")

// answer gives the password to the one hidden question that a target has for it (RFC 4256). To nothing else: what would be echoed, or comes after
// the password, such as the wish for a new one, ends the sign-in.
func (e *entry) answer(_, _ string, questions []string, echo []bool) ([]string, error) {
	e.rounds++
	switch {
	case e.rounds > maxRounds:
		return nil, errors.New("the target asks without end")
	case len(questions) == 0:
		return nil, nil
	case len(questions) > 1 || echo[0]:
		return nil, errGiven
	}
	text, err := e.password()
	if err != nil {
		return nil, err
	}
	return []string{text}, nil
}

// failed says which of the room's faults the end of a sign-in is.
func (e *entry) failed(ctx context.Context, err error) error {
	var timeout net.Error
	switch {
	case e.strange != nil:
		return e.strange
	case !e.known, ctx.Err() != nil, errors.As(err, &timeout), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), strings.Contains(err.Error(), "connection reset"):
		return fmt.Errorf("%w: %w", remote.ErrUnreachable, err)
	}
	return fmt.Errorf("%w: %w", remote.ErrTargetLogin, err)
}
