package fortanix

import (
	"encoding/base64"

	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const maxPassword = 1024 // bytes

// methods reads the members of each method of the wire into what is presented.
var methods = map[string]func(*object, *login.Presented){
	"password": func(o *object, p *login.Presented) {
		p.Kind, p.Name, p.Secret = login.Password, o.email("email"), secret.New(o.text("password", maxPassword))
	},
	"auth-by-app-name": func(o *object, p *login.Presented) {
		p.Kind, p.Account, p.Name, p.Secret = login.AppSecret, o.uuid("acct_id"), o.name("name"), secret.New(o.text("password", maxPassword))
	},
	"ldap-basic-auth": func(o *object, p *login.Presented) {
		p.Kind, p.Provider, p.Name, p.Secret = login.LDAP, o.handle("idp_id"), o.email("email"), secret.New(o.text("password", maxPassword))
		if o.has("acct_id") {
			p.Account = o.uuid("acct_id")
		}
	},
	"oauth-auth-code": func(o *object, p *login.Presented) {
		p.Kind, p.Provider = login.OIDC, o.handle("idp_id")
		p.Secret, p.Name, p.State = secret.New(o.text("code", 4096)), o.email("email"), o.optional("state")
	},
	"saml-response": func(o *object, p *login.Presented) {
		p.Kind, p.State, p.Secret = login.SAML, o.optional("id"), secret.New(o.text("response", maxBody))
		if _, err := base64.StdEncoding.DecodeString(p.Secret.Reveal()); err != nil {
			o.refuse("response")
		}
	},
	"aws-iam": func(o *object, p *login.Presented) {
		p.Kind, p.Account, p.Region = login.AWSIAM, o.uuid("acct_id"), o.text("region", 64)
		if !o.into("headers", &p.Headers) {
			o.refuse("headers")
		}
	},
}

// handle reads the 16 bytes by which this wire knows a provider. Any other number of bytes is nobody's.
func (o *object) handle(member string) (h [16]byte) {
	if b := o.bytes(member); len(b) == len(h) {
		copy(h[:], b)
	}
	return h
}
