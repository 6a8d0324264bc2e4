package device

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// maxBlob is above every host key: RSA of 8192 bits takes 1,051 bytes.
const maxBlob = 2048

// ErrNotHostKey says that something is no SSH public key by which a host can be known.
var ErrNotHostKey = fault.New(fault.Invalid, "that is no host key; give a line such as \"ssh-ed25519 AAAA...\", or the SHA256 fingerprint of a key that the target has shown")

// Type is the key's format, such as ssh-ed25519; empty for what is no key.
func (k HostKey) Type() string {
	pub, err := ssh.ParsePublicKey(k.Blob)
	if err != nil {
		return ""
	}
	return pub.Type()
}

// Fingerprint is the SHA-256 of the key as OpenSSH prints it.
func (k HostKey) Fingerprint() string {
	sum := sha256.Sum256(k.Blob)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// Line is the key as a file of public keys has it.
func (k HostKey) Line() string {
	return k.Type() + " " + base64.StdEncoding.EncodeToString(k.Blob)
}

// checkBlob takes plain keys in their one spelling: a certificate would bring its own rules along (rule S5), and huge ones cost minutes (rule S6).
func checkBlob(blob []byte) error {
	if len(blob) > maxBlob {
		return ErrNotHostKey
	}
	pub, err := ssh.ParsePublicKey(blob)
	if err != nil || string(pub.Marshal()) != string(blob) || strings.Contains(pub.Type(), "-cert-v") || pub.Type() == ssh.InsecureKeyAlgoDSA { //nolint:staticcheck // named to be refused
		return ErrNotHostKey
	}
	return nil
}

// Accepted returns the host keys by which a device is known on a port, in their wire form; none is no error. It asks for no right: it is for rooms that
// do.
func (s *Service) Accepted(ctx context.Context, device string, port int) ([][]byte, error) {
	keys, err := s.Store.HostKeys(ctx, device)
	if err != nil {
		return nil, err
	}
	var blobs [][]byte
	for _, k := range keys {
		if k.Accepted && k.Port == port { // rule S16
			blobs = append(blobs, k.Blob)
		}
	}
	return blobs, nil
}

// Saw keeps a host key that a target has shown and that nobody has accepted, so that there is something to accept. It asks for no right: it is for rooms
// that do.
func (s *Service) Saw(ctx context.Context, device string, port int, blob []byte) error {
	d, err := s.Store.ByID(ctx, device)
	if err != nil {
		return err
	}
	return s.saw(ctx, access.SystemCaller(s.Now()), d, port, blob)
}

func (s *Service) saw(ctx context.Context, by access.Caller, d Device, port int, blob []byte) error {
	if err := checkBlob(blob); err != nil {
		return err
	}
	k := HostKey{ID: s.NewID(), Device: d.ID, Port: port, Blob: slices.Clone(blob), Seen: s.Now()}
	return s.Store.Saw(ctx, k, hostKeyEvent(by, access.DeviceHostKey, d, k))
}

func hostKeyEvent(by access.Caller, do access.Action, d Device, k HostKey) audit.Event {
	at := k.Seen
	if !k.Decided.IsZero() {
		at = k.Decided
	}
	e := by.Event(at, do, d.Resource(), audit.Done).With("port", strconv.Itoa(k.Port)).With("host_key", k.Fingerprint()).With("host_key_type", k.Type())
	e.Object.Name = d.Host
	return e
}

// HostKeys lists the host keys of a device, accepted ones and those that wait.
func (s *Service) HostKeys(ctx context.Context, by access.Caller, id string) ([]HostKey, error) {
	if _, err := s.may(ctx, by, access.DeviceRead, id); err != nil {
		return nil, err
	}
	return s.Store.HostKeys(ctx, id)
}

// AcceptHostKey says that a key is the device's own on a port, SSH's where port is 0. key is the fingerprint of one that the target has shown there, or
// a line of a file of public keys.
func (s *Service) AcceptHostKey(ctx context.Context, by access.Caller, id string, port int, key string) (HostKey, error) {
	d, err := s.may(ctx, by, access.DeviceTrust, id)
	if err != nil {
		return HostKey{}, err
	}
	if port, err = d.sshPort(port); err != nil {
		return HostKey{}, err
	}
	blob, err := s.hostKey(ctx, id, port, strings.TrimSpace(key))
	if err != nil {
		return HostKey{}, err
	}
	now := s.Now()
	k := HostKey{ID: s.NewID(), Device: id, Port: port, Blob: blob, Accepted: true, Seen: now, Decided: now, DecidedBy: by.Name}
	return s.Store.Accept(ctx, k, hostKeyEvent(by, access.DeviceTrust, d, k).With("accepted", "true"))
}

// sshPort is a port, or where the device speaks SSH.
func (d Device) sshPort(port int) (int, error) {
	if port < 0 || port > 65535 {
		return 0, fault.Fields("a port is a number from 1 to 65535", fault.Field{Path: "port", Message: "1 to 65535"})
	}
	if port != 0 {
		return port, nil
	}
	if at, ok := d.PortOf(SSH); ok {
		return at, nil
	}
	return 0, ErrNotSSH
}

// hostKey finds a key by its fingerprint among those that were seen on the port, or reads a line.
func (s *Service) hostKey(ctx context.Context, id string, port int, key string) ([]byte, error) {
	if !strings.HasPrefix(key, "SHA256:") {
		pub, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(key))
		if err != nil || len(options) > 0 || len(rest) > 0 {
			return nil, ErrNotHostKey
		}
		return pub.Marshal(), checkBlob(pub.Marshal())
	}
	keys, err := s.Store.HostKeys(ctx, id)
	for _, k := range keys {
		if k.Port == port && k.Fingerprint() == key {
			return k.Blob, nil
		}
	}
	if err == nil {
		err = ErrUnknownHostKey
	}
	return nil, err
}

// RemoveHostKey forgets a host key, by id, or by fingerprint on whichever ports: whoever shows it is a stranger again. Sessions that live go on.
func (s *Service) RemoveHostKey(ctx context.Context, by access.Caller, id, key string) error {
	d, err := s.may(ctx, by, access.DeviceTrust, id)
	if err != nil {
		return err
	}
	keys, err := s.Store.HostKeys(ctx, id)
	if err != nil {
		return err
	}
	keys = slices.DeleteFunc(keys, func(k HostKey) bool { return k.ID != key && k.Fingerprint() != key })
	if len(keys) == 0 {
		return ErrUnknownHostKey
	}
	for _, k := range keys {
		k.Decided = s.Now()
		if err := s.Store.Remove(ctx, id, k.ID, hostKeyEvent(by, access.DeviceTrust, d, k).With("accepted", "false")); err != nil {
			return err
		}
	}
	return nil
}

const noScan = "the target could not be asked for its host keys; see that it can be reached, or give the key itself"

// Scan asks a device for the host keys that it shows on a port, SSH's where port is 0, keeps them, and returns them as they stand. It accepts none.
func (s *Service) Scan(ctx context.Context, by access.Caller, id string, port int) ([]HostKey, error) {
	d, err := s.may(ctx, by, access.DeviceTrust, id)
	if err != nil {
		return nil, err
	}
	if port, err = d.sshPort(port); err != nil {
		return nil, err
	}
	if s.Scanner == nil {
		return nil, fault.New(fault.Conflict, noScan)
	}
	blobs, err := s.Scanner.HostKeys(ctx, netip.AddrPortFrom(d.IP, uint16(port))) //nolint:gosec // sshPort has bounded it
	if err != nil {
		return nil, fault.Wrap(fault.Conflict, noScan, err)
	}
	return s.keepScanned(ctx, by, d, port, blobs)
}

func (s *Service) keepScanned(ctx context.Context, by access.Caller, d Device, port int, blobs [][]byte) ([]HostKey, error) {
	for _, blob := range blobs {
		if err := s.saw(ctx, by, d, port, blob); err != nil && !errors.Is(err, ErrNotHostKey) { // kinds that we do not take are not ours to keep
			return nil, err
		}
	}
	keys, err := s.Store.HostKeys(ctx, d.ID)
	return slices.DeleteFunc(keys, func(k HostKey) bool {
		return k.Port != port || !slices.ContainsFunc(blobs, func(blob []byte) bool { return string(blob) == string(k.Blob) })
	}), err
}
