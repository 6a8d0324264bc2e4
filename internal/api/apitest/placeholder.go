package apitest

import (
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// values are the placeholders whose value is known: given by the test or captured before.
type values map[string]string

var placeholder = regexp.MustCompile(`\{\{[a-z]+(?::[A-Za-z0-9_-]+)?\}\}`)

const uuidPattern = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`

// patternOf is what an open placeholder may stand for, "" where it is none: then it is plain text.
func patternOf(p string) string {
	switch {
	case strings.HasPrefix(p, "{{id:"):
		return uuidPattern
	case strings.HasPrefix(p, "{{any:"):
		return `[^\s",;]+`
	case p == "{{time}}":
		return `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z`
	case p == "{{any}}":
		return `.*?`
	default:
		return ""
	}
}

// fill writes known values in place of their placeholders.
func (k values) fill(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		if value, ok := k[p]; ok {
			return value
		}
		return p
	})
}

// match compares text with a pattern that holds placeholders, and learns the values of new ones when the
// whole fits. A new one that stands twice must stand for the same twice.
func (k values) match(pattern, text string) bool {
	pattern = k.fill(pattern)
	var expr strings.Builder
	var groups []string
	expr.WriteString(`\A`)
	at := 0
	for _, span := range placeholder.FindAllStringIndex(pattern, -1) {
		p := pattern[span[0]:span[1]]
		open := patternOf(p)
		if open == "" {
			continue
		}
		expr.WriteString(regexp.QuoteMeta(pattern[at:span[0]]) + "(" + open + ")")
		groups = append(groups, p)
		at = span[1]
	}
	expr.WriteString(regexp.QuoteMeta(pattern[at:]) + `\z`)
	found := regexp.MustCompile(expr.String()).FindStringSubmatch(text)
	if found == nil {
		return false
	}
	return k.learn(groups, found[1:])
}

func (k values) learn(groups, found []string) bool {
	fresh := values{}
	for i, p := range groups {
		if !strings.Contains(p, ":") {
			continue
		}
		if before, ok := fresh[p]; ok && before != found[i] {
			return false
		}
		fresh[p] = found[i]
	}
	for p, value := range fresh {
		k[p] = value
	}
	return true
}

// context is what stands before a placeholder on its line: a JSON member or the name of a header.
var context = regexp.MustCompile(`(?:"[^"\n]*":\s*(?:\[\s*)?"?|(?m:^)[A-Za-z-]+: )$`)

// keep writes the new answer with the placeholders of the old one. The nth placeholder behind some member
// goes behind the nth such member; ids that are known or still unknown become placeholders as well,
// because no two runs have the same.
func (k values) keep(old, text string) string {
	queues := map[string][]string{}
	for _, span := range placeholder.FindAllStringIndex(old, -1) {
		before := context.FindString(old[:span[0]])
		if p := old[span[0]:span[1]]; before != "" && patternOf(p) != "" {
			queues[before] = append(queues[before], p)
		}
	}
	for before, queue := range queues {
		text = k.put(text, before, queue)
	}
	return k.hideIDs(text)
}

func (k values) put(text, before string, queue []string) string {
	value := `[^"\n]*`
	if !strings.HasSuffix(before, `"`) {
		value = `[^",}\]\n]*`
	}
	n := 0
	return regexp.MustCompile(regexp.QuoteMeta(before)+value).ReplaceAllStringFunc(text, func(whole string) string {
		p := queue[min(n, len(queue)-1)]
		actual := whole[len(before):]
		if n >= len(queue) && strings.Contains(p, ":") {
			return whole // one name for one thing
		}
		if known, ok := k[p]; ok && known != actual || !regexp.MustCompile(`\A(?:`+patternOf(p)+`)\z`).MatchString(actual) {
			return whole
		}
		n++
		if strings.Contains(p, ":") {
			k[p] = actual
		}
		return before + p
	})
}

var anyUUID = regexp.MustCompile(`\b` + uuidPattern + `\b`)

// hideIDs replaces what was captured by its placeholder, and gives every other UUID a name.
func (k values) hideIDs(text string) string {
	var names []string
	for p := range k {
		names = append(names, p)
	}
	sort.Slice(names, func(i, j int) bool { // the longest value first: one may be part of another
		a, b := k[names[i]], k[names[j]]
		return len(a) > len(b) || len(a) == len(b) && names[i] < names[j]
	})
	for _, p := range names {
		if value := k[p]; len(value) >= 8 { // shorter ones are likely to be somewhere by chance
			text = strings.ReplaceAll(text, value, p)
		}
	}
	return anyUUID.ReplaceAllStringFunc(text, func(id string) string {
		for n := 1; ; n++ {
			p := "{{id:" + strconv.Itoa(n) + "}}"
			if value, taken := k[p]; !taken || value == id {
				k[p] = id
				return p
			}
		}
	})
}
