package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

type recordingCommands struct {
	List    recordingList    `cmd:"" help:"List recordings of remote sessions, newest first."`
	Verify  recordingVerify  `cmd:"" help:"Check a recording: signature, hashes, chain and content. Works offline on a directory."`
	Export  recordingExport  `cmd:"" help:"Write what a terminal of a recording printed."`
	Hold    recordingHold    `cmd:"" help:"Keep a recording beyond retention."`
	Release recordingRelease `cmd:"" help:"Let retention have a recording again."`
	Key     recordingKey     `cmd:"" help:"Print the public key that verifies recordings."`
}

const seeRecordings = "see `gatehouse recording list`"

type recordingList struct {
	Place
	Output
	User   string `placeholder:"NAME" help:"Only those of this user."`
	Active bool   `help:"Only those that go on."`
	Limit  int64  `placeholder:"N" default:"50" help:"At most so many (${default})."`
}

type recordingJSON struct {
	ID       string     `json:"id"`
	Number   int64      `json:"number"`
	User     string     `json:"user"`
	Username string     `json:"username"`
	Host     string     `json:"host"`
	Protocol string     `json:"protocol"`
	Started  time.Time  `json:"started_at"`
	Ended    *time.Time `json:"ended_at"`
	Bytes    int64      `json:"bytes"`
	Cut      string     `json:"cut,omitempty"`
	Hold     bool       `json:"hold"`
	Erased   *time.Time `json:"erased_at"`
}

func wireRecording(r remote.Recording) recordingJSON {
	return recordingJSON{
		r.Session, r.Number, r.User.Name, r.Username, r.Host, r.Protocol, r.Started.UTC(), optionalTime(r.Ended), r.Bytes, r.Cut, r.Hold, optionalTime(r.Deleted),
	}
}

func (r recordingJSON) row() []string {
	var state []string
	switch {
	case r.Erased != nil:
		state = append(state, "erased")
	case r.Cut != "":
		state = append(state, "cut: "+r.Cut)
	case r.Ended == nil:
		state = append(state, "going on")
	}
	if r.Hold {
		state = append(state, "held")
	}
	return []string{r.ID, strconv.FormatInt(r.Number, 10), r.User, r.Username + "@" + r.Host, r.Protocol, moment(r.Started), ifAny(r.Ended), strconv.FormatInt(r.Bytes, 10), strings.Join(state, ", ")}
}

// Run lists.
func (c *recordingList) Run(ctx context.Context, p *process) error {
	if err := limited(c.Limit); err != nil {
		return err
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		which := remote.Which{Active: c.Active}
		if c.User != "" {
			u, err := h.Users.ByName(ctx, h.Access.For(by), identity.Fold(c.User))
			if err != nil {
				return failed("list recordings", err, seeUsers)
			}
			which.User = u.ID
		}
		shown := []recordingJSON{}
		for w := page.Behind("", c.Limit); ; {
			part, err := h.Library.List(ctx, by, which, w)
			if err != nil {
				return failed("list recordings", err, "run `gatehouse migrate`")
			}
			for _, r := range part.Items {
				shown = append(shown, wireRecording(r))
			}
			if !part.HasMore() || int64(len(shown)) >= c.Limit {
				break
			}
			w = page.Behind(part.Next, c.Limit-int64(len(shown)))
		}
		return print(p, shown, []string{"ID", "#", "WHO", "WHERE", "BY", "BEGUN", "ENDED", "BYTES", "STATE"}, recordingJSON.row)
	})
}

type recordingVerify struct {
	Place
	Output
	What string   `arg:"" help:"A directory that holds a recording, its manifest.json, an exported track, or the id or number of a session."`
	Key  []string `placeholder:"FILE" help:"The public key to trust, in hex or PEM. Without it a directory is checked for integrity only, and of an id the key in the database is trusted."`
}

// recordingVerdict is what a verification found, for programs.
type recordingVerdict struct {
	Whole bool `json:"whole"`
	app.RecordingReport
	Trusted string `json:"trusted_key"` // given, database, none
}

// Run verifies, and fails when there is any problem.
func (c *recordingVerify) Run(ctx context.Context, p *process) error {
	var keys []ed25519.PublicKey
	for _, name := range c.Key {
		key, err := readPublicKey(name)
		if err != nil {
			return &usageError{fmt.Errorf("--key %s: %w", name, err)}
		}
		keys = append(keys, key)
	}
	found, err := c.verify(ctx, p, keys)
	if err != nil {
		return err
	}
	found.Whole = len(found.Problems) == 0
	if err := p.printRecordingVerdict(found); err != nil {
		return err
	}
	if !found.Whole {
		return fmt.Errorf("verify recording: %s; compare with a backup", count(len(found.Problems), "problem"))
	}
	return nil
}

func (c *recordingVerify) verify(ctx context.Context, p *process, keys []ed25519.PublicKey) (v recordingVerdict, err error) {
	v.Trusted = "given"
	if _, missing := os.Stat(c.What); missing == nil {
		if len(keys) == 0 {
			v.Trusted = "none"
		}
		if v.RecordingReport, err = app.VerifyRecordingAt(ctx, c.What, keys); err != nil {
			return v, failed("verify recording "+c.What, err, "give the directory of one recording")
		}
		return v, nil
	}
	settings, err := p.load()
	if err != nil {
		return v, err
	}
	from, err := app.OpenRecordingSource(ctx, settings)
	if err != nil {
		return v, failed("verify recording "+c.What, err, "there is no file of that name; for an id check --data and --database")
	}
	if len(keys) == 0 {
		v.Trusted, keys = "database", from.Keys
	}
	v.RecordingReport, err = from.Verify(ctx, c.What, keys)
	if closing := from.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return v, failed("verify recording "+c.What, err, seeRecordings)
	}
	return v, nil
}

func (p *process) printRecordingVerdict(v recordingVerdict) error {
	if p.json {
		return p.printJSON(v)
	}
	for _, problem := range v.Problems {
		text := problem.What
		if problem.Segment != "" {
			text = problem.Segment + ": " + text
		}
		fmt.Fprintln(p.out, clean("problem: "+text))
	}
	is := "whole"
	if !v.Whole {
		is = "BROKEN"
	}
	fmt.Fprintf(p.out, "recording %s is %s: %s, %s read; %s\n", clean(v.Recording), is, count(v.Segments, "segment"), count(int(v.Bytes), "byte"), v.RecordingReport.Trust)
	if v.Cut != "" {
		fmt.Fprintln(p.out, clean("cut: "+v.Cut))
	}
	if v.Erased {
		fmt.Fprintln(p.out, "retention has erased the segments: the manifest was checked alone")
	}
	for _, c := range v.Coverage {
		fmt.Fprintln(p.out, clean(coverageLine(c)))
	}
	switch v.Trusted {
	case "none":
		p.note("integrity only: no --key was given, so the manifest vouches for itself, and who could write it could have signed it anew. Keep `gatehouse recording key` elsewhere and give it with --key.")
	case "database":
		p.note("no --key was given, so the key in the database was trusted: who could write the database could have put another there. Keep `gatehouse recording key` elsewhere and give it with --key.")
	}
	return nil
}

func coverageLine(c remote.Covered) string {
	text := "  " + c.Is + ": " + c.Kind + " " + c.Name
	if c.To != "" {
		text += " to " + c.To
	}
	if c.Times > 1 {
		text += fmt.Sprintf(", %d times", c.Times)
	}
	text += fmt.Sprintf(", %d bytes", c.Bytes)
	if c.Sent > 0 {
		text += fmt.Sprintf(", %d sent", c.Sent)
	}
	if c.SHA256 != "" {
		text += ", SHA-256 " + c.SHA256
	}
	if c.Text != "" {
		text += " (" + c.Text + ")"
	}
	return text
}

type recordingExport struct {
	Place
	ID     string `arg:"" help:"Id or number of the session."`
	Track  string `placeholder:"NAME" help:"Which terminal, where there are several. Without it the first."`
	Format string `default:"v3" enum:"asciicast-v2,v3,txt" help:"asciicast-v2, v3 or txt (${default})."`
	Raw    bool   `help:"Leave in what can harm a terminal that plays it: links, titles, the clipboard, reports. With v3 the very bytes that were signed."`
	Out    string `placeholder:"FILE" help:"Write to a file instead of standard output."`
}

// Run exports one track. It is on record as played.
func (c *recordingExport) Run(ctx context.Context, p *process) error {
	return p.withRecordings(ctx, func(h *app.House, by access.Caller) error {
		to := p.out
		if c.Out != "" {
			f, err := os.OpenFile(c.Out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return failed("export recording "+c.ID, err, "choose another file")
			}
			defer func() { _ = f.Close() }() // what went wrong is told below
			to = f
		}
		err := h.Library.Play(ctx, by, c.ID, remote.Export{Track: c.Track, Format: remote.Format(c.Format), Raw: c.Raw}, to)
		if f, ok := to.(*os.File); ok && c.Out != "" && err == nil {
			err = f.Sync()
		}
		if err != nil {
			return failed("export recording "+c.ID, err, seeRecordings)
		}
		return nil
	})
}

// withRecordings opens the data and the recordings for one command.
func (p *process) withRecordings(ctx context.Context, work func(*app.House, access.Caller) error) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		if err := h.OpenRecordings(ctx); err != nil {
			return failed("open recordings", err, "check recording.url")
		}
		return work(h, by)
	})
}

type recordingHold struct {
	Place
	ID string `arg:"" help:"Id or number of the session."`
}

// Run holds.
func (c *recordingHold) Run(ctx context.Context, p *process) error {
	return p.hold(ctx, c.ID, true, "held: retention does not erase it")
}

type recordingRelease struct {
	Place
	ID string `arg:"" help:"Id or number of the session."`
}

// Run lets go.
func (c *recordingRelease) Run(ctx context.Context, p *process) error {
	return p.hold(ctx, c.ID, false, "released: retention may erase it")
}

func (p *process) hold(ctx context.Context, id string, hold bool, done string) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		if err := h.Library.Hold(ctx, by, id, hold); err != nil {
			return failed("hold recording "+id, err, seeRecordings)
		}
		p.note("%s", done)
		return nil
	})
}

type recordingKey struct {
	Place
	Output
}

// Run prints the installation's public keys: those of the audit log sign recordings too.
func (c *recordingKey) Run(ctx context.Context, p *process) error {
	return (&auditKey{Place: c.Place, Output: c.Output}).Run(ctx, p)
}
