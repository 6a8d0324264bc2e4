package recording

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// No session fills the disk with what it prints (rule W5), nor outruns the place where recordings are kept.

// maxPending is how many closed segments of one session may wait for the bucket before its target has to.
const maxPending = 16

// Room implements remote.Recorder.
func (r *recorder) Room(until <-chan struct{}) {
	for {
		r.mu.Lock()
		full, moved := len(r.pending) >= maxPending, r.moved
		r.mu.Unlock()
		if !full {
			return
		}
		select {
		case <-moved:
		case <-r.failed:
			return
		case <-until:
			return
		}
	}
}

// grow counts what a track is about to write, and fails a recording that would become larger than one may be.
func (r *recorder) grow(n int) error {
	most := r.a.Settings.MaxBytes
	if all := r.bytes.Add(int64(n)); most > 0 && all > most {
		return r.fail(remote.ErrFull)
	}
	return nil
}

// space returns why there is too little room on the disks for what is recorded.
func (a *Archive) space() error {
	least := a.Settings.MinFree
	if least == 0 {
		return nil
	}
	free := int64(math.MaxInt64)
	for _, dir := range []string{a.Spool, a.local} {
		there, err := a.freeOn(dir)
		if err != nil {
			return fmt.Errorf("look for room on the disk: %w", err)
		}
		free = min(free, there)
	}
	if a.Observe.Free != nil {
		a.Observe.Free(free)
	}
	if free < least {
		return fmt.Errorf("%w: %d MiB free, at least %d MiB have to be", errLow, free>>20, least>>20)
	}
	return nil
}

var errLow = errors.New("the disk of recordings is nearly full")

// freeOn is how much is free on the disk of a directory; as much as can be where there is none yet, or the system does not say.
func (a *Archive) freeOn(dir string) (int64, error) {
	look := a.free
	if look == nil {
		look = freeOf
	}
	free, err := look(dir)
	if dir == "" || errors.Is(err, os.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
		return math.MaxInt64, nil
	}
	return free, err
}
