package identity_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

func people() (*identity.Service, *memory) {
	m, n := &memory{}, 0
	return &identity.Service{
		Store: m, Hasher: hasher{}, Now: func() time.Time { return start },
		NewID: func() string { n++; return string(rune('a' + n)) },
	}, m
}

func TestCheckPassword(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"":                                identity.ErrPasswordShort,
		"elevenbytes":                     identity.ErrPasswordShort,
		"twelve bytes":                    nil,
		"correct horse battery":           nil,
		strings.Repeat("ä1ß", 205)[:1024]: nil,
		strings.Repeat("z9", 513):         secret.ErrPasswordLong,
		"PASSWORD1234":                    identity.ErrPasswordCommon,
		"Passw0rd!!!!":                    identity.ErrPasswordCommon,
		"qwertyuiop123":                   identity.ErrPasswordCommon,
		"aaaaaaaaaaaaaa":                  identity.ErrPasswordCommon,
		"abcabcabcabcab":                  identity.ErrPasswordCommon,
		"123456789012":                    identity.ErrPasswordCommon,
		"2026-01-01-01":                   identity.ErrPasswordCommon,
		"Gatehouse2026":                   identity.ErrPasswordCommon,
	} {
		if err := identity.CheckPassword(secret.New(text)); !errors.Is(err, want) {
			t.Errorf("%.20q (%d bytes): %v, want %v", text, len(text), err, want)
		}
	}
}

// Rule F6: one form for all spellings, and none for what can be no name.
func TestLogin(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		" Dana@Example.TEST ": "dana@example.test", "DANA": "dana", "ｄａｎａ": "dana",
		"": "", "a\x00b": "", "\xff": "", "a\nb": "", strings.Repeat("x", 321): "", strings.Repeat("x", 320): strings.Repeat("x", 320),
	} {
		if got := identity.Login(text); got != want {
			t.Errorf("%.30q: %.30q", text, got)
		}
	}
}

func TestForLogin(t *testing.T) {
	t.Parallel()
	s, _ := people()
	u, err := s.Add(t.Context(), may{"user.create"}, identity.New{Name: "Dana", Email: "Dana@Example.test"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dana", "DANA", "dana@example.test", " DANA@EXAMPLE.TEST"} {
		if got, err := s.ForLogin(t.Context(), name); err != nil || got.ID != u.ID {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "eve", "eve@example.test", "dana\x00", "@"} {
		if _, err := s.ForLogin(t.Context(), name); !errors.Is(err, identity.ErrUnknown) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	phrase := secret.New("a long enough phrase")
	t.Run("is_closed_to_strangers_unless_it_is_opened", func(t *testing.T) {
		t.Parallel()
		s, m := people()
		if _, err := s.Register(t.Context(), may{}, "dana@example.test", phrase); !errors.Is(err, identity.ErrNoSignUp) {
			t.Errorf("%v", err)
		}
		s.SignUp = true
		u, err := s.Register(t.Context(), may{}, "dana@example.test", phrase)
		if err != nil || u.EmailVerified || len(m.events) != 1 {
			t.Errorf("%+v, %v", u, err)
		}
		s.SignUp = false
		u, err = s.Register(t.Context(), may{"user.create"}, "eve@example.test", phrase)
		if err != nil || !u.EmailVerified {
			t.Errorf("%+v, %v", u, err)
		}
	})
	t.Run("makes_a_name_of_the_address_and_numbers_it", func(t *testing.T) {
		t.Parallel()
		s, _ := people()
		for email, name := range map[string]string{
			"da.na@example.test": "da.na", "a:b/c@example.test": "", "+x@example.test": "x", "git@example.test": "user-git",
			"0123456789abcdef@example.test": "user-0123456789abcdef", "!!@example.test": "user-", strings.Repeat("x", 64) + "@example.test": strings.Repeat("x", 56),
		} {
			u, err := s.Register(t.Context(), may{"user.create"}, email, phrase)
			if name == "" && fault.Is(err, fault.Invalid) {
				continue
			}
			if name == "user-" {
				name = "user-"
			}
			if err != nil || name != "" && u.Name != name || identity.CheckName(u.Name) != nil {
				t.Errorf("%s: %q, %v", email, u.Name, err)
			}
		}
		for i, want := range []string{"twin", "twin-2", "twin-3"} {
			u, err := s.Register(t.Context(), may{"user.create"}, "twin@"+string(rune('a'+i))+".test", phrase)
			if err != nil || u.Name != want {
				t.Errorf("%q, %v", u.Name, err)
			}
		}
		if _, err := s.Register(t.Context(), may{"user.create"}, "TWIN@a.test", phrase); !errors.Is(err, identity.ErrEmailTaken) {
			t.Errorf("%v", err)
		}
	})
	t.Run("keeps_the_rules_for_passwords", func(t *testing.T) {
		t.Parallel()
		s, _ := people()
		if _, err := s.Register(t.Context(), may{"user.create"}, "dana@example.test", secret.New("short")); !errors.Is(err, identity.ErrPasswordShort) {
			t.Errorf("%v", err)
		}
	})
}

// A change that shuts somebody out ends their sessions with it (rule F12).
func TestChanges_end_sessions(t *testing.T) {
	t.Parallel()
	s, m := people()
	if _, err := s.Add(t.Context(), may{"user.create"}, identity.New{Name: "dana", Email: "dana@example.test"}); err != nil {
		t.Fatal(err)
	}
	m.users[0].ID = "self"
	all := may{"user.update", "user.password"}
	for _, err := range []error{
		s.SetPassword(t.Context(), all, "self", secret.New("x")),
		s.SetDisabled(t.Context(), all, "self", true),
		s.SetDisabled(t.Context(), all, "self", false),
		s.ReplacePassword(t.Context(), all, secret.New("a long enough phrase")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []identity.Ending{{Sessions: true}, {Sessions: true}, {}, {Sessions: true, Except: "s1"}}
	if !slices.Equal(m.ended, want) {
		t.Errorf("%+v", m.ended)
	}
	if err := s.ReplacePassword(t.Context(), may{}, secret.New("a long enough phrase")); !fault.Is(err, fault.Denied) {
		t.Errorf("%v", err)
	}
}

// apps keeps one application.
type apps struct {
	identity.ApplicationStore
	one   identity.Application
	fresh identity.Fresh
	ended []identity.Ending
	done  []audit.Event
}

func (m *apps) Insert(_ context.Context, a identity.Application, plain secret.String, until time.Time, e audit.Event) error {
	m.one, m.fresh, m.done = a, identity.Fresh{Plain: plain, Until: until}, append(m.done, e)
	return nil
}

func (m *apps) ByID(_ context.Context, id string) (identity.Application, error) {
	if id != m.one.ID {
		return identity.Application{}, identity.ErrNoApplication
	}
	return m.one, nil
}

func (m *apps) Change(_ context.Context, _ string, decide func(identity.Application) (identity.Application, error), fresh identity.Fresh, end identity.Ending, e audit.Event) (identity.Application, error) {
	a, err := decide(m.one)
	m.one, m.fresh, m.ended, m.done = a, fresh, append(m.ended, end), append(m.done, e)
	return a, err
}

func (m *apps) Plain(_ context.Context, _ string, now time.Time, e audit.Event) (secret.String, error) {
	if !now.Before(m.fresh.Until) {
		return secret.String{}, identity.ErrNoCredential
	}
	m.done = append(m.done, e)
	return m.fresh.Plain, nil
}

func TestApplications(t *testing.T) {
	t.Parallel()
	m, now := &apps{}, start
	s := &identity.Applications{Store: m, Now: func() time.Time { return now }, NewID: func() string { return "a1" }}
	ctx, admin := t.Context(), may{"application.create", "application.read", "application.reset", "application.credential", "application.update"}

	if _, _, err := s.Create(ctx, may{"application.read"}, identity.NewApplication{Name: "ci"}); !fault.Is(err, fault.Denied) {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", " ", "a\nb", strings.Repeat("x", 4097), "a\x00"} {
		if _, _, err := s.Create(ctx, admin, identity.NewApplication{Name: bad}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
	a, plain, err := s.Create(ctx, admin, identity.NewApplication{Account: "blue", Name: "ci", Default: "g1"})
	if err != nil || len(plain.Reveal()) != 86 || !a.HasSecret(plain, now) || a.HasSecret(secret.String{}, now) || !slices.Equal(a.Groups, []string{"g1"}) {
		t.Fatalf("%+v, %v", a, err)
	}
	if seen, err := s.Credential(ctx, admin, "a1"); err != nil || !seen.Equal(plain) {
		t.Errorf("%v", err)
	}
	if _, err := s.Credential(ctx, may{"application.read"}, "a1"); !fault.Is(err, fault.Denied) {
		t.Errorf("%v", err)
	}
	if _, err := s.Credential(ctx, may{}, "a1"); !errors.Is(err, identity.ErrNoApplication) {
		t.Errorf("tells a stranger of it: %v", err)
	}

	_, second, err := s.ResetSecret(ctx, admin, "a1", 16, time.Hour)
	if err != nil || !m.one.HasSecret(plain, now) || !m.one.HasSecret(second, now) || m.ended[0].Sessions || len(second.Reveal()) != 22 {
		t.Errorf("%+v, %v", m.ended, err)
	}
	now = now.Add(time.Hour)
	if m.one.HasSecret(plain, now) || !m.one.HasSecret(second, now) {
		t.Error("the old secret outlives its time")
	}
	if _, err := s.Credential(ctx, admin, "a1"); !errors.Is(err, identity.ErrNoCredential) {
		t.Errorf("%v", err)
	}
	_, third, err := s.ResetSecret(ctx, admin, "a1", 0, 0)
	if err != nil || m.one.HasSecret(second, now) || !m.one.HasSecret(third, now) || !m.ended[1].Sessions {
		t.Errorf("%+v, %v", m.ended, err)
	}
	for _, size := range []int{1, 15, 257, -1} {
		if _, _, err := s.ResetSecret(ctx, admin, "a1", size, 0); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d: %v", size, err)
		}
	}
	if _, _, err := s.ResetSecret(ctx, admin, "a1", 0, -1); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
	if err := s.SetDisabled(ctx, admin, "a1", true); err != nil || !m.one.Shut() || !m.ended[2].Sessions {
		t.Errorf("%+v, %v", m.ended, err)
	}
	for _, e := range m.done {
		for _, p := range []secret.String{plain, second, third} {
			if strings.Contains(string(e.Body()), p.Reveal()) {
				t.Errorf("a secret in the audit log: %s", e.Action)
			}
		}
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	nets := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for text, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "11.0.0.1": false, "2001:db8::1": true, "2001:db9::1": false} {
		if identity.Within(nets, netip.MustParseAddr(text)) != want {
			t.Error(text)
		}
	}
	if identity.Within(nets, netip.Addr{}) || !identity.Within(nil, netip.Addr{}) {
		t.Error("no address")
	}
}
