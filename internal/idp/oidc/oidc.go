// Package oidc sends people to OpenID Connect providers and reads what those say about them.
//
// There are no options where safety is concerned (rule F5): every flow has a state, a nonce and a PKCE verifier; ID tokens are signed
// by RS256, PS256 or ES256 with a key that the provider publishes now; the issuer is the one that an administrator typed. A flow runs
//
//	Depart  -> the browser goes to the provider and comes back with a code
//	Arrive  -> the code is exchanged, the ID token verified, userinfo asked where the token is silent
//
// A provider that signs somebody out says so by a logout token, which Logout verifies by the same rules.
//
// Who came is the token's issuer and subject (rule F12). The rest of the Visitor is the mapping's:
//
//   - Name is the provider's name expression, and empty where there is none. A claim that the expression wants and nobody sent refuses
//     the sign-in, and so does an e-mail address in it which the provider calls unverified.
//   - Email is the claim email. It is empty where the claim email_verified is false. EmailVerified is set only where that claim
//     is true: providers that leave it out let people type what they like, so nobody is linked by such an address.
//   - Where people are provisioned, Email and Display follow the expressions for that, and are empty where those find no value. An address
//     that an expression made counts as verified only if it is the verified one. Unmapped says what such an expression found no value for.
//   - Where people are provisioned, Groups are what the claim for them lists; a provider that leaves it out lists none.
//   - Session is the claim sid of the ID token.
//
// Every call goes through the given client, which is outbound's: an issuer is an address that somebody typed (rule W8). Answers
// are bounded in size and time, redirects are not followed, and no reason repeats what a provider wrote.
package oidc

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Federation speaks to all OpenID Connect providers. What it learns from discovery it keeps for an hour. It must not be copied.
type Federation struct {
	Client      *outbound.Client // obeys the policy for outward calls
	RedirectURI string           // <public URL>/oauth
	AllowHTTP   bool             // plain http, of loopback addresses alone
	Now         func() time.Time // time.Now when nil
	Timeout     time.Duration    // of each call; 10 s when zero

	mutex     sync.Mutex
	providers map[string]*provider // by id
}

var _ login.Federation = (*Federation)(nil)

// Depart gives the flow a state, a nonce and a verifier, and returns the authorization URL: the full one, and one for programs that add
// response_type, client_id, redirect_uri and state themselves. A provider that cannot be asked is a *login.Wrong.
func (f *Federation) Depart(ctx context.Context, p identity.Provider, flow *login.Flow) (login.Departure, error) {
	known, err := f.provider(p)
	if err != nil {
		return login.Departure{}, err
	}
	doc, err := known.discovered(ctx)
	if err != nil {
		return login.Departure{}, over(ctx, err)
	}
	begin(flow)
	full, partial, err := f.addresses(doc, p.Settings, flow)
	if err != nil {
		return login.Departure{}, err
	}
	return login.Departure{
		Provider: p, URL: full, Partial: partial, Flow: *flow, ClientID: p.Settings.OIDC.ClientID, RedirectURI: f.RedirectURI,
	}, nil
}

// begin gives a flow its secrets, 32 random bytes each.
func begin(flow *login.Flow) {
	random := func() secret.String { return secret.New(base64.RawURLEncoding.EncodeToString(secret.Bytes(32))) }
	flow.State, flow.Nonce, flow.Verifier = random(), random(), secret.New(oauth2.GenerateVerifier())
}

// addresses builds the authorization URL, with and without what a program adds itself.
func (f *Federation) addresses(doc document, settings identity.ProviderSettings, flow *login.Flow) (full, partial string, err error) {
	u, err := url.Parse(doc.Authorization)
	if err != nil {
		return "", "", wrong("the authorization endpoint is no URL")
	}
	q := u.Query()
	for _, added := range []string{"response_type", "client_id", "redirect_uri", "state"} {
		q.Del(added)
	}
	q.Set("scope", scope(settings))
	q.Set("nonce", flow.Nonce.Reveal())
	q.Set("code_challenge", oauth2.S256ChallengeFromVerifier(flow.Verifier.Reveal()))
	q.Set("code_challenge_method", "S256")
	u.RawQuery = q.Encode()
	partial = u.String()
	q.Set("response_type", "code")
	q.Set("client_id", settings.OIDC.ClientID)
	q.Set("redirect_uri", f.RedirectURI)
	q.Set("state", flow.State.Reveal())
	u.RawQuery = q.Encode()
	return u.String(), partial, nil
}

// scope is what is asked for, each once.
func scope(settings identity.ProviderSettings) string {
	scopes, more := []string{"openid", "email", "profile"}, settings.OIDC.Scopes
	if settings.JIT.Provision {
		more = slices.Concat(more, settings.JIT.Scopes)
	}
	for _, s := range more {
		if !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	return strings.Join(scopes, " ")
}

// StateOf returns the state that came back.
func (f *Federation) StateOf(back login.Return) string { return back.State }

func (f *Federation) now() time.Time {
	if f.Now == nil {
		return time.Now()
	}
	return f.Now()
}

func (f *Federation) timeout() time.Duration {
	if f.Timeout == 0 {
		return 10 * time.Second
	}
	return f.Timeout
}

func wrong(reason string) *login.Wrong { return &login.Wrong{Reason: reason} }

// over prefers the end of the caller's own request to what it made of a call: that is nobody's fault.
func over(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return err
}
