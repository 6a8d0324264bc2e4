package native

import (
	"context"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// wireApplication is a program that can sign in.
type wireApplication struct {
	ID          string     `json:"id" format:"uuid"`
	Account     string     `json:"account_id" format:"uuid"`
	Name        string     `json:"name"`
	Description string     `json:"description"`
	AuthType    string     `json:"auth_type" enum:"secret,aws_iam,certificate,trusted_ca,ldap"`
	Disabled    bool       `json:"disabled"`
	Addresses   []string   `json:"addresses" nullable:"false" doc:"Networks that it may come from; none is anywhere."`
	Groups      []string   `json:"groups" nullable:"false" doc:"Ids."`
	Group       string     `json:"default_group_id"`
	Role        string     `json:"role" doc:"A word of the caller's own."`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
	LastLoginAt *time.Time `json:"last_login_at" nullable:"true"`
}

func applicationOf(a identity.Application) wireApplication {
	out := wireApplication{
		ID: a.ID, Account: a.Account, Name: a.Name, Description: a.Description, AuthType: string(a.AuthType), Disabled: a.Shut(), Addresses: []string{}, Groups: append([]string{}, a.Groups...),
		Group: a.Default, Role: a.Role, CreatedAt: a.Created.UTC(), UpdatedAt: a.Updated.UTC(), LastLoginAt: moment(a.LastLogin),
	}
	for _, p := range a.Addresses {
		out.Addresses = append(out.Addresses, p.String())
	}
	return out
}

// wireApplicationSecret is an application with a secret that was made just now.
type wireApplicationSecret struct {
	Application wireApplication `json:"application"`
	Secret      string          `json:"secret" doc:"It is shown this once."`
}

func (a *API) listApplications(ctx context.Context, by access.Caller, in oneAccount) (wirePage[wireApplication], error) {
	all, err := a.Apps.List(ctx, a.Access.For(by), in.Account)
	return whole(all, applicationOf), err
}

type createApplication struct {
	Account string `path:"account" doc:"Id of the account."`
	Body    wireApplicationDraft
}

type wireApplicationDraft struct {
	Name        string   `json:"name" maxLength:"4096" example:"build-agent"`
	Description string   `json:"description,omitempty" maxLength:"4096"`
	Addresses   []string `json:"addresses,omitempty" nullable:"false" maxItems:"100" doc:"Networks that it may come from, such as 192.0.2.0/24."`
	Groups      []string `json:"groups,omitempty" nullable:"false" maxItems:"1000" doc:"Ids of groups of the account."`
	Group       string   `json:"default_group_id,omitempty" maxLength:"255"`
	Role        string   `json:"role,omitempty" maxLength:"4096" doc:"A word of your own, shown back."`
}

func (a *API) createApplication(ctx context.Context, by access.Caller, in createApplication) (wireApplicationSecret, error) {
	networks, err := prefixes(in.Body.Addresses)
	if err != nil {
		return wireApplicationSecret{}, err
	}
	made, plain, err := a.Apps.Create(ctx, a.Access.For(by), identity.NewApplication{
		Account: in.Account, Name: in.Body.Name, Description: in.Body.Description, Addresses: networks, Groups: in.Body.Groups, Default: in.Body.Group, Role: in.Body.Role,
	})
	return wireApplicationSecret{applicationOf(made), plain.Reveal()}, err
}

// prefixes reads networks; one address is a network of its own.
func prefixes(texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			var one netip.Addr
			if one, err = netip.ParseAddr(text); err == nil && one.Zone() == "" {
				p = netip.PrefixFrom(one, one.BitLen())
			}
		}
		if err != nil || !p.IsValid() {
			return nil, fault.Fields("an address is none, and no network", fault.Field{Path: "addresses", Message: "addresses or networks such as 192.0.2.0/24"})
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

type oneApplication struct {
	Application string `path:"application" doc:"Its id."`
}

func (a *API) showApplication(ctx context.Context, by access.Caller, in oneApplication) (wireApplication, error) {
	found, err := a.Apps.ByID(ctx, a.Access.For(by), in.Application)
	return applicationOf(found), err
}

type resetSecret struct {
	Application string `path:"application" doc:"Its id."`
	Body        wireSecretReset
}

type wireSecretReset struct {
	Size    int64 `json:"size,omitempty" minimum:"16" maximum:"256" default:"64" doc:"Random bytes of the new secret."`
	Overlap int64 `json:"overlap_seconds,omitempty" minimum:"0" maximum:"31536000" default:"0" doc:"How long the old secret and the sessions go on. With 0 they end now."`
}

func (a *API) resetSecret(ctx context.Context, by access.Caller, in resetSecret) (wireApplicationSecret, error) {
	is, plain, err := a.Apps.ResetSecret(ctx, a.Access.For(by), in.Application, int(in.Body.Size), time.Duration(in.Body.Overlap)*time.Second)
	return wireApplicationSecret{applicationOf(is), plain.Reveal()}, err
}

// setApplicationDisabled lets an application in again, or shuts it out.
func (a *API) setApplicationDisabled(disabled bool) func(context.Context, access.Caller, oneApplication) (none, error) {
	return func(ctx context.Context, by access.Caller, in oneApplication) (none, error) {
		return none{}, a.Apps.SetDisabled(ctx, a.Access.For(by), in.Application, disabled)
	}
}

func (a *API) deleteApplication(ctx context.Context, by access.Caller, in oneApplication) (none, error) {
	return none{}, a.Apps.Delete(ctx, a.Access.For(by), in.Application)
}
