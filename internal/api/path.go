package api

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// cleaned returns r with doubled slashes collapsed and one trailing slash dropped, which no client sees:
// a redirect would lose bodies and headers. It refuses what different readers could read differently
// (rule F13): relative segments, encoded slashes and NULs, backslashes, queries with broken escapes.
func cleaned(r *http.Request) (*http.Request, error) {
	if r.URL.Path == "*" || r.Method == http.MethodConnect || !strings.HasPrefix(r.URL.Path, "/") {
		return nil, errors.New("the path must begin with a slash")
	}
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
		return nil, errors.New("the query is malformed")
	}
	escaped := r.URL.EscapedPath()
	for segment := range strings.SplitSeq(escaped, "/") {
		plain, err := url.PathUnescape(segment)
		switch {
		case err != nil, strings.ContainsAny(plain, "/\x00\\"):
			return nil, errors.New("the path is malformed")
		case plain == ".", plain == "..":
			return nil, errors.New("the path has relative segments")
		}
	}
	clean := escaped
	for strings.Contains(clean, "//") {
		clean = strings.ReplaceAll(clean, "//", "/")
	}
	if len(clean) > 1 {
		clean = strings.TrimSuffix(clean, "/")
	}
	if clean == escaped {
		return r, nil
	}
	return withPath(r, clean), nil
}

// withPath returns r with another path, given in escaped form.
func withPath(r *http.Request, escaped string) *http.Request {
	plain, err := url.PathUnescape(escaped)
	if err != nil {
		return r // cannot be: escaped is part of a path that was read before
	}
	out, to := *r, *r.URL
	to.Path, to.RawPath = plain, escaped
	if to.EscapedPath() == (&url.URL{Path: plain}).EscapedPath() {
		to.RawPath = ""
	}
	out.URL = &to
	return &out
}
