package native

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// line is one line of the table: the route, what the document says about it, and who answers.
type line struct {
	method, path, tag, summary, text string
	action                           access.Action
	status                           int
	public                           bool         // anybody may ask: there is no caller
	tokens                           bool         // a personal HTTP access token may ask as well, as far as its permissions go
	media                            string       // what it answers with, where that is no JSON
	stream                           bool         // it answers with server-sent events, of which out is the data
	fresh                            bool         // changes how people sign in, or gives them rights: it needs a fresh proof (rule F14)
	in, out                          reflect.Type // of the request, and of the body of the answer; none where there is none
	serve                            func(a *API, w http.ResponseWriter, r *http.Request, by access.Caller) error
}

// none is an answer without a body, or a request without anything.
type none struct{}

// op makes a line of a function that gets what the request says and returns what the answer says. It is generic so that the same two
// types are decoded, encoded and described.
func op[In, Out any](method, path string, do access.Action, summary string, answer func(context.Context, access.Caller, In) (Out, error), more ...func(*line)) line {
	o := line{method: method, path: path, action: do, summary: summary, in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), status: http.StatusOK}
	if o.out == reflect.TypeFor[none]() {
		o.status = http.StatusNoContent
	}
	for _, m := range more {
		m(&o)
	}
	status, path := o.status, path
	o.serve = func(a *API, w http.ResponseWriter, r *http.Request, by access.Caller) error {
		var in In
		if err := bind(r, path, &in); err != nil {
			return err
		}
		out, err := answer(r.Context(), by, in)
		if err != nil {
			return placed(err, o.in)
		}
		if c, ok := any(out).(cookied); ok && by.Cookie {
			if token, changed := c.cookie(); changed {
				a.Cookies.Set(w, token)
			}
		}
		if status == http.StatusNoContent {
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(status)
			return nil
		}
		return api.WriteJSON(w, status, out)
	}
	return o
}

// placed says in which part of the request the fields lie that the domain refused.
func placed(err error, in reflect.Type) error {
	fields := fault.FieldsOf(err)
	if len(fields) == 0 || strings.HasPrefix(fields[0].Path, "query.") || strings.HasPrefix(fields[0].Path, "header.") {
		return err
	}
	if _, hasBody := in.FieldByName("Body"); hasBody {
		return api.InBody(err)
	}
	moved := fault.Wrap(fault.KindOf(err), fault.Text(err), err)
	for _, f := range fields {
		f.Path = "query." + f.Path
		moved.Fields = append(moved.Fields, f)
	}
	return moved
}

// cookied is an answer that changes the cookie of a browser: an empty token takes it away.
type cookied interface {
	cookie() (token secret.String, changed bool)
}

// fresh marks what makes or changes a credential of a person, gives somebody rights, or says who vouches for people.
func fresh(o *line) { o.fresh = true }

// public marks what anybody may ask, who is nobody then.
func public(o *line) { o.public = true }

// byToken marks what a personal HTTP access token opens too: nothing about credentials.
func byToken(o *line) { o.tokens = true }

// created marks what makes something.
func created(o *line) { o.status = http.StatusCreated }

// gone marks what has no answer but that it is done.
func gone(o *line) { o.status = http.StatusNoContent }

// says is what the document adds to the summary.
func says(text string) func(*line) { return func(o *line) { o.text = text } }

// Routes are the operations as routes.
func (a *API) Routes() []api.Route {
	var all []api.Route
	for _, o := range a.operations() {
		all = append(all, api.Route{Method: o.method, Pattern: o.path, Action: o.action, Handler: a.handler(o)})
	}
	return all
}

// handler judges a request in one order: the credential (401), where a cookie's request began (403), whether the proof is fresh (403), the form (400,
// 413, 415), and then the domain.
func (a *API) handler(o line) http.Handler {
	h := func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		if o.fresh {
			if err := access.Fresh(by, a.Now(), a.FreshFor); err != nil {
				return err
			}
		}
		return o.serve(a, w, r, by)
	}
	adapter := api.Adapter{Authenticate: a.authenticate(o), Fail: fail}
	inner := adapter.Handle(a.Cookies.Guard(h, errOrigin))
	if o.public {
		inner = adapter.Open(func(w http.ResponseWriter, r *http.Request) error {
			return o.serve(a, w, r, access.NobodyAt(api.Remote(r.Context()), name, a.Now()))
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.BodyWait > 0 { // set first: an unread body is waited for as well
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.BodyWait))
		}
		inner.ServeHTTP(w, r)
	})
}
