package native

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// wireSession is who is signed in, where and how.
type wireSession struct {
	ID              string     `json:"id" format:"uuid"`
	Current         bool       `json:"current" doc:"It is the one that asks."`
	Kind            string     `json:"kind" enum:"user,application"`
	Principal       string     `json:"principal_id" format:"uuid"`
	Name            string     `json:"name"`
	Account         string     `json:"account_id" doc:"The account that was chosen; empty before a choice."`
	State           string     `json:"state" enum:"pending,enrol_only,active"`
	Method          string     `json:"method" doc:"How the first proof was given: password, ldap, oidc, saml, app_secret, ..."`
	Provider        string     `json:"provider_id" doc:"The identity provider that vouched; empty where none did."`
	Transport       string     `json:"transport" enum:"bearer,cookie"`
	CreatedAt       time.Time  `json:"created_at"`
	AuthenticatedAt time.Time  `json:"authenticated_at"`
	LastUsedAt      time.Time  `json:"last_used_at" doc:"Up to a minute behind."`
	ExpiresAt       time.Time  `json:"expires_at" doc:"If it is not used again."`
	ElevatedUntil   *time.Time `json:"elevated_until" nullable:"true" doc:"Until then a proof given once more counts as fresh."`
	Address         string     `json:"address"`
	UserAgent       string     `json:"user_agent"`
}

func sessionOf(by access.Caller) func(session.Session) wireSession {
	return func(x session.Session) wireSession {
		return wireSession{
			ID: x.ID, Current: x.ID == by.Session, Kind: string(x.Principal.Kind), Principal: x.Principal.ID, Name: x.Principal.Name, Account: x.Account, State: string(x.State),
			Method: x.Method, Provider: x.Provider, Transport: string(x.Transport), CreatedAt: x.Created.UTC(), AuthenticatedAt: x.Authenticated.UTC(), LastUsedAt: x.LastUsed.UTC(),
			ExpiresAt: x.Expires().UTC(), ElevatedUntil: moment(x.Elevated), Address: x.Address, UserAgent: x.UserAgent,
		}
	}
}

// wireMe is who calls.
type wireMe struct {
	User          wireUser       `json:"user"`
	Session       wireSession    `json:"session"`
	Factors       wireFactorsSum `json:"factors"`
	Elevated      bool           `json:"elevated" doc:"Settings of sign-in may be changed now."`
	ElevateBy     []string       `json:"elevate_by" nullable:"false" enum:"password,code" doc:"What elevates the session; nothing for whom an identity provider looks after."`
	Administrator bool           `json:"administrator" doc:"Holds every right on the installation."`
}

func (a *API) showSession(ctx context.Context, by access.Caller, _ none) (wireMe, error) {
	x, err := a.Sessions.Own(ctx, by)
	if err != nil {
		return wireMe{}, err
	}
	u, err := a.Users.Self(ctx, a.Access.For(by))
	if err != nil {
		return wireMe{}, err
	}
	set, err := a.Login.Factors(ctx, by)
	if err != nil {
		return wireMe{}, err
	}
	e, err := a.Login.Elevation(ctx, by)
	if err != nil {
		return wireMe{}, err
	}
	top, err := a.Access.Holds(ctx, access.Subject{Kind: by.Kind, ID: by.ID}, access.SysAdmin, access.Installation)
	return wireMe{User: userOf(u), Session: sessionOf(by)(x), Factors: sumOf(set), Elevated: e.Elevated, ElevateBy: confirmations(e.Methods), Administrator: top}, err
}

func (a *API) signOut(ctx context.Context, by access.Caller, _ none) (signedOut, error) {
	return signedOut{}, a.Sessions.Terminate(ctx, by)
}

// signedOut takes the cookie away.
type signedOut struct{}

func (signedOut) cookie() (secret.String, bool) { return secret.String{}, true }

type chooseAccount struct {
	Body wireAccountChoice
}

type wireAccountChoice struct {
	Account string `json:"account_id" maxLength:"255" doc:"An account that you are a member of."`
}

func (a *API) selectAccount(ctx context.Context, by access.Caller, in chooseAccount) (none, error) {
	return none{}, a.Sessions.Select(ctx, by, in.Body.Account)
}

type elevate struct {
	Body wireElevation
}

type wireElevation struct {
	Password     *string `json:"password,omitempty" writeOnly:"true" maxLength:"1024" example:"correct horse battery staple" doc:"Where no app is enrolled."`
	Code         *string `json:"code,omitempty" writeOnly:"true" maxLength:"256" doc:"Of the authenticator app, where one is enrolled."`
	RecoveryCode *string `json:"recovery_code,omitempty" writeOnly:"true" maxLength:"256" doc:"In place of a code. It is used up, and the answer holds the key that replaces it."`
}

var errOneProof = fault.Fields("exactly one of password, code and recovery_code is wanted", fault.Field{Message: "expected one of password, code and recovery_code"})

// wireElevated is an elevated session.
type wireElevated struct {
	ElevatedUntil *time.Time `json:"elevated_until" nullable:"true"`
	RecoveryKey   string     `json:"recovery_key,omitempty" doc:"The new one, in place of the one that was used. It is shown this once."`

	token secret.String
}

func (e wireElevated) cookie() (secret.String, bool) { return e.token, !e.token.Empty() }

func (a *API) elevate(ctx context.Context, by access.Caller, in elevate) (wireElevated, error) {
	var token, recovery secret.String
	var err error
	switch p := in.Body; {
	case p.Password != nil && p.Code == nil && p.RecoveryCode == nil:
		token, err = a.Login.ElevateByPassword(ctx, by, secret.New(*p.Password))
	case p.Password == nil && p.Code != nil && p.RecoveryCode == nil:
		token, err = a.Login.ElevateByTOTP(ctx, by, secret.New(*p.Code))
	case p.Password == nil && p.Code == nil && p.RecoveryCode != nil:
		token, recovery, err = a.Login.ElevateByRecovery(ctx, by, secret.New(*p.RecoveryCode))
	default:
		err = errOneProof
	}
	if err != nil {
		return wireElevated{}, err
	}
	x, err := a.Sessions.Own(ctx, by)
	return wireElevated{ElevatedUntil: moment(x.Elevated), RecoveryKey: recovery.Reveal(), token: token}, err
}

type changePassword struct {
	Body wirePasswordChange
}

type wirePasswordChange struct {
	Current string `json:"current_password" writeOnly:"true" maxLength:"1024"`
	New     string `json:"new_password" writeOnly:"true" maxLength:"1024" doc:"12 to 1024 bytes, and not among those that everybody tries first."`
}

func (a *API) changePassword(ctx context.Context, by access.Caller, in changePassword) (none, error) {
	return none{}, a.Login.ChangePassword(ctx, by, secret.New(in.Body.Current), secret.New(in.Body.New))
}

type listSessions struct {
	window
	User string `query:"user" doc:"The sessions of that user, whole, in place of your own."`
	All  bool   `query:"all" doc:"Everybody's, programs included, in parts."`
}

func (a *API) listSessions(ctx context.Context, by access.Caller, in listSessions) (wirePage[wireSession], error) {
	if !in.All {
		all, err := a.Sessions.Of(ctx, by, userOr(in.User, by))
		return whole(all, sessionOf(by)), err
	}
	w, err := in.page()
	if err != nil {
		return wirePage[wireSession]{}, err
	}
	p, err := a.Sessions.List(ctx, by, w)
	return pageOf(p, sessionOf(by)), err
}

// userOr is the user who was named, or who calls.
func userOr(named string, by access.Caller) access.Subject {
	if named == "" {
		named = by.ID
	}
	return access.Subject{Kind: access.User, ID: named}
}

type oneSession struct {
	Session string `path:"session" doc:"Its id."`
}

func (a *API) endSession(ctx context.Context, by access.Caller, in oneSession) (none, error) {
	return none{}, a.Sessions.End(ctx, by, in.Session)
}

type endSessions struct {
	User string `query:"user" doc:"All of that user's, in place of your own others."`
}

// wireEnded says how many sessions ended.
type wireEnded struct {
	Ended int `json:"ended"`
}

func (a *API) endSessions(ctx context.Context, by access.Caller, in endSessions) (wireEnded, error) {
	n, err := a.Sessions.EndAll(ctx, by, userOr(in.User, by), true)
	return wireEnded{n}, err
}

// wireSignIn is something that happened to somebody's sign-ins.
type wireSignIn struct {
	ID      string            `json:"id" format:"uuid"`
	At      time.Time         `json:"at"`
	Action  string            `json:"action" example:"login.password"`
	Outcome string            `json:"outcome" enum:"done,refused,failed"`
	Reason  string            `json:"reason" doc:"Why it was refused: the true reason, which whoever tried was not told."`
	Actor   wireActor         `json:"actor" doc:"Who did it, or nobody who had proved to be anybody."`
	Object  wireObject        `json:"object"`
	Address string            `json:"address"`
	Door    string            `json:"door"`
	Count   int               `json:"count" doc:"How many like it this one stands for: floods of refusals are folded."`
	Detail  map[string]string `json:"detail"`
}

type wireActor struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	Name   string `json:"name"`
	Method string `json:"method"`
}

type wireObject struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

type listSignIns struct {
	window
	User string `query:"user" doc:"Those of that user, in place of your own."`
}

func (a *API) listSignIns(ctx context.Context, by access.Caller, in listSignIns) (wirePage[wireSignIn], error) {
	w, err := in.page()
	if err != nil {
		return wirePage[wireSignIn]{}, err
	}
	p, err := a.Login.History(ctx, by, userOr(in.User, by).ID, w)
	return pageOf(p, signInOf), err
}

type explain struct {
	Action  string `query:"action" required:"true" doc:"Such as user.create; a wrong one is answered with the list of all."`
	Kind    string `query:"resource_kind" doc:"What is acted on: installation, account, user, group, application, session, project, repo, provider, delivery. The installation where it is left out."`
	ID      string `query:"resource_id" doc:"Its id; none for the installation."`
	Subject string `query:"subject_kind" enum:"user,application" doc:"A user where it is left out."`
	Who     string `query:"subject_id" doc:"Whose rights; your own, as you are signed in now, where it is left out."`
}

// wireExplanation is the one decision in words.
type wireExplanation struct {
	Allowed bool     `json:"allowed"`
	Why     []string `json:"why" nullable:"false" doc:"Step by step."`
}

func (a *API) explain(ctx context.Context, by access.Caller, in explain) (wireExplanation, error) {
	on := access.Resource{Kind: in.Kind, ID: in.ID}
	if on.Kind == "" {
		on.Kind = access.InstallationKind
	}
	of := userOr(in.Who, by)
	if in.Subject != "" {
		of.Kind = access.PrincipalKind(in.Subject)
	}
	d, err := a.Access.Explain(ctx, by, of, access.Action(in.Action), on)
	return wireExplanation{d.Allowed, append([]string{}, d.Why...)}, err
}

func signInOf(e audit.Event) wireSignIn {
	detail := e.Detail
	if detail == nil {
		detail = map[string]string{}
	}
	return wireSignIn{
		ID: e.ID, At: e.At, Action: e.Action, Outcome: string(e.Outcome), Reason: e.Reason, Actor: wireActor(e.Actor), Object: wireObject{e.Object.Kind, e.Object.ID},
		Address: e.Address, Door: e.Door, Count: max(1, e.Count), Detail: detail,
	}
}
