package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Requests orders HTTP requests on connections that stay open.
type Requests struct {
	Address   string        `json:"address"`
	Method    string        `json:"method"`
	Path      string        `json:"path"`
	Paths     []string      `json:"paths"` // in place of Path: one request each, and then it ends
	Key       string        `json:"key"`
	Body      string        `json:"body"`
	Bodies    []string      `json:"bodies"`    // in place of Body, in turns
	Authorize []string      `json:"authorize"` // values of the Authorization header, in turns; in place of Key
	Want      int           `json:"want"`      // status
	Busy      int           `json:"busy"`      // another status that is no failure, counted apart; 0 is none
	Parallel  int           `json:"parallel"`
	Lasting   time.Duration `json:"lasting"`
	Count     int           `json:"count"`   // in place of Lasting: that many requests in all
	PerSec    float64       `json:"per_sec"` // paced: latency counts from when a request was due; 0 is as fast as it goes
	Keep      bool          `json:"keep"`    // answer with the bodies
}

// RequestsDone is what came of Requests.
type RequestsDone struct {
	Done      int64         `json:"done"`
	Busy      int64         `json:"busy"`
	Failed    int64         `json:"failed"`
	FirstFail string        `json:"first_fail"`
	Took      time.Duration `json:"took"`
	Latencies Latencies     `json:"latencies"`
	Bodies    []string      `json:"bodies"`
}

// worker is one connection.
type worker struct {
	order Requests
	texts [][]byte // of the requests, in turns

	conn   net.Conn
	reader *bufio.Reader
	took   []time.Duration
	bodies []string
}

// Request runs Requests.
func Request(o Requests) (RequestsDone, error) {
	var (
		next, done, busy, failed atomic.Int64
		first                    atomic.Value
		workers                  sync.WaitGroup
		all                      = make([]*worker, o.Parallel)
		texts                    = o.texts()
	)
	if len(o.Paths) > 0 {
		o.Count = len(o.Paths)
	}
	began := time.Now()
	for i := range all {
		w := &worker{order: o, texts: texts}
		all[i] = w
		workers.Go(func() {
			defer w.close()
			for {
				n := int(next.Add(1)) - 1
				if (o.Count > 0 && n >= o.Count) || (o.Count == 0 && time.Since(began) >= o.Lasting) {
					return
				}
				due := time.Now()
				if o.PerSec > 0 {
					due = began.Add(time.Duration(float64(n) / o.PerSec * float64(time.Second)))
					time.Sleep(time.Until(due))
				}
				err := w.request(n)
				if errors.Is(err, errBusy) {
					busy.Add(1)
					continue
				}
				if err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, err.Error())
					w.close()
					continue
				}
				done.Add(1)
				w.took = append(w.took, time.Since(due))
			}
		})
	}
	workers.Wait()
	answer := RequestsDone{Done: done.Load(), Busy: busy.Load(), Failed: failed.Load(), Took: time.Since(began)}
	answer.FirstFail, _ = first.Load().(string)
	var took []time.Duration
	for _, w := range all {
		took = append(took, w.took...)
		answer.Bodies = append(answer.Bodies, w.bodies...)
	}
	answer.Latencies = latenciesOf(took)
	return answer, nil
}

// texts are the whole requests. net/http's client costs more than the servers that are measured here.
func (o Requests) texts() [][]byte {
	texts := make([][]byte, max(len(o.Paths), len(o.Bodies), len(o.Authorize), 1))
	for i := range texts {
		path, body, header := o.Path, o.Body, "x-api-key: "+o.Key
		if len(o.Paths) > 0 {
			path = o.Paths[i%len(o.Paths)]
		}
		if len(o.Bodies) > 0 {
			body = o.Bodies[i%len(o.Bodies)]
		}
		if len(o.Authorize) > 0 {
			header = "Authorization: " + o.Authorize[i%len(o.Authorize)]
		}
		texts[i] = o.text(path, header, body)
	}
	return texts
}

func (o Requests) text(path, header, body string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", o.Method, path, o.Address, header)
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	} else if o.Method != http.MethodGet {
		fmt.Fprint(&b, "Content-Length: 0\r\n")
	}
	fmt.Fprintf(&b, "\r\n%s", body)
	return b.Bytes()
}

// errBusy is an answer with the status that the order calls busy.
var errBusy = errors.New("busy")

func (w *worker) request(n int) error {
	text := w.texts[n%len(w.texts)]
	if w.conn == nil {
		conn, err := net.DialTimeout("tcp", w.order.Address, 10*time.Second)
		if err != nil {
			return err
		}
		w.conn, w.reader = conn, bufio.NewReaderSize(conn, 64<<10)
	}
	if _, err := w.conn.Write(text); err != nil {
		return err
	}
	response, err := http.ReadResponse(w.reader, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if w.order.Keep || response.StatusCode != w.order.Want {
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		switch response.StatusCode {
		case w.order.Want:
		case w.order.Busy:
			return errBusy
		default:
			return fmt.Errorf("%s: %s", response.Status, body)
		}
		w.bodies = append(w.bodies, string(body))
		return nil
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

func (w *worker) close() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}
