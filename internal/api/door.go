package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
)

// Door is where every request comes in, whatever its owner. It names the request, settles where it comes
// from, refuses hostile paths, and writes one line to the access log.
type Door struct {
	Handler http.Handler

	// TrustedProxies are those whose X-Forwarded-For counts. Everybody else's is dropped unread (rule F13).
	TrustedProxies []netip.Prefix

	Log     *slog.Logger     // required
	Now     func() time.Time // required
	Observe func(Observation)

	// Verbatim says which requests keep their path and query as they came: git and proxied sites, whose
	// owners parse them by themselves. May be nil.
	Verbatim func(r *http.Request) bool
}

// Observation is one finished request, for metrics. It holds nothing that a stranger can choose freely:
// Pattern is the route's, and "" where there is none.
type Observation struct {
	Owner, Method, Pattern string
	Status                 int
	Duration               time.Duration
	Denied                 bool // the owner's wire says "denied" by a status that is for faults elsewhere: MarkDenied
}

// ServeHTTP implements http.Handler.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := d.Now()
	t := &trace{id: newID(), remote: d.remote(r), log: logger{d.Log}}
	out := &answer{ResponseWriter: w}
	t.started = func() bool { return out.status != 0 }
	dropIdentity(r.Header)
	r = r.WithContext(context.WithValue(r.Context(), traceKey{}, t))
	r.RemoteAddr = t.remote.String()
	out.Header().Set("X-Request-Id", t.id)

	defer func() { d.finish(r, t, out.status, d.Now().Sub(started)) }()
	defer t.recover(out, r)
	d.enter(out, r)
}

func (d *Door) enter(w http.ResponseWriter, r *http.Request) {
	if d.Verbatim == nil || !d.Verbatim(r) {
		var err error
		if r, err = cleaned(r); err != nil {
			http.Error(w, "400 Bad Request: "+err.Error(), http.StatusBadRequest)
			return
		}
	}
	d.Handler.ServeHTTP(w, r)
}

// finish writes the one line of the request. Paths, queries and headers may carry secrets and personal
// data, so the log has the pattern of the route instead.
func (d *Door) finish(r *http.Request, t *trace, status int, took time.Duration) {
	if status == 0 {
		status = http.StatusOK
	}
	method := knownMethod(r.Method)
	d.Log.LogAttrs(r.Context(), slog.LevelInfo, "request",
		slog.String("method", method), slog.String("owner", t.owner), slog.String("pattern", t.pattern),
		slog.Int("status", status), slog.Duration("took", took),
		slog.String("request_id", t.id), slog.String("remote", t.remote.Addr().String()))
	if d.Observe != nil {
		d.Observe(Observation{Owner: t.owner, Method: method, Pattern: t.pattern, Status: status, Duration: took, Denied: t.denied})
	}
}

// knownMethod keeps invented methods out of logs and metric labels.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	default:
		return "other"
	}
}

// RequestID returns the id that the door gave to the request; it stands in logs and in X-Request-Id.
func RequestID(ctx context.Context) string { return traceOf(ctx).id }

// Remote returns the address that the request came from, trusted proxies seen through.
func Remote(ctx context.Context) netip.Addr { return traceOf(ctx).remote.Addr() }

// MarkDenied says that a request is refused, whatever the status: metrics do not count it as a fault of ours.
func MarkDenied(ctx context.Context) { traceOf(ctx).denied = true }

// trace is what the door knows of a request on its way.
type trace struct {
	id             string
	remote         netip.AddrPort
	owner, pattern string
	log            logger
	denied         bool
	started        func() bool // the answer has begun
}

type traceKey struct{}

// traceOf returns the trace of a request; one that did not come through a Door has an empty one.
func traceOf(ctx context.Context) *trace {
	if t, ok := ctx.Value(traceKey{}).(*trace); ok {
		return t
	}
	return &trace{started: func() bool { return false }}
}

// recover is the net under everything that no owner answers for.
func (t *trace) recover(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it the same way
		panic(p)
	}
	t.log.panicked(r.Context(), t, p)
	if t.started() {
		panic(http.ErrAbortHandler)
	}
	http.Error(w, "internal error", http.StatusInternalServerError)
}

// logger writes the errors of requests; the zero logger writes nothing.
type logger struct{ to *slog.Logger }

func (l logger) failed(ctx context.Context, t *trace, err error) {
	l.write(ctx, t, "request failed", slog.String("error", err.Error()))
}

func (l logger) panicked(ctx context.Context, t *trace, p any) {
	l.write(ctx, t, "request panicked", slog.String("error", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
}

func (l logger) write(ctx context.Context, t *trace, what string, more ...slog.Attr) {
	if l.to == nil {
		return
	}
	l.to.LogAttrs(ctx, slog.LevelError, what, append([]slog.Attr{
		slog.String("request_id", t.id), slog.String("owner", t.owner), slog.String("pattern", t.pattern),
	}, more...)...)
}

// answer remembers the status. http.ResponseController and WebSocket upgrades reach what is below by Unwrap.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(p)
}

// Flush implements http.Flusher, for streams written by code that does not know ResponseController.
func (a *answer) Flush() { _ = http.NewResponseController(a.ResponseWriter).Flush() }

// Unwrap gives http.ResponseController the writer below.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func newID() string { return uuid.Must(uuid.NewV7()).String() }
