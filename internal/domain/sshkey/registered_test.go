package sshkey_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

var (
	infra, site = access.Repo("ops", "infra"), access.Repo("ops", "site")
	ops, web    = access.Project("ops"), access.Project("web")
)

// A key is on file once, in one role; what stands against it is told in the words of the wire.
func TestConflicts(t *testing.T) {
	t.Parallel()
	addUser := func(w *world, by access.Caller, user, text string) error {
		_, err := w.AddUserKey(t.Context(), by, user, sshkey.New{Text: text, Via: sshkey.Wire})
		return err
	}
	grant := func(w *world, by access.Caller, on access.Resource, text string, p sshkey.Permission) error {
		_, err := w.AddAccessKey(t.Context(), by, on, p, sshkey.New{Text: text, Via: sshkey.Wire})
		return err
	}
	for name, c := range map[string]struct {
		onFile, post func(w *world, text string) error
		want         string // "" is no conflict
	}{
		"a user's key, to an administrator": {
			func(w *world, text string) error { return addUser(w, w.admin, "dana", text) },
			func(w *world, text string) error {
				return grant(w, w.person("root", access.ProjectAdmin, ops), infra, text, sshkey.Read)
			},
			"This SSH key is already assigned to 'dana'.",
		},
		"a user's key, to somebody else": {
			func(w *world, text string) error { return addUser(w, w.admin, "dana", text) },
			func(w *world, text string) error {
				return grant(w, w.person("eve", access.ProjectAdmin, ops), infra, text, sshkey.Read)
			},
			"This SSH key is already assigned to another user.",
		},
		"one's own key": {
			func(w *world, text string) error { return addUser(w, w.admin, "dana", text) },
			func(w *world, text string) error {
				return grant(w, w.person("dana", access.ProjectAdmin, ops), infra, text, sshkey.Read)
			},
			"This SSH key is already assigned to 'dana'.",
		},
		"an access key": {
			func(w *world, text string) error {
				return grant(w, w.person("eve", access.ProjectAdmin, ops), infra, text, sshkey.Read)
			},
			func(w *world, text string) error { return addUser(w, w.admin, "dana", text) },
			"This SSH key is already used to access a repository or project.",
		},
		"the same user's": {
			func(w *world, text string) error { return addUser(w, w.admin, "dana", text) },
			func(w *world, text string) error { return addUser(w, w.admin, "dana", text+" other comment") },
			"This SSH key already exists.",
		},
		"another user's": {
			func(w *world, text string) error { return addUser(w, w.admin, "dana", text) },
			func(w *world, text string) error { return addUser(w, w.admin, "eve", text) },
			"This SSH key already exists.",
		},
		"the same repository": {
			func(w *world, text string) error {
				return grant(w, w.person("eve", access.ProjectAdmin, ops), infra, text, sshkey.Read)
			},
			func(w *world, text string) error {
				return grant(w, w.person("eve", access.ProjectAdmin, ops), infra, text, sshkey.Write)
			},
			"SSH key already provides access to this repository",
		},
		"the same project": {
			func(w *world, text string) error {
				return grant(w, w.person("eve", access.ProjectAdmin, ops), ops, text, sshkey.Read)
			},
			func(w *world, text string) error {
				return grant(w, w.person("eve", access.ProjectAdmin, ops), ops, text, sshkey.Read)
			},
			"SSH key already provides access to this project",
		},
		"a repository of its project": {
			func(w *world, text string) error {
				return grant(w, w.person("eve", access.ProjectAdmin, ops), ops, text, sshkey.Read)
			},
			func(w *world, text string) error {
				return grant(w, w.person("eve", access.ProjectAdmin, ops), infra, text, sshkey.Read)
			},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, text := newWorld(t), line(t, "")
			w.must(c.onFile(w, text))
			err := c.post(w, text)
			if c.want == "" && err != nil || c.want != "" && (!fault.Is(err, fault.Conflict) || fault.Text(err) != c.want) {
				t.Errorf("%v", err)
			}
			// The other one gets there between look and write: the answer is the same.
			w = newWorld(t)
			w.store.before = func() { w.must(c.onFile(w, text)) }
			if late := c.post(w, text); fault.Text(late) != fault.Text(err) {
				t.Errorf("late: %v, want %v", late, err)
			}
		})
	}
	t.Run("none once it has expired, at the very moment", func(t *testing.T) { // rule W11
		t.Parallel()
		w, text, days := newWorld(t), line(t, ""), 1
		_, err := w.AddUserKey(t.Context(), w.admin, "dana", sshkey.New{Text: text, ExpiryDays: &days, Via: sshkey.Wire})
		w.must(err)
		w.now = w.now.Add(24*time.Hour - 1)
		w.admin.At = w.now
		if err := addUser(w, w.admin, "eve", text); !errors.Is(err, sshkey.ErrOnFile) {
			t.Error(err)
		}
		w.now = w.now.Add(1)
		w.must(addUser(w, w.admin, "eve", text))
	})
}

func TestAddAccessKey_in_another_place(t *testing.T) {
	t.Parallel()
	w, text := newWorld(t), line(t, "deploy")
	eve := w.person("eve", access.ProjectAdmin, ops)
	days := 30
	first, err := w.AddAccessKey(t.Context(), eve, infra, "", sshkey.New{Text: text, ExpiryDays: &days, Via: sshkey.Wire})
	w.must(err)
	second, err := w.AddAccessKey(t.Context(), eve, site, sshkey.Write, sshkey.New{Text: text, Label: "other", Via: sshkey.Console})
	w.must(err)
	if first.Key.ID != second.Key.ID || first.Key.Number != second.Key.Number || second.Key.Label != "deploy" || second.Key.ExpiryDays != 30 || second.Key.State != sshkey.Active {
		t.Errorf("%+v", second)
	}
	if first.Grant.Permission != sshkey.Read || second.Grant.Permission != sshkey.Write || len(second.Key.Grants) != 2 {
		t.Errorf("%+v, %+v", first.Grant, second.Grant)
	}
	got, err := w.AccessAt(t.Context(), eve, infra, first.Key.Number)
	if err != nil || got.Grant.Permission != sshkey.Read {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = w.SetPermission(t.Context(), eve, infra, first.Key.Number, sshkey.Write); err != nil || got.Grant.Permission != sshkey.Write {
		t.Errorf("%+v, %v", got, err)
	}
	w.must(w.RemoveAccess(t.Context(), eve, infra, first.Key.Number))
	w.must(w.RemoveAccess(t.Context(), eve, infra, first.Key.Number)) // is no error
	w.must(w.RemoveAccess(t.Context(), eve, site, 4711))
	if _, err := w.AccessAt(t.Context(), eve, site, first.Key.Number); err != nil {
		t.Error(err)
	}
	w.must(w.RemoveAccess(t.Context(), eve, site, first.Key.Number))
	if len(w.store.keys) != 0 {
		t.Error("the key outlives its last place")
	}
}

// Faults come one at a time, in the order permission, text, label, expiry, conflict; rights come before all of them.
func TestAdd_faults_in_order(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	eve, bad, taken, many := w.person("eve", access.ProjectAdmin, ops), 0, line(t, ""), strings.Repeat("x", 256)
	w.must(secondOf(w.AddAccessKey(t.Context(), eve, infra, sshkey.Read, sshkey.New{Text: taken})))
	for _, c := range []struct {
		p           sshkey.Permission
		n           sshkey.New
		field, want string
	}{
		{"USER_ADMIN", sshkey.New{Text: "x", Label: many, ExpiryDays: &bad}, "permission", "Only read and write permissions can be granted to an access key."},
		{sshkey.Read, sshkey.New{Text: "ssh-rsa AAAAB3...", Label: many, ExpiryDays: &bad}, "text", "The SSH key is not valid."},
		{sshkey.Read, sshkey.New{Text: taken, Label: many, ExpiryDays: &bad}, "label", "The label must be at most 255 characters long."},
		{sshkey.Read, sshkey.New{Text: taken, Label: "a\nb", ExpiryDays: &bad}, "label", "The label contains characters that are not allowed."},
		{sshkey.Read, sshkey.New{Text: taken, Label: many[1:], ExpiryDays: &bad}, "expiryDays", "expiryDays must be positive."},
		{sshkey.Read, sshkey.New{Text: taken, Label: many[1:]}, "", "SSH key already provides access to this repository"},
	} {
		_, err := w.AddAccessKey(t.Context(), eve, infra, c.p, c.n)
		fields := fault.FieldsOf(err)
		if fault.Text(err) != c.want || (c.field == "") != (len(fields) == 0) || c.field != "" && (fields[0].Path != c.field || fields[0].Message != c.want) {
			t.Errorf("%s: %v, %v", c.field, err, fields)
		}
		if _, err := w.AddAccessKey(t.Context(), w.person("mallory", "", infra), infra, c.p, c.n); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", c.field, err)
		}
	}
	w.AccessKeys = false
	if _, err := w.AddAccessKey(t.Context(), eve, infra, "USER_ADMIN", sshkey.New{}); !errors.Is(err, sshkey.ErrAccessKeysOff) {
		t.Error(err)
	}
}

func TestAdd_texts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	add := func(text, label string) (sshkey.Registered, error) {
		return w.AddUserKey(t.Context(), w.admin, "dana", sshkey.New{Text: text, Label: label})
	}
	good := line(t, "")
	for text, want := range map[string]string{
		"command=\"x\" " + line(t, ""):        "The SSH key is not valid.",
		line(t, "") + "\n" + line(t, ""):      "The SSH key is not valid.",
		"-----BEGIN OPENSSH PRIVATE KEY-----": "The SSH key is not valid.",
		"":                                    "The SSH key is not valid.",
		"ssh-dss AAAAB3NzaC1kc3M=":            "This key type or length is not allowed.",
		"ssh-ed25519-cert-v01@openssh.com " + strings.Fields(good)[1]:          "This key type or length is not allowed.",
		"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----": "The SSH key is not valid.",
	} {
		if _, err := add(text, ""); fault.Text(err) != want || !fault.Is(err, fault.Invalid) {
			t.Errorf("%.30q: %v", text, err)
		}
	}
	for _, c := range []struct{ comment, label, want string }{
		{"", "", ""},
		{"dana@laptop  at home", "", "dana@laptop  at home"},
		{"dana@laptop", " mine ", "mine"},
		{strings.Repeat("ü", 300), "", strings.Repeat("ü", 255)},
		{"a\u2028b", "", "a b"},
	} {
		r, err := add(line(t, c.comment), c.label)
		if err != nil || r.Label != c.want || r.Text() != strings.TrimSpace(r.Key.SSH()+" "+c.want) || strings.Contains(r.Text(), "\n") {
			t.Errorf("%q, %q: %q, %v", c.comment, c.label, r.Label, err)
		}
	}
	days := 1 << 31
	if r, err := w.AddUserKey(t.Context(), w.admin, "dana", sshkey.New{Text: line(t, ""), ExpiryDays: &days}); err != nil || r.ExpiryDays != days || r.Expires.Before(w.now.AddDate(900, 0, 0)) {
		t.Errorf("%v, %v", r.Expires, err)
	}
}

// Rules F14, W6 and W7: who adds and removes keys of whom.
func TestUserKeys_belong_to_their_user(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dana, eve := w.person("dana", "", ops), w.person("eve", access.ProjectAdmin, ops)
	w.person("chief", access.SysAdmin, access.Installation)
	stale, token := dana, dana
	stale.At = w.now.Add(-10 * time.Minute)
	elevated := stale
	elevated.Elevated = w.now.Add(time.Minute)
	token.Scopes = []access.Action{access.SSHKeyRead, access.RepoRead, access.SSHKeyGrant}
	add := func(by access.Caller, user string) error {
		return secondOf(w.AddUserKey(t.Context(), by, user, sshkey.New{Text: line(t, "")}))
	}
	w.must(add(dana, "dana"))
	w.must(add(elevated, "dana"))
	w.must(add(w.admin, "dana"))
	for name, err := range map[string]error{
		"another's":              add(eve, "dana"),
		"a higher one's":         add(w.admin, "chief"), // rule W7: a key of theirs acts as them
		"by HTTP token":          add(token, "dana"),
		"by nobody":              add(access.NobodyAt(netip.Addr{}, "bitbucket", w.now), "dana"),
		"another's file":         secondOf(w.Import(t.Context(), eve, "dana", line(t, ""), sshkey.Console)),
		"another's list":         secondOf(w.ListOf(t.Context(), eve, "dana", page.Of(0, 10))),
		"another's key":          secondOf(w.ByNumber(t.Context(), eve, 1)),
		"remove another's":       w.RemoveUserKey(t.Context(), eve, 1),
		"remove all of another":  w.RemoveAllOf(t.Context(), eve, "dana"),
		"remove by HTTP token":   w.RemoveUserKey(t.Context(), token, 1),
		"remove none by token":   w.RemoveUserKey(t.Context(), token, 4711),
		"remove all by token":    w.RemoveAllOf(t.Context(), token, "dana"),
		"what nobody has proved": secondOf(w.Unproven(t.Context(), dana, 0, page.Of(0, 10))),
	} {
		if !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := add(stale, "dana"); !errors.Is(err, access.ErrNotFresh) {
		t.Error(err)
	}
	if _, err := w.ByID(t.Context(), eve, "k1"); !errors.Is(err, sshkey.ErrUnknown) {
		t.Error("existence is told:", err)
	}
	if p, err := w.ListOf(t.Context(), token, "dana", page.Of(0, 10)); err != nil || p.Total != 3 {
		t.Error(p.Total, err)
	}
	if p, err := w.Unproven(t.Context(), w.admin, 0, page.Of(0, 10)); err != nil || p.Total != 3 {
		t.Error(p.Total, err)
	}
	w.must(w.RemoveUserKey(t.Context(), stale, 1)) // to remove needs no fresh proof
	w.must(w.RemoveUserKey(t.Context(), stale, 1))
	w.must(w.RemoveUserKey(t.Context(), w.admin, 2))
	w.must(w.RemoveAllOf(t.Context(), dana, "dana"))
	if len(w.store.keys) != 0 {
		t.Errorf("%d left", len(w.store.keys))
	}
	held, err := w.AddAccessKey(t.Context(), eve, infra, sshkey.Read, sshkey.New{Text: line(t, "")})
	w.must(err)
	w.must(w.RemoveUserKey(t.Context(), w.admin, held.Key.Number)) // an access key is none of it
	if _, err := w.ByNumber(t.Context(), w.admin, held.Key.Number); !errors.Is(err, sshkey.ErrUnknown) || len(w.store.keys) != 1 {
		t.Error(err)
	}
	for _, e := range w.store.events {
		if strings.HasPrefix(e.Action, "sshkey.") && (e.Detail["fingerprint"] == "" || e.Detail["unproven"] != "true") {
			t.Errorf("%+v", e)
		}
	}
}

func TestAccessKeys_are_administered_in_their_place(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	eve, carl := w.person("eve", access.ProjectAdmin, ops), w.person("carl", access.RepoAdmin, infra)
	w.person("carl", access.ProjectWriter, web)
	text := line(t, "Deploy")
	h, err := w.AddAccessKey(t.Context(), carl, infra, sshkey.Read, sshkey.New{Text: text})
	w.must(err)
	n := h.Key.Number
	w.must(secondOf(w.AddAccessKey(t.Context(), eve, site, sshkey.Read, sshkey.New{Text: text})))
	w.must(secondOf(w.AddAccessKey(t.Context(), eve, ops, sshkey.Write, sshkey.New{Text: text})))
	for name, err := range map[string]error{
		"add":        secondOf(w.AddAccessKey(t.Context(), carl, site, sshkey.Read, sshkey.New{Text: text})),
		"add writer": secondOf(w.AddAccessKey(t.Context(), carl, web, sshkey.Read, sshkey.New{Text: text})),
		"list":       secondOf(w.ListAt(t.Context(), carl, sshkey.At{Place: site})),
		"read":       secondOf(w.AccessAt(t.Context(), carl, site, n)),
		"change":     secondOf(w.SetPermission(t.Context(), carl, site, n, sshkey.Write)),
		"remove":     w.RemoveAccess(t.Context(), carl, site, n),
		"many":       w.RemoveFromMany(t.Context(), carl, n, []access.Resource{infra, site}),
	} {
		if !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	list := func(by access.Caller, at sshkey.At) string {
		at.Window = page.Of(0, 10)
		p, err := w.ListAt(t.Context(), by, at)
		w.must(err)
		var all []string
		for _, h := range p.Items {
			all = append(all, h.Grant.Place.ID+" "+string(h.Grant.Permission))
		}
		return strings.Join(all, ", ")
	}
	if got := list(carl, sshkey.At{Place: infra}); got != "infra read" {
		t.Error(got)
	}
	if got := list(carl, sshkey.At{Place: infra, Effective: true, Label: "dEP"}); got != "infra read, ops write" {
		t.Error(got)
	}
	if got := list(carl, sshkey.At{Place: infra, Effective: true, Least: sshkey.Write}); got != "ops write" {
		t.Error(got)
	}
	if err := secondOf(w.ListAt(t.Context(), carl, sshkey.At{Place: infra, Least: "USER"})); fault.FieldsOf(err)[0].Path != "permission" {
		t.Error(err)
	}
	if at, err := w.LocationsOf(t.Context(), carl, n); err != nil || len(at.Grants) != 1 || at.Grants[0].Place.ID != "infra" {
		t.Errorf("%v, %v", at, err)
	}
	if at, err := w.LocationsOf(t.Context(), eve, n); err != nil || len(at.Grants) != 3 {
		t.Errorf("%v, %v", at, err)
	}
	if _, err := w.LocationsOf(t.Context(), eve, 4711); !errors.Is(err, sshkey.ErrUnknown) {
		t.Error(err)
	}
	if r, err := w.ByID(t.Context(), carl, h.Key.ID); err != nil || len(r.Grants) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := w.ByID(t.Context(), w.person("mallory", "", ops), h.Key.ID); !errors.Is(err, sshkey.ErrUnknown) {
		t.Error(err)
	}
	if err := w.RemoveFromMany(t.Context(), eve, n, nil); !errors.Is(err, sshkey.ErrNoPlace) {
		t.Error(err)
	}
	w.must(w.RemoveFromMany(t.Context(), eve, 4711, []access.Resource{infra}))
	w.must(w.RemoveFromMany(t.Context(), eve, n, []access.Resource{infra, site}))
	if at, err := w.LocationsOf(t.Context(), eve, n); err != nil || len(at.Grants) != 1 || at.Grants[0].Place.Kind != access.ProjectKind {
		t.Errorf("%v, %v", at, err)
	}
}

func TestState_of_new_keys(t *testing.T) {
	t.Parallel()
	for require, want := range map[sshkey.RequireProof][2]sshkey.State{ // console, wire
		sshkey.ProofConsole: {sshkey.Waiting, sshkey.Active}, sshkey.ProofOff: {sshkey.Active, sshkey.Active}, sshkey.ProofAll: {sshkey.Waiting, sshkey.Waiting},
	} {
		w := newWorld(t)
		w.RequireProof = require
		eve := w.person("eve", access.ProjectAdmin, ops)
		for i, via := range []sshkey.Via{sshkey.Console, sshkey.Wire} {
			r, err := w.AddUserKey(t.Context(), w.admin, "dana", sshkey.New{Text: line(t, ""), Via: via})
			w.must(err)
			h, err := w.AddAccessKey(t.Context(), eve, infra, sshkey.Read, sshkey.New{Text: line(t, ""), Via: via})
			w.must(err)
			for _, r := range []sshkey.Registered{r, h.Key} {
				_, found := w.Find(t.Context(), r.Key)
				if r.State != want[i] || !r.Unproven() || (found == nil) != (r.State == sshkey.Active) {
					t.Errorf("%s via %s: %s, %v", require, via, r.State, found)
				}
			}
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*world, sshkey.Registered, sshkey.Registered) {
		w := newWorld(t)
		days := 1
		mine, err := w.AddUserKey(t.Context(), w.admin, "dana", sshkey.New{Text: line(t, ""), ExpiryDays: &days, Via: sshkey.Wire})
		w.must(err)
		deploy, err := w.AddAccessKey(t.Context(), w.person("eve", access.ProjectAdmin, ops), infra, sshkey.Read, sshkey.New{Text: line(t, ""), Via: sshkey.Wire})
		w.must(err)
		return w, mine, deploy.Key
	}
	refused := func(t *testing.T, w *world, key sshkey.Key, reason string) {
		t.Helper()
		_, err := w.Find(t.Context(), key)
		var refusal *sshkey.Refusal
		if !errors.Is(err, sshkey.ErrUnknown) || !errors.As(err, &refusal) || refusal.Reason != reason {
			t.Errorf("%v, want %s", err, reason)
		}
	}
	t.Run("finds keys in both roles, from memory too", func(t *testing.T) {
		t.Parallel()
		w, mine, deploy := setup(t)
		w.store.reads = 0
		for range 3 {
			for _, want := range []sshkey.Registered{mine, deploy} {
				if got, err := w.Find(t.Context(), want.Key); err != nil || got.ID != want.ID {
					t.Error(err)
				}
			}
		}
		if w.store.reads != 2 {
			t.Errorf("%d reads", w.store.reads)
		}
	})
	t.Run("reads the expiry at use, from memory too", func(t *testing.T) { // rule W11
		t.Parallel()
		w, mine, _ := setup(t)
		w.now = mine.Expires.Add(-1)
		if _, err := w.Find(t.Context(), mine.Key); err != nil {
			t.Error(err)
		}
		w.now = mine.Expires
		refused(t, w, mine.Key, "the key has expired")
		w.ForgetAll()
		refused(t, w, mine.Key, "there is no such key")
	})
	t.Run("refuses whose user is shut out, after the notice", func(t *testing.T) { // rule F12
		t.Parallel()
		w, mine, _ := setup(t)
		w.must(secondOf(w.Find(t.Context(), mine.Key)))
		w.store.shut["dana"] = true
		w.ForgetUser("dana")
		refused(t, w, mine.Key, "its user is disabled")
	})
	t.Run("refuses access keys while they are switched off", func(t *testing.T) {
		t.Parallel()
		w, mine, deploy := setup(t)
		w.must(secondOf(w.Find(t.Context(), deploy.Key)))
		w.AccessKeys = false
		refused(t, w, deploy.Key, "access keys are switched off")
		w.must(secondOf(w.Find(t.Context(), mine.Key)))
	})
	t.Run("forgets at once here, and elsewhere with the notice or in two seconds", func(t *testing.T) {
		t.Parallel()
		w, mine, deploy := setup(t)
		other := w.node()
		for _, key := range []sshkey.Key{mine.Key, deploy.Key} {
			w.must(secondOf(w.Find(t.Context(), key)))
			w.must(secondOf(other.Find(t.Context(), key)))
		}
		w.must(w.RemoveUserKey(t.Context(), w.admin, mine.Number))
		w.must(w.RemoveAccess(t.Context(), w.person("eve", "", ops), infra, deploy.Number))
		refused(t, w, mine.Key, "there is no such key")
		refused(t, w, deploy.Key, "there is no such key")
		w.must(secondOf(other.Find(t.Context(), mine.Key)))
		other.Forget(mine.ID)
		w.now = w.now.Add(2 * time.Second)
		for _, key := range []sshkey.Key{mine.Key, deploy.Key} {
			if _, err := other.Find(t.Context(), key); !errors.Is(err, sshkey.ErrUnknown) {
				t.Error(err)
			}
		}
	})
	t.Run("remembers no refusal", func(t *testing.T) {
		t.Parallel()
		w, mine, _ := setup(t)
		key := keyOf(t, line(t, ""))
		w.store.reads = 0
		refused(t, w, key, "there is no such key")
		refused(t, w, key, "there is no such key")
		w.store.shut["dana"] = true
		refused(t, w, mine.Key, "its user is disabled")
		w.store.shut["dana"] = false
		if _, err := w.Find(t.Context(), mine.Key); err != nil || w.store.reads != 4 {
			t.Error(err, w.store.reads)
		}
	})
	t.Run("believes no database that finds another key", func(t *testing.T) { // rule S12
		t.Parallel()
		w, mine, _ := setup(t)
		other := keyOf(t, line(t, ""))
		w.store.imposter = &other
		refused(t, w, mine.Key, "there is no such key")
	})
	t.Run("tells a store that is away from an unknown key", func(t *testing.T) {
		t.Parallel()
		w, mine, _ := setup(t)
		w.store.err = errors.New("away")
		if _, err := w.Find(t.Context(), mine.Key); !fault.Is(err, fault.Internal) {
			t.Error(err)
		}
	})
}

// Rule G1: a key opens its places, at the most that it was given there or on the project, and nothing else.
func TestPermissionAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	given := func(grants ...sshkey.Grant) sshkey.Registered {
		return sshkey.Registered{Role: sshkey.AccessKey, Grants: grants}
	}
	at := func(p access.Resource, perm sshkey.Permission) sshkey.Grant {
		return sshkey.Grant{Place: p, Permission: perm}
	}
	for name, c := range map[string]struct {
		key  sshkey.Registered
		want sshkey.Permission
	}{
		"nothing":                   {given(), ""},
		"another repository":        {given(at(site, sshkey.Write)), ""},
		"another project":           {given(at(web, sshkey.Write)), ""},
		"a project of the same id":  {given(at(access.Project("infra"), sshkey.Write)), ""},
		"read":                      {given(at(infra, sshkey.Read)), sshkey.Read},
		"write":                     {given(at(infra, sshkey.Write)), sshkey.Write},
		"by the project":            {given(at(ops, sshkey.Read)), sshkey.Read},
		"the project gives more":    {given(at(infra, sshkey.Read), at(ops, sshkey.Write)), sshkey.Write},
		"the repository gives more": {given(at(ops, sshkey.Read), at(infra, sshkey.Write)), sshkey.Write},
		"a user key":                {sshkey.Registered{Role: sshkey.UserKey, Grants: []sshkey.Grant{at(infra, sshkey.Write)}}, ""},
	} {
		if got, ok := w.PermissionAt(c.key, infra); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q", name, got)
		}
	}
	w.AccessKeys = false
	if got, ok := w.PermissionAt(given(at(infra, sshkey.Write)), infra); ok {
		t.Error(got)
	}
}

func TestSweep_and_uses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.now, w.UnprovenAfter = time.Now(), 48*time.Hour
		w.Now = time.Now
		day := 1
		w.admin.At = w.now
		short, err := w.AddUserKey(t.Context(), w.admin, "dana", sshkey.New{Text: line(t, ""), ExpiryDays: &day, Via: sshkey.Wire})
		w.must(err)
		long, err := w.AddUserKey(t.Context(), w.admin, "dana", sshkey.New{Text: line(t, ""), Via: sshkey.Wire})
		w.must(err)
		ctx, stop := context.WithCancel(t.Context())
		go w.Sweep(ctx)
		go w.Run(ctx)
		w.Used(long.ID, netip.MustParseAddr("192.0.2.7"), time.Now())
		time.Sleep(24*time.Hour + time.Minute)
		synctest.Wait()
		w.store.mu.Lock()
		if _, still := w.store.keys[short.ID]; still || w.store.keys[long.ID].State != sshkey.Active || len(w.store.uses) != 1 || w.store.uses[0].Address != "192.0.2.7" {
			t.Errorf("%+v, %+v", w.store.keys, w.store.uses)
		}
		w.store.mu.Unlock()
		time.Sleep(24 * time.Hour)
		stop()
		synctest.Wait()
		w.store.mu.Lock()
		defer w.store.mu.Unlock()
		var actions []string
		for _, e := range w.store.events {
			actions = append(actions, e.Action)
		}
		if w.store.keys[long.ID].State != sshkey.Disabled || !slices.Equal(actions, []string{"sshkey.add", "sshkey.add", "sshkey.expire", "sshkey.disable"}) {
			t.Error(w.store.keys[long.ID].State, actions)
		}
	})
}

// Who manages people shuts any key out at once; its owner has to prove it anew then, and nobody else can shut it out.
func TestDisable(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	dana := w.person("dana", "", access.Installation)
	mine, err := w.AddUserKey(ctx, dana, "dana", sshkey.New{Text: line(t, "mine"), Via: sshkey.Wire})
	w.must(err)
	mine.Proven = w.now
	w.store.keys[mine.ID] = mine
	if _, err := w.Find(ctx, mine.Key); err != nil {
		t.Fatal(err)
	}
	if err := w.Disable(ctx, dana, mine.ID); !fault.Is(err, fault.Denied) {
		t.Error(err)
	}
	w.must(w.Disable(ctx, w.admin, mine.ID))
	w.must(w.Disable(ctx, w.admin, mine.ID))
	if _, err := w.Find(ctx, mine.Key); !errors.Is(err, sshkey.ErrUnknown) || !strings.HasSuffix(err.Error(), "the key is disabled") {
		t.Error(err)
	}
	if got := w.store.keys[mine.ID]; !got.Unproven() || len(w.store.events) != 2 || w.store.events[1].Action != "sshkey.disable" {
		t.Errorf("%+v, %d events", got, len(w.store.events))
	}
	if err := w.Disable(ctx, w.admin, "nothing"); !errors.Is(err, sshkey.ErrUnknown) {
		t.Error(err)
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dana := w.person("dana", "", ops)
	known := line(t, "known")
	w.must(secondOf(w.AddUserKey(t.Context(), dana, "dana", sshkey.New{Text: known})))
	text := "\ufeff# my keys\r\n\r\n" + line(t, "laptop") + "\r\n" + "no-pty " + line(t, "") + "\n   \nssh-dss AAAAB3NzaC1kc3M=\n\t" + known + "\nrubbish\n" + line(t, "desk")
	outcomes, err := w.Import(t.Context(), dana, "dana", text, sshkey.Console)
	w.must(err)
	var got []string
	for _, o := range outcomes {
		result := fault.Text(o.Err)
		if o.Err == nil {
			result = o.Key.Label + " " + string(o.Key.State)
		}
		got = append(got, fmt.Sprint(o.Line, " ", result))
	}
	want := []string{
		"3 laptop waiting", "4 The SSH key is not valid.", "6 This key type or length is not allowed.", "7 This SSH key already exists.", "8 The SSH key is not valid.", "9 desk waiting",
	}
	if !slices.Equal(got, want) || len(w.store.keys) != 3 {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := w.Import(t.Context(), dana, "dana", strings.Repeat("x\n", 1001), sshkey.Console); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if _, err := w.Import(t.Context(), dana, "dana", strings.Repeat("#", 1<<20+1), sshkey.Console); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	w.store.err = errors.New("away")
	if outcomes, err := w.Import(t.Context(), dana, "dana", line(t, ""), sshkey.Console); err == nil || len(outcomes) != 0 {
		t.Error(outcomes, err)
	}
}

func secondOf[T any](_ T, err error) error { return err }
