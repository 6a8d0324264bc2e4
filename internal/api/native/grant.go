package native

import (
	"context"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

func (a *API) grants() tag {
	return tag{"Grants", "Who may open remote sessions, where, when, and after what. Nothing else opens them: an administrator who wants in gives themselves a grant, on record.", []line{
		op("GET", "/api/v1/grants", access.RemoteRead, "List grants, by number", a.listGrants, says("One's own; by right everybody's. What people have by groups is listed with the group.")),
		op("POST", "/api/v1/grants", access.AccessGrant, "Let somebody open sessions on a device or with a credential", a.createGrant, created, fresh, says("A second one of the same subject and place gives the first one these terms.")),
		op("GET", "/api/v1/grants/{grant}", access.RemoteRead, "Show a grant", a.showGrant),
		op("DELETE", "/api/v1/grants/{grant}", access.AccessRevoke, "Take a grant back", a.removeGrant, says("Sessions by it that live end within two seconds.")),
	}}
}

// wireGrant is a right to open sessions.
type wireGrant struct {
	Number     int64       `json:"number"`
	Subject    wireSubject `json:"subject"`
	Device     *string     `json:"device_id" nullable:"true" doc:"Where; * is every device, null where the grant is of one credential."`
	Credential *string     `json:"credential_id" nullable:"true" doc:"With which credential; null is any of the device."`
	Terms      wireTerms   `json:"terms"`
	CreatedAt  time.Time   `json:"created_at"`
}

type wireSubject struct {
	Kind string `json:"kind" enum:"user,group"`
	ID   string `json:"id" format:"uuid"`
	Name string `json:"name"` // empty of one who is gone
}

// wireTerms are the conditions of a grant.
type wireTerms struct {
	Protocols []string `json:"protocols,omitempty" maxItems:"16" doc:"By these alone; none is all."`
	Ports     []int64  `json:"ports,omitempty" maxItems:"100" example:"[22]" doc:"At these alone; none is those of the device."`
	Targets   []string `json:"target_ids,omitempty" maxItems:"1000" doc:"Of a domain's credential: devices that it opens; none is all of the domain."`

	NotBefore string   `json:"not_before,omitempty" format:"date-time" maxLength:"64"`
	NotAfter  string   `json:"not_after,omitempty" format:"date-time" maxLength:"64"`
	Hours     []string `json:"hours,omitempty" maxItems:"100" example:"[\"mon-fri 08:00-18:00\"]" doc:"Parts of the week; none is always."`
	Zone      string   `json:"zone,omitempty" maxLength:"64" example:"Europe/Berlin" doc:"Time zone of the hours; UTC where there is none."`

	StepUp      bool     `json:"step_up,omitempty" doc:"A second factor is proved anew."`
	Reason      bool     `json:"reason,omitempty" doc:"The person says why."`
	Approval    bool     `json:"approval,omitempty" doc:"Somebody else agrees."`
	Approvers   []string `json:"approver_ids,omitempty" maxItems:"100" doc:"Which users; without them and groups whoever may by right."`
	Groups      []string `json:"approver_group_ids,omitempty" maxItems:"100" doc:"Members of which groups."`
	ApprovalFor int64    `json:"approval_for,omitempty" minimum:"0" maximum:"2592000" doc:"Seconds that a request may wait; 0 is ten minutes."`

	Features []string `json:"features,omitempty" maxItems:"16" doc:"What may be done inside: shell, exec, files, forward, clipboard; none is all but forward."`
}

func grantOf(b access.Binding) wireGrant {
	out := wireGrant{Number: b.Number, Subject: wireSubject{string(b.Subject.Kind), b.Subject.ID, b.Name}, Terms: termsOf(b.Terms), CreatedAt: b.Created.UTC()}
	if b.Resource.Kind == access.CredentialKind {
		out.Credential = &b.Resource.ID
	} else {
		out.Device = &b.Resource.ID
	}
	return out
}

func termsOf(t access.Terms) wireTerms {
	out := wireTerms{
		Protocols: t.Protocols, Targets: t.Targets, NotBefore: instantText(t.NotBefore), NotAfter: instantText(t.NotAfter), Zone: t.Zone, StepUp: t.StepUp, Reason: t.Reason,
		Approval: t.Approval, ApprovalFor: int64(t.ApprovalFor / time.Second),
	}
	for _, p := range t.Ports {
		out.Ports = append(out.Ports, int64(p))
	}
	for _, h := range t.Hours {
		out.Hours = append(out.Hours, h.String())
	}
	for _, a := range t.Approvers {
		if a.Kind == access.Group {
			out.Groups = append(out.Groups, a.ID)
		} else {
			out.Approvers = append(out.Approvers, a.ID)
		}
	}
	for _, f := range t.Features {
		out.Features = append(out.Features, string(f))
	}
	return out
}

func instantText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// terms are the conditions as the domain takes them.
func (t wireTerms) terms() (access.Terms, error) {
	out := access.Terms{
		Protocols: t.Protocols, Targets: t.Targets, Zone: t.Zone, StepUp: t.StepUp, Reason: t.Reason, Approval: t.Approval || len(t.Approvers)+len(t.Groups) > 0,
		ApprovalFor: time.Duration(t.ApprovalFor) * time.Second,
	}
	var err error
	if out.NotBefore, err = readInstant("not_before", t.NotBefore); err != nil {
		return out, err
	}
	if out.NotAfter, err = readInstant("not_after", t.NotAfter); err != nil {
		return out, err
	}
	for _, p := range t.Ports {
		out.Ports = append(out.Ports, int(p)) // the domain says which there are
	}
	for _, text := range t.Hours {
		h, err := access.ParseHours(text)
		if err != nil {
			return out, err
		}
		out.Hours = append(out.Hours, h)
	}
	for _, id := range t.Approvers {
		out.Approvers = append(out.Approvers, access.Subject{Kind: access.User, ID: id})
	}
	for _, id := range t.Groups {
		out.Approvers = append(out.Approvers, access.Subject{Kind: access.Group, ID: id})
	}
	for _, f := range t.Features {
		out.Features = append(out.Features, access.Feature(f))
	}
	return out, nil
}

func readInstant(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fault.Fields("that is no moment", fault.Field{Path: name, Message: "a moment such as 2026-11-30T08:00:00Z"})
	}
	return at.UTC(), nil
}

type listGrants struct {
	window
	User  string `query:"user" doc:"Only those of this user, by id."`
	Group string `query:"group" doc:"Only those of this group, by id."`
}

func (a *API) listGrants(ctx context.Context, by access.Caller, in listGrants) (wirePage[wireGrant], error) {
	w, err := in.counted()
	if err != nil {
		return wirePage[wireGrant]{}, err
	}
	of := access.Subject{}
	switch {
	case in.User != "":
		of = access.Subject{Kind: access.User, ID: in.User}
	case in.Group != "":
		of = access.Subject{Kind: access.Group, ID: in.Group}
	}
	p, err := a.Access.GrantsSeen(ctx, by, of, w)
	return countedOf(p, grantOf), err
}

type createGrant struct {
	Body wireGrantDraft
}

type wireGrantDraft struct {
	User       string     `json:"user_id,omitempty" maxLength:"64" doc:"Who may come in: a user, by id. Or a group."`
	Group      string     `json:"group_id,omitempty" maxLength:"64" doc:"Or everybody in a group, by id."`
	Device     string     `json:"device,omitempty" maxLength:"4096" doc:"Where, with any credential: its id, number, host or IP address; * is every device. Or a credential."`
	Credential string     `json:"credential,omitempty" maxLength:"4096" doc:"With this credential alone: its id, number, identifier, or USER@HOST."`
	Terms      *wireTerms `json:"terms,omitempty"`
}

func (a *API) createGrant(ctx context.Context, by access.Caller, in createGrant) (wireGrant, error) {
	role, on, err := a.grantPlace(ctx, by, in.Body)
	if err != nil {
		return wireGrant{}, err
	}
	var terms access.Terms
	if in.Body.Terms != nil {
		if terms, err = in.Body.Terms.terms(); err != nil {
			return wireGrant{}, err
		}
	}
	to := access.Subject{Kind: access.User, ID: in.Body.User}
	if in.Body.Group != "" {
		to = access.Subject{Kind: access.Group, ID: in.Body.Group}
	}
	if (in.Body.User == "") == (in.Body.Group == "") {
		return wireGrant{}, fault.Fields("a grant is for a user or for a group; name one of them", fault.Field{Path: "user_id", Message: "one of user_id and group_id"})
	}
	name, err := a.called(ctx, by, to)
	if err != nil {
		return wireGrant{}, err
	}
	for _, approver := range terms.Approvers {
		if _, err := a.called(ctx, by, approver); err != nil {
			return wireGrant{}, err
		}
	}
	b, err := a.Access.GrantTerms(ctx, by, to, role, on, terms)
	b.Name = name
	return grantOf(b), err
}

// grantPlace finds what a grant is on.
func (a *API) grantPlace(ctx context.Context, by access.Caller, in wireGrantDraft) (access.Role, access.Resource, error) {
	switch {
	case (in.Device == "") == (in.Credential == ""):
		return "", access.Resource{}, fault.Fields("a grant is on a device or on a credential; name one of them", fault.Field{Path: "device", Message: "one of device and credential"})
	case in.Device == "*":
		return access.DeviceConnect, access.Every(access.DeviceKind), nil
	case in.Device != "":
		d, err := a.Devices.Find(ctx, by, in.Device)
		return access.DeviceConnect, d.Resource(), err
	}
	c, err := a.Vault.Find(ctx, by, in.Credential)
	return access.CredentialConnect, c.Resource(), err
}

// called is what a user or a group is called.
func (a *API) called(ctx context.Context, by access.Caller, of access.Subject) (string, error) {
	if of.Kind == access.Group {
		g, err := a.Groups.ByID(ctx, a.Access.For(by), of.ID)
		return g.Name, err
	}
	u, err := a.Users.ByID(ctx, a.Access.For(by), of.ID)
	return u.Name, err
}

type oneGrant struct {
	Grant string `path:"grant" doc:"Its number."`
}

// numbered reads a number in a path. What is none names nothing.
func numbered(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0
	}
	return n
}

func (a *API) showGrant(ctx context.Context, by access.Caller, in oneGrant) (wireGrant, error) {
	b, err := a.Access.GrantByNumber(ctx, by, numbered(in.Grant))
	return grantOf(b), err
}

func (a *API) removeGrant(ctx context.Context, by access.Caller, in oneGrant) (none, error) {
	return none{}, a.Access.RevokeGrant(ctx, by, numbered(in.Grant))
}
