package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// profileOf records where a server spends its time, with perf, until the function that it returns is
// called. Without -profile it does nothing.
func (r *run) profileOf(s server, label string) (stop func()) {
	if r.profile == "" {
		return func() {}
	}
	r.must(os.MkdirAll(r.profile, 0o755), "make directory for profiles")
	name := strings.NewReplacer(" ", "-", ",", "", "/", "-").Replace(r.name + "-" + label)
	file := filepath.Join(r.profile, name+".perf")
	cmd := exec.Command("perf", "record", "-q", "-F", "499", "-g", "-o", file, "-p", strconv.Itoa(s.pid))
	cmd.Stderr = os.Stderr
	r.launch(cmd)
	time.Sleep(300 * time.Millisecond) // perf says nothing when it is ready
	return func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		time.Sleep(500 * time.Millisecond)
		r.say("  profile: perf report -i %s", file)
	}
}
