package recording

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

const (
	manifestName    = "manifest.json"
	manifestPurpose = "recording manifest v1"
	maxManifest     = 64 << 20
)

// Manifest says what a recording is made of, and what it does not hold.
type Manifest struct {
	Version    int       `json:"version"` // 1
	Session    Subject   `json:"session"`
	Ended      time.Time `json:"ended"`
	Cut        string    `json:"cut,omitempty"` // why it ends before its session did
	Keystrokes bool      `json:"keystrokes"`    // what was typed is in it
	Tracks     []Track   `json:"tracks"`
	Coverage   []Channel `json:"coverage"`
	Replaces   string    `json:"replaces,omitempty"` // SHA-256 of the manifest that was signed before, when less of it was known
}

// Subject is the session as a recording names it.
type Subject struct {
	Recording string    `json:"id"`
	Number    int64     `json:"number,omitempty"`
	Code      string    `json:"code,omitempty"`
	User      string    `json:"user"`
	UserID    string    `json:"user_id"`
	Username  string    `json:"username"` // at the target
	Host      string    `json:"host"`
	Address   string    `json:"address"` // of the target
	Device    string    `json:"device_id"`
	Protocol  string    `json:"protocol"`
	From      string    `json:"from,omitempty"`
	Reason    string    `json:"reason,omitempty"`    // why the person needed it, in their words
	Reference string    `json:"reference,omitempty"` // of a ticket
	Node      string    `json:"node,omitempty"`
	Started   time.Time `json:"started"`
}

// Track is a channel of which every byte is in the recording, or the track of events.
type Track struct {
	Name     string    `json:"name"`
	Kind     string    `json:"kind"`
	Format   string    `json:"format"` // asciicast-v3 or events
	Output   *Total    `json:"output,omitempty"`
	Input    *Total    `json:"input,omitempty"` // without a hash: counted alone
	Lost     int64     `json:"lost,omitempty"`  // bytes that passed after recording had failed
	Exit     *Exit     `json:"exit,omitempty"`
	Segments []Segment `json:"segments"`
}

// Total counts the bytes of one direction as they passed. Where none was replaced, the hash is that of the text too.
type Total struct {
	Bytes    int64  `json:"bytes"`
	SHA256   string `json:"sha256,omitempty"`
	Replaced int64  `json:"replaced,omitempty"` // bytes that are part of no character and stand in the recording as U+FFFD
}

// Exit is how a terminal or command ended.
type Exit struct {
	Status int    `json:"status"`
	Signal string `json:"signal,omitempty"`
}

// Segment is an object of the recording. Blocks holds, in hex, the first eight bytes of the SHA-256 of each 4 KiB of it: they point to what was changed,
// SHA256 proves it.
type Segment struct {
	Name    string `json:"name"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
	Blocks  string `json:"blocks,omitempty"`
	Missing bool   `json:"missing,omitempty"` // it was closed, and never reached the bucket
}

func subjectOf(s remote.Session, started time.Time) Subject {
	about := Subject{
		Recording: s.ID, Number: s.Number, Code: s.Code, User: s.User.Name, UserID: s.User.ID, Username: s.Username, Host: s.Host, Device: s.Target,
		Protocol: string(s.Protocol), Reason: s.Why, Reference: s.Reference, Node: s.Node, Started: started.UTC().Truncate(time.Microsecond),
	}
	if s.IP.IsValid() {
		about.Address = s.IP.String()
	}
	if s.Address.IsValid() {
		about.From = s.Address.String()
	}
	return about
}

// fill puts the segments of the database into their tracks. A track that only they know is added; missing names those that the bucket lacks.
func (m *Manifest) fill(pieces []remote.Piece, missing map[string]bool) {
	at := map[string]int{}
	for i := range m.Tracks {
		m.Tracks[i].Segments = []Segment{}
		at[m.Tracks[i].Name] = i
	}
	for _, p := range pieces {
		i, known := at[p.Track]
		if !known {
			i = len(m.Tracks)
			at[p.Track] = i
			m.Tracks = append(m.Tracks, Track{Name: p.Track, Kind: "unknown", Format: formatOf(p.Name)})
		}
		t := &m.Tracks[i]
		t.Segments = append(t.Segments, Segment{
			Name: p.Name, Bytes: p.Bytes, SHA256: hex.EncodeToString(p.Digest[:]), Blocks: hex.EncodeToString(p.Blocks), Missing: missing[p.Name],
		})
	}
}

// signedManifest is manifest.json. The signature covers the bytes of its first member as they stand.
type signedManifest struct {
	Manifest  json.RawMessage `json:"manifest"`
	KeyID     string          `json:"key_id"`
	Public    string          `json:"public_key"` // hex
	Signature []byte          `json:"signature"`
}

// sign writes manifest.json.
func (m Manifest) sign(by audit.Signer) ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	return assemble(body, by.KeyID(), by.Public(), by.Sign(manifestPurpose, body))
}

// assemble is the one form in which a signed manifest is written.
func assemble(body []byte, keyID string, public ed25519.PublicKey, signature []byte) ([]byte, error) {
	rest, err := json.Marshal(struct {
		KeyID     string `json:"key_id"`
		Public    string `json:"public_key"`
		Signature []byte `json:"signature"`
	}{keyID, hex.EncodeToString(public), signature})
	if err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	text := append([]byte(`{"manifest":`), body...)
	return append(append(append(text, ','), rest[1:]...), '\n'), nil
}

var errNoManifest = errors.New("it is no manifest of a recording")

// readManifest reads manifest.json. signed is the key that the signature is of, nil where it is nobody's: whether that key is to be trusted is another
// question.
func readManifest(text []byte) (m Manifest, signed ed25519.PublicKey, err error) {
	var s signedManifest
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil || d.More() {
		return m, nil, errNoManifest
	}
	if err := json.Unmarshal(s.Manifest, &m); err != nil {
		return m, nil, errNoManifest
	}
	if m.Version != 1 {
		return m, nil, fmt.Errorf("its version is %d; use a newer gatehouse", m.Version)
	}
	key, err := hex.DecodeString(s.Public)
	if err != nil || !audit.SignedFor(key, manifestPurpose, s.Manifest, s.Signature) {
		return m, nil, nil
	}
	if is, err := assemble(s.Manifest, audit.KeyIDOf(key), key, s.Signature); err != nil || !bytes.Equal(is, text) { // what stands around the body was changed: JSON takes much for the same
		return m, nil, err
	}
	return m, key, nil
}

func hexSum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func formatOf(name string) string {
	if strings.HasSuffix(name, ".jsonl") {
		return eventsFormat
	}
	return castFormat
}
