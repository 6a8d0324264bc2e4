package senhasegura

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/api"
)

const (
	maxBody  = 1 << 20
	maxParts = 1000 // of a multipart body
)

// fields are what a body says, in whichever of the three forms it came. Numbers and booleans may come as text; null is as good as absent, of two with one name
// the last counts, and what nobody asks for is ignored. The readers remember the first field that is wrong, so a handler reads all that it wants and then asks
// wrong once.
type fields struct {
	texts  map[string]string
	nested map[string]json.RawMessage // objects, and arrays of something else than texts
	fault  error
}

// read reads the body of a request. No body is an empty one.
func read(r *http.Request) (*fields, error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, errMalformed
	}
	raw, err := api.ReadBody(r, maxBody)
	switch {
	case errors.Is(err, api.ErrTooLarge):
		return nil, errTooLarge
	case err != nil:
		return nil, errMalformed
	}
	return parse(r.Header.Get("Content-Type"), raw)
}

// parse reads a body of a media type. JSON is JSON also where it is called a form, as curl calls it, or nothing at all.
func parse(declared string, raw []byte) (*fields, error) {
	f := &fields{texts: map[string]string{}, nested: map[string]json.RawMessage{}}
	kind, params, err := mime.ParseMediaType(declared)
	if declared == "" {
		err = nil
	}
	if err != nil {
		return nil, errMalformed
	}
	blank := bytes.TrimSpace(raw)
	isForm := kind == "application/x-www-form-urlencoded" || kind == ""
	switch {
	case len(blank) == 0:
	case kind == "multipart/form-data":
		err = f.multipart(raw, params["boundary"])
	case kind == "application/json", strings.HasSuffix(kind, "+json"), isForm && blank[0] == '{':
		err = f.json(blank)
	case isForm:
		err = f.form(raw)
	default:
		return nil, errMalformed
	}
	if err != nil || !f.clean() {
		return nil, errMalformed
	}
	return f, nil
}

// clean reports whether all is text that can be kept.
func (f *fields) clean() bool {
	for name, text := range f.texts {
		if !utf8.ValidString(name) || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return false
		}
	}
	for _, raw := range f.nested {
		if bytes.Contains(raw, []byte(`\u0000`)) {
			return false
		}
	}
	return true
}

func (f *fields) form(raw []byte) error {
	values, err := url.ParseQuery(string(raw))
	for name, all := range values {
		f.texts[name] = all[len(all)-1]
	}
	return err
}

func (f *fields) multipart(raw []byte, boundary string) error {
	if boundary == "" {
		return errMalformed
	}
	parts := multipart.NewReader(bytes.NewReader(raw), boundary)
	for range maxParts {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return err
		}
		if name := part.FormName(); name != "" {
			f.texts[name] = string(text)
		}
	}
	return errMalformed
}

func (f *fields) json(raw []byte) error {
	var members map[string]json.RawMessage
	if !utf8.Valid(raw) {
		return errMalformed
	}
	if err := json.Unmarshal(raw, &members); err != nil {
		return err
	}
	for name, raw := range members {
		if text, ok := scalar(raw); ok {
			f.texts[name] = text
		} else if string(raw) != "null" {
			f.member(name, raw)
		}
	}
	return nil
}

// member keeps what is no scalar: an array of scalars is a list with commas, as forms write it.
func (f *fields) member(name string, raw json.RawMessage) {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) == nil {
		texts := make([]string, len(items))
		plain := true
		for i, item := range items {
			var ok bool
			texts[i], ok = scalar(item)
			plain = plain && ok
		}
		if plain {
			f.texts[name] = strings.Join(texts, ",")
			return
		}
	}
	f.nested[name] = raw
}

// scalar is a JSON text, number or boolean as text.
func scalar(raw json.RawMessage) (string, bool) {
	switch {
	case len(raw) == 0, raw[0] == '{', raw[0] == '[', string(raw) == "null":
		return "", false
	case raw[0] != '"':
		return string(raw), true
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err == nil
}

// wrong returns what the readers found, or nil.
func (f *fields) wrong() error { return f.fault }

func (f *fields) refuse(err error) {
	if f.fault == nil {
		f.fault = err
	}
}

// has says that a field is there, be it empty.
func (f *fields) has(name string) bool {
	_, text := f.texts[name]
	_, nested := f.nested[name]
	return text || nested
}

// text reads a field; absent is "". An object is no text.
func (f *fields) text(name string) string {
	if _, nested := f.nested[name]; nested {
		f.refuse(errMalformed)
	}
	return f.texts[name]
}

// optional reads a field that may be absent: nil.
func (f *fields) optional(name string) *string {
	if !f.has(name) {
		return nil
	}
	text := f.text(name)
	return &text
}

// list reads texts with commas between them, and perhaps spaces; absent is nil.
func (f *fields) list(name string) *[]string {
	if !f.has(name) {
		return nil
	}
	list := []string{}
	for part := range strings.SplitSeq(f.text(name), ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return &list
}

// integer reads a number from least to most; absent and empty are 0. What is none is refused as wrong.
func (f *fields) integer(name string, least, most int64, wrong error) int64 {
	text := strings.TrimSpace(f.text(name))
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		f.refuse(wrong)
		return 0
	}
	return n
}

// object reads an object, or an array of one; in a form it is written as JSON. Absent and empty are nil.
func (f *fields) object(name string) map[string]json.RawMessage {
	raw, ok := f.nested[name]
	if text := strings.TrimSpace(f.texts[name]); !ok && text != "" {
		raw, ok = json.RawMessage(text), true
	}
	if !ok {
		return nil
	}
	var one map[string]json.RawMessage
	if json.Unmarshal(raw, &one) == nil {
		return one
	}
	var several []map[string]json.RawMessage
	if json.Unmarshal(raw, &several) != nil || len(several) > 1 {
		f.refuse(errMalformed)
		return nil
	}
	if len(several) == 0 {
		return nil
	}
	return several[0]
}

// truth reads a boolean as clients write it: true, 1, "true", "1", "on".
func truth(raw json.RawMessage) (is, ok bool) {
	text, ok := scalar(raw)
	if !ok {
		return false, string(raw) == "null"
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "1", "on", "yes":
		return true, true
	case "false", "0", "off", "no", "":
		return false, true
	}
	return false, false
}
