package sshverify

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
)

// wireDraft is the body that makes a verify session; other bodies of sessions have some of its members.
// It is only described by: reading goes member by member (see sessions.read), and a test compares the two.
type wireDraft struct {
	Keys            []wireKeyDraft  `json:"keys" nullable:"false" minItems:"1" doc:"The public keys of which one, or with match_all_keys each, must be proven."`
	ExternalID      *string         `json:"external_id,omitempty" nullable:"true" maxLength:"255" doc:"Your own name for the session; need not be unique."`
	MatchAllKeys    bool            `json:"match_all_keys,omitempty" default:"false" doc:"All listed keys must be proven: in one connection, or over several with multi_connection."`
	MultiKey        bool            `json:"multi_key,omitempty" default:"false" doc:"Look at several keys of a connection instead of the first that counts."`
	MultiConnection bool            `json:"multi_connection,omitempty" default:"false" doc:"Stay open over several connections, until the session is completed."`
	MustConfirm     bool            `json:"must_confirm,omitempty" default:"false" doc:"Nothing counts before the person at the SSH client has pressed y."`
	MaxAttempts     int32           `json:"max_attempts,omitempty" default:"1" minimum:"1" maximum:"1000" doc:"Failed attempts after which the session has failed."`
	SSHBanner       *string         `json:"ssh_banner,omitempty" nullable:"true" maxLength:"4096" doc:"Shown before authentication."`
	SSHMessage      *string         `json:"ssh_message,omitempty" nullable:"true" maxLength:"4096" doc:"Shown after authentication."`
	ExpiredAt       *time.Time      `json:"expired_at,omitempty" nullable:"true" doc:"When the session expires. Not together with timeout; without both it never does."`
	Timeout         *int64          `json:"timeout,omitempty" nullable:"true" minimum:"1" maximum:"31536000" example:"300" doc:"Seconds until the session expires. Not together with expired_at."`
	Webhooks        []wireHookDraft `json:"webhooks,omitempty" nullable:"true"`
}

// wireKeyDraft is a key to list.
type wireKeyDraft struct {
	PublicKey  string  `json:"public_key" maxLength:"16384" example:"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMqHLLbvV1Yk6ELEcHHpyYxHSk52Wnk0tL1vDSp8Lxc5 ana@laptop" doc:"An OpenSSH public key line, a PEM public key, or an RFC 4716 block."`
	Name       *string `json:"name,omitempty" nullable:"true" maxLength:"255" doc:"Shown to the person who connects."`
	ExternalID *string `json:"external_id,omitempty" nullable:"true" maxLength:"255"`
}

// wireHookDraft is the body that makes or changes a webhook.
type wireHookDraft struct {
	URL               string              `json:"url" format:"uri" maxLength:"2048" example:"https://shop.example/hook" doc:"An http or https address without user information and fragment."`
	Method            string              `json:"method,omitempty" enum:"post,put,patch" default:"post"`
	Headers           map[string][]string `json:"headers,omitempty" doc:"Headers to send along: at most 32 names, 8 KiB in all."`
	Events            []string            `json:"events,omitempty" nullable:"true" doc:"The events to call for; none means all."`
	Retries           int32               `json:"retries,omitempty" default:"0" minimum:"0" maximum:"20" doc:"Requests after the first one failed."`
	InitialBackoff    int64               `json:"initial_backoff,omitempty" default:"10" minimum:"1" maximum:"86400" doc:"Seconds before the first retry."`
	BackoffMultiplier float64             `json:"backoff_multiplier,omitempty" default:"2" minimum:"1" maximum:"10" doc:"What each retry's delay is multiplied by."`
	Secret            *string             `json:"secret,omitempty" nullable:"true" writeOnly:"true" doc:"Signs deliveries as Standard Webhooks do: whsec_ and the base64 of 24 to 64 bytes."`
}

// schemaNames are the names of the wire types in the document.
var schemaNames = map[reflect.Type]string{
	reflect.TypeFor[wireAuthInfo]():              "KeyInfo",
	reflect.TypeFor[wireVerifyItem]():            "VerifySessionItem",
	reflect.TypeFor[wireVerify]():                "VerifySession",
	reflect.TypeFor[wireVerifyConnection]():      "VerifyConnection",
	reflect.TypeFor[wireKey]():                   "VerifyKey",
	reflect.TypeFor[wireCollectItem]():           "CollectSessionItem",
	reflect.TypeFor[wireCollect]():               "CollectSession",
	reflect.TypeFor[wireCollectConnection]():     "CollectConnection",
	reflect.TypeFor[wireCollectedKey]():          "CollectedKey",
	reflect.TypeFor[wireWebhook]():               "SessionWebhook",
	reflect.TypeFor[wirePage[wireVerifyItem]]():  "VerifySessionPage",
	reflect.TypeFor[wirePage[wireCollectItem]](): "CollectSessionPage",
	reflect.TypeFor[wirePage[wireWebhook]]():     "SessionWebhookPage",
	reflect.TypeFor[wireDraft]():                 "VerifySessionCreate",
	reflect.TypeFor[wireKeyDraft]():              "VerifyKeyCreate",
	reflect.TypeFor[wireHookDraft]():             "VerifyWebhookCreate",
}

const (
	schemaPrefix = "#/components/schemas/"
	keyScheme    = "apiKey"
)

// Describe adds the operations of the wire, with their schemas, to a document.
func (d *Dialect) Describe(doc *huma.OpenAPI) {
	b := describer{doc: doc, own: huma.NewMapRegistry(schemaPrefix, func(t reflect.Type, hint string) string {
		if name, ok := schemaNames[t]; ok {
			return name
		}
		return hint
	})}
	if doc.Components.SecuritySchemes == nil {
		doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{}
	}
	doc.Components.SecuritySchemes[keyScheme] = &huma.SecurityScheme{
		Type: "apiKey", In: "header", Name: "x-api-key", Description: "The API key of a project.",
	}
	b.problem = doc.Components.Schemas.Schema(reflect.TypeFor[api.Problem](), true, "Problem")
	b.bodies(d.Sessions.MaxKeys, d.Sessions.MaxHooks)
	b.add("API keys", operation{
		method: "GET", path: "/api/v1/auth/info", summary: "Tell what the key is", id: "auth-info",
		answer: b.schema(reflect.TypeFor[wireAuthInfo]()),
	})
	b.sessions(keyproof.Verify, "Key verification", b.schema(reflect.TypeFor[wireVerify]()), b.schema(reflect.TypeFor[wirePage[wireVerifyItem]]()))
	b.sessions(keyproof.Collect, "Key collection", b.schema(reflect.TypeFor[wireCollect]()), b.schema(reflect.TypeFor[wirePage[wireCollectItem]]()))
	b.finish()
}

// describer makes the schemas in a registry of its own, so that they have names of the wire, and moves
// them into the document at the end.
type describer struct {
	doc     *huma.OpenAPI
	own     huma.Registry
	problem *huma.Schema
}

// operation is one line of what is told about the wire.
type operation struct {
	method, path, summary, id string
	params                    []*huma.Param
	body                      string       // name of the body's schema, "" for none
	status                    int          // of success, 200 where 0
	answer                    *huma.Schema // nil for no body
	faults                    []int        // besides those that every operation has
}

func (b describer) sessions(kind keyproof.Kind, tag string, session, page *huma.Schema) {
	k, path := string(kind), "/api/v1/ssh/"+string(kind)+"/sessions"
	name := map[keyproof.Kind]string{keyproof.Verify: "Verify", keyproof.Collect: "Collect"}[kind]
	one := path + "/{session}"
	hooks, hook := one+"/webhooks", one+"/webhooks/{webhook}"
	webhook, webhooks := b.schema(reflect.TypeFor[wireWebhook]()), b.schema(reflect.TypeFor[wirePage[wireWebhook]]())
	s, h := pathParam("session"), pathParam("webhook")
	update := []int{400, 404, 409, 413, 415, 422}
	for _, o := range []operation{
		{method: "GET", path: path, id: "list-" + k + "-sessions", summary: "List sessions, newest first", params: append(window(), filters(kind)...), answer: page, faults: []int{422}},
		{method: "POST", path: path, id: "create-" + k + "-session", summary: "Create a session", body: name + "SessionCreate", status: 201, answer: session, faults: []int{400, 413, 415, 422}},
		{method: "GET", path: one, id: "get-" + k + "-session", summary: "Get a session", params: s, answer: session, faults: []int{404}},
		{method: "PATCH", path: one, id: "patch-" + k + "-session", summary: "Update a pending session", params: s, body: name + "SessionUpdate", answer: session, faults: update},
		{method: "PUT", path: one, id: "put-" + k + "-session", summary: "Update a pending session, as PATCH does", params: s, body: name + "SessionUpdate", answer: session, faults: update},
		{method: "POST", path: one + "/complete", id: "complete-" + k + "-session", summary: "Complete a multi_connection session", params: s, answer: session, faults: []int{404, 409}},
		{method: "DELETE", path: one, id: "delete-" + k + "-session", summary: "Delete a session and all that belongs to it", params: s, status: 204, faults: []int{404}},
		{method: "GET", path: hooks, id: "list-" + k + "-webhooks", summary: "List the webhooks of a session", params: append(s, window()...), answer: webhooks, faults: []int{404, 422}},
		{method: "POST", path: hooks, id: "create-" + k + "-webhook", summary: "Add a webhook", params: s, body: name + "WebhookCreate", status: 201, answer: webhook, faults: update},
		{method: "GET", path: hook, id: "get-" + k + "-webhook", summary: "Get a webhook", params: append(s, h...), answer: webhook, faults: []int{404}},
		{method: "PATCH", path: hook, id: "patch-" + k + "-webhook", summary: "Update a webhook", params: append(s, h...), body: name + "WebhookUpdate", answer: webhook, faults: []int{400, 404, 413, 415, 422}},
		{method: "PUT", path: hook, id: "put-" + k + "-webhook", summary: "Update a webhook, as PATCH does", params: append(s, h...), body: name + "WebhookUpdate", answer: webhook, faults: []int{400, 404, 413, 415, 422}},
		{method: "DELETE", path: hook, id: "delete-" + k + "-webhook", summary: "Delete a webhook", params: append(s, h...), status: 204, faults: []int{404}},
	} {
		b.add(tag, o)
	}
}

// add puts one operation into the document, under its path as the vendor writes it: with a slash at the end.
func (b describer) add(tag string, o operation) {
	if o.status == 0 {
		o.status = 200
	}
	op := &huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path + "/", Summary: o.summary, Tags: []string{tag},
		Parameters: o.params, Security: []map[string][]string{{keyScheme: {}}},
		Responses: map[string]*huma.Response{strconv.Itoa(o.status): {Description: meaning[o.status], Content: content("application/json", o.answer)}},
	}
	if o.body != "" {
		op.RequestBody = &huma.RequestBody{Required: o.body != "CollectSessionCreate", Content: content("application/json", &huma.Schema{Ref: schemaPrefix + o.body})}
	}
	for _, status := range append(o.faults, 401, 429, 500) {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: meaning[status], Content: content("application/problem+json", b.problem)}
	}
	b.doc.AddOperation(op)
}

var meaning = map[int]string{
	200: "Done.", 201: "Made.", 204: "It is gone.",
	400: "Not JSON, or fields that contradict each other.",
	401: "The API key is missing, unknown or expired.",
	404: "There is no such thing in the key's project.",
	409: "The session's state forbids it.",
	413: "The body is too large.",
	415: "The body is declared as something other than JSON.",
	422: "Fields are missing, unknown or out of range; errors lists each.",
	429: "The project has used up its requests; Retry-After says when the next one passes.",
	500: "Our fault; instance is the id of the request.",
}

func content(kind string, s *huma.Schema) map[string]*huma.MediaType {
	if s == nil {
		return nil
	}
	return map[string]*huma.MediaType{kind: {Schema: s}}
}

func pathParam(name string) []*huma.Param {
	return []*huma.Param{{Name: name, In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString, Format: "uuid"}}}
}

func window() []*huma.Param {
	zero, one := 0.0, 1.0
	return []*huma.Param{
		{Name: "offset", In: "query", Description: "Items to skip.", Schema: &huma.Schema{Type: huma.TypeInteger, Format: "int64", Default: 0, Minimum: &zero}},
		{Name: "limit", In: "query", Description: "Items to return; above 100 it is capped.", Schema: &huma.Schema{Type: huma.TypeInteger, Format: "int64", Default: 100, Minimum: &one}},
	}
}

func filters(kind keyproof.Kind) []*huma.Param {
	return []*huma.Param{
		{Name: "status", In: "query", Schema: &huma.Schema{Type: huma.TypeString, Enum: enum(statuses[kind])}},
		{Name: "external_id", In: "query", Description: "Exact match.", Schema: &huma.Schema{Type: huma.TypeString}},
	}
}

func enum(values []string) []any { return list(values, func(v string) any { return v }) }

// schema refers to the schema of a wire type. Huma leaves out embedded structs that are not exported;
// here they are the listing's form of a session.
func (b describer) schema(t reflect.Type) *huma.Schema {
	ref := b.own.Schema(t, true, "")
	if f := t.Field(0); f.Anonymous {
		whole, base := b.own.SchemaFromRef(ref.Ref), b.own.Schema(f.Type, false, "")
		if _, done := whole.Properties["id"]; !done {
			maps.Copy(whole.Properties, base.Properties)
			whole.Required = append(slices.Clone(base.Required), whole.Required...)
		}
	}
	return ref
}

// bodies makes the schemas of request bodies, all of them parts of two.
func (b describer) bodies(maxKeys, maxHooks int) {
	all := b.own.Map()
	b.schema(reflect.TypeFor[wireDraft]())
	draft, hook := all["VerifySessionCreate"], all["VerifyWebhookCreate"]
	draft.Properties["keys"].MaxItems, draft.Properties["webhooks"].MaxItems = &maxKeys, &maxHooks
	for kind, name := range map[keyproof.Kind]string{keyproof.Verify: "Verify", keyproof.Collect: "Collect"} {
		events := *hook.Properties["events"]
		events.Items = &huma.Schema{Type: huma.TypeString, Enum: enum(keyproof.Events(kind))}
		create := without(hook)
		create.Properties["events"] = &events
		all[name+"WebhookCreate"] = create
		update := without(create)
		update.Required = []string{"retries", "initial_backoff", "backoff_multiplier"}
		all[name+"WebhookUpdate"] = update
	}
	all["VerifySessionUpdate"] = without(draft, "webhooks")
	all["VerifySessionUpdate"].Required = nil
	collect := without(draft, "keys", "match_all_keys", "max_attempts")
	hooks := *collect.Properties["webhooks"]
	hooks.Items = &huma.Schema{Ref: schemaPrefix + "CollectWebhookCreate"}
	collect.Properties["webhooks"] = &hooks
	all["CollectSessionCreate"], all["CollectSessionUpdate"] = collect, without(collect, "webhooks")
	for _, name := range []string{"VerifySessionCreate", "VerifySessionUpdate", "CollectSessionCreate", "CollectSessionUpdate", "VerifyKeyCreate", "VerifyWebhookCreate", "VerifyWebhookUpdate", "CollectWebhookCreate", "CollectWebhookUpdate"} {
		all[name].Properties["$schema"] = &huma.Schema{Type: huma.TypeString, Format: "uri", Description: "Accepted and ignored."}
	}
}

// without is a copy of an object's schema that lacks some members.
func without(s *huma.Schema, names ...string) *huma.Schema {
	out := *s
	out.Properties = maps.Clone(s.Properties)
	for _, name := range names {
		delete(out.Properties, name)
	}
	out.Required = slices.DeleteFunc(slices.Clone(s.Required), func(name string) bool { return slices.Contains(names, name) })
	return &out
}

// finish moves the schemas into the document.
func (b describer) finish() { maps.Copy(b.doc.Components.Schemas.Map(), b.own.Map()) }
