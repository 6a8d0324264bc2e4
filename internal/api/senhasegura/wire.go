package senhasegura

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// refusal is an answer that is no success. number is the wire's own, 0 for none, and stands before the text then.
type refusal struct {
	status int
	number int
	text   string
	detail string // one more sentence for people; it names nothing that the caller may not see

	counted bool // error_code is 1 although there is no number
}

// Error implements error.
func (f *refusal) Error() string { return f.text }

// Unwrap makes a refusal a fault, so that nobody takes it for one of ours.
func (f *refusal) Unwrap() error { return fault.New(fault.Invalid, f.text) }

// with says one more sentence.
func (f *refusal) with(detail string) *refusal {
	more := *f
	more.detail = detail
	return &more
}

func said(status int, text string) *refusal { return &refusal{status: status, text: text} }

func numbered(number int, text string) *refusal {
	return &refusal{status: http.StatusBadRequest, number: number, text: fmt.Sprintf("%d: %s", number, text)}
}

// What is refused, in the words of the wire.
var (
	errNoRoute    = said(http.StatusNotFound, "Resource sub not found")
	errMethod     = said(http.StatusMethodNotAllowed, "Resource sub not found")
	errNoHeader   = said(http.StatusUnauthorized, "No route matched with those values.")
	errClient     = said(http.StatusUnauthorized, "Client authentication failed.")
	errDenied     = said(http.StatusInternalServerError, "You are not authorized to access this resource.")
	errMalformed  = said(http.StatusBadRequest, "Malformed request body")
	errTooLarge   = said(http.StatusRequestEntityTooLarge, "Request body is too large")
	errTooMany    = said(http.StatusTooManyRequests, "Too many requests")
	errUnexpected = said(http.StatusInternalServerError, "Unexpected error.")
	errTimedOut   = said(http.StatusGatewayTimeout, "Request timed out.")

	errNoUserGiven       = said(http.StatusBadRequest, "Username not specified")
	errNoCredentialGiven = said(http.StatusBadRequest, "Credential not specified")
	errNoDeviceGiven     = said(http.StatusBadRequest, "Credential device not specified")
	errNoTargetGiven     = said(http.StatusBadRequest, "Remote device not specified")
	errProtocol          = said(http.StatusBadRequest, "Invalid protocol")
	errPort              = said(http.StatusBadRequest, "Invalid port")
	errScreen            = said(http.StatusBadRequest, "Invalid screensize")
	errAddress           = said(http.StatusBadRequest, "Invalid remoteAddr")
	errRemoteApp         = said(http.StatusBadRequest, "Invalid remoteapp")
	errDeviceAddress     = said(http.StatusBadRequest, "Device IP not allowed")
	errConnectivities    = said(http.StatusBadRequest, "Invalid connectivities")
	errDrop              = &refusal{status: http.StatusInternalServerError, text: "An error occurred while droping session", counted: true}

	errSession     = numbered(1002, "Session not found")
	errSessionID   = numbered(1003, "Unexpected identifier type")
	errNoHost      = numbered(1004, "Device hostname not informed")
	errNoIP        = numbered(1005, "Device IP not informed")
	errUser        = numbered(1005, "User does not exist")
	errUserShut    = numbered(1006, "User does not have access")
	errCredential  = numbered(1007, "Credential not found")
	errInactive    = numbered(1008, "Credential inactive")
	errNoAccess    = numbered(1009, "No access to credential")
	errDevice      = numbered(1011, "Device not found")
	errNotHeld     = numbered(1018, "The credential is not in the user custody")
	errDomain      = numbered(1029, "Domain not previously registered")
	errReadOnly    = numbered(1039, "Without PAM Configuration Access permission")
	errUsername    = numbered(1042, "Invalid username")
	errIdentifier  = numbered(1053, "Invalid identifier")
	errNoneFree    = errNoCredentialGiven.with("No free credential on this device.")
	errSoManyLive  = errUserShut.with("The user has reached the limit of concurrent sessions.")
	errNoSecretYet = errNoAccess.with("The credential has no secret yet.")
)

// answers is the table of faults: the first row that an error matches is the answer. What matches none goes by its kind.
var answers = []struct {
	is     error
	answer *refusal
}{
	{identity.ErrBadClient, errClient},
	{login.ErrNotAccepted, errClient},
	{identity.ErrElsewhere, errDenied},
	{identity.ErrNoResource, errDenied},
	{identity.ErrReadOnly, errReadOnly},

	{remote.ErrNoUser, errUser},
	{remote.ErrUserShut, errUserShut},
	{remote.ErrTooMany, errSoManyLive},
	{remote.ErrNoDevice, errDevice},
	{remote.ErrNoTarget, errDevice},
	{remote.ErrNoCredential, errCredential},
	{remote.ErrInactive, errInactive},
	{remote.ErrNoneFree, errNoneFree},
	{remote.ErrNeedsTarget, errNoTargetGiven},
	{remote.ErrNoAccess, errNoAccess},
	{remote.ErrProtocolOff, errNoAccess},
	{remote.ErrPort, errPort},
	{remote.ErrRemoteApp, errRemoteApp},
	{remote.ErrUnknown, errSession},

	{device.ErrUnknown, errDevice},
	{device.ErrUnknownDomain, errDomain},
	{device.ErrForbidden, errDeviceAddress},
	{device.ErrNoHost, errNoHost},
	{device.ErrNoIP, errNoIP},

	{vault.ErrUnknown, errCredential},
	{vault.ErrInactive, errInactive},
	{vault.ErrNotShown, errNoAccess},
	{vault.ErrHeld, errNoAccess},
	{vault.ErrNotHeld, errNotHeld},
	{vault.ErrNoSecret, errNoSecretYet},
	{vault.ErrIdentifier, errIdentifier},
	{vault.ErrUsername, errUsername},
}

// answerTo finds the answer to an error.
func answerTo(err error) *refusal {
	var own *refusal
	var blocked *login.Blocked
	switch {
	case errors.As(err, &blocked):
		return errTooMany
	case errors.As(err, &own):
		return own
	}
	for _, row := range answers {
		if errors.Is(err, row.is) {
			return row.answer
		}
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		return said(http.StatusBadRequest, wrongField(err))
	case fault.Unauthenticated, fault.Expired:
		return errClient
	case fault.Denied:
		return errDenied
	case fault.NotFound, fault.Conflict:
		return said(http.StatusBadRequest, sentence(fault.Text(err)))
	case fault.Limited:
		return errTooMany
	}
	return errUnexpected
}

// wireFields is what the domain calls fields that the wire calls otherwise.
var wireFields = map[string]string{"host": "hostname", "domains": "device_domain", "connect": "connectivities", "script": "session_remote_config", "protocols": "session_settings", "parent": "parent_password", "secret": "content"}

// wrongField says which field is wrong, or what is where the domain names none.
func wrongField(err error) string {
	all := fault.FieldsOf(err)
	if len(all) == 0 || all[0].Path == "" {
		return sentence(fault.Text(err))
	}
	if name, other := wireFields[all[0].Path]; other {
		return "Invalid " + name
	}
	return "Invalid " + all[0].Path
}

// sentence begins with a capital letter, as the texts of this wire do.
func sentence(text string) string {
	if text != "" && text[0] >= 'a' && text[0] <= 'z' {
		return string(text[0]-'a'+'A') + text[1:]
	}
	return text
}

// wireResponse is what every answer says of itself.
type wireResponse struct {
	Status    int    `json:"status"`
	Message   string `json:"message"`
	Error     bool   `json:"error"`
	ErrorCode int    `json:"error_code"`
	Detail    string `json:"detail"`
	Mensagem  string `json:"mensagem"` // Message, for readers of older versions
	Message2  string `json:"Message"`
	Erro      bool   `json:"erro"`
	CodErro   int    `json:"cod_erro"`
	Changed   string `json:"changed,omitempty"`
}

// wireAnswer is the envelope of every answer, with at most one of what follows the tenant but where the wire has one thing twice.
type wireAnswer struct {
	Code     int          `json:"code"`
	Response wireResponse `json:"response"`
	Tenant   string       `json:"tenant"`

	Session        any `json:"session,omitempty"`
	RemoteSession  any `json:"remote_session,omitempty"`
	RemoteSessions any `json:"remote_sessions,omitempty"`
	Device         any `json:"device,omitempty"`
	Devices        any `json:"devices,omitempty"`
	Credential     any `json:"credential,omitempty"`
	Credentials    any `json:"credentials,omitempty"`

	Exception *wireException `json:"exception,omitempty"`
}

type wireException struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail"`
}

// success is an answer without a payload yet.
func (d *Dialect) success(status int, message string) wireAnswer {
	return wireAnswer{Code: status, Response: wireResponse{Status: status, Message: message, Mensagem: message, Message2: message}, Tenant: d.Tenant}
}

// failure is the answer to an error.
func (d *Dialect) failure(f *refusal) wireAnswer {
	a := d.success(f.status, f.text)
	a.Response = response(f)
	if f.number > 0 {
		a.Exception = &wireException{Code: f.number, Message: f.text}
	}
	return a
}

func response(f *refusal) wireResponse {
	r := wireResponse{Status: f.status, Message: f.text, Error: true, Detail: f.detail, Mensagem: f.text, Message2: f.text, Erro: true}
	if f.number > 0 || f.counted {
		r.ErrorCode, r.CodErro = 1, 1
	}
	return r
}

// reply answers with success.
func reply(w http.ResponseWriter, a wireAnswer) error { return api.WriteJSON(w, a.Code, a) }

// fail answers with an error.
func (d *Dialect) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := d.judge(w, r, err)
	_ = api.WriteJSON(w, f.status, d.failure(f))
}

// judge finds the answer to an error, and gives it the headers that it needs.
func (d *Dialect) judge(w http.ResponseWriter, r *http.Request, err error) *refusal {
	f := answerTo(err)
	switch {
	case f == errUnexpected:
		f = f.with(api.RequestID(r.Context()))
	case f.status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case f.status == http.StatusTooManyRequests:
		w.Header().Set("Retry-After", retryAfter(err))
	case f.status == http.StatusInternalServerError: // the vendor says so where others say 403
		api.MarkDenied(r.Context())
	}
	return f
}

// retryAfter is in how many seconds it is worth another try.
func retryAfter(err error) string {
	wait := time.Second
	var blocked *login.Blocked
	switch {
	case errors.As(err, &blocked):
		wait = blocked.RetryAfter
	case errors.Is(err, identity.ErrTooManyTokens):
		wait = time.Minute
	}
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}

// moment is a time as this wire writes it, in UTC.
func moment(t time.Time) string { return t.UTC().Format(time.DateTime) }

// number is an id, a port or a count: text, here.
func number[T int | int64](n T) string { return strconv.FormatInt(int64(n), 10) }

// noneIfEmpty is null for what is not there.
func noneIfEmpty(text string) any {
	if text == "" {
		return nil
	}
	return text
}
