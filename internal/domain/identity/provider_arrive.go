package identity

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Stranger is an ErrStranger that says why, for the audit log alone.
type Stranger struct {
	Reason string
	User   User // whom it was about, where they exist
}

func (s *Stranger) Error() string { return ErrStranger.Text + ": " + s.Reason }

// Unwrap makes a Stranger an ErrStranger.
func (s *Stranger) Unwrap() error { return ErrStranger }

func stranger(reason string) error { return &Stranger{Reason: reason} }

// Arrive finds out which user came from a provider that has said who they are, for package login alone. Identity is the provider and its subject
// (rule F12): a linked user is found by nothing else. Somebody who comes for the first time is linked to a user who is linked to no provider yet, as
// the provider's LinkPolicy says, or made, where JIT says so. Everybody else, and who is shut out, is a *Stranger. Where JIT adds people, they become at
// every arrival what the provider says that they are (refresh); whom it then says too little about, or gives somebody else's address, is a *Stranger too.
func (s *Providers) Arrive(ctx context.Context, p Provider, v Visitor) (User, error) {
	if !p.Enabled {
		return User{}, stranger("the identity provider is disabled")
	}
	if checkSubject(v.Subject) != nil {
		return User{}, stranger("the identity provider gives no usable subject")
	}
	u, err := s.linked(ctx, p, v)
	if fault.Is(err, fault.NotFound) {
		u, err = s.first(ctx, p, v)
	}
	if err != nil {
		return User{}, err
	}
	if u, err = s.refresh(ctx, p, v, u); err != nil {
		return User{}, err
	}
	if u.Shut() {
		return User{}, &Stranger{Reason: "the user or the account is disabled", User: u}
	}
	return u, nil
}

func (s *Providers) linked(ctx context.Context, p Provider, v Visitor) (User, error) {
	l, err := s.Store.LinkOf(ctx, p.ID, v.Subject)
	if err != nil {
		return User{}, err
	}
	return s.Users.ByID(ctx, l.User)
}

// first links or makes somebody who was never here. Of two arrivals at the same moment the second finds what the first made, however far
// the first had come when the second looked: a link, a name or an address that was free a moment ago.
func (s *Providers) first(ctx context.Context, p Provider, v Visitor) (User, error) {
	u, err := s.join(ctx, p, v)
	if err == nil || !errors.Is(err, ErrLinked) && !errors.Is(err, ErrStranger) {
		return u, err
	}
	made, missing := s.linked(ctx, p, v)
	switch {
	case missing == nil:
		return made, nil
	case !fault.Is(missing, fault.NotFound):
		return User{}, missing
	case errors.Is(err, ErrLinked):
		return User{}, stranger("the user is linked to another subject of the provider")
	}
	return User{}, err
}

func (s *Providers) join(ctx context.Context, p Provider, v Visitor) (User, error) {
	if p.Settings.JIT.Provision && v.Unmapped != "" {
		return User{}, stranger(v.Unmapped)
	}
	u, why, err := s.meant(ctx, p.Settings.Link, v)
	switch {
	case err != nil:
		return User{}, err
	case u.ID != "":
		return s.link(ctx, p, v, u)
	case !p.Settings.JIT.Provision:
		return User{}, stranger(why + ", and the provider adds nobody")
	}
	return s.provision(ctx, p, v)
}

// meant finds the user whom a policy means by the visitor; the zero User, and why, where it means nobody.
func (s *Providers) meant(ctx context.Context, policy LinkPolicy, v Visitor) (u User, why string, err error) {
	byEmail := policy == LinkByEmail || strings.Contains(v.Name, "@") // a name that is an address is looked up as one
	email := v.Email
	if policy == LinkByName {
		email = v.Name
	}
	switch {
	case policy == LinkNever:
		return User{}, "no user is linked to the subject", nil
	case !byEmail && v.Name == "":
		return User{}, "the provider gives no user name", nil
	case !byEmail:
		u, err = s.Users.ByName(ctx, DefaultAccount, Login(v.Name))
	case email == "":
		return User{}, "the provider gives no e-mail address", nil
	case !v.EmailVerified || FoldEmail(email) != FoldEmail(v.Email):
		return User{}, "the provider does not vouch for the e-mail address", nil
	default:
		u, err = s.Users.ByEmail(ctx, DefaultAccount, Login(email))
	}
	if fault.Is(err, fault.NotFound) {
		return User{}, "there is no user of that name or e-mail address", nil
	}
	if err == nil && byEmail && !u.EmailVerified { // else whoever registers with somebody's address waits for them to come
		return User{}, "nobody vouches for the e-mail address of the user who has it", nil
	}
	return u, "", err
}

// link makes a user who is there the provider's subject, unless some provider vouches for them already.
func (s *Providers) link(ctx context.Context, p Provider, v Visitor, u User) (User, error) {
	guarded, err := s.Guarded(ctx, u.ID)
	if err != nil {
		return User{}, err
	}
	links, err := s.Store.LinksOf(ctx, u.ID)
	switch {
	case err != nil:
		return User{}, err
	case guarded: // or whoever can choose an address at the provider becomes an administrator here (rule F12)
		return User{}, &Stranger{Reason: "the user has rights over others, and is linked by hand alone", User: u}
	case len(links) > 0:
		return User{}, &Stranger{Reason: "the user is linked to a provider already; an administrator may link them", User: u}
	case u.Shut():
		return User{}, &Stranger{Reason: "the user or the account is disabled", User: u}
	}
	if err := s.free(ctx, p, v, u); err != nil {
		return User{}, err
	}
	e := s.said(actionProviderLink, p, v, u).With("by", string(p.Settings.Link))
	return u, s.Store.InsertLink(ctx, Link{Provider: p.ID, Subject: v.Subject, User: u.ID, Created: s.Now()}, e)
}

// free returns a *Stranger for a visitor whose e-mail address cannot become that of the user whom they are about to be, so that nobody is linked and then refused
// for ever.
func (s *Providers) free(ctx context.Context, p Provider, v Visitor, u User) error {
	if !p.Settings.JIT.Provision || v.Email == "" || FoldEmail(v.Email) == FoldEmail(u.Email) {
		return nil
	}
	if CheckEmail(v.Email) != nil {
		return &Stranger{Reason: noEmail, User: u}
	}
	_, err := s.Users.ByEmail(ctx, u.Account, FoldEmail(v.Email))
	switch {
	case err == nil:
		return &Stranger{Reason: emailTaken, User: u}
	case fault.Is(err, fault.NotFound):
		return nil
	}
	return err
}

const (
	noEmail    = "the provider gives no e-mail address that can be kept"
	emailTaken = "another user has the e-mail address that the provider gives"
)

// provision makes a user of a visitor: without a password, without rights.
func (s *Providers) provision(ctx context.Context, p Provider, v Visitor) (User, error) {
	if CheckEmail(v.Email) != nil {
		return User{}, stranger(noEmail)
	}
	base, numbered, err := nameOf(p, v)
	if err != nil {
		return User{}, err
	}
	now := s.Now()
	u := User{ID: s.NewID(), Account: DefaultAccount, Name: base, Email: v.Email, EmailVerified: v.EmailVerified, Created: now, Updated: now}
	if checkText("display name", v.Display) == nil {
		u.Names.Display = v.Display
	}
	for number := 2; ; number++ {
		l := Link{Provider: p.ID, Subject: v.Subject, User: u.ID, Made: true, Created: now}
		err := s.Store.InsertMade(ctx, u, l, s.said(actionCreate, p, v, u))
		switch {
		case errors.Is(err, ErrEmailTaken):
			return User{}, stranger("a user has the e-mail address already, and nobody linked them to the provider")
		case errors.Is(err, ErrNameTaken) && !numbered:
			return User{}, stranger("a user has the name already, and nobody linked them to the provider")
		case !errors.Is(err, ErrNameTaken) || number > maxNumbers:
			return u, err
		}
		u.Name = base + "-" + strconv.Itoa(number)
	}
}

// nameOf is the name of a user to be made. What an attribute gives that was chosen for it must be a user name; otherwise the e-mail address
// lends its local part, with a number where that is taken.
func nameOf(p Provider, v Visitor) (name string, numbered bool, err error) {
	attribute := p.nameAttribute()
	if v.Name == "" || attribute == "" && CheckName(v.Name) != nil {
		return nameFrom(v.Email), true, nil
	}
	if err := CheckName(v.Name); err != nil {
		return "", false, stranger("what the provider gives as " + attribute + " cannot be a user name here")
	}
	return compose(v.Name), false, nil
}

// nameAttribute is what an administrator chose to be the user name; "" where nobody did.
func (p Provider) nameAttribute() string {
	switch {
	case p.Settings.LDAP != nil:
		return p.Settings.LDAP.Name
	case p.Settings.OIDC != nil:
		return p.Settings.OIDC.NameClaim
	case p.Settings.SAML != nil:
		return p.Settings.SAML.NameClaim
	}
	return ""
}

// said is the event of what a provider's word did.
func (s *Providers) said(action string, p Provider, v Visitor, u User) audit.Event {
	e := audit.NewEvent(s.Now(), action, audit.Done)
	e.Actor = audit.Actor{Kind: "system", Name: "gatehouse", Method: string(p.Kind)}
	e.Object = audit.Object{Kind: kindUser, ID: u.ID, Name: u.Name}
	e.Reason = "came from identity provider " + p.Name
	return e.With("provider", p.ID).With("subject", v.Subject)
}
