package factor

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/url"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const (
	maxDevices    = 32
	maxName       = 100 // characters
	maxAppID      = 500
	maxTransports = 8
)

// ErrManyKeys says that a user has as many security keys as we keep.
var ErrManyKeys = fault.Newf(fault.Conflict, "a user has at most %d security keys", maxDevices)

// Ask says what the user's security keys are asked in a conversation.
func (s *Service) Ask(c Conversation, set Set) Challenge {
	ask := Challenge{Challenge: challengeOf(c), Timeout: s.Wait, RPID: s.RPID, Devices: set.Devices, Verify: "preferred"}
	if i := slices.IndexFunc(set.Devices, func(d Device) bool { return d.Kind == U2F }); i >= 0 {
		ask.AppID = set.Devices[i].Origin
	}
	return ask
}

// challengeOf is the challenge of a conversation, nil where it has none.
func challengeOf(c Conversation) []byte {
	raw, err := base64.RawURLEncoding.DecodeString(c.Secret.Reveal())
	if err != nil || !c.Purpose.challenges() || len(raw) != challengeBytes {
		return nil
	}
	return raw
}

// StartDevice begins the enrolment of a security key in a session. An earlier beginning in it is forgotten.
func (s *Service) StartDevice(ctx context.Context, session, user, userName string, algorithms []int64) (Creation, error) {
	set, err := s.Store.Of(ctx, user)
	if err != nil {
		return Creation{}, err
	}
	_, c, err := s.Begin(ctx, Conversation{Purpose: Registration, User: user, Session: session})
	if err != nil {
		return Creation{}, err
	}
	return Creation{
		Challenge: challengeOf(c), Timeout: s.Wait, RPID: s.RPID, RPName: s.RPName,
		UserID: handleOf(user), UserName: userName, Display: userName, Algorithms: algorithms, Exclude: set.Devices,
	}, nil
}

// handleOf is what security keys call a user: the 16 bytes of the uuid.
func handleOf(user string) []byte {
	id, err := uuid.Parse(user)
	if err != nil {
		return []byte(user)
	}
	return id[:]
}

// AddDevice checks what a new security key answered, uses up the challenge and stores the key. It reports ErrNoConversation, ErrNameTaken,
// ErrKnownKey, ErrManyKeys, and a fault of the kind Invalid, which leaves the challenge, for whatever is wrong with the answer or the name.
func (s *Service) AddDevice(ctx context.Context, session, user, name string, a Attestation, algorithms []int64, change Change) (d Device, err error) {
	if err := checkDeviceName(name); err != nil {
		return Device{}, err
	}
	k := Key{Session: session, Purpose: Registration}
	err = s.Store.Answer(ctx, k, func(c *Conversation, set *Set) (bool, Change, error) {
		if err := s.open(*c, k, session); err != nil {
			return false, Change{}, err
		}
		if c.User != user {
			return false, Change{}, ErrNoConversation
		}
		made, err := s.attest(a, challengeOf(*c), algorithms)
		if err != nil {
			return false, Change{}, err
		}
		d = made
		d.ID, d.Name, d.Created = s.NewID(), name, s.Now()
		return false, change, set.add(d)
	})
	return unless(err, d)
}

// add says at once what the set shows; that nobody else has the key, the store sees.
func (set *Set) add(d Device) error {
	switch {
	case set.named(d.Name) >= 0:
		return ErrNameTaken
	case set.deviceOf(d.Credential) >= 0:
		return ErrKnownKey
	case len(set.Devices) >= maxDevices:
		return ErrManyKeys
	}
	set.first()
	set.Devices = append(set.Devices, d)
	return nil
}

// first forgets, before a first second factor, the recovery codes that were made while the password alone made them: whoever knew it may have them.
func (set *Set) first() {
	if !set.Enrolled() {
		set.Codes = nil
	}
}

func (set *Set) named(name string) int {
	return slices.IndexFunc(set.Devices, func(d Device) bool { return d.Name == name })
}

func (set *Set) deviceOf(credential []byte) int {
	return slices.IndexFunc(set.Devices, func(d Device) bool { return bytes.Equal(d.Credential, credential) })
}

func checkDeviceName(name string) error {
	n := utf8.RuneCountInString(name)
	if n == 0 || n > maxName || !utf8.ValidString(name) || slices.ContainsFunc([]rune(name), unicode.IsControl) {
		return fault.Newf(fault.Invalid, "the name of a security key has 1 to %d characters and no control characters", maxName)
	}
	return nil
}

// RenameDevice gives a security key another name. It reports ErrNoDevice, ErrNameTaken and a fault of the kind Invalid.
func (s *Service) RenameDevice(ctx context.Context, user, old, fresh string, c Change) error {
	if err := checkDeviceName(fresh); err != nil {
		return err
	}
	_, err := s.Store.Change(ctx, user, func(set *Set) (Change, error) {
		i := set.named(old)
		if i < 0 {
			return Change{}, ErrNoDevice
		}
		if j := set.named(fresh); j >= 0 && j != i {
			return Change{}, ErrNameTaken
		}
		set.Devices[i].Name = fresh
		return c, nil
	})
	return err
}

// RemoveDevice removes a security key; where a second factor is demanded, not the last. It reports ErrNoDevice and ErrLastFactor.
func (s *Service) RemoveDevice(ctx context.Context, user, name string, demanded bool, c Change) error {
	_, err := s.Store.Change(ctx, user, func(set *Set) (Change, error) {
		i := set.named(name)
		if i < 0 {
			return Change{}, ErrNoDevice
		}
		set.Devices = slices.Delete(set.Devices, i, i+1)
		if demanded && !set.Enrolled() {
			return Change{}, ErrLastFactor
		}
		return c, nil
	})
	return err
}

// ImportU2F stores a key that was enrolled elsewhere: its key handle and its raw P-256 point of 65 bytes. It reports ErrNameTaken, ErrKnownKey,
// ErrManyKeys and a fault of the kind Invalid.
func (s *Service) ImportU2F(ctx context.Context, user, name string, keyHandle, point []byte, appID string, c Change) (Device, error) {
	if err := checkDeviceName(name); err != nil {
		return Device{}, err
	}
	key, err := coseOf(point)
	if err != nil {
		return Device{}, err
	}
	if len(keyHandle) == 0 || len(keyHandle) > 255 {
		return Device{}, fault.New(fault.Invalid, "a key handle has 1 to 255 bytes")
	}
	if u, err := url.Parse(appID); err != nil || u.Scheme != "https" || u.Host == "" || len(appID) > maxAppID {
		return Device{}, fault.New(fault.Invalid, "an AppID is an https address")
	}
	d := Device{
		ID: s.NewID(), Name: name, Kind: U2F, Credential: keyHandle, PublicKey: key, Origin: appID, AAGUID: make([]byte, aaguidBytes), Format: formatU2F,
		Created: s.Now(),
	}
	_, err = s.Store.Change(ctx, user, func(set *Set) (Change, error) { return c, set.add(d) })
	return unless(err, d)
}
