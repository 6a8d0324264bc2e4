package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// withBucket is a desktop whose recordings lie in a bucket of a real S3 server.
func withBucket(t *testing.T, settings map[string]string) (d *desktop, server *peers.S3Server, bucket string) {
	t.Helper()
	server = peers.Versitygw(t)
	all := map[string]string{"recording.url": server.Bucket(t, "tapes") + "&prefix=gate/house", "recording.segment_bytes": "4KiB"}
	for name, value := range settings {
		all[name] = value
	}
	d = newDesktop(t, gate.Options{Settings: all, Env: peers.S3Environment()})
	return d, server, filepath.Join(server.Dir, "tapes")
}

// objects are the names of what the bucket holds of a recording.
func objects(t *testing.T, bucket, id string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Join(bucket, "gate/house", id))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, one := range all {
		names = append(names, one.Name())
	}
	return names
}

// Recordings lie in S3, below a prefix: there they are played and verified, and there each change is found.
func TestS3_recordings(t *testing.T) {
	t.Parallel()
	d, _, bucket := withBucket(t, nil)
	wantRan(t, d.ssh(t, there, "", "seq 1 40000 | tail -n 30000"), 0, numbers(10001, 40000), "")
	id := d.latest(t)
	if said := keep(t, d.Gate, id); !strings.Contains(said, "is whole") {
		t.Errorf("%s", said)
	}
	names := strings.Join(objects(t, bucket, id), " ")
	for _, want := range []string{"exec.000001.cast", "exec.000002.cast", "events.000001.jsonl", "manifest.json"} {
		if !strings.Contains(names, want) {
			t.Errorf("no %s among %s", want, names)
		}
	}
	if left, err := filepath.Glob(filepath.Join(d.Data, "spool", "*", "*")); err != nil || len(left) != 0 {
		t.Errorf("the spool still holds %v", left)
	}
	if text := d.Must(t, "recording", "export", id, "--format", "txt"); !strings.Contains(text, "\n25000\n") {
		t.Errorf("what is played: %.200q", text)
	}

	object := func(name string) string { return filepath.Join(bucket, "gate/house", id, name) }
	text := bytesOf(t, object("exec.000002.cast"))
	changed := append([]byte{}, text...)
	changed[len(changed)/2] ^= 1
	must(t, os.WriteFile(object("exec.000002.cast"), changed, 0o600))
	must(t, os.Remove(object("exec.000001.cast")))
	r := d.Command(t, "", "recording", "verify", id)
	for _, want := range []string{"problem: exec.000001.cast: the segment is missing", "problem: exec.000002.cast: it was changed: bytes "} {
		if r.Exit != 1 || !strings.Contains(r.Stdout, want) {
			t.Errorf("no %q: %+v", want, r)
		}
	}
	hushed(t, d.Gate, d.target.Account.Password, peers.S3Secret)
}

// Rule W14: where recordings can be stored no more, sessions go on for recording.upload_patience and no longer; what the spool has reaches the bucket
// once it is back.
func TestS3_the_bucket_goes_away(t *testing.T) {
	t.Parallel()
	const patience = 4 * time.Second
	d, server, bucket := withBucket(t, map[string]string{"recording.upload_patience": patience.String(), "recording.sync": "100ms"})
	p, w := d.session(t, nil)
	server.Kill()
	gone := time.Now()
	w.enter(t, "seq 1 2000 | tail -n 1000; echo 4''2-filled")
	w.shows(t, "42-filled") // the spool has it
	if why := w.ends(t); why != "unrecorded" {
		t.Errorf("ended for %q", why)
	}
	if after := time.Since(gone); after < patience/2 || took(gone) > patience+10*time.Second {
		t.Errorf("it took %v", after)
	}
	wantEnd(t, d.Gate, p.id, "unrecorded")

	server.Start(t)
	gate.Eventually(t, func() error {
		if n := d.Count(t, "SELECT count(*) FROM recordings WHERE session = $1 AND settled", p.id); n != 1 {
			return fmt.Errorf("the recording is not signed; the bucket has %v", objects(t, bucket, p.id))
		}
		return nil
	})
	r := d.Command(t, "", "recording", "verify", p.id)
	if r.Exit != 0 || !strings.Contains(r.Stdout, "cut: recording failed") {
		t.Errorf("%+v", r)
	}
	if text := d.Must(t, "recording", "export", p.id, "--format", "txt"); !strings.Contains(text, "42-filled") {
		t.Errorf("what passed before the end is not in the recording: %q", text)
	}
	_, w = d.session(t, nil) // and all is well again
	w.answers(t, 99)
}
