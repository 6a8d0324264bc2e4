package native

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// wireProject is what repositories, API keys and proofs belong to.
type wireProject struct {
	ID          string    `json:"id" format:"uuid"`
	Key         string    `json:"key"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Public      bool      `json:"public" doc:"Anybody may read it and its repositories."`
	Restricted  bool      `json:"restricted" doc:"Only its administrators change its repositories' settings."`
	Owner       *string   `json:"owner_id" format:"uuid" nullable:"true" doc:"The user whose personal project it is; null of every other."`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

func projectOf(p project.Project) wireProject {
	out := wireProject{
		ID: p.ID, Key: p.Key, Name: p.Name, Description: p.Description, Public: p.Public, Restricted: p.Restricted, CreatedAt: p.Created.UTC(), UpdatedAt: p.Updated.UTC(),
	}
	if p.Personal() {
		out.Owner = &p.Owner
	}
	return out
}

type listProjects struct {
	window
	Name string `query:"name" doc:"Only those whose name begins so, in any case."`
}

func (a *API) listProjects(ctx context.Context, by access.Caller, in listProjects) (wirePage[wireProject], error) {
	w, err := in.counted()
	if err != nil {
		return wirePage[wireProject]{}, err
	}
	p, err := a.Projects.Visible(ctx, by, in.Name, w)
	return countedOf(p, projectOf), err
}

type createProject struct {
	Body wireProjectDraft
}

type wireProjectDraft struct {
	Key         string  `json:"key" maxLength:"4096" example:"OPS" doc:"It begins with a letter and never changes."`
	Name        *string `json:"name,omitempty" maxLength:"4096" doc:"The key where it is left out."`
	Description *string `json:"description,omitempty" maxLength:"4096"`
	Public      bool    `json:"public,omitempty" doc:"Anybody may read it and its repositories."`
}

func (a *API) createProject(ctx context.Context, by access.Caller, in createProject) (wireProject, error) {
	draft := project.New{Key: in.Body.Key, Public: in.Body.Public}
	if in.Body.Name != nil {
		draft.Name = *in.Body.Name
	}
	if in.Body.Description != nil {
		draft.Description = *in.Body.Description
	}
	p, err := a.Projects.Create(ctx, by, draft)
	return projectOf(p), err
}

func (a *API) showProject(ctx context.Context, by access.Caller, in place) (wireProject, error) {
	p, err := a.project(ctx, by, in)
	return projectOf(p), err
}

type changeProject struct {
	place
	Body wireProjectChange
}

type wireProjectChange struct {
	Name        *string `json:"name,omitempty" maxLength:"4096"`
	Description *string `json:"description,omitempty" maxLength:"4096"`
	Public      *bool   `json:"public,omitempty" doc:"Anybody may read it and its repositories."`
	Restricted  *bool   `json:"restricted,omitempty" doc:"Only its administrators change its repositories' settings."`
}

func (a *API) changeProject(ctx context.Context, by access.Caller, in changeProject) (wireProject, error) {
	p, err := a.project(ctx, by, in.place)
	if err != nil {
		return wireProject{}, err
	}
	p, err = a.Projects.Update(ctx, by, p.ID, project.Change{Name: in.Body.Name, Description: in.Body.Description, Public: in.Body.Public, Restricted: in.Body.Restricted})
	return projectOf(p), err
}

func (a *API) deleteProject(ctx context.Context, by access.Caller, in place) (none, error) {
	p, err := a.project(ctx, by, in)
	if err != nil {
		return none{}, err
	}
	return none{}, a.Projects.Delete(ctx, by, p.ID)
}

// wireProof is a pending or ended proof that somebody holds a private key.
type wireProof struct {
	ID         string     `json:"id" format:"uuid"`
	Kind       string     `json:"kind" enum:"verify,collect"`
	Identifier string     `json:"identifier" doc:"The SSH user name."`
	Status     string     `json:"status" enum:"pending,verified,failed,completed,expired"`
	ExternalID *string    `json:"external_id" nullable:"true"`
	Keys       int        `json:"keys" doc:"How many are listed."`
	Attempts   int        `json:"attempts"`
	CreatedAt  time.Time  `json:"created_at"`
	UpdatedAt  time.Time  `json:"updated_at"`
	ExpiresAt  *time.Time `json:"expires_at" nullable:"true"`
}

func (a *API) proofOf(s keyproof.Session) wireProof {
	return wireProof{
		ID: s.ID, Kind: string(s.Kind), Identifier: s.Identifier, Status: string(s.Shown(a.Now())), ExternalID: s.ExternalID, Keys: len(s.Keys), Attempts: s.Attempts,
		CreatedAt: s.Created.UTC(), UpdatedAt: s.Updated.UTC(), ExpiresAt: moment(s.Expires),
	}
}

type listProofs struct {
	Project string `path:"project" doc:"Key of the project."`
	window
	Kind   string `query:"kind" enum:"verify,collect" doc:"Verify where it is left out."`
	Status string `query:"status" enum:"pending,verified,failed,completed,expired"`
}

func (a *API) listProofs(ctx context.Context, by access.Caller, in listProofs) (wirePage[wireProof], error) {
	w, err := in.page()
	if err != nil {
		return wirePage[wireProof]{}, err
	}
	of, err := a.Projects.ByKey(ctx, by, in.Project)
	if err != nil {
		return wirePage[wireProof]{}, err
	}
	kind := keyproof.Verify
	if in.Kind != "" {
		kind = keyproof.Kind(in.Kind)
	}
	p, err := a.Keyproof.List(ctx, by, of.ID, kind, keyproof.Query{Status: keyproof.Status(in.Status), Window: w})
	return pageOf(p, a.proofOf), err
}

// wireDelivery is an event on its way to a webhook.
type wireDelivery struct {
	ID          string        `json:"id" format:"uuid" doc:"The invocation id."`
	Webhook     string        `json:"webhook_id" format:"uuid"`
	Session     string        `json:"session_id" doc:"Whose webhook it is; empty where it is one of the installation."`
	Event       string        `json:"event"`
	State       string        `json:"state" enum:"pending,delivered,failed"`
	Attempts    int           `json:"attempts"`
	Status      int           `json:"status" doc:"What the last attempt was answered; 0 where no answer came."`
	Reason      string        `json:"reason" doc:"Why it failed."`
	TriggeredAt time.Time     `json:"triggered_at"`
	DueAt       *time.Time    `json:"due_at" nullable:"true" doc:"Of the next attempt, while pending."`
	EndedAt     *time.Time    `json:"ended_at" nullable:"true"`
	Payload     any           `json:"payload,omitempty" doc:"What is sent; of one delivery alone."`
	Log         []wireAttempt `json:"log,omitempty" nullable:"false" doc:"Every attempt; of one delivery alone."`
}

type wireAttempt struct {
	Number    int       `json:"attempt"`
	StartedAt time.Time `json:"started_at"`
	Seconds   float64   `json:"seconds"`
	Status    int       `json:"status" doc:"0 where no answer came."`
	Reason    string    `json:"reason"`
	Answer    string    `json:"answer" doc:"Its first bytes."`
}

func deliveryOf(d webhook.Delivery) wireDelivery {
	out := wireDelivery{
		ID: d.ID, Webhook: d.Webhook, Session: d.Owner, Event: d.Event, State: string(d.State), Attempts: d.Attempts, Status: d.Status, Reason: d.Reason,
		TriggeredAt: d.Triggered.UTC(), EndedAt: moment(d.Ended),
	}
	if d.State == webhook.Pending {
		out.DueAt = moment(d.Due)
	}
	return out
}

type listDeliveries struct {
	Project string `path:"project" doc:"Key of the project."`
	window
	State   string `query:"state" enum:"pending,delivered,failed"`
	Session string `query:"session" doc:"Only of that session."`
	Webhook string `query:"webhook" doc:"Only of that webhook."`
}

func (a *API) listDeliveries(ctx context.Context, by access.Caller, in listDeliveries) (wirePage[wireDelivery], error) {
	w, err := in.page()
	if err != nil {
		return wirePage[wireDelivery]{}, err
	}
	of, err := a.Projects.ByKey(ctx, by, in.Project)
	if err != nil {
		return wirePage[wireDelivery]{}, err
	}
	all, err := a.Webhooks.List(ctx, by, webhook.Filter{
		Project: of.ID, Owner: in.Session, Webhook: in.Webhook, State: webhook.State(in.State), Before: w.After, Limit: int(w.Limit) + 1,
	})
	return pageOf(page.Cut(all, w, func(d webhook.Delivery) string { return d.ID }), deliveryOf), err
}

type oneDelivery struct {
	Delivery string `path:"delivery" doc:"Its id."`
}

func (a *API) showDelivery(ctx context.Context, by access.Caller, in oneDelivery) (wireDelivery, error) {
	d, attempts, err := a.Webhooks.Show(ctx, by, in.Delivery)
	if err != nil {
		return wireDelivery{}, err
	}
	out := deliveryOf(d)
	out.Payload = json.RawMessage(d.Payload)
	for _, t := range attempts {
		out.Log = append(out.Log, wireAttempt{t.Number, t.Started.UTC(), t.Took.Seconds(), t.Status, t.Reason, string(t.Answer)})
	}
	return out, nil
}

func (a *API) resendDelivery(ctx context.Context, by access.Caller, in oneDelivery) (none, error) {
	return none{}, a.Webhooks.Resend(ctx, by, in.Delivery)
}
