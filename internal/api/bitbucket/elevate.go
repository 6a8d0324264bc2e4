package bitbucket

import (
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// settings is the one thing that anybody is elevated for.
const settings = "unlock-user-2sv-settings"

// noApp are the rows of operations that only an app can answer.
var noApp = []row{{login.ErrMethodUnavailable, http.StatusBadRequest, factor.ErrNotEnrolled.Text}}

// known reports whether a request names an action that exists; no name is as good.
func known(r *http.Request) bool {
	action := r.URL.Query().Get("actionType")
	return action == "" || action == settings
}

// elevation tells whether the session is elevated, and what would elevate it.
func (d *Dialect) elevation(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	e, err := d.Login.Elevation(r.Context(), by)
	if err != nil {
		return err
	}
	if !e.Elevated || !known(r) {
		return &login.NotElevated{Methods: e.Methods}
	}
	return done(w)
}

// elevateByPassword elevates the session of who has no app. The published example sends the password under another name.
func (d *Dialect) elevateByPassword(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := elevating(r)
	if err != nil {
		return err
	}
	password := body.secret("totpCode")
	if body.has("password") {
		password = body.secret("password")
	}
	if err := body.wrong(); err != nil {
		return err
	}
	token, err := d.Login.ElevateByPassword(r.Context(), by, password)
	if err != nil {
		return err
	}
	d.renew(w, by, token)
	return done(w)
}

// elevateByTOTP elevates the session by a code of the app.
func (d *Dialect) elevateByTOTP(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := elevating(r)
	if err != nil {
		return err
	}
	code := body.secret("totpCode")
	if err := body.wrong(); err != nil {
		return err
	}
	token, err := d.Login.ElevateByTOTP(r.Context(), by, code)
	if err != nil {
		return err
	}
	d.renew(w, by, token)
	return done(w)
}

// elevateByRecovery elevates the session by a recovery code, and gives out the one that replaces it.
func (d *Dialect) elevateByRecovery(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := elevating(r)
	if err != nil {
		return err
	}
	code := body.secret("recoveryCode")
	if err := body.wrong(); err != nil {
		return err
	}
	token, recovery, err := d.Login.ElevateByRecovery(r.Context(), by, code)
	if err != nil {
		return err
	}
	d.renew(w, by, token)
	return reply(w, wireRecovery{recovery.Reveal()})
}

// elevating reads the body of a request for elevation.
func elevating(r *http.Request) (*object, error) {
	if !known(r) {
		return nil, errForbidden
	}
	return read(r)
}

// renew gives a browser the session's new token (rule F11).
func (d *Dialect) renew(w http.ResponseWriter, by access.Caller, token secret.String) {
	if by.Cookie && !token.Empty() {
		d.Cookies.Set(w, token)
	}
}

// methods writes ways of confirmation; none is an empty list.
func methods(of []login.Confirmation) []string {
	all := make([]string, 0, len(of))
	for _, way := range of {
		all = append(all, string(way))
	}
	return all
}

// wireMethods says what would elevate a session.
type wireMethods struct {
	ElevationMethods []string `json:"elevationMethods"`
}

// wireRecovery is a recovery key, shown this once.
type wireRecovery struct {
	RecoveryCode string `json:"recoveryCode"`
}
