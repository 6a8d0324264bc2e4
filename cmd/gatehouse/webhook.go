package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
)

type webhookCommands struct {
	Add    webhookAdd    `cmd:"" help:"Be told of events of the whole installation; prints the signing secret, this once."`
	List   webhookList   `cmd:"" help:"List the webhooks of the installation."`
	Remove webhookRemove `cmd:"" help:"Remove a webhook of the installation."`
	Test   webhookTest   `cmd:"" help:"Send a webhook of the installation a test event."`

	Deliveries webhookDeliveries `cmd:"" help:"List deliveries, newest first."`
	Show       webhookShow       `cmd:"" help:"Show one delivery with every attempt and what was answered."`
	Resend     webhookResend     `cmd:"" help:"Send ended deliveries once more, under the same invocation id."`
}

const seeDeliveries = "see `gatehouse webhook deliveries`"

type webhookDeliveries struct {
	Place
	Output
	Project string `placeholder:"KEY" help:"Only of this project."`
	Session string `placeholder:"ID" help:"Only of this session."`
	Webhook string `placeholder:"ID" help:"Only of this webhook: its id, or the number of one of the installation."`
	State   string `placeholder:"S" enum:",pending,delivered,failed" default:"" help:"Only in this state: pending, delivered or failed."`
	Limit   int    `placeholder:"N" default:"50" help:"At most so many (${default})."`
}

// Run lists deliveries.
func (c *webhookDeliveries) Run(ctx context.Context, p *process) error {
	if err := limited(int64(c.Limit)); err != nil {
		return err
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		filter := webhook.Filter{Owner: c.Session, Webhook: c.Webhook, State: webhook.State(c.State), Limit: c.Limit}
		if c.Project != "" {
			of, err := h.Projects.ByKey(ctx, by, c.Project)
			if err != nil {
				return failed("list deliveries of project "+c.Project, err, seeProjects)
			}
			filter.Project = of.ID
		}
		if _, err := strconv.ParseInt(c.Webhook, 10, 64); err == nil {
			x, err := h.Subscriptions.Find(ctx, by, c.Webhook)
			if err != nil {
				return failed("list deliveries of webhook "+c.Webhook, err, seeSubscriptions)
			}
			filter.Webhook, filter.Entity = x.ID, webhook.EventEntity
		}
		deliveries, err := h.Webhooks.List(ctx, by, filter)
		if err != nil {
			return failed("list deliveries", err, "correct the ids")
		}
		shown := make([]deliveryJSON, len(deliveries))
		for i, d := range deliveries {
			shown[i] = wireDelivery(d)
		}
		return print(p, shown, []string{"ID", "EVENT", "STATE", "ATTEMPTS", "STATUS", "WHEN", "REASON"}, func(d deliveryJSON) []string {
			return []string{d.ID, d.Event, d.State, strconv.Itoa(d.Attempts), httpStatus(d.Status), moment(d.Triggered), d.Reason}
		})
	})
}

type deliveryJSON struct {
	ID        string          `json:"id"` // the invocation id
	Webhook   string          `json:"webhook_id"`
	Session   string          `json:"session_id"`
	Project   string          `json:"project_id"`
	Event     string          `json:"event"`
	State     string          `json:"state"`
	Attempts  int             `json:"attempts"`
	Status    int             `json:"status"` // 0 where no answer came
	Reason    string          `json:"reason"`
	Triggered time.Time       `json:"triggered_at"`
	Due       *time.Time      `json:"due_at"` // of the next attempt, while pending
	Ended     *time.Time      `json:"ended_at"`
	Payload   json.RawMessage `json:"payload,omitempty"`
	Log       []attemptJSON   `json:"log,omitempty"`
}

type attemptJSON struct {
	Number  int       `json:"attempt"`
	Started time.Time `json:"started_at"`
	Took    float64   `json:"seconds"`
	Status  int       `json:"status"`
	Reason  string    `json:"reason"`
	Answer  string    `json:"answer"` // its first bytes
}

func wireDelivery(d webhook.Delivery) deliveryJSON {
	wire := deliveryJSON{
		ID: d.ID, Webhook: d.Webhook, Session: d.Owner, Project: d.Project, Event: d.Event, State: string(d.State),
		Attempts: d.Attempts, Status: d.Status, Reason: d.Reason, Triggered: d.Triggered.UTC(), Ended: optionalTime(d.Ended),
	}
	if d.State == webhook.Pending {
		wire.Due = optionalTime(d.Due)
	}
	return wire
}

func httpStatus(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

type webhookShow struct {
	Place
	Output
	ID string `arg:"" help:"Id of the delivery."`
}

// Run shows the delivery.
func (c *webhookShow) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		d, attempts, err := h.Webhooks.Show(ctx, by, c.ID)
		if err != nil {
			return failed("show delivery "+c.ID, err, seeDeliveries)
		}
		wire := wireDelivery(d)
		wire.Payload = d.Payload
		for _, a := range attempts {
			wire.Log = append(wire.Log, attemptJSON{a.Number, a.Started.UTC(), a.Took.Seconds(), a.Status, a.Reason, string(a.Answer)})
		}
		if p.json {
			return p.printJSON(wire)
		}
		p.show(wire)
		return nil
	})
}

// show prints a delivery for people: its facts, its payload, then each attempt.
func (p *process) show(d deliveryJSON) {
	for _, fact := range [][2]string{
		{"delivery", d.ID},
		{"event", d.Event},
		{"state", d.State},
		{"session", d.Session},
		{"webhook", d.Webhook},
		{"happened", moment(d.Triggered)},
		{"next try", ifAny(d.Due)},
		{"ended", ifAny(d.Ended)},
		{"payload", string(d.Payload)},
	} {
		if fact[1] != "" {
			fmt.Fprintf(p.out, "%-10s%s\n", fact[0], clean(fact[1]))
		}
	}
	for _, a := range d.Log {
		how := "no answer"
		if a.Status != 0 {
			how = "answered " + strconv.Itoa(a.Status)
		}
		if a.Reason != "" {
			how += ", " + a.Reason
		}
		fmt.Fprintf(p.out, "\nattempt %d  %s  %s in %s\n", a.Number, moment(a.Started), clean(how), time.Duration(a.Took*float64(time.Second)).Round(time.Millisecond))
		for line := range strings.Lines(a.Answer) {
			fmt.Fprintf(p.out, "  | %s\n", clean(strings.TrimRight(line, "\r\n")))
		}
	}
}

type webhookResend struct {
	Place
	IDs []string `arg:"" name:"id" help:"Ids of deliveries."`
}

// Run makes each delivery due again. One that cannot be does not keep the others back.
func (c *webhookResend) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		var wrong []error
		for _, id := range c.IDs {
			if err := h.Webhooks.Resend(ctx, by, id); err != nil {
				wrong = append(wrong, failed("send delivery "+id+" again", err, seeDeliveries))
				continue
			}
			p.note("%s goes out again when a server runs", id)
		}
		return errors.Join(wrong...)
	})
}
