package remote

import "errors"

// errOffset is a browser that says that it has seen what was never sent.
var errOffset = errors.New("an acknowledged offset lies beyond what was sent")

// replay keeps the end of what a terminal printed: all that the browser has not acknowledged, and a little of what it has, for a page that is loaded
// again. Offsets count bytes from the terminal's beginning.
type replay struct {
	kept    []byte
	start   int64 // offset of kept
	acked   int64
	unacked int // bytes that may be unacknowledged before nothing more is taken
	tail    int // acknowledged bytes that are kept
}

// end is the offset behind all that was printed.
func (b *replay) end() int64 { return b.start + int64(len(b.kept)) }

// room is how many bytes may be added now.
func (b *replay) room() int { return max(0, b.unacked-int(b.end()-b.acked)) }

// add keeps what was printed: no more than there is room for.
func (b *replay) add(p []byte) { b.kept = append(b.kept, p...) }

// ack forgets what the browser has drawn, but for the tail. An older offset than before says nothing new.
func (b *replay) ack(offset int64) error {
	if offset < 0 || offset > b.end() {
		return errOffset
	}
	b.acked = max(b.acked, offset)
	drop := b.acked - int64(b.tail) - b.start
	// In steps: each moves what is left. A copy of its own lets go of the memory that a flood took.
	if drop >= int64(b.tail) && drop > 0 {
		b.kept = append(make([]byte, 0, len(b.kept)-int(drop)), b.kept[drop:]...)
		b.start += drop
	}
	return nil
}

// from returns up to most bytes from an offset on. They are good until the next call.
func (b *replay) from(offset int64, most int) []byte {
	if offset < b.start || offset >= b.end() {
		return nil
	}
	rest := b.kept[offset-b.start:]
	return rest[:min(len(rest), most)]
}

// resume is where output goes on for a browser that has seen all before offset: there, or with the oldest that is kept where it is not known any more.
func (b *replay) resume(offset int64) int64 {
	if offset < b.start || offset > b.end() {
		return b.start
	}
	return offset
}
