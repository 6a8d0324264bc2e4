package signin

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// homePage greets whoever comes without a path.
type homePage struct {
	page
	User     string
	Factors  string // empty: a program's session
	Enrolled bool
	Settles  bool // second factors are settled here, and not where the session comes from
}

func (p *Pages) home(w http.ResponseWriter, r *http.Request) error {
	by, err := p.bySession(nil)(r)
	if errors.Is(err, login.ErrEnrolFirst) {
		return onward(w, r, "/login/enrol")
	}
	if fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.Denied) {
		return show(w, http.StatusOK, "home", homePage{page: page{Title: "Welcome", Lead: "One gate for people, programs and keys."}})
	}
	if err != nil {
		return err
	}
	h := homePage{page: page{Title: "You are signed in"}, User: by.Name}
	if by.Kind == access.User {
		if err := p.describe(r, by, &h); err != nil {
			return err
		}
	}
	return show(w, http.StatusOK, "home", h)
}

// describe fills in what there is to say about a person.
func (p *Pages) describe(r *http.Request, by access.Caller, h *homePage) error {
	set, err := p.Login.Factors(r.Context(), by)
	if err != nil {
		return err
	}
	managed, err := p.Login.Managed(r.Context(), by)
	if err != nil {
		return err
	}
	h.Enrolled, h.Factors, h.Settles = set.Enrolled(), describe(set), set.TOTP != nil || !managed
	if managed && !h.Enrolled {
		h.Factors = "left to your identity provider"
	}
	return nil
}

func describe(set factor.Set) string {
	var all []string
	if set.TOTP != nil {
		all = append(all, "authenticator app")
	}
	switch n := len(set.Devices); n {
	case 0:
	case 1:
		all = append(all, "a security key")
	default:
		all = append(all, fmt.Sprintf("%d security keys", n))
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// captcha draws a CAPTCHA.
func (p *Pages) captcha(w http.ResponseWriter, r *http.Request) error {
	id, isPicture := strings.CutSuffix(r.PathValue("file"), ".png")
	text, ok := p.Captcha.Text(id)
	if !isPicture || !ok {
		return errNoPage
	}
	picture, err := p.Pictures.Draw(r.Context(), text)
	if err != nil {
		return err
	}
	guarded(w.Header()).Set("Content-Type", "image/png")
	_, _ = w.Write(picture) // the browser has gone: nobody is left to tell
	return nil
}
