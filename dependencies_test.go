package gatehouse_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// goModule is what "go list -m -json" and "go mod edit -json" say about a module.
type goModule struct {
	Path, Version, GoMod string
	Main, Indirect       bool
}

// Rule B1: no version under its floor, whatever a dependency asks for.
func TestDependencyFloors(t *testing.T) {
	t.Parallel()
	graph := moduleGraph(t)
	rows := table(t, "docs/dependencies.md", "Floors")
	if len(rows) < 4 {
		t.Fatalf("the table of floors has %d rows: it was not read", len(rows))
	}
	for _, row := range rows {
		if fault := checkFloor(graph, row[0], row[1], wantedBy); fault != "" {
			t.Errorf("%s, because %s", fault, row[2])
		}
	}
}

func TestDependencyFloors_find_planted_violations(t *testing.T) {
	t.Parallel()
	graph := map[string]goModule{
		"example.test/low":    {Path: "example.test/low", Version: "v0.9.12"},
		"example.test/pseudo": {Path: "example.test/pseudo", Version: "v0.10.0-20260101000000-abcdefabcdef"},
		"example.test/high":   {Path: "example.test/high", Version: "v0.10.1"},
		"example.test/user":   {Path: "example.test/user", Version: "v1.0.0"},
	}
	wants := func(goModule) (map[string]string, error) {
		return map[string]string{"example.test/high": "v0.10.0"}, nil
	}
	for _, planted := range [][2]string{
		{"example.test/low", ">= v0.10.0"},
		{"example.test/pseudo", ">= v0.10.0"},
		{"example.test/high", "= example.test/user"},
		{"example.test/high", "= example.test/absent"},
		{"example.test/high", "at least v0.10.0"},
	} {
		if checkFloor(graph, planted[0], planted[1], wants) == "" {
			t.Errorf("%s %s passed", planted[0], planted[1])
		}
	}
	if fault := checkFloor(graph, "example.test/high", ">= v0.9.99", wants); fault != "" {
		t.Errorf("lawful version was refused: %s", fault)
	}
}

// Every module that the code imports stands in docs/dependencies.md with its version, and the other way round.
func TestDependencyTable(t *testing.T) {
	t.Parallel()
	required := requirements(t)
	listed := make(map[string]bool)
	for _, row := range table(t, "docs/dependencies.md", "Direct") {
		path, version := row[0], row[1]
		listed[path] = true
		if len(row) != 6 || slices.Contains(row, "") {
			t.Errorf("docs/dependencies.md: the row of %s has empty columns", path)
		}
		if !lawfulLicence(row[2]) {
			t.Errorf("docs/dependencies.md: %s is under %s: MIT, BSD, ISC and Apache-2.0 are taken, MPL-2.0 unmodified", path, row[2])
		}
		if required[path].Version != version {
			t.Errorf("docs/dependencies.md lists %s %s, go.mod has %q", path, version, required[path].Version)
		}
	}
	imported := make(map[string]bool)
	for _, f := range source(t) {
		for _, target := range f.targets() {
			path := moduleOf(target, required)
			imported[path] = true
			if path != "" && !listed[path] {
				t.Errorf("%s imports %s, docs/dependencies.md has no row for %s: say what it saves and how we would leave", f.path, target, path)
			}
		}
	}
	for path, m := range required {
		if !m.Indirect && !imported[path] {
			t.Logf("go.mod requires %s, which nothing imports: run go mod tidy", path)
		}
	}
}

func TestRejectedDependencies(t *testing.T) {
	t.Parallel()
	required := requirements(t)
	rows := table(t, "docs/dependencies.md", "Rejected")
	if len(rows) == 0 {
		t.Fatal("the table of rejected modules was not read")
	}
	for _, row := range rows {
		if _, found := required[row[0]]; found {
			t.Errorf("go.mod requires %s, which was rejected: %s", row[0], row[1])
		}
	}
}

// Rule S21: no package outside the standard library is linked with C, even where a compiler is at hand.
func TestNoCgo(t *testing.T) {
	t.Parallel()
	needCommand(t)
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,CgoFiles,Standard", "./cmd/gatehouse")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	packages := json.NewDecoder(bytes.NewReader(output(t, cmd)))
	seen := 0
	for {
		var p struct {
			ImportPath string
			CgoFiles   []string
			Standard   bool
		}
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		if !p.Standard && len(p.CgoFiles) > 0 {
			t.Errorf("%s has C in %v: the binary must stay static", p.ImportPath, p.CgoFiles)
		}
	}
	if seen < 100 {
		t.Errorf("only %d packages were looked at", seen)
	}
}

// checkFloor returns how a module breaks its rule, or nothing. A module that is not in the graph breaks none.
func checkFloor(graph map[string]goModule, path, rule string, wants func(goModule) (map[string]string, error)) string {
	m, found := graph[path]
	if !found {
		return ""
	}
	kind, operand, _ := strings.Cut(rule, " ")
	switch kind {
	case ">=":
		if older(m.Version, operand) {
			return fmt.Sprintf("%s is %s, at least %s is needed", path, m.Version, operand)
		}
	case "=":
		wanted, err := wants(graph[operand])
		if err != nil {
			return fmt.Sprintf("read what %s asks for: %v", operand, err)
		}
		if _, here := graph[operand]; !here || wanted[path] != m.Version {
			return fmt.Sprintf("%s is %s, %s asks for %q", path, m.Version, operand, wanted[path])
		}
	default:
		return fmt.Sprintf("%s: the rule %q is neither \">= version\" nor \"= module\"", path, rule)
	}
	return ""
}

// wantedBy reads the versions that a module's own go.mod asks for.
func wantedBy(m goModule) (map[string]string, error) {
	return readRequirements(m.GoMod)
}

// moduleGraph is every module that takes part in choosing versions.
func moduleGraph(t *testing.T) map[string]goModule {
	t.Helper()
	modules := json.NewDecoder(bytes.NewReader(output(t, exec.Command("go", "list", "-m", "-json", "all"))))
	graph := make(map[string]goModule)
	for {
		var m goModule
		if err := modules.Decode(&m); errors.Is(err, io.EOF) {
			return graph
		} else if err != nil {
			t.Fatal(err)
		}
		graph[m.Path] = m
	}
}

// requirements are the lines of our go.mod, with and without "// indirect".
func requirements(t *testing.T) map[string]goModule {
	t.Helper()
	var file struct{ Require []goModule }
	if err := json.Unmarshal(output(t, exec.Command("go", "mod", "edit", "-json")), &file); err != nil {
		t.Fatal(err)
	}
	required := make(map[string]goModule)
	for _, m := range file.Require {
		required[m.Path] = m
	}
	return required
}

func readRequirements(goMod string) (map[string]string, error) {
	out, err := exec.Command("go", "mod", "edit", "-json", goMod).Output()
	if err != nil {
		return nil, err
	}
	var file struct{ Require []goModule }
	if err := json.Unmarshal(out, &file); err != nil {
		return nil, err
	}
	versions := make(map[string]string)
	for _, m := range file.Require {
		versions[m.Path] = m.Version
	}
	return versions, nil
}

// moduleOf returns the required module that an import path belongs to: the one with the longest fitting path.
func moduleOf(target string, required map[string]goModule) string {
	longest := ""
	for path := range required {
		if (target == path || strings.HasPrefix(target, path+"/")) && len(path) > len(longest) {
			longest = path
		}
	}
	return longest
}

func lawfulLicence(name string) bool {
	return slices.Contains([]string{"MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Apache-2.0", "MPL-2.0"}, name)
}

// older compares versions of the form v1.2.3; one with a suffix is older than the same without.
func older(a, b string) bool {
	numbersOf := func(version string) ([]int, bool) {
		release, suffix, _ := strings.Cut(strings.TrimPrefix(version, "v"), "-")
		var numbers []int
		for part := range strings.SplitSeq(release, ".") {
			n, err := strconv.Atoi(part)
			if err != nil {
				n = -1 // not a version: older than all
			}
			numbers = append(numbers, n)
		}
		return numbers, suffix != ""
	}
	left, leftSuffix := numbersOf(a)
	right, rightSuffix := numbersOf(b)
	if order := slices.Compare(left, right); order != 0 {
		return order < 0
	}
	return leftSuffix && !rightSuffix
}

// table reads the rows of the table under a heading of a document, without its head.
func table(t *testing.T, file, heading string) [][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut("\n"+string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", file, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var rows [][]string
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		var row []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			row = append(row, strings.TrimSpace(cell))
		}
		rows = append(rows, row)
	}
	return rows[min(2, len(rows)):]
}

// oneGoCommand keeps the root tests from running several go commands that each want all cores.
var oneGoCommand sync.Mutex

// output runs a command and returns what it printed on standard output.
func output(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	oneGoCommand.Lock()
	defer oneGoCommand.Unlock()
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, complaint.String())
	}
	return out
}

// needCommand skips a test of the binary while the binary has no source.
func needCommand(t *testing.T) {
	t.Helper()
	if !slices.ContainsFunc(source(t), func(f *sourceFile) bool { return f.room() == "cmd/gatehouse" && !f.test() }) {
		t.Skip("cmd/gatehouse does not exist yet")
	}
}
