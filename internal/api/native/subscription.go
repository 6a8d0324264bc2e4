package native

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

func (a *API) subscriptions() tag {
	return tag{"Events", "What happens in the whole installation: pushed to webhooks, or followed as it happens. Types of events are the actions of the audit log.", []line{
		stream("GET", "/api/v1/events", access.EventRead, "Follow events as they happen", a.followEvents, says("Server-sent events: the id is the position in the sealed audit chain, the data one Event. By right all events; for everybody else those that concern their own sign-ins. The stream ends, with an event named end, when the session ends or the right is gone. A cookie opens it from pages of this server alone.")),
		op("GET", "/api/v1/subscriptions", access.SubscriptionRead, "List webhooks of the installation", a.listSubscriptions),
		op("POST", "/api/v1/subscriptions", access.SubscriptionCreate, "Add a webhook of the installation", a.createSubscription, fresh, created, says("It is told of what is sealed into the audit chain from now on. Requests are signed as Standard Webhooks says; the secret is shown this once.")),
		op("GET", "/api/v1/subscriptions/{subscription}", access.SubscriptionRead, "Show a webhook of the installation", a.showSubscription),
		op("DELETE", "/api/v1/subscriptions/{subscription}", access.SubscriptionDelete, "Remove a webhook of the installation", a.deleteSubscription, fresh, says("What waits for it does not go out.")),
		op("POST", "/api/v1/subscriptions/{subscription}/test", access.SubscriptionTest, "Send a webhook of the installation a test", a.testSubscription, created, says("An event of the type subscription.test, whatever it asked for. The answer is the delivery, which is on its way.")),
		op("GET", "/api/v1/subscriptions/{subscription}/deliveries", access.DeliveryRead, "List deliveries to a webhook of the installation, newest first", a.listEventDeliveries),
	}}
}

// wireSubscription is a webhook of the installation. Its headers and its secret are written, and never read.
type wireSubscription struct {
	ID         string    `json:"id" format:"uuid"`
	Number     int64     `json:"number"`
	URL        string    `json:"url"`
	Method     string    `json:"method" enum:"post,put,patch"`
	Events     []string  `json:"events" nullable:"false"`
	Retries    int       `json:"retries"`
	Backoff    int64     `json:"initial_backoff" doc:"Seconds before the first retry."`
	Multiplier float64   `json:"backoff_multiplier"`
	Position   int64     `json:"position" doc:"Of the last entry of the audit chain that was looked at for it."`
	CreatedAt  time.Time `json:"created_at"`
}

func subscriptionOf(x webhook.Subscription) wireSubscription {
	return wireSubscription{
		ID: x.ID, Number: x.Number, URL: x.URL, Method: x.Method, Events: x.Events, Retries: x.Retries, Backoff: x.InitialBackoff,
		Multiplier: x.BackoffMultiplier, Position: x.Position, CreatedAt: x.Created.UTC(),
	}
}

type createSubscription struct {
	Body wireNewSubscription
}

type wireNewSubscription struct {
	URL        string            `json:"url" maxLength:"2048" example:"https://siem.example.com/gatehouse"`
	Events     []string          `json:"events" nullable:"false" minItems:"1" maxItems:"64" example:"[\"session.*\",\"remote.*\"]" doc:"Patterns: a type, the beginning of types up to a dot with * behind it, or * for every event."`
	Method     string            `json:"method,omitempty" enum:"post,put,patch" default:"post"`
	Headers    map[string]string `json:"headers,omitempty" writeOnly:"true" doc:"Sent with each request; sealed, and never shown."`
	Retries    *int64            `json:"retries,omitempty" minimum:"0" maximum:"20" default:"8" doc:"After the first attempt."`
	Backoff    int64             `json:"initial_backoff,omitempty" minimum:"1" maximum:"86400" default:"10" doc:"Seconds before the first retry."`
	Multiplier float64           `json:"backoff_multiplier,omitempty" minimum:"1" maximum:"10" default:"2"`
	Secret     string            `json:"secret,omitempty" writeOnly:"true" maxLength:"128" doc:"whsec_ and the base64 of 24 to 64 bytes; made here where it is left out."`
}

// wireMadeSubscription is one with its secret, which is shown this once.
type wireMadeSubscription struct {
	wireSubscription
	Secret string `json:"secret" doc:"With which requests are signed. It is shown this once."`
}

func (a *API) createSubscription(ctx context.Context, by access.Caller, in createSubscription) (wireMadeSubscription, error) {
	b := in.Body
	draft := webhook.NewSubscription{
		URL: b.URL, Method: b.Method, Headers: map[string][]string{}, Events: b.Events, InitialBackoff: b.Backoff, BackoffMultiplier: b.Multiplier, Secret: secret.New(b.Secret),
	}
	for name, value := range b.Headers {
		draft.Headers[name] = []string{value}
	}
	if b.Retries != nil {
		retries := int(*b.Retries)
		draft.Retries = &retries
	}
	x, err := a.Subscriptions.Create(ctx, by, draft)
	if err != nil {
		return wireMadeSubscription{}, err
	}
	return wireMadeSubscription{subscriptionOf(x), x.Secret.Reveal()}, nil
}

func (a *API) listSubscriptions(ctx context.Context, by access.Caller, _ none) (wirePage[wireSubscription], error) {
	all, err := a.Subscriptions.List(ctx, by)
	return whole(all, subscriptionOf), err
}

type oneSubscription struct {
	Subscription string `path:"subscription" doc:"Its id or number."`
}

func (a *API) showSubscription(ctx context.Context, by access.Caller, in oneSubscription) (wireSubscription, error) {
	x, err := a.Subscriptions.Find(ctx, by, in.Subscription)
	return subscriptionOf(x), err
}

func (a *API) deleteSubscription(ctx context.Context, by access.Caller, in oneSubscription) (none, error) {
	return none{}, a.Subscriptions.Delete(ctx, by, in.Subscription)
}

func (a *API) testSubscription(ctx context.Context, by access.Caller, in oneSubscription) (wireDelivery, error) {
	d, err := a.Subscriptions.Test(ctx, by, in.Subscription)
	return deliveryOf(d), err
}

type listEventDeliveries struct {
	oneSubscription
	window
	State string `query:"state" enum:"pending,delivered,failed"`
}

func (a *API) listEventDeliveries(ctx context.Context, by access.Caller, in listEventDeliveries) (wirePage[wireDelivery], error) {
	w, err := in.page()
	if err != nil {
		return wirePage[wireDelivery]{}, err
	}
	x, err := a.Subscriptions.Find(ctx, by, in.Subscription)
	if err != nil {
		return wirePage[wireDelivery]{}, err
	}
	all, err := a.Webhooks.List(ctx, by, webhook.Filter{
		Webhook: x.ID, Entity: webhook.EventEntity, State: webhook.State(in.State), Before: w.After, Limit: int(w.Limit) + 1,
	})
	return pageOf(page.Cut(all, w, func(d webhook.Delivery) string { return d.ID }), deliveryOf), err
}
