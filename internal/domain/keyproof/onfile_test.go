package keyproof_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// filed is a store of one key on file and its proof.
type filed struct {
	mu     sync.Mutex
	key    sshkey.Registered
	proof  *keyproof.Session
	events []audit.Event
}

// keys is the same store as the room of keys sees it.
type keys struct {
	sshkey.Store
	f *filed
}

func (k keys) ByID(_ context.Context, id string, _ time.Time) (sshkey.Registered, error) {
	k.f.mu.Lock()
	defer k.f.mu.Unlock()
	if id != k.f.key.ID {
		return sshkey.Registered{}, sshkey.ErrUnknown
	}
	return k.f.key, nil
}

func (f *filed) Put(_ context.Context, s keyproof.Session, e audit.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.proof, f.events = &s, append(f.events, e)
	return nil
}

func (f *filed) ByIdentifier(_ context.Context, identifier string) (keyproof.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.proof == nil || f.proof.Identifier != identifier {
		return keyproof.State{}, fault.New(fault.NotFound, "no row")
	}
	return keyproof.State{Session: *f.proof}, nil
}

func (f *filed) Change(_ context.Context, id string, decide func(keyproof.State) (keyproof.Change, error)) (keyproof.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.proof == nil || f.proof.ID != id {
		return keyproof.Session{}, fault.New(fault.NotFound, "no row")
	}
	c, err := decide(keyproof.State{Session: *f.proof})
	if err != nil {
		return keyproof.Session{}, err
	}
	if c.Session != nil {
		f.proof = c.Session
	}
	if !c.Proven.IsZero() {
		f.key.State, f.key.Proven = sshkey.Active, c.Proven
	}
	f.events = append(f.events, c.Events...)
	return *f.proof, nil
}

func (f *filed) Purge(context.Context, time.Time) error { return nil }

// noRoles is a store of roles for people who hold none, and eve, who administers a project.
type noRoles struct{ access.Store }

func (noRoles) BindingsOf(_ context.Context, of access.Subject) ([]access.Binding, error) {
	if of.ID != "eve" {
		return nil, nil
	}
	return []access.Binding{{Role: access.ProjectAdmin, Resource: access.Project("ops")}, {Role: access.Admin, Resource: access.Installation}}, nil
}

// onFile is a world with a key of dana on file that waits for its proof.
func onFile(t tester, holder person) (*world, *filed) {
	w := newWorld(t)
	f := &filed{key: sshkey.Registered{ID: "k1", Key: holder.key, Role: sshkey.UserKey, User: "dana", UserName: "dana", Label: "laptop", State: sshkey.Waiting}}
	rights := &access.Service{Store: noRoles{}, Now: w.clock.Now}
	w.service.Access = rights
	w.service.Keys = &sshkey.Service{Store: keys{f: f}, Access: rights, Now: w.clock.Now}
	w.service.OnFile, w.service.OnFileTime = f, 15*time.Minute
	return w, f
}

func personal(id string, scopes ...access.Action) access.Caller {
	return access.Caller{Principal: access.Principal{Kind: access.User, ID: id, Name: id}, Scopes: scopes}
}

func TestProveRegistered(t *testing.T) {
	t.Parallel()
	holder, stranger := people(2)[0], people(2)[1]
	begin := func(t *testing.T, w *world) keyproof.Detail {
		t.Helper()
		d, err := w.service.ProveRegistered(t.Context(), personal("dana", "*"), "k1")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	t.Run("is one login with that key, and a yes", func(t *testing.T) { // rule S1
		t.Parallel()
		w, f := onFile(t, holder)
		d := begin(t, w)
		if !d.MustConfirm || !strings.Contains(*d.Message, "user dana") {
			t.Errorf("%+v", d.Options)
		}
		c := w.dial(d)
		if c.offers(stranger) || !c.offers(holder) || c.signs(holder) {
			t.Error("another key is wanted")
		}
		if f.key.State != sshkey.Waiting {
			t.Error("proven before the yes")
		}
		w.clock.pass(time.Second)
		r := c.ends(keyproof.Finished)
		if r.Verdict != keyproof.Proven || f.key.State != sshkey.Active || !f.key.Proven.Equal(start.Add(time.Second)) || len(r.Keys) != 1 || r.Keys[0].Name != "laptop" {
			t.Errorf("%+v, %+v", r, f.key)
		}
		var actions []string
		for _, e := range f.events {
			actions = append(actions, e.Action+" "+e.Object.ID)
		}
		if !slices.Equal(actions, []string{"keyproof.create k1", "keyproof.attempt k1", "sshkey.prove k1"}) {
			t.Error(actions)
		}
		if _, err := w.service.Begin(t.Context(), d.Identifier, peer()); !errors.Is(err, keyproof.ErrNotValid) {
			t.Error("it may be used again:", err)
		}
		if _, err := w.service.ProveRegistered(t.Context(), personal("dana", "*"), "k1"); !errors.Is(err, keyproof.ErrProven) {
			t.Error(err)
		}
	})
	t.Run("is nothing less", func(t *testing.T) {
		t.Parallel()
		for name, attempt := range map[string]func(*world, *connection) keyproof.Verdict{
			"offered alone": func(_ *world, c *connection) keyproof.Verdict {
				c.offers(holder)
				return c.ends(keyproof.Finished).Verdict
			},
			"another key": func(_ *world, c *connection) keyproof.Verdict {
				c.offers(stranger)
				c.signs(stranger)
				return c.ends(keyproof.Finished).Verdict
			},
			"a no": func(_ *world, c *connection) keyproof.Verdict {
				c.authenticates(holder)
				return c.ends(keyproof.Declined).Verdict
			},
			"no answer": func(_ *world, c *connection) keyproof.Verdict {
				c.authenticates(holder)
				return c.ends(keyproof.NoAnswer).Verdict
			},
			"too late": func(w *world, c *connection) keyproof.Verdict { // rule W11
				c.authenticates(holder)
				w.clock.pass(15 * time.Minute)
				return c.ends(keyproof.Finished).Verdict
			},
			"begun anew": func(w *world, c *connection) keyproof.Verdict {
				c.authenticates(holder)
				begin(t, w)
				return c.ends(keyproof.Finished).Verdict
			},
		} {
			w, f := onFile(t, holder)
			if verdict := attempt(w, w.dial(begin(t, w))); verdict == keyproof.Proven || f.key.State != sshkey.Waiting || !f.key.Unproven() {
				t.Errorf("%s: %s, %+v", name, verdict, f.key)
			}
		}
	})
	t.Run("is not a session that a project made with the same key", func(t *testing.T) {
		t.Parallel()
		w, f := onFile(t, holder)
		d := w.verify(keyproof.Options{}, holder)
		if r := w.connect(d, keyproof.Finished, holder); r.Verdict != keyproof.Proven || f.key.State != sshkey.Waiting || !f.key.Unproven() {
			t.Errorf("%+v, %+v", r, f.key)
		}
	})
	t.Run("is begun by the owner alone", func(t *testing.T) {
		t.Parallel()
		w, f := onFile(t, holder)
		for name, c := range map[string]struct {
			by   access.Caller
			want error
		}{
			"a stranger":       {personal("mallory", "*"), sshkey.ErrUnknown},
			"an administrator": {personal("eve", "*"), keyproof.ErrNotOwner},
			"a project's key":  {w.by, sshkey.ErrUnknown},
		} {
			if _, err := w.service.ProveRegistered(t.Context(), c.by, "k1"); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.service.ProveRegistered(t.Context(), personal("dana", access.SSHKeyRead), "k1"); !fault.Is(err, fault.Denied) {
			t.Error("by HTTP token:", err)
		}
		f.key.Role, f.key.User, f.key.Grants = sshkey.AccessKey, "", []sshkey.Grant{{Place: access.Repo("ops", "infra"), Permission: sshkey.Read}}
		if _, err := w.service.ProveRegistered(t.Context(), personal("dana", "*"), "k1"); !errors.Is(err, sshkey.ErrUnknown) {
			t.Error(err)
		}
		if d, err := w.service.ProveRegistered(t.Context(), personal("eve", "*"), "k1"); err != nil || w.connect(d, keyproof.Finished, holder).Verdict != keyproof.Proven || f.key.State != sshkey.Active {
			t.Errorf("%v, %+v", err, f.key)
		}
	})
	t.Run("is hidden from projects", func(t *testing.T) {
		t.Parallel()
		w, _ := onFile(t, holder)
		d := begin(t, w)
		p, err := w.service.List(t.Context(), w.by, mine, keyproof.Verify, keyproof.Query{})
		if err != nil || len(p.Items) != 0 {
			t.Errorf("%+v, %v", p, err)
		}
		if _, err := w.service.Session(t.Context(), w.by, mine, keyproof.Verify, d.ID); !errors.Is(err, keyproof.ErrNoSession) {
			t.Error(err)
		}
		if err := w.service.Delete(t.Context(), w.by, mine, keyproof.Verify, d.ID); !errors.Is(err, keyproof.ErrNoSession) {
			t.Error(err)
		}
	})
	t.Run("may fail ten times", func(t *testing.T) {
		t.Parallel()
		w, f := onFile(t, holder)
		d := begin(t, w)
		for i := range 10 {
			if r := w.connect(d, keyproof.Finished, stranger); r.Verdict != keyproof.NoMatch || r.Last != (i == 9) {
				t.Errorf("%d: %+v", i, r)
			}
		}
		if f.proof.Status != keyproof.Failed {
			t.Error(f.proof.Status)
		}
	})
}
