package gatehouse_test

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// securityIDs are all rules there are. Ids are permanent: add, never renumber.
var securityIDs = []string{
	"S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S13", "S14", "S15", "S16", "S17", "S18", "S19", "S20", "S21",
	"F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F10", "F11", "F12", "F13", "F14",
	"W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9", "W10", "W11", "W12", "W13", "W14",
	"G1", "G2", "G3",
	"B1", "B2",
}

const securityPage = "docs/security.md"

var update = flag.Bool("update", false, "write the tests that cite each rule into "+securityPage)

// citation is how a test names what it proves: the word rule and an id, or rules and several.
var citation = regexp.MustCompile(`\b[Rr]ules? ((?:[SFWGB][0-9]{1,2})(?:(?:, | and )[SFWGB][0-9]{1,2})*)\b`)

var ruleID = regexp.MustCompile(`[SFWGB][0-9]{1,2}`)

// Each rule whose door exists is proven by a test that cites it, and docs/security.md says which.
// With -update the page is rewritten first; it is the one root test that writes, so it is not parallel.
func TestSecurityRules(t *testing.T) {
	cited := citations(t)
	if *update {
		nameTests(t, cited)
	}
	for _, row := range table(t, securityPage, "Rules in force") {
		if len(row) != 4 {
			t.Fatalf("%s: a row has %d columns, not 4: %v", securityPage, len(row), row)
		}
		id, tests := row[0], row[3]
		if len(cited[id]) == 0 {
			t.Errorf("rule %s holds at a door that exists (%s), and no test cites it", id, row[2])
			continue
		}
		for name := range strings.SplitSeq(tests, ", ") {
			if !slices.Contains(cited[id], name) {
				t.Errorf("%s names %q as a test of %s; these cite the rule: %s", securityPage, name, id, strings.Join(cited[id], ", "))
			}
		}
	}
}

// nameTests rewrites the last column of the rules in force: the tests that cite each.
func nameTests(t *testing.T, cited map[string][]string) {
	t.Helper()
	text, err := os.ReadFile(securityPage)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		cells := strings.Split(line, "|")
		if len(cells) != 6 { // four columns between bars
			continue
		}
		if files := cited[strings.TrimSpace(cells[1])]; len(files) > 0 {
			cells[4] = " " + strings.Join(files, ", ") + " "
			lines[i] = strings.Join(cells, "|")
		}
	}
	if err := os.WriteFile(securityPage, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A rule waits for its door only as long as the door's room is not there.
func TestSecurityRules_that_wait(t *testing.T) {
	t.Parallel()
	for _, row := range table(t, securityPage, "Rules that wait for their door") {
		if _, err := os.Stat(row[2]); err == nil {
			t.Errorf("rule %s waits for %s, which is there: prove the rule and move its row", row[0], row[2])
		}
	}
}

// The page holds each rule once.
func TestSecurityRules_are_all_there(t *testing.T) {
	t.Parallel()
	var listed []string
	for _, heading := range []string{"Rules in force", "Rules that wait for their door"} {
		for _, row := range table(t, securityPage, heading) {
			listed = append(listed, row[0])
		}
	}
	for _, id := range securityIDs {
		if n := count(listed, id); n != 1 {
			t.Errorf("%s has %d rows for rule %s", securityPage, n, id)
		}
	}
	for _, id := range listed {
		if !slices.Contains(securityIDs, id) {
			t.Errorf("%s has a row for %s, which is no rule", securityPage, id)
		}
	}
	for id, files := range citations(t) {
		if !slices.Contains(securityIDs, id) {
			t.Errorf("%s cite rule %s, which is no rule", strings.Join(files, ", "), id)
		}
	}
}

func TestCitations_find_planted_ones(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"// RULE S1: only signatures":          {"S1"},
		"# RULEs S5, S10 and S11 in one":       {"S5", "S10", "S11"},
		"the RULEr S1, a RULE of S2, RULE S3x": nil,
		"see (RULE W8)":                        {"W8"},
	} {
		text = strings.ReplaceAll(text, "RULE", "rule") // spelled out, they would count as citations of this file
		if got := citedIn(text); !slices.Equal(got, want) {
			t.Errorf("%q cites %v, want %v", text, got, want)
		}
	}
}

// Rule S21: the same source gives the same bytes in another folder, with another build cache, and the
// binary is static. Rule B1: the binary itself is asked for the versions that it was linked with.
func TestBinary(t *testing.T) {
	t.Parallel()
	needCommand(t)
	first := buildCopy(t, "")
	second := buildCopy(t, cacheOfSecondBuild(t))
	t.Run("is the same from two folders", func(t *testing.T) {
		if digest(t, first) != digest(t, second) {
			t.Error("two builds of one source differ: something of the machine or the folder leaks into the binary")
		}
	})
	t.Run("is static", func(t *testing.T) { checkStatic(t, first) })
	t.Run("holds no version under its floor", func(t *testing.T) { checkLinkedVersions(t, first) })
}

// Rule S21: the modules on this machine are those that go.sum names.
func TestModulesAreVerified(t *testing.T) {
	t.Parallel()
	output(t, exec.Command("go", "mod", "verify"))
}

// buildCopy copies the source into a folder of its own and builds it there as "make build" does.
func buildCopy(t *testing.T, cache string) string {
	t.Helper()
	folder := t.TempDir()
	if err := walkFiles(func(name string) error { return copyFile(folder, name) }); err != nil {
		t.Fatalf("copy source: %v", err)
	}
	binary := filepath.Join(folder, "bin", "gatehouse")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=test", "-o", binary, "./cmd/gatehouse")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if cache != "" {
		cmd.Env = append(cmd.Env, "GOCACHE="+cache)
	}
	output(t, cmd)
	return binary
}

// cacheOfSecondBuild is kept between runs: compiling the standard library anew each time would take minutes.
// What differs between the two builds still is: folder, cache, and when each package was compiled.
func cacheOfSecondBuild(t *testing.T) string {
	t.Helper()
	cache, err := filepath.Abs(filepath.Join(".cache", "second-build"))
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

func copyFile(folder, name string) error {
	to := filepath.Join(folder, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}

// checkStatic looks for anything that would make the system load code of its own.
func checkStatic(t *testing.T, binary string) {
	t.Helper()
	f, err := elf.Open(binary)
	if err != nil {
		t.Skipf("not an ELF binary: %v", err)
	}
	defer f.Close()
	for _, program := range f.Progs {
		if program.Type == elf.PT_DYNAMIC || program.Type == elf.PT_INTERP {
			t.Errorf("the binary has a %v header: it is not static", program.Type)
		}
	}
	if f.Section(".dynamic") != nil {
		t.Error("the binary has a dynamic section")
	}
}

func checkLinkedVersions(t *testing.T, binary string) {
	t.Helper()
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	linked := make(map[string]goModule)
	graph := moduleGraph(t)
	for _, dep := range info.Deps {
		linked[dep.Path] = goModule{Path: dep.Path, Version: dep.Version, GoMod: graph[dep.Path].GoMod}
	}
	if len(linked) == 0 {
		t.Fatal("the binary names no modules")
	}
	for _, row := range table(t, "docs/dependencies.md", "Floors") {
		if fault := checkFloor(linked, row[0], row[1], wantedBy); fault != "" {
			t.Errorf("linked: %s, because %s", fault, row[2])
		}
	}
}

func digest(t *testing.T, file string) [32]byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(content)
}

// citations maps each rule to the test files that cite it, in order.
func citations(t *testing.T) map[string][]string {
	t.Helper()
	cited := make(map[string][]string)
	err := walkFiles(func(name string) error {
		if !strings.HasSuffix(name, "_test.go") && !strings.HasSuffix(name, ".txtar") {
			return nil
		}
		text, err := fs.ReadFile(os.DirFS("."), name)
		if err != nil {
			return err
		}
		for _, id := range citedIn(string(bytes.ToValidUTF8(text, nil))) {
			if !slices.Contains(cited[id], name) {
				cited[id] = append(cited[id], name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("read tests: %v", err)
	}
	return cited
}

// citedIn lists the rules that a text cites.
func citedIn(text string) []string {
	var ids []string
	for _, match := range citation.FindAllStringSubmatch(text, -1) {
		ids = append(ids, ruleID.FindAllString(match[1], -1)...)
	}
	return ids
}

func count(list []string, wanted string) int {
	n := 0
	for _, entry := range list {
		if entry == wanted {
			n++
		}
	}
	return n
}
