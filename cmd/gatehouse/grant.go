package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

type grantCommands struct {
	Add    grantAdd    `cmd:"" help:"Let somebody open sessions on a device."`
	List   grantList   `cmd:"" help:"List grants."`
	Remove grantRemove `cmd:"" help:"Take a grant back; sessions by it end."`
}

const seeGrants = "see `gatehouse grant list`"

type grantAdd struct {
	Place
	Output
	User       string `placeholder:"NAME" help:"Who may come in."`
	Group      string `placeholder:"NAME" help:"Or everybody in this group of the default account."`
	Device     string `required:"" placeholder:"HOST" help:"Where to; '*' is every device."`
	Credential string `placeholder:"USER" help:"With this credential of the device alone, by its user name or identifier; without it with any."`

	Protocol []string      `placeholder:"ssh" help:"By this protocol alone; may be given more than once."`
	Port     []int         `placeholder:"N" help:"At this port alone; without it at those of the device."`
	Target   []string      `placeholder:"HOST" help:"Of a domain's credential: to this device of the domain alone."`
	Feature  []string      `placeholder:"NAME" help:"What may be done inside: shell, exec, files, forward, clipboard; without it all but forward."`
	StepUp   bool          `help:"A second factor must be proved anew."`
	Reason   bool          `help:"The person must say why."`
	Approval bool          `help:"Somebody else must agree."`
	Approver []string      `placeholder:"NAME" help:"Who: a user, or @NAME for a group; without it whoever may by right. Implies --approval."`
	Within   time.Duration `placeholder:"10m" help:"How long a request for approval may wait."`
	From     string        `placeholder:"TIME" help:"Not before: 2026-11-30, or 2026-11-30T08:00:00Z."`
	Until    string        `placeholder:"TIME" help:"Not after."`
	Hours    []string      `sep:"none" placeholder:"'mon-fri 08:00-18:00'" help:"Only then; may be given more than once."`
	Zone     string        `placeholder:"Europe/Berlin" help:"Time zone of the hours and of days without a time (UTC)."`
}

// Run gives the grant, or gives the one that is there other terms.
func (c *grantAdd) Run(ctx context.Context, p *process) error {
	if (c.User == "") == (c.Group == "") {
		return usagef("grant add: give either --user NAME or --group NAME")
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		to, err := c.subject(ctx, h, by)
		if err != nil {
			return err
		}
		role, on, err := c.place(ctx, h, by)
		if err != nil {
			return err
		}
		terms, err := c.terms(ctx, h, by)
		if err != nil {
			return err
		}
		b, err := h.Access.GrantTerms(ctx, by, to, role, on, terms)
		if err != nil {
			return failed("add grant", err, seeGrants)
		}
		b.Name = c.User + c.Group
		if p.json {
			return p.printJSON(wireGrant(b))
		}
		p.note("grant %d: %s %s may open sessions on %s", b.Number, b.Subject.Kind, b.Name, placeName(ctx, h, on))
		return nil
	})
}

func (c *grantAdd) subject(ctx context.Context, h *app.House, by access.Caller) (access.Subject, error) {
	if c.Group != "" {
		return groupNamed(ctx, h, by, c.Group)
	}
	u, err := userNamed(ctx, h, by, c.User)
	return access.Subject{Kind: access.User, ID: u.ID}, err
}

func groupNamed(ctx context.Context, h *app.House, by access.Caller, name string) (access.Subject, error) {
	g, err := h.Groups.ByName(ctx, h.Access.For(by), identity.DefaultAccount, name)
	if err != nil {
		return access.Subject{}, failed("find group "+name, err, seeGroups)
	}
	return access.Subject{Kind: access.Group, ID: g.ID}, nil
}

// place finds what the grant is on.
func (c *grantAdd) place(ctx context.Context, h *app.House, by access.Caller) (access.Role, access.Resource, error) {
	if c.Device == "*" {
		if c.Credential != "" {
			return "", access.Resource{}, usagef("grant add: a credential is of one device; leave --credential out, or name the device")
		}
		return access.DeviceConnect, access.Every(access.DeviceKind), nil
	}
	d, err := h.Devices.Find(ctx, by, c.Device)
	if err != nil {
		return "", access.Resource{}, failed("find device "+c.Device, err, seeDevices)
	}
	if c.Credential == "" {
		return access.DeviceConnect, d.Resource(), nil
	}
	all, err := h.Vault.OfDevice(ctx, d.ID)
	if err != nil {
		return "", access.Resource{}, err
	}
	var found []access.Resource
	for _, x := range all {
		if x.Identifier == c.Credential || strconv.FormatInt(x.Number, 10) == c.Credential {
			return access.CredentialConnect, x.Resource(), nil
		}
		if x.Username == c.Credential {
			found = append(found, x.Resource())
		}
	}
	switch len(found) {
	case 0:
		return "", access.Resource{}, failed("find credential "+c.Credential+" of "+d.Host, fault.New(fault.NotFound, "credential not found"), "see `gatehouse credential list`")
	case 1:
		return access.CredentialConnect, found[0], nil
	}
	return "", access.Resource{}, fmt.Errorf("find credential %s of %s: there are %d of that user name; give its identifier or number, see `gatehouse credential list`", c.Credential, d.Host, len(found))
}

// terms reads the conditions.
func (c *grantAdd) terms(ctx context.Context, h *app.House, by access.Caller) (t access.Terms, err error) {
	t = access.Terms{Ports: c.Port, Zone: c.Zone, StepUp: c.StepUp, Reason: c.Reason, Approval: c.Approval || len(c.Approver) > 0, ApprovalFor: c.Within}
	for _, name := range c.Protocol {
		t.Protocols = append(t.Protocols, strings.ToLower(name))
	}
	for _, name := range c.Feature {
		t.Features = append(t.Features, access.Feature(name))
	}
	for _, text := range c.Hours {
		one, err := access.ParseHours(text)
		if err != nil {
			return t, usagef("--hours %q: %s", text, err)
		}
		t.Hours = append(t.Hours, one)
	}
	if t.NotBefore, err = instant("--from", c.From, c.Zone); err != nil {
		return t, err
	}
	if t.NotAfter, err = instant("--until", c.Until, c.Zone); err != nil {
		return t, err
	}
	for _, name := range c.Target {
		d, err := h.Devices.Find(ctx, by, name)
		if err != nil {
			return t, failed("find device "+name, err, seeDevices)
		}
		t.Targets = append(t.Targets, d.ID)
	}
	for _, name := range c.Approver {
		if group, is := strings.CutPrefix(name, "@"); is {
			g, err := groupNamed(ctx, h, by, group)
			if err != nil {
				return t, err
			}
			t.Approvers = append(t.Approvers, g)
			continue
		}
		u, err := userNamed(ctx, h, by, name)
		if err != nil {
			return t, err
		}
		t.Approvers = append(t.Approvers, access.Subject{Kind: access.User, ID: u.ID})
	}
	return t, nil
}

// instant reads a moment, or the beginning of a day in a zone.
func instant(flag, text, zone string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at.UTC(), nil
	}
	place, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return time.Time{}, usagef("--zone: there is no time zone %q; give one such as Europe/Berlin", zone)
	}
	at, err := time.ParseInLocation(time.DateOnly, text, place)
	if err != nil {
		return time.Time{}, usagef("%s: %q is no moment; give a day such as 2026-11-30, or 2026-11-30T08:00:00Z", flag, text)
	}
	return at.UTC(), nil
}

type grantJSON struct {
	Number   int64        `json:"number"`
	Kind     string       `json:"subject_kind"`
	Subject  string       `json:"subject_id"`
	Name     string       `json:"name"`
	OnKind   string       `json:"resource_kind"`
	On       string       `json:"resource_id"` // * is every one
	Resource string       `json:"resource,omitempty"`
	Terms    access.Terms `json:"terms"`
	Created  time.Time    `json:"created_at"`
}

func wireGrant(b access.Binding) grantJSON {
	return grantJSON{
		Number: b.Number, Kind: string(b.Subject.Kind), Subject: b.Subject.ID, Name: b.Name, OnKind: b.Resource.Kind, On: b.Resource.ID, Terms: b.Terms, Created: b.Created.UTC(),
	}
}

type grantList struct {
	Place
	Output
	User string `placeholder:"NAME" help:"Only those of this user; what they have by groups is not among them."`
}

// Run lists grants by number.
func (c *grantList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		of := access.Subject{}
		if c.User != "" {
			u, err := userNamed(ctx, h, by, c.User)
			if err != nil {
				return err
			}
			of = access.Subject{Kind: access.User, ID: u.ID}
		}
		all, err := every(func(w page.Window) (page.Page[access.Binding], error) { return h.Access.Grants(ctx, by, of, w) })
		if err != nil {
			return failed("list grants", err, seeGrants)
		}
		shown := make([]grantJSON, len(all))
		for i, b := range all {
			shown[i] = wireGrant(b)
			shown[i].Resource = placeName(ctx, h, b.Resource)
		}
		return print(p, shown, []string{"NUMBER", "WHO", "WHERE", "TERMS"}, func(g grantJSON) []string {
			who := g.Name
			if g.Kind == string(access.Group) {
				who = "@" + who
			}
			return []string{strconv.FormatInt(g.Number, 10), who, g.Resource, inShort(g.Terms)}
		})
	})
}

// placeName is what people call what a grant is on; its id where it is gone.
func placeName(ctx context.Context, h *app.House, on access.Resource) string {
	if on.ID == "*" {
		return "every " + on.Kind
	}
	if on.Kind == access.CredentialKind {
		if c, err := h.Vault.Get(ctx, on.ID); err == nil {
			return c.Username + "@" + c.Device.Host
		}
	}
	if d, err := h.Devices.Get(ctx, on.ID); err == nil {
		return d.Host
	}
	return on.ID
}

// inShort says terms on one line.
func inShort(t access.Terms) string {
	var all []string
	add := func(is bool, format string, args ...any) {
		if is {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(len(t.Protocols) > 0, "%s", strings.Join(t.Protocols, ","))
	add(len(t.Ports) > 0, "ports %s", strings.Trim(fmt.Sprint(t.Ports), "[]"))
	add(len(t.Targets) > 0, "%d targets", len(t.Targets))
	add(t.StepUp, "step-up")
	add(t.Reason, "reason")
	add(t.Approval, "approval")
	add(!t.NotBefore.IsZero(), "from %s", t.NotBefore.UTC().Format(time.RFC3339))
	add(!t.NotAfter.IsZero(), "until %s", t.NotAfter.UTC().Format(time.RFC3339))
	for _, h := range t.Hours {
		add(true, "%s", h)
	}
	add(len(t.Hours) > 0 && t.Zone != "", "%s", t.Zone)
	add(len(t.Features) > 0, "%s", strings.Trim(fmt.Sprint(t.Features), "[]"))
	return strings.Join(all, "; ")
}

type grantRemove struct {
	Place
	Number int64 `arg:"" help:"Its number, as 'grant list' shows it."`
}

// Run takes the grant back.
func (c *grantRemove) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		if err := h.Access.RevokeGrant(ctx, by, c.Number); err != nil {
			return failed(fmt.Sprintf("remove grant %d", c.Number), err, seeGrants)
		}
		p.note("removed; running servers end sessions by it within 2 seconds")
		return nil
	})
}
