package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

type credCommands struct {
	Add     credentialAdd     `cmd:"" help:"Add what opens a device."`
	List    credentialList    `cmd:"" help:"List credentials, never their secrets."`
	Set     credentialSet     `cmd:"" help:"Change a credential, or give it another secret."`
	Enable  credentialEnable  `cmd:"" help:"Switch a credential on."`
	Disable credentialDisable `cmd:"" help:"Switch a credential off, and end its live sessions."`
	CheckIn credentialCheckIn `cmd:"" name:"check-in" help:"Take a credential back from whoever has checked it out."`
}

const seeCredentials = "see `gatehouse credential list`"

// credentialFields are what may be said of a credential. A secret never stands in an argument.
type credentialFields struct {
	PasswordStdin bool     `help:"Read the password from standard input."`
	KeyFile       string   `placeholder:"F" help:"Read a private key without passphrase from a file."`
	Type          string   `placeholder:"TYPE" help:"Local User, Local administrator, Domain user, Domain Admin or SSH Key."`
	Domain        *string  `placeholder:"NAME" help:"A registered domain, all of whose devices it opens."`
	Additional    *string  `placeholder:"TEXT" help:"What else is to be known."`
	Tag           []string `placeholder:"TEXT" help:"A tag."`
	Protocol      []string `placeholder:"ssh,telnet" help:"By which it may be used. Without it, by all of the device."`
	NeverShown    *bool    `negatable:"" help:"Nobody checks it out. Private keys are so unless --no-never-shown is given."`
	Exclusive     *bool    `negatable:"" help:"One holder at a time."`
}

// new reads what was given, the secret with it.
func (f credentialFields) new(p *process) (vault.New, error) {
	in := vault.New{Domain: f.Domain, Additional: f.Additional, NeverShown: f.NeverShown, Exclusive: f.Exclusive}
	if f.Type != "" {
		in.Type = &f.Type
	}
	if f.Tag != nil {
		in.Tags = &f.Tag
	}
	if f.Protocol != nil {
		protocols := make([]device.Protocol, len(f.Protocol))
		for i, name := range f.Protocol {
			protocols[i] = device.Protocol(strings.ToLower(name))
		}
		in.Protocols = &protocols
	}
	return f.withSecret(p, in)
}

func (f credentialFields) withSecret(p *process, in vault.New) (vault.New, error) {
	var err error
	switch {
	case f.PasswordStdin && f.KeyFile != "":
		return in, usagef("a credential has one secret; give --password-stdin or --key-file")
	case f.PasswordStdin:
		if in.Secret, err = p.readPassword(); err == nil && in.Secret.Empty() {
			err = usagef("read password: standard input is empty; give the password there")
		}
	case f.KeyFile != "":
		in.Secret, err = readKey(f.KeyFile)
		if in.Type == nil {
			key := vault.SSHKeyType
			in.Type = &key
		}
	}
	return in, err
}

// readKey reads a private key, or refuses a file that is larger than any.
func readKey(path string) (secret.String, error) {
	const most = 64 << 10
	f, err := os.Open(path)
	if err != nil {
		return secret.String{}, fmt.Errorf("read private key: %w; name a file that you may read", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return secret.String{}, fmt.Errorf("read private key: %w; name a file that you may read", err)
	}
	if len(text) > most {
		return secret.String{}, usagef("read private key: %s is larger than any; name the file of the private key", path)
	}
	return secret.New(string(text)), nil
}

type credentialAdd struct {
	Place
	Output
	Device     string `required:"" placeholder:"HOST" help:"Where it is registered: host in any case, IP address, number or id."`
	Username   string `required:"" placeholder:"U" help:"Who signs in there."`
	Identifier string `placeholder:"NAME" help:"Unique, of letters, digits, dots, hyphens and underscores; made without it."`
	credentialFields
}

// Run adds the credential.
func (c *credentialAdd) Run(ctx context.Context, p *process) error {
	in, err := c.new(p)
	if err != nil {
		return err
	}
	in.Device, in.Username, in.Identifier = c.Device, c.Username, c.Identifier
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		made, err := h.Vault.Create(ctx, by, in)
		if err != nil {
			return failed("add credential "+c.Username+"@"+c.Device, err, seeDevices)
		}
		p.note("added credential %s@%s", made.Username, made.Device.Host)
		if !made.HasSecret {
			p.note("it has no secret yet, so it opens nothing: give one with `gatehouse credential set %d`, by --password-stdin or --key-file", made.Number)
		}
		return p.printCredential(made)
	})
}

type credentialJSON struct {
	ID            string     `json:"id"`
	Number        int64      `json:"number"`
	Identifier    string     `json:"identifier"`
	Device        string     `json:"device_id"`
	Host          string     `json:"host"`
	Username      string     `json:"username"`
	Kind          string     `json:"kind"`
	Type          string     `json:"type"`
	Domain        string     `json:"domain"`
	Additional    string     `json:"additional"`
	Tags          []string   `json:"tags"`
	Protocols     []string   `json:"protocols"` // null is all of the device
	HasSecret     bool       `json:"has_secret"`
	NeverShown    bool       `json:"never_shown"`
	Exclusive     bool       `json:"exclusive"`
	NeedsRotation bool       `json:"needs_rotation"`
	Disabled      bool       `json:"disabled"`
	Created       time.Time  `json:"created_at"`
	Updated       time.Time  `json:"updated_at"`
	LastUsed      *time.Time `json:"last_used_at"`
}

func wireCredential(c vault.Credential) credentialJSON {
	out := credentialJSON{
		ID: c.ID, Number: c.Number, Identifier: c.Identifier, Device: c.Device.ID, Host: c.Device.Host, Username: c.Username, Kind: string(c.Kind), Type: c.Type, Domain: c.Domain,
		Additional: c.Additional, Tags: append([]string{}, c.Tags...), HasSecret: c.HasSecret, NeverShown: c.NeverShown, Exclusive: c.Exclusive, NeedsRotation: c.NeedsRotation,
		Disabled: c.Disabled, Created: c.Created.UTC(), Updated: c.Updated.UTC(), LastUsed: optionalTime(c.LastUsed),
	}
	if c.Protocols != nil {
		out.Protocols = []string{}
		for _, one := range *c.Protocols {
			out.Protocols = append(out.Protocols, string(one))
		}
	}
	return out
}

func (p *process) printCredential(c vault.Credential) error {
	if !p.json {
		return nil
	}
	return p.printJSON(wireCredential(c))
}

type credentialList struct {
	Place
	Output
	Device string `placeholder:"HOST" help:"Those that are registered on this device."`
}

// Run lists the credentials.
func (c *credentialList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		all, err := c.read(ctx, h, by)
		if err != nil {
			return failed("list credentials", err, seeDevices)
		}
		shown := make([]credentialJSON, len(all))
		for i, one := range all {
			shown[i] = wireCredential(one)
		}
		return print(p, shown, []string{"NUMBER", "USERNAME", "DEVICE", "DOMAIN", "TYPE", "SECRET", "IDENTIFIER", "LAST USED", "STATE"}, func(x credentialJSON) []string {
			return []string{strconv.FormatInt(x.Number, 10), x.Username, x.Host, x.Domain, x.Type, x.secret(), x.Identifier, ifAny(x.LastUsed), state(x.Disabled)}
		})
	})
}

func (c *credentialList) read(ctx context.Context, h *app.House, by access.Caller) ([]vault.Credential, error) {
	if c.Device == "" {
		return every(func(w page.Window) (page.Page[vault.Credential], error) { return h.Vault.List(ctx, by, w) })
	}
	d, err := h.Devices.Find(ctx, by, c.Device)
	if err != nil {
		return nil, err
	}
	return h.Vault.On(ctx, by, d.ID)
}

// secret says how it stands with the secret.
func (x credentialJSON) secret() string {
	switch {
	case !x.HasSecret:
		return "none"
	case x.NeedsRotation:
		return "was seen"
	}
	return "sealed"
}

// oneCredential is a command on a credential.
type oneCredential struct {
	Place
	Output
	Credential string `arg:"" help:"The credential: user@host, identifier, number or id."`
}

// on finds the credential and does something with it.
func (c *oneCredential) on(ctx context.Context, p *process, what string, do func(h *app.House, by access.Caller, x vault.Credential) error) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		x, err := h.Vault.Find(ctx, by, c.Credential)
		if err == nil {
			err = do(h, by, x)
		}
		if err != nil {
			return failed(fmt.Sprintf(what, c.Credential), err, seeCredentials)
		}
		return nil
	})
}

type credentialSet struct {
	oneCredential
	Username   string `placeholder:"U" help:"Another user name."`
	Identifier string `placeholder:"NAME" help:"Another identifier."`
	credentialFields
}

// Run changes what was given and keeps the rest.
func (c *credentialSet) Run(ctx context.Context, p *process) error {
	in, err := c.new(p)
	if err != nil {
		return err
	}
	in.Username, in.Identifier = c.Username, c.Identifier
	return c.on(ctx, p, "set credential %s", func(h *app.House, by access.Caller, x vault.Credential) error {
		x, changed, err := h.Vault.Update(ctx, by, x.ID, in)
		if err != nil {
			return err
		}
		if changed {
			p.note("changed credential %s@%s", x.Username, x.Device.Host)
		} else {
			p.note("credential %s@%s was so already", x.Username, x.Device.Host)
		}
		return p.printCredential(x)
	})
}

type credentialEnable struct{ oneCredential }

// Run switches the credential on.
func (c *credentialEnable) Run(ctx context.Context, p *process) error { return c.set(ctx, p, false) }

type credentialDisable struct{ oneCredential }

// Run switches the credential off.
func (c *credentialDisable) Run(ctx context.Context, p *process) error { return c.set(ctx, p, true) }

func (c *oneCredential) set(ctx context.Context, p *process, disabled bool) error {
	return c.on(ctx, p, "switch credential %s", func(h *app.House, by access.Caller, x vault.Credential) error {
		x, _, err := h.Vault.SetDisabled(ctx, by, x.ID, disabled)
		if err != nil {
			return err
		}
		p.note("credential %s@%s is %s", x.Username, x.Device.Host, state(x.Disabled))
		return p.printCredential(x)
	})
}

type credentialCheckIn struct{ oneCredential }

// Run ends all custody of the credential.
func (c *credentialCheckIn) Run(ctx context.Context, p *process) error {
	return c.on(ctx, p, "check in credential %s", func(h *app.House, by access.Caller, x vault.Credential) error {
		held, err := h.Vault.Custodies(ctx, by, x.ID)
		if err != nil {
			return err
		}
		if len(held) == 0 {
			return fmt.Errorf("nobody has checked it out; %s", seeCredentials)
		}
		for _, one := range held {
			if _, err := h.Vault.CheckInFor(ctx, by, x.ID, one.Holder); err != nil {
				return err
			}
			p.note("took %s@%s back from %s %s", x.Username, x.Device.Host, one.Holder.Kind, one.Holder.ID)
		}
		return p.printCredential(x)
	})
}
