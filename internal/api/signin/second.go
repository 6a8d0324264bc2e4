package signin

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// secondPage asks for the second factor.
type secondPage struct {
	page
	Request    string // WebAuthn's options as JSON; empty: no security key
	TOTP       bool
	OnRecovery bool // the last try was a recovery code
}

func (p *Pages) showSecond(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	return p.askSecond(w, r, by, http.StatusOK, secondPage{})
}

func (p *Pages) askSecond(w http.ResponseWriter, r *http.Request, by access.Caller, status int, s secondPage) error {
	pending, err := p.Login.Challenge(r.Context(), by)
	if err != nil {
		return err
	}
	s.Title, s.Lead = "Second factor", "Signing in as "+by.Name+"."
	s.TOTP = slices.Contains(pending.Allowed, factor.TOTP)
	if pending.Challenge != nil && slices.Contains(pending.Allowed, factor.FIDO2) {
		options, err := json.Marshal(api.RequestOptions(*pending.Challenge))
		if err != nil {
			return err
		}
		s.Request = string(options)
	}
	return show(w, status, "second", s)
}

// second judges a second factor.
func (p *Pages) second(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	answer, err := answerOf(r)
	if err != nil {
		return err
	}
	in, err := p.Login.Complete(r.Context(), by, answer)
	if errors.Is(err, login.ErrFailed) || answer.Kind == factor.FIDO2 && fault.Is(err, fault.Invalid) {
		return p.askSecondAgain(w, r, by, answer.Kind)
	}
	if err != nil {
		return err
	}
	return p.signedIn(w, r, in)
}

func answerOf(r *http.Request) (factor.Answer, error) {
	a := factor.Answer{Kind: factor.Kind(r.PostFormValue("kind"))}
	switch a.Kind {
	case factor.TOTP, factor.Recovery:
		a.Code = secret.New(r.PostFormValue("code"))
	case factor.FIDO2:
		assertion, err := api.ReadAssertion([]byte(r.PostFormValue("credential")))
		if err != nil {
			return a, err
		}
		a.Assertion = &assertion
	default:
		return a, errForm
	}
	return a, nil
}

// askSecondAgain shows the page once more, or begins anew where that was the last try.
func (p *Pages) askSecondAgain(w http.ResponseWriter, r *http.Request, by access.Caller, kind factor.Kind) error {
	alert := map[factor.Kind]string{
		factor.TOTP: "That code is not right, or was used already.", factor.Recovery: "That recovery code is not right, or was used already.",
		factor.FIDO2: "The security key did not open it.",
	}[kind]
	err := p.askSecond(w, r, by, http.StatusUnauthorized, secondPage{page: page{Alert: alert}, OnRecovery: kind == factor.Recovery})
	if errors.Is(err, login.ErrNothingPending) || fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.NotFound) {
		p.Cookies.Set(w, secret.String{})
		return p.askPassword(w, r, http.StatusUnauthorized, loginPage{page: page{Alert: "Too many wrong answers. Sign in again."}})
	}
	return err
}

// confirmPage asks for a proof once more.
type confirmPage struct {
	page
	TOTP    bool
	NewCode string // recovery key that replaces a used one
}

func (p *Pages) showConfirm(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	return p.askConfirm(w, r, by, http.StatusOK, "")
}

func (p *Pages) askConfirm(w http.ResponseWriter, r *http.Request, by access.Caller, status int, alert string) error {
	e, err := p.Login.Elevation(r.Context(), by)
	if err != nil {
		return err
	}
	if len(e.Methods) == 0 {
		return fault.New(fault.Denied, "You sign in at an identity provider, so second factors are set up there.")
	}
	c := confirmPage{page: page{Title: "Is it still you?", Lead: "What comes next changes how you sign in.", Alert: alert}}
	c.TOTP = slices.Contains(e.Methods, login.ByTOTP)
	return show(w, status, "confirm", c)
}

// confirm judges that proof: the password, or a code of whoever has a second factor.
func (p *Pages) confirm(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	token, recovery, err := p.elevate(r, by)
	switch {
	case errors.Is(err, login.ErrFailed), errors.Is(err, factor.ErrWrongCode):
		return p.askConfirm(w, r, by, http.StatusUnauthorized, "That is not right.")
	case err != nil:
		return err
	}
	if !token.Empty() {
		p.Cookies.Set(w, token)
	}
	if !recovery.Empty() {
		return show(w, http.StatusOK, "done", donePage{page: page{Title: "Confirmed"}, Recovery: recovery.Reveal(), Onward: "/login/enrol"})
	}
	return onward(w, r, "/login/enrol")
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
