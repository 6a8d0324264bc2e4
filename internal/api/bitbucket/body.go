package bitbucket

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const maxBody = 1 << 20

// object is a JSON object that came as a body. Its readers take one member each and remember whether one was
// unreadable, so a handler reads all that it wants and then asks wrong once. Members that nobody reads are ignored, of two with the
// same name the last counts, and null is as good as absent.
type object struct {
	members map[string]json.RawMessage
	fault   error
}

// read reads the body of a request. No body, blanks and {} are the same; no Content-Type is JSON, and any other is refused
// because a form would let other sites send it.
func read(r *http.Request) (*object, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, errUnread
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return &object{}, nil
	}
	if sent := r.Header.Get("Content-Type"); sent != "" {
		if kind, _, err := mime.ParseMediaType(sent); err != nil || kind != "application/json" {
			return nil, errUnread
		}
	}
	o := &object{}
	if !utf8.Valid(raw) || raw[0] != '{' || json.Unmarshal(raw, &o.members) != nil {
		return nil, errUnread
	}
	return o, nil
}

// wrong returns what the readers found, or nil.
func (o *object) wrong() error { return o.fault }

// has says that a member is there and not null.
func (o *object) has(member string) bool {
	raw, ok := o.members[member]
	return ok && string(raw) != "null"
}

// text reads a text that may be absent. A number counts as its digits: some programs write codes so.
func (o *object) text(member string) string {
	if !o.has(member) {
		return ""
	}
	raw := o.members[member]
	if isDigits(raw) {
		return string(raw)
	}
	var s string
	if json.Unmarshal(raw, &s) != nil || strings.ContainsRune(s, 0) {
		o.fault = errUnread
		return ""
	}
	return s
}

// loose reads a text of which nothing is demanded: what is none is as good as absent.
func (o *object) loose(member string) string {
	var s string
	if json.Unmarshal(o.members[member], &s) != nil {
		return ""
	}
	return s
}

// secret reads a text that nothing may show.
func (o *object) secret(member string) secret.String { return secret.New(o.text(member)) }

func isDigits(raw []byte) bool {
	for _, c := range raw {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
