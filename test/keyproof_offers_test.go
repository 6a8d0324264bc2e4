package test

import (
	"errors"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// mute is a key that is offered and never signs.
type mute struct {
	ssh.Signer
	asked bool // the server wanted a signature
}

func (m *mute) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	m.asked = true
	return nil, errors.New("this key only offers itself")
}

// Line 1, rule S1: a listed key that is offered without a signature proves nothing. keyboard-interactive
// opens the information channel; the attempt counts.
func TestKeyproof_line01_an_offer_without_a_signature(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	key := gate.NewKeys(t, 1)[0]
	s := verifySession(t, g, object{"webhooks": hook, "max_attempts": 2}, key)
	offer := &mute{Signer: key.Signer(t)}
	c, err := client(t, g, s.ConnectionIdentifier, ssh.PublicKeys(offer), interactive())
	if err != nil {
		t.Fatal(err)
	}
	if !offer.asked {
		t.Fatal("the server did not take the offer, so the test shows nothing")
	}
	expect(t, shell(t, c), 1, noMatchLine(g, s))
	check(t, g, s.ID, "pending", []int{}, prints())
	checkFired(t, g, s.ID, "new_connection", "failed_attempt no_match")

	c, err = client(t, g, s.ConnectionIdentifier, ssh.PublicKeys(&mute{Signer: key.Signer(t)}), interactive())
	if err != nil {
		t.Fatal(err)
	}
	expect(t, shell(t, c), 1, noMatchLine(g, s), usedUpLine)
	check(t, g, s.ID, "failed", []int{}, prints(), prints())
}

// turncoat asks with one key and signs with another.
type turncoat struct {
	ssh.Signer
	offered ssh.PublicKey
}

func (c *turncoat) PublicKey() ssh.PublicKey {
	return &changingKey{PublicKey: c.offered, then: c.Signer.PublicKey()}
}

// changingKey is one key for the question and its answer, and another from then on.
type changingKey struct {
	ssh.PublicKey
	then  ssh.PublicKey
	shown int
}

func (k *changingKey) Marshal() []byte {
	if k.shown++; k.shown > 2 {
		return k.then.Marshal()
	}
	return k.PublicKey.Marshal()
}

// Line 2, rule S1: asking with key A and signing with key B proves B alone (CVE-2024-45337).
func TestKeyproof_line02_asked_with_one_key_signed_with_another(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	keys := gate.NewKeys(t, 2)
	a, b := keys[0], keys[1]
	for _, c := range []struct {
		name, status string
		more         object
		proven       []int
		exit         int
		lines        []string
	}{
		{"either_is_enough", "verified", object{}, []int{2}, 0, []string{verifiedLine(b, 2)}},
		{"both_are_needed", "failed", object{"match_all_keys": true}, []int{}, 1, []string{"1 of 2 keys verified. All are needed.", usedUpLine}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := verifySession(t, g, c.more, a, b)
			both := &turncoat{Signer: b.Signer(t), offered: a.Signer(t).PublicKey()}
			conn, err := client(t, g, s.ConnectionIdentifier, ssh.PublicKeys(both), interactive())
			if err != nil {
				t.Fatal(err)
			}
			expect(t, shell(t, conn), c.exit, c.lines...)
			check(t, g, s.ID, c.status, c.proven, prints(b))
		})
	}
}

// Line 3: an RSA key that was listed as PEM is proven by a signature of rsa-sha2-256, and shown as ssh-rsa.
func TestKeyproof_line03_RSA_listed_as_PEM(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	key := gate.NewKey(t, "rsa", "-b", "2048")
	pem := run(t, "ssh-keygen", "-e", "-m", "PKCS8", "-f", key.Path+".pub").Stdout
	if !strings.HasPrefix(pem, "-----BEGIN PUBLIC KEY-----") {
		t.Fatalf("ssh-keygen wrote no PEM: %s", pem)
	}
	for _, algorithm := range []string{"rsa-sha2-256", "rsa-sha2-512"} {
		t.Run(algorithm, func(t *testing.T) {
			s := g.Create(t, "verify", object{"keys": []object{{"public_key": pem, "name": "key 1"}}})
			r := connect(t, g, s, append(gate.With(key), "-vvv", "-o", "PubkeyAcceptedAlgorithms="+algorithm)...)
			expect(t, r, 0, verifiedLine(key, 1))
			if !strings.Contains(r.Stderr, "signing using "+algorithm+" ") {
				t.Errorf("ssh says nothing of %s:\n%s", algorithm, r.Stderr)
			}
			is := check(t, g, s.ID, "verified", []int{1}, prints(key))
			if is.Keys[0].Algorithm != "ssh-rsa" || is.Connections[0].Keys[0].Algorithm != "ssh-rsa" {
				t.Errorf("algorithm %q", is.Keys[0].Algorithm)
			}
		})
	}
}

// Line 4: an agent with eight keys. The listed one is last: one signature. Four are listed and all are
// needed: one connection.
func TestKeyproof_line04_an_agent_with_eight_keys(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	keys := gate.NewKeys(t, 8)
	agent := gate.Agent(t, keys...)
	t.Run("the_last_one_is_listed", func(t *testing.T) {
		s := verifySession(t, g, nil, keys[7])
		r := gate.Run(t, gate.UseAgent(g.SSH(t, s.ConnectionIdentifier, "-vv"), agent), "")
		expect(t, r, 0, verifiedLine(keys[7], 1))
		if offers, signed := strings.Count(r.Stderr, "debug1: Offering public key"), strings.Count(r.Stderr, "debug1: Server accepts key"); offers != 8 || signed != 1 {
			t.Errorf("%d offers and %d signatures, want 8 and 1", offers, signed)
		}
		check(t, g, s.ID, "verified", []int{1}, prints(keys[7]))
	})
	t.Run("four_are_listed_and_all_are_needed", func(t *testing.T) {
		four := []gate.KeyFile{keys[6], keys[0], keys[4], keys[2]} // not in the agent's order
		s := verifySession(t, g, object{"match_all_keys": true, "webhooks": hook}, four...)
		r := gate.Run(t, gate.UseAgent(g.SSH(t, s.ConnectionIdentifier), agent), "")
		expect(t, r, 0, verifiedLine(keys[0], 2), verifiedLine(keys[2], 4), verifiedLine(keys[4], 3), verifiedLine(keys[6], 1))
		check(t, g, s.ID, "verified", []int{1, 2, 3, 4}, prints(keys[0], keys[2], keys[4], keys[6]))
		checkFired(t, g, s.ID, "new_connection", "verified", "verified", "verified", "verified", "status_changed verified")
	})
	t.Run("several_keys_without_needing_all", func(t *testing.T) {
		s := verifySession(t, g, object{"multi_key": true}, keys[1], keys[5], gate.NewKeys(t, 1)[0])
		r := gate.Run(t, gate.UseAgent(g.SSH(t, s.ConnectionIdentifier), agent), "")
		expect(t, r, 0, verifiedLine(keys[1], 1), verifiedLine(keys[5], 2))
		check(t, g, s.ID, "verified", []int{1, 2}, prints(keys[1], keys[5]))
	})
}

// Line 7: who never asks to authenticate leaves no record and no attempt.
func TestKeyproof_line07_scanners_leave_no_trace(t *testing.T) {
	t.Parallel()
	peers.Require(t, "nc", "ssh-keyscan")
	g := gate.Start(t, gate.Options{})
	key := gate.NewKeys(t, 1)[0]
	s := verifySession(t, g, object{"webhooks": hook}, key)
	if out := run(t, "ssh-keyscan", "-p", port(g), "127.0.0.1").Stdout; strings.Count(out, "\n") != 2 {
		t.Errorf("ssh-keyscan saw not two host keys:\n%s", out)
	}
	nc := exec.Command("nc", "-w", "1", "-q", "0", "127.0.0.1", port(g))
	if r := gate.Run(t, nc, "SSH-2.0-nc\r\nGET / HTTP/1.0\r\n\r\n"); !strings.HasPrefix(r.Stdout, "SSH-2.0-Gatehouse\r\n") {
		t.Errorf("nc got %q", r.Stdout)
	}
	if _, err := client(t, g, s.ConnectionIdentifier); err == nil || !strings.Contains(err.Error(), "unable to authenticate, attempted methods [none]") {
		t.Errorf("a client that only asks with none: %v", err)
	}
	for _, args := range [][]string{
		{"-o", "PreferredAuthentications=none"},
		{"-o", "PreferredAuthentications=password"}, // never offered, so the client has nothing to ask
	} {
		if r := connect(t, g, s, args...); r.Exit != 255 {
			t.Errorf("ssh %v: exit %d\n%s", args, r.Exit, r.Stderr)
		}
	}
	// The only attempt there is still counts as the first.
	expect(t, connect(t, g, s, gate.With(key)...), 0, verifiedLine(key, 1))
	check(t, g, s.ID, "verified", []int{1}, prints(key))
	checkFired(t, g, s.ID, "new_connection", "verified", "status_changed verified")
	attempts := g.Rows(t, `SELECT body FROM audit_events WHERE body LIKE '%"keyproof.attempt"%'`)
	if len(attempts) != 1 {
		t.Errorf("%d attempts are on record, want 1: %s", len(attempts), attempts)
	}
}

func port(g *gate.Gate) string { _, p, _ := net.SplitHostPort(g.SSHAddr()); return p }

// Line 8: BatchMode switches keyboard-interactive off. A listed key is enough in one-key mode; where all
// keys are needed and one is missing the client is denied, and the attempt counts.
func TestKeyproof_line08_BatchMode(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	keys := gate.NewKeys(t, 2)
	batch := func(s gate.Session, keys ...gate.KeyFile) gate.Result {
		return connect(t, g, s, append(gate.With(keys...), "-o", "BatchMode=yes")...)
	}
	one := verifySession(t, g, nil, keys[0])
	expect(t, batch(one, keys[0]), 0, verifiedLine(keys[0], 1))
	check(t, g, one.ID, "verified", []int{1}, prints(keys[0]))

	all := verifySession(t, g, object{"match_all_keys": true, "webhooks": hook}, keys...)
	expect(t, batch(all, keys[0]), 255)
	check(t, g, all.ID, "failed", []int{}, prints(keys[0]))
	checkFired(t, g, all.ID, "new_connection", "failed_attempt incomplete", "status_changed failed")

	// Spec 7.2.9: what was proven counts at the end of a connection that was denied, too.
	several := verifySession(t, g, object{"multi_key": true}, keys...)
	expect(t, batch(several, keys[0]), 255)
	check(t, g, several.ID, "verified", []int{1}, prints(keys[0]))

	// Nobody can confirm in BatchMode where keys are still missing.
	confirm := verifySession(t, g, object{"match_all_keys": true, "must_confirm": true, "webhooks": hook}, keys...)
	expect(t, batch(confirm, keys[0]), 255)
	check(t, g, confirm.ID, "failed", []int{}, prints())
	checkFired(t, g, confirm.ID, "new_connection", "failed_attempt disconnected", "status_changed failed")
}

// Line 18, rule S9: a client that knows only ChaCha20-Poly1305 or CBC finds no common cipher and leaves
// no connection behind.
func TestKeyproof_line18_ciphers_that_are_not_offered(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	key := gate.NewKeys(t, 1)[0]
	s := verifySession(t, g, nil, key)
	for _, cipher := range []string{"chacha20-poly1305@openssh.com", "aes128-cbc,aes256-cbc", "3des-cbc"} {
		r := connect(t, g, s, append(gate.With(key), "-c", cipher)...)
		if r.Exit != 255 || !strings.Contains(r.Stderr, "no matching cipher found") {
			t.Errorf("%s: exit %d\n%s", cipher, r.Exit, r.Stderr)
		}
	}
	check(t, g, s.ID, "pending", []int{})
	for _, cipher := range []string{"aes128-gcm@openssh.com", "aes256-ctr"} {
		s := verifySession(t, g, nil, key)
		expect(t, connect(t, g, s, append(gate.With(key), "-c", cipher)...), 0, verifiedLine(key, 1))
	}
}

// 62 keys are all heard. A client with 200 is cut off by the library's 128 requests for one connection:
// it is an attempt like any other, and what it proved before that counts.
func TestKeyproof_many_keys(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	keys := gate.NewKeys(t, 200)
	agent := gate.Agent(t, keys...) // ssh takes no more than 100 files
	all := func(s gate.Session) gate.Result {
		return gate.Run(t, gate.UseAgent(g.SSH(t, s.ConnectionIdentifier), agent), "")
	}
	t.Run("62_and_the_last_one_is_listed", func(t *testing.T) {
		s := verifySession(t, g, nil, keys[61])
		expect(t, connect(t, g, s, gate.With(keys[:62]...)...), 0, verifiedLine(keys[61], 1))
	})
	t.Run("62_and_none_is_listed", func(t *testing.T) {
		s := verifySession(t, g, object{"webhooks": hook}, keys[199])
		expect(t, connect(t, g, s, gate.With(keys[:62]...)...), 1, noMatchLine(g, s), usedUpLine)
		checkFired(t, g, s.ID, "new_connection", "failed_attempt no_match", "status_changed failed")
	})
	t.Run("32_listed_and_all_are_needed", func(t *testing.T) {
		s := verifySession(t, g, object{"match_all_keys": true}, keys[:32]...)
		r := connect(t, g, s, gate.With(keys[:32]...)...)
		if r.Exit != 0 || strings.Count(r.Stdout, "Verified with") != 32 {
			t.Fatalf("exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
		}
		if is := g.Session(t, "verify", s.ID); is.Status != "verified" || len(verifiedKeys(is)) != 32 {
			t.Errorf("%s with %d keys", is.Status, len(verifiedKeys(is)))
		}
	})
	t.Run("200_and_none_is_listed", func(t *testing.T) {
		s := verifySession(t, g, object{"max_attempts": 5, "webhooks": hook}, gate.NewKeys(t, 1)...)
		expect(t, all(s), 255)
		check(t, g, s.ID, "pending", []int{}, prints())
		checkFired(t, g, s.ID, "new_connection", "failed_attempt no_match")
	})
	t.Run("200_and_the_first_is_listed_among_several", func(t *testing.T) {
		s := verifySession(t, g, object{"multi_key": true}, keys[0], gate.NewKeys(t, 1)[0])
		expect(t, all(s), 255)
		check(t, g, s.ID, "verified", []int{1}, prints(keys[0]))
	})
}
