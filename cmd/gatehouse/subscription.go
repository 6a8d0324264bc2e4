package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
)

const seeSubscriptions = "see `gatehouse webhook list`"

type subscriptionJSON struct {
	ID         string    `json:"id"`
	Number     int64     `json:"number"`
	URL        string    `json:"url"`
	Method     string    `json:"method"`
	Events     []string  `json:"events"`
	Retries    int       `json:"retries"`
	Backoff    int64     `json:"initial_backoff"`
	Multiplier float64   `json:"backoff_multiplier"`
	Position   int64     `json:"position"` // of the last entry of the audit chain that was looked at for it
	Created    time.Time `json:"created_at"`
}

func wireSubscription(x webhook.Subscription) subscriptionJSON {
	return subscriptionJSON{x.ID, x.Number, x.URL, x.Method, x.Events, x.Retries, x.InitialBackoff, x.BackoffMultiplier, x.Position, x.Created.UTC()}
}

type webhookAdd struct {
	Place
	Output
	URL        string   `arg:"" help:"Where events go: an http or https address. Private addresses must be allowed by sshverify.webhook_allow."`
	Event      []string `required:"" placeholder:"P" help:"Which events: a type such as session.start, the beginning of types such as session.*, or * for all. It may be given more than once."`
	Header     []string `placeholder:"NAME:VALUE" sep:"none" help:"Sent with each request. It may be given more than once; it is sealed and never shown."`
	Method     string   `placeholder:"M" enum:"post,put,patch" default:"post" help:"post, put or patch (${default})."`
	Retries    int      `placeholder:"N" default:"8" help:"After the first attempt (${default})."`
	Backoff    int64    `placeholder:"N" default:"10" help:"Seconds before the first retry (${default})."`
	Multiplier float64  `placeholder:"F" default:"2" help:"How much longer each further wait is (${default})."`
}

// Run adds the webhook. Its secret stands alone on standard output.
func (c *webhookAdd) Run(ctx context.Context, p *process) error {
	in := webhook.NewSubscription{
		URL: c.URL, Method: c.Method, Headers: map[string][]string{}, Events: c.Event, Retries: &c.Retries, InitialBackoff: c.Backoff, BackoffMultiplier: c.Multiplier,
	}
	for _, line := range c.Header {
		name, value, found := strings.Cut(line, ":")
		if !found {
			return usagef("--header: expected NAME:VALUE; correct it")
		}
		in.Headers[name] = append(in.Headers[name], strings.TrimSpace(value))
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		x, err := h.Subscriptions.Create(ctx, by, in)
		if errors.Is(err, webhook.ErrForbiddenAddress) {
			return fmt.Errorf("add webhook: %w; a private address must be named in sshverify.webhook_allow, for this command and for the server", err)
		}
		if err != nil {
			return failed("add webhook", err, seeSubscriptions)
		}
		if p.json {
			return p.printJSON(struct {
				subscriptionJSON
				Secret string `json:"secret"`
			}{wireSubscription(x), x.Secret.Reveal()})
		}
		fmt.Fprintln(p.out, x.Secret.Reveal())
		p.note("this is the only time that the signing secret is shown; the webhook is number %d", x.Number)
		return nil
	})
}

type webhookList struct {
	Place
	Output
}

// Run lists the webhooks of the installation.
func (c *webhookList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		all, err := h.Subscriptions.List(ctx, by)
		if err != nil {
			return failed("list webhooks", err, seeSubscriptions)
		}
		shown := make([]subscriptionJSON, len(all))
		for i, x := range all {
			shown[i] = wireSubscription(x)
		}
		return print(p, shown, []string{"NUMBER", "URL", "EVENTS", "RETRIES", "POSITION", "CREATED"}, func(x subscriptionJSON) []string {
			return []string{strconv.FormatInt(x.Number, 10), x.URL, joined(x.Events), strconv.Itoa(x.Retries), strconv.FormatInt(x.Position, 10), moment(x.Created)}
		})
	})
}

type webhookRemove struct {
	Place
	Ref string `arg:"" name:"number" help:"Number or id of the webhook."`
}

// Run ends the webhook.
func (c *webhookRemove) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		if err := h.Subscriptions.Delete(ctx, by, c.Ref); err != nil {
			return failed("remove webhook "+c.Ref, err, seeSubscriptions)
		}
		p.note("webhook %s is removed; what waited for it does not go out", c.Ref)
		return nil
	})
}

type webhookTest struct {
	Place
	Output
	Ref string `arg:"" name:"number" help:"Number or id of the webhook."`
}

// Run sends a test. The id of the delivery stands alone on standard output.
func (c *webhookTest) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		d, err := h.Subscriptions.Test(ctx, by, c.Ref)
		if err != nil {
			return failed("test webhook "+c.Ref, err, seeSubscriptions)
		}
		if p.json {
			return p.printJSON(wireDelivery(d))
		}
		fmt.Fprintln(p.out, d.ID)
		p.note("it goes out when a server runs; `gatehouse webhook show %s` tells how it went", d.ID)
		return nil
	})
}
