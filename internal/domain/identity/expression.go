package identity

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const maxExpression = 255 // bytes

// CheckExpression returns why a text is no expression, or nil. An expression is literal text in which ${name} stands for what a provider
// says under that name; a $ without a brace stands for itself.
func CheckExpression(expression string) error {
	_, err := expand(expression, func(name string) (string, error) { return name, nil })
	return err
}

// Expand replaces each ${name} of an expression by its value, once: what a value holds is never read as an expression. It reports an
// Invalid fault, which names what is missing and repeats no value, for a name without a value and for a text that is no expression.
func Expand(expression string, values map[string]string) (string, error) {
	return expand(expression, func(name string) (string, error) {
		if values[name] == "" {
			return "", fault.Newf(fault.Invalid, "there is no value for ${%s}", name)
		}
		return values[name], nil
	})
}

func expand(expression string, value func(name string) (string, error)) (string, error) {
	if len(expression) > maxExpression || !utf8.ValidString(expression) {
		return "", fault.Newf(fault.Invalid, "an expression has at most %d bytes of UTF-8", maxExpression)
	}
	var out strings.Builder
	for {
		literal, rest, found := strings.Cut(expression, "${")
		out.WriteString(literal)
		if !found {
			return out.String(), nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || name == "" || strings.ContainsFunc(name, notInExpression) {
			return "", fault.New(fault.Invalid, "an expression holds ${name}: a name without braces or control characters, and the closing brace")
		}
		text, err := value(name)
		if err != nil {
			return "", err
		}
		out.WriteString(text)
		expression = after
	}
}

func notInExpression(r rune) bool { return r == '{' || unicode.IsControl(r) }
