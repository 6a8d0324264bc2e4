package senhasegura

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// spell writes a path the way the routes do: both prefixes are one, what is called by a name is so in any case, and "pam" may stand before what the vendor has
// at both places. What callers put in keeps its form.
func spell(escaped string) string {
	parts := strings.Split(strings.TrimPrefix(escaped, "/"), "/")
	parts[0] = "api"
	names := parts[1:]
	if len(names) > 1 && folded(names[0]) == "pam" && slices.Contains([]string{"remote", "session", "device", "credential"}, folded(names[1])) {
		names = names[1:]
	}
	if len(names) > 0 {
		names[0] = folded(names[0])
	}
	if len(names) > 1 && (slices.Contains([]string{"oauth2", "remote", "session"}, names[0]) || names[0] == "credential" && len(names) == 3) {
		names[1] = folded(names[1])
	}
	return "/" + strings.Join(append(parts[:1:1], names...), "/")
}

// folded is a part of a path in lower case, if it is a plain name; other parts are left as they came.
func folded(part string) string {
	plain, err := url.PathUnescape(part)
	if err != nil || strings.ContainsFunc(plain, func(r rune) bool { return r < '0' || r > 'z' }) {
		return part
	}
	return strings.ToLower(plain)
}

// unknownPath answers for paths that are ours and lead nowhere.
func unknownPath(http.ResponseWriter, *call) error { return errNoRoute }

// wrongMethod answers for paths that take other methods. None of ours takes HEAD: some that take GET do something.
func wrongMethod(w http.ResponseWriter, _ *call) error {
	allowed := slices.DeleteFunc(strings.Split(w.Header().Get("Allow"), ", "), func(method string) bool { return method == http.MethodHead })
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return errMethod
}

// shown is a path as logs may have it: what is as long as a secret is masked, wherever a caller has put it.
func shown(path string) string {
	const longest = 42 // characters; session ids have 40 and open nothing
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if len(part) > longest {
			parts[i] = "***"
		}
	}
	return strings.Join(parts, "/")
}
