package identity_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// outside keeps providers and links, beside the users of a memory.
type outside struct {
	*memory
	all     []identity.Provider
	links   []identity.Link
	race    func() // happens just before a link is inserted
	behind  func() // happens just after a link was looked for in vain
	guarded string // id of a user whom no policy links

	groups  []identity.Group
	in      []inGroup
	made    []string        // ids of users
	heavy   map[string]bool // ids of groups that hold rights over others
	between func()          // happens once just before a refresh is stored
	looks   int             // how often somebody's standing was looked at
}

func (o *outside) Insert(_ context.Context, p identity.Provider, e audit.Event) (identity.Provider, error) {
	p.Number = int64(len(o.all) + 1)
	o.all, o.events = append(o.all, p), append(o.events, e)
	return p, nil
}

func (o *outside) find(meant func(identity.Provider) bool) (identity.Provider, error) {
	if i := slices.IndexFunc(o.all, meant); i >= 0 {
		return o.all[i], nil
	}
	return identity.Provider{}, identity.ErrNoProvider
}

func (o *outside) ByID(_ context.Context, id string) (identity.Provider, error) {
	return o.find(func(p identity.Provider) bool { return p.ID == id })
}

func (o *outside) ByNumber(_ context.Context, n int64) (identity.Provider, error) {
	return o.find(func(p identity.Provider) bool { return p.Number == n })
}

func (o *outside) ByHandle(_ context.Context, h [16]byte) (identity.Provider, error) {
	return o.find(func(p identity.Provider) bool { return p.Handle == h })
}

func (o *outside) All(context.Context) ([]identity.Provider, error) { return slices.Clone(o.all), nil }

func (o *outside) Change(_ context.Context, id string, decide func(identity.Provider) (identity.Provider, error), event func(was, is identity.Provider) audit.Event) (identity.Provider, error) {
	for i, p := range o.all {
		if p.ID == id {
			is, err := decide(p)
			if err == nil {
				o.all[i], o.events = is, append(o.events, event(p, is))
			}
			return is, err
		}
	}
	return identity.Provider{}, identity.ErrNoProvider
}

func (o *outside) Delete(_ context.Context, id string, e audit.Event) error {
	o.all, o.events = slices.DeleteFunc(o.all, func(p identity.Provider) bool { return p.ID == id }), append(o.events, e)
	return nil
}

func (o *outside) LinkOf(_ context.Context, provider, subject string) (identity.Link, error) {
	for _, l := range o.links {
		if l.Provider == provider && l.Subject == subject {
			return l, nil
		}
	}
	if behind := o.behind; behind != nil {
		o.behind = nil
		behind()
	}
	return identity.Link{}, identity.ErrNoLink
}

func (o *outside) LinksOf(_ context.Context, user string) (found []identity.Link, _ error) {
	for _, l := range o.links {
		if l.User == user {
			found = append(found, l)
		}
	}
	return found, nil
}

func (o *outside) InsertLink(_ context.Context, l identity.Link, e audit.Event) error {
	if o.race != nil {
		o.race()
		o.race = nil
	}
	if slices.ContainsFunc(o.links, func(x identity.Link) bool {
		return x.Provider == l.Provider && (x.Subject == l.Subject || x.User == l.User)
	}) {
		return identity.ErrLinked
	}
	o.links, o.events = append(o.links, l), append(o.events, e)
	return nil
}

func (o *outside) InsertMade(ctx context.Context, u identity.User, l identity.Link, e audit.Event) error {
	if err := o.memory.Insert(ctx, u, e); err != nil {
		return err
	}
	o.made = append(o.made, u.ID)
	return o.InsertLink(ctx, l, audit.Event{})
}

func (o *outside) DeleteLink(_ context.Context, provider, user string, e audit.Event) error {
	before := len(o.links)
	o.links = slices.DeleteFunc(o.links, func(l identity.Link) bool { return l.Provider == provider && l.User == user })
	o.events = append(o.events, e)
	if len(o.links) == before {
		return identity.ErrNoLink
	}
	return nil
}

func (o *outside) DueLinks(context.Context, string, time.Time, int, time.Time) ([]identity.Link, error) {
	return nil, nil
}

func (o *outside) Checked(context.Context, identity.Link, bool, time.Time, func(string) audit.Event) error {
	return nil
}

var (
	_         identity.ProviderStore = (*outside)(nil)
	providing                        = may{"provider.create", "provider.read", "provider.update", "provider.delete", "provider.test", "provider.link", "provider.unlink", "user.read", "user.update"}
)

func newProviders(users ...identity.User) (*identity.Providers, *outside) {
	o, n := &outside{memory: &memory{users: users}}, 0
	return &identity.Providers{
		Store: o, Users: o.memory, Now: func() time.Time { return start }, NewID: func() string { n++; return fmt.Sprint("id", n) },
		Guarded: func(_ context.Context, user string) (bool, error) { return user == o.guarded, nil },
		Heavy:   func(_ context.Context, group string) (bool, error) { return o.heavy[group], nil },
	}, o
}

func person(name string) identity.User {
	return identity.User{ID: name, Account: identity.DefaultAccount, Name: name, Email: name + "@example.test", EmailVerified: true, PasswordHash: "hash"}
}

func oidcProvider(id string, link identity.LinkPolicy, provision bool) identity.Provider {
	return identity.Provider{
		ID: id, Kind: identity.OIDC, Name: id, Enabled: true,
		Settings: identity.ProviderSettings{Link: link, JIT: identity.JIT{Provision: provision}, OIDC: &identity.OIDCSettings{Issuer: "https://" + id + ".test", ClientID: "x"}},
	}
}

func visitor(name string) identity.Visitor {
	return identity.Visitor{Subject: "subject of " + name, Name: name, Email: name + "@example.test", EmailVerified: true, Display: "The " + name}
}

// TestArrive is rule F12: identity is the provider and its subject, and a policy links nobody who is vouched for already.
func TestArrive(t *testing.T) {
	t.Parallel()
	const stranger = ""
	disabled, shut, unverified := person("dana"), person("dana"), person("dana")
	disabled.Disabled, shut.AccountShut, unverified.EmailVerified = true, true, false
	with := func(change func(*identity.Visitor)) identity.Visitor {
		v := visitor("dana")
		change(&v)
		return v
	}
	linked := []identity.Link{{Provider: "corp", Subject: "subject of dana", User: "dana"}}
	elsewhere := []identity.Link{{Provider: "other", Subject: "subject of dana", User: "dana"}}
	for what, c := range map[string]struct {
		users   []identity.User
		links   []identity.Link
		policy  identity.LinkPolicy
		jit     bool
		v       identity.Visitor
		want    string // id of the user
		reason  string // of a stranger
		linking bool
	}{
		"a_linked_user":                              {[]identity.User{person("dana")}, linked, "", false, visitor("dana"), "dana", "", false},
		"a_linked_user_under_another_name":           {[]identity.User{person("dana")}, linked, "email", true, identity.Visitor{Subject: "subject of dana", Name: "eve", Email: "eve@example.test", EmailVerified: true}, "dana", "", false},
		"a_linked_user_who_is_disabled":              {[]identity.User{disabled}, linked, "", false, visitor("dana"), stranger, "disabled", false},
		"a_linked_user_of_a_disabled_account":        {[]identity.User{shut}, linked, "", false, visitor("dana"), stranger, "disabled", false},
		"nobody_without_a_policy":                    {[]identity.User{person("dana")}, nil, "", false, visitor("dana"), stranger, "no user is linked", false},
		"nobody_by_a_subject_in_another_case":        {[]identity.User{person("dana")}, linked, "", false, with(func(v *identity.Visitor) { v.Subject = "SUBJECT OF DANA" }), stranger, "no user is linked", false},
		"nobody_without_a_subject":                   {[]identity.User{person("dana")}, nil, "email", true, with(func(v *identity.Visitor) { v.Subject = "" }), stranger, "no usable subject", false},
		"nobody_by_a_subject_with_NUL":               {[]identity.User{person("dana")}, nil, "email", true, with(func(v *identity.Visitor) { v.Subject = "a\x00" }), stranger, "no usable subject", false},
		"who_has_the_address":                        {[]identity.User{person("dana")}, nil, "email", false, with(func(v *identity.Visitor) { v.Name, v.Email = "x", "DANA@example.TEST" }), "dana", "", true},
		"nobody_by_an_address_not_vouched_for":       {[]identity.User{person("dana")}, nil, "email", false, with(func(v *identity.Visitor) { v.EmailVerified = false }), stranger, "does not vouch", false},
		"nobody_whose_own_address_nobody_verified":   {[]identity.User{unverified}, nil, "email", false, visitor("dana"), stranger, "nobody vouches", false},
		"nobody_without_an_address":                  {[]identity.User{person("dana")}, nil, "email", false, with(func(v *identity.Visitor) { v.Email = "" }), stranger, "no e-mail", false},
		"nobody_by_address_where_names_count":        {[]identity.User{person("dana")}, nil, "name", false, with(func(v *identity.Visitor) { v.Name = "eve" }), stranger, "no user of that name", false},
		"who_has_the_name":                           {[]identity.User{person("dana")}, nil, "name", false, with(func(v *identity.Visitor) { v.Name, v.Email = "DANA", "x@example.test" }), "dana", "", true},
		"who_has_the_address_that_is_the_name":       {[]identity.User{person("dana")}, nil, "name", false, with(func(v *identity.Visitor) { v.Name = "dana@example.test" }), "dana", "", true},
		"nobody_by_a_name_that_is_another_s_address": {[]identity.User{person("dana")}, nil, "name", false, with(func(v *identity.Visitor) { v.Name, v.Email = "dana@example.test", "eve@example.test" }), stranger, "does not vouch", false},
		"nobody_without_a_name":                      {[]identity.User{person("dana")}, nil, "name", false, with(func(v *identity.Visitor) { v.Name = "" }), stranger, "no user name", false},
		"nobody_who_is_linked_elsewhere_by_address":  {[]identity.User{person("dana")}, elsewhere, "email", true, visitor("dana"), stranger, "linked to a provider already", false},
		"nobody_who_is_linked_elsewhere_by_name":     {[]identity.User{person("dana")}, elsewhere, "name", true, visitor("dana"), stranger, "linked to a provider already", false},
		"nobody_who_is_another_subject_there":        {[]identity.User{person("dana")}, linked, "email", true, with(func(v *identity.Visitor) { v.Subject = "new" }), stranger, "linked to a provider already", false},
		"nobody_disabled_by_a_policy":                {[]identity.User{disabled}, nil, "email", false, visitor("dana"), stranger, "disabled", false},
		"a_new_user":                                 {nil, nil, "", true, visitor("eve"), "id1", "", true},
		"a_new_user_where_policies_find_nobody":      {[]identity.User{person("dana")}, nil, "email", true, visitor("eve"), "id1", "", true},
		"no_new_user_with_somebody_s_address":        {[]identity.User{person("dana")}, nil, "", true, with(func(v *identity.Visitor) { v.Name = "eve" }), stranger, "has the e-mail address already", false},
		"no_new_user_with_somebody_s_name":           {[]identity.User{person("dana")}, nil, "", true, with(func(v *identity.Visitor) { v.Email = "eve@example.test" }), stranger, "has the name already", false},
		"no_new_user_without_an_address":             {nil, nil, "", true, with(func(v *identity.Visitor) { v.Email = "" }), stranger, "no e-mail address that can be kept", false},
		"no_new_user_with_a_broken_address":          {nil, nil, "", true, with(func(v *identity.Visitor) { v.Email = "dana" }), stranger, "no e-mail address that can be kept", false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, o := newProviders(c.users...)
			o.links = slices.Clone(c.links)
			before := len(o.links)
			u, err := s.Arrive(context.Background(), oidcProvider("corp", c.policy, c.jit), c.v)
			var why *identity.Stranger
			if c.want == stranger {
				if !errors.Is(err, identity.ErrStranger) || !errors.As(err, &why) || !strings.Contains(why.Reason, c.reason) || len(o.links) != before || len(o.users) != len(c.users) {
					t.Errorf("%+v, %v, links %+v", u, err, o.links)
				}
				return
			}
			if err != nil || u.ID != c.want || (len(o.links) > before) != c.linking {
				t.Errorf("%+v, %v, links %+v", u, err, o.links)
			}
			if again, err := s.Arrive(context.Background(), oidcProvider("corp", c.policy, c.jit), c.v); err != nil || again.ID != u.ID {
				t.Errorf("again: %+v, %v", again, err)
			}
		})
	}
}

// Whoever can choose an address or a name at a provider becomes no administrator here: no policy links one (rule F12).
func TestArrive_links_no_administrator_by_a_policy(t *testing.T) {
	t.Parallel()
	for _, policy := range []identity.LinkPolicy{identity.LinkByEmail, identity.LinkByName} {
		s, o := newProviders(identity.User{ID: "u1", Account: identity.DefaultAccount, Name: "admin", Email: "admin@gatehouse.local", EmailVerified: true})
		o.guarded = "u1"
		p := identity.Provider{ID: "p1", Enabled: true, Settings: identity.ProviderSettings{Link: policy, JIT: identity.JIT{Provision: true}}}
		v := identity.Visitor{Subject: "s1", Name: "admin", Email: "admin@gatehouse.local", EmailVerified: true}
		if u, err := s.Arrive(t.Context(), p, v); !errors.Is(err, identity.ErrStranger) || len(o.links) > 0 {
			t.Errorf("%q: %+v, %v", policy, u, err)
		}
		o.links = []identity.Link{{Provider: "p1", Subject: "s1", User: "u1"}} // by hand
		if u, err := s.Arrive(t.Context(), p, v); err != nil || u.ID != "u1" {
			t.Errorf("%q: %+v, %v", policy, u, err)
		}
	}
}

// Two issuers with the same e-mail address never meet in one user (rule F12).
func TestArrive_from_two_issuers_with_one_address(t *testing.T) {
	t.Parallel()
	for _, policy := range []identity.LinkPolicy{identity.LinkNever, identity.LinkByEmail, identity.LinkByName} {
		s, _ := newProviders()
		first, err := s.Arrive(context.Background(), oidcProvider("corp", policy, true), visitor("dana"))
		if err != nil {
			t.Fatal(err)
		}
		u, err := s.Arrive(context.Background(), oidcProvider("evil", policy, true), visitor("dana"))
		if !errors.Is(err, identity.ErrStranger) {
			t.Errorf("%q: %+v, and the first is %+v, %v", policy, u, first, err)
		}
	}
}

// Whoever comes twice at once for the first time comes in twice: the second finds what the first made, although it was not there when it looked.
func TestArrive_twice_at_once(t *testing.T) {
	t.Parallel()
	for what, p := range map[string]identity.Provider{
		"linked": oidcProvider("corp", identity.LinkByEmail, false),
		"made":   oidcProvider("corp", identity.LinkNever, true),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, o := newProviders()
			if what == "linked" {
				s, o = newProviders(person("dana"))
			}
			var first identity.User
			o.behind = func() {
				var err error
				if first, err = s.Arrive(t.Context(), p, visitor("dana")); err != nil {
					t.Errorf("the first: %v", err)
				}
			}
			second, err := s.Arrive(t.Context(), p, visitor("dana"))
			if err != nil || second.ID == "" || second.ID != first.ID || len(o.links) != 1 {
				t.Errorf("%+v after %+v, %d links, %v", second, first, len(o.links), err)
			}
		})
	}
}

func TestArrive_refuses_whom_a_disabled_provider_sends(t *testing.T) {
	t.Parallel()
	s, o := newProviders(person("dana"))
	o.links = []identity.Link{{Provider: "corp", Subject: "subject of dana", User: "dana"}}
	p := oidcProvider("corp", "", false)
	p.Enabled = false
	if u, err := s.Arrive(context.Background(), p, visitor("dana")); !errors.Is(err, identity.ErrStranger) {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestArrive_makes_a_user(t *testing.T) {
	t.Parallel()
	t.Run("without_password_in_the_default_account", func(t *testing.T) {
		t.Parallel()
		s, o := newProviders()
		u, err := s.Arrive(context.Background(), oidcProvider("corp", "", true), visitor("eve"))
		want := identity.User{
			ID: "id1", Account: identity.DefaultAccount, Name: "eve", Email: "eve@example.test", EmailVerified: true, Created: start, Updated: start, Names: identity.Names{Display: "The eve"},
		}
		if err != nil || u != want || len(o.links) != 1 || !o.links[0].Made {
			t.Errorf("%+v, %v, %+v", u, err, o.links)
		}
		if e := o.events[0]; e.Action != "user.create" || e.Object.ID != u.ID || e.Detail["provider"] != "corp" || e.Detail["subject"] != "subject of eve" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("named_by_the_address_where_nothing_was_chosen", func(t *testing.T) {
		t.Parallel()
		s, _ := newProviders(person("eve"), person("eve-2"))
		v := visitor("eve")
		v.Name, v.Email = "", "eve@elsewhere.test"
		u, err := s.Arrive(context.Background(), oidcProvider("corp", "", true), v)
		if err != nil || u.Name != "eve-3" {
			t.Errorf("%+v, %v", u, err)
		}
	})
	t.Run("never_under_a_name_that_cannot_be_one", func(t *testing.T) {
		t.Parallel()
		for _, name := range []string{"eve@example.test", "eve:root", "git", "7k2m9qxw4tbz0hdn", "a/b"} {
			s, o := newProviders()
			p, v := oidcProvider("corp", "", true), visitor("eve")
			p.Settings.OIDC.NameClaim, v.Name = "${upn}", name
			_, err := s.Arrive(context.Background(), p, v)
			var why *identity.Stranger
			if !errors.As(err, &why) || !strings.Contains(why.Reason, "${upn}") || len(o.users) != 0 {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
	t.Run("once_when_two_come_at_the_same_moment", func(t *testing.T) {
		t.Parallel()
		s, o := newProviders(person("dana"))
		o.race = func() {
			o.links = append(o.links, identity.Link{Provider: "corp", Subject: "subject of dana", User: "dana"})
		}
		if u, err := s.Arrive(context.Background(), oidcProvider("corp", "email", false), visitor("dana")); err != nil || u.ID != "dana" {
			t.Errorf("%+v, %v", u, err)
		}
		s, o = newProviders(person("dana"))
		o.race = func() {
			o.links = append(o.links, identity.Link{Provider: "corp", Subject: "somebody else", User: "dana"})
		}
		if u, err := s.Arrive(context.Background(), oidcProvider("corp", "email", false), visitor("dana")); !errors.Is(err, identity.ErrStranger) {
			t.Errorf("%+v, %v", u, err)
		}
	})
}

func TestProviders(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, o := newProviders(person("dana"))
	in := identity.NewProvider{Kind: identity.OIDC, Name: "Corp", Secret: secret.New("client secret"), Settings: identity.ProviderSettings{OIDC: &identity.OIDCSettings{Issuer: "https://corp.test"}}}
	p, err := s.Add(ctx, providing, in)
	if err != nil || p.Number != 1 || p.Handle == [16]byte{} || !p.Enabled || !p.Secret.Empty() || o.all[0].Secret.Empty() {
		t.Fatalf("%+v, %v", p, err)
	}
	t.Run("show_no_secret", func(t *testing.T) {
		for what, find := range map[string]func() (identity.Provider, error){
			"id":     func() (identity.Provider, error) { return s.ByID(ctx, providing, p.ID) },
			"number": func() (identity.Provider, error) { return s.ByNumber(ctx, providing, p.Number) },
			"name":   func() (identity.Provider, error) { return s.ByName(ctx, providing, "CORP") },
		} {
			if got, err := find(); err != nil || got.ID != p.ID || !got.Secret.Empty() {
				t.Errorf("%s: %+v, %v", what, got, err)
			}
		}
		if _, err := s.ByName(ctx, providing, "nobody"); !errors.Is(err, identity.ErrNoProvider) {
			t.Error(err)
		}
	})
	t.Run("keep_the_secret_and_what_they_are", func(t *testing.T) {
		got, err := s.Change(ctx, providing, p.ID, func(is identity.Provider) (identity.Provider, error) {
			if !is.Secret.Empty() {
				t.Error("the secret is told")
			}
			is.ID, is.Number, is.Handle, is.Name = "other", 9, [16]byte{1}, "Corporation"
			return is, nil
		})
		if err != nil || got.ID != p.ID || got.Number != 1 || got.Handle != p.Handle || o.all[0].Secret.Reveal() != "client secret" || o.all[0].Name != "Corporation" {
			t.Errorf("%+v, %v", got, err)
		}
		_, err = s.Change(ctx, providing, p.ID, func(is identity.Provider) (identity.Provider, error) {
			is.Kind, is.Settings = identity.SAML, identity.ProviderSettings{SAML: &identity.SAMLSettings{}}
			return is, nil
		})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("another kind: %v", err)
		}
	})
	t.Run("may_be_drafts", func(t *testing.T) {
		if _, err := s.Add(ctx, providing, identity.NewProvider{Kind: identity.Draft, Name: "draft"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("an enabled draft: %v", err)
		}
		d, err := s.Add(ctx, providing, identity.NewProvider{Kind: identity.Draft, Name: "draft", Disabled: true})
		if err != nil {
			t.Fatal(err)
		}
		d, err = s.Change(ctx, providing, d.ID, func(is identity.Provider) (identity.Provider, error) {
			is.Kind, is.Settings, is.Enabled = identity.SAML, identity.ProviderSettings{SAML: &identity.SAMLSettings{}}, true
			return is, nil
		})
		if err != nil || d.Kind != identity.SAML {
			t.Errorf("%+v, %v", d, err)
		}
	})
	t.Run("are_checked_by_who_will_use_them", func(t *testing.T) {
		s.Check = func(identity.Provider) error { return fault.New(fault.Invalid, "no") }
		defer func() { s.Check = nil }()
		if _, err := s.Add(ctx, providing, in); !fault.Is(err, fault.Invalid) {
			t.Error(err)
		}
		if _, err := s.SetEnabled(ctx, providing, p.ID, false); !fault.Is(err, fault.Invalid) {
			t.Error(err)
		}
	})
	t.Run("have_a_shape", func(t *testing.T) {
		for what, spoil := range map[string]func(*identity.NewProvider){
			"no name":          func(p *identity.NewProvider) { p.Name = " " },
			"two lines":        func(p *identity.NewProvider) { p.Name = "a\nb" },
			"unknown kind":     func(p *identity.NewProvider) { p.Kind = "vcd" },
			"other settings":   func(p *identity.NewProvider) { p.Kind = identity.SAML },
			"two settings":     func(p *identity.NewProvider) { p.Settings.LDAP = &identity.LDAPSettings{} },
			"no policy":        func(p *identity.NewProvider) { p.Settings.Link = "always" },
			"no expression":    func(p *identity.NewProvider) { p.Settings.JIT.Email = "${" },
			"long button":      func(p *identity.NewProvider) { p.Settings.Button = strings.Repeat("x", 41) },
			"no domain":        func(p *identity.NewProvider) { p.Settings.Domains = []string{"@example.test"} },
			"extra with NUL":   func(p *identity.NewProvider) { p.Settings.Extra = map[string]string{"a": "\x00"} },
			"too many domains": func(p *identity.NewProvider) { p.Settings.Domains = make([]string, 101) },
		} {
			bad := in
			spoil(&bad)
			if _, err := s.Add(ctx, providing, bad); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
	t.Run("are_for_administrators", func(t *testing.T) {
		nobody := may{}
		for what, try := range map[string]func() error{
			"add":     func() error { _, err := s.Add(ctx, nobody, in); return err },
			"change":  func() error { _, err := s.SetEnabled(ctx, nobody, p.ID, false); return err },
			"remove":  func() error { _, err := s.Remove(ctx, nobody, p.ID); return err },
			"list":    func() error { _, err := s.List(ctx, nobody); return err },
			"by id":   func() error { _, err := s.ByID(ctx, nobody, p.ID); return err },
			"by name": func() error { _, err := s.ByName(ctx, nobody, "Corp"); return err },
			"test":    func() error { _, _, err := s.ForTest(ctx, nobody, p.ID); return err },
			"link":    func() error { _, err := s.Link(ctx, nobody, p.ID, "dana", "x"); return err },
			"unlink":  func() error { return s.Unlink(ctx, nobody, p.ID, "dana") },
		} {
			if err := try(); !fault.Is(err, fault.Denied) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := s.LinksOf(ctx, nobody, "dana"); !errors.Is(err, identity.ErrUnknown) {
			t.Error(err)
		}
	})
	t.Run("link_and_unlink", func(t *testing.T) {
		if _, err := s.Link(ctx, providing, p.ID, "nobody", "x"); !errors.Is(err, identity.ErrUnknown) {
			t.Error(err)
		}
		if _, err := s.Link(ctx, providing, "nobody", "dana", "x"); !errors.Is(err, identity.ErrNoProvider) {
			t.Error(err)
		}
		if _, err := s.Link(ctx, providing, p.ID, "dana", ""); !fault.Is(err, fault.Invalid) {
			t.Error(err)
		}
		if _, err := s.Link(ctx, providing, p.ID, "dana", "x"); err != nil {
			t.Error(err)
		}
		if links, err := s.LinksOf(ctx, providing, "dana"); err != nil || len(links) != 1 || links[0].Made {
			t.Errorf("%+v, %v", links, err)
		}
		if err := s.Unlink(ctx, providing, p.ID, "dana"); err != nil {
			t.Error(err)
		}
		if err := s.Unlink(ctx, providing, p.ID, "dana"); !errors.Is(err, identity.ErrNoLink) {
			t.Error(err)
		}
	})
	if gone, err := s.Remove(ctx, providing, p.ID); err != nil || gone.ID != p.ID || !gone.Secret.Empty() {
		t.Errorf("%+v, %v", gone, err)
	}
}

// A change answers with the time that is kept, which later reads show again.
func TestProviders_keep_microseconds(t *testing.T) {
	t.Parallel()
	s, _ := newProviders()
	s.Now = func() time.Time { return start.Add(1234567 * time.Nanosecond) }
	p, err := s.Add(t.Context(), providing, identity.NewProvider{Kind: identity.Draft, Name: "Later", Disabled: true})
	if err != nil {
		t.Fatal(err)
	}
	changed, err := s.Change(t.Context(), providing, p.ID, func(p identity.Provider) (identity.Provider, error) { return p, nil })
	if want := start.Add(1234 * time.Microsecond); err != nil || !p.Created.Equal(want) || !p.Updated.Equal(want) || !changed.Updated.Equal(want) {
		t.Errorf("%v, %v, %v, %v", p.Created, p.Updated, changed.Updated, err)
	}
}
