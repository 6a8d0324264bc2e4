package native

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// wireUser is a person who can sign in.
type wireUser struct {
	ID            string     `json:"id" format:"uuid"`
	Account       string     `json:"account_id" format:"uuid" doc:"The home account."`
	Name          string     `json:"name"`
	Email         string     `json:"email"`
	EmailVerified bool       `json:"email_verified"`
	HasPassword   bool       `json:"has_password"`
	Disabled      bool       `json:"disabled" doc:"Cannot sign in: the user or the home account is disabled."`
	DisplayName   string     `json:"display_name"`
	FirstName     string     `json:"first_name"`
	LastName      string     `json:"last_name"`
	Description   string     `json:"description"`
	CreatedAt     time.Time  `json:"created_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
	LastLoginAt   *time.Time `json:"last_login_at" nullable:"true"`
}

func userOf(u identity.User) wireUser {
	return wireUser{
		ID: u.ID, Account: u.Account, Name: u.Name, Email: u.Email, EmailVerified: u.EmailVerified, HasPassword: u.PasswordHash != "", Disabled: u.Shut(),
		DisplayName: u.Names.Display, FirstName: u.Names.First, LastName: u.Names.Last, Description: u.Names.Description,
		CreatedAt: u.Created.UTC(), UpdatedAt: u.Updated.UTC(), LastLoginAt: moment(u.LastLogin),
	}
}

func (a *API) listUsers(ctx context.Context, by access.Caller, in window) (wirePage[wireUser], error) {
	w, err := in.page()
	if err != nil {
		return wirePage[wireUser]{}, err
	}
	p, err := a.Users.List(ctx, a.Access.For(by), w)
	return pageOf(p, userOf), err
}

type createUser struct {
	Body wireUserDraft
}

type wireUserDraft struct {
	Name     string  `json:"name" maxLength:"255" example:"ana" doc:"Letters, digits, dots, underscores, hyphens."`
	Email    string  `json:"email" maxLength:"320" example:"ana@example.com"`
	Password *string `json:"password,omitempty" writeOnly:"true" maxLength:"1024" doc:"12 to 1024 bytes. Without one no password opens the user."`
}

func (a *API) createUser(ctx context.Context, by access.Caller, in createUser) (wireUser, error) {
	draft := identity.New{Name: in.Body.Name, Email: in.Body.Email}
	if in.Body.Password != nil {
		draft.Password = secret.New(*in.Body.Password)
		if err := identity.CheckPassword(draft.Password); err != nil {
			return wireUser{}, err
		}
	}
	u, err := a.Users.Add(ctx, a.Access.For(by), draft)
	return userOf(u), err
}

type oneUser struct {
	User string `path:"user" doc:"Id of the user."`
}

func (a *API) showUser(ctx context.Context, by access.Caller, in oneUser) (wireUser, error) {
	u, err := a.Users.ByID(ctx, a.Access.For(by), in.User)
	return userOf(u), err
}

type changeUser struct {
	User string `path:"user" doc:"Id of the user."`
	Body wireUserChange
}

type wireUserChange struct {
	DisplayName *string `json:"display_name,omitempty" maxLength:"4096" example:"Ana Silva"`
	FirstName   *string `json:"first_name,omitempty" maxLength:"4096"`
	LastName    *string `json:"last_name,omitempty" maxLength:"4096"`
	Description *string `json:"description,omitempty" maxLength:"4096"`
}

func (a *API) changeUser(ctx context.Context, by access.Caller, in changeUser) (wireUser, error) {
	as := a.Access.For(by)
	err := a.Users.Rename(ctx, as, in.User, func(n identity.Names) identity.Names {
		for _, set := range []struct{ to, from *string }{
			{&n.Display, in.Body.DisplayName},
			{&n.First, in.Body.FirstName},
			{&n.Last, in.Body.LastName},
			{&n.Description, in.Body.Description},
		} {
			if set.from != nil {
				*set.to = *set.from
			}
		}
		return n
	})
	if err != nil {
		return wireUser{}, err
	}
	return a.showUser(ctx, by, oneUser{in.User})
}

// setDisabled lets a user in again, or shuts them out.
func (a *API) setDisabled(disabled bool) func(context.Context, access.Caller, oneUser) (none, error) {
	return func(ctx context.Context, by access.Caller, in oneUser) (none, error) {
		return none{}, a.Users.SetDisabled(ctx, a.Access.For(by), in.User, disabled)
	}
}

type setPassword struct {
	User string `path:"user" doc:"Id of the user."`
	Body wirePasswordDraft
}

type wirePasswordDraft struct {
	Password string `json:"password" writeOnly:"true" maxLength:"1024" example:"correct horse battery staple" doc:"12 to 1024 bytes, and not among those that everybody tries first."`
}

func (a *API) setPassword(ctx context.Context, by access.Caller, in setPassword) (none, error) {
	password := secret.New(in.Body.Password)
	if err := identity.CheckPassword(password); err != nil {
		return none{}, err
	}
	return none{}, a.Users.SetPassword(ctx, a.Access.For(by), in.User, password)
}

// wireUnlocked says whether there was anything to forget.
type wireUnlocked struct {
	Unlocked bool `json:"unlocked" doc:"There were failed sign-ins, and they are forgotten."`
}

func (a *API) unlockUser(ctx context.Context, by access.Caller, in oneUser) (wireUnlocked, error) {
	some, err := a.Login.Unlock(ctx, by, in.User)
	return wireUnlocked{some}, err
}

// wireReset says whether there was anything to take away.
type wireReset struct {
	Removed bool `json:"removed" doc:"There were second factors, and they are gone."`
}

func (a *API) resetFactors(ctx context.Context, by access.Caller, in oneUser) (wireReset, error) {
	some, err := a.Login.ResetFactors(ctx, by, in.User)
	return wireReset{some}, err
}

func (a *API) grantAdmin(ctx context.Context, by access.Caller, in oneUser) (none, error) {
	u, err := a.Users.ByID(ctx, a.Access.For(by), in.User)
	if err != nil {
		return none{}, err
	}
	return none{}, a.Access.Grant(ctx, by, access.Subject{Kind: access.User, ID: u.ID}, access.SysAdmin, access.Installation)
}

type importKey struct {
	User string `path:"user" doc:"Id of the user."`
	Body wireKeyImport
}

type wireKeyImport struct {
	Name      string `json:"name" maxLength:"255" example:"blue key"`
	KeyHandle []byte `json:"key_handle" maxLength:"4096" doc:"Base64."`
	PublicKey []byte `json:"public_key" maxLength:"255" doc:"Base64 of the 65 bytes of a point on P-256, uncompressed."`
	AppID     string `json:"app_id" maxLength:"2048" example:"https://old.example.com" doc:"Under which the key was enrolled."`
}

func (a *API) importKey(ctx context.Context, by access.Caller, in importKey) (wireDevice, error) {
	d, err := a.Login.ImportU2F(ctx, by, in.User, in.Body.Name, in.Body.KeyHandle, in.Body.PublicKey, in.Body.AppID)
	return deviceOf(d), err
}
