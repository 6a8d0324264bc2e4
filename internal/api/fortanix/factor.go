package fortanix

import (
	"crypto/rand"
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const maxCode = 256 // bytes of a code as people type it

// es256 is all that this wire offers to new security keys, as COSE numbers it. Keys that were enrolled elsewhere may sign otherwise.
var es256 = []int64{-7}

// finish completes a pending sign-in with what read makes of the body.
func (d *Dialect) finish(read func(*http.Request) (factor.Answer, error)) api.Handler {
	return func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		answer, err := read(r)
		if err != nil {
			return err
		}
		in, err := d.Login.Complete(r.Context(), by, answer)
		if err != nil {
			return err
		}
		d.renew(w, by, in.Token)
		return done(w)
	}
}

// renew gives a browser the new value of its cookie. A Bearer keeps its token (rule F11).
func (d *Dialect) renew(w http.ResponseWriter, by access.Caller, token secret.String) {
	if by.Cookie && !token.Empty() {
		d.Cookies.Set(w, token)
	}
}

// byCode reads a code from one member of the body.
func byCode(kind factor.Kind, member string) func(*http.Request) (factor.Answer, error) {
	return func(r *http.Request) (factor.Answer, error) {
		body, err := read(r)
		if err != nil {
			return factor.Answer{}, err
		}
		return factor.Answer{Kind: kind, Code: secret.New(body.text(member, maxCode))}, body.wrong()
	}
}

// byKey reads what a security key answered: the whole body.
func byKey(r *http.Request) (factor.Answer, error) {
	body, err := read(r)
	if err != nil {
		return factor.Answer{}, err
	}
	assertion, err := api.ReadAssertion(body.raw)
	return factor.Answer{Kind: factor.FIDO2, Assertion: &assertion}, err
}

// unlock opens the second-factor settings for a while, by the password. Clients insist on an object as the answer.
func (d *Dialect) unlock(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	password := secret.New(body.text("password", maxPassword))
	if err := body.wrong(); err != nil {
		return err
	}
	token, err := d.Login.UnlockSettings(r.Context(), by, password)
	if err != nil {
		return err
	}
	d.renew(w, by, token)
	return reply(w, struct{}{})
}

// lock closes them.
func (d *Dialect) lock(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	if err := d.Login.LockSettings(r.Context(), by); err != nil {
		return err
	}
	return done(w)
}

// newChallenge begins to enrol a security key.
func (d *Dialect) newChallenge(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	if r.URL.Query().Get("protocol") != "fido2" {
		return errU2F
	}
	creation, err := d.Login.StartDevice(r.Context(), by, es256)
	if err != nil {
		return err
	}
	return reply(w, api.CreationOptions(creation))
}

// recoveryCodes makes the caller's list of recovery codes anew. It is shown this once.
func (d *Dialect) recoveryCodes(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	codes, err := d.Login.RecoveryList(r.Context(), by)
	if err != nil {
		return err
	}
	return reply(w, map[string][]string{"recovery_codes": list(codes, secret.String.Reveal)})
}

// wireDevice is a security key as this wire lists it.
type wireDevice struct {
	Name   string            `json:"name"`
	Type   factor.DeviceKind `json:"type"`
	Origin *string           `json:"origin"`
}

func deviceOf(d factor.Device) wireDevice {
	w := wireDevice{Name: d.Name, Type: d.Kind}
	if d.Origin != "" {
		w.Origin = &d.Origin
	}
	return w
}

// wireWaiting is what a pending sign-in waits for. Its presence is the signal: clients look for the options, even where no
// security key may answer them.
type wireWaiting struct {
	U2F     *wireU2F         `json:"challenge,omitempty"`
	Factors []factor.Kind    `json:"gatehouse_mfa,omitempty"` // ours: unknown kinds among the methods would break strict decoders
	Options *api.WireRequest `json:"fido2_assertion_options,omitempty"`
	Methods []wireMethod     `json:"allowed_mfa_methods"`
}

// wireU2F is what clients of old look for, when the user owns an imported U2F key.
type wireU2F struct {
	Challenge []byte    `json:"u2f_challenge"`
	Keys      []wireKey `json:"u2f_keys"`
}

type wireKey struct {
	Handle  []byte `json:"keyHandle"`
	Version string `json:"version"`
}

type wireMethod struct {
	FIDO2 wireFIDO2 `json:"Fido2"`
}

type wireFIDO2 struct {
	Challenge api.WireRequest `json:"challenge"`
	Token     []byte          `json:"challenge_token"` // informational, never sent back
	Devices   []wireDevice    `json:"mfa_devices"`
}

// waiting tells what a pending sign-in waits for; nothing where p is nil or only an enrolment is due.
func waiting(p *login.Pending) wireWaiting {
	if p == nil || p.Enrol || p.Challenge == nil {
		return wireWaiting{Methods: []wireMethod{}}
	}
	options := api.RequestOptions(*p.Challenge)
	token := make([]byte, 16)
	_, _ = rand.Read(token) // never fails
	w := wireWaiting{
		Factors: p.Allowed, Options: &options,
		Methods: []wireMethod{{wireFIDO2{options, token, list(p.Challenge.Devices, deviceOf)}}},
	}
	for _, d := range p.Challenge.Devices {
		if d.Kind != factor.U2F {
			continue
		}
		if w.U2F == nil {
			w.U2F = &wireU2F{Challenge: p.Challenge.Challenge}
		}
		w.U2F.Keys = append(w.U2F.Keys, wireKey{d.Credential, "U2F_V2"})
	}
	return w
}
