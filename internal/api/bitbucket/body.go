package bitbucket

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const maxBody = 1 << 20

// object is a JSON object that came as a body. Its readers take one member each and remember whether one was
// unreadable, so a handler reads all that it wants and then asks wrong once. Members that nobody reads are ignored, of two with the
// same name the last counts, and null is as good as absent.
type object struct {
	members map[string]json.RawMessage
	fault   error   // the first that a reader found
	path    string  // of an object inside another: how its members are called, "jit-configuration."
	within  *object // that other
}

// read reads the body of a request. No body, blanks and {} are the same; no Content-Type is JSON, and any other is refused
// because a form would let other sites send it.
func read(r *http.Request) (*object, error) {
	raw, err := api.ReadBody(r, maxBody)
	if errors.Is(err, api.ErrTooLarge) {
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
	s, ok := plain(o.members[member])
	if !ok {
		o.fault = errUnread
	}
	return s
}

// plain reads a text without NUL, or the digits of a number.
func plain(raw json.RawMessage) (s string, ok bool) {
	if isDigits(raw) {
		return string(raw), true
	}
	if string(raw) == "null" || json.Unmarshal(raw, &s) != nil || strings.ContainsRune(s, 0) {
		return "", false
	}
	return s, true
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

// The readers below are for members that may be absent or null, which is told apart from every value by nil, and whose faults name them.

// line reads a text of at most that many characters.
func (o *object) line(member string, most int) *string {
	if !o.has(member) {
		return nil
	}
	s, ok := plain(o.members[member])
	switch {
	case !ok:
		o.refuse(member, "must be a string")
	case utf8.RuneCountInString(s) > most:
		o.refuse(member, "must be at most "+strconv.Itoa(most)+" characters long")
	}
	return &s
}

// flag reads true or false, which some programs write as texts.
func (o *object) flag(member string) *bool {
	if !o.has(member) {
		return nil
	}
	is, ok := truth(o.members[member])
	if !ok {
		o.refuse(member, "must be true or false")
	}
	return &is
}

func truth(raw json.RawMessage) (is, ok bool) {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return is, json.Unmarshal(raw, &is) == nil
	}
	is = strings.EqualFold(s, "true")
	return is, is || strings.EqualFold(s, "false")
}

// number reads a whole number, which some programs write as a text.
func (o *object) number(member string) *int64 {
	if !o.has(member) {
		return nil
	}
	n, err := strconv.ParseInt(strings.Trim(string(o.members[member]), `"`), 10, 64)
	if err != nil {
		o.refuse(member, "must be a whole number")
	}
	return &n
}

// maxList is how many entries a list holds at most, and maxEntry how many characters each.
const (
	maxList  = 100
	maxEntry = 255
)

// list reads texts; an empty list is not nil.
func (o *object) list(member string) []string {
	if !o.has(member) {
		return nil
	}
	var raw []json.RawMessage
	if json.Unmarshal(o.members[member], &raw) != nil {
		o.refuse(member, "must be a list of strings")
	}
	if len(raw) > maxList {
		o.refuse(member, "must hold at most "+strconv.Itoa(maxList)+" entries")
		raw = nil
	}
	all := make([]string, 0, len(raw))
	for _, one := range raw {
		s, ok := plain(one)
		switch {
		case !ok:
			o.refuse(member, "must be a list of strings")
		case utf8.RuneCountInString(s) > maxEntry:
			o.refuse(member, "must hold entries of at most "+strconv.Itoa(maxEntry)+" characters")
		}
		all = append(all, s)
	}
	return all
}

// object reads an object inside; one that is absent has no members.
func (o *object) object(member string) *object {
	in := &object{path: o.path + member + ".", within: o}
	if o.has(member) && (json.Unmarshal(o.members[member], &in.members) != nil) {
		o.refuse(member, "must be an object")
	}
	return in
}

// refuse notes what is wrong with a member, unless something is wrong already.
func (o *object) refuse(member, what string) {
	switch {
	case o.within != nil:
		o.within.refuse(strings.TrimPrefix(o.path+member, o.within.path), what)
	case o.fault == nil:
		o.fault = invalid(member, member+" "+what+".")
	}
}

func isDigits(raw []byte) bool {
	for _, c := range raw {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
