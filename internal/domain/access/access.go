// Package access decides who may do what, for every door, and explains the decision.
//
// A door turns what was presented into a Caller; every verb of the domain takes it as its first
// argument after the context and asks Service.Require before it reads or changes anything. Rights
// come from role bindings (subject, role, resource), which live here alone, and a Caller can only
// narrow them: by its scopes and by the one resource that it is limited to.
package access

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Principal is who acts.
type Principal struct {
	Kind PrincipalKind
	ID   string
	Name string
}

// PrincipalKind tells people from programs.
type PrincipalKind string

// The kinds of principal.
const (
	Nobody PrincipalKind = "nobody"  // not authenticated
	User   PrincipalKind = "user"    // a person
	APIKey PrincipalKind = "api_key" // a key of one project
	Local  PrincipalKind = "local"   // somebody at the command line of the server itself
	System PrincipalKind = "system"  // Gatehouse by itself: expiry, retention

	Application     PrincipalKind = "application" // a program of an account, with a secret of its own
	Group           PrincipalKind = "group"       // never acts; what it holds, its members hold
	ServiceIdentity PrincipalKind = "service"     // a token or key of one project or repository, which acts for nobody but itself
)

// Caller is a principal as one request presents it. The zero Caller may do nothing.
type Caller struct {
	Principal
	Method  string     // how it was authenticated: api_key, password, os_user, ...
	At      time.Time  // when it was authenticated
	Scopes  []Action   // what it may do at most; "noun.*" is every verb of a noun, "*" everything; none means nothing; see Action.On
	Limit   Resource   // the one resource inside which it may act; the zero Resource is no limit
	Address netip.Addr // where it comes from; invalid for the command line
	Door    string     // which door it came through
	Request string     // the request's id, for logs

	Credential string // id of the HTTP token or SSH key it came with; empty otherwise

	Session  string    // id of the session it came with; empty where each request brings its own proof
	Cookie   bool      // the session came as a cookie, so the door looks at where the request began
	Account  string    // the account it has chosen; an application's own; empty before a choice
	Elevated time.Time // until when a proof given later than At counts as fresh; zero is never
}

// LocalCaller is somebody with a shell on the server, named after the operating system's user.
func LocalCaller(osUser string, now time.Time) Caller {
	return Caller{Principal: Principal{Kind: Local, ID: osUser, Name: osUser}, Method: "os_user", At: now, Scopes: []Action{"*"}, Door: "command"}
}

// SystemCaller is Gatehouse doing what time or a rule demands.
func SystemCaller(now time.Time) Caller {
	return Caller{Principal: Principal{Kind: System, Name: "gatehouse"}, Method: "system", At: now, Scopes: []Action{"*"}, Door: "system"}
}

// NobodyAt is a caller that has not proved who it is: for the audit of refusals, and for what anybody may read.
func NobodyAt(address netip.Addr, door string, now time.Time) Caller {
	return Caller{Principal: Principal{Kind: Nobody}, At: now, Scopes: readable, Address: address, Door: door}
}

// Event returns an audit event of something that this caller did.
func (c Caller) Event(now time.Time, action Action, on Resource, outcome audit.Outcome) audit.Event {
	e := audit.NewEvent(now, string(action), outcome)
	e.Actor = audit.Actor{Kind: string(c.Kind), ID: c.ID, Name: c.Name, Method: c.Method}
	e.Object = audit.Object{Kind: on.Kind, ID: on.ID}
	e.Door = c.Door
	if c.Address.IsValid() {
		e.Address = c.Address.String()
	}
	if on.Kind == ProjectKind {
		e.Project = on.ID
	}
	for _, p := range on.Parents {
		if p.Kind == ProjectKind {
			e.Project = p.ID
		}
	}
	e.Concerns = concerns(action, on)
	if c.Credential != "" {
		e = e.With("credential", c.Credential)
	}
	return e
}

// concerns says to whose sign-ins an event belongs: what is done with a user's sessions, second factors and password, and by whoever tries to be the user.
func concerns(action Action, on Resource) string {
	noun, _, _ := strings.Cut(string(action), ".")
	if !slices.Contains([]string{"session", "login", "factor", "guard"}, noun) && action != UserPassword && action != UserUpdate {
		return ""
	}
	for _, r := range append([]Resource{on}, on.Parents...) {
		if r.Kind == UserKind {
			return r.ID
		}
	}
	return ""
}

// Action is what somebody wants to do, as noun.verb.
type Action string

// The actions. A route or SSH request without one is refused by a test.
const (
	KeyproofCreate   Action = "keyproof.create"
	KeyproofRead     Action = "keyproof.read"
	KeyproofUpdate   Action = "keyproof.update"
	KeyproofComplete Action = "keyproof.complete"
	KeyproofDelete   Action = "keyproof.delete"
	KeyproofWebhook  Action = "keyproof.webhook" // add, change and remove webhooks of a session
	KeyproofAttempt  Action = "keyproof.attempt" // prove a key over SSH: the identifier is the right to try
	KeyproofExpire   Action = "keyproof.expire"

	AuthInfo Action = "token.info" // what a key is, told to its own holder

	TokenIssue  Action = "token.issue"
	TokenRead   Action = "token.read"
	TokenUpdate Action = "token.update"
	TokenRevoke Action = "token.revoke"

	ProjectCreate Action = "project.create"
	ProjectRead   Action = "project.read"
	ProjectUpdate Action = "project.update"
	ProjectDelete Action = "project.delete"

	RepoCreate Action = "repo.create" // in a project
	RepoRead   Action = "repo.read"   // see, clone and fetch
	RepoWrite  Action = "repo.write"  // push
	RepoUpdate Action = "repo.update" // change what it is called and who may see it
	RepoDelete Action = "repo.delete"

	UserCreate   Action = "user.create"
	UserRead     Action = "user.read"
	UserUpdate   Action = "user.update" // enable, disable, set password
	UserDelete   Action = "user.delete"
	UserPassword Action = "user.password" // change one's own password, with the old one
	UserRename   Action = "user.rename"   // what one is called, for other people
	AccessGrant  Action = "access.grant"  // give somebody a role
	AccessRevoke Action = "access.revoke" // take it back

	AccessExplain Action = "access.explain" // ask what somebody may do, and why; one's own rights are everybody's to ask

	DeliveryRead   Action = "webhook.read"
	DeliveryResend Action = "webhook.resend"

	SessionStart  Action = "session.start"
	SessionRead   Action = "session.read"
	SessionKeep   Action = "session.keep"   // refresh, begin a further one, choose an account: one's own alone
	SessionEnd    Action = "session.end"    // one's own, or somebody's by right
	SessionExpire Action = "session.expire" // what time does

	AccountCreate  Action = "account.create"
	AccountRead    Action = "account.read"
	AccountUpdate  Action = "account.update"
	AccountMembers Action = "account.member" // add, change and remove members

	GroupCreate Action = "group.create"
	GroupRead   Action = "group.read"
	GroupDelete Action = "group.delete"

	GroupMembers Action = "group.member" // add and remove users

	ApplicationCreate     Action = "application.create"
	ApplicationRead       Action = "application.read"
	ApplicationUpdate     Action = "application.update"
	ApplicationDelete     Action = "application.delete"
	ApplicationReset      Action = "application.reset"      // give it another secret
	ApplicationCredential Action = "application.credential" // see a secret that was made just now

	GuardUnlock Action = "guard.unlock" // forget failed sign-ins of a name

	FactorRead   Action = "factor.read"   // which second factors somebody has: one's own alone
	FactorEnrol  Action = "factor.enrol"  // add or change one's own
	FactorRemove Action = "factor.remove" // take one's own away
	FactorCodes  Action = "factor.codes"  // make one's own recovery codes anew
	FactorReset  Action = "factor.reset"  // take somebody else's away
	FactorImport Action = "factor.import" // give somebody a security key that was enrolled elsewhere

	ProviderCreate Action = "provider.create"
	ProviderRead   Action = "provider.read"
	ProviderUpdate Action = "provider.update"
	ProviderDelete Action = "provider.delete"
	ProviderTest   Action = "provider.test"
	ProviderLink   Action = "provider.link"   // say who somebody is at a provider
	ProviderUnlink Action = "provider.unlink" // and take it back

	SSORead         Action = "sso.read"
	SSOUpdate       Action = "sso.update"
	BasicAuthRead   Action = "basicauth.read"
	BasicAuthUpdate Action = "basicauth.update"

	Public Action = "public" // needs no right: health, documentation
)

// AllowedBy reports whether a scope covers the action.
func (a Action) AllowedBy(scope Action) bool {
	if scope == "*" || scope == a {
		return true
	}
	noun, isNoun := strings.CutSuffix(string(scope), ".*")
	return isNoun && strings.HasPrefix(string(a), noun+".")
}

// ProjectKind is the kind of a project resource, Installation that of the whole of Gatehouse.
const (
	ProjectKind      = "project"
	InstallationKind = "installation"

	AccountKind     = "account"
	ApplicationKind = "application"
	GroupKind       = "group"
	SessionKind     = "session"
	RepoKind        = "repo"
)

// Resource is what is acted on, with what it belongs to.
type Resource struct {
	Kind    string
	ID      string
	Parents []Resource // nearest first; the installation is implied

	Open     bool // anybody may read it
	Reserved bool // what is more than reading and writing is for administrators of what it belongs to
}

// Installation is the whole of Gatehouse.
var Installation = Resource{Kind: InstallationKind}

// Project is one project.
func Project(id string) Resource { return Resource{Kind: ProjectKind, ID: id} }

// Repo is one repository of a project.
func Repo(project, id string) Resource { return Within(project, RepoKind, id) }

// Within is a resource that belongs to a project.
func Within(project, kind, id string) Resource {
	return Resource{Kind: kind, ID: id, Parents: []Resource{Project(project)}}
}

// Account is one account.
func Account(id string) Resource { return Resource{Kind: AccountKind, ID: id} }

// InAccount is a resource that belongs to an account: an application or a group.
func InAccount(account, kind, id string) Resource {
	return Resource{Kind: kind, ID: id, Parents: []Resource{Account(account)}}
}

// SessionOf is a session, which belongs to the person or program that is signed in by it.
func SessionOf(of Subject, id string) Resource {
	return Resource{Kind: SessionKind, ID: id, Parents: []Resource{{Kind: string(of.Kind), ID: of.ID}}}
}

func (r Resource) is(other Resource) bool { return r.Kind == other.Kind && r.ID == other.ID }

func (r Resource) inside(outer Resource) bool {
	return r.is(outer) || slices.ContainsFunc(r.Parents, outer.is)
}

// chain is the resource itself, its parents, and the installation.
func (r Resource) chain() []Resource {
	out := append([]Resource{r}, r.Parents...)
	if r.Kind != InstallationKind {
		out = append(out, Installation)
	}
	return out
}

func (r Resource) String() string {
	if r.ID == "" {
		return "the " + r.Kind
	}
	return r.Kind + " " + r.ID
}

// Subject is who holds a binding.
type Subject struct {
	Kind PrincipalKind
	ID   string
}

// Binding gives a subject a role on a resource and all that belongs to it.
type Binding struct {
	ID       string
	Subject  Subject
	Role     Role
	Resource Resource // Parents are not kept
	Created  time.Time

	Name string // what the Subject is called; who reads bindings says where it is filled in; never written

	Number int64 // of a grant, for people and wires: the store gives it to bindings with DeviceConnect or CredentialConnect; 0 for all others
	Terms  Terms // of a grant
}

// Store keeps role bindings.
type Store interface {
	// BindingsOf returns the bindings of a subject; none is no error. A user has those of their groups too, behind their own: of groups whose account is
	// not disabled and which the user belongs to; on the installation, of groups of the default account alone. Only these have a Name.
	BindingsOf(ctx context.Context, of Subject) ([]Binding, error)
	// BindingsOn returns who holds what on the resource itself, in the order in which it was given. Users and groups have a Name, unless they are gone.
	BindingsOn(ctx context.Context, on Resource) ([]Binding, error)
	// SetRole makes b the only binding of its subject on its resource, or removes them all where its role is "", and records e, unless check, which is handed
	// what the subject holds there, returns an error: all or nothing. Where nothing changes nothing is recorded.
	SetRole(ctx context.Context, b Binding, check func(held []Role) error, e audit.Event) error
	// Grant adds b and records e, both or neither. An equal binding is kept as it is, with no second event.
	Grant(ctx context.Context, b Binding, e audit.Event) error
	// GrantTerms adds b, a binding with DeviceConnect or CredentialConnect, with the next number, or gives the one of the same subject, role and resource
	// the terms of b, and records e, both or neither. Where nothing changes nothing is recorded. It returns the binding as it is kept.
	GrantTerms(ctx context.Context, b Binding, e audit.Event) (Binding, error)
	// Grants returns bindings with DeviceConnect or CredentialConnect, by number: all, or those of a subject.
	Grants(ctx context.Context, of Subject, w page.Window) (page.Page[Binding], error)
	// GrantByNumber reports fault.NotFound.
	GrantByNumber(ctx context.Context, number int64) (Binding, error)
	// Revoke removes the binding and records e, both or neither. It reports fault.NotFound when there is none.
	Revoke(ctx context.Context, b Binding, e audit.Event) error
}

// Service makes the one decision.
type Service struct {
	Store Store
	Now   func() time.Time
	NewID func() string

	// Standing, where set, tells Explain what a user or an application is called, and why nobody acts as them now: "" where somebody may. It
	// reports a NotFound fault.
	Standing func(ctx context.Context, of Subject) (name, shut string, err error)
	// Belongs, where set, tells Explain what a resource belongs to, nearest first, and whether it is open or reserved; what is not there is returned as it is.
	Belongs func(ctx context.Context, on Resource) (Resource, error)
}

// Decision is the answer and, step by step, why.
type Decision struct {
	Allowed bool
	Why     []string
}

func (d Decision) String() string { return strings.Join(d.Why, "; ") }

func refuse(why ...string) Decision { return Decision{Why: why} }

// Decide answers whether by may do the action on the resource, and why. An error means that the
// bindings could not be read; nobody may do anything then.
func (s *Service) Decide(ctx context.Context, by Caller, do Action, on Resource) (Decision, error) {
	scope, ok := by.scopeFor(do, on)
	if !ok {
		return refuse(by.describe() + " has no scope for " + string(do)), nil
	}
	why := []string{by.describe() + " has scope " + string(scope)}
	if by.Limit.Kind != "" && !on.inside(by.Limit) {
		return refuse(append(why, "it is limited to "+by.Limit.String()+", and "+on.String()+" lies outside")...), nil
	}
	if on.Open && slices.Contains(readable, do) {
		return Decision{true, append(why, "anybody may read "+on.String())}, nil
	}
	switch by.Kind {
	case Authorization:
		return s.decideForAuthorization(ctx, by, do, on, why)
	case Local, System:
		return Decision{true, append(why, "whoever runs the server may do all of it")}, nil
	case APIKey, ServiceIdentity:
		if by.Limit.Kind == "" {
			return refuse(append(why, "a key without a place of its own may do nothing")...), nil
		}
		return Decision{true, append(why, on.String()+" lies inside "+by.Limit.String())}, nil
	case User, Application:
		if do == RemoteOpen {
			return s.decideOpen(ctx, by, on, why)
		}
		if what, ok := by.owns(do, on); ok {
			return Decision{true, append(why, what)}, nil
		}
		d, err := s.decideByBindings(ctx, by, do, on, why)
		if err != nil || !d.Allowed || on.Kind != UserKind || !slices.Contains(overUsers, do) {
			return d, err
		}
		return s.decideByRank(ctx, by, on, d)
	default:
		return refuse("nobody has signed in"), nil
	}
}

// decideForAuthorization looks at what an authorisation lists, and nothing else: it holds no rights by its application, nor by being itself. What it
// adds is on its lists from then on, so devices take its scope alone, and credentials a device that it lists.
func (s *Service) decideForAuthorization(ctx context.Context, by Caller, do Action, on Resource, why []string) (Decision, error) {
	switch do {
	case DeviceCreate:
		return Decision{true, append(why, "what it adds is on its lists")}, nil
	case CredentialCreate:
		return s.decideByBindings(ctx, by, DeviceUpdate, on, why)
	case RemoteOpen:
		return refuse(append(why, "only people open sessions")...), nil
	}
	return s.decideByBindings(ctx, by, do, on, why)
}

// readable is what anybody may do with an Open resource, unreserved what roles on a Reserved one still give.
var (
	readable   = []Action{ProjectRead, RepoRead}
	unreserved = []Action{RepoRead, RepoWrite}
)

// decideByBindings looks for a role on the resource, on what it belongs to, or on the installation.
func (s *Service) decideByBindings(ctx context.Context, by Caller, do Action, on Resource, why []string) (Decision, error) {
	bindings, err := s.Store.BindingsOf(ctx, Subject{by.Kind, by.ID})
	if err != nil {
		return refuse("the role bindings could not be read"), err
	}
	for _, at := range on.chain() {
		if on.Reserved && at.is(on) && !slices.Contains(unreserved, do) {
			why = append(why, "settings of "+on.String()+" are reserved")
			continue
		}
		for _, b := range bindings {
			if b.Resource.is(at) && b.Role.Allows(do) {
				return Decision{true, append(why, b.describe()+" allows "+string(do))}, nil
			}
		}
	}
	return refuse(append(why, "no role on "+on.String()+" or above allows "+string(do))...), nil
}

// describe says which role it is, on what, and by which group.
func (b Binding) describe() string {
	text := "role " + string(b.Role) + " on " + b.Resource.String()
	if b.Number > 0 {
		text = fmt.Sprintf("grant %d, %s", b.Number, text)
	}
	if b.Name != "" {
		text += ", as a member of group " + b.Name + ","
	}
	return text
}

// overUsers are the actions by which one could act as somebody else in the end; whose failures are forgotten can be guessed at for ever.
var overUsers = []Action{UserUpdate, UserDelete, FactorReset, FactorImport, GuardUnlock, SSHKeyAdd, TokenUpdate}

// decideByRank refuses who stands below the user: a role does not give what its holder lacks (rule W7).
func (s *Service) decideByRank(ctx context.Context, by Caller, on Resource, d Decision) (Decision, error) {
	above, err := s.Outranks(ctx, on.ID, by)
	if err != nil || above {
		return refuse(append(d.Why, on.String()+" has more rights on the installation")...), err
	}
	return d, nil
}

// Require returns nil where Decide allows, and a Denied fault that explains itself otherwise.
// Verbs that must hide a thing's existence answer NotFound instead: see Visible.
func (s *Service) Require(ctx context.Context, by Caller, do Action, on Resource) error {
	d, err := s.Decide(ctx, by, do, on)
	if err != nil {
		return err
	}
	if !d.Allowed {
		return fault.Newf(fault.Denied, "not allowed: %s", d)
	}
	return nil
}

// Visible returns how a verb reads one thing for a caller: who may not do that with it hears missing, as where there is none. Faults of the reading pass.
func Visible[T interface{ Resource() Resource }](ctx context.Context, s *Service, by Caller, do Action, missing error) func(T, error) (T, error) {
	return func(x T, err error) (T, error) {
		if err == nil {
			err = s.Require(ctx, by, do, x.Resource())
		}
		if fault.Is(err, fault.Denied) {
			err = missing
		}
		if err != nil {
			var none T
			return none, err
		}
		return x, nil
	}
}

func (c Caller) describe() string {
	name := c.Name
	if name == "" {
		name = c.ID
	}
	return strings.TrimSpace(string(c.Kind) + " " + name)
}

// Grant gives a subject a role on a resource. Nobody can give more than they hold. DeviceConnect and CredentialConnect are given without terms by it.
func (s *Service) Grant(ctx context.Context, by Caller, to Subject, role Role, on Resource) error {
	_, err := s.give(ctx, by, to, role, on, Terms{})
	return err
}

// give is Grant and GrantTerms.
func (s *Service) give(ctx context.Context, by Caller, to Subject, role Role, on Resource, terms Terms) (Binding, error) {
	if !role.known() {
		return Binding{}, fault.Newf(fault.Invalid, "there is no role %q; the roles there are %s", role, roleNames(on.Kind))
	}
	if !role.fits(on.Kind) {
		return Binding{}, fault.Newf(fault.Invalid, "role %q cannot be held there; the roles there are %s", role, roleNames(on.Kind))
	}
	if err := role.suits(to.Kind); err != nil {
		return Binding{}, err
	}
	if err := s.mayGive(ctx, by, role, on); err != nil {
		return Binding{}, err
	}
	if err := s.fitsGroup(ctx, to, on); err != nil {
		return Binding{}, err
	}
	now := s.Now()
	e := by.Event(now, AccessGrant, on, audit.Done).With("role", string(role)).With("to", string(to.Kind)+" "+to.ID)
	b := Binding{ID: s.NewID(), Subject: to, Role: role, Resource: on, Created: now, Terms: terms}
	if role.opens() {
		return s.Store.GrantTerms(ctx, b, e.With("terms", terms.String()))
	}
	return b, s.Store.Grant(ctx, b, e)
}

// Revoke takes a role back. Nobody takes what they could not give: an administrator cannot undo a system administrator. It reports fault.NotFound where the subject does not have it by themselves.
func (s *Service) Revoke(ctx context.Context, by Caller, from Subject, role Role, on Resource) error {
	if err := s.Require(ctx, by, AccessRevoke, on); err != nil {
		return err
	}
	if err := s.mayGive(ctx, by, role, on); err != nil {
		return err
	}
	e := by.Event(s.Now(), AccessRevoke, on, audit.Done).With("role", string(role)).With("from", string(from.Kind)+" "+from.ID)
	return s.Store.Revoke(ctx, Binding{Subject: from, Role: role, Resource: on}, e)
}

// mayGive asks for the right to grant, and for all that the role gives.
func (s *Service) mayGive(ctx context.Context, by Caller, role Role, on Resource) error {
	if err := s.Require(ctx, by, AccessGrant, on); err != nil {
		return err
	}
	for _, do := range role.actions() {
		if do == RemoteOpen {
			continue // nobody holds it but by a grant: who may give roles there gives it, to themselves too, on record
		}
		if err := s.Require(ctx, by, do, on); err != nil { // rule W7
			return err
		}
	}
	return nil
}
