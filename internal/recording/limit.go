package recording

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// No session fills the disk with what it prints (rule W5), nor outruns the place where recordings are kept.

// maxPending is how many closed segments of one session may wait for the bucket before its target has to.
const maxPending = 16

// Room implements remote.Recorder.
func (r *recorder) Room(input bool, until <-chan struct{}) {
	if input && !r.a.Settings.Keystrokes { // it is counted alone
		return
	}
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

// space is what is known of the room on the disks of spool and bucket. It is looked at apart from all else: a disk that does not answer holds up whoever asks.
type space struct {
	mu    sync.Mutex
	free  int64     // on the fullest
	at    time.Time // when that was; zero: never
	fault error     // of the last look, where it went wrong
}

// short returns why there is too little room for what is recorded.
func (s *space) short(w Settings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case w.MinFree == 0:
		return nil
	case s.at.IsZero() && s.fault == nil: // not looked at yet
		return nil
	case time.Since(s.at) > max(w.Patience, 2*w.Sync): // an answer now and then may fail
		return errors.Join(errNoAnswer, s.fault) // one that hangs has none
	case s.free < w.MinFree:
		return fmt.Errorf("%w: %d MiB free, and recording.min_free is %d MiB", errLow, s.free>>20, w.MinFree>>20)
	}
	return nil
}

var (
	errLow      = errors.New("the disk of recordings is nearly full")
	errNoAnswer = errors.New("the disk of recordings does not say what is free")
)

// Space looks at the disks, and returns why there is too little room on them for what is recorded.
func (a *Archive) Space() error {
	a.look()
	return a.space.short(a.Settings)
}

// diskLoop looks at the disks until ctx ends.
func (a *Archive) diskLoop(ctx context.Context) {
	tick := time.NewTicker(a.Settings.Sync)
	defer tick.Stop()
	for {
		a.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look asks how much is free.
func (a *Archive) look() {
	free := int64(math.MaxInt64)
	var fault error
	for _, dir := range []string{a.Spool, a.local} {
		there, err := a.freeOn(dir)
		free, fault = min(free, there), errors.Join(fault, err)
	}
	if fault == nil && a.Observe.Free != nil {
		a.Observe.Free(free)
	}
	s := &a.space
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault = fault; fault == nil {
		s.free, s.at = free, time.Now()
	}
}

// freeOn is how much is free on the disk of a directory; as much as can be where there is none yet, or the system does not say.
func (a *Archive) freeOn(dir string) (int64, error) {
	if dir == "" {
		return math.MaxInt64, nil
	}
	look := a.free
	if look == nil {
		look = freeOf
	}
	free, err := look(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
		return math.MaxInt64, nil
	}
	return free, err
}
