package sshrelay

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// Bounds of what is held back until the bytes before it arrive.
const (
	maxHeld   = 4 << 20 // bytes, of all files of a tap
	maxPieces = 1024    // of one file
)

// digest hashes what is carried of a file in one direction, in the order of its offsets. Clients keep several requests under way, so that pieces may
// come early: they are held back. When there are too many, it goes on behind the hole; what then comes for a place behind which it already is makes
// the hash one of the bytes as they passed.
type digest struct {
	hash   hash.Hash
	next   uint64 // offset of the byte that is hashed next
	start  uint64 // offset of the first that was
	bytes  int64  // that were carried
	held   []piece
	budget *int // bytes that all digests of the tap hold back
	holes  bool // there are some behind the first byte
	mixed  bool // bytes were hashed as they passed
}

// piece is what came early.
type piece struct {
	offset uint64
	data   []byte
}

func (p piece) end() uint64 { return p.offset + uint64(len(p.data)) }

func (d *digest) add(offset uint64, p []byte) {
	if d.hash == nil {
		d.hash = sha256.New()
	}
	d.bytes += int64(len(p))
	for !d.mixed && offset > d.next && !d.hold(offset, p) {
		d.jump()
	}
	switch {
	case d.mixed || offset < d.next:
		d.mix()
		d.write(p)
	case offset == d.next:
		d.write(p)
		d.next += uint64(len(p))
		d.drain()
	}
}

// write hashes; hash.Hash never fails.
func (d *digest) write(p []byte) { _, _ = d.hash.Write(p) }

// hold keeps a piece back. It reports false where there is no more room. A piece that overlaps another makes the hash mixed.
func (d *digest) hold(offset uint64, p []byte) bool {
	if *d.budget+len(p) > maxHeld || len(d.held) >= maxPieces {
		if len(d.held) == 0 || offset < d.held[0].offset {
			d.skipTo(offset)
		}
		return false
	}
	i, _ := slices.BinarySearchFunc(d.held, offset, func(h piece, at uint64) int {
		if h.offset <= at {
			return -1
		}
		return 1
	})
	end := offset + uint64(len(p))
	switch {
	case i > 0 && d.held[i-1].end() > offset, i < len(d.held) && d.held[i].offset < end:
		d.mix()
		return false
	case i > 0 && d.held[i-1].end() == offset: // the next part of the same packet, mostly
		d.held[i-1].data = append(d.held[i-1].data, p...)
	default:
		d.held = slices.Insert(d.held, i, piece{offset, slices.Clone(p)})
	}
	*d.budget += len(p)
	return true
}

// skipTo goes on at an offset although what lies before it has not come.
func (d *digest) skipTo(offset uint64) {
	if d.next == d.start { // nothing was hashed: the file is carried from here on
		d.start = offset
	} else {
		d.holes = true
	}
	d.next = offset
}

// jump goes on at the first piece that is held.
func (d *digest) jump() {
	if len(d.held) == 0 {
		return
	}
	d.skipTo(d.held[0].offset)
	d.drain()
}

// drain hashes the pieces whose turn it is.
func (d *digest) drain() {
	for len(d.held) > 0 && !d.mixed {
		first := d.held[0]
		if first.offset > d.next {
			return
		}
		if first.offset < d.next {
			d.mix()
			return
		}
		d.write(first.data)
		d.next = first.end()
		d.drop()
	}
}

// drop forgets the first piece.
func (d *digest) drop() {
	*d.budget -= len(d.held[0].data)
	d.held = slices.Delete(d.held, 0, 1)
}

// mix gives up the order.
func (d *digest) mix() {
	d.mixed = true
	for len(d.held) > 0 {
		d.write(d.held[0].data)
		d.drop()
	}
}

// note is what is kept of the file in this direction.
func (d *digest) note(name, way, text string, done bool) remote.Note {
	if d.hash == nil {
		d.hash = sha256.New()
	}
	for len(d.held) > 0 {
		d.jump()
	}
	switch {
	case d.mixed:
		text = join(text, "partial: bytes passed twice or out of order, and were hashed as they passed")
	case d.holes:
		text = join(text, "partial: in pieces")
	case d.start > 0:
		text = join(text, fmt.Sprintf("partial: from byte %d", d.start))
	}
	return remote.Note{Kind: "file", Name: name, Way: way, Text: text, Bytes: d.bytes, SHA256: hex.EncodeToString(d.hash.Sum(nil)), Done: done}
}
