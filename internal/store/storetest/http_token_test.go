package storetest_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/recent"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func httpToken(scope access.Resource, handle int) token.Access {
	return token.Access{
		ID: newID(), Handle: strconv.Itoa(handle), Scope: scope, Name: "ci", Permissions: []token.Permission{token.RepoWrite, token.ProjectRead},
		Digest: sha256.Sum256([]byte{byte(handle)}), Creator: "dana", Created: start,
	}
}

func handlesOf(p page.Page[token.Access]) (all []string) {
	for _, t := range p.Items {
		all = append(all, t.Handle)
	}
	return all
}

func TestHTTPTokens(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.HTTPTokens{DB: db}
		dana := addUser(t, db, "dana")
		addProject(t, db, "ops")
		infra := addRepo(t, db, "ops", "infra")
		mine := httpToken(token.OfUser(dana.ID), 100_000_000_002)
		mine.Expires = start.Add(time.Hour)
		must(t, s.Insert(ctx, mine, 100, event()))
		must(t, s.Insert(ctx, httpToken(infra, 100_000_000_001), 100, event()))
		must(t, s.Insert(ctx, httpToken(access.Project("ops"), 100_000_000_003), 100, event()))

		got, err := s.ByHandle(ctx, mine.Handle)
		must(t, err)
		if got.ID != mine.ID || got.Digest != mine.Digest || got.Scope.Kind != access.UserKind || got.Scope.ID != dana.ID || got.Name != "ci" || !slices.Equal(got.Permissions, mine.Permissions) ||
			got.Creator != "dana" || !got.Created.Equal(start) || !got.Expires.Equal(mine.Expires) || !got.Revoked.IsZero() || !got.LastUsed.IsZero() ||
			got.UserName != "dana" || got.UserEmail != "dana@example.test" || got.Shut {
			t.Errorf("%+v", got)
		}
		if of, err := s.ByHandle(ctx, "100000000001"); err != nil || of.Shut || of.UserName != "" || len(of.Scope.Parents) != 1 || of.Scope.Parents[0].ID != "ops" {
			t.Errorf("%+v, %v", of, err)
		}
		if _, err := s.ByHandle(ctx, "100000000009"); !errors.Is(err, token.ErrNoAccess) {
			t.Error(err)
		}
		if err := s.Insert(ctx, httpToken(infra, 100_000_000_002), 100, event()); !errors.Is(err, token.ErrHandleTaken) {
			t.Error(err)
		}
		for _, gone := range []access.Resource{token.OfUser("nobody"), access.Project("gone"), access.Repo("ops", "gone")} {
			if err := s.Insert(ctx, httpToken(gone, 100_000_000_008), 100, event()); !fault.Is(err, fault.NotFound) {
				t.Error(gone, err)
			}
		}

		// Last uses never move back.
		must(t, s.MarkUsed(ctx, []recent.Use{{ID: mine.ID, At: start.Add(2), Address: "192.0.2.1", Door: "git"}, {ID: "gone", At: start}}))
		must(t, s.MarkUsed(ctx, []recent.Use{{ID: mine.ID, At: start, Address: "192.0.2.2", Door: "bitbucket"}}))
		if got, err := s.ByHandle(ctx, mine.Handle); err != nil || got.LastAddress != "192.0.2.1" || got.LastDoor != "git" || got.LastUsed.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}

		// Rule F12: how the owner stands comes with the token.
		storetest.Write(t, db, `UPDATE users SET disabled = TRUE`)
		if got, err := s.ByHandle(ctx, mine.Handle); err != nil || !got.Shut {
			t.Errorf("%+v, %v", got, err)
		}
		storetest.Write(t, db, `UPDATE users SET disabled = FALSE`, `UPDATE accounts SET disabled = TRUE`)
		if got, err := s.ByHandle(ctx, mine.Handle); err != nil || !got.Shut {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := s.ByHandle(ctx, "100000000003"); err != nil || got.Shut { // acts for nobody
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestHTTPTokens_are_changed_and_revoked_once(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.HTTPTokens{DB: db}
		addProject(t, db, "ops")
		one := httpToken(access.Project("ops"), 100_000_000_001)
		must(t, s.Insert(ctx, one, 100, event()))
		events := func() int64 { return storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`) }
		before := events()

		no := errors.New("no")
		if _, err := s.Change(ctx, one.ID, func(token.Access) (token.Access, error) { return token.Access{}, no }, event()); !errors.Is(err, no) {
			t.Error(err)
		}
		_, err := s.Change(ctx, one.ID, func(was token.Access) (token.Access, error) {
			was.Name, was.Permissions, was.Expires = "deploy", []token.Permission{token.RepoRead}, start.Add(time.Hour)
			was.Handle, was.Creator = "100000000009", "mallory" // are not for changes
			return was, nil
		}, event())
		must(t, err)
		got, err := s.ByHandle(ctx, one.Handle)
		must(t, err)
		if got.Name != "deploy" || !slices.Equal(got.Permissions, []token.Permission{token.RepoRead}) || !got.Expires.Equal(start.Add(time.Hour)) || got.Creator != "dana" {
			t.Errorf("%+v", got)
		}

		must(t, s.Revoke(ctx, one.ID, start.Add(2*time.Second), event()))
		if err := s.Revoke(ctx, one.ID, start.Add(9*time.Second), event()); !errors.Is(err, token.ErrNoAccess) {
			t.Error(err)
		}
		if _, err := s.Change(ctx, one.ID, func(was token.Access) (token.Access, error) { return was, nil }, event()); !errors.Is(err, token.ErrNoAccess) {
			t.Error(err)
		}
		if got, err := s.ByHandle(ctx, one.Handle); err != nil || !got.Revoked.Equal(start.Add(2*time.Second)) {
			t.Errorf("%+v, %v", got, err)
		}
		if n := events() - before; n != 2 {
			t.Errorf("%d events", n)
		}
	})
}

func TestHTTPTokens_are_listed_while_they_are_good(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.HTTPTokens{DB: db}
		dana := addUser(t, db, "dana")
		addProject(t, db, "ops")
		all := map[int]token.Access{}
		add := func(scope access.Resource, n int, expires time.Duration) {
			one := httpToken(scope, 100_000_000_000+n)
			if expires != 0 {
				one.Expires = start.Add(expires)
			}
			must(t, s.Insert(ctx, one, 100, event()))
			all[n] = one
		}
		mine := token.OfUser(dana.ID)
		add(mine, 5, 0)
		add(mine, 3, time.Hour)
		add(mine, 4, 2*time.Hour)
		add(mine, 1, 0)
		add(access.Project("ops"), 2, time.Hour)
		must(t, s.Revoke(ctx, all[1].ID, start, event()))

		for name, c := range map[string]struct {
			read  func() (page.Page[token.Access], error)
			want  []string
			total int64
		}{
			"by handle": {func() (page.Page[token.Access], error) { return s.OfScope(ctx, mine, start, page.Of(0, 10)) }, []string{"3", "4", "5"}, 3},
			"a page":    {func() (page.Page[token.Access], error) { return s.OfScope(ctx, mine, start, page.Of(1, 1)) }, []string{"4"}, 3},
			"the very moment": {func() (page.Page[token.Access], error) {
				return s.OfScope(ctx, mine, start.Add(time.Hour), page.Of(0, 10))
			}, []string{"4", "5"}, 2},
			"expiring": {func() (page.Page[token.Access], error) {
				return s.Expiring(ctx, mine, start, start.Add(time.Hour), page.Of(0, 10))
			}, []string{"3"}, 1},
			"expiring everywhere": {func() (page.Page[token.Access], error) {
				return s.Expiring(ctx, access.Installation, start, start.Add(3*time.Hour), page.Of(0, 10))
			}, []string{"2", "3", "4"}, 3},
			"expired already": {func() (page.Page[token.Access], error) {
				return s.Expiring(ctx, mine, start.Add(time.Hour), start.Add(time.Hour), page.Of(0, 10))
			}, nil, 0},
		} {
			p, err := c.read()
			must(t, err)
			var got []string
			for _, h := range handlesOf(p) {
				got = append(got, h[len(h)-1:])
			}
			if !slices.Equal(got, c.want) || p.Total != c.total {
				t.Errorf("%s: %v of %d, want %v of %d", name, got, p.Total, c.want, c.total)
			}
		}
	})
}

// However many calls come at once, a scope has never more tokens than it may; those that expired or were revoked do not count.
func TestHTTPTokens_are_never_more_than_allowed(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		ctx := t.Context()
		addProject(t, one, "ops")
		infra := addRepo(t, one, "ops", "infra")
		var wg sync.WaitGroup
		errs := make([]error, 12)
		for i := range errs {
			s := store.HTTPTokens{DB: []*store.DB{one, two}[i%2]}
			wg.Go(func() { errs[i] = s.Insert(ctx, httpToken(infra, 100_000_000_000+i), 5, event()) })
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else if !errors.Is(err, token.ErrTooMany) {
				t.Error(err)
			}
		}
		if n := storetest.Count(t, one, `SELECT COUNT(*) FROM http_tokens`); made != 5 || n != 5 {
			t.Errorf("%d made, %d there", made, n)
		}
		s := store.HTTPTokens{DB: two}
		must(t, s.Insert(ctx, httpToken(access.Project("ops"), 100_000_000_050), 5, event())) // another scope
		storetest.Write(t, two, fmt.Sprintf(`UPDATE http_tokens SET expires = %d WHERE scope_kind = 'repo'`, store.Micros(start)))
		must(t, s.Insert(ctx, httpToken(infra, 100_000_000_051), 1, event()))
		if err := s.Insert(ctx, httpToken(infra, 100_000_000_052), 1, event()); !errors.Is(err, token.ErrTooMany) {
			t.Error(err)
		}
		storetest.Write(t, two, `UPDATE http_tokens SET revoked = 1`)
		must(t, s.Insert(ctx, httpToken(infra, 100_000_000_053), 1, event()))
	})
}

// Tokens of projects and repositories die with them.
func TestHTTPTokens_end_with_their_place(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.HTTPTokens{DB: db}
		addProject(t, db, "ops")
		infra := addRepo(t, db, "ops", "infra")
		must(t, s.Insert(ctx, httpToken(infra, 100_000_000_001), 100, event()))
		must(t, s.Insert(ctx, httpToken(access.Project("ops"), 100_000_000_002), 100, event()))
		must(t, store.Repos{DB: db}.Delete(ctx, "infra", event()))
		if _, err := s.ByHandle(ctx, "100000000001"); !errors.Is(err, token.ErrNoAccess) {
			t.Error(err)
		}
		must(t, store.Projects{DB: db}.Delete(ctx, "ops", event()))
		if _, err := s.ByHandle(ctx, "100000000002"); !errors.Is(err, token.ErrNoAccess) {
			t.Error(err)
		}
		// Should a row survive what it was for, it opens nothing all the same.
		storetest.Write(t, db, `INSERT INTO http_tokens (id, handle, scope_kind, scope_id, name, permissions, digest, creator, created, last_address, last_door)
			VALUES ('left', '100000000003', 'repo', 'infra', '', '[]', '', '', 0, '', '')`)
		if got, err := s.ByHandle(ctx, "100000000003"); err != nil || !got.Shut {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
