package login_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/authenticator"
)

func event() audit.Event { return audit.NewEvent(time.Unix(1, 0), "test.happened", audit.Done) }

// inside a complete sign-in of somebody with an app.
func (c *club) enter(t testing.TB, name string, app secret.String, in login.Begin) login.Signed {
	t.Helper()
	c.pass(time.Minute)
	signed := c.knock(t, name, in)
	if signed.Pending == nil {
		return signed
	}
	done, err := c.Complete(context.Background(), signed.Caller, totp(c.codeOf(app, 0)))
	if err != nil {
		t.Fatal(err)
	}
	if done.Token.Empty() {
		done.Token = signed.Token
	}
	c.pass(time.Minute) // the next code is another
	return done
}

func methods(t *testing.T, c *club, by access.Caller) []login.Confirmation {
	t.Helper()
	e, err := c.Elevation(t.Context(), by)
	want(t, err, nil)
	return e.Methods
}

func (c *club) elevated(t testing.TB, by access.Caller) bool {
	t.Helper()
	e, err := c.Elevation(context.Background(), by)
	if err != nil {
		t.Fatal(err)
	}
	return e.Elevated
}

// Whoever has an app elevates a session by it; the password does it for those who have none; who has neither cannot.
func TestElevation_by_the_right_method(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	by := c.knock(t, "dana", login.Begin{}).Caller
	if got := methods(t, c, by); !slices.Equal(got, []login.Confirmation{login.ByPassword}) {
		t.Errorf("%v", got)
	}
	_, err := c.ElevateByTOTP(ctx, by, secret.New("123456"))
	want(t, err, login.ErrMethodUnavailable)
	_, _, err = c.ElevateByRecovery(ctx, by, secret.New("x"))
	want(t, err, login.ErrMethodUnavailable)

	app, key := c.enrol(t, "dana")
	by = c.enter(t, "dana", app, login.Begin{}).Caller
	if got := methods(t, c, by); !slices.Equal(got, []login.Confirmation{login.ByTOTP}) {
		t.Errorf("%v", got)
	}
	_, err = c.ElevateByPassword(ctx, by, secret.New(phrase("dana")))
	want(t, err, login.ErrMethodUnavailable)
	_, fresh, err := c.ElevateByRecovery(ctx, by, key)
	want(t, err, nil)
	if fresh.Empty() || fresh.Reveal() == key.Reveal() || !c.elevated(t, by) {
		t.Error("no new recovery key")
	}

	erik := c.users["erik"]
	in := c.knock(t, "erik", login.Begin{})
	erik.PasswordHash = ""
	c.users["erik"] = erik
	if got := methods(t, c, in.Caller); len(got) > 0 {
		t.Errorf("%v", got)
	}
	_, err = c.ElevateByPassword(ctx, in.Caller, secret.String{})
	want(t, err, login.ErrMethodUnavailable)
	_, err = c.StartVoluntary(ctx, in.Caller)
	want(t, err, login.ErrManaged)
	if is, err := c.Managed(ctx, in.Caller); err != nil || !is {
		t.Errorf("managed %v, %v", is, err)
	}
}

// Elevation lasts ten minutes beyond the last change of settings, and not a moment more (rule W11).
func TestElevation_rolls(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	app, _ := c.enrol(t, "dana")
	in := c.enter(t, "dana", app, login.Begin{Transport: session.Cookie})
	by := in.Caller
	token, err := c.ElevateByTOTP(ctx, by, c.codeOf(app, 0))
	want(t, err, nil)
	want(t, c.opens(in.Token), session.ErrInvalid) // rule F11
	want(t, c.opens(token), nil)
	for range 3 {
		c.pass(10*time.Minute - time.Second)
		_, err := c.RotateRecovery(ctx, by)
		want(t, err, nil)
	}
	c.pass(10*time.Minute - time.Second)
	if !c.elevated(t, by) { // asking extends nothing
		t.Error("too short")
	}
	c.pass(time.Second)
	_, err = c.RotateRecovery(ctx, by)
	var not *login.NotElevated
	if !errors.As(err, &not) || !slices.Equal(not.Methods, []login.Confirmation{login.ByTOTP}) {
		t.Errorf("%v", err)
	}
}

// Wrong confirmations count as failed sign-ins, and five in a row end the session (rule F7).
func TestElevate_wrong(t *testing.T) {
	t.Parallel()
	t.Run("password", func(t *testing.T) {
		t.Parallel()
		c, ctx := newClub(), t.Context()
		in := c.knock(t, "dana", login.Begin{})
		for range 5 {
			want(t, c.opens(in.Token), nil)
			_, err := c.ElevateByPassword(ctx, in.Caller, secret.New("wrong"))
			want(t, err, login.ErrWrongPassword)
		}
		want(t, c.opens(in.Token), session.ErrInvalid)
		if c.failures("dana") != 5 {
			t.Errorf("%d failures", c.failures("dana"))
		}
	})
	t.Run("code_or_recovery_code", func(t *testing.T) {
		t.Parallel()
		c, ctx := newClub(), t.Context()
		app, _ := c.enrol(t, "dana")
		in := c.enter(t, "dana", app, login.Begin{})
		for i := range 5 {
			want(t, c.opens(in.Token), nil)
			try := func() error { _, err := c.ElevateByTOTP(ctx, in.Caller, secret.New("12345")); return err }
			if i%2 == 1 {
				try = func() error {
					_, _, err := c.ElevateByRecovery(ctx, in.Caller, secret.New("AAAAA-AAAAA-AAAAA-AAAAA"))
					return err
				}
			}
			want(t, try(), factor.ErrWrongCode)
		}
		want(t, c.opens(in.Token), session.ErrInvalid)
	})
}

// The password's unlocking counts as elevation only while there is no second factor, and does not roll; elevation unlocks in every case.
func TestUnlockSettings(t *testing.T) {
	t.Parallel()
	t.Run("elevates_only_who_has_no_second_factor", func(t *testing.T) {
		t.Parallel()
		c, ctx := newClub(), t.Context()
		in := c.knock(t, "dana", login.Begin{Transport: session.Cookie})
		_, err := c.StartVoluntary(ctx, in.Caller)
		want(t, err, login.ErrNotElevated)
		token, err := c.UnlockSettings(ctx, in.Caller, secret.New(phrase("dana")))
		want(t, err, nil)
		want(t, c.opens(in.Token), session.ErrInvalid) // rule F11
		want(t, c.opens(token), nil)
		if !c.elevated(t, in.Caller) {
			t.Error("not elevated")
		}
		c.pass(9 * time.Minute)
		_, err = c.StartVoluntary(ctx, in.Caller)
		want(t, err, nil)
		c.pass(time.Minute)
		_, err = c.StartVoluntary(ctx, in.Caller)
		want(t, err, login.ErrNotElevated)

		app, _ := c.enrol(t, "dana")
		by := c.enter(t, "dana", app, login.Begin{}).Caller
		_, err = c.UnlockSettings(ctx, by, secret.New(phrase("dana")))
		want(t, err, nil)
		if c.elevated(t, by) {
			t.Error("the password elevates who has an app")
		}
		want(t, c.Unenrol(ctx, by), login.ErrNotElevated)
		_, err = c.StartDevice(ctx, by, es256)
		want(t, err, nil)
		want(t, c.LockSettings(ctx, by), nil)
		want(t, c.LockSettings(ctx, by), nil)
		_, err = c.StartDevice(ctx, by, es256)
		want(t, err, login.ErrLocked)

		_, err = c.ElevateByTOTP(ctx, by, c.codeOf(app, 0))
		want(t, err, nil)
		_, err = c.StartDevice(ctx, by, es256)
		want(t, err, nil)
	})
	t.Run("refuses_programs_and_who_has_no_password", func(t *testing.T) {
		t.Parallel()
		c, ctx := newClub(), t.Context()
		program := access.Caller{Principal: access.Principal{Kind: access.Application, ID: appID}, Scopes: []access.Action{"*"}, Session: "x"}
		_, err := c.UnlockSettings(ctx, program, secret.New("x"))
		want(t, err, login.ErrForbidden)
		want(t, c.LockSettings(ctx, program), login.ErrForbidden)
		in := c.knock(t, "dana", login.Begin{})
		u := c.users["dana"]
		u.PasswordHash = ""
		c.users["dana"] = u
		_, err = c.UnlockSettings(ctx, in.Caller, secret.New("x"))
		want(t, err, login.ErrForbidden)
		_, err = c.StartDevice(ctx, in.Caller, es256) // has just signed in
		want(t, err, nil)
		c.pass(10 * time.Minute)
		_, err = c.StartDevice(ctx, in.Caller, es256)
		want(t, err, login.ErrLocked)
	})
	t.Run("a_wrong_password_is_a_failed_sign_in", func(t *testing.T) {
		t.Parallel()
		c := newClub()
		in := c.knock(t, "dana", login.Begin{})
		_, err := c.UnlockSettings(t.Context(), in.Caller, secret.New("wrong"))
		want(t, err, login.ErrFailed)
		if c.failures("dana") != 1 {
			t.Errorf("%d failures", c.failures("dana"))
		}
	})
}

// Rule F14: whatever makes, changes or takes a credential of a person wants a fresh proof. A session of eleven minutes does none of it, whoever
// holds it; what brings its own proof is not in the list.
func TestFresh_proof_is_asked_by_every_verb_that_changes_a_credential(t *testing.T) {
	t.Parallel()
	verbs := map[string]func(context.Context, *club, access.Caller) error{
		"StartVoluntary": func(ctx context.Context, c *club, by access.Caller) error {
			_, err := c.StartVoluntary(ctx, by)
			return err
		},
		"CompleteVoluntary": func(ctx context.Context, c *club, by access.Caller) error {
			_, err := c.CompleteVoluntary(ctx, by, secret.New("x"), secret.New("1"))
			return err
		},
		"StartUpdate": func(ctx context.Context, c *club, by access.Caller) error {
			_, err := c.StartUpdate(ctx, by)
			return err
		},
		"CompleteUpdate": func(ctx context.Context, c *club, by access.Caller) error {
			return c.CompleteUpdate(ctx, by, secret.New("x"), secret.New("1"))
		},
		"RotateRecovery": func(ctx context.Context, c *club, by access.Caller) error {
			_, err := c.RotateRecovery(ctx, by)
			return err
		},
		"Unenrol": func(ctx context.Context, c *club, by access.Caller) error { return c.Unenrol(ctx, by) },
		"StartDevice": func(ctx context.Context, c *club, by access.Caller) error {
			_, err := c.StartDevice(ctx, by, es256)
			return err
		},
		"AddDevice": func(ctx context.Context, c *club, by access.Caller) error {
			_, err := c.AddDevice(ctx, by, "x", factor.Attestation{}, es256)
			return err
		},
		"RenameDevice": func(ctx context.Context, c *club, by access.Caller) error { return c.RenameDevice(ctx, by, "a", "b") },
		"RemoveDevice": func(ctx context.Context, c *club, by access.Caller) error { return c.RemoveDevice(ctx, by, by.ID, "a") },
		"RemoveDevice of another": func(ctx context.Context, c *club, by access.Caller) error {
			return c.RemoveDevice(ctx, by, "dana", "a")
		},
		"RecoveryList": func(ctx context.Context, c *club, by access.Caller) error {
			_, err := c.RecoveryList(ctx, by)
			return err
		},
		"ResetFactors": func(ctx context.Context, c *club, by access.Caller) error {
			_, err := c.ResetFactors(ctx, by, "dana")
			return err
		},
		"ImportU2F": func(ctx context.Context, c *club, by access.Caller) error {
			_, err := c.ImportU2F(ctx, by, "dana", "x", nil, nil, "")
			return err
		},
	}
	for name, do := range verbs {
		for _, enrolled := range []bool{false, true} {
			if name == "UnlockSettings" {
				continue
			}
			c := newClub()
			var app secret.String
			if enrolled {
				app, _ = c.enrol(t, "ruth")
			}
			in := c.enter(t, "ruth", app, login.Begin{})
			c.pass(11 * time.Minute)
			changes := c.visited
			by, err := c.Authenticate(t.Context(), login.Presented{Kind: login.Session, Secret: in.Token, Address: inside, Door: "test", Accepts: takes})
			want(t, err, nil)
			if err := do(t.Context(), c, by); !errors.Is(err, login.ErrNotElevated) && !errors.Is(err, login.ErrLocked) && !errors.Is(err, access.ErrNotFresh) {
				t.Errorf("%s, enrolled %v: %v", name, enrolled, err)
			}
			if c.visited != changes {
				t.Errorf("%s changed something", name)
			}
		}
	}
}

// Enrolling, changing, rotating and taking away end the user's other sessions, and never the one in which it was done.
func TestChanges_end_the_other_sessions(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	first := c.knock(t, "dana", login.Begin{})
	in := c.knock(t, "dana", login.Begin{})
	_, err := c.ElevateByPassword(ctx, in.Caller, secret.New(phrase("dana")))
	want(t, err, nil)
	e, err := c.StartVoluntary(ctx, in.Caller)
	want(t, err, nil)
	want(t, c.opens(first.Token), nil)
	_, err = c.CompleteVoluntary(ctx, in.Caller, e.Token, c.codeOf(e.Secret, 0))
	want(t, err, nil)
	want(t, c.opens(first.Token), session.ErrInvalid)
	want(t, c.opens(in.Token), nil)
	if c.elevated(t, in.Caller) {
		t.Error("the password's elevation outlived the enrolment")
	}
	app := e.Secret
	c.pass(time.Minute)
	for name, do := range map[string]func() error{
		"update": func() error {
			e, err := c.StartUpdate(ctx, in.Caller)
			if err == nil {
				err = c.CompleteUpdate(ctx, in.Caller, e.Token, c.codeOf(e.Secret, 0))
			}
			app = e.Secret
			return err
		},
		"rotate": func() error { _, err := c.RotateRecovery(ctx, in.Caller); return err },
		"key": func() error {
			_, err := c.addDevice(ctx, in.Caller, authenticator.New(authenticator.ES256), "Blue")
			return err
		},
	} {
		other := c.enter(t, "dana", app, login.Begin{})
		_, err := c.ElevateByTOTP(ctx, in.Caller, c.codeOf(app, 0))
		want(t, err, nil)
		want(t, do(), nil)
		if err := c.opens(other.Token); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("%s: the other session: %v", name, err)
		}
		want(t, c.opens(in.Token), nil)
		c.pass(time.Minute)
	}
	_, err = c.ElevateByTOTP(ctx, in.Caller, c.codeOf(app, 0))
	want(t, err, nil)
	c.Enforcement = login.DemandAll
	want(t, c.Unenrol(ctx, in.Caller), nil) // demanded or not: the next sign-in asks again
	want(t, c.Unenrol(ctx, in.Caller), factor.ErrNotEnrolled)
	if len(c.sets["dana"].Devices) != 1 || c.sets["dana"].TOTP != nil {
		t.Errorf("%+v", c.sets["dana"])
	}
}

// A conversation of an enrolment is the session's that began it.
func TestCompleteVoluntary_in_another_session(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	elevated := func(name string) access.Caller {
		by := c.knock(t, name, login.Begin{}).Caller
		_, err := c.ElevateByPassword(ctx, by, secret.New(phrase(name)))
		want(t, err, nil)
		return by
	}
	one, two, other := elevated("dana"), elevated("dana"), elevated("erik")
	e, err := c.StartVoluntary(ctx, one)
	want(t, err, nil)
	for _, by := range []access.Caller{two, other} {
		_, err := c.CompleteVoluntary(ctx, by, e.Token, c.codeOf(e.Secret, 0))
		want(t, err, factor.ErrNoConversation)
	}
	again, err := c.StartVoluntary(ctx, one)
	want(t, err, nil)
	_, err = c.CompleteVoluntary(ctx, one, e.Token, c.codeOf(e.Secret, 0)) // replaced
	want(t, err, factor.ErrNoConversation)
	_, err = c.CompleteVoluntary(ctx, one, again.Token, secret.New("12345"))
	want(t, err, login.ErrFailed)
	_, err = c.CompleteVoluntary(ctx, one, again.Token, c.codeOf(again.Secret, 0))
	want(t, err, nil)
}

// Only who stands as high takes somebody's second factors away, and nobody their own in that way.
func TestUnenrolOther(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	apps := map[string]secret.String{}
	for _, name := range []string{"dana", "adam", "ruth"} {
		apps[name], _ = c.enrol(t, name)
	}
	wrong := secret.New("12345")
	sit := func(name string) access.Caller { return c.enter(t, name, apps[name], login.Begin{}).Caller }

	denied := func(by access.Caller, whom string) {
		t.Helper()
		if err := c.UnenrolOther(ctx, by, whom, c.codeOf(apps[by.ID], 0)); !fault.Is(err, fault.Denied) {
			t.Errorf("%s of %s: %v", by.ID, whom, err)
		}
	}
	denied(sit("dana"), "erik")
	adam := sit("adam")
	denied(adam, "ruth")
	denied(adam, "adam")
	want(t, c.UnenrolOther(ctx, adam, "adam", wrong), login.ErrOneself)
	want(t, c.UnenrolOther(ctx, adam, "dana", wrong), factor.ErrWrongCode)
	want(t, c.UnenrolOther(ctx, adam, "dana", c.codeOf(apps["dana"], 0)), factor.ErrWrongCode) // the other's code
	want(t, c.UnenrolOther(ctx, adam, "nobody", wrong), factor.ErrWrongCode)
	want(t, c.UnenrolOther(ctx, adam, "nobody", c.codeOf(apps["adam"], 0)), identity.ErrUnknown)
	c.pass(time.Minute)
	want(t, c.UnenrolOther(ctx, adam, "erik", c.codeOf(apps["adam"], 0)), factor.ErrNotEnrolled)
	victim := c.enter(t, "dana", apps["dana"], login.Begin{})
	c.pass(time.Minute)
	want(t, c.UnenrolOther(ctx, adam, "Dana", c.codeOf(apps["adam"], 0)), nil)
	want(t, c.opens(victim.Token), session.ErrInvalid)
	if c.sets["dana"].Enrolled() {
		t.Errorf("%+v", c.sets["dana"])
	}
}

func TestResetFactors(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	app, _ := c.enrol(t, "ruth")
	in := c.enter(t, "ruth", app, login.Begin{})
	for _, name := range []string{"dana", "adam"} {
		if _, err := c.ResetFactors(ctx, c.knock(t, name, login.Begin{}).Caller, "ruth"); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.ResetFactors(ctx, access.Caller{}, "ruth"); !fault.Is(err, fault.Denied) {
		t.Errorf("%v", err)
	}
	local := access.LocalCaller("root", c.clock)
	had, err := c.ResetFactors(ctx, local, "ruth")
	if err != nil || !had || c.sets["ruth"].Enrolled() {
		t.Errorf("%v, %v, %+v", had, err, c.sets["ruth"])
	}
	want(t, c.opens(in.Token), session.ErrInvalid)
	if had, err := c.ResetFactors(ctx, local, "ruth"); err != nil || had {
		t.Errorf("%v, %v", had, err)
	}
	_, err = c.ResetFactors(ctx, local, "nobody")
	want(t, err, identity.ErrUnknown)
}

// An administrator of an account takes keys of its members away, but of nobody who stands above; their own settings must be open for that.
func TestRemoveDevice_of_another(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	c.device(t, "dana")
	c.device(t, "adam")
	for _, name := range []string{"dana", "adam"} {
		c.joined[name] = []identity.Joined{{Account: identity.Account{ID: accID}, Member: identity.Member{Account: accID, User: name, Role: identity.Ordinary}}}
	}
	c.roles["erik"] = access.AccountAdministrator // of the account accID: offices below
	c.Access.Store = headOf{offices{books: c.books}}
	by := c.knock(t, "erik", login.Begin{}).Caller
	by.Account = accID
	want(t, c.RemoveDevice(ctx, by, "dana", "Blue"), login.ErrLocked)
	_, err := c.UnlockSettings(ctx, by, secret.New(phrase("erik")))
	want(t, err, nil)
	if err := c.RemoveDevice(ctx, by, "adam", "Blue"); !fault.Is(err, fault.Denied) {
		t.Errorf("of an administrator: %v", err)
	}
	elsewhere := by
	elsewhere.Account = ""
	if err := c.RemoveDevice(ctx, elsewhere, "dana", "Blue"); !fault.Is(err, fault.Denied) {
		t.Errorf("without the account: %v", err)
	}
	guest := c.users["dana"] // a member whose home is elsewhere: nobody asked them (rule W7)
	guest.Account = "elsewhere"
	c.users["dana"], guest = guest, c.users["dana"]
	if err := c.RemoveDevice(ctx, by, "dana", "Blue"); !fault.Is(err, fault.Denied) {
		t.Errorf("of a guest: %v", err)
	}
	if _, err := c.ResetFactors(ctx, by, "dana"); !fault.Is(err, fault.Denied) {
		t.Errorf("all of a guest: %v", err)
	}
	c.users["dana"] = guest
	want(t, c.RemoveDevice(ctx, by, "dana", "none"), factor.ErrNoDevice)
	want(t, c.RemoveDevice(ctx, by, "dana", "Blue"), nil)
	if c.sets["dana"].Enrolled() {
		t.Errorf("%+v", c.sets["dana"])
	}
}

// headOf makes roles of accounts roles on the one account.
type headOf struct{ offices }

func (h headOf) BindingsOf(ctx context.Context, of access.Subject) ([]access.Binding, error) {
	all, err := h.offices.BindingsOf(ctx, of)
	for i := range all {
		if all[i].Role == access.AccountAdministrator {
			all[i].Resource = access.Account(accID)
		}
	}
	return all, err
}

func TestRecoveryList(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	c.device(t, "dana")
	in := c.knock(t, "dana", login.Begin{})
	_, err := c.RecoveryList(ctx, in.Caller)
	want(t, err, login.ErrPending)
	u := c.users["erik"]
	by := c.knock(t, "erik", login.Begin{}).Caller
	c.pass(11 * time.Minute)
	_, err = c.RecoveryList(ctx, by)
	want(t, err, access.ErrNotFresh)
	_, err = c.UnlockSettings(ctx, by, secret.New(phrase(u.Name)))
	want(t, err, nil)
	codes, err := c.RecoveryList(ctx, by)
	want(t, err, nil)
	if len(codes) != 10 {
		t.Errorf("%d codes", len(codes))
	}
	if in := c.knock(t, "erik", login.Begin{}); in.Pending != nil { // codes alone are no second factor
		t.Errorf("%+v", in)
	}
}
