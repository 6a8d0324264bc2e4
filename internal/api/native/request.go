package native

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

func (a *API) requests() tag {
	return tag{"Requests", "Requests of people whose grants ask for somebody's approval. Whom the grant names answers them; where it names nobody, whoever may by right; nobody their own.", []line{
		op("GET", "/api/v1/remote-requests", access.RemoteApprove, "List requests that one may answer, newest first", a.listRequests),
		op("GET", "/api/v1/remote-requests/{request}", access.RemoteApprove, "Show a request", a.showRequest, says("One's own too.")),
		op("POST", "/api/v1/remote-requests/{request}/approve", access.RemoteApprove, "Let a person in", a.answerRequest(true), says("The session then waits for its person to start it.")),
		op("POST", "/api/v1/remote-requests/{request}/deny", access.RemoteApprove, "Send a person away", a.answerRequest(false), says("The session is over.")),
	}}
}

// wireRequest is somebody's wish to open a session.
type wireRequest struct {
	Number     int64      `json:"number"`
	Session    string     `json:"session_id" format:"uuid"`
	UserID     string     `json:"user_id" format:"uuid"`
	User       string     `json:"user"`
	Device     string     `json:"device_id" format:"uuid"`
	Credential string     `json:"credential_id" format:"uuid"`
	Reason     string     `json:"reason"`
	Reference  string     `json:"reference"`
	State      string     `json:"state" enum:"pending,approved,denied,expired"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  time.Time  `json:"expires_at"`
	DecidedAt  *time.Time `json:"decided_at" nullable:"true"`
	DecidedBy  string     `json:"decided_by"`
	Note       string     `json:"note"`
}

func requestOf(r remote.Request) wireRequest {
	return wireRequest{
		Number: r.Number, Session: r.Session, UserID: r.User.ID, User: r.User.Name, Device: r.Device, Credential: r.Credential, Reason: r.Reason, Reference: r.Reference,
		State: string(r.State), CreatedAt: r.Created.UTC(), ExpiresAt: r.Expires.UTC(), DecidedAt: moment(r.Decided), DecidedBy: r.DecidedBy, Note: r.Note,
	}
}

type listRequests struct {
	window
	State string `query:"state" enum:"pending,approved,denied,expired" doc:"Only those in this state."`
}

func (a *API) listRequests(ctx context.Context, by access.Caller, in listRequests) (wirePage[wireRequest], error) {
	w, err := in.counted()
	if err != nil {
		return wirePage[wireRequest]{}, err
	}
	p, err := a.Remote.Requests(ctx, by, remote.RequestState(in.State), w)
	return countedOf(p, requestOf), err
}

type oneRequest struct {
	Request string `path:"request" doc:"Its number."`
}

func (a *API) showRequest(ctx context.Context, by access.Caller, in oneRequest) (wireRequest, error) {
	r, err := a.Remote.Request(ctx, by, numbered(in.Request))
	return requestOf(r), err
}

type answerRequest struct {
	oneRequest
	Body wireRequestAnswer
}

type wireRequestAnswer struct {
	Note string `json:"note,omitempty" maxLength:"4096" doc:"What the person is told."`
}

func (a *API) answerRequest(approve bool) func(context.Context, access.Caller, answerRequest) (wireRequest, error) {
	return func(ctx context.Context, by access.Caller, in answerRequest) (wireRequest, error) {
		r, err := a.Remote.Decide(ctx, by, numbered(in.Request), approve, in.Body.Note)
		return requestOf(r), err
	}
}
