package fortanix_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/idp/awsiam"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// theirs is everybody's password, code and assertion at the outside parties of these tests.
const theirs = "known elsewhere"

// visitor is who an outside party says has the e-mail address.
func visitor(email string) identity.Visitor {
	name, _, _ := strings.Cut(email, "@")
	return identity.Visitor{Subject: "subject of " + email, Name: name, Email: email, EmailVerified: true}
}

// phoneBook is a directory in which everybody has one password.
type phoneBook struct{}

func (phoneBook) Bind(_ context.Context, _ identity.Provider, name string, password secret.String) (identity.Visitor, error) {
	if password.Reveal() != theirs {
		return identity.Visitor{}, &login.Wrong{Reason: "the directory says no"}
	}
	return visitor(name), nil
}

func (phoneBook) Present(context.Context, identity.Provider, string) (bool, error) { return true, nil }
func (phoneBook) Check(identity.Provider) error                                    { return nil }
func (phoneBook) Test(context.Context, identity.Provider) []login.Step             { return nil }

// federation vouches for Dana wherever the code, or the end of the response, is the one that it knows. The begin of a response, to a
// blank, is the request that it answers.
type federation struct{}

func (federation) Depart(_ context.Context, p identity.Provider, f *login.Flow) (login.Departure, error) {
	if p.Name == "Gone" {
		return login.Departure{}, &login.Wrong{Reason: "nobody answers there"}
	}
	f.State = secret.New(secret.Token(32))
	if p.Kind == identity.SAML {
		return login.Departure{URL: "https://saml.example.test/sso", Request: "PHNhbWxwOg=="}, nil
	}
	return login.Departure{Partial: "https://oidc.example.test/auth?scope=openid", ClientID: "gate", RedirectURI: local + "/oauth"}, nil
}

func (federation) StateOf(back login.Return) string {
	if back.Response == "" {
		return back.State
	}
	state, _, _ := strings.Cut(plain(back.Response), " ")
	return state
}

func (federation) Arrive(_ context.Context, _ identity.Provider, f *login.Flow, back login.Return) (identity.Visitor, []login.Once, error) {
	if f == nil || back.Code != theirs && !strings.HasSuffix(plain(back.Response), theirs) {
		return identity.Visitor{}, nil, &login.Wrong{Reason: "nobody that is known there"}
	}
	return visitor(email), nil, nil
}

func (federation) Logout(context.Context, identity.Provider, string) (login.Logout, []login.Once, error) {
	return login.Logout{}, nil, &login.Wrong{Reason: "nobody is signed out here"}
}

func (federation) Check(identity.Provider) error                        { return nil }
func (federation) Test(context.Context, identity.Provider) []login.Step { return nil }

// cloud knows one program, which may ask once.
type cloud struct{}

const arn = "arn:aws:sts::111122223333:assumed-role/deploy/i-0abc"

func (cloud) Identify(ctx context.Context, region string, headers map[string]string, used func(context.Context, login.Once) (bool, error)) (string, error) {
	if headers["authorization"] != theirs { // whatever is wrong with it, nobody is called
		return (&awsiam.Cloud{Now: func() time.Time { return start }}).Identify(ctx, region, headers, used)
	}
	again, err := used(ctx, login.Once{Key: "sts " + headers["authorization"], Until: start.AddDate(1, 0, 0)})
	if err != nil {
		return "", err
	}
	if again {
		return "", &login.Wrong{Reason: "STS says no"}
	}
	return arn, nil
}

// provide adds one provider of each kind, and returns what they are called on the wire.
func (h *house) provide(t *testing.T) map[string]string {
	t.Helper()
	ctx, by := t.Context(), h.dialect.Access.For(access.LocalCaller("root", h.clock.Now()))
	vars := map[string]string{}
	add := func(word, name string, kind identity.ProviderKind, s identity.ProviderSettings, disabled bool) {
		p, err := h.providers.Add(ctx, by, identity.NewProvider{Kind: kind, Name: name, Settings: s, Disabled: disabled})
		must(t, err)
		vars[word], vars[word+"id"] = base64Of(p.Handle[:]), p.ID
	}
	link := identity.ProviderSettings{Link: identity.LinkByEmail}
	ldap, oidc, saml := link, link, link
	ldap.LDAP, oidc.OIDC, saml.SAML = &identity.LDAPSettings{}, &identity.OIDCSettings{}, &identity.SAMLSettings{}
	elsewhere := oidc
	elsewhere.Domains = []string{"elsewhere.test"}
	add("ldap", "Corp LDAP", identity.LDAP, ldap, false)
	add("oidc", "Corp OIDC", identity.OIDC, oidc, false)
	add("gone", "Gone", identity.OIDC, oidc, false)
	add("elsewhere", "Elsewhere", identity.OIDC, elsewhere, false)
	add("saml", "Corp SAML", identity.SAML, saml, false)
	add("off", "Off", identity.LDAP, ldap, true)
	a, _, err := h.dialect.Apps.Create(ctx, by, identity.NewApplication{
		Account: identity.DefaultAccount, Name: arn, Credential: identity.Credential{Type: identity.ByAWSIAM},
	})
	must(t, err)
	vars["deploy"] = a.ID
	a, _, err = h.dialect.Apps.Create(ctx, by, identity.NewApplication{
		Account: identity.DefaultAccount, Name: "robot", Credential: identity.Credential{Type: identity.ByLDAP, Provider: vars["ldapid"]},
	})
	must(t, err)
	vars["robot"] = a.ID
	maps.Copy(vars, map[string]string{"theirs": theirs, "arn": arn})
	return vars
}

// answering stands before the house and answers for a SAML provider: base64(TEXT) in a body becomes that.
type answering struct{ *house }

var encoded = regexp.MustCompile(`base64\(([^)]*)\)`)

// ServeHTTP implements http.Handler.
func (a answering) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	body = encoded.ReplaceAllFunc(body, func(m []byte) []byte { return []byte(base64Of(m[len("base64(") : len(m)-1])) })
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	a.house.ServeHTTP(w, r)
}

// An address that asks for more than a minute's share of flows is told of the password alone.
func TestDiscover_begins_so_many_flows_a_minute(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.provide(t)
	h.dialect.Login.Discoveries.Threshold = 3
	const alone = `[{"method":"password"}]` + "\n"
	for n := range 6 {
		w := h.post("/sys/v1/session/auth/discover", "", "")
		if w.Code != http.StatusOK || (w.Body.String() == alone) != (n >= 3) {
			t.Errorf("call %d: %d %s", n+1, w.Code, w.Body)
		}
	}
	h.clock.pass(2 * time.Minute)
	if w := h.post("/sys/v1/session/auth/discover", "", ""); w.Body.String() == alone {
		t.Error("and for ever")
	}
}

// People whom a provider vouches for have no password here: asking for it is refused, and a fresh sign-in is their unlock.
func TestSettings_of_who_has_no_password(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	vars := h.provide(t)
	root := h.dialect.Access.For(access.LocalCaller("root", h.clock.Now()))
	_, err := h.dialect.Users.Add(t.Context(), root, identity.New{Name: "olga", Email: address("olga")})
	must(t, err)
	w := h.post("/sys/v1/session/auth", "", `{"method":"ldap-basic-auth","idp_id":"`+vars["ldap"]+`","email":"`+address("olga")+`","password":"`+theirs+`"}`)
	want(t, w, http.StatusOK, "")
	olga := "Bearer " + accessToken(t, w)
	want(t, h.post("/sys/v1/session/config_2fa/auth", olga, `{"password":"`+theirs+`"}`), http.StatusForbidden, "This operation is forbidden")
	want(t, h.post("/sys/v1/session/config_2fa/new_challenge?protocol=fido2", olga, ""), http.StatusOK, "")
	h.clock.pass(10 * time.Minute)
	want(t, h.post("/sys/v1/session/config_2fa/new_challenge?protocol=fido2", olga, ""), http.StatusForbidden, "Two factor configuration is locked")
}

var samlID = regexp.MustCompile(`"id":"([^"]+)"`)

// Who has a second factor proves it after a directory's password, and after a provider where that is asked for.
func TestProviders_and_second_factors(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	vars := h.provide(t)
	p, _ := h.second(t)
	dana := h.signIn(t, h.asDana())
	h.unlock(t, dana)
	h.enrolKey(t, dana, "Green key")
	assertion := func() string {
		ways := h.post("/sys/v1/session/auth/discover", "", "").Body.String()
		id := samlID.FindStringSubmatch(ways)[1]
		return `{"method":"saml-response","id":"` + id + `","response":"` + base64Of([]byte(id+" "+theirs)) + `"}`
	}
	ldap := `{"method":"ldap-basic-auth","idp_id":"` + vars["ldap"] + `","email":"` + address("fred") + `","password":"` + theirs + `"}`
	w := h.post("/sys/v1/session/auth", "", ldap)
	want(t, w, http.StatusOK, "")
	want(t, h.prove("Bearer "+accessToken(t, w), p.key, ceremony(t, w.Body.Bytes())), http.StatusNoContent, "")
	w = h.post("/sys/v1/session/auth", "", assertion())
	want(t, w, http.StatusOK, "")
	want(t, h.call("GET", "/sys/v1/accounts", "Bearer "+accessToken(t, w), ""), http.StatusOK, "")
	h.dialect.Login.MFAAfterSSO = true
	w = h.post("/sys/v1/session/auth", "", assertion())
	want(t, w, http.StatusOK, "")
	want(t, h.call("GET", "/sys/v1/accounts", "Bearer "+accessToken(t, w), ""), http.StatusUnauthorized, pending)
}
