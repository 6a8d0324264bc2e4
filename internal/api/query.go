package api

import (
	"net/http"
	"net/url"

	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Params reads the query of a request under the same rules as Object reads a body. Parameters nobody
// asks for are ignored; of a repeated one the first counts.
type Params struct {
	values url.Values
	found  []fault.Field
}

// Query reads the query of r.
func Query(r *http.Request) *Params { return &Params{values: r.URL.Query()} }

// Int64 reads an integer, or returns otherwise where the parameter is absent.
func (q *Params) Int64(name string, otherwise int64, rules ...Rule) int64 {
	if !q.values.Has(name) {
		return otherwise
	}
	value := q.values.Get(name)
	n, wrong := parseInt(value, gather(rules, false))
	q.add(name, value, wrong)
	return n
}

// String reads a text; absent is "". OneOf and the length rules hold for what was given.
func (q *Params) String(name string, rules ...Rule) string {
	if !q.values.Has(name) {
		return ""
	}
	value := q.values.Get(name)
	q.add(name, value, gather(rules, false).judge(value))
	return value
}

// Bool reads true or false, or returns otherwise where the parameter is absent.
func (q *Params) Bool(name string, otherwise bool) bool {
	if !q.values.Has(name) {
		return otherwise
	}
	value := q.values.Get(name)
	if value != "true" && value != "false" {
		q.add(name, value, []string{"expected boolean"})
	}
	return value == "true"
}

// Window reads "offset" (from 0) and "limit" (from 1; above the most that a page holds it is capped).
func (q *Params) Window() page.Window {
	offset := q.Int64("offset", 0, AtLeast(0))
	limit := q.Int64("limit", page.MaxLimit, AtLeast(1))
	return page.Of(offset, limit)
}

// Fault adds a fault that only the handler can see.
func (q *Params) Fault(name, message string) { q.add(name, q.values.Get(name), []string{message}) }

// Done returns nil, or every fault of the query as one Invalid fault that wraps ErrFields.
func (q *Params) Done() error { return fieldsFault(q.found) }

func (q *Params) add(name, value string, wrong []string) {
	for _, message := range wrong {
		f := fault.Field{Path: "query." + name, Message: message}
		if len(value) <= maxEcho {
			f.Value = value
		}
		q.found = append(q.found, f)
	}
}
