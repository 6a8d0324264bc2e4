// Package gatehouse_test holds the tests that read the house itself: who imports whom, what is
// banned, which versions are the floor, and which test proves which security rule.
package gatehouse_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the import path of the repository's root.
const module = "github.com/gatehouse-project/gatehouse"

// sourceFile is one Go file of the module, parsed.
type sourceFile struct {
	path string // with slashes, from the repository's root
	text []byte
	fset *token.FileSet
	tree *ast.File
}

// room is the folder of the file as the import rules name it: "domain/token", "cmd/gatehouse".
func (f *sourceFile) room() string { return strings.TrimPrefix(path.Dir(f.path), "internal/") }

// test says whether the file is compiled for tests only.
func (f *sourceFile) test() bool { return strings.HasSuffix(f.path, "_test.go") }

// line is the line number of a node.
func (f *sourceFile) line(n ast.Node) int { return f.fset.Position(n.Pos()).Line }

// targets lists the import paths of the file, blank imports too.
func (f *sourceFile) targets() []string {
	var paths []string
	for _, spec := range f.tree.Imports {
		if target, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, target)
		}
	}
	return paths
}

// imports maps the local name of each import to its path; an unnamed one goes by its last element.
func (f *sourceFile) imports() map[string]string {
	names := make(map[string]string)
	for _, spec := range f.tree.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		if spec.Name != nil {
			names[spec.Name.Name] = target
			continue
		}
		names[lastElement(target)] = target
	}
	return names
}

// lastElement guesses the package name of an import path: a version suffix is not a name.
func lastElement(importPath string) string {
	base := path.Base(importPath)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		return path.Base(path.Dir(importPath))
	}
	return base
}

// parseSource parses one file that lies, or pretends to lie, at name.
func parseSource(name string, text []byte) (*sourceFile, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	return &sourceFile{path: name, text: text, fset: fset, tree: tree}, nil
}

// house is the parsed source of the whole module, read once for all tests.
var house = sync.OnceValues(func() ([]*sourceFile, error) {
	var files []*sourceFile
	err := walkFiles(func(name string) error {
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parseSource(name, text)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
})

// source returns the parsed files of the module.
func source(t *testing.T) []*sourceFile {
	t.Helper()
	files, err := house()
	if err != nil {
		t.Fatalf("read source: %v", err)
	}
	return files
}

// walkFiles calls visit with each file of the repository that people write.
func walkFiles(visit func(name string) error) error {
	return fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch path.Base(name) {
			case ".git", ".cache", "node_modules", "bin", "gatehouse-data", "tools":
				return fs.SkipDir
			}
			return nil
		}
		return visit(name)
	})
}
