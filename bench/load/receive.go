package load

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Received is what a receiver of webhooks has got.
type Received struct {
	Requests int64     `json:"requests"`
	Unique   int64     `json:"unique"` // by invocation id
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"` // when the last new one came
}

// receiver counts webhook invocations.
type receiver struct {
	mu   sync.Mutex
	got  Received
	seen map[string]struct{}
}

// Receive takes webhooks on a free port of 127.0.0.1, prints the address in a line of its own, and
// tells at /received what it got since the last POST of /reset, until the process is ended.
func Receive() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, l.Addr()); err != nil {
		return err
	}
	r := &receiver{seen: make(map[string]struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /received", r.tell)
	mux.HandleFunc("POST /hook", r.take)
	mux.HandleFunc("POST /reset", r.reset)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(l)
}

func (r *receiver) take(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	var invocation struct {
		ID string `json:"webhook_invocation_id"`
	}
	if err != nil || json.Unmarshal(body, &invocation) != nil || invocation.ID == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.note(invocation.ID, time.Now())
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) note(id string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.got.Requests == 0 {
		r.got.First = at
	}
	r.got.Requests++
	if _, again := r.seen[id]; !again {
		r.seen[id] = struct{}{}
		r.got.Unique++
		r.got.Last = at
	}
}

func (r *receiver) reset(http.ResponseWriter, *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = Received{}
	clear(r.seen)
}

func (r *receiver) tell(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = json.NewEncoder(w).Encode(r.got)
}
