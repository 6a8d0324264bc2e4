package native

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// field is one parameter or member with what lies in it.
type field struct {
	Name, In, Type, Text string
	Required             bool
	Limits               []string // "1 to 32 elements", "default 10"
	Fields               []field
}

// deepest is how far schemas are unfolded; cycles end sooner.
const deepest = 8

func (b builder) resolve(s *huma.Schema) *huma.Schema {
	for s != nil && s.Ref != "" {
		s = b.doc.Components.Schemas.SchemaFromRef(s.Ref)
	}
	return s
}

// fields unfolds the members of an object, or of the objects in an array. Members that only the other
// direction has are left out.
func (b builder) fields(s *huma.Schema, request bool, inside []*huma.Schema) []field {
	s = b.resolve(s)
	if s == nil || len(inside) >= deepest || slices.Contains(inside, s) {
		return nil
	}
	inside = append(slices.Clone(inside), s)
	if s.Items != nil {
		return b.fields(s.Items, request, inside)
	}
	var all []field
	for _, name := range b.names(s, request) {
		raw := s.Properties[name]
		p := b.resolve(raw)
		if p == nil {
			continue
		}
		text := raw.Description
		if text == "" {
			text = p.Description
		}
		all = append(all, field{
			Name: name, Type: b.typeOf(raw), Text: text, Required: request && slices.Contains(s.Required, name),
			Limits: limitsOf(p), Fields: b.fields(raw, request, inside),
		})
	}
	if values, ok := s.AdditionalProperties.(*huma.Schema); ok && values != nil {
		all = append(all, field{Name: "(any name)", Type: b.typeOf(values), Text: values.Description, Fields: b.fields(values, request, inside)})
	}
	return all
}

// names lists members as people look for them: the id, what is required, and the rest.
func (b builder) names(s *huma.Schema, request bool) []string {
	names := slices.DeleteFunc(sortedKeys(s.Properties), func(name string) bool {
		p := s.Properties[name]
		return name == "$schema" || request && p.ReadOnly || !request && p.WriteOnly
	})
	rank := func(name string) int {
		switch {
		case name == "id":
			return 0
		case request && slices.Contains(s.Required, name):
			return 1
		default:
			return 2
		}
	}
	slices.SortStableFunc(names, func(x, y string) int { return rank(x) - rank(y) })
	return names
}

// typeOf names a type in words: "array of string", "date-time or null".
func (b builder) typeOf(s *huma.Schema) string {
	p := b.resolve(s)
	switch {
	case p == nil:
		return ""
	case len(p.Enum) > 0:
		return orNull("one of", p)
	case p.Items != nil:
		return orNull("array of "+b.typeOf(p.Items), p)
	case p.Format != "":
		return orNull(p.Format, p)
	case p.Type == "":
		return "any"
	default:
		return orNull(p.Type, p)
	}
}

func orNull(text string, s *huma.Schema) string {
	if s.Nullable {
		return text + " or null"
	}
	return text
}

// limitsOf says in words what the schema asks for.
func limitsOf(s *huma.Schema) []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			values = append(values, fmt.Sprint(v))
		}
		add("%s", strings.Join(values, ", "))
	}
	if s.Items != nil && len(s.Items.Enum) > 0 {
		return append(all, limitsOf(s.Items)...)
	}
	if text := span(s.Minimum, s.Maximum, plainNumber); text != "" {
		add("%s", text)
	}
	if text := span(s.MinLength, s.MaxLength, strconv.Itoa); text != "" {
		add("%s characters", text)
	}
	if text := span(s.MinItems, s.MaxItems, strconv.Itoa); text != "" {
		add("%s elements", text)
	}
	if s.Pattern != "" {
		add("pattern %s", s.Pattern)
	}
	if s.Default != nil {
		if text, err := json.Marshal(s.Default); err == nil {
			add("default %s", text)
		}
	}
	if s.WriteOnly {
		add("never returned")
	}
	return all
}

func plainNumber(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func span[T any](least, most *T, text func(T) string) string {
	switch {
	case least != nil && most != nil:
		return text(*least) + " to " + text(*most)
	case least != nil:
		return "at least " + text(*least)
	case most != nil:
		return "at most " + text(*most)
	default:
		return ""
	}
}

// example is the document's own, or one made up from the schema. Of a request made up it shows what is
// required or has an example, so that it can be sent as it stands.
func (b builder) example(m *huma.MediaType, request bool) string {
	if m.Example != nil {
		return pretty(m.Example)
	}
	for _, name := range sortedKeys(m.Examples) {
		return pretty(m.Examples[name].Value)
	}
	return pretty(b.sample(m.Schema, request, nil))
}

func pretty(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if v == nil || e.Encode(v) != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

// ordered is an object whose members keep their order in JSON.
type ordered []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o ordered) MarshalJSON() ([]byte, error) {
	parts := make([]string, len(o))
	for i, m := range o {
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		parts[i] = string(name) + ":" + string(value)
	}
	return []byte("{" + strings.Join(parts, ",") + "}"), nil
}

func (b builder) sample(s *huma.Schema, request bool, inside []*huma.Schema) any {
	s = b.resolve(s)
	if s == nil || len(inside) >= deepest || slices.Contains(inside, s) {
		return nil
	}
	inside = append(slices.Clone(inside), s)
	switch {
	case len(s.Examples) > 0:
		return s.Examples[0]
	case s.Default != nil:
		return s.Default
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Items != nil:
		return []any{b.sample(s.Items, request, inside)}
	case s.Type == huma.TypeObject:
		return b.sampleObject(s, request, inside)
	case s.Nullable:
		return nil
	default:
		return sampleScalar(s)
	}
}

func (b builder) sampleObject(s *huma.Schema, request bool, inside []*huma.Schema) ordered {
	all := ordered{}
	for _, name := range b.names(s, request) {
		p := b.resolve(s.Properties[name])
		if request && !slices.Contains(s.Required, name) && (p == nil || len(p.Examples) == 0) {
			continue
		}
		all = append(all, member{name, b.sample(s.Properties[name], request, inside)})
	}
	return all
}

func sampleScalar(s *huma.Schema) any {
	switch {
	case s.Type == huma.TypeBoolean:
		return false
	case s.Type == huma.TypeInteger || s.Type == huma.TypeNumber:
		if s.Minimum != nil {
			return *s.Minimum
		}
		return 0
	case s.Format == "date-time":
		return "2026-11-22T09:00:00Z"
	case s.Format == "uuid":
		return "019a4c00-11aa-7bcd-8e01-0a1b2c3d4e5f"
	case s.Format == "uri":
		return "https://example.com/hook"
	default:
		return "text"
	}
}

// curl is the call as one can paste it into a shell.
func (b builder) curl(op *huma.Operation, body *content) string {
	line := "curl"
	if op.Method != "GET" {
		line += " -X " + op.Method
	}
	lines := []string{line, quote(b.server + fillIn(op.Path))}
	if header := b.credential(op); header != "" {
		lines = append(lines, "-H "+header)
	}
	if body != nil {
		lines = append(lines, "-H "+quote("Content-Type: "+body.Type), "-d "+quote(body.Example))
	}
	return strings.Join(lines, " \\\n  ")
}

// fillIn writes path parameters as words to replace: curl would take braces for a pattern.
func fillIn(path string) string {
	var b strings.Builder
	for segment := range strings.SplitAfterSeq(path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			segment = strings.ToUpper(strings.Replace(name, "}", "", 1))
		}
		b.WriteString(segment)
	}
	return b.String()
}

// credential is a header with a shell variable in it, hence the double quotes.
func (b builder) credential(op *huma.Operation) string {
	rules := op.Security
	if rules == nil {
		rules = b.doc.Security
	}
	for _, rule := range rules {
		for _, name := range sortedKeys(rule) {
			switch s := b.doc.Components.SecuritySchemes[name]; {
			case s == nil:
			case s.Type == "apiKey" && s.In == "header":
				return `"` + s.Name + `: $GATEHOUSE_API_KEY"`
			case s.Type == "http" && strings.EqualFold(s.Scheme, "bearer"):
				return `"Authorization: Bearer $GATEHOUSE_TOKEN"`
			}
		}
	}
	return ""
}

// quote makes text one word of a POSIX shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
