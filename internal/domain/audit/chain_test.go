package audit_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// memory is a Store and KeyStore that a test may also tamper with.
type memory struct {
	mu      sync.Mutex
	waiting []audit.Event
	entries []audit.Entry
	seals   []audit.Seal
	keys    []audit.SigningKey
	away    bool   // nothing can be appended
	onRead  func() // called before entries are read
}

var errAway = errors.New("the store is away")

func (m *memory) Append(_ context.Context, events ...audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away {
		return errAway
	}
	m.waiting = append(m.waiting, events...)
	return nil
}

func (m *memory) SealNext(_ context.Context, limit int, seal func(audit.Seal, []audit.Hash) (audit.Seal, []audit.Hash)) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(limit, len(m.waiting))
	if n == 0 {
		return 0, nil
	}
	batch := make([]audit.Hash, n)
	for i, e := range m.waiting[:n] {
		batch[i] = audit.DigestOf(e.Body())
	}
	var previous audit.Seal
	if len(m.seals) > 0 {
		previous = m.seals[len(m.seals)-1]
	}
	next, links := seal(previous, batch)
	for i, e := range m.waiting[:n] {
		m.entries = append(m.entries, audit.Entry{Position: next.First + int64(i), ID: e.ID, Body: e.Body(), Digest: batch[i], Link: links[i]})
	}
	m.seals, m.waiting = append(m.seals, next), m.waiting[n:]
	return n, nil
}

func (m *memory) Entries(_ context.Context, after int64, limit int) ([]audit.Entry, error) {
	if m.onRead != nil {
		m.onRead()
	}
	var out []audit.Entry
	for _, e := range m.entries {
		if e.Position > after && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}

func (m *memory) Seals(_ context.Context, after int64, limit int) ([]audit.Seal, error) {
	var out []audit.Seal
	for _, s := range m.seals {
		if s.Number > after && len(out) < limit {
			out = append(out, s)
		}
	}
	return out, nil
}

func (m *memory) Concerning(context.Context, string, page.Window) (page.Page[audit.Event], error) {
	return page.Page[audit.Event]{}, nil
}

func (m *memory) Waiting(context.Context) (int64, error) { return int64(len(m.waiting)), nil }

func (m *memory) CurrentKey(context.Context) (audit.SigningKey, error) {
	if len(m.keys) == 0 {
		return audit.SigningKey{}, fault.New(fault.NotFound, "no signing key")
	}
	return m.keys[len(m.keys)-1], nil
}

func (m *memory) Keys(context.Context) ([]audit.SigningKey, error) { return m.keys, nil }

func (m *memory) InsertFirstKey(ctx context.Context, k audit.SigningKey, _ audit.Event) (audit.SigningKey, error) {
	if len(m.keys) == 0 {
		m.keys = append(m.keys, k)
	}
	return m.CurrentKey(ctx)
}

var start = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

func newSealer(t *testing.T) *secret.Sealer {
	t.Helper()
	master := secret.NewMasterKey()
	wrapped, err := secret.NewKeyset(master)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := secret.OpenKeyset(master, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	return sealer
}

func newSigner(t *testing.T) audit.Signer {
	t.Helper()
	signer, err := audit.OpenSigner(context.Background(), &memory{}, newSealer(t), start)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func event(n int) audit.Event {
	e := audit.NewEvent(start.Add(time.Duration(n)*time.Second), "keyproof.create", audit.Done)
	e.Object = audit.Object{Kind: "verify_session", ID: fmt.Sprint(n)}
	return e
}

// sealed returns a chain of that many batches of four events each.
func sealed(t *testing.T, signer audit.Signer, batches int) *memory {
	t.Helper()
	m := &memory{}
	grow(t, m, signer, batches)
	return m
}

// grow appends batches and lets the service seal them on its way out.
func grow(t *testing.T, m *memory, signer audit.Signer, batches int) {
	t.Helper()
	record(t, m, 4*batches)
	seal(m, signer, 4)
}

func record(t *testing.T, m *memory, events int) {
	t.Helper()
	for n := range events {
		if err := m.Append(context.Background(), event(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// seal lets the service seal what waits, so many events at a time, on its way out.
func seal(m *memory, signer audit.Signer, batch int) {
	s := &audit.Service{
		Store: m, Signer: signer, Now: func() time.Time { return start },
		SealEvery: time.Hour, SealBatch: batch, Folder: audit.NewFolder(time.Minute),
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	s.Run(stopped)
}

func verify(t *testing.T, m *memory, signer audit.Signer, head *audit.Head) audit.Report {
	t.Helper()
	report, err := audit.Verify(context.Background(), m, audit.Verification{Keys: []ed25519.PublicKey{signer.Public()}, Head: head})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func problems(r audit.Report) string {
	var all []string
	for _, p := range r.Problems {
		all = append(all, p.What)
	}
	return strings.Join(all, "\n")
}

func TestVerify_finds_a_good_chain_whole(t *testing.T) {
	t.Parallel()
	signer := newSigner(t)
	m := sealed(t, signer, 3)
	early := verify(t, m, signer, nil)
	if problems(early) != "" || early.Events != 12 || early.Seals != 3 || early.Head == nil || early.Head.Position != 12 {
		t.Fatalf("report %+v", early)
	}
	grow(t, m, signer, 2)
	if err := m.Append(context.Background(), event(99)); err != nil {
		t.Fatal(err)
	}
	late := verify(t, m, signer, early.Head)
	if problems(late) != "" || late.Events != 20 || late.Waiting != 1 {
		t.Fatalf("report against the earlier head %+v", late)
	}
	empty := verify(t, &memory{}, signer, nil)
	if problems(empty) != "" || empty.Head != nil {
		t.Fatalf("report of an empty chain %+v", empty)
	}
}

func TestVerify_takes_a_chain_that_grows_meanwhile_for_whole(t *testing.T) {
	t.Parallel()
	signer := newSigner(t)
	m := sealed(t, signer, 2)
	reads := 0
	m.onRead = func() { // the sealer works between the reading of the seals and of the events
		if reads++; reads < 5 {
			grow(t, m, signer, 1)
		}
	}
	if r := verify(t, m, signer, nil); problems(r) != "" || r.Events != 24 {
		t.Fatalf("report %+v", r)
	}
}

// TestVerify_names_what_was_done: every way to change the record is found, and where.
func TestVerify_names_what_was_done(t *testing.T) {
	t.Parallel()
	signer, thief := newSigner(t), newSigner(t)
	forged := func(e audit.Entry) []byte {
		return []byte(strings.Replace(string(e.Body), "keyproof.create", "keyproof.delete", 1))
	}
	for name, c := range map[string]struct {
		tamper   func(t *testing.T, m *memory)
		headless bool // found without the exported head too
		says     string
	}{
		"changed_body": {func(_ *testing.T, m *memory) {
			m.entries[5].Body = forged(m.entries[5])
		}, true, "event 6 was changed after it was written"},
		"changed_body_and_digest": {func(_ *testing.T, m *memory) {
			m.entries[5].Body = forged(m.entries[5])
			m.entries[5].Digest = audit.DigestOf(m.entries[5].Body)
		}, true, "event 6 does not follow the event before it"},
		"changed_digest_alone": {func(_ *testing.T, m *memory) {
			m.entries[5].Digest[0]++
		}, true, "event 6 was changed after it was written"},
		"changed_id": {func(_ *testing.T, m *memory) {
			m.entries[5].ID = "another"
		}, true, "event 6 does not carry its own id"},
		"changed_body_digest_and_all_links_behind": {func(_ *testing.T, m *memory) {
			m.entries[5].Body = forged(m.entries[5])
			link := m.entries[4].Link
			for i := 5; i < len(m.entries); i++ {
				m.entries[i].Digest = audit.DigestOf(m.entries[i].Body)
				link = audit.LinkOf(link, m.entries[i].Digest)
				m.entries[i].Link = link
			}
		}, true, "the events up to position 8 are not those that seal 2 signed"},
		"swapped_events": {func(_ *testing.T, m *memory) {
			m.entries[5], m.entries[6] = m.entries[6], m.entries[5]
			m.entries[5].Position, m.entries[6].Position = 6, 7
		}, true, "event 6 does not follow the event before it"},
		"removed_event": {func(_ *testing.T, m *memory) {
			m.entries = slices.Delete(m.entries, 5, 6)
		}, true, "events 6 to 6 are missing"},
		"removed_last_event_of_a_seal": {func(_ *testing.T, m *memory) {
			m.entries = slices.Delete(m.entries, 7, 8)
		}, true, "events 8 to 8 are missing"},
		"removed_seal": {func(_ *testing.T, m *memory) {
			m.seals = slices.Delete(m.seals, 1, 2)
		}, true, "seals 2 to 2 are missing"},
		"removed_beginning": {func(_ *testing.T, m *memory) {
			m.seals, m.entries = m.seals[1:], m.entries[4:]
		}, true, "seals 1 to 1 are missing"},
		"removed_last_seal": {func(_ *testing.T, m *memory) {
			m.seals = m.seals[:2]
		}, true, "events from position 9 on have no seal: seals were removed"},
		"changed_seal": {func(_ *testing.T, m *memory) {
			m.seals[1].At = m.seals[1].At.Add(time.Second)
		}, true, "seal 2 is not signed by a trusted key"},
		"cut_tail": {func(_ *testing.T, m *memory) {
			m.seals, m.entries = m.seals[:2], m.entries[:8]
		}, false, "the exported head names seal 3, event 12: the tail was cut off"},
		"emptied_record": {func(_ *testing.T, m *memory) {
			m.seals, m.entries = nil, nil
		}, false, "the tail was cut off"},
		"written_anew_with_the_same_key": {func(t *testing.T, m *memory) {
			anew := sealed(t, signer, 5)
			m.seals, m.entries = anew.seals, anew.entries
		}, false, "seal 3 differs from the exported head: the chain was written anew"},
		"written_anew_under_fewer_seals": {func(t *testing.T, m *memory) {
			anew := &memory{}
			record(t, anew, 16)
			seal(anew, signer, 1000)
			m.seals, m.entries = anew.seals, anew.entries
		}, false, "event 12 differs from the exported head: the chain was written anew"},
		"the_same_events_under_fewer_seals": {func(t *testing.T, m *memory) {
			for _, e := range m.entries {
				var again audit.Event
				if err := json.Unmarshal(e.Body, &again); err != nil {
					t.Fatal(err)
				}
				m.waiting = append(m.waiting, again)
			}
			m.seals, m.entries = nil, nil
			seal(m, signer, 1000)
		}, false, "seal 3, which the exported head names, is missing, and no event: the seals were written anew"},
		"written_anew_with_another_key": {func(t *testing.T, m *memory) {
			anew := sealed(t, thief, 3)
			m.seals, m.entries = anew.seals, anew.entries
		}, true, "seal 1 is not signed by a trusted key (it names key " + thief.KeyID() + ")"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := sealed(t, signer, 3)
			head := verify(t, m, signer, nil).Head
			c.tamper(t, m)
			if r := verify(t, m, signer, head); !strings.Contains(problems(r), c.says) {
				t.Errorf("with the head: want %q in\n%s", c.says, problems(r))
			}
			without := problems(verify(t, m, signer, nil))
			if c.headless && !strings.Contains(without, c.says) {
				t.Errorf("without the head: want %q in\n%s", c.says, without)
			}
			if !c.headless && without != "" {
				t.Errorf("the chain alone cannot show this, yet it says\n%s", without)
			}
		})
	}
}

func TestVerify_names_a_missing_seal_that_the_head_means(t *testing.T) {
	t.Parallel()
	signer := newSigner(t)
	m := sealed(t, signer, 3)
	head := verify(t, m, signer, nil).Head
	grow(t, m, signer, 1)
	m.seals = slices.Delete(m.seals, 2, 3)
	if r := verify(t, m, signer, head); !strings.Contains(problems(r), "seal 3, which the exported head names, is missing") {
		t.Error(problems(r))
	}
}

func TestVerify_trusts_the_keys_of_before_a_rotation(t *testing.T) {
	t.Parallel()
	old, fresh := newSigner(t), newSigner(t)
	m := sealed(t, old, 1)
	grow(t, m, fresh, 1)
	r, err := audit.Verify(context.Background(), m, audit.Verification{Keys: []ed25519.PublicKey{old.Public(), fresh.Public()}})
	if err != nil || problems(r) != "" {
		t.Errorf("report %+v, %v", r, err)
	}
}

func TestOpenSigner(t *testing.T) {
	t.Parallel()
	t.Run("opens_the_same_key_again", func(t *testing.T) {
		t.Parallel()
		keys, sealer := &memory{}, newSealer(t)
		first, err := audit.OpenSigner(context.Background(), keys, sealer, start)
		if err != nil {
			t.Fatal(err)
		}
		second, err := audit.OpenSigner(context.Background(), keys, sealer, start)
		if err != nil || !first.Public().Equal(second.Public()) || first.KeyID() != second.KeyID() {
			t.Errorf("two keys, %v", err)
		}
	})
	t.Run("refuses_under_another_master_key", func(t *testing.T) {
		t.Parallel()
		keys := &memory{}
		if _, err := audit.OpenSigner(context.Background(), keys, newSealer(t), start); err != nil {
			t.Fatal(err)
		}
		if _, err := audit.OpenSigner(context.Background(), keys, newSealer(t), start); err == nil {
			t.Error("opened")
		}
	})
}

func TestEvent_With_leaves_the_original_alone(t *testing.T) {
	t.Parallel()
	e := event(1).With("a", "1")
	_ = e.With("b", "2")
	if len(e.Detail) != 1 {
		t.Errorf("detail %v", e.Detail)
	}
}
