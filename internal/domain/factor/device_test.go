package factor_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"

	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/authenticator"
)

const appID = "https://old.test/app.json"

func (w *world) ceremony(c factor.Conversation) authenticator.Ceremony {
	return authenticator.Ceremony{Challenge: w.Ask(c, factor.Set{}).Challenge, Origin: origin, RPID: rpID}
}

func creation(c factor.Creation) authenticator.Ceremony {
	return authenticator.Ceremony{Challenge: c.Challenge, Origin: origin, RPID: c.RPID}
}

// add enrols a security key.
func (w *world) add(t testing.TB, user, name string, key *authenticator.Key, algorithms []int64) factor.Device {
	t.Helper()
	c := must[factor.Creation](t)(w.StartDevice(t.Context(), "s", user, "dana", algorithms))
	return must[factor.Device](t)(w.AddDevice(t.Context(), "s", user, name, key.Create(creation(c)), algorithms, change()))
}

func (w *world) touch(t testing.TB, user string, key *authenticator.Key, edit func(*authenticator.Ceremony, *factor.Assertion)) error {
	t.Helper()
	k, c := w.asked(t, user)
	ceremony := w.ceremony(c)
	edit(&ceremony, &factor.Assertion{})
	a := key.Get(ceremony)
	edit(&ceremony, &a)
	_, err := w.Prove(t.Context(), k, factor.Answer{Kind: factor.FIDO2, Assertion: &a}, recorded)
	return err
}

func nothing(*authenticator.Ceremony, *factor.Assertion) {}

func invalid(t testing.TB, err error) {
	t.Helper()
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want an invalid input", err)
	}
}

func TestDevice(t *testing.T) {
	t.Parallel()
	t.Run("every kind of key enrols and signs in", func(t *testing.T) {
		t.Parallel()
		for _, algorithm := range every {
			for _, format := range []string{"none", "packed", "fido-u2f"} {
				if format == "fido-u2f" && algorithm != authenticator.ES256 {
					continue
				}
				w := newWorld()
				key := authenticator.New(algorithm)
				key.Format = format
				d := w.add(t, dana, "one", key, every)
				if d.Kind != factor.WebAuthn || d.Origin != origin || d.Format != format || d.Counter != 1 || !bytes.Equal(d.Credential, key.ID) || d.Transports[0] != "usb" {
					t.Errorf("%+v", d)
				}
				if err := w.touch(t, dana, key, nothing); err != nil {
					t.Errorf("%d %s: %v", algorithm, format, err)
				}
				if got := must[factor.Set](t)(w.Of(t.Context(), dana)).Devices[0]; got.Counter != 2 || !got.LastUsed.Equal(w.clock) {
					t.Errorf("%+v", got)
				}
			}
		}
	})
	t.Run("the creation options name the user and the keys that are enrolled", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.add(t, dana, "one", authenticator.New(authenticator.ES256), offered)
		c := must[factor.Creation](t)(w.StartDevice(t.Context(), "s", dana, "dana", offered))
		if len(c.UserID) != 16 || len(c.Exclude) != 1 || len(c.Challenge) != 32 || c.RPName != "Gatehouse" || c.RPID != rpID {
			t.Errorf("%+v", c)
		}
	})
	t.Run("names are one's own and unique", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.add(t, dana, "one", authenticator.New(authenticator.ES256), offered)
		w.add(t, dana, "two", authenticator.New(authenticator.ES256), offered)
		w.add(t, kim, "one", authenticator.New(authenticator.ES256), offered)
		is(t, w.RenameDevice(t.Context(), dana, "one", "two", change()), factor.ErrNameTaken)
		is(t, w.RenameDevice(t.Context(), dana, "none", "x", change()), factor.ErrNoDevice)
		is(t, w.RenameDevice(t.Context(), dana, "one", "one", change()), nil)
		is(t, w.RenameDevice(t.Context(), dana, "one", "eins", change()), nil)
		for _, name := range []string{"", "a\nb", strings.Repeat("x", 101), "\xff"} {
			invalid(t, w.RenameDevice(t.Context(), dana, "eins", name, change()))
		}
		key := authenticator.New(authenticator.ES256)
		c := must[factor.Creation](t)(w.StartDevice(t.Context(), "s", dana, "dana", offered))
		a := key.Create(creation(c))
		_, err := w.AddDevice(t.Context(), "s", dana, "two", a, offered, change())
		is(t, err, factor.ErrNameTaken)
		must[factor.Device](t)(w.AddDevice(t.Context(), "s", dana, "three", a, offered, change())) // the challenge is still there
	})
	t.Run("a key is enrolled once, for one person", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key := authenticator.New(authenticator.ES256)
		w.add(t, dana, "one", key, offered)
		for _, user := range []string{dana, kim} {
			c := must[factor.Creation](t)(w.StartDevice(t.Context(), "of "+user, user, "x", offered))
			_, err := w.AddDevice(t.Context(), "of "+user, user, "two", key.Create(creation(c)), offered, change())
			is(t, err, factor.ErrKnownKey)
		}
	})
	t.Run("the last second factor stays while one is demanded", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.add(t, dana, "one", authenticator.New(authenticator.ES256), offered)
		is(t, w.RemoveDevice(t.Context(), dana, "none", true, change()), factor.ErrNoDevice)
		is(t, w.RemoveDevice(t.Context(), dana, "one", true, change()), factor.ErrLastFactor)
		w.enrol(t, dana)
		is(t, w.RemoveDevice(t.Context(), dana, "one", true, change()), nil)
		w.add(t, kim, "one", authenticator.New(authenticator.ES256), offered)
		is(t, w.RemoveDevice(t.Context(), kim, "one", false, change()), nil)
	})
	t.Run("a user has so many and no more", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key := authenticator.NewU2F(appID)
		var err error
		for i := range 33 {
			_, err = w.ImportU2F(t.Context(), dana, fmt.Sprint(i), []byte{byte(i)}, key.Point(), appID, change())
		}
		is(t, err, factor.ErrManyKeys)
	})
}

// Rule F8: every field of an answer is judged, and one that is wrong is enough.
func TestAssertion_one_field_at_a_time(t *testing.T) {
	t.Parallel()
	type edit = func(*authenticator.Key, *authenticator.Ceremony, *factor.Assertion)
	for name, c := range map[string]struct {
		edit   edit
		reason string // empty: malformed
	}{
		"the ceremony of enrolment": {func(_ *authenticator.Key, c *authenticator.Ceremony, _ *factor.Assertion) { c.Type = "webauthn.create" }, "another purpose"},
		"another challenge": {func(_ *authenticator.Key, c *authenticator.Ceremony, _ *factor.Assertion) {
			c.Challenge = make([]byte, 32)
		}, "another challenge"},
		"no challenge":   {func(_ *authenticator.Key, c *authenticator.Ceremony, _ *factor.Assertion) { c.Challenge = nil }, "another challenge"},
		"another origin": {func(_ *authenticator.Key, c *authenticator.Ceremony, _ *factor.Assertion) { c.Origin += ".evil.test" }, "another origin"},
		"an origin of another scheme": {func(_ *authenticator.Key, c *authenticator.Ceremony, _ *factor.Assertion) {
			c.Origin = "http://gate.test"
		}, "another origin"},
		"a frame in another's page": {func(_ *authenticator.Key, c *authenticator.Ceremony, _ *factor.Assertion) { c.Cross = true }, "another origin"},
		"another relying party":     {func(_ *authenticator.Key, c *authenticator.Ceremony, _ *factor.Assertion) { c.RPID = "evil.test" }, "another relying party"},
		"an AppID from a newer key": {func(k *authenticator.Key, _ *authenticator.Ceremony, _ *factor.Assertion) { k.AppID = origin }, "another relying party"},
		"no touch": {func(k *authenticator.Key, _ *authenticator.Ceremony, _ *factor.Assertion) {
			k.Flags = authenticator.Verified
		}, "not touched"},
		"another credential": {func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Assertion) { a.ID = []byte("other") }, "not one of the user's"},
		"another user's handle": {func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Assertion) {
			a.UserHandle = []byte("kim")
		}, "names another user"},
		"a counter that stands still":   {func(k *authenticator.Key, _ *authenticator.Ceremony, _ *factor.Assertion) { k.Step = 0 }, "counter"},
		"a counter that went back to 0": {func(k *authenticator.Key, _ *authenticator.Ceremony, _ *factor.Assertion) { k.Step, k.Counter = 0, 0 }, "counter"},
		"a signature of something else": {func(k *authenticator.Key, _ *authenticator.Ceremony, a *factor.Assertion) {
			a.Signature = k.Sign([]byte("x"))
		}, "signature"},
		"a byte more after a signature": {func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Assertion) {
			a.Signature = append(a.Signature, 0)
		}, "signature"},
		"client data that nobody signed": {func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Assertion) {
			a.ClientData = append(a.ClientData, ' ')
		}, "signature"},
		"a counter that nobody signed": {func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Assertion) {
			if len(a.AuthenticatorData) > 0 {
				a.AuthenticatorData = bytes.Clone(a.AuthenticatorData)
				a.AuthenticatorData[36]++
			}
		}, "signature"},
		"no id":                 {func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Assertion) { a.ID = nil }, ""},
		"another type":          {func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Assertion) { a.Type = "password" }, ""},
		"no signature":          {func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Assertion) { a.Signature = nil }, ""},
		"no authenticator data": {func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Assertion) { a.AuthenticatorData = nil }, ""},
		"authenticator data too long": {func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Assertion) {
			a.AuthenticatorData = append(a.AuthenticatorData, 0)
		}, ""},
		"no client data":              {func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Assertion) { a.ClientData = nil }, ""},
		"client data that is no JSON": {func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Assertion) { a.ClientData = []byte("{") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			key := authenticator.New(authenticator.ES256)
			w.add(t, dana, "one", key, offered)
			key.Counter = 7
			if err := w.touch(t, dana, key, nothing); err != nil {
				t.Fatal(err)
			}
			k, conversation := w.asked(t, dana)
			ceremony := w.ceremony(conversation)
			c.edit(key, &ceremony, &factor.Assertion{ClientData: []byte("x"), AuthenticatorData: nil})
			a := key.Get(ceremony)
			c.edit(key, &ceremony, &a)
			_, err := w.Prove(t.Context(), k, factor.Answer{Kind: factor.FIDO2, Assertion: &a}, recorded)
			if c.reason == "" {
				invalid(t, err)
			} else if miss := wrong(t, err); !strings.Contains(miss.Reason, c.reason) {
				t.Errorf("refused because %q", miss.Reason)
			}
			left := must[factor.Conversation](t)(w.Find(t.Context(), k))
			if (left.Tries == 0) != (c.reason == "") {
				t.Errorf("counted %d times", left.Tries)
			}
		})
	}
}

// Rule F8
func TestAssertion(t *testing.T) {
	t.Parallel()
	t.Run("opens once", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key := authenticator.New(authenticator.ES256)
		key.Step, key.Counter = 0, 0 // a key that does not count: the challenge alone stops a replay
		w.add(t, dana, "one", key, offered)
		k, c := w.asked(t, dana)
		a := key.Get(w.ceremony(c))
		answer := factor.Answer{Kind: factor.FIDO2, Assertion: &a}
		if n := atOnce(t, func() error { _, err := w.Prove(t.Context(), k, answer, recorded); return err }); n != 1 {
			t.Errorf("%d were let in", n)
		}
		if miss := wrong(t, w.prove(t, dana, answer)); !strings.Contains(miss.Reason, "another challenge") {
			t.Error(miss.Reason)
		}
	})
	t.Run("a challenge of one purpose serves no other", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key := authenticator.New(authenticator.ES256)
		w.add(t, dana, "one", key, offered)
		begin := func(p factor.Purpose) factor.Conversation {
			_, c, err := w.Begin(t.Context(), factor.Conversation{Purpose: p, User: dana, Session: "s"})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		for _, from := range []factor.Purpose{factor.SignIn, factor.Registration, factor.ElevationKey} {
			a := key.Get(w.ceremony(begin(from)))
			for _, to := range []factor.Purpose{factor.SignIn, factor.ElevationKey} {
				if from == to {
					continue
				}
				begin(to)
				_, err := w.Prove(t.Context(), factor.Key{Session: "s", Purpose: to}, factor.Answer{Kind: factor.FIDO2, Assertion: &a}, recorded)
				wrong(t, err)
			}
		}
	})
	t.Run("a counter that went back is recorded, and who did it", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key := authenticator.New(authenticator.ES256)
		w.add(t, dana, "laptop", key, offered)
		key.Counter = 0
		wrong(t, w.touch(t, dana, key, nothing))
		last := w.events[len(w.events)-1]
		if last.Action != factor.Regression || last.Detail["device"] != "laptop" || last.Outcome != "refused" {
			t.Errorf("%+v", last)
		}
	})
	t.Run("another's key opens nothing, even with their own challenge", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key := authenticator.New(authenticator.ES256)
		w.add(t, kim, "one", key, offered)
		w.add(t, dana, "one", authenticator.New(authenticator.ES256), offered)
		wrong(t, w.touch(t, dana, key, nothing))
	})
	t.Run("a security key elevates, a code does not answer its challenge", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		key := authenticator.New(authenticator.EdDSA)
		w.add(t, dana, "one", key, every)
		app, _ := w.enrol(t, dana)
		_, c, err := w.Begin(t.Context(), factor.Conversation{Purpose: factor.ElevationKey, User: dana, Session: "s"})
		if err != nil {
			t.Fatal(err)
		}
		k := factor.Key{Session: "s", Purpose: factor.ElevationKey}
		_, err = w.Prove(t.Context(), k, totp(codeAt(t, app, w.clock)), recorded)
		wrong(t, err)
		a := key.Get(w.ceremony(c))
		a.UserHandle, _ = base64.RawURLEncoding.DecodeString("AZjwoAAAcACAAAAAAADaeg")
		if _, err := w.Prove(t.Context(), k, factor.Answer{Kind: factor.FIDO2, Assertion: &a}, recorded); err != nil {
			t.Error(err)
		}
	})
}

func TestU2F(t *testing.T) {
	t.Parallel()
	imported := func(t *testing.T) (*world, *authenticator.Key) {
		t.Helper()
		w, key := newWorld(), authenticator.NewU2F(appID)
		d := must[factor.Device](t)(w.ImportU2F(t.Context(), dana, "old", key.ID, key.Point(), appID, change()))
		if d.Kind != factor.U2F || d.Origin != appID || d.Format != "fido-u2f" {
			t.Errorf("%+v", d)
		}
		return w, key
	}
	t.Run("an imported key signs in for its AppID", func(t *testing.T) {
		t.Parallel()
		w, key := imported(t)
		_, c := w.asked(t, dana)
		if ask := w.Ask(c, must[factor.Set](t)(w.Of(t.Context(), dana))); ask.AppID != appID {
			t.Errorf("%+v", ask)
		}
		if err := w.touch(t, dana, key, nothing); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("not where the client does not say so, nor where it says so wrongly", func(t *testing.T) {
		t.Parallel()
		w, key := imported(t)
		wrong(t, w.touch(t, dana, key, func(_ *authenticator.Ceremony, a *factor.Assertion) { a.AppID = false }))
		key.AppID = ""
		wrong(t, w.touch(t, dana, key, func(_ *authenticator.Ceremony, a *factor.Assertion) { a.AppID = true }))
		key.AppID = "https://other.test/app.json"
		wrong(t, w.touch(t, dana, key, nothing))
	})
	t.Run("what is no key is not imported", func(t *testing.T) {
		t.Parallel()
		w, key := newWorld(), authenticator.NewU2F(appID)
		off := bytes.Clone(key.Point())
		off[64] ^= 1
		for _, c := range []struct {
			handle, point []byte
			appID         string
		}{
			{nil, key.Point(), appID},
			{make([]byte, 256), key.Point(), appID},
			{key.ID, off, appID},
			{key.ID, key.Point()[:64], appID},
			{key.ID, nil, appID},
			{key.ID, key.Point(), ""},
			{key.ID, key.Point(), "http://old.test/"},
		} {
			_, err := w.ImportU2F(t.Context(), dana, "old", c.handle, c.point, c.appID, change())
			invalid(t, err)
		}
	})
}

// Rule F8: so for enrolment.
func TestAttestation_one_field_at_a_time(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*authenticator.Key, *authenticator.Ceremony, *factor.Attestation){
		"the ceremony of signing in": func(_ *authenticator.Key, c *authenticator.Ceremony, _ *factor.Attestation) { c.Type = "webauthn.get" },
		"another challenge": func(_ *authenticator.Key, c *authenticator.Ceremony, _ *factor.Attestation) {
			c.Challenge = make([]byte, 32)
		},
		"another origin": func(_ *authenticator.Key, c *authenticator.Ceremony, _ *factor.Attestation) {
			c.Origin = "https://evil.test"
		},
		"a frame":               func(_ *authenticator.Key, c *authenticator.Ceremony, _ *factor.Attestation) { c.Cross = true },
		"another relying party": func(_ *authenticator.Key, c *authenticator.Ceremony, _ *factor.Attestation) { c.RPID = "evil.test" },
		"no touch":              func(k *authenticator.Key, _ *authenticator.Ceremony, _ *factor.Attestation) { k.Flags = 0 },
		"another format":        func(k *authenticator.Key, _ *authenticator.Ceremony, _ *factor.Attestation) { k.Format = "apple" },
		"no format":             func(k *authenticator.Key, _ *authenticator.Ceremony, _ *factor.Attestation) { k.Format = "" },
		"another id":            func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Attestation) { a.ID = []byte("x") },
		"no id":                 func(k *authenticator.Key, _ *authenticator.Ceremony, a *factor.Attestation) { k.ID, a.ID = nil, nil },
		"another type":          func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Attestation) { a.Type = "password" },
		"no object":             func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Attestation) { a.Object = nil },
		"more than an object": func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Attestation) {
			a.Object = append(a.Object, 0)
		},
		"an object of no credential": func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Attestation) {
			a.Object, _ = webauthncbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": append(make([]byte, 32), 1, 0, 0, 0, 0)})
		},
		"packed by somebody else": func(k *authenticator.Key, _ *authenticator.Ceremony, a *factor.Attestation) {
			k.Format = "packed"
			a.ClientData = append(a.ClientData, ' ')
		},
		"no client data": func(_ *authenticator.Key, _ *authenticator.Ceremony, a *factor.Attestation) { a.ClientData = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, key := newWorld(), authenticator.New(authenticator.ES256)
			c := must[factor.Creation](t)(w.StartDevice(t.Context(), "s", dana, "dana", offered))
			ceremony, a := creation(c), factor.Attestation{}
			edit(key, &ceremony, &a)
			a = key.Create(ceremony)
			edit(key, &ceremony, &a)
			_, err := w.AddDevice(t.Context(), "s", dana, "one", a, offered, change())
			invalid(t, err)
			if set := must[factor.Set](t)(w.Of(t.Context(), dana)); set.Enrolled() {
				t.Error("enrolled")
			}
			key = authenticator.New(authenticator.ES256)
			must[factor.Device](t)(w.AddDevice(t.Context(), "s", dana, "one", key.Create(creation(c)), offered, change()))
			_, err = w.AddDevice(t.Context(), "s", dana, "two", authenticator.New(authenticator.ES256).Create(creation(c)), offered, change())
			is(t, err, factor.ErrNoConversation) // a challenge enrols one key
		})
	}
	t.Run("a foreign session, a foreign user", func(t *testing.T) {
		t.Parallel()
		w, key := newWorld(), authenticator.New(authenticator.ES256)
		c := must[factor.Creation](t)(w.StartDevice(t.Context(), "s", dana, "dana", offered))
		for session, user := range map[string]string{"other": dana, "s": kim, "": dana} {
			_, err := w.AddDevice(t.Context(), session, user, "one", key.Create(creation(c)), offered, change())
			is(t, err, factor.ErrNoConversation)
		}
	})
	t.Run("an algorithm that was not offered", func(t *testing.T) {
		t.Parallel()
		for _, algorithm := range []int64{authenticator.EdDSA, authenticator.RS256} {
			w, key := newWorld(), authenticator.New(algorithm)
			c := must[factor.Creation](t)(w.StartDevice(t.Context(), "s", dana, "dana", offered))
			_, err := w.AddDevice(t.Context(), "s", dana, "one", key.Create(creation(c)), offered, change())
			invalid(t, err)
		}
	})
}

func FuzzAttestation(f *testing.F) {
	w := newWorld()
	c := must[factor.Creation](f)(w.StartDevice(f.Context(), "s", dana, "dana", every))
	begun := must[factor.Conversation](f)(w.Find(f.Context(), factor.Key{Session: "s", Purpose: factor.Registration}))
	for _, format := range []string{"none", "packed", "fido-u2f"} {
		key := authenticator.New(authenticator.ES256)
		key.Format = format
		a := key.Create(creation(c))
		f.Add(a.ID, a.ClientData, a.Object)
	}
	f.Fuzz(func(t *testing.T, id, client, object []byte) {
		d, err := w.AddDevice(t.Context(), "s", dana, "one", factor.Attestation{ID: id, ClientData: client, Object: object}, every, change())
		if err != nil {
			return
		}
		if !bytes.Equal(d.Credential, id) || len(id) == 0 {
			t.Errorf("%+v", d)
		}
		_ = w.Open(t.Context(), begun) // the same challenge for the next
		_ = w.RemoveDevice(t.Context(), dana, "one", false, change())
	})
}

func FuzzAssertion(f *testing.F) {
	w, key := newWorld(), authenticator.New(authenticator.ES256)
	w.add(f, dana, "one", key, offered)
	_, c := w.asked(f, dana)
	a := key.Get(w.ceremony(c))
	f.Add(a.ID, a.ClientData, a.AuthenticatorData, a.Signature)
	f.Fuzz(func(t *testing.T, id, client, data, signature []byte) {
		given := factor.Assertion{ID: id, ClientData: client, AuthenticatorData: data, Signature: signature}
		if err := w.prove(t, dana, factor.Answer{Kind: factor.FIDO2, Assertion: &given}); err == nil { // its challenge is new
			t.Error("let in")
		}
	})
}

func FuzzCode(f *testing.F) {
	for _, text := range []string{"", "123456", " 12 34 56 ", "K7QXA-2MBVD-ZP4RT-C6WHN", "k7qxa 2mbvd", "\u2003"} {
		f.Add(text)
	}
	w := newWorld()
	key, recoveryKey := w.enrol(f, dana)
	f.Fuzz(func(t *testing.T, text string) {
		plain := strings.ToUpper(strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '-' || r == ' ' }), ""))
		mine := strings.ReplaceAll(recoveryKey.Reveal(), "-", "")
		if err := w.Confirm(t.Context(), dana, recovery(secret.New(text)), event()); err == nil && plain != mine {
			t.Errorf("%q was let in", text)
		}
		if err := w.Confirm(t.Context(), dana, totp(text), event()); err == nil && !strings.Contains(text, codeAt(t, key, w.clock)[:1]) {
			t.Errorf("%q was let in", text)
		}
	})
}
