package sshrelay

import (
	"encoding/binary"
	"errors"
	"strings"
)

var errMalformed = errors.New("a packet is malformed")

// stream cuts one direction of an SFTP channel into packets, however the bytes arrive. It keeps of each packet only what must be understood at once: the
// bytes of files pass through to where they are hashed.
type stream struct {
	// plan says how many bytes of the packet, behind its length, must be there; it is asked again when they are, until it is content.
	plan func(body []byte, size int) (int, error)
	// handle understands the packet, and says where the data behind goes, and how much that is.
	handle func(body []byte, size int) (into carrier, data int, err error)

	head []byte // length and beginning of the packet
	want int    // bytes of head
	into carrier
	data int // bytes that still go there
	skip int // bytes that still concern nobody
}

// carrier is where bytes of a file go.
type carrier struct {
	to     *digest // nil: nowhere
	offset uint64
}

// prefix is the length of a packet, and its type.
const prefix = 5

func (s *stream) feed(p []byte) error {
	for len(p) > 0 {
		n := 0
		switch {
		case s.data > 0:
			n = min(s.data, len(p))
			s.data -= n
			if s.into.to != nil {
				s.into.to.add(s.into.offset, p[:n])
				s.into.offset += uint64(n)
			}
		case s.skip > 0:
			n = min(s.skip, len(p))
			s.skip -= n
		default:
			s.want = max(s.want, prefix)
			n = min(s.want-len(s.head), len(p))
			s.head = append(s.head, p[:n]...)
			if len(s.head) == s.want {
				if err := s.step(); err != nil {
					return err
				}
			}
		}
		p = p[n:]
	}
	return nil
}

// step goes on when all that was wanted is there.
func (s *stream) step() error {
	size := number(s.head)
	if size == 0 || size > maxPacket {
		return errors.New("a packet is empty or too long")
	}
	body := s.head[4:]
	want, err := s.plan(body, int(size))
	switch {
	case err != nil:
		return err
	case want > int(size):
		return errMalformed
	case want > len(body):
		s.want = 4 + want
		return nil
	}
	s.into, s.data, err = s.handle(body, int(size))
	s.skip = int(size) - len(body) - s.data
	s.want = 0
	s.head = s.head[:0]
	if cap(s.head) > maxName {
		s.head = nil
	}
	return err
}

// number is a big-endian one of 32 bits.
func number(p []byte) uint32 { return binary.BigEndian.Uint32(p) }

// fields reads the fields of a packet, one after the other.
type fields struct {
	rest []byte
	bad  bool // there was less than that
}

func (f *fields) take(n uint64) []byte {
	if uint64(len(f.rest)) < n {
		f.bad, f.rest = true, nil
		return nil
	}
	p := f.rest[:n]
	f.rest = f.rest[n:]
	return p
}

func (f *fields) number() uint32 {
	if p := f.take(4); p != nil {
		return number(p)
	}
	return 0
}

func (f *fields) long() uint64 {
	if p := f.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (f *fields) bytes() []byte { return f.take(uint64(f.number())) }

// name is a path as it may be kept. Its bytes are the client's; whoever shows it must take care of what they do to a terminal (rule W10).
func (f *fields) name() string {
	p := f.bytes()
	return strings.ToValidUTF8(string(p[:min(len(p), maxName)]), "\uFFFD")
}
