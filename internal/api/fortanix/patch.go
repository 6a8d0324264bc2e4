package fortanix

import (
	"encoding/json"
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// maxDevices is how many security keys one request may remove or rename.
const maxDevices = 32

// userChange is what a PATCH of a user asks for.
type userChange struct {
	add    *newDevice
	remove []string
	rename []wireRename
	names  func(identity.Names) identity.Names // nil: none is asked for
}

type newDevice struct {
	name        string
	attestation factor.Attestation
}

type wireRename struct {
	Old   string `json:"old_name"`
	Fresh string `json:"new_name"`
}

// patchUser changes the names of a user and the security keys: one's own, or, for removing keys, those of a member.
func (d *Dialect) patchUser(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	change := body.userChange()
	if err := body.wrong(); err != nil {
		return err
	}
	id := pathID(r, "user")
	if id != by.ID {
		err = d.others(r, by, id, change)
	}
	if err != nil {
		return err
	}
	if err := d.apply(w, r, by, id, change); err != nil {
		return err
	}
	return d.showUser(w, r, by)
}

// others refuses what nobody does to somebody else: all but removing keys. Who cannot see a user learns nothing of one.
func (d *Dialect) others(r *http.Request, by access.Caller, id string, change userChange) error {
	if _, err := d.Accounts.Person(r.Context(), d.Access.For(by), by.Account, id); err != nil {
		return err
	}
	if change.add != nil || len(change.rename) > 0 || change.names != nil {
		return errForbidden
	}
	return nil
}

// apply makes the changes one after the other: each is whole by itself. Names go last, as they alone need nothing to be unlocked.
func (d *Dialect) apply(w http.ResponseWriter, r *http.Request, by access.Caller, id string, change userChange) error {
	for _, one := range change.rename {
		if err := d.Login.RenameDevice(r.Context(), by, one.Old, one.Fresh); err != nil {
			return err
		}
	}
	if change.add != nil { // before removals, so that the last key can be replaced by another
		in, err := d.Login.AddDevice(r.Context(), by, change.add.name, change.add.attestation, es256)
		if err != nil {
			return err
		}
		d.renew(w, by, in.Token)
	}
	for _, name := range change.remove {
		if err := d.Login.RemoveDevice(r.Context(), by, id, name); err != nil {
			return err
		}
	}
	if change.names == nil {
		return nil
	}
	return d.Users.Rename(r.Context(), d.Access.For(by), id, change.names)
}

// userChange reads the members of a PATCH. U2F keys are members of the same list: they can go and be renamed, not come.
func (o *object) userChange() userChange {
	var c userChange
	if o.has("add_u2f_devices") {
		o.refuse("add_u2f_devices")
	}
	o.addDevice(&c)
	for _, member := range []string{"del_mfa_devices", "del_u2f_devices"} {
		var all []struct {
			Name string `json:"name"`
		}
		o.into(member, &all)
		for _, one := range all {
			o.deviceName(member, one.Name)
			c.remove = append(c.remove, one.Name)
		}
	}
	for _, member := range []string{"rename_mfa_devices", "rename_u2f_devices"} {
		var all []wireRename
		o.into(member, &all)
		for _, one := range all {
			o.deviceName(member, one.Old)
			o.deviceName(member, one.Fresh)
		}
		c.rename = append(c.rename, all...)
	}
	if len(c.remove) > maxDevices || len(c.rename) > maxDevices {
		o.refuse("too many devices")
	}
	c.names = o.names()
	return c
}

func (o *object) addDevice(c *userChange) {
	var all []struct {
		Name   string          `json:"name"`
		Answer json.RawMessage `json:"attestationResult"`
	}
	if !o.into("add_mfa_devices", &all) {
		return
	}
	if len(all) != 1 {
		o.refuse("add_mfa_devices")
		return
	}
	o.deviceName("add_mfa_devices", all[0].Name)
	attestation, err := api.ReadAttestation(all[0].Answer)
	if err != nil {
		o.refuse("attestationResult")
	}
	c.add = &newDevice{all[0].Name, attestation}
}

func (o *object) deviceName(member, name string) {
	if !namePattern.MatchString(name) || len(name) > 256 {
		o.refuse(member)
	}
}

// names reads what a user is called. A member that is there and null takes a name away.
func (o *object) names() func(identity.Names) identity.Names {
	to := map[string]func(*identity.Names) *string{
		"first_name":  func(n *identity.Names) *string { return &n.First },
		"last_name":   func(n *identity.Names) *string { return &n.Last },
		"description": func(n *identity.Names) *string { return &n.Description },
	}
	fresh := map[string]string{}
	for member := range to {
		if _, ok := o.members[member]; !ok {
			continue
		}
		if fresh[member] = o.optional(member); len(fresh[member]) > 4096 {
			o.refuse(member)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return func(n identity.Names) identity.Names {
		for member, text := range fresh {
			*to[member](&n) = text
		}
		return n
	}
}
