package bitbucket

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// administration are the routes of administrators. No HTTP token opens them: none reaches the installation as a whole.
func (d *Dialect) administration() []api.Route {
	const at = "/rest/api/{v}/admin"
	installation := func(*http.Request, access.Caller) (rolesAt, error) {
		return rolesAt{access.Installation, globalRoles}, nil
	}
	return append([]api.Route{
		d.coreOffice("GET", at+"/users", access.UserRead, d.listUsers),
		d.coreOffice("POST", at+"/users", access.UserCreate, d.createUser,
			coreRow{identity.ErrNameTaken, http.StatusConflict, "A user of that name exists.", ""}, coreRow{identity.ErrEmailTaken, http.StatusConflict, "A user with that e-mail address exists.", ""}),
		d.coreOffice("DELETE", at+"/users", access.UserDelete, d.removeUser, coreRow{identity.ErrSelf, http.StatusForbidden, "You cannot remove yourself.", notAuthorised},
			coreRow{identity.ErrLastSysAdmin, http.StatusConflict, "The last system administrator cannot be removed.", ""}),
		d.coreOffice("PUT", at+"/users/credentials", access.UserUpdate, d.setPassword),
		d.coreOffice("DELETE", at+"/users/captcha", access.GuardUnlock, d.clearCaptcha),
	}, d.permissionsOf(at+"/permissions/users", installation, d.people())...)
}

// errAbove says that somebody has more rights than the administrator who would change something about them, or give them.
var errAbove = fault.New(fault.Denied, "What you ask for is above your own rights.")

// coreOffice is a route of the core for administrators. The right is asked for before anything is looked at, and by the verb once more, which may find that
// the person meant stands above the caller: that alone is 403.
func (d *Dialect) coreOffice(method, pattern string, action access.Action, h api.Handler, own ...coreRow) api.Route {
	return d.core(method, pattern, action, func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		if err := d.Access.Require(r.Context(), by, action, access.Installation); err != nil {
			return err
		}
		return above(h(w, r, by))
	}, append(own, aboveRow)...)
}

var aboveRow = coreRow{errAbove, http.StatusForbidden, "", notAuthorised}

// above tells a refusal behind the door of administrators from the one at it.
func above(err error) error {
	if fault.Is(err, fault.Denied) && !errors.Is(err, access.ErrNotFresh) {
		return errAbove
	}
	return err
}

// createUser makes a user with a password. What an administrator gives somebody to sign in with takes a fresh proof (rule F14).
func (d *Dialect) createUser(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	if err := d.fresh(by); err != nil {
		return err
	}
	in, err := newUser(r.URL.Query())
	if err != nil {
		return err
	}
	if _, err := d.Users.Add(r.Context(), d.Access.For(by), in); err != nil {
		return inFieldsOf(err, "password")
	}
	return done(w)
}

// newUser reads who is to be made. The members that decide about groups and messages have no effect.
func newUser(q url.Values) (identity.New, error) {
	in := identity.New{Name: q.Get("name"), Email: q.Get("emailAddress"), Password: secret.New(q.Get("password")), Names: identity.Names{Display: q.Get("displayName")}}
	switch {
	case in.Name == "":
		return in, invalid("name", "A user name is required.")
	case identity.CheckName(in.Name) != nil:
		return in, invalid("name", "The user name contains characters that are not allowed.")
	case in.Password.Empty():
		return in, invalid("password", "A password is required.")
	case identity.CheckNames(in.Names) != nil:
		return in, invalid("displayName", "The display name is not valid.")
	case identity.CheckEmail(in.Email) != nil:
		return in, invalid("emailAddress", "The e-mail address is not valid.")
	}
	return in, nil
}

// removeUser takes a user away for good, and shows them for the last time.
func (d *Dialect) removeUser(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	id, err := nameIn(r, d.people())
	if err != nil {
		return err
	}
	u, err := d.Users.Remove(r.Context(), d.Access.For(by), id)
	if err != nil {
		return err
	}
	return coreReply(w, http.StatusOK, d.user(u))
}

// setPassword gives a user another password, which ends all of their sessions.
func (d *Dialect) setPassword(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	if err := d.fresh(by); err != nil {
		return err
	}
	body, err := read(r)
	if err != nil {
		return err
	}
	name, password, again := body.text("name"), body.secret("password"), body.secret("passwordConfirm")
	if err := body.wrong(); err != nil {
		return err
	}
	u, err := d.findUser(r.Context(), name)
	switch {
	case name == "":
		return invalid("name", "A user name is required.")
	case err != nil:
		return err
	case password.Empty():
		return invalid("password", "A password is required.")
	case password.Reveal() != again.Reveal():
		return invalid("passwordConfirm", "The passwords do not match.")
	}
	if err := d.Users.SetPassword(r.Context(), d.Access.For(by), u.ID, password); err != nil {
		return inFieldsOf(err, "password")
	}
	return done(w)
}

// clearCaptcha forgets failed sign-ins, so that no CAPTCHA is due any more.
func (d *Dialect) clearCaptcha(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	id, err := nameIn(r, d.people())
	if err != nil {
		return err
	}
	if _, err := d.Login.Unlock(r.Context(), by, id); err != nil {
		return err
	}
	return done(w)
}
