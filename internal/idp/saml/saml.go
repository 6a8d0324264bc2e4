// Package saml sends people to SAML 2.0 identity providers and reads what those say about them.
//
// Federation is the service provider of the Web Browser SSO profile, by POST both ways. A sign-in runs
//
//	Depart  -> a form with our AuthnRequest, which the browser posts to the provider
//	StateOf -> the id of the request that a response says it answers, unverified, to find the flow
//	Arrive  -> the response verified, and who came
//
// Nothing is read that was not signed (rule F1). A signature is checked with the keys that an administrator typed, whatever key comes along; the
// bytes that verified are parsed anew, and what follows sees those alone. There is one Response and one Assertion, and no second one anywhere, so
// nothing can be wrapped around or slipped beside. All conditions are always checked (rule F2): see response.go for the list. An assertion counts once: its
// key is returned for the caller to keep.
//
// Who came is the issuer, which the provider's row pins, and Visitor.Subject (rule F12): the NameID's format and value, "emailAddress:dana@example.com",
// e-mail addresses folded. Addresses are handed on to others one day; a provider that can send persistent ids should.
//
//   - Email is a NameID of the format emailAddress, for which the provider vouches. With other formats it is the attribute for mail, for which nobody does.
//   - Name is the provider's name expression over the attributes and ${NameID}, and empty where there is none. What it wants and nobody sent refuses the sign-in.
//   - Display is the attribute displayName, or else cn.
//   - Where people are provisioned, Email and Display follow the expressions for that, and are empty where those find no value, which Unmapped names. Groups
//     are all values of the attribute for them; a provider that leaves it out lists none.
//   - Until is the earliest SessionNotOnOrAfter.
//
// An expired certificate of the provider still verifies: SAML uses certificates as wrapping for keys, and trust ends where an administrator
// takes one out. Test says so, so that nobody is surprised.
package saml

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	bindingPost = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
	formatEmail = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
)

// Federation speaks to all SAML providers. It keeps nothing, so it may be used from everywhere at once.
type Federation struct {
	EntityID string // ours: <public URL>/saml/metadata.xml
	ACS      string // where responses are posted: <public URL>/saml

	// Key returns what signs requests of providers that want them signed, and opens encrypted assertions. Where it is nil such providers
	// cannot be set up, and encrypted assertions are refused.
	Key func(ctx context.Context) (login.KeyPair, error)

	Client    *outbound.Client // for Test alone; obeys the policy for outward calls
	AllowHTTP bool             // plain http, of loopback addresses alone
	Now       func() time.Time // time.Now when nil
	Timeout   time.Duration    // of a call; 10 s when zero
}

var _ login.Federation = (*Federation)(nil)

// Depart makes an AuthnRequest, whose id becomes the flow's state. RelayState is the flow's id and leads nowhere by itself (rule F4).
func (f *Federation) Depart(ctx context.Context, p identity.Provider, flow *login.Flow) (login.Departure, error) {
	s, err := f.settle(p)
	if err != nil {
		return login.Departure{}, wrong("the provider's settings cannot work")
	}
	id := "_" + hex.EncodeToString(secret.Bytes(20))
	request, err := f.request(ctx, s, id)
	if err != nil {
		return login.Departure{}, err
	}
	flow.State = secret.New(id)
	form := url.Values{"SAMLRequest": {request}}
	if flow.ID != "" {
		form.Set("RelayState", flow.ID)
	}
	return login.Departure{Provider: p, URL: s.SSOURL, Form: form, Flow: *flow, Request: request}, nil
}

// request writes an AuthnRequest, base64.
func (f *Federation) request(ctx context.Context, s settled, id string) (string, error) {
	e := etree.NewElement("samlp:AuthnRequest")
	e.CreateAttr("xmlns:samlp", nsProtocol)
	e.CreateAttr("xmlns:saml", nsAssertion)
	e.CreateAttr("ID", id)
	e.CreateAttr("Version", "2.0")
	e.CreateAttr("IssueInstant", f.now().UTC().Format(time.RFC3339))
	e.CreateAttr("Destination", s.SSOURL)
	e.CreateAttr("AssertionConsumerServiceURL", f.ACS)
	e.CreateAttr("ProtocolBinding", bindingPost)
	e.CreateElement("saml:Issuer").SetText(f.EntityID)
	policy := e.CreateElement("samlp:NameIDPolicy")
	policy.CreateAttr("Format", formatEmail)
	policy.CreateAttr("AllowCreate", "true")
	if s.SignRequests {
		if err := f.sign(ctx, e); err != nil {
			return "", err
		}
	}
	text, err := etree.NewDocumentWithRoot(e).WriteToBytes()
	return base64.StdEncoding.EncodeToString(text), err
}

// sign puts a signature where the schema wants it: after the issuer.
func (f *Federation) sign(ctx context.Context, e *etree.Element) error {
	key, err := f.Key(ctx)
	if err != nil {
		return err
	}
	c, err := dsig.NewSigningContext(key.Private, [][]byte{key.Certificate.Raw})
	if err != nil {
		return err
	}
	c.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	signature, err := c.ConstructSignature(e.Copy(), true)
	if err != nil {
		return err
	}
	e.InsertChildAt(1, signature)
	return nil
}

// StateOf reads the id of the request that a response says it answers. What cannot be read names none.
func (f *Federation) StateOf(back login.Return) string {
	root, err := readResponse(back.Response)
	if err != nil {
		return ""
	}
	return attribute(root, "InResponseTo")
}

// Logout refuses: providers of SAML end no sessions here. What they say of how long one lasts holds.
func (f *Federation) Logout(context.Context, identity.Provider, string) (login.Logout, []login.Once, error) {
	return login.Logout{}, nil, wrong("providers of SAML send no logout tokens")
}

func (f *Federation) now() time.Time {
	if f.Now == nil {
		return time.Now()
	}
	return f.Now()
}

func (f *Federation) timeout() time.Duration {
	if f.Timeout == 0 {
		return 10 * time.Second
	}
	return f.Timeout
}

func wrong(reason string) *login.Wrong { return &login.Wrong{Reason: reason} }
