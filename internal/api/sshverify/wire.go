package sshverify

import (
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Errors that this door makes by itself.
var (
	errKey        = fault.New(fault.Unauthenticated, "Missing, unknown or expired API key")
	errBudget     = fault.New(fault.Limited, "Rate limit exceeded")
	errNoEndpoint = fault.New(fault.NotFound, "No such endpoint")
	errMethod     = fault.New(fault.Invalid, "Method not allowed")
)

// fail is the table from fault to answer: the number by status, the detail by the fault's own text.
// Who is not known, or has guessed too often, reads one text whatever the reason.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	var blocked *login.Blocked
	if errors.As(err, &blocked) {
		w.Header().Set("Retry-After", seconds(blocked.RetryAfter))
	}
	switch fault.KindOf(err) {
	case fault.Unauthenticated:
		w.Header().Set("WWW-Authenticate", "ApiKey")
		w.Header().Del("Allow")
		err = errKey
	case fault.Limited:
		err = errBudget
	}
	api.Problems(status)(w, r, err)
}

// status is the number of a fault: that of its kind, but for what has a number of its own.
//
//	400 Invalid    413 api.ErrTooLarge    422 api.ErrFields
//	401 Unauthenticated                   415 api.ErrMediaType
//	404 NotFound   405 errMethod          429 Limited
//	409 Conflict                          500 Internal
func status(err error) int {
	if errors.Is(err, errMethod) {
		return http.StatusMethodNotAllowed
	}
	return api.Status(err)
}

// inQuery places the fields of the domain's fault in the query: they are faults like those that the
// door finds there.
func inQuery(err error) error {
	fields := fault.FieldsOf(err)
	if len(fields) == 0 {
		return err
	}
	moved := fault.Wrap(fault.Invalid, api.ErrFields.Text, api.ErrFields)
	for _, f := range fields {
		f.Path = "query." + f.Path
		moved.Fields = append(moved.Fields, f)
	}
	return moved
}

// wireAuthInfo is what a key is.
type wireAuthInfo struct {
	ID        string     `json:"id" doc:"The id of the API key."`
	Name      string     `json:"name" doc:"The name that the key was given."`
	ProjectID string     `json:"project_id" doc:"The project whose sessions the key opens."`
	CreatedAt time.Time  `json:"created_at"`
	ExpiredAt *time.Time `json:"expired_at" doc:"When the key stops working; null is never."`
}

// wirePage is one part of a listing.
type wirePage[T any] struct {
	Items   []T   `json:"items"`
	Total   int64 `json:"total" doc:"How many items there are in all."`
	Offset  int64 `json:"offset"`
	Limit   int64 `json:"limit" doc:"The limit that was applied, at most 100."`
	HasMore bool  `json:"has_more"`
}

func pageOf[From, To any](p page.Page[From], as func(From) To) wirePage[To] {
	return wirePage[To]{list(p.Items, as), p.Total, p.Window.Offset, p.Window.Limit, p.HasMore()}
}

// wireVerifyItem is a verify session in a listing.
type wireVerifyItem struct {
	ID                   string     `json:"id"`
	ConnectionIdentifier string     `json:"connection_identifier" doc:"The SSH user name that leads to the session."`
	Status               string     `json:"status" enum:"pending,verified,failed,expired" doc:"Expired reads failed where the project has strict_status on."`
	ExternalID           *string    `json:"external_id"`
	CreatedAt            time.Time  `json:"created_at"`
	UpdatedAt            time.Time  `json:"updated_at"`
	ExpiredAt            *time.Time `json:"expired_at" doc:"When the session expires or expired; null is never."`
	MatchAllKeys         bool       `json:"match_all_keys"`
	MaxAttempts          int32      `json:"max_attempts" minimum:"1"`
	MultiConnection      bool       `json:"multi_connection"`
	MultiKey             bool       `json:"multi_key"`
	MustConfirm          bool       `json:"must_confirm"`
	SSHBanner            *string    `json:"ssh_banner"`
	SSHMessage           *string    `json:"ssh_message"`
}

// wireVerify is all of a verify session.
type wireVerify struct {
	wireVerifyItem
	Keys        []wireKey              `json:"keys" doc:"The listed keys, in the order in which they came."`
	Connections []wireVerifyConnection `json:"connections" doc:"Oldest first."`
	Webhooks    []wireWebhook          `json:"webhooks" doc:"In order of creation."`
}

// wireVerifyConnection is an SSH connection to a verify session.
type wireVerifyConnection struct {
	ID            string    `json:"id"`
	IPAddress     string    `json:"ip_address"`
	ClientVersion string    `json:"client_version"`
	CreatedAt     time.Time `json:"created_at"`
	Keys          []wireKey `json:"keys" doc:"The keys that signed on this connection."`
}

// wireKey is a key of a verify session. What was sent as public_key is not repeated.
type wireKey struct {
	ID                 string     `json:"id"`
	ExternalID         *string    `json:"external_id"`
	Name               *string    `json:"name"`
	PublicKeyAlgorithm string     `json:"public_key_algorithm"`
	PublicKeyMD5       string     `json:"public_key_md5"`
	PublicKeySHA256    string     `json:"public_key_sha256"`
	PublicKeyPEM       string     `json:"public_key_pem"`
	PublicKeySSH       string     `json:"public_key_ssh"`
	VerifiedAt         *time.Time `json:"verified_at"`
}

// wireCollectItem is a collect session in a listing.
type wireCollectItem struct {
	ID                   string     `json:"id"`
	ConnectionIdentifier string     `json:"connection_identifier" doc:"The SSH user name that leads to the session."`
	Status               string     `json:"status" enum:"pending,completed,expired"`
	ExternalID           *string    `json:"external_id"`
	CreatedAt            time.Time  `json:"created_at"`
	UpdatedAt            time.Time  `json:"updated_at"`
	ExpiredAt            *time.Time `json:"expired_at" doc:"When the session expires or expired; null is never."`
	MultiConnection      bool       `json:"multi_connection"`
	MultiKey             bool       `json:"multi_key"`
	MustConfirm          bool       `json:"must_confirm"`
	SSHBanner            *string    `json:"ssh_banner"`
	SSHMessage           *string    `json:"ssh_message"`
}

// wireCollect is all of a collect session.
type wireCollect struct {
	wireCollectItem
	Connections []wireCollectConnection `json:"connections" doc:"Oldest first."`
	Webhooks    []wireWebhook           `json:"webhooks" doc:"In order of creation."`
}

// wireCollectConnection is an SSH connection to a collect session.
type wireCollectConnection struct {
	ID            string             `json:"id"`
	IPAddress     string             `json:"ip_address"`
	ClientVersion string             `json:"client_version"`
	CreatedAt     time.Time          `json:"created_at"`
	Keys          []wireCollectedKey `json:"keys" doc:"The keys that the connection offered. An offer is no proof of possession."`
}

// wireCollectedKey is a key that was offered.
type wireCollectedKey struct {
	ID                 string    `json:"id" doc:"The id of this key in this connection."`
	CreatedAt          time.Time `json:"created_at"`
	PublicKeyAlgorithm string    `json:"public_key_algorithm"`
	PublicKeyMD5       string    `json:"public_key_md5"`
	PublicKeySHA256    string    `json:"public_key_sha256"`
	PublicKeyPEM       string    `json:"public_key_pem"`
	PublicKeySSH       string    `json:"public_key_ssh"`
}

// wireWebhook is a webhook. Its secret never leaves.
type wireWebhook struct {
	ID                string              `json:"id"`
	URL               string              `json:"url"`
	Method            string              `json:"method" enum:"post,put,patch"`
	Headers           map[string][]string `json:"headers"`
	Events            []string            `json:"events" doc:"The events to call for; none means all."`
	Retries           int32               `json:"retries"`
	InitialBackoff    int64               `json:"initial_backoff" doc:"Seconds before the first retry."`
	BackoffMultiplier float64             `json:"backoff_multiplier"`
}

func (d *Dialect) verifyItem(s keyproof.Session) wireVerifyItem {
	return wireVerifyItem{
		ID: s.ID, ConnectionIdentifier: s.Identifier, Status: string(s.Shown(d.Now())), ExternalID: s.ExternalID,
		CreatedAt: moment(s.Created), UpdatedAt: moment(s.Updated), ExpiredAt: maybe(s.Expires),
		MatchAllKeys: s.MatchAllKeys, MaxAttempts: int32(s.MaxAttempts), //nolint:gosec // at most keyproof.MaxAttempts
		MultiConnection: s.MultiConnection, MultiKey: s.MultiKey, MustConfirm: s.MustConfirm,
		SSHBanner: s.Banner, SSHMessage: s.Message,
	}
}

func (d *Dialect) collectItem(s keyproof.Session) wireCollectItem {
	return wireCollectItem{
		ID: s.ID, ConnectionIdentifier: s.Identifier, Status: string(s.Shown(d.Now())), ExternalID: s.ExternalID,
		CreatedAt: moment(s.Created), UpdatedAt: moment(s.Updated), ExpiredAt: maybe(s.Expires),
		MultiConnection: s.MultiConnection, MultiKey: s.MultiKey, MustConfirm: s.MustConfirm,
		SSHBanner: s.Banner, SSHMessage: s.Message,
	}
}

// detail is all of a session, in the form of its kind.
func (d *Dialect) detail(s keyproof.Detail) any {
	hooks := list(s.Webhooks, hookOf)
	if s.Kind == keyproof.Collect {
		return wireCollect{d.collectItem(s.Session), list(s.Connections, collectConnection), hooks}
	}
	return wireVerify{d.verifyItem(s.Session), list(s.Keys, listedKey), list(s.Connections, verifyConnection), hooks}
}

func verifyConnection(c keyproof.Connection) wireVerifyConnection {
	return wireVerifyConnection{c.ID, c.Address, c.ClientVersion, moment(c.Created), list(c.Keys, provenKey)}
}

func collectConnection(c keyproof.Connection) wireCollectConnection {
	return wireCollectConnection{c.ID, c.Address, c.ClientVersion, moment(c.Created), list(c.Keys, collectedKey)}
}

func listedKey(k keyproof.Key) wireKey {
	return wireKeyOf(k.Public, wireKey{ID: k.ID, ExternalID: k.ExternalID, Name: k.Name, VerifiedAt: maybe(k.Verified)})
}

// provenKey has the id of the session's key and the moment of this connection's signature.
func provenKey(k keyproof.ConnectionKey) wireKey {
	return wireKeyOf(k.Public, wireKey{ID: k.Key, ExternalID: k.ExternalID, Name: k.Name, VerifiedAt: maybe(k.At)})
}

func wireKeyOf(public sshkey.Key, k wireKey) wireKey {
	k.PublicKeyAlgorithm, k.PublicKeyMD5, k.PublicKeySHA256 = public.Type(), public.MD5(), public.SHA256()
	k.PublicKeyPEM, k.PublicKeySSH = public.PEM(), public.SSH()
	return k
}

func collectedKey(k keyproof.ConnectionKey) wireCollectedKey {
	return wireCollectedKey{
		ID: k.ID, CreatedAt: moment(k.At),
		PublicKeyAlgorithm: k.Public.Type(), PublicKeyMD5: k.Public.MD5(), PublicKeySHA256: k.Public.SHA256(),
		PublicKeyPEM: k.Public.PEM(), PublicKeySSH: k.Public.SSH(),
	}
}

func hookOf(w webhook.Webhook) wireWebhook {
	headers := make(map[string][]string, len(w.Headers))
	for name, values := range w.Headers {
		headers[name] = list(values, same)
	}
	return wireWebhook{
		ID: w.ID, URL: w.URL, Method: w.Method, Headers: headers, Events: list(w.Events, same),
		Retries: int32(w.Retries), InitialBackoff: w.InitialBackoff, BackoffMultiplier: w.BackoffMultiplier, //nolint:gosec // at most webhook.MaxRetries
	}
}

// list turns a list of ours into one of the wire, which is never null.
func list[From, To any](from []From, as func(From) To) []To {
	out := make([]To, len(from))
	for i := range from {
		out[i] = as(from[i])
	}
	return out
}

func same(s string) string { return s }

// moment is a time as the wire has it: UTC, microseconds at most.
func moment(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// maybe is a time that may not be there.
func maybe(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = moment(t)
	return &t
}
