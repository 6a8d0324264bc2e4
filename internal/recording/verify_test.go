package recording

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocloud.dev/blob/memblob"
	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// recordingOf makes a recording of several segments, and returns its directory.
func recordingOf(t testing.TB, h *house) (s remote.Session, dir string) {
	t.Helper()
	s = newSession()
	r, terminal := begin(t, h, s)
	other, err := r.Track(terminalTrack("exec"))
	must(t, err)
	for i := range 400 {
		must(t, terminal.Output(fmt.Appendf(nil, "line %d of what was printed, with a number behind it\r\n", i)))
		must(t, other.Output(fmt.Appendf(nil, "%d ", i)))
	}
	must(t, r.Note(remote.Note{Channel: "files", Kind: "file", Name: "a"}))
	must(t, terminal.Close(remote.Exit{}))
	must(t, r.End(t.Context(), s))
	return s, filepath.Join(h.dir, s.ID)
}

func smallSegments(a *Archive) { a.Settings.SegmentBytes = 10_000 }

// verifyDir checks a directory offline, without the server.
func verifyDir(t testing.TB, dir string, keys ...ed25519.PublicKey) Report {
	t.Helper()
	b, err := OpenDir(dir)
	must(t, err)
	defer b.Close()
	report, err := Verify(t.Context(), b, "", Verification{Keys: keys})
	must(t, err)
	return report
}

func TestVerify(t *testing.T) {
	t.Parallel()
	h := newHouse(t, smallSegments)
	_, source := recordingOf(t, h)
	key := h.Signer.Public()
	if report := verifyDir(t, source, key); len(report.Problems) > 0 || report.Trust != Signed || report.Segments != 6 {
		t.Fatalf("%+v", report)
	}
	if report := verifyDir(t, source); len(report.Problems) > 0 || report.Trust != IntegrityOnly {
		t.Fatalf("without a key: %+v", report)
	}
	for name, bad := range map[string]bool{filepath.Base(source): false, newSession().ID: true, "copy-of-it": false} { // by which somebody found it
		b, err := OpenDir(source)
		must(t, err)
		report, err := Verify(t.Context(), b, "", Verification{Keys: []ed25519.PublicKey{key}, Name: name})
		must(t, errors.Join(err, b.Close()))
		if (len(report.Problems) == 1) != bad || bad && !strings.Contains(report.Problems[0].What, "is that of recording "+filepath.Base(source)) {
			t.Errorf("as %s: %+v", name, report)
		}
	}
	stranger, _, err := ed25519.GenerateKey(nil)
	must(t, err)

	rename := func(t *testing.T, from, to string) { must(t, os.Rename(from, to)) }
	edit := func(t *testing.T, path string, change func([]byte) []byte) {
		body, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, change(bytes.Clone(body)), 0o600))
	}
	second := "terminal.000002.cast"
	tests := map[string]struct {
		do   func(t *testing.T, dir string)
		key  ed25519.PublicKey
		want Problem // What is a part of the text
	}{
		"another key": {do: func(*testing.T, string) {}, key: stranger, want: Problem{Segment: manifestName, What: "not trusted"}},
		"a byte changed": {
			do: func(t *testing.T, dir string) {
				edit(t, filepath.Join(dir, second), func(b []byte) []byte { b[5000]++; return b })
			},
			want: Problem{Segment: second, From: 4096, To: 8192, Line: 52, What: "bytes 4096 to 8192"},
		},
		"bytes inserted": {
			do: func(t *testing.T, dir string) {
				edit(t, filepath.Join(dir, second), func(b []byte) []byte { return append(b[:5000:5000], append([]byte("evil"), b[5000:]...)...) })
			},
			want: Problem{Segment: second, From: 4096, What: "from byte 4096 on"},
		},
		"a line removed": {
			do: func(t *testing.T, dir string) {
				edit(t, filepath.Join(dir, second), func(b []byte) []byte {
					lines := bytes.SplitAfter(b, []byte("\n"))
					return bytes.Join(append(lines[:20:20], lines[21:]...), nil)
				})
			},
			want: Problem{Segment: second, What: "it was changed from byte 0 on"},
		},
		"truncated": {
			do: func(t *testing.T, dir string) {
				edit(t, filepath.Join(dir, second), func(b []byte) []byte { return b[:6000] })
			},
			want: Problem{Segment: second, From: 6000, What: "truncated: 6000 of"},
		},
		"emptied": {
			do: func(t *testing.T, dir string) {
				edit(t, filepath.Join(dir, second), func([]byte) []byte { return nil })
			},
			want: Problem{Segment: second, Line: 1, What: "truncated: 0 of"},
		},
		"something appended": {
			do: func(t *testing.T, dir string) {
				edit(t, filepath.Join(dir, second), func(b []byte) []byte { return append(b, `[0.1, "o", "evil"]`...) })
			},
			want: Problem{Segment: second, What: "something was added behind"},
		},
		"a segment removed": {
			do:   func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, second))) },
			want: Problem{Segment: second, What: "missing"},
		},
		"a segment added": {
			do: func(t *testing.T, dir string) {
				must(t, os.WriteFile(filepath.Join(dir, "terminal.000099.cast"), []byte("x"), 0o600))
			},
			want: Problem{Segment: "terminal.000099.cast", What: "does not know it"},
		},
		"two segments swapped": {
			do: func(t *testing.T, dir string) {
				rename(t, filepath.Join(dir, second), filepath.Join(dir, "x"))
				rename(t, filepath.Join(dir, "terminal.000001.cast"), filepath.Join(dir, second))
				rename(t, filepath.Join(dir, "x"), filepath.Join(dir, "terminal.000001.cast"))
			},
			want: Problem{Segment: "terminal.000001.cast", What: "it holds what terminal.000002.cast held"},
		},
		"the manifest removed": {
			do:   func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, manifestName))) },
			want: Problem{Segment: manifestName, What: "manifest is missing"},
		},
		"the manifest changed": {
			do: func(t *testing.T, dir string) {
				edit(t, filepath.Join(dir, manifestName), func(b []byte) []byte { return bytes.Replace(b, []byte("maria"), []byte("mario"), 1) })
			},
			want: Problem{Segment: manifestName, What: "the manifest was changed"},
		},
		"the manifest is no manifest": {
			do: func(t *testing.T, dir string) {
				edit(t, filepath.Join(dir, manifestName), func([]byte) []byte { return []byte("{}") })
			},
			want: Problem{Segment: manifestName, What: "cannot be read"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			must(t, os.CopyFS(dir, os.DirFS(source)))
			test.do(t, dir)
			trusted := key
			if test.key != nil {
				trusted = test.key
			}
			report := verifyDir(t, dir, trusted)
			for _, p := range report.Problems {
				w := test.want
				if p.Segment == w.Segment && strings.Contains(p.What, w.What) && (w.From == 0 || w.From == p.From) && (w.To == 0 || w.To == p.To) && (w.Line == 0 || w.Line == p.Line) {
					return
				}
			}
			t.Errorf("%+v was not found in %+v", test.want, report.Problems)
		})
	}
}

// Whatever byte of whatever object is changed, it is found, and the right object and place are named.
func TestVerify_finds_every_changed_byte(t *testing.T) {
	t.Parallel()
	h := newHouse(t, smallSegments)
	_, source := recordingOf(t, h)
	entries, err := os.ReadDir(source)
	must(t, err)
	rapid.Check(t, func(rt *rapid.T) {
		name := entries[rapid.IntRange(0, len(entries)-1).Draw(rt, "object")].Name()
		path := filepath.Join(source, name)
		body, err := os.ReadFile(path)
		must(t, err)
		at := rapid.IntRange(0, len(body)-1).Draw(rt, "byte")
		changed := bytes.Clone(body)
		changed[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		must(t, os.WriteFile(path, changed, 0o600))
		report := verifyDir(t, source, h.Signer.Public())
		must(t, os.WriteFile(path, body, 0o600))
		for _, p := range report.Problems {
			if p.Segment == name && (name == manifestName || p.From <= int64(at) && int64(at) < p.To) {
				return
			}
		}
		rt.Fatalf("byte %d of %s: %+v", at, name, report.Problems)
	})
}

// A database that was changed too does not help, nor does a manifest that was signed anew with segments left out: each tells on the other.
func TestVerify_holds_the_manifest_against_the_database(t *testing.T) {
	t.Parallel()
	h := newHouse(t, smallSegments)
	s, _ := recordingOf(t, h)
	h.whole(t, s)
	h.store.mu.Lock()
	all := h.store.pieces[s.ID]
	h.store.pieces[s.ID] = all[:len(all)-1]
	h.store.mu.Unlock()
	if report := h.verify(t, s); len(report.Problems) != 1 || report.Problems[0].What != "the database does not know it" {
		t.Errorf("%+v", report.Problems)
	}
	h.store.mu.Lock()
	all[0].Digest[0]++
	h.store.pieces[s.ID] = append(all, remote.Piece{Session: s.ID, Track: "terminal", Number: 9, Name: "terminal.000009.cast"})
	h.store.mu.Unlock()
	if report := h.verify(t, s); len(report.Problems) != 2 {
		t.Errorf("%+v", report.Problems)
	}
}

// Who holds the signing key can write a recording anew; who does not cannot sign in its name, for that purpose or with a seal's signature.
func TestManifest_signature_is_of_this_purpose(t *testing.T) {
	t.Parallel()
	signer := newSigner(t)
	text, err := Manifest{Version: 1, Session: Subject{Recording: "x"}}.sign(signer)
	must(t, err)
	if _, key, err := readManifest(text); err != nil || !key.Equal(signer.Public()) {
		t.Fatalf("%v %v", key, err)
	}
	var s signedManifest
	must(t, json.Unmarshal(text, &s))
	s.Signature = signer.Sign("something else v1", s.Manifest)
	forged, err := json.Marshal(s)
	must(t, err)
	if _, key, err := readManifest(forged); err != nil || key != nil {
		t.Errorf("a signature for another purpose passed: %v %v", key, err)
	}
}

// FuzzVerify reads hostile recordings: nothing panics, nothing is read without bound (rule W5).
func FuzzVerify(f *testing.F) {
	h := newHouse(f, smallSegments)
	_, dir := recordingOf(f, h)
	seed := func(name string) []byte {
		body, err := os.ReadFile(filepath.Join(dir, name))
		must(f, err)
		return body
	}
	f.Add(seed(manifestName), seed("terminal.000001.cast"), seed("events.000001.jsonl"))
	f.Add([]byte(`{"manifest":{"version":1,"tracks":[{"name":"t","segments":[{"name":"../x","bytes":-5,"sha256":"zz","blocks":"0"}]}]}}`), []byte("# gatehouse: {}\n"), []byte("\n"))
	f.Add([]byte(`{"manifest":{"version":1,"tracks":[{"name":"terminal","format":"asciicast-v3","segments":[{"name":"terminal.000001.cast","bytes":9223372036854775807}]}]}}`), []byte("[1,2,3]"), []byte("{"))
	f.Fuzz(func(t *testing.T, manifest, cast, events []byte) {
		b := memblob.OpenBucket(nil)
		defer b.Close()
		for name, body := range map[string][]byte{manifestName: manifest, "terminal.000001.cast": cast, "events.000001.jsonl": events} {
			must(t, b.WriteAll(t.Context(), name, body, nil))
		}
		report, err := Verify(t.Context(), b, "", Verification{Keys: []ed25519.PublicKey{h.Signer.Public()}})
		if err == nil && len(report.Problems) == 0 && !bytes.Equal(manifest, seed(manifestName)) {
			t.Error("a forged recording passed")
		}
	})
}

// JSON takes names in any case, white space and a member twice, hex in any case, and base64 with bits that count for nothing. A signed manifest has one form.
func TestReadManifest_takes_one_form(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	text, err := Manifest{Version: 1}.sign(h.Signer)
	must(t, err)
	if _, signed, err := readManifest(text); err != nil || signed == nil {
		t.Fatalf("%x, %v", signed, err)
	}
	id := audit.KeyIDOf(h.Signer.Public())
	for _, change := range [][2]string{
		{`{"manifest"`, `{"Manifest"`},
		{`,"key_id"`, `, "key_id"`},
		{`,"key_id"`, `,"key_id":"x","key_id"`},
		{id, "x" + id[1:]},
		{`"public_key":"` + hex.EncodeToString(h.Signer.Public()), `"public_key":"` + strings.ToUpper(hex.EncodeToString(h.Signer.Public()))},
		{"}\n", "}"},
	} {
		other := strings.Replace(string(text), change[0], change[1], 1)
		if other == string(text) {
			t.Errorf("nothing was changed by %q", change)
		}
		if _, signed, _ := readManifest([]byte(other)); signed != nil {
			t.Errorf("%q for %q is not named", change[1], change[0])
		}
	}
}
