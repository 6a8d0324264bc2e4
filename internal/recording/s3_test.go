package recording

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// The same recording in an S3 bucket, below a prefix: each segment is one object, and it verifies there.
func TestRecording_in_S3(t *testing.T) {
	backend := s3mem.New()
	must(t, backend.CreateBucket("tapes"))
	server := httptest.NewServer(gofakes3.New(backend).Server())
	defer server.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")

	h := newHouse(t, smallSegments)
	must(t, h.Archive.Close())
	must(t, h.Open(t.Context(), "s3://tapes?region=eu-test-1&endpoint="+server.URL+"&use_path_style=true&prefix=gate/house", ""))
	h.run(t)
	s := newSession()
	r, terminal := begin(t, h, s)
	line := []byte("a line that a terminal prints\r\n")
	for range 2000 {
		must(t, terminal.Output(line))
	}
	must(t, terminal.Close(remote.Exit{}))
	must(t, r.End(t.Context(), s))
	if report := h.whole(t, s); report.Segments < 5 || report.Coverage[0].Bytes != int64(2000*len(line)) {
		t.Errorf("%+v", report)
	}
	objects, err := backend.ListBucket("tapes", &gofakes3.Prefix{}, gofakes3.ListBucketPage{})
	must(t, err)
	for _, o := range objects.Contents {
		if !strings.HasPrefix(o.Key, "gate/house/"+s.ID+"/") {
			t.Errorf("object %s", o.Key)
		}
	}
	var out bytes.Buffer
	must(t, h.Export(t.Context(), s.ID, remote.Export{Track: "terminal", Format: remote.PlainText}, &out))
	if out.String() != strings.Repeat("a line that a terminal prints\n", 2000) {
		t.Errorf("%d bytes were exported", out.Len())
	}
	must(t, h.Erase(t.Context(), s.ID))
	must(t, h.Erase(t.Context(), s.ID))
	left, err := backend.ListBucket("tapes", &gofakes3.Prefix{}, gofakes3.ListBucketPage{})
	must(t, err)
	if len(left.Contents) != 1 || !strings.HasSuffix(left.Contents[0].Key, "/manifest.json") {
		t.Errorf("%d objects are left", len(left.Contents))
	}

	// A server that is gone fails what it is asked, in time.
	server.Close()
	if err := h.put(t.Context(), s.ID, "x", []byte("x")); err == nil {
		t.Error("a server that is gone took an object")
	}
}
