package peers

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
)

// S3Server is versitygw on 127.0.0.1: an S3 server whose buckets are folders.
type S3Server struct {
	Dir string // with a folder for each bucket; in it each object is a file

	process *Process
	binary  string
	meta    string
	at      string
}

// What opens every bucket of an S3Server.
const (
	S3Key    = "gatehouse-test"
	S3Secret = "not-secret-of-s3"
)

// Versitygw starts a server without a bucket. The program lies where scripts/install-peers puts it, or in the PATH.
func Versitygw(tb testing.TB) *S3Server {
	tb.Helper()
	_, here, _, _ := runtime.Caller(0)
	binary := filepath.Join(filepath.Dir(here), "../../.cache/bin/versitygw")
	if _, err := os.Stat(binary); err != nil {
		binary = "versitygw"
	}
	Require(tb, binary)
	s := &S3Server{Dir: tb.TempDir(), binary: binary, meta: tb.TempDir(), at: net.JoinHostPort("127.0.0.1", strconv.Itoa(Port(tb)))}
	s.Start(tb)
	return s
}

// Start starts a server that was killed once more, with what it has.
func (s *S3Server) Start(tb testing.TB) {
	tb.Helper()
	cmd := exec.Command(s.binary, "--port", s.at, "--quiet", "posix", "--sidecar", s.meta, s.Dir) //nolint:noctx // it ends with the test
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + tb.TempDir(), "ROOT_ACCESS_KEY=" + S3Key, "ROOT_SECRET_KEY=" + S3Secret}
	s.process = Start(tb, cmd)
	Await(tb, s.process, func() error {
		c, err := net.Dial("tcp", s.at) //nolint:noctx // on this machine
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// Kill ends the server at once.
func (s *S3Server) Kill() { s.process.Kill() }

// Bucket makes a bucket and returns its address, as recording.url takes it.
func (s *S3Server) Bucket(tb testing.TB, name string) string {
	tb.Helper()
	if err := os.Mkdir(filepath.Join(s.Dir, name), 0o700); err != nil {
		tb.Fatal(err)
	}
	q := url.Values{"region": {"us-east-1"}, "endpoint": {"http://" + s.at}, "use_path_style": {"true"}}
	return (&url.URL{Scheme: "s3", Host: name, RawQuery: q.Encode()}).String()
}

// S3Environment is what programs need that use the server.
func S3Environment() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + S3Key, "AWS_SECRET_ACCESS_KEY=" + S3Secret, "AWS_EC2_METADATA_DISABLED=true"}
}
