package oidc

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
)

const skew = time.Minute // between the provider's clock and ours

// kind is what a token is for, as reasons call it.
type kind string

const (
	anIDToken    kind = "ID token"
	aLogoutToken kind = "logout token"
)

// malformed is why a token is none.
func (k kind) malformed() error {
	return wrong("the " + string(k) + " is malformed, or signed by something other than RS256, PS256 or ES256")
}

// fits says whether a token that calls itself by that type may be of the kind. Providers call any token a JWT, or nothing; a logout token that says what it is stands
// for nobody who signs in (RFC 8725 section 3.11).
func (k kind) fits(typ string) bool {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	if k == aLogoutToken {
		return slices.Contains([]string{"", "jwt", "logout+jwt"}, typ)
	}
	return typ != "logout+jwt"
}

// token is a token that the provider signed for us and that is valid now.
type token struct {
	*goidc.IDToken
	said claims
}

// signed verifies what holds for tokens of each kind, as OpenID Connect Core section 3.1.3.7 says: what a kind demands beyond is for the caller to check.
func (k *provider) signed(ctx context.Context, doc document, raw string, as kind) (token, error) {
	keys := &keySet{provider: k, address: doc.Keys, as: as}
	// The library checks the signature; what it would say of the rest repeats what a stranger wrote, so that is checked here.
	verifier := goidc.NewVerifier(k.settings.OIDC.Issuer, keys, &goidc.Config{
		SupportedSigningAlgs: []string{goidc.RS256, goidc.PS256, goidc.ES256},
		SkipIssuerCheck:      true, SkipClientIDCheck: true, SkipExpiryCheck: true,
	})
	t, err := verifier.Verify(ctx, raw)
	switch {
	case keys.err != nil:
		return token{}, keys.err
	case err != nil:
		return token{}, as.malformed()
	}
	said := claims{}
	if err := t.Claims(&said); err != nil {
		return token{}, as.malformed()
	}
	signed := token{t, said}
	if why := k.unlawful(signed); why != "" {
		return token{}, wrong("the " + string(as) + " " + why)
	}
	if !as.fits(keys.typ) {
		return token{}, wrong("the " + string(as) + " says that it is something else")
	}
	return signed, nil
}

// unlawful returns what is wrong with a token whose signature is right, or "".
func (k *provider) unlawful(t token) string {
	now, client := k.now(), k.settings.OIDC.ClientID
	azp, named := t.said["azp"]
	switch {
	case t.Issuer != k.settings.OIDC.Issuer:
		return "was issued by somebody else"
	case !slices.Contains(t.Audience, client):
		return "is for another client"
	case named && !is(azp, client), !named && len(t.Audience) > 1:
		return "was given to another client"
	case !t.Expiry.Add(skew).After(now):
		return "has expired"
	case t.IssuedAt.Unix() <= 0:
		return "does not say when it was issued"
	case t.IssuedAt.After(now.Add(skew)):
		return "was issued in the future"
	case t.said.after("nbf", now.Add(skew)):
		return "is not valid yet"
	}
	return ""
}

// is says whether a claim is that text.
func is(claim json.RawMessage, text string) bool {
	var got string
	return json.Unmarshal(claim, &got) == nil && got == text
}
