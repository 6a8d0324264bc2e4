package bitbucket_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// certificate is one that an identity provider may have, in base64.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	return base64.StdEncoding.EncodeToString(der)
}

// provide keeps identity providers: 1 is SAML, 2 OpenID Connect, 3 a directory, 4 a draft.
func (h *house) provide(t *testing.T, certificate string) {
	t.Helper()
	by := h.login.Access.For(access.LocalCaller("root", h.clock.Now()))
	for _, in := range []identity.NewProvider{
		{Kind: identity.SAML, Name: "Corp", Settings: identity.ProviderSettings{SAML: &identity.SAMLSettings{
			Issuer: "https://idp.example.test", SSOURL: "https://idp.example.test/sso", Certificate: certificate, NameClaim: "${uid}",
		}}},
		{Kind: identity.OIDC, Name: "Cloud", Secret: secret.New("cloud secret"), Settings: identity.ProviderSettings{Button: "Cloud", OIDC: &identity.OIDCSettings{
			Issuer: "https://login.example.test", ClientID: "gatehouse",
		}}},
		{Kind: identity.LDAP, Name: "Directory"},
		{Kind: identity.Draft, Name: "Later", Disabled: true},
	} {
		if in.Kind != identity.LDAP {
			_, err := h.provided.Add(t.Context(), by, in)
			must(t, err)
			continue
		}
		_, err := h.provided.Store.Insert(t.Context(), identity.Provider{ // there is no directory to be asked
			ID: newID(), Handle: [16]byte(secret.Bytes(16)), Kind: in.Kind, Name: in.Name, Enabled: true, Settings: identity.ProviderSettings{LDAP: &identity.LDAPSettings{}},
			Created: h.clock.Now(), Updated: h.clock.Now(),
		}, audit.NewEvent(h.clock.Now(), "provider.create", audit.Done))
		must(t, err)
	}
}

// comes lets somebody come from a provider that adds whom it names.
func (h *house) comes(t *testing.T, name string) {
	t.Helper()
	_, err := h.provided.Arrive(t.Context(), identity.Provider{
		ID: h.club(t), Kind: identity.OIDC, Name: "Club", Enabled: true, Settings: identity.ProviderSettings{
			Link: identity.LinkByName, JIT: identity.JIT{Provision: true}, OIDC: &identity.OIDCSettings{NameClaim: "${sub}"},
		},
	}, identity.Visitor{Subject: name, Name: name, Email: name + "@example.test", EmailVerified: true, Display: "The " + name})
	must(t, err)
}

// club is the id of a provider that is on file.
func (h *house) club(t *testing.T) string {
	t.Helper()
	by := h.login.Access.For(access.LocalCaller("root", h.clock.Now()))
	p, err := h.provided.ByName(t.Context(), by, "Club")
	if err != nil {
		p, err = h.provided.Add(t.Context(), by, identity.NewProvider{Kind: identity.Draft, Name: "Club", Disabled: true})
		must(t, err)
	}
	return p.ID
}

// overtaken keeps policies, and lets another change come first once.
type overtaken struct {
	policy.Store
	next bool
}

func (o *overtaken) ChangeBasic(ctx context.Context, was int64, to policy.Basic, e audit.Event) error {
	if o.next {
		o.next = false
		return policy.ErrOvertaken
	}
	return o.Store.ChangeBasic(ctx, was, to, e)
}

// published is one of the vendor's published bodies, as printed, with members taken out or replaced.
func published(t *testing.T, name string, change map[string]any) string {
	t.Helper()
	text, err := os.ReadFile("testdata/examples/" + name + ".json")
	must(t, err)
	if change == nil {
		return string(text)
	}
	body := map[string]any{}
	must(t, json.Unmarshal(text, &body))
	for member, value := range change {
		if body[member] = value; value == nil {
			delete(body, member)
		}
	}
	out, err := json.Marshal(body)
	must(t, err)
	return string(out)
}

const (
	draftAsPrinted = `{"id":5,"sso-type":"NONE","name":"<string>","enabled":false,"buttonText":"<string>","include-customer-logins":true,"enable-remember-me":true,` +
		`"idp-type":"GENERIC","crowd-url":"<string>","sso-url":"<string>","sso-issuer":"<string>","certificate":"<string>","username-attribute":"<string>",` +
		`"issuer-url":"<string>","client-id":"<string>","discovery-enabled":true,"authorization-endpoint":"<string>","token-endpoint":"<string>",` +
		`"userinfo-endpoint":"<string>","additional-scopes":["<string>"],"username-claim":"<string>",` +
		`"jit-configuration":{"user-provisioning-enabled":true,"mapping-display-name":"<string>","mapping-email":"<string>","mapping-groups":"<string>",` +
		`"additional-openid-scopes":["<string>"]},"last-updated":"2026-11-22T09:00:30.000Z"}`

	idGiven     = `{"message":"id must be null when an identity provider is created."}`
	idOther     = `{"message":"id does not match the path."}`
	noneEnabled = `{"message":"An identity provider of type NONE cannot be enabled."}`
	typeChanged = `{"message":"sso-type cannot be changed."}`
	noCron      = `{"message":"discovery-refresh-cron is not a valid cron expression."}`
	ssoFirst    = `{"show-login-form":true,"enable-authentication-fallback":false,"show-login-form-for-jsm":true}`
	ssoPrinted  = `{"show-login-form":true,"enable-authentication-fallback":true,"show-login-form-for-jsm":true,"last-updated":"2026-11-22T09:00:30.000Z"}`
)

// The published examples of single sign-on and of Basic, sent by a system administrator, and what they answer when their one fault is mended.
func TestPublishedExamples_of_single_sign_on(t *testing.T) {
	t.Parallel()
	idp := func(change map[string]any) string { return published(t, "idp", change) }
	for name, e := range map[string]struct {
		operation, body string
		status          int
		answer          string // "" is not compared
	}{
		"list":                              {"GET /authconfig/idps", "", 200, ""},
		"create":                            {"POST /authconfig/idps", idp(nil), 400, idGiven},
		"create, without id":                {"POST /authconfig/idps", idp(map[string]any{"id": nil}), 400, noneEnabled},
		"create, without id, disabled":      {"POST /authconfig/idps", idp(map[string]any{"id": nil, "enabled": false}), 200, draftAsPrinted},
		"show":                              {"GET /authconfig/idps/1", "", 200, ""},
		"remove":                            {"DELETE /authconfig/idps/1", "", 200, ""},
		"change":                            {"PATCH /authconfig/idps/1", idp(nil), 400, idOther},
		"change SAML, without id":           {"PATCH /authconfig/idps/1", idp(map[string]any{"id": nil}), 400, typeChanged},
		"change OpenID Connect, without id": {"PATCH /authconfig/idps/2", idp(map[string]any{"id": nil}), 400, typeChanged},
		"change a draft, without id":        {"PATCH /authconfig/idps/4", idp(map[string]any{"id": nil}), 400, noneEnabled},
		"users made":                        {"GET /authconfig/jit-users", "", 200, "[]"},
		"login options":                     {"GET /authconfig/login-options", "", 200, ""},
		"show the page's settings":          {"GET /authconfig/sso", "", 200, ssoFirst},
		"change the page's settings":        {"PATCH /authconfig/sso", published(t, "sso", nil), 400, noCron},
		"change them, without cron":         {"PATCH /authconfig/sso", published(t, "sso", map[string]any{"discovery-refresh-cron": nil}), 200, ssoPrinted},
		"show Basic":                        {"GET /basicauth/config", "", 200, `{"block-requests":false,"allowed-paths":[],"allowed-users":[],"show-warning-message":false}`},
		"change Basic":                      {"PUT /basicauth/config", published(t, "basicauth", nil), 204, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, local)
			h.provide(t, certificate(t))
			types := []string{"Content-Type", "application/json", "Accept", "application/json"}
			open := e.operation == "GET /authconfig/login-options"
			if w := h.tsv("latest", e.operation, "", e.body, types...); open != (w.Code == 200) || !open && strings.TrimSpace(w.Body.String()) != notIn {
				t.Errorf("nobody is answered %d %s", w.Code, w.Body)
			}
			w := h.tsv("latest", e.operation, h.bearer("admin"), e.body, types...)
			want(t, w, e.status, e.answer)
			if strings.Contains(w.Body.String(), "client-secret") {
				t.Errorf("a secret is shown: %s", w.Body)
			}
			if e.operation == "PATCH /authconfig/sso" && e.status == 400 {
				want(t, h.tsv("latest", "GET /authconfig/sso", h.bearer("admin"), ""), 200, ssoFirst)
			}
			if e.operation == "PUT /basicauth/config" {
				h.hasher.checks.Store(0)
				want(t, h.tsv("latest", "GET /basicauth/config", basic("admin", password), ""), 403, `{"message":"Basic Authentication has been disabled on this instance."}`)
				want(t, h.tsv("latest", "GET /basicauth/config", h.bearer("admin"), ""), 200, `{"block-requests":true,"allowed-paths":["<string>"],"allowed-users":["<string>"],"show-warning-message":true}`)
				if n := h.hasher.checks.Load(); n != 0 {
					t.Errorf("%d hashes for a password that is not looked at", n)
				}
			}
		})
	}
}

// What is wrong is said in the wire's own words, and nothing is changed by it.
func TestProviders_are_refused(t *testing.T) {
	t.Parallel()
	h, cert := newHouse(t, local), certificate(t)
	h.provide(t, cert)
	saml := map[string]any{"sso-type": "SAML", "name": "New", "sso-url": "https://idp.example.test/sso", "sso-issuer": "idp", "certificate": cert}
	oidc := map[string]any{"sso-type": "OIDC", "name": "New", "issuer-url": "https://op.example.test", "client-id": "gate", "client-secret": "s"}
	manual := maps.Clone(oidc)
	maps.Copy(manual, map[string]any{
		"discovery-enabled": false, "authorization-endpoint": "https://op.example.test/a", "token-endpoint": "https://op.example.test/t", "userinfo-endpoint": "https://op.example.test/u",
	})
	draft := map[string]any{"sso-type": "NONE", "name": "New"}
	long := strings.Repeat("x", 50_000)
	for _, c := range []struct {
		of     map[string]any
		member string
		value  any
		text   string
	}{
		{draft, "id", "seven", "id must be a whole number."},
		{draft, "id", 0, "id must be null when an identity provider is created."},
		{draft, "sso-type", nil, "sso-type is required."},
		{draft, "sso-type", "saml", "sso-type must be SAML, OIDC or NONE."},
		{draft, "sso-type", []string{}, "sso-type must be a string."},
		{draft, "name", nil, "name is required."},
		{draft, "name", " ", "name is required."},
		{draft, "name", "a\nb", "name must be at most 255 characters in one line."},
		{draft, "name", strings.Repeat("é", 256), "name must be at most 255 characters long."},
		{draft, "name", map[string]any{}, "name must be a string."},
		{draft, "name", "CORP", "An identity provider of that name exists."},
		{draft, "enabled", true, "An identity provider of type NONE cannot be enabled."},
		{draft, "enabled", "yes", "enabled must be true or false."},
		{draft, "buttonText", strings.Repeat("é", 41), "buttonText must be at most 40 characters long."},
		{draft, "button-text", strings.Repeat("é", 41), "buttonText must be at most 40 characters long."},
		{draft, "buttonText", "a\tb", "buttonText must be at most 40 characters in one line."},
		{draft, "include-customer-logins", 1, "include-customer-logins must be true or false."},
		{draft, "enable-remember-me", []bool{true}, "enable-remember-me must be true or false."},
		{draft, "discovery-enabled", "", "discovery-enabled must be true or false."},
		{draft, "idp-type", "OTHER", "idp-type must be one of GENERIC, CROWD."},
		{draft, "certificate", long, "certificate must be at most 32000 characters long."},
		{draft, "client-secret", long, "client-secret must be at most 4096 characters long."},
		{draft, "issuer-url", long, "issuer-url must be at most 2048 characters long."},
		{draft, "additional-scopes", "groups", "additional-scopes must be a list of strings."},
		{draft, "additional-scopes", []any{nil}, "additional-scopes must be a list of strings."},
		{draft, "additional-scopes", []string{long}, "additional-scopes must hold entries of at most 255 characters."},
		{draft, "jit-configuration", "on", "jit-configuration must be an object."},
		{draft, "jit-configuration", map[string]any{"user-provisioning-enabled": "on"}, "jit-configuration.user-provisioning-enabled must be true or false."},
		{draft, "jit-configuration", map[string]any{"mapping-email": "${"}, "mapping-email is not a valid expression."},
		{draft, "jit-configuration", map[string]any{"mapping-display-name": "${}"}, "mapping-display-name is not a valid expression."},
		{saml, "sso-url", nil, "sso-url is required for SAML."},
		{saml, "sso-issuer", "", "sso-issuer is required for SAML."},
		{saml, "certificate", nil, "certificate is required for SAML."},
		{saml, "sso-url", "http://idp.example.test", "sso-url must be an https URL."},
		{saml, "sso-url", "http://127.0.0.1/sso", "sso-url must be an https URL."},
		{saml, "sso-issuer", " x", "sso-issuer must be at most 1024 characters in one line."},
		{saml, "certificate", "AAAA", "certificate must be X.509 certificates of RSA keys of at least 2048 bits or of ECDSA keys, as PEM or base64."},
		{saml, "username-attribute", "${", "username-attribute is not a valid expression."},
		{saml, "sign-authnrequest", true, "sign-authnrequest is not possible on this instance."},
		{saml, "signature-algorithm", "RSA_SHA1", "signature-algorithm must be one of RSA_SHA256, RSA_SHA384, RSA_SHA512."},
		{saml, "name-id-policy", "ANY", "name-id-policy must be one of NONE, UNSPECIFIED, EMAIL_ADDRESS, ENCRYPTED, ENTITY, KERBEROS, PERSISTENT, TRANSIENT, WINDOWS_DOMAIN_QUALIFIED_NAME, X509_SUBJECT_NAME."},
		{saml, "enabled", nil, ""},
		{oidc, "issuer-url", nil, "issuer-url is required for OIDC."},
		{oidc, "client-id", nil, "client-id is required for OIDC."},
		{oidc, "client-secret", nil, "client-secret is required for OIDC."},
		{oidc, "client-secret", "", "client-secret is required for OIDC."},
		{oidc, "issuer-url", "http://op.example.test", "issuer-url must be an https URL."},
		{oidc, "issuer-url", "https://op.example.test/?x", "issuer-url must be an https URL."},
		{oidc, "client-id", "a\nb", "client-id must be at most 255 printable ASCII characters."},
		{oidc, "username-claim", "${", "username-claim is not a valid expression."},
		{oidc, "additional-scopes", []string{"a b"}, "additional-scopes holds something that is no scope."},
		{oidc, "jit-configuration", map[string]any{"additional-openid-scopes": []string{"a b"}}, "additional-openid-scopes holds something that is no scope."},
		{draft, "certificate", long[:31_000], ""},
		{manual, "authorization-endpoint", nil, "authorization-endpoint is required when discovery-enabled is false."},
		{manual, "token-endpoint", "", "token-endpoint is required when discovery-enabled is false."},
		{manual, "userinfo-endpoint", nil, "userinfo-endpoint is required when discovery-enabled is false."},
		{manual, "authorization-endpoint", "op", "authorization-endpoint must be an https URL."},
		{manual, "token-endpoint", "http://op.example.test", "token-endpoint must be an https URL."},
		{manual, "userinfo-endpoint", "ftp://op.example.test", "userinfo-endpoint must be an https URL."},
	} {
		body := maps.Clone(c.of)
		if body[c.member] = c.value; c.value == nil {
			delete(body, c.member)
		}
		text, err := json.Marshal(body)
		must(t, err)
		w := h.tsv("latest", "POST /authconfig/idps", h.bearer("admin"), string(text))
		if c.text == "" {
			want(t, w, 200, "")
			want(t, h.tsv("latest", "DELETE /authconfig/idps/"+numberIn(t, w.Body.Bytes()), h.bearer("admin"), ""), 200, "")
			continue
		}
		want(t, w, 400, `{"message":"`+c.text+`"}`)
	}
	all, err := h.provided.List(t.Context(), h.login.Access.For(h.caller(t, "admin")))
	must(t, err)
	if len(all) != 4 {
		t.Errorf("%d providers, want 4", len(all))
	}
}

// Rule F14: whoever says who vouches for people has proved who they are not long ago; each time, or once more in the session.
func TestProviders_are_set_up_by_who_signed_in_a_moment_ago(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.provide(t, certificate(t))
	changes := map[string]string{
		"POST /authconfig/idps": `{"sso-type":"NONE","name":"New"}`, "PATCH /authconfig/idps/1": `{"buttonText":"x"}`, "DELETE /authconfig/idps/4": "",
	}
	h.clock.pass(11 * time.Minute)
	for operation, body := range changes {
		for _, sent := range []string{body, "{"} {
			want(t, h.tsv("latest", operation, h.bearer("admin"), sent), 401, `{"message":"Log in again or confirm your identity to change credentials."}`)
		}
		want(t, h.tsv("latest", operation, h.bearer("mara"), body), 403, "")
	}
	for _, operation := range []string{"GET /authconfig/idps", "GET /authconfig/idps/1", "GET /authconfig/sso"} {
		want(t, h.tsv("latest", operation, h.bearer("admin"), ""), 200, "")
	}
	want(t, h.tsv("latest", "PATCH /authconfig/idps/1", basic("admin", password), `{"buttonText":"by Basic"}`), 200, "")
	want(t, h.tsv("latest", "POST /elevate-permissions/password", h.bearer("admin"), `{"password":"`+password+`"}`), 204, "")
	for operation, body := range changes {
		want(t, h.tsv("latest", operation, h.bearer("admin"), body), 200, "")
	}
}

func numberIn(t *testing.T, body []byte) string {
	t.Helper()
	var is struct{ ID json.Number }
	must(t, json.Unmarshal(body, &is))
	return is.ID.String()
}

// What a request gives is changed, and nothing else: neither another member nor what no member is for.
func TestChange_touches_what_is_given(t *testing.T) {
	t.Parallel()
	h, cert := newHouse(t, local), certificate(t)
	h.provide(t, cert)
	saml := map[string]any{
		"crowd-url": "https://crowd.example.test", "sso-url": "https://other.example.test", "sso-issuer": "other", "certificate": certificate(t), "username-attribute": "${mail}",
		"signature-algorithm": "RSA_SHA384", "name-id-policy": "NONE", "idp-type": "CROWD", "enabled": false,
	}
	oidc := map[string]any{
		"issuer-url": "https://op.example.test", "client-id": "other", "discovery-enabled": true, "authorization-endpoint": "https://op.example.test/a",
		"token-endpoint": "https://op.example.test/t", "userinfo-endpoint": "https://op.example.test/u", "additional-scopes": []any{"groups", "x"}, "username-claim": "${email}", "enabled": false,
	}
	every := map[string]any{
		"name": "Renamed", "buttonText": "Press", "include-customer-logins": true, "enable-remember-me": true, "user-provisioning-enabled": true, "mapping-display-name": "${name}",
		"mapping-email": "${email}", "mapping-groups": "groups", "additional-openid-scopes": []any{"groups"},
	}
	draft := maps.Clone(every)
	maps.Copy(draft, saml)
	maps.Copy(draft, oidc)
	maps.Copy(saml, every)
	maps.Copy(oidc, every)
	delete(draft, "enabled")
	for id, values := range map[string]map[string]any{"1": saml, "2": oidc, "4": draft} {
		t.Run(id, func(t *testing.T) {
			at := "/authconfig/idps/" + id
			random := mathrand.New(mathrand.NewPCG(7, 11))
			for round := range 60 {
				was := h.shown(t, at)
				given := map[string]any{}
				for member, value := range values {
					if random.IntN(4) == 0 {
						given[member] = value
					}
				}
				if name, ok := given["name"]; ok {
					given["name"] = fmt.Sprint(name, " ", id, " ", round) // and the button follows, where it has no text of its own
				}
				expected := maps.Clone(was)
				maps.Copy(expected, given)
				if expected["buttonText"] == "Log in with "+fmt.Sprint(was["name"]) {
					expected["buttonText"] = "Log in with " + fmt.Sprint(expected["name"])
				}
				must(t, h.patch(at, given))
				if is := h.shown(t, at); !maps.EqualFunc(is, expected, reflect.DeepEqual) {
					t.Fatalf("given %v\nwas  %v\nis   %v\nwant %v", given, was, is, expected)
				}
			}
		})
	}
}

// shown is a provider without the time of its change, jit-configuration laid flat.
func (h *house) shown(t *testing.T, at string) map[string]any {
	t.Helper()
	is := map[string]any{}
	must(t, json.Unmarshal(h.tsv("latest", "GET "+at, h.bearer("admin"), "").Body.Bytes(), &is))
	jit, _ := is["jit-configuration"].(map[string]any)
	maps.Copy(is, jit)
	delete(is, "jit-configuration")
	delete(is, "last-updated")
	return is
}

// patch sends members, those of jit-configuration in their place, along with some that mean nothing here.
func (h *house) patch(at string, members map[string]any) error {
	body, jit := maps.Clone(members), map[string]any{"Provision": true, "groups": "nobody"}
	for _, member := range []string{"user-provisioning-enabled", "mapping-display-name", "mapping-email", "mapping-groups", "additional-openid-scopes"} {
		if value, ok := body[member]; ok {
			jit[member] = value
			delete(body, member)
		}
	}
	maps.Copy(body, map[string]any{
		"jit-configuration": jit, "last-updated": "1999-01-01T00:00:00.000Z", "links": map[string]any{}, "sealed": true, "kind": "ldap", "number": 77, "handle": "x",
		"settings": map[string]any{"link": "never"}, "link": "email", "extra": map[string]any{"x": "y"}, "unsupported": "", "domains": []string{"example.test"}, "Name": "No",
	})
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if w := h.tsv("1.0", "PATCH "+at, h.bearer("admin"), string(text)); w.Code != 200 {
		return fmt.Errorf("answered %d %s to %s", w.Code, w.Body, text)
	}
	return nil
}

// Nothing that a body says chooses what no member is for, and no answer shows a secret.
func TestProviders_are_kept(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.provide(t, certificate(t))
	root := h.login.Access.For(access.LocalCaller("root", h.clock.Now()))
	_, err := h.provided.Change(t.Context(), root, h.byNumber(t, 2).ID, func(p identity.Provider) (identity.Provider, error) { // as our own API sets it up
		p.Settings.Domains, p.Settings.OIDC.KeysURL, p.Settings.OIDC.AllowUnbound = []string{"example.test"}, "https://op.example.test/k", true
		p.Settings.Link, p.Settings.Extra = identity.LinkByEmail, map[string]string{"note": "ours", "include-customer-logins": "perhaps"}
		return p, nil
	})
	must(t, err)
	was := h.byNumber(t, 2)
	must(t, h.patch("/authconfig/idps/2", map[string]any{"enabled": true, "client-secret": ""}))
	is := h.byNumber(t, 2)
	is.Updated = was.Updated
	if !reflect.DeepEqual(is, was) {
		t.Errorf("was %+v\nis  %+v", was, is)
	}
	if is.Secret.Reveal() != "cloud secret" {
		t.Error("the secret did not stay")
	}
	must(t, h.patch("/authconfig/idps/2", map[string]any{"client-secret": "another secret"}))
	if h.byNumber(t, 2).Secret.Reveal() != "another secret" {
		t.Error("the secret was not changed")
	}
	must(t, h.patch("/authconfig/idps/2", map[string]any{"discovery-enabled": false, "authorization-endpoint": "https://op.example.test/a", "token-endpoint": "https://op.example.test/t"})) // its keys are known
	for _, operation := range []string{"GET /authconfig/idps", "GET /authconfig/idps/2", "GET /authconfig/login-options", "DELETE /authconfig/idps/2"} {
		if body := h.tsv("latest", operation, h.bearer("admin"), "").Body.String(); strings.Contains(body, "secret") || strings.Contains(body, "perhaps") {
			t.Errorf("%s shows %s", operation, body)
		}
	}
	want(t, h.tsv("latest", "POST /authconfig/idps", h.bearer("admin"), `{"name":"New","sso-type":"OIDC","issuer-url":"https://op.example.test","client-id":"x","client-secret":"new secret"}`), 200, "")
	made := h.byNumber(t, 5)
	if made.Settings.Link != identity.LinkByName || made.Settings.OIDC.NameClaim != "${sub}" || made.Secret.Reveal() != "new secret" || made.Settings.Unsupported != "" {
		t.Errorf("made %+v", made)
	}
}

func (h *house) byNumber(t *testing.T, number int64) identity.Provider {
	t.Helper()
	p, err := h.provided.Store.ByNumber(t.Context(), number)
	must(t, err)
	return p
}

// What a note beside the settings says is no secret.
func TestDrafts_need_a_secret_that_is_kept(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	by := h.login.Access.For(access.LocalCaller("root", h.clock.Now()))
	_, err := h.provided.Add(t.Context(), by, identity.NewProvider{
		Kind: identity.Draft, Name: "Later", Disabled: true, Settings: identity.ProviderSettings{Extra: map[string]string{"client-secret": "given"}},
	})
	must(t, err)
	const become = `{"sso-type":"OIDC","issuer-url":"https://op.example.test","client-id":"gate"}`
	want(t, h.tsv("latest", "PATCH /authconfig/idps/1", h.bearer("admin"), become), 400, `{"message":"client-secret is required for OIDC."}`)
	want(t, h.tsv("latest", "PATCH /authconfig/idps/1", h.bearer("admin"), `{"client-secret":"s"}`), 200, "")
	want(t, h.tsv("latest", "PATCH /authconfig/idps/1", h.bearer("admin"), become), 200, "")
}

// A draft takes anything, and becomes a provider once it has what one needs. Crowd is kept, and nobody comes from it.
func TestDrafts_become_providers(t *testing.T) {
	t.Parallel()
	h, cert := newHouse(t, local), certificate(t)
	send := func(operation, body string, status int) string {
		t.Helper()
		w := h.tsv("latest", operation, h.bearer("admin"), body)
		want(t, w, status, "")
		return w.Body.String()
	}
	send("POST /authconfig/idps", published(t, "idp", map[string]any{"id": nil, "enabled": false, "certificate": cert}), 200)
	if options := send("GET /authconfig/login-options", "", 200); strings.Contains(options, "IDP") {
		t.Errorf("a draft is offered: %s", options)
	}
	send("PATCH /authconfig/idps/1", `{"sso-type":"SAML"}`, 400)
	if p := h.byNumber(t, 1); p.Kind != identity.Draft {
		t.Errorf("is %s", p.Kind)
	}
	body := send("PATCH /authconfig/idps/1", `{"sso-type":"SAML","enabled":true,"idp-type":"CROWD","sso-url":"https://idp.example.test"}`, 200)
	if strings.Contains(body, "issuer-url") || !strings.Contains(body, `"sso-issuer":"<string>"`) {
		t.Errorf("became %s", body)
	}
	p := h.byNumber(t, 1)
	if p.Settings.Unsupported != "Crowd identity providers are not supported." || len(p.Settings.Extra) != 6 {
		t.Errorf("kept %q and %q", p.Settings.Unsupported, p.Settings.Extra)
	}
	if options := send("GET /authconfig/login-options", "", 200); !strings.Contains(options, `{"type":"IDP","id":1,"buttonText":"<string>","loginLink":"/login/sso/1"}`) {
		t.Errorf("offered %s", options)
	}
	send("PATCH /authconfig/idps/1", `{"idp-type":"GENERIC"}`, 200)
	if p := h.byNumber(t, 1); p.Settings.Unsupported != "" {
		t.Errorf("still %q", p.Settings.Unsupported)
	}
}
