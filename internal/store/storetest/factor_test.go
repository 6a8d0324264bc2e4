package storetest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func deviceNamed(name string) factor.Device {
	return factor.Device{
		ID: newID(), Name: name, Kind: factor.WebAuthn, Credential: []byte("credential of " + name), PublicKey: []byte("key"), Counter: 1<<32 - 1, Origin: "https://gate.test",
		Transports: []string{"usb", "nfc"}, AAGUID: make([]byte, 16), Format: "packed", Flags: 0xff, Created: start,
	}
}

func codeOf(kind factor.CodeKind) factor.Code {
	return factor.Code{ID: newID(), Kind: kind, Salt: []byte("salt"), Hash: secret.Digest(newID()), Created: start}
}

func talkOf(user string, p factor.Purpose) factor.Conversation {
	return factor.Conversation{
		ID: newID(), Digest: secret.Digest(newID()), Purpose: p, User: user, Name: "dana", Method: "password", Stamp: "stamp", Provider: "provider", Target: "/there",
		Secret: secret.New("the secret"), Created: start, Expires: start.Add(time.Minute),
		ProviderSession: "session there", Until: start.Add(time.Hour),
	}
}

func keyOf(c factor.Conversation) factor.Key {
	return factor.Key{Digest: c.Digest, Session: c.Session, Purpose: c.Purpose}
}

// put changes a set and records one event.
func put(t *testing.T, s store.Factors, user string, to func(*factor.Set)) factor.Set {
	t.Helper()
	set, err := s.Change(t.Context(), user, func(set *factor.Set) (factor.Change, error) {
		to(set)
		return factor.Change{Events: []audit.Event{event()}}, nil
	})
	must(t, err)
	return set
}

// sameSet compares what printing hides too.
func sameSet(t *testing.T, s store.Factors, want factor.Set) {
	t.Helper()
	got, err := s.Of(t.Context(), want.User)
	must(t, err)
	same(t, "set", got, want)
	if (got.TOTP == nil) != (want.TOTP == nil) || got.TOTP != nil && !got.TOTP.Secret.Equal(want.TOTP.Secret) {
		t.Error("another secret")
	}
}

func TestFactors(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := store.Factors{DB: db, Sealer: sealer(t)}
		dana, kim := addUser(t, db, "dana"), addUser(t, db, "kim")
		sameSet(t, s, factor.Set{User: dana.ID})

		full := put(t, s, dana.ID, func(set *factor.Set) {
			set.TOTP = &factor.App{Secret: secret.New("SECRET"), Enabled: start, LastStep: 1 << 40}
			set.Devices = []factor.Device{deviceNamed("a"), deviceNamed("b")}
			set.Codes = []factor.Code{codeOf(factor.InList), codeOf(factor.AsKey)}
		})
		sameSet(t, s, full)
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM factor_totp WHERE sealed = $1`, []byte("SECRET")); n != 0 {
			t.Error("the secret lies open")
		}

		used := put(t, s, dana.ID, func(set *factor.Set) {
			set.TOTP.LastStep++
			set.Devices[0].Counter, set.Devices[0].LastUsed, set.Devices[1].Name = 5, start.Add(time.Hour), "c"
			set.Codes[0].Used = start.Add(time.Hour)
		})
		if used.TOTP.LastStep != 1<<40+1 || used.Devices[1].Name != "c" {
			t.Errorf("%+v", used)
		}
		sameSet(t, s, used)
		user, d, err := s.ByCredential(t.Context(), used.Devices[0].Credential)
		must(t, err)
		same(t, "device", d, used.Devices[0])
		if user != dana.ID {
			t.Error(user)
		}
		_, _, err = s.ByCredential(t.Context(), []byte("none"))
		is(t, err, factor.ErrNoDevice)

		fresh := put(t, s, dana.ID, func(set *factor.Set) {
			set.TOTP = &factor.App{Secret: secret.New("OTHER"), Enabled: start.Add(time.Hour), LastStep: 3}
			d := deviceNamed("c")
			d.Credential = []byte("new")
			set.Devices, set.Codes = []factor.Device{d}, []factor.Code{codeOf(factor.AsKey)}
		})
		sameSet(t, s, fresh)
		sameSet(t, s, factor.Set{User: kim.ID})

		before := fresh
		refuse := errors.New("refused")
		_, err = s.Change(t.Context(), dana.ID, func(set *factor.Set) (factor.Change, error) {
			set.TOTP, set.Devices = nil, nil
			return factor.Change{}, refuse
		})
		is(t, err, refuse)
		for wanted, d := range map[error]factor.Device{factor.ErrNameTaken: deviceNamed("c"), factor.ErrKnownKey: {ID: newID(), Name: "z", Credential: []byte("new"), PublicKey: []byte{}, AAGUID: []byte{}}} {
			_, err = s.Change(t.Context(), dana.ID, func(set *factor.Set) (factor.Change, error) {
				set.TOTP, set.Devices = nil, append(set.Devices, d)
				return factor.Change{}, nil
			})
			is(t, err, wanted)
		}
		_, err = s.Change(t.Context(), kim.ID, func(set *factor.Set) (factor.Change, error) {
			d := deviceNamed("c")
			d.Credential = []byte("new")
			set.Devices = append(set.Devices, d)
			return factor.Change{}, nil
		})
		is(t, err, factor.ErrKnownKey)
		_, err = s.Change(t.Context(), "nobody", func(*factor.Set) (factor.Change, error) { return factor.Change{}, nil })
		is(t, err, identity.ErrUnknown)
		sameSet(t, s, before)

		put(t, s, dana.ID, func(set *factor.Set) { *set = factor.Set{User: set.User} })
		sameSet(t, s, factor.Set{User: dana.ID})
	})
}

// A secret opens where it lies and nowhere else.
func TestFactors_secrets_are_bound_to_their_rows(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := store.Factors{DB: db, Sealer: sealer(t)}
		dana, kim := addUser(t, db, "dana"), addUser(t, db, "kim")
		for _, u := range []identity.User{dana, kim} {
			put(t, s, u.ID, func(set *factor.Set) { set.TOTP = &factor.App{Secret: secret.New("SECRET"), Enabled: start} })
		}
		one, two := talkOf(dana.ID, factor.SignIn), talkOf(kim.ID, factor.SignIn)
		must(t, s.Open(t.Context(), one))
		must(t, s.Open(t.Context(), two))
		storetest.Write(t, db,
			`UPDATE factor_totp SET sealed = (SELECT o.sealed FROM factor_totp o WHERE o.user_id = '`+dana.ID+`') WHERE user_id = '`+kim.ID+`'`,
			`UPDATE factor_conversations SET sealed = (SELECT o.sealed FROM factor_conversations o WHERE o.id = '`+one.ID+`') WHERE id = '`+two.ID+`'`)
		_, err := s.Of(t.Context(), kim.ID)
		is(t, err, secret.ErrSealed)
		_, err = s.Find(t.Context(), keyOf(two))
		is(t, err, secret.ErrSealed)
		sameSet(t, s, factor.Set{User: dana.ID, TOTP: &factor.App{Secret: secret.New("SECRET"), Enabled: start}})
	})
}

// What a change ends it ends in its own transaction, and every node hears of it.
func TestFactors_end_sessions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, sessions := store.Factors{DB: db, Sealer: sealer(t)}, store.Sessions{DB: db}
		dana := addUser(t, db, "dana")
		kept, ended := begin(t, db, sessionOf(access.User, dana.ID), 9), begin(t, db, sessionOf(access.User, dana.ID), 9)
		mine, theirs, nobodys := talkOf(dana.ID, factor.Update), talkOf(dana.ID, factor.Update), talkOf(dana.ID, factor.SignIn)
		mine.Session, theirs.Session = kept.ID, ended.ID
		for _, c := range []factor.Conversation{mine, theirs, nobodys} {
			must(t, s.Open(t.Context(), c))
		}
		end := identity.Ending{Sessions: true, Except: kept.ID}
		_, err := s.Change(t.Context(), dana.ID, func(*factor.Set) (factor.Change, error) { return factor.Change{End: end}, nil })
		if err == nil {
			t.Error("sessions end without an event")
		}
		_, err = s.Change(t.Context(), dana.ID, func(*factor.Set) (factor.Change, error) {
			return factor.Change{Events: []audit.Event{event(), event()}, End: end}, nil
		})
		must(t, err)
		for id, alive := range map[string]bool{kept.ID: true, ended.ID: false} {
			x, err := sessions.ByID(t.Context(), id)
			must(t, err)
			if (x.State == session.Active) != alive {
				t.Errorf("%+v", x)
			}
		}
		for _, gone := range []factor.Conversation{theirs, nobodys} {
			_, err := s.Find(t.Context(), keyOf(gone))
			is(t, err, factor.ErrNoConversation)
		}
		_, err = s.Find(t.Context(), keyOf(mine))
		must(t, err)
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events WHERE body LIKE '%"sessions_ended":"1"%'`); n != 1 {
			t.Errorf("%d events tell how many sessions ended", n)
		}
	})
}

// A sign-in that waits for its second factor does not outlive the password that began it.
func TestFactors_conversations_end_with_the_password(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := store.Factors{DB: db, Sealer: sealer(t)}
		dana, kim := addUser(t, db, "dana"), addUser(t, db, "kim")
		hers, his := talkOf(dana.ID, factor.SignIn), talkOf(kim.ID, factor.SignIn)
		must(t, s.Open(t.Context(), hers))
		must(t, s.Open(t.Context(), his))
		_, err := store.Users{DB: db}.Change(t.Context(), dana.ID, func(u identity.User) (identity.User, error) { u.PasswordHash = "new"; return u, nil }, identity.Ending{Sessions: true}, event())
		must(t, err)
		_, err = s.Find(t.Context(), keyOf(hers))
		is(t, err, factor.ErrNoConversation)
		_, err = s.Find(t.Context(), keyOf(his))
		must(t, err)
	})
}

func TestConversations(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Factors{DB: db, Sealer: sealer(t)}, t.Context()
		dana, kim := addUser(t, db, "dana"), addUser(t, db, "kim")
		free, bound := talkOf(dana.ID, factor.SignIn), talkOf(dana.ID, factor.SignIn)
		bound.Session, bound.Secret = "session", secret.String{}
		for _, c := range []factor.Conversation{free, bound} {
			must(t, s.Open(ctx, c))
			got, err := s.Find(ctx, keyOf(c))
			must(t, err)
			same(t, "conversation", got, c)
			if !got.Secret.Equal(c.Secret) {
				t.Error("another secret")
			}
		}
		got, err := s.Find(ctx, factor.Key{Digest: bound.Digest, Purpose: bound.Purpose})
		must(t, err)
		same(t, "conversation by its token", got, bound)
		for _, k := range []factor.Key{
			{}, {Purpose: factor.SignIn}, {Digest: free.Digest, Purpose: factor.Enforced}, {Session: "session", Purpose: factor.Enforced}, {Session: "other", Purpose: factor.SignIn},
		} {
			_, err := s.Find(ctx, k)
			is(t, err, factor.ErrNoConversation)
			is(t, s.Answer(ctx, k, func(*factor.Conversation, *factor.Set) (bool, factor.Change, error) {
				t.Error("asked")
				return false, factor.Change{}, nil
			}), factor.ErrNoConversation)
		}

		again, other, others := talkOf(dana.ID, factor.SignIn), talkOf(dana.ID, factor.Update), talkOf(kim.ID, factor.SignIn)
		again.Session, other.Session = "session", "session"
		for _, c := range []factor.Conversation{other, others, talkOf(dana.ID, factor.SignIn), again} {
			must(t, s.Open(ctx, c))
		}
		_, err = s.Find(ctx, factor.Key{Digest: bound.Digest, Purpose: bound.Purpose})
		is(t, err, factor.ErrNoConversation) // replaced in its session
		for _, c := range []factor.Conversation{free, other, others, again} {
			_, err := s.Find(ctx, keyOf(c))
			must(t, err)
		}
		must(t, s.Drop(ctx, dana.ID))
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM factor_conversations`); n != 1 {
			t.Errorf("%d are left", n)
		}
		is(t, s.Open(ctx, talkOf("nobody", factor.SignIn)), identity.ErrUnknown)
	})
}

func TestConversations_answers(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Factors{DB: db, Sealer: sealer(t)}, t.Context()
		dana := addUser(t, db, "dana")
		c := talkOf(dana.ID, factor.Enforced)
		c.Secret = secret.String{}
		must(t, s.Open(ctx, c))
		answer := func(keep bool, to func(*factor.Conversation, *factor.Set) error) error {
			return s.Answer(ctx, keyOf(c), func(c *factor.Conversation, set *factor.Set) (bool, factor.Change, error) {
				err := to(c, set)
				return keep, factor.Change{Events: []audit.Event{event()}}, err
			})
		}
		events := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`)
		refuse := errors.New("refused")
		is(t, answer(false, func(c *factor.Conversation, set *factor.Set) error {
			c.Tries, set.TOTP = 3, &factor.App{Secret: secret.New("X"), Enabled: start}
			return refuse
		}), refuse)
		sameSet(t, s, factor.Set{User: dana.ID})

		must(t, answer(true, func(c *factor.Conversation, _ *factor.Set) error {
			c.Tries, c.Secret = c.Tries+1, secret.New("made")
			return nil
		}))
		got, err := s.Find(ctx, keyOf(c))
		must(t, err)
		if got.Tries != 1 || got.Secret.Reveal() != "made" {
			t.Errorf("%d tries", got.Tries)
		}
		app := factor.App{Secret: secret.New("X"), Enabled: start, LastStep: 4}
		must(t, answer(false, func(_ *factor.Conversation, set *factor.Set) error { set.TOTP = &app; return nil }))
		sameSet(t, s, factor.Set{User: dana.ID, TOTP: &app})
		is(t, answer(false, func(*factor.Conversation, *factor.Set) error { return nil }), factor.ErrNoConversation)
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`); n != events+2 {
			t.Errorf("%d events", n-events)
		}
	})
}

// A wrong answer ends the other sign-ins of the user that wait for one, and nothing else.
func TestConversations_alone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Factors{DB: db, Sealer: sealer(t)}, t.Context()
		dana, kim := addUser(t, db, "dana"), addUser(t, db, "kim")
		answered, other, pending := talkOf(dana.ID, factor.SignIn), talkOf(dana.ID, factor.SignIn), talkOf(dana.ID, factor.SignIn)
		pending.Session = "s1"
		enrolling, foreign := talkOf(dana.ID, factor.Voluntary), talkOf(kim.ID, factor.SignIn)
		for _, c := range []factor.Conversation{answered, other, pending, enrolling, foreign} {
			must(t, s.Open(ctx, c))
		}
		must(t, s.Answer(ctx, keyOf(answered), func(*factor.Conversation, *factor.Set) (bool, factor.Change, error) {
			return true, factor.Change{Alone: true}, nil
		}))
		for _, c := range []factor.Conversation{other, pending} {
			_, err := s.Find(ctx, keyOf(c))
			is(t, err, factor.ErrNoConversation)
		}
		for _, c := range []factor.Conversation{answered, enrolling, foreign} {
			_, err := s.Find(ctx, keyOf(c))
			must(t, err)
		}
	})
}

// Of many nodes that do the same at the same moment each sees what the one before left (rule F7).
func TestFactors_one_after_the_other(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		seal := sealer(t)
		nodes := []store.Factors{{DB: one, Sealer: seal}, {DB: two, Sealer: seal}}
		s := nodes[0]
		dana := addUser(t, one, "dana")
		put(t, s, dana.ID, func(set *factor.Set) { set.TOTP = &factor.App{Secret: secret.New("X"), Enabled: start, LastStep: 1} })
		c := talkOf(dana.ID, factor.SignIn)
		must(t, s.Open(t.Context(), c))
		wrong, used := errors.New("used"), 0
		const each = 6
		errs := make(chan error, 4*each)
		var all sync.WaitGroup
		for _, node := range nodes {
			for range each {
				all.Go(func() {
					_, err := node.Change(context.WithoutCancel(t.Context()), dana.ID, func(set *factor.Set) (factor.Change, error) {
						if set.TOTP.LastStep >= 2 {
							return factor.Change{}, wrong
						}
						set.TOTP.LastStep = 2
						return factor.Change{Events: []audit.Event{event()}}, nil
					})
					errs <- err
				})
				all.Go(func() {
					errs <- node.Answer(context.WithoutCancel(t.Context()), keyOf(c), func(c *factor.Conversation, _ *factor.Set) (bool, factor.Change, error) {
						c.Tries++
						return c.Tries < 5, factor.Change{}, nil
					})
				})
			}
		}
		all.Wait()
		close(errs)
		var refused, gone int
		for err := range errs {
			switch {
			case err == nil:
				used++
			case errors.Is(err, wrong):
				refused++
			case errors.Is(err, factor.ErrNoConversation):
				gone++
			default:
				t.Error(err)
			}
		}
		if used != 1+5 || refused != 2*each-1 || gone != 2*each-5 {
			t.Errorf("%d went, %d used codes, %d without conversation", used, refused, gone)
		}
	})
}

func TestConversations_sweep(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := store.Factors{DB: db, Sealer: sealer(t)}
		dana := addUser(t, db, "dana")
		for i := range 5 {
			c := talkOf(dana.ID, factor.SignIn)
			c.Expires = start.Add(time.Duration(i) * time.Minute)
			must(t, s.Open(t.Context(), c))
		}
		var swept []int
		for range 4 {
			n, err := s.Sweep(t.Context(), start.Add(3*time.Minute), 2)
			must(t, err)
			swept = append(swept, n)
		}
		if !slices.Equal(swept, []int{2, 1, 0, 0}) {
			t.Error(swept)
		}
	})
}
