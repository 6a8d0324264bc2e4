package load

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Timed is how long operations took that were done one after the other.
type Timed struct {
	Done      int64         `json:"done"`
	Took      time.Duration `json:"took"`
	Latencies Latencies     `json:"latencies"`
}

// Timing does one operation after the other. It ends with the first that fails.
func Timing(lasting time.Duration, do func(n int) error) (Timed, error) {
	var took []time.Duration
	began := time.Now()
	for n := 0; time.Since(began) < lasting; n++ {
		start := time.Now()
		if err := do(n); err != nil {
			return Timed{}, err
		}
		took = append(took, time.Since(start))
	}
	return Timed{int64(len(took)), time.Since(began), latenciesOf(took)}, nil
}

// Download orders one answer of git over HTTP, of which nothing is kept.
type Download struct {
	URL       string `json:"url"`
	Authorize string `json:"authorize"` // value of the Authorization header; "" is none
	Body      string `json:"body"`
}

// Downloaded is what came of Download.
type Downloaded struct {
	Bytes int64         `json:"bytes"`
	Took  time.Duration `json:"took"`
}

// Fetch runs Download.
func Fetch(o Download) (Downloaded, error) {
	q, err := http.NewRequest(http.MethodPost, o.URL, strings.NewReader(o.Body)) //nolint:noctx // whoever started this process ends it
	if err != nil {
		return Downloaded{}, err
	}
	q.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	if o.Authorize != "" {
		q.Header.Set("Authorization", o.Authorize)
	}
	began := time.Now()
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return Downloaded{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return Downloaded{}, fmt.Errorf("%s", answer.Status)
	}
	n, err := io.CopyBuffer(onlyWriter{io.Discard}, answer.Body, make([]byte, 256<<10))
	return Downloaded{n, time.Since(began)}, err
}

// onlyWriter hides that a writer would bring a small buffer of its own.
type onlyWriter struct{ io.Writer }
