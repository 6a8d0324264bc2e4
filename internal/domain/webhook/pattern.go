package webhook

import (
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Limits of the patterns by which events are chosen.
const (
	MaxPatterns = 64
	maxPattern  = 64 // bytes of one
)

// Patterns choose events by their type, which is the action that the audit log has for what happened. A pattern is a whole type (session.start),
// the beginning of one up to a dot, with a star behind it (session.*), or a star alone, which is everything.
type Patterns []string

// Match reports whether one of the patterns chooses the type.
func (p Patterns) Match(kind string) bool {
	for _, pattern := range p {
		if pattern == "*" || pattern == kind {
			return true
		}
		if front, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(kind, front) && strings.HasSuffix(front, ".") {
			return true
		}
	}
	return false
}

// Check returns what is wrong with a list of patterns, or nil; field names it to the caller. A type that nothing has yet is no mistake: what is
// written for a newer version may be read by an older one.
func (p Patterns) Check(field string) error {
	if len(p) > MaxPatterns {
		return fault.Fields("too many event patterns", fault.Field{Path: field, Message: "at most 64 patterns"})
	}
	for _, pattern := range p {
		if !isPattern(pattern) {
			return fault.Fields("an event pattern is not written as one", fault.Field{Path: field, Message: "expected *, a type such as session.start, or the beginning of types such as session.*"})
		}
	}
	return nil
}

// isPattern reads words of small letters, digits and underscores, with dots between them; the last may be a star.
func isPattern(text string) bool {
	if len(text) > maxPattern {
		return false
	}
	words := strings.Split(text, ".")
	for i, word := range words {
		if word == "*" && i == len(words)-1 {
			return true
		}
		if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return false
		}
	}
	return true
}
