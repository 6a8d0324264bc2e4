package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Seal signs the chain up to and including position Last.
type Seal struct {
	Number    int64     `json:"number"` // 1, 2, 3, ...
	First     int64     `json:"first"`  // position of the first event of this batch
	Last      int64     `json:"last"`   // position of the last
	Link      Hash      `json:"-"`      // link of the last
	Previous  Hash      `json:"-"`      // Hash() of the seal before, zero for the first
	At        time.Time `json:"at"`
	KeyID     string    `json:"key_id"`
	Signature []byte    `json:"-"`
}

const sealPurpose = "gatehouse audit seal v1\n"

// message returns the bytes that are signed.
func (s Seal) message() []byte {
	m := append([]byte(sealPurpose), s.KeyID...)
	m = append(m, '\n')
	for _, n := range []int64{s.Number, s.First, s.Last, s.At.UnixMicro()} {
		m = binary.BigEndian.AppendUint64(m, uint64(n)) //nolint:gosec // bit pattern of a position or a time, not arithmetic
	}
	m = append(m, s.Link[:]...)
	return append(m, s.Previous[:]...)
}

// Hash returns what the next seal names as its Previous: it covers the signature too.
func (s Seal) Hash() Hash { return sha256.Sum256(append(s.message(), s.Signature...)) }

// SignedBy reports whether the seal carries a valid signature of that key.
func (s Seal) SignedBy(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, s.message(), s.Signature)
}

// Signer signs for the installation.
type Signer struct {
	id  string
	key ed25519.PrivateKey
}

// KeyIDOf returns the short public name of a signing key.
func KeyIDOf(key ed25519.PublicKey) string {
	sum := sha256.Sum256(append([]byte("gatehouse signing key\n"), key...))
	return hex.EncodeToString(sum[:8])
}

// KeyID names the signing key.
func (s Signer) KeyID() string { return s.id }

// Public returns the key that verifies.
func (s Signer) Public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// seal signs a batch of waiting events that follows previous (the zero Seal at the start of the chain),
// and returns the link of each.
func (s Signer) seal(previous Seal, waiting []Hash, now time.Time) (Seal, []Hash) {
	links := make([]Hash, len(waiting))
	link := previous.Link
	for i, digest := range waiting {
		link = LinkOf(link, digest)
		links[i] = link
	}
	next := Seal{
		Number: previous.Number + 1, First: previous.Last + 1, Last: previous.Last + int64(len(waiting)),
		Link: link, At: now.UTC().Truncate(time.Microsecond), KeyID: s.id,
	}
	if previous.Number > 0 {
		next.Previous = previous.Hash()
	}
	next.Signature = ed25519.Sign(s.key, next.message())
	return next, links
}

// SigningKey is the installation's key as the store keeps it.
type SigningKey struct {
	ID      string
	Public  ed25519.PublicKey
	Sealed  []byte // the private seed, sealed; associated data "signing_keys/" + ID
	Created time.Time
}

// KeyStore keeps the installation's signing key.
type KeyStore interface {
	// CurrentKey reports fault.NotFound before the first key was made.
	CurrentKey(ctx context.Context) (SigningKey, error)
	// Keys lists all keys, oldest first: old seals stay verifiable after a rotation.
	Keys(ctx context.Context) ([]SigningKey, error)
	// InsertFirstKey adds k unless a key exists, and returns the one that is there then.
	InsertFirstKey(ctx context.Context, k SigningKey, e Event) (SigningKey, error)
}

// OpenSigner returns the installation's signer and makes its key at the first start. Nodes that
// start at the same moment end up with the same key.
func OpenSigner(ctx context.Context, keys KeyStore, sealer *secret.Sealer, now time.Time) (Signer, error) {
	k, err := keys.CurrentKey(ctx)
	if fault.Is(err, fault.NotFound) {
		k, err = makeKey(ctx, keys, sealer, now)
	}
	if err != nil {
		return Signer{}, fmt.Errorf("load signing key: %w", err)
	}
	seed, err := sealer.Open(k.Sealed, "signing_keys/"+k.ID)
	if err != nil {
		return Signer{}, fmt.Errorf("open signing key: %w", err)
	}
	return Signer{id: k.ID, key: ed25519.NewKeyFromSeed(seed)}, nil
}

func makeKey(ctx context.Context, keys KeyStore, sealer *secret.Sealer, now time.Time) (SigningKey, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return SigningKey{}, err
	}
	id := KeyIDOf(public)
	sealed, err := sealer.Seal(private.Seed(), "signing_keys/"+id)
	if err != nil {
		return SigningKey{}, err
	}
	e := NewEvent(now, "signing_key.create", Done)
	e.Actor, e.Object = Actor{Kind: "system"}, Object{Kind: "signing_key", ID: id}
	return keys.InsertFirstKey(ctx, SigningKey{ID: id, Public: public, Sealed: sealed, Created: now}, e)
}
