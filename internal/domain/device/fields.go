package device

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const (
	maxText   = 255 // characters of a name, a tag or another short text
	maxScript = 4096
	maxList   = 100 // domains, tags or connectivities of one device
)

// on returns the device with what is given, or what is wrong with it. Lists keep their order.
func (n New) on(d Device) (Device, error) {
	if n.Host != "" {
		d.Host = n.Host
	}
	if n.IP.IsValid() {
		d.IP = n.IP.Unmap()
	}
	for _, f := range []struct{ to, from *string }{{&d.Model, n.Model}, {&d.Type, n.Type}, {&d.Vendor, n.Vendor}, {&d.Site, n.Site}, {&d.Script, n.Script}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if n.Domains != nil {
		d.Domains = distinct(*n.Domains)
	}
	if n.Tags != nil {
		d.Tags = distinct(*n.Tags)
	}
	if n.Connect != nil {
		d.Connect = slices.Clone(*n.Connect)
	}
	if n.Unrecorded != nil {
		d.Unrecorded = *n.Unrecorded
	}
	return d, d.check()
}

// distinct drops what is empty, and what is there before in any case.
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

// check returns why a device cannot be kept so, or nil.
func (d Device) check() error {
	if err := checkHost(d.Host); err != nil {
		return err
	}
	if !d.IP.IsValid() {
		return ErrNoIP
	}
	if d.IP.Zone() != "" {
		return fault.Fields("an IP address of a device has no zone", fault.Field{Path: "ip", Message: "without %zone"})
	}
	for _, f := range []struct{ path, text string }{{"model", d.Model}, {"type", d.Type}, {"vendor", d.Vendor}, {"site", d.Site}} {
		if !plain(f.text, maxText) {
			return fault.Fields(fmt.Sprintf("the %s of a device has at most %d characters, none of them control characters", f.path, maxText), fault.Field{Path: f.path, Message: "too long, or with control characters"})
		}
	}
	if !plain(d.Script, maxScript) {
		return fault.Fields("the script is too long, or has control characters", fault.Field{Path: "script", Message: "at most 4096 characters, no control characters"})
	}
	return d.checkLists()
}

func (d Device) checkLists() error {
	if len(d.Domains) > maxList || len(d.Tags) > maxList || len(d.Connect) > maxList {
		return fault.Newf(fault.Invalid, "a device has at most %d domains, tags and connectivities", maxList)
	}
	for _, name := range d.Domains {
		if err := checkDomain(name); err != nil {
			return err
		}
	}
	for _, tag := range d.Tags {
		if !plain(tag, maxText) || strings.Contains(tag, ",") {
			return fault.Fields("a tag has at most 255 characters, and no comma", fault.Field{Path: "tags", Message: "at most 255 characters, no comma, no control characters"})
		}
	}
	for i, c := range d.Connect {
		if err := c.check(); err != nil {
			return err
		}
		if slices.ContainsFunc(d.Connect[:i], func(o Connectivity) bool { return strings.EqualFold(o.Name, c.Name) }) {
			return fault.Fields("a device has each protocol once", fault.Field{Path: "connect", Message: "a protocol is there twice"})
		}
	}
	return nil
}

// checkHost returns why a device cannot be called so, or nil. Numbers and UUIDs name devices already, "@" and "/" end a device's name where people
// write it, and a colon begins one unless it is a part of an IP address.
func checkHost(host string) error {
	if host == "" {
		return ErrNoHost
	}
	bad := func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune("@/,", r) }
	_, err := netip.ParseAddr(host)
	switch {
	case !plain(host, maxText), strings.ContainsFunc(host, bad), strings.Contains(host, ":") && err != nil:
		return fault.Fields("a host name has at most 255 characters, and no space, comma, colon, slash or at sign", fault.Field{Path: "host", Message: "a host name"})
	case strings.Trim(host, "0123456789") == "", uuid.Validate(host) == nil:
		return fault.Fields("a host name is neither a number nor a UUID: those are how Gatehouse numbers devices", fault.Field{Path: "host", Message: "a host name"})
	}
	return nil
}

func checkDomain(name string) error {
	bad := func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune(`@/\,:`, r)
	}
	if name == "" || !plain(name, maxText) || strings.ContainsFunc(name, bad) {
		return fault.Fields("a domain has 1 to 255 characters, and no space, comma, colon, slash, backslash or at sign", fault.Field{Path: "domain", Message: "a domain, such as corp.example.net"})
	}
	return nil
}

func plain(text string, most int) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= most && !strings.ContainsFunc(text, unicode.IsControl)
}

func (c Connectivity) check() error {
	known := func(r rune) bool {
		return r <= unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("-_. ", r)
	}
	if c.Name == "" || len(c.Name) > 64 || strings.ContainsFunc(c.Name, func(r rune) bool { return !known(r) }) {
		return fault.Fields("a connectivity is named after its protocol, such as SSH", fault.Field{Path: "connect", Message: "a protocol, such as SSH:22"})
	}
	if c.Port < 1 || c.Port > 65535 {
		return fault.Fields("a port is a number from 1 to 65535", fault.Field{Path: "connect", Message: "a port from 1 to 65535"})
	}
	return nil
}

// Protocol is the protocol of a connectivity; one that sessions know nothing of is kept as it is.
func (c Connectivity) Protocol() Protocol { return Protocol(strings.ToLower(c.Name)) }

// PortOf returns where the device speaks a protocol, and whether it says so.
func (d Device) PortOf(p Protocol) (int, bool) {
	for _, c := range d.Connect {
		if c.Protocol() == p {
			return c.Port, true
		}
	}
	return 0, false
}

// differs names the fields in which another state of a device differs. Tags in another order are the same; the order of connectivities says nothing
// either.
func (d Device) differs(from Device) []string {
	var out []string
	for _, f := range []struct {
		name string
		same bool
	}{
		{"host", d.Host == from.Host},
		{"ip", d.IP == from.IP},
		{"model", d.Model == from.Model},
		{"type", d.Type == from.Type},
		{"vendor", d.Vendor == from.Vendor},
		{"site", d.Site == from.Site},
		{"domains", sameSet(d.Domains, from.Domains)},
		{"tags", sameSet(d.Tags, from.Tags)},
		{"connectivities", sameSet(d.Connect, from.Connect)},
		{"script", d.Script == from.Script},
		{"unrecorded", d.Unrecorded == from.Unrecorded},
		{"disabled", d.Disabled == from.Disabled},
	} {
		if !f.same {
			out = append(out, f.name)
		}
	}
	return out
}

// Same reports whether two states of a device differ in nothing that counts.
func (d Device) Same(other Device) bool { return len(d.differs(other)) == 0 }

func sameSet[T comparable](a, b []T) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(one T) bool { return !slices.Contains(b, one) })
}
