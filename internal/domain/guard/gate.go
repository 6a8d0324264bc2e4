package guard

import (
	"context"
	"sync"
)

// Gate lets few attempts under one key pass at a time on a node, so that guesses which come all at once do not
// all pass before the first of them is counted. Its zero value lets one pass.
type Gate struct {
	Width int // how many at a time

	mu    sync.Mutex
	lanes map[string]*lane
}

type lane struct {
	slots   chan struct{}
	waiting int // those inside and those before it
}

// Enter waits until there is room under the key, and returns what gives the room back. It reports the context's error
// when that ends first.
func (g *Gate) Enter(ctx context.Context, key string) (leave func(), err error) {
	l := g.join(key)
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots; g.part(key, l) }, nil
	case <-ctx.Done():
		g.part(key, l)
		return nil, ctx.Err()
	}
}

func (g *Gate) join(key string) *lane {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lanes == nil {
		g.lanes = make(map[string]*lane)
	}
	l, ok := g.lanes[key]
	if !ok {
		l = &lane{slots: make(chan struct{}, max(1, g.Width))}
		g.lanes[key] = l
	}
	l.waiting++
	return l
}

func (g *Gate) part(key string, l *lane) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.waiting--; l.waiting == 0 {
		delete(g.lanes, key)
	}
}
