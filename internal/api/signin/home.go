package signin

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// homePage greets whoever comes without a path.
type homePage struct {
	page
	User, Factors string
	Enrolled      bool
}

func (p *Pages) home(w http.ResponseWriter, r *http.Request) error {
	by, err := p.bySession(nil)(r)
	if fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.Denied) {
		return show(w, http.StatusOK, "home", homePage{page: page{Title: "Welcome", Lead: "One gate for people, programs and keys."}})
	}
	if err != nil {
		return err
	}
	set, err := p.Login.Factors(r.Context(), by)
	if err != nil {
		return err
	}
	h := homePage{page: page{Title: "You are signed in"}, User: by.Name, Enrolled: set.Enrolled(), Factors: describe(set)}
	return show(w, http.StatusOK, "home", h)
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
