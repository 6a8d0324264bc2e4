package fortanix

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

func (d *Dialect) listApps(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	all, err := d.Apps.List(r.Context(), d.Access.For(by), by.Account)
	if err != nil {
		return err
	}
	return reply(w, list(all, appOf))
}

func (d *Dialect) createApp(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	made := newApp(body, by.Account)
	if err := body.wrong(); err != nil {
		return err
	}
	a, _, err := d.Apps.Create(r.Context(), d.Access.For(by), made)
	if err != nil {
		return err
	}
	return reply(w, appOf(a))
}

func (d *Dialect) showApp(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	a, err := d.Apps.ByID(r.Context(), d.Access.For(by), pathID(r, "app"))
	if err != nil {
		return err
	}
	return reply(w, appOf(a))
}

func (d *Dialect) deleteApp(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	if err := d.Apps.Delete(r.Context(), d.Access.For(by), pathID(r, "app")); err != nil {
		return err
	}
	return done(w)
}

// showCredential answers with a secret that was made just now: 15 minutes later nobody can see it any more.
func (d *Dialect) showCredential(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	id := pathID(r, "app")
	plain, err := d.Apps.Credential(r.Context(), d.Access.For(by), id)
	if err != nil {
		return err
	}
	out := wireCredential{App: id}
	out.Credential.Secret = plain.Reveal()
	return reply(w, out)
}

// resetSecret gives an application another secret. With a period the old one, and the sessions, go on until it is over.
func (d *Dialect) resetSecret(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	size, period := uint32(secretSize), uint32(0)
	if body.into("secret_size", &size); size < minSecret || size > maxSecret {
		body.refuse("secret_size")
	}
	body.into("credential_migration_period", &period)
	if err := body.wrong(); err != nil {
		return err
	}
	a, _, err := d.Apps.ResetSecret(r.Context(), d.Access.For(by), pathID(r, "app"), int(size), time.Duration(period)*time.Second)
	if err != nil {
		return err
	}
	return reply(w, appOf(a))
}

// Bytes of a secret on this wire.
const (
	secretSize = 64 // where nothing else is asked for
	minSecret  = 16
	maxSecret  = 256
)

// maxList is how many groups or networks one request may name.
const maxList = 256

// newApp reads what an application is made from.
func newApp(body *object, account string) identity.NewApplication {
	in := identity.NewApplication{Account: account, Name: body.name("name"), Description: body.optional("description"), Role: "crypto"}
	if body.has("role") {
		in.Role = body.optional("role")
	}
	if in.Role != "crypto" && in.Role != "admin" {
		body.refuse("role")
	}
	in.Credential = body.credential()
	if body.has("default_group") {
		in.Default = body.uuid("default_group")
	}
	var addresses wireAddresses
	body.into("ip_address_policy", &addresses)
	in.Addresses = addresses
	var ok bool
	if in.Groups, ok = groupIDs(body.members["add_groups"]); !ok {
		body.refuse("add_groups")
	}
	return in
}

// groupIDs reads a list of group ids, or, as newer callers write it, an object with a member for each, whose value is
// what the application may do with the keys of the group: there are none here.
func groupIDs(raw json.RawMessage) ([]string, bool) {
	var texts []string
	if !isNull(raw) && json.Unmarshal(raw, &texts) != nil {
		var each map[string]json.RawMessage
		if json.Unmarshal(raw, &each) != nil {
			return nil, false
		}
		texts = slices.Sorted(maps.Keys(each))
	}
	if len(texts) > maxList {
		return nil, false
	}
	var ids []string
	for _, text := range texts {
		id, ok := wireUUID(text)
		if !ok {
			return nil, false
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, true
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(bytes.TrimSpace(raw), []byte("null"))
}

// wireApp is an application.
type wireApp struct {
	Account        string        `json:"acct_id"`
	ID             string        `json:"app_id"`
	Name           string        `json:"name"`
	Description    string        `json:"description,omitempty"`
	AppType        string        `json:"app_type"`
	AuthType       string        `json:"auth_type"`
	Configurations struct{}      `json:"client_configurations"`
	CreatedAt      wireTime      `json:"created_at"`
	Creator        any           `json:"creator"`
	DefaultGroup   string        `json:"default_group,omitempty"`
	Enabled        bool          `json:"enabled"`
	Groups         []string      `json:"groups"`
	Addresses      wireAddresses `json:"ip_address_policy"`
	LastOperations struct{}      `json:"last_operations"`
	LegacyAccess   bool          `json:"legacy_access"`
	Role           string        `json:"role"`
}

func appOf(a identity.Application) wireApp {
	out := wireApp{
		Account: a.Account, ID: a.ID, Name: a.Name, Description: a.Description, AuthType: authTypes[a.AuthType], CreatedAt: wireTime(a.Created),
		Creator: creatorOf(a.Creator), DefaultGroup: a.Default, Enabled: !a.Disabled, Groups: append([]string{}, a.Groups...),
		Addresses: a.Addresses, Role: a.Role,
	}
	if out.Role == "" {
		out.Role = "crypto" // made elsewhere, where nobody asks
	}
	return out
}

// wireAddresses are the networks that an application may come from: "allow_all", or {"whitelist":[...]}.
type wireAddresses []netip.Prefix

var errNetworks = invalid("ip_address_policy")

const fromAnywhere = "allow_all"

// MarshalJSON implements json.Marshaler.
func (a wireAddresses) MarshalJSON() ([]byte, error) {
	if len(a) == 0 {
		return json.Marshal(fromAnywhere)
	}
	return json.Marshal(map[string][]netip.Prefix{"whitelist": a})
}

// UnmarshalJSON implements json.Unmarshaler. A list without networks is refused: it would mean nobody, and read as anybody
// (rule W7).
func (a *wireAddresses) UnmarshalJSON(raw []byte) error {
	*a = nil
	var word string
	if isNull(raw) || json.Unmarshal(raw, &word) == nil && word == fromAnywhere {
		return nil
	}
	var in map[string][]string
	if json.Unmarshal(raw, &in) != nil || len(in) != 1 || len(in["whitelist"]) == 0 || len(in["whitelist"]) > maxList {
		return errNetworks
	}
	for _, text := range in["whitelist"] {
		network, err := networkOf(text)
		if err != nil {
			return errNetworks
		}
		*a = append(*a, network)
	}
	return nil
}

// networkOf reads a network, or a single address as one. Within compares plain IPv4 addresses alone, so a network is
// never kept in its IPv6-mapped form.
func networkOf(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		address = address.Unmap().WithZone("")
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	if err != nil || network.Addr().Is4In6() {
		return netip.Prefix{}, errNetworks
	}
	return network.Masked(), nil
}
