package login

import (
	"context"
	"errors"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// vouched finds the method of a kind for which an outside party vouches.
func (s *Service) vouched(of Kind) (Method, bool) {
	switch {
	case of == LDAP && s.Directory != nil:
		return directories{s}, true
	case of == OIDC && s.Federations[identity.OIDC] != nil:
		return codes{s}, true
	case of == SAML && s.Federations[identity.SAML] != nil:
		return assertions{s}, true
	case of == AWSIAM && s.Cloud != nil:
		return clouds{s}, true
	}
	return nil, false
}

// provider finds who is said to vouch. One that is not there, or is of another kind, is a *Wrong.
func (s *Service) provider(ctx context.Context, handle [16]byte, kind identity.ProviderKind) (identity.Provider, error) {
	to, err := s.Providers.Store.ByHandle(ctx, handle)
	switch {
	case fault.Is(err, fault.NotFound):
		err = &Wrong{Reason: "there is no such identity provider"}
	case err == nil && to.Kind != kind:
		err = &Wrong{Reason: "the identity provider is of another kind"}
	case err == nil && !to.Enabled:
		err = &Wrong{Reason: "the identity provider is disabled"}
	case err == nil && to.Settings.Unsupported != "":
		err = &Wrong{Reason: "nobody can sign in by the identity provider: " + to.Settings.Unsupported}
	}
	return to, err
}

// arrived makes a proof of who came from a provider.
func (s *Service) arrived(ctx context.Context, p Presented, to identity.Provider, v identity.Visitor) (Proof, error) {
	if !v.Until.IsZero() && !s.Now().Before(v.Until) {
		return Proof{}, named(to, &Wrong{Reason: "the session at the identity provider is over"})
	}
	u, err := s.Providers.Arrive(ctx, to, v)
	var stranger *identity.Stranger
	if errors.As(err, &stranger) {
		return Proof{}, named(to, wrongUser(stranger.User, stranger.Reason))
	}
	if err != nil {
		return Proof{}, err
	}
	c := s.caller(p, access.Principal{Kind: access.User, ID: u.ID, Name: u.Name})
	proof := Proof{Caller: c, Provider: to.ID, ProviderSession: session.AtProvider(v.Session), Until: v.Until}
	if longest := s.Now().Add(s.SessionMax); s.SessionMax > 0 && to.Kind != identity.LDAP && (proof.Until.IsZero() || longest.Before(proof.Until)) {
		proof.Until = longest
	}
	return proof, nil
}

type directories struct{ *Service }

// Prove implements Method with a password that a directory checks. An empty one never gets there: a directory would take it
// for nobody's, and let that in (rule F6).
func (s directories) Prove(ctx context.Context, p Presented) (Proof, error) {
	to, err := s.provider(ctx, p.Provider, identity.LDAP)
	if err != nil {
		return Proof{}, err
	}
	if p.Secret.Empty() || len(p.Secret.Reveal()) > secret.MaxPassword || identity.Login(p.Name) == "" {
		return Proof{}, &Wrong{Reason: "no name and password that a directory could be asked for"}
	}
	v, err := s.Directory.Bind(ctx, to, p.Name, p.Secret)
	if err != nil {
		return Proof{}, named(to, err)
	}
	return s.arrived(ctx, p, to, v)
}

type codes struct{ *Service }

// Prove implements Method with a code of an OpenID Connect provider: of the flow that the state or the code names, which a program
// began. A browser's flow is none: that finishes with its cookie alone.
func (s codes) Prove(ctx context.Context, p Presented) (Proof, error) {
	to, err := s.provider(ctx, p.Provider, identity.OIDC)
	if err != nil {
		return Proof{}, err
	}
	if p.landed != nil {
		return s.arrived(ctx, p, to, p.landed.Visitor)
	}
	f, err := s.flow(ctx, p, to)
	if err != nil {
		return Proof{}, err
	}
	back := Return{Code: p.Secret.Reveal()}
	if f != nil {
		back.State = f.State.Reveal()
	}
	v, err := s.visit(ctx, s.Federations[identity.OIDC], to, f, back)
	if err != nil {
		return Proof{}, err
	}
	if v.Email == "" || identity.FoldEmail(v.Email) != identity.Login(p.Name) {
		return Proof{}, &Wrong{Reason: "the e-mail address at the provider is another one"}
	}
	return s.arrived(ctx, p, to, v)
}

// flow takes the flow that a program finishes; nil where there is none, which is the provider's to allow. It is over then, whatever comes of it.
func (s codes) flow(ctx context.Context, p Presented, to identity.Provider) (*Flow, error) {
	now := s.Now()
	f, err := s.Flows.ByCode(ctx, p.Secret.Reveal(), now)
	if p.State != "" {
		f, err = s.Flows.ByState(ctx, p.State, now)
	}
	switch {
	case fault.Is(err, fault.NotFound) && p.State == "":
		return nil, nil
	case fault.Is(err, fault.NotFound):
		return nil, &Wrong{Reason: "no sign-in of that state is under way"}
	case err != nil:
		return nil, err
	case !f.Browser.Empty():
		return nil, &Wrong{Reason: "the sign-in was begun by a browser, which alone may finish it"}
	case f.Provider != to.ID:
		return nil, &Wrong{Reason: "the sign-in was begun at another identity provider"}
	}
	f, err = s.Flows.Take(ctx, f.ID, now)
	if fault.Is(err, fault.NotFound) {
		err = &Wrong{Reason: "the sign-in is finished already"}
	}
	return &f, err
}

type assertions struct{ *Service }

// Prove implements Method with the response of a SAML provider to a request that a program began, or, where a provider may do that, to none.
func (s assertions) Prove(ctx context.Context, p Presented) (Proof, error) {
	if p.landed != nil {
		to, err := s.provider(ctx, p.Provider, identity.SAML)
		if err != nil {
			return Proof{}, err
		}
		return s.arrived(ctx, p, to, p.landed.Visitor)
	}
	there := s.Federations[identity.SAML]
	back := Return{Response: p.Secret.Reveal()}
	back.State = there.StateOf(back)
	if back.State != p.State {
		return Proof{}, &Wrong{Reason: "the response is to another request than the one that was named"}
	}
	if p.State == "" {
		return s.unasked(ctx, p, there, back)
	}
	f, err := s.Flows.ByState(ctx, p.State, s.Now())
	switch {
	case fault.Is(err, fault.NotFound):
		return Proof{}, &Wrong{Reason: "no request of that id is under way"}
	case err != nil:
		return Proof{}, err
	case !f.Browser.Empty():
		return Proof{}, &Wrong{Reason: "the sign-in was begun by a browser, which alone may finish it"}
	}
	to, err := s.Providers.Store.ByID(ctx, f.Provider)
	if err != nil {
		return Proof{}, err
	}
	if to.Kind != identity.SAML {
		return Proof{}, &Wrong{Reason: "the sign-in was begun at another identity provider"}
	}
	v, err := s.visit(ctx, there, to, &f, back)
	if err != nil {
		return Proof{}, err
	}
	if _, err := s.Flows.Take(ctx, f.ID, s.Now()); err != nil {
		if fault.Is(err, fault.NotFound) {
			err = &Wrong{Reason: "the sign-in is finished already"}
		}
		return Proof{}, err
	}
	return s.arrived(ctx, p, to, v)
}

// unasked takes a response to no request of ours from whichever provider signed it and may begin by itself.
func (s assertions) unasked(ctx context.Context, p Presented, there Federation, back Return) (Proof, error) {
	all, err := s.Providers.Store.All(ctx)
	if err != nil {
		return Proof{}, err
	}
	err = &Wrong{Reason: "the response is to no request, and no identity provider may send such"}
	for _, to := range all {
		if to.Kind != identity.SAML || !to.Enabled || to.Settings.Unsupported != "" || !to.Settings.SAML.IDPInitiated {
			continue
		}
		v, why := s.visit(ctx, there, to, nil, back)
		if why == nil {
			return s.arrived(ctx, p, to, v)
		}
		if err = why; !errors.As(why, new(*Wrong)) {
			break
		}
	}
	return Proof{}, err
}

type clouds struct{ *Service }

// Prove implements Method with a request that was signed for AWS: who signed it is an application of that name.
func (s clouds) Prove(ctx context.Context, p Presented) (Proof, error) {
	arn, err := s.Cloud.Identify(ctx, p.Region, p.Headers, s.used)
	if err != nil {
		return Proof{}, err
	}
	a, err := s.Applications.ForLoginByName(ctx, strings.ToLower(p.Account), arn)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Proof{}, err
	}
	ok := a.AuthType == identity.ByAWSIAM && a.Name == arn
	return s.program(p, a, Proof{}, unfit(a, err, ok, "the application signs in otherwise", p))
}
