package identity

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
)

// maxTold is the longest address that an event tells, in bytes.
const maxTold = 255

// changedEvent says which members changed, and of those that say whom we believe, where to: addresses that the provider publishes. It tells no other value.
func (p Provider) changedEvent(was Provider, e audit.Event) audit.Event {
	before, after := was.Settings.members(), p.Settings.members()
	all := maps.Clone(before)
	maps.Copy(all, after)
	var changed []string
	for name := range all {
		if before[name] != after[name] {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	for _, name := range changed {
		if to := p.Settings.addresses()[name]; to != "" && p.Kind != Draft && tellable(to) {
			e = e.With(name, to)
		}
	}
	if p.Secret.Reveal() != was.Secret.Reveal() {
		changed = append([]string{"secret"}, changed...)
	}
	if p.Enabled != was.Enabled {
		changed = append([]string{map[bool]string{true: "enabled", false: "disabled"}[p.Enabled]}, changed...)
	}
	if p.Kind != was.Kind {
		changed = append([]string{"kind"}, changed...)
	}
	if p.Name != was.Name {
		changed = append([]string{"name"}, changed...)
		e = e.With("name", p.Name)
	}
	if len(changed) == 0 {
		return e.With("changed", "nothing")
	}
	return e.With("changed", strings.Join(changed, ", "))
}

// members are the settings in JSON, by their names; those of jit and of a kind by "oidc.issuer" and the like.
func (s ProviderSettings) members() map[string]string {
	out := map[string]string{}
	for name, value := range parts(s) {
		switch name {
		case "jit", "ldap", "oidc", "saml":
			for inner, value := range parts(value) {
				out[name+"."+inner] = string(value)
			}
		default:
			out[name] = string(value)
		}
	}
	return out
}

// copied shares nothing with s: what somebody writes into it can be told from what was there.
func (s ProviderSettings) copied() ProviderSettings {
	s.Domains, s.JIT.Scopes, s.Extra = slices.Clone(s.Domains), slices.Clone(s.JIT.Scopes), maps.Clone(s.Extra)
	if s.LDAP != nil {
		s.LDAP = new(*s.LDAP)
	}
	if s.OIDC != nil {
		s.OIDC = new(*s.OIDC)
		s.OIDC.Scopes = slices.Clone(s.OIDC.Scopes)
	}
	if s.SAML != nil {
		s.SAML = new(*s.SAML)
	}
	return s
}

// parts are the members of what is an object in JSON. Settings always are.
func parts(of any) map[string]json.RawMessage {
	var out map[string]json.RawMessage
	if text, err := json.Marshal(of); err == nil {
		_ = json.Unmarshal(text, &out) // what is no object has none
	}
	return out
}

// addresses are the members that say whom we believe and where we ask.
func (s ProviderSettings) addresses() map[string]string {
	out := map[string]string{}
	if l := s.LDAP; l != nil {
		out["ldap.url"] = l.URL
	}
	if o := s.OIDC; o != nil {
		out["oidc.issuer"], out["oidc.auth_url"], out["oidc.token_url"], out["oidc.userinfo_url"], out["oidc.keys_url"] = o.Issuer, o.AuthURL, o.TokenURL, o.UserInfoURL, o.KeysURL
	}
	if a := s.SAML; a != nil {
		out["saml.issuer"], out["saml.sso_url"] = a.Issuer, a.SSOURL
	}
	return out
}

// tellable says whether an address is short and has no part in which somebody may have put a secret.
func tellable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && len(address) <= maxTold && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}
