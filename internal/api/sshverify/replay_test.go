package sshverify_test

import (
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/api/apitest"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
)

// Every operation and every row of the table of faults stands in testdata, byte for byte.
func TestExchanges(t *testing.T) {
	t.Parallel()
	apitest.Dir(t, "testdata/*.txtar", func(t *testing.T) apitest.Replay {
		t.Helper()
		h := newHouse(t)
		return apitest.Replay{Handler: h, Vars: h.vars(), Steps: h.steps(t)}
	})
}

// vars are the words that testdata uses for what each run makes anew, and for the two public keys.
func (h *house) vars() map[string]string {
	last := h.key[len(h.key)-1]
	return map[string]string{
		"key": h.key, "otherkey": h.otherKey, "oldkey": h.oldKey,
		"badkey": h.key[:len(h.key)-1] + string('0'+(last-'0'+1)%10), // as long as a key, but its end does not fit
		"shop":   h.shop.ID,
		"laptop": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGiiJzVVCmSGMZF0FHpzgZj1/36dfeVtYTAPH6zNc7jT",
		"tower":  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0RiwwHEktUdsuTTXgSMUCWMdlTOWX43KwUPI2mYiZJ",
	}
}

// steps are what happens between requests.
func (h *house) steps(t *testing.T) map[string]func(*testing.T) {
	t.Helper()
	laptop, tower := testKey(t, "laptop"), testKey(t, "tower")
	connects := func(kind keyproof.Kind, keys ...ssh.PublicKey) func(*testing.T) {
		return func(t *testing.T) { h.connect(t, kind, keys...) }
	}
	passes := func(d time.Duration) func(*testing.T) { return func(*testing.T) { h.clock.pass(d) } }
	set := func(s project.Settings) func(*testing.T) { return func(t *testing.T) { h.set(t, s) } }
	three := 3
	return map[string]func(*testing.T){
		"one second passes":           passes(time.Second),
		"ten minutes pass":            passes(10 * time.Minute),
		"twenty minutes pass":         passes(20 * time.Minute),
		"laptop signs":                connects(keyproof.Verify, laptop),
		"tower signs":                 connects(keyproof.Verify, tower),
		"laptop and tower sign":       connects(keyproof.Verify, laptop, tower),
		"laptop and tower offered":    connects(keyproof.Collect, laptop, tower),
		"nothing offered":             connects(keyproof.Collect),
		"strict_status on":            set(project.Settings{StrictStatus: true}),
		"three requests an hour":      set(project.Settings{RatePerHour: &three}),
		"no limit of requests at all": set(project.Settings{RatePerHour: new(int)}),
	}
}
