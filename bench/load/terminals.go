package load

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Terminals orders terminals whose output is read and in which somebody types.
type Terminals struct {
	Door     Door          `json:"door"`
	Count    int           `json:"count"`
	Parallel int           `json:"parallel"` // are opened at a time
	Keys     []byte        `json:"keys"`     // what is typed, again and again
	Over     time.Duration `json:"over"`     // how long all of Keys take
}

// TerminalsDone is what came of Terminals.
type TerminalsDone struct {
	Open  int           `json:"open"`  // in the end
	Bytes int64         `json:"bytes"` // read since all were open
	Typed int64         `json:"typed"`
	Took  time.Duration `json:"took"`
}

// Type opens the terminals, prints how many there are in a line "open N: first failure" once each of them has shown something, and types until standard
// input ends.
func Type(o Terminals) (TerminalsDone, error) {
	var (
		next, lost, read, typed atomic.Int64
		open                    atomic.Int64
		mu                      sync.Mutex
		first                   string
		workers                 sync.WaitGroup
	)
	for range o.Parallel {
		workers.Go(func() {
			for n := next.Add(1); n <= int64(o.Count); n = next.Add(1) {
				t, err := o.begin()
				if err != nil {
					mu.Lock()
					if first == "" {
						first = err.Error()
					}
					mu.Unlock()
					continue
				}
				open.Add(1)
				go func() {
					t.read(&read)
					lost.Add(1)
				}()
				go t.types(o.Keys, o.Over/time.Duration(len(o.Keys)), &typed)
			}
		})
	}
	workers.Wait()
	if _, err := fmt.Fprintf(os.Stdout, "open %d: %s\n", open.Load(), first); err != nil {
		return TerminalsDone{}, err
	}
	read.Store(0)
	typed.Store(0)
	began := time.Now()
	untilStdinEnds()
	return TerminalsDone{Open: int(open.Load() - lost.Load()), Bytes: read.Load(), Typed: typed.Load(), Took: time.Since(began)}, nil
}

// begin opens a terminal and waits for its first output.
func (o Terminals) begin() (*terminal, error) {
	t, err := o.Door.terminal("")
	if err != nil {
		return nil, err
	}
	if _, err := t.Read(make([]byte, 1)); err != nil {
		t.close()
		return nil, fmt.Errorf("read first output: %w", err)
	}
	return t, nil
}

func (t *terminal) read(all *atomic.Int64) {
	for b := make([]byte, 4<<10); ; {
		n, err := t.Read(b)
		all.Add(int64(n))
		if err != nil {
			return
		}
	}
}

func (t *terminal) types(keys []byte, every time.Duration, all *atomic.Int64) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		<-tick.C
		if _, err := t.Write(keys[n%len(keys):][:1]); err != nil {
			return
		}
		all.Add(1)
	}
}
