package native

import (
	"context"
	"slices"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// wireSSO is how the sign-in page treats identity providers.
type wireSSO struct {
	ShowForm  bool       `json:"show_form" doc:"The sign-in page has a form for name and password. It has one all the same while nobody could come in any other way."`
	Fallback  bool       `json:"fallback" doc:"A form that is not shown is shown to who opens /login?auth_fallback."`
	Version   int64      `json:"version" doc:"Counts the changes; 0 where there was none."`
	UpdatedAt *time.Time `json:"updated_at" nullable:"true"`
}

func ssoOf(p policy.SSO) wireSSO {
	return wireSSO{ShowForm: !p.HideForm, Fallback: p.Fallback, Version: p.Version, UpdatedAt: moment(p.Updated)}
}

func (a *API) showSSO(ctx context.Context, by access.Caller, _ none) (wireSSO, error) {
	p, err := a.Policy.ReadSSO(ctx, by)
	return ssoOf(p), err
}

type changeSSO struct {
	Body wireSSOChange
}

type wireSSOChange struct {
	ShowForm *bool  `json:"show_form,omitempty" example:"false"`
	Fallback *bool  `json:"fallback,omitempty" example:"true"`
	Version  *int64 `json:"version,omitempty" minimum:"0" doc:"That of what was read: the change is refused where another came in between."`
}

func (a *API) changeSSO(ctx context.Context, by access.Caller, in changeSSO) (wireSSO, error) {
	p, err := a.Policy.ChangeSSO(ctx, by, func(p policy.SSO) (policy.SSO, error) {
		if in.Body.ShowForm != nil {
			p.HideForm = !*in.Body.ShowForm
		}
		if in.Body.Fallback != nil {
			p.Fallback = *in.Body.Fallback
		}
		return p, stillAt(in.Body.Version, p.Version)
	})
	return ssoOf(p), err
}

// stillAt refuses a change of what the caller has not seen.
func stillAt(seen *int64, is int64) error {
	if seen != nil && *seen != is {
		return policy.ErrOvertaken
	}
	return nil
}

// wireBasicAuth is who may send a person's password by HTTP Basic.
type wireBasicAuth struct {
	Block        bool       `json:"block" doc:"Passwords by Basic are refused before they are looked at, unless the path or the user is allowed."`
	AllowedPaths []string   `json:"allowed_paths" nullable:"false" doc:"Patterns of paths."`
	AllowedUsers []string   `json:"allowed_users" nullable:"false" doc:"Patterns of login names."`
	Warn         bool       `json:"warn" doc:"Answers to who sends one carry X-Gatehouse-Warning, and a line is logged."`
	Version      int64      `json:"version" doc:"Counts the changes; 0 where there was none: then the setting basicauth.block holds."`
	UpdatedAt    *time.Time `json:"updated_at" nullable:"true"`
}

func basicOf(p policy.Basic) wireBasicAuth {
	return wireBasicAuth{
		Block: p.Block, AllowedPaths: append([]string{}, p.Paths...), AllowedUsers: append([]string{}, p.Users...), Warn: p.Warn,
		Version: p.Version, UpdatedAt: moment(p.Updated),
	}
}

func (a *API) showBasicAuth(ctx context.Context, by access.Caller, _ none) (wireBasicAuth, error) {
	p, err := a.Policy.ReadBasic(ctx, by)
	return basicOf(p), err
}

type changeBasicAuth struct {
	Body wireBasicAuthChange
}

type wireBasicAuthChange struct {
	Block        *bool     `json:"block,omitempty" example:"true"`
	AllowedPaths *[]string `json:"allowed_paths,omitempty" maxItems:"100" doc:"All of them, in place of those that are there. * is any run of characters, / too; the rest of a path is itself."`
	AllowedUsers *[]string `json:"allowed_users,omitempty" maxItems:"100" doc:"All of them. * is any run of characters; upper and lower case are the same."`
	Warn         *bool     `json:"warn,omitempty"`
	Version      *int64    `json:"version,omitempty" minimum:"0" doc:"That of what was read: the change is refused where another came in between."`
}

func (a *API) changeBasicAuth(ctx context.Context, by access.Caller, in changeBasicAuth) (wireBasicAuth, error) {
	p, err := a.Policy.ChangeBasic(ctx, by, func(p policy.Basic) (policy.Basic, error) {
		if in.Body.Block != nil {
			p.Block = *in.Body.Block
		}
		if in.Body.AllowedPaths != nil {
			p.Paths = *in.Body.AllowedPaths
		}
		if in.Body.AllowedUsers != nil {
			p.Users = *in.Body.AllowedUsers
		}
		if in.Body.Warn != nil {
			p.Warn = *in.Body.Warn
		}
		return p, stillAt(in.Body.Version, p.Version)
	})
	return basicOf(p), underTheirNames(err)
}

// underTheirNames gives the lists that a policy refuses the names that they have here.
func underTheirNames(err error) error {
	fields := slices.Clone(fault.FieldsOf(err))
	if len(fields) == 0 {
		return err
	}
	for i := range fields {
		fields[i].Path = "allowed_" + fields[i].Path
	}
	return fault.Fields("the patterns cannot be kept so", fields...)
}
