package oidc

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	codeLife  = 10 * time.Minute // for so long a code is remembered as used
	codeBytes = 4 << 10
)

// Arrive exchanges the code and says who came. Without a flow it does so only for a provider that allows codes of strangers' flows and
// has a client secret: then neither nonce nor verifier bind the code. Everything that is wrong is a *login.Wrong, a provider that cannot
// be reached too; once is returned beside one as soon as a code was looked at, because a code is tried once.
func (f *Federation) Arrive(ctx context.Context, p identity.Provider, flow *login.Flow, back login.Return) (v identity.Visitor, once []login.Once, err error) {
	known, err := f.provider(p)
	if err != nil {
		return v, nil, err
	}
	if back.Refused != "" {
		return v, nil, wrong("the provider refused" + word(back.Refused, authorizationErrors))
	}
	if back.Code == "" || len(back.Code) > codeBytes {
		return v, nil, wrong("no code came back")
	}
	digest := secret.Digest(back.Code)
	once = []login.Once{{Key: "oidc code " + p.ID + " " + hex.EncodeToString(digest[:]), Until: f.now().Add(codeLife)}}
	if why := unbound(p, flow, back); why != "" {
		return v, once, wrong(why)
	}
	v, err = f.identify(ctx, known, flow, back)
	return v, once, over(ctx, err)
}

// unbound returns why a code does not belong to its flow, or "".
func unbound(p identity.Provider, flow *login.Flow, back login.Return) string {
	switch {
	case back.Issuer != "" && back.Issuer != p.Settings.OIDC.Issuer:
		return "another issuer than the provider's sent the code"
	case flow == nil && (!p.Settings.OIDC.AllowUnbound || p.Secret.Empty()):
		return "the code belongs to no sign-in that was begun here"
	case flow == nil:
		return ""
	case flow.Provider != p.ID:
		return "the sign-in was begun at another provider"
	case flow.State.Empty() || flow.Nonce.Empty() || flow.Verifier.Empty():
		return "the sign-in was not begun as one of OpenID Connect"
	case back.State != "" && !flow.State.Equal(secret.New(back.State)):
		return "the state is another one's"
	}
	return ""
}

// identify exchanges a code and asks whom it stands for.
func (f *Federation) identify(ctx context.Context, known *provider, flow *login.Flow, back login.Return) (identity.Visitor, error) {
	doc, err := known.discovered(ctx)
	if err != nil {
		return identity.Visitor{}, err
	}
	if flow != nil && !flow.Browser.Empty() && doc.IssuerParameter && back.Issuer == "" {
		return identity.Visitor{}, wrong("the provider names itself with every code, and did not with this one") // RFC 9207 section 2.4
	}
	var verifier, nonce secret.String
	if flow != nil {
		verifier, nonce = flow.Verifier, flow.Nonce
	}
	token, err := known.exchange(ctx, doc, back.Code, verifier)
	if err != nil {
		return identity.Visitor{}, refusedCode(err)
	}
	said, err := known.claims(ctx, doc, token, nonce)
	if err != nil {
		return identity.Visitor{}, err
	}
	return said.visitor(known.settings)
}

// exchange trades a code for tokens. The client secret goes as the provider says; where it says nothing, in the form.
func (k *provider) exchange(ctx context.Context, doc document, code string, verifier secret.String) (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	config := oauth2.Config{
		ClientID: k.settings.OIDC.ClientID, ClientSecret: k.secret.Reveal(), RedirectURL: k.redirect,
		Endpoint: oauth2.Endpoint{TokenURL: doc.Token, AuthStyle: style(doc, k.secret)},
	}
	var options []oauth2.AuthCodeOption
	if !verifier.Empty() {
		options = append(options, oauth2.VerifierOption(verifier.Reveal()))
	}
	return config.Exchange(context.WithValue(ctx, oauth2.HTTPClient, k.client), code, options...)
}

func style(doc document, clientSecret secret.String) oauth2.AuthStyle {
	if !clientSecret.Empty() && slices.Contains(doc.TokenAuth, "client_secret_basic") {
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}

// The words of RFC 6749 and OpenID Connect Core that a reason may repeat: others are a stranger's.
var (
	authorizationErrors = []string{
		"access_denied", "account_selection_required", "consent_required", "interaction_required", "invalid_request", "invalid_scope",
		"login_required", "server_error", "temporarily_unavailable", "unauthorized_client", "unsupported_response_type",
	}
	tokenErrors = []string{
		"invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "server_error", "temporarily_unavailable",
		"unauthorized_client", "unsupported_grant_type",
	}
)

func word(said string, known []string) string {
	if slices.Contains(known, said) {
		return ": " + said
	}
	return ", in a word of its own"
}

// refusedCode says why no token came for a code. What the library says holds the answer itself, so nothing of it is kept.
func refusedCode(err error) *login.Wrong {
	var refused *oauth2.RetrieveError
	var call *url.Error
	switch {
	case errors.As(err, &refused) && refused.ErrorCode != "":
		return wrong("the token endpoint refused the code" + word(refused.ErrorCode, tokenErrors))
	case errors.As(err, &refused):
		return wrong(fmt.Sprintf("the token endpoint answered %d", refused.Response.StatusCode))
	case errors.As(err, &call), errors.Is(err, context.DeadlineExceeded):
		return wrong("the token endpoint: " + outbound.Reason(err))
	}
	return wrong("the token endpoint's answer cannot be read")
}
