package oidc

import (
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	goidc "github.com/coreos/go-oidc/v3/oidc"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// Whatever a provider says, a visitor has a subject that can be kept, and no address that is both unverified and verified.
func FuzzVisitor(f *testing.F) {
	for _, seed := range []string{
		`{"sub":"a","email":"a@x.test","email_verified":true}`, `{"sub":["a"],"email":{"a":1}}`, `{"sub":"a","email":"a@x.test","email_verified":"FALSE"}`,
		`{"sub":"a","name":7,"email":[["b"]],"email_verified":null}`, `{"sub":"\u0000"}`, `{"sub":"a","name":1e999}`, `{}`, `null`, `{"sub":"a","email":"  "}`,
	} {
		f.Add(seed, "${email}", "${name}")
	}
	f.Fuzz(func(t *testing.T, text, name, mail string) {
		said := claims{}
		if json.Unmarshal([]byte(text), &said) != nil {
			return
		}
		settings := identity.ProviderSettings{OIDC: &identity.OIDCSettings{NameClaim: name}, JIT: identity.JIT{Provision: len(mail) > 0, Email: mail}}
		said.suffice(settings)
		v, err := said.visitor(settings)
		if err != nil {
			if !reflect.DeepEqual(v, identity.Visitor{}) {
				t.Fatalf("a visitor came beside %v: %+v", err, v)
			}
			return
		}
		if v.Subject == "" || len(v.Subject) > maxExact || strings.ContainsFunc(v.Subject, unicode.IsControl) {
			t.Fatalf("subject %q", v.Subject)
		}
		verified, _ := said.verified()
		if v.EmailVerified && (!verified || v.Email == "") {
			t.Fatalf("%s: %+v counts as verified", text, v)
		}
		if known, whether := said.verified(); whether && !known && !settings.JIT.Provision && v.Email != "" {
			t.Fatalf("%s: an address that is not verified came through: %+v", text, v)
		}
	})
}

// Whatever a provider signs, it ends a session by the event of a logout alone, and says whose (rule F5).
func FuzzLogout(f *testing.F) {
	for _, seed := range []string{
		`{"jti":"1","sub":"a","events":{"http://schemas.openid.net/event/backchannel-logout":{}}}`, `{"jti":"1","sid":"a","nonce":null,"events":{}}`,
		`{"jti":"1","sub":["a"],"sid":"b","events":{"http://schemas.openid.net/event/backchannel-logout":{"a":1}}}`, `{"events":[]}`, `{"jti":"\u0000"}`, `null`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		said := claims{}
		if json.Unmarshal([]byte(text), &said) != nil {
			return
		}
		now := time.Now()
		if (token{&goidc.IDToken{IssuedAt: now, Expiry: now.Add(time.Minute)}, said}).noLogout() != "" {
			return
		}
		var read struct {
			Events map[string]map[string]any `json:"events"`
			ID     string                    `json:"jti"`
		}
		for _, name := range []string{"events", "jti"} { // by their exact names alone
			one, _ := json.Marshal(map[string]json.RawMessage{name: said[name]})
			if err := json.Unmarshal(one, &read); err != nil && name == "jti" {
				t.Fatal(err)
			}
		}
		sub, sid := said.exact("sub"), said.exact("sid")
		if read.Events[logoutEvent] == nil || read.ID == "" || said["nonce"] != nil || sub == "" && sid == "" || sub == "" && said["sub"] != nil {
			t.Fatalf("%s ends the sessions of %q, and %q", text, sub, sid)
		}
	})
}

// rule W8: no address is called but over https, or over http on this machine.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{"https://a.test", "http://127.0.0.1:80/x", "http://localhost.a.test", "http://[::1]", "javascript:x", "https://a@b", "HTTPS://a", "//a", "http://127.0.0.1@a.test", "http://127.1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if checkURL(text, true) != nil {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()) || checkURL(text, false) == nil) {
			t.Fatalf("%q may be called", text)
		}
	})
}
