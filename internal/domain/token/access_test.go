package token_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const day = 24 * time.Hour

func days(n int) *int { return &n }

func TestIssue(t *testing.T) {
	t.Parallel()
	t.Run("returns the plain text once and keeps its digest alone", func(t *testing.T) {
		t.Parallel()
		o := newOffice()
		plain, issued := o.issue(t, o.person("dana"), dana, 30, token.RepoWrite, token.ProjectRead, token.RepoWrite)
		text := plain.Reveal()
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "BBDC-"))
		if err != nil || len(text) != 49 || string(raw[:13]) != issued.Handle+":" || issued.Digest != sha256.Sum256(raw[13:]) {
			t.Errorf("%s, %+v", text, issued)
		}
		if !slices.Equal(issued.Permissions, []token.Permission{token.RepoWrite, token.ProjectRead}) || issued.Name != "ci" || issued.Creator != "dana" || issued.UserName != "dana" ||
			!issued.Created.Equal(o.now) || !issued.Expires.Equal(o.now.Add(30*day)) {
			t.Errorf("%+v", issued)
		}
		e := o.store.events[0]
		if e.Action != "token.issue" || e.Object != (audit.Object{Kind: "http_token", ID: issued.ID, Name: "ci"}) || e.Detail["handle"] != issued.Handle ||
			e.Detail["permissions"] != "repo.write project.read" || e.Detail["expires"] != "2026-12-20T08:00:00Z" || e.Detail["user"] != "dana" {
			t.Errorf("%s", e.Body())
		}
		if everything := fmt.Sprintf("%+v %s", o.store.tokens, e.Body()); strings.Contains(everything, text[30:40]) {
			t.Error("the plain text is in what is stored")
		}
	})
	t.Run("gives no handle twice, whatever the dice say", func(t *testing.T) {
		t.Parallel()
		o := newOffice()
		o.store.taken = 3
		if _, issued := o.issue(t, o.person("dana"), dana, 0, token.RepoRead); !slices.ContainsFunc(o.store.tokens, func(x token.Access) bool { return x.Handle == issued.Handle }) {
			t.Error("not kept")
		}
		o.store.taken = 100
		if _, _, err := o.Issue(t.Context(), o.person("dana"), dana, token.Draft{Name: "ci", Permissions: []token.Permission{token.RepoRead}}); !errors.Is(err, token.ErrHandleTaken) {
			t.Error(err)
		}
	})
	t.Run("tells one fault, in order", func(t *testing.T) {
		t.Parallel()
		o := newOffice()
		by := o.person("dana")
		o.MaxPerScope = 0
		all := []token.Permission{token.RepoRead}
		for _, c := range []struct {
			d    token.Draft
			want error
			path string
		}{
			{token.Draft{Name: " \t", ExpiryDays: days(0)}, token.ErrNameMissing, "name"},
			{token.Draft{Name: strings.Repeat("ü", 256), ExpiryDays: days(0)}, token.ErrNameLong, "name"},
			{token.Draft{Name: "a\x00b", ExpiryDays: days(0)}, token.ErrNameCharacters, "name"},
			{token.Draft{Name: "a\xff", ExpiryDays: days(0)}, token.ErrNameCharacters, "name"},
			{token.Draft{Name: "ci", ExpiryDays: days(0)}, token.ErrNoPermission, "permissions"},
			{token.Draft{Name: "ci", Permissions: all, ExpiryDays: days(0)}, token.ErrExpiryNotPositive, "expiry_days"},
			{token.Draft{Name: " " + strings.Repeat("ü", 255) + " ", Permissions: all, ExpiryDays: days(1)}, token.ErrTooMany, ""},
		} {
			_, _, err := o.Issue(t.Context(), by, dana, c.d)
			path := ""
			if fields := fault.FieldsOf(err); len(fields) == 1 {
				path = fields[0].Path
			}
			if !errors.Is(err, c.want) || !fault.Is(err, fault.Invalid) || path != c.path {
				t.Errorf("%+v: %v at %q", c.d, err, path)
			}
		}
		if len(o.store.tokens) != 0 {
			t.Error("kept all the same")
		}
	})
	t.Run("obeys the policy on expiry", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			required bool
			most     int
			asked    *int
			ok       bool
		}{
			{false, 0, nil, true},
			{false, 0, days(1 << 31), true}, // never comes, and is no overflow
			{true, 0, nil, false},
			{true, 0, days(5000), true},
			{false, 365, nil, false},
			{false, 365, days(365), true},
			{false, 365, days(366), false},
		} {
			o := newOffice()
			o.ExpiryRequired, o.MaxDays = c.required, c.most
			_, issued, err := o.Issue(t.Context(), o.person("dana"), dana, token.Draft{Name: "ci", Permissions: []token.Permission{token.RepoRead}, ExpiryDays: c.asked})
			if (err == nil) != c.ok || err != nil && !errors.Is(err, token.ErrExpiryRequired) || c.ok && c.asked != nil && !issued.Expires.After(o.now) {
				t.Errorf("%+v: %v", c, err)
			}
		}
	})
}

// Who may do what with whose tokens.
func TestAccesses_ask_for_rights(t *testing.T) {
	t.Parallel()
	reserved := infra
	reserved.Reserved = true
	const issue, list, show, change, remove = "issue", "list", "show", "change", "remove"
	all, none := []string{issue, list, show, change, remove}, []string{}
	others := all[1:]
	install := access.Installation
	for name, c := range map[string]struct {
		id   string
		held []access.Binding
		on   access.Resource
		may  []string
	}{
		"one's own":                          {"dana", nil, dana, all},
		"somebody else's":                    {"eve", nil, dana, none},
		"an administrator, a user's":         {"adam", []access.Binding{role(access.Admin, install)}, dana, others},
		"a project's administrator":          {"dana", []access.Binding{role(access.ProjectAdmin, ops)}, ops, all},
		"a writer of the project":            {"dana", []access.Binding{role(access.ProjectWriter, ops)}, ops, none},
		"another project's":                  {"dana", []access.Binding{role(access.ProjectAdmin, web)}, ops, none},
		"an administrator, a project's":      {"adam", []access.Binding{role(access.Admin, install)}, ops, all},
		"a repository's administrator":       {"dana", []access.Binding{role(access.RepoAdmin, infra)}, infra, all},
		"where settings are reserved":        {"dana", []access.Binding{role(access.RepoAdmin, infra)}, reserved, none},
		"its project's administrator, there": {"dana", []access.Binding{role(access.ProjectAdmin, ops)}, reserved, all},
		"a repository's, on its project":     {"dana", []access.Binding{role(access.RepoAdmin, infra)}, ops, none},
		"a writer of the repository":         {"dana", []access.Binding{role(access.RepoWriter, infra)}, infra, none},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice()
			maker := o.person("root", role(access.SysAdmin, install))
			if c.on.Kind == access.UserKind {
				maker = o.person("dana")
			}
			_, there := o.issue(t, maker, c.on, 0, token.RepoRead)
			by := o.person(c.id, c.held...)
			may := []string{}
			for _, what := range all {
				err := o.do(what, by, c.on, there.Handle)
				if err == nil {
					may = append(may, what)
				} else if !fault.Is(err, fault.Denied) {
					t.Errorf("%s: %v", what, err)
				}
				if unknown := o.do(what, by, c.on, "999999999999"); what != issue && err != nil && fault.KindOf(unknown) != fault.KindOf(err) {
					t.Errorf("%s tells who may not that there is no such token: %v", what, unknown)
				}
			}
			if !slices.Equal(may, c.may) {
				t.Errorf("may %v, want %v", may, c.may)
			}
		})
	}
}

// do calls one verb.
func (o *office) do(what string, by access.Caller, on access.Resource, handle string) (err error) {
	ctx, name := context.Background(), "other"
	switch what {
	case "issue":
		_, _, err = o.Issue(ctx, by, on, token.Draft{Name: "ci", Permissions: []token.Permission{token.RepoRead}})
	case "list":
		_, err = o.List(ctx, by, on, page.Of(0, 10))
	case "show":
		_, err = o.Show(ctx, by, on, handle)
	case "change":
		_, err = o.Change(ctx, by, on, handle, token.AccessChange{Name: &name})
	case "remove":
		err = o.Remove(ctx, by, on, handle)
	}
	return err
}

// Rule W6: whoever comes with a token makes none, and changes those alone that belong to places which the token administers.
func TestAccesses_and_callers_with_tokens(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scope access.Resource
		list  []token.Permission
		on    access.Resource
		may   []string
	}{
		"personal, to one's own":                  {dana, []token.Permission{token.RepoAdmin, token.ProjectAdmin}, dana, []string{"list", "show"}},
		"personal and least, to one's own":        {dana, []token.Permission{token.RepoRead}, dana, []string{"list", "show"}},
		"personal, to somebody else's":            {dana, []token.Permission{token.ProjectAdmin}, token.OfUser("eve"), nil},
		"personal with administration":            {dana, []token.Permission{token.ProjectAdmin}, ops, []string{"list", "show", "change", "remove"}},
		"personal with a repository's, of it":     {dana, []token.Permission{token.RepoAdmin}, infra, []string{"list", "show", "change", "remove"}},
		"personal with a repository's, the other": {dana, []token.Permission{token.RepoAdmin, token.ProjectRead}, ops, nil},
		"personal, lesser":                        {dana, []token.Permission{token.ProjectWrite}, ops, nil},
		"a project's":                             {ops, []token.Permission{token.ProjectAdmin}, infra, []string{"list", "show", "change", "remove"}},
		"a project's, elsewhere":                  {ops, []token.Permission{token.ProjectAdmin}, site, nil},
		"a project's, to a user's":                {ops, []token.Permission{token.ProjectAdmin}, dana, nil},
		"a repository's, to its project's":        {infra, []token.Permission{token.RepoAdmin}, ops, nil},
		"a repository's":                          {infra, []token.Permission{token.RepoAdmin}, infra, []string{"list", "show", "change", "remove"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice()
			top := role(access.SysAdmin, access.Installation) // which gives the token nothing more
			_, held := o.issue(t, o.person("dana", top), c.scope, 0, c.list...)
			maker := o.person("dana", top)
			if c.on.Kind == access.UserKind {
				maker = o.person(c.on.ID, top)
			}
			_, there := o.issue(t, maker, c.on, 0, token.RepoRead)
			by := held.Caller()
			by.At = o.now // even if a door said so
			var may []string
			for _, what := range []string{"issue", "list", "show", "change", "remove"} {
				if err := o.do(what, by, c.on, there.Handle); err == nil {
					may = append(may, what)
				} else if !fault.Is(err, fault.Denied) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if !slices.Equal(may, c.may) {
				t.Errorf("may %v, want %v", may, c.may)
			}
		})
	}
}

// Rule F14: a person's tokens are made and changed by who has just proved who they are; those of places, and removing, take no such proof.
func TestAccesses_ask_for_a_fresh_proof(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		on    access.Resource
		what  string
		fresh bool
	}{
		{dana, "issue", true},
		{dana, "change", true},
		{dana, "list", false},
		{dana, "show", false},
		{dana, "remove", false},
		{ops, "issue", false},
		{ops, "change", false},
		{infra, "change", false},
	} {
		o := newOffice()
		by := o.person("dana", role(access.ProjectAdmin, ops))
		_, there := o.issue(t, by, c.on, 0, token.RepoRead)
		o.now = o.now.Add(10 * time.Minute)
		err := o.do(c.what, by, c.on, there.Handle)
		if c.fresh != errors.Is(err, access.ErrNotFresh) || !c.fresh && err != nil {
			t.Errorf("%s %s: %v", c.what, c.on, err)
		}
		by.Elevated = o.now.Add(time.Minute)
		if err := o.do(c.what, by, c.on, there.Handle); err != nil && c.what != "remove" {
			t.Errorf("%s %s, elevated: %v", c.what, c.on, err)
		}
	}
}

func TestShow_and_Remove(t *testing.T) {
	t.Parallel()
	o := newOffice()
	by := o.person("dana", role(access.ProjectAdmin, ops))
	_, mine := o.issue(t, by, dana, 1, token.RepoRead)
	for name, lookup := range map[string]func() error{
		"of another scope": func() error { _, err := o.Show(t.Context(), by, ops, mine.Handle); return err },
		"no handle":        func() error { _, err := o.Show(t.Context(), by, dana, "x"); return err },
		"unknown":          func() error { return o.Remove(t.Context(), by, dana, "999999999999") },
		"another spelling": func() error { return o.Remove(t.Context(), by, dana, mine.Handle+" ") },
		"changed elsewhere": func() error {
			_, err := o.Change(t.Context(), by, infra, mine.Handle, token.AccessChange{})
			return err
		},
	} {
		if err := lookup(); !errors.Is(err, token.ErrNoAccess) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := o.Show(t.Context(), by, dana, mine.Handle); err != nil || got.ID != mine.ID {
		t.Errorf("%+v, %v", got, err)
	}
	o.now = o.now.Add(day)
	if p, err := o.List(t.Context(), by, dana, page.Of(0, 10)); err != nil || len(p.Items) != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if err := o.Remove(t.Context(), by, dana, mine.Handle); err != nil {
		t.Error(err)
	}
	if err := o.Remove(t.Context(), by, dana, mine.Handle); !errors.Is(err, token.ErrNoAccess) {
		t.Errorf("twice: %v", err)
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	o := newOffice()
	by := o.person("dana")
	plain, is := o.issue(t, by, dana, 0, token.RepoWrite)
	name, blank := " deploy ", " "
	change := func(c token.AccessChange) error {
		changed, err := o.Change(t.Context(), by, dana, is.Handle, c)
		if err == nil {
			is = changed
		}
		return err
	}
	expires := func() int { return int(is.Expires.Sub(is.Created) / day) }

	if err := change(token.AccessChange{}); err != nil || is.Name != "ci" || !is.Expires.IsZero() {
		t.Errorf("nothing: %+v, %v", is, err)
	}
	if err := change(token.AccessChange{ExpiryDays: days(2154)}); err != nil || expires() != 2154 { // shortens what has none
		t.Errorf("%+v, %v", is, err)
	}
	o.now = o.now.Add(5 * day)
	by = o.person("dana")
	if err := change(token.AccessChange{ExpiryDays: days(30)}); err != nil || expires() != 30 {
		t.Errorf("counted from when it was made: %+v, %v", is, err)
	}
	if err := change(token.AccessChange{ExpiryDays: days(30), Name: &name}); err != nil || is.Name != "deploy" || expires() != 30 {
		t.Errorf("%+v, %v", is, err)
	}
	for _, c := range []struct {
		c    token.AccessChange
		want error
	}{
		{token.AccessChange{ExpiryDays: days(31)}, token.ErrExpiryLonger},
		{token.AccessChange{ExpiryDays: days(-1)}, token.ErrExpiryNotPositive},
		{token.AccessChange{Name: &blank, Permissions: []token.Permission{}, ExpiryDays: days(31)}, token.ErrNameMissing},
		{token.AccessChange{Permissions: []token.Permission{}, ExpiryDays: days(31)}, token.ErrNoPermission},
		{token.AccessChange{Permissions: []token.Permission{token.RepoRead, token.ProjectAdmin}}, token.ErrCombination},
	} {
		before := is
		if err := change(c.c); !errors.Is(err, c.want) || is.Name != before.Name {
			t.Errorf("%+v: %v", c.c, err)
		}
	}
	// Lowering a token takes effect at once.
	may := func() bool {
		got, err := o.Check(t.Context(), plain)
		if err != nil {
			t.Fatal(err)
		}
		o.store.roles["dana"] = []access.Binding{role(access.RepoWriter, infra)}
		return o.Access.Require(t.Context(), got.Caller(), access.RepoWrite, infra) == nil
	}
	before := may()
	if err := change(token.AccessChange{Permissions: []token.Permission{token.RepoRead}}); err != nil || !before || may() {
		t.Errorf("%v, could write before: %v", err, before)
	}
	if e := o.store.events[len(o.store.events)-1]; e.Action != "token.update" || e.Detail["permissions"] != "repo.read" || e.Detail["expires"] == "" {
		t.Errorf("%s", e.Body())
	}
	if err := change(token.AccessChange{ExpiryDays: days(1)}); err != nil { // is over then
		t.Error(err)
	}
	if _, err := o.Check(t.Context(), plain); reason(err) != "the access token has expired" {
		t.Error(err)
	}
}

// flip changes one character of a plain text.
func flip(plain secret.String, i int) secret.String {
	b := []byte(plain.Reveal())
	if b[i]++; b[i] == 'Z'+1 || b[i] == 'z'+1 || b[i] == '9'+1 || b[i] < '0' {
		b[i] = 'A'
	}
	return secret.New(string(b))
}

// Rules F12, W7 and W11: whatever is wrong with a token is read at each use, told to nobody, and remembered for the audit log.
func TestAccesses_Check(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*office, token.Access)
		shown  func(secret.String) secret.String
		reason string // "" is good
		known  bool   // the refusal names the token
	}{
		"good":           {},
		"without prefix": {shown: func(p secret.String) secret.String { return secret.New(strings.TrimPrefix(p.Reveal(), "BBDC-")) }},
		"nothing":        {shown: func(secret.String) secret.String { return secret.String{} }, reason: "it is not spelled like an access token"},
		"another secret": {shown: func(p secret.String) secret.String { return flip(p, 40) }, reason: "the secret of the access token is wrong"},
		"unknown": {shown: func(secret.String) secret.String {
			return secret.New("BBDC-" + spelled("999999999999", strings.Repeat("x", 20)))
		}, reason: "there is no such access token"},
		"a moment before its end": {change: func(o *office, x token.Access) { o.now = x.Expires.Add(-1) }},
		"at its end":              {change: func(o *office, x token.Access) { o.now = x.Expires }, reason: "the access token has expired", known: true},
		"revoked":                 {change: func(o *office, x token.Access) { o.store.tokens[0].Revoked = o.now }, reason: "the access token was revoked", known: true},
		"its owner is shut out":   {change: func(o *office, x token.Access) { o.store.shut["dana"] = true }, reason: "its owner is disabled", known: true},
		"the database takes another for it (rule S12)": {
			change: func(o *office, x token.Access) { x.Handle = "482915037761"; o.store.other = x }, reason: "there is no such access token",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice()
			plain, issued := o.issue(t, o.person("dana"), dana, 1, token.RepoRead)
			if c.change != nil {
				c.change(o, issued)
			}
			if c.shown != nil {
				plain = c.shown(plain)
			}
			got, err := o.Check(t.Context(), plain)
			if c.reason == "" {
				if err != nil || got.ID != issued.ID {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			var r *token.Refusal
			if !errors.Is(err, token.ErrBadAccess) || errors.Is(err, token.ErrUnknownKey) || !fault.Is(err, fault.Unauthenticated) || fault.Text(err) != token.ErrBadAccess.Text ||
				!errors.As(err, &r) || r.Reason != c.reason || c.known != (r.Access.ID != "") || got.ID != "" {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	t.Run("a database that is away is nobody's fault", func(t *testing.T) {
		t.Parallel()
		o := newOffice()
		plain, _ := o.issue(t, o.person("dana"), dana, 0, token.RepoRead)
		o.store.err = errors.New("away")
		if _, err := o.Check(t.Context(), plain); !fault.Is(err, fault.Internal) || reason(err) != "" {
			t.Error(err)
		}
	})
}

func TestAccesses_Check_believes_a_good_token_for_a_moment(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T) (*office, secret.String, token.Access, func() bool) {
		o := newOffice()
		plain, issued := o.issue(t, o.person("dana"), dana, 1, token.RepoRead)
		check := func() bool { _, err := o.Check(context.Background(), plain); return err == nil }
		first := check()
		if again := check(); !first || !again || o.store.reads != 1 {
			t.Fatalf("%v, %v, %d reads", first, again, o.store.reads)
		}
		return o, plain, issued, check
	}
	t.Run("which ends at its expiry", func(t *testing.T) {
		t.Parallel()
		o, _, issued, check := begin(t)
		o.now = issued.Expires.Add(-time.Second)
		good := check()
		if o.now = issued.Expires; !good || check() {
			t.Error("the time in memory outlived the token")
		}
	})
	t.Run("and no other secret of its handle", func(t *testing.T) {
		t.Parallel()
		o, plain, _, _ := begin(t)
		if _, err := o.Check(context.Background(), flip(plain, 40)); err == nil {
			t.Error("a wrong secret passed")
		}
	})
	t.Run("less where it is removed here, or notice comes", func(t *testing.T) {
		t.Parallel()
		for name, end := range map[string]func(o *office, x token.Access){
			"removed": func(o *office, x token.Access) {
				if err := o.Remove(context.Background(), o.person("dana"), dana, x.Handle); err != nil {
					t.Error(err)
				}
			},
			"notice":             func(o *office, x token.Access) { o.store.tokens[0].Revoked = o.now; o.Forget(x.ID) },
			"notice of the user": func(o *office, x token.Access) { o.store.shut["dana"] = true; o.ForgetUser("dana") },
			"lost notices":       func(o *office, x token.Access) { o.store.shut["dana"] = true; o.ForgetAll() },
			"time":               func(o *office, x token.Access) { o.store.shut["dana"] = true; o.now = o.now.Add(2 * time.Second) },
		} {
			o, _, issued, check := begin(t)
			if end(o, issued); check() {
				t.Error(name)
			}
		}
	})
	t.Run("not where it was revoked while it was read", func(t *testing.T) {
		t.Parallel()
		o := newOffice()
		plain, issued := o.issue(t, o.person("dana"), dana, 0, token.RepoRead)
		o.store.after = func() { o.store.after = nil; o.store.tokens[0].Revoked = o.now; o.Forget(issued.ID) }
		_, _ = o.Check(t.Context(), plain)
		if _, err := o.Check(t.Context(), plain); err == nil {
			t.Error("brought back what was forgotten")
		}
	})
}

// Whoever has a token may end it, and learns nothing from it.
func TestReportLeaked(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	o := newOffice()
	plain, issued := o.issue(t, o.person("dana"), dana, 0, token.RepoRead)
	anybody := access.NobodyAt(netip.MustParseAddr("198.51.100.7"), "native", o.now)
	if _, err := o.Check(ctx, plain); err != nil {
		t.Fatal(err)
	}
	for _, text := range []secret.String{{}, flip(plain, 40)} {
		if err := o.ReportLeaked(ctx, anybody, text); err != nil {
			t.Error(err)
		}
	}
	if _, err := o.Check(ctx, plain); err != nil {
		t.Errorf("ended by a wrong secret: %v", err)
	}
	if err := o.ReportLeaked(ctx, anybody, plain); err != nil {
		t.Error(err)
	}
	if _, err := o.Check(ctx, plain); reason(err) != "the access token was revoked" {
		t.Error(err)
	}
	e := o.store.events[len(o.store.events)-1]
	if e.Action != "token.revoke" || e.Reason != "it was reported as leaked" || e.Object.ID != issued.ID || e.Actor.Kind != "nobody" || e.Address != "198.51.100.7" || e.Door != "native" {
		t.Errorf("%s", e.Body())
	}
	if err := o.ReportLeaked(ctx, anybody, plain); !errors.Is(err, token.ErrTooManyReports) || !fault.Is(err, fault.Limited) {
		t.Errorf("the fourth in a minute: %v", err)
	}
	o.now = o.now.Add(time.Minute)
	if err := o.ReportLeaked(ctx, anybody, plain); err != nil {
		t.Errorf("revoked already: %v", err)
	}
	// One whose owner is shut out is ended all the same, before the owner is let in again.
	other, _ := o.issue(t, o.person("eve"), token.OfUser("eve"), 0, token.RepoRead)
	o.store.shut["eve"] = true
	if err := o.ReportLeaked(ctx, anybody, other); err != nil {
		t.Error(err)
	}
	o.store.shut["eve"] = false
	if _, err := o.Check(ctx, other); reason(err) != "the access token was revoked" {
		t.Error(err)
	}
}

func TestExpiring(t *testing.T) {
	t.Parallel()
	o := newOffice()
	by := o.person("dana", role(access.ProjectAdmin, ops))
	_, soon := o.issue(t, by, dana, 1, token.RepoRead)
	o.issue(t, by, dana, 9, token.RepoRead)
	o.issue(t, by, dana, 0, token.RepoRead)
	_, place := o.issue(t, by, ops, 1, token.RepoRead)
	ids := func(by access.Caller, on access.Resource) (all []string, err error) {
		p, err := o.Expiring(t.Context(), by, on, 7*day, page.Of(0, 10))
		for _, x := range p.Items {
			all = append(all, x.ID)
		}
		return all, err
	}
	if got, err := ids(by, dana); err != nil || !slices.Equal(got, []string{soon.ID}) {
		t.Errorf("one's own: %v, %v", got, err)
	}
	if got, err := ids(by, ops); err != nil || !slices.Equal(got, []string{place.ID}) {
		t.Errorf("a project's: %v, %v", got, err)
	}
	if got, err := ids(by, access.Installation); !fault.Is(err, fault.Denied) || got != nil {
		t.Errorf("all, without the right: %v, %v", got, err)
	}
	if got, err := ids(o.person("adam", role(access.Admin, access.Installation)), access.Installation); err != nil || !slices.Equal(got, []string{soon.ID, place.ID}) {
		t.Errorf("all: %v, %v", got, err)
	}
	if _, err := ids(o.person("eve"), dana); !fault.Is(err, fault.Denied) {
		t.Errorf("somebody else's: %v", err)
	}
}

func TestAccesses_write_last_uses_once_a_while(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		ctx, cancel := context.WithCancel(t.Context())
		go o.Run(ctx)
		from := netip.MustParseAddr("192.0.2.9")
		for i := range 100 {
			o.Used("a1", from, "git", o.now.Add(time.Duration(i)*time.Second))
		}
		o.Used("a1", from, "bitbucket", o.now)
		time.Sleep(time.Minute + time.Second)
		cancel()
		synctest.Wait()
		if len(o.store.marked) != 1 || !o.store.marked[0].At.Equal(o.now.Add(99*time.Second)) || o.store.marked[0].Door != "git" || o.store.marked[0].Address != "192.0.2.9" {
			t.Errorf("%+v", o.store.marked)
		}
	})
}

func TestAccess_Caller(t *testing.T) {
	t.Parallel()
	mine := token.Access{ID: "a1", Name: "ci", Scope: dana, UserName: "dana", Permissions: []token.Permission{token.RepoRead}}.Caller()
	if mine.Principal != (access.Principal{Kind: access.User, ID: "dana", Name: "dana"}) || mine.Method != "http_token" || mine.Credential != "a1" || mine.Limit.Kind != "" || !mine.At.IsZero() {
		t.Errorf("%+v", mine)
	}
	open := infra
	open.Open = true
	theirs := token.Access{ID: "a2", Name: "ci", Scope: open, Permissions: []token.Permission{token.RepoWrite}}.Caller()
	if theirs.Principal != (access.Principal{Kind: access.ServiceIdentity, ID: "a2", Name: "ci"}) || theirs.Limit.ID != "infra" || theirs.Limit.Open {
		t.Errorf("%+v", theirs)
	}
	e := theirs.Event(time.Now(), access.RepoWrite, infra, audit.Done) // who it was is in the log, for either
	if body, _ := json.Marshal(e.Detail); string(body) != `{"credential":"a2"}` || e.Actor.Kind != "service" {
		t.Errorf("%s", e.Body())
	}
}
