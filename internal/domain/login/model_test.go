package login_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// guest is what a walk knows of one user.
type guest struct {
	name     string
	disabled bool
	app      secret.String // empty: none
	codes    []string      // recovery codes that are good
	spent    []string      // recovery codes that were used or replaced
	used     int64         // step of the last code that was accepted
	wrong    int           // failures since the last complete sign-in
}

// seat is what a walk knows of one session.
type seat struct {
	of       *guest
	by       access.Caller
	tokens   []secret.String // the last one is good
	cookie   bool
	state    session.State
	tries    int
	deadline time.Time // of a pending one
	elevated time.Time
	dead     bool
	talk     secret.String // of an enrolment that it began
	pending  secret.String // its app
	lost     bool          // a wrong answer to another sign-in ended what it waits for
}

// talk is what a walk knows of one conversation.
type talk struct {
	of    *guest
	token secret.String
	enrol bool
	begun secret.String // the app that is being set up
	tries int
	until time.Time
	over  bool
}

// walk holds a club against a plain model of it.
type walk struct {
	*club
	guests []*guest
	seats  []*seat
	talks  []*talk
}

func (w *walk) alive(x *seat) bool {
	return !x.dead && !x.of.disabled && (x.state != session.Pending || w.clock.Before(x.deadline))
}

func (w *walk) living(k *talk) bool { return !k.over && !k.of.disabled && w.clock.Before(k.until) }

func (w *walk) endOthers(g *guest, keep *seat) {
	for _, x := range w.seats {
		if x.of == g && x != keep {
			x.dead = true
		}
	}
}

// step is the present step of TOTP.
func (w *walk) step() int64 { return w.clock.Unix() / 30 }

// fresh says whether the code so many steps from now would be right.
func (w *walk) fresh(g *guest, steps int64) bool {
	return !g.app.Empty() && steps >= -1 && steps <= 1 && w.step()+steps > g.used
}

// answer draws an answer and says whether it is right; right notes that it was used.
func (w *walk) answer(t *rapid.T, g *guest) (a factor.Answer, good bool, right func()) {
	switch kind := rapid.SampledFrom([]string{"code", "code", "code", "another's code", "garbage", "recovery", "recovery", "spent recovery", "nothing"}).Draw(t, "answer"); kind {
	case "code":
		if g.app.Empty() {
			return totp(secret.New("123456")), false, func() {}
		}
		steps := rapid.Int64Range(-3, 2).Draw(t, "steps")
		return totp(w.codeOf(g.app, steps)), w.fresh(g, steps), func() { g.used = w.step() + steps }
	case "another's code":
		for _, other := range w.guests {
			if other != g && !other.app.Empty() {
				return totp(w.codeOf(other.app, 0)), false, func() {}
			}
		}
	case "recovery":
		if len(g.codes) > 0 {
			code := g.codes[0]
			return recoveryCode(secret.New(code)), true, func() { g.codes, g.spent = g.codes[1:], append(g.spent, code) }
		}
	case "spent recovery":
		if len(g.spent) > 0 {
			return recoveryCode(secret.New(rapid.SampledFrom(g.spent).Draw(t, "spent"))), false, func() {}
		}
	case "nothing":
		return factor.Answer{Kind: rapid.SampledFrom([]factor.Kind{factor.TOTP, factor.Recovery, "", "password"}).Draw(t, "kind")}, false, func() {}
	}
	return totp(secret.New("12345x")), false, func() {}
}

// knocks is a sign-in with the right password, CAPTCHA solved, after whatever back-off there is.
func (w *walk) knocks(g *guest, in login.Begin) (login.Signed, error) {
	return w.SignIn(context.Background(), solving(password(g.name, phrase(g.name))), in)
}

// blocked says whether the name, or the address from which everybody comes, backs off now.
func (w *walk) blocked(g *guest) bool {
	at, err := w.Lockout.Stands(context.Background(), whoIs(g))
	return err != nil || at.BackOff
}

func pickOne[T any](t *rapid.T, all []T) T {
	if len(all) == 0 {
		t.Skip("nothing there yet")
	}
	if rapid.IntRange(0, 3).Draw(t, "of all") > 0 { // mostly of the latest: most of the earlier ones are over
		all = all[max(0, len(all)-2):]
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
}

// Random walks of two people through sign-in and their second factors: no session before the last factor, no code twice, no pending token opens
// anything, no foreign conversation completes, tries are bounded, and of two who finish at once one wins (rules S3, F7, F11, F12, S18 and W11).
func TestSecondFactors_walk_as_the_rules_say(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &walk{club: newClub()}
		w.guests = []*guest{{name: "dana"}, {name: "erik"}}
		for _, g := range w.guests {
			if rapid.IntRange(0, 3).Draw(t, g.name+" has an app") > 0 {
				at := w.step()
				app, recovery := w.enrol(t, g.name)
				g.app, g.used, g.codes = app, at, []string{recovery.Reveal()}
			}
		}
		w.Enforcement = rapid.SampledFrom([]string{login.DemandNone, login.DemandAll}).Draw(t, "enforcement")
		t.Repeat(map[string]func(*rapid.T){
			"":          w.invariants,
			"sign in":   w.signIn,
			"talk":      w.talkIn,
			"complete":  w.complete,
			"continue":  w.goOn,
			"enforced":  w.enforced,
			"elevate":   w.elevates,
			"enrol":     w.enrols,
			"finish":    w.finishes,
			"terminate": w.terminates,
			"disable":   w.disables,
			"reset":     w.resets,
			"wait": func(t *rapid.T) {
				w.pass(rapid.SampledFrom([]time.Duration{time.Second, 30 * time.Second, time.Minute, 3 * time.Minute, 11 * time.Minute, time.Hour}).Draw(t, "for"))
			},
		})
	})
}

// invariants asks what must hold after every step: a token opens something exactly when its session is active and alive, and no old value does.
func (w *walk) invariants(t *rapid.T) {
	for i, x := range w.seats {
		err := w.opens(x.tokens[len(x.tokens)-1])
		switch {
		case !w.alive(x):
			if !errors.Is(err, session.ErrInvalid) {
				t.Fatalf("seat %d is over and opens: %v: %+v", i, err, x)
			}
			x.dead = x.dead || x.state == session.Pending
		case x.state == session.Pending && !errors.Is(err, login.ErrPending), x.state == session.EnrolOnly && !errors.Is(err, login.ErrEnrolFirst), x.state == session.Active && err != nil:
			t.Fatalf("seat %d, %s: %v", i, x.state, err)
		}
		for _, old := range x.tokens[:len(x.tokens)-1] {
			if err := w.opens(old); !errors.Is(err, session.ErrInvalid) {
				t.Fatalf("seat %d: an old value opens: %v", i, err)
			}
		}
	}
	active := 0
	for _, x := range w.rows {
		if x.State == session.Active {
			active++
		}
	}
	known := 0
	for _, x := range w.seats {
		if x.state == session.Active && !x.dead && !x.of.disabled {
			known++
		}
	}
	if active != known {
		t.Fatalf("%d active sessions, and the walk knows of %d", active, known)
	}
}

func (w *walk) signIn(t *rapid.T) {
	g := pickOne(t, w.guests)
	if w.blocked(g) {
		t.Skip("backing off")
	}
	cookie := rapid.Bool().Draw(t, "cookie")
	begin := login.Begin{}
	if cookie {
		begin.Transport = session.Cookie
	}
	in, err := w.knocks(g, begin)
	if g.disabled {
		if !errors.Is(err, login.ErrFailed) {
			t.Fatalf("disabled: %v", err)
		}
		g.wrong++
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	want := session.Active
	switch {
	case !g.app.Empty():
		want = session.Pending
	case w.Enforcement == login.DemandAll:
		want = session.EnrolOnly
	}
	if in.Session.State != want || (in.Pending == nil) != (want == session.Active) {
		t.Fatalf("%s, want %s: %+v", in.Session.State, want, in)
	}
	w.seats = append(w.seats, &seat{
		of: g, by: in.Caller, tokens: []secret.String{in.Token}, cookie: cookie, state: want, deadline: w.clock.Add(5 * time.Minute),
	})
	if want == session.Active {
		g.wrong = 0
	}
}

func (w *walk) talkIn(t *rapid.T) {
	g := pickOne(t, w.guests)
	if w.blocked(g) || g.disabled {
		t.Skip("refused")
	}
	in, err := w.knocks(g, login.Begin{Talk: true})
	if err != nil {
		t.Fatal(err)
	}
	if g.app.Empty() && w.Enforcement != login.DemandAll {
		if in.Pending != nil {
			t.Fatalf("%+v", in)
		}
		g.wrong = 0
		w.seats = append(w.seats, &seat{of: g, by: in.Caller, tokens: []secret.String{in.Token}, state: session.Active})
		return
	}
	if in.Session.ID != "" || in.Pending == nil || in.Pending.Enrol != g.app.Empty() {
		t.Fatalf("%+v", in)
	}
	w.talks = append(w.talks, &talk{of: g, token: in.Pending.Conversation, enrol: in.Pending.Enrol, until: w.clock.Add(10 * time.Minute)})
}

func (w *walk) complete(t *rapid.T) {
	x := pickOne(t, w.seats)
	a, good, right := w.answer(t, x.of)
	done, err := w.Complete(context.Background(), x.by, a)
	switch {
	case !w.alive(x):
		if !errors.Is(err, session.ErrInvalid) {
			t.Fatalf("over: %v", err)
		}
	case x.state != session.Pending:
		if !errors.Is(err, login.ErrNothingPending) {
			t.Fatalf("%s: %v", x.state, err)
		}
	case x.lost:
		if !errors.Is(err, login.ErrNothingPending) {
			t.Fatalf("another one was answered wrongly: %v", err)
		}
	case good && !x.of.app.Empty():
		if err != nil {
			t.Fatalf("a right answer: %v", err)
		}
		right()
		x.state, x.by, x.of.wrong, x.tries = session.Active, done.Caller, 0, 0
		w.turn(t, x, done.Token)
	default:
		if !errors.Is(err, login.ErrFailed) {
			t.Fatalf("a wrong answer: %v", err)
		}
		x.of.wrong++
		if x.tries++; x.tries >= 5 {
			x.dead = true
		}
		w.alone(x.of, x, nil)
	}
}

// alone notes that a wrong answer ended the other sign-ins that wait for one.
func (w *walk) alone(g *guest, at *seat, in *talk) {
	for _, x := range w.seats {
		if x.of == g && x != at && x.state == session.Pending {
			x.lost = true
		}
	}
	for _, k := range w.talks {
		if k.of == g && k != in && !k.enrol {
			k.over = true
		}
	}
}

// turn notes another value of a cookie.
func (w *walk) turn(t *rapid.T, x *seat, token secret.String) {
	if token.Empty() == x.cookie {
		t.Fatalf("a cookie %v, and a token %v", x.cookie, !token.Empty())
	}
	if x.cookie {
		x.tokens = append(x.tokens, token)
	}
}

func (w *walk) goOn(t *rapid.T) {
	k := pickOne(t, w.talks)
	a, good, right := w.answer(t, k.of)
	done, err := w.Continue(context.Background(), k.token, a, password("", ""), login.Begin{})
	switch {
	case !w.living(k) || k.enrol:
		if !errors.Is(err, factor.ErrNoConversation) {
			t.Fatalf("nothing to continue: %v", err)
		}
	case good:
		if err != nil {
			t.Fatalf("a right answer: %v", err)
		}
		right()
		k.over, k.of.wrong = true, 0
		w.seats = append(w.seats, &seat{of: k.of, by: done.Caller, tokens: []secret.String{done.Token}, state: session.Active})
	default:
		if !errors.Is(err, login.ErrFailed) {
			t.Fatalf("a wrong answer: %v", err)
		}
		k.of.wrong++
		if k.tries++; k.tries >= 5 {
			k.over = true
		}
		w.alone(k.of, nil, k)
	}
}

func (w *walk) enforced(t *rapid.T) {
	k := pickOne(t, w.talks)
	ctx := context.Background()
	if rapid.Bool().Draw(t, "start") {
		e, err := w.StartEnforced(ctx, k.token)
		switch {
		case !w.living(k) || !k.enrol:
			if !errors.Is(err, factor.ErrNoConversation) {
				t.Fatalf("nothing to start: %v", err)
			}
		case !k.of.app.Empty():
			if !errors.Is(err, factor.ErrEnrolled) {
				t.Fatalf("enrolled meanwhile: %v", err)
			}
		case err != nil || !k.begun.Empty() && k.begun.Reveal() != e.Secret.Reveal():
			t.Fatalf("start: %v", err)
		default:
			k.begun = e.Secret
		}
		return
	}
	code, good := secret.New("12345x"), false
	if !k.begun.Empty() && rapid.Bool().Draw(t, "right") {
		code, good = w.codeOf(k.begun, 0), true
	}
	done, err := w.CompleteEnforced(ctx, k.token, code, password("", ""), login.Begin{})
	switch {
	case !w.living(k) || !k.enrol || k.begun.Empty():
		if !errors.Is(err, factor.ErrNoConversation) {
			t.Fatalf("nothing to complete: %v", err)
		}
	case !k.of.app.Empty():
		if !errors.Is(err, factor.ErrEnrolled) {
			t.Fatalf("enrolled meanwhile: %v", err)
		}
	case good:
		if err != nil {
			t.Fatalf("a right code: %v", err)
		}
		k.over = true
		w.hasEnrolled(k.of, k.begun, done.Recovery, nil)
		k.of.wrong = 0
		w.seats = append(w.seats, &seat{of: k.of, by: done.Caller, tokens: []secret.String{done.Token}, state: session.Active})
	default:
		if !errors.Is(err, login.ErrFailed) {
			t.Fatalf("a wrong code: %v", err)
		}
		k.of.wrong++
		if k.tries++; k.tries >= 5 {
			k.over = true
		}
	}
}

// hasEnrolled notes an app that was set up in a session, and which sessions that ends.
func (w *walk) hasEnrolled(g *guest, app, recovery secret.String, in *seat) {
	g.app, g.used = app, w.step()
	g.spent = append(g.spent, g.codes...)
	g.codes = []string{recovery.Reveal()}
	w.endOthers(g, in)
}

func (w *walk) elevates(t *rapid.T) {
	x := pickOne(t, w.seats)
	ctx, settles := context.Background(), w.alive(x) && x.state != session.Pending
	if settles && x.of.app.Empty() && w.blocked(x.of) {
		t.Skip("backing off")
	}
	var token secret.String
	var err error
	good, right := false, func() {}
	switch {
	case x.of.app.Empty():
		good = rapid.Bool().Draw(t, "right") && x.of.wrong < 5 // a CAPTCHA is due after, and cannot be solved here
		text := "wrong"
		if good {
			text = phrase(x.of.name)
		}
		if settles && !good && x.of.wrong >= 5 {
			t.Skip("not looked at")
		}
		token, err = w.ElevateByPassword(ctx, x.by, secret.New(text))
	default:
		var a factor.Answer
		a, good, right = w.answer(t, x.of)
		if a.Kind == factor.Recovery {
			var key secret.String
			token, key, err = w.ElevateByRecovery(ctx, x.by, a.Code)
			if used := right; good {
				right = func() { used(); x.of.spent = append(x.of.spent, x.of.codes...); x.of.codes = []string{key.Reveal()} }
			}
		} else {
			token, err = w.ElevateByTOTP(ctx, x.by, a.Code)
		}
	}
	switch {
	case !w.alive(x):
		if !errors.Is(err, session.ErrInvalid) {
			t.Fatalf("over: %v", err)
		}
	case x.state == session.Pending:
		if !errors.Is(err, login.ErrPending) {
			t.Fatalf("pending: %v", err)
		}
	case good:
		if err != nil {
			t.Fatalf("right: %v", err)
		}
		right()
		x.elevated, x.tries = w.clock.Add(10*time.Minute), 0
		w.turn(t, x, token)
		if x.of.app.Empty() {
			x.of.wrong = 0
		}
	default:
		if !errors.Is(err, login.ErrWrongPassword) && !errors.Is(err, factor.ErrWrongCode) {
			t.Fatalf("wrong: %v", err)
		}
		x.of.wrong++
		if x.tries++; x.tries >= 5 {
			x.dead = true
		}
	}
}

func (w *walk) enrols(t *rapid.T) {
	x := pickOne(t, w.seats)
	e, err := w.StartVoluntary(context.Background(), x.by)
	switch {
	case !w.alive(x):
		if !errors.Is(err, session.ErrInvalid) {
			t.Fatalf("over: %v", err)
		}
	case x.state == session.Pending:
		if !errors.Is(err, login.ErrPending) {
			t.Fatalf("pending: %v", err)
		}
	case !w.clock.Before(x.elevated):
		if !errors.Is(err, login.ErrNotElevated) {
			t.Fatalf("not elevated: %v", err)
		}
	case !x.of.app.Empty():
		if !errors.Is(err, factor.ErrEnrolled) {
			t.Fatalf("enrolled: %v", err)
		}
		x.elevated = w.clock.Add(10 * time.Minute)
	case err != nil:
		t.Fatal(err)
	default:
		x.talk, x.pending, x.elevated = e.Token, e.Secret, w.clock.Add(10*time.Minute)
	}
}

// finishes completes an enrolment, at times in a session that did not begin it.
func (w *walk) finishes(t *rapid.T) {
	from, in := pickOne(t, w.seats), pickOne(t, w.seats)
	if from.talk.Empty() || !w.alive(in) || in.state == session.Pending || !w.clock.Before(in.elevated) || !in.of.app.Empty() {
		t.Skip("nothing to finish")
	}
	if w.clock.Sub(in.elevated.Add(-10*time.Minute)) >= 10*time.Minute {
		t.Skip("over")
	}
	good := rapid.Bool().Draw(t, "right")
	code := secret.New("12345x")
	if good {
		code = w.codeOf(from.pending, 0)
	}
	done, err := w.CompleteVoluntary(context.Background(), in.by, from.talk, code)
	in.elevated = w.clock.Add(10 * time.Minute)
	if from != in {
		if !errors.Is(err, factor.ErrNoConversation) {
			t.Fatalf("a foreign conversation: %v", err)
		}
		return
	}
	switch {
	case errors.Is(err, factor.ErrNoConversation): // ten minutes, or five tries
		in.talk = secret.String{}
	case good:
		if err != nil {
			t.Fatalf("a right code: %v", err)
		}
		w.hasEnrolled(in.of, from.pending, done.Recovery, in)
		if in.state == session.EnrolOnly {
			in.of.wrong = 0
		}
		in.state, in.by, in.elevated, in.talk = session.Active, done.Caller, time.Time{}, secret.String{}
		w.turn(t, in, done.Token)
	default:
		if !errors.Is(err, login.ErrFailed) {
			t.Fatalf("a wrong code: %v", err)
		}
		in.of.wrong++
	}
}

func (w *walk) terminates(t *rapid.T) {
	x := pickOne(t, w.seats)
	if err := w.Sessions.Terminate(context.Background(), x.by); err != nil {
		t.Fatal(err)
	}
	x.dead = true
}

func (w *walk) disables(t *rapid.T) {
	g := pickOne(t, w.guests)
	g.disabled = !g.disabled
	w.shut(g.name, g.disabled)
	if g.disabled {
		w.endOthers(g, nil)
		for _, k := range w.talks {
			k.over = k.over || k.of == g
		}
	}
}

func (w *walk) resets(t *rapid.T) {
	g := pickOne(t, w.guests)
	had, err := w.ResetFactors(context.Background(), access.LocalCaller("root", w.clock), g.name)
	if err != nil || had == g.app.Empty() {
		t.Fatalf("had %v, %v", had, err)
	}
	if had {
		g.spent = append(g.spent, g.codes...)
		g.app, g.codes, g.used = secret.String{}, nil, 0
		w.endOthers(g, nil)
	}
}

func whoIs(g *guest) guard.Who {
	return guard.Who{Name: g.name, Address: inside, Solved: true}
}
