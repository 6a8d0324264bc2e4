package recording

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

func TestExport(t *testing.T) {
	t.Parallel()
	clock := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	h := newHouse(t, func(a *Archive) { a.Now = func() time.Time { return clock } })
	s := newSession()
	r, err := h.Begin(t.Context(), s)
	must(t, err)
	track := terminalTrack("terminal")
	track.Terminal.Command = "cat \x1b]52;c;eA==\x07x"
	terminal, err := r.Track(track)
	must(t, err)
	write := func(after time.Duration, text string) {
		clock = clock.Add(after)
		must(t, terminal.Output([]byte(text)))
	}
	write(1500*time.Millisecond, "one\r\n")
	write(time.Second, "\x1b]52;c;ZXZpbA==\x07") // the clipboard: dropped, with its line
	write(250*time.Millisecond, "\x1b[1mtwo\x1b[0m\r\n")
	must(t, terminal.Resize(remote.Size{Cols: 90, Rows: 20}))
	must(t, terminal.Close(remote.Exit{Signal: "TERM"}))
	must(t, r.End(t.Context(), s))

	export := func(x remote.Export) string {
		t.Helper()
		var out bytes.Buffer
		x.Track = "terminal"
		must(t, h.Export(t.Context(), s.ID, x, &out))
		return out.String()
	}
	v3 := `{"version":3,"term":{"cols":100,"rows":30,"type":"xterm-256color"},"timestamp":1795338000,"command":"cat x","title":"root@db.test"}
[1.500000, "o", "one\r\n"]
[1.250000, "o", "\u001b[1mtwo\u001b[0m\r\n"]
[0.000000, "r", "90x20"]
[0.000000, "x", "SIGTERM"]
`
	if got := export(remote.Export{Format: remote.AsciicastV3}); got != v3 {
		t.Errorf("v3:\n%s\nwant\n%s", got, v3)
	}
	v2 := `{"version":2,"width":100,"height":30,"timestamp":1795338000,"command":"cat x","title":"root@db.test","env":{"TERM":"xterm-256color"}}
[1.500000, "o", "one\r\n"]
[2.750000, "o", "\u001b[1mtwo\u001b[0m\r\n"]
[2.750000, "r", "90x20"]
`
	if got := export(remote.Export{Format: remote.AsciicastV2}); got != v2 {
		t.Errorf("v2:\n%s\nwant\n%s", got, v2)
	}
	if got := export(remote.Export{Format: remote.PlainText}); got != "one\ntwo\n" {
		t.Errorf("text: %q", got)
	}
	raw := export(remote.Export{Format: remote.AsciicastV3, Raw: true})
	signed, err := os.ReadFile(filepath.Join(h.dir, s.ID, "terminal.000001.cast"))
	must(t, err)
	if raw != string(signed) {
		t.Error("what is exported raw is not what was signed")
	}
	if got := export(remote.Export{Format: remote.AsciicastV2, Raw: true}); !strings.Contains(got, `\u001b]52;c;`) {
		t.Errorf("raw v2: %s", got)
	}
	is(t, h.Export(t.Context(), s.ID, remote.Export{Track: "other"}, &bytes.Buffer{}), remote.ErrNoRecording)
	is(t, h.Export(t.Context(), s.ID, remote.Export{Track: "events"}, &bytes.Buffer{}), remote.ErrNoRecording)
	tracks, err := h.Tracks(t.Context(), s.ID)
	must(t, err)
	if len(tracks) != 1 || tracks[0] != (remote.TrackInfo{Name: "terminal", Kind: "terminal"}) {
		t.Errorf("%+v", tracks)
	}
}

// A track that was exported as it was signed shows by itself what was changed in it, but for its last segment.
func TestVerifyExport(t *testing.T) {
	t.Parallel()
	h := newHouse(t, smallSegments)
	s, _ := recordingOf(t, h)
	var out bytes.Buffer
	must(t, h.Export(t.Context(), s.ID, remote.Export{Track: "terminal", Format: remote.AsciicastV3, Raw: true}, &out))
	verify := func(text string) Report {
		t.Helper()
		report, err := VerifyExport(strings.NewReader(text), nil)
		must(t, err)
		return report
	}
	if report := verify(out.String()); len(report.Problems) > 0 || report.Segments != 4 || report.Trust != IntegrityOnly || report.Recording != s.ID {
		t.Fatalf("%+v", report)
	}
	changed := strings.Replace(out.String(), "line 10 of", "line 11 of", 1)
	if report := verify(changed); len(report.Problems) != 1 || !strings.Contains(report.Problems[0].What, "segment 1 was changed") {
		t.Errorf("%+v", report.Problems)
	}
	second := regexp.MustCompile(`(?s)# gatehouse: [^\n]*"segment":2.*# gatehouse: [^\n]*"segment":3`).FindString(out.String())
	if report := verify(strings.Replace(out.String(), second[:strings.LastIndex(second, "# gatehouse")], "", 1)); len(report.Problems) == 0 {
		t.Error("a segment was cut out unseen")
	}
	if report := verify(out.String()[:out.Len()-5]); len(report.Problems) == 0 {
		t.Error("half a line passed")
	}
	if report, err := VerifyExport(&out, nil); err != nil || report.Segments == 0 {
		t.Errorf("%+v %v", report, err)
	}
	if _, err := VerifyExport(strings.NewReader("no recording\n"), nil); err == nil {
		t.Error("a text passed for a recording")
	}
}

// Retention leaves the manifest, which verifies by itself.
func TestErase(t *testing.T) {
	t.Parallel()
	h := newHouse(t, smallSegments)
	s, dir := recordingOf(t, h)
	must(t, h.Erase(t.Context(), s.ID))
	must(t, h.Erase(t.Context(), s.ID))
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != manifestName {
		t.Errorf("%v are left", entries)
	}
	report, err := Verify(t.Context(), h.Bucket, s.ID+"/", Verification{Erased: true})
	must(t, err)
	if len(report.Problems) > 0 || !report.Erased || report.Segments != 0 {
		t.Errorf("%+v", report)
	}
}

// FuzzCast reads hostile lines, and writes what it could read: nothing panics, and what comes out is read again (rule W5).
func FuzzCast(f *testing.F) {
	for _, seed := range []string{
		`{"version":3,"term":{"cols":80,"rows":24}}` + "\n" + `[0.1, "o", "x"]` + "\n", `[1e309, "o", ""]`, `[-1,"o","x"]`, `[1,"oo","x"]`, `[1,null,null]`, "# gatehouse: {}\n", "[[[[", "{\"version\":3}\n[2147483647,\"o\",\"\\ud800\"]\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, format := range remote.Formats {
			var out bytes.Buffer
			if err := Rewrite(bytes.NewReader(in), remote.Export{Format: format}, &out); err != nil || format != remote.AsciicastV3 {
				continue
			}
			var again bytes.Buffer
			if err := Rewrite(bytes.NewReader(out.Bytes()), remote.Export{Format: format}, &again); err != nil {
				t.Fatalf("%q became %q, which is not read: %v", in, out.Bytes(), err)
			}
		}
		_, _ = VerifyExport(bytes.NewReader(in), nil) // hostile input is refused or reported, never a panic
	})
}
