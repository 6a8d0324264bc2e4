package native

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// wireToken is an HTTP access token, without its secret.
type wireToken struct {
	ID          string     `json:"id" format:"uuid" doc:"As the audit record names it."`
	Handle      string     `json:"handle" doc:"12 digits, with which its secret begins when it is decoded."`
	Of          string     `json:"of" enum:"user,project,repo" doc:"Whose it is: a person's, for whom it acts, or a place's, for which it acts."`
	OfID        string     `json:"of_id" format:"uuid"`
	Name        string     `json:"name"`
	Permissions []string   `json:"permissions" nullable:"false" enum:"repo.read,repo.write,repo.admin,project.read,project.write,project.admin"`
	Creator     string     `json:"creator_id"`
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   *time.Time `json:"expires_at" nullable:"true"`
	LastUsedAt  *time.Time `json:"last_used_at" nullable:"true" doc:"Up to a minute behind."`
	LastAddress string     `json:"last_address"`
	LastDoor    string     `json:"last_door"`
}

func tokenOf(t token.Access) wireToken {
	out := wireToken{
		ID: t.ID, Handle: t.Handle, Of: t.Scope.Kind, OfID: t.Scope.ID, Name: t.Name, Permissions: []string{}, Creator: t.Creator, CreatedAt: t.Created.UTC(),
		ExpiresAt: moment(t.Expires), LastUsedAt: moment(t.LastUsed), LastAddress: t.LastAddress, LastDoor: t.LastDoor,
	}
	for _, p := range t.Permissions {
		out.Permissions = append(out.Permissions, string(p))
	}
	return out
}

// scope is whose tokens are meant: of a place, of a user who is named, or one's own.
type scope struct {
	place
	User string `path:"user" optional:"true" doc:"Id of the user."`
}

// scopeOf finds it. It hides what the caller may not see.
func (a *API) scopeOf(ctx context.Context, by access.Caller, in scope) (access.Resource, error) {
	switch {
	case in.Project != "":
		return a.at(ctx, by, in.place)
	case in.User != "":
		u, err := a.Users.ByID(ctx, a.Access.For(by), in.User)
		return token.OfUser(u.ID), err
	}
	return token.OfUser(by.ID), nil
}

type listTokens struct {
	scope
	window
}

func (a *API) listTokens(ctx context.Context, by access.Caller, in listTokens) (wirePage[wireToken], error) {
	w, err := in.counted()
	if err != nil {
		return wirePage[wireToken]{}, err
	}
	of, err := a.scopeOf(ctx, by, in.scope)
	if err != nil {
		return wirePage[wireToken]{}, err
	}
	p, err := a.Tokens.List(ctx, by, of, w)
	return countedOf(p, tokenOf), err
}

type listExpiring struct {
	window
	Days int64 `query:"days" minimum:"1" maximum:"3650" default:"14" doc:"How soon."`
	All  bool  `query:"all" doc:"Everybody's and every place's, in place of your own."`
}

func (a *API) listExpiring(ctx context.Context, by access.Caller, in listExpiring) (wirePage[wireToken], error) {
	w, err := in.counted()
	if err != nil {
		return wirePage[wireToken]{}, err
	}
	of := token.OfUser(by.ID)
	if in.All {
		of = access.Installation
	}
	p, err := a.Tokens.Expiring(ctx, by, of, time.Duration(in.Days)*24*time.Hour, w)
	return countedOf(p, tokenOf), err
}

type createToken struct {
	scope
	Body wireTokenDraft
}

type wireTokenDraft struct {
	Name        string   `json:"name" maxLength:"4096" example:"ci"`
	Permissions []string `json:"permissions" maxItems:"16" doc:"What it is good for at most: repo.read, repo.write, repo.admin, project.read, project.write, project.admin. One on projects holds on all their repositories and is no higher than one on repositories beside it. What its owner may not do it does not do either."`
	ExpiryDays  *int64   `json:"expiry_days,omitempty" minimum:"1" doc:"It opens nothing after so many days. Without it, never, where the settings allow that."`
}

// wireNewToken is a token that was made just now.
type wireNewToken struct {
	wireToken
	Token string `json:"token" doc:"The secret. It is shown this once."`
}

func (a *API) createToken(ctx context.Context, by access.Caller, in createToken) (wireNewToken, error) {
	of, err := a.scopeOf(ctx, by, in.scope)
	if err != nil {
		return wireNewToken{}, err
	}
	plain, t, err := a.Tokens.Issue(ctx, by, of, token.Draft{Name: in.Body.Name, Permissions: permissions(in.Body.Permissions), ExpiryDays: days(in.Body.ExpiryDays)})
	if err != nil {
		return wireNewToken{}, err
	}
	return wireNewToken{tokenOf(t), plain.Reveal()}, nil
}

func permissions(words []string) []token.Permission {
	all := make([]token.Permission, len(words))
	for i, w := range words {
		all[i] = token.Permission(w)
	}
	return all
}

type oneToken struct {
	scope
	Token string `path:"token" doc:"Its handle, 12 digits."`
}

func (a *API) showToken(ctx context.Context, by access.Caller, in oneToken) (wireToken, error) {
	of, err := a.scopeOf(ctx, by, in.scope)
	if err != nil {
		return wireToken{}, err
	}
	t, err := a.Tokens.Show(ctx, by, of, in.Token)
	return tokenOf(t), err
}

type changeToken struct {
	oneToken
	Body wireTokenChange
}

type wireTokenChange struct {
	Name        *string   `json:"name,omitempty" maxLength:"4096"`
	Permissions *[]string `json:"permissions,omitempty" maxItems:"16" doc:"In place of those before."`
	ExpiryDays  *int64    `json:"expiry_days,omitempty" minimum:"1" doc:"Counted from when it was made; its life is only shortened."`
}

func (a *API) changeToken(ctx context.Context, by access.Caller, in changeToken) (wireToken, error) {
	of, err := a.scopeOf(ctx, by, in.scope)
	if err != nil {
		return wireToken{}, err
	}
	to := token.AccessChange{Name: in.Body.Name, ExpiryDays: days(in.Body.ExpiryDays)}
	if in.Body.Permissions != nil {
		to.Permissions = permissions(*in.Body.Permissions)
	}
	t, err := a.Tokens.Change(ctx, by, of, in.Token, to)
	return tokenOf(t), err
}

func (a *API) revokeToken(ctx context.Context, by access.Caller, in oneToken) (none, error) {
	of, err := a.scopeOf(ctx, by, in.scope)
	if err != nil {
		return none{}, err
	}
	return none{}, a.Tokens.Remove(ctx, by, of, in.Token)
}

type reportLeaked struct {
	Body wireLeak
}

type wireLeak struct {
	Token string `json:"token" writeOnly:"true" maxLength:"4096" doc:"As it was found."`
}

func (a *API) reportLeaked(ctx context.Context, by access.Caller, in reportLeaked) (none, error) {
	return none{}, a.Tokens.ReportLeaked(ctx, by, secret.New(in.Body.Token))
}
