package access

import (
	"context"
	"fmt"
	"slices"
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

// end is when the hours that hold now are over; parts that touch each other, over midnight too, are one. It is now where none holds it.
func (t Terms) end(now time.Time) time.Time {
	zone, err := time.LoadLocation(t.Zone)
	if err != nil {
		return now // checked when it was given; a machine without the zone opens nothing
	}
	at := now.In(zone)
	for range 8 * len(t.Hours) { // over a week there is nothing new
		next := at
		for _, h := range t.Hours {
			if from, to := h.on(at); !at.Before(from) && to.After(next) {
				next = to
			}
		}
		if next.Equal(at) {
			break
		}
		at = next
	}
	return at
}

// on is when the hours begin and end on the day of at; on another day they are empty.
func (h Hours) on(at time.Time) (from, to time.Time) {
	if len(h.Days) > 0 && !slices.Contains(h.Days, at.Weekday()) {
		return at, at
	}
	clock := func(text string) time.Time {
		m := minutes(text)
		return time.Date(at.Year(), at.Month(), at.Day(), m/60, m%60, 0, 0, at.Location())
	}
	return clock(h.From), clock(h.To)
}

// Opening is what somebody wants to open.
type Opening struct {
	Device, Credential string // ids: where the credential is registered
	Target             string // id of the device to go to: Device itself, or one of the credential's domain
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
	return on && (len(b.Terms.Targets) == 0 || slices.Contains(b.Terms.Targets, o.Target))
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
	now := s.Now()
	var best *Binding
	for i, b := range bindings {
		if !b.covers(o) || b.Terms.Shut(now) != "" {
			continue
		}
		if best == nil || b.Terms.rank() > best.Terms.rank() || b.Terms.rank() == best.Terms.rank() && b.Number < best.Number {
			best = &bindings[i]
		}
	}
	if best == nil {
		return Binding{}, ErrNoGrant
	}
	return *best, nil
}
