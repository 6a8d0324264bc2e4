package app

import (
	"context"
	"os"
	"runtime"
	rtmetrics "runtime/metrics"
	"time"
)

// roomToGrow is how much larger than it is a small heap pretends to be.
const roomToGrow = 24 << 20

// spareCollector keeps the garbage collector from running after every few MiB: the live heap of a quiet
// server is that small, and under load collections would follow each other closely. A block that
// nobody ever touches takes address space but no memory, and counts in the collector's goal. Once the
// heap is large by itself, as with thousands of connections, the block would only let garbage lie, and
// goes. Whoever sets GOGC has decided otherwise.
func spareCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	look := time.NewTicker(5 * time.Second)
	defer look.Stop()
	for block := make([]byte, roomToGrow); ; {
		select {
		case <-ctx.Done():
			runtime.KeepAlive(block)
			return
		case <-look.C:
		}
		switch large := liveHeap()-len(block) > roomToGrow; {
		case large:
			block = nil
		case block == nil:
			block = make([]byte, roomToGrow)
		}
	}
}

// liveHeap is what the last collection left, in bytes.
func liveHeap() int {
	sample := []rtmetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	rtmetrics.Read(sample)
	return int(sample[0].Value.Uint64()) //nolint:gosec // no heap is half of the address space
}
