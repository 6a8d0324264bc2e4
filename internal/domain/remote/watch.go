package remote

import (
	"context"
	"io"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

// Feed is what passes in a session, for one who looks on.
type Feed struct{}

// Watch lets somebody with the right look on at a session that is active, on whichever node: by id, number or code. It is on record. The first frames hold
// the size of the terminal and up to 64 KiB of its latest output. Close the feed.
func (s *Service) Watch(ctx context.Context, by access.Caller, ref string) (*Feed, error) {
	return nil, ErrUnknown
}

// Session is the session as it was when the watch began.
func (f *Feed) Session() Session { return Session{} }

// Next waits for the next frames. It reports io.EOF when the session is over and all was read, and Denied when the caller has lost the right. Frames hold
// what the target sent, as it sent it: whoever shows them filters them (rule W10).
func (f *Feed) Next(ctx context.Context) ([]Frame, error) { return nil, io.EOF }

// Close ends the watch.
func (f *Feed) Close() error { return nil }
