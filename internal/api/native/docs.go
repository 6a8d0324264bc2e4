package native

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsHTML string

//go:embed docs.css
var docsCSS string

//go:embed docs.js
var docsJS string

// renderDocs makes the page and the content security policy under which it is served: its own style and
// script, known by their hashes, and nothing else.
func renderDocs(doc *huma.OpenAPI) (page []byte, policy string, err error) {
	t, err := template.New("docs").Parse(docsHTML)
	if err != nil {
		return nil, "", err
	}
	view := newDocsView(doc)
	view.Style = template.CSS(docsCSS) //nolint:gosec // embedded, not from a request
	view.Script = template.JS(docsJS)  //nolint:gosec // embedded, not from a request
	var b bytes.Buffer
	if err := t.Execute(&b, view); err != nil {
		return nil, "", err
	}
	policy = "default-src 'none'; style-src " + source(docsCSS) + "; script-src " + source(docsJS) +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return b.Bytes(), policy, nil
}

func source(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// docsView is what the page shows.
type docsView struct {
	Title, Version, Description, Server string
	Style                               template.CSS
	Script                              template.JS
	Groups                              []group
}

type group struct {
	Name, Anchor, Description string
	Operations                []operation
}

type operation struct {
	Method, Path, Anchor, Summary, Description string
	Deprecated                                 bool
	Access                                     string // how the caller shows who it is
	Params                                     []field
	Body                                       *content
	Answers                                    []answer // those that succeed
	Faults                                     []answer
	Curl                                       string
}

type answer struct {
	Status, Reason, Description string
	Content                     *content
}

type content struct {
	Type    string // media type
	Shape   string // what the whole is: "object", "array of Webhook"
	Fields  []field
	Example string
}

func newDocsView(doc *huma.OpenAPI) docsView {
	b := builder{doc: doc}
	v := docsView{Title: doc.Info.Title, Version: doc.Info.Version, Description: doc.Info.Description}
	if len(doc.Servers) > 0 {
		v.Server = strings.TrimSuffix(doc.Servers[0].URL, "/")
	}
	b.server = v.Server
	for _, tag := range b.tags() {
		g := group{Name: tag.Name, Anchor: anchor(tag.Name), Description: tag.Description}
		for _, op := range b.operations(tag.Name) {
			g.Operations = append(g.Operations, b.operation(op))
		}
		if len(g.Operations) > 0 {
			v.Groups = append(v.Groups, g)
		}
	}
	return v
}

// builder reads the parts of one document.
type builder struct {
	doc    *huma.OpenAPI
	server string
}

// untagged is the group of operations that name none.
const untagged = "Other"

// tags lists the declared tags in their order and then those that operations merely use.
func (b builder) tags() []*huma.Tag {
	tags := slices.Clone(b.doc.Tags)
	var used []string
	for _, op := range b.all() {
		used = append(used, tagOf(op))
	}
	slices.Sort(used)
	for _, name := range slices.Compact(used) {
		if !slices.ContainsFunc(tags, func(t *huma.Tag) bool { return t.Name == name }) {
			tags = append(tags, &huma.Tag{Name: name})
		}
	}
	return tags
}

func tagOf(op *huma.Operation) string {
	if len(op.Tags) == 0 {
		return untagged
	}
	return op.Tags[0]
}

// operations lists those of one tag by path, reading before writing.
func (b builder) operations(tag string) []*huma.Operation {
	ops := slices.DeleteFunc(b.all(), func(op *huma.Operation) bool { return tagOf(op) != tag })
	slices.SortStableFunc(ops, func(x, y *huma.Operation) int { return cmp.Compare(x.Path, y.Path) })
	return ops
}

func (b builder) all() []*huma.Operation {
	var ops []*huma.Operation
	for path, item := range b.doc.Paths {
		byMethod := []struct {
			method string
			op     *huma.Operation
		}{
			{http.MethodGet, item.Get},
			{http.MethodPost, item.Post},
			{http.MethodPut, item.Put},
			{http.MethodPatch, item.Patch},
			{http.MethodDelete, item.Delete},
		}
		for _, m := range byMethod {
			if m.op == nil || m.op.Hidden {
				continue
			}
			op := *m.op
			op.Method, op.Path = m.method, path
			ops = append(ops, &op)
		}
	}
	return ops
}

func (b builder) operation(op *huma.Operation) operation {
	v := operation{
		Method: op.Method, Path: op.Path, Anchor: anchor(op.Method + " " + op.Path),
		Summary: cmp.Or(op.Summary, op.OperationID, op.Path), Description: op.Description,
		Deprecated: op.Deprecated, Access: b.access(op),
	}
	for _, p := range op.Parameters {
		v.Params = append(v.Params, b.parameter(p))
	}
	if op.RequestBody != nil {
		v.Body = b.content(op.RequestBody.Content, true)
	}
	for _, status := range sortedKeys(op.Responses) {
		r := op.Responses[status]
		code, _ := strconv.Atoi(status)
		a := answer{Status: status, Reason: http.StatusText(code), Description: r.Description}
		if a.Description == a.Reason {
			a.Description = ""
		}
		if code == 0 || code >= 400 {
			v.Faults = append(v.Faults, a)
			continue
		}
		a.Content = b.content(r.Content, false)
		v.Answers = append(v.Answers, a)
	}
	v.Curl = b.curl(op, v.Body)
	return v
}

func (b builder) parameter(p *huma.Param) field {
	f := field{Name: p.Name, In: p.In, Required: p.Required, Text: p.Description}
	if s := b.resolve(p.Schema); s != nil {
		f.Type, f.Limits = b.typeOf(p.Schema), limitsOf(s)
		f.Text = cmp.Or(f.Text, s.Description)
	}
	return f
}

func (b builder) content(by map[string]*huma.MediaType, request bool) *content {
	for _, kind := range sortedKeys(by) {
		m := by[kind]
		c := &content{Type: kind, Shape: b.typeOf(m.Schema), Fields: b.fields(m.Schema, request, nil)}
		c.Example = b.example(m, request)
		return c
	}
	return nil
}

// access says in words what the caller must show.
func (b builder) access(op *huma.Operation) string {
	rules := op.Security
	if rules == nil {
		rules = b.doc.Security
	}
	var ways []string
	for _, rule := range rules {
		for _, name := range sortedKeys(rule) {
			ways = append(ways, b.scheme(name))
		}
	}
	return strings.Join(ways, " or ")
}

func (b builder) scheme(name string) string {
	s := b.doc.Components.SecuritySchemes[name]
	switch {
	case s == nil:
		return name
	case s.Type == "apiKey":
		return s.In + " " + s.Name
	case s.Type == "http" && strings.EqualFold(s.Scheme, "bearer"):
		return "header Authorization: Bearer"
	default:
		return name
	}
}

func anchor(text string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(text) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			b.WriteRune(c)
		} else if s := b.String(); s != "" && s[len(s)-1] != '-' {
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
