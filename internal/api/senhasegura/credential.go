package senhasegura

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// wireCredentialID is what is told of a credential that was kept.
type wireCredentialID struct {
	ID         string `json:"id"`
	Identifier string `json:"identifier"`
}

// wireCredentialLine is a credential as a listing has it. What Gatehouse does not keep is empty.
type wireCredentialLine struct {
	ID               string `json:"id"`
	Identifier       string `json:"identifier"`
	Username         string `json:"username"`
	Expiration       string `json:"expiration"`
	Change           string `json:"change"`
	View             string `json:"view"`
	Hostname         string `json:"hostname"`
	ManagementIP     string `json:"management_ip"`
	Type             string `json:"type"`
	TypeCode         string `json:"type_code"`
	DeviceModel      string `json:"device_model"`
	DeviceType       string `json:"device_type"`
	DeviceVendor     string `json:"device_vendor"`
	AutomaticChange  string `json:"automatic_change"`
	Connectivity     string `json:"connectivity"`
	ConnectivityCode string `json:"connectivity_code"`
}

// wireCheckedOut is a credential with its secret.
type wireCheckedOut struct {
	ID         string `json:"id"`
	Identifier string `json:"identifier"`
	Tag        string `json:"tag"`
	Username   string `json:"username"`
	Password   string `json:"password"`
	Content    string `json:"content"`
	Hostname   string `json:"hostname"`
	ParentID   string `json:"parent_credential_cod"`
	Parent     string `json:"parent_credential"`
	Additional string `json:"additional"`
	Domain     string `json:"domain"`
	IP         string `json:"ip"`
	Port       string `json:"port"`
	Model      string `json:"model"`
	Expiration string `json:"expiration_time"`
}

// first is where a device is reached first of all; empty where it does not say.
func first(x device.Device) (protocol, port string) {
	if len(x.Connect) == 0 {
		return "", ""
	}
	return x.Connect[0].Name, strconv.Itoa(x.Connect[0].Port)
}

func credentialLineOf(x vault.Credential) wireCredentialLine {
	protocol, port := first(x.Device)
	return wireCredentialLine{
		ID: number(x.Number), Identifier: x.Identifier, Username: x.Username, Hostname: x.Device.Host, ManagementIP: x.Device.IP.String(),
		Type: x.Type, TypeCode: strconv.Itoa(slices.Index(vault.Types, x.Type) + 1), DeviceModel: x.Device.Model, DeviceType: x.Device.Type, DeviceVendor: x.Device.Vendor,
		AutomaticChange: "No", Connectivity: protocol, ConnectivityCode: port,
	}
}

func checkedOutOf(x vault.Credential, plain secret.String, held vault.Custody) wireCheckedOut {
	_, port := first(x.Device)
	out := wireCheckedOut{
		ID: number(x.Number), Identifier: x.Identifier, Tag: x.Identifier, Username: x.Username, Password: plain.Reveal(), Content: plain.Reveal(), Hostname: x.Device.Host,
		Additional: x.Additional, Domain: x.Domain, IP: x.Device.IP.String(), Port: port, Model: x.Device.Model, Expiration: moment(held.Until),
	}
	if x.Parent > 0 {
		out.ParentID = number(x.Parent)
	}
	return out
}

// putCredential adds a credential, or changes the one that is meant.
func (d *Dialect) putCredential(w http.ResponseWriter, c *call) error {
	in := c.body.credential()
	if err := c.body.wrong(); err != nil {
		return err
	}
	is, _, changed, err := d.Vault.Put(c.Context(), c.by, in)
	if err != nil {
		return err
	}
	a := d.success(http.StatusCreated, "Credential successfully registered!")
	a.Response.Changed = strconv.FormatBool(changed)
	a.Credential = wireCredentialID{number(is.Number), is.Identifier}
	return reply(w, a)
}

// credential reads what is said of a credential, and of its device.
func (f *fields) credential() vault.New {
	if !f.has("username") {
		f.refuse(errUsername)
	}
	in := vault.New{
		Identifier: f.text("identifier"), Username: f.text("username"), Secret: secret.New(f.text("content")), Domain: f.optional("domain"), Additional: f.optional("additional"),
		Tags: f.list("tags"), OfDevice: f.device(),
	}
	in.Host, in.IP = f.hostAndIP()
	if f.text("parent_password") != "" {
		parent := f.integer("parent_password", 0, 1<<62, said(http.StatusBadRequest, "Invalid parent_password"))
		in.Parent = &parent
	}
	in.Type, in.OfDevice.Type = f.types()
	in.Extra = f.settings()
	in.Protocols, in.RemoteApp = f.sessionSettings()
	return in
}

// types reads the type of the credential and that of its device: the vendor had one name for both.
func (f *fields) types() (credential, device *string) {
	kind, other := f.optional("credential_type"), f.optional("type")
	if kind != nil && *kind == "" {
		kind = nil
	}
	if other == nil {
		return kind, nil
	}
	if _, is := vault.TypeOf(*other); !is {
		return kind, other
	}
	if kind == nil {
		kind = other
	}
	return kind, nil
}

// settings keeps all settings as they came.
func (f *fields) settings() map[string]any {
	extra := map[string]any{}
	for _, name := range []string{"session_settings", "additional_settings", "execution_settings", "jit_settings"} {
		if object := f.object(name); object != nil {
			extra[name] = decoded(object)
		}
	}
	return extra
}

// sessionSettings reads by which protocols a credential may be used, and whether it opens a remote application alone.
func (f *fields) sessionSettings() (protocols *[]device.Protocol, remoteApp *bool) {
	settings := f.object("session_settings")
	if settings == nil {
		return nil, nil
	}
	protocols = &[]device.Protocol{}
	for name, raw := range settings {
		p, restricts := device.Protocol(strings.ToLower(name)), name == "restrict_access_to_remote_application"
		if p.DefaultPort() == 0 && !restricts {
			continue
		}
		on, ok := truth(raw)
		switch {
		case !ok:
			f.refuse(said(http.StatusBadRequest, "Invalid session_settings"))
		case restricts:
			remoteApp = &on
		case on:
			*protocols = append(*protocols, p)
		}
	}
	return protocols, remoteApp
}

// decoded is an object as JSON has it, so that two of the same content are the same.
func decoded(object map[string]json.RawMessage) map[string]any {
	out := map[string]any{}
	for name, raw := range object {
		var value any
		_ = json.Unmarshal(raw, &value) // it was a part of a valid document
		out[name] = value
	}
	return out
}

func (d *Dialect) listCredentials(w http.ResponseWriter, c *call) error {
	all, err := every(func(w page.Window) (page.Page[vault.Credential], error) { return d.Vault.List(c.Context(), c.by, w) }, credentialLineOf)
	if err != nil {
		return err
	}
	a := d.success(http.StatusOK, fmt.Sprintf("%d credentials found", len(all)))
	a.Credentials = all
	return reply(w, a)
}

// checkOut shows the secret of a credential, and keeps who has seen it.
func (d *Dialect) checkOut(w http.ResponseWriter, c *call) error {
	x, plain, held, err := d.Vault.CheckOut(c.Context(), c.by, c.PathValue("credential"))
	if err != nil {
		return err
	}
	a := d.success(http.StatusOK, "Credential "+number(x.Number))
	a.Credential = checkedOutOf(x, plain, held)
	return reply(w, a)
}

func (d *Dialect) checkIn(w http.ResponseWriter, c *call) error {
	x, err := d.Vault.CheckIn(c.Context(), c.by, c.PathValue("credential"))
	if err != nil {
		return err
	}
	return reply(w, d.success(http.StatusOK, "Credential custody "+number(x.Number)+" released"))
}

func (d *Dialect) deactivateCredential(w http.ResponseWriter, c *call) error {
	return d.setCredential(w, c, true, "Credential successfully deactivated")
}

func (d *Dialect) activateCredential(w http.ResponseWriter, c *call) error {
	return d.setCredential(w, c, false, "Credential successfully activated")
}

func (d *Dialect) setCredential(w http.ResponseWriter, c *call, disabled bool, message string) error {
	x, err := d.Vault.Find(c.Context(), c.by, c.PathValue("credential"))
	if err != nil {
		return err
	}
	if _, _, err := d.Vault.SetDisabled(c.Context(), c.by, x.ID, disabled); err != nil {
		return err
	}
	return reply(w, d.success(http.StatusOK, message))
}
