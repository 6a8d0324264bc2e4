package git

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// What is kept of requests that have no turn yet. A body's first bytes need no leave, since whole negotiations mostly fit in them; what is more takes
// room that callers share as they share turns, so that packed bodies of nothing do not fill the memory.
const (
	maxEarly = 16 << 20  // bytes of one body
	unpaid   = 32 << 10  // bytes of each that take no room
	piece    = 256 << 10 // bytes of one place in the room
	allEarly = 256 << 20 // bytes of the room
)

// early reads what a client must have sent before it gets a turn: over HTTP all that it asks of a fetch, and the head of a push. Otherwise turns would
// be held by who sends nothing. All of it may take as long as a client may be idle. The exchange goes on with what it leaves in the job; free gives back the room.
func (r *Repositories) early(ctx context.Context, j *job) (free func(), err error) {
	from := &keeper{from: j.with.In, room: r.room, caller: j.with.Caller, most: j.most}
	free = func() { r.room.giveBack(from.caller, from.pieces) }
	if j.with.Over != HTTP || j.service == UploadArchive || j.most == 0 {
		return free, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.limits.Idle, ErrStalled)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if j.with.Hangup != nil {
			j.with.Hangup()
		}
	})
	if j.push != nil {
		err = j.push.behead(from)
	} else {
		from.most = min(from.most, maxEarly)
		var body []byte
		body, err = io.ReadAll(from)
		j.with.In = bytes.NewReader(body)
	}
	switch late := !stop(); {
	case late && errors.Is(context.Cause(ctx), ErrStalled):
		return free, ErrStalled
	case late:
		return free, ErrLeft
	case err == nil, errors.Is(err, ErrBusy), errors.Is(err, ErrTooLarge), errors.Is(err, ErrManyRefs), fault.Is(err, fault.Invalid):
		return free, err
	}
	return free, left(err)
}

// keeper reads what is kept in memory, and takes room for it. It reports ErrTooLarge and ErrBusy.
type keeper struct {
	from   io.Reader
	room   *shares
	caller string
	most   int64
	read   int64
	pieces int // of the room
}

// Read implements io.Reader.
func (k *keeper) Read(p []byte) (int, error) {
	n, err := k.from.Read(p)
	k.read += int64(n)
	if k.read > k.most {
		return n, ErrTooLarge
	}
	for k.read > unpaid+int64(k.pieces)*piece {
		if !k.room.try(k.caller) {
			return n, ErrBusy
		}
		k.pieces++
	}
	return n, err
}

// rest reads a short rest of a push that is refused at its head, so that the client reads the answer.
func (r *Repositories) rest(with Exchange) {
	if with.Hangup != nil {
		defer time.AfterFunc(r.limits.Grace, with.Hangup).Stop()
	}
	_, _ = io.CopyN(io.Discard, with.In, maxRest)
}
