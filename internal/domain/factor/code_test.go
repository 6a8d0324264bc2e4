package factor_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// codeAt is RFC 6238 once more, written for the tests.
func codeAt(t testing.TB, key secret.String, at time.Time) string {
	t.Helper()
	raw, err := base32.StdEncoding.DecodeString(key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha1.New, raw)
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/30)
	sum := mac.Sum(nil)
	off := sum[19] & 15
	return fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[off:off+4])&0x7fffffff)%1000000)
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

// enrol gives a user an app, half a minute passes, and returns its secret and the recovery key.
func (w *world) enrol(t testing.TB, user string) (key, recoveryKey secret.String) {
	t.Helper()
	e := must[factor.Enrolment](t)(w.StartEnrolment(t.Context(), factor.Conversation{Purpose: factor.Voluntary, User: user, Session: "s"}, "dana"))
	recoveryKey, _, err := w.FinishEnrolment(t.Context(), factor.KeyOf(e.Token, factor.Voluntary), secret.New(codeAt(t, e.Secret, w.clock)), "s", changed)
	if err != nil {
		t.Fatal(err)
	}
	w.clock = w.clock.Add(30 * time.Second)
	return e.Secret, recoveryKey
}

// asked begins a sign-in that waits for its second factor.
func (w *world) asked(t testing.TB, user string) (factor.Key, factor.Conversation) {
	t.Helper()
	token, c, err := w.Begin(t.Context(), factor.Conversation{Purpose: factor.SignIn, User: user})
	if err != nil {
		t.Fatal(err)
	}
	return factor.KeyOf(token, factor.SignIn), c
}

func (w *world) prove(t testing.TB, user string, a factor.Answer) error {
	t.Helper()
	k, _ := w.asked(t, user)
	_, err := w.Prove(t.Context(), k, a, recorded)
	return err
}

// wrong wants a *Miss, and returns its reason.
func wrong(t testing.TB, err error) *factor.Miss {
	t.Helper()
	var miss *factor.Miss
	if !errors.As(err, &miss) || !errors.Is(err, factor.ErrWrongCode) || !fault.Is(err, fault.Unauthenticated) {
		t.Fatalf("got %v, want a miss", err)
	}
	return miss
}

func TestTOTP(t *testing.T) {
	t.Parallel()
	t.Run("an app is set up with what it reads from a QR code", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		e := must[factor.Enrolment](t)(w.StartEnrolment(t.Context(), factor.Conversation{Purpose: factor.Voluntary, User: dana, Session: "s"}, "dana b"))
		if !regexp.MustCompile(`^[A-Z2-7]{32}$`).MatchString(e.Secret.Reveal()) || len(e.Token.Reveal()) != 43 || e.User != "dana b" {
			t.Errorf("secret of %d characters, token of %d, %q", len(e.Secret.Reveal()), len(e.Token.Reveal()), e.User)
		}
		want := "otpauth://totp/Gatehouse:dana%20b?secret=" + e.Secret.Reveal() + "&issuer=Gatehouse&algorithm=SHA1&digits=6&period=30"
		if e.URL.Reveal() != want {
			t.Error(strings.ReplaceAll(e.URL.Reveal(), e.Secret.Reveal(), "SECRET"))
		}
		if _, err := url.Parse(e.URL.Reveal()); err != nil {
			t.Error(err)
		}
	})
	t.Run("takes the codes of one step either way, and no other", func(t *testing.T) {
		t.Parallel()
		for off, right := range map[int]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
			w := newWorld()
			key, _ := w.enrol(t, dana)
			w.clock = w.clock.Add(time.Hour)
			err := w.prove(t, dana, totp(codeAt(t, key, w.clock.Add(time.Duration(off)*30*time.Second))))
			if (err == nil) != right {
				t.Errorf("%d steps off: %v", off, err)
			}
		}
	})
	// rule F7
	t.Run("a code works once, however it is written, and no earlier one after it", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key, _ := w.enrol(t, dana)
		code, earlier := codeAt(t, key, w.clock), codeAt(t, key, w.clock.Add(-30*time.Second))
		if err := w.prove(t, dana, totp(" "+code[:3]+" "+code[3:]+"\n")); err != nil {
			t.Fatal(err)
		}
		for _, again := range []string{code, code[:3] + " " + code[3:], "\u00a0" + code, earlier} {
			if miss := wrong(t, w.prove(t, dana, totp(again))); miss.Reason != "the code was used already" {
				t.Error(miss.Reason)
			}
		}
		wrong(t, w.Confirm(t.Context(), dana, totp(code), event()))
	})
	t.Run("the code that set up the app opens nothing", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key, _ := w.enrol(t, dana)
		wrong(t, w.prove(t, dana, totp(codeAt(t, key, w.clock.Add(-30*time.Second)))))
	})
	t.Run("of many that present one code at the same moment one is let in", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key, _ := w.enrol(t, dana)
		if n := atOnce(t, func() error { return w.Confirm(t.Context(), dana, totp(codeAt(t, key, w.clock)), event()) }); n != 1 {
			t.Errorf("%d were let in", n)
		}
	})
	t.Run("what is no code is wrong", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key, _ := w.enrol(t, dana)
		code := codeAt(t, key, w.clock)
		for _, text := range []string{"", " ", "0", code + "0", code[1:], "-" + code[1:], "１２３４５６", key.Reveal(), code + "\x00"} {
			wrong(t, w.prove(t, dana, totp(text)))
		}
	})
}

// atOnce calls many times at once and counts the successes.
func atOnce(t *testing.T, call func() error) (right int) {
	t.Helper()
	const many = 12
	results := make(chan error, many)
	var all sync.WaitGroup
	for range many {
		all.Go(func() { results <- call() })
	}
	all.Wait()
	for range many {
		if <-results == nil {
			right++
		}
	}
	return right
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	t.Run("a code has four groups of five and works once, in any spelling", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, key := w.enrol(t, dana)
		if !regexp.MustCompile(`^([A-Z2-7]{5}-){3}[A-Z2-7]{5}$`).MatchString(key.Reveal()) {
			t.Fatalf("a key of %d characters", len(key.Reveal()))
		}
		spelt := secret.New(" " + strings.ToLower(strings.ReplaceAll(key.Reveal(), "-", " ")) + "--")
		if err := w.prove(t, dana, recovery(spelt)); err != nil {
			t.Fatal(err)
		}
		for _, again := range []secret.String{key, spelt, {}, secret.New("-"), secret.New(key.Reveal() + "A")} {
			wrong(t, w.prove(t, dana, recovery(again)))
		}
	})
	t.Run("ten of a list, each once, and none of the list before", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.enrol(t, dana)
		old := must[[]secret.String](t)(w.NewList(t.Context(), dana, change()))
		list := must[[]secret.String](t)(w.NewList(t.Context(), dana, change()))
		if len(list) != 10 {
			t.Fatal(len(list))
		}
		for _, code := range list {
			if err := w.Confirm(t.Context(), dana, recovery(code), event()); err != nil {
				t.Fatal(err)
			}
		}
		for _, code := range append(list, old...) {
			wrong(t, w.Confirm(t.Context(), dana, recovery(code), event()))
		}
	})
	t.Run("of many that present one code at the same moment one is let in", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, key := w.enrol(t, dana)
		if n := atOnce(t, func() error { return w.Confirm(t.Context(), dana, recovery(key), event()) }); n != 1 {
			t.Errorf("%d were let in", n)
		}
	})
	t.Run("replacing consumes a code of either set and gives the only key", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, first := w.enrol(t, dana)
		list := must[[]secret.String](t)(w.NewList(t.Context(), dana, change()))
		second := must[secret.String](t)(w.Replace(t.Context(), dana, list[0], event()))
		_, err := w.Replace(t.Context(), dana, first, event())
		wrong(t, err)
		_, err = w.Replace(t.Context(), dana, list[0], event())
		wrong(t, err)
		third := must[secret.String](t)(w.Replace(t.Context(), dana, second, event()))
		fourth := must[secret.String](t)(w.RotateKey(t.Context(), dana, change()))
		wrong(t, w.Confirm(t.Context(), dana, recovery(third), event()))
		if err := w.Confirm(t.Context(), dana, recovery(fourth), event()); err != nil {
			t.Error(err)
		}
	})
	t.Run("codes are nobody else's", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, key := w.enrol(t, dana)
		w.enrol(t, kim)
		wrong(t, w.prove(t, kim, recovery(key)))
	})
	t.Run("nothing is kept of a code but a salted hash", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, key := w.enrol(t, dana)
		set := must[factor.Set](t)(w.Of(t.Context(), dana))
		if len(set.Codes) != 1 || len(set.Codes[0].Salt) != 16 || set.Codes[0].Hash == secret.Digest(strings.ReplaceAll(key.Reveal(), "-", "")) {
			t.Error("no salt")
		}
	})
}
