package native

import (
	"encoding/base64"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/api"
)

const (
	maxBody = 1 << 20
	maxPath = 255 // bytes of one path parameter
)

// bind reads a request to a path into in, a pointer to a struct: fields tagged path, query and header from there, and the field Body, where there is one, from
// the body. What is tagged optional stays empty where the path lacks it. What nobody asks for is refused by name, and so is everything else that is wrong, at once. Reflection reads
// the very tags that the document is made from, so the two cannot disagree.
func bind(r *http.Request, path string, in any) error {
	v := reflect.ValueOf(in).Elem()
	q := api.Query(r)
	asked := map[string]bool{}
	if !bindFields(r, path, q, v, asked) {
		return errNothing
	}
	var strange []string
	for name := range r.URL.Query() {
		if !asked[name] {
			strange = append(strange, name)
		}
	}
	slices.Sort(strange)
	for _, name := range strange {
		q.Fault(shorten(name), "unexpected parameter")
	}
	if err := q.Done(); err != nil {
		return err
	}
	if body := v.FieldByName("Body"); body.IsValid() {
		return bindBody(r, body)
	}
	return nil
}

// bindFields reads path and query. It returns false where the path names what cannot be.
func bindFields(r *http.Request, path string, q *api.Params, v reflect.Value, asked map[string]bool) bool {
	for i := range v.NumField() {
		f, at := v.Type().Field(i), v.Field(i)
		if f.Anonymous {
			if !bindFields(r, path, q, at, asked) {
				return false
			}
			continue
		}
		if name := f.Tag.Get("path"); name != "" && inPath(path, f) {
			text := r.PathValue(name)
			if text == "" || len(text) > maxPath || !utf8.ValidString(text) {
				return false
			}
			at.SetString(text)
		}
		if name := f.Tag.Get("header"); name != "" {
			at.SetString(r.Header.Get(name))
		}
		if name := f.Tag.Get("query"); name != "" {
			asked[name] = true
			bindQuery(r, q, name, f, at)
		}
	}
	return true
}

// inPath reports whether a field that is tagged path is looked for in that one.
func inPath(path string, f reflect.StructField) bool {
	return f.Tag.Get("optional") != "true" || strings.Contains(path, "{"+f.Tag.Get("path")+"}")
}

func bindQuery(r *http.Request, q *api.Params, name string, f reflect.StructField, at reflect.Value) {
	switch at.Kind() { //nolint:exhaustive // what the table of operations uses
	case reflect.Int64:
		otherwise, _ := strconv.ParseInt(f.Tag.Get("default"), 10, 64)
		at.SetInt(q.Int64(name, otherwise, rulesOf(f)...))
	case reflect.Bool:
		at.SetBool(q.Bool(name, false))
	default:
		at.SetString(q.String(name, append(rulesOf(f), api.MaxLength(4096))...))
		if f.Tag.Get("required") == "true" && !r.URL.Query().Has(name) {
			q.Fault(name, "expected required parameter "+name+" to be present")
		}
		if text := at.String(); !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			q.Fault(name, "must be text")
		}
	}
}

// bindBody reads the body strictly. One that could be empty may be absent.
func bindBody(r *http.Request, v reflect.Value) error {
	decode := func() (*api.Decoder, error) { return api.Decode(r, maxBody) }
	if r.ContentLength == 0 && !demands(v.Type()) {
		decode = func() (*api.Decoder, error) { return api.DecodeBytes([]byte("{}")) }
	}
	d, err := decode()
	if err != nil {
		return err
	}
	fill(d.Object(), v)
	return d.Done()
}

// demands reports whether a body of that type has members that must be there.
func demands(t reflect.Type) bool {
	for i := range t.NumField() {
		if _, required := nameOf(t.Field(i)); required {
			return true
		}
	}
	return false
}

// nameOf is a field's name in JSON, and whether it must be there: without omitempty, as in the schema.
func nameOf(f reflect.StructField) (name string, required bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name, !strings.Contains(options, "omitempty")
}

// fill reads the members of an object into the fields of a struct.
func fill(o *api.Object, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, required := nameOf(f)
		rules := rulesOf(f)
		if required {
			rules = append(rules, api.Required)
		}
		fillMember(o, name, v.Field(i), rules)
	}
}

// fillMember reads one member, and reports whether it has a value.
func fillMember(o *api.Object, name string, v reflect.Value, rules []api.Rule) bool {
	switch v.Kind() { //nolint:exhaustive // what the table of operations uses
	case reflect.Pointer:
		in := reflect.New(v.Type().Elem())
		if fillMember(o, name, in.Elem(), rules) {
			v.Set(in)
		}
		return !v.IsNil()
	case reflect.Struct:
		in := o.Object(name, rules...)
		fill(in, v)
		return in.Set && !in.Null
	case reflect.Bool:
		got := o.Bool(name, rules...)
		v.SetBool(got.Value)
		return got.Set && !got.Null
	case reflect.Int64:
		got := o.Int64(name, rules...)
		v.SetInt(got.Value)
		return got.Set && !got.Null
	case reflect.Float64:
		got := o.Number(name, rules...)
		v.SetFloat(got.Value)
		return got.Set && !got.Null
	case reflect.Map:
		return fillMap(o.Object(name, rules...), v)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return fillBytes(o, name, v, rules)
		}
		list := o.Array(name, rules...)
		for i := range list.Len() {
			v.Set(reflect.Append(v, element(list, i, v.Type().Elem())))
		}
		return list.Set && !list.Null
	default:
		got := o.String(name, rules...)
		v.SetString(got.Value)
		return got.Set && !got.Null
	}
}

// element reads one element of a list of numbers or texts.
func element(list *api.Array, i int, kind reflect.Type) reflect.Value {
	if kind.Kind() == reflect.Int64 {
		return reflect.ValueOf(list.Int64(i))
	}
	return reflect.ValueOf(list.String(i))
}

// fillMap reads an open object of texts.
func fillMap(o *api.Object, v reflect.Value) bool {
	for _, name := range o.Names() {
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		v.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(o.String(name).Value))
	}
	return o.Set && !o.Null
}

// fillBytes reads base64.
func fillBytes(o *api.Object, name string, v reflect.Value, rules []api.Rule) bool {
	got := o.String(name, rules...)
	raw, err := base64.StdEncoding.DecodeString(got.Value)
	if err != nil {
		o.Fault(name, "expected base64", nil)
	}
	v.SetBytes(raw)
	return got.Set && !got.Null
}

// rulesOf reads the tags that the schema has too.
func rulesOf(f reflect.StructField) []api.Rule {
	var rules []api.Rule
	number := func(tag string) (int64, bool) {
		n, err := strconv.ParseInt(f.Tag.Get(tag), 10, 64)
		return n, err == nil
	}
	if n, ok := number("minLength"); ok {
		rules = append(rules, api.MinLength(int(n)))
	}
	if n, ok := number("maxLength"); ok {
		rules = append(rules, api.MaxLength(int(n)))
	}
	if least, ok := number("minimum"); ok {
		if most, also := number("maximum"); also {
			rules = append(rules, api.Between(least, most))
		} else {
			rules = append(rules, api.AtLeast(least))
		}
	}
	if n, ok := number("maxItems"); ok {
		least, _ := number("minItems")
		rules = append(rules, api.Count(int(least), int(n)))
	}
	if options := f.Tag.Get("enum"); options != "" {
		rules = append(rules, api.OneOf(strings.Split(options, ",")...))
	}
	if f.Tag.Get("writeOnly") == "true" {
		rules = append(rules, api.Secret)
	}
	return rules
}

// shorten keeps a name that a stranger chose from filling our answer.
func shorten(name string) string {
	const most = 64
	if utf8.RuneCountInString(name) <= most {
		return strings.ToValidUTF8(name, "?")
	}
	return strings.ToValidUTF8(string([]rune(name)[:most]), "?") + "..."
}
