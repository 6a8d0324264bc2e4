package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const treasure = "hunter2-and-more"

// holder has the secret in an unexported field, where fmt reads by reflection and calls no method.
type holder struct {
	Shown  secret.String
	hidden secret.String
	key    secret.MasterKey
}

func TestString_never_prints_itself(t *testing.T) {
	t.Parallel()
	m := secret.NewMasterKey()
	h := holder{Shown: secret.New(treasure), hidden: secret.New(treasure), key: m}
	printed := map[string]string{
		"String": h.Shown.String(), "GoString": h.Shown.GoString(),
		"json": toJSON(t, h.Shown), "json in a struct": toJSON(t, h), "json of a key": toJSON(t, m),
		"slog text": logged(func(w *bytes.Buffer) slog.Handler { return slog.NewTextHandler(w, nil) }, h),
		"slog json": logged(func(w *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(w, nil) }, h),
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		printed["value "+verb] = fmt.Sprintf(verb, h.Shown)
		printed["pointer "+verb] = fmt.Sprintf(verb, &h.Shown)
		printed["struct "+verb] = fmt.Sprintf(verb, h)
		printed["pointer to struct "+verb] = fmt.Sprintf(verb, &h)
		printed["key "+verb] = fmt.Sprintf(verb, m)
	}
	for how, text := range printed {
		for _, plain := range []string{treasure, fmt.Sprintf("%x", treasure), fmt.Sprintf("%X", treasure), m.Text().Reveal()} {
			if strings.Contains(text, plain) {
				t.Errorf("%s shows the secret: %s", how, text)
			}
		}
	}
	if got := fmt.Sprintf("%v", h.Shown); got != "[secret]" {
		t.Errorf("%%v gives %q", got)
	}
	if got := h.hidden.Reveal(); got != treasure {
		t.Errorf("Reveal gives %q", got)
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func logged(handler func(*bytes.Buffer) slog.Handler, h holder) string {
	var out bytes.Buffer
	slog.New(handler(&out)).Info("x", "secret", h.Shown, "holder", h, "any", slog.AnyValue(&h.Shown), "key", h.key)
	return out.String()
}

func TestString_zero_value_is_empty(t *testing.T) {
	t.Parallel()
	var zero secret.String
	if zero.Reveal() != "" || !zero.Empty() || !zero.Equal(secret.New("")) || zero.Equal(secret.New("x")) {
		t.Error("the zero String is not the empty text")
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	t.Run("has the length and the characters asked for", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			n := rapid.IntRange(0, 300).Draw(t, "n")
			token := secret.Token(n)
			if len(token) != n || strings.Trim(token, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" {
				t.Fatalf("Token(%d) = %q", n, token)
			}
		})
	})
	t.Run("prefers no character", func(t *testing.T) {
		t.Parallel()
		// A byte taken modulo 62 would give the first 8 characters 25 % more: 1 in 51 in place of 1 in 62.
		const each = 10_000
		counts := map[rune]int{}
		for _, c := range secret.Token(62 * each) {
			counts[c]++
		}
		for c, n := range counts {
			if n < each*92/100 || n > each*108/100 { // 8 standard deviations
				t.Errorf("%q came %d times in place of about %d", c, n, each)
			}
		}
		if len(counts) != 62 {
			t.Errorf("%d characters in use, want 62", len(counts))
		}
	})
}

func TestDigest_is_SHA256(t *testing.T) {
	t.Parallel()
	if got := fmt.Sprintf("%x", secret.Digest("abc")); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("Digest(abc) = %s", got)
	}
	if !secret.Equal([]byte("a"), []byte("a")) || secret.Equal([]byte("a"), []byte("b")) || secret.Equal([]byte("a"), []byte("aa")) {
		t.Error("Equal is wrong")
	}
}
