package fortanix_test

import (
	"net/http"
	"testing"
	"time"
)

// A CAPTCHA that was read is the way out of a lock-out: it caps the back-off at 30 s. Without one nothing is looked at, and Basic cannot carry one.
func TestCaptcha_lets_the_right_password_in(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for range 10 { // the tenth backs off for 32 s
		want(t, h.post("/sys/v1/session/auth", basic(email, "wrong"), ""), http.StatusUnauthorized, refused)
		h.clock.pass(time.Minute)
		h.fail(t)
	}
	try := func(solution string) int {
		return h.post("/sys/v1/session/auth", "", `{"method":"password","email":"`+email+`","password":"`+password+`","recaptcha_response":`+solution+`}`).Code
	}
	hashes := h.hasher.checks.Load()
	solved := func() string {
		id, err := h.captcha.New()
		must(t, err)
		text, _ := h.captcha.Text(id)
		return `"` + id + ":" + text + `"`
	}
	for _, wrong := range []string{`null`, `""`, `"a token of somebody else's service"`, `"x:ABCDEF"`} {
		if code := try(wrong); code != http.StatusUnauthorized {
			t.Errorf("%s: %d", wrong, code)
		}
	}
	early := solved()
	if code := try(early); code != http.StatusUnauthorized {
		t.Errorf("within the back-off: %d", code)
	}
	if n := h.hasher.checks.Load() - hashes; n != 0 {
		t.Errorf("%d hashes for what must not be looked at", n)
	}
	h.clock.pass(30 * time.Second)
	if code := try(early); code != http.StatusUnauthorized {
		t.Errorf("the same CAPTCHA again: %d", code)
	}
	want(t, h.post("/sys/v1/session/auth", h.asDana(), ""), http.StatusUnauthorized, refused)
	if code := try(solved()); code != http.StatusOK {
		t.Errorf("a solved one: %d", code)
	}
	want(t, h.post("/sys/v1/session/auth", h.asDana(), ""), http.StatusOK, "")
}

// fail counts one more failure of Dana's name, with a CAPTCHA where one is due.
func (h *house) fail(t *testing.T) {
	t.Helper()
	id, err := h.captcha.New()
	must(t, err)
	text, _ := h.captcha.Text(id)
	w := h.post("/sys/v1/session/auth", "", `{"method":"password","email":"`+email+`","password":"wrong","recaptcha_response":"`+id+":"+text+`"}`)
	want(t, w, http.StatusUnauthorized, refused)
}
