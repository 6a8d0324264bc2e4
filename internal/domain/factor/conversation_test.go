package factor_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/authenticator"
)

func TestConversation(t *testing.T) {
	t.Parallel()
	t.Run("ends with the right answer", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key, recoveryKey := w.enrol(t, dana)
		k, c := w.asked(t, dana)
		before := len(w.events)
		proved, err := w.Prove(t.Context(), k, totp(codeAt(t, key, w.clock)), recorded)
		if err != nil || proved.ID != c.ID || len(w.events) != before+1 {
			t.Fatal(err, proved.ID, len(w.events))
		}
		_, err = w.Prove(t.Context(), k, recovery(recoveryKey), recorded)
		is(t, err, factor.ErrNoConversation)
	})
	t.Run("ends with the fifth wrong answer of any kind", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key, _ := w.enrol(t, dana)
		k, _ := w.asked(t, dana)
		for left := 4; left >= 0; left-- {
			a := []factor.Answer{totp("000000x"), recovery(secret.New("x")), {Kind: "other"}}[left%3]
			_, err := w.Prove(t.Context(), k, a, recorded)
			if miss := wrong(t, err); miss.Left != left || miss.Reason == "" || miss.Conversation.User != dana {
				t.Errorf("%+v", miss)
			}
		}
		_, err := w.Prove(t.Context(), k, totp(codeAt(t, key, w.clock)), recorded)
		is(t, err, factor.ErrNoConversation)
	})
	t.Run("of wrong answers at the same moment none is let off", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.enrol(t, dana)
		k, _ := w.asked(t, dana)
		atOnce(t, func() error { _, err := w.Prove(t.Context(), k, totp("x"), recorded); return err })
		_, err := w.Find(t.Context(), k)
		is(t, err, factor.ErrNoConversation)
	})
	// rule W11
	t.Run("is over at its time, without a sweeper", func(t *testing.T) {
		t.Parallel()
		for session, lasts := range map[string]time.Duration{"": 10 * time.Minute, "s": 5 * time.Minute} {
			w := newWorld()
			key, _ := w.enrol(t, dana)
			token, _, err := w.Begin(t.Context(), factor.Conversation{Purpose: factor.SignIn, User: dana, Session: session})
			if err != nil {
				t.Fatal(err)
			}
			k := factor.KeyOf(token, factor.SignIn)
			k.Session = session
			w.clock = w.clock.Add(lasts - time.Microsecond)
			if _, err := w.Find(t.Context(), k); err != nil {
				t.Fatal(err)
			}
			w.clock = w.clock.Add(time.Microsecond)
			_, err = w.Find(t.Context(), k)
			is(t, err, factor.ErrNoConversation)
			_, err = w.Prove(t.Context(), k, totp(codeAt(t, key, w.clock)), recorded)
			is(t, err, factor.ErrNoConversation)
		}
	})
	t.Run("of one purpose serves no other", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key, _ := w.enrol(t, dana)
		purposes := []factor.Purpose{factor.SignIn, factor.Enforced, factor.Voluntary, factor.Update, factor.Registration, factor.ElevationKey}
		for _, begun := range purposes {
			token, _, err := w.Begin(t.Context(), factor.Conversation{Purpose: begun, User: dana})
			if err != nil {
				t.Fatal(err)
			}
			for _, used := range purposes {
				k := factor.KeyOf(token, used)
				if begun != used || used != factor.SignIn && used != factor.ElevationKey {
					_, err := w.Prove(t.Context(), k, totp(codeAt(t, key, w.clock)), recorded)
					is(t, err, factor.ErrNoConversation)
				}
				// The only secret of an app is the one that an enrolment made: a challenge is none, and none is none (rule S18).
				_, _, err := w.FinishEnrolment(t.Context(), k, secret.New(codeAt(t, key, w.clock)), "", changed)
				is(t, err, factor.ErrNoConversation)
			}
		}
	})
	t.Run("of a session is the session's alone", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key, _ := w.enrol(t, dana)
		token, _, err := w.Begin(t.Context(), factor.Conversation{Purpose: factor.SignIn, User: dana, Session: "s"})
		if err != nil {
			t.Fatal(err)
		}
		code := totp(codeAt(t, key, w.clock))
		for _, k := range []factor.Key{factor.KeyOf(token, factor.SignIn), {Session: "other", Purpose: factor.SignIn}, {Purpose: factor.SignIn}} {
			_, err := w.Prove(t.Context(), k, code, recorded)
			is(t, err, factor.ErrNoConversation)
		}
		if _, err := w.Prove(t.Context(), factor.Key{Session: "s", Purpose: factor.SignIn}, code, recorded); err != nil {
			t.Error(err)
		}
	})
	t.Run("malformed tokens find nothing", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		for _, token := range []string{"", "x", "====", string(make([]byte, 43))} {
			_, err := w.Find(t.Context(), factor.KeyOf(secret.New(token), factor.SignIn))
			is(t, err, factor.ErrNoConversation)
		}
	})
	t.Run("a new challenge for a security key every time", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		seen := map[string]bool{}
		for range 50 {
			_, c := w.asked(t, dana)
			ask := w.Ask(c, factor.Set{})
			if len(ask.Challenge) != 32 || seen[string(ask.Challenge)] || ask.RPID != rpID || ask.Verify != "preferred" {
				t.Fatalf("%+v", ask)
			}
			seen[string(ask.Challenge)] = true
		}
	})
}

// Rule S18: what a user never enrolled cannot succeed, and no empty value succeeds, whatever else is enrolled.
func TestProve_not_enrolled_means_impossible(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld()
		app, key, list := rapid.Bool().Draw(r, "app"), rapid.Bool().Draw(r, "security key"), rapid.Bool().Draw(r, "list")
		var appSecret, recoveryKey secret.String
		var codes []secret.String
		device := authenticator.New(authenticator.ES256)
		if app {
			appSecret, recoveryKey = w.enrol(t, dana)
		}
		if key {
			w.add(t, dana, "one", device, offered)
		}
		if list {
			codes = must[[]secret.String](t)(w.NewList(t.Context(), dana, change()))
		}
		foreign, foreignRecovery := w.enrol(t, kim)
		k, c := w.asked(t, dana)

		empty := secret.String{}
		answers := map[string]struct {
			a     factor.Answer
			right bool
		}{
			"empty code":             {totp(""), false},
			"no code":                {factor.Answer{Kind: factor.TOTP}, false},
			"code of an empty key":   {totp(codeAt(t, empty, w.clock)), false},
			"code of another":        {totp(codeAt(t, foreign, w.clock)), app && codeAt(t, foreign, w.clock) == codeAt(t, orElse(appSecret, foreign), w.clock)},
			"right code":             {totp(codeAt(t, orElse(appSecret, foreign), w.clock)), app},
			"empty recovery code":    {recovery(empty), false},
			"dashes":                 {recovery(secret.New("---")), false},
			"recovery of another":    {recovery(foreignRecovery), false},
			"right recovery key":     {recovery(orElse(recoveryKey, secret.New("AAAAA-AAAAA-AAAAA-AAAAA"))), app},
			"right of the list":      {recovery(first(codes)), list && (app || key)},
			"code as recovery":       {recovery(secret.New(codeAt(t, orElse(appSecret, foreign), w.clock))), false},
			"recovery as code":       {totp(orElse(recoveryKey, foreignRecovery).Reveal()), false},
			"right security key":     {factor.Answer{Kind: factor.FIDO2, Assertion: ptr(device.Get(w.ceremony(c)))}, key},
			"foreign security key":   {factor.Answer{Kind: factor.FIDO2, Assertion: ptr(authenticator.New(authenticator.ES256).Get(w.ceremony(c)))}, false},
			"empty security key":     {factor.Answer{Kind: factor.FIDO2, Assertion: &factor.Assertion{}}, false},
			"no security key at all": {factor.Answer{Kind: factor.FIDO2}, false},
			"no kind":                {factor.Answer{Code: secret.New(codeAt(t, orElse(appSecret, foreign), w.clock))}, false},
		}
		name := rapid.SampledFrom(slices.Sorted(maps.Keys(answers))).Draw(r, "answer")
		_, err := w.Prove(t.Context(), k, answers[name].a, recorded)
		if (err == nil) != answers[name].right {
			r.Fatalf("%s with app %v, security key %v, list %v: %v", name, app, key, list, err)
		}
	})
}

func first(codes []secret.String) secret.String {
	if len(codes) == 0 {
		return secret.String{}
	}
	return codes[0]
}

func orElse(s, other secret.String) secret.String {
	if s.Empty() {
		return other
	}
	return s
}

func TestEnrolment(t *testing.T) {
	t.Parallel()
	enforced := func(t *testing.T, w *world) factor.Key {
		t.Helper()
		token, _, err := w.Begin(t.Context(), factor.Conversation{Purpose: factor.Enforced, User: dana})
		if err != nil {
			t.Fatal(err)
		}
		return factor.KeyOf(token, factor.Enforced)
	}
	t.Run("enforced: begun twice it gives the same secret, and a recovery key at the end", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		k := enforced(t, w)
		_, _, err := w.FinishEnrolment(t.Context(), k, secret.New("000000"), "", changed)
		is(t, err, factor.ErrNoConversation) // before it was begun
		one := must[factor.Enrolment](t)(w.StartEnforced(t.Context(), k, "dana"))
		two := must[factor.Enrolment](t)(w.StartEnforced(t.Context(), k, "dana"))
		if !one.Secret.Equal(two.Secret) {
			t.Fatal("another secret")
		}
		_, _, err = w.FinishEnrolment(t.Context(), k, secret.New("x"), "", changed)
		if miss := wrong(t, err); miss.Left != 4 {
			t.Error(miss.Left)
		}
		key, c, err := w.FinishEnrolment(t.Context(), k, secret.New(codeAt(t, one.Secret, w.clock)), "", changed)
		if err != nil || key.Empty() || c.User != dana {
			t.Fatal(err)
		}
		_, err = w.StartEnforced(t.Context(), k, "dana")
		is(t, err, factor.ErrNoConversation)
	})
	t.Run("the fifth wrong code ends it", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		k := enforced(t, w)
		must[factor.Enrolment](t)(w.StartEnforced(t.Context(), k, "dana"))
		for range 5 {
			_, _, err := w.FinishEnrolment(t.Context(), k, secret.New("x"), "", changed)
			wrong(t, err)
		}
		_, err := w.StartEnforced(t.Context(), k, "dana")
		is(t, err, factor.ErrNoConversation)
	})
	t.Run("voluntary: belongs to its session, and a second beginning replaces the first", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		begin := func() factor.Enrolment {
			return must[factor.Enrolment](t)(w.StartEnrolment(t.Context(), factor.Conversation{Purpose: factor.Voluntary, User: dana, Session: "s"}, "dana"))
		}
		one, two := begin(), begin()
		if one.Secret.Equal(two.Secret) {
			t.Error("the same secret")
		}
		finish := func(e factor.Enrolment, session string) error {
			_, _, err := w.FinishEnrolment(t.Context(), factor.KeyOf(e.Token, factor.Voluntary), secret.New(codeAt(t, e.Secret, w.clock)), session, changed)
			return err
		}
		is(t, finish(one, "s"), factor.ErrNoConversation)
		is(t, finish(two, "other"), factor.ErrNoConversation)
		is(t, finish(two, ""), factor.ErrNoConversation)
		if err := finish(two, "s"); err != nil {
			t.Fatal(err)
		}
		_, err := w.StartEnrolment(t.Context(), factor.Conversation{Purpose: factor.Voluntary, User: dana, Session: "s"}, "dana")
		is(t, err, factor.ErrEnrolled)
	})
	t.Run("update: the old app works until the end, the recovery key stays", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, err := w.StartEnrolment(t.Context(), factor.Conversation{Purpose: factor.Update, User: dana, Session: "s"}, "dana")
		is(t, err, factor.ErrNotEnrolled)
		key, recoveryKey := w.enrol(t, dana)
		e := must[factor.Enrolment](t)(w.StartEnrolment(t.Context(), factor.Conversation{Purpose: factor.Update, User: dana, Session: "s"}, "dana"))
		if err := w.Confirm(t.Context(), dana, totp(codeAt(t, key, w.clock)), event()); err != nil {
			t.Fatal(err)
		}
		fresh, _, err := w.FinishEnrolment(t.Context(), factor.KeyOf(e.Token, factor.Update), secret.New(codeAt(t, e.Secret, w.clock)), "s", changed)
		if err != nil || !fresh.Empty() {
			t.Fatal(err)
		}
		w.clock = w.clock.Add(time.Minute)
		wrong(t, w.Confirm(t.Context(), dana, totp(codeAt(t, key, w.clock)), event()))
		for _, a := range []factor.Answer{totp(codeAt(t, e.Secret, w.clock)), recovery(recoveryKey)} {
			if err := w.Confirm(t.Context(), dana, a, event()); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("removing the app removes its key and leaves the list", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		is(t, w.RemoveTOTP(t.Context(), dana, change()), factor.ErrNotEnrolled)
		_, err := w.RotateKey(t.Context(), dana, change())
		is(t, err, factor.ErrNotEnrolled)
		is(t, w.Confirm(t.Context(), dana, totp("000000"), event()), factor.ErrNotEnrolled)
		w.enrol(t, dana)
		must[[]secret.String](t)(w.NewList(t.Context(), dana, change()))
		if err := w.RemoveTOTP(t.Context(), dana, change()); err != nil {
			t.Fatal(err)
		}
		set := must[factor.Set](t)(w.Of(t.Context(), dana))
		if set.TOTP != nil || len(set.Codes) != 10 || set.Enrolled() {
			t.Errorf("%d codes", len(set.Codes))
		}
	})
	t.Run("a reset takes everything and says whether there was anything", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.enrol(t, dana)
		w.add(t, dana, "one", authenticator.New(authenticator.ES256), offered)
		if !must[bool](t)(w.Reset(t.Context(), dana, change())) || must[bool](t)(w.Reset(t.Context(), dana, change())) {
			t.Error("wrong answer")
		}
		set := must[factor.Set](t)(w.Of(t.Context(), dana))
		if set.Enrolled() || len(set.Codes) != 0 {
			t.Error("something is left")
		}
	})
	t.Run("what is recorded holds no secret", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.enrol(t, dana)
		for _, e := range w.events {
			if e.Outcome != audit.Done || len(e.Detail) != 0 {
				t.Errorf("%+v", e)
			}
		}
	})
}
