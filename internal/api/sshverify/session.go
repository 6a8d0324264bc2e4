package sshverify

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// maxBody bounds request documents.
const maxBody = 1 << 20

// sessions handles the routes of one kind of session.
type sessions struct {
	*Dialect
	kind keyproof.Kind
}

func (s sessions) list(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	q := api.Query(r)
	query := keyproof.Query{Window: q.Window()}
	query.Status = keyproof.Status(q.String("status", api.OneOf(statuses[s.kind]...)))
	if id := q.String("external_id"); r.URL.Query().Has("external_id") {
		query.ExternalID = &id
	}
	if err := q.Done(); err != nil {
		return err
	}
	p, err := s.Sessions.List(r.Context(), by, projectOf(by), s.kind, query)
	if err != nil {
		return inQuery(err)
	}
	if s.kind == keyproof.Collect {
		return api.WriteJSON(w, http.StatusOK, pageOf(p, s.collectItem))
	}
	return api.WriteJSON(w, http.StatusOK, pageOf(p, s.verifyItem))
}

// statuses are those that a listing can be filtered by. Under strict_status the domain takes one away.
var statuses = map[keyproof.Kind][]string{
	keyproof.Verify:  {string(keyproof.Pending), string(keyproof.Verified), string(keyproof.Failed), string(keyproof.Expired)},
	keyproof.Collect: {string(keyproof.Pending), string(keyproof.Completed), string(keyproof.Expired)},
}

func (s sessions) create(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	if s.kind == keyproof.Collect {
		readEmptyAsObject(r)
	}
	d, err := api.Decode(r, maxBody)
	if err != nil {
		return err
	}
	draft := s.read(d.Object(), true).draft()
	draft.Webhooks = s.readHooks(d.Object())
	if err := d.Done(); err != nil {
		return err
	}
	made, err := s.Sessions.Create(r.Context(), by, projectOf(by), s.kind, draft)
	if err != nil {
		return api.InBody(err)
	}
	return api.WriteJSON(w, http.StatusCreated, s.detail(made))
}

func (s sessions) show(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	of, err := s.of(r, by)
	if err != nil {
		return err
	}
	found, err := s.Sessions.Session(r.Context(), by, of.Project, of.Kind, of.ID)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, s.detail(found))
}

func (s sessions) update(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	of, err := s.found(r, by)
	if err != nil {
		return err
	}
	d, err := api.Decode(r, maxBody)
	if err != nil {
		return err
	}
	edit := s.read(d.Object(), false).edit()
	if err := d.Done(); err != nil {
		return err
	}
	changed, err := s.Sessions.Update(r.Context(), by, of.Project, of.Kind, of.ID, edit)
	if err != nil {
		return api.InBody(err)
	}
	return api.WriteJSON(w, http.StatusOK, s.detail(changed))
}

func (s sessions) complete(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	of, err := s.of(r, by)
	if err != nil {
		return err
	}
	ended, err := s.Sessions.Complete(r.Context(), by, of.Project, of.Kind, of.ID)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, s.detail(ended))
}

func (s sessions) remove(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	of, err := s.of(r, by)
	if err != nil {
		return err
	}
	if err := s.Sessions.Delete(r.Context(), by, of.Project, of.Kind, of.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// of reads which session the path names. What is not spelled like an id of ours names none.
func (s sessions) of(r *http.Request, by access.Caller) (keyproof.Of, error) {
	id := r.PathValue("session")
	if !isID(id) {
		return keyproof.Of{}, keyproof.ErrNoSession
	}
	return keyproof.Of{Project: projectOf(by), Kind: s.kind, ID: id}, nil
}

// found is of for requests with a body: it is not looked at where there is no session.
func (s sessions) found(r *http.Request, by access.Caller) (keyproof.Of, error) {
	of, err := s.of(r, by)
	if err == nil {
		_, err = s.Sessions.Session(r.Context(), by, of.Project, of.Kind, of.ID)
	}
	return of, err
}

// isID reports whether a text is a UUID in its usual spelling. An id is a name and opens nothing (rule W1).
func isID(text string) bool {
	id, err := uuid.Parse(text)
	return err == nil && id.String() == text
}

// readEmptyAsObject makes a body without a single byte an empty object.
func readEmptyAsObject(r *http.Request) {
	body := bufio.NewReader(r.Body)
	r.Body = io.NopCloser(body) // the server closes the original
	if _, err := body.Peek(1); errors.Is(err, io.EOF) {
		r.Body = io.NopCloser(strings.NewReader("{}"))
	}
}

// fields are what creating and updating a session have in common.
type fields struct {
	keys                                             keyproof.To[[]keyproof.KeyDraft]
	externalID, banner, message                      api.Optional[string]
	matchAll, multiKey, multiConnection, mustConfirm api.Optional[bool]
	attempts                                         api.Optional[int32]
	expires                                          api.Optional[time.Time]
	timeout                                          api.Optional[int64]
}

// read asks for the members of a session in the order in which their faults are reported. A collect
// session has no keys, match_all_keys and max_attempts: there they are unexpected.
func (s sessions) read(in *api.Object, create bool) fields {
	var f fields
	verify := s.kind == keyproof.Verify
	if verify {
		f.keys = s.readKeys(in, create)
	}
	f.externalID = in.String("external_id", api.Nullable, api.MaxLength(keyproof.MaxText), api.Text)
	if verify {
		f.matchAll = in.Bool("match_all_keys")
	}
	f.multiKey = in.Bool("multi_key")
	f.multiConnection = in.Bool("multi_connection")
	f.mustConfirm = in.Bool("must_confirm")
	if verify {
		f.attempts = in.Int32("max_attempts", api.Between(1, keyproof.MaxAttempts))
	}
	f.banner = in.String("ssh_banner", api.Nullable, api.MaxLength(keyproof.MaxMessage), api.Text)
	f.message = in.String("ssh_message", api.Nullable, api.MaxLength(keyproof.MaxMessage), api.Text)
	f.expires = readExpiry(in)
	f.timeout = in.Int64("timeout", api.Nullable, api.Between(1, int64(keyproof.MaxTimeout/time.Second)))
	return f
}

func (s sessions) readKeys(in *api.Object, create bool) keyproof.To[[]keyproof.KeyDraft] {
	listed := in.Array("keys", needed(create, api.Count(1, s.Sessions.MaxKeys))...)
	drafts := make([]keyproof.KeyDraft, listed.Len())
	for i := range drafts {
		drafts[i] = readKey(listed.Object(i))
	}
	return keyproof.To[[]keyproof.KeyDraft]{Set: listed.Set, Value: drafts}
}

// readKey reads a key. Faults never repeat what was sent as one: it may be a private key.
func readKey(in *api.Object) keyproof.KeyDraft {
	line := in.String("public_key", api.Required, api.Secret)
	public, err := sshkey.Parse(line.Value)
	if err != nil {
		in.Fault("public_key", fault.Text(err), nil)
	}
	return keyproof.KeyDraft{
		Public:     public,
		Name:       in.String("name", api.Nullable, api.MaxLength(keyproof.MaxText), api.Text).Pointer(),
		ExternalID: in.String("external_id", api.Nullable, api.MaxLength(keyproof.MaxText), api.Text).Pointer(),
	}
}

// readExpiry reads a moment as exactly as it is kept.
func readExpiry(in *api.Object) api.Optional[time.Time] {
	at := in.Time("expired_at", api.Nullable)
	if at.Value.Year() > 9999 { // the last hours of a year west of Greenwich: no answer could repeat it
		in.Fault("expired_at", "expected string to be RFC 3339 date-time", nil)
	}
	at.Value = moment(at.Value)
	if at.Pointer() != nil && !at.Value.After(time.Time{}) {
		at.Value = time.Time{}.Add(time.Microsecond) // the zero time is never, and this one is long past
	}
	return at
}

// needed adds Required to the rules of a member that only one of two operations needs.
func needed(yes bool, rules ...api.Rule) []api.Rule {
	if yes {
		return append(rules, api.Required)
	}
	return rules
}

// draft fills in the wire's defaults.
func (f fields) draft() keyproof.Draft {
	return keyproof.Draft{
		Options: keyproof.Options{
			ExternalID: f.externalID.Pointer(), Banner: f.banner.Pointer(), Message: f.message.Pointer(),
			MatchAllKeys: f.matchAll.Value, MultiKey: f.multiKey.Value,
			MultiConnection: f.multiConnection.Value, MustConfirm: f.mustConfirm.Value,
			MaxAttempts: int(f.attempts.Or(1)),
		},
		Keys:    f.keys.Value,
		Timeout: time.Duration(f.timeout.Value) * time.Second,
		Expires: f.expires.Value,
	}
}

// edit keeps what is absent and clears what is null.
func (f fields) edit() keyproof.Edit {
	return keyproof.Edit{
		ExternalID: text(f.externalID), Banner: text(f.banner), Message: text(f.message),
		MatchAllKeys: to(f.matchAll), MultiKey: to(f.multiKey), MultiConnection: to(f.multiConnection), MustConfirm: to(f.mustConfirm),
		MaxAttempts: keyproof.To[int]{Set: f.attempts.Set, Value: int(f.attempts.Value)},
		Keys:        f.keys,
		Timeout:     keyproof.To[time.Duration]{Set: f.timeout.Set, Value: time.Duration(f.timeout.Value) * time.Second},
		Expires:     to(f.expires),
	}
}

func to[T any](o api.Optional[T]) keyproof.To[T] {
	return keyproof.To[T]{Set: o.Set, Value: o.Value}
}

func text(o api.Optional[string]) keyproof.To[*string] {
	return keyproof.To[*string]{Set: o.Set, Value: o.Pointer()}
}

// readHooks reads the webhooks that a session is created with.
func (s sessions) readHooks(in *api.Object) []webhook.Webhook {
	listed := in.Array("webhooks", api.Nullable, api.Count(0, s.Sessions.MaxHooks))
	hooks := make([]webhook.Webhook, listed.Len())
	for i := range hooks {
		s.readHook(listed.Object(i), true).apply(&hooks[i])
	}
	return hooks
}
