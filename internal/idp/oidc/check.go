package oidc

import (
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
)

// Check returns why the settings cannot work, as an Invalid fault, or nil. It asks nobody.
func (f *Federation) Check(p identity.Provider) error {
	if p.Kind != identity.OIDC || p.Settings.OIDC == nil {
		return fault.New(fault.Invalid, "the provider has no settings of OpenID Connect")
	}
	s := p.Settings.OIDC
	if err := f.checkAddresses(s); err != nil {
		return err
	}
	for _, all := range []struct {
		path   string
		scopes []string
	}{{"oidc.scopes", s.Scopes}, {"jit.scopes", p.Settings.JIT.Scopes}} {
		if slices.ContainsFunc(all.scopes, func(scope string) bool { return !isScope(scope) }) {
			return wrongIn(all.path, "a scope is a word of visible ASCII characters without quotes and backslashes") // RFC 6749 section 3.3
		}
	}
	for _, expression := range []struct{ path, name, text string }{
		{"oidc.name_claim", "user name", s.NameClaim}, {"jit.display", "display name", p.Settings.JIT.Display}, {"jit.email", "e-mail address", p.Settings.JIT.Email},
	} {
		if err := identity.CheckExpression(expression.text); err != nil {
			return wrongIn(expression.path, "the expression for the "+expression.name+": "+fault.Text(err))
		}
	}
	switch {
	case s.ClientID == "" || len(s.ClientID) > 255 || strings.ContainsFunc(s.ClientID, unprintable):
		return wrongIn("oidc.client_id", "the client id is missing, longer than 255 characters or not printable ASCII")
	case s.AllowUnbound && p.Secret.Empty():
		return fault.New(fault.Invalid, "codes of sign-ins that were not begun here need a client secret: without one anybody could redeem them")
	}
	if _, err := outbound.Trusting(f.Client, s.CA); err != nil {
		return fault.New(fault.Invalid, err.Error())
	}
	return nil
}

// checkAddresses looks at the issuer and, where there is no discovery, at the endpoints.
func (f *Federation) checkAddresses(s *identity.OIDCSettings) error {
	type address struct {
		path, name, url string
		optional        bool
	}
	addresses := []address{{"oidc.issuer", "issuer", s.Issuer, false}}
	if s.NoDiscovery {
		addresses = append(addresses, []address{
			{"oidc.auth_url", "authorization endpoint", s.AuthURL, false},
			{"oidc.token_url", "token endpoint", s.TokenURL, false},
			{"oidc.userinfo_url", "userinfo endpoint", s.UserInfoURL, s.KeysURL != ""},
			{"oidc.keys_url", "keys' address", s.KeysURL, s.UserInfoURL != ""},
		}...)
	}
	for _, a := range addresses {
		if a.optional && a.url == "" {
			continue
		}
		if err := checkURL(a.url, f.AllowHTTP); err != nil {
			return wrongIn(a.path, "the "+a.name+" "+err.Error())
		}
	}
	if strings.Contains(s.Issuer, "?") {
		return wrongIn("oidc.issuer", "the issuer holds no query") // OpenID Connect Core section 2
	}
	return nil
}

// wrongIn says what is wrong, and in which member, for wires that call it by another name.
func wrongIn(path, text string) error {
	return fault.Fields(text, fault.Field{Path: path, Message: text})
}

func isScope(scope string) bool {
	return scope != "" && !strings.ContainsFunc(scope, func(r rune) bool { return r == ' ' || r == '"' || r == '\\' || unprintable(r) })
}

func unprintable(r rune) bool { return r < ' ' || r > '~' }
