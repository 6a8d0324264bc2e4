// Package proc reads from Linux's /proc what processes cost: CPU time and resident memory.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of the times in /proc/PID/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// CPU is processor time, by who spent it.
type CPU struct {
	User   time.Duration `json:"user"`
	System time.Duration `json:"system"`
}

// Sum is user and system time together.
func (c CPU) Sum() time.Duration { return c.User + c.System }

// Since is what was spent after an earlier reading.
func (c CPU) Since(earlier CPU) CPU {
	return CPU{c.User - earlier.User, c.System - earlier.System}
}

// Per is the share of one of n operations.
func (c CPU) Per(n int64) CPU {
	n = max(n, 1)
	return CPU{c.User / time.Duration(n), c.System / time.Duration(n)}
}

// Of reads what a process has spent, without its children.
func Of(pid int) (CPU, error) {
	s, err := stat(pid)
	return s.own, err
}

// OfTree reads what a process and its descendants have spent: those that live, and those that ended and
// were waited for. A program that forks for each connection, such as sshd, spends little itself.
func OfTree(pid int) (CPU, error) {
	s, err := stat(pid)
	if err != nil {
		return CPU{}, err
	}
	sum := CPU{s.own.User + s.waited.User, s.own.System + s.waited.System}
	for _, child := range Children(pid) {
		c, err := OfTree(child)
		if err != nil { // it has ended since, and its parent will account for it
			continue
		}
		sum.User += c.User
		sum.System += c.System
	}
	return sum, nil
}

// Children lists the processes whose parent is pid.
func Children(pid int) []int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var all []int
	for _, name := range lists {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

// Parent is the process that a process belongs to.
func Parent(pid int) (int, error) {
	s, err := stat(pid)
	return s.parent, err
}

type status struct {
	parent      int
	own, waited CPU
}

// stat reads /proc/PID/stat. The second field, the program's name in parentheses, may hold anything.
func stat(pid int) (status, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return status{}, err
	}
	end := bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:]))
	if end < 0 || len(fields) < 15 {
		return status{}, fmt.Errorf("read stat of %d: %q", pid, text)
	}
	var wrong error
	number := func(field int) int64 { // counted from 1 as in proc(5)
		n, err := strconv.ParseInt(fields[field-3], 10, 64)
		if err != nil {
			wrong = fmt.Errorf("read stat of %d: %w", pid, err)
		}
		return n
	}
	spent := func(field int) CPU {
		return CPU{time.Duration(number(field)) * tick, time.Duration(number(field+1)) * tick}
	}
	return status{parent: int(number(4)), own: spent(14), waited: spent(16)}, wrong
}

// Resident reads how many bytes of memory a process occupies.
func Resident(pid int) (int64, error) { return memory(pid, "VmRSS:") }

// Peak reads how many bytes of memory a process occupied at most since it began, or since ForgetPeak.
func Peak(pid int) (int64, error) { return memory(pid, "VmHWM:") }

// ForgetPeak lets Peak begin anew (proc(5), clear_refs).
func ForgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// OfTreeMemory reads how many bytes of memory a process and its descendants occupy together: what several of them share counts once in all.
func OfTreeMemory(pid int) (sum int64) {
	sum, _ = proportional(pid) // it may have ended since
	for _, child := range Children(pid) {
		if !sameMemory(pid, child) {
			sum += OfTreeMemory(child)
		}
	}
	return sum
}

// sameMemory says whether a child still has its parent's memory and no copy of it (kcmp(2)): so a Go program starts others, until exec.
func sameMemory(parent, child int) bool {
	const ofMemory = 1
	different, _, err := unix.Syscall6(unix.SYS_KCMP, uintptr(parent), uintptr(child), ofMemory, 0, 0, 0)
	return err == 0 && different == 0
}

func proportional(pid int) (int64, error) {
	return field(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
}

func memory(pid int, name string) (int64, error) {
	return field(fmt.Sprintf("/proc/%d/status", pid), name)
}

// field reads a number of kB from a file of names and values.
func field(file, name string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in %s", name, file)
}

// InMemory says whether a directory lies in memory rather than on a disk: there fsync costs nothing.
func InMemory(dir string) bool {
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	var fs syscall.Statfs_t
	err := syscall.Statfs(dir, &fs)
	return err == nil && (fs.Type == tmpfs || fs.Type == ramfs)
}
