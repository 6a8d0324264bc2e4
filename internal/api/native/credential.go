package native

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

func (a *API) credentials() tag {
	return tag{"Credentials", "What opens devices. Secrets are written, lent to sessions unseen, and shown to nobody but who checks one out by right.", []line{
		op("GET", "/api/v1/credentials", access.CredentialRead, "List the credentials that one may see", a.listCredentials),
		op("POST", "/api/v1/credentials", access.CredentialCreate, "Add a credential to a device", a.createCredential, created),
		op("GET", "/api/v1/credentials/{credential}", access.CredentialRead, "Show a credential, without its secret", a.showCredential),
		op("PATCH", "/api/v1/credentials/{credential}", access.CredentialUpdate, "Change a credential", a.changeCredential, says("What is left out stays, the secret too.")),
		op("POST", "/api/v1/credentials/{credential}/enable", access.CredentialUpdate, "Switch a credential on", a.setCredentialDisabled(false)),
		op("POST", "/api/v1/credentials/{credential}/disable", access.CredentialUpdate, "Switch a credential off", a.setCredentialDisabled(true), says("Its live sessions end.")),
		op("POST", "/api/v1/credentials/{credential}/check-out", access.CredentialCheckOut, "See the secret of a credential", a.checkOut, fresh, says("It is recorded, the credential is marked for rotation, and the caller has custody of it until it is checked in or the time is over; once more renews that.")),
		op("GET", "/api/v1/credentials/{credential}/custody", access.CredentialRead, "List who has checked a credential out", a.listCustody),
		op("DELETE", "/api/v1/credentials/{credential}/custody", access.CredentialCheckIn, "Check a credential in", a.checkIn, says("One's own custody.")),
	}}
}

// wireCredential is what opens a device, without its secret.
type wireCredential struct {
	ID            string     `json:"id" format:"uuid"`
	Number        int64      `json:"number"`
	Identifier    string     `json:"identifier"`
	DeviceID      string     `json:"device_id" format:"uuid"`
	Host          string     `json:"host"`
	Username      string     `json:"username"`
	Kind          string     `json:"kind" enum:"password,ssh_key"`
	Type          string     `json:"type"`
	Domain        string     `json:"domain" doc:"It opens all devices of it; empty: its own device alone."`
	Additional    string     `json:"additional"`
	Tags          []string   `json:"tags" nullable:"false"`
	Parent        int64      `json:"parent" doc:"Number of the credential whose password it is said to share; 0 is none."`
	Protocols     *[]string  `json:"protocols" nullable:"true" doc:"By which it may be used; null: all of the device."`
	HasSecret     bool       `json:"has_secret"`
	NeverShown    bool       `json:"never_shown" doc:"Nobody checks it out."`
	Exclusive     bool       `json:"exclusive" doc:"One holder at a time."`
	NeedsRotation bool       `json:"needs_rotation" doc:"Somebody has seen the secret since it was set."`
	Disabled      bool       `json:"disabled"`
	CreatedAt     time.Time  `json:"created_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
	LastUsedAt    *time.Time `json:"last_used_at" nullable:"true"`
}

func credentialOf(c vault.Credential) wireCredential {
	out := wireCredential{
		ID: c.ID, Number: c.Number, Identifier: c.Identifier, DeviceID: c.Device.ID, Host: c.Device.Host, Username: c.Username, Kind: string(c.Kind), Type: c.Type, Domain: c.Domain,
		Additional: c.Additional, Tags: append([]string{}, c.Tags...), Parent: c.Parent, HasSecret: c.HasSecret, NeverShown: c.NeverShown, Exclusive: c.Exclusive,
		NeedsRotation: c.NeedsRotation, Disabled: c.Disabled, CreatedAt: c.Created.UTC(), UpdatedAt: c.Updated.UTC(), LastUsedAt: moment(c.LastUsed),
	}
	if c.Protocols != nil {
		names := []string{}
		for _, p := range *c.Protocols {
			names = append(names, string(p))
		}
		out.Protocols = &names
	}
	return out
}

func (a *API) listCredentials(ctx context.Context, by access.Caller, in window) (wirePage[wireCredential], error) {
	w, err := in.page()
	if err != nil {
		return wirePage[wireCredential]{}, err
	}
	p, err := a.Vault.List(ctx, by, w)
	return pageOf(p, credentialOf), err
}

func (a *API) listDeviceCredentials(ctx context.Context, by access.Caller, in oneTarget) (wirePage[wireCredential], error) {
	d, err := a.Devices.Find(ctx, by, in.Device)
	if err != nil {
		return wirePage[wireCredential]{}, err
	}
	all, err := a.Vault.On(ctx, by, d.ID)
	return whole(all, credentialOf), err
}

type createCredential struct {
	Body wireCredentialDraft
}

type wireCredentialDraft struct {
	Device     string `json:"device" maxLength:"4096" example:"web-01.example.net" doc:"Its id, number, host in any case, or IP address."`
	Username   string `json:"username" maxLength:"4096" example:"root"`
	Identifier string `json:"identifier,omitempty" maxLength:"4096" doc:"Unique: letters, digits, dots, hyphens and underscores; made here where it is left out."`

	Secret     string    `json:"secret,omitempty" writeOnly:"true" maxLength:"65536" doc:"The password, or the private key in PEM without passphrase."`
	Type       *string   `json:"type,omitempty" enum:"Local User,Local administrator,Domain user,Domain Admin,SSH Key" doc:"The secret of an SSH Key is a private key, of all others a password."`
	Domain     *string   `json:"domain,omitempty" maxLength:"4096" doc:"A registered one, all of whose devices it opens."`
	Additional *string   `json:"additional,omitempty" maxLength:"4096"`
	Tags       *[]string `json:"tags,omitempty" maxItems:"100"`
	Parent     *int64    `json:"parent,omitempty" minimum:"0"`
	Protocols  *[]string `json:"protocols,omitempty" maxItems:"6" example:"[\"ssh\"]" doc:"By which it may be used; all of the device while nobody has said."`
	NeverShown *bool     `json:"never_shown,omitempty" doc:"Private keys are never shown unless this says false."`
	Exclusive  *bool     `json:"exclusive,omitempty" doc:"One holder at a time."`
}

func (a *API) createCredential(ctx context.Context, by access.Caller, in createCredential) (wireCredential, error) {
	b := in.Body
	draft := wireCredentialChange{
		Username: b.Username, Identifier: b.Identifier, Secret: b.Secret, Type: b.Type, Domain: b.Domain, Additional: b.Additional, Tags: b.Tags, Parent: b.Parent, Protocols: b.Protocols,
		NeverShown: b.NeverShown, Exclusive: b.Exclusive,
	}.new()
	draft.Device = b.Device
	c, err := a.Vault.Create(ctx, by, draft)
	return credentialOf(c), err
}

type oneCredential struct {
	Credential string `path:"credential" doc:"Its id, identifier, number, or user name and host, as in root@web-01."`
}

func (a *API) showCredential(ctx context.Context, by access.Caller, in oneCredential) (wireCredential, error) {
	c, err := a.Vault.Find(ctx, by, in.Credential)
	return credentialOf(c), err
}

type changeCredential struct {
	oneCredential
	Body wireCredentialChange
}

type wireCredentialChange struct {
	Username   string `json:"username,omitempty" maxLength:"4096"`
	Identifier string `json:"identifier,omitempty" maxLength:"4096"`

	Secret     string    `json:"secret,omitempty" writeOnly:"true" maxLength:"65536" doc:"The password, or the private key in PEM without passphrase."`
	Type       *string   `json:"type,omitempty" enum:"Local User,Local administrator,Domain user,Domain Admin,SSH Key" doc:"The secret of an SSH Key is a private key, of all others a password."`
	Domain     *string   `json:"domain,omitempty" maxLength:"4096" doc:"A registered one, all of whose devices it opens."`
	Additional *string   `json:"additional,omitempty" maxLength:"4096"`
	Tags       *[]string `json:"tags,omitempty" maxItems:"100"`
	Parent     *int64    `json:"parent,omitempty" minimum:"0"`
	Protocols  *[]string `json:"protocols,omitempty" maxItems:"6" example:"[\"ssh\"]" doc:"By which it may be used; all of the device while nobody has said."`
	NeverShown *bool     `json:"never_shown,omitempty" doc:"Private keys are never shown unless this says false."`
	Exclusive  *bool     `json:"exclusive,omitempty" doc:"One holder at a time."`
}

// new is what is given as the domain takes it.
func (d wireCredentialChange) new() vault.New {
	out := vault.New{
		Username: d.Username, Identifier: d.Identifier, Secret: secret.New(d.Secret), Type: d.Type, Domain: d.Domain, Additional: d.Additional, Tags: d.Tags, Parent: d.Parent,
		NeverShown: d.NeverShown, Exclusive: d.Exclusive,
	}
	if d.Protocols != nil {
		protocols := []device.Protocol{}
		for _, p := range *d.Protocols {
			protocols = append(protocols, device.Protocol(p))
		}
		out.Protocols = &protocols
	}
	return out
}

func (a *API) changeCredential(ctx context.Context, by access.Caller, in changeCredential) (wireCredential, error) {
	c, err := a.Vault.Find(ctx, by, in.Credential)
	if err != nil {
		return wireCredential{}, err
	}
	c, _, err = a.Vault.Update(ctx, by, c.ID, in.Body.new())
	return credentialOf(c), err
}

func (a *API) setCredentialDisabled(disabled bool) func(context.Context, access.Caller, oneCredential) (wireCredential, error) {
	return func(ctx context.Context, by access.Caller, in oneCredential) (wireCredential, error) {
		c, err := a.Vault.Find(ctx, by, in.Credential)
		if err != nil {
			return wireCredential{}, err
		}
		c, _, err = a.Vault.SetDisabled(ctx, by, c.ID, disabled)
		return credentialOf(c), err
	}
}

// wireCheckedOut is a credential with its secret.
type wireCheckedOut struct {
	wireCredential
	Secret string    `json:"secret" doc:"Empty where there is none yet."`
	Until  time.Time `json:"until" doc:"When custody ends by itself."`
}

func (a *API) checkOut(ctx context.Context, by access.Caller, in oneCredential) (wireCheckedOut, error) {
	c, plain, held, err := a.Vault.CheckOut(ctx, by, in.Credential)
	if err != nil {
		return wireCheckedOut{}, err
	}
	return wireCheckedOut{credentialOf(c), plain.Reveal(), held.Until.UTC()}, nil
}

// wireCustody is who has seen a secret, and until when they may be taken to use it.
type wireCustody struct {
	HolderKind string    `json:"holder_kind"`
	HolderID   string    `json:"holder_id"`
	TakenAt    time.Time `json:"taken_at"`
	Until      time.Time `json:"until"`
}

func (a *API) listCustody(ctx context.Context, by access.Caller, in oneCredential) (wirePage[wireCustody], error) {
	c, err := a.Vault.Find(ctx, by, in.Credential)
	if err != nil {
		return wirePage[wireCustody]{}, err
	}
	all, err := a.Vault.Custodies(ctx, by, c.ID)
	return whole(all, func(c vault.Custody) wireCustody {
		return wireCustody{string(c.Holder.Kind), c.Holder.ID, c.Taken.UTC(), c.Until.UTC()}
	}), err
}

func (a *API) checkIn(ctx context.Context, by access.Caller, in oneCredential) (none, error) {
	_, err := a.Vault.CheckIn(ctx, by, in.Credential)
	return none{}, err
}
