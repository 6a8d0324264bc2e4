package sshverify_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
)

func describe(h *house) *huma.OpenAPI {
	doc := huma.DefaultConfig("Gatehouse", "1.0.0").OpenAPI
	h.dialect.Describe(doc)
	return doc
}

func operations(doc *huma.OpenAPI) map[string]*huma.Operation {
	all := map[string]*huma.Operation{}
	for path, item := range doc.Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete} {
			if op != nil {
				all[method+" "+path] = op
			}
		}
	}
	return all
}

func TestDescribe_tells_every_route_and_no_other(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	described := operations(describe(h))
	for _, route := range h.dialect.Routes() {
		name := route.Method + " " + route.Pattern + "/"
		if described[name] == nil {
			t.Errorf("%s is not described", name)
		}
		delete(described, name)
	}
	for name := range described {
		t.Errorf("%s is described and does not exist", name)
	}
}

func TestDescribe_can_be_written_and_its_references_lead_somewhere(t *testing.T) {
	t.Parallel()
	doc := describe(newHouse(t))
	text, err := json.Marshal(doc)
	must(t, err)
	for _, ref := range regexp.MustCompile(`"\$ref":"([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		if doc.Components.Schemas.SchemaFromRef(ref[1]) == nil {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
	if strings.Contains(string(text), `"Wire`) || strings.Contains(string(text), `"wire`) {
		t.Error("the document has names of Go types")
	}
}

// People paste the example of the page: it must be a key, and one that nobody here can sign for.
func TestDescribe_shows_a_key_that_is_one(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	example := describe(h).Components.Schemas.Map()["VerifyKeyCreate"].Properties["public_key"].Examples[0]
	if strings.HasPrefix(example.(string), h.vars()["laptop"]) {
		t.Error("the example's private key is known")
	}
	h.made(t, "/api/v1/ssh/verify/sessions/", `{"keys":[{"public_key":"`+example.(string)+`"}]}`)
}

// What is answered has exactly the members that are described, of the described types.
func TestDescribe_is_true_of_answers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	doc := describe(h)
	hook := `{"url":"https://shop.example/","headers":{"X-A":["b"]},"events":["status_changed"]}`
	made := map[string]string{
		"verify":  h.made(t, "/api/v1/ssh/verify/sessions/", `{"timeout":60,"keys":[{"public_key":"`+h.vars()["laptop"]+`"}],"webhooks":[`+hook+`]}`),
		"collect": h.made(t, "/api/v1/ssh/collect/sessions/", `{"ssh_banner":"Hello","webhooks":[`+hook+`]}`),
	}
	h.connect(t, keyproof.Verify, testKey(t, "laptop"))
	h.connect(t, keyproof.Collect, testKey(t, "tower"))
	seen := 0
	for name, op := range operations(doc) {
		method, path, _ := strings.Cut(name, " ")
		if method != "GET" || strings.Contains(path, "{webhook}") {
			continue
		}
		kind := strings.Split(path, "/")[4]
		w := h.call(method, strings.ReplaceAll(path, "{session}", made[kind]), "")
		var body any
		must(t, json.Unmarshal(w.Body.Bytes(), &body))
		for _, wrong := range conform(doc, op.Responses["200"].Content["application/json"].Schema, body, "body") {
			t.Errorf("%s: %s", name, wrong)
		}
		seen++
	}
	if seen != 7 {
		t.Errorf("%d operations were looked at", seen)
	}
	var problem any
	must(t, json.Unmarshal(h.call("POST", "/api/v1/ssh/verify/sessions/", `{}`).Body.Bytes(), &problem))
	schema := operations(doc)["POST /api/v1/ssh/verify/sessions/"].Responses["422"].Content["application/problem+json"].Schema
	for _, wrong := range conform(doc, schema, problem, "problem") {
		t.Error(wrong)
	}
}

// conform lists where a document differs from its schema.
func conform(doc *huma.OpenAPI, s *huma.Schema, value any, at string) (wrong []string) {
	if s.Ref != "" {
		s = doc.Components.Schemas.SchemaFromRef(s.Ref)
	}
	differ := func(format string, args ...any) { wrong = append(wrong, at+" "+fmt.Sprintf(format, args...)) }
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, value) {
		differ("is %v, not one of %v", value, s.Enum)
	}
	switch v := value.(type) {
	case nil:
		if !s.Nullable {
			differ("is null")
		}
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				differ("lacks %s", name)
			}
		}
		for name, member := range v {
			of := s.Properties[name]
			if more, ok := s.AdditionalProperties.(*huma.Schema); ok && of == nil {
				of = more
			}
			if of == nil {
				differ("has %s", name)
				continue
			}
			wrong = append(wrong, conform(doc, of, member, at+"."+name)...)
		}
	case []any:
		if s.Items == nil {
			differ("is an array")
			return wrong
		}
		for i, element := range v {
			wrong = append(wrong, conform(doc, s.Items, element, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case string:
		if s.Type != huma.TypeString {
			differ("is a string, not %s", s.Type)
		}
	case bool:
		if s.Type != huma.TypeBoolean {
			differ("is a boolean, not %s", s.Type)
		}
	case float64:
		if s.Type != huma.TypeInteger && s.Type != huma.TypeNumber {
			differ("is a number, not %s", s.Type)
		}
	}
	return wrong
}

// What is described of a body is what is read: no described member is unexpected, required ones are
// missed, and what is not described is refused.
func TestDescribe_is_true_of_bodies(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	doc := describe(h)
	bodies := 0
	for name, op := range operations(doc) {
		if op.RequestBody == nil {
			continue
		}
		bodies++
		method, path, _ := strings.Cut(name, " ")
		schema := doc.Components.Schemas.SchemaFromRef(op.RequestBody.Content["application/json"].Schema.Ref)
		target := h.place(t, path)
		for member := range schema.Properties {
			if member == "$schema" {
				continue
			}
			w := h.call(method, target, `{"`+member+`":[[]]}`) // wrong for every member
			if w.Code != 422 || strings.Contains(w.Body.String(), "unexpected property") {
				t.Errorf("%s with %s: %d %s", name, member, w.Code, w.Body)
			}
		}
		w := h.call(method, target, `{"$schema":"https://example.com/","zzz":1}`)
		for _, member := range schema.Required {
			if !strings.Contains(w.Body.String(), "expected required property "+member) {
				t.Errorf("%s does not require %s: %s", name, member, w.Body)
			}
		}
		if n := strings.Count(w.Body.String(), `"message"`); n != len(schema.Required)+1 || !strings.Contains(w.Body.String(), `"unexpected property","location":"body.zzz"`) {
			t.Errorf("%s requires %v: %s", name, schema.Required, w.Body)
		}
	}
	if bodies != 12 {
		t.Errorf("%d bodies were looked at", bodies)
	}
}

// place makes what a described path needs and returns the path to it.
func (h *house) place(t *testing.T, path string) string {
	t.Helper()
	kind := strings.Split(path, "/")[4]
	sessions := "/api/v1/ssh/" + kind + "/sessions/"
	if path == sessions {
		return path
	}
	session := h.made(t, sessions, map[string]string{"verify": `{"keys":[{"public_key":"` + h.vars()["laptop"] + `"}]}`, "collect": "{}"}[kind])
	path = strings.ReplaceAll(path, "{session}", session)
	if !strings.Contains(path, "{webhook}") {
		return path
	}
	return strings.ReplaceAll(path, "{webhook}", h.made(t, sessions+session+"/webhooks/", `{"url":"https://shop.example/"}`))
}

// docs/dialects/sshverify.md names, for every operation, a file of testdata that performs it.
func TestPage_lists_every_operation_with_its_test(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "dialects", "sshverify.md"))
	must(t, err)
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]*)` \\| [^|]* \\| `testdata/([^`]+)` \\|$").FindAllStringSubmatch(string(text), -1) {
		rows[row[1]] = row[2]
	}
	for _, route := range newHouse(t).dialect.Routes() {
		name := route.Method + " " + route.Pattern + "/"
		file, listed := rows[name]
		if !listed {
			t.Errorf("the page lacks %s", name)
			continue
		}
		delete(rows, name)
		if !performs(t, file, route) {
			t.Errorf("%s does not perform %s", file, name)
		}
	}
	for name := range rows {
		t.Errorf("the page lists %s, which is no operation", name)
	}
}

func performs(t *testing.T, file string, route api.Route) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	must(t, err)
	path := regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(route.Pattern), `\{\{id:[a-z]+\}\}`)
	return regexp.MustCompile(`(?m)^` + route.Method + " " + path + `/?(\?.*)?$`).Match(text)
}
