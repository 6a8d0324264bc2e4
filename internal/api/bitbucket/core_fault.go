package bitbucket

import (
	"cmp"
	"errors"
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// The parts access-tokens, keys, ssh and api are the wire's core. Their errors say more than those of plugins: which member is at fault, and
// what the vendor calls the fault. Who may not do something is told so with 401, as is who has not logged in.

// What the core refuses by itself.
var (
	errCredential = fault.New(fault.Unauthenticated, "Authentication failed. Please check your credentials and try again.")
	errNobody     = fault.New(fault.Unauthenticated, "You are not permitted to access this resource")
)

// What the vendor calls some faults.
const (
	exceptions       = "com.atlassian.bitbucket."
	notAuthorised    = exceptions + "AuthorisationException"
	wrongPassword    = exceptions + "auth.IncorrectPasswordAuthenticationException"
	captchaRequired  = exceptions + "auth.CaptchaRequiredAuthenticationException"
	noSuchProject    = exceptions + "project.NoSuchProjectException"
	noSuchRepository = exceptions + "repository.NoSuchRepositoryException"
	noSuchUser       = exceptions + "user.NoSuchUserException"
	noSuchSSHKey     = exceptions + "ssh.NoSuchSshKeyException"
	duplicateSSHKey  = exceptions + "ssh.DuplicateSshKeyException"
)

// coreRow gives an error its status, the text of the answer and what the vendor calls it; without a text the error's own.
type coreRow struct {
	is        error
	status    int
	text      string
	exception string
}

// coreRows is the table of faults of the core: the first row that an error matches counts, and what matches none goes by its kind.
var coreRows = []coreRow{
	{secret.ErrBusy, http.StatusServiceUnavailable, "Busy", ""},
	{errTooLarge, http.StatusRequestEntityTooLarge, "", ""},
	{errCaptcha, http.StatusForbidden, "", captchaRequired},
	{errNobody, http.StatusUnauthorized, "", notAuthorised},
	{errCredential, http.StatusUnauthorized, "", wrongPassword},
	{session.ErrNotActive, http.StatusUnauthorized, errCredential.Text, wrongPassword}, // overtaken by its own end
	{access.ErrNotFresh, http.StatusUnauthorized, "Log in again or confirm your identity to change credentials.", notAuthorised},
}

// called is an error that the vendor has a name for.
type called struct {
	error
	exception string
}

// Unwrap makes a called error the error that it is.
func (c called) Unwrap() error { return c.error }

// notThere says that what a path or a body names is not there.
func notThere(exception, format string, args ...any) error {
	return called{fault.Newf(fault.NotFound, format, args...), exception}
}

// invalid says what is wrong with a member.
func invalid(member, text string) error {
	return fault.Fields(text, fault.Field{Path: member, Message: text})
}

// coreFault is one entry of the core's errors.
type coreFault struct {
	Context   *string `json:"context"`
	Message   string  `json:"message"`
	Exception *string `json:"exceptionName"`
}

type coreFaults struct {
	Errors []coreFault `json:"errors"`
}

// coreAnswerTo finds status and entry of an error, in the rows that an operation has of its own before those of all.
func coreAnswerTo(err error, own []coreRow) (int, coreFault) {
	for _, rows := range [][]coreRow{own, coreRows} {
		for _, r := range rows {
			if errors.Is(err, r.is) {
				return r.status, coreFault{Message: cmp.Or(r.text, fault.Text(r.is)), Exception: orNull(r.exception)}
			}
		}
	}
	f := coreFault{Message: fault.Text(err)}
	var known called
	if errors.As(err, &known) {
		f.Exception = orNull(known.exception)
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		if fields := fault.FieldsOf(err); len(fields) > 0 {
			f.Context, f.Message = orNull(fields[0].Path), fields[0].Message // one fault at a time
		}
		return http.StatusBadRequest, f
	case fault.Unauthenticated, fault.Expired:
		return http.StatusUnauthorized, coreFault{Message: errCredential.Text, Exception: orNull(wrongPassword)}
	case fault.Denied:
		return http.StatusUnauthorized, coreFault{Message: errNobody.Text, Exception: orNull(notAuthorised)}
	case fault.NotFound:
		return http.StatusNotFound, f
	case fault.Conflict:
		return http.StatusConflict, f
	case fault.Limited:
		return http.StatusServiceUnavailable, coreFault{Message: "Busy"}
	default:
		return http.StatusInternalServerError, coreFault{Message: "Internal error"}
	}
}

func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// failCore answers with an error in the core's form. Two are the plugins' at every door: where a request began, and that Basic is blocked.
func (d *Dialect) failCore(own ...coreRow) func(w http.ResponseWriter, r *http.Request, err error) {
	plugin := failPlugin()
	return func(w http.ResponseWriter, r *http.Request, err error) {
		if errors.Is(err, errOrigin) || errors.Is(err, login.ErrBasicBlocked) {
			plugin(w, r, err)
			return
		}
		status, f := coreAnswerTo(err, own)
		switch status {
		case http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", "1")
		case http.StatusUnauthorized:
			challenge(w, r, d.Cookies)
		}
		_ = coreReply(w, status, coreFaults{[]coreFault{f}}) // texts always encode
	}
}
