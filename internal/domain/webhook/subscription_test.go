package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// ledger is a sealed chain, the subscriptions that follow it, and who may.
type ledger struct {
	access.Store // what these tests do not call

	mu         sync.Mutex
	chain      []audit.Entry
	concerns   []string // of each entry
	subs       []webhook.Subscription
	deliveries []webhook.Delivery
	recorded   []audit.Event
	roles      map[string]access.Role
	fails      error
}

func (l *ledger) BindingsOf(_ context.Context, of access.Subject) ([]access.Binding, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if role := l.roles[of.ID]; role != "" {
		return []access.Binding{{Subject: of, Role: role, Resource: access.Installation}}, nil
	}
	return nil, nil
}

// seal puts an event into the chain.
func (l *ledger) seal(action, concerns string) {
	e := audit.NewEvent(time.Now(), action, audit.Done)
	e.Actor, e.Detail = audit.Actor{Kind: "user", ID: "u1", Name: "ann"}, map[string]string{"k": "v"}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.chain = append(l.chain, audit.Entry{Position: int64(len(l.chain) + 1), ID: e.ID, Body: e.Body()})
	l.concerns = append(l.concerns, concerns)
}

func (l *ledger) Head(context.Context) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.chain)), l.fails
}

func (l *ledger) Entries(_ context.Context, after int64, limit int) ([]audit.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := l.chain[min(after, int64(len(l.chain))):]
	return slices.Clone(rest[:min(limit, len(rest))]), l.fails
}

func (l *ledger) EntriesConcerning(_ context.Context, user string, after int64, limit int) (out []audit.Entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range l.chain {
		if l.concerns[i] == user && e.Position > after && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, l.fails
}

func (l *ledger) Insert(_ context.Context, x webhook.Subscription, most int, e audit.Event) (webhook.Subscription, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.subs) >= most {
		return x, fault.New(fault.Conflict, "too many")
	}
	x.Number, x.Position = int64(len(l.recorded)+1), int64(len(l.chain))
	l.subs, l.recorded = append(l.subs, x), append(l.recorded, e)
	return x, nil
}

func (l *ledger) All(context.Context) ([]webhook.Subscription, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.subs), nil
}

func (l *ledger) Delete(_ context.Context, id string, e audit.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subs = slices.DeleteFunc(l.subs, func(x webhook.Subscription) bool { return x.ID == id })
	l.recorded = append(l.recorded, e)
	return nil
}

func (l *ledger) Fire(_ context.Context, d webhook.Delivery, e audit.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliveries, l.recorded = append(l.deliveries, d), append(l.recorded, e)
	return nil
}

func (l *ledger) Advance(_ context.Context, limit int, decide func(webhook.Subscription, []audit.Entry) []webhook.Delivery) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails != nil || len(l.subs) == 0 {
		return 0, l.fails
	}
	from := int64(len(l.chain))
	for _, x := range l.subs {
		from = min(from, x.Position)
	}
	entries := l.chain[from:min(from+int64(limit), int64(len(l.chain)))]
	for i, x := range l.subs {
		if skip := int(x.Position - from); skip < len(entries) {
			l.deliveries = append(l.deliveries, decide(x, entries[skip:])...)
			l.subs[i].Position = entries[len(entries)-1].Position
		}
	}
	return len(entries), nil
}

func (l *ledger) Behind(context.Context) (int64, error) { return 0, nil }

// told is what was made for a subscription, in order.
func (l *ledger) told(x webhook.Subscription) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, d := range l.deliveries {
		if d.Webhook == x.ID {
			all = append(all, d.Event)
		}
	}
	return strings.Join(all, " ")
}

// office is a service on a ledger. ann may manage subscriptions, bob nothing.
type office struct {
	*webhook.Subscriptions
	ledger *ledger
	errors []string
}

var root = access.LocalCaller("root", time.Unix(0, 0))

func user(name string) access.Caller {
	return access.Caller{Principal: access.Principal{Kind: access.User, ID: name, Name: name}, Scopes: []access.Action{"*"}, Session: "s-" + name}
}

func newOffice() *office {
	o := &office{ledger: &ledger{roles: map[string]access.Role{"ann": access.Admin}}}
	ids := 0
	newID := func() string { ids++; return fmt.Sprintf("id-%d", ids) }
	rights := &access.Service{Store: o.ledger}
	hooks := &webhook.Service{Now: time.Now, NewID: newID, Allowed: func(a netip.Addr) bool { return !a.IsPrivate() && !a.IsLoopback() }}
	hooks.Start()
	o.Subscriptions = &webhook.Subscriptions{
		Store: o.ledger, Hooks: hooks, Access: rights, Now: time.Now, NewID: newID, Max: 3, Batch: 2, Poll: time.Second,
		OnError: func(doing string, err error) { o.errors = append(o.errors, doing+": "+err.Error()) },
	}
	o.Start()
	return o
}

func (o *office) add(t *testing.T, events ...string) webhook.Subscription {
	t.Helper()
	x, err := o.Create(t.Context(), root, webhook.NewSubscription{URL: "https://siem.example/hook/TOKEN", Events: events})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestSubscriptions_Create(t *testing.T) {
	t.Parallel()
	o := newOffice()
	o.ledger.seal("session.start", "")
	x := o.add(t, "session.*")
	if x.Position != 1 || x.Retries != webhook.DefaultRetries || x.Method != "post" || webhook.CheckSecret(x.Secret) != nil {
		t.Errorf("%+v", x)
	}
	if y := o.add(t, "*"); y.Secret.Reveal() == x.Secret.Reveal() {
		t.Error("two subscriptions have one secret")
	}
	none := 0
	given := "whsec_" + strings.Repeat("QUFB", 8)
	z, err := o.Create(t.Context(), root, webhook.NewSubscription{URL: "https://siem.example/", Events: []string{"*"}, Retries: &none, Secret: secret.New(given)})
	if err != nil || z.Retries != 0 || z.Secret.Reveal() != given {
		t.Errorf("%+v, %v", z, err)
	}
	if _, err := o.Create(t.Context(), root, webhook.NewSubscription{URL: "https://siem.example/", Events: []string{"*"}}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a fourth: %v", err)
	}
	for _, e := range o.ledger.recorded { // an address may hold a token of the receiver
		if body := string(e.Body()); strings.Contains(body, "TOKEN") || strings.Contains(body, "whsec_") || !strings.Contains(body, `"host":"siem.example"`) {
			t.Errorf("recorded %s", body)
		}
	}
}

func TestSubscriptions_Create_refuses(t *testing.T) {
	t.Parallel()
	o := newOffice()
	for what, in := range map[string]webhook.NewSubscription{
		"no pattern":        {URL: "https://siem.example/"},
		"half a pattern":    {URL: "https://siem.example/", Events: []string{"session*"}},
		"no address":        {Events: []string{"*"}},
		"a private address": {URL: "https://10.1.2.3/", Events: []string{"*"}}, // rule W8
		"a loopback":        {URL: "http://127.0.0.1:9/", Events: []string{"*"}},
		"a secret":          {URL: "https://siem.example/", Events: []string{"*"}, Secret: secret.New("hush")},
		"a header":          {URL: "https://siem.example/", Events: []string{"*"}, Headers: map[string][]string{"Webhook-Id": {"x"}}},
	} {
		if _, err := o.Create(t.Context(), root, in); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSubscriptions_need_a_right(t *testing.T) {
	t.Parallel()
	o := newOffice()
	x := o.add(t, "*")
	ctx, bob := t.Context(), user("bob")
	second := func(_ any, err error) error { return err }
	for what, err := range map[string]error{
		"create": second(o.Create(ctx, bob, webhook.NewSubscription{URL: "https://siem.example/", Events: []string{"*"}})),
		"list":   second(o.List(ctx, bob)),
		"find":   second(o.Find(ctx, bob, x.ID)),
		"delete": o.Delete(ctx, bob, x.ID),
		"test":   second(o.Test(ctx, bob, x.ID)),
	} {
		if !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := o.Find(ctx, user("ann"), "1"); err != nil {
		t.Errorf("by right, and by number: %v", err)
	}
	if err := o.Delete(ctx, user("ann"), "7"); !errors.Is(err, webhook.ErrNoSubscription) {
		t.Errorf("one that is not there: %v", err)
	}
	if err := o.Delete(ctx, user("ann"), x.ID); err != nil {
		t.Error(err)
	}
}

func TestSubscriptions_Test_sends_whatever_was_asked_for(t *testing.T) {
	t.Parallel()
	o := newOffice()
	x := o.add(t, "session.start")
	d, err := o.Test(t.Context(), root, x.ID)
	if err != nil || d.Event != webhook.TestEvent || d.Webhook != x.ID || d.State != webhook.Pending || d.Entity != webhook.EventEntity {
		t.Errorf("%+v, %v", d, err)
	}
	if last := o.ledger.recorded[len(o.ledger.recorded)-1]; last.Action != "subscription.test" || last.Detail["delivery"] != d.ID {
		t.Errorf("%+v", last)
	}
}

func TestSubscriptions_Run_tells_each_what_it_asks_for(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.ledger.seal("session.start", "") // before: nobody hears of it
		sessions, all := o.add(t, "session.*", "login.failed"), o.add(t, "*")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { o.Run(ctx); close(done) }()
		for _, action := range []string{"session.start", "token.issue", "session.end", "login.failed", "login.limited", "session_url.expired"} {
			o.ledger.seal(action, "")
		}
		o.Wake()
		synctest.Wait()
		if told := o.ledger.told(sessions); told != "session.start session.end login.failed" {
			t.Errorf("told %s", told)
		}
		late := o.add(t, "session.*")
		o.ledger.seal("session.end", "")
		time.Sleep(2 * time.Second) // nobody wakes it
		synctest.Wait()
		if told := o.ledger.told(all); told != "session.start token.issue session.end login.failed login.limited session_url.expired session.end" {
			t.Errorf("told %s", told)
		}
		if told := o.ledger.told(late); told != "session.end" {
			t.Errorf("the late one was told %s", told)
		}
		cancel()
		<-done
		if len(o.errors) > 0 {
			t.Error(o.errors)
		}
	})
}

// A database that is away is asked again, and an entry that was spoiled holds nothing up.
func TestSubscriptions_Run_goes_on(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		x := o.add(t, "*")
		o.ledger.seal("session.start", "")
		o.ledger.seal("session.end", "")
		o.ledger.chain[0].Body = []byte("{")
		o.ledger.fails = errors.New("away")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { o.Run(ctx); close(done) }()
		time.Sleep(time.Second / 2)
		o.ledger.mu.Lock()
		o.ledger.fails = nil
		o.ledger.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		cancel()
		<-done
		if told := o.ledger.told(x); told != "session.end" {
			t.Errorf("told %s", told)
		}
		if len(o.errors) != 2 || !strings.Contains(o.errors[0], "away") || !strings.Contains(o.errors[1], "read entry 1 of the audit chain") {
			t.Error(o.errors)
		}
	})
}

// The body is Standard Webhooks' payload, the same at each attempt, and holds the event as it lies in the audit log.
func TestRequest_of_a_subscription(t *testing.T) {
	bubble(t, func(p *post) {
		o := newOffice()
		x := o.add(t, "*")
		o.ledger.seal("session.start", "")
		if _, err := o.ledger.Advance(p.Context(), 10, func(_ webhook.Subscription, entries []audit.Entry) []webhook.Delivery {
			return deliveriesOf(p.T, o, entries)
		}); err != nil {
			p.Fatal(err)
		}
		d := o.ledger.deliveries[0]
		p.want("delivery", fmt.Sprintf("%s %s %q %q %s", d.Entity, d.Event, d.Owner, d.Project, d.State), `event session.start "" "" pending`)
		var body struct {
			Type      string
			Timestamp time.Time
			Data      struct {
				Position int64
				audit.Event
			}
		}
		if err := json.Unmarshal(d.Payload, &body); err != nil {
			p.Fatal(err)
		}
		p.want("body", fmt.Sprintf("%s %v %d %s %s %s %s", body.Type, body.Timestamp.Equal(body.Data.At), body.Data.Position, body.Data.ID, body.Data.Action, body.Data.Actor.Name, body.Data.Detail["k"]),
			fmt.Sprintf("session.start true 1 %s session.start ann v", o.ledger.chain[0].ID))

		p.store.hooks[x.ID] = x.Webhook
		p.store.rows = []*row{{Delivery: d}}
		p.Sender = senderFunc(func(_ context.Context, r webhook.Request) webhook.Result {
			p.want("sent", string(r.Body), string(d.Payload))
			p.want("signed", len(r.Header["Webhook-Signature"]), 1)
			p.want("id", r.Header["Webhook-Id"][0], d.ID)
			return webhook.Result{Status: 204}
		})
		stop := p.run(p.Service)
		synctest.Wait()
		stop()
		p.want("state", p.state(d.ID), `delivered 1/1 204 ""`)
	})
}

type senderFunc func(context.Context, webhook.Request) webhook.Result

func (f senderFunc) Send(ctx context.Context, r webhook.Request) webhook.Result { return f(ctx, r) }

// deliveriesOf lets the service decide on entries.
func deliveriesOf(t *testing.T, o *office, entries []audit.Entry) []webhook.Delivery {
	t.Helper()
	other := newOffice()
	other.ledger.subs = slices.Clone(o.ledger.subs)
	for i := range other.ledger.subs {
		other.ledger.subs[i].Position = 0
	}
	other.ledger.chain = entries
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { other.Run(ctx); close(done) }()
	synctest.Wait()
	cancel()
	<-done
	return other.ledger.deliveries
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, kind string
		match         bool
	}{
		{"*", "session.start", true},
		{"session.*", "session.start", true},
		{"session.*", "session_url.expired", false},
		{"session.*", "session", false},
		{"session.start", "session.start", true},
		{"session.start", "session.started", false},
		{"remote.request.*", "remote.request.approve", true},
		{"remote.request.*", "remote.open", false},
	} {
		if got := (webhook.Patterns{"none.such", c.pattern}).Match(c.kind); got != c.match {
			t.Errorf("%s of %s: %v", c.kind, c.pattern, got)
		}
		if err := (webhook.Patterns{c.pattern}).Check("events"); err != nil {
			t.Errorf("%s: %v", c.pattern, err)
		}
	}
	if (webhook.Patterns{}).Match("session.start") {
		t.Error("no pattern chooses something")
	}
	for _, wrong := range []string{"", "session*", "*.start", "session.", ".start", "Session.start", "session..start", "session.**", "se ssion.start", "session.*.x", strings.Repeat("a", 65)} {
		if err := (webhook.Patterns{wrong}).Check("events"); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if err := webhook.Patterns(slices.Repeat([]string{"a.b"}, 65)).Check("events"); !fault.Is(err, fault.Invalid) {
		t.Errorf("65 patterns: %v", err)
	}
}

func FuzzPatterns(f *testing.F) {
	f.Add("session.*", "session.start")
	f.Add("*", "")
	f.Add("a.b.*", "a.b.c")
	f.Fuzz(func(t *testing.T, pattern, kind string) {
		p := webhook.Patterns{pattern}
		if p.Check("events") != nil || !p.Match(kind) || pattern == "*" || pattern == kind {
			return
		}
		if front := strings.TrimSuffix(pattern, "*"); front == pattern || !strings.HasSuffix(front, ".") || !strings.HasPrefix(kind, front) {
			t.Errorf("%q chooses %q", pattern, kind)
		}
	})
}
