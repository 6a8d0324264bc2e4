package bitbucket

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

var errNoName = fault.New(fault.Invalid, "A user name and a password are required.")

// A wrong code is answered by some operations in this way and by others in that one: rows of theirs.
var (
	wrongCode401 = []row{{login.ErrFailed, http.StatusUnauthorized, factor.ErrWrongCode.Text}, {factor.ErrWrongCode, http.StatusUnauthorized, ""}}
	wrongCode400 = []row{{login.ErrFailed, http.StatusBadRequest, factor.ErrWrongCode.Text}, {factor.ErrWrongCode, http.StatusBadRequest, ""}}
)

// authenticate begins a session for a name and a password, or a conversation where there is a second step.
func (d *Dialect) authenticate(w http.ResponseWriter, r *http.Request) error {
	switch reachable, err := d.Login.FormReachable(r.Context()); {
	case err != nil:
		return err
	case !reachable:
		return api.WriteJSON(w, http.StatusUnauthorized, wireRefusal{Message: login.ErrFormHidden.Text + "."})
	}
	body, err := read(r)
	if err != nil {
		return err
	}
	p := presented(r, login.Password)
	p.Name, p.Secret, p.Solve = body.text("username"), body.secret("password"), d.solve(body)
	target := body.text("targetUrl")
	switch {
	case body.wrong() != nil:
		return body.wrong()
	case p.Name == "" || p.Secret.Empty():
		return errNoName
	}
	in, err := d.Login.SignIn(r.Context(), p, begin(r, target))
	if refused := refusal(err); refused != nil {
		return api.WriteJSON(w, http.StatusUnauthorized, refused)
	}
	if err != nil {
		return err
	}
	if in.Pending != nil {
		return api.WriteJSON(w, http.StatusPreconditionFailed, waiting(*in.Pending))
	}
	d.enter(w, in)
	return reply(w, wireNext{in.Target})
}

// begin asks for a browser's session, and for none before the last step.
func begin(r *http.Request, target string) login.Begin {
	return login.Begin{Transport: session.Cookie, UserAgent: r.UserAgent(), Target: target, Talk: true}
}

// solve checks the CAPTCHA of the body. Where none is due it is not even looked at.
func (d *Dialect) solve(body *object) func(ctx context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		id, answer := body.loose("captchaId"), body.loose("captchaChallenge")
		if id == "" || answer == "" {
			return false, nil
		}
		return d.Captcha.Check(ctx, id, answer)
	}
}

// refusal is what a refused sign-in is told, nil for any other outcome.
func refusal(err error) *wireRefusal {
	var failed *login.Failed
	switch {
	case errors.Is(err, login.ErrUseLoginPage):
		return &wireRefusal{Message: login.ErrUseLoginPage.Text}
	case !errors.As(err, &failed):
		return nil
	case failed.Unread:
		return &wireRefusal{true, "Complete the CAPTCHA and try again."}
	}
	return &wireRefusal{failed.CaptchaDue, "Invalid username or password."}
}

// waiting tells which step comes next.
func waiting(p login.Pending) wireConversation {
	step := "TOTP_CODE_VERIFICATION"
	if p.Enrol {
		step = "ENROLLMENT"
	}
	return wireConversation{p.Conversation.Reveal(), step}
}

// enter gives the browser its session.
func (d *Dialect) enter(w http.ResponseWriter, in login.Signed) {
	announce(w, in.Caller)
	d.Cookies.Set(w, in.Token)
}

// captcha makes a CAPTCHA.
func (d *Dialect) captcha(w http.ResponseWriter, _ *http.Request) error {
	id, err := d.Captcha.New()
	if err != nil {
		return err
	}
	return reply(w, wireCaptcha{id, "/captcha/" + id + ".png"})
}

// authenticateByTOTP takes the second step with a code of the app.
func (d *Dialect) authenticateByTOTP(w http.ResponseWriter, r *http.Request) error {
	if _, err := d.proceed(w, r, factor.TOTP, "totpCode"); err != nil {
		return err
	}
	return done(w)
}

// authenticateByRecovery takes the second step with a recovery code.
func (d *Dialect) authenticateByRecovery(w http.ResponseWriter, r *http.Request) error {
	in, err := d.proceed(w, r, factor.Recovery, "recoveryCode")
	if err != nil {
		return err
	}
	return reply(w, wireNext{in.Target})
}

func (d *Dialect) proceed(w http.ResponseWriter, r *http.Request, kind factor.Kind, member string) (login.Signed, error) {
	body, err := read(r)
	if err != nil {
		return login.Signed{}, err
	}
	conversation, code := body.secret("conversationId"), body.secret(member)
	if err := body.wrong(); err != nil {
		return login.Signed{}, err
	}
	in, err := d.Login.Continue(r.Context(), conversation, factor.Answer{Kind: kind, Code: code}, presented(r, login.Password), begin(r, ""))
	if err != nil {
		return login.Signed{}, err
	}
	d.enter(w, in)
	return in, nil
}

// wireNext says where a browser goes now.
type wireNext struct {
	Next string `json:"next"`
}

// wireRefusal is what a refused sign-in is told.
type wireRefusal struct {
	CaptchaRequired bool   `json:"captchaRequired"`
	Message         string `json:"message"`
}

// wireConversation is a sign-in that waits for its next step.
type wireConversation struct {
	ConversationID string `json:"conversationId"`
	NextLoginStep  string `json:"nextLoginStep"`
}

// wireCaptcha is a CAPTCHA and where its picture lies.
type wireCaptcha struct {
	ID       string `json:"captchaId"`
	ImageURL string `json:"captchaImageUrl"`
}
