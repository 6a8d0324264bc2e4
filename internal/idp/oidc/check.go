package oidc

import (
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
	for _, scope := range s.Scopes {
		if !isScope(scope) {
			return fault.New(fault.Invalid, "a scope is a word of visible ASCII characters without quotes and backslashes") // RFC 6749 section 3.3
		}
	}
	for _, expression := range []struct{ name, text string }{
		{"user name", s.NameClaim}, {"display name", p.Settings.JIT.Display}, {"e-mail address", p.Settings.JIT.Email},
	} {
		if err := identity.CheckExpression(expression.text); err != nil {
			return fault.Newf(fault.Invalid, "the expression for the %s: %s", expression.name, fault.Text(err))
		}
	}
	switch {
	case s.ClientID == "" || len(s.ClientID) > 255 || strings.ContainsFunc(s.ClientID, unprintable):
		return fault.New(fault.Invalid, "the client id is missing, longer than 255 characters or not printable ASCII")
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
	addresses := []struct {
		name, url string
		optional  bool
	}{{"issuer", s.Issuer, false}}
	if s.NoDiscovery {
		addresses = append(addresses, []struct {
			name, url string
			optional  bool
		}{
			{"authorization endpoint", s.AuthURL, false},
			{"token endpoint", s.TokenURL, false},
			{"userinfo endpoint", s.UserInfoURL, s.KeysURL != ""},
			{"keys' address", s.KeysURL, s.UserInfoURL != ""},
		}...)
	}
	for _, a := range addresses {
		if a.optional && a.url == "" {
			continue
		}
		if err := checkURL(a.url, f.AllowHTTP); err != nil {
			return fault.Newf(fault.Invalid, "the %s %s", a.name, err.Error())
		}
	}
	if strings.Contains(s.Issuer, "?") {
		return fault.New(fault.Invalid, "the issuer holds no query") // OpenID Connect Core section 2
	}
	return nil
}

func isScope(scope string) bool {
	return scope != "" && !strings.ContainsFunc(scope, func(r rune) bool { return r == ' ' || r == '"' || r == '\\' || unprintable(r) })
}

func unprintable(r rune) bool { return r < ' ' || r > '~' }
