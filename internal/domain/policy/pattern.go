package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const (
	maxPatterns = 100
	maxPattern  = 255 // bytes

	maxExtra      = 20 // members
	maxExtraName  = 64 // bytes
	maxExtraValue = 4 << 10
)

// Blocks reports whether a password that came by Basic is refused: whether blocking is on and neither the path nor the user is let through. path is the request's
// as it was routed, decoded once; user is the login name as it was presented.
func (b Basic) Blocks(path, user string) bool {
	if !b.Block {
		return false
	}
	for _, pattern := range b.Paths {
		if matches(pattern, path) {
			return false
		}
	}
	return !b.allows(identity.Login(user))
}

// allows reports whether a pattern lets the folded login name through. An address is let through only by a pattern that has an @ of its own:
// people choose their addresses, and who calls theirs build-me@example.org is not meant by "build-*".
func (b Basic) allows(user string) bool {
	address := strings.Contains(user, "@")
	return slices.ContainsFunc(b.Users, func(pattern string) bool {
		pattern = identity.Fold(pattern)
		return (!address || strings.Contains(pattern, "@")) && matches(pattern, user)
	})
}

// matches reports whether the whole text is what the pattern says: "*" is any run of characters, also none; all else is itself. It looks
// for the first place of every piece in turn and never goes back, as an earlier place leaves more room to those that follow.
func matches(pattern, text string) bool {
	head, rest, open := strings.Cut(pattern, "*")
	if !open {
		return text == pattern
	}
	text, ok := strings.CutPrefix(text, head)
	if !ok {
		return false
	}
	for {
		piece, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(text, piece)
		}
		at := strings.Index(text, piece)
		if at < 0 {
			return false
		}
		text, rest = text[at+len(piece):], after
	}
}

func (b Basic) check() error {
	var wrong []fault.Field
	if why := checkPatterns(b.Paths); why != "" {
		wrong = append(wrong, fault.Field{Path: "paths", Message: why})
	}
	if why := checkPatterns(b.Users); why != "" {
		wrong = append(wrong, fault.Field{Path: "users", Message: why})
	} else if why := checkFolds(b.Users); why != "" {
		wrong = append(wrong, fault.Field{Path: "users", Message: why})
	}
	return refused(wrong)
}

func refused(wrong []fault.Field) error {
	if len(wrong) == 0 {
		return nil
	}
	return fault.Fields(wrong[0].Path+": "+wrong[0].Message, wrong...)
}

// checkPatterns returns why patterns cannot be kept, or "".
func checkPatterns(patterns []string) string {
	if len(patterns) > maxPatterns {
		return fmt.Sprintf("at most %d patterns are allowed", maxPatterns)
	}
	for i, p := range patterns {
		switch {
		case p == "":
			return fmt.Sprintf("pattern %d is empty", i+1)
		case len(p) > maxPattern:
			return fmt.Sprintf("pattern %d is longer than %d bytes", i+1, maxPattern)
		case unprintable(p):
			return fmt.Sprintf("pattern %d holds control characters", i+1)
		}
	}
	return ""
}

// checkFolds refuses look-alikes of "*", which folding would make wildcards of.
func checkFolds(patterns []string) string {
	for i, p := range patterns {
		if strings.Count(identity.Fold(p), "*") != strings.Count(p, "*") {
			return fmt.Sprintf("pattern %d holds a character that looks like *", i+1)
		}
	}
	return ""
}

func unprintable(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl)
}

func (p SSO) check() error {
	if len(p.Extra) > maxExtra {
		return refused([]fault.Field{{Path: "extra", Message: fmt.Sprintf("at most %d members are allowed", maxExtra)}})
	}
	for name, value := range p.Extra {
		if name == "" || len(name) > maxExtraName || len(value) > maxExtraValue || unprintable(name) || unprintable(value) {
			return refused([]fault.Field{{Path: "extra", Message: fmt.Sprintf("a name has 1 to %d bytes and a value at most %d, without control characters", maxExtraName, maxExtraValue)}})
		}
	}
	return nil
}
