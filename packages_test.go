package gatehouse_test

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// Budgets are guidance: what exceeds them is printed, and a person decides.
const (
	functionBudget = 80  // lines
	fileBudget     = 500 // lines
	packageBudget  = 2000
)

func TestPackageComments(t *testing.T) {
	t.Parallel()
	sentences := make(map[string]string)
	var rooms []string
	for _, f := range source(t) {
		if f.test() && path.Dir(f.path) != "." && hasSource(t, f.room()) {
			continue
		}
		room := f.room()
		if !slices.Contains(rooms, room) {
			rooms = append(rooms, room)
		}
		if f.tree.Doc != nil && sentences[room] == "" {
			sentences[room] = f.tree.Doc.Text()
		}
	}
	for _, room := range rooms {
		if fault := checkPackageComment(sentences[room]); fault != "" {
			t.Errorf("%s: %s", room, fault)
		}
	}
}

func TestPackageComments_finds_planted_violations(t *testing.T) {
	t.Parallel()
	planted := []string{
		"",
		"package token issues secrets.",
		"Package token issues long-lived secrets and various other things.",
		"Package token issues long-lived secrets, checks them, revokes them\n\nand more",
	}
	for _, comment := range planted {
		if checkPackageComment(comment) == "" {
			t.Errorf("planted package comment passed: %q", comment)
		}
	}
	if fault := checkPackageComment("Package token issues long-lived secrets.\n\nCall Issue."); fault != "" {
		t.Errorf("lawful package comment was refused: %s", fault)
	}
}

func TestBudgets(t *testing.T) {
	t.Parallel()
	perRoom := make(map[string]int)
	for _, f := range source(t) {
		if f.test() {
			continue
		}
		lines := strings.Count(string(f.text), "\n")
		perRoom[f.room()] += lines
		if lines > fileBudget {
			t.Logf("%s has %d lines (budget %d)", f.path, lines, fileBudget)
		}
		for _, declared := range f.tree.Decls {
			function, ok := declared.(*ast.FuncDecl)
			if !ok {
				continue
			}
			long := f.fset.Position(function.End()).Line - f.line(function) + 1
			if long > functionBudget {
				t.Logf("%s:%d: %s has %d lines (budget %d)", f.path, f.line(function), function.Name.Name, long, functionBudget)
			}
		}
	}
	for room, lines := range perRoom {
		if lines > packageBudget {
			t.Logf("%s has %d lines (budget %d)", room, lines, packageBudget)
		}
	}
}

// hasSource says whether a room holds files that are not tests.
func hasSource(t *testing.T, room string) bool {
	return slices.ContainsFunc(source(t), func(f *sourceFile) bool { return f.room() == room && !f.test() })
}

// checkPackageComment returns what is wrong with a package comment, or nothing.
func checkPackageComment(comment string) string {
	first, _, _ := strings.Cut(comment, "\n\n")
	first = strings.TrimSpace(first)
	switch {
	case first == "":
		return "no package comment"
	case !strings.HasPrefix(first, "Package ") && !strings.HasPrefix(first, "Command "):
		return "the package comment does not open with Package or Command and its name"
	case strings.Contains(first, "and various"):
		return "a package that does various things is two packages"
	case !strings.Contains(first, "."):
		return "the package comment does not open with a sentence"
	}
	return ""
}
