// Package api is what every HTTP door shares: the front door with its middleware, the table of owners
// and routes, strict reading of requests and plain writing of answers.
//
// A request passes through these, in this order:
//
//	Door      request id, client address, hostile headers and paths, access log
//	Mux       finds the one owner of the path and the owner's route; the owner's own 404, 405 and 500
//	Adapter   who is calling, the owner's Handler, the owner's own form of an error
//
// An owner is a dialect, the native API, the health checks or the console. It gives Mount a table of
// routes, one line each, and every route declares the action that it stands for, or access.Public: one
// without is refused at start (rule W1). A handler decodes, calls one verb of the domain, encodes;
// it returns an error instead of writing one, and never logs.
package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Route is one line of an owner's table.
type Route struct {
	Method  string        // "" answers every method
	Pattern string        // path in the syntax of http.ServeMux, without method and host, never ending in "/"
	Action  access.Action // what a caller wants who comes here; access.Public where no right is needed
	Handler http.Handler
}

// Owner answers for every path at or below its prefixes, also for those that it has no route for.
type Owner struct {
	Name     string
	Prefixes []string // "/rest" owns "/rest" and "/rest/..."; "/" owns what is left
	FoldCase bool     // the prefixes match in any case, as some clients of old servers write them
	Routes   []Route

	// Spell, where set, writes a path the way the patterns do, where callers have several ways; both in escaped form. It stays inside the prefixes.
	Spell func(path string) string

	NotFound         http.HandlerFunc // 404 in the owner's form; plain text where nil
	MethodNotAllowed http.HandlerFunc // 405 in the owner's form, Allow is set already; plain text where nil

	// Fail answers with an error in the owner's form: here a 500 after a panic. Plain text where nil.
	Fail func(w http.ResponseWriter, r *http.Request, err error)
}

// MountedRoute is a route together with the name of its owner.
type MountedRoute struct {
	Owner string
	Route
}

// Mux gives every path to its one owner. Make it with Mount.
type Mux struct {
	owners []*mounted
}

// mounted is an owner with its routes ready to match.
type mounted struct {
	Owner
	mux     *http.ServeMux
	methods []string
}

// endpoint is a mounted route. ServeMux answers with handlers of its own (redirects, 404, 405), which
// this type tells apart from ours.
type endpoint struct{ http.Handler }

// Mount checks the tables of all owners and makes them one. It reports everything that is wrong at once:
// a prefix with two owners, a route outside its owner's prefixes, patterns that conflict, a route without action.
func Mount(owners ...Owner) (*Mux, error) {
	m := &Mux{}
	var wrong []error
	taken := map[string]string{}
	for _, o := range owners {
		for _, prefix := range o.Prefixes {
			key := strings.ToLower(prefix)
			if other, twice := taken[key]; twice && (other == o.Name || prefix == key) {
				wrong = append(wrong, fmt.Errorf("%s: %s belongs to %s already", o.Name, prefix, other))
			}
			taken[key] = o.Name
		}
		m.owners = append(m.owners, &mounted{Owner: o, mux: http.NewServeMux()})
	}
	for _, o := range m.owners {
		for _, route := range o.Routes {
			if err := m.add(o, route); err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %s %s: %w", o.Name, route.Method, route.Pattern, err))
			}
		}
	}
	return m, errors.Join(wrong...)
}

func (m *Mux) add(o *mounted, route Route) (err error) {
	defer func() { // ServeMux panics on patterns that are wrong or conflict
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	switch {
	case route.Action == "":
		return errors.New("declares no action (rule W1)")
	case route.Handler == nil:
		return errors.New("has no handler")
	case !strings.HasPrefix(route.Pattern, "/"), len(route.Pattern) > 1 && strings.HasSuffix(route.Pattern, "/"):
		return errors.New(`the pattern must begin with "/" and not end with it`)
	case m.owner(route.Pattern) != o:
		return errors.New("lies outside the prefixes of its owner")
	}
	pattern := route.Pattern
	if pattern == "/" {
		pattern = "/{$}" // "/" alone would be every path
	}
	o.mux.Handle(strings.TrimSpace(route.Method+" "+pattern), endpoint{route.Handler})
	if route.Method != "" && !slices.Contains(o.methods, route.Method) {
		o.methods = append(o.methods, route.Method)
	}
	return nil
}

// Routes lists every route with its owner, for the tests that walk them.
func (m *Mux) Routes() []MountedRoute {
	var all []MountedRoute
	for _, o := range m.owners {
		for _, route := range o.Routes {
			all = append(all, MountedRoute{o.Name, route})
		}
	}
	return all
}

// OwnerOf returns the name of the owner of a path, or "".
func (m *Mux) OwnerOf(path string) string {
	if o := m.owner(path); o != nil {
		return o.Name
	}
	return ""
}

// owner finds the owner with the longest prefix of path.
func (m *Mux) owner(path string) *mounted {
	var best *mounted
	longest := 0
	for _, o := range m.owners {
		for _, prefix := range o.Prefixes {
			if len(prefix) > longest && o.covers(prefix, path) {
				best, longest = o, len(prefix)
			}
		}
	}
	return best
}

func (o *mounted) covers(prefix, path string) bool {
	if prefix == "/" {
		return true
	}
	if len(path) < len(prefix) || len(path) > len(prefix) && path[len(prefix)] != '/' {
		return false
	}
	head := path[:len(prefix)]
	return head == prefix || o.FoldCase && strings.EqualFold(head, prefix)
}

// ServeHTTP hands the request to the owner of its path; a path without owner is a plain 404.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o := m.owner(r.URL.Path)
	if o == nil {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	if o.FoldCase {
		r = o.unfold(r)
	}
	if o.Spell != nil {
		r = withPath(r, o.Spell(r.URL.EscapedPath()))
	}
	defer o.recover(w, r)
	o.serve(w, r)
}

func (o *mounted) serve(w http.ResponseWriter, r *http.Request) {
	t := traceOf(r.Context())
	t.owner = o.Name
	handler, pattern := o.mux.Handler(r)
	if _, ours := handler.(endpoint); ours {
		t.pattern = pattern
		o.mux.ServeHTTP(w, r) // a second match, because it alone fills PathValue
		return
	}
	if allowed := o.allowed(r); len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		o.answer(w, r, o.MethodNotAllowed, http.StatusMethodNotAllowed)
		return
	}
	o.answer(w, r, o.NotFound, http.StatusNotFound)
}

func (o *mounted) answer(w http.ResponseWriter, r *http.Request, form http.HandlerFunc, status int) {
	if form != nil {
		form(w, r)
		return
	}
	http.Error(w, http.StatusText(status), status)
}

// allowed lists the methods for which the path of r has a route.
func (o *mounted) allowed(r *http.Request) []string {
	probe := *r
	var all []string
	for _, method := range o.methods {
		probe.Method = method
		if handler, _ := o.mux.Handler(&probe); isEndpoint(handler) {
			all = append(all, method)
			if method == http.MethodGet {
				all = append(all, http.MethodHead)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func isEndpoint(h http.Handler) bool {
	_, ok := h.(endpoint)
	return ok
}

// unfold writes the matched prefix the way the owner's patterns do.
func (o *mounted) unfold(r *http.Request) *http.Request {
	longest := ""
	for _, prefix := range o.Prefixes {
		if len(prefix) > len(longest) && o.covers(prefix, r.URL.Path) {
			longest = prefix
		}
	}
	if longest == "/" || strings.HasPrefix(r.URL.Path, longest) {
		return r
	}
	return withPath(r, longest+r.URL.EscapedPath()[len(longest):])
}

// recover turns a panic into the owner's own 500. Where the answer has begun, only ending the connection
// tells the caller that it is not whole.
func (o *mounted) recover(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it the same way
		panic(p)
	}
	t := traceOf(r.Context())
	t.log.panicked(r.Context(), t, p)
	if t.started() {
		panic(http.ErrAbortHandler)
	}
	if o.Fail == nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	o.Fail(w, r, fault.New(fault.Internal, "internal error"))
}
