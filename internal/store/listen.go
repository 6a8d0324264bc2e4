package store

import (
	"context"
	"sync"
)

// Hub hands the notices of one handle to the listeners in the same process. Engines use it; the
// zero Hub is ready.
type Hub struct {
	mu        sync.RWMutex
	listeners map[*func(string)]struct{}
}

// Add lets notice hear what is published until the returned function is called.
func (h *Hub) Add(notice func(payload string)) (remove func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners == nil {
		h.listeners = make(map[*func(string)]struct{})
	}
	key := &notice
	h.listeners[key] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.listeners, key)
	}
}

// Publish calls every listener with each payload, one after the other, before it returns.
func (h *Hub) Publish(payloads []string) {
	if len(payloads) == 0 {
		return
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, payload := range payloads {
		for notice := range h.listeners {
			(*notice)(payload)
		}
	}
}

// Listen is Engine.Listen for an engine whose notices never leave the process.
func (h *Hub) Listen(ctx context.Context, notice func(payload string), missed func()) error {
	defer h.Add(notice)()
	missed()
	<-ctx.Done()
	return nil
}
