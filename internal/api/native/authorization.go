package native

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

func (a *API) authorizations() tag {
	return tag{"Authorizations", "What applications may do by the API of remote sessions. What one reaches stands on its lists; none is nothing. Changes hold from its next call on.", []line{
		op("GET", "/api/v1/authorizations", access.AuthorizationRead, "List authorizations", a.listAuthorizations),
		op("POST", "/api/v1/authorizations", access.AuthorizationCreate, "Create an authorization", a.createAuthorization, fresh, created, says("Its client secret is shown this once.")),
		op("GET", "/api/v1/authorizations/{authorization}", access.AuthorizationRead, "Show an authorization", a.showAuthorization),
		op("PATCH", "/api/v1/authorizations/{authorization}", access.AuthorizationUpdate, "Change an authorization", a.changeAuthorization, fresh, says("What is left out stays.")),
		op("POST", "/api/v1/authorizations/{authorization}/enable", access.AuthorizationUpdate, "Let an authorization in again", a.setAuthorizationEnabled(true)),
		op("POST", "/api/v1/authorizations/{authorization}/disable", access.AuthorizationUpdate, "Shut an authorization out, its tokens included", a.setAuthorizationEnabled(false)),
		op("GET", "/api/v1/authorizations/{authorization}/lists", access.AuthorizationRead, "List what an authorization reaches", a.listReach),
		op("PUT", "/api/v1/authorizations/{authorization}/lists/{kind}/{target}", access.AccessGrant, "Let an authorization reach something", a.addReach, fresh, says("Nobody can give more by it than they could give themselves.")),
		op("DELETE", "/api/v1/authorizations/{authorization}/lists/{kind}/{target}", access.AccessRevoke, "Take something off the lists of an authorization", a.removeReach),
		op("GET", "/api/v1/authorization-calls", access.AuthorizationRead, "Read the access log of authorizations, newest first", a.listCalls, says("Calls that were refused are in it too.")),
	}}
}

// wireAuthorization is what an application may do.
type wireAuthorization struct {
	ID          string     `json:"id" format:"uuid"`
	Application string     `json:"application_id" format:"uuid"`
	Name        string     `json:"name"`
	ClientID    string     `json:"client_id"`
	Enabled     bool       `json:"enabled"`
	Active      bool       `json:"active" doc:"It is enabled, has not expired, and its application is not shut out."`
	Resources   []string   `json:"resources" nullable:"false" doc:"PAM Core, Web Proxy Session, A2A; others open nothing."`
	Permission  string     `json:"permission" enum:"Read-only,Read and write"`
	Addresses   []string   `json:"addresses" nullable:"false" doc:"Networks that it may come from; none is nowhere."`
	Referrers   []string   `json:"referrers" nullable:"false" doc:"Hosts or origins whose pages may lead to its calls; none is any."`
	AutoPick    bool       `json:"auto_pick" doc:"A free credential is picked where it names none."`
	Ancestors   []string   `json:"frame_ancestors" nullable:"false" doc:"Origins whose pages may frame those of its sessions."`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
	ExpiresAt   *time.Time `json:"expires_at" nullable:"true"`
}

const (
	readOnly     = "Read-only"
	readAndWrite = "Read and write"
)

func (a *API) authorizationOf(x identity.Authorization) wireAuthorization {
	out := wireAuthorization{
		ID: x.ID, Application: x.Application, Name: x.Name, ClientID: x.ClientID, Enabled: x.Enabled, Active: x.Opens(a.Now()), Resources: append([]string{}, x.Resources...),
		Permission: readOnly, Addresses: []string{}, Referrers: append([]string{}, x.Referrers...), AutoPick: x.AutoPick, Ancestors: append([]string{}, x.Ancestors...),
		CreatedAt: x.Created.UTC(), UpdatedAt: x.Updated.UTC(), ExpiresAt: moment(x.Expires),
	}
	if x.Writes {
		out.Permission = readAndWrite
	}
	for _, p := range x.Addresses {
		out.Addresses = append(out.Addresses, p.String())
	}
	return out
}

type listAuthorizations struct {
	Application string `query:"application" doc:"Only those of the application of this id."`
}

func (a *API) listAuthorizations(ctx context.Context, by access.Caller, in listAuthorizations) (wirePage[wireAuthorization], error) {
	all, err := a.Authorizations.List(ctx, a.Access.For(by), in.Application)
	return whole(all, a.authorizationOf), err
}

type createAuthorization struct {
	Body wireAuthorizationDraft
}

type wireAuthorizationDraft struct {
	Application string   `json:"application_id" maxLength:"64"`
	Name        string   `json:"name" maxLength:"4096" example:"api"`
	Resources   []string `json:"resources" nullable:"false" maxItems:"20" example:"[\"PAM Core\",\"Web Proxy Session\"]"`
	Permission  string   `json:"permission,omitempty" enum:"Read-only,Read and write"`
	Addresses   []string `json:"addresses,omitempty" nullable:"false" maxItems:"100" doc:"Networks that it may come from; none is nowhere, 0.0.0.0/0 and ::/0 are anywhere."`
	Referrers   []string `json:"referrers,omitempty" nullable:"false" maxItems:"100"`
	AutoPick    bool     `json:"auto_pick,omitempty"`
	Ancestors   []string `json:"frame_ancestors,omitempty" nullable:"false" maxItems:"100"`
	Expires     string   `json:"expires_at,omitempty" format:"date-time" maxLength:"64"`
}

// wireAuthorizationSecret is an authorization that was made just now.
type wireAuthorizationSecret struct {
	Authorization wireAuthorization `json:"authorization"`
	Secret        string            `json:"client_secret" doc:"It is shown this once."`
}

func (a *API) createAuthorization(ctx context.Context, by access.Caller, in createAuthorization) (wireAuthorizationSecret, error) {
	networks, err := prefixes(in.Body.Addresses)
	if err != nil {
		return wireAuthorizationSecret{}, err
	}
	expires, err := readInstant("expires_at", in.Body.Expires)
	if err != nil {
		return wireAuthorizationSecret{}, err
	}
	made, plain, err := a.Authorizations.Create(ctx, a.Access.For(by), identity.NewAuthorization{
		Application: in.Body.Application, Name: in.Body.Name, Expires: expires, Resources: in.Body.Resources, Writes: in.Body.Permission == readAndWrite, Addresses: networks,
		Referrers: in.Body.Referrers, AutoPick: in.Body.AutoPick, Ancestors: in.Body.Ancestors,
	})
	return wireAuthorizationSecret{a.authorizationOf(made), plain.Reveal()}, err
}

type oneAuthorization struct {
	Authorization string `path:"authorization" doc:"Its id."`
}

func (a *API) showAuthorization(ctx context.Context, by access.Caller, in oneAuthorization) (wireAuthorization, error) {
	found, err := a.Authorizations.ByID(ctx, a.Access.For(by), in.Authorization)
	return a.authorizationOf(found), err
}

type changeAuthorization struct {
	oneAuthorization
	Body wireAuthorizationChange
}

type wireAuthorizationChange struct {
	Name       *string   `json:"name,omitempty" maxLength:"4096"`
	Resources  *[]string `json:"resources,omitempty" maxItems:"20"`
	Permission string    `json:"permission,omitempty" enum:"Read-only,Read and write"`
	Addresses  *[]string `json:"addresses,omitempty" maxItems:"100"`
	Referrers  *[]string `json:"referrers,omitempty" maxItems:"100"`
	AutoPick   *bool     `json:"auto_pick,omitempty"`
	Ancestors  *[]string `json:"frame_ancestors,omitempty" maxItems:"100"`
	Expires    *string   `json:"expires_at,omitempty" format:"date-time" maxLength:"64" doc:"Empty is never."`
}

func (a *API) changeAuthorization(ctx context.Context, by access.Caller, in changeAuthorization) (wireAuthorization, error) {
	to := identity.AuthorizationChange{
		Name: in.Body.Name, Resources: in.Body.Resources, Referrers: in.Body.Referrers, AutoPick: in.Body.AutoPick, Ancestors: in.Body.Ancestors,
	}
	if in.Body.Expires != nil {
		expires, err := readInstant("expires_at", *in.Body.Expires)
		if err != nil {
			return wireAuthorization{}, err
		}
		to.Expires = &expires
	}
	if in.Body.Permission != "" {
		writes := in.Body.Permission == readAndWrite
		to.Writes = &writes
	}
	if in.Body.Addresses != nil {
		networks, err := prefixes(*in.Body.Addresses)
		if err != nil {
			return wireAuthorization{}, err
		}
		networks = append([]netip.Prefix{}, networks...)
		to.Addresses = &networks
	}
	is, err := a.Authorizations.Update(ctx, a.Access.For(by), in.Authorization, to)
	return a.authorizationOf(is), err
}

func (a *API) setAuthorizationEnabled(enabled bool) func(context.Context, access.Caller, oneAuthorization) (none, error) {
	return func(ctx context.Context, by access.Caller, in oneAuthorization) (none, error) {
		_, err := a.Authorizations.Update(ctx, a.Access.For(by), in.Authorization, identity.AuthorizationChange{Enabled: &enabled})
		return none{}, err
	}
}

// wireReach is something that an authorization reaches.
type wireReach struct {
	Kind      string    `json:"kind" enum:"device,credential,user,group"`
	ID        string    `json:"id" doc:"* is all of the kind, now and later."`
	CreatedAt time.Time `json:"created_at"`
}

func reachOf(b access.Binding) wireReach {
	return wireReach{Kind: b.Resource.Kind, ID: b.Resource.ID, CreatedAt: b.Created.UTC()}
}

func (a *API) listReach(ctx context.Context, by access.Caller, in oneAuthorization) (wirePage[wireReach], error) {
	if _, err := a.Authorizations.ByID(ctx, a.Access.For(by), in.Authorization); err != nil {
		return wirePage[wireReach]{}, err
	}
	all, err := a.Access.ListsOf(ctx, by, in.Authorization)
	return whole(all, reachOf), err
}

type oneReach struct {
	oneAuthorization
	Kind   string `path:"kind" doc:"device, credential, user or group."`
	Target string `path:"target" doc:"Its id; of a device or a credential also what else names it. * is all of the kind; there is none for groups."`
}

func (a *API) addReach(ctx context.Context, by access.Caller, in oneReach) (none, error) {
	role, on, err := a.reach(ctx, by, in)
	if err != nil {
		return none{}, err
	}
	return none{}, a.Access.Grant(ctx, by, access.Subject{Kind: access.Authorization, ID: in.Authorization}, role, on)
}

func (a *API) removeReach(ctx context.Context, by access.Caller, in oneReach) (none, error) {
	role, on, err := a.reach(ctx, by, in)
	if err != nil {
		return none{}, err
	}
	return none{}, a.Access.Revoke(ctx, by, access.Subject{Kind: access.Authorization, ID: in.Authorization}, role, on)
}

var errReach = fault.Fields("an authorization lists things of the kinds device, credential, user and group", fault.Field{Path: "kind", Message: "device, credential, user or group"})

// reach finds what a line of a list is about.
func (a *API) reach(ctx context.Context, by access.Caller, in oneReach) (access.Role, access.Resource, error) {
	if _, err := a.Authorizations.ByID(ctx, a.Access.For(by), in.Authorization); err != nil {
		return "", access.Resource{}, err
	}
	roles := map[string]access.Role{
		access.DeviceKind: access.DeviceListed, access.CredentialKind: access.CredentialListed, access.UserKind: access.UserListed, access.GroupKind: access.GroupListed,
	}
	role, known := roles[in.Kind]
	all := in.Target == "*"
	if !known || all && !slices.Contains([]string{access.DeviceKind, access.CredentialKind, access.UserKind}, in.Kind) {
		return "", access.Resource{}, errReach
	}
	if all {
		return role, access.Every(in.Kind), nil
	}
	on, err := a.listed(ctx, by, in)
	return role, on, err
}

func (a *API) listed(ctx context.Context, by access.Caller, in oneReach) (access.Resource, error) {
	switch in.Kind {
	case access.DeviceKind:
		x, err := a.Devices.Find(ctx, by, in.Target)
		return x.Resource(), err
	case access.CredentialKind:
		x, err := a.Vault.Find(ctx, by, in.Target)
		return x.Resource(), err
	case access.GroupKind:
		x, err := a.Groups.ByID(ctx, a.Access.For(by), in.Target)
		return access.InAccount(x.Account, access.GroupKind, x.ID), err
	}
	x, err := a.Users.ByID(ctx, a.Access.For(by), in.Target)
	return access.Resource{Kind: access.UserKind, ID: x.ID}, err
}

// wireCall is a row of the access log.
type wireCall struct {
	ID       string    `json:"id" format:"uuid"`
	At       time.Time `json:"at"`
	Client   string    `json:"client_id"`
	Name     string    `json:"authorization"`
	Address  string    `json:"address"`
	Resource string    `json:"resource"`
	Event    string    `json:"event"`
	Method   string    `json:"method"`
	Path     string    `json:"path"`
	Status   int64     `json:"status"`
	Error    string    `json:"error"`
	Node     string    `json:"node"`
	Took     float64   `json:"took_ms"`
}

func callOf(c identity.Call) wireCall {
	return wireCall{
		ID: c.ID, At: c.At.UTC(), Client: c.Client, Name: c.Name, Address: c.Address, Resource: c.Resource, Event: c.Event, Method: c.Method, Path: c.Path, Status: int64(c.Status),
		Error: c.Error, Node: c.Node, Took: float64(c.Took.Microseconds()) / 1000,
	}
}

func (a *API) listCalls(ctx context.Context, by access.Caller, in window) (wirePage[wireCall], error) {
	w, err := in.page()
	if err != nil {
		return wirePage[wireCall]{}, err
	}
	var p page.Page[identity.Call]
	p, err = a.Authorizations.Calls(ctx, a.Access.For(by), w)
	return pageOf(p, callOf), err
}
