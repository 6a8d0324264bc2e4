package apitest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

const (
	first  = "019a4c00-11aa-7bcd-8e01-0a1b2c3d4e5f"
	second = "019a4c00-11aa-7bcd-8e01-ffffffffffff"
)

// echo is a handler whose answers depend on what it is asked.
func echo(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/make":
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(201)
		fmt.Fprintf(w, `{"id":"%s","at":"2026-11-22T09:00:00.5Z","name":"ci","key":"%s"}`+"\n", first, r.Header.Get("x-api-key"))
	case "/items/" + first:
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %q", r.Method, body)
	case "/two":
		fmt.Fprintf(w, "%s %s", first, second)
	default:
		w.WriteHeader(404)
	}
}

const story = `A thing is made and read.
-- request --
POST /make
x-api-key: {{key}}
-- response --
201
Content-Type: application/json
Location: {{absent}}

{"id":"{{id:thing}}","at":"{{time}}","name":"ci","key":"{{any}}"}
-- step wait --
-- request of the same --
PUT /items/{{id:thing}}

{"a":1}{{eof}}
-- response --
200

PUT "{\"a\":1}"{{eof}}
-- request --
GET /gone
-- response --
404
`

func play(t *testing.T, text string) ([]string, *txtar.Archive) {
	t.Helper()
	archive := txtar.Parse([]byte(text))
	p := Replay{
		Handler: http.HandlerFunc(echo),
		Vars:    map[string]string{"key": "gate_1234567890"},
		Steps:   map[string]func(*testing.T){"wait": func(*testing.T) {}},
	}
	return p.run(t, archive), archive
}

func TestAStoryThatHoldsPasses(t *testing.T) {
	t.Parallel()
	if differs, _ := play(t, story); len(differs) > 0 {
		t.Error(strings.Join(differs, "\n"))
	}
}

func TestOneWrongByteFails(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][2]string{
		"status":                    {"201\n", "200\n"},
		"body":                      {`"name":"ci"`, `"name":"cI"`},
		"final newline":             {"\"{{any}}\"}\n-- step", "\"{{any}}\"}{{eof}}\n-- step"},
		"no final newline":          {"\\\"a\\\":1}\"{{eof}}", "\\\"a\\\":1}\""},
		"space":                     {`{"id"`, `{ "id"`},
		"header":                    {"Type: application/json\nLoc", "Type: application/JSON\nLoc"},
		"header that is absent":     {"Location: {{absent}}", "Location: /items"},
		"header that is there":      {"Content-Type: application/json\nLocation", "Content-Type: {{absent}}\nLocation"},
		"a time that is none":       {`"name":"ci"`, `"name":"{{time}}"`},
		"an id that is none":        {`"name":"ci"`, `"name":"{{id:name}}"`},
		"an empty body that is not": {"404\n", "404\n\nx{{eof}}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := strings.Replace(story, change[0], change[1], 1)
			if changed == story {
				t.Fatal("the change does not apply")
			}
			if differs, _ := play(t, changed); len(differs) != 1 {
				t.Errorf("%d differences, want 1: %q", len(differs), differs)
			}
		})
	}
}

func TestOneNameIsOneValue(t *testing.T) {
	t.Parallel()
	different := "-- request --\nGET /two\n-- response --\n200\n\n{{id:a}} {{id:%s}}{{eof}}\n"
	if differs, _ := play(t, fmt.Sprintf(different, "b")); len(differs) != 0 {
		t.Error(differs)
	}
	if differs, _ := play(t, fmt.Sprintf(different, "a")); len(differs) != 1 {
		t.Error("two values passed under one name")
	}
}

func TestUpdateKeepsPlaceholders(t *testing.T) {
	t.Parallel()
	stale := strings.NewReplacer(`"name":"ci"`, `"name":"old"`, "404\n", "").Replace(story)
	differs, archive := play(t, stale)
	if len(differs) != 2 {
		t.Errorf("%d differences, want 2: %q", len(differs), differs)
	}
	if got := string(txtar.Format(archive)); got != story {
		t.Errorf("rewritten to\n%s", got)
	}
}

func TestUpdateOfANewAnswerNamesItsIDs(t *testing.T) {
	t.Parallel()
	_, archive := play(t, "-- request --\nGET /two\n-- response --\n")
	want := "200\nContent-Type: text/plain; charset=utf-8\n\n{{id:1}} {{id:2}}{{eof}}\n"
	if got := string(archive.Files[1].Data); got != strings.Replace(want, "Content-Type: text/plain; charset=utf-8\n", "", 1) && got != want {
		t.Errorf("got %q", got)
	}
}
