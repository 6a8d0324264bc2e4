package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// value is a setting as one source gives it.
type value struct {
	text string
	from string // for mistakes: which flag, variable or file
}

// notSettings are variables that are read elsewhere: secrets, which have no business in a file, the
// file's own name, and what tests and build scripts use.
var notSettings = []string{"GATEHOUSE_ADMIN_PASSWORD", "GATEHOUSE_MASTER_KEY", "GATEHOUSE_CONFIG", "GATEHOUSE_PEERS"}

// gather reads the sources, the weakest first, so that a stronger one overwrites.
func gather(flags map[string]string, environ []string, name string) (map[string]value, []error) {
	given := map[string]value{}
	if name == "" {
		name = lookup(environ, "GATEHOUSE_CONFIG").Reveal()
	}
	wrong := fromFile(given, name)
	wrong = append(wrong, fromEnv(given, environ)...)
	return given, append(wrong, fromFlags(given, flags)...)
}

func fromFile(given map[string]value, name string) (wrong []error) {
	if name == "" {
		return nil
	}
	k := koanf.New(".")
	if err := k.Load(file.Provider(name), yaml.Parser()); err != nil {
		return []error{fmt.Errorf("%s: %w; correct the file or leave --config away", name, err)}
	}
	known := names()
	all := k.All()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		setting := key
		if key == "ssh.listen" { // "ssh" is a section where its limits are given as well
			setting = "ssh"
		}
		if !known[setting] {
			wrong = append(wrong, fmt.Errorf("%s: no such setting (from %s)%s", key, name, hint(key, known)))
			continue
		}
		text, err := flat(all[key])
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w (from %s)", key, err, name))
			continue
		}
		given[setting] = value{text, name}
	}
	return wrong
}

func fromEnv(given map[string]value, environ []string) (wrong []error) {
	byEnv := map[string]string{}
	for _, s := range table() {
		byEnv[s.Env()] = s.Name
	}
	provider := env.Provider("", env.Opt{
		Prefix:      "GATEHOUSE_",
		EnvironFunc: func() []string { return environ },
	})
	vars, err := provider.Read()
	if err != nil {
		return []error{fmt.Errorf("environment: %w", err)}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		setting, ok := byEnv[name]
		switch {
		case ok:
			given[setting] = value{fmt.Sprint(vars[name]), name}
		case !slices.Contains(notSettings, name) && !strings.HasPrefix(name, "GATEHOUSE_TEST_"):
			wrong = append(wrong, fmt.Errorf("%s: no such setting (from the environment); unset it or correct its name", name))
		}
	}
	return wrong
}

func fromFlags(given map[string]value, flags map[string]string) (wrong []error) {
	byFlag := map[string]string{}
	for _, s := range table() {
		if s.Flag != "" {
			byFlag[s.Flag] = s.Name
		}
	}
	for _, flag := range slices.Sorted(maps.Keys(flags)) {
		setting, ok := byFlag[flag]
		if !ok {
			wrong = append(wrong, fmt.Errorf("--%s: no such flag", flag))
			continue
		}
		given[setting] = value{flags[flag], "--" + flag}
	}
	return wrong
}

func names() map[string]bool {
	known := map[string]bool{}
	for _, s := range table() {
		known[s.Name] = true
	}
	return known
}

// hint names the setting that was probably meant: the one with the same last word, or the same letters.
func hint(key string, known map[string]bool) string {
	plain := func(s string) string {
		return strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(s))
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if plain(name) == plain(key) || strings.HasSuffix(name, "."+key) {
			return "; did you mean " + name + "?"
		}
	}
	return "; docs/configuration.md lists them"
}

// flat writes a value of the file the way flags and environment give it.
func flat(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case map[string]any:
		return "", fmt.Errorf("is a section, not a value")
	case []any:
		var items []string
		for _, item := range v {
			text, err := flat(item)
			if err != nil {
				return "", err
			}
			items = append(items, text)
		}
		return strings.Join(items, ","), nil
	default:
		return fmt.Sprint(v), nil
	}
}

func lookup(environ []string, name string) secret.String {
	for _, pair := range slices.Backward(environ) {
		if text, ok := strings.CutPrefix(pair, name+"="); ok {
			return secret.New(text)
		}
	}
	return secret.New("")
}
