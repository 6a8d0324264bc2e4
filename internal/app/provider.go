package app

import (
	"net/url"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/idp/awsiam"
	"github.com/gatehouse-project/gatehouse/internal/idp/ldap"
	"github.com/gatehouse-project/gatehouse/internal/idp/oidc"
	"github.com/gatehouse-project/gatehouse/internal/idp/saml"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// buildProviders tells sign-in who else vouches for people and programs, and how those are asked: each through a dialer of package
// outbound (rule W8).
func (h *House) buildProviders() {
	c, now, public := h.Config, h.Now, h.Config.PublicURL
	to := h.allowed(c.SSO.Allow)
	if c.SSO.AllowHTTP {
		to = h.allowed(append([]string{"127.0.0.0/8", "::1", "localhost"}, c.SSO.Allow...))
	}
	keys := &login.ServiceKeys{Store: store.ServiceKeys{DB: h.DB}, Sealer: h.Sealer, Host: public.Hostname(), Now: now}
	h.saml = &saml.Federation{
		EntityID: public.JoinPath("saml/metadata.xml").String(), ACS: public.JoinPath("saml").String(), Client: to.Client(), AllowHTTP: c.SSO.AllowHTTP, Now: now,
		Key: keys.SAML,
	}
	h.Providers = &identity.Providers{
		Store: store.Providers{DB: h.DB, Sealer: h.Sealer}, Users: store.Users{DB: h.DB}, Now: now, NewID: newID, Check: h.Login.CheckProvider,
		Guarded: h.Access.Guarded, Heavy: h.Access.Heavy, JITAdminGroups: c.SSO.JITAdminGroups,
	}
	h.Apps.Providers = h.Providers.Store
	l := h.Login
	l.Providers, l.Flows, l.Once, l.NewID, l.OnError = h.Providers, store.Flows{DB: h.DB, Sealer: h.Sealer}, h.Once, newID, h.failed
	l.SessionMax = c.SSO.Session
	l.Discoveries = &guard.Failures{Store: store.Guards{DB: h.DB}, Now: now, Threshold: c.SSO.Discover, Window: time.Minute}
	l.Directory = ldap.Directory{Dial: to.DialInside}
	l.Federations = map[identity.ProviderKind]login.Federation{
		identity.OIDC: &oidc.Federation{Client: to.Client(), RedirectURI: public.JoinPath("oauth").String(), AllowHTTP: c.SSO.AllowHTTP, Now: now},
		identity.SAML: h.saml,
	}
	l.Cloud = &awsiam.Cloud{Client: h.toAWS().Client(), BaseURL: c.AWS.STSBaseURL, Regions: c.AWS.Regions, ServerID: c.AWS.ServerID, Now: now}
}

// toAWS reaches the endpoint that the operator named, wherever it lies.
func (h *House) toAWS() outbound.Policy {
	var named []string
	if u, err := url.Parse(h.Config.AWS.STSBaseURL); err == nil && u.Hostname() != "" {
		named = append(named, u.Hostname())
	}
	return h.allowed(named)
}

func (h *House) allowed(places []string) outbound.Policy {
	policy, err := outbound.NewPolicy(places)
	if err != nil {
		panic("config let a bad place through: " + err.Error())
	}
	return policy
}
