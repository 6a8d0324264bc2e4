package git

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bound sets how much data a process and its children may hold (rule W5): an object of a few bytes can
// claim to be of any size. Mapped packs do not count.
func bound(pid int, memory int64) error {
	if memory <= 0 {
		return nil
	}
	limit := unix.Rlimit{Cur: uint64(memory), Max: uint64(memory)}
	err := unix.Prlimit(pid, unix.RLIMIT_DATA, &limit, nil)
	return errors.Join(err, unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil))
}

// ended waits until a child has ended and leaves it to be reaped: until then its group's number
// belongs to nobody else.
func ended(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// widen makes a pipe hold more, so that both ends wait less often. The system may say no; nothing depends on it.
func widen(pipe *os.File) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
}

// A child is looked at so often, and so long after the last time, while it is still a copy of its parent.
const (
	quarantineLooks = 20
	quarantinePause = 5 * time.Millisecond
)

// quarantine finds where the git of a push keeps objects that are not taken yet: it tells its children.
// Since 2.39 a git that is ended by a signal leaves it behind. A child that was just forked does not know
// it before it runs its own program, so it is given the time to.
func quarantine(pid int) string {
	for look := 0; ; look++ {
		path, forked := quarantineOf(pid)
		if !forked || look == quarantineLooks {
			return path
		}
		time.Sleep(quarantinePause)
	}
}

// quarantineOf asks the children of a process where the quarantine is. When none says, it says whether one is forked and no more.
func quarantineOf(pid int) (path string, forked bool) {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return "", false
	}
	parent := told(strconv.Itoa(pid), "cmdline")
	for child := range strings.FieldsSeq(string(children)) {
		environment := told(child, "environ")
		for variable := range strings.SplitSeq(environment, "\x00") {
			if path, ok := strings.CutPrefix(variable, "GIT_QUARANTINE_PATH="); ok {
				return path, false
			}
		}
		forked = forked || environment == "" || told(child, "cmdline") == parent
	}
	return "", forked
}

// told is what the system says of a process; nothing when it has ended, or is about to run another program.
func told(pid, what string) string {
	text, err := os.ReadFile("/proc/" + pid + "/" + what)
	if err != nil {
		return ""
	}
	return string(text)
}
