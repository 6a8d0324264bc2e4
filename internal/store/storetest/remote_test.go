package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

// scene is a user, a device and its credentials.
type scene struct {
	user identity.User
	cred []vault.Credential
}

func newScene(t *testing.T, db *store.DB, credentials int) scene {
	t.Helper()
	s := scene{user: addUser(t, db, "dana")}
	d := addTarget(t, db, "web-01", "10.0.0.1")
	for i := range credentials {
		s.cred = append(s.cred, addCredential(t, db, d, fmt.Sprintf("svc-%d", i), "secret"))
	}
	return s
}

func (s scene) session(state remote.State, credential int) remote.Session {
	c := s.cred[credential]
	return remote.Session{
		ID: newID(), State: state, Way: remote.Web, Origin: access.Subject{Kind: access.Authorization, ID: newID()}, Session: "own",
		User: access.Principal{Kind: access.User, ID: s.user.ID, Name: s.user.Name}, Device: c.Device.ID, Credential: c.ID, Username: c.Username,
		Target: c.Device.ID, Host: c.Device.Host, IP: c.Device.IP, Protocol: "ssh", Port: 22, Screen: remote.Screen{Width: 1920, Height: 1080},
		Bound: netip.MustParseAddr("2001:db8::1"), Grant: 3, Terms: access.Terms{Reason: true, Zone: "Europe/Berlin"}, Created: start, Expires: start.Add(30 * time.Second),
	}
}

const noLimit = 0

func eventOfSession(remote.Session) audit.Event { return event() }

func addRemote(t *testing.T, s store.Remotes, x remote.Session, d remote.Digests) remote.Session {
	t.Helper()
	x, err := s.Insert(t.Context(), x, nil, d, noLimit, eventOfSession)
	must(t, err)
	return x
}

// becomes puts a session into a state on a node.
func becomes(t *testing.T, s store.Remotes, id string, state remote.State, node string) remote.Session {
	t.Helper()
	x, err := s.Change(t.Context(), id, nil, func(x remote.Session) (remote.Session, []audit.Event, error) {
		x.State, x.Node = state, node
		if state == remote.Active {
			x.Started, x.Code = start.Add(time.Second), strings.Repeat("0", 8)+strings.ReplaceAll(x.ID, "-", "")
		}
		return x, []audit.Event{event()}, nil
	})
	must(t, err)
	return x
}

func digest(b byte) *[32]byte { return &[32]byte{b} }

func TestRemotes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s, here := t.Context(), store.Remotes{DB: db}, newScene(t, db, 1)
		link, handle, cookie := digest(1), digest(2), digest(3)
		x := addRemote(t, s, here.session(remote.Issued, 0), remote.Digests{Link: link, Handle: handle})
		found := func(what string, want remote.Session, find func() (remote.Session, error)) {
			t.Helper()
			got, err := find()
			must(t, err)
			same(t, "session by "+what, got, want)
		}
		found("id", x, func() (remote.Session, error) { return s.ByID(ctx, x.ID) })
		found("link", x, func() (remote.Session, error) { return s.ByLink(ctx, *link) })
		found("handle", x, func() (remote.Session, error) { return s.ByHandle(ctx, *handle) })
		for _, find := range []func() (remote.Session, error){
			func() (remote.Session, error) { return s.ByID(ctx, newID()) },
			func() (remote.Session, error) { return s.ByLink(ctx, *handle) },
			func() (remote.Session, error) { return s.ByHandle(ctx, *link) },
			func() (remote.Session, error) { return s.ByCookie(ctx, x.ID, *cookie) },
			func() (remote.Session, error) { return s.ByNumber(ctx, 0) },
			func() (remote.Session, error) { return s.ByCode(ctx, "") },
			func() (remote.Session, error) { return s.Change(ctx, newID(), nil, nil) },
		} {
			is(t, second(find()), remote.ErrUnknown)
		}

		x, err := s.Change(ctx, x.ID, cookie, func(x remote.Session) (remote.Session, []audit.Event, error) {
			x.State, x.Address, x.Redeemed, x.Expires = remote.Waiting, netip.MustParseAddr("192.0.2.1"), start.Add(time.Second), start.Add(time.Hour)
			x.SteppedUp, x.Why, x.Reference, x.Grant, x.Terms = start.Add(2*time.Second), "be\ncause", "T-1", 4, access.Terms{Approval: true}
			return x, []audit.Event{event(), event()}, nil
		})
		must(t, err)
		found("cookie", x, func() (remote.Session, error) { return s.ByCookie(ctx, x.ID, *cookie) })
		is(t, second(s.ByCookie(ctx, newID(), *cookie)), remote.ErrUnknown)
		if at, err := s.SteppedUp(ctx, here.user.ID, [][32]byte{{9}, *cookie}); err != nil || !at.Equal(x.SteppedUp) {
			t.Errorf("%s, %v", at, err)
		}
		for _, cookies := range [][][32]byte{nil, {{9}}} {
			if at, err := s.SteppedUp(ctx, here.user.ID, cookies); err != nil || !at.IsZero() {
				t.Errorf("%s, %v", at, err)
			}
		}
		if at, err := s.SteppedUp(ctx, "somebody else", [][32]byte{*cookie}); err != nil || !at.IsZero() {
			t.Errorf("%s, %v", at, err)
		}

		x = becomes(t, s, x.ID, remote.Active, "n1")
		if x.Number != 1 {
			t.Errorf("number %d", x.Number)
		}
		found("number", x, func() (remote.Session, error) { return s.ByNumber(ctx, 1) })
		found("code", x, func() (remote.Session, error) { return s.ByCode(ctx, x.Code) })
		boom := errors.New("no")
		is(t, second(s.Change(ctx, x.ID, digest(7), func(x remote.Session) (remote.Session, []audit.Event, error) {
			x.Why = "never"
			return x, []audit.Event{event()}, boom
		})), boom)
		found("id", x, func() (remote.Session, error) { return s.ByID(ctx, x.ID) })
		x, err = s.Change(ctx, x.ID, nil, func(x remote.Session) (remote.Session, []audit.Event, error) {
			x.State, x.Ended, x.End, x.EndedBy = remote.Ended, start.Add(time.Minute), remote.Dropped, "root"
			return x, nil, nil
		})
		must(t, err)
		found("id", x, func() (remote.Session, error) { return s.ByID(ctx, x.ID) })
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events WHERE body LIKE '%test.happened%'`); n < 4 {
			t.Errorf("%d events", n)
		}
		// Rule W13: nothing that was given out is there in clear.
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM remote_sessions WHERE length(sr) <> 32 OR length(handle) <> 32 OR length(cookie) <> 32`); n != 0 {
			t.Error("something other than digests")
		}
	})
}

// Rule S14: of two nodes that redeem one link at once one gets it.
func TestRemotes_two_redemptions(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		here := newScene(t, one, 1)
		for round := range 5 {
			x := addRemote(t, store.Remotes{DB: one}, here.session(remote.Issued, 0), remote.Digests{Link: digest(byte(100 + round))})
			var got [8]error
			var all sync.WaitGroup
			for i := range got {
				s := store.Remotes{DB: []*store.DB{one, two}[i%2]}
				all.Go(func() {
					_, got[i] = s.Change(t.Context(), x.ID, digest(byte(i+1)), func(x remote.Session) (remote.Session, []audit.Event, error) {
						if x.State != remote.Issued {
							return x, nil, remote.ErrLinkUsed
						}
						x.State, x.Redeemed = remote.Waiting, start
						return x, []audit.Event{event()}, nil
					})
				})
			}
			all.Wait()
			winners := 0
			for i, err := range got {
				switch {
				case err == nil:
					winners++
					must(t, second(store.Remotes{DB: two}.ByCookie(t.Context(), x.ID, *digest(byte(i + 1)))))
				case !errors.Is(err, remote.ErrLinkUsed) && !errors.Is(err, remote.ErrOver):
					t.Error(err)
				}
			}
			if winners != 1 {
				t.Errorf("%d redemptions", winners)
			}
		}
	})
}

func TestRemotes_auto_pick(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		const free = 4
		here := newScene(t, one, free)
		pick := func(s store.Remotes) (remote.Session, error) {
			var wanted []remote.Session
			for i := range free {
				wanted = append(wanted, here.session(remote.Issued, i))
			}
			return s.Insert(t.Context(), wanted[0], wanted, remote.Digests{}, noLimit, eventOfSession)
		}
		// Two who pick at once never get the same one, and who comes last gets none.
		var got [free + 3]remote.Session
		var errs [free + 3]error
		var all sync.WaitGroup
		for i := range got {
			s := store.Remotes{DB: []*store.DB{one, two}[i%2]}
			all.Go(func() { got[i], errs[i] = pick(s) })
		}
		all.Wait()
		used, none := map[string]bool{}, 0
		for i, x := range got {
			switch {
			case errors.Is(errs[i], remote.ErrNoneFree):
				none++
			case errs[i] != nil:
				t.Error(errs[i])
			case used[x.Credential]:
				t.Errorf("credential %s twice", x.Username)
			default:
				used[x.Credential] = true
			}
		}
		if len(used) != free || none != 3 {
			t.Fatalf("%d picked, %d left out", len(used), none)
		}
		// What is over gives its credential back; so does what has waited too long, though nobody has ended it.
		s := store.Remotes{DB: one}
		first := got[slices.IndexFunc(got[:], func(x remote.Session) bool { return x.ID != "" && x.Credential == here.cred[2].ID })]
		becomes(t, s, first.ID, remote.Cancelled, "")
		if x, err := pick(s); err != nil || x.Credential != here.cred[2].ID {
			t.Errorf("%s, %v", x.Username, err)
		}
		late := here.session(remote.Issued, 3)
		late.Created = start.Add(31 * time.Second)
		if _, err := s.Insert(t.Context(), late, []remote.Session{late}, remote.Digests{}, noLimit, eventOfSession); err != nil {
			t.Error(err)
		}
	})
}

func TestRemotes_limit_of_a_user(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		here, most := newScene(t, one, 1), 2
		var errs [6]error
		var all sync.WaitGroup
		for i := range errs {
			s := store.Remotes{DB: []*store.DB{one, two}[i%2]}
			all.Go(func() {
				_, errs[i] = s.Insert(t.Context(), here.session(remote.Issued, 0), nil, remote.Digests{}, most, eventOfSession)
			})
		}
		all.Wait()
		got := 0
		for _, err := range errs {
			if err == nil {
				got++
			} else if !errors.Is(err, remote.ErrTooMany) {
				t.Error(err)
			}
		}
		if got != 2 {
			t.Errorf("%d sessions", got)
		}
		later := here.session(remote.Waiting, 0)
		later.Created = start.Add(time.Minute) // the links are late by then
		_, err := store.Remotes{DB: two}.Insert(t.Context(), later, nil, remote.Digests{}, most, eventOfSession)
		must(t, err)
	})
}

func TestRemotes_list(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s, here := t.Context(), store.Remotes{DB: db}, newScene(t, db, 2)
		eve := addUser(t, db, "eve")
		var ids []string
		for i := range 4 {
			x := here.session(remote.Waiting, i%2)
			if i == 3 {
				x.User = access.Principal{Kind: access.User, ID: eve.ID, Name: eve.Name}
			}
			x = addRemote(t, s, x, remote.Digests{})
			ids = append(ids, becomes(t, s, x.ID, remote.Active, "n").ID)
		}
		becomes(t, s, ids[0], remote.Ended, "n")
		addRemote(t, s, here.session(remote.Issued, 0), remote.Digests{}) // never started
		all := remote.Seen{AllDevices: true}
		device, cred := here.cred[0].Device.ID, []string{here.cred[0].ID, here.cred[1].ID}
		for name, c := range map[string]struct {
			which remote.Which
			want  []string
		}{
			"newest first":               {remote.Which{Seen: all}, []string{ids[3], ids[2], ids[1], ids[0]}},
			"living":                     {remote.Which{Seen: all, Active: true}, []string{ids[3], ids[2], ids[1]}},
			"of a user":                  {remote.Which{Seen: all, User: eve.ID}, []string{ids[3]}},
			"of a device":                {remote.Which{Seen: all, Device: device}, []string{ids[3], ids[2], ids[1], ids[0]}},
			"of another":                 {remote.Which{Seen: all, Device: newID()}, nil},
			"who sees nothing":           {remote.Which{}, nil},
			"who sees a credential":      {remote.Which{Seen: remote.Seen{Credentials: cred[1:]}}, []string{ids[3], ids[1]}},
			"both want both":             {remote.Which{Seen: remote.Seen{Credentials: cred, Both: true}}, nil},
			"both":                       {remote.Which{Seen: remote.Seen{Devices: []string{newID(), device, newID()}, Credentials: cred[:1], Both: true}}, []string{ids[2], ids[0]}},
			"own":                        {remote.Which{Seen: remote.Seen{Own: eve.ID}}, []string{ids[3]}},
			"own, and another's besides": {remote.Which{Seen: remote.Seen{Own: eve.ID, Credentials: cred[:1]}}, []string{ids[3], ids[2], ids[0]}},
		} {
			p, err := s.List(ctx, c.which, page.Of(0, 10))
			must(t, err)
			var got []string
			for _, x := range p.Items {
				got = append(got, x.ID)
			}
			if !slices.Equal(got, c.want) || p.Total != int64(len(c.want)) {
				t.Errorf("%s: %v of %d, not %v", name, got, p.Total, c.want)
			}
		}
		p, err := s.List(ctx, remote.Which{Seen: all}, page.Of(1, 2))
		if err != nil || p.Total != 4 || len(p.Items) != 2 || p.Items[0].ID != ids[2] || !p.HasMore() {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

func TestRemotes_overdue_and_purge(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s, here := t.Context(), store.Remotes{DB: db}, newScene(t, db, 1)
		link := addRemote(t, s, here.session(remote.Issued, 0), remote.Digests{Link: digest(1), Handle: digest(2)})
		lived := addRemote(t, s, here.session(remote.Issued, 0), remote.Digests{Link: digest(3), Handle: digest(4), Cookie: digest(5)})
		waiting := addRemote(t, s, here.session(remote.Waiting, 0), remote.Digests{Cookie: digest(6)})
		becomes(t, s, lived.ID, remote.Active, "n")
		late := func(after time.Duration) (ids []string) {
			all, err := s.Overdue(ctx, start.Add(after), 10)
			must(t, err)
			for _, x := range all {
				ids = append(ids, x.ID)
			}
			slices.Sort(ids)
			return ids
		}
		want := []string{link.ID, waiting.ID}
		slices.Sort(want)
		if got := late(30*time.Second - time.Microsecond); got != nil {
			t.Errorf("too early: %v", got)
		}
		if got := late(30 * time.Second); !slices.Equal(got, want) {
			t.Errorf("%v, not %v", got, want)
		}
		asked, err := s.InsertRequest(ctx, requestOf(waiting, start.Add(time.Hour)), eventOfRequest)
		must(t, err)
		for _, id := range []string{link.ID, lived.ID, waiting.ID} {
			_, err := s.Change(ctx, id, nil, func(x remote.Session) (remote.Session, []audit.Event, error) {
				x.State, x.Ended = remote.Ended, start.Add(time.Minute)
				return x, nil, nil
			})
			must(t, err)
		}
		purge := func(before time.Time, want int) {
			t.Helper()
			if n, err := s.Purge(ctx, before, 10); n != want || err != nil {
				t.Errorf("%d, %v; not %d", n, err, want)
			}
		}
		purge(start.Add(time.Minute), 0)
		must(t, second(s.ByLink(ctx, *digest(1))))
		purge(start.Add(time.Hour), 3)
		purge(start.Add(time.Hour), 0)
		is(t, second(s.ByID(ctx, link.ID)), remote.ErrUnknown)
		must(t, second(s.ByID(ctx, lived.ID)))
		is(t, second(s.ByLink(ctx, *digest(3))), remote.ErrUnknown)
		is(t, second(s.ByHandle(ctx, *digest(4))), remote.ErrUnknown)
		is(t, second(s.ByCookie(ctx, lived.ID, *digest(5))), remote.ErrUnknown)
		// A request that nobody answers any more is not pending, and stays as history.
		if r, err := s.RequestByNumber(ctx, asked.Number); err != nil || r.State != remote.Lapsed {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func requestOf(x remote.Session, expires time.Time, approvers ...access.Subject) remote.Request {
	return remote.Request{
		ID: newID(), Session: x.ID, User: x.User, Device: x.Target, Credential: x.Credential, Reason: "why", Reference: "T-1", Approvers: approvers,
		State: remote.Pending, Created: start, Expires: expires,
	}
}

func eventOfRequest(remote.Request) audit.Event { return event() }

func TestRemotes_requests(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		ctx, s, here := t.Context(), store.Remotes{DB: one}, newScene(t, one, 2)
		x := addRemote(t, s, here.session(remote.Waiting, 0), remote.Digests{})
		boss := access.Subject{Kind: access.Group, ID: newID()}
		is(t, second(s.RequestOf(ctx, x.ID)), remote.ErrNoRequest)
		is(t, second(s.RequestByNumber(ctx, 1)), remote.ErrNoRequest)

		// However many ask for one session, there is one request.
		var got [6]remote.Request
		var all sync.WaitGroup
		for i := range got {
			s := store.Remotes{DB: []*store.DB{one, two}[i%2]}
			all.Go(func() {
				var err error
				if got[i], err = s.InsertRequest(ctx, requestOf(x, start.Add(time.Hour), boss), eventOfRequest); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, r := range got {
			same(t, "request", r, got[0])
		}
		r, err := s.RequestOf(ctx, x.ID)
		must(t, err)
		same(t, "request", r, got[0])
		if x, err = s.ByID(ctx, x.ID); err != nil || !x.Expires.Equal(start.Add(time.Hour)) || x.Request != r.ID {
			t.Errorf("the session waits until %s, %v", x.Expires, err)
		}

		other := addRemote(t, s, here.session(remote.Waiting, 1), remote.Digests{})
		must(t, second(s.InsertRequest(ctx, requestOf(other, start.Add(time.Hour)), eventOfRequest)))
		over := addRemote(t, s, here.session(remote.Cancelled, 1), remote.Digests{})
		is(t, second(s.InsertRequest(ctx, requestOf(over, start.Add(time.Hour)), eventOfRequest)), remote.ErrOver)
		for name, c := range map[string]struct {
			which remote.WhichRequests
			want  []int64
		}{
			"all":                 {remote.WhichRequests{Seen: remote.Seen{AllDevices: true}}, []int64{2, 1}},
			"nothing":             {remote.WhichRequests{}, nil},
			"of a credential":     {remote.WhichRequests{Seen: remote.Seen{Credentials: []string{here.cred[1].ID}}}, []int64{2}},
			"named":               {remote.WhichRequests{Approvers: []access.Subject{{Kind: access.User, ID: "u"}, boss}}, []int64{1}},
			"a user of that id":   {remote.WhichRequests{Approvers: []access.Subject{{Kind: access.User, ID: boss.ID}}}, nil},
			"pending":             {remote.WhichRequests{State: remote.Pending, Seen: remote.Seen{AllCredentials: true}}, []int64{2, 1}},
			"approved":            {remote.WhichRequests{State: remote.Approved, Seen: remote.Seen{AllDevices: true}}, nil},
			"named or credential": {remote.WhichRequests{Approvers: []access.Subject{boss}, Seen: remote.Seen{Credentials: []string{here.cred[1].ID}}}, []int64{2, 1}},
		} {
			p, err := s.Requests(ctx, c.which, page.Of(0, 10))
			must(t, err)
			var numbers []int64
			for _, r := range p.Items {
				numbers = append(numbers, r.Number)
			}
			if !slices.Equal(numbers, c.want) || p.Total != int64(len(c.want)) {
				t.Errorf("%s: %v of %d", name, numbers, p.Total)
			}
		}

		// Of two who decide one does.
		var errs [6]error
		for i := range errs {
			s := store.Remotes{DB: []*store.DB{one, two}[i%2]}
			all.Go(func() {
				_, errs[i] = s.ChangeRequest(ctx, r.ID, func(r remote.Request, x remote.Session) (remote.Request, remote.Session, []audit.Event, error) {
					if r.State != remote.Pending {
						return r, x, nil, remote.ErrDecided
					}
					r.State, r.Decided, r.DecidedBy, r.Note = remote.Denied, start.Add(time.Minute), "root", "no"
					x.State, x.Ended, x.End = remote.Ended, start.Add(time.Minute), remote.Refused
					return r, x, []audit.Event{event()}, nil
				})
			})
		}
		all.Wait()
		if n := slices.DeleteFunc(errs[:], func(err error) bool { return errors.Is(err, remote.ErrDecided) }); len(n) != 1 || n[0] != nil {
			t.Errorf("%v", n)
		}
		if r, err = s.RequestByNumber(ctx, r.Number); err != nil || r.State != remote.Denied || r.Note != "no" || r.DecidedBy != "root" {
			t.Errorf("%+v, %v", r, err)
		}
		if x, err = s.ByID(ctx, x.ID); err != nil || x.State != remote.Ended {
			t.Errorf("%+v, %v", x, err)
		}
		is(t, second(s.ChangeRequest(ctx, newID(), nil)), remote.ErrNoRequest)
	})
}

func TestRemotes_tickets(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		ctx, s, here := t.Context(), store.Remotes{DB: one}, newScene(t, one, 1)
		x := addRemote(t, s, here.session(remote.Waiting, 0), remote.Digests{})
		ticket := remote.Ticket{Digest: *digest(1), Session: x.ID, Purpose: "terminal", Subject: "u", Name: "dana", Expires: start.Add(time.Minute)}
		must(t, s.AddTicket(ctx, ticket))
		is(t, second(s.UseTicket(ctx, ticket.Digest, "watch", start)), remote.ErrUnknown)
		is(t, second(s.UseTicket(ctx, ticket.Digest, "terminal", ticket.Expires)), remote.ErrUnknown)
		is(t, second(s.UseTicket(ctx, *digest(2), "terminal", start)), remote.ErrUnknown)
		var errs [6]error
		var all sync.WaitGroup
		for i := range errs {
			s := store.Remotes{DB: []*store.DB{one, two}[i%2]}
			all.Go(func() {
				var got remote.Ticket
				if got, errs[i] = s.UseTicket(ctx, ticket.Digest, "terminal", start); errs[i] == nil {
					same(t, "ticket", got, ticket)
				}
			})
		}
		all.Wait()
		if n := slices.DeleteFunc(errs[:], func(err error) bool { return errors.Is(err, remote.ErrUnknown) }); len(n) != 1 || n[0] != nil {
			t.Errorf("used %d times: %v", len(n), n)
		}
	})
}

func TestRemotes_lost_nodes(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		ctx, s, here := t.Context(), store.Remotes{DB: one}, newScene(t, one, 1)
		begun := func(state remote.State, node string) remote.Session {
			x := addRemote(t, s, here.session(remote.Waiting, 0), remote.Digests{})
			return becomes(t, s, x.ID, state, node)
		}
		gone, lives, silent := begun(remote.Active, "gone"), begun(remote.Active, "lives"), begun(remote.Active, "never heard of")
		claimed := begun(remote.Waiting, "gone")
		must(t, s.Beat(ctx, "gone", start))
		must(t, s.Beat(ctx, "lives", start.Add(time.Minute)))
		must(t, s.Beat(ctx, "lives", start)) // a clock that was set back
		now := start.Add(time.Minute)
		var got [4][]remote.Session
		var all sync.WaitGroup
		for i := range got {
			s := store.Remotes{DB: []*store.DB{one, two}[i%2]}
			all.Go(func() {
				var err error
				if got[i], err = s.Lost(ctx, now, now, eventOfSession); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		var lost []string
		for _, some := range got {
			for _, x := range some {
				lost = append(lost, x.ID)
				if x.State != remote.Ended || x.End != remote.NodeLost || !x.Ended.Equal(now) {
					t.Errorf("%+v", x)
				}
			}
		}
		slices.Sort(lost)
		want := []string{gone.ID, silent.ID}
		slices.Sort(want)
		if !slices.Equal(lost, want) {
			t.Errorf("%v were lost, not %v", lost, want)
		}
		wantUncut(t, s, now, want)
		if x, err := s.ByID(ctx, lives.ID); err != nil || x.State != remote.Active {
			t.Errorf("%+v, %v", x, err)
		}
		if x, err := s.ByID(ctx, claimed.ID); err != nil || x.State != remote.Waiting || x.Node != "" {
			t.Errorf("another node cannot start it: %+v, %v", x, err)
		}
	})
}

// A recording may have been begun for a session that never started, and by another node than the one that ended it.
func TestRemotes_recordings_of_what_never_started(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, here := store.Remotes{DB: db}, newScene(t, db, 1)
		must(t, s.Beat(t.Context(), "lives", start.Add(time.Hour)))
		begun := func(state remote.State, node string) string {
			return becomes(t, s, addRemote(t, s, here.session(remote.Waiting, 0), remote.Digests{}).ID, state, node).ID
		}
		over := func(id string, ended time.Time) string {
			_, err := s.Change(t.Context(), id, nil, func(x remote.Session) (remote.Session, []audit.Event, error) {
				x.State, x.Ended, x.End = remote.Ended, ended, remote.Abandoned
				return x, nil, nil
			})
			must(t, err)
			return id
		}
		now := start.Add(time.Minute)
		want := []string{over(begun(remote.Waiting, ""), start), over(begun(remote.Waiting, "lives"), start)}
		slices.Sort(want)
		for _, id := range []string{
			over(begun(remote.Waiting, ""), now),       // whoever began it may be about to sign it
			over(begun(remote.Active, "lives"), start), // which signs it itself
			begun(remote.Waiting, ""),
		} {
			must(t, store.Recordings{DB: db}.BeginRecording(t.Context(), id, start))
		}
		wantUncut(t, s, now, want)
	})
}

// wantUncut lets the recordings of sessions be signed, and expects none to be listed that need not be.
func wantUncut(t *testing.T, s store.Remotes, seen time.Time, sessions []string) {
	t.Helper()
	ctx, recordings := t.Context(), store.Recordings(s)
	uncut := func(after string, limit int, want ...string) {
		t.Helper()
		list, err := s.Uncut(ctx, seen, after, limit)
		must(t, err)
		var got []string
		for _, x := range list {
			got = append(got, x.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v are not signed, not %v", got, want)
		}
	}
	uncut("", 9) // nothing was recorded
	for _, id := range sessions {
		must(t, recordings.BeginRecording(ctx, id, start))
	}
	uncut("", 9, sessions...)
	uncut("", 1, sessions[0])
	uncut(sessions[0], 9, sessions[1])
	must(t, recordings.FinishRecording(ctx, sessions[0], nil, start, []byte("signed"), ""))
	uncut("", 9, sessions...) // it may not be where it belongs
	must(t, recordings.SettleRecording(ctx, sessions[0], []byte("signed")))
	uncut("", 9, sessions[1])
	list, err := s.Uncut(ctx, seen.Add(-time.Hour), "", 9)
	must(t, err)
	for _, x := range list {
		if x.Node == "gone" {
			t.Error("its node lives, and signs it")
		}
	}
}

func TestRemotes_doomed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s, here := t.Context(), store.Remotes{DB: db}, newScene(t, db, 2)
		from := "" // the Gatehouse session that it was opened from
		begun := func(credential int, node string) remote.Session {
			x := here.session(remote.Waiting, credential)
			x.Session = from
			return becomes(t, s, addRemote(t, s, x, remote.Digests{}).ID, remote.Active, node)
		}
		asked, other, fine := begun(0, "n1"), begun(0, "n2"), begun(1, "n1")
		doomed := func(node string) map[string]remote.Reason {
			all, err := s.Doomed(ctx, node)
			must(t, err)
			why := map[string]remote.Reason{}
			for _, x := range all {
				why[x.ID] = x.EndAsked
			}
			return why
		}
		if got := doomed("n1"); len(got) != 0 {
			t.Errorf("%v", got)
		}
		for _, id := range []string{asked.ID, other.ID} {
			_, err := s.Change(ctx, id, nil, func(x remote.Session) (remote.Session, []audit.Event, error) {
				x.EndAsked, x.EndedBy = remote.Dropped, "root"
				return x, nil, nil
			})
			must(t, err)
		}
		if got := doomed("n1"); len(got) != 1 || got[asked.ID] != remote.Dropped {
			t.Errorf("%v", got)
		}
		for _, change := range []struct{ table, id string }{{"users", here.user.ID}, {"accounts", here.user.Account}, {"credentials", here.cred[1].ID}, {"devices", here.cred[1].Device.ID}} {
			for _, off := range []bool{true, false} {
				err := db.Write(ctx, func(ctx context.Context, tx store.Tx) error {
					_, err := tx.ExecContext(ctx, `UPDATE `+change.table+` SET disabled = $2 WHERE id = $1`, change.id, off)
					return err
				})
				must(t, err)
				if _, gone := doomed("n1")[fine.ID]; gone != off {
					t.Errorf("%s disabled %v: doomed %v", change.table, off, gone)
				}
			}
		}
		becomes(t, s, asked.ID, remote.Ended, "n1")
		if got := doomed("n1"); len(got) != 0 {
			t.Errorf("%v", got)
		}
		from = newID() // its owner has signed out (rule S14)
		if left := begun(1, "n1"); doomed("n1")[left.ID] != remote.Revoked {
			t.Error("a session outlived the sign-in that it was opened from")
		}
	})
}

func TestRemotes_carried(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, here := store.Remotes{DB: db}, newScene(t, db, 1)
		begun := func(state remote.State, node string) string {
			x := addRemote(t, s, here.session(remote.Waiting, 0), remote.Digests{})
			return becomes(t, s, x.ID, state, node).ID
		}
		carried := func(node string, want ...string) {
			t.Helper()
			got, err := s.Carried(t.Context(), node)
			must(t, err)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s carries %v, not %v", node, got, want)
			}
		}
		carried("n1")
		one, two, other := begun(remote.Active, "n1"), begun(remote.Active, "n1"), begun(remote.Active, "n2")
		begun(remote.Waiting, "n1")
		begun(remote.Waiting, "")
		carried("n1", one, two)
		carried("n2", other)
		becomes(t, s, one, remote.Ended, "n1")
		becomes(t, s, two, remote.Active, "n2")
		carried("n1")
		carried("n2", two, other)
	})
}

func TestRemotes_watches_and_frames(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s, here := t.Context(), store.Remotes{DB: db}, newScene(t, db, 1)
		x := addRemote(t, s, here.session(remote.Waiting, 0), remote.Digests{})
		y := addRemote(t, s, here.session(remote.Waiting, 0), remote.Digests{})
		ana := remote.Watching{ID: newID(), Session: x.ID, Watcher: "ana", Until: start.Add(time.Minute)}
		must(t, s.Watch(ctx, ana))
		must(t, s.Watch(ctx, remote.Watching{ID: newID(), Session: x.ID, Watcher: "bob", Until: start.Add(time.Second)}))
		watched := func(after time.Duration) []string {
			names, err := s.Watched(ctx, []string{x.ID, y.ID}, start.Add(after))
			must(t, err)
			if len(names[y.ID]) != 0 {
				t.Errorf("%v", names)
			}
			return names[x.ID]
		}
		if got := watched(0); !slices.Equal(got, []string{"ana", "bob"}) {
			t.Errorf("%v", got)
		}
		if got := watched(time.Second); !slices.Equal(got, []string{"ana"}) {
			t.Errorf("%v", got)
		}
		ana.Until = start.Add(time.Hour)
		must(t, s.Watch(ctx, ana))
		if got := watched(30 * time.Minute); !slices.Equal(got, []string{"ana"}) {
			t.Errorf("%v", got)
		}
		must(t, s.Unwatch(ctx, ana.ID))
		must(t, s.Unwatch(ctx, ana.ID))
		if got := watched(2 * time.Second); len(got) != 0 {
			t.Errorf("%v", got)
		}
		if none, err := s.Watched(ctx, nil, start); err != nil || len(none) != 0 {
			t.Errorf("%v, %v", none, err)
		}

		var frames []remote.Frame
		for i := range int64(5) {
			frames = append(frames, remote.Frame{Sequence: i + 1, At: start.Add(time.Duration(i) * time.Second), Body: []byte{byte(i), 0}})
		}
		must(t, s.AddFrames(ctx, x.ID, frames[:3]))
		must(t, s.AddFrames(ctx, x.ID, frames[2:])) // one once more
		got, err := s.Frames(ctx, x.ID, 1, 3)
		must(t, err)
		same(t, "frames", got, frames[1:4])
		must(t, s.DropFrames(ctx, start.Add(4*time.Second)))
		if got, err = s.Frames(ctx, x.ID, 0, 10); err != nil || len(got) != 1 || got[0].Sequence != 5 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestGrants(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s, here := t.Context(), store.Bindings{DB: db}, newScene(t, db, 1)
		dana := access.Subject{Kind: access.User, ID: here.user.ID}
		box := access.Device(here.cred[0].Device.ID)
		heard := make(chan string, 16)
		listening, stop := context.WithCancel(ctx)
		ready, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			_ = db.Listen(listening, func(payload string) { heard <- payload }, sync.OnceFunc(func() { close(ready) }))
		}()
		<-ready
		terms := access.Terms{Hours: []access.Hours{{Days: []time.Weekday{time.Monday}, From: "08:00", To: "18:00"}}, Zone: "Europe/Berlin", NotAfter: start, Approvers: []access.Subject{dana}, Approval: true}
		b := access.Binding{ID: newID(), Subject: dana, Role: access.DeviceConnect, Resource: access.Resource{Kind: box.Kind, ID: box.ID}, Created: start, Terms: terms}
		first, err := s.GrantTerms(ctx, b, event())
		must(t, err)
		if first.Number != 1 {
			t.Errorf("%+v", first)
		}
		if got := <-heard; got != "binding "+dana.ID {
			t.Errorf("told %q", got)
		}
		held, err := s.BindingsOf(ctx, dana)
		must(t, err)
		at := slices.IndexFunc(held, access.Binding.Opens)
		if at < 0 {
			t.Fatalf("%+v", held)
		}
		same(t, "terms", held[at].Terms, terms)
		events := func() int64 { return storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`) }
		before := events()
		b.ID = newID()
		again, err := s.GrantTerms(ctx, b, event())
		must(t, err)
		if again.ID != first.ID || again.Number != 1 || events() != before {
			t.Errorf("the same once more: %+v, %d events more", again, events()-before)
		}
		b.Terms = access.Terms{Reason: true}
		changed, err := s.GrantTerms(ctx, b, event())
		must(t, err)
		if changed.ID != first.ID || changed.Number != 1 || !changed.Terms.Reason || events() != before+1 {
			t.Errorf("other terms: %+v, %d events more", changed, events()-before)
		}
		b.ID, b.Role, b.Resource = newID(), access.CredentialConnect, access.Resource{Kind: access.CredentialKind, ID: here.cred[0].ID}
		if next, err := s.GrantTerms(ctx, b, event()); err != nil || next.Number != 2 {
			t.Errorf("%+v, %v", next, err)
		}
		must(t, s.Grant(ctx, access.Binding{ID: newID(), Subject: dana, Role: access.Licensed, Resource: access.Installation, Created: start}, event()))
		p, err := s.Grants(ctx, access.Subject{}, page.Of(0, 10))
		if err != nil || p.Total != 2 || len(p.Items) != 2 || p.Items[0].Number != 1 || p.Items[0].Name != "dana" || !p.Items[0].Terms.Reason {
			t.Errorf("%+v, %v", p, err)
		}
		if p, err := s.Grants(ctx, access.Subject{Kind: access.Group, ID: dana.ID}, page.Of(0, 10)); err != nil || p.Total != 0 {
			t.Errorf("%+v, %v", p, err)
		}
		if got, err := s.GrantByNumber(ctx, 2); err != nil || got.Role != access.CredentialConnect {
			t.Errorf("%+v, %v", got, err)
		}
		is(t, second(s.GrantByNumber(ctx, 3)), access.ErrNoGrantOf)
		is(t, second(s.GrantByNumber(ctx, 0)), access.ErrNoGrantOf)
		must(t, s.Revoke(ctx, changed, event()))
		is(t, second(s.GrantByNumber(ctx, 1)), access.ErrNoGrantOf)
		if next, err := s.GrantTerms(ctx, access.Binding{ID: newID(), Subject: dana, Role: access.DeviceConnect, Resource: b.Resource, Created: start}, event()); err != nil || next.Number != 3 {
			t.Errorf("a number twice: %+v, %v", next, err)
		}
		stop()
		<-done
	})
}
