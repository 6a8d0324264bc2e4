package fortanix

import (
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

func (d *Dialect) listUsers(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var all []identity.Person
	for at := page.Of(0, page.MaxLimit); ; at.Offset += at.Limit { // the wire has no pages
		p, err := d.Accounts.Members(r.Context(), d.Access.For(by), by.Account, at)
		if err != nil {
			return err
		}
		if all = append(all, p.Items...); !p.HasMore() {
			return d.replyUsers(w, r, all)
		}
	}
}

func (d *Dialect) showUser(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	id := pathID(r, "user")
	if by.Account == "" && by.Kind == access.User && id == by.ID { // before a choice people see themselves alone
		u, err := d.Users.Self(r.Context(), d.Access.For(by))
		if err != nil {
			return err
		}
		return d.replyUser(w, r, identity.Person{User: u})
	}
	p, err := d.Accounts.Person(r.Context(), d.Access.For(by), by.Account, id)
	if err != nil {
		return err
	}
	return d.replyUser(w, r, p)
}

// replyUsers answers with users and their security keys.
func (d *Dialect) replyUsers(w http.ResponseWriter, r *http.Request, all []identity.Person) error {
	out := make([]wireUser, len(all))
	for i, p := range all {
		set, err := d.Factors.Of(r.Context(), p.User.ID)
		if err != nil {
			return err
		}
		out[i] = userOf(p, set)
	}
	return reply(w, out)
}

func (d *Dialect) replyUser(w http.ResponseWriter, r *http.Request, p identity.Person) error {
	set, err := d.Factors.Of(r.Context(), p.User.ID)
	if err != nil {
		return err
	}
	return reply(w, userOf(p, set))
}

// addingPeople is for whoever may add people. A stranger may where people register themselves; somebody who is
// signed in makes a credential of a person, and must have proved who they are not long ago (rule F14).
func (d *Dialect) addingPeople(h api.Handler) api.Handler {
	return func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		switch {
		case by.Kind == access.Nobody && !d.Users.SignUp:
			return errNoSession
		case by.Kind == access.Nobody:
			return h(w, r, by)
		case by.Kind != access.User:
			return errForbidden
		}
		if err := access.Fresh(by, d.Now(), d.FreshFor); err != nil {
			return err
		}
		return h(w, r, by)
	}
}

// createUser adds a user, who is an ordinary member of the default account.
func (d *Dialect) createUser(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	email, password := body.email("user_email"), secret.New(body.text("user_password", maxPassword))
	body.optional("recaptcha_response") // nobody fails here, so none is ever due
	if err := body.wrong(); err != nil {
		return err
	}
	u, err := d.Users.Register(r.Context(), d.Access.For(by), email, password)
	if err != nil {
		return err
	}
	return reply(w, userOf(identity.Person{User: u, Member: identity.Member{Role: identity.Ordinary}}, factor.Set{}))
}

// changePassword gives the caller another password and ends all of its sessions but this one.
func (d *Dialect) changePassword(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	old, fresh := secret.New(body.text("current_password", maxPassword)), secret.New(body.text("new_password", maxPassword))
	if err := body.wrong(); err != nil {
		return err
	}
	if err := d.Login.ChangePassword(r.Context(), by, old, fresh); err != nil {
		return err
	}
	return done(w)
}

// wireUser is a user as a member of an account. Callers decode it strictly: every member is always there.
type wireUser struct {
	ID             string              `json:"user_id"`
	Email          string              `json:"user_email"`
	Roles          []string            `json:"account_role"`
	MFADevices     []wireDevice        `json:"mfa_devices"`
	U2FDevices     []wireDevice        `json:"u2f_devices"`
	Groups         map[string][]string `json:"groups"`
	ExplicitGroups map[string][]string `json:"explicit_groups"`
	CreatedAt      wireTime            `json:"created_at"`
	LastLoggedInAt *wireTime           `json:"last_logged_in_at"` // null is never
	EmailVerified  bool                `json:"email_verified"`
	HasPassword    bool                `json:"has_password"`
	FirstName      string              `json:"first_name,omitempty"`
	LastName       string              `json:"last_name,omitempty"`
	Description    string              `json:"description,omitempty"`
}

func userOf(p identity.Person, set factor.Set) wireUser {
	u := wireUser{
		ID: p.User.ID, Email: p.User.Email, Roles: rolesOf(p.Member, p.User.Shut()), MFADevices: []wireDevice{}, U2FDevices: []wireDevice{},
		Groups: map[string][]string{}, ExplicitGroups: map[string][]string{}, CreatedAt: wireTime(p.User.Created),
		EmailVerified: p.User.EmailVerified, HasPassword: p.User.PasswordHash != "", FirstName: p.User.Names.First, LastName: p.User.Names.Last, Description: p.User.Names.Description,
	}
	for _, device := range set.Devices {
		if device.Kind == factor.U2F {
			u.U2FDevices = append(u.U2FDevices, deviceOf(device))
			continue
		}
		u.MFADevices = append(u.MFADevices, deviceOf(device))
	}
	if !p.User.LastLogin.IsZero() {
		last := wireTime(p.User.LastLogin)
		u.LastLoggedInAt = &last
	}
	return u
}

// rolesOf says what somebody is in an account in the words of the wire: the role, and whether it is in force.
func rolesOf(m identity.Member, shut bool) []string {
	words := map[identity.AccountRole]string{
		identity.Auditor: "ACCOUNTAUDITOR", identity.Ordinary: "ACCOUNTMEMBER", identity.Administrator: "ACCOUNTADMINISTRATOR",
	}
	roles := []string{}
	if word, ok := words[m.Role]; ok {
		roles = append(roles, word)
	}
	if !shut {
		roles = append(roles, "STATEENABLED")
	}
	return roles
}
