package fortanix

import (
	"context"
	"encoding/base64"
	"regexp"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// The ways to sign in that this wire names and that need a provider.
const (
	ldap   login.Kind = "ldap"
	oidc   login.Kind = "oidc"
	saml   login.Kind = "saml"
	awsIAM login.Kind = "aws_iam"
)

const maxPassword = 1024 // bytes

// methods reads the members of each method of the wire into what is presented.
var methods = map[string]func(*object, *login.Presented){
	"password": func(o *object, p *login.Presented) {
		p.Kind, p.Name, p.Secret = login.Password, o.email("email"), secret.New(o.text("password", maxPassword))
		o.optional("recaptcha_response") // no CAPTCHA is given out yet, so whatever came is not its answer
	},
	"auth-by-app-name": func(o *object, p *login.Presented) {
		p.Kind, p.Account, p.Name, p.Secret = login.AppSecret, o.uuid("acct_id"), o.name("name"), secret.New(o.text("password", maxPassword))
	},
	"ldap-basic-auth": func(o *object, p *login.Presented) {
		o.bytes("idp_id")
		p.Kind, p.Name, p.Secret = ldap, o.email("email"), secret.New(o.text("password", maxPassword))
		if o.has("acct_id") {
			o.uuid("acct_id")
		}
	},
	"oauth-auth-code": func(o *object, p *login.Presented) {
		o.bytes("idp_id")
		p.Kind, p.Secret, p.Name = oidc, secret.New(o.text("code", 4096)), o.email("email")
		o.optional("state")
	},
	"saml-response": func(o *object, p *login.Presented) {
		o.optional("id")
		p.Kind, p.Secret = saml, secret.New(o.text("response", maxBody))
		if _, err := base64.StdEncoding.DecodeString(p.Secret.Reveal()); err != nil {
			o.refuse("response")
		}
	},
	"aws-iam": func(o *object, p *login.Presented) {
		p.Kind, p.Account = awsIAM, o.uuid("acct_id")
		if !region.MatchString(o.text("region", 64)) {
			o.refuse("region")
		}
		o.awsHeaders("headers")
	},
}

var region = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d{1,2}$`)

// awsHeader lists the headers of a signed request that may come along; any other could change what it means.
var awsHeader = map[string]bool{
	"authorization": true, "x-amz-date": true, "x-amz-security-token": true, "x-amz-content-sha256": true,
	"content-type": true, "content-length": true, "host": true, "accept": true, "accept-encoding": true, "user-agent": true,
	"amz-sdk-invocation-id": true, "amz-sdk-request": true, "amz-sdk-retry": true, "x-amz-user-agent": true, "x-gatehouse-server-id": true,
}

// awsHeaders reads the headers of a signed request, each name once in whatever case.
func (o *object) awsHeaders(member string) {
	var sent map[string]string
	if !o.into(member, &sent) || len(sent) > 20 {
		o.refuse(member)
	}
	seen := map[string]bool{}
	for name, value := range sent {
		name = strings.ToLower(name)
		if !awsHeader[name] || seen[name] || len(value) > 8<<10 || strings.ContainsAny(value, "\r\n\x00") {
			o.refuse(member)
		}
		seen[name] = true
	}
}

// Methods are the ways to sign in that this wire names and that no provider stands behind: their members are
// checked, and then there is nobody to ask. Package login counts, records and delays them as any other failure.
func Methods() map[login.Kind]login.Method {
	return map[login.Kind]login.Method{ldap: noProvider{}, oidc: noProvider{}, saml: noProvider{}, awsIAM: noProvider{}}
}

type noProvider struct{}

// Prove implements login.Method.
func (noProvider) Prove(context.Context, login.Presented) (login.Proof, error) {
	return login.Proof{}, &login.Wrong{Reason: "there is no such identity provider or application"}
}
