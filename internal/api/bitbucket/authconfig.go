package bitbucket

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// singleSignOn are the routes of identity providers and of the sign-in page.
func (d *Dialect) singleSignOn() []api.Route {
	const at = "/rest/authconfig/{v}"
	return []api.Route{
		d.office("GET", at+"/idps", access.ProviderRead, d.listProviders),
		d.vouching("POST", at+"/idps", access.ProviderCreate, d.createProvider, providerTaken),
		d.office("GET", at+"/idps/{id}", access.ProviderRead, d.showProvider),
		d.vouching("PATCH", at+"/idps/{id}", access.ProviderUpdate, d.changeProvider, providerTaken),
		d.vouching("DELETE", at+"/idps/{id}", access.ProviderDelete, d.deleteProvider),
		d.office("GET", at+"/jit-users", access.ProviderRead, d.listMade),
		{Method: "GET", Pattern: at + "/login-options", Action: access.Public, Handler: d.anybody(d.loginOptions)},
		d.office("GET", at+"/sso", access.SSORead, d.showSSO),
		d.office("PATCH", at+"/sso", access.SSOUpdate, d.changeSSO),
	}
}

var providerTaken = row{identity.ErrProviderTaken, http.StatusBadRequest, "An identity provider of that name exists."}

// listProviders lists the providers by id.
func (d *Dialect) listProviders(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	all, err := d.Providers.List(r.Context(), d.Access.For(by))
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, foreign)
	slices.SortFunc(all, func(a, b identity.Provider) int { return int(a.Number - b.Number) })
	page := results(all, windowOf(r))
	entities := make([]wireProvider, 0, len(page.Results))
	for _, p := range page.Results {
		entities = append(entities, entity(p))
	}
	return reply(w, wireResults[wireProvider]{page.Size, page.Limit, page.IsLastPage, entities, page.Start})
}

// foreign says that a provider is of a kind which this wire does not know.
func foreign(p identity.Provider) bool {
	_, known := ssoType(p.Kind)
	return !known
}

// createProvider adds a provider.
func (d *Dialect) createProvider(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	in, err := readChange(r)
	if err != nil {
		return err
	}
	p, err := in.made()
	if err != nil {
		return err
	}
	p, err = d.Providers.Add(r.Context(), d.Access.For(by), identity.NewProvider{Kind: p.Kind, Name: p.Name, Disabled: !p.Enabled, Settings: p.Settings, Secret: p.Secret})
	if err != nil {
		return inWireWords(err)
	}
	return reply(w, entity(p))
}

func readChange(r *http.Request) (wireChange, error) {
	body, err := read(r)
	if err != nil {
		return wireChange{}, err
	}
	return readProvider(body)
}

// showProvider shows one.
func (d *Dialect) showProvider(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	p, err := d.provider(r, by)
	if err != nil {
		return err
	}
	return reply(w, entity(p))
}

// changeProvider changes the members that come.
func (d *Dialect) changeProvider(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	in, err := readChange(r)
	if err != nil {
		return err
	}
	p, err := d.provider(r, by)
	if err != nil {
		return err
	}
	p, err = d.Providers.Change(r.Context(), d.Access.For(by), p.ID, in.changed)
	if err != nil {
		return inWireWords(err)
	}
	return reply(w, entity(p))
}

// deleteProvider removes one, and shows it for the last time.
func (d *Dialect) deleteProvider(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	p, err := d.provider(r, by)
	if err != nil {
		return err
	}
	p, err = d.Providers.Remove(r.Context(), d.Access.For(by), p.ID)
	if err != nil {
		return err
	}
	return reply(w, entity(p))
}

// provider finds the one that the path names.
func (d *Dialect) provider(r *http.Request, by access.Caller) (identity.Provider, error) {
	id := r.PathValue("id")
	unknown := fault.Newf(fault.NotFound, "No identity provider with ID %s exists.", id)
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return identity.Provider{}, unknown
	}
	p, err := d.Providers.ByNumber(r.Context(), d.Access.For(by), number)
	if fault.Is(err, fault.NotFound) || err == nil && foreign(p) {
		return identity.Provider{}, unknown
	}
	return p, err
}

// faultTexts are the domain's faults in the words of this wire, by the place that they name.
var faultTexts = map[string]string{
	"name":               "name must be at most 255 characters in one line.",
	"button":             "buttonText must be at most 40 characters in one line.",
	"extra":              "A member is too long.",
	"jit.display":        "mapping-display-name is not a valid expression.",
	"jit.email":          "mapping-email is not a valid expression.",
	"jit.groups":         "mapping-groups is not the name of an attribute or a claim.",
	"jit.scopes":         "additional-openid-scopes holds something that is no scope.",
	"saml.issuer":        "sso-issuer must be at most 1024 characters in one line.",
	"saml.sso_url":       "sso-url must be an https URL.",
	"saml.certificate":   "certificate must be X.509 certificates of RSA keys of at least 2048 bits or of ECDSA keys, as PEM or base64.",
	"saml.name_claim":    "username-attribute is not a valid expression.",
	"saml.sign_requests": "sign-authnrequest is not possible on this instance.",
	"oidc.issuer":        "issuer-url must be an https URL.",
	"oidc.client_id":     "client-id must be at most 255 printable ASCII characters.",
	"oidc.auth_url":      "authorization-endpoint must be an https URL.",
	"oidc.token_url":     "token-endpoint must be an https URL.",
	"oidc.userinfo_url":  "userinfo-endpoint must be an https URL.",
	"oidc.scopes":        "additional-scopes holds something that is no scope.",
	"oidc.name_claim":    "username-claim is not a valid expression.",
	"paths":              "allowed-paths must hold at most 100 patterns of at most 255 bytes without control characters.",
	"users":              "allowed-users must hold at most 100 patterns of at most 255 bytes without control characters.",
}

// inWireWords says the first fault of settings with this wire's names of the members.
func inWireWords(err error) error {
	for _, f := range fault.FieldsOf(err) {
		if text, ok := faultTexts[f.Path]; ok {
			return fault.Wrap(fault.Invalid, text, err)
		}
	}
	return err
}

// wireMade is a user whom a provider made.
type wireMade struct {
	Name    string `json:"username"`
	Display string `json:"display-name"`
	Email   string `json:"email"`
}

// listMade lists the users whom providers made.
func (d *Dialect) listMade(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	all, err := d.Providers.Made(r.Context(), d.Access.For(by))
	if err != nil {
		return err
	}
	made := make([]wireMade, 0, len(all))
	for _, u := range all {
		made = append(made, wireMade{u.Name, u.Names.Display, u.Email})
	}
	return reply(w, made)
}
