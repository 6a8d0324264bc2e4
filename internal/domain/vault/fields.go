package vault

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// The types of credential, as wires write them. Only the last says something about the secret: it is a private key.
const (
	LocalUser          = "Local User"
	LocalAdministrator = "Local administrator"
	DomainUser         = "Domain user"
	DomainAdmin        = "Domain Admin"
	SSHKeyType         = "SSH Key"
)

// Types lists all types there are.
var Types = []string{LocalUser, LocalAdministrator, DomainUser, DomainAdmin, SSHKeyType}

// TypeOf returns a type as it is written, given it in any case.
func TypeOf(text string) (string, bool) {
	i := slices.IndexFunc(Types, func(t string) bool { return strings.EqualFold(t, strings.TrimSpace(text)) })
	if i < 0 {
		return "", false
	}
	return Types[i], true
}

const (
	maxText    = 255
	maxContent = 64 << 10 // bytes of a secret
	maxList    = 100
	maxExtra   = 100
)

var identifierPattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,255}$`)

// on returns the credential with what is given, or what is wrong with it.
func (n New) on(c Credential) (Credential, error) {
	if n.Identifier != "" {
		c.Identifier = n.Identifier
	}
	if n.Username != "" {
		c.Username = n.Username
	}
	if n.Domain != nil {
		c.Domain = strings.TrimSpace(*n.Domain)
	}
	if n.Additional != nil {
		c.Additional = *n.Additional
	}
	if n.Tags != nil {
		c.Tags = distinct(*n.Tags)
	}
	if n.Parent != nil {
		c.Parent = *n.Parent
	}
	if n.Protocols != nil {
		protocols := slices.Clone(*n.Protocols)
		slices.Sort(protocols)
		protocols = slices.Compact(protocols)
		c.Protocols = &protocols
	}
	if n.RemoteApp != nil {
		c.RemoteApp = *n.RemoteApp
	}
	if n.Exclusive != nil {
		c.Exclusive = *n.Exclusive
	}
	if len(n.Extra) > 0 {
		extra := maps.Clone(c.Extra)
		if extra == nil {
			extra = map[string]any{}
		}
		maps.Copy(extra, n.Extra)
		c.Extra = extra
	}
	c, err := n.typed(c)
	if err != nil {
		return c, err
	}
	return c, c.check()
}

// typed says what the secret is, and whether it may be seen.
func (n New) typed(c Credential) (Credential, error) {
	was := c.Kind
	if n.Type != nil {
		t, ok := TypeOf(*n.Type)
		if !ok {
			return c, ErrType
		}
		c.Type, c.Kind = t, Password
		if t == SSHKeyType {
			c.Kind = SSHKey
		}
	}
	if n.NeverShown != nil {
		c.NeverShown = *n.NeverShown
	} else if c.Kind == SSHKey && was != SSHKey {
		c.NeverShown = true
	}
	if c.Kind != was && c.HasSecret && n.Secret.Empty() {
		return c, fault.Fields("a password does not become a private key, nor the other way round; give the new secret with the type", fault.Field{Path: "type", Message: "needs another secret"})
	}
	return c, checkSecret(c.Kind, n.Secret)
}

func distinct(texts []string) []string {
	var out []string
	for _, text := range texts {
		text = strings.TrimSpace(text)
		same := func(other string) bool { return identity.Fold(other) == identity.Fold(text) }
		if text != "" && !slices.ContainsFunc(out, same) {
			out = append(out, text)
		}
	}
	return out
}

// check returns why a credential cannot be kept so, or nil.
func (c Credential) check() error {
	switch {
	case !identifierPattern.MatchString(c.Identifier):
		return ErrIdentifier
	case c.Username == "", !plain(c.Username, maxText):
		return ErrUsername
	case !plain(c.Domain, maxText):
		return device.ErrUnknownDomain
	case !plain(strings.NewReplacer("\n", "", "\r", "", "\t", "").Replace(c.Additional), 4096):
		return fault.Fields("the additional text has at most 4096 characters", fault.Field{Path: "additional", Message: "at most 4096 characters, no control characters"})
	case len(c.Tags) > maxList, slices.ContainsFunc(c.Tags, func(tag string) bool { return !plain(tag, maxText) || strings.Contains(tag, ",") }):
		return fault.Fields("a credential has at most 100 tags, each of at most 255 characters without comma", fault.Field{Path: "tags", Message: "at most 100, without comma"})
	case c.Parent < 0:
		return fault.Fields("a parent is the number of a credential", fault.Field{Path: "parent", Message: "a number"})
	case len(c.Extra) > maxExtra:
		return fault.Newf(fault.Invalid, "a credential keeps at most %d further settings", maxExtra)
	}
	if c.Protocols == nil {
		return nil
	}
	for _, p := range *c.Protocols {
		if p.DefaultPort() == 0 {
			return fault.Fields(fmt.Sprintf("there is no protocol %q for sessions", p), fault.Field{Path: "protocols", Message: "ssh, telnet, rdp, vnc, http or https"})
		}
	}
	return nil
}

func plain(text string, most int) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= most && !strings.ContainsFunc(text, unicode.IsControl)
}

// nearer orders the credentials of one user name on a device by how well they fit what is given: the domain, the kind, then passwords before keys, then
// the lowest number.
func (n New) nearer(a, b Credential) int {
	misses := func(c Credential) int {
		score := 0
		if n.Domain != nil && identity.Fold(*n.Domain) != identity.Fold(c.Domain) || n.Domain == nil && c.Domain != "" {
			score += 2
		}
		if n.Type != nil {
			if t, _ := TypeOf(*n.Type); (t == SSHKeyType) != (c.Kind == SSHKey) {
				score++
			}
		} else if c.Kind == SSHKey {
			score++
		}
		return score
	}
	return cmp.Or(cmp.Compare(misses(a), misses(b)), cmp.Compare(a.Number, b.Number))
}

// Opens reports whether the credential may be used on a device: its own, or one of its domain.
func (c Credential) Opens(d device.Device) bool { return d.ID == c.Device.ID || d.In(c.Domain) }

// Speaks reports whether the credential may be used by a protocol.
func (c Credential) Speaks(p device.Protocol) bool {
	return c.Protocols == nil || slices.Contains(*c.Protocols, p)
}

// differs names the fields, but for the secret, in which another state of a credential differs.
func (c Credential) differs(from Credential) []string {
	var out []string
	for _, f := range []struct {
		name string
		same bool
	}{
		{"identifier", c.Identifier == from.Identifier},
		{"username", c.Username == from.Username},
		{"kind", c.Kind == from.Kind},
		{"type", c.Type == from.Type},
		{"domain", c.Domain == from.Domain},
		{"additional", c.Additional == from.Additional},
		{"tags", slices.Equal(c.Tags, from.Tags)},
		{"parent", c.Parent == from.Parent},
		{"protocols", reflect.DeepEqual(c.Protocols, from.Protocols)},
		{"remote_app", c.RemoteApp == from.RemoteApp},
		{"extra", same(c.Extra, from.Extra)},
		{"never_shown", c.NeverShown == from.NeverShown},
		{"exclusive", c.Exclusive == from.Exclusive},
		{"needs_rotation", c.NeedsRotation == from.NeedsRotation},
		{"disabled", c.Disabled == from.Disabled},
	} {
		if !f.same {
			out = append(out, f.name)
		}
	}
	return out
}

// Same reports whether two states of a credential differ in nothing that counts; the secret is not looked at.
func (c Credential) Same(other Credential) bool { return len(c.differs(other)) == 0 }

// same compares what JSON makes of two maps: that is how they are kept.
func same(a, b map[string]any) bool {
	if len(a) == 0 && len(b) == 0 {
		return true
	}
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}
