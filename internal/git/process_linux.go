package git

import (
	"errors"
	"fmt"
	"os"
	"strings"

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

// quarantine finds where the git of a push keeps objects that are not taken yet: it tells its children.
// Since 2.39 a git that is ended by a signal leaves it behind.
func quarantine(pid int) string {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return ""
	}
	for child := range strings.FieldsSeq(string(children)) {
		environment, err := os.ReadFile("/proc/" + child + "/environ")
		if err != nil {
			continue
		}
		for variable := range strings.SplitSeq(string(environment), "\x00") {
			if path, ok := strings.CutPrefix(variable, "GIT_QUARANTINE_PATH="); ok {
				return path
			}
		}
	}
	return ""
}
