package secret

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// MaxPassword is the longest password in bytes (rule S20).
const MaxPassword = 1024

// ErrBusy says that every hashing slot stayed taken for as long as a caller waits (rule W13).
var ErrBusy = fault.New(fault.Limited, "too many sign-ins at once; try again in a moment")

// Errors for a password that is refused before it costs a hash.
var (
	ErrPasswordEmpty = fault.New(fault.Invalid, "a password must not be empty")
	ErrPasswordLong  = fault.New(fault.Invalid, "a password must have at most 1024 bytes")
)

// today is what new passwords are hashed with: OWASP's first choice for Argon2id, 19 MiB.
var today = cost{memory: 19456, time: 2, threads: 1}

const (
	saltSize = 16
	hashSize = 32
)

// Hasher hashes and checks passwords in a fixed pool. Each running hash costs 19 MiB and a core, so
// the pool's size is a memory limit; who waits longer than the queue's deadline is turned away.
// It is safe for concurrent use.
type Hasher struct {
	// Waited, if set before the first use, is told how long each caller stood in the queue.
	Waited func(time.Duration)

	slots  chan struct{}
	wait   time.Duration
	derive func(password []byte, p phc) []byte // argon2, but for tests that count
}

// NewHasher makes a pool for that many hashes at a time, with that long a wait for a free slot.
func NewHasher(parallel int, wait time.Duration) *Hasher {
	return &Hasher{slots: make(chan struct{}, max(parallel, 1)), wait: wait, derive: derive}
}

// Hash hashes a new password to a PHC string. It reports ErrPasswordEmpty, ErrPasswordLong, and
// fault.Limited when the queue is full.
func (h *Hasher) Hash(ctx context.Context, password String) (string, error) {
	p := phc{cost: today, salt: Bytes(saltSize), hash: make([]byte, hashSize)}
	hash, err := h.run(ctx, p, password)
	if err != nil {
		return "", err
	}
	p.hash = hash
	return p.String(), nil
}

// Check compares a password with a PHC string from Hash; rehash says that the password was right and
// the string was made with other costs than today's. It reports what Hash reports: a door answers
// ErrPasswordEmpty and ErrPasswordLong like a wrong password.
func (h *Hasher) Check(ctx context.Context, phcText string, password String) (ok, rehash bool, err error) {
	p, err := parsePHC(phcText)
	if err != nil {
		return false, false, err
	}
	hash, err := h.run(ctx, p, password)
	if err != nil {
		return false, false, err
	}
	ok = Equal(hash, p.hash)
	return ok, ok && !p.current(), nil
}

// decoy is a hash of nothing, at today's cost.
var decoy = phc{cost: today, salt: make([]byte, saltSize), hash: make([]byte, hashSize)}

// CheckNobody takes as long as Check and is never right: what a login does for a name that does not
// exist, so that time does not tell which names do (rule F6).
func (h *Hasher) CheckNobody(ctx context.Context, password String) error {
	_, err := h.run(ctx, decoy, password)
	return err
}

// run derives one hash inside the pool.
func (h *Hasher) run(ctx context.Context, p phc, password String) ([]byte, error) {
	text := []byte(password.Reveal())
	switch {
	case len(text) == 0:
		return nil, ErrPasswordEmpty
	case len(text) > MaxPassword:
		return nil, ErrPasswordLong
	}
	if err := h.enter(ctx); err != nil {
		return nil, err
	}
	defer func() { <-h.slots }()
	return h.derive(text, p), nil
}

// enter takes a slot, or gives up at the deadline of the queue or of the caller.
func (h *Hasher) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.Limited, ErrBusy.Text, err)
	}
	since := time.Now()
	if h.Waited != nil {
		defer func() { h.Waited(time.Since(since)) }()
	}
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	deadline := time.NewTimer(h.wait)
	defer deadline.Stop()
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-deadline.C:
		return ErrBusy
	case <-ctx.Done():
		return fault.Wrap(fault.Limited, ErrBusy.Text, ctx.Err())
	}
}

func derive(password []byte, p phc) []byte {
	return argon2.IDKey(password, p.salt, p.time, p.memory, p.threads, uint32(len(p.hash))) //nolint:gosec // parsePHC bounds it
}

// cost is what one hash takes.
type cost struct {
	memory  uint32 // KiB
	time    uint32 // passes
	threads uint8
}

// phc is a parsed PHC string: $argon2id$v=19$m=19456,t=2,p=1$salt$hash.
type phc struct {
	cost
	salt, hash []byte
}

func (p phc) current() bool {
	return p.cost == today && len(p.salt) == saltSize && len(p.hash) == hashSize
}

func (p phc) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads, b64(p.salt), b64(p.hash))
}
