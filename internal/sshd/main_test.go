package sshd_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind: neither of the door's nor of the library's (rule S7). One that is on its way out is waited for.
func TestMain(m *testing.M) {
	code, ended := m.Run(), time.Now()
	left := goleak.Find()
	for left != nil && time.Since(ended) < patience {
		left = goleak.Find()
	}
	if left != nil && code == 0 {
		fmt.Fprintln(os.Stderr, left)
		code = 1
	}
	os.Exit(code)
}
