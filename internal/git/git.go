// Package git keeps bare repositories and lets the git program serve them to clients over SSH and HTTP.
//
// It knows neither projects nor rights. A door reads what a client asks for with ParseCommand or
// ParsePath, asks the domain, and then hands the connection over as an Exchange to Announce, Upload,
// Receive or Archive. Of a push the door learns which refs would move before git gets a byte, and
// afterwards which ones did.
//
// What a client sends reaches git as bytes on its standard input and in no other way: the arguments are
// fixed, the environment is made from scratch, and the settings that matter stand in it, above whatever lies in a
// repository. A repository whose directory is not as Create left it, with settings, alternates or links of
// somebody else, is not served. Hooks never run, and no transport but this one exists for the git below.
//
// Every git runs in a process group that ends as a whole: when it is done, when the context ends, when the
// client is gone or idle for too long, or when a limit is reached.
package git

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Limits are what clients may occupy; all of them are settings (rule G3).
type Limits struct {
	Push     int64         // bytes of one push
	Request  int64         // bytes that a client may send to fetch or to archive
	Refs     int           // refs that one push may move
	Memory   int64         // bytes of data of one git process, where the system can bound it; 0 is no bound
	Running  int           // exchanges at a time on this node
	Queue    time.Duration // for waiting for one's turn
	Idle     time.Duration // without a byte in either direction
	Total    time.Duration // one exchange from start to end
	Recheck  time.Duration // between two questions whether a push may go on
	Grace    time.Duration // for git to tidy up before it is killed
	Maintain time.Duration // one run of Maintain
}

// DefaultLimits are the documented defaults.
func DefaultLimits() Limits {
	return Limits{
		Push: 2 << 30, Request: 64 << 20, Refs: 10_000, Memory: 2 << 30,
		Running: max(8, 4*runtime.NumCPU()), Queue: 30 * time.Second,
		Idle: 2 * time.Minute, Total: time.Hour, Recheck: 5 * time.Second, Grace: 2 * time.Second,
		Maintain: 30 * time.Minute,
	}
}

// Repositories is a folder of bare repositories, and the git that serves them. Make one with Open.
type Repositories struct {
	Observe func(Ran) // hears of each exchange, for metrics; may be nil

	root    string
	program string // git's absolute path
	search  string // where git finds its own parts: all of its PATH
	limits  Limits
	turns   *shares // of what runs at a time
	room    *shares // for what clients have sent before they get a turn
}

// Outcome says how an exchange ended.
type Outcome string

// How exchanges end.
const (
	Done     Outcome = "done"
	Refused  Outcome = "refused"  // a push that was not let pass
	Left     Outcome = "left"     // the client went, or the context ended
	Stalled  Outcome = "stalled"  // idle for too long
	TooLong  Outcome = "too_long" // the total time ran out
	TooLarge Outcome = "too_large"
	Busy     Outcome = "busy"   // no turn in time
	Failed   Outcome = "failed" // git said no: often the client's doing
)

// Ran tells of one exchange.
type Ran struct {
	Service Service
	Outcome Outcome
	Waited  time.Duration // for its turn
	Took    time.Duration // after that
	In, Out int64         // bytes from and to the client
}

// Errors of exchanges.
var (
	ErrNoGit    = fault.New(fault.Internal, "git is not installed")
	ErrBusy     = fault.New(fault.Limited, "too many git operations are running; try again later")
	ErrTooLarge = fault.New(fault.Limited, "the push is larger than this server takes")
	ErrStalled  = fault.New(fault.Expired, "the git operation was idle for too long")
	ErrTooLong  = fault.New(fault.Expired, "the git operation took too long")
	ErrLeft     = fault.New(fault.Expired, "the client left")
	ErrGit      = fault.New(fault.Invalid, "git could not do that") // its cause has git's own words, for the log
)

// Open makes the folder where it is missing and finds git on this process's PATH, once. It reports
// ErrNoGit when there is none.
func Open(ctx context.Context, root string, limits Limits) (*Repositories, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	if root, err = filepath.EvalSymlinks(root); err != nil { // git compares safe.directory with the real path
		return nil, err
	}
	program, err := exec.LookPath("git")
	if err != nil {
		return nil, ErrNoGit
	}
	if program, err = filepath.Abs(program); err != nil {
		return nil, err
	}
	r := &Repositories{root: root, program: program, limits: limits, turns: newShares(limits.Running), room: newShares(allEarly / piece)}
	ask := exec.CommandContext(ctx, program, "--exec-path") //nolint:gosec // an absolute path and a constant
	ask.Env = []string{"HOME=/nonexistent", "LC_ALL=C"}
	out, err := ask.Output()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, ErrNoGit.Text, errors.Join(ErrNoGit, err))
	}
	if r.search = strings.TrimSpace(string(out)); !filepath.IsAbs(r.search) || strings.Contains(r.search, ":") {
		return nil, ErrNoGit
	}
	return r, nil
}
