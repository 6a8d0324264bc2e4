package native

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

func (a *API) recordings() tag {
	return tag{"Recordings", "What happened in remote sessions. Each is named by the id or the number of its session.", []line{
		op("GET", "/api/v1/recordings", access.RecordingRead, "List the recordings that one may read, newest first", a.listRecordings),
		op("GET", "/api/v1/recordings/{recording}", access.RecordingRead, "Show a recording", a.showRecording, says("With what can be played of it and, once it is signed, what became of each channel of the session.")),
		download("GET", "/api/v1/recordings/{recording}/tracks/{track}", access.RecordingRead, "Play a track", castType, a.playTrack, says("As asciicast v3, v2 or text. That it was played is on record.")),
		op("PUT", "/api/v1/recordings/{recording}/hold", access.RecordingHold, "Keep a recording beyond retention", a.holdRecording(true)),
		op("DELETE", "/api/v1/recordings/{recording}/hold", access.RecordingHold, "Let retention have a recording again", a.holdRecording(false)),
	}}
}

// castType is what a track is sent as.
const castType = "application/x-asciicast"

// download makes a line of a function that writes its answer as it goes. What it writes came from a target: browsers keep it in a file (rule W4). A client that
// does not read is let go.
func download[In any](method, path string, do access.Action, summary, media string, answer func(context.Context, access.Caller, In, io.Writer) error, more ...func(*line)) line {
	o := line{method: method, path: path, action: do, summary: summary, in: reflect.TypeFor[In](), out: reflect.TypeFor[string](), status: http.StatusOK, media: media}
	for _, m := range more {
		m(&o)
	}
	o.serve = func(a *API, w http.ResponseWriter, r *http.Request, by access.Caller) error {
		if a.Cookies.Foreign(r) || by.Cookie && !a.Cookies.BeganHere(r) { // rule W1: no other site has it played, or put on record
			return errOrigin
		}
		var in In
		if err := bind(r, path, &in); err != nil {
			return err
		}
		return placed(answer(r.Context(), by, in, &file{w: w, media: media, wait: a.SendWait}), o.in)
	}
	return o
}

// file is an answer that begins with its first byte: what fails before can still be answered otherwise.
type file struct {
	w     http.ResponseWriter
	media string
	wait  time.Duration // for one write
	began bool
}

// Write implements io.Writer.
func (f *file) Write(p []byte) (int, error) {
	if !f.began {
		h := f.w.Header()
		h.Set("Content-Type", f.media)
		h.Set("Content-Disposition", "attachment")
		h.Set("Content-Security-Policy", "sandbox")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		f.began = true
	}
	_ = http.NewResponseController(f.w).SetWriteDeadline(time.Now().Add(f.wait)) // who cannot be given one is not waited for by us
	return f.w.Write(p)
}

// wireRecording is a recording.
type wireRecording struct {
	ID        string     `json:"id" format:"uuid" doc:"That of its session."`
	Number    int64      `json:"number"`
	User      wireNamed  `json:"user"`
	Username  string     `json:"username" doc:"At the target."`
	Device    string     `json:"device_id"`
	Host      string     `json:"host"`
	Protocol  string     `json:"protocol"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at" nullable:"true" doc:"null while it goes on."`
	Bytes     int64      `json:"bytes" doc:"In segments that are closed."`
	Cut       string     `json:"cut" doc:"Why it ends before its session did; empty where it does not."`
	Hold      bool       `json:"hold" doc:"Retention does not erase it."`
	ErasedAt  *time.Time `json:"erased_at" nullable:"true" doc:"When retention erased what was recorded; manifest and hashes remain."`
}

// wireNamed is somebody by id and name.
type wireNamed struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// wireRecordingShown is a recording with what is in it.
type wireRecordingShown struct {
	Recording wireRecording  `json:"recording"`
	Tracks    []wireTrack    `json:"tracks" nullable:"false"`
	Coverage  []wireCoverage `json:"coverage" nullable:"false" doc:"What became of each channel, once the recording is signed."`
}

// wireTrack is a terminal or command that can be played.
type wireTrack struct {
	Name string `json:"name"`
	Kind string `json:"kind" example:"terminal"`
}

// wireCoverage is what became of a channel.
type wireCoverage struct {
	Channel string `json:"channel"`
	Kind    string `json:"kind"`
	Is      string `json:"is" enum:"recorded,refused,not recorded"`
	To      string `json:"to"`
	Times   int64  `json:"times"`
	Bytes   int64  `json:"bytes"`
	Sent    int64  `json:"sent"`
	SHA256  string `json:"sha256"`
	Text    string `json:"text"`
}

func recordingOf(r remote.Recording) wireRecording {
	return wireRecording{
		ID: r.Session, Number: r.Number, User: wireNamed{r.User.ID, r.User.Name}, Username: r.Username, Device: r.Target, Host: r.Host, Protocol: r.Protocol,
		StartedAt: r.Started.UTC(), EndedAt: optional(r.Ended), Bytes: r.Bytes, Cut: r.Cut, Hold: r.Hold, ErasedAt: optional(r.Deleted),
	}
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

type listRecordings struct {
	User   string `query:"user" doc:"Id of a user: only theirs."`
	Device string `query:"device" doc:"Id of a device: only those of sessions on it."`
	Active bool   `query:"active" doc:"Only those that go on."`
	window
}

func (a *API) listRecordings(ctx context.Context, by access.Caller, in listRecordings) (wirePage[wireRecording], error) {
	w, err := in.page()
	if err != nil {
		return wirePage[wireRecording]{}, err
	}
	p, err := a.Library.List(ctx, by, remote.Which{User: in.User, Device: in.Device, Active: in.Active}, w)
	return pageOf(p, recordingOf), err
}

type recordingPath struct {
	Recording string `path:"recording" doc:"Id or number of the session."`
}

func (a *API) showRecording(ctx context.Context, by access.Caller, in recordingPath) (wireRecordingShown, error) {
	r, err := a.Library.Find(ctx, by, in.Recording)
	if err != nil {
		return wireRecordingShown{}, err
	}
	out := wireRecordingShown{Recording: recordingOf(r), Tracks: []wireTrack{}, Coverage: []wireCoverage{}}
	tracks, err := a.Library.Tracks(ctx, by, r.Session)
	if err != nil {
		return wireRecordingShown{}, err
	}
	for _, t := range tracks {
		out.Tracks = append(out.Tracks, wireTrack(t))
	}
	for _, c := range r.Coverage() {
		out.Coverage = append(out.Coverage, wireCoverage{Channel: c.Name, Kind: c.Kind, Is: c.Is, To: c.To, Times: c.Times, Bytes: c.Bytes, Sent: c.Sent, SHA256: c.SHA256, Text: c.Text})
	}
	return out, nil
}

type playTrack struct {
	recordingPath
	Track  string `path:"track"`
	Format string `query:"format" enum:"v3,asciicast-v2,txt" doc:"v3 where it is left out."`
	Raw    bool   `query:"raw" doc:"Leave in what can harm a terminal that plays it: links, titles, the clipboard, reports."`
}

func (a *API) playTrack(ctx context.Context, by access.Caller, in playTrack, to io.Writer) error {
	return a.Library.Play(ctx, by, in.Recording, remote.Export{Track: in.Track, Format: remote.Format(in.Format), Raw: in.Raw}, to)
}

func (a *API) holdRecording(hold bool) func(context.Context, access.Caller, recordingPath) (none, error) {
	return func(ctx context.Context, by access.Caller, in recordingPath) (none, error) {
		return none{}, a.Library.Hold(ctx, by, in.Recording, hold)
	}
}
