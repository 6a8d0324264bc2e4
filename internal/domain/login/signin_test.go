package login_test

import (
	"context"
	"encoding/json"
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
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// people keeps one user, programs one application, seats what sessions began, strikes failed sign-ins.
type people struct {
	identity.Store
	one identity.User
	end identity.Ending
	err error
}

func (s *people) found(is bool) (identity.User, error) {
	if s.err != nil {
		return identity.User{}, s.err
	}
	if !is {
		return identity.User{}, identity.ErrUnknown
	}
	return s.one, nil
}

func (s *people) ByID(_ context.Context, id string) (identity.User, error) {
	return s.found(id == s.one.ID)
}

func (s *people) ByName(_ context.Context, _, folded string) (identity.User, error) {
	return s.found(folded == identity.Fold(s.one.Name))
}

func (s *people) ByEmail(_ context.Context, _, folded string) (identity.User, error) {
	return s.found(folded == identity.FoldEmail(s.one.Email))
}

func (s *people) Change(_ context.Context, _ string, decide func(identity.User) (identity.User, error), end identity.Ending, _ audit.Event) (identity.User, error) {
	var err error
	s.one, err = decide(s.one)
	s.end = end
	return s.one, err
}

type programs struct {
	identity.ApplicationStore
	one identity.Application
}

func (s *programs) ByID(_ context.Context, id string) (identity.Application, error) {
	if id != s.one.ID {
		return identity.Application{}, identity.ErrNoApplication
	}
	return s.one, nil
}

func (s *programs) ByName(_ context.Context, account, name string) (identity.Application, error) {
	if account != s.one.Account || name != s.one.Name {
		return identity.Application{}, identity.ErrNoApplication
	}
	return s.one, nil
}

type seats struct {
	session.Store
	rows map[[32]byte]session.Session
	err  error

	named []session.Vouched // what providers ended
}

func (s *seats) Insert(_ context.Context, x session.Session, _ string, _ int, _ audit.Event, _ func(session.Session) audit.Event) error {
	if s.err == nil {
		s.rows[x.Digest] = x
	}
	return s.err
}

func (s *seats) ByDigest(_ context.Context, digest [32]byte) (session.Session, error) {
	if x, ok := s.rows[digest]; ok {
		return x, nil
	}
	return session.Session{}, session.ErrUnknown
}

func (s *seats) ByID(_ context.Context, id string) (session.Session, error) {
	for _, x := range s.rows {
		if x.ID == id {
			return x, nil
		}
	}
	return session.Session{}, session.ErrUnknown
}

func (s *seats) Change(_ context.Context, id string, decide func(session.Session) (session.Session, error), _ audit.Event) (session.Session, error) {
	for digest, x := range s.rows {
		if x.ID == id {
			is, err := decide(x)
			if err == nil {
				delete(s.rows, digest)
				s.rows[is.Digest] = is
			}
			return is, err
		}
	}
	return session.Session{}, session.ErrUnknown
}

type strikes struct {
	guard.LockoutStore
	mu   sync.Mutex
	rows map[string]guard.Record
	n    int
}

func (s *strikes) Record(_ context.Context, key string) (guard.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows[key], nil
}

func (s *strikes) Strike(_ context.Context, key string, decide func(guard.Record) guard.Record) (guard.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	s.rows[key] = decide(s.rows[key])
	return s.rows[key], nil
}

func (s *strikes) Clear(_ context.Context, keys []string, _ ...audit.Event) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.rows)
	for _, key := range keys {
		delete(s.rows, key)
	}
	return n - len(s.rows), nil
}

// counting is a hasher that knows one password of each hash, and counts.
type counting struct {
	mu     sync.Mutex
	hashes int
	err    error
}

func (h *counting) run(p secret.String) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch n := len(p.Reveal()); {
	case n == 0:
		return secret.ErrPasswordEmpty
	case n > secret.MaxPassword:
		return secret.ErrPasswordLong
	case h.err != nil:
		return h.err
	}
	h.hashes++
	return nil
}

func (h *counting) Check(_ context.Context, phc string, p secret.String) (bool, bool, error) {
	err := h.run(p)
	return err == nil && phc == "hash of "+p.Reveal(), false, err
}

func (h *counting) CheckNobody(_ context.Context, p secret.String) error { return h.run(p) }

func (h *counting) Hash(_ context.Context, p secret.String) (string, error) {
	return "hash of " + p.Reveal(), h.run(p)
}

type nobody struct{ access.Store }

func (nobody) BindingsOf(context.Context, access.Subject) ([]access.Binding, error) { return nil, nil }

const (
	appID    = "0b7f4d8a-3f0e-4c5b-8b3d-3b7a6c1d9e20"
	accID    = "6f0c2c52-0a4e-4c0b-9a56-0d5d7a1f2b11"
	right    = "correct horse"
	rightApp = "the application's secret"
)

type hall struct {
	*login.Service
	clock    time.Time
	people   *people
	programs *programs
	seats    *seats
	strikes  *strikes
	hasher   *counting
	events   *events
	waited   []time.Duration
	outcomes []string
}

func newHall() *hall {
	h := &hall{
		clock: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC), hasher: &counting{}, events: &events{},
		people:   &people{one: identity.User{ID: "u1", Account: accID, Name: "dana", Email: "Dana@example.test", PasswordHash: "hash of " + right}},
		programs: &programs{one: identity.Application{ID: appID, Account: accID, Name: "build-agent", AuthType: identity.BySecret, Digest: secret.Digest(rightApp)}},
		seats:    &seats{rows: map[[32]byte]session.Session{}}, strikes: &strikes{rows: map[string]guard.Record{}},
	}
	now, ids := func() time.Time { return h.clock }, 0
	rights, empty := &access.Service{Store: nobody{}, Now: now}, &books{}
	h.Service = &login.Service{
		Audit: &audit.Service{Store: h.events, Now: now, Folder: audit.NewFolder(time.Minute)}, Now: now, Access: rights,
		Users:        &identity.Service{Store: h.people, Hasher: h.hasher, Now: now},
		Applications: &identity.Applications{Store: h.programs, Now: now},
		Sessions: &session.Service{
			Store: h.seats, Access: rights, Now: now, NewID: func() string { ids++; return fmt.Sprint("s", ids) },
			Users: session.Life{Idle: time.Hour, Max: time.Hour, Limit: 9}, Apps: session.Life{Idle: time.Minute, Max: time.Hour, Limit: 9}, Wait: time.Minute,
		},
		Lockout: guard.NewLockout(h.strikes, now), Gate: &guard.Gate{Width: 4}, Hasher: h.hasher, MinFailure: 250 * time.Millisecond, QueueWait: time.Second,
		Second: &factor.Service{Store: vault{empty}, Now: now}, Accounts: &identity.Accounts{Store: houses{books: empty}, Now: now},
		ElevationFor: time.Minute, UnlockFor: time.Minute, FreshFor: 10 * time.Minute, ElevationTries: 5, RefuseEnrolledBasic: true,
		OnAttempt: func(_ login.Kind, outcome string) { h.outcomes = append(h.outcomes, outcome) },
		Wait:      func(_ context.Context, d time.Duration) { h.waited = append(h.waited, d) },
		Failures:  &guard.Failures{Store: &failures{rows: map[string]guard.Counter{}}, Now: now, Threshold: 20, Window: time.Minute},
	}
	return h
}

var (
	inside = netip.MustParseAddr("192.0.2.1")
	takes  = []login.Kind{login.Password, login.AppSecret, login.Session}
)

func password(name, text string) login.Presented {
	return login.Presented{Kind: login.Password, Name: name, Secret: secret.New(text), Address: inside, Door: "test", Accepts: takes}
}

// solving is the same with a right CAPTCHA, where one is due.
func solving(p login.Presented) login.Presented {
	p.Solve = func(context.Context) (bool, error) { return true, nil }
	return p
}

func program(name, text string) login.Presented {
	return login.Presented{Kind: login.AppSecret, Name: name, Secret: secret.New(text), Address: inside, Door: "test", Accepts: takes}
}

func (h *hall) try(t *testing.T, p login.Presented) error {
	t.Helper()
	_, err := h.SignIn(t.Context(), p, login.Begin{})
	return err
}

func want(t *testing.T, err, is error) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Fatalf("got %v, want %v", err, is)
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	t.Run("a_person_by_address_or_name_in_any_spelling", func(t *testing.T) {
		t.Parallel()
		h := newHall()
		for _, name := range []string{"dana@example.test", "DANA@Example.test", "dana", " Dana "} {
			in, err := h.SignIn(t.Context(), password(name, right), login.Begin{Transport: session.Cookie, UserAgent: "x"})
			want(t, err, nil)
			if in.Caller.Kind != access.User || in.Caller.ID != "u1" || in.Caller.Session != in.Session.ID || in.Session.Transport != session.Cookie || !in.Caller.At.Equal(h.clock) {
				t.Errorf("%+v", in)
			}
		}
	})
	t.Run("a_program_by_id_or_by_account_and_name", func(t *testing.T) {
		t.Parallel()
		h := newHall()
		byName := program("build-agent", rightApp)
		byName.Account = strings.ToUpper(accID)
		for _, p := range []login.Presented{program(strings.ToUpper(appID), rightApp), byName} {
			in, err := h.SignIn(t.Context(), p, login.Begin{})
			want(t, err, nil)
			if in.Caller.Kind != access.Application || in.Caller.ID != appID || in.Caller.Account != accID || in.Session.ExpiresIn(h.clock) != 60 {
				t.Errorf("%+v", in)
			}
		}
		if len(h.waited) > 0 || h.hasher.hashes > 0 {
			t.Errorf("waited %v, hashed %d", h.waited, h.hasher.hashes)
		}
	})
	t.Run("refuses_what_the_door_does_not_take", func(t *testing.T) {
		t.Parallel()
		h := newHall()
		p := password("dana", right)
		p.Accepts = []login.Kind{login.AppSecret}
		want(t, h.try(t, p), login.ErrNotAccepted)
		for _, kind := range []login.Kind{login.Session, login.APIKey, "saml"} {
			p := password("dana", right)
			p.Kind, p.Accepts = kind, append(takes, kind)
			want(t, h.try(t, p), login.ErrNotAccepted)
		}
		if h.hasher.hashes > 0 {
			t.Error("hashed")
		}
	})
	t.Run("is_overtaken_by_a_change", func(t *testing.T) {
		t.Parallel()
		h := newHall()
		h.seats.err = session.ErrChanged
		want(t, h.try(t, password("dana", right)), login.ErrFailed)
	})
}

// Every refusal looks, costs and lasts the same, and the audit log has the true reason (rules F6 and F12).
func TestSignIn_refuses_alike(t *testing.T) {
	t.Parallel()
	foreign := program(appID, rightApp)
	foreign.Address = netip.MustParseAddr("198.51.100.1")
	noAccount := program("build-agent", rightApp)
	noAccount.Account = "00000000-0000-4000-8000-000000000000"
	for name, c := range map[string]struct {
		change func(*hall)
		p      login.Presented
		hashes int
		reason string
	}{
		"wrong password":        {nil, password("dana", "wrong horse"), 1, "the password is wrong"},
		"unknown name":          {nil, password("nobody", right), 1, "there is no such user"},
		"unknown address":       {nil, password("nobody@example.test", right), 1, "there is no such user"},
		"no text":               {nil, password("da\x00na", right), 1, "there is no such user"},
		"invalid UTF-8":         {nil, password("\xff", right), 1, "there is no such user"},
		"a megabyte":            {nil, password(strings.Repeat("a", 1<<20), right), 1, "there is no such user"},
		"disabled":              {func(h *hall) { h.people.one.Disabled = true }, password("dana", right), 1, "the user is disabled"},
		"account disabled":      {func(h *hall) { h.people.one.AccountShut = true }, password("dana", right), 1, "the account is disabled"},
		"no password":           {func(h *hall) { h.people.one.PasswordHash = "" }, password("dana", right), 1, "the user has no password"},
		"empty":                 {nil, password("dana", ""), 0, "the password is wrong"},
		"too long (rule S20)":   {nil, password("dana", strings.Repeat("x", 1025)), 0, "the password is wrong"},
		"unknown program":       {nil, program("11111111-1111-4111-8111-111111111111", rightApp), 0, "there is no such application"},
		"no id":                 {nil, program("a\x00", rightApp), 0, "there is no such application"},
		"unknown account":       {nil, noAccount, 0, "there is no such application"},
		"wrong secret":          {nil, program(appID, rightApp+"x"), 0, "the secret is wrong"},
		"empty secret":          {nil, program(appID, ""), 0, "the secret is wrong"},
		"disabled program":      {func(h *hall) { h.programs.one.Disabled = true }, program(appID, rightApp), 0, "the application is disabled"},
		"its account disabled":  {func(h *hall) { h.programs.one.AccountShut = true }, program(appID, rightApp), 0, "the account is disabled"},
		"elsewhere (rule S2)":   {func(h *hall) { h.programs.one.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }, foreign, 0, "the application may not come from that address"},
		"another way to log in": {func(h *hall) { h.programs.one.AuthType = "aws" }, program(appID, rightApp), 0, "the application signs in otherwise"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHall()
			if c.change != nil {
				c.change(h)
			}
			err := h.try(t, c.p)
			want(t, err, login.ErrFailed)
			var failed *login.Failed
			if fault.Text(err) != "Invalid credentials" || !errors.As(err, &failed) || failed.CaptchaDue {
				t.Errorf("%v", err)
			}
			if h.hasher.hashes != c.hashes || len(h.waited) != 1 || h.waited[0] != 250*time.Millisecond || len(h.strikes.rows) == 0 {
				t.Errorf("%d hashes, waited %v, %d counted", h.hasher.hashes, h.waited, len(h.strikes.rows))
			}
			if len(h.events.all) != 1 || h.events.all[0].Reason != c.reason || h.events.all[0].Outcome != audit.Refused {
				t.Errorf("%+v", h.events.all)
			}
			for _, e := range h.events.all {
				if body := string(e.Body()); strings.Contains(body, right) || strings.Contains(body, rightApp) || strings.Contains(body, "nobody@") {
					t.Errorf("tells too much: %s", body)
				}
			}
			if len(h.seats.rows) > 0 {
				t.Error("a session began")
			}
		})
	}
}

// The old secret of a program works until its time is over, to the moment (rule W11).
func TestSignIn_with_the_secret_before(t *testing.T) {
	t.Parallel()
	h := newHall()
	h.programs.one.OldDigest, h.programs.one.OldUntil = secret.Digest("before"), h.clock.Add(time.Minute)
	want(t, h.try(t, program(appID, "before")), nil)
	want(t, h.try(t, program(appID, rightApp)), nil)
	h.clock = h.clock.Add(time.Minute)
	want(t, h.try(t, program(appID, "before")), login.ErrFailed)
	want(t, h.try(t, program(appID, rightApp)), nil)
}

// Attempts in back-off or with a CAPTCHA due hash nothing, count nothing and take the floor (rules F6 and W13). The sixth wrong
// password looks like the first, and the right one is refused as well.
func TestSignIn_while_a_CAPTCHA_is_due(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dana", "nobody"} {
		h := newHall()
		for i := range 5 {
			var failed *login.Failed
			if err := h.try(t, password(name, "wrong")); !errors.As(err, &failed) || failed.CaptchaDue != (i == 4) {
				t.Fatalf("%d: %v", i, err)
			}
		}
		hashes, counted := h.hasher.hashes, h.strikes.n
		for _, spelling := range []string{name, strings.ToUpper(name), " " + name} {
			for _, text := range []string{"wrong", right} {
				h.waited = nil
				var failed *login.Failed
				if err := h.try(t, password(spelling, text)); !errors.As(err, &failed) || !failed.CaptchaDue || fault.Text(err) != "Invalid credentials" {
					t.Fatalf("%v", err)
				}
				if len(h.waited) != 1 || h.waited[0] != 250*time.Millisecond {
					t.Errorf("waited %v", h.waited)
				}
			}
		}
		if h.hasher.hashes != hashes || h.strikes.n != counted {
			t.Errorf("%d hashes and %d counts more", h.hasher.hashes-hashes, h.strikes.n-counted)
		}
		if last := h.outcomes[len(h.outcomes)-1]; last != "refused" {
			t.Error(last)
		}
		locks := 0
		for _, e := range h.events.all {
			if e.Action == "guard.lock" {
				locks++
			}
		}
		if locks != 1 {
			t.Errorf("%d locks recorded", locks)
		}
		want(t, h.try(t, solving(password("dana", right))), nil)
	}
}

func TestSignIn_backs_a_program_off_where_it_comes_from(t *testing.T) {
	t.Parallel()
	h := newHall()
	for range 6 {
		want(t, h.try(t, program(appID, "wrong")), login.ErrFailed)
	}
	want(t, h.try(t, program(appID, rightApp)), login.ErrFailed)
	elsewhere := program(appID, rightApp)
	elsewhere.Address = netip.MustParseAddr("192.0.2.77")
	want(t, h.try(t, elsewhere), nil)
	h.clock = h.clock.Add(2 * time.Second)
	want(t, h.try(t, program(appID, rightApp)), nil)
}

func TestSignIn_when_the_queue_is_full(t *testing.T) {
	t.Parallel()
	h := newHall()
	h.hasher.err = secret.ErrBusy
	for _, name := range []string{"dana", "nobody"} {
		want(t, h.try(t, password(name, right)), secret.ErrBusy)
	}
	if h.strikes.n > 0 || h.outcomes[0] != "busy" {
		t.Errorf("counted %d, %v", h.strikes.n, h.outcomes)
	}
}

func TestSignIn_when_nobody_can_look(t *testing.T) {
	t.Parallel()
	h := newHall()
	h.people.err = errors.New("away")
	if err := h.try(t, password("dana", right)); err == nil || errors.Is(err, login.ErrFailed) {
		t.Errorf("%v", err)
	}
}

// Guesses that come all at once do not all pass before the first is counted.
func TestSignIn_counts_guesses_that_come_at_once(t *testing.T) {
	t.Parallel()
	h := newHall()
	h.OnAttempt, h.Wait, h.MinFailure = nil, nil, 0
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() { _, _ = h.SignIn(t.Context(), password("dana", "wrong"), login.Begin{}) })
	}
	wg.Wait()
	if h.hasher.hashes > 5+3 { // those that were inside with the fifth
		t.Errorf("%d passwords were looked at", h.hasher.hashes)
	}
}

func TestAuthenticate_a_session(t *testing.T) {
	t.Parallel()
	h := newHall()
	in, err := h.SignIn(t.Context(), password("dana", right), login.Begin{})
	want(t, err, nil)
	p := login.Presented{Kind: login.Session, Secret: in.Token, Address: inside, Door: "test", Accepts: takes, Cookie: true}
	by, err := h.Authenticate(t.Context(), p)
	want(t, err, nil)
	if by.ID != "u1" || by.Session != in.Session.ID || !by.Cookie || len(by.Scopes) != 1 {
		t.Errorf("%+v", by)
	}
	for state, answer := range map[session.State]error{
		session.Pending: login.ErrPending, session.EnrolOnly: login.ErrEnrolFirst, session.Terminated: session.ErrInvalid,
	} {
		x := h.seats.rows[in.Session.Digest]
		x.State = state
		h.seats.rows[in.Session.Digest] = x
		_, err := h.Authenticate(t.Context(), p)
		want(t, err, answer)
		wanted := p
		wanted.States = []session.State{state}
		by, err := h.Authenticate(t.Context(), wanted)
		if state == session.Terminated {
			want(t, err, session.ErrInvalid)
			continue
		}
		want(t, err, nil)
		if slices.Contains(by.Scopes, "*") || len(by.Scopes) > 0 && by.Limit.ID != "u1" {
			t.Errorf("%s has rights", state)
		}
	}
	p.Secret = secret.New("wrong")
	_, err = h.Authenticate(t.Context(), p)
	want(t, err, session.ErrInvalid)
	if h.strikes.n > 0 || len(h.waited) > 0 {
		t.Error("unknown tokens count")
	}
	p.Accepts = []login.Kind{login.Password}
	_, err = h.Authenticate(t.Context(), p)
	want(t, err, login.ErrNotAccepted)
}

// One credential is the same caller by every way that a door takes it (rule W6).
func TestAuthenticate_a_program_on_every_call(t *testing.T) {
	t.Parallel()
	h := newHall()
	in, err := h.SignIn(t.Context(), program(appID, rightApp), login.Begin{})
	want(t, err, nil)
	direct, err := h.Authenticate(t.Context(), program(appID, rightApp))
	want(t, err, nil)
	bySession, err := h.Authenticate(t.Context(), login.Presented{Kind: login.Session, Secret: in.Token, Address: inside, Door: "test", Accepts: takes})
	want(t, err, nil)
	bySession.Session = ""
	one, _ := json.Marshal(direct)
	two, _ := json.Marshal(bySession)
	if string(one) != string(two) {
		t.Errorf("%s\n%s", one, two)
	}
}

func TestChangePassword_and_Elevate(t *testing.T) {
	t.Parallel()
	h := newHall()
	in, err := h.SignIn(t.Context(), password("dana", right), login.Begin{Transport: session.Cookie})
	want(t, err, nil)
	ctx, by := t.Context(), in.Caller

	want(t, h.ChangePassword(ctx, by, secret.New("wrong"), secret.New("a long enough phrase")), login.ErrFailed)
	want(t, h.ChangePassword(ctx, by, secret.New(right), secret.New("short")), identity.ErrPasswordShort)
	want(t, h.ChangePassword(ctx, by, secret.New(right), secret.New("Password1234!")), identity.ErrPasswordCommon)
	_, err = h.ElevateByPassword(ctx, by, secret.New("wrong"))
	want(t, err, login.ErrWrongPassword)
	token, err := h.ElevateByPassword(ctx, by, secret.New(right))
	want(t, err, nil)
	if x := h.seats.rows[secret.Digest(token.Reveal())]; !x.Elevated.Equal(h.clock.Add(time.Minute)) { // rule F11
		t.Errorf("%+v", x)
	}
	want(t, h.ChangePassword(ctx, by, secret.New(right), secret.New("a long enough phrase")), nil)
	if h.people.one.PasswordHash != "hash of a long enough phrase" || h.people.end != (identity.Ending{Sessions: true, Except: in.Session.ID}) {
		t.Errorf("%+v %+v", h.people.one, h.people.end)
	}
	app := access.Caller{Principal: access.Principal{Kind: access.Application, ID: appID}, Scopes: []access.Action{"*"}}
	if err := h.ChangePassword(ctx, app, secret.New(right), secret.New("a long enough phrase")); !fault.Is(err, fault.Denied) {
		t.Errorf("%v", err)
	}
	for range 5 {
		want(t, h.ChangePassword(ctx, by, secret.New("wrong"), secret.New("a long enough phrase")), login.ErrFailed)
	}
	want(t, h.ChangePassword(ctx, by, secret.New("a long enough phrase"), secret.New("another long phrase")), login.ErrFailed)
}

func TestUnlock(t *testing.T) {
	t.Parallel()
	h := newHall()
	for range 5 {
		want(t, h.try(t, password("dana", "wrong")), login.ErrFailed)
	}
	want(t, h.try(t, password("dana", right)), login.ErrFailed)
	stranger := access.Caller{Principal: access.Principal{Kind: access.User, ID: "u2"}, Scopes: []access.Action{"*"}}
	if _, err := h.Unlock(t.Context(), stranger, "u1"); !fault.Is(err, fault.Denied) {
		t.Errorf("%v", err)
	}
	locked, err := h.Unlock(t.Context(), access.LocalCaller("root", h.clock), "u1")
	want(t, err, nil)
	if !locked {
		t.Error("was not locked")
	}
	want(t, h.try(t, password("dana", right)), nil)
}

// The floor is a real one where no test stands in for the timer.
func TestSignIn_waits(t *testing.T) {
	t.Parallel()
	h := newHall()
	h.Wait, h.MinFailure = nil, 30*time.Millisecond
	begun := time.Now()
	want(t, h.try(t, password("dana", "wrong")), login.ErrFailed)
	if took := time.Since(begun); took < 30*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
}

// Nobody is locked out because a directory is down; the answer is the plain one, and as late.
func TestSignIn_counts_nothing_while_nobody_can_judge(t *testing.T) {
	t.Parallel()
	p := newPort()
	p.ldap.err = &login.Wrong{Reason: "the directory cannot be reached", Away: true}
	for range 10 {
		want(t, p.try(t, p.vouched(login.LDAP, 4, right)), login.ErrFailed)
	}
	if p.strikes.n > 0 || len(p.waited) != 10 {
		t.Errorf("counted %d, waited %d times", p.strikes.n, len(p.waited))
	}
	p.ldap.err = nil
	want(t, p.try(t, p.vouched(login.LDAP, 4, right)), nil)
}
