package oidc

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	skew      = time.Minute // between the provider's clock and ours
	malformed = "the ID token is malformed, or signed by something other than RS256, PS256 or ES256"
)

// claims gathers what the provider says: the ID token, and userinfo for what the token leaves out. Without an ID token, and
// without the address of keys to verify one with, userinfo says everything.
func (k *provider) claims(ctx context.Context, doc document, token *oauth2.Token, nonce secret.String) (claims, error) {
	raw, _ := token.Extra("id_token").(string)
	said := claims{}
	if raw != "" && doc.Keys != "" {
		var err error
		if said, err = k.idToken(ctx, doc, raw, token.AccessToken, nonce); err != nil {
			return nil, err
		}
		if doc.UserInfo == "" || said.suffice(k.settings) {
			return said, nil
		}
	}
	if doc.UserInfo == "" {
		return nil, wrong("no ID token came that could be verified, and there is no userinfo endpoint")
	}
	more := claims{}
	if err := k.checkURL(doc.UserInfo); err != nil {
		return nil, wrong("the userinfo endpoint " + err.Error())
	}
	if err := k.get(ctx, doc.UserInfo, token.AccessToken, &more); err != nil {
		return nil, wrong("the userinfo endpoint: " + err.Error())
	}
	if len(said) > 0 && more.subject() != said.subject() { // OpenID Connect Core section 5.3.2
		return nil, wrong("userinfo speaks of somebody else than the ID token")
	}
	return said.with(more), nil
}

// idToken verifies an ID token as OpenID Connect Core section 3.1.3.7 says, and returns its claims.
func (k *provider) idToken(ctx context.Context, doc document, raw, accessToken string, nonce secret.String) (claims, error) {
	keys := &keySet{provider: k, address: doc.Keys}
	// The library checks the signature; what it would say of the rest repeats what a stranger wrote, so that is checked here.
	verifier := goidc.NewVerifier(k.settings.OIDC.Issuer, keys, &goidc.Config{
		SupportedSigningAlgs: []string{goidc.RS256, goidc.PS256, goidc.ES256},
		SkipIssuerCheck:      true, SkipClientIDCheck: true, SkipExpiryCheck: true,
	})
	token, err := verifier.Verify(ctx, raw)
	switch {
	case keys.err != nil:
		return nil, keys.err
	case err != nil:
		return nil, wrong(malformed)
	}
	said := claims{}
	if err := token.Claims(&said); err != nil {
		return nil, wrong(malformed)
	}
	if why := k.unlawful(token, said, accessToken, nonce); why != "" {
		return nil, wrong("the ID token " + why)
	}
	return said, nil
}

// unlawful returns what is wrong with a token whose signature is right, or "".
func (k *provider) unlawful(token *goidc.IDToken, said claims, accessToken string, nonce secret.String) string {
	now, client := k.now(), k.settings.OIDC.ClientID
	azp, named := said["azp"]
	switch {
	case token.Issuer != k.settings.OIDC.Issuer:
		return "was issued by somebody else"
	case !slices.Contains(token.Audience, client):
		return "is for another client"
	case named && !is(azp, client), !named && len(token.Audience) > 1:
		return "was given to another client"
	case token.Subject == "" || token.Subject != said.subject():
		return "names nobody"
	case !token.Expiry.Add(skew).After(now):
		return "has expired"
	case token.IssuedAt.Unix() <= 0:
		return "does not say when it was issued"
	case token.IssuedAt.After(now.Add(skew)):
		return "was issued in the future"
	case said.after("nbf", now.Add(skew)):
		return "is not valid yet"
	case !nonce.Empty() && !nonce.Equal(secret.New(token.Nonce)):
		return "belongs to another sign-in: its nonce differs"
	case token.AccessTokenHash != "" && token.VerifyAccessToken(accessToken) != nil:
		return "belongs to another access token"
	}
	return ""
}

// is says whether a claim is that text.
func is(claim json.RawMessage, text string) bool {
	var got string
	return json.Unmarshal(claim, &got) == nil && got == text
}
