package token

import (
	"sync"
	"time"
)

// maxCached bounds the tokens that a node remembers.
const maxCached = 10_000

// cache remembers good tokens for a moment. Its zero value is ready.
type cache struct {
	mu      sync.RWMutex
	entries map[[32]byte]cached
	digests map[string][32]byte // by token id
	era     uint64              // counts forgetting
}

type cached struct {
	token Token
	until time.Time
}

func (c *cache) byDigest(digest [32]byte, now time.Time) (Token, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.entries[digest]
	return e.token, ok && now.Before(e.until)
}

func (c *cache) byID(id string, now time.Time) (Token, bool) {
	c.mu.RLock()
	digest, ok := c.digests[id]
	c.mu.RUnlock()
	if !ok {
		return Token{}, false
	}
	return c.byDigest(digest, now)
}

// now returns the era, to hand to keep: what was read before something was forgotten is not kept, or a
// read that overlaps a revocation would bring the token back.
func (c *cache) now() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.era
}

func (c *cache) keep(t Token, until, now time.Time, era uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if era != c.era {
		return
	}
	if c.entries == nil {
		c.entries, c.digests = make(map[[32]byte]cached), make(map[string][32]byte)
	}
	if len(c.entries) >= maxCached {
		c.makeRoom(now)
	}
	c.entries[t.Digest] = cached{t, until}
	c.digests[t.ID] = t.Digest
}

// makeRoom drops what is stale, and one more where nothing is.
func (c *cache) makeRoom(now time.Time) {
	for digest, e := range c.entries {
		if !now.Before(e.until) {
			c.drop(digest)
		}
	}
	for digest := range c.entries {
		if len(c.entries) < maxCached {
			return
		}
		c.drop(digest)
	}
}

func (c *cache) drop(digest [32]byte) {
	delete(c.digests, c.entries[digest].token.ID)
	delete(c.entries, digest)
}

func (c *cache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.era++
	if digest, ok := c.digests[id]; ok {
		c.drop(digest)
	}
}

func (c *cache) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.era++
	clear(c.entries)
	clear(c.digests)
}
