package signin

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// enrolPage offers to enrol a second factor.
type enrolPage struct {
	page
	HasApp   bool
	Devices  []string
	Enrolled bool
}

func (p *Pages) showEnrol(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	target := targetOf(r.URL.Query())
	e, err := p.Login.Elevation(r.Context(), by)
	if err != nil {
		return err
	}
	if !e.Elevated {
		return onward(w, r, withTarget("/login/confirm", url.Values{}, target))
	}
	return p.offer(w, r, by, http.StatusOK, page{Target: target})
}

func (p *Pages) offer(w http.ResponseWriter, r *http.Request, by access.Caller, status int, with page) error {
	set, err := p.Login.Factors(r.Context(), by)
	if err != nil {
		return err
	}
	with.Title, with.Lead = "Second factor", "Something that you have, beside the password that you know. Who steals one of them does not get in."
	e := enrolPage{page: with, HasApp: set.TOTP != nil, Enrolled: set.Enrolled()}
	for _, d := range set.Devices {
		e.Devices = append(e.Devices, d.Name)
	}
	return show(w, status, "enrol", e)
}

// refused answers when an enrolment did not go well: with the offer and what happened, or with the page that asks for a proof first.
func (p *Pages) refused(w http.ResponseWriter, r *http.Request, by access.Caller, err error, alert string) error {
	target := r.PostFormValue("target")
	switch {
	case errors.Is(err, login.ErrNotElevated), errors.Is(err, login.ErrLocked), errors.Is(err, access.ErrNotFresh):
		return onward(w, r, withTarget("/login/confirm", url.Values{}, target))
	case errors.Is(err, login.ErrManaged):
		return errElsewhere
	case fault.Is(err, fault.Invalid), fault.Is(err, fault.Conflict), errors.Is(err, factor.ErrNoConversation):
		return p.offer(w, r, by, http.StatusBadRequest, page{Alert: alert, Target: target})
	}
	return err
}

// appPage shows the secret of an authenticator app, and asks for its first code.
type appPage struct {
	page
	QR                   template.HTML // empty: it was scanned already
	Secret, Conversation string
}

// donePage shows what is shown once.
type donePage struct {
	page
	Recovery string
	Codes    []string
	Onward   string
}

// enrolApp begins the enrolment of an app, and ends it with the first code.
func (p *Pages) enrolApp(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	conversation := r.PostFormValue("conversation")
	if conversation == "" {
		return p.startApp(w, r, by)
	}
	in, err := p.Login.CompleteVoluntary(r.Context(), by, secret.New(conversation), secret.New(r.PostFormValue("code")))
	if errors.Is(err, login.ErrFailed) {
		return show(w, http.StatusUnauthorized, "app", appPage{
			page:         page{Title: "Once more", Alert: "That code was not right. Type the one that the app shows now.", Target: r.PostFormValue("target")},
			Conversation: conversation,
		})
	}
	if err != nil {
		return p.refused(w, r, by, err, "That took too long, or too many codes were wrong. Remove the entry from the app and begin again.")
	}
	if !in.Token.Empty() {
		p.Cookies.Set(w, in.Token)
	}
	return show(w, http.StatusOK, "done", donePage{page: page{Title: "The app is set up"}, Recovery: in.Recovery.Reveal(), Onward: p.Login.SafeTarget(r.PostFormValue("target"))})
}

func (p *Pages) startApp(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	e, err := p.Login.StartVoluntary(r.Context(), by)
	if err != nil {
		return p.refused(w, r, by, err, "An authenticator app is set up already.")
	}
	picture, err := drawQR(e.URL.Reveal())
	if err != nil {
		return err
	}
	return show(w, http.StatusOK, "app", appPage{
		page: page{Title: "Scan this with the app", Lead: "Then type the code that it shows.", Target: r.PostFormValue("target")},
		QR:   picture, Secret: e.Secret.Reveal(), Conversation: e.Token.Reveal(),
	})
}

// newCodes replaces the recovery codes: the key of an app, or the list of who has security keys alone.
func (p *Pages) newCodes(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	set, err := p.Login.Factors(r.Context(), by)
	if err != nil {
		return err
	}
	d := donePage{page: page{Title: "New recovery codes", Lead: "The old ones are no longer good."}, Onward: p.Login.SafeTarget(r.PostFormValue("target"))}
	if set.TOTP != nil {
		key, err := p.Login.RotateRecovery(r.Context(), by)
		if err != nil {
			return p.refused(w, r, by, err, "There is no second factor to recover.")
		}
		d.Recovery = key.Reveal()
		return show(w, http.StatusOK, "done", d)
	}
	if d.Codes, err = p.list(r, by); err != nil {
		return p.refused(w, r, by, err, "There is no second factor to recover.")
	}
	return show(w, http.StatusOK, "done", d)
}

func (p *Pages) list(r *http.Request, by access.Caller) ([]string, error) {
	codes, err := p.Login.RecoveryList(r.Context(), by)
	var all []string
	for _, code := range codes {
		all = append(all, code.Reveal())
	}
	return all, err
}

// firstCodes makes recovery codes for who has none left; others keep theirs, which lie on paper somewhere.
func (p *Pages) firstCodes(r *http.Request, by access.Caller) ([]string, error) {
	set, err := p.Login.Factors(r.Context(), by)
	if err != nil || slices.ContainsFunc(set.Codes, func(c factor.Code) bool { return c.Used.IsZero() }) {
		return nil, err
	}
	return p.list(r, by)
}
