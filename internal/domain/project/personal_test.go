package project_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

func TestPersonal_projects(t *testing.T) {
	t.Parallel()
	t.Run("are_made_when_their_owner_first_asks_in_any_case", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		dana := w.user("Dana", access.Licensed, access.Installation)
		p, err := w.ByKey(t.Context(), dana, "~dana")
		if err != nil || p.Key != "~DANA" || p.Owner != "Dana" || !p.Personal() || p.Public {
			t.Fatalf("%+v, %v", p, err)
		}
		if again, err := w.Find(t.Context(), dana, "~DANA"); err != nil || again.ID != p.ID || len(w.store.projects) != 1 || len(w.store.events) != 1 {
			t.Errorf("%+v, %v, %d events", again, err, len(w.store.events))
		}
		if e := w.store.events[0]; e.Action != "project.create" || e.Object.Name != "~DANA" || e.Actor.ID != "Dana" {
			t.Errorf("%+v", e)
		}
		name := "Mine"
		if _, err := w.Update(t.Context(), dana, p.ID, project.Change{Name: &name}); err != nil {
			t.Errorf("its owner administers it: %v", err)
		}
	})
	t.Run("are_made_for_nobody_whose_name_leads_to_somebody_else_s", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		lookalike := w.user("d\u0131ana", access.Licensed, access.Installation) // a dotless i, which in upper case is I
		if p, err := w.ByKey(t.Context(), lookalike, "~d\u0131ana"); !errors.Is(err, project.ErrUnknown) || len(w.store.projects) != 0 {
			t.Errorf("%+v, %v", p, err)
		}
		if p, err := w.ByKey(t.Context(), w.user("diana", access.Licensed, access.Installation), "~diana"); err != nil || p.Owner != "diana" {
			t.Errorf("%+v, %v", p, err)
		}
	})
	t.Run("are_made_for_nobody_else_and_by_no_token_or_key", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		dana := w.user("dana", access.Licensed, access.Installation)
		token, application := dana, dana
		token.Credential, application.Kind = "t1", access.Application
		for name, by := range map[string]access.Caller{
			"somebody else": w.user("eve", access.SysAdmin, access.Installation), "the server": w.admin, "nobody": access.NobodyAt(netip.Addr{}, "native", w.now),
			"a token of theirs": token, "a program of that name": application,
			"a token of a project": {Principal: access.Principal{Kind: access.ServiceIdentity, ID: "dana", Name: "dana"}, Scopes: dana.Scopes, Limit: access.Project("p")},
		} {
			if _, err := w.ByKey(t.Context(), by, "~dana"); !errors.Is(err, project.ErrUnknown) || len(w.store.projects) != 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, key := range []string{"~", "~eve", "dana", "~~dana", "~dana/x"} {
			if _, err := w.ByKey(t.Context(), dana, key); !errors.Is(err, project.ErrUnknown) || len(w.store.projects) != 0 {
				t.Errorf("%q: %v", key, err)
			}
		}
		made, err := w.ByKey(t.Context(), dana, "~dana")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := w.ByKey(t.Context(), token, "~dana"); err != nil || got.ID != made.ID {
			t.Errorf("once it is there, a token of theirs: %v", err)
		}
		if _, err := w.ByKey(t.Context(), w.user("bob", access.Licensed, access.Installation), "~dana"); !errors.Is(err, project.ErrUnknown) {
			t.Errorf("somebody else: %v", err)
		}
	})
	t.Run("are_made_by_no_other_way", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		if _, err := w.Create(t.Context(), w.admin, project.New{Key: "~dana"}); !fault.Is(err, fault.Invalid) {
			t.Error(err)
		}
	})
	t.Run("of_somebody_who_left_are_not_for_who_comes_under_the_name", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.store.projects = []project.Project{{ID: "old", Key: "~DANA", Name: "dana"}} // it held something, so it was kept
		if _, err := w.ByKey(t.Context(), w.user("dana", access.Licensed, access.Installation), "~dana"); !errors.Is(err, project.ErrUnknown) || len(w.store.projects) != 1 {
			t.Error(err)
		}
	})
	t.Run("are_found_where_another_request_was_first", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.Store = &late{w.store}
		if p, err := w.Find(t.Context(), w.user("dana", access.Licensed, access.Installation), "~dana"); err != nil || p.ID != "first" {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// late is a store into which somebody else puts the project just before it is inserted.
type late struct{ *memory }

func (l *late) ByKey(ctx context.Context, key string) (project.Project, error) {
	p, err := l.memory.ByKey(ctx, key)
	if err != nil {
		l.projects = append(l.projects, project.Project{ID: "first", Key: key})
	}
	return p, err
}

func TestVisible_lists_what_one_may_read(t *testing.T) {
	t.Parallel()
	w := newWorld()
	shop, other := w.create(t, "SHOP"), w.create(t, "OTHER")
	open, err := w.Create(t.Context(), w.admin, project.New{Key: "OPEN", Public: true})
	if err != nil {
		t.Fatal(err)
	}
	token := func(place access.Resource) access.Caller {
		return access.Caller{Principal: access.Principal{Kind: access.ServiceIdentity, ID: "t"}, Scopes: []access.Action{"*"}, Limit: place}
	}
	for name, c := range map[string]struct {
		by   access.Caller
		name string
		want string
	}{
		"an administrator of all":   {w.user("adam", access.Admin, access.Installation), "", "SHOP OTHER OPEN"},
		"an administrator, by name": {w.user("adam", access.Admin, access.Installation), "OPEN", "OPEN"},
		"a reader of one":           {w.user("bob", access.ProjectReader, shop.Resource()), "", "SHOP OPEN"},
		"a stranger":                {w.user("eve", access.Licensed, access.Installation), "", "OPEN"},
		"nobody":                    {access.NobodyAt(netip.Addr{}, "native", w.now), "", "OPEN"},
		"a token of one":            {token(shop.Resource()), "", "SHOP"}, // rule G1
		"a token of one, by name":   {token(shop.Resource()), "OPEN", ""},
		"a token of a public one":   {token(open.Resource()), "", "OPEN"},
		"a token of a repository":   {token(access.Repo(other.ID, "r")), "", ""},
		"a caller without scopes":   {access.Caller{Principal: access.Principal{Kind: access.User, ID: "bob"}}, "", ""},
	} {
		got, err := w.Visible(t.Context(), c.by, c.name, page.Of(0, 10))
		var keys []string
		for _, p := range got.Items {
			keys = append(keys, p.Key)
		}
		if err != nil || strings.Join(keys, " ") != c.want {
			t.Errorf("%s: %q, %v; want %q", name, keys, err, c.want)
		}
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	w := newWorld()
	p, full := w.create(t, "SHOP"), w.create(t, "FULL")
	w.store.full = full.ID
	if err := w.Delete(t.Context(), w.user("bob", access.ProjectWriter, p.Resource()), p.ID); !fault.Is(err, fault.Denied) {
		t.Errorf("a writer: %v", err)
	}
	stranger := w.Delete(t.Context(), w.user("eve", access.Licensed, access.Installation), p.ID)
	if absent := w.Delete(t.Context(), w.admin, "absent"); !errors.Is(stranger, project.ErrUnknown) || fmt.Sprint(stranger) != fmt.Sprint(absent) {
		t.Errorf("a stranger: %v, absent: %v", stranger, absent)
	}
	if err := w.Delete(t.Context(), w.admin, full.ID); !errors.Is(err, project.ErrNotEmpty) {
		t.Errorf("one that holds something: %v", err)
	}
	if len(w.store.projects) != 2 || len(w.store.events) != 2 {
		t.Errorf("%d projects, %d events", len(w.store.projects), len(w.store.events))
	}
	if _, err := w.SettingsOf(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), w.user("pam", access.ProjectAdmin, p.Resource()), p.ID); err != nil {
		t.Fatal(err)
	}
	if e := w.store.events[2]; e.Action != "project.delete" || e.Object.Name != "SHOP" || e.Project != p.ID || e.Actor.ID != "pam" {
		t.Errorf("%+v", e)
	}
	if _, err := w.SettingsOf(t.Context(), p.ID); !errors.Is(err, project.ErrUnknown) {
		t.Errorf("its settings are remembered: %v", err)
	}
}
