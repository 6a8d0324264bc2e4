package secret

import (
	"bytes"
	"errors"

	"github.com/tink-crypto/tink-go/v2/aead"
	aeadsubtle "github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// ErrWrongMasterKey says that a wrapped keyset was wrapped by another master key, or is damaged.
var ErrWrongMasterKey = fault.New(fault.Invalid,
	"this master key does not open the keyset; start with the master key that the keyset was made with")

// ErrSealed says that a sealed value does not open: it was changed, was sealed in another place, or
// belongs to another keyset.
var ErrSealed = errors.New("sealed value does not open here")

// errNoMasterKey is a mistake of the wiring: the zero MasterKey.
var errNoMasterKey = errors.New("no master key")

// keysetLabel is bound to every wrapped keyset, so that nothing else the master key may ever encrypt
// passes for one.
var keysetLabel = []byte("gatehouse keyset v1")

// Sealer encrypts what must be readable again, each value bound to the place where it lies.
// It is safe for concurrent use. Make one with OpenKeyset.
type Sealer struct{ aead tink.AEAD }

// NewKeyset makes a keyset with one AES-256-GCM key, wrapped by the master key: safe to store beside
// the data.
func NewKeyset(m MasterKey) (wrapped []byte, err error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "make keyset", err)
	}
	return wrap(m, handle)
}

// OpenKeyset unwraps a keyset. It reports ErrWrongMasterKey when m did not wrap it.
func OpenKeyset(m MasterKey, wrapped []byte) (*Sealer, error) {
	handle, err := unwrap(m, wrapped)
	if err != nil {
		return nil, err
	}
	a, err := aead.New(handle)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "open keyset", err)
	}
	return &Sealer{aead: a}, nil
}

// Rewrap wraps the same keyset by another master key: what was sealed stays as it is.
// It reports ErrWrongMasterKey when old did not wrap it.
func Rewrap(old, fresh MasterKey, wrapped []byte) ([]byte, error) {
	handle, err := unwrap(old, wrapped)
	if err != nil {
		return nil, err
	}
	return wrap(fresh, handle)
}

func wrap(m MasterKey, handle *keyset.Handle) ([]byte, error) {
	master, err := m.aead()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&out), master, keysetLabel); err != nil {
		return nil, fault.Wrap(fault.Internal, "wrap keyset", err)
	}
	return out.Bytes(), nil
}

func unwrap(m MasterKey, wrapped []byte) (*keyset.Handle, error) {
	master, err := m.aead()
	if err != nil {
		return nil, err
	}
	reader := keyset.NewBinaryReader(bytes.NewReader(wrapped))
	handle, err := keyset.ReadWithAssociatedData(reader, master, keysetLabel)
	if err != nil {
		return nil, ErrWrongMasterKey // the library's reason says nothing more: authentication failed
	}
	return handle, nil
}

func (m MasterKey) aead() (tink.AEAD, error) {
	if m.key == nil {
		return nil, errNoMasterKey
	}
	return aeadsubtle.NewAESGCM(m.key[:])
}

// Seal encrypts plain for one place. The context names that place for ever, as table/column/row id:
// the result opens only under the same context, so a ciphertext moved to another row is refused.
func (s *Sealer) Seal(plain []byte, context string) ([]byte, error) {
	if context == "" {
		return nil, errors.New("seal: no context")
	}
	sealed, err := s.aead.Encrypt(plain, []byte(context))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "seal value", err)
	}
	return sealed, nil
}

// Open decrypts what Seal made under the same context. It reports ErrSealed when anything differs.
func (s *Sealer) Open(sealed []byte, context string) ([]byte, error) {
	if context == "" {
		return nil, errors.New("open: no context")
	}
	plain, err := s.aead.Decrypt(sealed, []byte(context))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}
