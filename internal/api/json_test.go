package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// decode reads body with read and returns the faults as "location: message = value" lines.
func decode(t *testing.T, body string, read func(in *api.Object)) string {
	t.Helper()
	d, err := api.DecodeBytes([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	read(d.Object())
	return lines(d.Done())
}

func lines(err error) string {
	var all []string
	for _, f := range fault.FieldsOf(err) {
		line := f.Path + ": " + f.Message
		if f.Value != nil {
			line += fmt.Sprintf(" = %v", f.Value)
		}
		all = append(all, line)
	}
	return strings.Join(all, "\n")
}

func TestDecodeReportsEveryFaultInTheOrderOfAsking(t *testing.T) {
	t.Parallel()
	got := decode(t, `{"Keys":1,"retries":-1,"keys":[{"public_key":7},"x",{"extra":{},"public_key":"a"}],"$schema":"https://x","method":"get"}`,
		func(in *api.Object) {
			in.String("url", api.Required)
			keys := in.Array("keys", api.Required, api.Count(1, 32))
			in.String("method", api.OneOf("post", "put", "patch"))
			in.Int32("retries", api.Between(0, 20))
			for i := range keys.Len() {
				k := keys.Object(i)
				k.String("public_key", api.Required)
				k.Fault("public_key", "not a public key", nil)
			}
		})
	want := `body: expected required property url to be present
body.keys[0].public_key: expected string = 7
body.keys[1]: expected object
body.keys[2].public_key: not a public key
body.keys[2].extra: unexpected property
body.method: expected value to be one of "post, put, patch" = get
body.retries: expected number >= 0 = -1
body.Keys: unexpected property`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDecodeTypes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body, want string
		read             func(in *api.Object)
	}{
		{"null is not a boolean", `{"a":null}`, "body.a: expected boolean", func(in *api.Object) { in.Bool("a") }},
		{"null where it may be", `{"a":null}`, "", func(in *api.Object) { in.Bool("a", api.Nullable) }},
		{"text for a number", `{"a":"1"}`, "body.a: expected integer = 1", func(in *api.Object) { in.Int64("a") }},
		{"a fraction", `{"a":1.0}`, "body.a: expected integer = 1.0", func(in *api.Object) { in.Int64("a") }},
		{"an exponent", `{"a":1e2}`, "body.a: expected integer = 1e2", func(in *api.Object) { in.Int64("a") }},
		{"above int32", `{"a":2147483648}`, "body.a: expected number <= 2147483647 = 2147483648", func(in *api.Object) { in.Int32("a") }},
		{"above int64", `{"a":99999999999999999999}`, "body.a: expected number <= 1000 = 99999999999999999999", func(in *api.Object) { in.Int64("a", api.Between(1, 1000)) }},
		{"below int64", `{"a":-99999999999999999999}`, "body.a: expected number >= 1 = -99999999999999999999", func(in *api.Object) { in.Int64("a", api.AtLeast(1)) }},
		{"a number", `{"a":1.5}`, "", func(in *api.Object) { in.Number("a", api.Between(1, 10)) }},
		{"a number too small", `{"a":0.5}`, "body.a: expected number >= 1 = 0.5", func(in *api.Object) { in.Number("a", api.Between(1, 10)) }},
		{"not a number", `{"a":true}`, "body.a: expected number = true", func(in *api.Object) { in.Number("a") }},
		{"characters, not bytes", `{"a":"äö"}`, "", func(in *api.Object) { in.String("a", api.MaxLength(2)) }},
		{"too long", `{"a":"abc"}`, "body.a: expected length <= 2 = abc", func(in *api.Object) { in.String("a", api.MaxLength(2)) }},
		{"terminal escapes", `{"a":"\u001b[2J"}`, "body.a: must not contain control characters = \x1b[2J", func(in *api.Object) { in.String("a", api.Text) }},
		{"C1 control characters", `{"a":"\u009b2J"}`, "body.a: must not contain control characters = \u009b2J", func(in *api.Object) { in.String("a", api.Text) }},
		{"newline and tab", `{"a":"x\n\ty"}`, "", func(in *api.Object) { in.String("a", api.Text) }},
		{"U+0000 anywhere", `{"a":"x\u0000"}`, "body.a: must not contain control characters = x\x00", func(in *api.Object) { in.String("a") }},
		{"array for object", `{"a":[]}`, "body.a: expected object", func(in *api.Object) { in.Object("a").String("b", api.Required) }},
		{"object for array", `{"a":{}}`, "body.a: expected array", func(in *api.Object) { in.Array("a") }},
		{"too few", `{"a":[]}`, "body.a: expected array length >= 1", func(in *api.Object) { in.Array("a", api.Count(1, 2)) }},
		{"too many are not read", `{"a":[1,2,3]}`, "body.a: expected array length <= 2", func(in *api.Object) {
			if n := in.Array("a", api.Count(1, 2)).Len(); n != 0 {
				panic(n)
			}
		}},
		{"a date", `{"a":"2026-11-22"}`, "body.a: expected string to be RFC 3339 date-time = 2026-11-22", func(in *api.Object) { in.Time("a") }},
		{"a secret is not repeated", `{"a":{"b":7}}`, "body.a.b: expected string", func(in *api.Object) { in.Object("a", api.Secret).String("b") }},
		{"a document that is no object", `[]`, "body: expected object", func(in *api.Object) { in.String("a", api.Required) }},
		{"$schema that is no text", `{"$schema":1}`, "body.$schema: expected string", func(*api.Object) {}},
		{"long values are not repeated", `{"a":"` + strings.Repeat("x", 300) + `"}`, "body.a: expected integer", func(in *api.Object) { in.Int64("a") }},
		{"an open map", `{"a":{"X-One":["1",2],"$schema":"s","X-Two":null}}`, "body.a.X-One[1]: expected string = 2", func(in *api.Object) {
			m := in.Object("a")
			for _, name := range m.Names() {
				values := m.Array(name, api.Nullable)
				for i := range values.Len() {
					values.String(i)
				}
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := decode(t, tt.body, tt.read); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestOptionalHasThreeStates(t *testing.T) {
	t.Parallel()
	d, err := api.DecodeBytes([]byte(`{"null":null,"value":"v","when":"2026-11-22T10:00:00+02:00"}`))
	if err != nil {
		t.Fatal(err)
	}
	in := d.Object()
	absent, null, value := in.String("absent"), in.String("null", api.Nullable), in.String("value")
	if absent.Set || absent.Pointer() != nil {
		t.Errorf("absent: %+v", absent)
	}
	if !null.Set || !null.Null || null.Or("x") != "x" {
		t.Errorf("null: %+v", null)
	}
	if !value.Set || value.Null || *value.Pointer() != "v" {
		t.Errorf("value: %+v", value)
	}
	if when := in.Time("when").Value; !when.Equal(time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)) || when.Location() != time.UTC {
		t.Errorf("when: %v", when)
	}
	if err := d.Done(); err != nil {
		t.Error(err)
	}
}

func TestDecodeRefusesWhatIsNotOneDocument(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		``:                      "unexpected end of JSON input at byte 0",
		`{"a":1} {}`:            "invalid character '{' after top-level value at byte 9",
		`{"a":1,"a":2}`:         `member "a" appears twice in one object`,
		`{"a":1,"\u0061":2}`:    `member "a" appears twice in one object`,
		`{"x":[{"b":1,"b":1}]}`: `member "b" appears twice in one object`,
		"{\"a\":\"\xff\"}":      "the body is not UTF-8",
		"\ufeff{}":              "invalid character 'ï' looking for beginning of value at byte 1",
		strings.Repeat("[", 65) + strings.Repeat("]", 65): "nested deeper than 64 levels",
	} {
		_, err := api.DecodeBytes([]byte(body))
		if !errors.Is(err, api.ErrNotJSON) || lines(err) != "body: "+want {
			t.Errorf("%q: %v, want %s", body, err, want)
		}
	}
}

func TestDecodeRefusesByTypeAndSize(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind, encoding, body string
		want                 error
	}{
		{"", "", `{}`, nil},
		{"application/json", "", `{}`, nil},
		{"application/json; charset=UTF-8", "identity", `{}`, nil},
		{"application/merge-patch+json", "", `{}`, nil},
		{"application/json; charset=latin1", "", `{}`, api.ErrMediaType},
		{"application/json", "gzip", `{}`, api.ErrMediaType},
		{"application/x-www-form-urlencoded", "", `{}`, api.ErrMediaType},
		{"text/plain", "", `{}`, api.ErrMediaType},
		{";", "", `{}`, api.ErrMediaType},
		{"application/json", "", `{"a":"123456789"}`, api.ErrTooLarge},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("POST", "/", strings.NewReader(tt.body))
		r.Header.Set("Content-Type", tt.kind)
		r.Header.Set("Content-Encoding", tt.encoding)
		if _, err := api.Decode(r, 10); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	var body strings.Builder
	body.WriteString(`{"a":1`)
	for i := range 5000 {
		fmt.Fprintf(&body, `,"%s%d":1`, strings.Repeat("n", 100), i)
	}
	body.WriteString(`}`)
	d, err := api.DecodeBytes([]byte(body.String()))
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(d.Done()); strings.Count(got, "\n") != 99 || len(got) > 20_000 {
		t.Errorf("%d lines, %d bytes", strings.Count(got, "\n")+1, len(got))
	}
}

// FuzzDecode holds that nothing panics, that what is accepted is valid JSON to the standard library, and
// that walking finds the same members with the same values.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":[1,{"b":"\"}\\"}],"c":null}`, `[[[]]]`, `"\ud800"`, ` { "a" : -1.5e+3 , "b":{"c":[ ] } } `, `{"a":1}x`, `{"a":1E0555}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := api.DecodeBytes(body)
		if err != nil {
			return
		}
		var std any
		exact := json.NewDecoder(bytes.NewReader(body))
		exact.UseNumber() // 1e555 is valid JSON and no float64
		if err := exact.Decode(&std); err != nil {
			t.Fatalf("accepted what encoding/json refuses: %v", err)
		}
		walk(t, d.Object(), std)
		_ = d.Done()
	})
}

func walk(t *testing.T, in *api.Object, std any) {
	members, ok := std.(map[string]any)
	if !ok {
		return
	}
	names := in.Names()
	if _, schema := members["$schema"]; schema {
		names = append(names, "$schema")
	}
	if len(names) != len(members) {
		t.Fatalf("members %q, want %v", names, members)
	}
	for _, name := range names {
		switch want := members[name].(type) {
		case string:
			if got := in.String(name); got.Value != want && !strings.Contains(want, "\x00") {
				t.Fatalf("%q: %q, want %q", name, got.Value, want)
			}
		case bool:
			if got := in.Bool(name); got.Value != want {
				t.Fatalf("%q: %v, want %v", name, got.Value, want)
			}
		case json.Number:
			if n, err := want.Float64(); err == nil && in.Number(name).Value != n {
				t.Fatalf("%q: not %v", name, n)
			}
		case map[string]any:
			walk(t, in.Object(name), want)
		case []any:
			a := in.Array(name)
			if a.Len() != len(want) {
				t.Fatalf("%q: %d elements, want %d", name, a.Len(), len(want))
			}
			for i := range a.Len() {
				walk(t, a.Object(i), want[i])
			}
		case nil:
			if !in.String(name, api.Nullable).Null {
				t.Fatalf("%q is not null", name)
			}
		}
	}
}
