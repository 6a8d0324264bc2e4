package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// What is wrong with a body, for doors whose wire has a status for it. Match with errors.Is.
var (
	// ErrTooLarge is a body above the limit: 413 on most wires.
	ErrTooLarge = fault.New(fault.Invalid, "Request body is too large")
	// ErrMediaType is a body that is not declared as plain UTF-8 JSON: 415 on most wires.
	ErrMediaType = fault.New(fault.Invalid, "Unsupported content type")
	// ErrNotJSON is a body that is not one JSON document with distinct member names: 400 on most wires.
	ErrNotJSON = fault.New(fault.Invalid, "Request body is not valid JSON")
	// ErrFields is a document or query whose fields break their rules: 422 where the wire has it.
	ErrFields = fault.New(fault.Invalid, "validation failed")
)

const (
	maxDepth  = 64  // nesting of a request document; deeper ones are refused before anything is built
	maxFaults = 100 // faults reported for one document: the answer must not outgrow the question
	maxEcho   = 256 // bytes of a value that a fault repeats
)

// Decoder reads one JSON request document strictly: distinct member names, case-sensitive, nothing
// unknown, every fault reported at once in the order in which the code asks for the fields.
//
//	d, err := api.Decode(r, 1<<20)
//	if err != nil {
//		return err
//	}
//	in := d.Object()
//	name := in.String("name", api.Required, api.MaxLength(255), api.Text)
//	keys := in.Array("keys", api.Count(1, 32))
//	for i := range keys.Len() {
//		line := keys.Object(i).String("public_key", api.Required)
//	}
//	if err := d.Done(); err != nil {
//		return err
//	}
//
// Values read before Done has returned nil are zero where the document was wrong.
type Decoder struct {
	body []byte
	root *Object
}

// Decode reads the body of r, at most limit bytes. It reports ErrTooLarge, ErrMediaType or ErrNotJSON.
// A request without Content-Type is read as JSON.
func Decode(r *http.Request, limit int64) (*Decoder, error) {
	if !isJSON(r.Header) {
		return nil, ErrMediaType
	}
	body, err := ReadBody(r, limit)
	switch {
	case errors.Is(err, ErrTooLarge):
		return nil, err
	case err != nil:
		return nil, notJSON("the body ended early")
	}
	return DecodeBytes(body)
}

// DecodeBytes is Decode for a document that is already in memory. It reports ErrNotJSON.
func DecodeBytes(body []byte) (*Decoder, error) {
	if !utf8.Valid(body) {
		return nil, notJSON("the body is not UTF-8")
	}
	var raw json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, notJSON(syntaxText(err))
	}
	c := cursor{text: body}
	if err := c.check(maxDepth); err != nil {
		return nil, notJSON(err.Error())
	}
	return &Decoder{body: body}, nil
}

// Object returns the document, which must be an object.
func (d *Decoder) Object() *Object {
	if d.root == nil {
		d.root = newObject("body", d.body, false)
	}
	return d.root
}

// Done returns nil, or every fault of the document as one Invalid fault that wraps ErrFields.
// Call it after the last field was asked for: members nobody asked for are "unexpected property".
func (d *Decoder) Done() error {
	return fieldsFault(d.Object().faults(nil))
}

func fieldsFault(found []fault.Field) error {
	if len(found) == 0 {
		return nil
	}
	e := fault.Wrap(fault.Invalid, ErrFields.Text, ErrFields)
	e.Fields = found[:min(len(found), maxFaults)]
	return e
}

func notJSON(text string) error {
	e := fault.Wrap(fault.Invalid, ErrNotJSON.Text, ErrNotJSON)
	e.Fields = []fault.Field{{Path: "body", Message: text}}
	return e
}

func syntaxText(err error) string {
	var s *json.SyntaxError
	if errors.As(err, &s) {
		return fmt.Sprintf("%s at byte %d", s.Error(), s.Offset)
	}
	return err.Error()
}

// isJSON accepts application/json, anything ending in +json, and a missing type; UTF-8 only; not compressed.
func isJSON(h http.Header) bool {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return false
	}
	value := h.Get("Content-Type")
	if value == "" {
		return true
	}
	kind, params, err := mime.ParseMediaType(value)
	if err != nil {
		return false
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return false
	}
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}

// cursor walks over text that encoding/json has already found valid, so it only needs to find where
// things end. Values stay raw until somebody asks for them: a body costs no more memory than its bytes
// and the members of the objects that are read.
type cursor struct {
	text []byte
	pos  int
}

// check walks one value and refuses duplicate member names and nesting deeper than depth.
func (c *cursor) check(depth int) error {
	c.space()
	switch c.text[c.pos] {
	case '{', '[':
		if depth == 0 {
			return fmt.Errorf("nested deeper than %d levels", maxDepth)
		}
	}
	switch c.text[c.pos] {
	case '{':
		seen := map[string]bool{}
		return c.members(func(name string) error {
			if seen[name] {
				return fmt.Errorf("member %q appears twice in one object", shorten(name))
			}
			seen[name] = true
			return c.check(depth - 1)
		})
	case '[':
		return c.elements(func() error { return c.check(depth - 1) })
	default:
		c.scalar()
		return nil
	}
}

// members calls each with every name of the object under the cursor; each must consume the value.
func (c *cursor) members(each func(name string) error) error {
	c.pos++ // {
	for {
		c.space()
		switch c.text[c.pos] {
		case '}':
			c.pos++
			return nil
		case ',':
			c.pos++
			continue
		}
		name := text(c.scalar())
		c.space()
		c.pos++ // :
		if err := each(name); err != nil {
			return err
		}
	}
}

// elements calls each for every element of the array under the cursor; each must consume the value.
func (c *cursor) elements(each func() error) error {
	c.pos++ // [
	for {
		c.space()
		switch c.text[c.pos] {
		case ']':
			c.pos++
			return nil
		case ',':
			c.pos++
			continue
		}
		if err := each(); err != nil {
			return err
		}
	}
}

// value consumes one value of any kind and returns its raw text.
func (c *cursor) value() []byte {
	c.space()
	start, open := c.pos, 0
	for {
		switch c.text[c.pos] {
		case '{', '[':
			open++
			c.pos++
		case '}', ']':
			open--
			c.pos++
		case ',', ':', ' ', '\t', '\n', '\r':
			c.pos++
		default:
			c.scalar()
		}
		if open == 0 {
			return c.text[start:c.pos]
		}
	}
}

// scalar consumes a string, number, true, false or null and returns its raw text.
func (c *cursor) scalar() []byte {
	start := c.pos
	if c.text[c.pos] != '"' {
		for c.pos < len(c.text) && !strings.ContainsRune(",:]} \t\r\n", rune(c.text[c.pos])) {
			c.pos++
		}
		return c.text[start:c.pos]
	}
	for c.pos++; c.text[c.pos] != '"'; c.pos++ {
		if c.text[c.pos] == '\\' {
			c.pos++
		}
	}
	c.pos++
	return c.text[start:c.pos]
}

func (c *cursor) space() {
	for c.pos < len(c.text) {
		switch c.text[c.pos] {
		case ' ', '\t', '\n', '\r':
			c.pos++
		default:
			return
		}
	}
}

// text decodes a raw JSON string that is known to be valid.
func text(raw []byte) string {
	var s string
	_ = json.Unmarshal(raw, &s) // valid by DecodeBytes
	return s
}

// shorten keeps a name that a stranger chose from filling our answer.
func shorten(name string) string {
	const most = 64
	if utf8.RuneCountInString(name) <= most {
		return name
	}
	return string([]rune(name)[:most]) + "..."
}

// isOurs says that err was made here, so its locations are complete.
func isOurs(err error) bool { return errors.Is(err, ErrFields) || errors.Is(err, ErrNotJSON) }
