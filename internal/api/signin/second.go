package signin

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

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
	Recovery   bool
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
	s.TOTP, s.Recovery = slices.Contains(pending.Allowed, factor.TOTP), slices.Contains(pending.Allowed, factor.Recovery)
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
	var in login.Signed
	if err == nil {
		in, err = p.Login.Complete(r.Context(), by, answer)
	}
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
		factor.FIDO2: "That did not work with this security key. Try again, or use another way.",
	}[kind]
	err := p.askSecond(w, r, by, http.StatusUnauthorized, secondPage{page: page{Alert: alert}, OnRecovery: kind == factor.Recovery})
	if errors.Is(err, login.ErrNothingPending) || fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.NotFound) {
		p.Cookies.Set(w, secret.String{})
		return show(w, http.StatusUnauthorized, "notice", p.failed(r, "Too many wrong answers", "Sign in again from the beginning."))
	}
	return err
}
