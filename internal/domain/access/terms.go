package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Terms are the conditions under which a binding with DeviceConnect or CredentialConnect opens sessions: a grant is such a binding. The zero Terms
// are none: always, by every protocol, with what DefaultFeatures lists.
type Terms struct {
	Protocols []string `json:"protocols,omitempty"` // lower case; none is all
	Ports     []int    `json:"ports,omitempty"`     // none is those of the device
	Targets   []string `json:"targets,omitempty"`   // ids of the devices that a domain's credential opens; none is all of its domain

	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	Hours     []Hours   `json:"hours,omitempty"` // none is always
	Zone      string    `json:"zone,omitempty"`  // IANA name of the time zone of Hours; UTC when empty

	StepUp      bool          `json:"step_up,omitempty"`  // a second factor is proved anew
	Reason      bool          `json:"reason,omitempty"`   // the person says why
	Approval    bool          `json:"approval,omitempty"` // somebody else agrees
	Approvers   []Subject     `json:"approvers,omitempty"`
	ApprovalFor time.Duration `json:"approval_for,omitempty"` // how long a request may wait; 10 min when 0

	Features []Feature `json:"features,omitempty"` // none is DefaultFeatures
}

// Hours are a part of the week.
type Hours struct {
	Days []time.Weekday `json:"days,omitempty"` // none is every day
	From string         `json:"from"`           // "HH:MM"
	To   string         `json:"to"`             // "HH:MM", later than From; "24:00" is the end of the day
}

// Feature is something that can be done inside a session.
type Feature string

// The features.
const (
	Shell     Feature = "shell"     // a terminal
	Exec      Feature = "exec"      // one command
	Files     Feature = "files"     // SFTP, and scp
	Forward   Feature = "forward"   // connections from the target onward
	Clipboard Feature = "clipboard" // copy and paste
)

// Features lists all there are; DefaultFeatures are those of terms that name none.
var (
	Features        = []Feature{Shell, Exec, Files, Forward, Clipboard}
	DefaultFeatures = []Feature{Shell, Exec, Files, Clipboard}
)

// Gives reports whether the terms allow a feature.
func (t Terms) Gives(f Feature) bool {
	if len(t.Features) == 0 {
		return slices.Contains(DefaultFeatures, f)
	}
	return slices.Contains(t.Features, f)
}

// rank orders terms from the least to the most restrictive.
func (t Terms) rank() int {
	switch {
	case t.Approval:
		return 2
	case t.Reason:
		return 1
	}
	return 0
}

// Needs reports whether the terms let somebody in only after they did something more.
func (t Terms) Needs() bool { return t.StepUp || t.Reason || t.Approval }

// Check returns what is wrong with the terms, or nil.
func (t Terms) Check() error {
	for _, f := range t.Features {
		if !slices.Contains(Features, f) {
			return fault.Fields(fmt.Sprintf("there is no feature %q; the features are %v", f, Features), fault.Field{Path: "features", Message: "a feature that exists"})
		}
	}
	for _, p := range t.Protocols {
		if p == "" || p != strings.ToLower(p) {
			return fault.Fields("a protocol is written in lower case, such as ssh", fault.Field{Path: "protocols", Message: "lower case"})
		}
	}
	for _, a := range t.Approvers {
		if a.Kind != User && a.Kind != Group || a.ID == "" {
			return fault.Fields("approvers are users and groups", fault.Field{Path: "approvers", Message: "users and groups"})
		}
	}
	if len(t.Approvers) > 0 && !t.Approval {
		return fault.Fields("approvers are named of a grant that asks for no approval", fault.Field{Path: "approval", Message: "true where there are approvers"})
	}
	for _, port := range t.Ports {
		if port < 1 || port > 65535 {
			return fault.Fields("a port is a number from 1 to 65535", fault.Field{Path: "ports", Message: "1 to 65535"})
		}
	}
	if _, err := time.LoadLocation(t.Zone); err != nil || t.Zone == "Local" {
		return fault.Fields("there is no such time zone; name one such as Europe/Berlin", fault.Field{Path: "zone", Message: "a time zone of the IANA database"})
	}
	for _, h := range t.Hours {
		if from, to := minutes(h.From), minutes(h.To); from < 0 || to < 0 || from >= to {
			return fault.Fields("hours are two times of one day, such as 08:00 and 18:30", fault.Field{Path: "hours", Message: "HH:MM, the second later than the first"})
		}
	}
	if !t.NotAfter.IsZero() && !t.NotBefore.Before(t.NotAfter) {
		return fault.Fields("the grant would end before it begins", fault.Field{Path: "not_after", Message: "later than not_before"})
	}
	if t.ApprovalFor < 0 || t.ApprovalFor > 30*24*time.Hour {
		return fault.Fields("a request waits for 30 days at most", fault.Field{Path: "approval_for", Message: "0 to 30 days"})
	}
	return nil
}

// minutes reads HH:MM as minutes of the day; -1 is no time.
func minutes(text string) int {
	if text == "24:00" {
		return 24 * 60
	}
	at, err := time.Parse("15:04", text)
	if err != nil || len(text) != 5 {
		return -1
	}
	return at.Hour()*60 + at.Minute()
}

// Shut says why the terms open nothing now, or "" while they do.
func (t Terms) Shut(now time.Time) string {
	switch {
	case now.Before(t.NotBefore):
		return "it begins at " + t.NotBefore.UTC().Format(time.RFC3339)
	case !t.NotAfter.IsZero() && !now.Before(t.NotAfter):
		return "it ended at " + t.NotAfter.UTC().Format(time.RFC3339)
	case len(t.Hours) == 0 || t.end(now).After(now):
		return ""
	}
	return "it is outside the hours of the grant"
}

// Until is when the terms shut after now: the end of the hours, or of the grant. The zero Time is never.
func (t Terms) Until(now time.Time) time.Time {
	end := time.Time{}
	if len(t.Hours) > 0 {
		end = t.end(now)
	}
	if !t.NotAfter.IsZero() && (end.IsZero() || t.NotAfter.Before(end)) {
		end = t.NotAfter
	}
	return end
}

// end is when the hours that hold now are over; parts that touch each other, over midnight too, are one. It is now where none holds it. What counts is
// the clock on the wall of the zone: an hour that a change of the clock skips is never, and one that it repeats is twice.
func (t Terms) end(now time.Time) time.Time {
	zone, err := time.LoadLocation(t.Zone)
	if err != nil {
		return now // checked when it was given; a machine without the zone opens nothing
	}
	at, week := now.In(zone), now.AddDate(0, 0, 8)
	for at.Before(week) { // over a week there is nothing new
		left := t.left(at)
		if left == 0 {
			break
		}
		next := at.Add(left)
		if _, change := at.ZoneBounds(); !change.IsZero() && change.Before(next) {
			next = change // the clock jumps: look again from there
		}
		at = next.In(zone)
	}
	return at
}

// left is how long the hours that hold at a time last yet by the clock of its day; 0 where none does.
func (t Terms) left(at time.Time) time.Duration {
	clock := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second + time.Duration(at.Nanosecond())
	longest := time.Duration(0)
	for _, h := range t.Hours {
		from, to := time.Duration(minutes(h.From))*time.Minute, time.Duration(minutes(h.To))*time.Minute
		if (len(h.Days) == 0 || slices.Contains(h.Days, at.Weekday())) && from <= clock && clock < to {
			longest = max(longest, to-clock)
		}
	}
	return longest
}

// Opening is what somebody wants to open.
type Opening struct {
	Device, Credential string // ids: where the credential is registered
	Target             string // id of the device to go to: Device itself, or one of the credential's domain
	Protocol           string // lower case; "" is any
	Port               int    // 0 is any
}

// covers reports whether a binding is a grant for the opening, at whatever time.
func (b Binding) covers(o Opening) bool {
	on := b.Resource.is(Resource{Kind: DeviceKind, ID: o.Device}) || b.Resource.is(Every(DeviceKind))
	switch b.Role {
	case DeviceConnect:
		on = on && (o.Target == o.Device || b.Resource.is(Every(DeviceKind)))
	case CredentialConnect:
		on = b.Resource.is(Resource{Kind: CredentialKind, ID: o.Credential}) || b.Resource.is(Every(CredentialKind))
	default:
		return false
	}
	t := b.Terms
	return on && (len(t.Targets) == 0 || slices.Contains(t.Targets, o.Target)) &&
		(len(t.Protocols) == 0 || o.Protocol == "" || slices.Contains(t.Protocols, o.Protocol)) &&
		(len(t.Ports) == 0 || o.Port == 0 || slices.Contains(t.Ports, o.Port))
}

// ErrNoGrant says that somebody has no grant that opens it now.
var ErrNoGrant = fault.New(fault.Denied, "no grant opens this now")

// Governing returns the grant by which a user may open a session now: of those that hold now the most restrictive, where approval outweighs a reason
// and a reason nothing; among equals that with the lowest number. It reports ErrNoGrant. No other role opens sessions, whoever holds it: an
// administrator who wants in grants it to themselves, on record.
func (s *Service) Governing(ctx context.Context, user string, o Opening) (Binding, error) {
	bindings, err := s.Store.BindingsOf(ctx, Subject{User, user})
	if err != nil {
		return Binding{}, err
	}
	b, _ := governing(bindings, o, s.Now())
	if b == nil {
		return Binding{}, ErrNoGrant
	}
	return *b, nil
}

// governing is the grant that counts, or nil and why those that are there open nothing now.
func governing(bindings []Binding, o Opening, now time.Time) (best *Binding, shut []string) {
	for i, b := range bindings {
		if !b.covers(o) {
			continue
		}
		if why := b.Terms.Shut(now); why != "" {
			shut = append(shut, b.describe()+": "+why)
			continue
		}
		if best == nil || b.Terms.rank() > best.Terms.rank() || b.Terms.rank() == best.Terms.rank() && b.Number < best.Number {
			best = &bindings[i]
		}
	}
	return best, shut
}

// decideOpen answers whether a grant lets somebody open a session on a device or with a credential now. Only grants do, whatever other roles hold.
func (s *Service) decideOpen(ctx context.Context, by Caller, on Resource, why []string) (Decision, error) {
	bindings, err := s.Store.BindingsOf(ctx, Subject{by.Kind, by.ID})
	if err != nil {
		return refuse("the role bindings could not be read"), err
	}
	o := Opening{}
	for _, r := range slices.Backward(on.chain()) {
		switch {
		case r.ID == "*":
		case r.Kind == DeviceKind:
			o.Device, o.Target = r.ID, r.ID
		case r.Kind == CredentialKind:
			o.Credential = r.ID
		}
	}
	b, shut := governing(bindings, o, s.Now())
	if b == nil {
		return refuse(append(append(why, shut...), "no grant opens "+on.String()+" now, and no other role does")...), nil
	}
	return Decision{true, append(why, b.describe()+" opens it"+b.Terms.after())}, nil
}

// after says what comes before the opening.
func (t Terms) after() string {
	var due []string
	if t.StepUp {
		due = append(due, "a second factor")
	}
	if t.Reason {
		due = append(due, "a reason")
	}
	if t.Approval {
		due = append(due, "somebody's approval")
	}
	if len(due) == 0 {
		return ""
	}
	return ", after " + strings.Join(due, ", then ")
}
