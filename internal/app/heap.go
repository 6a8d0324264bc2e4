package app

import (
	"os"
	"runtime"
)

// roomToGrow is how much larger than it is the heap pretends to be.
const roomToGrow = 24 << 20

// spareCollector keeps the garbage collector from running after every few MiB: the live heap of a quiet
// server is that small, so under load a quarter of its time would go into collecting. A block that
// nobody ever touches takes address space but no memory, and counts in the collector's goal. Whoever sets
// GOGC has decided otherwise. The returned function ends it.
func spareCollector() (end func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	block := make([]byte, roomToGrow)
	return func() { runtime.KeepAlive(&block[0]) }
}
