package api

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Problem is an RFC 9457 answer with a list of what is wrong where.
type Problem struct {
	Type     string         `json:"type"`               // about:blank where empty
	Title    string         `json:"title"`              // the status's reason text where empty
	Status   int            `json:"status"`             //
	Detail   string         `json:"detail"`             // for the caller
	Code     string         `json:"code,omitempty"`     // a word for programs, where the status does not say what to do
	Instance string         `json:"instance,omitempty"` // this occurrence: the request id
	Errors   []ProblemError `json:"errors"`             // in field order; null where there are none
}

// ProblemError is one fault inside the request.
type ProblemError struct {
	Message  string `json:"message"`
	Location string `json:"location"`
	Value    any    `json:"value,omitempty"`
}

// WriteProblem answers with p as application/problem+json.
func WriteProblem(w http.ResponseWriter, p Problem) {
	if p.Type == "" {
		p.Type = "about:blank"
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	body, err := marshal(p)
	if err != nil { // a Value that is not JSON: the handler's mistake, not worth losing the answer
		p.Errors = nil
		body, _ = marshal(p)
	}
	send(w, p.Status, "application/problem+json", body)
}

// ProblemErrors lists the field faults that err carries, or nil. Locations are taken as they stand:
// those of Decode and Query are complete, those of the domain become so by InBody.
func ProblemErrors(err error) []ProblemError {
	var all []ProblemError
	for _, f := range fault.FieldsOf(err) {
		all = append(all, ProblemError{Message: f.Message, Location: f.Path, Value: f.Value})
	}
	return all
}

// InBody returns the domain's err with the paths of its fields placed in the request body:
// "keys[1].public_key" becomes "body.keys[1].public_key". Errors of Decode and Query come back unchanged.
func InBody(err error) error {
	fields := fault.FieldsOf(err)
	if len(fields) == 0 || isOurs(err) {
		return err
	}
	moved := fault.Wrap(fault.KindOf(err), fault.Text(err), err)
	for _, f := range fields {
		if f.Path == "" {
			f.Path = "body"
		} else {
			f.Path = "body." + f.Path
		}
		moved.Fields = append(moved.Fields, f)
	}
	return moved
}

// WriteJSON answers with v as application/json, without HTML escapes and with a final newline.
// Nothing is written when v cannot be encoded.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	body, err := marshal(v)
	if err != nil {
		return err
	}
	send(w, status, "application/json", body)
	return nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // "expected number >= 1" stays readable; nosniff keeps it from being HTML
	err := e.Encode(v)
	return b.Bytes(), err
}

// send writes a complete answer. Answers of an API are for its caller alone, so nothing may keep them.
func send(w http.ResponseWriter, status int, kind string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller has gone: nobody is left to tell
}
