package load

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Terminations orders that sessions be ended on one node while they are looked at on another, all the time.
type Terminations struct {
	At        string        `json:"at"`        // address of the node that ends them
	Elsewhere string        `json:"elsewhere"` // of the node that is asked; may be the same
	End       string        `json:"end"`       // path to POST
	Ended     int           `json:"ended"`     // the status of that
	Look      string        `json:"look"`      // path to POST, with a session
	LetIn     int           `json:"let_in"`    // the status of that while the session lives; 401 when it does not
	Tokens    []string      `json:"tokens"`    // of the sessions
	Parallel  int           `json:"parallel"`
	Every     time.Duration `json:"every"`  // pause between two looks
	Before    time.Duration `json:"before"` // sessions are ended after up to that long, evenly spread
}

// TerminationsDone is what came of Terminations.
type TerminationsDone struct {
	Done      int64     `json:"done"`
	Late      int64     `json:"late"`      // sessions that were let in when asked after the end was answered
	Latencies Latencies `json:"latencies"` // from that answer to the first refusal
}

// Terminate runs Terminations.
func Terminate(o Terminations) (TerminationsDone, error) {
	var (
		next, late atomic.Int64
		workers    sync.WaitGroup
		mu         sync.Mutex
		took       []time.Duration
		wrong      []error
	)
	for range o.Parallel {
		workers.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(o.Tokens) {
					return
				}
				d, wasLate, err := o.one(n)
				if wasLate {
					late.Add(1)
				}
				mu.Lock()
				if err != nil {
					wrong = append(wrong, err)
				} else {
					took = append(took, d)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return TerminationsDone{int64(len(took)), late.Load(), latenciesOf(took)}, errors.Join(wrong...)
}

// one ends a session and returns how long after the answer to that it was refused elsewhere.
func (o Terminations) one(n int) (after time.Duration, late bool, err error) {
	bearer := []string{"Bearer " + o.Tokens[n]}
	look := Requests{Address: o.Elsewhere, Method: http.MethodPost, Path: o.Look, Authorize: bearer, Want: o.LetIn, Busy: http.StatusUnauthorized}
	looks := &worker{order: look, texts: look.texts()}
	defer looks.close()
	if err := looks.request(0); err != nil {
		return 0, false, fmt.Errorf("look at a living session: %w", err)
	}
	ended := make(chan error, 1)
	var at atomic.Int64 // when the end was answered, in ns since began; 0: not yet
	began := time.Now()
	go func() {
		time.Sleep(o.Before * time.Duration(n) / time.Duration(len(o.Tokens)))
		end := Requests{Address: o.At, Method: http.MethodPost, Path: o.End, Authorize: bearer, Want: o.Ended}
		w := &worker{order: end, texts: end.texts()}
		defer w.close()
		err := w.request(0)
		at.Store(int64(time.Since(began)))
		ended <- err
	}()
	for {
		answered := at.Load() != 0
		switch err := looks.request(0); {
		case errors.Is(err, errBusy): // refused
			refused := time.Since(began)
			err := <-ended
			return max(0, refused-time.Duration(at.Load())), late, err
		case err != nil:
			return 0, late, errors.Join(err, <-ended)
		}
		late = late || answered
		if time.Since(began) > time.Minute {
			return 0, late, errors.Join(errors.New("an ended session is let in after a minute"), <-ended)
		}
		time.Sleep(o.Every)
	}
}
