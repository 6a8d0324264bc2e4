package storetest_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/recent"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func newPublicKey(t testing.TB) sshkey.Key {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sshkey.FromWire(wire)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func userKey(t testing.TB, user string) sshkey.Registered {
	t.Helper()
	return sshkey.Registered{ID: newID(), Key: newPublicKey(t), Role: sshkey.UserKey, User: user, Label: "Straße 1", State: sshkey.Active, Created: start}
}

func accessKey(t testing.TB, at ...access.Resource) sshkey.Registered {
	t.Helper()
	r := sshkey.Registered{ID: newID(), Key: newPublicKey(t), Role: sshkey.AccessKey, State: sshkey.Active, Created: start}
	for _, place := range at {
		r.Grants = append(r.Grants, sshkey.Grant{Place: place, Permission: sshkey.Read, Created: start})
	}
	return r
}

func insertKey(t testing.TB, s store.SSHKeys, r sshkey.Registered) sshkey.Registered {
	t.Helper()
	r, err := s.Insert(t.Context(), r, event())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func addRepo(t *testing.T, db *store.DB, project, id string) access.Resource {
	t.Helper()
	storetest.Write(t, db, fmt.Sprintf(`INSERT INTO repos (id, number, project, slug, name, default_branch, public, created, updated)
		SELECT '%s', COUNT(*) + 1, '%s', '%s', '%s', 'main', FALSE, 0, 0 FROM repos`, id, project, id, id))
	return access.Repo(project, id)
}

func TestSSHKeys(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.SSHKeys{DB: db}
		dana := addUser(t, db, "dana")
		one := userKey(t, dana.ID)
		one.ExpiryDays, one.Expires, one.Unsafe = 30, start.Add(30*24*time.Hour), true
		one = insertKey(t, s, one)

		got, err := s.ByDigest(ctx, one.Key.Fingerprint(), start)
		must(t, err)
		if got.ID != one.ID || got.Number != one.Number || !got.Key.Equal(one.Key) || got.User != dana.ID || got.UserName != "dana" || got.UserShut || got.Label != one.Label ||
			got.State != sshkey.Active || !got.Unsafe || got.ExpiryDays != 30 || !got.Expires.Equal(one.Expires) || !got.Unproven() || got.Role != sshkey.UserKey {
			t.Errorf("%+v", got)
		}
		// Rule W11: the very moment of expiry is too late, whoever asks.
		for at, there := range map[time.Time]bool{one.Expires.Add(-time.Microsecond): true, one.Expires: false} {
			_, byDigest := s.ByDigest(ctx, one.Key.Fingerprint(), at)
			_, byID := s.ByID(ctx, one.ID, at)
			_, byNumber := s.ByNumber(ctx, one.Number, at)
			listed, err := s.OfUser(ctx, dana.ID, at, page.Of(0, 10))
			must(t, err)
			for _, err := range []error{byDigest, byID, byNumber} {
				if there != (err == nil) || !there && !errors.Is(err, sshkey.ErrUnknown) {
					t.Errorf("%v: %v", at, err)
				}
			}
			if there != (listed.Total == 1) || there != (len(listed.Items) == 1) {
				t.Errorf("%v: %+v", at, listed)
			}
		}
		// A digest is taken by whatever role, until it expires.
		again := accessKey(t, access.Project("p"))
		again.Key = one.Key
		if _, err := s.Insert(ctx, again, event()); !errors.Is(err, sshkey.ErrOnFile) {
			t.Error(err)
		}
		again.Created = one.Expires
		again = insertKey(t, s, again)
		if again.Number <= one.Number {
			t.Errorf("number %d after %d", again.Number, one.Number)
		}
		if got, err := s.ByDigest(ctx, one.Key.Fingerprint(), again.Created); err != nil || got.ID != again.ID || len(got.Grants) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := s.Insert(ctx, userKey(t, "nobody"), event()); !errors.Is(err, identity.ErrUnknown) {
			t.Error(err)
		}

		storetest.Write(t, db, `UPDATE users SET disabled = TRUE`)
		shut := insertKey(t, s, userKey(t, dana.ID))
		if got, err := s.ByID(ctx, shut.ID, start); err != nil || !got.UserShut {
			t.Errorf("%+v, %v", got, err)
		}
		storetest.Write(t, db, `UPDATE users SET disabled = FALSE`, `UPDATE accounts SET disabled = TRUE`)
		if got, err := s.ByID(ctx, shut.ID, start); err != nil || !got.UserShut {
			t.Errorf("%+v, %v", got, err)
		}

		must(t, s.MarkUsed(ctx, []recent.Use{{ID: shut.ID, At: start.Add(2), Address: "192.0.2.1"}, {ID: "gone", At: start}}))
		must(t, s.MarkUsed(ctx, []recent.Use{{ID: shut.ID, At: start, Address: "192.0.2.2"}}))
		if got, err := s.ByID(ctx, shut.ID, start); err != nil || got.LastFrom != "192.0.2.1" {
			t.Errorf("%+v, %v", got, err)
		}
		before := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`)
		must(t, s.Remove(ctx, shut.ID, event()))
		must(t, s.Remove(ctx, shut.ID, event())) // is no error and no event
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`); n != before+1 {
			t.Errorf("%d events", n-before)
		}
	})
}

// Rule S12: texts that a database might take for one another are different keys, and no character of one is a pattern.
func TestSSHKeys_are_found_by_bytes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := store.SSHKeys{DB: db}
		dana := addUser(t, db, "dana")
		stored := insertKey(t, s, userKey(t, dana.ID))
		set := func(digest string) {
			must(t, db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
				_, err := tx.ExecContext(ctx, `UPDATE ssh_keys SET digest = $1 WHERE id = $2`, []byte(digest), stored.ID)
				return err
			}))
		}
		fill := func(text string) string { return text + strings.Repeat("x", sha256.Size-len(text)) }
		for _, c := range []struct{ on, asked string }{
			{fill("abc"), fill("ABC")},
			{fill("abc"), fill("a%")},
			{fill("abc"), fill("a_c")},
			{fill("a%"), fill("abc")},
			{fill("a_c"), fill("abc")},
			{strings.Repeat("a", sha256.Size), strings.Repeat("%", sha256.Size)},
			{fill("a\x00b"), fill("a\x00c")},
		} {
			set(c.on)
			if _, err := s.ByDigest(t.Context(), sshkey.Fingerprint([]byte(c.asked)), start); !errors.Is(err, sshkey.ErrUnknown) {
				t.Errorf("%q found as %q: %v", c.on, c.asked, err)
			}
			if got, err := s.ByDigest(t.Context(), sshkey.Fingerprint([]byte(c.on)), start); err != nil || got.ID != stored.ID {
				t.Errorf("%q not found: %v", c.on, err)
			}
		}
	})
}

func TestSSHKeys_listings(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.SSHKeys{DB: db}
		dana, eve := addUser(t, db, "dana"), addUser(t, db, "eve")
		var mine []string
		for i := range 5 {
			r := userKey(t, dana.ID)
			r.Created = start.Add(time.Duration(i) * time.Second)
			mine = append(mine, insertKey(t, s, r).ID)
			insertKey(t, s, userKey(t, eve.ID))
		}
		id := func(r sshkey.Registered) string { return r.ID }
		if got := walk(t, func(w page.Window) (page.Page[sshkey.Registered], error) { return s.OfUser(ctx, dana.ID, start, w) }, id); !slices.Equal(got, mine) {
			t.Errorf("%v, want %v", got, mine)
		}
		if p, err := s.OfUser(ctx, dana.ID, start, page.Window{Offset: 3, Limit: 1000}); err != nil || p.Total != 5 || !slices.Equal(names(p.Items, id), mine[3:]) {
			t.Errorf("%+v, %v", p, err)
		}
		if p, err := s.Unproven(ctx, start.Add(time.Second), start, page.Of(0, 100)); err != nil || p.Total != 7 {
			t.Errorf("%d, %v", p.Total, err)
		}
		ended := func(r sshkey.Registered) audit.Event { return event().With("id", r.ID) }
		n, err := s.DisableUnproven(ctx, start, 4, ended)
		must(t, err)
		m, err := s.DisableUnproven(ctx, start, 4, ended)
		must(t, err)
		if n != 4 || m != 2 {
			t.Error(n, m)
		}
		if got, err := s.ByID(ctx, mine[0], start); err != nil || got.State != sshkey.Disabled {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := s.ByID(ctx, mine[1], start); err != nil || got.State != sshkey.Active {
			t.Errorf("%+v, %v", got, err)
		}
		for _, at := range []string{mine[1], mine[1], mine[0]} { // the second time, and of one that is disabled, nothing is recorded
			must(t, s.Disable(ctx, at, event().With("id", at)))
		}
		if got, err := s.ByID(ctx, mine[1], start); err != nil || got.State != sshkey.Disabled || !got.Unproven() {
			t.Errorf("%+v, %v", got, err)
		}
		if err := s.Disable(ctx, "nobody's", event()); !errors.Is(err, sshkey.ErrUnknown) {
			t.Error(err)
		}
		must(t, s.RemoveOfUser(ctx, dana.ID, ended))
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM ssh_keys`); n != 5 {
			t.Errorf("%d left", n)
		}
		late := userKey(t, eve.ID)
		late.Expires = start.Add(time.Hour)
		insertKey(t, s, late)
		if n, err := s.Purge(ctx, late.Expires.Add(-time.Microsecond), 10, ended); n != 0 || err != nil {
			t.Error(n, err)
		}
		if n, err := s.Purge(ctx, late.Expires, 10, ended); n != 1 || err != nil {
			t.Error(n, err)
		}
	})
}

func TestSSHKeys_places(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.SSHKeys{DB: db}
		addProject(t, db, "p")
		infra, site, whole := addRepo(t, db, "p", "infra"), addRepo(t, db, "p", "site"), access.Project("p")
		deploy := accessKey(t, infra, whole)
		deploy.Label = "Straße_1"
		deploy = insertKey(t, s, deploy)
		other := accessKey(t, infra)
		other.Label, other.Grants[0].Permission = "strand", sshkey.Write
		other = insertKey(t, s, other)

		if got, err := s.ByNumber(ctx, deploy.Number, start); err != nil || len(got.Grants) != 2 || !slices.ContainsFunc(got.Grants, func(g sshkey.Grant) bool {
			return g.Place.ID == "infra" && len(g.Place.Parents) == 1 && g.Place.Parents[0].ID == "p" && g.Permission == sshkey.Read && g.Created.Equal(start)
		}) {
			t.Errorf("%+v, %v", got, err)
		}
		at := func(of sshkey.Selection) string {
			t.Helper()
			of.Now = start
			if of.Window.Limit == 0 {
				of.Window = page.Of(0, 10)
			}
			p, err := s.At(ctx, of)
			must(t, err)
			text := ""
			for _, h := range p.Items {
				text += fmt.Sprintf("%d %s %s %s %d; ", h.Key.Number-deploy.Number, h.Grant.Place.Kind, h.Grant.Permission, h.Key.Key.Fingerprint().String()[:6], len(h.Grant.Place.Parents))
			}
			return strings.ReplaceAll(strings.TrimSuffix(fmt.Sprint(p.Total, " ", text), "; "), "SHA256", "")
		}
		both := []access.Resource{infra, whole}
		for name, c := range map[string]struct {
			of   sshkey.Selection
			want string
		}{
			"alone":             {sshkey.Selection{Places: both[:1], Least: sshkey.Read}, "2 0 repo read  1; 1 repo write  1"},
			"with the project":  {sshkey.Selection{Places: both, Least: sshkey.Read}, "3 0 repo read  1; 0 project read  0; 1 repo write  1"},
			"at least write":    {sshkey.Selection{Places: both, Least: sshkey.Write}, "1 1 repo write  1"},
			"by label":          {sshkey.Selection{Places: both, Least: sshkey.Read, Prefix: identity.Fold("STRASSE")}, "2 0 repo read  1; 0 project read  0"},
			"by common label":   {sshkey.Selection{Places: both[:1], Least: sshkey.Read, Prefix: "stra"}, "2 0 repo read  1; 1 repo write  1"},
			"no pattern":        {sshkey.Selection{Places: both, Least: sshkey.Read, Prefix: "str%"}, "0"},
			"no joker":          {sshkey.Selection{Places: both, Least: sshkey.Read, Prefix: "stra_"}, "0"},
			"second part":       {sshkey.Selection{Places: both, Least: sshkey.Read, Window: page.Of(1, 1)}, "3 0 project read  0"},
			"another place":     {sshkey.Selection{Places: []access.Resource{site}, Least: sshkey.Read}, "0"},
			"the project alone": {sshkey.Selection{Places: []access.Resource{whole}, Least: sshkey.Read}, "1 0 project read  0"},
		} {
			if got := strings.TrimSpace(strings.ReplaceAll(at(c.of), ":", "")); got != c.want {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		}

		if err := s.AddGrant(ctx, deploy.ID, sshkey.Grant{Place: infra, Permission: sshkey.Write, Created: start}, event()); !errors.Is(err, sshkey.ErrGranted) {
			t.Error(err)
		}
		if err := s.AddGrant(ctx, "gone", sshkey.Grant{Place: infra, Permission: sshkey.Write, Created: start}, event()); !errors.Is(err, sshkey.ErrUnknown) {
			t.Error(err)
		}
		must(t, s.AddGrant(ctx, deploy.ID, sshkey.Grant{Place: site, Permission: sshkey.Write, Created: start}, event()))
		must(t, s.SetPermission(ctx, deploy.ID, infra, sshkey.Write, event()))
		if err := s.SetPermission(ctx, other.ID, site, sshkey.Write, event()); !errors.Is(err, sshkey.ErrUnknown) {
			t.Error(err)
		}
		var told []string
		note := func(r access.Resource) audit.Event { told = append(told, r.ID); return event() }
		must(t, s.RemoveGrants(ctx, deploy.ID, []access.Resource{infra, access.Repo("p", "none"), whole}, note))
		if got, err := s.ByID(ctx, deploy.ID, start); err != nil || len(got.Grants) != 1 || got.Grants[0].Permission != sshkey.Write || !slices.Equal(told, []string{"infra", "p"}) {
			t.Errorf("%+v, %v, %v", got, err, told)
		}
		must(t, s.RemoveGrants(ctx, deploy.ID, []access.Resource{infra}, note)) // nothing matched
		if _, err := s.ByID(ctx, deploy.ID, start); err != nil {
			t.Error(err)
		}
		must(t, s.RemoveGrants(ctx, deploy.ID, []access.Resource{site}, note))
		must(t, s.RemoveGrants(ctx, deploy.ID, []access.Resource{site}, note))
		if _, err := s.ByID(ctx, deploy.ID, start); !errors.Is(err, sshkey.ErrUnknown) {
			t.Error("the key outlived its last place:", err)
		}
	})
}

// Of many who put the same key on file at the same moment one wins, and the others are told. A key never loses a place that it was given
// while another was taken away.
func TestSSHKeys_races(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		ctx := t.Context()
		dana := addUser(t, one, "dana")
		addProject(t, one, "p")
		nodes := []store.SSHKeys{{DB: one}, {DB: two}}
		for range 5 {
			key, errs := newPublicKey(t), make([]error, 6)
			var all sync.WaitGroup
			for i := range errs {
				all.Go(func() {
					r := accessKey(t, access.Project("p"))
					if i%2 == 0 {
						r = userKey(t, dana.ID)
					}
					r.Key = key
					_, errs[i] = nodes[i%2].Insert(ctx, r, event())
				})
			}
			all.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else if !errors.Is(err, sshkey.ErrOnFile) {
					t.Error(err)
				}
			}
			if won != 1 {
				t.Errorf("%d have the same key", won)
			}
		}
		for range 10 {
			r := insertKey(t, nodes[0], accessKey(t, access.Repo("p", "a")))
			var all sync.WaitGroup
			var added error
			all.Go(func() {
				added = nodes[0].AddGrant(ctx, r.ID, sshkey.Grant{Place: access.Repo("p", "b"), Permission: sshkey.Read, Created: start}, event())
			})
			all.Go(func() {
				if err := nodes[1].RemoveGrants(ctx, r.ID, []access.Resource{access.Repo("p", "a")}, func(access.Resource) audit.Event { return event() }); err != nil {
					t.Error(err)
				}
			})
			all.Wait()
			got, err := nodes[0].ByID(ctx, r.ID, start)
			switch {
			case added == nil && (err != nil || len(got.Grants) != 1):
				t.Errorf("%+v, %v", got, err)
			case added != nil && (!errors.Is(added, sshkey.ErrUnknown) || !errors.Is(err, sshkey.ErrUnknown)):
				t.Error(added, err)
			}
		}
	})
}

func TestSSHKeyProofs(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, keys, s := t.Context(), store.SSHKeys{DB: db}, store.SSHKeyProofs{DB: db}
		dana := addUser(t, db, "dana")
		r := userKey(t, dana.ID)
		r.State = sshkey.Waiting
		r = insertKey(t, keys, r)
		proof := func() keyproof.Session {
			message := "why"
			return keyproof.Session{
				ID: newID(), Kind: keyproof.Verify, Identifier: keyproof.NewIdentifier(), Status: keyproof.Pending, OnFile: r.ID, Owner: dana.ID,
				Options: keyproof.Options{MustConfirm: true, MaxAttempts: 3, Message: &message}, Created: start, Updated: start, Expires: start.Add(time.Minute),
				Keys: []keyproof.Key{{ID: r.ID, Public: r.Key}},
			}
		}
		first, second := proof(), proof()
		must(t, s.Put(ctx, first, event()))
		must(t, s.Put(ctx, second, event()))
		if _, err := s.ByIdentifier(ctx, first.Identifier); !fault.Is(err, fault.NotFound) {
			t.Error("the proof before opens something:", err)
		}
		state, err := s.ByIdentifier(ctx, second.Identifier)
		must(t, err)
		if got := state.Session; got.ID != second.ID || got.Owner != dana.ID || got.OnFile != r.ID || !got.MustConfirm || got.MaxAttempts != 3 || *got.Message != "why" || !got.Expires.Equal(second.Expires) ||
			got.Project != "" || got.Kind != keyproof.Verify || len(got.Keys) != 1 || !got.Keys[0].Public.Equal(r.Key) || *got.Keys[0].Name != r.Label {
			t.Errorf("%+v", got)
		}
		verified := func(was keyproof.State) (keyproof.Change, error) {
			is := was.Session
			is.Status, is.Updated = keyproof.Verified, start.Add(time.Second)
			return keyproof.Change{Session: &is, Proven: start.Add(time.Second), Events: []audit.Event{event()}}, nil
		}
		if _, err := s.Change(ctx, first.ID, verified); !fault.Is(err, fault.NotFound) {
			t.Error(err)
		}
		broken := errors.New("no")
		if _, err := s.Change(ctx, second.ID, func(keyproof.State) (keyproof.Change, error) { return keyproof.Change{}, broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
		if got, err := keys.ByID(ctx, r.ID, start); err != nil || got.State != sshkey.Waiting || !got.Unproven() {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := s.Change(ctx, second.ID, verified); err != nil || got.Status != keyproof.Verified {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := keys.ByID(ctx, r.ID, start); err != nil || got.State != sshkey.Active || !got.Proven.Equal(start.Add(time.Second)) {
			t.Errorf("%+v, %v", got, err)
		}
		must(t, s.Purge(ctx, second.Expires))
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM ssh_key_proofs`); n != 1 {
			t.Errorf("%d proofs", n)
		}
		must(t, keys.Remove(ctx, r.ID, event()))
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM ssh_key_proofs`); n != 0 {
			t.Errorf("%d proofs outlive their key", n)
		}
		if err := s.Put(ctx, proof(), event()); !errors.Is(err, sshkey.ErrUnknown) {
			t.Error(err)
		}
	})
}

// fillKeys adds keys whose digests are as scattered as real ones. Their blobs are no keys: nobody reads them.
func fillKeys(t *testing.T, db *store.DB, n int) {
	t.Helper()
	const rows = 1000
	marks := make([]string, rows)
	for i := range marks {
		marks[i] = fmt.Sprintf("($%d, $%d, $%d, '', 'access', 'active', FALSE, 0, 0, '', '', '')", 3*i+1, 3*i+2, 3*i+3)
	}
	insert := `INSERT INTO ssh_keys (id, number, digest, blob, role, state, unsafe, expiry_days, created, label, label_folded, last_address) VALUES ` + strings.Join(marks, ", ")
	for from := 0; from < n; from += rows {
		must(t, db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
			var args []any
			for i := range rows {
				number := uint64(1_000_000_000 + from + i)
				digest := sha256.Sum256(binary.BigEndian.AppendUint64(nil, number))
				args = append(args, fmt.Sprint("key ", number), int64(number), digest[:])
			}
			_, err := tx.ExecContext(ctx, insert, args...)
			return err
		}))
	}
}

// A key is found by the index of digests, however many there are: a million with GATEHOUSE_NIGHTLY, else enough to tell.
func TestSSHKeys_among_many(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := store.SSHKeys{DB: db}
		r := insertKey(t, s, userKey(t, addUser(t, db, "dana").ID))
		fillKeys(t, db, manyKeys())
		storetest.Write(t, db, `ANALYZE ssh_keys`)
		for name, find := range map[string]func() error{
			"by digest": func() error { return secondOf(s.ByDigest(t.Context(), r.Key.Fingerprint(), start)) },
			"by number": func() error { return secondOf(s.ByNumber(t.Context(), r.Number, start)) },
			"of a user": func() error { return secondOf(s.OfUser(t.Context(), r.User, start, page.Of(0, 10))) },
			"none expired": func() error {
				return secondOf(s.Purge(t.Context(), start, 100, func(sshkey.Registered) audit.Event { return event() }))
			},
		} {
			fastest := time.Hour
			for range 10 {
				begun := time.Now()
				must(t, find())
				fastest = min(fastest, time.Since(begun))
			}
			t.Logf("%s: %v among %d", name, fastest, manyKeys())
			if fastest > 20*time.Millisecond {
				t.Errorf("%s takes %v: an index is not used", name, fastest)
			}
		}
		if plan := planOf(t, db, `SELECT k.id FROM ssh_keys k WHERE k.digest = $1 AND (k.expires IS NULL OR k.expires > $2)`, []byte("x"), 1); !strings.Contains(plan, "ssh_keys_digest_key") {
			t.Errorf("plan: %s", plan)
		}
	})
}

func secondOf[T any](_ T, err error) error { return err }

// planOf is how the database would answer, in its own words.
func planOf(t *testing.T, db *store.DB, query string, args ...any) string {
	t.Helper()
	var lines []string
	must(t, db.Read(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		if db.ForUpdate() == "" {
			lines, err = store.All(ctx, tx, func(scan store.Scan) (detail string, err error) {
				var id, parent, unused int64
				err = scan(&id, &parent, &unused, &detail)
				return detail, err
			}, `EXPLAIN QUERY PLAN `+query, args...)
			return err
		}
		lines, err = store.All(ctx, tx, store.Value[string], `EXPLAIN `+query, args...)
		return err
	}))
	return strings.Join(lines, "\n")
}

func manyKeys() int {
	if os.Getenv("GATEHOUSE_NIGHTLY") != "" {
		return 1_000_000
	}
	return 20_000
}
