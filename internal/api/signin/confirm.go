package signin

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// confirmPage asks for a proof once more.
type confirmPage struct {
	page
	TOTP bool
}

var errElsewhere = fault.New(fault.Denied, "You sign in at an identity provider, so second factors are set up there.")

func (p *Pages) showConfirm(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	return p.askConfirm(w, r, by, http.StatusOK, page{Target: targetOf(r.URL.Query())})
}

func (p *Pages) askConfirm(w http.ResponseWriter, r *http.Request, by access.Caller, status int, with page) error {
	e, err := p.Login.Elevation(r.Context(), by)
	if err != nil {
		return err
	}
	if len(e.Methods) == 0 {
		return errElsewhere
	}
	with.Title, with.Lead = "Is it still you?", "What comes next changes how you sign in."
	return show(w, status, "confirm", confirmPage{page: with, TOTP: slices.Contains(e.Methods, login.ByTOTP)})
}

// confirm judges that proof: the password, or a code of whoever has a second factor.
func (p *Pages) confirm(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	target := r.PostFormValue("target")
	token, recovery, err := p.elevate(r, by)
	switch {
	case errors.Is(err, login.ErrWrongPassword), errors.Is(err, factor.ErrWrongCode), errors.Is(err, login.ErrMethodUnavailable):
		return p.askConfirm(w, r, by, http.StatusUnauthorized, page{Alert: "That is not right, or was used already. Codes are good once: wait for the next one.", Target: target})
	case err != nil:
		return err
	}
	if !token.Empty() {
		p.Cookies.Set(w, token)
	}
	to := withTarget("/login/enrol", url.Values{}, target)
	if !recovery.Empty() {
		return show(w, http.StatusOK, "done", donePage{page: page{Title: "Confirmed", Lead: "That recovery code is used up."}, Recovery: recovery.Reveal(), Onward: to})
	}
	return onward(w, r, to)
}

func (p *Pages) elevate(r *http.Request, by access.Caller) (token, recovery secret.String, err error) {
	if password := r.PostFormValue("password"); password != "" {
		token, err = p.Login.ElevateByPassword(r.Context(), by, secret.New(password))
		return token, recovery, err
	}
	code := secret.New(r.PostFormValue("code"))
	if len(strings.Join(strings.Fields(code.Reveal()), "")) <= 8 { // codes of apps have six digits, recovery codes twenty characters
		token, err = p.Login.ElevateByTOTP(r.Context(), by, code)
		return token, recovery, err
	}
	return p.Login.ElevateByRecovery(r.Context(), by, code)
}
