package sshd_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/sshd"
)

// Rule S1: an offer of a listed key is no proof, whatever follows it.
func TestOffers_prove_nothing(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()

	t.Run("offer, then disconnect", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, key.PublicKey())
		r := handshake(t, d)
		if kind := r.query(s.Identifier, key.PublicKey()); kind != msgAuthKeyOK {
			t.Fatalf("a listed key was answered with %d", kind)
		}
		r.close()
		if o := d.closed(t); o != string(keyproof.NoMatch) {
			t.Errorf("outcome %s", o)
		}
		d.want(t, s, keyproof.Failed, 1)
	})
	t.Run("offer, then keyboard-interactive", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, key.PublicKey())
		r := handshake(t, d)
		r.query(s.Identifier, key.PublicKey())
		if kind := r.interactive(s.Identifier); kind != msgAuthSuccess {
			t.Fatalf("keyboard-interactive was answered with %d", kind)
		}
		r.close()
		if o := d.closed(t); o != string(keyproof.NoMatch) {
			t.Errorf("outcome %s", o)
		}
		d.want(t, s, keyproof.Failed, 1)
	})
	t.Run("offer one key, sign with another", func(t *testing.T) {
		other := newED()
		s := d.verify(t, keyproof.Options{MultiKey: true}, key.PublicKey(), other.PublicKey())
		r := handshake(t, d)
		r.query(s.Identifier, key.PublicKey())
		if kind := r.sign(s.Identifier, other); kind != msgAuthFailure {
			t.Fatalf("the signature was answered with %d", kind)
		}
		r.close()
		d.closed(t)
		d.want(t, s, keyproof.Verified, 0, other.PublicKey())
		if keys := d.now(t, s).Keys; !keys[0].Verified.IsZero() || keys[1].Verified.IsZero() {
			t.Errorf("keys: %+v", keys)
		}
	})
	t.Run("offer a listed key, sign with one that is not", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, key.PublicKey())
		r := handshake(t, d)
		r.query(s.Identifier, key.PublicKey())
		if kind := r.sign(s.Identifier, newED()); kind != msgAuthFailure {
			t.Fatalf("the signature was answered with %d", kind)
		}
		r.close()
		d.closed(t)
		d.want(t, s, keyproof.Failed, 1)
	})
	t.Run("name a listed key, sign with another", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, key.PublicKey())
		r := handshake(t, d)
		if kind := r.signAs(s.Identifier, key.PublicKey(), newED()); kind != msgClosed {
			t.Fatalf("the signature was answered with %d", kind)
		}
		d.closed(t)
		d.want(t, s, keyproof.Failed, 1)
	})
	t.Run("a signed request without a question is a proof", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, key.PublicKey())
		r := handshake(t, d)
		if kind := r.sign(s.Identifier, key); kind != msgAuthSuccess {
			t.Fatalf("the signature was answered with %d", kind)
		}
		r.close()
		d.closed(t)
		d.want(t, s, keyproof.Verified, 0, key.PublicKey())
	})
}

// Rule S1, as a property: of any sequence of offers and signatures exactly the listed keys that signed
// are proven, in their order.
func TestProofs_are_exactly_the_signatures(t *testing.T) {
	t.Parallel()
	d := open(t, func(l *sshd.Limits) { l.PerAddress = 1000 })
	pool := eds(5)
	rapid.Check(t, func(rt *rapid.T) {
		listed := rapid.IntRange(1, len(pool)).Draw(rt, "listed")
		s := d.verify(t, keyproof.Options{MultiKey: true, MaxAttempts: 1000}, publics(pool[:listed])...)
		r := handshake(t, d)
		defer r.close()
		var proven []int // indexes in pool
		ended := false
		for range rapid.IntRange(0, 12).Draw(rt, "requests") {
			i := rapid.IntRange(0, len(pool)-1).Draw(rt, "key")
			k, has, isListed := pool[i], slices.Contains(proven, i), i < listed
			var kind byte
			switch rapid.SampledFrom([]string{"offer", "sign", "offer and sign", "forge"}).Draw(rt, "what") {
			case "offer":
				kind = r.query(s.Identifier, k.PublicKey())
				if want := isListed && !has; want != (kind == msgAuthKeyOK) {
					rt.Fatalf("an offer was answered with %d, listed %v, proven %v", kind, isListed, has)
				}
				continue
			case "offer and sign":
				r.query(s.Identifier, k.PublicKey())
				kind = r.sign(s.Identifier, k)
			case "sign":
				kind = r.sign(s.Identifier, k)
			case "forge":
				r.signAs(s.Identifier, k.PublicKey(), newED())
				ended = true
			}
			if !ended && isListed && !has {
				proven = append(proven, i)
			}
			if ended || kind == msgAuthSuccess {
				ended = true
				break
			}
		}
		if rapid.Bool().Draw(rt, "ask for the result") && !ended {
			r.interactive(s.Identifier)
		}
		r.close()
		d.closed(t)
		is := d.now(t, s)
		if len(is.Connections) == 0 {
			if len(proven) > 0 {
				rt.Fatal("proofs without a connection")
			}
			return
		}
		var got []string
		for _, k := range is.Connections[0].Keys {
			got = append(got, k.Public.SHA256())
		}
		var want []string
		for _, i := range proven {
			want = append(want, ssh.FingerprintSHA256(pool[i].PublicKey()))
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("proven %v, signed %v", got, want)
		}
		for _, k := range is.Keys {
			if k.Verified.IsZero() == slices.Contains(want, k.Public.SHA256()) {
				rt.Fatalf("key %s verified at %v, signed %v", k.Public.SHA256(), k.Verified, want)
			}
		}
	})
}

// The codes that open nothing look alike, and leave no record of a connection.
func TestCodes_that_are_not_valid(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	finished := d.verify(t, keyproof.Options{}, key.PublicKey())
	d.login(t, finished.Identifier, "", key)
	d.closed(t)
	deleted := d.verify(t, keyproof.Options{}, key.PublicKey())
	if err := d.service.Delete(t.Context(), me(), "project", keyproof.Verify, deleted.ID); err != nil {
		t.Fatal(err)
	}
	expired := d.verify(t, keyproof.Options{}, key.PublicKey())
	d.clock.Add(int64(2 * time.Hour))
	before := len(d.store.connections)

	var first visit
	for _, user := range []string{"0000000000000000", finished.Identifier, deleted.Identifier, expired.Identifier, strings.ToUpper(expired.Identifier)} {
		v := d.login(t, user, "", key)
		if v.err == nil || v.banner != "This code is not valid (any more). Ask for a new one.\n" {
			t.Errorf("%s: banner %q, %v", user, v.banner, v.err)
		}
		if first.err == nil {
			first = v
		} else if v.err == nil || v.err.Error() != first.err.Error() {
			t.Errorf("%s: %v, and another code: %v", user, v.err, first.err)
		}
		if o := d.closed(t); o != "refused" {
			t.Errorf("outcome %s", o)
		}
	}
	if len(d.store.connections) != before {
		t.Error("a connection was recorded")
	}
	if events := d.refusals.all(); len(events) != 1 || events[0].Action != "keyproof.attempt" { // the rest of the minute is folded
		t.Errorf("recorded: %+v", events)
	}
	if text := d.refusals.text() + d.log.String(); strings.Contains(text, expired.Identifier) || strings.Contains(text, "0000000000000000") {
		t.Error("a whole identifier was written down")
	}
}

// A host-key scan, a port scan and a client that only asks which methods there are leave no trace.
func TestLook_but_do_not_try(t *testing.T) {
	t.Parallel()
	d := open(t)
	s := d.verify(t, keyproof.Options{}, newED().PublicKey())

	dialTCP(t, d, "127.0.0.1").Close()
	d.closed(t)
	keyed(t, d, rawVersion).close()
	d.closed(t)
	r := handshake(t, d)
	if kind := r.request(s.Identifier, "none", nil); kind != msgAuthFailure {
		t.Errorf("none was answered with %d", kind)
	}
	if kind := r.request(s.Identifier, "password", ssh.Marshal(struct {
		Change   bool
		Password string
	}{false, "secret"})); kind != msgAuthFailure {
		t.Errorf("a password was answered with %d", kind)
	}
	r.close()
	if o := d.closed(t); o != "left" {
		t.Errorf("outcome %s", o)
	}
	d.untouched(t, s)
	if events := d.refusals.all(); len(events) != 0 {
		t.Errorf("recorded: %+v", events)
	}
}

// The first user name binds the connection.
func TestSecond_user_name_is_refused(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	one := d.verify(t, keyproof.Options{}, key.PublicKey())
	two := d.verify(t, keyproof.Options{}, key.PublicKey())
	r := handshake(t, d)
	if kind := r.query(one.Identifier, key.PublicKey()); kind != msgAuthKeyOK {
		t.Fatalf("answered with %d", kind)
	}
	for name, kind := range map[string]byte{
		"query": r.query(two.Identifier, key.PublicKey()), "sign": r.sign(two.Identifier, key), "interactive": r.interactive(two.Identifier),
	} {
		if kind != msgAuthFailure {
			t.Errorf("%s under a second name was answered with %d", name, kind)
		}
	}
	if kind := r.sign(one.Identifier, key); kind != msgAuthSuccess {
		t.Errorf("under the first name it was answered with %d", kind)
	}
	r.close()
	d.closed(t)
	d.want(t, one, keyproof.Verified, 0, key.PublicKey())
	d.untouched(t, two)
}

// Rule S7: behind a name that is no identifier six failures end the connection, and each name is
// refused alike; behind an identifier offers are free.
func TestFailures_are_counted_where_there_is_no_identifier(t *testing.T) {
	t.Parallel()
	d := open(t)
	for _, user := range []string{"ana", "git", "ana:db-1", "a\x1b[2Jb", ""} {
		r := handshake(t, d)
		r.request(user, "none", nil)
		for i := range 5 {
			if kind := r.query(user, newED().PublicKey()); kind != msgAuthFailure {
				t.Fatalf("%q: offer %d was answered with %d", user, i, kind)
			}
		}
		r.query(user, newED().PublicKey())
		r.closed()
		if o := d.closed(t); o != "refused" {
			t.Errorf("outcome %s", o)
		}
	}
	events := d.refusals.all()
	if len(events) != 5 {
		t.Fatalf("recorded: %+v", events)
	}
	for _, e := range events {
		if e.Action != "ssh.login" || e.Door != "sshd" || strings.Contains(e.Actor.Name, "\x1b") {
			t.Errorf("recorded: %+v", e)
		}
	}
	r := handshake(t, d)
	for i := range 7 {
		if kind := r.query("0123456789abcdef", newED().PublicKey()); kind != msgAuthFailure {
			t.Fatalf("offer %d behind an identifier was answered with %d", i, kind)
		}
	}
	r.close()
}

// A client with more keys than the library takes requests: what was proven or offered counts.
func TestTwo_hundred_keys(t *testing.T) {
	t.Parallel()
	d := open(t)
	many := eds(200)

	t.Run("verify", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{MultiKey: true}, many[10].PublicKey(), newED().PublicKey())
		d.login(t, s.Identifier, "", many...)
		d.closed(t)
		d.want(t, s, keyproof.Verified, 0, many[10].PublicKey())
	})
	t.Run("collect", func(t *testing.T) {
		s := d.collect(t, keyproof.Options{MultiKey: true})
		d.login(t, s.Identifier, "", many...)
		d.closed(t)
		d.want(t, s, keyproof.Completed, 0, publics(many[:64])...)
	})
	t.Run("prove fifty and stop", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{MultiKey: true}, publics(many[:60])...)
		r := handshake(t, d)
		for i := range 49 {
			if kind := r.sign(s.Identifier, many[i]); kind != msgAuthFailure {
				t.Fatalf("proof %d was answered with %d", i, kind)
			}
		}
		if kind := r.sign(s.Identifier, many[49]); kind != msgAuthSuccess {
			t.Errorf("proof 50 was answered with %d", kind)
		}
		r.close()
		d.closed(t)
		d.want(t, s, keyproof.Verified, 0, publics(many[:50])...)
	})
}

// What the door tells about itself, and what it tells the domain about the client.
func TestPeer(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	s := d.verify(t, keyproof.Options{}, key.PublicKey())
	r := keyed(t, d, "SSH-2.0-\x1b]0;x\x07"+strings.Repeat("v", 230))
	r.send(msgServiceRequest, ssh.Marshal(struct{ S string }{"ssh-userauth"}))
	r.receive()
	r.sign(s.Identifier, key)
	r.close()
	d.closed(t)
	c := d.now(t, s).Connections[0]
	if c.Address != "127.0.0.1" || !strings.HasPrefix(c.ClientVersion, "SSH-2.0-?]0;x?vvv") || len(c.ClientVersion) > 255 {
		t.Errorf("recorded %s %q", c.Address, c.ClientVersion)
	}
}

// A session that is deleted ends its connections.
func TestDeleted_session_closes_its_connection(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	s := d.verify(t, keyproof.Options{MustConfirm: true}, key.PublicKey())
	r := handshake(t, d)
	r.sign(s.Identifier, key)
	if err := d.service.Delete(t.Context(), me(), "project", keyproof.Verify, s.ID); err != nil {
		t.Fatal(err)
	}
	r.closed()
	d.closed(t)
}

// A store that is away counts nothing and says whose fault it is.
func TestStore_failure(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	s := d.verify(t, keyproof.Options{}, key.PublicKey())
	d.store.fail(errUnavailable)
	v := d.login(t, s.Identifier, "", key)
	if v.err == nil || v.banner != "Something went wrong on our side. Try again.\n" {
		t.Errorf("%+v", v)
	}
	d.closed(t)
	d.store.fail(nil)
	r := handshake(t, d)
	r.query(s.Identifier, key.PublicKey())
	d.store.fail(errUnavailable)
	r.sign(s.Identifier, key)
	r.close()
	if o := d.closed(t); o != "failed" {
		t.Errorf("outcome %s", o)
	}
	d.store.fail(nil)
	if is := d.now(t, s); is.Status != keyproof.Pending || is.Attempts != 0 {
		t.Errorf("%+v", is)
	}
}

// The door stops in peace: it closes who only waits, and lets attempts come to their end.
func TestServe_stops(t *testing.T) {
	t.Parallel()
	d := open(t, func(l *sshd.Limits) { l.Channel = 20 * time.Millisecond })
	key := newED()
	s := d.verify(t, keyproof.Options{MultiKey: true}, key.PublicKey(), newED().PublicKey())
	idle := hello(t, d, rawVersion)
	r := handshake(t, d)
	if kind := r.sign(s.Identifier, key); kind != msgAuthFailure {
		t.Fatalf("answered with %d", kind)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- d.stop() }()
	for idle.read()[0] != msgClosed { // its key exchange message, then the end
	}
	if kind := r.interactive(s.Identifier); kind != msgAuthSuccess {
		t.Errorf("the running attempt was answered with %d", kind)
	}
	r.closed()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	d.want(t, s, keyproof.Verified, 0, key.PublicKey())
}
