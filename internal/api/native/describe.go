package native

import (
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gatehouse-project/gatehouse/internal/api"
)

const (
	schemaPrefix = "#/components/schemas/"
	bearerScheme = "session"
	cookieScheme = "cookie"
	tokenScheme  = "token"
)

// Describe adds the operations, with their schemas, to a document. It panics where a schema or an operation would take the place of another: that is a
// mistake in the table.
func (a *API) Describe(doc *huma.OpenAPI) {
	if doc.Components.SecuritySchemes == nil {
		doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{}
	}
	doc.Components.SecuritySchemes[bearerScheme] = &huma.SecurityScheme{Type: "http", Scheme: "bearer", Description: "The session of a user."}
	doc.Components.SecuritySchemes[cookieScheme] = &huma.SecurityScheme{
		Type: "apiKey", In: "cookie", Name: a.Cookies.Name(), Description: "The session of a user in a browser. What changes something must begin at a page of this server: by its Origin, by Sec-Fetch-Site, or by X-Gatehouse-Csrf: 1.",
	}
	doc.Components.SecuritySchemes[tokenScheme] = &huma.SecurityScheme{Type: "http", Scheme: "bearer", Description: "A personal HTTP access token, as far as its permissions go."}
	for _, t := range a.tags() {
		doc.Tags = append(doc.Tags, &huma.Tag{Name: t.name, Description: t.text})
	}
	b := describer{doc: doc, own: huma.NewMapRegistry(schemaPrefix, func(t reflect.Type, hint string) string {
		if name := schemaName(t); name != "" {
			return name
		}
		return hint
	})}
	b.problem = doc.Components.Schemas.Schema(reflect.TypeFor[api.Problem](), true, "Problem")
	for _, o := range a.operations() {
		b.add(o)
	}
	all := doc.Components.Schemas.Map()
	for name, s := range b.own.Map() {
		if _, taken := all[name]; taken {
			panic("native: two schemas are called " + name)
		}
		all[name] = s
	}
}

// schemaName is a wire type's name in the document: wireUser is User, wirePage[wireUser] is UserPage.
func schemaName(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name, inner, generic := strings.Cut(t.Name(), "[")
	if generic {
		inner = strings.TrimSuffix(inner, "]")
		return upper(inner[strings.LastIndex(inner, ".")+1:]) + strings.TrimPrefix(name, "wire")
	}
	return upper(name)
}

func upper(name string) string {
	name = strings.TrimPrefix(name, "wire")
	if name == "" {
		return ""
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// describer makes the schemas in a registry of its own, so that they have names of the wire.
type describer struct {
	doc     *huma.OpenAPI
	own     huma.Registry
	problem *huma.Schema
}

func (b describer) add(o line) {
	d := &huma.Operation{
		OperationID: o.id(), Method: o.method, Path: o.path, Summary: o.summary, Description: o.text, Tags: []string{o.tag},
		Security:  []map[string][]string{{bearerScheme: {}}, {cookieScheme: {}}},
		Responses: map[string]*huma.Response{strconv.Itoa(o.status): b.answer(o)},
	}
	if o.fresh {
		d.Description = strings.TrimSpace(d.Description + " It changes how a person signs in, so whoever asks has signed in, or was elevated, within ten minutes.")
	}
	if o.public {
		d.Security = []map[string][]string{}
	}
	if o.tokens {
		d.Security = append(d.Security, map[string][]string{tokenScheme: {}})
	}
	b.params(d, o.in)
	if body, ok := o.in.FieldByName("Body"); ok {
		d.RequestBody = &huma.RequestBody{Required: demands(body.Type), Content: jsonContent("application/json", b.own.Schema(body.Type, true, ""))}
	}
	for _, status := range o.faults() {
		d.Responses[strconv.Itoa(status)] = &huma.Response{Description: meanings[status], Content: jsonContent("application/problem+json", b.problem)}
	}
	for _, op := range operationsOf(b.doc) {
		if op.OperationID == d.OperationID {
			panic("native: two operations are called " + d.OperationID)
		}
	}
	b.doc.AddOperation(d)
}

func operationsOf(doc *huma.OpenAPI) []*huma.Operation { return builder{doc: doc}.all() }

func (b describer) answer(o line) *huma.Response {
	if o.status == http.StatusNoContent {
		return &huma.Response{Description: "Done."}
	}
	kind := "application/json"
	if o.stream {
		kind = "text/event-stream"
	}
	if o.media != "" {
		kind = o.media
	}
	return &huma.Response{Description: http.StatusText(o.status), Content: jsonContent(kind, b.own.Schema(o.out, true, ""))}
}

// params describes what a request type reads from path, query and header.
func (b describer) params(d *huma.Operation, t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			b.params(d, f.Type)
			continue
		}
		for _, in := range []string{"path", "query", "header"} {
			if name := f.Tag.Get(in); name != "" && (in != "path" || inPath(d.Path, f)) {
				s := huma.SchemaFromField(b.own, f, "")
				text := s.Description
				s.Description = ""
				d.Parameters = append(d.Parameters, &huma.Param{Name: name, In: in, Required: in == "path" || f.Tag.Get("required") == "true", Description: text, Schema: s})
			}
		}
	}
}

// id is the operation's name for generated clients: get-api-v1-users-user without what all have.
func (o line) id() string {
	return strings.ToLower(o.method) + strings.NewReplacer("/", "-", "{", "", "}", "").Replace(strings.TrimPrefix(o.path, "/api/v1"))
}

// faults lists the statuses that the operation may answer with when it fails.
func (o line) faults() []int {
	all := []int{http.StatusInternalServerError}
	if o.public {
		all = append(all, http.StatusTooManyRequests)
	} else {
		all = append(all, http.StatusUnauthorized, http.StatusForbidden)
	}
	if _, hasBody := o.in.FieldByName("Body"); hasBody {
		all = append(all, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if o.in.NumField() > 0 {
		all = append(all, http.StatusBadRequest)
	}
	if strings.Contains(o.path, "{") || strings.Contains(fmt.Sprint(o.in), "user") {
		all = append(all, http.StatusNotFound)
	}
	return all
}

// meanings say what a status means everywhere in this API.
var meanings = map[int]string{
	http.StatusBadRequest:            "Something in the request is missing, unknown or out of range; errors lists each.",
	http.StatusUnauthorized:          "There is no session of a user, or it is over or still waits for its second factor.",
	http.StatusForbidden:             "No right, and the text says why; or, by code: elevation_required, wrong_proof, enrolment_required, origin_required.",
	http.StatusNotFound:              "There is no such thing, or it is not yours to know of.",
	http.StatusConflict:              "What is there already forbids it.",
	http.StatusRequestEntityTooLarge: "The body is larger than 1 MiB.",
	http.StatusUnsupportedMediaType:  "The body is declared as something other than JSON.",
	http.StatusTooManyRequests:       "Too much came from this address; try again later.",
	http.StatusInternalServerError:   "Our fault; instance is the id of the request.",
}

func jsonContent(kind string, s *huma.Schema) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{kind: {Schema: s}}
}
