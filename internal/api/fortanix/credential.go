package fortanix

import (
	"encoding/base64"
	"encoding/json"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// wireCredential is a secret that can still be seen.
type wireCredential struct {
	App        string `json:"app_id"`
	Credential struct {
		Secret string `json:"secret"`
	} `json:"credential"`
}

// authTypes are the words for how an application proves who it is.
var authTypes = map[identity.AuthType]string{
	identity.BySecret: "Secret", identity.ByCertificate: "Certificate", identity.ByAuthority: "TrustedCa", identity.ByLDAP: "Ldap", identity.ByAWSIAM: "AwsIam",
}

// credentialKinds read what stands under the one member of a credential; each says whether it could.
var credentialKinds = map[string]func(raw json.RawMessage, c *identity.Credential) bool{
	"secret": func(raw json.RawMessage, _ *identity.Credential) bool { return isNull(raw) }, // it is made here: nobody brings one along
	"certificate": func(raw json.RawMessage, c *identity.Credential) bool {
		var certificate wireDER
		err := json.Unmarshal(raw, &certificate)
		c.Type, c.Certificate = identity.ByCertificate, certificate
		return err == nil
	},
	"trustedca": func(raw json.RawMessage, c *identity.Credential) bool {
		var in struct {
			Authorities []wireDER `json:"ca_certificates"`
			Subject     string    `json:"subject"`
		}
		err := json.Unmarshal(raw, &in)
		c.Type, c.Subject = identity.ByAuthority, in.Subject
		for _, der := range in.Authorities {
			c.Authorities = append(c.Authorities, der)
		}
		return err == nil
	},
	"ldap": func(raw json.RawMessage, c *identity.Credential) (ok bool) {
		var id string
		if json.Unmarshal(raw, &id) != nil {
			return false
		}
		c.Type = identity.ByLDAP
		c.Provider, ok = wireUUID(id)
		return ok
	},
	"awsiam": func(raw json.RawMessage, c *identity.Credential) bool {
		var none map[string]json.RawMessage
		c.Type = identity.ByAWSIAM
		return json.Unmarshal(raw, &none) == nil && len(none) == 0 && !isNull(raw)
	},
}

// credential reads how an application is to prove who it is: an object with one member. Without one a secret is made.
func (o *object) credential() (c identity.Credential) {
	var asked map[string]json.RawMessage
	if !o.into("credential", &asked) {
		return c
	}
	if len(asked) != 1 {
		o.refuse("credential")
	}
	for kind, raw := range asked {
		if read := credentialKinds[kind]; read == nil || !read(raw, &c) {
			o.refuse("credential")
		}
	}
	return c
}

// wireDER is a certificate: base64 with padding.
type wireDER []byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *wireDER) UnmarshalText(text []byte) (err error) {
	*d, err = base64.StdEncoding.DecodeString(string(text))
	return err
}
