package test

import (
	"encoding/base32"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// quick are the settings of a gate that answers failures at once and asks nobody for a CAPTCHA; more are further settings.
func quick(more ...string) map[string]string {
	return unlimited(append([]string{"auth.min_failure_ms", "1", "auth.captcha_after", "0"}, more...)...)
}

// atOnce runs all calls at the same moment and returns their answers.
func atOnce(t *testing.T, calls ...func() (reply, error)) []reply {
	t.Helper()
	var running sync.WaitGroup
	answers, begin := make([]reply, len(calls)), make(chan struct{})
	for i, do := range calls {
		running.Go(func() {
			<-begin
			var err error
			if answers[i], err = do(); err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	running.Wait()
	return answers
}

// won counts the answers that opened a session; each of the others must be refused with one of these.
func won(t *testing.T, answers []reply, refused ...int) (n int) {
	t.Helper()
	for _, a := range answers {
		switch {
		case a.Status < 300 && len(a.Cookies) == 1:
			n++
		case !slices.Contains(refused, a.Status) || len(a.Cookies) > 0:
			t.Errorf("%v with %v, want one of %v", a, a.Cookies, refused)
		}
	}
	return n
}

// Rule F7: a one-time code works once, on all nodes together.
//
// What was broken elsewhere: a code was good again on another node, with a blank beside it, or after the
// sign-in that it was tried at had been locked.
// How it is attacked: one code at twelve sign-ins of two nodes at the same moment; the used code in
// other spellings; a recovery code likewise; wrong codes until a sign-in is over, then the right one.
// What must happen: exactly one opens a session, whatever the node; the record says which were used already.
func TestAttack_F7_codes_on_two_nodes(t *testing.T) {
	t.Parallel()
	a := gate.Start(t, gate.Options{Database: peers.Postgres(t).Database(t), Settings: quick()})
	b := a.Second(t)
	person(t, a, "dana")
	his := withApp(t, signedIn(t, a, "dana"))
	race := func(path, member, value string) int {
		var calls []func() (reply, error)
		for i := range 12 {
			g := []*gate.Gate{a, b}[i%2]
			c, body := visit(g), members{"conversationId": talk(t, []*gate.Gate{b, a}[i/2%2], "dana"), member: value}
			calls = append(calls, func() (reply, error) { return c.try("POST", tsv+path, body) })
		}
		return won(t, atOnce(t, calls...), http.StatusUnauthorized, http.StatusBadRequest) // the first that comes too late ends the others
	}
	now := code(t, his.secret, 0)
	if n := race("/authenticate/totp-code", "totpCode", now); n != 1 {
		t.Errorf("one code opened %d sessions", n)
	}
	unlockName(t, a, "dana")
	for i, spelling := range []string{now, " " + now, now[:3] + " " + now[3:], now + "\n", "\u00a0" + now, now[:3] + "\u2009" + now[3:], "\t" + now + "\t"} {
		if r := visit(b).call(t, "POST", tsv+"/authenticate/totp-code", members{"conversationId": talk(t, a, "dana"), "totpCode": spelling}); r.Status != http.StatusUnauthorized {
			t.Errorf("a used code as %q: %v", spelling, r)
		}
		if i%3 == 2 {
			unlockName(t, a, "dana")
		}
	}
	a.AwaitAudited(t, "login.totp", "refused", "the code was used already")
	unlockName(t, a, "dana")

	if n := race("/authenticate/recovery-code", "recoveryCode", his.recovery); n != 1 {
		t.Errorf("one recovery code opened %d sessions", n)
	}
	a.AwaitAudited(t, "login.recovery_code", "refused", "no unused recovery code")
	unlockName(t, a, "dana")

	dying := talk(t, a, "dana")
	for i := range 5 {
		r := visit([]*gate.Gate{a, b}[i%2]).call(t, "POST", tsv+"/authenticate/totp-code", members{"conversationId": dying, "totpCode": "00000" + fmt.Sprint(i)})
		if r.Status != http.StatusUnauthorized {
			t.Errorf("wrong code %d: %v", i, r)
		}
	}
	for _, g := range []*gate.Gate{a, b} {
		r := visit(g).call(t, "POST", tsv+"/authenticate/totp-code", members{"conversationId": dying, "totpCode": code(t, his.secret, 1)})
		if r.Status != http.StatusBadRequest || len(r.Cookies) > 0 {
			t.Errorf("the right code after five wrong ones: %v", r)
		}
	}
	hushed(t, a, his.secret, his.recovery, danaPassword, dying)
	hushed(t, b, his.secret, his.recovery, danaPassword, dying)
}

// Rules F7, S3 and W11: a conversation is one sign-in of one person, takes one step, and ends.
//
// What was broken elsewhere: the state of a half-open sign-in was taken for another person's, for another
// purpose, or twice.
// How it is attacked: dana's code with erin's conversation; a conversation of an enrolment as a sign-in and the other way
// round; one conversation completed twenty times at once; one that has expired.
// What must happen: nothing opens but the one that was meant, once.
func TestAttack_F7_conversations(t *testing.T) {
	t.Parallel()
	settings := quick()
	g := gate.Start(t, gate.Options{Settings: settings})
	for _, name := range []string{"dana", "erin", "finn"} {
		person(t, g, name)
	}
	dana, erin := withApp(t, signedIn(t, g, "dana")), withApp(t, signedIn(t, g, "erin"))
	finn := signedIn(t, g, "finn")

	t.Run("of another person", func(t *testing.T) {
		r := visit(g).call(t, "POST", tsv+"/authenticate/totp-code", members{"conversationId": talk(t, g, "erin"), "totpCode": code(t, dana.secret, 0)})
		if r.Status != http.StatusUnauthorized || len(r.Cookies) > 0 {
			t.Errorf("%v", r)
		}
		if e := g.AwaitAudited(t, "login.totp", "refused", "the code is wrong"); e.Actor.Name != "erin" && e.Object.Name != "erin" {
			t.Errorf("audit log: %+v", e)
		}
	})
	t.Run("of another kind", func(t *testing.T) {
		finn.must(t, http.StatusNoContent, "POST", tsv+"/elevate-permissions/password", members{"password": danaPassword})
		enrolment := finn.must(t, http.StatusOK, "POST", tsv+"/totp/start-voluntary-enrollment", nil)
		id, fresh := enrolment.text(t, "conversationId"), code(t, enrolment.text(t, "secret"), 0)
		signIn := talk(t, g, "erin")
		for path, body := range map[string]members{
			"/authenticate/totp-code":            {"conversationId": id, "totpCode": fresh},
			"/authenticate/recovery-code":        {"conversationId": id, "recoveryCode": erin.recovery},
			"/totp/complete-enforced-enrollment": {"conversationId": id, "totpCode": fresh},
			"/totp/start-enforced-enrollment":    {"conversationId": signIn},
		} {
			if r := visit(g).call(t, "POST", tsv+path, body); r.Status != http.StatusBadRequest || len(r.Cookies) > 0 {
				t.Errorf("%s: %v", path, r)
			}
		}
		if r := visit(g).call(t, "POST", tsv+"/totp/complete-enforced-enrollment", members{"conversationId": signIn, "totpCode": code(t, erin.secret, 0)}); r.Status != http.StatusBadRequest {
			t.Errorf("a sign-in as an enrolment: %v", r)
		}
		if r := finn.call(t, "POST", tsv+"/totp/complete-voluntary-enrollment", members{"conversationId": signIn, "totpCode": code(t, erin.secret, 0)}); r.Status != http.StatusBadRequest {
			t.Errorf("a sign-in as a voluntary enrolment: %v", r)
		}
		other := signedIn(t, g, "finn") // another session of the same person
		other.must(t, http.StatusNoContent, "POST", tsv+"/elevate-permissions/password", members{"password": danaPassword})
		if r := other.call(t, "POST", tsv+"/totp/complete-voluntary-enrollment", members{"conversationId": id, "totpCode": fresh}); r.Status != http.StatusBadRequest {
			t.Errorf("an enrolment of another session: %v", r)
		}
	})
	t.Run("completed many times at once", func(t *testing.T) {
		body := members{"conversationId": talk(t, g, "dana"), "totpCode": code(t, dana.secret, 0)}
		var calls []func() (reply, error)
		for range 20 {
			c := visit(g)
			calls = append(calls, func() (reply, error) { return c.try("POST", tsv+"/authenticate/totp-code", body) })
		}
		if n := won(t, atOnce(t, calls...), http.StatusBadRequest, http.StatusUnauthorized); n != 1 {
			t.Errorf("it was completed %d times", n)
		}
	})
	hushed(t, g, dana.secret, dana.recovery, erin.secret, erin.recovery, danaPassword)
	g.Stop(t)
	settings["tsv.conversation"] = "3s" // the others take what time they need
	g.Serve(t)
	t.Run("expired", func(t *testing.T) {
		unlockName(t, g, "erin")
		late, ended := talk(t, g, "erin"), time.Now().Add(3*time.Second)
		for time.Now().Before(ended.Add(100 * time.Millisecond)) {
			time.Sleep(20 * time.Millisecond) // the conversation's time is what is tested
		}
		for path, body := range map[string]members{"totp-code": {"totpCode": code(t, erin.secret, 0)}, "recovery-code": {"recoveryCode": erin.recovery}} {
			body["conversationId"] = late
			if r := visit(g).call(t, "POST", tsv+"/authenticate/"+path, body); r.Status != http.StatusBadRequest || len(r.Cookies) > 0 {
				t.Errorf("%s: %v", path, r)
			}
		}
	})
	hushed(t, g, dana.secret, dana.recovery, erin.secret, erin.recovery, danaPassword)
}

// Rule S18: who never enrolled a factor cannot prove one, and nothing is no proof.
//
// What was broken elsewhere: a method that nobody had set up succeeded with an empty secret.
// How it is attacked: every second factor with empty values, with codes of an empty secret, and with those of
// somebody else, by a person who has an app alone, and by one who must enrol and has nothing.
// What must happen: all are refused, at every door.
func TestAttack_S18_factors_that_nobody_enrolled(t *testing.T) {
	t.Parallel()
	settings := quick("tsv.tries", "99")
	g := gate.Start(t, gate.Options{Settings: settings})
	person(t, g, "dana")
	his := withApp(t, signedIn(t, g, "dana"))
	g.Stop(t)
	settings["tsv.enforcement"] = "all"
	g.Serve(t)
	person(t, g, "finn") // has nothing and must have something

	empty := code(t, base32.StdEncoding.EncodeToString(nil), 0)
	for _, name := range []string{"dana", "finn"} {
		conversation, pending := talk(t, g, name), func() *caller { c, _ := withToken(t, g, name); return c }()
		for _, value := range []any{"", nil, " ", "000000", empty, strings.Repeat("0", 20), "-", 0, []string{}, false} {
			for path, body := range map[string]members{
				tsv + "/authenticate/totp-code":     {"conversationId": conversation, "totpCode": value},
				tsv + "/authenticate/recovery-code": {"conversationId": conversation, "recoveryCode": value},
				sys + "/session/auth/2fa/totp":      {"totp_code": value}, sys + "/session/auth/2fa/recovery_code": {"recovery_code": value},
				sys + "/session/auth/2fa/fido2": {"id": value, "response": value}, sys + "/session/auth/2fa/u2f": {"challenge": value},
			} {
				if r := pending.call(t, "POST", path, body); r.Status < 400 || r.Status >= 500 || len(r.Cookies) > 0 {
					t.Errorf("%s, %s with %v: %v", name, path, value, r)
				}
			}
			unlockName(t, g, name)
		}
		if r := pending.call(t, "GET", sys+"/accounts", nil); r.Status < 400 {
			t.Errorf("%s is in: %v", name, r)
		}
	}
	g.AwaitAudited(t, "login.totp", "refused", "the code is wrong")
	hushed(t, g, his.secret, his.recovery, danaPassword)
}
