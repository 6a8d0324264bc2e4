package remote

import (
	"context"
	"io"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Dialer signs in to targets: package relay has one for each protocol.
type Dialer interface {
	// Dial connects and signs in. It reports ErrUnreachable, ErrTargetLogin and ErrHostKey (a *StrangeKey), with the cause for the log alone.
	Dial(ctx context.Context, to Target) (Link, error)
}

// Target is all that a relay needs to sign in.
type Target struct {
	Host     string // for messages alone
	At       netip.AddrPort
	Protocol device.Protocol
	Username string
	Domain   string
	Password secret.String // empty where there is a key
	Key      secret.String // a private key in PEM
	HostKeys [][]byte      // accepted ones; the target must show one of them
	Script   string        // of the device
	Screen   Screen
}

// StrangeKey is an ErrHostKey that says which key it was.
type StrangeKey struct {
	Blob    []byte
	Changed bool // others were accepted for the port
}

// Error implements error.
func (k *StrangeKey) Error() string { return ErrHostKey.Text }

// Unwrap makes a StrangeKey an ErrHostKey.
func (k *StrangeKey) Unwrap() error { return ErrHostKey }

// Link is a connection to a target that is signed in. What a protocol lacks reports ErrNotOffered. All methods may be called at a time.
type Link interface {
	// Terminal opens a shell, or runs one command.
	Terminal(ctx context.Context, t Terminal) (Channel, error)
	// Files opens the target's SFTP subsystem.
	Files(ctx context.Context) (Channel, error)
	// Forward connects from the target to another place.
	Forward(ctx context.Context, host string, port int) (io.ReadWriteCloser, error)
	// Done is closed when the connection is; Err says why then, nil where the target closed it in peace.
	Done() <-chan struct{}
	Err() error
	Close() error
}

// Terminal is what is asked of a target.
type Terminal struct {
	Command string // empty: a shell
	PTY     bool
	Term    string // its type: xterm-256color
	Size    Size
	Modes   []byte // encoded terminal modes of RFC 4254 section 8; nil: none
	Env     []EnvVar
}

// EnvVar is one variable that goes along.
type EnvVar struct{ Name, Value string }

// Size is that of a terminal, in characters.
type Size struct{ Cols, Rows int }

// Channel is one terminal, command or SFTP subsystem at the target. Read gives what it prints.
type Channel interface {
	io.ReadWriteCloser
	Stderr() io.Reader // never nil; empty where a terminal carries both
	CloseWrite() error // no more input
	Resize(s Size) error
	Signal(name string) error // RFC 4254 section 6.9, without SIG
	// Wait returns once the target has ended it and all it printed was read.
	Wait() Exit
}

// Exit is how a command ended.
type Exit struct {
	Status int    // 0 to 255; -1: the connection was lost
	Signal string // the signal that ended it, without SIG
}

// Recordings begins recordings: package recording.
type Recordings interface {
	// Begin starts the recording of a session: it returns once the first bytes are on disk. An error means that there is none.
	Begin(ctx context.Context, s Session) (Recorder, error)
	// Cut closes the recording of a session whose node is gone, with what that has brought to where others reach it. It may be repeated.
	Cut(ctx context.Context, s Session) error
}

// Recorder keeps what happens in one session. Its methods may be called at a time, and return the error by which the recording has failed, if it has:
// whoever gets one carries nothing more (rule W14).
type Recorder interface {
	// Track begins a channel that is recorded byte for byte.
	Track(t Track) (Tracker, error)
	// Note keeps something that happened: a file, a forward, a refusal.
	Note(n Note) error
	// Room waits while what was recorded cannot be stored as fast as it comes, or until that is closed. Ask before more is read of a target, or, with input,
	// written to one.
	Room(input bool, until <-chan struct{})
	// Failed is closed when the recording cannot go on; Err says why.
	Failed() <-chan struct{}
	Err() error
	// End closes all tracks and signs the manifest, or leaves what is there to be taken up by another start.
	End(ctx context.Context, s Session) error
}

// Track is a channel that is recorded.
type Track struct {
	Name     string // unique in the session, of letters, digits and hyphens: "terminal", "exec-2"
	Kind     string // terminal, exec
	Terminal Terminal
}

// Tracker records one channel.
type Tracker interface {
	Output(p []byte) error
	Input(p []byte) error // only where keystrokes are recorded does anything but its count remain
	Resize(s Size) error
	Mark(text string) error
	Close(e Exit) error
}

// Note is one thing that happened in a session beside its terminals. It is a line of the recording and, where Audit is set, an audit event.
type Note struct {
	At      time.Time `json:"at"`
	Channel string    `json:"channel"` // name of the track or channel
	Kind    string    `json:"kind"`    // file, forward, refused, opened, closed, notice, watched
	Text    string    `json:"text,omitempty"`
	Name    string    `json:"name,omitempty"`  // of a file; host:port of a forward
	Bytes   int64     `json:"bytes,omitempty"` // to the target for files that were uploaded, from it otherwise
	Sent    int64     `json:"sent,omitempty"`  // of a forward: to the target
	SHA256  string    `json:"sha256,omitempty"`
	SentSum string    `json:"sent_sha256,omitempty"` // of a forward: of what was sent to the target; SHA256 is of what came from it
	Way     string    `json:"way,omitempty"`         // upload, download, rename, remove, mkdir, ...
	Done    bool      `json:"done,omitempty"`
}

// The ways of channels that are opened without a track: what passes is counted and summed alone.
const (
	WayForward = string(access.Forward)
	WayFiles   = string(access.Files) // SFTP; with a command it is scp, which has a track
)
