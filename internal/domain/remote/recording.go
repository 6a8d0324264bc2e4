package remote

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// ErrNoRecording says that there is none, or that the caller may not know of it.
var ErrNoRecording = fault.New(fault.NotFound, "recording not found")

// ErrErased says that retention has erased what was recorded; manifest and hashes remain.
var ErrErased = fault.New(fault.Expired, "the recording is past its retention and was erased; its manifest and hashes remain")

// Recording is what is known of the recording of a session.
type Recording struct {
	Session    string // id of the session, which is that of the recording
	Number     int64  // of the session
	Code       string
	User       access.Principal
	Username   string // at the target
	Credential string // id
	Target     string // id of the device
	Host       string
	Protocol   string
	Started    time.Time
	Ended      time.Time // zero while it goes on
	Bytes      int64     // in closed segments
	Manifest   []byte    // the signed manifest.json; none while it goes on
	Settled    bool      // the manifest is where recordings are kept, too
	Cut        string    // why it ends before its session did; empty where it does not
	Hold       bool      // retention does not erase it
	Deleted    time.Time // when retention erased what was recorded
}

// Resource is the recording as rights are asked for it: its session.
func (r Recording) Resource() access.Resource {
	return access.RemoteSession(r.Session, r.Target, r.Credential)
}

// Piece is a closed segment of a track.
type Piece struct {
	Session string
	Track   string
	Number  int64  // 1, 2, 3, ...
	Name    string // of the object, within the recording
	Bytes   int64
	Digest  audit.Hash // SHA-256 of the object
	Blocks  []byte     // the first eight bytes of the SHA-256 of each block of it, in order
	Closed  time.Time
}

// RecordingStore keeps what is known of recordings.
type RecordingStore interface {
	// BeginRecording adds the recording of a session that the store knows. It reports ErrUnknown, and ErrRecorded where there is one.
	BeginRecording(ctx context.Context, session string, started time.Time) error
	// AddPiece adds a closed segment, and its bytes to those of the recording. The same one twice is one; another one of its track and number reports a
	// Conflict.
	AddPiece(ctx context.Context, p Piece) error
	// Pieces lists the closed segments of a recording by track and number.
	Pieces(ctx context.Context, session string) ([]Piece, error)
	// FinishRecording keeps the signed manifest in place of the one of before, which may be nil, when it ended and, where it was cut, why. It reports
	// ErrSigned where there is another manifest than before, and ErrNoRecording.
	FinishRecording(ctx context.Context, session string, before []byte, ended time.Time, manifest []byte, cut string) error
	// SettleRecording says that this manifest is where recordings are kept. It reports ErrSigned where there is another one now.
	SettleRecording(ctx context.Context, session string, manifest []byte) error
	// Recording finds one by the id, number or code of its session; it reports ErrNoRecording.
	Recording(ctx context.Context, ref string) (Recording, error)
	// Recordings lists those that which wants, newest first, behind the session of the id w.After. Manifests, and whether they are settled, are left out.
	Recordings(ctx context.Context, which Which, w page.Window) (page.Page[Recording], error)
	// HoldRecording sets or lifts the hold and records e, where that changes anything. It reports ErrErased.
	HoldRecording(ctx context.Context, session string, hold bool, e audit.Event) error
	// Stale lists up to limit recordings to erase: not held, ended before, and those whose erasing was begun and not finished.
	Stale(ctx context.Context, before time.Time, limit int) ([]Recording, error)
	// EraseRecording marks one as deleted and records e, unless it is held, which reports false; one that is marked already is true without an event.
	EraseRecording(ctx context.Context, session string, now time.Time, e audit.Event) (bool, error)
	// Erased says that nothing of it is left but the manifest.
	Erased(ctx context.Context, session string) error
}

// TrackInfo is a channel that can be played.
type TrackInfo struct {
	Name string
	Kind string // terminal, exec
}

// Covered is one line of the coverage statement of a recording: what became of one channel of the session.
type Covered struct {
	Name    string `json:"channel"`
	Kind    string `json:"kind"` // terminal, exec, file, forward, or what was refused
	Is      string `json:"is"`   // recorded, refused, not recorded
	To      string `json:"to,omitempty"`
	Times   int64  `json:"times,omitempty"`  // files, forwards or refusals that the line stands for
	Bytes   int64  `json:"bytes"`            // from the target; of files, those uploaded too
	Sent    int64  `json:"sent,omitempty"`   // to the target
	SHA256  string `json:"sha256,omitempty"` // of Bytes, where the line stands for one file or forward; the track of events has the others
	SentSum string `json:"sent_sha256,omitempty"`
	Text    string `json:"text,omitempty"`
}

// Coverage reads the statement out of the manifest, whose signature it does not look at: nothing while the recording goes on.
func (r Recording) Coverage() []Covered {
	var m struct {
		Manifest struct {
			Coverage []Covered `json:"coverage"`
		} `json:"manifest"`
	}
	if len(r.Manifest) == 0 || json.Unmarshal(r.Manifest, &m) != nil {
		return nil
	}
	return m.Manifest.Coverage
}

// Format is how a track is written for others.
type Format string

// The formats.
const (
	AsciicastV3 Format = "v3"           // with relative times
	AsciicastV2 Format = "asciicast-v2" // with absolute times
	PlainText   Format = "txt"          // what was printed, without control sequences
)

// Formats lists all there are.
var Formats = []Format{AsciicastV3, AsciicastV2, PlainText}

// Export is what is wanted of a recording.
type Export struct {
	Track  string // empty: the first
	Format Format
	Raw    bool // with the control sequences that can harm whoever plays it (rule W10); in AsciicastV3 the very bytes that were signed
}

// Archive holds what was recorded: package recording.
type Archive interface {
	// Tracks lists the terminals of a recording, in the order in which they were opened.
	Tracks(ctx context.Context, session string) ([]TrackInfo, error)
	// Export writes a track. It reports ErrNoRecording where there is no such track, before the first byte.
	Export(ctx context.Context, session string, x Export, to io.Writer) error
	// Erase removes everything but the manifest. It may be called again.
	Erase(ctx context.Context, session string) error
}

// Library lets people find, play and keep recordings, and erases those whose time is over.
type Library struct {
	Store     RecordingStore
	Archive   Archive
	Access    *access.Service
	Audit     *audit.Service
	Now       func() time.Time
	Retention time.Duration // how long recordings are kept; 0 is for ever
	Every     time.Duration // how often it is looked for old ones
	OnError   func(doing string, err error)
}

// Find returns a recording by the id, number or code of its session. It reports ErrNoRecording for one that the caller may not read.
func (l *Library) Find(ctx context.Context, by access.Caller, ref string) (Recording, error) {
	return l.find(ctx, by, access.RecordingRead, ref)
}

func (l *Library) find(ctx context.Context, by access.Caller, do access.Action, ref string) (Recording, error) {
	r, err := l.Store.Recording(ctx, ref)
	if err != nil {
		return Recording{}, err
	}
	d, err := l.Access.Decide(ctx, by, access.RecordingRead, r.Resource())
	if err != nil {
		return Recording{}, err
	}
	if !d.Allowed {
		return Recording{}, ErrNoRecording
	}
	if do == access.RecordingRead {
		return r, nil
	}
	return r, l.Access.Require(ctx, by, do, r.Resource())
}

// List returns the recordings that the caller may read, newest first. which narrows them to a user or a target.
func (l *Library) List(ctx context.Context, by access.Caller, which Which, w page.Window) (page.Page[Recording], error) {
	var err error
	which.Seen = Seen{}
	if which.AllDevices, which.Devices, err = l.Access.Reach(ctx, by, access.RecordingRead, access.DeviceKind); err != nil {
		return page.Page[Recording]{}, err
	}
	if which.AllCredentials, which.Credentials, err = l.Access.Reach(ctx, by, access.RecordingRead, access.CredentialKind); err != nil {
		return page.Page[Recording]{}, err
	}
	if !which.AllDevices && !which.AllCredentials && len(which.Devices)+len(which.Credentials) == 0 {
		return page.Page[Recording]{Window: w}, nil
	}
	return l.Store.Recordings(ctx, which, w)
}

// Tracks lists what can be played of a recording.
func (l *Library) Tracks(ctx context.Context, by access.Caller, ref string) ([]TrackInfo, error) {
	r, err := l.Find(ctx, by, ref)
	if err != nil {
		return nil, err
	}
	if !r.Deleted.IsZero() {
		return nil, nil
	}
	return l.Archive.Tracks(ctx, r.Session)
}

// recordingPlay is what the record calls it; the right to it is access.RecordingRead.
const recordingPlay access.Action = "recording.play"

// Play writes a track. That somebody plays it is on record before the first byte is written.
func (l *Library) Play(ctx context.Context, by access.Caller, ref string, x Export, to io.Writer) error {
	r, err := l.Find(ctx, by, ref)
	if err != nil {
		return err
	}
	if !r.Deleted.IsZero() {
		return ErrErased
	}
	x, err = l.choose(ctx, r, x)
	if err != nil {
		return err
	}
	e := by.Event(l.Now(), recordingPlay, r.Resource(), audit.Done).With("track", x.Track).With("format", string(x.Format)).With("user", r.User.Name).With("device", r.Host)
	if x.Raw {
		e = e.With("raw", "true")
	}
	if err := l.Audit.Record(ctx, e); err != nil {
		return err
	}
	return l.Archive.Export(ctx, r.Session, x, to)
}

// choose finds the track that is meant.
func (l *Library) choose(ctx context.Context, r Recording, x Export) (Export, error) {
	if x.Format == "" {
		x.Format = AsciicastV3
	}
	tracks, err := l.Archive.Tracks(ctx, r.Session)
	if err != nil {
		return x, err
	}
	for _, t := range tracks {
		if x.Track == "" || x.Track == t.Name {
			x.Track = t.Name
			return x, nil
		}
	}
	return x, fault.New(fault.NotFound, "the recording has no such track")
}

// Hold keeps a recording beyond retention, or lets it go.
func (l *Library) Hold(ctx context.Context, by access.Caller, ref string, hold bool) error {
	r, err := l.find(ctx, by, access.RecordingHold, ref)
	if err != nil {
		return err
	}
	way := "set"
	if !hold {
		way = "lifted"
		if err := l.Access.Require(ctx, by, access.RecordingHold, access.Installation); err != nil { // who manages a device must not be rid of what was held against them
			return err
		}
	}
	return l.Store.HoldRecording(ctx, r.Session, hold, by.Event(l.Now(), access.RecordingHold, r.Resource(), audit.Done).With("hold", way))
}

// Run erases what is past its retention, until ctx ends.
func (l *Library) Run(ctx context.Context) {
	if l.Retention <= 0 {
		return
	}
	tick := time.NewTicker(l.Every)
	defer tick.Stop()
	for {
		if err := l.Sweep(ctx); err != nil && ctx.Err() == nil {
			l.OnError("erase old recordings", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Sweep erases recordings that ended longer ago than retention and are not held. Manifest and hashes remain.
func (l *Library) Sweep(ctx context.Context) error {
	const batch = 50
	for {
		old, err := l.Store.Stale(ctx, l.Now().Add(-l.Retention), batch)
		if err != nil {
			return err
		}
		for _, r := range old {
			if err := l.erase(ctx, r); err != nil {
				return err
			}
		}
		if len(old) < batch {
			return nil
		}
	}
}

func (l *Library) erase(ctx context.Context, r Recording) error {
	now := l.Now()
	e := access.SystemCaller(now).Event(now, access.RecordingDelete, r.Resource(), audit.Done).With("user", r.User.Name).With("device", r.Host)
	marked, err := l.Store.EraseRecording(ctx, r.Session, now, e)
	if err != nil || !marked {
		return err
	}
	if err := l.Archive.Erase(ctx, r.Session); err != nil {
		return err
	}
	return l.Store.Erased(ctx, r.Session)
}
