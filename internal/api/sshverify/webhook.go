package sshverify

import (
	"net/http"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

func (s sessions) listWebhooks(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	of, err := s.found(r, by)
	if err != nil {
		return err
	}
	q := api.Query(r)
	window := q.Window()
	if err := q.Done(); err != nil {
		return err
	}
	p, err := s.Sessions.ListWebhooks(r.Context(), by, of, window)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, pageOf(p, hookOf))
}

func (s sessions) addWebhook(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	of, err := s.found(r, by)
	if err != nil {
		return err
	}
	d, err := api.Decode(r, maxBody)
	if err != nil {
		return err
	}
	var draft webhook.Webhook
	s.readHook(d.Object(), true).apply(&draft)
	if err := d.Done(); err != nil {
		return err
	}
	added, err := s.Sessions.AddWebhook(r.Context(), by, of, draft)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusCreated, hookOf(added))
}

func (s sessions) showWebhook(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	of, id, err := s.webhook(r, by)
	if err != nil {
		return err
	}
	found, err := s.Sessions.Webhook(r.Context(), by, of, id)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, hookOf(found))
}

func (s sessions) updateWebhook(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	of, id, err := s.foundWebhook(r, by)
	if err != nil {
		return err
	}
	d, err := api.Decode(r, maxBody)
	if err != nil {
		return err
	}
	in := s.readHook(d.Object(), false)
	if err := d.Done(); err != nil {
		return err
	}
	changed, err := s.Sessions.UpdateWebhook(r.Context(), by, of, id, in.apply)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, hookOf(changed))
}

func (s sessions) removeWebhook(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	of, id, err := s.webhook(r, by)
	if err != nil {
		return err
	}
	if err := s.Sessions.DeleteWebhook(r.Context(), by, of, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// webhook reads which webhook the path names. A session that is not there comes before one that is
// not spelled like an id.
func (s sessions) webhook(r *http.Request, by access.Caller) (of keyproof.Of, id string, err error) {
	id = r.PathValue("webhook")
	if isID(id) {
		of, err = s.of(r, by)
		return of, id, err
	}
	if of, err = s.found(r, by); err == nil {
		err = keyproof.ErrNoWebhook
	}
	return of, id, err
}

// foundWebhook is webhook for requests with a body: it is not looked at where there is no webhook.
func (s sessions) foundWebhook(r *http.Request, by access.Caller) (keyproof.Of, string, error) {
	of, id, err := s.webhook(r, by)
	if err == nil {
		_, err = s.Sessions.Webhook(r.Context(), by, of, id)
	}
	return of, id, err
}

// hookFields are what creating and updating a webhook have in common.
type hookFields struct {
	url, method, secret api.Optional[string]
	headers             keyproof.To[map[string][]string]
	events              keyproof.To[[]string]
	retries             api.Optional[int32]
	backoff             api.Optional[int64]
	multiplier          api.Optional[float64]
}

// readHook asks for the members of a webhook in the order in which their faults are reported. Creating
// one needs its address; updating one, by PATCH as by PUT, needs the three numbers.
func (s sessions) readHook(in *api.Object, create bool) hookFields {
	f := hookFields{url: s.readURL(in, create)}
	f.method = in.String("method", api.OneOf(webhook.Methods...))
	f.headers = readHeaders(in)
	f.events = readEvents(in, keyproof.Events(s.kind))
	f.retries = in.Int32("retries", needed(!create, api.Between(0, webhook.MaxRetries))...)
	f.backoff = in.Int64("initial_backoff", needed(!create, api.Between(1, webhook.MaxInitialBackoff))...)
	f.multiplier = in.Number("backoff_multiplier", needed(!create, api.Between(1, webhook.MaxMultiplier))...)
	f.secret = in.String("secret", api.Nullable, api.Secret)
	if f.secret.Pointer() != nil {
		refuseMember(in, "secret", webhook.CheckSecret(secret.New(f.secret.Value)))
	}
	return f
}

// readURL reads an address. Faults do not repeat it: many addresses hold a token.
func (s sessions) readURL(in *api.Object, create bool) api.Optional[string] {
	at := in.String("url", needed(create, api.Secret)...)
	if at.Set {
		refuseMember(in, "url", webhook.CheckURL(at.Value, s.Sessions.Webhooks.Allowed))
	}
	return at
}

func readHeaders(in *api.Object) keyproof.To[map[string][]string] {
	members := in.Object("headers", api.Secret)
	headers := map[string][]string{}
	for _, name := range members.Names() {
		values := members.Array(name, api.Nullable)
		headers[name] = make([]string, values.Len())
		for i := range headers[name] {
			headers[name][i] = values.String(i)
		}
	}
	if members.Set {
		refuseMember(in, "headers", webhook.CheckHeaders(headers))
	}
	return keyproof.To[map[string][]string]{Set: members.Set, Value: headers}
}

// readEvents reads which events to call for, each once.
func readEvents(in *api.Object, known []string) keyproof.To[[]string] {
	listed := in.Array("events", api.Nullable)
	var events []string
	for i := range listed.Len() {
		if e := listed.String(i, api.OneOf(known...)); !slices.Contains(events, e) {
			events = append(events, e)
		}
	}
	return keyproof.To[[]string]{Set: listed.Set, Value: events}
}

// refuseMember reports what the domain finds wrong with a member, if anything.
func refuseMember(in *api.Object, name string, err error) {
	if err != nil {
		in.Fault(name, fault.Text(err), nil)
	}
}

// apply puts what was sent into w and leaves the rest as it is.
func (f hookFields) apply(w *webhook.Webhook) {
	w.URL, w.Method = f.url.Or(w.URL), f.method.Or(w.Method)
	if f.headers.Set {
		w.Headers = f.headers.Value
	}
	if f.events.Set {
		w.Events = f.events.Value
	}
	w.Retries = int(f.retries.Or(int32(w.Retries))) //nolint:gosec // at most webhook.MaxRetries
	w.InitialBackoff, w.BackoffMultiplier = f.backoff.Or(w.InitialBackoff), f.multiplier.Or(w.BackoffMultiplier)
	if f.secret.Set {
		w.Secret = secret.New(f.secret.Value)
	}
}
