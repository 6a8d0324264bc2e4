// Package load makes the load of a benchmark, in a process of its own.
//
// Each kind of load is a struct that travels as JSON to that process and an answer that comes back, so
// that what the generator costs is never counted as the server's.
package load

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Latencies says how long operations took.
type Latencies struct {
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
}

func latenciesOf(took []time.Duration) Latencies {
	if len(took) == 0 {
		return Latencies{}
	}
	slices.SortFunc(took, cmp.Compare)
	at := func(part float64) time.Duration { return took[int(part*float64(len(took)-1))] }
	return Latencies{P50: at(0.50), P99: at(0.99), Max: took[len(took)-1]}
}

// Serve reads one order from standard input, runs it and writes its answer to standard output.
func Serve[Order, Answer any](run func(Order) (Answer, error)) error {
	var order Order
	if err := json.NewDecoder(os.Stdin).Decode(&order); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	answer, err := run(order)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}

// untilStdinEnds waits until whoever started this process lets it go.
func untilStdinEnds() { _, _ = io.Copy(io.Discard, os.Stdin) }
