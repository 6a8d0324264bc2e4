package identity_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	values := map[string]string{"sub": "7", "mail": "ann@example.test", "trick": "${sub}", "http://example.test/claims/name": "Ann", "given name": "Ann B", "empty": ""}
	for expression, want := range map[string]string{
		"":                                   "",
		"plain":                              "plain",
		"${sub}":                             "7",
		"${sub}${sub}":                       "77",
		"corp-${sub}@x":                      "corp-7@x",
		"$5 and $sub and }{":                 "$5 and $sub and }{",
		"$${sub}":                            "$7",
		"${http://example.test/claims/name}": "Ann",
		"${given name} <${mail}>":            "Ann B <ann@example.test>",
		"${trick}":                           "${sub}", // a value is never read as an expression
	} {
		if got, err := identity.Expand(expression, values); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", expression, got, err, want)
		}
		if err := identity.CheckExpression(expression); err != nil {
			t.Errorf("%q: %v", expression, err)
		}
	}
	for _, missing := range []string{"${nobody}", "${sub}${nobody}", "${empty}", "${Sub}", "${ sub}"} {
		if got, err := identity.Expand(missing, values); !fault.Is(err, fault.Invalid) || got != "" {
			t.Errorf("%q: got %q, %v", missing, got, err)
		}
	}
	for _, malformed := range []string{"${", "${}", "${sub", "${a${sub}}", "${a{b}", "${a\x00}", "\xff", strings.Repeat("x", 256)} {
		if got, err := identity.Expand(malformed, values); !fault.Is(err, fault.Invalid) || got != "" {
			t.Errorf("%q: got %q, %v", malformed, got, err)
		}
		if identity.CheckExpression(malformed) == nil {
			t.Errorf("%q is taken as an expression", malformed)
		}
	}
}

// Whatever the value is, it appears as it is or not at all, and what is checked can be expanded.
func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"${sub}", "a${sub}b${x}", "${", "$${}", "${a${sub}}", "}${sub}{"} {
		f.Add(seed, "value")
	}
	f.Add("${sub}", "${sub}")
	f.Fuzz(func(t *testing.T, expression, value string) {
		got, err := identity.Expand(expression, map[string]string{"sub": value})
		checked := identity.CheckExpression(expression)
		if checked != nil && err == nil {
			t.Fatalf("%q is expanded to %q although it is no expression: %v", expression, got, checked)
		}
		if err != nil {
			if !fault.Is(err, fault.Invalid) || got != "" {
				t.Fatalf("%q: got %q, %v", expression, got, err)
			}
			return
		}
		if n := strings.Count(expression, "${"); n == 0 && got != expression || n > 0 && got != strings.ReplaceAll(expression, "${sub}", value) {
			t.Fatalf("%q with %q became %q", expression, value, got)
		}
	})
}
