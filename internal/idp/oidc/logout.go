package oidc

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	logoutLasts = 10 * time.Minute // at most, from when it was issued: for so long it is remembered as used
	logoutBytes = 64 << 10
)

// Logout verifies a logout token as OpenID Connect Back-Channel Logout 1.0 section 2.6 says, and returns whom or what it ends. once holds the id of a token that is right.
func (f *Federation) Logout(ctx context.Context, p identity.Provider, raw string) (login.Logout, []login.Once, error) {
	known, err := f.provider(p)
	if err != nil {
		return login.Logout{}, nil, err
	}
	if raw == "" || len(raw) > logoutBytes {
		return login.Logout{}, nil, aLogoutToken.malformed()
	}
	doc, err := known.discovered(ctx)
	if err != nil {
		return login.Logout{}, nil, over(ctx, err)
	}
	if doc.Keys == "" {
		return login.Logout{}, nil, wrong("no address of keys is set with which a logout token could be verified")
	}
	t, err := known.signed(ctx, doc, raw, aLogoutToken)
	if err != nil {
		return login.Logout{}, nil, over(ctx, err)
	}
	if why := t.noLogout(); why != "" {
		return login.Logout{}, nil, wrong("the logout token " + why)
	}
	digest := secret.Digest(t.said.exact("jti"))
	once := login.Once{Key: "oidc logout token " + p.ID + " " + hex.EncodeToString(digest[:]), Until: t.Expiry.Add(skew)}
	return login.Logout{Subject: t.said.exact("sub"), Session: t.said.exact("sid")}, []login.Once{once}, nil
}

// noLogout returns why a token of the provider ends nothing, or "". An ID token has a nonce, so it is never taken for a logout token.
func (t token) noLogout() string {
	_, hasNonce := t.said["nonce"]
	sub, sid := t.said.exact("sub"), t.said.exact("sid")
	switch {
	case t.Expiry.Sub(t.IssuedAt) > logoutLasts:
		return "lasts for longer than 10 minutes"
	case hasNonce:
		return "has a nonce, which none may have"
	case !t.said.holdsEvent(logoutEvent):
		return "tells of no logout"
	case t.said.exact("jti") == "":
		return "has no id"
	case sub == "" && t.said["sub"] != nil, sid == "" && t.said["sid"] != nil, sub == "" && sid == "":
		return "names nobody and no session"
	}
	return ""
}

// holdsEvent says whether the claim events has that member (RFC 8417 section 2.2): an object, whose content means nothing here.
func (c claims) holdsEvent(name string) bool {
	var events map[string]json.RawMessage
	var event map[string]json.RawMessage
	return json.Unmarshal(c["events"], &events) == nil && json.Unmarshal(events[name], &event) == nil && event != nil
}
