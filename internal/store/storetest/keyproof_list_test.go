package storetest_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

// TestKeyproofList_is_what_a_plain_filter_gives compares pages and totals with a filter in memory, for
// random sessions, statuses, windows and moments.
func TestKeyproofList_is_what_a_plain_filter_gives(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := proofs(t, db)
		all := randomSessions(t, s)
		rapid.Check(t, func(r *rapid.T) {
			f := randomFilter(r)
			want := plainFilter(all, f)
			got, err := s.List(t.Context(), f)
			if err != nil {
				r.Fatal(err)
			}
			if got.Total != int64(len(want)) {
				r.Fatalf("%+v: total %d, want %d", f, got.Total, len(want))
			}
			from := min(f.Window.Offset, got.Total)
			if ids, page := idsOf(got.Items), idsOf(want[from:min(from+f.Window.Limit, got.Total)]); !slices.Equal(ids, page) {
				r.Fatalf("%+v:\npage %v\nwant %v", f, ids, page)
			}
		})
	})
}

// randomSessions inserts sixty sessions of two kinds, of which some were ended by a change.
func randomSessions(t *testing.T, s store.Keyproofs) []keyproof.Session {
	t.Helper()
	statuses := []keyproof.Status{keyproof.Pending, keyproof.Pending, keyproof.Verified, keyproof.Failed, keyproof.Expired, keyproof.Completed}
	var all []keyproof.Session
	for n := range 60 {
		is := newSession(t)
		is.Created = start.Add(time.Duration(n/3) * time.Second) // three of one moment: then the id decides
		is.Kind = []keyproof.Kind{keyproof.Verify, keyproof.Verify, keyproof.Collect}[n%3]
		if n%4 == 0 {
			name := fmt.Sprint("user ", n%8)
			is.ExternalID = &name
		}
		if n%5 != 0 {
			is.Expires = start.Add(time.Duration(n*7%40) * time.Minute)
		}
		insertSession(t, s, is)
		if status := statuses[n*5%7%6]; status != keyproof.Pending {
			ended, err := s.Change(t.Context(), is.ID, func(was keyproof.State) (keyproof.Change, error) {
				was.Session.Status = status
				return keyproof.Change{Session: &was.Session}, nil
			})
			must(t, err)
			is = ended
		}
		all = append(all, is)
	}
	return all
}

func randomFilter(r *rapid.T) keyproof.Filter {
	f := keyproof.Filter{
		Project: "p", Kind: rapid.SampledFrom([]keyproof.Kind{keyproof.Verify, keyproof.Collect}).Draw(r, "kind"),
		Statuses: rapid.SliceOfDistinct(rapid.SampledFrom([]keyproof.Status{
			keyproof.Pending, keyproof.Verified, keyproof.Failed, keyproof.Expired, keyproof.Completed,
		}), func(s keyproof.Status) keyproof.Status { return s }).Draw(r, "statuses"),
		Window: page.Of(rapid.Int64Range(0, 45).Draw(r, "offset"), rapid.Int64Range(1, 20).Draw(r, "limit")),
		Now:    start.Add(time.Duration(rapid.IntRange(-1, 41).Draw(r, "minutes")) * time.Minute),
	}
	if rapid.Bool().Draw(r, "external") {
		name := rapid.SampledFrom([]string{"user 0", "user 4", "nobody", ""}).Draw(r, "external id")
		f.ExternalID = &name
	}
	return f
}

func plainFilter(all []keyproof.Session, f keyproof.Filter) []keyproof.Session {
	var found []keyproof.Session
	for _, s := range all {
		wanted := len(f.Statuses) == 0 || slices.Contains(f.Statuses, s.At(f.Now))
		named := f.ExternalID == nil || (s.ExternalID != nil && *s.ExternalID == *f.ExternalID)
		if s.Kind == f.Kind && wanted && named {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b keyproof.Session) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.ID, a.ID))
	})
	return found
}

func idsOf(sessions []keyproof.Session) []string {
	ids := make([]string, len(sessions))
	for i, s := range sessions {
		ids[i] = s.ID
	}
	return ids
}

// fill makes a project with n verify sessions: one in ten pending, some overdue, the rest spread over
// the other statuses. It speaks SQL that both databases read, since a million verbs would take an hour.
const fill = `WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $1)
	INSERT INTO proof_sessions (id, project, kind, identifier, status, external_id, match_all_keys, multi_key, multi_connection, must_confirm,
		max_attempts, attempts, created, updated, expires, hooks, keys)
	SELECT '01900000-0000-7000-8000-0000' || CAST(10000000 + i AS TEXT), 'p', 'verify', 'identifier' || CAST(i AS TEXT),
		CASE WHEN i % 10 = 0 THEN 'pending' WHEN i % 10 = 1 THEN 'failed' WHEN i % 10 < 4 THEN 'expired' ELSE 'verified' END,
		CASE WHEN i % 4 = 0 THEN 'user ' || CAST(i % 1000 AS TEXT) END, FALSE, FALSE, FALSE, FALSE, 3, 0, i * 1000, i * 1000,
		CASE WHEN i % 10 = 0 AND i % 50 <> 0 THEN CASE WHEN i % 10000 = 10 THEN 1 ELSE 9000000000000000 END END,
		0, '[{"id":"01900000-0000-7000-8000-000000000000","external_id":null,"name":"laptop","public":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKMD9EbW6ohUc9AFmLbCwpnhBKFXYi9YnwCFpUJNRJrf"}]'
	FROM n`

const fillCounts = `INSERT INTO proof_counts (project, kind, shard, pending, verified, failed, completed, expired)
	SELECT project, kind, 0, SUM(CASE WHEN status = 'pending' THEN 1 ELSE 0 END), SUM(CASE WHEN status = 'verified' THEN 1 ELSE 0 END),
		SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END), 0, SUM(CASE WHEN status = 'expired' THEN 1 ELSE 0 END)
	FROM proof_sessions GROUP BY project, kind`

// TestList_of_a_million_sessions holds the figure for pages with an exact total.
func TestList_of_a_million_sessions(t *testing.T) {
	t.Parallel()
	if os.Getenv("GATEHOUSE_NIGHTLY") == "" {
		t.Skip("takes a minute: set GATEHOUSE_NIGHTLY")
	}
	const n = 1_000_000
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		addProject(t, db, "p")
		must(t, db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
			if _, err := tx.ExecContext(ctx, fill, n); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, fillCounts)
			return err
		}))
		if db.ForUpdate() != "" { // PostgreSQL does by itself, soon after so many inserts, what may not run in a transaction
			must(t, db.Read(t.Context(), func(ctx context.Context, tx store.Tx) error {
				_, err := tx.ExecContext(ctx, `VACUUM (ANALYZE) proof_sessions`)
				return err
			}))
		}
		sessions := store.Keyproofs{DB: db}
		external := "user 12"
		for _, c := range []struct {
			name     string
			statuses []keyproof.Status
			external *string
		}{
			{"all", nil, nil},
			{"pending", []keyproof.Status{keyproof.Pending}, nil},
			{"verified", []keyproof.Status{keyproof.Verified}, nil},
			{"expired", []keyproof.Status{keyproof.Expired}, nil},
			{"failed or expired", []keyproof.Status{keyproof.Failed, keyproof.Expired}, nil},
			{"external id", nil, &external},
			{"external id, expired", []keyproof.Status{keyproof.Expired}, &external},
		} {
			f := keyproof.Filter{
				Project: "p", Kind: keyproof.Verify, Statuses: c.statuses, ExternalID: c.external, Now: time.UnixMicro(2),
				Window: page.Window{Limit: 100},
			}
			first, err := sessions.List(t.Context(), f)
			must(t, err)
			for _, offset := range []int64{0, first.Total / 2, first.Total - 100} {
				f.Window.Offset = offset
				var took []time.Duration
				for range 7 {
					begin := time.Now()
					p, err := sessions.List(t.Context(), f)
					must(t, err)
					took = append(took, time.Since(begin))
					if int64(len(p.Items)) != min(100, p.Total) {
						t.Errorf("%s: %d items of %d at %d", c.name, len(p.Items), p.Total, offset)
					}
				}
				slices.Sort(took)
				t.Logf("%-22s total %7d offset %7d: %v (slowest %v)", c.name, first.Total, offset, took[3], took[6])
				limit := 100 * time.Millisecond
				if offset > 100 && offset < first.Total-100 {
					limit = 500 * time.Millisecond // half a million index entries are walked, from whichever end is nearer
				}
				if took[3] > limit {
					t.Errorf("%s at offset %d takes %v, want at most %v", c.name, offset, took[3], limit)
				}
			}
			for _, after := range []string{"", "999000000/z", "500000000/z", "1000000/z"} { // by key it costs the same wherever it lies
				f.Window = page.Behind(after, 100)
				var took []time.Duration
				for range 7 {
					begin := time.Now()
					_, err := sessions.List(t.Context(), f)
					must(t, err)
					took = append(took, time.Since(begin))
				}
				slices.Sort(took)
				t.Logf("%-22s behind %s: %v (slowest %v)", c.name, after, took[3], took[6])
				if took[3] > 30*time.Millisecond { // 4 ms where nothing else runs; walking half a million entries takes ten times this
					t.Errorf("%s behind %q takes %v, want at most 30 ms", c.name, after, took[3])
				}
			}
		}
	})
}
