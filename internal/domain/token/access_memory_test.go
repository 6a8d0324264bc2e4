package token_test

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/recent"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// drawer keeps HTTP access tokens, the roles of the tests and counters of reports.
type drawer struct {
	mu     sync.Mutex
	tokens []token.Access
	events []audit.Event
	roles  map[string][]access.Binding
	shut   map[string]bool // users
	counts map[string]guard.Counter
	marked []recent.Use
	reads  int
	taken  int          // handles that the next inserts find taken
	err    error        // what reads and writes report, when set
	after  func()       // called when a token was read and is not returned yet
	other  token.Access // what ByHandle gives, where it has an id: a database that takes everything for equal
}

func (d *drawer) Insert(_ context.Context, t token.Access, most int, e audit.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.taken > 0 {
		d.taken--
		return token.ErrHandleTaken
	}
	if d.err != nil {
		return d.err
	}
	if len(d.good(t.Scope, t.Created)) >= most {
		return token.ErrTooMany
	}
	d.tokens, d.events = append(d.tokens, t), append(d.events, e)
	return nil
}

func (d *drawer) good(scope access.Resource, now time.Time) (all []token.Access) {
	for _, t := range d.tokens {
		in := scope.Kind == access.InstallationKind || t.Scope.Kind == scope.Kind && t.Scope.ID == scope.ID
		if in && t.Revoked.IsZero() && (t.Expires.IsZero() || now.Before(t.Expires)) {
			all = append(all, t)
		}
	}
	return all
}

func (d *drawer) ByHandle(_ context.Context, handle string) (token.Access, error) {
	d.mu.Lock()
	d.reads++
	i := slices.IndexFunc(d.tokens, func(t token.Access) bool { return t.Handle == handle })
	t, err := d.other, d.err
	if t.ID == "" && i >= 0 {
		t = d.tokens[i]
		t.UserName, t.UserEmail, t.Shut = t.Scope.ID, t.Scope.ID+"@example.test", d.shut[t.Scope.ID]
	}
	d.mu.Unlock()
	if d.after != nil {
		d.after()
	}
	if err == nil && t.ID == "" {
		err = token.ErrNoAccess
	}
	return t, err
}

func (d *drawer) OfScope(_ context.Context, scope access.Resource, now time.Time, w page.Window) (page.Page[token.Access], error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.good(scope, now)
	slices.SortFunc(all, func(a, b token.Access) int { return cmp.Compare(a.Handle, b.Handle) })
	return page.Page[token.Access]{Items: all, Total: int64(len(all)), Window: w}, d.err
}

func (d *drawer) Expiring(_ context.Context, scope access.Resource, now, until time.Time, w page.Window) (page.Page[token.Access], error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.DeleteFunc(d.good(scope, now), func(t token.Access) bool { return t.Expires.IsZero() || t.Expires.After(until) })
	return page.Page[token.Access]{Items: all, Total: int64(len(all)), Window: w}, d.err
}

func (d *drawer) Change(_ context.Context, id string, decide func(token.Access) (token.Access, error), e audit.Event) (token.Access, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, t := range d.tokens {
		if t.ID == id && t.Revoked.IsZero() {
			is, err := decide(t)
			if err != nil {
				return is, err
			}
			d.tokens[i], d.events = is, append(d.events, e)
			return is, nil
		}
	}
	return token.Access{}, token.ErrNoAccess
}

func (d *drawer) Revoke(_ context.Context, id string, at time.Time, e audit.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, t := range d.tokens {
		if t.ID == id && t.Revoked.IsZero() {
			d.tokens[i].Revoked, d.events = at, append(d.events, e)
			return nil
		}
	}
	return token.ErrNoAccess
}

func (d *drawer) MarkUsed(_ context.Context, uses []recent.Use) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.marked = append(d.marked, uses...)
	return d.err
}

func (d *drawer) BindingsOf(_ context.Context, of access.Subject) ([]access.Binding, error) {
	return d.roles[of.ID], nil
}

// bindings adapts a drawer to access.Store, whose Revoke is another one.
type bindings struct {
	*drawer
	grantless
}

func (bindings) BindingsOn(context.Context, access.Resource) ([]access.Binding, error) {
	return nil, nil
}

func (bindings) SetRole(context.Context, access.Binding, func([]access.Role) error, audit.Event) error {
	return nil
}
func (bindings) Grant(context.Context, access.Binding, audit.Event) error  { return nil }
func (bindings) Revoke(context.Context, access.Binding, audit.Event) error { return nil }

func (d *drawer) Count(_ context.Context, key string, decide func(guard.Counter, bool) guard.Counter) (guard.Counter, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, found := d.counts[key]
	d.counts[key] = decide(c, found)
	return d.counts[key], nil
}

func (d *drawer) Sweep(context.Context, time.Time) error { return nil }

// office is one node that issues tokens.
type office struct {
	*token.Accesses
	store *drawer
	now   time.Time
}

var (
	ops, web    = access.Project("ops"), access.Project("web")
	infra, site = access.Repo("ops", "infra"), access.Repo("web", "site")
	dana        = token.OfUser("dana")
)

func newOffice() *office {
	o := &office{
		store: &drawer{roles: map[string][]access.Binding{}, shut: map[string]bool{}, counts: map[string]guard.Counter{}},
		now:   time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC),
	}
	o.Accesses = o.node()
	return o
}

// node is one more node on the same store and clock.
func (o *office) node() *token.Accesses {
	clock := func() time.Time { return o.now }
	n := 0
	return &token.Accesses{
		Store: o.store, Access: &access.Service{Store: bindings{drawer: o.store}, Now: clock, NewID: func() string { return "b" }}, Now: clock,
		NewID:    func() string { n++; return fmt.Sprint("a", n) },
		Reports:  &guard.Failures{Store: o.store, Now: clock, Threshold: 3, Window: time.Minute},
		CacheFor: 2 * time.Second, UsedEvery: time.Minute, FreshFor: 10 * time.Minute, MaxPerScope: 100,
	}
}

// person has just signed in, and holds a role on each resource.
func (o *office) person(id string, held ...access.Binding) access.Caller {
	o.store.roles[id] = held
	return access.Caller{
		Principal: access.Principal{Kind: access.User, ID: id, Name: id}, Method: "password", At: o.now, Scopes: []access.Action{"*"},
		Address: netip.MustParseAddr("192.0.2.1"), Door: "bitbucket", Session: "s1",
	}
}

func role(r access.Role, on access.Resource) access.Binding {
	return access.Binding{Role: r, Resource: on}
}

func (o *office) issue(t testing.TB, by access.Caller, scope access.Resource, days int, permissions ...token.Permission) (secret.String, token.Access) {
	t.Helper()
	d := token.Draft{Name: "ci", Permissions: permissions}
	if days > 0 {
		d.ExpiryDays = &days
	}
	plain, issued, err := o.Issue(context.Background(), by, scope, d)
	if err != nil {
		t.Fatal(err)
	}
	return plain, issued
}
