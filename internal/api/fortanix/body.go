package fortanix

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const maxBody = 256 << 10

// object is a JSON object that came as a body. Its readers take one member each and remember the first that
// is wrong, so a handler reads all that it wants and then asks wrong once. Members that nobody reads are ignored, of two with the same
// name the last counts, and null is as good as absent.
type object struct {
	raw     []byte // as it came, without blanks around it
	members map[string]json.RawMessage
	fault   *fault.Error
}

// read reads the body of a request. No body, blanks and {} are the same; no Content-Type is JSON.
func read(r *http.Request) (*object, error) {
	raw, err := api.ReadBody(r, maxBody)
	if errors.Is(err, api.ErrTooLarge) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, invalid("body is incomplete")
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return &object{raw: []byte("{}")}, nil
	}
	if sent := r.Header.Get("Content-Type"); sent != "" { // a form would let other sites send it (rule F13)
		if kind, _, err := mime.ParseMediaType(sent); err != nil || kind != "application/json" {
			return nil, invalid("content type")
		}
	}
	o := &object{raw: raw}
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, invalid("body is not JSON")
	}
	if raw[0] != '{' || json.Unmarshal(raw, &o.members) != nil {
		return nil, invalid("body is not an object")
	}
	return o, nil
}

// wrong returns what the readers found, or nil.
func (o *object) wrong() error {
	if o.fault != nil {
		return o.fault
	}
	return nil
}

func (o *object) refuse(member string) {
	if o.fault == nil {
		o.fault = invalid(member)
	}
}

// has says that a member is there and not null.
func (o *object) has(member string) bool {
	raw, ok := o.members[member]
	return ok && string(raw) != "null"
}

// into reads a member of a given form, and says whether it is there.
func (o *object) into(member string, v any) bool {
	if !o.has(member) {
		return false
	}
	if json.Unmarshal(o.members[member], v) != nil {
		o.refuse(member)
		return false
	}
	return true
}

// optional reads a text that may be absent.
func (o *object) optional(member string) string {
	var s string
	o.into(member, &s)
	if strings.ContainsRune(s, 0) {
		o.refuse(member)
		return ""
	}
	return s
}

// text reads a text of 1 to most bytes.
func (o *object) text(member string, most int) string {
	s := o.optional(member)
	if s == "" || len(s) > most {
		o.refuse(member)
	}
	return s
}

// email reads an e-mail address, which is not looked at more closely than that.
func (o *object) email(member string) string {
	s := o.text(member, 4*320)
	if utf8.RuneCountInString(s) > 320 || !strings.Contains(s, "@") {
		o.refuse(member)
	}
	return s
}

var namePattern = regexp.MustCompile(`^[^\n]*[^\s\n][^\n]*$`)

// name reads the name of an object.
func (o *object) name(member string) string {
	s := o.text(member, 4*4096)
	if utf8.RuneCountInString(s) > 4096 || !namePattern.MatchString(s) {
		o.refuse(member)
	}
	return s
}

// uuid reads an id and returns it in lower case.
func (o *object) uuid(member string) string {
	s, ok := wireUUID(o.optional(member))
	if !ok {
		o.refuse(member)
	}
	return s
}

// bytes reads base64 with padding.
func (o *object) bytes(member string) []byte {
	b, err := base64.StdEncoding.Strict().DecodeString(o.optional(member))
	if err != nil || len(b) == 0 {
		o.refuse(member)
	}
	return b
}

// wireUUID reads an id in its hyphenated form, in any case.
func wireUUID(s string) (string, bool) {
	if len(s) != 36 {
		return "", false
	}
	id, err := uuid.Parse(s)
	return id.String(), err == nil
}
