package remote

import (
	"strconv"
	"sync"
	"sync/atomic"
)

// coverage names the channels of a session, so that each has its own line in the recording's statement of what was recorded, refused or not recorded; and
// counts refusals, so that somebody who asks for the same thing without end fills nothing.
type coverage struct {
	mu      sync.Mutex
	names   map[string]int
	refuses map[string]struct{}
	more    int
}

// mostRefusals is how many different refusals of one session are written down. Further ones are counted.
const mostRefusals = 100

// name gives a channel of a kind its name: terminal, terminal-2, terminal-3.
func (c *coverage) name(kind string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil {
		c.names = map[string]int{}
	}
	c.names[kind]++
	if c.names[kind] == 1 {
		return kind
	}
	return kind + "-" + strconv.Itoa(c.names[kind])
}

// refused reports whether a refusal is to be written down: the first of its text.
func (c *coverage) refused(what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuses == nil {
		c.refuses = map[string]struct{}{}
	}
	if _, seen := c.refuses[what]; seen || len(c.refuses) >= mostRefusals {
		c.more++
		return false
	}
	c.refuses[what] = struct{}{}
	return true
}

// unwritten is how many refusals were only counted.
func (c *coverage) unwritten() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.more
}

// counter counts bytes, and remembers how many of them were told.
type counter struct{ all, told atomic.Int64 }

func (c *counter) add(n int) { c.all.Add(int64(n)) }

// news is what was counted since the last call.
func (c *counter) news() int {
	all := c.all.Load()
	return int(all - c.told.Swap(all))
}
