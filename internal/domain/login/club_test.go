package login_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238 codes are made with it
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// books is what a club keeps: people, sessions, second factors, conversations, roles and accounts, as the SQL does.
type books struct {
	mu      sync.Mutex
	users   map[string]identity.User
	rows    map[string]session.Session
	sets    map[string]factor.Set
	talks   map[string]factor.Conversation
	roles   map[string]access.Role // on the installation
	joined  map[string][]identity.Joined
	events  []audit.Event
	visited int // changes of second factors
}

// members is the shelf of users.
type members struct {
	identity.Store
	*books
}

func (b members) found(is func(identity.User) bool) (identity.User, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range b.users {
		if is(u) {
			return u, nil
		}
	}
	return identity.User{}, identity.ErrUnknown
}

func (b members) ByID(_ context.Context, id string) (identity.User, error) {
	return b.found(func(u identity.User) bool { return u.ID == id })
}

func (b members) ByName(_ context.Context, _, folded string) (identity.User, error) {
	return b.found(func(u identity.User) bool { return identity.Fold(u.Name) == folded })
}

func (b members) ByEmail(_ context.Context, _, folded string) (identity.User, error) {
	return b.found(func(u identity.User) bool { return identity.FoldEmail(u.Email) == folded })
}

func (b members) Change(_ context.Context, id string, decide func(identity.User) (identity.User, error), end identity.Ending, e audit.Event) (identity.User, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.users[id]
	u, err := decide(was)
	if err != nil {
		return u, err
	}
	if u.PasswordHash != was.PasswordHash || u.Disabled {
		b.drop(id)
	}
	b.users[id], b.events = u, append(b.events, e)
	b.end(id, end)
	return u, nil
}

func (b *books) end(user string, end identity.Ending) {
	for id, x := range b.rows {
		if end.Sessions && x.Principal.ID == user && id != end.Except && x.Ended.IsZero() {
			x.State, x.Ended = session.Terminated, time.Unix(1, 0)
			b.rows[id] = x
		}
	}
}

func (b *books) drop(user string) {
	maps.DeleteFunc(b.talks, func(_ string, c factor.Conversation) bool { return c.User == user })
}

// chairs is the shelf of sessions.
type chairs struct {
	session.Store
	*books
}

func (b chairs) now(x session.Session) session.Session {
	x.Shut = b.users[x.Principal.ID].Disabled
	return x
}

func (b chairs) Insert(_ context.Context, x session.Session, stamp string, _ int, e audit.Event, _ func(session.Session) audit.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if u := b.users[x.Principal.ID]; u.Disabled || stamp != "" && stamp != u.PasswordHash {
		return session.ErrChanged
	}
	b.rows[x.ID], b.events = x, append(b.events, e)
	return nil
}

func (b chairs) one(is func(session.Session) bool) (session.Session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.rows {
		if is(x) {
			return b.now(x), nil
		}
	}
	return session.Session{}, session.ErrUnknown
}

func (b chairs) ByDigest(_ context.Context, digest [32]byte) (session.Session, error) {
	return b.one(func(x session.Session) bool { return x.Digest == digest })
}

func (b chairs) ByID(_ context.Context, id string) (session.Session, error) {
	return b.one(func(x session.Session) bool { return x.ID == id })
}

func (b chairs) Change(_ context.Context, id string, decide func(session.Session) (session.Session, error), e audit.Event) (session.Session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x, ok := b.rows[id]
	if !ok {
		return x, session.ErrUnknown
	}
	x, err := decide(b.now(x))
	if err == nil {
		b.rows[id], b.events = x, append(b.events, e)
	}
	return x, err
}

func (b chairs) Touch(context.Context, string, time.Time, time.Time) error { return nil }

func (b chairs) End(_ context.Context, id string, at time.Time, e audit.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if x, ok := b.rows[id]; ok && x.Ended.IsZero() {
		x.State, x.Ended = session.Terminated, at
		b.rows[id], b.events = x, append(b.events, e)
	}
	return nil
}

// vault is the shelf of second factors.
type vault struct{ *books }

func (b vault) copied(user string) factor.Set {
	set := b.sets[user]
	set.User, set.Devices, set.Codes = user, slices.Clone(set.Devices), slices.Clone(set.Codes)
	if set.TOTP != nil {
		app := *set.TOTP
		set.TOTP = &app
	}
	return set
}

func (b vault) Of(_ context.Context, user string) (factor.Set, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.copied(user), nil
}

func (b vault) Change(_ context.Context, user string, decide func(*factor.Set) (factor.Change, error)) (factor.Set, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	set := b.copied(user)
	c, err := decide(&set)
	if err == nil {
		b.apply(user, set, c)
	}
	return set, err
}

func (b vault) apply(user string, set factor.Set, c factor.Change) {
	b.sets[user], b.events = set, append(b.events, c.Events...)
	b.visited++
	b.end(user, c.End)
}

func (b vault) Open(_ context.Context, c factor.Conversation) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.talks, func(_ string, o factor.Conversation) bool {
		return c.Session != "" && o.User == c.User && o.Purpose == c.Purpose && o.Session == c.Session
	})
	b.talks[c.ID] = c
	return nil
}

func (b vault) seek(k factor.Key) (factor.Conversation, error) {
	for _, c := range b.talks {
		if c.Purpose == k.Purpose && (k.Session != "" && c.Session == k.Session || k.Session == "" && c.Digest == k.Digest) {
			return c, nil
		}
	}
	return factor.Conversation{}, factor.ErrNoConversation
}

func (b vault) Find(_ context.Context, k factor.Key) (factor.Conversation, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seek(k)
}

func (b vault) Answer(_ context.Context, k factor.Key, decide func(*factor.Conversation, *factor.Set) (bool, factor.Change, error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, err := b.seek(k)
	if err != nil {
		return err
	}
	set := b.copied(c.User)
	keep, change, err := decide(&c, &set)
	if err != nil {
		return err
	}
	b.talks[c.ID] = c
	if !keep {
		delete(b.talks, c.ID)
	}
	maps.DeleteFunc(b.talks, func(id string, o factor.Conversation) bool {
		return change.Alone && o.User == c.User && o.Purpose == factor.SignIn && id != c.ID
	})
	b.apply(c.User, set, change)
	return nil
}

func (b vault) Drop(_ context.Context, user string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(user)
	return nil
}

func (b vault) Sweep(context.Context, time.Time, int) (int, error) { return 0, nil }

func (b vault) ByCredential(_ context.Context, credential []byte) (string, factor.Device, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for user, set := range b.sets {
		for _, d := range set.Devices {
			if slices.Equal(d.Credential, credential) {
				return user, d, nil
			}
		}
	}
	return "", factor.Device{}, factor.ErrNoDevice
}

// offices is the shelf of roles on the installation.
type offices struct {
	access.Store
	*books
}

func (b offices) BindingsOf(_ context.Context, of access.Subject) ([]access.Binding, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if role, ok := b.roles[of.ID]; ok && of.Kind == access.User {
		return []access.Binding{{Subject: of, Role: role, Resource: access.Installation}}, nil
	}
	return nil, nil
}

// houses is the shelf of accounts.
type houses struct {
	identity.AccountStore
	*books
}

func (b houses) OfUser(_ context.Context, user string) ([]identity.Joined, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.joined[user], nil
}

func (b houses) ByID(_ context.Context, id string) (identity.Account, error) {
	return identity.Account{ID: id}, nil
}

func (b houses) Member(_ context.Context, account, user string) (identity.Person, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, j := range b.joined[user] {
		if j.Account.ID == account {
			return identity.Person{Member: j.Member}, nil
		}
	}
	return identity.Person{}, identity.ErrNoMember
}

func (b houses) Members(context.Context, string, page.Window) (page.Page[identity.Person], error) {
	return page.Page[identity.Person]{}, errors.ErrUnsupported
}

// club is a Service for people with second factors: dana and erik, ordinary, adam, an administrator, and ruth, who may do everything. Everybody's
// password is their name's.
type club struct {
	*login.Service
	*books
	clock   time.Time
	strikes *strikes
	waited  []time.Duration
}

func phrase(name string) string { return "the phrase of " + name }

func newClub() *club {
	c := &club{
		clock: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC), strikes: &strikes{rows: map[string]guard.Record{}},
		books: &books{
			users: map[string]identity.User{}, rows: map[string]session.Session{}, sets: map[string]factor.Set{}, talks: map[string]factor.Conversation{},
			roles: map[string]access.Role{"adam": access.Admin, "ruth": access.SysAdmin}, joined: map[string][]identity.Joined{},
		},
	}
	for _, name := range []string{"dana", "erik", "adam", "ruth"} {
		c.users[name] = identity.User{ID: name, Account: accID, Name: name, Email: name + "@example.test", PasswordHash: "hash of " + phrase(name)}
	}
	now, hasher := func() time.Time { return c.clock }, &counting{}
	var mu sync.Mutex
	ids := 0
	newID := func() string {
		mu.Lock()
		defer mu.Unlock()
		ids++
		return fmt.Sprint("n", ids)
	}
	rights := &access.Service{Store: offices{books: c.books}, Now: now, NewID: newID}
	c.Service = &login.Service{
		Audit: &audit.Service{Store: &events{}, Now: now, Folder: audit.NewFolder(time.Minute)}, Now: now, Access: rights,
		Users:    &identity.Service{Store: members{books: c.books}, Hasher: hasher, Now: now},
		Accounts: &identity.Accounts{Store: houses{books: c.books}, Now: now},
		Sessions: &session.Service{
			Store: chairs{books: c.books}, Access: rights, Now: now, NewID: newID, CacheFor: 2 * time.Second,
			Users: session.Life{Idle: 24 * time.Hour, Max: 7 * 24 * time.Hour, Limit: 99}, Wait: 5 * time.Minute,
		},
		Second: &factor.Service{
			Store: vault{c.books}, Now: now, NewID: newID, RPID: "localhost", RPName: "Gatehouse", Origins: []string{origin},
			Wait: 5 * time.Minute, Talk: 10 * time.Minute, Tries: 5,
		},
		Lockout: guard.NewLockout(c.strikes, now), Gate: &guard.Gate{Width: 4}, Hasher: hasher, MinFailure: 250 * time.Millisecond, QueueWait: time.Second,
		ElevationFor: 10 * time.Minute, UnlockFor: 10 * time.Minute, FreshFor: 10 * time.Minute, ElevationTries: 5, RefuseEnrolledBasic: true, Enforcement: login.DemandNone,
		Wait: func(_ context.Context, d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			c.waited = append(c.waited, d)
		},
		Failures: &guard.Failures{Store: &failures{rows: map[string]guard.Counter{}}, Now: now, Threshold: 20, Window: time.Minute},
	}
	return c
}

const origin = "http://localhost:8080"

// codeOf is the code of a TOTP app so many steps from now (RFC 6238).
func (c *club) codeOf(app secret.String, steps int64) secret.String {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(app.Reveal())
	if err != nil {
		panic(err)
	}
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(c.clock.Unix()/30+steps)) //nolint:gosec // times here are after 1970
	mac := hmac.New(sha1.New, key)
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	at := sum[19] & 15
	return secret.New(fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[at:at+4])&0x7fffffff)%1_000_000))
}

func (c *club) pass(d time.Duration) { c.clock = c.clock.Add(d) }

// knock is a sign-in by password.
func (c *club) knock(t failer, name string, in login.Begin) login.Signed {
	t.Helper()
	signed, err := c.SignIn(context.Background(), password(name, phrase(name)), in)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// enrol sets an app up in a session of its own, which ends, and returns the app's secret and the recovery key. Time passes, so that codes are fresh.
func (c *club) enrol(t failer, name string) (app, recovery secret.String) {
	t.Helper()
	ctx, by := context.Background(), c.knock(t, name, login.Begin{}).Caller
	if _, err := c.ElevateByPassword(ctx, by, secret.New(phrase(name))); err != nil {
		t.Fatal(err)
	}
	e, err := c.StartVoluntary(ctx, by)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := c.CompleteVoluntary(ctx, by, e.Token, c.codeOf(e.Secret, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Sessions.Terminate(ctx, by); err != nil {
		t.Fatal(err)
	}
	c.pass(time.Minute)
	return e.Secret, signed.Recovery
}

// opens says whether a token opens anything but its next step.
func (c *club) opens(token secret.String) error {
	_, err := c.Authenticate(context.Background(), login.Presented{Kind: login.Session, Secret: token, Address: inside, Door: "test", Accepts: takes})
	return err
}

func totp(code secret.String) factor.Answer { return factor.Answer{Kind: factor.TOTP, Code: code} }

func recoveryCode(code secret.String) factor.Answer {
	return factor.Answer{Kind: factor.Recovery, Code: code}
}

// failer is a test, or one walk of many.
type failer interface {
	Helper()
	Fatal(args ...any)
}
