// Package repo keeps the git repositories of projects: what they are called, who may see them, and who pushed what.
//
// What git itself keeps lies on disk under the repository's id, so that no name ever becomes a path. Both git doors ask Open before git is
// started, and Allow once more before references move: a right that was taken away in between moves nothing. Who may not see a
// repository is told that there is none.
package repo

import (
	"cmp"
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Repo is one repository.
type Repo struct {
	ID            string
	Number        int64 // for wires that know it by an integer; the store gives it, and never twice
	Project       project.Project
	Slug          string // lower case, unique in the project, never changed
	Name          string
	DefaultBranch string
	Public        bool // anybody may read it
	Created       time.Time
	Updated       time.Time
}

// Open reports whether anybody may read it.
func (r Repo) Open() bool { return r.Public || r.Project.Public }

// Resource is the repository as rights are asked for it.
func (r Repo) Resource() access.Resource {
	on := access.Repo(r.Project.ID, r.ID)
	on.Open, on.Reserved = r.Open(), r.Project.Restricted
	return on
}

// Ref is a reference that a push moved. Old and New are object names in hexadecimal, all zeros where there was or is none; who records a push may
// leave such a one empty.
type Ref struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// fill writes out what is empty, as long as the other one.
func (r *Ref) fill() {
	none := strings.Repeat("0", max(len(r.Old), len(r.New)))
	r.Old, r.New = cmp.Or(r.Old, none), cmp.Or(r.New, none)
}

// Pushed is a push as it was recorded.
type Pushed struct {
	ID         string
	Repo       string
	Actor      access.Principal
	Credential string // id of the token or key by which it came; empty: a session or password
	Address    string
	Door       string
	At         time.Time
	Refs       []Ref
}

const (
	maxName = 128 // characters
	// DefaultBranch is the branch that new repositories begin with.
	DefaultBranch = "main"
)

// The faults of this room.
var (
	ErrUnknown = fault.New(fault.NotFound, "repository not found")
	ErrTaken   = fault.New(fault.Conflict, "a repository of that name exists in the project")
)

// Store keeps repositories.
type Store interface {
	// Insert adds r, gives it the next number, which is returned, and records e, all or nothing. It reports ErrTaken and project.ErrUnknown.
	Insert(ctx context.Context, r Repo, e audit.Event) (Repo, error)
	// Change loads the repository, hands it to decide and keeps name, default branch and visibility of what that returns, and e, all or nothing. It reports ErrUnknown.
	Change(ctx context.Context, id string, decide func(Repo) (Repo, error), e audit.Event) (Repo, error)
	// Delete removes the repository with what is held on it, records e and tells all nodes, all or nothing. It reports ErrUnknown.
	Delete(ctx context.Context, id string, e audit.Event) error
	// ByID and BySlug report ErrUnknown.
	ByID(ctx context.Context, id string) (Repo, error)
	BySlug(ctx context.Context, project, slug string) (Repo, error)
	// OfProject returns, by number, a project's repositories: all, or those that are public or among ids.
	OfProject(ctx context.Context, project string, all bool, ids []string, w page.Window) (page.Page[Repo], error)
	// InsertPush records a push and e, both or neither.
	InsertPush(ctx context.Context, p Pushed, e audit.Event) error
	// Pushes lists the pushes to a repository, newest first.
	Pushes(ctx context.Context, repo string, w page.Window) (page.Page[Pushed], error)
}

// Disk makes and removes what git keeps, by the repository's id.
type Disk interface {
	Create(ctx context.Context, id, defaultBranch string) error
	// Remove reports no error for what is not there.
	Remove(ctx context.Context, id string) error
}

// Service makes, finds and changes repositories.
type Service struct {
	Store    Store
	Access   *access.Service
	Projects *project.Service
	Disk     Disk
	Now      func() time.Time
	NewID    func() string
	OnError  func(doing string, err error) // hears of errors that no caller sees
}

// New is what a repository is made from.
type New struct {
	Name          string
	DefaultBranch string // "main" when empty
	Public        bool
}

// Slug is the form of a name in addresses: lower case, with hyphens for what is neither letter, digit, dot, underscore nor hyphen. It is "" where
// nothing is left that could be one.
func Slug(name string) string {
	slug := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, strings.TrimSpace(name))
	slug = strings.TrimSuffix(slug, ".git")
	if !IsSlug(slug) {
		return ""
	}
	return slug
}

// IsSlug reports whether a text can be a slug: it begins and ends with a letter or digit, so it is neither an option nor a way out of a directory (rule S17).
func IsSlug(text string) bool {
	if text == "" || len(text) > maxName || strings.Contains(text, "..") || strings.HasSuffix(text, ".git") || strings.HasSuffix(text, ".lock") {
		return false
	}
	isEdge := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }
	foreign := func(r rune) bool { return !isEdge(r) && !strings.ContainsRune("._-", r) }
	return isEdge(rune(text[0])) && isEdge(rune(text[len(text)-1])) && !strings.ContainsFunc(text, foreign)
}

func checkName(name string) error {
	if n := utf8.RuneCountInString(name); n < 1 || n > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || Slug(name) == "" {
		return fault.Fields("a repository's name has 1 to 128 characters, and begins and ends with a letter or digit of ASCII",
			fault.Field{Path: "name", Message: "1 to 128 characters that begin and end with a letter or digit of ASCII"})
	}
	return nil
}

// checkBranch keeps out what git refuses as the name of a branch, and what could be taken for an option (git-check-ref-format(1)).
func checkBranch(name string) error {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }
	if name == "" || len(name) > 255 || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) || strings.HasPrefix(name, "-") || name == "@" || name == "HEAD" ||
		strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.Contains(name, "//") || strings.HasSuffix(name, "/") || strings.HasPrefix(name, "/") ||
		badComponent(name) {
		return fault.Fields("that cannot be the name of a branch", fault.Field{Path: "default_branch", Message: "the name of a branch, such as main"})
	}
	return nil
}

func badComponent(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") || strings.HasSuffix(part, ".") {
			return true
		}
	}
	return false
}
