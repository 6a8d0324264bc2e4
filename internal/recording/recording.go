// Package recording keeps what happens in remote sessions: it spools, chains, signs, reads and verifies recordings.
//
// A recording is a directory of the bucket, named by the id of its session:
//
//	<session>/terminal.000001.cast     a track: one terminal or command as asciicast v3, cut into segments
//	<session>/terminal.000002.cast     which carries the SHA-256 of the segment before in its first line
//	<session>/events.000001.jsonl      what else happened, one remote.Note a line
//	<session>/manifest.json            every segment and its SHA-256, what was and was not recorded, signed
//
// Segments grow in the spool, a directory on the local disk, where each write goes straight to the file: the crash of the process loses nothing. One
// loop syncs all of them to the disk every second. A segment of a MiB or a minute is closed: its hash goes to the database and its bytes to the bucket.
//
// Whoever records stops when recording stops (rule W14): when the spool cannot be written, or the bucket does not take a closed segment in time,
// Failed of the recorder is closed. What a crash left in the spool is taken up by Recover; Cut signs what a lost node brought to the bucket.
package recording

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"gocloud.dev/blob"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// Settings are the limits of recordings. All are of the configuration.
type Settings struct {
	Keystrokes   bool          // what people type is kept, not only counted
	SegmentBytes int64         // a segment of that size is closed; 1 MiB
	SegmentTime  time.Duration // a segment of that age is closed; 60 s
	Sync         time.Duration // how often the spool is synced to disk; 1 s
	Patience     time.Duration // how long a closed segment may wait while none of its recording is stored; 30 s
	MaxBytes     int64         // a recording of that size has its session end; 0: none does
	MinFree      int64         // bytes that stay free on the disks of spool and bucket; 0: none
}

// Store is what recordings are told to the database by: a part of remote.RecordingStore.
type Store interface {
	BeginRecording(ctx context.Context, session string, started time.Time) error
	AddPiece(ctx context.Context, p remote.Piece) error
	Pieces(ctx context.Context, session string) ([]remote.Piece, error)
	FinishRecording(ctx context.Context, session string, before []byte, ended time.Time, manifest []byte, cut string) error
	SettleRecording(ctx context.Context, session string, manifest []byte) error
	Recording(ctx context.Context, ref string) (remote.Recording, error)
}

// Hooks hear what happens, for metrics. Each may be nil.
type Hooks struct {
	Spooled  func(bytes int)                       // written to the spool
	Uploaded func(bytes int64, took time.Duration) // a segment reached the bucket
	Failed   func(why string)                      // a recording cannot go on: spool, upload
	Synced   func(files int, took time.Duration)   // one round of syncing
	Free     func(bytes int64)                     // on the fullest disk, each time that it is looked at
}

// Archive records sessions and holds what was recorded. Set its fields, then Open; Run syncs, uploads and takes up what was left.
type Archive struct {
	Spool    string // directory for segments that grow; made where it is missing
	Signer   audit.Signer
	Store    Store
	Settings Settings
	Now      func() time.Time
	OnError  func(doing string, err error)
	Observe  Hooks

	Bucket *blob.Bucket // set by Open, or by tests

	local string                          // the directory that is the bucket; empty where it is elsewhere
	free  func(dir string) (int64, error) // bytes that are free on the disk of a directory; nil: as the system says
	space space
	round round

	mu    sync.Mutex
	live  map[string]*recorder // by session
	queue queue

	recovering sync.Mutex
}

var (
	_ remote.Recordings = (*Archive)(nil)
	_ remote.Archive    = (*Archive)(nil)
)

// lawfulID is that of a session: it names directories.
var lawfulID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

var (
	errNotOpen = errors.New("the bucket of recordings is not open")
	errTwice   = errors.New("the session is being recorded already")
)

// Begin implements remote.Recordings.
func (a *Archive) Begin(ctx context.Context, s remote.Session) (remote.Recorder, error) {
	if a.Bucket == nil {
		return nil, errNotOpen
	}
	if !lawfulID.MatchString(s.ID) {
		return nil, fmt.Errorf("begin recording: %q is no id of a session", s.ID)
	}
	if err := a.space.short(a.Settings); err != nil {
		return nil, fmt.Errorf("begin recording: %w", err)
	}
	r := newRecorder(a, s)
	if err := a.enter(r); err != nil {
		return nil, err
	}
	if err := r.begin(ctx); err != nil {
		a.leave(r)
		return nil, fmt.Errorf("begin recording: %w", err)
	}
	return r, nil
}

func (a *Archive) enter(r *recorder) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.live[r.about.Recording] != nil {
		return errTwice
	}
	if a.live == nil {
		a.live = map[string]*recorder{}
	}
	a.live[r.about.Recording] = r
	return nil
}

func (a *Archive) leave(r *recorder) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.live, r.about.Recording)
}

func (a *Archive) recorders() []*recorder {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]*recorder, 0, len(a.live))
	for _, r := range a.live {
		all = append(all, r)
	}
	return all
}

// Living returns how many sessions are being recorded by this process.
func (a *Archive) Living() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.live)
}

// writeWhole writes a file of the spool so that a crash leaves it whole or absent.
func writeWhole(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir brings the names in a directory to the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
