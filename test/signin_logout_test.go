package test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// Whoever signs out at a provider is out here, on both nodes, by the word of a real provider to one of them (OpenID Connect Back-Channel Logout 1.0).
func TestProvider_ends_sessions_on_every_node(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	there := peers.OIDC(t, peers.OIDCOptions{
		Clients: []peers.OIDCClient{{ID: "acme", Secret: clientSecret, Logout: p.a.URL + "/oauth/logout/1"}}, Redirects: []string{pairURL + "/oauth"},
	})
	if number := addOIDC(t, p.a, there, "Acme", "acme", "--provision"); number != "1" {
		t.Fatalf("the provider has the number %s", number)
	}
	enter := func(name string) *gate.Visitor {
		v := p.b.Visitor(t)
		v.Get(landed(t, v.Get(arrive(t, v, there, "1", name))))
		if got := who(v); got != name {
			t.Fatalf("signed in as %q, want %s", got, name)
		}
		return v
	}
	early, anna, bert := enter("anna"), enter("anna"), enter("bert")
	there.SignOut(t, "anna") // in the browser of the later sign-in
	signedOut := time.Now()
	gate.Eventually(t, func() error {
		switch out := who(anna) == ""; {
		case !out && took(signedOut) > 2*time.Second:
			t.Fatal("the other node still lets anna in after 2 s") // rule W11
		case !out:
			return errors.New("anna is still in")
		}
		return nil
	})
	if who(early) != "anna" || who(bert) != "bert" {
		t.Errorf("signed in as %q and %q: other sessions at the provider ended too", who(early), who(bert))
	}
	if e := p.a.AwaitAudited(t, "session.end", "done", "the identity provider Acme signed them out"); e.Actor.Kind != "system" {
		t.Errorf("on record: %+v", e)
	}
	for _, token := range []string{"", "a.b.c"} {
		answer, err := http.PostForm(p.a.URL+"/oauth/logout/1", url.Values{"logout_token": {token}})
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusBadRequest || !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%d %v", answer.StatusCode, answer.Header)
		}
	}
	p.a.AwaitAudited(t, "login.logout_token", "refused", "the logout token is malformed")
}
