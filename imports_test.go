package gatehouse_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// importRule says what the non-test files of one group of rooms may import.
type importRule struct {
	room    string   // a room, or a group "x/*"
	may     []string // rooms and groups inside the module
	because string   // the reason why nothing else
}

// importRules is the house's plan: the first row that names a room counts. There are no exceptions.
var importRules = []importRule{
	{"cmd/*", []string{"app", "config", "domain/*", "stones"}, "a command parses flags and calls app or one verb of the domain"},
	{"app", []string{"*"}, ""},
	{"test", []string{"*"}, ""},
	{"test/*", []string{"*"}, ""},
	{"bench", []string{"*"}, ""},
	{"bench/*", []string{"*"}, ""},
	{"config", []string{"stones"}, "configuration is plain values; app takes it apart"},

	{"api/apitest", nil, "the replayer sees a handler as any HTTP client does"},
	{"api/*", []string{"api", "domain/*", "git", "stones"}, "a dialect translates a wire for the domain and knows neither storage nor its neighbours"},
	{"api", []string{"domain/*", "stones"}, "what all HTTP doors share must not depend on one of them"},
	{"console", []string{"api"}, "the console is a client of the native API"},
	{"sshd", []string{"domain/*", "git", "stones"}, "the SSH door translates a wire for the domain, as the dialects do"},

	{"store/migrations", nil, "migrations are text"},
	{"store/storetest", []string{"store", "store/*", "domain/*", "stones", "test/peers"}, "the suite tests stores on their databases, not doors"},
	{"store/*", []string{"store", "store/migrations", "stones"}, "an engine opens databases and knows no noun"},
	{"store", []string{"store/migrations", "domain/*", "stones"}, "the queries are one text for every engine"},
	{"outbound", []string{"domain/webhook", "stones"}, "the dialer serves whoever calls out and knows none of them"},
	{"recording", []string{"domain/remote", "domain/audit", "stones"}, "recordings are kept for remote sessions alone"},
	{"relay/*", []string{"relay", "outbound", "domain/remote", "domain/device", "stones"}, "a relay carries bytes and asks the domain nothing else"},
	{"relay", []string{"domain/remote", "domain/device", "stones"}, "a relay carries bytes and asks the domain nothing else"},
	{"idp/*", []string{"outbound", "domain/login", "domain/identity", "stones"}, "a provider answers who somebody is, nothing more"},
	{"git", []string{"stones"}, "git's protocol knows no repository rights"},

	{"domain/*", []string{"lower domain", "stones"}, "a domain room builds on lower rooms only, and never on how requests come in or rows go out"},
	{"fault", nil, "a stone is a leaf"},
	{"page", nil, "a stone is a leaf"},
	{"recent", nil, "a stone is a leaf"},
	{"secret", []string{"fault"}, "a stone is a leaf; its refusals have kinds"},
}

// stones are the leaves that everybody may import.
var stones = []string{"fault", "secret", "page", "recent"}

// domainLevels orders the rooms of the domain: each imports only rooms of smaller levels.
var domainLevels = map[string]int{
	"audit":    0,
	"identity": 1, "guard": 1,
	"access": 2,
	"device": 3, "factor": 3, "policy": 3, "project": 3, "session": 3, "sshkey": 3, "token": 3, "webhook": 3,
	"keyproof": 4, "repo": 4, "vault": 4,
	"login": 5, "remote": 5,
}

// outsideRule keeps packages from outside the module away from rooms, or inside one.
type outsideRule struct {
	target  string   // import path; subpackages are meant too
	not     []string // rooms and groups that must not import it; empty means all
	only    []string // rooms that may all the same
	because string
}

var outsideRules = []outsideRule{
	{"net/http", []string{"domain/*", "stones"}, nil, "the domain serves SSH and HTTP alike"},
	{"database/sql", []string{"domain/*", "stones"}, nil, "the domain does not know how it is stored"},
	{"log", []string{"domain/*", "store", "store/*", "api/*"}, nil, "only doors and loops log, once"},
	{"github.com/prometheus/client_golang", nil, []string{"app", "bench", "test"}, "rooms count through hooks that app fills"},
	{"modernc.org/sqlite", nil, []string{"store/sqlite", "bench", "test"}, "one room knows the driver"},
	{"github.com/jackc/pgx/v5", nil, []string{"store/postgres", "bench", "test"}, "one room knows the driver"},
	{"github.com/danielgtaylor/huma/v2", nil, []string{"api/native", "api/sshverify"}, "huma describes the native API and SSHVerify's types; dialects answer byte for byte"},
	{"github.com/alecthomas/kong", nil, []string{"cmd/gatehouse"}, "flags belong to the command"},
	{"github.com/knadh/koanf", nil, []string{"config"}, "settings are read in one place"},
}

// longestChain is from the command down to the last stone; see decision 0010.
const longestChain = 11

// imported is one import of a non-test file.
type imported struct{ from, to, file string }

func TestImports(t *testing.T) {
	t.Parallel()
	edges := importsOf(source(t))
	for _, edge := range edges {
		if fault := checkImport(edge); fault != "" {
			t.Errorf("%s: %s", edge.file, fault)
		}
	}
	if chain := longestImportChain(edges); len(chain)-1 > longestChain {
		t.Errorf("%d imports in a row, at most %d: %s", len(chain)-1, longestChain, strings.Join(chain, " -> "))
	}
}

func TestImports_finds_planted_violations(t *testing.T) {
	t.Parallel()
	in := func(room string) string { return module + "/internal/" + room }
	planted := []imported{
		{from: "cmd/gatehouse", to: in("store")},
		{from: "config", to: in("app")},
		{from: "api", to: in("api/sshverify")},
		{from: "api/sshverify", to: in("store")},
		{from: "api/sshverify", to: in("sshd")},
		{from: "api/sshverify", to: in("api/bitbucket")},
		{from: "api/sshverify", to: "github.com/jackc/pgx/v5/stdlib"},
		{from: "api/bitbucket", to: "github.com/danielgtaylor/huma/v2"},
		{from: "api/apitest", to: in("api")},
		{from: "console", to: in("domain/token")},
		{from: "sshd", to: in("api")},
		{from: "store", to: in("store/sqlite")},
		{from: "store", to: "modernc.org/sqlite"},
		{from: "store/postgres", to: "modernc.org/sqlite"},
		{from: "store/sqlite", to: in("domain/audit")},
		{from: "outbound", to: in("domain/keyproof")},
		{from: "domain/audit", to: in("domain/identity")},
		{from: "domain/identity", to: in("domain/guard")},
		{from: "domain/token", to: in("domain/webhook")},
		{from: "domain/token", to: in("store")},
		{from: "domain/token", to: in("config")},
		{from: "domain/token", to: "net/http"},
		{from: "domain/token", to: "net/http/httptest"},
		{from: "domain/token", to: "database/sql"},
		{from: "domain/keyproof", to: "log/slog"},
		{from: "domain/keyproof", to: "github.com/prometheus/client_golang/prometheus"},
		{from: "domain/unplanned", to: in("fault")},
		{from: "attic", to: in("fault")},
		{from: "page", to: in("fault")},
	}
	for _, edge := range planted {
		fault := checkImport(edge)
		if !strings.Contains(fault, "must not import") || !strings.Contains(fault, "because") {
			t.Errorf("planted import %s -> %s was not refused: %q", edge.from, edge.to, fault)
		}
	}
	lawful := []imported{
		{from: "cmd/gatehouse", to: in("app")},
		{from: "api/sshverify", to: in("domain/keyproof")},
		{from: "api/sshverify", to: "net/http"},
		{from: "domain/keyproof", to: in("domain/webhook")},
		{from: "domain/keyproof", to: "golang.org/x/crypto/ssh"},
		{from: "store/sqlite", to: "modernc.org/sqlite/lib"},
	}
	for _, edge := range lawful {
		if fault := checkImport(edge); fault != "" {
			t.Errorf("lawful import was refused: %s", fault)
		}
	}
}

func TestImports_finds_a_planted_long_chain(t *testing.T) {
	t.Parallel()
	var edges []imported
	for i := range longestChain + 1 {
		edges = append(edges, imported{from: fmt.Sprint("room", i), to: fmt.Sprintf("%s/internal/room%d", module, i+1)})
	}
	if chain := longestImportChain(edges); len(chain)-1 != longestChain+1 {
		t.Errorf("a chain of %d imports was measured as %v", longestChain+1, chain)
	}
}

func TestNoDrawers(t *testing.T) {
	t.Parallel()
	for _, f := range source(t) {
		if name := drawer(f.room()); name != "" {
			t.Errorf("%s: %q says nothing about what lies in it; name the noun", f.path, name)
		}
	}
	for _, planted := range []string{"util", "store/common", "domain/token/helpers"} {
		if drawer(planted) == "" {
			t.Errorf("planted drawer %s was not found", planted)
		}
	}
}

// drawer returns the element of a room's path that would gather whatever has no home.
func drawer(room string) string {
	drawers := []string{
		"util", "utils", "common", "helper", "helpers", "shared", "misc", "base", "core", "manager",
		"types", "models", "interfaces", "lib", "pkg",
	}
	for element := range strings.SplitSeq(room, "/") {
		if slices.Contains(drawers, element) {
			return element
		}
	}
	return ""
}

// importsOf lists the imports of all files that are not tests.
func importsOf(files []*sourceFile) []imported {
	var edges []imported
	for _, f := range files {
		if f.test() {
			continue
		}
		for _, target := range f.targets() {
			edges = append(edges, imported{from: f.room(), to: target, file: f.path})
		}
	}
	slices.SortFunc(edges, func(a, b imported) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.to, b.to))
	})
	return edges
}

// checkImport returns why an import is refused, or nothing.
func checkImport(edge imported) string {
	rest, inside := strings.CutPrefix(edge.to, module+"/")
	if !inside {
		return checkOutside(edge)
	}
	to := strings.TrimPrefix(rest, "internal/")
	rule, found := ruleFor(edge.from)
	if !found {
		return refuse(edge.from, to, "the import rules have no row for it: decide where the new room stands")
	}
	for _, may := range rule.may {
		if allows(may, edge.from, to) {
			return ""
		}
	}
	return refuse(edge.from, to, rule.because)
}

func checkOutside(edge imported) string {
	for _, rule := range outsideRules {
		if edge.to != rule.target && !strings.HasPrefix(edge.to, rule.target+"/") {
			continue
		}
		concerned := len(rule.not) == 0
		for _, group := range rule.not {
			concerned = concerned || inGroup(group, edge.from)
		}
		if concerned && !slices.ContainsFunc(rule.only, func(room string) bool {
			return edge.from == room || strings.HasPrefix(edge.from, room+"/")
		}) {
			return refuse(edge.from, edge.to, rule.because)
		}
	}
	return ""
}

func refuse(from, to, because string) string {
	return fmt.Sprintf("%s must not import %s, because %s", from, to, because)
}

// ruleFor finds the row of a room. A domain room without a level has none.
func ruleFor(room string) (importRule, bool) {
	if noun, ok := strings.CutPrefix(room, "domain/"); ok {
		if _, known := domainLevels[noun]; !known {
			return importRule{}, false
		}
	}
	for _, rule := range importRules {
		if inGroup(rule.room, room) {
			return rule, true
		}
	}
	return importRule{}, false
}

// allows says whether one entry of a row lets from import to.
func allows(may, from, to string) bool {
	if may == "lower domain" {
		return lower(from, to)
	}
	return inGroup(may, to)
}

// lower says whether to is a domain room that stands below from.
func lower(from, to string) bool {
	own, known := domainLevels[strings.TrimPrefix(from, "domain/")]
	noun, inDomain := strings.CutPrefix(to, "domain/")
	level, placed := domainLevels[noun]
	return known && inDomain && placed && level < own
}

// inGroup says whether a room is meant by a name, by "x/*", by "stones" or by "*".
func inGroup(group, room string) bool {
	if group == "stones" {
		return slices.Contains(stones, room)
	}
	if parent, ok := strings.CutSuffix(group, "*"); ok {
		return strings.HasPrefix(room, parent)
	}
	return group == room
}

// longestImportChain returns the rooms of the longest path through the module.
func longestImportChain(edges []imported) []string {
	next := make(map[string][]string)
	for _, edge := range edges {
		if rest, ok := strings.CutPrefix(edge.to, module+"/"); ok {
			next[edge.from] = append(next[edge.from], strings.TrimPrefix(rest, "internal/"))
		}
	}
	known := make(map[string][]string)
	var from func(room string) []string
	from = func(room string) []string {
		if chain, ok := known[room]; ok {
			return chain
		}
		longest := []string{room}
		for _, to := range next[room] {
			if chain := from(to); len(chain)+1 > len(longest) {
				longest = append([]string{room}, chain...)
			}
		}
		known[room] = longest
		return longest
	}
	var longest []string
	for room := range next {
		if chain := from(room); len(chain) > len(longest) {
			longest = chain
		}
	}
	return longest
}
