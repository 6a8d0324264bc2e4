package sshd_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind: neither of the door's nor of the library's (rule S7).
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
