package api

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Binary is bytes as WebAuthn's JSON holds them: base64url without padding. Reading takes padding and the standard alphabet as well.
type Binary []byte

// MarshalText implements encoding.TextMarshaler.
func (b Binary) MarshalText() ([]byte, error) {
	return []byte(base64.RawURLEncoding.EncodeToString(b)), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Binary) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(string(text), "=")))
	return err
}

// WireDescriptor names a security key (WebAuthn Level 2, section 5.8.3).
type WireDescriptor struct {
	Type       string   `json:"type"`
	ID         Binary   `json:"id"`
	Transports []string `json:"transports,omitempty"`
}

// WireRequest are the options of an assertion (section 5.5).
type WireRequest struct {
	Challenge        Binary           `json:"challenge"`
	Timeout          int64            `json:"timeout"` // ms
	RPID             string           `json:"rpId"`
	AllowCredentials []WireDescriptor `json:"allowCredentials"`
	UserVerification string           `json:"userVerification"`
	Extensions       *WireAppID       `json:"extensions,omitempty"`
}

// WireAppID is the extension for keys that were enrolled by U2F (section 10.1).
type WireAppID struct {
	AppID string `json:"appid"`
}

// WireCreation are the options of an attestation (section 5.4).
type WireCreation struct {
	RP                     WireParty        `json:"rp"`
	User                   WireUser         `json:"user"`
	Challenge              Binary           `json:"challenge"`
	Parameters             []WireParameter  `json:"pubKeyCredParams"`
	Timeout                int64            `json:"timeout"` // ms
	Exclude                []WireDescriptor `json:"excludeCredentials"`
	AuthenticatorSelection WireSelection    `json:"authenticatorSelection"`
	Attestation            string           `json:"attestation"`
}

// WireParty is who asks.
type WireParty struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

// WireUser is for whom.
type WireUser struct {
	ID      Binary `json:"id"`
	Name    string `json:"name"`
	Display string `json:"displayName"`
}

// WireParameter is one algorithm that is taken.
type WireParameter struct {
	Type string `json:"type"`
	Alg  int64  `json:"alg"` // COSE
}

// WireSelection says what kind of key is asked for.
type WireSelection struct {
	UserVerification string `json:"userVerification"`
}

// RequestOptions writes what a security key is asked at a sign-in.
func RequestOptions(c factor.Challenge) WireRequest {
	w := WireRequest{
		Challenge: c.Challenge, Timeout: int64(c.Timeout / time.Millisecond), RPID: c.RPID, AllowCredentials: descriptors(c.Devices), UserVerification: c.Verify,
	}
	if c.AppID != "" {
		w.Extensions = &WireAppID{c.AppID}
	}
	return w
}

// CreationOptions writes what a new security key is asked.
func CreationOptions(c factor.Creation) WireCreation {
	w := WireCreation{
		RP: WireParty{c.RPName, c.RPID}, User: WireUser{c.UserID, c.UserName, c.Display}, Challenge: c.Challenge,
		Timeout: int64(c.Timeout / time.Millisecond), Exclude: descriptors(c.Exclude), AuthenticatorSelection: WireSelection{"preferred"}, Attestation: "none",
	}
	for _, alg := range c.Algorithms {
		w.Parameters = append(w.Parameters, WireParameter{"public-key", alg})
	}
	return w
}

func descriptors(devices []factor.Device) []WireDescriptor {
	all := make([]WireDescriptor, len(devices))
	for i, d := range devices {
		all[i] = WireDescriptor{"public-key", d.Credential, d.Transports}
	}
	return all
}

// ReadAssertion reads what a security key answered at a sign-in. It takes the spelling of browsers and the one of
// programs that write snake_case, and ignores members and extensions that it does not know.
func ReadAssertion(raw []byte) (factor.Assertion, error) {
	var in struct {
		ID, RawID Binary
		Type      *string
		Response  struct {
			ClientData        Binary `json:"clientDataJSON"`
			AuthenticatorData Binary `json:"authenticatorData"`
			Signature         Binary `json:"signature"`
			UserHandle        Binary `json:"userHandle"`
		}
		Extensions, Browser *struct{ AppID *bool }
	}
	if err := unpack(raw, []member{
		{"id", &in.ID},
		{"rawId", &in.RawID},
		{"type", &in.Type},
		{"response", &in.Response},
		{"get_client_extension_results", &in.Extensions},
		{"getClientExtensionResults", &in.Browser},
	}); err != nil {
		return factor.Assertion{}, err
	}
	a := factor.Assertion{
		ID: first(in.ID, in.RawID), ClientData: in.Response.ClientData, AuthenticatorData: in.Response.AuthenticatorData,
		Signature: in.Response.Signature, UserHandle: in.Response.UserHandle,
	}
	if in.Type != nil {
		a.Type = *in.Type
	}
	for _, e := range []*struct{ AppID *bool }{in.Extensions, in.Browser} {
		a.AppID = a.AppID || e != nil && e.AppID != nil && *e.AppID
	}
	return a, required(
		part{"id", a.ID}, part{"response.clientDataJSON", a.ClientData}, part{"response.authenticatorData", a.AuthenticatorData}, part{"response.signature", a.Signature},
	)
}

// ReadAttestation reads what a new security key answered, as ReadAssertion does.
func ReadAttestation(raw []byte) (factor.Attestation, error) {
	var in struct {
		ID, RawID Binary
		Type      *string
		Response  struct {
			ClientData Binary   `json:"clientDataJSON"`
			Object     Binary   `json:"attestationObject"`
			Transports []string `json:"getTransports"`
			Browser    []string `json:"transports"`
		}
	}
	if err := unpack(raw, []member{{"id", &in.ID}, {"rawId", &in.RawID}, {"type", &in.Type}, {"response", &in.Response}}); err != nil {
		return factor.Attestation{}, err
	}
	a := factor.Attestation{ID: first(in.ID, in.RawID), ClientData: in.Response.ClientData, Object: in.Response.Object, Transports: in.Response.Transports}
	if a.Transports == nil {
		a.Transports = in.Response.Browser
	}
	if in.Type != nil {
		a.Type = *in.Type
	}
	return a, required(part{"id", a.ID}, part{"response.clientDataJSON", a.ClientData}, part{"response.attestationObject", a.Object})
}

// member is a member of an object and where it goes.
type member struct {
	name string
	into any
}

// unpack reads the members that are asked for, by their exact names.
func unpack(raw []byte, into []member) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return fault.New(fault.Invalid, "the answer of the security key is not an object")
	}
	for _, m := range into {
		if value, ok := members[m.name]; ok && json.Unmarshal(value, m.into) != nil {
			return fault.Fields(m.name+" has the wrong form", fault.Field{Path: m.name, Message: "has the wrong form"})
		}
	}
	return nil
}

// part is a part of an answer that must be there.
type part struct {
	name  string
	value []byte
}

func required(parts ...part) error {
	for _, p := range parts {
		if len(p.value) == 0 {
			return fault.Fields(p.name+" is required", fault.Field{Path: p.name, Message: "is required"})
		}
	}
	return nil
}

func first(a, b Binary) []byte {
	if len(a) > 0 {
		return a
	}
	return b
}
