package session

import (
	"sync"
	"time"
)

// maxCached bounds the sessions that a node remembers.
const maxCached = 50_000

// cache remembers good sessions for a moment. Its zero value is ready.
type cache struct {
	mu         sync.RWMutex
	entries    map[[32]byte]cached
	digests    map[string][32]byte            // by session id
	principals map[string]map[string]struct{} // session ids by principal id
	era        uint64                         // counts forgetting
}

type cached struct {
	session Session
	until   time.Time
}

func (c *cache) byDigest(digest [32]byte, now time.Time) (Session, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.entries[digest]
	return e.session, ok && now.Before(e.until)
}

// now returns the era, to hand to keep: what was read before something was forgotten is not kept, or a
// read that overlaps an end would bring the session back.
func (c *cache) now() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.era
}

func (c *cache) keep(x Session, until, now time.Time, era uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if era != c.era {
		return
	}
	if c.entries == nil {
		c.entries, c.digests, c.principals = make(map[[32]byte]cached), make(map[string][32]byte), make(map[string]map[string]struct{})
	}
	if len(c.entries) >= maxCached {
		c.makeRoom(now)
	}
	c.drop(x.ID) // a cookie may have got another token
	c.entries[x.Digest] = cached{x, until}
	c.digests[x.ID] = x.Digest
	if c.principals[x.Principal.ID] == nil {
		c.principals[x.Principal.ID] = make(map[string]struct{})
	}
	c.principals[x.Principal.ID][x.ID] = struct{}{}
}

// touch notes a use and reports whether it was new here: of many requests at the same moment one writes.
func (c *cache) touch(digest [32]byte, at time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[digest]
	if !ok {
		return true
	}
	if at.Sub(e.session.LastUsed) < e.session.Grain() {
		return false
	}
	e.session.LastUsed = at
	c.entries[digest] = e
	return true
}

// makeRoom drops what is stale, and one more where nothing is.
func (c *cache) makeRoom(now time.Time) {
	for _, e := range c.entries {
		if !now.Before(e.until) {
			c.drop(e.session.ID)
		}
	}
	for _, e := range c.entries {
		if len(c.entries) < maxCached {
			return
		}
		c.drop(e.session.ID)
	}
}

func (c *cache) drop(id string) {
	digest, ok := c.digests[id]
	if !ok {
		return
	}
	principal := c.entries[digest].session.Principal.ID
	delete(c.digests, id)
	delete(c.entries, digest)
	delete(c.principals[principal], id)
	if len(c.principals[principal]) == 0 {
		delete(c.principals, principal)
	}
}

func (c *cache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.era++
	c.drop(id)
}

func (c *cache) forgetPrincipal(principal string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.era++
	for id := range c.principals[principal] {
		c.drop(id)
	}
}

// forgetVouched looks at all: it is called when a provider names a session of its own and not whose it is, which is rare.
func (c *cache) forgetVouched(provider, session string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.era++
	for _, e := range c.entries {
		if e.session.Provider == provider && (session == "" || e.session.ProviderSession == session) {
			c.drop(e.session.ID)
		}
	}
}

func (c *cache) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.era++
	clear(c.entries)
	clear(c.digests)
	clear(c.principals)
}
