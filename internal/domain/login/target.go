package login

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxTarget = 2048 // bytes

// SafeTarget returns a path of ours to which a browser may be sent after a sign-in: the target itself, or "/". It must begin with exactly
// one slash and hold nothing that some browser reads as the beginning of a host.
func (s *Service) SafeTarget(target string) string {
	if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") || len(target) > maxTarget || !utf8.ValidString(target) ||
		strings.Contains(target, `\`) || strings.ContainsFunc(target, unicode.IsControl) {
		return "/"
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return "/"
	}
	return target
}
