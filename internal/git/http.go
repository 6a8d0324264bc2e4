package git

import (
	"compress/gzip"
	"io"
	"net/url"
	"regexp"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Kind says what an HTTP request to a repository wants.
type Kind uint8

// The kinds of requests.
const (
	Announce Kind = iota + 1 // GET info/refs?service=...: what there is
	Call                     // POST git-upload-pack or git-receive-pack
	Dumb                     // the protocol of plain files, which is not served
	LFS                      // large file storage, which is not offered
)

// Request is what a client asks for over HTTP.
type Request struct {
	Kind    Kind
	Service Service // of Announce and Call
	Project string  // key as it was sent, any case; "~name" is a person's own
	Slug    string  // as it was sent, any case, without ".git"
}

// ErrPath is the answer to a path that belongs to no repository.
var ErrPath = fault.New(fault.NotFound, "there is no such repository address")

// prefix is where repositories begin.
const prefix = "/scm/"

// ParsePath reads the decoded path and the query of an HTTP request. It reports ErrPath for anything
// that is not beneath a repository; whether there is one, it cannot know.
func ParsePath(path string, query url.Values) (Request, error) {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok || len(path) > 4*maxCommand {
		return Request{}, ErrPath
	}
	project, rest, _ := strings.Cut(rest, "/")
	slug, rest, ok := strings.Cut(rest, "/")
	slug = strings.TrimSuffix(slug, ".git")
	if !ok || !projectKey(project) || !slugName(slug) {
		return Request{}, ErrPath
	}
	r := Request{Project: project, Slug: slug}
	r.Kind, r.Service = beneath(rest, query)
	if r.Kind == 0 {
		return Request{}, ErrPath
	}
	return r, nil
}

// beneath tells what the part of a path after the repository means.
func beneath(rest string, query url.Values) (Kind, Service) {
	switch {
	case rest == string(UploadPack):
		return Call, UploadPack
	case rest == string(ReceivePack):
		return Call, ReceivePack
	case rest == "info/refs":
		wanted := query["service"]
		if len(wanted) == 1 && (wanted[0] == string(UploadPack) || wanted[0] == string(ReceivePack)) {
			return Announce, Service(wanted[0])
		}
		return Dumb, ""
	case rest == "info/lfs" || strings.HasPrefix(rest, "info/lfs/"):
		return LFS, ""
	case rest == "HEAD" || strings.HasPrefix(rest, "objects/") || rest == string(UploadArchive):
		return Dumb, ""
	}
	return 0, ""
}

// Method is the one HTTP method of the kind, or nothing where any will do.
func (r Request) Method() string {
	switch r.Kind {
	case Announce:
		return "GET"
	case Call:
		return "POST"
	}
	return ""
}

// Takes is the content type that the body of a Call must have.
func (r Request) Takes() string { return "application/x-" + string(r.Service) + "-request" }

// Answers is the content type of the answer to an Announce or a Call.
func (r Request) Answers() string {
	if r.Kind == Announce {
		return "application/x-" + string(r.Service) + "-advertisement"
	}
	return "application/x-" + string(r.Service) + "-result"
}

// Body undoes the content encoding of a request: none, or gzip, which git sends for long negotiations.
// What comes out is counted by the exchange that reads it, so a bomb meets the same limits as a long body.
func Body(encoding string, body io.Reader) (io.Reader, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "the body is not in gzip form", err)
		}
		return unpacked, nil
	}
	return nil, fault.New(fault.Invalid, "bodies are taken plain or in gzip form")
}

var version = regexp.MustCompile(`^version=[0-2]$`)

// Protocol returns what a client says in GIT_PROTOCOL, or in the header Git-Protocol, when it is one of
// the three versions, and nothing otherwise (rule S17).
func Protocol(asked string) string {
	if version.MatchString(asked) {
		return asked
	}
	return ""
}
