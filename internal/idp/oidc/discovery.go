package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	maxAnswer = 1 << 20 // bytes
	wellKnown = "/.well-known/openid-configuration"
)

// document is what there is to know of a provider: from discovery, or as it was typed.
type document struct {
	Issuer          string   `json:"issuer"`
	Authorization   string   `json:"authorization_endpoint"`
	Token           string   `json:"token_endpoint"`
	UserInfo        string   `json:"userinfo_endpoint"`
	Keys            string   `json:"jwks_uri"`
	TokenAuth       []string `json:"token_endpoint_auth_methods_supported"`
	Challenges      []string `json:"code_challenge_methods_supported"`
	IssuerParameter bool     `json:"authorization_response_iss_parameter_supported"`
}

// provider is one provider with what is known about it.
type provider struct {
	settings    identity.ProviderSettings
	secret      secret.String
	redirect    string
	client      *outbound.Client
	timeout     time.Duration
	allowHTTP   bool
	now         func() time.Time
	fingerprint string // of everything that the documents depend on

	document cached[document]
	keys     cached[[]key]
}

// provider returns what is known about a provider, anew once its settings changed. Secret and mapping are always those of p.
func (f *Federation) provider(p identity.Provider) (*provider, error) {
	if p.Kind != identity.OIDC || p.Settings.OIDC == nil {
		return nil, wrong("the provider does not speak OpenID Connect")
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	print := fingerprint(p.Settings.OIDC)
	known, ok := f.providers[p.ID]
	if !ok || known.fingerprint != print {
		fresh, err := f.fresh(p)
		if err != nil {
			return nil, err
		}
		if ok {
			known.close(f.Client)
		}
		if f.providers == nil {
			f.providers = make(map[string]*provider)
		}
		f.providers[p.ID], known = fresh, fresh
	}
	now := *known // shares what was learned
	now.settings, now.secret = p.Settings, p.Secret
	return &now, nil
}

// fresh returns a provider about which nothing is known yet.
func (f *Federation) fresh(p identity.Provider) (*provider, error) {
	client, err := outbound.Trusting(f.Client, p.Settings.OIDC.CA)
	if err != nil {
		return nil, wrong(err.Error())
	}
	return &provider{
		settings: p.Settings, secret: p.Secret, redirect: f.RedirectURI, client: client, timeout: f.timeout(), allowHTTP: f.AllowHTTP, now: f.now,
		fingerprint: fingerprint(p.Settings.OIDC), document: newCached[document](), keys: newCached[[]key](),
	}, nil
}

func fingerprint(s *identity.OIDCSettings) string {
	return fmt.Sprintf("%q %t %q %q %q %q %q", s.Issuer, s.NoDiscovery, s.AuthURL, s.TokenURL, s.UserInfoURL, s.KeysURL, s.CA)
}

// close ends the idle connections of a client that only this provider used.
func (k *provider) close(common *outbound.Client) {
	if k.client.Transport != common.Transport {
		k.client.CloseIdleConnections()
	}
}

// discovered returns the provider's document, at most an hour old where the provider answers.
func (k *provider) discovered(ctx context.Context) (document, error) {
	if k.settings.OIDC.NoDiscovery {
		return k.typed(), nil
	}
	return k.document.read(ctx, k.now, lasts, k.discover)
}

func (k *provider) typed() document {
	s := k.settings.OIDC
	return document{Issuer: s.Issuer, Authorization: s.AuthURL, Token: s.TokenURL, UserInfo: s.UserInfoURL, Keys: s.KeysURL}
}

// discover asks the provider about itself.
func (k *provider) discover(ctx context.Context) (document, error) {
	issuer := k.settings.OIDC.Issuer
	if err := k.checkURL(issuer); err != nil {
		return document{}, wrong("the issuer " + err.Error())
	}
	var doc document
	if err := k.get(ctx, strings.TrimSuffix(issuer, "/")+wellKnown, "", &doc); err != nil {
		return document{}, wrong("the discovery document: " + err.Error())
	}
	if doc.TokenAuth == nil {
		doc.TokenAuth = []string{"client_secret_basic"} // OpenID Connect Discovery section 3
	}
	return doc, k.checkDocument(doc)
}

// checkDocument returns why a document cannot be believed, or nil.
func (k *provider) checkDocument(doc document) error {
	issuer := k.settings.OIDC.Issuer
	switch {
	case doc.Issuer == issuer:
	case strings.TrimSuffix(doc.Issuer, "/") == strings.TrimSuffix(issuer, "/"):
		return wrong("the discovery document's issuer differs from the one that is set by a slash at the end; set it as the provider writes it")
	default:
		return wrong("the discovery document's issuer is not the one that is set")
	}
	for _, endpoint := range []struct {
		name, url string
		optional  bool
	}{
		{"authorization endpoint", doc.Authorization, false},
		{"token endpoint", doc.Token, false},
		{"keys' address", doc.Keys, false},
		{"userinfo endpoint", doc.UserInfo, true},
	} {
		if endpoint.optional && endpoint.url == "" {
			continue
		}
		if err := k.checkURL(endpoint.url); err != nil {
			return wrong("the discovery document's " + endpoint.name + " " + err.Error())
		}
	}
	return nil
}

func (k *provider) checkURL(text string) error { return checkURL(text, k.allowHTTP) }

// checkURL returns why an address may not be called, in words that follow its name, or nil.
func checkURL(text string, allowHTTP bool) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return errors.New("is missing")
	case err != nil || len(text) > 2048 || u.Host == "" || u.Hostname() == "":
		return errors.New("is no URL")
	case u.User != nil || u.Fragment != "":
		return errors.New("must hold neither a user nor a fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && allowHTTP && loopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return errors.New("must be an https URL (http is for tests on loopback, by the setting sso.allow_http)")
	}
	return errors.New("must be an https URL")
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// get reads a JSON answer. What is wrong is told in words of our own.
func (k *provider) get(ctx context.Context, address, bearer string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errors.New("the address cannot be used")
	}
	r.Header.Set("Accept", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	answer, err := k.client.Do(r)
	if err != nil {
		return errors.New(outbound.Reason(err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %d", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return errors.New("the answer broke off: " + outbound.Reason(err))
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	if json.Unmarshal(body, into) != nil {
		return errors.New("the answer is not the JSON that it should be")
	}
	return nil
}
