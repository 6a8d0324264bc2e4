package token_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// memory keeps tokens, and the role bindings of the tests.
type memory struct {
	mu       sync.Mutex
	tokens   []token.Token
	events   []audit.Event
	bindings map[string][]access.Binding
	marked   [][]token.Use
	failed   int // writes of uses, as told
	reads    int
	err      error
	onRead   func() // called when a token was read and is not returned yet
	lax      bool   // the database takes everything for equal
}

func (m *memory) Insert(_ context.Context, t token.Token, e audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.tokens, m.events = append(m.tokens, t), append(m.events, e)
	return nil
}

func (m *memory) ByDigest(_ context.Context, digest [32]byte) (token.Token, error) {
	m.mu.Lock()
	m.reads++
	i := slices.IndexFunc(m.tokens, func(t token.Token) bool { return t.Digest == digest || m.lax })
	var t token.Token
	if i >= 0 {
		t = m.tokens[i]
	}
	err := m.err
	m.mu.Unlock()
	if m.onRead != nil {
		m.onRead()
	}
	if err == nil && i < 0 {
		err = token.ErrUnknown
	}
	return t, err
}

func (m *memory) ByID(_ context.Context, id string) (token.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tokens {
		if t.ID == id {
			return t, nil
		}
	}
	return token.Token{}, token.ErrUnknown
}

func (m *memory) OfProject(_ context.Context, project string) ([]token.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []token.Token
	for _, t := range m.tokens {
		if t.Project == project {
			out = append(out, t)
		}
	}
	return out, nil
}

func (m *memory) Revoke(_ context.Context, id string, at time.Time, e audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, t := range m.tokens {
		if t.ID == id && t.Revoked.IsZero() {
			m.tokens[i].Revoked, m.events = at, append(m.events, e)
		}
	}
	return nil
}

func (m *memory) MarkUsed(_ context.Context, uses []token.Use) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.marked = append(m.marked, uses)
	return m.err
}

func (m *memory) BindingsOf(_ context.Context, of access.Subject) ([]access.Binding, error) {
	return m.bindings[of.ID], nil
}
func (m *memory) Grant(context.Context, access.Binding, audit.Event) error { return nil }

// roles adapts memory to access.Store, whose Revoke is another one.
type roles struct {
	*memory
	grantless
}

// grantless stands for grants, which nobody asks for here.
type grantless struct{ access.Store }

func (roles) BindingsOn(context.Context, access.Resource) ([]access.Binding, error) { return nil, nil }

func (roles) SetRole(context.Context, access.Binding, func([]access.Role) error, audit.Event) error {
	return nil
}
func (roles) Revoke(context.Context, access.Binding, audit.Event) error { return nil }

type world struct {
	*token.Service
	store *memory
	now   time.Time
	admin access.Caller
}

func newWorld() *world {
	w := &world{store: &memory{bindings: map[string][]access.Binding{}}, now: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)}
	w.admin = access.LocalCaller("root", w.now)
	w.Service = w.node()
	return w
}

// node is one more node on the same store and clock.
func (w *world) node() *token.Service {
	clock := func() time.Time { return w.now }
	n := 0
	return &token.Service{
		Store: w.store, Access: &access.Service{Store: roles{memory: w.store}, Now: clock}, Now: clock,
		NewID: func() string { n++; return fmt.Sprint("t", n) }, CacheFor: 2 * time.Second, UsedEvery: time.Minute,
	}
}

func (w *world) user(id string, role access.Role, project string) access.Caller {
	w.store.bindings[id] = []access.Binding{{Role: role, Resource: access.Project(project)}}
	return access.Caller{Principal: access.Principal{Kind: access.User, ID: id, Name: id}, Scopes: []access.Action{"*"}}
}

func (w *world) issue(t interface {
	Helper()
	Fatal(...any)
}, expires time.Time,
) (secret.String, token.Token) {
	t.Helper()
	plain, issued, err := w.IssueAPIKey(context.Background(), w.admin, "p1", "ci", expires)
	if err != nil {
		t.Fatal(err)
	}
	return plain, issued
}

func holder(t token.Token) access.Caller {
	return access.Caller{
		Principal: access.Principal{Kind: access.APIKey, ID: t.ID, Name: t.Name},
		Scopes:    []access.Action{"keyproof.*", access.AuthInfo}, Limit: access.Project(t.Project),
	}
}

func reason(err error) string {
	var r *token.Refusal
	if !errors.As(err, &r) {
		return ""
	}
	return r.Reason
}

func TestIssueAPIKey(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("returns_the_plain_key_and_stores_its_digest_alone", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		plain, issued := w.issue(t, w.now.Add(time.Hour))
		stored := w.store.tokens[0]
		if !token.WellFormed(plain.Reveal()) || stored.Digest != sha256.Sum256([]byte(plain.Reveal())) || stored != issued {
			t.Errorf("stored %+v, issued %+v", stored, issued)
		}
		e := w.store.events[0]
		if e.Action != "token.issue" || e.Project != "p1" || e.Object != (audit.Object{Kind: "api_key", ID: issued.ID, Name: "ci"}) || e.Detail["expires"] != "2026-11-20T09:00:00Z" {
			t.Errorf("%+v", e)
		}
		if everything := fmt.Sprintf("%+v %s", w.store.tokens, e.Body()); strings.Contains(everything, plain.Reveal()[5:20]) {
			t.Error("the plain key is in what is stored")
		}
	})
	t.Run("refuses_bad_names_and_an_expiry_that_is_over", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		for _, name := range []string{"", "a\nb", "\xff", strings.Repeat("a", 256)} {
			if _, _, err := w.IssueAPIKey(ctx, w.admin, "p1", name, time.Time{}); !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: %v", name, err)
			}
		}
		if _, _, err := w.IssueAPIKey(ctx, w.admin, "p1", "ci", w.now); !fault.Is(err, fault.Invalid) {
			t.Errorf("expiry: %v", err)
		}
	})
	t.Run("asks_for_the_right_to_issue", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, issued := w.issue(t, time.Time{})
		for name, by := range map[string]access.Caller{
			"a writer": w.user("bob", access.ProjectWriter, "p1"), "another project's admin": w.user("eve", access.ProjectAdmin, "p2"),
			"the key itself": holder(issued), "nobody": {},
		} {
			if plain, _, err := w.IssueAPIKey(ctx, by, "p1", "more", time.Time{}); !fault.Is(err, fault.Denied) || !plain.Empty() {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, _, err := w.IssueAPIKey(ctx, w.user("pam", access.ProjectAdmin, "p1"), "p1", "more", time.Time{}); err != nil {
			t.Errorf("the project's admin: %v", err)
		}
	})
	t.Run("shows_no_key_that_was_not_stored", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.store.err = fault.New(fault.NotFound, "project not found")
		if plain, _, err := w.IssueAPIKey(ctx, w.admin, "p9", "ci", time.Time{}); !fault.Is(err, fault.NotFound) || !plain.Empty() {
			t.Error(err)
		}
	})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("finds_a_good_key", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		plain, issued := w.issue(t, time.Time{})
		for range 2 {
			if got, err := w.Check(ctx, plain); err != nil || got.ID != issued.ID {
				t.Errorf("%+v, %v", got, err)
			}
		}
		if w.store.reads != 1 {
			t.Errorf("%d reads for two checks", w.store.reads)
		}
	})
	t.Run("gives_one_answer_to_all_bad_keys_and_keeps_the_reason", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		expired, _ := w.issue(t, w.now.Add(time.Minute))
		revoked, r := w.issue(t, time.Time{})
		if err := w.Revoke(ctx, w.admin, r.ID); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Minute)
		for want, plain := range map[string]secret.String{
			"no key was sent":                    {},
			"it is not spelled like an API key":  secret.New("gate_nonsense"),
			"there is no such key":               token.NewAPIKey(),
			"the key has expired":                expired,
			"the key was revoked":                revoked,
			"it is not spelled like an API key ": secret.New(revoked.Reveal() + " "),
		} {
			_, err := w.Check(ctx, plain)
			if !errors.Is(err, token.ErrUnknownKey) || fault.KindOf(err) != fault.Unauthenticated || fault.Text(err) != "Missing, unknown or expired API key" {
				t.Errorf("%s: answered %v", want, err)
			}
			if reason(err) != strings.TrimSpace(want) {
				t.Errorf("reason %q, want %q", reason(err), want)
			}
		}
	})
	t.Run("reads_the_expiry_at_use_from_memory_too", func(t *testing.T) { // rule W11
		t.Parallel()
		w := newWorld()
		plain, _ := w.issue(t, w.now.Add(time.Second))
		if _, err := w.Check(ctx, plain); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Second - time.Microsecond)
		if _, err := w.Check(ctx, plain); err != nil {
			t.Errorf("just before: %v", err)
		}
		w.now = w.now.Add(time.Microsecond)
		if _, err := w.Check(ctx, plain); reason(err) != "the key has expired" {
			t.Errorf("at the moment: %v", err)
		}
		if w.store.reads != 1 {
			t.Errorf("%d reads: the test did not see the memory", w.store.reads)
		}
	})
	t.Run("believes_no_database_that_finds_another_key", func(t *testing.T) { // rule S12
		t.Parallel()
		w := newWorld()
		w.issue(t, time.Time{})
		w.store.lax = true
		if _, err := w.Check(ctx, token.NewAPIKey()); reason(err) != "there is no such key" {
			t.Error(err)
		}
	})
	t.Run("remembers_no_bad_key", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		plain := token.NewAPIKey()
		if _, err := w.Check(ctx, plain); err == nil {
			t.Fatal("unknown key was good")
		}
		w.store.tokens = append(w.store.tokens, token.Token{ID: "late", Kind: token.APIKey, Project: "p1", Digest: secret.Digest(plain.Reveal())})
		if _, err := w.Check(ctx, plain); err != nil {
			t.Error(err)
		}
	})
	t.Run("tells_a_store_that_is_away_from_a_bad_key", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		plain, _ := w.issue(t, time.Time{})
		w.store.err = errors.New("away")
		if _, err := w.Check(ctx, plain); err == nil || errors.Is(err, token.ErrUnknownKey) || !fault.Is(err, fault.Internal) {
			t.Error(err)
		}
	})
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("holds_at_once_here_and_with_the_notice_or_in_two_seconds_elsewhere", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		noticed, deaf := w.node(), w.node()
		plain, issued := w.issue(t, time.Time{})
		for _, node := range []*token.Service{w.Service, noticed, deaf} {
			if _, err := node.Check(ctx, plain); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Revoke(ctx, w.admin, issued.ID); err != nil {
			t.Fatal(err)
		}
		noticed.Forget(issued.ID)
		for _, node := range []*token.Service{w.Service, noticed} {
			if _, err := node.Check(ctx, plain); reason(err) != "the key was revoked" {
				t.Error(err)
			}
		}
		w.now = w.now.Add(2 * time.Second)
		if _, err := deaf.Check(ctx, plain); reason(err) != "the key was revoked" {
			t.Errorf("after two seconds without a notice: %v", err)
		}
		if len(w.store.events) != 2 || w.store.events[1].Action != "token.revoke" || w.store.events[1].Project != "p1" {
			t.Errorf("%+v", w.store.events)
		}
		if err := w.Revoke(ctx, w.admin, issued.ID); err != nil || len(w.store.events) != 2 {
			t.Errorf("a second time: %v, %d events", err, len(w.store.events))
		}
	})
	t.Run("is_not_undone_by_a_check_that_overlaps_it", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		plain, issued := w.issue(t, time.Time{})
		w.store.onRead = func() {
			w.store.onRead = nil
			if err := w.Revoke(ctx, w.admin, issued.ID); err != nil {
				t.Error(err)
			}
		}
		if _, err := w.Check(ctx, plain); err != nil {
			t.Fatalf("it was good when it was read: %v", err)
		}
		if _, err := w.Check(ctx, plain); reason(err) != "the key was revoked" {
			t.Errorf("afterwards: %v", err)
		}
	})
	t.Run("hides_tokens_of_others", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, issued := w.issue(t, time.Time{})
		for _, by := range []access.Caller{w.user("eve", access.ProjectAdmin, "p2"), holder(issued), {}} {
			if err := w.Revoke(ctx, by, issued.ID); !errors.Is(err, token.ErrUnknown) {
				t.Error(err)
			}
		}
		if !w.store.tokens[0].Revoked.IsZero() {
			t.Error("revoked all the same")
		}
	})
}

// TestRestrictions_travel is rules W6 and W7: whatever the order of checks, revocations, time and
// notices on two nodes, an expired key is refused everywhere, a revoked one at once where it was
// revoked and within two seconds elsewhere; and what is accepted is the key that was issued.
func TestRestrictions_travel(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		nodes := []*token.Service{w.Service, w.node()}
		type key struct {
			plain   secret.String
			token   token.Token
			revoked time.Time
			on      int
		}
		var keys []*key
		for range rapid.IntRange(1, 3).Draw(t, "keys") {
			var expires time.Time
			if life := rapid.IntRange(0, 5).Draw(t, "life"); life > 0 {
				expires = w.now.Add(time.Duration(life) * time.Second)
			}
			plain, issued := w.issue(t, expires)
			keys = append(keys, &key{plain: plain, token: issued})
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			k := keys[rapid.IntRange(0, len(keys)-1).Draw(t, "key")]
			n := rapid.IntRange(0, 1).Draw(t, "node")
			switch rapid.SampledFrom([]string{"check", "check", "wait", "revoke", "notice"}).Draw(t, "step") {
			case "wait":
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "milliseconds")) * time.Millisecond)
			case "revoke":
				if err := nodes[n].Revoke(ctx, w.admin, k.token.ID); err != nil {
					t.Fatal(err)
				}
				if k.revoked.IsZero() {
					k.revoked, k.on = w.now, n
				}
			case "notice":
				nodes[n].ForgetAll()
			default:
				got, err := nodes[n].Check(ctx, k.plain)
				over := !k.token.Expires.IsZero() && !w.now.Before(k.token.Expires)
				ended := !k.revoked.IsZero() && (k.on == n || w.now.Sub(k.revoked) >= 2*time.Second)
				if (over || ended) && err == nil {
					t.Fatalf("accepted: expired %v, revoked %v", over, ended)
				}
				if !over && k.revoked.IsZero() && err != nil {
					t.Fatalf("a good key was refused: %v", err)
				}
				if err == nil && got.ID != k.token.ID {
					t.Fatal("another key's token")
				}
			}
		}
	})
}

func TestSelf_tells_the_holder_what_the_key_is(t *testing.T) {
	t.Parallel()
	ctx, w := context.Background(), newWorld()
	plain, issued := w.issue(t, time.Time{})
	for range 2 { // from the store, then from memory
		if got, err := w.Self(ctx, holder(issued)); err != nil || got.ID != issued.ID || got.Name != "ci" {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := w.Check(ctx, plain); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Self(ctx, w.admin); !fault.Is(err, fault.Denied) {
		t.Errorf("somebody else: %v", err)
	}
}

func TestList_asks_for_the_right_to_read(t *testing.T) {
	t.Parallel()
	ctx, w := context.Background(), newWorld()
	w.issue(t, time.Time{})
	if got, err := w.List(ctx, w.user("pam", access.ProjectAdmin, "p1"), "p1"); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := w.List(ctx, w.user("bob", access.ProjectWriter, "p1"), "p1"); !fault.Is(err, fault.Denied) {
		t.Error(err)
	}
}

func TestUsed(t *testing.T) {
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	running := func(t *testing.T, work func(t *testing.T, w *world)) *memory {
		t.Helper()
		w := newWorld()
		w.OnUsedFailed = func(error) { w.store.failed++ }
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { w.Run(ctx); close(done) }()
			work(t, w)
			cancel()
			<-done
		})
		return w.store
	}
	t.Run("writes_the_latest_use_of_each_key_once_a_minute", func(t *testing.T) {
		m := running(t, func(t *testing.T, w *world) {
			for i := range 1000 {
				w.Used("a", here, w.now.Add(time.Duration(i)))
			}
			w.Used("a", there, w.now.Add(time.Hour))
			w.Used("a", here, w.now) // late, from another request
			time.Sleep(3 * time.Minute)
		})
		want := token.Use{ID: "a", At: newWorld().now.Add(time.Hour), Address: "2001:db8::1"}
		if len(m.marked) != 1 || !slices.Equal(m.marked[0], []token.Use{want}) {
			t.Errorf("%+v", m.marked)
		}
	})
	t.Run("writes_what_is_left_when_it_stops", func(t *testing.T) {
		m := running(t, func(_ *testing.T, w *world) { w.Used("a", here, w.now) })
		if len(m.marked) != 1 {
			t.Errorf("%+v", m.marked)
		}
	})
	t.Run("keeps_what_could_not_be_written", func(t *testing.T) {
		m := running(t, func(_ *testing.T, w *world) {
			w.store.mu.Lock()
			w.store.err = errors.New("away")
			w.store.mu.Unlock()
			w.Used("a", here, w.now)
			time.Sleep(time.Minute + time.Second)
			w.store.mu.Lock()
			w.store.err = nil
			w.store.mu.Unlock()
			time.Sleep(time.Minute)
		})
		if m.failed != 1 || len(m.marked) != 2 || !slices.Equal(m.marked[0], m.marked[1]) {
			t.Errorf("%d failures, %+v", m.failed, m.marked)
		}
	})
}

func TestNewAPIKey_is_well_formed_and_fresh(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 1000 {
		key := token.NewAPIKey().Reveal()
		if !token.WellFormed(key) || seen[key] {
			t.Fatal("a bad or repeated key")
		}
		seen[key] = true
	}
}

func TestWellFormed(t *testing.T) {
	t.Parallel()
	good := "gate_" + strings.Repeat("0", 32) + sum(strings.Repeat("0", 32))
	if !token.WellFormed(good) {
		t.Fatalf("%q", good)
	}
	for what, bad := range map[string]string{
		"empty": "", "prefix": "Gate_" + good[5:], "short": good[:42], "long": good + "0", "space": " " + good[1:],
		"checksum": good[:42] + "!", "one letter": good[:5] + "1" + good[6:], "alphabet": "gate_" + strings.Repeat("-", 32) + sum(strings.Repeat("-", 32)),
		"not ASCII": "gate_" + strings.Repeat("é", 16) + sum(strings.Repeat("é", 16)),
	} {
		if token.WellFormed(bad) {
			t.Errorf("%s: %q", what, bad)
		}
	}
}

// sum computes the checksum of the specification in another way: as a number, then padded.
func sum(random string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	n, text := crc32.ChecksumIEEE([]byte(random)), ""
	for ; n > 0; n /= 62 {
		text = string(digits[n%62]) + text
	}
	return strings.Repeat("0", 6-len(text)) + text
}

// FuzzWellFormed holds that exactly the specification's spelling passes, and that one changed character does not.
func FuzzWellFormed(f *testing.F) {
	for _, seed := range []string{"", "gate_", "gate_" + strings.Repeat("0", 38), strings.Repeat("é", 21) + "x"} {
		f.Add(seed, uint8(0))
	}
	f.Add("gate_"+strings.Repeat("aZ09", 8)+sum(strings.Repeat("aZ09", 8)), uint8(17))
	f.Fuzz(func(t *testing.T, text string, at uint8) {
		if !token.WellFormed(text) {
			return
		}
		if len(text) != 43 || text[:5] != "gate_" || strings.Trim(text[5:], "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" || sum(text[5:37]) != text[37:] {
			t.Fatalf("accepted %q", text)
		}
		changed := []byte(text)
		changed[int(at)%len(changed)] ^= 1
		if token.WellFormed(string(changed)) {
			t.Fatalf("accepted %q and %q", text, changed)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	w := newWorld()
	plain, _ := w.issue(b, time.Time{})
	ctx := context.Background()
	for b.Loop() {
		if _, err := w.Check(ctx, plain); err != nil {
			b.Fatal(err)
		}
	}
}
