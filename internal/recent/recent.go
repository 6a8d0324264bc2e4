// Package recent holds what a node remembers of the last moments: answers of the store, and uses that are still to be written.
//
// Answers spares the store the question that was asked a moment ago. Only good answers are kept, so that a stranger who tries keys
// cannot push them out, and whoever reads one compares its expiry with the clock all the same. A change is heard as a notice and
// forgotten by id; what was read before something was forgotten is not kept.
//
// Uses gathers when each thing was used last, so that a use costs no write.
package recent

import (
	"sync"
	"time"
)

// maxAnswers bounds what one Answers remembers.
const maxAnswers = 10_000

// Answer is something that the store said.
type Answer[K comparable, V any] struct {
	Key   K      // what was asked for
	ID    string // by which it is forgotten
	Value V
	Until time.Time
}

// Answers remembers answers for a moment. Its zero value is ready.
type Answers[K comparable, V any] struct {
	mu      sync.RWMutex
	entries map[K]Answer[K, V]
	keys    map[string]K // by id
	era     uint64       // counts forgetting
}

// ByKey returns what is remembered under a key.
func (a *Answers[K, V]) ByKey(key K, now time.Time) (V, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	e, ok := a.entries[key]
	return e.Value, ok && now.Before(e.Until)
}

// ByID returns what is remembered under an id.
func (a *Answers[K, V]) ByID(id string, now time.Time) (V, bool) {
	a.mu.RLock()
	key, ok := a.keys[id]
	a.mu.RUnlock()
	if !ok {
		var none V
		return none, false
	}
	return a.ByKey(key, now)
}

// Era is to be asked for before the store is, and handed to Keep: a read that overlaps a revocation would bring back what was forgotten.
func (a *Answers[K, V]) Era() uint64 {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.era
}

// Keep remembers an answer, unless something was forgotten since that era.
func (a *Answers[K, V]) Keep(answer Answer[K, V], now time.Time, era uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if era != a.era {
		return
	}
	if a.entries == nil {
		a.entries, a.keys = make(map[K]Answer[K, V]), make(map[string]K)
	}
	if len(a.entries) >= maxAnswers {
		a.makeRoom(now)
	}
	a.entries[answer.Key] = answer
	a.keys[answer.ID] = answer.Key
}

// makeRoom drops what is stale, and one more where nothing is.
func (a *Answers[K, V]) makeRoom(now time.Time) {
	for key, e := range a.entries {
		if !now.Before(e.Until) {
			a.drop(key)
		}
	}
	for key := range a.entries {
		if len(a.entries) < maxAnswers {
			return
		}
		a.drop(key)
	}
}

func (a *Answers[K, V]) drop(key K) {
	delete(a.keys, a.entries[key].ID)
	delete(a.entries, key)
}

// Forget drops what has the id.
func (a *Answers[K, V]) Forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.era++
	if key, ok := a.keys[id]; ok {
		a.drop(key)
	}
}

// ForgetIf drops what the function says; it looks at everything.
func (a *Answers[K, V]) ForgetIf(gone func(V) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.era++
	for key, e := range a.entries {
		if gone(e.Value) {
			a.drop(key)
		}
	}
}

// ForgetAll drops everything.
func (a *Answers[K, V]) ForgetAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.era++
	clear(a.entries)
	clear(a.keys)
}
