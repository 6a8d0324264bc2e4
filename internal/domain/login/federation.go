package login

import (
	"context"
	"net/url"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Further kinds of credentials, which outside parties vouch for.
const (
	LDAP   Kind = "ldap"    // Provider, Name and Secret, the password there
	OIDC   Kind = "oidc"    // Provider, Name, an e-mail address, Secret, the code, and State where it is known
	SAML   Kind = "saml"    // Secret, the response as it was posted, and State, the id of our request
	AWSIAM Kind = "aws_iam" // Account, Region and Headers of a signed request
)

// Flow is a sign-in that is under way at a provider: begun by us, and to be finished once.
type Flow struct {
	ID       string
	Provider string
	State    secret.String // OIDC's state, or the id of SAML's request; found by its digest
	Browser  secret.String // of a flow that our sign-in page began: the pre-login cookie, without which nobody finishes it; empty for a program's
	Nonce    secret.String // OIDC
	Verifier secret.String // PKCE
	Target   string        // where a browser goes afterwards: a path of ours
	Created  time.Time
	Expires  time.Time

	Finish  secret.String    // once the provider's answer was checked: under what the browser comes back
	Visitor identity.Visitor // who it was
}

// Departure is how somebody gets to the provider.
type Departure struct {
	Provider identity.Provider
	URL      string     // where to send the browser
	Form     url.Values // to post there; nil: go there
	Flow     Flow

	Partial     string // OIDC: URL without response_type, client_id, redirect_uri and state, for a program that adds them itself
	ClientID    string // OIDC: what such a program adds
	RedirectURI string
	Request     string // SAML: the AuthnRequest, base64
}

// Return is what the provider sent back.
type Return struct {
	Code     string // OIDC
	State    string // OIDC's state, or SAML's id of our request where the caller knows it
	Response string // SAML, base64
	Refused  string // OIDC's error, a word
	Issuer   string // OIDC's iss (RFC 9207), "" where none came
}

// Step is one step of a test call, in the order they were taken.
type Step struct {
	Name string
	OK   bool
	Note string // what was found, or what is wrong and what to do; never a secret, never what a stranger's server wrote
}

// Directory checks a name and a password at an LDAP server: idp/ldap.
type Directory interface {
	// Bind reports a *Wrong for a wrong name or password, for somebody who is not active there, and for a server that
	// cannot be reached or trusted.
	Bind(ctx context.Context, p identity.Provider, name string, password secret.String) (identity.Visitor, error)
	// Present says whether the entry is still there and active. An error means that nobody knows.
	Present(ctx context.Context, p identity.Provider, subject string) (bool, error)
	// Check returns why the settings cannot work, or nil, without asking anybody.
	Check(p identity.Provider) error
	// Test tries everything that can be tried without a person, and stops at the first step that fails.
	Test(ctx context.Context, p identity.Provider) []Step
}

// Federation sends people to a provider and reads what it says about them: idp/oidc and idp/saml. It keeps nothing; flows are the
// caller's.
type Federation interface {
	// Depart says how to get there. It fills what the flow needs (state, nonce, verifier) and leaves the rest.
	Depart(ctx context.Context, p identity.Provider, f *Flow) (Departure, error)
	// StateOf finds the state under which what came back names its flow, unverified; "" where it names none.
	StateOf(back Return) string
	// Arrive verifies what came back. f is the flow that it names, nil where there is none. What is wrong is a *Wrong. once are the keys of what
	// may be used once, each until its time: the caller refuses the visitor when one of them was used.
	Arrive(ctx context.Context, p identity.Provider, f *Flow, back Return) (v identity.Visitor, once []Once, err error)
	// Logout verifies what a provider sent to end sessions that began by its word, and says whose. What is wrong is a *Wrong, as is everything at a
	// provider that cannot send such. once are the keys of what counts once, as with Arrive.
	Logout(ctx context.Context, p identity.Provider, token string) (l Logout, once []Once, err error)
	// Check returns why the settings cannot work, or nil, without asking anybody.
	Check(p identity.Provider) error
	// Test tries everything that can be tried without a person, and stops at the first step that fails.
	Test(ctx context.Context, p identity.Provider) []Step
}

// Logout is what a provider ends: a session of its own, all of somebody's, or, where both are named, that session of theirs.
type Logout struct {
	Subject string // unchanging name at the provider; empty: whoever's
	Session string // the session at the provider; empty: all
}

// Once is something that may be used once until that time.
type Once struct {
	Key   string
	Until time.Time
}

// Cloud finds out as whom a request to AWS STS was signed: idp/awsiam.
type Cloud interface {
	// Identify checks region and headers, asks STS and returns the ARN. once is what may be used once, asked before STS is called: used reports
	// whether it was used already. Malformed input is fault.Invalid, a refusal a *Wrong.
	Identify(ctx context.Context, region string, headers map[string]string, used func(context.Context, Once) (bool, error)) (arn string, err error)
}

// FlowStore keeps flows. What they hold but their digests is sealed.
type FlowStore interface {
	Insert(ctx context.Context, f Flow) error
	// ByState finds a flow that is not over at that time and has not been answered yet. It reports ErrNoFlow.
	ByState(ctx context.Context, state string, now time.Time) (Flow, error)
	// TieCode notes that a code belongs to the flow of that state. It reports ErrNoFlow.
	TieCode(ctx context.Context, state, code string, now time.Time) (Flow, error)
	// ByCode finds a flow by a code that was tied to it. It reports ErrNoFlow.
	ByCode(ctx context.Context, code string, now time.Time) (Flow, error)
	// Take removes the flow and returns it: of many that try exactly one gets it. The others get ErrNoFlow.
	Take(ctx context.Context, id string, now time.Time) (Flow, error)
	// Answered replaces the flow by one that waits under f.Finish, until f.Expires. Of many that try one succeeds; the others get ErrNoFlow.
	Answered(ctx context.Context, f Flow, now time.Time) error
	// TakeFinished removes the flow that waits under that and returns it, to exactly one caller, if the pre-login cookie is its own. It reports ErrNoFlow; a flow whose cookie is another stays.
	TakeFinished(ctx context.Context, finish, browser string, now time.Time) (Flow, error)
	// Sweep removes flows that were over before that time.
	Sweep(ctx context.Context, before time.Time) error
}

// ErrNoFlow says that no sign-in is under way under that name, or that it is over.
var ErrNoFlow = fault.New(fault.NotFound, "the sign-in is over, or was begun elsewhere; begin it again")
