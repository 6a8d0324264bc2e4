package saml

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
)

// expiresSoon is when a certificate's end is worth a word.
const expiresSoon = 30 * 24 * time.Hour

// Test looks at the settings and at each certificate, and asks whether the sign-in page answers. Whether the provider knows us shows only when a person signs in.
func (f *Federation) Test(ctx context.Context, p identity.Provider) []login.Step {
	s, err := f.settle(p)
	if err != nil {
		return []login.Step{{Name: "settings", Note: describe(err)}}
	}
	steps := []login.Step{{Name: "settings", OK: true, Note: "they fit together"}}
	for _, c := range s.keys {
		steps = append(steps, login.Step{Name: "certificate", OK: true, Note: f.describeCertificate(c)})
	}
	return append(steps, f.reach(ctx, s.SSOURL))
}

// describe lists what is wrong with settings.
func describe(err error) string {
	var all []string
	for _, field := range fault.FieldsOf(err) {
		all = append(all, field.Path+": "+field.Message)
	}
	if len(all) == 0 {
		return fault.Text(err)
	}
	return strings.Join(all, "; ")
}

// describeCertificate tells a certificate by its fingerprint. Dates are a warning and no more: they do not end trust in the key.
func (f *Federation) describeCertificate(c *x509.Certificate) string {
	digest := sha256.Sum256(c.Raw)
	note := fmt.Sprintf("SHA-256 %s, valid from %s to %s", hex.EncodeToString(digest[:]), c.NotBefore.UTC().Format(time.DateOnly), c.NotAfter.UTC().Format(time.DateOnly))
	switch now := f.now(); {
	case now.After(c.NotAfter):
		return note + "; warning: it has expired, and its key is still trusted: ask the provider for the new one, and take this one out"
	case now.Before(c.NotBefore):
		return note + "; warning: it is not valid yet, and its key is trusted already"
	case now.Add(expiresSoon).After(c.NotAfter):
		return note + "; warning: it expires soon: ask the provider for the new one"
	}
	return note
}

// reach asks whether anybody answers. What is answered does not matter: without a request there is nothing to say.
func (f *Federation) reach(ctx context.Context, address string) login.Step {
	const advice = ": look at sso_url; people may reach it all the same, from where they are"
	step := login.Step{Name: "sign-in page", Note: "it cannot be called" + advice}
	if f.Client == nil {
		step.Note = "this installation makes no outward calls"
		return step
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return step
	}
	response, err := f.Client.Do(request)
	if err != nil {
		step.Note = outbound.Reason(err) + advice
		return step
	}
	response.Body.Close()
	step.OK, step.Note = true, fmt.Sprintf("it answers, with status %d", response.StatusCode)
	return step
}
