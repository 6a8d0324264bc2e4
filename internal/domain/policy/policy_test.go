package policy_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// memory keeps policies, and the role bindings of the tests.
type memory struct {
	access.Store
	mu       sync.Mutex
	sso      policy.SSO
	basic    policy.Basic
	events   []audit.Event
	bindings map[string][]access.Binding
	reads    int
	err      error
	onRead   func() // runs after what is read was taken
	faster   int    // so many changes come second to one that nobody sees
}

func (m *memory) BindingsOf(_ context.Context, of access.Subject) ([]access.Binding, error) {
	return m.bindings[of.ID], nil
}

func read[T any](m *memory, from *T) (T, error) {
	m.mu.Lock()
	is, err, then := *from, m.err, m.onRead
	m.reads++
	m.mu.Unlock()
	if then != nil {
		then()
	}
	return is, err
}

func (m *memory) change(was int64, version *int64, e audit.Event, keep func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.faster > 0 {
		m.faster--
		*version++
	}
	if m.err != nil {
		return m.err
	}
	if was != *version {
		return policy.ErrOvertaken
	}
	keep()
	m.events = append(m.events, e)
	return nil
}

func (m *memory) SSO(context.Context) (policy.SSO, error)     { return read(m, &m.sso) }
func (m *memory) Basic(context.Context) (policy.Basic, error) { return read(m, &m.basic) }

func (m *memory) ChangeSSO(_ context.Context, was int64, to policy.SSO, e audit.Event) error {
	return m.change(was, &m.sso.Version, e, func() { m.sso = to })
}

func (m *memory) ChangeBasic(_ context.Context, was int64, to policy.Basic, e audit.Event) error {
	return m.change(was, &m.basic.Version, e, func() { m.basic = to })
}

type world struct {
	*policy.Service
	store *memory
	now   time.Time
	admin access.Caller
}

func newWorld() *world {
	w := &world{store: &memory{bindings: map[string][]access.Binding{}}, now: time.Date(2026, 11, 20, 8, 0, 0, 123456789, time.UTC)}
	clock := func() time.Time { return w.now }
	w.Service = &policy.Service{Store: w.store, Access: &access.Service{Store: w.store, Now: clock}, Now: clock, CacheFor: 2 * time.Second}
	w.admin = w.user("root", access.Admin)
	return w
}

func (w *world) user(id string, role access.Role) access.Caller {
	w.store.bindings[id] = []access.Binding{{Role: role, Resource: access.Installation}}
	return access.Caller{Principal: access.Principal{Kind: access.User, ID: id, Name: id}, Scopes: []access.Action{"*"}}
}

func (w *world) block(t *testing.T, decide func(b *policy.Basic)) policy.Basic {
	t.Helper()
	is, err := w.ChangeBasic(t.Context(), w.admin, func(b policy.Basic) (policy.Basic, error) { decide(&b); return b, nil })
	if err != nil {
		t.Fatal(err)
	}
	return is
}

func hide(is policy.SSO) (policy.SSO, error) {
	is.HideForm = true
	return is, nil
}

func TestChange(t *testing.T) {
	t.Parallel()
	t.Run("keeps_the_policy_with_its_event", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		is, err := w.ChangeSSO(t.Context(), w.admin, func(is policy.SSO) (policy.SSO, error) {
			is.HideForm, is.Extra = true, map[string]string{"cron": "0 0 * * * ?"}
			return is, nil
		})
		if err != nil || !is.HideForm || is.Version != 1 || !is.Updated.Equal(w.now.Truncate(time.Microsecond)) || !reflect.DeepEqual(is, w.store.sso) {
			t.Errorf("%+v, %v", is, err)
		}
		if e := w.store.events[0]; e.Action != "sso.update" || e.Object.Name != "sso" || e.Actor.ID != "root" || e.Detail["changed"] != "hide_form, extra" || strings.Contains(fmt.Sprint(e), "* * *") {
			t.Errorf("%+v", e)
		}
		b := w.block(t, func(b *policy.Basic) {
			b.Block, b.Users, b.Paths, b.Warn = true, []string{"robot"}, []string{"/rest/*"}, true
		})
		if b.Version != 1 || !reflect.DeepEqual(b, w.store.basic) {
			t.Errorf("%+v", b)
		}
		if e := w.store.events[1]; e.Action != "basicauth.update" || e.Object.Name != "basicauth" || !maps.Equal(e.Detail, map[string]string{
			"changed": "block, paths, users, warn", "paths_added": `["/rest/*"]`, "users_added": `["robot"]`,
		}) {
			t.Errorf("%+v", e)
		}
		w.block(t, func(b *policy.Basic) { b.Users, b.Warn = []string{"deploy", "a, b"}, false })
		if e := w.store.events[2]; !maps.Equal(e.Detail, map[string]string{
			"changed": "users, warn", "users_added": `["deploy","a, b"]`, "users_removed": `["robot"]`,
		}) {
			t.Errorf("%+v", e)
		}
	})
	t.Run("that_changes_nothing_is_none", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		same := func(is policy.SSO) (policy.SSO, error) { return is, nil }
		if is, err := w.ChangeSSO(t.Context(), w.admin, same); err != nil || is.Version != 0 || len(w.store.events) != 0 {
			t.Errorf("%+v, %v", is, err)
		}
		w.block(t, func(b *policy.Basic) { b.Block = true })
		if is := w.block(t, func(*policy.Basic) {}); is.Version != 1 || len(w.store.events) != 1 {
			t.Errorf("%+v", is)
		}
	})
	t.Run("of_a_copy_that_is_given_up_leaves_no_trace", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.block(t, func(b *policy.Basic) { b.Users = []string{"robot"} })
		no := errors.New("no")
		_, err := w.ChangeBasic(t.Context(), w.admin, func(b policy.Basic) (policy.Basic, error) { b.Users[0] = "*"; return b, no })
		if !errors.Is(err, no) || w.store.basic.Users[0] != "robot" || len(w.store.events) != 1 {
			t.Errorf("%v, %+v", err, w.store.basic)
		}
		_, _ = w.ChangeSSO(t.Context(), w.admin, func(is policy.SSO) (policy.SSO, error) { is.Extra = map[string]string{"a": "b"}; return is, nil })
		_, err = w.ChangeSSO(t.Context(), w.admin, func(is policy.SSO) (policy.SSO, error) { is.Extra["a"] = "c"; return is, no })
		if !errors.Is(err, no) || w.store.sso.Extra["a"] != "b" {
			t.Errorf("%v, %+v", err, w.store.sso)
		}
	})
	t.Run("of_the_page_is_decided_anew_when_another_was_faster", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.store.faster = 4
		if is, err := w.ChangeSSO(t.Context(), w.admin, hide); err != nil || is.Version != 5 || len(w.store.events) != 1 {
			t.Errorf("%+v, %v", is, err)
		}
		w.store.sso, w.store.faster = policy.SSO{}, 5
		if _, err := w.ChangeSSO(t.Context(), w.admin, hide); !errors.Is(err, policy.ErrOvertaken) {
			t.Error(err)
		}
	})
	t.Run("of_Basic_is_refused_when_another_was_faster", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.store.faster = 1
		_, err := w.ChangeBasic(t.Context(), w.admin, func(b policy.Basic) (policy.Basic, error) { b.Block = true; return b, nil })
		if !errors.Is(err, policy.ErrOvertaken) || !fault.Is(err, fault.Conflict) || len(w.store.events) != 0 {
			t.Error(err)
		}
	})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	many := func(n int) []string { return strings.Split(strings.Repeat("a,", n-1)+"a", ",") }
	for name, c := range map[string]struct {
		paths, users []string
		fields       []string
	}{
		"as_much_as_is_allowed":        {many(100), []string{strings.Repeat("ü", 127) + "x"}, nil},
		"too_many_paths":               {many(101), nil, []string{"paths: at most 100 patterns are allowed"}},
		"too_many_users":               {nil, many(101), []string{"users: at most 100 patterns are allowed"}},
		"a_pattern_that_is_too_long":   {[]string{"a", strings.Repeat("a", 256)}, nil, []string{"paths: pattern 2 is longer than 255 bytes"}},
		"an_empty_pattern":             {nil, []string{""}, []string{"users: pattern 1 is empty"}},
		"a_control_character":          {[]string{"/a\x7f"}, nil, []string{"paths: pattern 1 holds control characters"}},
		"a_newline":                    {nil, []string{"a\nb"}, []string{"users: pattern 1 holds control characters"}},
		"what_is_no_text":              {nil, []string{"\xff"}, []string{"users: pattern 1 holds control characters"}},
		"what_would_become_a_star":     {nil, []string{"ok", "a＊"}, []string{"users: pattern 2 holds a character that looks like *"}},
		"such_a_path_is_taken":         {[]string{"/a＊"}, nil, nil},
		"both_and_every_field_is_told": {[]string{""}, []string{""}, []string{"paths: pattern 1 is empty", "users: pattern 1 is empty"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			_, err := w.ChangeBasic(t.Context(), w.admin, func(b policy.Basic) (policy.Basic, error) {
				b.Paths, b.Users = c.paths, c.users
				return b, nil
			})
			var got []string
			for _, f := range fault.FieldsOf(err) {
				got = append(got, f.Path+": "+f.Message)
			}
			if fault.Is(err, fault.Invalid) != (c.fields != nil) || !reflect.DeepEqual(got, c.fields) || err != nil && fault.Text(err) != c.fields[0] {
				t.Errorf("%v: %q", err, got)
			}
			if (w.store.basic.Version == 0) != (c.fields != nil) {
				t.Errorf("kept: %+v", w.store.basic)
			}
		})
	}
	for name, extra := range map[string]map[string]string{
		"an_extra_name_that_is_empty":   {"": "x"},
		"an_extra_value_of_other_bytes": {"a": "\xff"},
		"an_extra_value_that_is_long":   {"a": strings.Repeat("x", 4097)},
		"too_many_extras":               numbered(21),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			_, err := w.ChangeSSO(t.Context(), w.admin, func(is policy.SSO) (policy.SSO, error) { is.Extra = extra; return is, nil })
			if f := fault.FieldsOf(err); !fault.Is(err, fault.Invalid) || len(f) != 1 || f[0].Path != "extra" {
				t.Error(err)
			}
		})
	}
}

func numbered(n int) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[fmt.Sprint(i)] = ""
	}
	return all
}

func TestRights(t *testing.T) {
	t.Parallel()
	w := newWorld()
	keep := func(b policy.Basic) (policy.Basic, error) { b.Block = true; return b, nil }
	verbs := map[string]func(by access.Caller) error{
		"sso.read":         func(by access.Caller) error { _, err := w.ReadSSO(t.Context(), by); return err },
		"sso.update":       func(by access.Caller) error { _, err := w.ChangeSSO(t.Context(), by, hide); return err },
		"basicauth.read":   func(by access.Caller) error { _, err := w.ReadBasic(t.Context(), by); return err },
		"basicauth.update": func(by access.Caller) error { _, err := w.ChangeBasic(t.Context(), by, keep); return err },
	}
	for action, verb := range verbs {
		if err := verb(w.user("dana", access.Licensed)); !fault.Is(err, fault.Denied) {
			t.Errorf("%s by anybody: %v", action, err)
		}
		narrow := w.admin
		narrow.Scopes = []access.Action{"project.*"}
		if err := verb(narrow); !fault.Is(err, fault.Denied) {
			t.Errorf("%s without a scope: %v", action, err)
		}
		if len(w.store.events) != 0 {
			t.Fatalf("%s was done", action)
		}
		narrow.Scopes = []access.Action{access.Action(action)}
		if err := verb(narrow); err != nil {
			t.Errorf("%s by an administrator: %v", action, err)
		}
		w.store.events = nil
	}
}

func TestStart_holds_until_somebody_changes_the_policy(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.Start = policy.Basic{Block: true}
	if is, err := w.Basic(t.Context()); err != nil || !is.Block || is.Version != 0 {
		t.Errorf("%+v, %v", is, err)
	}
	if is, err := w.ReadBasic(t.Context(), w.admin); err != nil || !is.Block || !is.Updated.IsZero() {
		t.Errorf("%+v, %v", is, err)
	}
	if is := w.block(t, func(b *policy.Basic) { b.Warn = true }); !is.Block || !is.Warn {
		t.Errorf("a change does not begin at the start value: %+v", is)
	}
	w.block(t, func(b *policy.Basic) { b.Block = false })
	if is, err := w.Basic(t.Context()); err != nil || is.Block {
		t.Errorf("%+v, %v", is, err)
	}

	w = newWorld()
	w.Start = policy.Basic{Block: true}
	w.block(t, func(*policy.Basic) {})
	w.Start = policy.Basic{}
	if is, err := w.Basic(t.Context()); err != nil || !is.Block || is.Version != 1 || w.store.events[0].Detail["changed"] != "nothing; the setting no longer counts" {
		t.Errorf("what somebody confirmed does not stay: %+v, %v", is, err)
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	t.Run("answers_for_two_seconds", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		for range 3 {
			_, _ = w.SSO(t.Context())
			_, _ = w.Basic(t.Context())
		}
		if w.store.reads != 2 {
			t.Errorf("%d reads", w.store.reads)
		}
		w.store.sso.HideForm, w.store.basic = true, policy.Basic{Block: true, Version: 1} // by another node
		w.now = w.now.Add(2*time.Second - 1)
		if is, _ := w.SSO(t.Context()); is.HideForm {
			t.Error("read too early")
		}
		w.now = w.now.Add(1)
		sso, _ := w.SSO(t.Context())
		if basic, _ := w.Basic(t.Context()); !sso.HideForm || !basic.Block {
			t.Errorf("%+v, %+v", sso, basic)
		}
	})
	t.Run("is_dropped_by_Forget", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, _ = w.SSO(t.Context())
		_, _ = w.Basic(t.Context())
		w.store.sso.HideForm, w.store.basic = true, policy.Basic{Block: true, Version: 1}
		w.Forget()
		sso, _ := w.SSO(t.Context())
		if basic, _ := w.Basic(t.Context()); !sso.HideForm || !basic.Block {
			t.Errorf("%+v, %+v", sso, basic)
		}
	})
	t.Run("is_dropped_by_changes_of_this_node", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, _ = w.SSO(t.Context())
		_, _ = w.Basic(t.Context())
		_, _ = w.ChangeSSO(t.Context(), w.admin, hide)
		w.block(t, func(b *policy.Basic) { b.Block = true })
		sso, _ := w.SSO(t.Context())
		if basic, _ := w.Basic(t.Context()); !sso.HideForm || !basic.Block {
			t.Errorf("%+v, %+v", sso, basic)
		}
	})
	t.Run("does_not_keep_what_was_read_before_a_notice", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.store.onRead = func() { // the change comes between reading and remembering
			w.store.sso.HideForm, w.store.onRead = true, nil
			w.Forget()
		}
		_, _ = w.SSO(t.Context())
		if is, _ := w.SSO(t.Context()); !is.HideForm {
			t.Error("the old policy was remembered")
		}
	})
	t.Run("never_stands_in_for_a_store_that_is_away", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, _ = w.Basic(t.Context())
		w.store.err, w.now = errors.New("away"), w.now.Add(2*time.Second)
		if _, err := w.Basic(t.Context()); err == nil {
			t.Error("Basic is judged without its policy")
		}
		if _, err := w.SSO(t.Context()); err == nil {
			t.Error("the page is made without its policy")
		}
	})
	t.Run("is_not_asked_by_who_administers", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, _ = w.SSO(t.Context())
		w.store.sso.HideForm = true
		if is, err := w.ReadSSO(t.Context(), w.admin); err != nil || !is.HideForm {
			t.Errorf("%+v, %v", is, err)
		}
	})
}
