// Package apitest replays HTTP exchanges from txtar files against a handler, byte for byte.
//
// A file is a story: its comment says what it shows, then its sections follow each other in order.
//
//	A key is verified once.
//	-- request --
//	POST /api/v1/ssh/verify/sessions/
//	x-api-key: {{key}}
//	Content-Type: application/json
//
//	{"keys":[]}
//	-- response --
//	201
//	Content-Type: application/json
//
//	{"id":"{{id:session}}","created_at":"{{time}}"}
//	-- step expire --
//	-- request again --
//	GET /api/v1/ssh/verify/sessions/{{id:session}}/
//	...
//
// A section named "request" (more words may follow) is the method and target, headers, an empty line and
// the body. The "response" after it is the status, the headers that matter (only those are compared;
// the value {{absent}} says that the header must not be there), an empty line and the whole body. A
// section named "step NAME" calls the test's step of that name, for what time or another door does.
//
// Bodies count to the last byte. A txtar section always ends with a newline, so a body that does not
// is written with {{eof}} behind its last byte, and an empty one is left away.
//
// Placeholders stand for what cannot be known when the file is written:
//
//	{{id:NAME}}   a UUID: captured at first sight, the same ever after, in requests too
//	{{any:NAME}}  the same for any run of characters without space, quote, comma or semicolon
//	{{time}}      an RFC 3339 time in UTC
//	{{any}}       anything within one line, as little as possible
//	{{NAME}}      a value that the test gives in Vars
//
// With -update the expected answers are rewritten from what the handler says. Answers that match stay as
// they are; in others a placeholder stays where the JSON member or header line before it is the same, and
// values captured before are written as their placeholders.
package apitest

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the expected answers in testdata")

// Replay is one handler under test with what its files may refer to.
type Replay struct {
	Handler http.Handler
	Vars    map[string]string           // {{NAME}}
	Steps   map[string]func(*testing.T) // step NAME
	Remote  string                      // address of the client, 192.0.2.1:1234 where empty
}

// Dir replays every testdata file that matches pattern as a parallel subtest, each against a handler of its own.
func Dir(t *testing.T, pattern string, fresh func(t *testing.T) Replay) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file matches %s (%v)", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			fresh(t).File(t, file)
		})
	}
}

// File replays one file and reports every answer that differs; it goes on after one that does.
func (p Replay) File(t *testing.T, file string) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	differs := p.run(t, archive)
	if !*update {
		for _, d := range differs {
			t.Errorf("%s: %s", file, d)
		}
		return
	}
	if len(differs) == 0 {
		return
	}
	if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: rewritten", file)
}

// run plays all sections, puts the right answers into the archive, and returns what differed.
func (p Replay) run(t *testing.T, archive *txtar.Archive) (differs []string) {
	t.Helper()
	known := values{}
	for name, value := range p.Vars {
		known["{{"+name+"}}"] = value
	}
	var last *httptest.ResponseRecorder
	for i := range archive.Files {
		section := &archive.Files[i]
		kind, rest, _ := strings.Cut(section.Name, " ")
		switch kind {
		case "request":
			r, err := p.request(section.Data, known)
			if err != nil {
				t.Fatalf("section %d, %s: %v", i+1, section.Name, err)
			}
			last = httptest.NewRecorder()
			p.Handler.ServeHTTP(last, r)
		case "response":
			if last == nil {
				t.Fatalf("section %d: a response without a request before it", i+1)
			}
			if d := settle(section, last, known); d != "" {
				differs = append(differs, fmt.Sprintf("section %d, %s\n%s", i+1, section.Name, d))
			}
			last = nil
		case "step":
			step := p.Steps[rest]
			if step == nil {
				t.Fatalf("section %d: the test has no step %q", i+1, rest)
			}
			step(t)
		default:
			t.Fatalf("section %d: %q is neither request, response nor step", i+1, section.Name)
		}
	}
	return differs
}

// settle compares one answer with its section and rewrites the section where they differ.
func settle(section *txtar.File, got *httptest.ResponseRecorder, known values) string {
	want := parseMessage(section.Data)
	have := message{first: fmt.Sprint(got.Code), body: written(got.Body.Bytes())}
	for _, h := range want.headers {
		name, _, _ := strings.Cut(h, ":")
		have.headers = append(have.headers, headerLines(got.Header(), name)...)
	}
	if len(section.Data) == 0 { // a new section: begin with what matters on most wires
		for _, name := range []string{"Content-Type", "Location", "Allow", "Www-Authenticate", "Retry-After"} {
			if got.Header().Get(name) != "" {
				have.headers = append(have.headers, headerLines(got.Header(), name)...)
			}
		}
	}
	expected := want.String()
	if known.match(expected, have.String()) {
		return ""
	}
	section.Data = []byte(known.keep(expected, have.String()))
	return fmt.Sprintf("--- want\n%s+++ got\n%s", known.fill(expected), have)
}

// headerLines are the lines that answer for one header.
func headerLines(h http.Header, name string) []string {
	var lines []string
	for _, v := range h.Values(name) {
		lines = append(lines, name+": "+v)
	}
	if lines == nil {
		lines = []string{name + ": {{absent}}"}
	}
	return lines
}

// written is a body as a section holds it.
func written(body []byte) string {
	if len(body) == 0 || bytes.HasSuffix(body, []byte("\n")) {
		return string(body)
	}
	return string(body) + "{{eof}}\n"
}

// request builds the request of a section.
func (p Replay) request(data []byte, known values) (*http.Request, error) {
	m := parseMessage([]byte(known.fill(string(data))))
	method, target, ok := strings.Cut(m.first, " ")
	if !ok {
		return nil, fmt.Errorf("the first line must be METHOD TARGET, not %q", m.first)
	}
	if strings.Contains(m.first, "{{") {
		return nil, fmt.Errorf("%q has a placeholder without value", m.first)
	}
	body := m.body
	if head, found := strings.CutSuffix(body, "{{eof}}\n"); found {
		body = head
	}
	r, err := http.NewRequest(method, "http://example.com"+target, strings.NewReader(body)) //nolint:noctx // httptest has no deadline either
	if err != nil {
		return nil, err
	}
	r.RequestURI, r.RemoteAddr = target, p.Remote
	if r.RemoteAddr == "" {
		r.RemoteAddr = "192.0.2.1:1234"
	}
	for _, h := range m.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, fmt.Errorf("%q is no header", h)
		}
		if value = strings.TrimSpace(value); strings.EqualFold(name, "Host") {
			r.Host = value
		} else {
			r.Header.Add(name, value)
		}
	}
	return r, nil
}

// message is the text of a request or answer in its three parts.
type message struct {
	first   string
	headers []string
	body    string
}

func parseMessage(data []byte) message {
	head, body, _ := strings.Cut(string(data), "\n\n")
	lines := strings.Split(strings.TrimRight(head, "\n"), "\n")
	m := message{first: lines[0], body: body}
	for _, line := range lines[1:] {
		m.headers = append(m.headers, strings.TrimSpace(line))
	}
	return m
}

func (m message) String() string {
	head := m.first + "\n"
	for _, h := range m.headers {
		head += h + "\n"
	}
	if m.body == "" {
		return head
	}
	return head + "\n" + m.body
}
