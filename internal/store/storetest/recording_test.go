package storetest_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func TestRecordings(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s, sessions, here := t.Context(), store.Recordings{DB: db}, store.Remotes{DB: db}, newScene(t, db, 2)
		is(t, s.BeginRecording(ctx, newID(), start), remote.ErrUnknown)
		x := addRemote(t, sessions, here.session(remote.Waiting, 0), remote.Digests{})
		must(t, s.BeginRecording(ctx, x.ID, start))
		is(t, s.BeginRecording(ctx, x.ID, start), remote.ErrRecorded)
		x = becomes(t, sessions, x.ID, remote.Active, "n1")

		// Hashes of segments: once each, with the bytes of all.
		first := remote.Piece{Session: x.ID, Track: "terminal", Number: 1, Name: "terminal.000001.cast", Bytes: 100, Digest: audit.Hash{1}, Blocks: []byte{1, 2}, Closed: start}
		second := remote.Piece{Session: x.ID, Track: "terminal", Number: 2, Name: "terminal.000002.cast", Bytes: 50, Digest: audit.Hash{2}, Closed: start.Add(time.Second)}
		events := remote.Piece{Session: x.ID, Track: "events", Number: 1, Name: "events.000001.jsonl", Bytes: 7, Digest: audit.Hash{3}, Closed: start}
		for _, p := range []remote.Piece{second, first, events, first} {
			must(t, s.AddPiece(ctx, p))
		}
		other := first
		other.Digest[0]++
		if err := s.AddPiece(ctx, other); !fault.Is(err, fault.Conflict) {
			t.Errorf("another hash of the same segment: %v", err)
		}
		if err := s.AddPiece(ctx, remote.Piece{Session: newID(), Track: "t", Number: 1}); err == nil {
			t.Error("a segment of no recording was kept")
		}
		pieces, err := s.Pieces(ctx, x.ID)
		must(t, err)
		if len(pieces) != 3 || pieces[0].Name != events.Name || pieces[1].Digest != first.Digest || !bytes.Equal(pieces[1].Blocks, first.Blocks) || pieces[2].Closed != second.Closed {
			t.Errorf("%+v", pieces)
		}

		for _, ref := range []string{x.ID, fmt.Sprint(x.Number), x.Code} {
			r, err := s.Recording(ctx, ref)
			must(t, err)
			if r.Session != x.ID || r.Number != x.Number || r.User.ID != x.User.ID || r.Host != x.Host || r.Bytes != 157 || !r.Ended.IsZero() || r.Manifest != nil || r.Credential != x.Credential {
				t.Errorf("%+v", r)
			}
		}
		for _, ref := range []string{"", "0", "-1", "99999", newID(), "a\x00b"} {
			_, err := s.Recording(ctx, ref)
			is(t, err, remote.ErrNoRecording)
		}

		is(t, s.FinishRecording(ctx, newID(), nil, start, []byte("{}"), ""), remote.ErrNoRecording)
		must(t, s.FinishRecording(ctx, x.ID, nil, start.Add(time.Hour), []byte("signed"), "node lost"))
		r, err := s.Recording(ctx, x.ID)
		must(t, err)
		if string(r.Manifest) != "signed" || r.Cut != "node lost" || !r.Ended.Equal(start.Add(time.Hour)) {
			t.Errorf("%+v", r)
		}
		for _, before := range [][]byte{nil, []byte("forged")} { // of two nodes that sign at a time one does
			is(t, s.FinishRecording(ctx, x.ID, before, start, []byte("late"), ""), remote.ErrSigned)
		}
		must(t, s.FinishRecording(ctx, x.ID, []byte("signed"), start, []byte("signed anew"), ""))
		r, err = s.Recording(ctx, x.ID)
		must(t, err)
		if string(r.Manifest) != "signed anew" || r.Cut != "" || !r.Ended.Equal(start) || r.Settled {
			t.Errorf("%+v", r)
		}
		is(t, s.SettleRecording(ctx, x.ID, []byte("signed")), remote.ErrSigned)
		must(t, s.SettleRecording(ctx, x.ID, []byte("signed anew")))
		if r, err := s.Recording(ctx, x.ID); err != nil || !r.Settled {
			t.Errorf("%+v, %v", r, err)
		}
		must(t, s.FinishRecording(ctx, x.ID, []byte("signed anew"), start, []byte("signed once more"), ""))
		if r, err := s.Recording(ctx, x.ID); err != nil || r.Settled {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestRecordings_lists_what_somebody_may_see(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s, sessions, here := t.Context(), store.Recordings{DB: db}, store.Remotes{DB: db}, newScene(t, db, 2)
		var ids []string
		for i := range 5 {
			x := addRemote(t, sessions, here.session(remote.Waiting, i%2), remote.Digests{})
			must(t, s.BeginRecording(ctx, x.ID, start))
			ids = append(ids, x.ID)
		}
		must(t, s.FinishRecording(ctx, ids[0], nil, start, []byte("x"), ""))
		list := func(which remote.Which, want ...int) {
			t.Helper()
			var got []string
			for w := page.Behind("", 2); ; {
				p, err := s.Recordings(ctx, which, w)
				must(t, err)
				for _, r := range p.Items {
					got = append(got, r.Session)
				}
				if !p.HasMore() {
					break
				}
				w = page.Behind(p.Next, 2)
			}
			var expected []string
			for _, i := range want {
				expected = append(expected, ids[i])
			}
			if fmt.Sprint(got) != fmt.Sprint(expected) {
				t.Errorf("%+v lists %v, want %v", which, got, expected)
			}
		}
		list(remote.Which{Seen: remote.Seen{AllDevices: true}}, 4, 3, 2, 1, 0)
		list(remote.Which{Seen: remote.Seen{AllCredentials: true}}, 4, 3, 2, 1, 0)
		list(remote.Which{Active: true, Seen: remote.Seen{AllDevices: true}}, 4, 3, 2, 1)
		list(remote.Which{User: here.user.ID, Seen: remote.Seen{AllDevices: true}}, 4, 3, 2, 1, 0)
		list(remote.Which{User: newID(), Seen: remote.Seen{AllDevices: true}})
		list(remote.Which{Device: here.cred[0].Device.ID, Seen: remote.Seen{AllDevices: true}}, 4, 3, 2, 1, 0)
		list(remote.Which{})
		list(remote.Which{Seen: remote.Seen{Credentials: []string{here.cred[1].ID, newID()}}}, 3, 1)
		list(remote.Which{Seen: remote.Seen{Devices: []string{newID()}, Credentials: []string{here.cred[1].ID}}}, 3, 1)
		list(remote.Which{Seen: remote.Seen{Devices: []string{here.cred[0].Device.ID}}}, 4, 3, 2, 1, 0)
	})
}

// Retention erases what is old, once, and never what is held; a hold and the sweep of two nodes meet in one transaction each.
func TestRecordings_retention(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		ctx, s, here := t.Context(), store.Recordings{DB: one}, newScene(t, one, 1)
		add := func(ended time.Time) string {
			x := addRemote(t, store.Remotes{DB: one}, here.session(remote.Waiting, 0), remote.Digests{})
			must(t, s.BeginRecording(ctx, x.ID, start))
			if !ended.IsZero() {
				must(t, s.FinishRecording(ctx, x.ID, nil, ended, []byte("m"), ""))
			}
			return x.ID
		}
		old, held, young, living := add(start), add(start), add(start.Add(48*time.Hour)), add(time.Time{})
		events := countEvents(t, one)
		must(t, s.HoldRecording(ctx, held, true, event()))
		must(t, s.HoldRecording(ctx, held, true, event())) // nothing changes
		is(t, s.HoldRecording(ctx, newID(), true, event()), remote.ErrNoRecording)
		if n := countEvents(t, one) - events; n != 1 {
			t.Errorf("%d events of one hold", n)
		}
		stale := func() []string {
			t.Helper()
			all, err := s.Stale(ctx, start.Add(24*time.Hour), 10)
			must(t, err)
			var ids []string
			for _, r := range all {
				ids = append(ids, r.Session)
			}
			return ids
		}
		if got := stale(); len(got) != 1 || got[0] != old {
			t.Errorf("stale: %v, want %s and not %s, %s, %s", got, old, held, young, living)
		}

		var wait sync.WaitGroup
		marked := make([]bool, 8)
		for i := range marked {
			wait.Go(func() {
				var err error
				marked[i], err = store.Recordings{DB: []*store.DB{one, two}[i%2]}.EraseRecording(t.Context(), old, start.Add(72*time.Hour), event())
				if err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		for i, did := range marked {
			if !did {
				t.Errorf("%d was told that it is held", i)
			}
		}
		if n := countEvents(t, one) - events; n != 2 {
			t.Errorf("%d events of one erasure", n-1)
		}
		if did, err := s.EraseRecording(ctx, held, start, event()); err != nil || did {
			t.Errorf("a held recording was erased: %v", err)
		}
		is(t, s.HoldRecording(ctx, old, true, event()), remote.ErrErased)
		if got := stale(); len(got) != 1 { // begun, and not finished
			t.Errorf("%v", got)
		}
		must(t, s.Erased(ctx, old))
		if got := stale(); len(got) != 0 {
			t.Errorf("%v", got)
		}
		r, err := s.Recording(ctx, old)
		must(t, err)
		if r.Deleted.IsZero() || string(r.Manifest) != "m" {
			t.Errorf("%+v", r)
		}
		must(t, s.HoldRecording(ctx, held, false, event()))
		if got := stale(); len(got) != 1 || got[0] != held {
			t.Errorf("%v", got)
		}
	})
}
