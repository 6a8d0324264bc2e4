package oidc

import (
	"context"

	"golang.org/x/oauth2"

	"github.com/gatehouse-project/gatehouse/internal/secret"
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
	if len(said) > 0 && more.exact("sub") != said.exact("sub") { // OpenID Connect Core section 5.3.2
		return nil, wrong("userinfo speaks of somebody else than the ID token")
	}
	return said.with(more), nil
}

// idToken verifies an ID token, and returns its claims.
func (k *provider) idToken(ctx context.Context, doc document, raw, accessToken string, nonce secret.String) (claims, error) {
	t, err := k.signed(ctx, doc, raw, anIDToken)
	if err != nil {
		return nil, err
	}
	why := ""
	switch {
	case t.Subject == "" || t.Subject != t.said.exact("sub"):
		why = "names nobody"
	case !nonce.Empty() && !nonce.Equal(secret.New(t.Nonce)):
		why = "belongs to another sign-in: its nonce differs"
	case t.AccessTokenHash != "" && t.VerifyAccessToken(accessToken) != nil:
		why = "belongs to another access token"
	}
	if why != "" {
		return nil, wrong("the ID token " + why)
	}
	return t.said, nil
}
