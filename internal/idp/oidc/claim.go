package oidc

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const (
	maxExact = 255  // bytes, OpenID Connect Core section 2
	maxClaim = 1024 // bytes; what is longer counts as missing
)

// claims is what a provider says about somebody, by names that are compared as they are.
type claims map[string]json.RawMessage

// with adds what the token does not say. An e-mail address and whether it is verified are taken from one place, and the provider's session from the token alone.
func (c claims) with(more claims) claims {
	_, hasEmail := c["email"]
	all := claims{}
	for name, value := range more {
		if name != "sid" && (!hasEmail || name != "email_verified") {
			all[name] = value
		}
	}
	for name, value := range c {
		if hasEmail || name != "email_verified" {
			all[name] = value
		}
	}
	return all
}

// text is a claim as text, the first of several; "" where there is none that could be used as a name.
func (c claims) text(name string) string {
	var value any
	decoder := json.NewDecoder(strings.NewReader(string(c[name])))
	decoder.UseNumber() // an id of 17 digits stays as it is
	if decoder.Decode(&value) != nil {
		return ""
	}
	if several, ok := value.([]any); ok && len(several) > 0 {
		value = several[0]
	}
	text := ""
	switch v := value.(type) {
	case string:
		text = strings.TrimSpace(v)
	case json.Number:
		text = v.String()
	}
	if len(text) > maxClaim || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return ""
	}
	return text
}

// exact is a name that the provider gives, to somebody or to a session, exactly as it is written; "" where that is no text that could be kept.
func (c claims) exact(name string) string {
	var text string
	if json.Unmarshal(c[name], &text) != nil || text != c.text(name) || len(text) > maxExact {
		return ""
	}
	return text
}

// list is a claim that lists texts: an array, of which what could not be used as a name is passed over, or one text.
func (c claims) list(name string) []string {
	var several []json.RawMessage
	if json.Unmarshal(c[name], &several) != nil {
		several = []json.RawMessage{c[name]}
	}
	var texts []string
	for _, one := range several {
		var text string
		if json.Unmarshal(one, &text) != nil {
			continue
		}
		if text = (claims{"": one}).text(""); text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// elsewhere says whether the provider says where to ask for a claim, in place of the claim (OpenID Connect Core section 5.6.2).
func (c claims) elsewhere(name string) bool {
	var names map[string]json.RawMessage
	return json.Unmarshal(c["_claim_names"], &names) == nil && names[name] != nil && c[name] == nil
}

// after says whether a claim is a time after that one.
func (c claims) after(name string, limit time.Time) bool {
	var seconds float64
	return c[name] != nil && (json.Unmarshal(c[name], &seconds) != nil || seconds > float64(limit.Unix()))
}

// verified says whether the provider says that the e-mail address is verified; said is false where it says nothing. Some providers
// write the word instead of the value.
func (c claims) verified() (verified, said bool) {
	switch strings.ToLower(strings.Trim(string(c["email_verified"]), `"`)) {
	case "true":
		return true, true
	case "", "null":
		return false, false
	}
	return false, true
}

// texts are all claims as text. An e-mail address that is not verified is left out, so that no expression makes a name of it.
func (c claims) texts() map[string]string {
	all := make(map[string]string, len(c))
	for name := range c {
		if text := c.text(name); text != "" {
			all[name] = text
		}
	}
	if verified, said := c.verified(); said && !verified {
		delete(all, "email")
	}
	return all
}

// suffice says whether nothing is missing that the settings want.
func (c claims) suffice(settings identity.ProviderSettings) bool {
	texts := c.texts()
	if jit := settings.JIT; c.text("email") == "" || jit.Provision && jit.Groups != "" && c[jit.Groups] == nil {
		return false
	}
	for _, expression := range []string{settings.OIDC.NameClaim, settings.JIT.Display, settings.JIT.Email} {
		if _, err := identity.Expand(expression, texts); err != nil {
			return false
		}
	}
	return true
}

// visitor says who came, as the package comment tells.
func (c claims) visitor(settings identity.ProviderSettings) (identity.Visitor, error) {
	texts := c.texts()
	v := identity.Visitor{Subject: c.exact("sub"), Session: c.exact("sid"), Email: texts["email"], Display: texts["name"]}
	if v.Subject == "" {
		return identity.Visitor{}, wrong("the provider names nobody")
	}
	verified, _ := c.verified()
	v.EmailVerified = verified && v.Email != ""
	var err error
	if v.Name, err = c.name(settings.OIDC.NameClaim, texts); err != nil {
		return identity.Visitor{}, wrong("the user name: " + err.Error())
	}
	if settings.JIT.Provision {
		c.provision(&v, settings.JIT, texts)
	}
	return v, nil
}

// provision applies what the settings say of people who are added, and kept as the provider describes them. What is missing is named, and whoever adds them decides.
func (c claims) provision(v *identity.Visitor, jit identity.JIT, texts map[string]string) {
	if jit.Display != "" {
		display, err := c.name(jit.Display, texts)
		if v.Display = display; err != nil {
			v.Unmapped = "the display name: " + err.Error()
		}
	}
	if jit.Email != "" {
		mapped, err := c.name(jit.Email, texts)
		v.EmailVerified = v.EmailVerified && identity.FoldEmail(mapped) == identity.FoldEmail(v.Email)
		if v.Email = mapped; err != nil {
			v.Unmapped = "the e-mail address: " + err.Error()
		}
	}
	if jit.Groups == "" {
		return
	}
	v.GroupsSaid = c[jit.Groups] != nil && string(c[jit.Groups]) != "null"
	if v.Groups = c.list(jit.Groups); c.elsewhere(jit.Groups) {
		v.Unmapped = "the groups: the provider names another place to ask for the claim " + jit.Groups + ", which is not asked"
	}
}

// name is what an expression makes of the claims.
func (c claims) name(expression string, texts map[string]string) (string, error) {
	name, err := identity.Expand(expression, texts)
	switch {
	case err == nil:
		return name, nil
	case c.text("email") != "" && texts["email"] == "" && strings.Contains(expression, "${email}"):
		return "", errors.New("the provider says that the e-mail address is not verified")
	}
	return "", errors.New(fault.Text(err))
}
