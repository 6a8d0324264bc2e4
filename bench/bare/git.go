package bare

import (
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ServeGit is git's own http-backend behind Go's CGI and nothing else: it serves whoever comes the repositories below the current folder. It prints its address
// in a line of its own and stays until the process is ended.
func ServeGit() error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	parts, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, l.Addr()); err != nil {
		return err
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(parts)), "git-http-backend"), Root: "/", Dir: root,
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}, InheritEnv: []string{"PATH"},
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		one := *backend
		if version := q.Header.Get("Git-Protocol"); version != "" {
			one.Env = append(one.Env[:len(one.Env):len(one.Env)], "GIT_PROTOCOL="+version)
		}
		one.ServeHTTP(w, q)
	})}
	return server.Serve(l)
}
