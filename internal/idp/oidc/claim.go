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
	maxSubject = 255  // bytes, OpenID Connect Core section 2
	maxClaim   = 1024 // bytes; what is longer counts as missing
)

// claims is what a provider says about somebody, by names that are compared as they are.
type claims map[string]json.RawMessage

// with adds what the token does not say. An e-mail address and whether it is verified are taken from one place.
func (c claims) with(more claims) claims {
	_, hasEmail := c["email"]
	all := claims{}
	for name, value := range more {
		if !hasEmail || name != "email_verified" {
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

// subject is who it is about, exactly as the provider writes it; "" where that is no text that could be kept.
func (c claims) subject() string {
	var sub string
	if json.Unmarshal(c["sub"], &sub) != nil || sub != c.text("sub") || len(sub) > maxSubject {
		return ""
	}
	return sub
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
	if c.text("email") == "" {
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
	v := identity.Visitor{Subject: c.subject(), Email: texts["email"], Display: texts["name"]}
	if v.Subject == "" {
		return identity.Visitor{}, wrong("the provider names nobody")
	}
	verified, _ := c.verified()
	v.EmailVerified = verified && v.Email != ""
	var err error
	if v.Name, err = c.name(settings.OIDC.NameClaim, texts); err != nil {
		return identity.Visitor{}, wrong("the user name: " + err.Error())
	}
	if !settings.JIT.Provision {
		return v, nil
	}
	if settings.JIT.Display != "" {
		v.Display, _ = identity.Expand(settings.JIT.Display, texts) // what is missing stays empty, and provisioning decides
	}
	if settings.JIT.Email != "" {
		mapped, _ := identity.Expand(settings.JIT.Email, texts)
		v.EmailVerified = v.EmailVerified && identity.FoldEmail(mapped) == identity.FoldEmail(v.Email)
		v.Email = mapped
	}
	return v, nil
}

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
