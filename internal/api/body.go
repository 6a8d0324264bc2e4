package api

import (
	"errors"
	"io"
	"net/http"
)

// drained is how much of a body that is too large is read all the same: who is cut off while sending sees a connection reset instead of the reason.
const drained = 8 << 20

// ReadBody reads the body of a request, at most limit bytes. It reports ErrTooLarge; any other error is that of a body that ended early.
func ReadBody(r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		_, _ = io.CopyN(io.Discard, r.Body, drained) // what is sent is not used either way
		return nil, ErrTooLarge
	}
	return body, err
}
