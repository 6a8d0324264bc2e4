package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// row is a delivery with its lease.
type row struct {
	webhook.Delivery
	holder   string
	until    time.Time
	attempts []webhook.Attempt
}

// memory keeps webhooks and deliveries, with no more order than Store promises: a holder's own leases
// do not keep it from claiming more.
type memory struct {
	webhook.Store // what these tests do not call

	mu       sync.Mutex
	hooks    map[string]webhook.Webhook
	rows     []*row
	events   []audit.Event
	released int
	claimErr error
	purged   time.Time
}

func (m *memory) Claim(_ context.Context, holder string, now time.Time, lease time.Duration, limit int) ([]webhook.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.claimErr != nil {
		return nil, m.claimErr
	}
	blocked := map[string]bool{}
	for _, r := range m.rows {
		if r.State == webhook.Pending && r.Attempts == 0 && r.until.After(now) && r.holder != holder {
			blocked[r.Webhook] = true
		}
	}
	var jobs []webhook.Job
	for _, r := range m.rows {
		if r.State == webhook.Pending && !r.Due.After(now) && !r.until.After(now) && len(jobs) < limit && (r.Attempts > 0 || !blocked[r.Webhook]) {
			r.holder, r.until = holder, now.Add(lease)
			jobs = append(jobs, webhook.Job{Delivery: r.Delivery, Webhook: m.hooks[r.Webhook]})
		}
	}
	return jobs, nil
}

func (m *memory) row(id string) *row {
	i := slices.IndexFunc(m.rows, func(r *row) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return m.rows[i]
}

func (m *memory) Finish(_ context.Context, holder string, d webhook.Delivery, a webhook.Attempt) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.row(d.ID)
	if r == nil || r.holder != holder || r.Attempts != a.Number-1 {
		return fault.New(fault.Conflict, "not yours")
	}
	r.Delivery, r.holder, r.until, r.attempts = d, "", time.Time{}, append(r.attempts, a)
	return nil
}

func (m *memory) Release(_ context.Context, holder string, ids []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if r := m.row(id); r != nil && r.holder == holder {
			r.holder, r.until = "", time.Time{}
			m.released++
		}
	}
	return nil
}

func (m *memory) Delivery(_ context.Context, id string) (webhook.Delivery, []webhook.Attempt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.row(id); r != nil {
		return r.Delivery, slices.Clone(r.attempts), nil
	}
	return webhook.Delivery{}, nil, fault.New(fault.NotFound, "no row")
}

func (m *memory) Deliveries(context.Context, webhook.Filter) ([]webhook.Delivery, error) {
	return nil, nil
}

func (m *memory) Again(_ context.Context, id string, now time.Time, e audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.row(id)
	if r.State == webhook.Pending {
		return fault.New(fault.Conflict, "on its way")
	}
	r.State, r.Due, m.events = webhook.Pending, now, append(m.events, e)
	return nil
}

func (m *memory) Purge(_ context.Context, before time.Time, _ int) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.purged = before
	return 0, nil
}

// sent is one request as the receiver saw it.
type sent struct {
	at      time.Duration // since the test began
	url     string
	attempt int
	request webhook.Request
	body    map[string]any
}

func (s sent) String() string {
	return fmt.Sprintf("+%g %s#%d", s.at.Seconds(), s.body["webhook_invocation_id"], s.attempt)
}

// receiver answers as the test says and remembers what came.
type receiver struct {
	mu     sync.Mutex
	began  time.Time
	got    []sent
	now    map[string]int // under way, by invocation
	most   int            // under way at once, of one invocation
	answer func(webhook.Request) webhook.Result
	takes  func(url string) time.Duration
}

func (r *receiver) Send(ctx context.Context, request webhook.Request) webhook.Result {
	s := sent{at: time.Since(r.began), url: request.URL, request: request}
	if err := json.Unmarshal(request.Body, &s.body); err != nil {
		return webhook.Result{Reason: err.Error()}
	}
	s.attempt = int(s.body["attempt"].(float64))
	id := s.body["webhook_invocation_id"].(string)
	r.mu.Lock()
	r.got = append(r.got, s)
	r.now[id]++
	r.most = max(r.most, r.now[id])
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.now[id]--
	}()
	if r.takes != nil {
		select {
		case <-time.After(r.takes(request.URL)):
		case <-ctx.Done():
			return webhook.Result{Reason: "time-out"}
		}
	}
	if r.answer != nil {
		return r.answer(request)
	}
	return webhook.Result{Status: 200}
}

// log writes what came, in order.
func (r *receiver) log(url string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, s := range r.got {
		if url == "" || s.url == url {
			all = append(all, s.String())
		}
	}
	return strings.Join(all, ", ")
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

// post is a service with its store and receiver, inside a synctest bubble.
type post struct {
	*testing.T
	*webhook.Service
	store    *memory
	receiver *receiver
	errors   chan error
}

func bubble(t *testing.T, test func(p *post)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &post{T: t, store: &memory{hooks: map[string]webhook.Webhook{}}, receiver: &receiver{began: time.Now(), now: map[string]int{}}, errors: make(chan error, 1000)}
		p.Service = p.node("node-1")
		test(p)
	})
}

// node is one more server on the same store.
func (p *post) node(holder string) *webhook.Service {
	ids := 0
	s := &webhook.Service{
		Store: p.store, Sender: p.receiver, Access: &access.Service{}, Now: time.Now, Allowed: public, UserAgent: "Gatehouse/1.0", Holder: holder,
		NewID: func() string { ids++; return fmt.Sprintf("n%d", ids) },
		Lease: time.Minute, Timeout: 10 * time.Second, RetryUnit: time.Second, Poll: time.Second, Parallel: 4, Batch: 8, MaxPer: 10, KeepFor: 30 * 24 * time.Hour,
		OnDelivery: func(string, time.Duration) {}, OnError: func(_ string, err error) { p.errors <- err },
	}
	s.Start()
	return s
}

// hook adds a webhook that calls https://<name>.example/.
func (p *post) hook(name string, w webhook.Webhook) webhook.Webhook {
	p.Helper()
	w.URL = "https://" + name + ".example/"
	w, err := p.Service.New("session-1", "p1", w)
	if err != nil {
		p.Fatal(err)
	}
	w.ID = name
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.store.hooks[name] = w
	return w
}

// fire adds deliveries of these names to a webhook.
func (p *post) fire(w webhook.Webhook, names ...string) {
	p.Helper()
	for _, name := range names {
		ds, err := p.Fire([]webhook.Webhook{w}, "verify_session", "verified", map[string]any{"name": name}, time.Now())
		if err != nil {
			p.Fatal(err)
		}
		ds[0].ID = name
		p.store.mu.Lock()
		p.store.rows = append(p.store.rows, &row{Delivery: ds[0]})
		p.store.mu.Unlock()
	}
	p.Wake()
}

// run runs services until the returned function is called, which waits for them.
func (p *post) run(services ...*webhook.Service) (stop func()) {
	ctx, cancel := context.WithCancel(p.Context())
	var running sync.WaitGroup
	for _, s := range services {
		running.Go(func() { s.Run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// pass lets time go by until all that it brings has happened.
func (p *post) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (p *post) want(what string, got, want any) {
	p.Helper()
	if got != want {
		p.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func (p *post) state(id string) string {
	d, attempts, err := p.store.Delivery(p.Context(), id)
	if err != nil {
		p.Fatal(err)
	}
	return fmt.Sprintf("%s %d/%d %d %q", d.State, d.Attempts, len(attempts), d.Status, d.Reason)
}

func names(prefix string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%s%02d", prefix, i))
	}
	return all
}

func failing(webhook.Request) webhook.Result {
	return webhook.Result{Status: 500, Reason: "status 500", Answer: []byte("oops")}
}

func TestRun_retries_with_growing_delays(t *testing.T) {
	bubble(t, func(p *post) {
		p.receiver.answer = failing
		p.fire(p.hook("a", webhook.Webhook{Retries: 2}), "d")
		stop := p.run(p.Service)
		p.pass(time.Hour)
		p.want("requests", p.receiver.log(""), "+0 d#1, +10 d#2, +30 d#3")
		p.want("state", p.state("d"), `failed 3/3 500 "status 500"`)
		p.want("answer", string(p.store.rows[0].attempts[2].Answer), "oops")
		stop()
	})
}

func TestRun_does_not_retry_unless_asked(t *testing.T) {
	bubble(t, func(p *post) {
		p.receiver.answer = failing
		p.fire(p.hook("a", webhook.Webhook{}), "d")
		stop := p.run(p.Service)
		p.pass(time.Hour)
		p.want("requests", p.receiver.log(""), "+0 d#1")
		stop()
	})
}

func TestRun_stops_retrying_after_success(t *testing.T) {
	bubble(t, func(p *post) {
		p.receiver.answer = func(r webhook.Request) webhook.Result {
			if p.receiver.count() < 2 {
				return failing(r)
			}
			return webhook.Result{Status: 204}
		}
		p.fire(p.hook("a", webhook.Webhook{Retries: 5}), "d")
		stop := p.run(p.Service)
		p.pass(time.Hour)
		p.want("requests", p.receiver.log(""), "+0 d#1, +10 d#2")
		p.want("state", p.state("d"), `delivered 2/2 204 ""`)
		stop()
	})
}

func TestRun_keeps_the_order_of_a_webhook(t *testing.T) {
	bubble(t, func(p *post) {
		p.receiver.takes = func(string) time.Duration { return time.Second }
		all := names("d", 30) // several batches, claimed while the first are still under way
		p.fire(p.hook("a", webhook.Webhook{}), all...)
		stop := p.run(p.Service, p.node("node-2"))
		p.pass(5 * time.Minute)
		var got []string
		for _, s := range p.receiver.got {
			got = append(got, s.body["webhook_invocation_id"].(string))
		}
		p.want("order", strings.Join(got, " "), strings.Join(all, " "))
		p.want("one at a time", p.receiver.most, 1)
		stop()
	})
}

func TestRun_lets_a_retry_be_overtaken(t *testing.T) {
	bubble(t, func(p *post) {
		p.receiver.answer = func(r webhook.Request) webhook.Result {
			if strings.Contains(string(r.Body), `"webhook_invocation_id":"d1","`) && strings.Contains(string(r.Body), `"attempt":1`) {
				return failing(r)
			}
			return webhook.Result{Status: 200}
		}
		p.fire(p.hook("a", webhook.Webhook{Retries: 1}), "d1", "d2")
		stop := p.run(p.Service)
		p.pass(time.Minute)
		p.want("requests", p.receiver.log(""), "+0 d1#1, +0 d2#1, +10 d1#2")
		stop()
	})
}

// A slow webhook takes one place, however much is due for it, and keeps its order over ended leases.
func TestRun_a_slow_webhook_does_not_hold_up_others(t *testing.T) {
	bubble(t, func(p *post) {
		p.receiver.takes = func(url string) time.Duration {
			if url == "https://slow.example/" {
				return 9 * time.Second
			}
			return 0
		}
		slow, quick := p.hook("slow", webhook.Webhook{}), p.hook("quick", webhook.Webhook{})
		all := names("s", 20)
		p.fire(slow, all...)
		p.fire(quick, "q1")
		stop := p.run(p.Service, p.node("node-2"))
		p.pass(30 * time.Second)
		p.fire(quick, "q2")
		p.pass(10 * time.Minute)
		p.want("quick", p.receiver.log("https://quick.example/"), "+0 q1#1, +30 q2#1")
		var got []string
		for _, s := range p.receiver.got {
			if s.url == slow.URL {
				got = append(got, s.body["webhook_invocation_id"].(string))
			}
		}
		p.want("slow, in order", strings.Join(got, " "), strings.Join(all, " "))
		p.want("nothing twice at once", p.receiver.most, 1)
		p.want("errors", len(p.errors), 0)
		stop()
	})
}

// Many webhooks that take long wait for places; their leases are counted from the claim.
func TestRun_a_lease_does_not_age_in_the_queue(t *testing.T) {
	bubble(t, func(p *post) {
		p.Service.Parallel, p.Lease = 1, 25*time.Second
		p.receiver.takes = func(string) time.Duration { return 8 * time.Second }
		for _, name := range names("w", 6) {
			p.fire(p.hook(name, webhook.Webhook{}), "d-"+name)
		}
		other := p.node("node-2")
		other.Lease = p.Lease
		stop := p.run(p.Service, other)
		p.pass(5 * time.Minute)
		p.want("requests", p.receiver.count(), 6)
		p.want("errors", len(p.errors), 0)
		stop()
	})
}

func TestRun_two_nodes_send_each_delivery_once(t *testing.T) {
	bubble(t, func(p *post) {
		p.receiver.takes = func(string) time.Duration { return 3 * time.Second }
		for _, name := range names("w", 20) {
			p.fire(p.hook(name, webhook.Webhook{}), names(name+"-", 5)...)
		}
		stop := p.run(p.Service, p.node("node-2"), p.node("node-3"))
		p.pass(20 * time.Minute)
		p.want("requests", p.receiver.count(), 100)
		p.want("at once", p.receiver.most, 1)
		stop()
	})
}

// A holder that vanished between sending and recording: the lease ends, the same attempt goes out again.
func TestRun_sends_again_what_a_dead_node_held(t *testing.T) {
	bubble(t, func(p *post) {
		p.fire(p.hook("a", webhook.Webhook{}), "d1", "d2")
		jobs, err := p.store.Claim(p.Context(), "dead", time.Now(), p.Lease, 1)
		if err != nil || len(jobs) != 1 {
			p.Fatal(jobs, err)
		}
		stop := p.run(p.Service)
		p.pass(5 * time.Minute)
		p.want("requests", p.receiver.log(""), "+60 d1#1, +60 d2#1")
		stop()
	})
}

func TestRun_stops_after_the_requests_under_way(t *testing.T) {
	bubble(t, func(p *post) {
		p.receiver.takes = func(string) time.Duration { return 5 * time.Second }
		p.fire(p.hook("a", webhook.Webhook{}), names("a", 3)...)
		for _, name := range names("w", 6) { // more than there are places
			p.fire(p.hook(name, webhook.Webhook{}), "d-"+name)
		}
		stop := p.run(p.Service)
		p.pass(2 * time.Second)
		stop()
		p.want("stopped after", time.Since(p.receiver.began), 5*time.Second)
		p.want("requests", p.receiver.count(), 4)
		delivered, held := 0, 0
		for _, r := range p.store.rows {
			if r.State == webhook.Delivered {
				delivered++
			}
			if r.holder != "" {
				held++
			}
		}
		p.want("recorded", delivered, 4)
		p.want("still leased", held, 0)
		p.want("given back", p.store.released, 4) // of the eight that one batch claims
	})
}

func TestRun_is_woken_and_looks_by_itself(t *testing.T) {
	bubble(t, func(p *post) {
		p.Poll = time.Minute
		a := p.hook("a", webhook.Webhook{})
		stop := p.run(p.Service)
		p.pass(10 * time.Second)
		p.fire(a, "woken")
		p.pass(10 * time.Second)
		p.store.mu.Lock() // another node wrote it: nobody wakes this one
		p.store.rows = append(p.store.rows, &row{Delivery: webhook.Delivery{ID: "found", Webhook: "a", State: webhook.Pending, Payload: json.RawMessage(`{}`)}})
		p.store.mu.Unlock()
		p.pass(time.Minute)
		p.want("requests", p.receiver.log(""), "+10 woken#1, +60 found#1")
		stop()
	})
}

func TestRun_survives_a_store_that_fails(t *testing.T) {
	bubble(t, func(p *post) {
		p.store.claimErr = errors.New("database is away")
		p.fire(p.hook("a", webhook.Webhook{}), "d")
		stop := p.run(p.Service)
		p.pass(2500 * time.Millisecond)
		p.store.mu.Lock()
		p.store.claimErr = nil
		p.store.mu.Unlock()
		p.pass(time.Second)
		p.want("requests", p.receiver.log(""), "+3 d#1")
		p.want("errors told", len(p.errors) >= 3, true)
		stop()
	})
}

func TestRun_purges_what_is_kept_no_longer(t *testing.T) {
	bubble(t, func(p *post) {
		stop := p.run(p.Service)
		p.pass(2 * time.Hour)
		stop()
		if age := time.Since(p.store.purged); age < p.KeepFor || age > p.KeepFor+time.Hour {
			p.Errorf("purged what is older than %s", age)
		}
	})
}

func TestResend(t *testing.T) {
	operator := access.LocalCaller("root", time.Time{})
	bubble(t, func(p *post) {
		p.receiver.answer = failing
		p.fire(p.hook("a", webhook.Webhook{Retries: 1}), "d")
		stop := p.run(p.Service)
		p.pass(time.Minute)
		if err := p.Resend(p.Context(), operator, "d"); err != nil {
			p.Fatal(err)
		}
		p.want("audit", p.store.events[0].Action+" "+p.store.events[0].Project, "webhook.resend p1")
		if err := p.Resend(p.Context(), operator, "d"); !fault.Is(err, fault.Conflict) {
			p.Errorf("a pending one: %v", err)
		}
		p.pass(time.Minute)
		p.want("the attempt number goes on, once", p.receiver.log(""), "+0 d#1, +10 d#2, +60 d#3")
		p.want("state", p.state("d"), `failed 3/3 500 "status 500"`)

		key := access.Caller{Principal: access.Principal{Kind: access.APIKey, ID: "k"}, Scopes: []access.Action{"*"}, Limit: access.Project("p2")}
		for _, id := range []string{"d", "none"} {
			if err := p.Resend(p.Context(), key, id); !errors.Is(err, webhook.ErrNoDelivery) {
				p.Errorf("from another project: %v", err)
			}
			if _, _, err := p.Show(p.Context(), key, id); !errors.Is(err, webhook.ErrNoDelivery) {
				p.Errorf("from another project: %v", err)
			}
		}
		reader := access.Caller{Principal: access.Principal{Kind: access.APIKey, ID: "k"}, Scopes: []access.Action{access.DeliveryRead}, Limit: access.Project("p1")}
		if _, attempts, err := p.Show(p.Context(), reader, "d"); err != nil || len(attempts) != 3 {
			p.Errorf("got %v, %v", attempts, err)
		}
		if err := p.Resend(p.Context(), reader, "d"); !fault.Is(err, fault.Denied) {
			p.Errorf("somebody who may only read: %v", err)
		}
		if _, err := p.List(p.Context(), reader, webhook.Filter{}); !fault.Is(err, fault.Denied) {
			p.Errorf("all projects: %v", err)
		}
		if _, err := p.List(p.Context(), reader, webhook.Filter{Project: "p1"}); err != nil {
			p.Errorf("one's own: %v", err)
		}
		stop()
	})
}

func TestRequest(t *testing.T) {
	bubble(t, func(p *post) {
		p.store.rows = []*row{{Delivery: webhook.Delivery{
			ID: "inv-1", Webhook: "a", Owner: "session-1", Entity: "verify_session", Event: "verified", State: webhook.Pending,
			Payload: json.RawMessage(`{"b":1,"a":null}`), Triggered: time.Date(2026, 11, 22, 10, 1, 12, 201000789, time.FixedZone("", 3600)),
		}}}
		p.hook("a", webhook.Webhook{Method: "put", Headers: map[string][]string{
			"content-type": {"application/vnd.shop+json"}, "USER-AGENT": {"shop"}, "X-Two": {"1", "2"}, "x-two": {"3"}, "X-None": {},
		}, Secret: secret.New(whsec(32))})
		stop := p.run(p.Service)
		synctest.Wait()
		stop()
		r := p.receiver.got[0].request
		p.want("body", string(r.Body), `{"entity":"verify_session","id":"session-1","event":"verified","webhook_id":"a","webhook_invocation_id":"inv-1",`+
			`"trigger_time":"2026-11-22T09:01:12.201Z","request_time":"2000-01-01T00:00:00Z","attempt":1,"payload":{"b":1,"a":null}}`)
		p.want("method and address", r.Method+" "+r.URL, "PUT https://a.example/")
		header := http.Header(r.Header)
		signature := header.Get("Webhook-Signature")
		delete(r.Header, "Webhook-Signature")
		p.want("headers", fmt.Sprint(r.Header), "map[Content-Type:[application/vnd.shop+json] User-Agent:[shop] Webhook-Id:[inv-1] Webhook-Timestamp:[946684800] X-Two:[1 2 3]]")

		header.Set("Webhook-Signature", signature)
		theirs, err := standardwebhooks.NewWebhook(whsec(32))
		if err != nil {
			p.Fatal(err)
		}
		if err := theirs.Verify(r.Body, header); err != nil { // the bubble's clock is theirs too
			p.Errorf("the independent library refuses the signature: %v", err)
		}
		if theirs.Verify(append(r.Body, ' '), header) == nil {
			p.Error("another body has the same signature")
		}
	})
}

func TestRequest_without_own_headers_and_secret(t *testing.T) {
	bubble(t, func(p *post) {
		p.fire(p.hook("a", webhook.Webhook{Headers: map[string][]string{"Content-Type": nil}}), "d")
		stop := p.run(p.Service)
		synctest.Wait()
		stop()
		p.want("headers", fmt.Sprint(p.receiver.got[0].request.Header), "map[Content-Type:[application/json] User-Agent:[Gatehouse/1.0]]")
	})
}

func TestNew(t *testing.T) {
	bubble(t, func(p *post) {
		for name, c := range map[string]struct {
			w      webhook.Webhook
			reason string
		}{
			"method":     {webhook.Webhook{Method: "get"}, "a webhook's method is post, put or patch"},
			"retries":    {webhook.Webhook{Retries: 21}, "a webhook has 0 to 20 retries"},
			"negative":   {webhook.Webhook{Retries: -1}, "a webhook has 0 to 20 retries"},
			"backoff":    {webhook.Webhook{InitialBackoff: 86401}, "a webhook's initial back-off is 1 to 86400 seconds"},
			"multiplier": {webhook.Webhook{BackoffMultiplier: 10.5}, "a webhook's back-off multiplier is 1 to 10"},
			"NaN":        {webhook.Webhook{BackoffMultiplier: math.NaN()}, "a webhook's back-off multiplier is 1 to 10"},
			"shrinking":  {webhook.Webhook{BackoffMultiplier: 0.5}, "a webhook's back-off multiplier is 1 to 10"},
			"secret":     {webhook.Webhook{Secret: secret.New("hush")}, "expected whsec_ followed by the base64 of 24 to 64 bytes"},
			"header":     {webhook.Webhook{Headers: map[string][]string{"Host": {"hush"}}}, "header Host cannot be set"},
		} {
			c.w.URL = "https://shop.example/"
			_, err := p.New("s", "p1", c.w)
			if !fault.Is(err, fault.Invalid) || err.Error() != c.reason {
				p.Errorf("%s: %v", name, err)
			}
		}
		_, err := p.New("s", "p1", webhook.Webhook{URL: "http://10.0.0.1/"})
		p.want("a forbidden address", errors.Is(err, webhook.ErrForbiddenAddress), true)
		p.Allowed = func(netip.Addr) bool { return true }
		_, err = p.New("s", "p1", webhook.Webhook{URL: "http://10.0.0.1/"})
		p.want("unless the operator allows it", err, nil)
	})
}
