package saml

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/beevik/etree"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	skew          = time.Minute
	maxPosted     = maxDocument*3/2 + 1024 // base64, with line breaks
	maxNameID     = 255                    // bytes
	statusSuccess = "urn:oasis:names:tc:SAML:2.0:status:Success"
	methodBearer  = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
	formatEntity  = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
)

// Arrive verifies a response and says who came. What is wrong is a *login.Wrong. In this order it demands
//
//   - at most 256 KiB of XML as parse lets it in, one Response of version 2.0, with status Success and no other;
//   - one Assertion, plain or encrypted to our key, and no signature but on these two;
//   - each signature that is there to verify, and one of the two to be signed;
//   - issuer, destination, recipient and audience to be the provider and us;
//   - the times of Conditions, of SubjectConfirmationData and of the provider's own session, with a minute's grace;
//   - every bearer confirmation, of which there is one or more, to fit;
//   - InResponseTo to be the flow's request everywhere, or, without a flow, to be nowhere, at providers that may begin sign-ins themselves.
func (f *Federation) Arrive(ctx context.Context, p identity.Provider, flow *login.Flow, back login.Return) (identity.Visitor, []login.Once, error) {
	s, err := f.settle(p)
	if err != nil {
		return identity.Visitor{}, nil, wrong("the provider's settings cannot work")
	}
	a := arrival{Federation: f, settled: s, now: f.now()}
	if err := a.begin(p, flow, back); err != nil {
		return identity.Visitor{}, nil, wrong(err.Error())
	}
	v, id, err := a.read(ctx, back.Response)
	if a.failed != nil {
		return identity.Visitor{}, nil, a.failed
	}
	if err != nil {
		return identity.Visitor{}, nil, wrong(err.Error())
	}
	digest := sha256.Sum256([]byte(id))
	once := login.Once{Key: "saml assertion " + p.ID + " " + hex.EncodeToString(digest[:]), Until: a.until.Add(skew)}
	return v, []login.Once{once}, nil
}

// arrival is one response under examination.
type arrival struct {
	*Federation
	settled
	now     time.Time
	request string    // the id of ours that it must answer; "" for none
	until   time.Time // when the last of its times is over
	ends    time.Time // when the provider's own session ends at the latest; zero: it does not say
	failed  error     // why our key could not be had: not the provider's mistake
}

// begin finds out which request must be answered.
func (a *arrival) begin(p identity.Provider, flow *login.Flow, back login.Return) error {
	switch {
	case flow == nil && !a.IDPInitiated:
		return errors.New("the response answers no request of ours, and the provider may not begin sign-ins")
	case flow == nil && back.State != "":
		return errors.New("the request that is to be answered is over")
	case flow == nil:
		return nil
	case flow.Provider != p.ID:
		return errors.New("the request went to another provider")
	case flow.State.Empty() || back.State != "" && !secret.New(back.State).Equal(flow.State):
		return errors.New("the response is said to answer another request")
	case !flow.Expires.IsZero() && !a.now.Before(flow.Expires):
		return errors.New("the request is over")
	}
	a.request = flow.State.Reveal()
	return nil
}

// read returns who came, and the assertion's id.
func (a *arrival) read(ctx context.Context, posted string) (identity.Visitor, string, error) {
	response, err := readResponse(posted)
	if err != nil {
		return identity.Visitor{}, "", err
	}
	if err := succeeded(response); err != nil {
		return identity.Visitor{}, "", err
	}
	if err := alone(response); err != nil {
		return identity.Visitor{}, "", err
	}
	proven, err := verify(response, a.keys)
	if err != nil {
		return identity.Visitor{}, "", err
	}
	signed := proven != nil
	if signed {
		response = proven // what was read so far may have been anything; from here on only this exists
	}
	if err := a.checkResponse(response, signed); err != nil {
		return identity.Visitor{}, "", err
	}
	assertion, err := a.assertionOf(ctx, response, signed)
	if err != nil {
		return identity.Visitor{}, "", err
	}
	if err := a.checkAssertion(assertion); err != nil {
		return identity.Visitor{}, "", err
	}
	v, err := a.visitor(assertion)
	return v, attribute(assertion, "ID"), err
}

// readResponse decodes what was posted, as far as to find a Response.
func readResponse(posted string) (*etree.Element, error) {
	if posted == "" || len(posted) > maxPosted {
		return nil, errors.New("the response is empty or too large")
	}
	text, err := unbase64(posted)
	if err != nil {
		return nil, errors.New("the response is no base64")
	}
	root, err := parse(text)
	if err != nil {
		return nil, errors.New("the response is not taken: " + err.Error())
	}
	if !is(root, nsProtocol, "Response") {
		return nil, errors.New("what came is no SAML response")
	}
	return root, nil
}

// succeeded demands that the provider says so.
func succeeded(response *etree.Element) error {
	status, err := only(response, nsProtocol, "Status")
	if err != nil {
		return err
	}
	code, err := only(status, nsProtocol, "StatusCode")
	if err != nil {
		return err
	}
	if attribute(code, "Value") != statusSuccess {
		return errors.New("the provider signed nobody in")
	}
	return nil
}

// alone demands that there is nothing beside the one response and the one assertion in it that could be taken for either, or for a signature of either.
func alone(response *etree.Element) error {
	plain, sealed := children(response, nsAssertion, "Assertion"), children(response, nsAssertion, "EncryptedAssertion")
	if len(plain)+len(sealed) != 1 || count(response, "Response") != 1 || count(response, "Assertion")+count(response, "EncryptedAssertion") != 1 {
		return errors.New("not exactly one response with one assertion")
	}
	signatures := len(children(response, nsSignature, "Signature"))
	if len(plain) == 1 {
		signatures += len(children(plain[0], nsSignature, "Signature"))
	}
	if count(response, "Signature") != signatures {
		return errors.New("a signature where none belongs")
	}
	return nil
}

// checkResponse looks at the envelope. Where only the assertion is signed anybody may have written it, which gains nothing: it can only refuse.
func (a *arrival) checkResponse(response *etree.Element, signed bool) error {
	if !is(response, nsProtocol, "Response") || attribute(response, "Version") != "2.0" {
		return errors.New("no response of SAML 2.0")
	}
	if err := errors.Join(succeeded(response), alone(response)); err != nil {
		return err
	}
	issuers := children(response, nsAssertion, "Issuer")
	sealed := len(children(response, nsAssertion, "EncryptedAssertion")) > 0
	if len(issuers) > 1 || len(issuers) == 0 && (signed || sealed) { // SAML profiles 4.1.4.2
		return errors.New("the response does not name one issuer")
	}
	if len(issuers) == 1 && !a.issued(issuers[0]) {
		return errors.New("the response is another issuer's")
	}
	if attribute(response, "Destination") != a.ACS {
		return errors.New("the response was sent to somebody else")
	}
	return a.checkInResponseTo(response)
}

func (a *arrival) issued(issuer *etree.Element) bool {
	text, err := textOf(issuer)
	format := attribute(issuer, "Format")
	return err == nil && text == a.Issuer && (format == "" || format == formatEntity)
}

// checkInResponseTo demands our request's id, or, where the provider began, that there is no such attribute.
func (a *arrival) checkInResponseTo(e *etree.Element) error {
	if has(e, "InResponseTo") != (a.request != "") || attribute(e, "InResponseTo") != a.request {
		return errors.New("the response answers another request")
	}
	return nil
}

// assertionOf returns the assertion, which is signed itself or stands in a response that is.
func (a *arrival) assertionOf(ctx context.Context, response *etree.Element, signed bool) (*etree.Element, error) {
	var assertion *etree.Element
	if plain := children(response, nsAssertion, "Assertion"); len(plain) == 1 {
		assertion = plain[0]
	} else {
		sealed, err := only(response, nsAssertion, "EncryptedAssertion")
		if err != nil {
			return nil, err
		}
		if assertion, err = a.open(ctx, sealed, signed); err != nil {
			return nil, err
		}
	}
	proven, err := verify(assertion, a.keys)
	switch {
	case err != nil:
		return nil, err
	case proven != nil:
		return proven, nil
	case !signed:
		return nil, errors.New("nothing is signed")
	}
	return assertion, nil
}

// checkAssertion looks at everything that limits an assertion.
func (a *arrival) checkAssertion(assertion *etree.Element) error {
	if !is(assertion, nsAssertion, "Assertion") || attribute(assertion, "Version") != "2.0" || attribute(assertion, "ID") == "" || count(assertion, "Assertion") != 1 {
		return errors.New("no assertion of SAML 2.0")
	}
	issuer, err := only(assertion, nsAssertion, "Issuer")
	if err != nil {
		return err
	}
	if !a.issued(issuer) {
		return errors.New("the assertion is another issuer's")
	}
	if err := a.checkConditions(assertion); err != nil {
		return err
	}
	if err := a.checkConfirmations(assertion); err != nil {
		return err
	}
	return a.checkSession(assertion)
}

// checkConditions looks at times and audience. A condition that we do not know forbids us to go on (SAML core 2.5.1.1).
func (a *arrival) checkConditions(assertion *etree.Element) error {
	conditions, err := only(assertion, nsAssertion, "Conditions")
	if err != nil {
		return err
	}
	if err := a.checkTimes(conditions); err != nil {
		return err
	}
	restrictions := children(conditions, nsAssertion, "AudienceRestriction")
	harmless := len(children(conditions, nsAssertion, "OneTimeUse")) + len(children(conditions, nsAssertion, "ProxyRestriction"))
	if len(restrictions) == 0 || len(restrictions)+harmless != len(conditions.ChildElements()) {
		return errors.New("the assertion is for everybody, or under a condition that is not known here")
	}
	for _, r := range restrictions {
		if !slices.ContainsFunc(children(r, nsAssertion, "Audience"), a.isUs) {
			return errors.New("the assertion is for another audience")
		}
	}
	return nil
}

func (a *arrival) isUs(audience *etree.Element) bool {
	text, err := textOf(audience)
	return err == nil && text == a.EntityID
}

// checkConfirmations demands that every bearer confirmation fits, and that there is one.
func (a *arrival) checkConfirmations(assertion *etree.Element) error {
	subject, err := only(assertion, nsAssertion, "Subject")
	if err != nil {
		return err
	}
	bearers := 0
	for _, c := range children(subject, nsAssertion, "SubjectConfirmation") {
		if attribute(c, "Method") != methodBearer {
			continue
		}
		bearers++
		data, err := only(c, nsAssertion, "SubjectConfirmationData")
		if err != nil {
			return err
		}
		if err := a.checkBearer(data); err != nil {
			return err
		}
	}
	if bearers == 0 {
		return errors.New("the assertion is not for its bearer")
	}
	return nil
}

func (a *arrival) checkBearer(data *etree.Element) error {
	if attribute(data, "Recipient") != a.ACS {
		return errors.New("the assertion is for another recipient")
	}
	if !has(data, "NotOnOrAfter") {
		return errors.New("the assertion never ends")
	}
	if err := a.checkTimes(data); err != nil {
		return err
	}
	return a.checkInResponseTo(data)
}

// checkTimes looks at NotBefore and NotOnOrAfter, where they are.
func (a *arrival) checkTimes(e *etree.Element) error {
	if has(e, "NotBefore") {
		from, err := readTime(attribute(e, "NotBefore"))
		if err != nil {
			return err
		}
		if a.now.Add(skew).Before(from) {
			return errors.New("the assertion is not valid yet: compare the clocks")
		}
	}
	return a.checkEnd(e, "NotOnOrAfter")
}

func (a *arrival) checkEnd(e *etree.Element, name string) error {
	if !has(e, name) {
		return nil
	}
	end, err := readTime(attribute(e, name))
	if err != nil {
		return err
	}
	if !a.now.Before(end.Add(skew)) {
		return errors.New("the assertion is over")
	}
	if end.After(a.until) {
		a.until = end
	}
	return nil
}

// checkSession demands that the provider says when and how somebody signed in there (SAML profiles 4.1.4.2).
func (a *arrival) checkSession(assertion *etree.Element) error {
	statements := children(assertion, nsAssertion, "AuthnStatement")
	if len(statements) == 0 {
		return errors.New("the assertion does not say that anybody signed in")
	}
	until := a.until // a long session does not make the assertion last
	defer func() { a.until = until }()
	for _, s := range statements {
		if err := a.checkEnd(s, "SessionNotOnOrAfter"); err != nil {
			return err
		}
		if end, err := readTime(attribute(s, "SessionNotOnOrAfter")); err == nil && (a.ends.IsZero() || end.Before(a.ends)) {
			a.ends = end
		}
	}
	return nil
}

func readTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, errors.New("a time that is none")
	}
	return t, nil
}
