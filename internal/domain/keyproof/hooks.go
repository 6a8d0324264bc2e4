package keyproof

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Of names one session of a project.
type Of struct {
	Project string
	Kind    Kind
	ID      string
}

// session makes sure that the session exists and that the caller may do the action on it.
func (s *Service) session(ctx context.Context, by access.Caller, do access.Action, of Of) (Session, error) {
	if err := s.require(ctx, by, do, of.Project, of.Kind, of.ID); err != nil {
		return Session{}, err
	}
	session, err := s.Store.ByID(ctx, of.Project, of.Kind, of.ID)
	return session, known(err)
}

// AddWebhook gives a session, in any status, one more webhook.
func (s *Service) AddWebhook(ctx context.Context, by access.Caller, of Of, w webhook.Webhook) (webhook.Webhook, error) {
	session, err := s.session(ctx, by, access.KeyproofWebhook, of)
	if err != nil {
		return webhook.Webhook{}, err
	}
	w.Project = of.Project
	w, err = s.Webhooks.Add(ctx, of.ID, w, s.hookEvent(by, session, "add"))
	return w, known(err)
}

func (s *Service) hookEvent(by access.Caller, of Session, what string) audit.Event {
	return by.Event(s.Now(), access.KeyproofWebhook, of.resource(), audit.Done).With("change", what)
}

// ListWebhooks returns a page of a session's webhooks in order of creation.
func (s *Service) ListWebhooks(ctx context.Context, by access.Caller, of Of, w page.Window) (page.Page[webhook.Webhook], error) {
	p := page.Page[webhook.Webhook]{Window: w}
	_, err := s.session(ctx, by, access.KeyproofRead, of)
	if err != nil {
		return p, err
	}
	if p.Total, err = s.Webhooks.Store.Count(ctx, of.ID); err != nil {
		return p, err
	}
	p.Items, err = s.Webhooks.Store.OfOwner(ctx, of.ID, w.Offset, w.Limit)
	return p, err
}

// Webhook returns one webhook of a session.
func (s *Service) Webhook(ctx context.Context, by access.Caller, of Of, id string) (webhook.Webhook, error) {
	if _, err := s.session(ctx, by, access.KeyproofRead, of); err != nil {
		return webhook.Webhook{}, err
	}
	w, err := s.Webhooks.Store.ByID(ctx, of.ID, id)
	return w, knownHook(err)
}

// UpdateWebhook applies edit to a webhook of a session.
func (s *Service) UpdateWebhook(ctx context.Context, by access.Caller, of Of, id string, edit func(*webhook.Webhook)) (webhook.Webhook, error) {
	session, err := s.session(ctx, by, access.KeyproofWebhook, of)
	if err != nil {
		return webhook.Webhook{}, err
	}
	w, err := s.Webhooks.Change(ctx, of.ID, id, edit, s.hookEvent(by, session, "update"))
	return w, knownHook(err)
}

// DeleteWebhook removes a webhook of a session with its deliveries that have not started.
func (s *Service) DeleteWebhook(ctx context.Context, by access.Caller, of Of, id string) error {
	session, err := s.session(ctx, by, access.KeyproofWebhook, of)
	if err != nil {
		return err
	}
	return knownHook(s.Webhooks.Store.Delete(ctx, of.ID, id, s.hookEvent(by, session, "delete").With("webhook", id)))
}

func knownHook(err error) error {
	if fault.Is(err, fault.NotFound) {
		return ErrNoWebhook
	}
	return err
}
