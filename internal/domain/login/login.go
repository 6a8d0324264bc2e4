// Package login turns what was presented into a Caller or a session: the only place where that happens.
//
// A door says which kinds of credential it accepts and hands over what it was given. Authenticate answers with the
// Caller; SignIn begins a session with it. What opens nothing is refused with one plain answer, counted, and recorded with the
// true reason; floods of refusals are folded into two records a minute.
//
// Passwords and secrets of applications can be guessed at, so package guard slows that down, and no refusal is
// answered before MinFailure: unknown and known, disabled and enabled, right and wrong while backing off all look and
// last the same (rule F6). Hashing runs in a bounded pool; when its queue is full the answer is secret.ErrBusy (rule W13).
package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Kind is a kind of credential.
type Kind string

// The kinds.
const (
	APIKey    Kind = "api_key"    // Secret
	Password  Kind = "password"   // Name, an e-mail address or user name, and Secret
	AppSecret Kind = "app_secret" // Name, an application's id, and Secret; or Account, Name and Secret
	Session   Kind = "session"    // Secret is a session's token

	HTTPToken Kind = token.HTTPToken // Secret, and Name where it came in the place of a password
)

// Presented is what came through a door.
type Presented struct {
	Kind    Kind
	Secret  secret.String
	Address netip.Addr
	Door    string
	Accepts []Kind // what the door takes; anything else opens nothing there
	Request string // the request's id, for logs

	Name    string          // who it claims to be
	Account string          // of an application that is named by its name or its ARN
	Cookie  bool            // a session's token came as a cookie
	Basic   Basic           // how a password came
	Path    string          // the request's, as the door routed it: decoded once, without relative segments and doubled slashes
	States  []session.State // which sessions the door takes; nil is active ones alone
	// Solve, where set, checks the CAPTCHA that came along. It is asked only where one is due.
	Solve func(ctx context.Context) (bool, error)

	Provider    [16]byte          // handle of the provider that vouches
	State       string            // the flow that it belongs to, where the caller knows it
	Region      string            // of AWS
	Headers     map[string]string // of a request signed for AWS
	Certificate []byte            // the client's certificate, DER, where the connection proved one

	Referrer string // the page that led to the call, of an authorization's token

	landed *Flow // an answer of the provider that was checked already: Finish
}

// What refusals are called in the audit log.
const (
	actionLimited access.Action = "login.limited"
	actionLogin   access.Action = "login." // followed by the kind
)

// The faults of this room. A key that opens nothing is a token.ErrUnknownKey.
var (
	ErrNotAccepted = fault.New(fault.Unauthenticated, "that kind of credential does not open this door")
	ErrBlocked     = fault.New(fault.Limited, "Too many failed attempts from this address")
	ErrFailed      = fault.New(fault.Unauthenticated, "Invalid credentials")
	ErrPending     = fault.New(fault.Unauthenticated, "Two factor authentication required")
	ErrEnrolFirst  = fault.New(fault.Denied, "Two factor authentication must be configured")
)

// Blocked is an ErrBlocked that says for how long.
type Blocked struct {
	RetryAfter time.Duration
	cause      error
}

func (b *Blocked) Error() string { return ErrBlocked.Text + ": " + b.cause.Error() }

// Unwrap makes a Blocked an ErrBlocked.
func (b *Blocked) Unwrap() error { return ErrBlocked }

// keyScopes is all that an API key can do, inside its project.
var keyScopes = []access.Action{"keyproof.*", access.AuthInfo}

// Service authenticates.
type Service struct {
	Tokens       *token.Service
	HTTPTokens   *token.Accesses
	Failures     *guard.Failures // of API keys and HTTP access tokens, by address
	Audit        *audit.Service
	Now          func() time.Time
	Access       *access.Service
	Users        *identity.Service
	Applications *identity.Applications
	Sessions     *session.Service
	Lockout      *guard.Lockout // of passwords and secrets
	Gate         *guard.Gate    // of passwords, by name
	Hasher       Hasher
	MinFailure   time.Duration // no failed sign-in is answered sooner; 250 ms by default
	QueueWait    time.Duration // how long an attempt may wait for others of the same name; 10 s by default

	Authorizations *identity.Authorizations
	ClientFailures *guard.Failures // of clients of authorizations, by client and address: ten in a minute

	Second              *factor.Service // second factors
	Accounts            *identity.Accounts
	Enforcement         string        // of whom a second factor is demanded: none, system-admins or all
	MFAAfterSSO         bool          // who has enrolled a second factor proves it after OIDC and SAML too
	RefuseEnrolledBasic bool          // a password with each request opens nobody who has a second factor, or must have one; true by default
	ElevationFor        time.Duration // how long an elevation lasts after the last change of settings; 10 min
	UnlockFor           time.Duration // how long the password opens the settings of second factors; 10 min
	FreshFor            time.Duration // how long ago who makes a credential may have signed in (rule F14); 10 min
	ElevationTries      int           // wrong proofs in a row that end a session; 5

	Providers   *identity.Providers
	Flows       FlowStore
	Once        guard.OnceStore
	Directory   Directory
	Federations map[identity.ProviderKind]Federation // OIDC and SAML
	Cloud       Cloud
	SessionMax  time.Duration   // a session lasts no longer after OpenID Connect or SAML; 0: as long as any other
	Discoveries *guard.Failures // how often an address may begin flows; 60 a minute
	NewID       func() string

	// OnError, where set, hears of what no caller sees.
	OnError func(doing string, err error)
	// Policy says which ways of signing in are offered, and whose passwords by Basic are taken; BasicScope where.
	Policy     *policy.Service
	BasicScope BasicScope
	// OnBasic, where set, hears who has sent a right password by Basic where the policy warns of that.
	OnBasic func(who access.Caller)
	// OnAttempt, where set, hears of every attempt with a password, a secret or a word of others: ok, failed, refused, busy or error.
	OnAttempt func(kind Kind, outcome string)
	// Wait, where set, stands in for a timer in tests.
	Wait func(ctx context.Context, d time.Duration)
}

// Authenticate returns the Caller that p stands for. What opens nothing is Unauthenticated: an API key may
// be a *Blocked once its address has failed too often, so may an HTTP access token, a password or secret is a *Failed, a session a *session.Refusal, ErrPending or ErrEnrolFirst. A good key always passes, whatever its address did:
// nobody finds 190 random bits by trying, so blocking keys would only hurt the neighbours. A full queue is secret.ErrBusy. A password opens nobody here
// who has a second factor, or must have one (RefuseEnrolledBasic): that is a *Failed like any other.
func (s *Service) Authenticate(ctx context.Context, p Presented) (access.Caller, error) {
	if !slices.Contains(p.Accepts, p.Kind) {
		return access.Caller{}, s.refuse(ctx, p, ErrNotAccepted)
	}
	switch p.Kind {
	case APIKey:
		return s.byAPIKey(ctx, p)
	case HTTPToken:
		return s.byHTTPToken(ctx, p)
	case Session:
		return s.bySession(ctx, p)
	case AuthorizationToken:
		by, _, err := s.ByAuthorization(ctx, p)
		return by, err
	}
	m, ok := s.method(p.Kind)
	if !ok {
		return access.Caller{}, s.refuse(ctx, p, ErrNotAccepted)
	}
	got, err := s.prove(ctx, p, alone{m, s})
	if err != nil {
		return access.Caller{}, err
	}
	return got.Caller, s.Lockout.Succeed(ctx, got.who, got.before)
}

// Stands returns nil while a person who proved who they are earlier is still let in, and an ErrFailed once they, or their account, are disabled or gone (rule F12): for
// what takes long and brought its proof at the beginning.
func (s *Service) Stands(ctx context.Context, by access.Caller) error {
	u, err := s.Users.Store.ByID(ctx, by.ID)
	if fault.Is(err, fault.NotFound) || err == nil && u.Shut() {
		return ErrFailed
	}
	return err
}

func (s *Service) byAPIKey(ctx context.Context, p Presented) (access.Caller, error) {
	t, err := s.Tokens.Check(ctx, p.Secret)
	if errors.Is(err, token.ErrUnknownKey) {
		return access.Caller{}, s.refuse(ctx, p, err)
	}
	if err != nil {
		return access.Caller{}, err
	}
	now := s.Now()
	s.Tokens.Used(t.ID, p.Address, now)
	return access.Caller{
		Principal: access.Principal{Kind: access.APIKey, ID: t.ID, Name: t.Name},
		Method:    string(APIKey),
		At:        now,
		Scopes:    slices.Clone(keyScopes),
		Limit:     access.Project(t.Project),
		Address:   p.Address,
		Door:      p.Door,
		Request:   p.Request,
	}, nil
}

// refuse counts and records a failed attempt and returns what the caller is told.
func (s *Service) refuse(ctx context.Context, p Presented, why error) error {
	verdict, err := s.Failures.Fail(ctx, string(p.Kind), p.Address)
	if err != nil {
		return fmt.Errorf("guard login: %w", err)
	}
	action, answer := actionLogin+access.Action(p.Kind), why
	if verdict.Blocked {
		action, answer = actionLimited, &Blocked{RetryAfter: verdict.RetryAfter, cause: why}
	}
	if err := s.record(ctx, p, action, why); err != nil {
		return errors.Join(answer, fmt.Errorf("record refusal: %w", err)) // told the same, logged with the cause
	}
	return answer
}

// record writes the refusal with the true reason, folded with others like it.
func (s *Service) record(ctx context.Context, p Presented, action access.Action, why error) error {
	on, reason := access.Resource{Kind: string(p.Kind)}, why.Error()
	var refusal *token.Refusal
	if errors.As(why, &refusal) {
		reason = refusal.Reason
		if known := refusal.Token; known.ID != "" {
			on = access.Within(known.Project, string(known.Kind), known.ID)
		}
		if known := refusal.Access; known.ID != "" {
			on = known.Resource()
		}
	}
	var logout *unheard
	if errors.As(why, &logout) && logout.provider.ID != "" {
		on = access.Resource{Kind: string(logout.provider.Kind), ID: logout.provider.ID}
	}
	e := access.NobodyAt(p.Address, p.Door, s.Now()).Event(s.Now(), action, on, audit.Refused)
	if e.Reason = reason; logout != nil {
		e.Object.Name = logout.provider.Name
	}
	return s.Audit.Refuse(ctx, e)
}
