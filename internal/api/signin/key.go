package signin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
)

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
	name, answer := strings.TrimSpace(r.PostFormValue("name")), r.PostFormValue("credential")
	if answer == "" {
		return p.startKey(w, r, by, name)
	}
	attestation, err := api.ReadAttestation([]byte(answer))
	if err != nil {
		return p.refused(w, r, by, err, notEnrolled(err))
	}
	in, err := p.Login.AddDevice(r.Context(), by, name, attestation, algorithms)
	if err != nil {
		return p.refused(w, r, by, err, notEnrolled(err))
	}
	if !in.Token.Empty() {
		p.Cookies.Set(w, in.Token)
	}
	d := donePage{page: page{Title: "The security key is set up"}, Onward: p.Login.SafeTarget(r.PostFormValue("target"))}
	if d.Codes, err = p.firstCodes(r, in.Caller); err != nil {
		return err
	}
	return show(w, http.StatusOK, "done", d)
}

func (p *Pages) startKey(w http.ResponseWriter, r *http.Request, by access.Caller, name string) error {
	with := page{Target: r.PostFormValue("target")}
	if name == "" {
		with.Alert = "Give the security key a name, so that you know it from others."
		return p.offer(w, r, by, http.StatusBadRequest, with)
	}
	creation, err := p.Login.StartDevice(r.Context(), by, algorithms)
	if err != nil {
		return p.refused(w, r, by, err, notEnrolled(err))
	}
	options, err := json.Marshal(api.CreationOptions(creation))
	if err != nil {
		return err
	}
	with.Title, with.Lead = "Add "+name, "Plug the security key in, or have it at hand."
	return show(w, http.StatusOK, "key", keyPage{page: with, Creation: string(options), Name: name})
}

// notEnrolled says why a security key was not enrolled, as far as somebody can do something about it.
func notEnrolled(err error) string {
	switch {
	case errors.Is(err, factor.ErrNameTaken):
		return "You have a security key of that name. Choose another name."
	case errors.Is(err, factor.ErrKnownKey):
		return "That security key is set up already."
	case errors.Is(err, factor.ErrManyKeys):
		return "You have as many security keys as there can be."
	}
	return "The security key was not set up. Try once more; a name has at most 64 characters."
}
