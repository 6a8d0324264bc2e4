package fortanix

import (
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
)

// discover lists the ways to sign in, the same for every e-mail address of a domain, existing or not (rule F6).
func (d *Dialect) discover(w http.ResponseWriter, r *http.Request) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	p := login.Presented{Address: api.Remote(r.Context()), Door: Name, Request: api.RequestID(r.Context())}
	account := r.URL.Query().Get("acct_id")
	id, ok := wireUUID(account)
	if account != "" && !ok {
		return invalid("acct_id")
	}
	p.Account = id
	if p.Name = body.optional("user_email"); body.wrong() != nil && account == "" {
		return body.wrong()
	}
	ways, err := d.Login.Ways(r.Context(), p)
	if err != nil {
		return err
	}
	return reply(w, list(ways, wayOf))
}

// wireWay is one way to sign in by its name; its kinds have further members, all of which callers demand.
type wireWay struct {
	Method string `json:"method"`
}

type wireProvider struct {
	wireWay
	Name    string `json:"name"`
	IconURL string `json:"icon_url"`
	IDP     []byte `json:"idp_id"`
}

type wireSAML struct {
	wireProvider
	ID         string `json:"id"`
	BindingURL string `json:"binding_url"`
	Request    string `json:"authn_request"`
}

type wireOAuth struct {
	wireProvider
	AuthorizationURL string   `json:"authorization_url"`
	ClientID         string   `json:"client_id"`
	RedirectURI      string   `json:"redirect_uri"`
	State            string   `json:"state"`
	Parameters       struct{} `json:"auth_params"`
}

func wayOf(way login.Way) any {
	if way.Provider == nil {
		return wireWay{"password"}
	}
	to, leave := wireProvider{Name: way.Provider.Name, IDP: way.Provider.Handle[:]}, way.Departure
	switch way.Provider.Kind {
	case identity.SAML:
		to.Method = "saml-post"
		return wireSAML{wireProvider: to, ID: leave.Flow.State.Reveal(), BindingURL: leave.URL, Request: leave.Request}
	case identity.OIDC:
		to.Method = "oauth-auth-code-grant"
		return wireOAuth{
			wireProvider: to, AuthorizationURL: leave.Partial, ClientID: leave.ClientID, RedirectURI: leave.RedirectURI, State: leave.Flow.State.Reveal(),
		}
	default:
		to.Method = "ldap-password"
		return to
	}
}
