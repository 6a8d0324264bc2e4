package peers

import "time"

// ExitCode waits until the peer has ended by itself and returns its exit code: -1 after a signal, and
// when it did not end in time.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(Patience):
		return -1
	}
}
