package signin

import (
	"encoding/json"
	"errors"
	"html/template"
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// enrolPage offers to enrol a second factor.
type enrolPage struct {
	page
	HasApp  bool
	Devices []string
}

func (p *Pages) showEnrol(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	e, err := p.Login.Elevation(r.Context(), by)
	if err != nil {
		return err
	}
	if !e.Elevated {
		return onward(w, r, "/login/confirm")
	}
	return p.offer(w, r, by, http.StatusOK, "")
}

func (p *Pages) offer(w http.ResponseWriter, r *http.Request, by access.Caller, status int, alert string) error {
	set, err := p.Login.Factors(r.Context(), by)
	if err != nil {
		return err
	}
	e := enrolPage{page: page{Title: "Second factor", Lead: "Beside the password: something that you have.", Alert: alert}, HasApp: set.TOTP != nil}
	for _, d := range set.Devices {
		e.Devices = append(e.Devices, d.Name)
	}
	return show(w, status, "enrol", e)
}

// appPage shows the secret of an authenticator app.
type appPage struct {
	page
	QR                   template.HTML
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
	switch {
	case errors.Is(err, login.ErrNotElevated):
		return onward(w, r, "/login/confirm")
	case errors.Is(err, factor.ErrWrongCode), errors.Is(err, login.ErrFailed), errors.Is(err, factor.ErrNoConversation):
		return p.offer(w, r, by, http.StatusUnauthorized, "That code was not right. Remove the entry from the app and begin again.")
	case err != nil:
		return err
	}
	if !in.Token.Empty() {
		p.Cookies.Set(w, in.Token)
	}
	return show(w, http.StatusOK, "done", donePage{page: page{Title: "The app is set up"}, Recovery: in.Recovery.Reveal(), Onward: p.Login.SafeTarget(in.Target)})
}

func (p *Pages) startApp(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	e, err := p.Login.StartVoluntary(r.Context(), by)
	if errors.Is(err, login.ErrNotElevated) {
		return onward(w, r, "/login/confirm")
	}
	if err != nil {
		return err
	}
	picture, err := drawQR(e.URL.Reveal())
	if err != nil {
		return err
	}
	return show(w, http.StatusOK, "app", appPage{
		page: page{Title: "Scan this with the app", Lead: "Then type the code that it shows."},
		QR:   picture, Secret: e.Secret.Reveal(), Conversation: e.Token.Reveal(),
	})
}

// keyPage asks a new security key.
type keyPage struct {
	page
	Creation string // WebAuthn's options as JSON
	Name     string
}

// algorithms are those that new security keys may sign with: ES256, EdDSA, RS256, as COSE numbers them.
var algorithms = []int64{-7, -8, -257}

// enrolKey begins the enrolment of a security key, and ends it with the key's answer.
func (p *Pages) enrolKey(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	name, answer := r.PostFormValue("name"), r.PostFormValue("credential")
	if answer == "" {
		return p.startKey(w, r, by, name)
	}
	attestation, err := api.ReadAttestation([]byte(answer))
	if err != nil {
		return err
	}
	in, err := p.Login.AddDevice(r.Context(), by, name, attestation, algorithms)
	switch {
	case errors.Is(err, login.ErrLocked):
		return onward(w, r, "/login/confirm")
	case fault.Is(err, fault.Invalid), fault.Is(err, fault.Conflict), errors.Is(err, factor.ErrNoConversation):
		return p.offer(w, r, by, http.StatusBadRequest, "The security key was not enrolled: "+fault.Text(err)+".")
	case err != nil:
		return err
	}
	if !in.Token.Empty() {
		p.Cookies.Set(w, in.Token)
	}
	codes, err := p.Login.RecoveryList(r.Context(), in.Caller)
	if err != nil {
		return err
	}
	d := donePage{page: page{Title: "The security key is set up"}, Onward: p.Login.SafeTarget(in.Target)}
	for _, code := range codes {
		d.Codes = append(d.Codes, code.Reveal())
	}
	return show(w, http.StatusOK, "done", d)
}

func (p *Pages) startKey(w http.ResponseWriter, r *http.Request, by access.Caller, name string) error {
	creation, err := p.Login.StartDevice(r.Context(), by, algorithms)
	if errors.Is(err, login.ErrLocked) {
		return onward(w, r, "/login/confirm")
	}
	if err != nil {
		return err
	}
	options, err := json.Marshal(api.CreationOptions(creation))
	if err != nil {
		return err
	}
	return show(w, http.StatusOK, "key", keyPage{page: page{Title: "Add " + name, Lead: "Plug the security key in, or have it at hand."}, Creation: string(options), Name: name})
}
