package remote

import (
	"bytes"
	"testing"
)

func TestReplay(t *testing.T) {
	t.Parallel()
	b := replay{unacked: 8, tail: 4}
	b.add([]byte("abcdefgh"))
	if b.room() != 0 || b.end() != 8 {
		t.Errorf("room %d, end %d", b.room(), b.end())
	}
	if err := b.ack(8); err != nil || b.room() != 8 || b.start != 4 || string(b.from(4, 100)) != "efgh" {
		t.Errorf("%v: room %d, start %d", err, b.room(), b.start)
	}
	if b.ack(9) == nil || b.ack(-1) == nil {
		t.Error("what was never printed was acknowledged")
	}
	if err := b.ack(2); err != nil || b.acked != 8 { // late: nothing new
		t.Errorf("%v, %d", err, b.acked)
	}
	for from, want := range map[int64]int64{0: 4, 3: 4, 4: 4, 6: 6, 8: 8, 9: 4, -1: 4} {
		if got := b.resume(from); got != want {
			t.Errorf("from %d it goes on at %d, want %d", from, got, want)
		}
	}
}

// Whatever is printed, acknowledged and asked for in whatever order: nothing that is not acknowledged is ever missing, what is given is what was printed
// there, and no more is kept than the budget (rule W5).
func FuzzReplay(f *testing.F) {
	f.Add([]byte{0, 5, 1, 3, 2, 0, 0, 200, 1, 255})
	f.Add([]byte{0, 255, 0, 255, 1, 128, 2, 7, 0, 255})
	f.Fuzz(func(t *testing.T, steps []byte) {
		const unacked, tail = 300, 64
		b := replay{unacked: unacked, tail: tail}
		var printed []byte
		for len(steps) >= 2 {
			do, n := steps[0]%3, int(steps[1])
			steps = steps[2:]
			switch do {
			case 0:
				n = min(n, b.room())
				for range n {
					printed = append(printed, byte(len(printed)%251))
				}
				b.add(printed[len(printed)-n:])
			case 1:
				at := b.acked + int64(n) - 64
				if err := b.ack(at); (err != nil) != (at < 0 || at > int64(len(printed))) {
					t.Fatalf("acknowledge %d of %d: %v", at, len(printed), err)
				}
			case 2:
				at := b.resume(int64(n))
				got := b.from(at, 1<<20)
				if !bytes.Equal(got, printed[at:]) {
					t.Fatalf("from %d: %d bytes, %d were printed", at, len(got), len(printed))
				}
			}
			if b.end() != int64(len(printed)) || b.start > b.acked || len(b.kept) > unacked+2*tail {
				t.Fatalf("%d printed: kept %d from %d, acknowledged %d", len(printed), len(b.kept), b.start, b.acked)
			}
		}
	})
}
