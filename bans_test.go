package gatehouse_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ban is one thing that was one line away from a hole somewhere else. Rule B2: bans stand in this one list,
// a reason beside each, and nobody is exempt but the rooms named here.
type ban struct {
	name    string
	find    func(f *sourceFile) []ast.Node
	only    []string // the rooms that may; "tests" are _test.go files, test/ and bench/
	because string
	planted string // a file that must be caught, without its package clause
}

// searched limits a ban to the rooms where it has a meaning.
type searched func(f *sourceFile) bool

var (
	everywhere searched = func(*sourceFile) bool { return true }
	inDomain   searched = func(f *sourceFile) bool {
		return strings.HasPrefix(f.room(), "domain/") && !f.test()
	}
	inStore searched = func(f *sourceFile) bool {
		return (f.room() == "store" || strings.HasPrefix(f.room(), "store/")) && !f.test()
	}
)

// bans cite the rules of docs/security.md.
var bans = []ban{
	{
		"InsecureIgnoreHostKey", identifier("InsecureIgnoreHostKey"), nil,
		"S16: a host key that nobody checks lets anybody stand between; pin it",
		`import "golang.org/x/crypto/ssh"; var c = ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()}`,
	},
	{
		"InsecureSkipVerify", identifier("InsecureSkipVerify"), nil,
		"W8: TLS without a check is no TLS; tests give the certificate as root",
		`import "crypto/tls"; var c = tls.Config{InsecureSkipVerify: true}`,
	},
	{
		"math/rand", imports("math/rand", "math/rand/v2"),
		[]string{"tests"},
		"F10: secrets come from the system's randomness, and who needs no secret does not need chance",
		`import "math/rand/v2"; var n = rand.N(10)`,
	},
	{
		"os/exec", imports("os/exec", "syscall.Exec"),
		[]string{"tests", "git"},
		"rule W9: strangers reach no interpreter; only git's room starts a program",
		`import "os/exec"; var c = exec.Command("sh")`,
	},
	{
		"text/template", imports("text/template"),
		[]string{"tests"},
		"rule W9: text templates escape nothing",
		`import "text/template"; var t = template.New("")`,
	},
	{
		"plugin", imports("plugin"), nil,
		"rule S21: the binary is what the source says",
		`import "plugin"; var _, _ = plugin.Open("x")`,
	},
	{
		"unsafe", imports("unsafe"), nil,
		"W5: hostile bytes are decoded in memory-safe code",
		`import "unsafe"; var n = unsafe.Sizeof(0)`,
	},
	{
		"cgo", imports("C"), nil,
		"rule S21: static Go, no C",
		`import "C"`,
	},
	{
		"shared HTTP clients",
		selectors("net/http", "DefaultClient", "DefaultTransport", "Get", "Post", "PostForm", "Head"),
		[]string{"tests"},
		"W8: they have no deadline, follow redirects and heed the proxy environment; use outbound",
		`import "net/http"; var r, err = http.Get("http://example.test")`,
	},
	{
		"HTTP clients of one's own", selectors("net/http", "Client", "Transport"),
		[]string{"tests", "outbound"},
		"W8: every call to an address that somebody else chose goes through one dialer",
		`import "net/http"; var c = http.Client{}`,
	},
	{
		"dialers",
		selectors("net", "Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "DialUnix", "Dialer"),
		[]string{"tests", "outbound", "cmd/gatehouse"}, // the demo asks the person's own ssh-agent, on a unix socket
		"W8: the address is checked after resolution, in one place",
		`import "net"; var c, err = net.Dial("tcp", "example.test:1")`,
	},
	{
		"TLS, SSH and LDAP dialers",
		either(selectors("crypto/tls", "Dial", "DialWithDialer", "Dialer"), selectors("golang.org/x/crypto/ssh", "Dial"),
			selectors("github.com/go-ldap/ldap/v3", "Dial", "DialTLS", "DialURL")),
		[]string{"tests", "outbound"},
		"W8: the address is checked after resolution, in one place",
		`import "golang.org/x/crypto/ssh"; var c, err = ssh.Dial("tcp", "example.test:22", nil)`,
	},
	{
		"default mux", selectors("net/http", "Handle", "HandleFunc", "DefaultServeMux", "ListenAndServe", "ListenAndServeTLS", "Serve"), nil,
		"W1: routes stand in tables, and servers have deadlines; what a library hangs on the default mux must not be served",
		`import "net/http"; var err = http.ListenAndServe(":80", nil)`,
	},
	{
		"init functions", initFunction, nil,
		"what runs before main has no owner, no error and no order",
		`func init() {}`,
	},
	{
		"SSH cipher names", sshCiphers,
		[]string{"tests", "sshd", "relay/sshrelay"},
		"S9: the ciphers are listed in one place for each side of the gate, or somebody adds a weak one in another",
		`var ciphers = []string{"chacha20-poly1305@openssh.com"}`,
	},
	{
		"the clock in the domain", within(inDomain, selectors("time", "Now", "Since", "Until")), nil,
		"W11: expiry is read against the clock that was handed in, or no test can turn it",
		`import "time"; var now = time.Now()`,
	},
	{
		"SQL put together from text", within(inStore, builtSQL), nil,
		"rule W9: statements are constants; values travel as parameters",
		`import "fmt"; func q(name string) string { return fmt.Sprintf("SELECT id FROM t WHERE name = '%s'", name) }`,
	},
	{
		"printing", within(everywhere, selectors("fmt", "Print", "Printf", "Println")),
		[]string{"tests", "cmd/gatehouse"},
		"standard output belongs to the command: scripts read secrets and JSON there",
		`import "fmt"; func f() { fmt.Println("hello") }`,
	},
}

func TestBans(t *testing.T) {
	t.Parallel()
	for _, f := range source(t) {
		for _, b := range bans {
			for _, fault := range b.check(f) {
				t.Error(fault)
			}
		}
	}
}

// Each ban's planted violation is caught where it is forbidden and let pass where it is not (rule B2).
func TestBans_find_planted_violations(t *testing.T) {
	t.Parallel()
	for _, b := range bans {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			forbidden := []string{"internal/domain/planted/planted.go", "internal/store/planted.go"}
			if !caught(t, b, forbidden...) {
				t.Error("the planted violation was not caught")
			}
			for _, room := range b.only {
				lawful := "internal/" + room + "/planted.go"
				switch {
				case room == "tests":
					lawful = "internal/domain/planted/planted_test.go"
				case strings.HasPrefix(room, "cmd/"):
					lawful = room + "/planted.go"
				}
				if caught(t, b, lawful) {
					t.Errorf("caught in %s, which may", lawful)
				}
			}
		})
	}
}

// caught says whether the ban's planted violation is found in any of the places.
func caught(t *testing.T, b ban, places ...string) bool {
	t.Helper()
	for _, place := range places {
		f, err := parseSource(place, []byte("package planted\n"+b.planted))
		if err != nil {
			t.Fatalf("parse planted violation: %v", err)
		}
		if len(b.check(f)) > 0 {
			return true
		}
	}
	return false
}

// More shapes of built SQL, because a check by shape is easily too narrow.
func TestBans_tell_built_SQL_from_constant_SQL(t *testing.T) {
	t.Parallel()
	for text, built := range map[string]bool{
		`func f(n string) string { return "SELECT a FROM t WHERE n = '" + n + "'" }`:                              true,
		`func f(n string) string { q := "DELETE FROM t WHERE "; q += n; return q }`:                               true,
		`func f(n string) string { return "select a from " + table(n) }; func table(string) string { return "" }`: true,
		`func f(d db, n string) string { return "SELECT a FROM t" + d.ForUpdate(n) }`:                             true,
		`func f(d db) string { return "SELECT a FROM t" + d.ForUpdate() }`:                                        false,
		`const columns = "a, b"; const q = "SELECT " + columns + " FROM t"`:                                       false,
		`func f() string { const where = " WHERE a = $1"; return "SELECT a FROM t" + where }`:                     false,
		`func f(n string) string { return "selected " + n }`:                                                      false,
	} {
		f, err := parseSource("internal/store/planted.go", []byte("package store\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(builtSQL(f)) > 0; got != built {
			t.Errorf("built = %v, want %v: %s", got, built, text)
		}
	}
}

// check lists what a file does against the ban.
func (b ban) check(f *sourceFile) []string {
	if b.allowed(f) {
		return nil
	}
	var faults []string
	for _, node := range b.find(f) {
		faults = append(faults, fmt.Sprintf("%s:%d: %s is banned here, because %s", f.path, f.line(node), b.name, b.because))
	}
	return faults
}

func (b ban) allowed(f *sourceFile) bool {
	return slices.ContainsFunc(b.only, func(room string) bool {
		if room == "tests" {
			return f.test() || strings.HasPrefix(f.path, "test/") || strings.HasPrefix(f.path, "bench/")
		}
		return f.room() == room
	})
}

// identifier finds a name wherever it stands, whatever it belongs to.
func identifier(name string) func(*sourceFile) []ast.Node {
	return func(f *sourceFile) []ast.Node {
		return collect(f.tree, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			return ok && id.Name == name
		})
	}
}

// imports finds imports of packages.
func imports(targets ...string) func(*sourceFile) []ast.Node {
	return func(f *sourceFile) []ast.Node {
		return collect(f.tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.ImportSpec)
			return ok && slices.Contains(targets, strings.Trim(spec.Path.Value, "`\""))
		})
	}
}

// selectors finds uses of a package's names, under whatever name the package was imported.
// A dot import hides them, so it counts as a use.
func selectors(target string, names ...string) func(*sourceFile) []ast.Node {
	return func(f *sourceFile) []ast.Node {
		imported := f.imports()
		return collect(f.tree, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ImportSpec); ok {
				return spec.Name != nil && spec.Name.Name == "." && imported["."] == target
			}
			selector, ok := n.(*ast.SelectorExpr)
			if !ok || !slices.Contains(names, selector.Sel.Name) {
				return false
			}
			id, ok := selector.X.(*ast.Ident)
			return ok && id.Obj == nil && imported[id.Name] == target
		})
	}
}

func either(finders ...func(*sourceFile) []ast.Node) func(*sourceFile) []ast.Node {
	return func(f *sourceFile) []ast.Node {
		var found []ast.Node
		for _, find := range finders {
			found = append(found, find(f)...)
		}
		return found
	}
}

func within(where searched, find func(*sourceFile) []ast.Node) func(*sourceFile) []ast.Node {
	return func(f *sourceFile) []ast.Node {
		if !where(f) {
			return nil
		}
		return find(f)
	}
}

func initFunction(f *sourceFile) []ast.Node {
	return collect(f.tree, func(n ast.Node) bool {
		function, ok := n.(*ast.FuncDecl)
		return ok && function.Recv == nil && function.Name.Name == "init"
	})
}

var cipherName = regexp.MustCompile(`^(aes(128|192|256)-(ctr|cbc|gcm@openssh\.com)|3des-cbc|chacha20-poly1305@openssh\.com|arcfour(128|256)?|blowfish-cbc)$`)

// sshCiphers finds cipher names as text and as constants of x/crypto/ssh.
func sshCiphers(f *sourceFile) []ast.Node {
	imported := f.imports()
	return collect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			text, err := strconv.Unquote(n.Value)
			return n.Kind == token.STRING && err == nil && cipherName.MatchString(text)
		case *ast.SelectorExpr:
			id, ok := n.X.(*ast.Ident)
			return ok && imported[id.Name] == "golang.org/x/crypto/ssh" && strings.HasPrefix(n.Sel.Name, "Cipher")
		}
		return false
	})
}

var sqlStart = regexp.MustCompile(`(?i)^\s*(select\s|insert\s+into\s|update\s|delete\s+from\s|with\s+\w+\s+as\b|create\s|drop\s|alter\s)`)

// builtSQL finds statements that are not constants: formatted, or joined with something that has no constant name.
func builtSQL(f *sourceFile) []ast.Node {
	constants := constantNames(f.tree)
	for _, sibling := range siblings(f) {
		maps.Copy(constants, constantNames(sibling))
	}
	statements := make(map[string]bool) // variables that hold a statement
	return collect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			return formatsSQL(f, n)
		case *ast.BinaryExpr:
			return n.Op == token.ADD && startsSQL(n) && !constant(n, constants)
		case *ast.AssignStmt:
			id, ok := n.Lhs[0].(*ast.Ident)
			if !ok {
				return false
			}
			if n.Tok == token.ADD_ASSIGN {
				return statements[id.Name] && !constant(n.Rhs[0], constants)
			}
			statements[id.Name] = startsSQL(n.Rhs[0])
		}
		return false
	})
}

// formatsSQL says whether a call of package fmt has a statement as its format.
func formatsSQL(f *sourceFile, call *ast.CallExpr) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	id, ok := selector.X.(*ast.Ident)
	return ok && f.imports()[id.Name] == "fmt" && slices.ContainsFunc(call.Args, startsSQL)
}

// startsSQL says whether the leftmost operand of an expression is text that opens a statement.
func startsSQL(e ast.Expr) bool {
	for {
		switch left := e.(type) {
		case *ast.BinaryExpr:
			e = left.X
		case *ast.ParenExpr:
			e = left.X
		case *ast.BasicLit:
			text, err := strconv.Unquote(left.Value)
			return err == nil && sqlStart.MatchString(text)
		default:
			return false
		}
	}
}

// constant says whether an expression consists of literals and constant names only. ForUpdate is one of two
// constants that the engines choose between: it takes no argument, so no value can travel in it.
func constant(e ast.Expr, names map[string]bool) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return true
	case *ast.Ident:
		return names[e.Name]
	case *ast.ParenExpr:
		return constant(e.X, names)
	case *ast.BinaryExpr:
		return constant(e.X, names) && constant(e.Y, names)
	case *ast.CallExpr:
		method, ok := e.Fun.(*ast.SelectorExpr)
		return ok && method.Sel.Name == "ForUpdate" && len(e.Args) == 0
	}
	return false
}

// siblings returns the other files of the package: a statement may be put together from constants of the whole room.
func siblings(f *sourceFile) []*ast.File {
	paths, err := filepath.Glob(filepath.Join(filepath.FromSlash(path.Dir(f.path)), "*.go"))
	if err != nil {
		return nil
	}
	var trees []*ast.File
	for _, name := range paths {
		if tree, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution); err == nil && filepath.ToSlash(name) != f.path {
			trees = append(trees, tree)
		}
	}
	return trees
}

// constantNames lists the constants that a file declares.
func constantNames(tree *ast.File) map[string]bool {
	names := make(map[string]bool)
	ast.Inspect(tree, func(n ast.Node) bool {
		if declared, ok := n.(*ast.GenDecl); ok && declared.Tok == token.CONST {
			for _, spec := range declared.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					names[name.Name] = true
				}
			}
		}
		return true
	})
	return names
}

// collect returns the nodes of a tree that match.
func collect(tree ast.Node, match func(ast.Node) bool) []ast.Node {
	var found []ast.Node
	ast.Inspect(tree, func(n ast.Node) bool {
		if n != nil && match(n) {
			found = append(found, n)
		}
		return true
	})
	return found
}
