package git_test

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/git"
)

// cloning is what a client sends to clone everything, over HTTP and version 2.
func cloning(tip string) string {
	return pktLine("command=fetch") + pktLine("object-format=sha1") + "0001" + pktLine("no-progress") + pktLine("ofs-delta") + pktLine("want "+tip+"\n") + pktLine("done\n") + "0000"
}

// BenchmarkClone compares a clone of 64 MB through this room with the same git on bare pipes: what is
// between the two is ours.
func BenchmarkClone(b *testing.B) {
	h := newHouse(b, limits())
	dir := h.work(b)
	big := make([]byte, 64<<20)
	_, _ = rand.Read(big)
	h.commit(b, dir, "big", big)
	h.git(b, dir, "push", "-q", "git@gate.test:PRJ/repo.git", "main").must(b)
	ask := cloning(h.head(b, dir, "main"))
	b.Run("bare_pipe", func(b *testing.B) {
		b.SetBytes(int64(len(big)))
		for b.Loop() {
			cmd := exec.Command("git", "upload-pack", "--strict", "--stateless-rpc", h.dir())
			cmd.Env = []string{"GIT_PROTOCOL=version=2"}
			cmd.Stdin = strings.NewReader(ask)
			out, err := cmd.StdoutPipe()
			if err != nil || cmd.Start() != nil {
				b.Fatal(err)
			}
			n, _ := io.Copy(io.Discard, out)
			if err := cmd.Wait(); err != nil || n < int64(len(big)) {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("this_room", func(b *testing.B) {
		b.SetBytes(int64(len(big)))
		for b.Loop() {
			var out count
			err := h.Upload(context.Background(), repoID, git.Exchange{In: strings.NewReader(ask), Out: &out, Over: git.HTTP, Protocol: "version=2"})
			if err != nil || int(out) < len(big) {
				b.Fatal(out, err)
			}
		}
	})
	b.Run("over_HTTP", func(b *testing.B) {
		b.SetBytes(int64(len(big)))
		for b.Loop() {
			request, _ := http.NewRequest(http.MethodPost, h.http+"/scm/PRJ/repo.git/git-upload-pack", strings.NewReader(ask))
			request.Header.Set("Git-Protocol", "version=2")
			answer, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				b.Fatal(err)
			}
			n, err := io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			if err != nil || n < int64(len(big)) {
				b.Fatal(n, err)
			}
		}
	})
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// count counts what it is given.
type count int

func (c *count) Write(p []byte) (int, error) { *c += count(len(p)); return len(p), nil }
