package audit

import (
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// maxFolds bounds the memory that strangers can occupy by coming from ever new addresses. Beyond it
// refusals are counted per action alone, without their address.
const maxFolds = 10_000

// Folder turns a flood of like refusals into two events: the first, and one that counts the rest.
type Folder struct {
	Window time.Duration // how long refusals are folded together; a minute by default

	mu    sync.Mutex
	folds map[foldKey]*fold
}

type foldKey struct{ address, action, name, object string }

type fold struct {
	ends  time.Time
	event Event // the latest of the counted ones
	count int
}

// NewFolder returns a folder with that window.
func NewFolder(window time.Duration) *Folder {
	return &Folder{Window: window, folds: make(map[foldKey]*fold)}
}

// add reports whether e is the first of its kind in the window; otherwise it was counted.
func (f *Folder) add(e Event, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := foldKey{e.Address, e.Action, strings.ToLower(e.Actor.Name), e.Object.ID}
	known, ok := f.folds[key]
	if !ok && len(f.folds) >= maxFolds {
		key = foldKey{action: e.Action}
		e.Address, e.Actor.Name, e.Concerns = "", "", ""
		known, ok = f.folds[key]
	}
	if !ok {
		f.folds[key] = &fold{ends: now.Add(f.Window)}
		return true
	}
	known.event = e
	known.count++
	return false
}

// due removes the windows that are over, or all, and returns a counted event for each that held more than its first.
func (f *Folder) due(now time.Time, all bool) []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	var events []Event
	for key, known := range f.folds {
		if !all && now.Before(known.ends) {
			continue
		}
		delete(f.folds, key)
		if known.count > 0 {
			e := known.event
			e.ID = uuid.Must(uuid.NewV7()).String()
			e.Count = known.count
			events = append(events, e)
		}
	}
	return events
}

// putBack counts events again that could not be stored, so that nothing is lost while the store is away.
func (f *Folder) putBack(events []Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		key := foldKey{e.Address, e.Action, strings.ToLower(e.Actor.Name), e.Object.ID}
		known, ok := f.folds[key]
		if !ok {
			known = &fold{}
			f.folds[key] = known
		}
		known.event = e
		known.count += e.Count
	}
}
