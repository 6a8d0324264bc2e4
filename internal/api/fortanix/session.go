package fortanix

import (
	"context"
	"net/http"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// transports are the token types of the wire.
var transports = map[string]session.Transport{"": session.Bearer, "Bearer": session.Bearer, "Cookie": session.Cookie}

// auth begins a session for what the Authorization header or the body presents.
func (d *Dialect) auth(w http.ResponseWriter, r *http.Request) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	p, err := d.chosen(r, body)
	if err != nil {
		return err
	}
	transport, err := d.transport(r, body)
	if err != nil {
		return err
	}
	warning, err := d.Login.BasicWarning(r.Context(), p)
	if err != nil {
		return err
	}
	api.Warn(w, warning)
	in, err := d.Login.SignIn(r.Context(), p, login.Begin{Transport: transport, UserAgent: r.UserAgent()})
	if err != nil {
		return err
	}
	if transport == session.Cookie {
		d.Cookies.Set(w, in.Token)
	}
	return reply(w, d.answer(in.Token, in.Session, in.Pending))
}

// chosen is the one credential that came: by Basic, as a method of the body, or, where neither is there, as the certificate of the
// connection. A Bearer beside it is not looked at.
func (d *Dialect) chosen(r *http.Request, body *object) (login.Presented, error) {
	method := body.optional("method")
	sent, isBasic := credentials(r, "Basic")
	switch {
	case body.wrong() != nil:
		return login.Presented{}, body.wrong()
	case body.has("bind_to"):
		return login.Presented{}, errBindTo
	case isBasic && body.has("method"):
		return login.Presented{}, errTwoWays
	case isBasic:
		return d.basic(r, sent), nil
	case !body.has("method") && certificate(r) != nil:
		return d.presented(r, login.Certificate), nil
	case !body.has("method"):
		return login.Presented{}, errNoWay
	}
	read, known := methods[method]
	if !known {
		return login.Presented{}, invalid("method")
	}
	p := d.presented(r, "")
	read(body, &p)
	p.Accepts, p.Solve = []login.Kind{p.Kind}, d.solver(body.optional("recaptcha_response"))
	return p, body.wrong()
}

// solver checks what came as a CAPTCHA's answer, "id:answer", when it is asked to: where none is due nobody looks at it.
func (d *Dialect) solver(sent string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		id, answer, _ := strings.Cut(sent, ":")
		return d.Captcha.Check(ctx, id, answer)
	}
}

// transport reads which kind of token is wanted. A cookie that could not be kept safe is refused before any
// credential is looked at, and one that another site asks for would sign its victim in as somebody else (rule W12).
func (d *Dialect) transport(r *http.Request, body *object) (session.Transport, error) {
	transport, known := transports[body.optional("token_type")]
	switch {
	case body.wrong() != nil:
		return "", body.wrong()
	case !known || body.has("token_type") && body.optional("token_type") == "":
		return "", invalid("token_type")
	case transport == session.Cookie && !d.Cookies.Possible():
		return "", errCookieHTTP
	case transport == session.Cookie && d.Cookies.Foreign(r):
		return "", errOrigin
	}
	return transport, nil
}

// answer tells the caller about a session that has begun.
func (d *Dialect) answer(token secret.String, x session.Session, pending *login.Pending) wireAuth {
	a := wireAuth{TokenType: "Bearer", ExpiresIn: x.ExpiresIn(d.Now()), AccessToken: token.Reveal(), EntityID: x.Principal.ID, wireWaiting: waiting(pending)}
	if x.Transport == session.Cookie {
		a.TokenType, a.AccessToken = "Cookie", ""
	}
	return a
}

// refresh keeps the session alive.
func (d *Dialect) refresh(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	if err := d.Sessions.Refresh(r.Context(), by); err != nil {
		return err
	}
	return done(w)
}

// reauth begins a further session of an application.
func (d *Dialect) reauth(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	token, x, err := d.Sessions.Reauth(r.Context(), by, r.UserAgent())
	if err != nil {
		return err
	}
	return reply(w, d.answer(token, x, nil))
}

// terminate ends the session.
func (d *Dialect) terminate(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	if err := d.Sessions.Terminate(r.Context(), by); err != nil {
		return err
	}
	if by.Cookie {
		d.Cookies.Set(w, secret.String{})
	}
	return done(w)
}

// selectAccount chooses the account that the session works in. Clients insist on an object as the answer.
func (d *Dialect) selectAccount(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	account := body.uuid("acct_id")
	if err := body.wrong(); err != nil {
		return err
	}
	if err := d.Sessions.Select(r.Context(), by, account); err != nil {
		return err
	}
	return reply(w, struct{}{})
}

// noU2F answers where clients of old finished with a U2F key.
func noU2F(http.ResponseWriter, *http.Request, access.Caller) error { return errU2F }
