package bitbucket

import (
	"errors"
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// codes reads the two members of every operation that ends an enrolment.
func codes(r *http.Request) (conversation, code secret.String, err error) {
	body, err := read(r)
	if err != nil {
		return conversation, code, err
	}
	return body.secret("conversationId"), body.secret("totpCode"), body.wrong()
}

// startVoluntary begins to set up an app.
func (d *Dialect) startVoluntary(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	e, err := d.Login.StartVoluntary(r.Context(), by)
	if err != nil {
		return err
	}
	return reply(w, enrolment(e))
}

// completeVoluntary sets it up, and shows the recovery key.
func (d *Dialect) completeVoluntary(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	conversation, code, err := codes(r)
	if err != nil {
		return err
	}
	in, err := d.Login.CompleteVoluntary(r.Context(), by, conversation, code)
	if err != nil {
		return err
	}
	d.renew(w, by, in.Token)
	return reply(w, wireEnrolled{wireEnrolment{ConversationID: conversation.Reveal(), UserName: by.Name}, in.Recovery.Reveal()})
}

// startEnforced begins to set up the app that a sign-in waits for.
func (d *Dialect) startEnforced(w http.ResponseWriter, r *http.Request) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	conversation := body.secret("conversationId")
	if err := body.wrong(); err != nil {
		return err
	}
	e, err := d.Login.StartEnforced(r.Context(), conversation)
	if err != nil {
		return err
	}
	e.Token = conversation // it goes on under the name that it has
	return reply(w, enrolment(e))
}

// completeEnforced sets it up, shows the recovery key and begins the session.
func (d *Dialect) completeEnforced(w http.ResponseWriter, r *http.Request) error {
	conversation, code, err := codes(r)
	if err != nil {
		return err
	}
	in, err := d.Login.CompleteEnforced(r.Context(), conversation, code, presented(r, login.Password), begin(r, ""))
	if err != nil {
		return err
	}
	d.enter(w, in)
	return reply(w, wireRecovery{in.Recovery.Reveal()})
}

// startUpdate begins to change the app.
func (d *Dialect) startUpdate(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	e, err := d.Login.StartUpdate(r.Context(), by)
	if err != nil {
		return err
	}
	return reply(w, enrolment(e))
}

// completeUpdate changes it.
func (d *Dialect) completeUpdate(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	conversation, code, err := codes(r)
	if err != nil {
		return err
	}
	if err := d.Login.CompleteUpdate(r.Context(), by, conversation, code); err != nil {
		return err
	}
	return reply(w, wireEnrolment{ConversationID: conversation.Reveal(), UserName: by.Name})
}

// rotateRecovery gives out another recovery key.
func (d *Dialect) rotateRecovery(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	recovery, err := d.Login.RotateRecovery(r.Context(), by)
	if err != nil {
		return err
	}
	return reply(w, wireRecovery{recovery.Reveal()})
}

// unenrol takes one's own app away.
func (d *Dialect) unenrol(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	if err := d.Login.Unenrol(r.Context(), by); err != nil {
		return err
	}
	return done(w)
}

// unenrolOther takes somebody else's app away.
func (d *Dialect) unenrolOther(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	code, name := body.secret("totpCode"), r.PathValue("userName")
	if err := body.wrong(); err != nil {
		return err
	}
	err = d.Login.UnenrolOther(r.Context(), by, name, code)
	if errors.Is(err, identity.ErrUnknown) {
		return fault.Newf(fault.NotFound, "User %s does not exist.", name)
	}
	if err != nil {
		return err
	}
	return done(w)
}

func enrolment(e factor.Enrolment) wireEnrolment {
	return wireEnrolment{e.Token.Reveal(), e.Secret.Reveal(), e.URL.Reveal(), e.User}
}

// wireEnrolment is an app that is being set up; once it is, without its secret.
type wireEnrolment struct {
	ConversationID string `json:"conversationId"`
	Secret         string `json:"secret"`
	URL            string `json:"url"`
	UserName       string `json:"userName"`
}

// wireEnrolled is an app that was set up just now. The vendor's schema has no place for the recovery key, which must be shown here.
type wireEnrolled struct {
	wireEnrolment
	RecoveryCode string `json:"recoveryCode"`
}
