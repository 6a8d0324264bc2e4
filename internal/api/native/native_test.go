package native_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/api/native"
)

type wireKey struct {
	ID        string    `json:"id" format:"uuid" readOnly:"true" doc:"Names the key in this session."`
	Name      *string   `json:"name,omitempty" maxLength:"255" doc:"What you call it."`
	PublicKey string    `json:"public_key" maxLength:"16384" example:"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7 ana@laptop" doc:"One OpenSSH public key line, a PEM public key, or an RFC 4716 block."`
	Verified  time.Time `json:"verified_at" readOnly:"true"`
}

type wireHook struct {
	URL     string              `json:"url" format:"uri" doc:"Where deliveries go."`
	Method  string              `json:"method,omitempty" enum:"post,put,patch" default:"post"`
	Events  []string            `json:"events,omitempty" enum:"new_connection,verified,status_changed" doc:"Empty is all."`
	Secret  string              `json:"secret,omitempty" writeOnly:"true" doc:"Signs deliveries."`
	Headers map[string][]string `json:"headers,omitempty" doc:"Sent with every delivery."`
}

type wireSession struct {
	ID       string     `json:"id" format:"uuid" readOnly:"true"`
	Status   string     `json:"status" enum:"pending,verified,failed,expired" readOnly:"true" doc:"Where the session stands."`
	Keys     []wireKey  `json:"keys" minItems:"1" maxItems:"32" doc:"The keys that may be proven."`
	Timeout  *int64     `json:"timeout,omitempty" minimum:"1" maximum:"31536000" example:"300" doc:"Seconds until the session expires."`
	Webhooks []wireHook `json:"webhooks,omitempty" maxItems:"10"`
}

func sample() *huma.OpenAPI {
	doc := native.NewDocument("1.2.3", "https://gate.example.com")
	doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key":    {Type: "apiKey", In: "header", Name: "x-api-key"},
		"bearer": {Type: "http", Scheme: "bearer"},
	}
	doc.Security = []map[string][]string{{"key": {}}}
	doc.Tags = []*huma.Tag{
		{Name: "Key verification", Description: "Prove over a live SSH connection that somebody holds a private key. Make a session with the keys you expect, hand out its identifier, and read the result here or from a webhook."},
		{Name: "Webhooks", Description: "Signed, durable notices of what happens in a session."},
	}
	schema := doc.Components.Schemas.Schema(reflect.TypeFor[wireSession](), true, "")
	hook := doc.Components.Schemas.Schema(reflect.TypeFor[wireHook](), true, "")
	body := func(s *huma.Schema) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{"application/json": {Schema: s}}
	}
	id := &huma.Param{Name: "session", In: "path", Required: true, Schema: &huma.Schema{Type: "string", Format: "uuid"}, Description: "The session's id."}
	limit := &huma.Param{Name: "limit", In: "query", Schema: &huma.Schema{Type: "integer", Format: "int64", Default: 100}, Description: "Items to return; above 100 it is capped."}
	faults := func(more map[string]*huma.Response) map[string]*huma.Response {
		more["401"] = &huma.Response{Description: "The key is missing, unknown or expired."}
		more["429"] = &huma.Response{Description: "The project has used up its calls for now; Retry-After says when the next one passes."}
		return more
	}
	const path = "/api/v1/ssh/verify/sessions"
	doc.AddOperation(&huma.Operation{
		OperationID: "create-session", Method: "POST", Path: path + "/", Summary: "Create a session", Tags: []string{"Key verification"},
		Description: "Makes a session for one person. Without timeout and expired_at it never expires.",
		RequestBody: &huma.RequestBody{Required: true, Content: body(schema)},
		Responses: faults(map[string]*huma.Response{
			"201": {Description: "The session, waiting for its connection.", Content: body(schema)},
			"400": {Description: "Fields contradict each other."}, "422": {Description: "Fields are missing, unknown or out of range; errors lists each."},
		}),
	})
	doc.AddOperation(&huma.Operation{
		OperationID: "list-sessions", Method: "GET", Path: path + "/", Summary: "List sessions", Tags: []string{"Key verification"},
		Parameters: []*huma.Param{limit},
		Responses:  faults(map[string]*huma.Response{"200": {Description: "OK", Content: body(&huma.Schema{Type: "array", Items: schema})}}),
	})
	doc.AddOperation(&huma.Operation{
		OperationID: "delete-session", Method: "DELETE", Path: path + "/{session}/", Summary: "Delete a session", Tags: []string{"Key verification"},
		Parameters: []*huma.Param{id}, Responses: faults(map[string]*huma.Response{"204": {Description: "It is gone."}, "404": {Description: "Session not found."}}),
	})
	doc.AddOperation(&huma.Operation{
		OperationID: "update-hook", Method: "PATCH", Path: path + "/{session}/webhooks/{webhook}/", Summary: "Change a webhook", Tags: []string{"Webhooks"},
		Security:    []map[string][]string{{"bearer": {}}},
		Parameters:  []*huma.Param{id},
		RequestBody: &huma.RequestBody{Content: body(hook)},
		Responses:   faults(map[string]*huma.Response{"200": {Description: "OK", Content: body(hook)}}),
	})
	doc.AddOperation(&huma.Operation{
		OperationID: "hostile", Method: "PUT", Path: "/api/v1/x", Summary: `<script>alert("x")</script>`, Description: "</style><img src=//evil.example>",
		Responses: map[string]*huma.Response{"204": {Description: "No Content"}},
	})
	return doc
}

func serve(t *testing.T, doc *huma.OpenAPI) http.Handler {
	t.Helper()
	owner, err := native.New(doc)
	if err != nil {
		t.Fatal(err)
	}
	mux, err := api.Mount(owner)
	if err != nil {
		t.Fatal(err)
	}
	return &api.Door{Handler: mux, Log: slog.New(slog.DiscardHandler), Now: time.Now}
}

func get(t *testing.T, h http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestSpecIsOneOpenAPI31Document(t *testing.T) {
	t.Parallel()
	w := get(t, serve(t, sample()), "GET", "/openapi.json")
	var doc struct {
		OpenAPI string                    `json:"openapi"`
		Servers []struct{ URL string }    `json:"servers"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" || doc.Servers[0].URL != "https://gate.example.com" || len(doc.Paths) != 4 {
		t.Errorf("%+v", doc)
	}
	if strings.Contains(w.Body.String(), "$schema") {
		t.Error("the document promises $schema members, which answers do not have")
	}
}

func TestDocsShowEveryOperation(t *testing.T) {
	t.Parallel()
	page := get(t, serve(t, sample()), "GET", "/docs/").Body.String()
	for _, want := range []string{
		"Create a session", "/api/v1/ssh/verify/sessions/{session}/", "1 to 32 elements", "pending, verified, failed, expired",
		"header x-api-key", "header Authorization: Bearer", "default 100", "at most 255 characters", "never returned",
		`-H &#34;x-api-key: $GATEHOUSE_API_KEY&#34;`, "Fields contradict each other.", "array of object", "(any name)",
		"verify/sessions/SESSION/webhooks/WEBHOOK/",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	request := page[strings.Index(page, `-d &#39;{`):]
	if request = request[:strings.Index(request, "</pre>")]; strings.Contains(request, "status") || strings.Contains(request, "verified_at") {
		t.Errorf("the example sends members that only answers have: %s", request)
	}
}

// The page must load nothing: no address in a loading attribute, and a policy that would stop it.
func TestDocsLoadNothing(t *testing.T) {
	t.Parallel()
	w := get(t, serve(t, sample()), "GET", "/docs")
	if found := regexp.MustCompile(`(?i)<(?:img|link|iframe|object|embed|script\s+src)|@import|url\(`).FindString(w.Body.String()); found != "" {
		t.Errorf("the page has %q", found)
	}
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Error(policy)
	}
	if strings.Contains(w.Body.String(), `<script>alert`) {
		t.Error("the document's text became markup")
	}
}

func TestUnknownPathsAnswerWithAProblem(t *testing.T) {
	t.Parallel()
	h := serve(t, sample())
	if w := get(t, h, "GET", "/api/v1/nothing"); w.Code != 404 || w.Body.String() != `{"type":"about:blank","title":"Not Found","status":404,"detail":"No such endpoint","errors":null}`+"\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := get(t, h, "POST", "/docs"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
