package storetest_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

// What a provider names ends, in whatever state it is, and nothing else does.
func TestSessions_end_by_the_word_of_a_provider(t *testing.T) {
	t.Parallel()
	there, elsewhere := session.AtProvider("there"), session.AtProvider("elsewhere")
	const everything = "dana:there dana:elsewhere dana:unnamed ana:there other:there password talk:dana:there talk:dana:unnamed talk:ana:there flow:dana:there flow:eve:elsewhere flow:open"
	for _, c := range []struct {
		what string
		v    func(corp, dana string) session.Vouched
		ends string
	}{
		{"a session", func(corp, _ string) session.Vouched { return session.Vouched{Provider: corp, Session: there} }, "dana:there ana:there talk:dana:there talk:ana:there flow:dana:there"},
		{"all of somebody", func(corp, dana string) session.Vouched {
			return session.Vouched{Provider: corp, User: dana, Subject: "dana"}
		}, "dana:there dana:elsewhere dana:unnamed talk:dana:there talk:dana:unnamed flow:dana:there"},
		{"a session of somebody, and those that have no name", func(corp, dana string) session.Vouched {
			return session.Vouched{Provider: corp, User: dana, Subject: "dana", Session: elsewhere}
		}, "dana:elsewhere dana:unnamed talk:dana:unnamed"},
		{"all of somebody who is no user", func(corp, _ string) session.Vouched { return session.Vouched{Provider: corp, Subject: "eve"} }, "flow:eve:elsewhere"},
		{"a session of somebody who is no user", func(corp, _ string) session.Vouched {
			return session.Vouched{Provider: corp, Subject: "eve", Session: there}
		}, ""},
		{"a session that is not known", func(corp, _ string) session.Vouched {
			return session.Vouched{Provider: corp, Session: session.AtProvider("x")}
		}, ""},
		{"nothing", func(corp, _ string) session.Vouched { return session.Vouched{Provider: corp} }, ""},
		{"what another provider names", func(string, string) session.Vouched { return session.Vouched{Provider: "nobody", Session: there} }, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				h := furnish(t, db)
				if got := h.living(t); got != everything {
					t.Fatalf("there are %s", got)
				}
				want, before := strings.Fields(c.ends), storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`)
				n, err := store.Sessions{DB: db}.EndVouched(t.Context(), c.v(h.corp, h.dana), start.Add(time.Minute), evicted)
				must(t, err)
				var kept []string
				ended := 0
				for _, one := range strings.Fields(everything) {
					if !slices.Contains(want, one) {
						kept = append(kept, one)
					} else if !strings.HasPrefix(one, "talk") && !strings.HasPrefix(one, "flow") {
						ended++
					}
				}
				if got := h.living(t); got != strings.Join(kept, " ") || n != ended {
					t.Errorf("%d ended; there are %s, want %s", n, got, strings.Join(kept, " "))
				}
				if told := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`) - before; told != int64(ended) {
					t.Errorf("%d events of %d", told, ended)
				}
				if n, err := (store.Sessions{DB: db}).EndVouched(t.Context(), c.v(h.corp, h.dana), start.Add(time.Minute), evicted); n != 0 || err != nil {
					t.Errorf("%d more ended, %v", n, err)
				}
			})
		})
	}
}

// rule F12: a node that remembers a session hears that it ended.
func TestSessions_end_by_the_word_of_a_provider_and_all_nodes_hear(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := furnish(t, db)
		ctx, stop := context.WithCancel(t.Context())
		heard, ready, ended := make(chan string, 9), make(chan struct{}, 9), make(chan error, 1)
		go func() {
			ended <- db.Listen(ctx, func(p string) { heard <- p }, func() { ready <- struct{}{} })
		}()
		t.Cleanup(func() { stop(); <-ended })
		<-ready
		_, err := store.Sessions{DB: db}.EndVouched(t.Context(), session.Vouched{Provider: h.corp, User: h.dana, Session: session.AtProvider("there")}, start, evicted)
		must(t, err)
		want := []string{"session " + h.sessions["dana:there"], "session " + h.sessions["dana:unnamed"]}
		for range 2 {
			select {
			case p := <-heard:
				if !slices.Contains(want, p) {
					t.Errorf("heard %q", p)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("heard nothing")
			}
		}
	})
}

// inhabited is a store with sessions, and sign-ins that are not finished, by their names.
type inhabited struct {
	db       *store.DB
	corp     string
	dana     string
	sessions map[string]string
	talks    map[string]factor.Key
	factors  store.Factors
}

func furnish(t *testing.T, db *store.DB) inhabited {
	t.Helper()
	seal, ctx := sealer(t), t.Context()
	providers := store.Providers{DB: db, Sealer: seal}
	corp, other := addProvider(t, providers, "corp"), addProvider(t, providers, "other")
	dana, ana := addUser(t, db, "dana"), addUser(t, db, "ana")
	h := inhabited{db: db, corp: corp.ID, dana: dana.ID, sessions: map[string]string{}, talks: map[string]factor.Key{}, factors: store.Factors{DB: db, Sealer: seal}}
	for _, l := range []identity.Link{{Provider: corp.ID, Subject: "dana", User: dana.ID}, {Provider: other.ID, Subject: "dana", User: dana.ID}, {Provider: corp.ID, Subject: "ana", User: ana.ID}} {
		l.Created = start
		must(t, providers.InsertLink(ctx, l, event()))
	}
	for name, in := range map[string]struct{ user, provider, sid string }{
		"dana:there": {dana.ID, corp.ID, "there"}, "dana:elsewhere": {dana.ID, corp.ID, "elsewhere"}, "dana:unnamed": {dana.ID, corp.ID, ""},
		"ana:there": {ana.ID, corp.ID, "there"}, "other:there": {dana.ID, other.ID, "there"}, "password": {dana.ID, "", ""},
	} {
		x := sessionOf("user", in.user)
		x.Provider, x.ProviderSession = in.provider, session.AtProvider(in.sid)
		if in.sid == "elsewhere" {
			x.State = session.Pending
		}
		h.sessions[name] = begin(t, db, x, 99).ID
	}
	for name, in := range map[string]struct{ user, sid string }{"talk:dana:there": {dana.ID, "there"}, "talk:dana:unnamed": {dana.ID, ""}, "talk:ana:there": {ana.ID, "there"}} {
		c := talkOf(in.user, factor.SignIn)
		c.Provider, c.ProviderSession = corp.ID, session.AtProvider(in.sid)
		must(t, h.factors.Open(ctx, c))
		h.talks[name] = keyOf(c)
	}
	flows := store.Flows{DB: db, Sealer: seal}
	for name, v := range map[string]identity.Visitor{
		"flow:dana:there": {Subject: "dana", Session: "there"}, "flow:eve:elsewhere": {Subject: "eve", Session: "elsewhere"}, "flow:open": {},
	} {
		f := flowOf(corp, name)
		must(t, flows.Insert(ctx, f))
		if v.Subject != "" {
			f.Visitor, f.Finish = v, secret.New("finish of "+name)
			must(t, flows.Answered(ctx, f, start))
		}
	}
	return h
}

// living names what is left, in the order in which the names are written.
func (h inhabited) living(t *testing.T) string {
	t.Helper()
	var all []string
	for _, name := range []string{"dana:there", "dana:elsewhere", "dana:unnamed", "ana:there", "other:there", "password"} {
		if x, err := (store.Sessions{DB: h.db}).ByID(t.Context(), h.sessions[name]); err != nil || x.Ended.IsZero() {
			all = append(all, name)
		}
	}
	for _, name := range []string{"talk:dana:there", "talk:dana:unnamed", "talk:ana:there"} {
		if _, err := h.factors.Find(t.Context(), h.talks[name]); err == nil {
			all = append(all, name)
		}
	}
	flows := store.Flows{DB: h.db, Sealer: h.factors.Sealer}
	for _, name := range []string{"flow:dana:there", "flow:eve:elsewhere"} {
		if h.waits(t, "finish of "+name) {
			all = append(all, name)
		}
	}
	if _, err := flows.ByState(t.Context(), "state flow:open", start); err == nil {
		all = append(all, "flow:open")
	}
	return strings.Join(all, " ")
}

// waits looks whether a flow waits under that, which to take it would end.
func (h inhabited) waits(t *testing.T, finish string) bool {
	t.Helper()
	digest := secret.Digest(finish)
	err := h.db.Read(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := store.One(ctx, tx, store.Value[string], `SELECT id FROM login_flows WHERE finish = $1`, digest[:])
		return err
	})
	if err != nil && !store.Absent(err) {
		t.Fatal(err)
	}
	return err == nil
}
