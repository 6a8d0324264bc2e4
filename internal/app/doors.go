package app

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/api/bitbucket"
	"github.com/gatehouse-project/gatehouse/internal/api/fortanix"
	"github.com/gatehouse-project/gatehouse/internal/api/native"
	"github.com/gatehouse-project/gatehouse/internal/api/signin"
	"github.com/gatehouse-project/gatehouse/internal/api/sshverify"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

// bodyWait is how long the body of an API call may take to arrive.
const bodyWait = 30 * time.Second

// handler is the HTTP door with everything behind it.
func (s *Server) handler() (http.Handler, error) {
	owners, err := s.owners()
	if err != nil {
		return nil, err
	}
	mux, err := api.Mount(owners...)
	if err != nil {
		return nil, err
	}
	return &api.Door{Handler: mux, TrustedProxies: s.Config.TrustedProxies, Log: s.Log, Now: s.Now, Observe: s.metrics.requested, Verbatim: s.gitOverHTTP().Verbatim}, nil
}

// owners lists who answers for which paths (design: every path has one owner).
func (s *Server) owners() ([]api.Owner, error) {
	dialect := &sshverify.Dialect{
		Login: s.Login, Tokens: s.Tokens, Projects: s.Projects, Budget: s.Budget, Sessions: s.Keyproof,
		RatePerHour: s.Config.SSHVerify.RatePerHour, BodyWait: bodyWait, Now: s.Now,
	}
	document := native.NewDocument(s.Version, s.Config.PublicURL.String())
	dialect.Describe(document)
	ours := s.native()
	ours.Describe(document)
	own, err := native.New(document, ours.Routes()...)
	if err != nil {
		return nil, err
	}
	pages := s.signin()
	owners := []api.Owner{dialect.Owner(), s.fortanix().Owner(), s.bitbucket().Owner(), s.senhasegura().Owner(), s.gitOverHTTP().Owner(), pages.Owner(), pages.Home(), own, api.Health(func(ctx context.Context) []string { return s.ready.check(ctx) })}
	owners = append(owners, s.remoteOwners()...)
	if s.Config.MetricsOnMain() {
		owners = append(owners, api.Owner{
			Name: "metrics", Prefixes: []string{"/metrics"},
			Routes: []api.Route{{Method: http.MethodGet, Pattern: "/metrics", Action: access.Public, Handler: s.metrics.handler()}},
		})
	}
	return owners, nil
}

// native is our own API.
func (s *Server) native() *native.API {
	return &native.API{
		Login: s.Login, Sessions: s.Sessions, Access: s.Access, Users: s.Users, Accounts: s.Accounts, Groups: s.Groups, Apps: s.Apps, Authorizations: s.Authorizations, Providers: s.Providers,
		Policy: s.Policies, Projects: s.Projects, Repos: s.Repos, Tokens: s.HTTPTokens, Keys: s.Keys, SSH: s.publicSSH, Devices: s.Devices, Vault: s.Vault, Remote: s.Remote, Library: s.Library,
		Keyproof: s.Keyproof, Webhooks: s.Webhooks, Subscriptions: s.Subscriptions, Events: s.Events, Cookies: s.cookies(), BodyWait: bodyWait, SendWait: 10 * time.Second, FreshFor: s.Config.Auth.Fresh, Now: s.Now,
	}
}

// fortanix is the dialect of sessions.
func (s *Server) fortanix() *fortanix.Dialect {
	return &fortanix.Dialect{
		Login: s.Login, Sessions: s.Sessions, Factors: s.Factors, Captcha: s.Captcha, Access: s.Access, Users: s.Users, Accounts: s.Accounts, Groups: s.Groups, Apps: s.Apps,
		Cookies: s.cookies(), BodyWait: bodyWait, FreshFor: s.Config.Auth.Fresh, Now: s.Now,
		Ready: func(ctx context.Context) error {
			if reasons := s.ready.check(ctx); len(reasons) > 0 {
				return errors.New(strings.Join(reasons, "; "))
			}
			return nil
		},
	}
}

// bitbucket is the dialect of two-step verification, single sign-on, tokens, keys and repositories.
func (s *Server) bitbucket() *bitbucket.Dialect {
	return &bitbucket.Dialect{
		Login: s.Login, Captcha: s.Captcha, Access: s.Access, Providers: s.Providers, Policy: s.Login.Policy, Users: s.Users, Groups: s.Groups, Projects: s.Projects,
		Repos: s.Repos, Keys: s.Keys, Cookies: s.cookies(), SSH: s.sshAddress, Now: s.Now, Ready: s.ready.check, BodyWait: bodyWait,
	}
}

// sshAddress is what callers are told of the SSH door. It is known once that door listens.
func (s *Server) sshAddress() bitbucket.SSHDoor {
	door := bitbucket.SSHDoor{}
	door.Host, door.Port = s.publicSSH()
	for _, key := range s.HostKeys {
		if fingerprint, ok := strings.CutPrefix(key, "ssh-ed25519 "); ok {
			door.Fingerprint = fingerprint
		}
	}
	return door
}

// signin serves the steps of signing in that take a browser.
func (s *Server) signin() *signin.Pages {
	return &signin.Pages{
		Login: s.Login, Sessions: s.Sessions, Captcha: s.Captcha, Pictures: api.NewPictures(2), Cookies: s.cookies(), Metadata: s.saml.Metadata, BodyWait: bodyWait,
	}
}

// cookies are the same at every door.
func (s *Server) cookies() api.Cookies {
	return api.Cookies{PublicURL: s.Config.PublicURL, Origins: s.Config.PublicOrigins}
}
