package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"golang.org/x/oauth2"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Test asks the provider everything that can be asked without a person, anew each time, and stops at the first step that fails. A code
// that nobody was given tells whether the client's secret is right: most providers look at the client first.
func (f *Federation) Test(ctx context.Context, p identity.Provider) []login.Step {
	if err := f.Check(p); err != nil {
		return []login.Step{{Name: "settings", Note: fault.Text(err)}}
	}
	steps := []login.Step{{Name: "settings", OK: true, Note: "complete"}}
	k, err := f.fresh(p)
	if err != nil {
		return append(steps, failed("connection", err))
	}
	defer k.close(f.Client)
	var doc document
	for _, try := range []func() login.Step{
		func() login.Step { return k.tryDiscovery(ctx, &doc) },
		func() login.Step { return k.tryKeys(ctx, doc) },
		func() login.Step { return f.tryAuthorization(ctx, k, doc) },
		func() login.Step { return k.tryToken(ctx, doc) },
	} {
		step := try()
		steps = append(steps, step)
		if !step.OK {
			break
		}
	}
	return steps
}

func (k *provider) tryDiscovery(ctx context.Context, doc *document) login.Step {
	const name = "discovery"
	if k.settings.OIDC.NoDiscovery {
		*doc = k.typed()
		return login.Step{Name: name, OK: true, Note: "switched off: the endpoints that were typed are used"}
	}
	var err error
	if *doc, err = k.discover(ctx); err != nil {
		return failed(name, err)
	}
	note := "the provider's document is in order"
	if !slices.Contains(doc.Challenges, "S256") {
		note += "; it does not promise PKCE with S256, which is used all the same"
	}
	if !k.secret.Empty() && !slices.Contains(doc.TokenAuth, "client_secret_basic") && !slices.Contains(doc.TokenAuth, "client_secret_post") {
		return login.Step{Name: name, Note: "the provider takes client secrets neither by Basic nor in the form; allow one of them for this client there"}
	}
	return login.Step{Name: name, OK: true, Note: note}
}

func (k *provider) tryKeys(ctx context.Context, doc document) login.Step {
	const name = "keys"
	if doc.Keys == "" {
		return login.Step{Name: name, OK: true, Note: "none are set: ID tokens are not read, the userinfo endpoint decides"}
	}
	keys, err := k.fetchKeys(ctx, doc.Keys)
	if err != nil {
		return failed(name, err)
	}
	return login.Step{Name: name, OK: true, Note: fmt.Sprintf("%d that may sign ID tokens", len(keys))}
}

// tryAuthorization goes where a browser would be sent. Providers that know neither the client nor its redirect address say so there.
func (f *Federation) tryAuthorization(ctx context.Context, k *provider, doc document) login.Step {
	const name = "authorization endpoint"
	var flow login.Flow
	begin(&flow)
	address, _, err := f.addresses(doc, k.settings, &flow)
	if err != nil {
		return failed(name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return failed(name, wrong("it cannot be called"))
	}
	answer, err := k.client.Do(r)
	if err != nil {
		return failed(name, wrong(outbound.Reason(err)))
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // so that the connection can be used again
	if answer.StatusCode >= 400 {
		return login.Step{Name: name, Note: fmt.Sprintf("it answered %d: check the client id, and that %s is registered there as redirect address", answer.StatusCode, k.redirect)}
	}
	return login.Step{Name: name, OK: true, Note: fmt.Sprintf("it answered %d", answer.StatusCode)}
}

// tryToken presents a code that nobody was given. The right answer is that the code is wrong.
func (k *provider) tryToken(ctx context.Context, doc document) login.Step {
	const name = "token endpoint"
	_, err := k.exchange(ctx, doc, secret.Token(32), secret.New(oauth2.GenerateVerifier()))
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		if err == nil {
			return login.Step{Name: name, Note: "it took a code that nobody was given: this provider cannot be trusted"}
		}
		return failed(name, refusedCode(err))
	}
	status := refused.Response.StatusCode
	switch {
	case refused.ErrorCode == "invalid_grant":
		return login.Step{Name: name, OK: true, Note: "it knows the client and refuses a code that nobody was given, as it should"}
	case refused.ErrorCode == "invalid_client", refused.ErrorCode == "unauthorized_client", status == http.StatusUnauthorized:
		return login.Step{Name: name, Note: "it refuses the client: check client id and client secret, and that the client may use authorization codes there"}
	case refused.ErrorCode == "invalid_request":
		return login.Step{Name: name, OK: true, Note: "it answers, but does not tell whether the client secret is right: sign in once to see"}
	}
	return failed(name, refusedCode(err))
}

// advice says what to do where a step failed.
var advice = map[string]string{
	"connection":             "give authorities in PEM form as ca, or none",
	"discovery":              "look at the issuer, and let this server reach it: by name, by sso.allow where its address is a private one, and by ca where its certificate is signed privately",
	"keys":                   "let this server reach the address of the provider's keys, as it reaches the issuer, and let the provider sign by RS256, PS256 or ES256",
	"authorization endpoint": "look at its address, and let this server reach it, as it reaches the issuer",
	"token endpoint":         "look at its address, at client id and client secret, and let this server reach it, as it reaches the issuer",
}

// failed is a step that went wrong, with the reason and what to do, and no more.
func failed(name string, err error) login.Step {
	reason := "it could not be tried"
	var w *login.Wrong
	if errors.As(err, &w) {
		reason = w.Reason
	}
	return login.Step{Name: name, Note: reason + ": " + advice[name]}
}
