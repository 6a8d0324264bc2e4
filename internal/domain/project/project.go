// Package project keeps projects: what API keys, proofs and their limits belong to.
//
// A project has a key, upper case and unique, by which people name it, and an id by which everything
// else does. Who may not see a project is told that there is none. Everybody may have one personal project, whose key is ~NAME: it
// is made when it is first needed.
package project

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Project is one project.
type Project struct {
	ID   string
	Key  string // upper case, unique in the installation, never changed
	Name string
	Settings
	Description string
	Public      bool   // anybody may read it and its repositories
	Restricted  bool   // only its administrators change its repositories' settings
	Owner       string // id of the user whose personal project it is; empty for every other
	Number      int64  // for wires that know it by an integer; the store gives it, and never twice
	Created     time.Time
	Updated     time.Time
}

// Settings are what a project's administrator may turn.
type Settings struct {
	StrictStatus bool // show expired verify sessions as failed, for callers that know only the schema
	RatePerHour  *int // requests per hour; nil is the installation's default, 0 is no limit
}

// Rate returns the requests per hour, given the installation's default. 0 is no limit.
func (s Settings) Rate(fallback int) int {
	if s.RatePerHour == nil {
		return fallback
	}
	return *s.RatePerHour
}

// Resource is the project as rights are asked for it.
func (p Project) Resource() access.Resource {
	return access.Resource{Kind: access.ProjectKind, ID: p.ID, Open: p.Public}
}

// Personal reports whether it is somebody's own.
func (p Project) Personal() bool { return p.Owner != "" }

const (
	maxName        = 255 // characters
	maxDescription = 1024
	maxRate        = 1_000_000
)

// The faults of this room.
var (
	ErrUnknown  = fault.New(fault.NotFound, "project not found")
	ErrKeyTaken = fault.New(fault.Conflict, "a project with that key exists")
	ErrNotEmpty = fault.New(fault.Conflict, "the project still has repositories or key proofs; remove those first")
)

// Store keeps projects.
type Store interface {
	// Insert adds p, gives it the next number, gives admin, where it is not zero, to its subject, and records e, all or nothing. It returns p as it is. It
	// reports ErrKeyTaken.
	Insert(ctx context.Context, p Project, admin access.Binding, e audit.Event) (Project, error)
	// Delete removes the project with its keys, its bindings and the tokens for it, records e and tells all nodes, all or nothing. It reports ErrUnknown and ErrNotEmpty.
	Delete(ctx context.Context, id string, e audit.Event) error
	// Change loads the project, hands it to decide and stores what that returns together with e, all
	// or nothing. decide may run more than once. It reports ErrUnknown.
	Change(ctx context.Context, id string, decide func(Project) (Project, error), e audit.Event) (Project, error)
	// ByID reports ErrUnknown.
	ByID(ctx context.Context, id string) (Project, error)
	// ByKey finds a project by its folded key. It reports ErrUnknown.
	ByKey(ctx context.Context, key string) (Project, error)
	// List returns projects in the order of their keys.
	List(ctx context.Context, w page.Window) (page.Page[Project], error)
	// Some returns, by number, projects whose name begins with a text in any case: all, or those that are public or among ids.
	Some(ctx context.Context, name string, all bool, ids []string, w page.Window) (page.Page[Project], error)
}

// Service makes, finds and changes projects.
type Service struct {
	Store    Store
	Access   *access.Service
	Now      func() time.Time
	NewID    func() string
	CacheFor time.Duration // how long SettingsOf may answer from memory; at most 2 s

	mu     sync.Mutex
	cached map[string]cachedSettings
	era    uint64 // counts Forget: what was read before the last one is not kept
}

// FoldKey returns the form in which a key is stored.
func FoldKey(key string) string { return strings.ToUpper(key) }

var keyPattern = regexp.MustCompile(`^[A-Z][A-Z0-9_-]{0,127}$`)

// CheckKey returns why a project cannot have the key, or nil.
func CheckKey(key string) error {
	if !isASCII(key) || !keyPattern.MatchString(FoldKey(key)) {
		return fault.New(fault.Invalid, "a project key begins with a letter and holds up to 128 letters, digits, underscores and hyphens")
	}
	return nil
}

// isASCII keeps out letters such as ı, whose upper case is a letter that the pattern allows.
func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}

// check returns why a project cannot be kept so, or nil.
func (p Project) check() error {
	if err := checkName(p.Name); err != nil {
		return err
	}
	if !utf8.ValidString(p.Description) || utf8.RuneCountInString(p.Description) > maxDescription || strings.ContainsRune(p.Description, 0) {
		return fault.Fields("a project's description has at most 1024 characters", fault.Field{Path: "description", Message: "at most 1024 characters"})
	}
	return p.checkSettings()
}

func (s Settings) checkSettings() error {
	if s.RatePerHour != nil && (*s.RatePerHour < 0 || *s.RatePerHour > maxRate) {
		return fault.Newf(fault.Invalid, "requests per hour lie between 0 and %d", maxRate)
	}
	return nil
}

func checkName(name string) error {
	if n := utf8.RuneCountInString(name); n < 1 || n > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fault.Newf(fault.Invalid, "a project name has 1 to %d characters and no control characters", maxName)
	}
	return nil
}

// New is what a project is made from.
type New struct {
	Key, Name   string // without a name the key is one
	Description string
	Public      bool
}

// Create makes a project with default settings. A person who makes one is its administrator.
func (s *Service) Create(ctx context.Context, by access.Caller, in New) (Project, error) {
	if err := s.Access.Require(ctx, by, access.ProjectCreate, access.Installation); err != nil {
		return Project{}, err
	}
	if err := CheckKey(in.Key); err != nil {
		return Project{}, err
	}
	if in.Name == "" {
		in.Name = in.Key
	}
	return s.make(ctx, by, Project{Key: FoldKey(in.Key), Name: in.Name, Description: in.Description, Public: in.Public}, by.ID)
}

// make adds a project whose administrator is a user, where admin is the id of one.
func (s *Service) make(ctx context.Context, by access.Caller, p Project, admin string) (Project, error) {
	if err := p.check(); err != nil {
		return Project{}, err
	}
	p.ID, p.Created = s.NewID(), s.Now()
	p.Updated = p.Created
	e := by.Event(p.Created, access.ProjectCreate, p.Resource(), audit.Done)
	e.Object.Name = p.Key
	binding := access.Binding{}
	if by.Kind == access.User {
		binding = access.Binding{ID: s.NewID(), Subject: access.Subject{Kind: access.User, ID: admin}, Role: access.ProjectAdmin, Resource: p.Resource(), Created: p.Created}
	}
	return s.Store.Insert(ctx, p, binding, e)
}

// ByID finds a project. It reports ErrUnknown also to who may not read it.
func (s *Service) ByID(ctx context.Context, by access.Caller, id string) (Project, error) {
	return s.visible(ctx, by)(s.Store.ByID(ctx, id))
}

// ByKey finds a project by its key in any case; the caller's own personal one is made where it is not there yet,
// unless the caller is a token or key of theirs. It reports ErrUnknown also to who may not read it.
func (s *Service) ByKey(ctx context.Context, by access.Caller, key string) (Project, error) {
	p, err := s.Find(ctx, by, key)
	return s.visible(ctx, by)(p, err)
}

// Find is ByKey for rooms that ask for rights themselves: it hides nothing.
func (s *Service) Find(ctx context.Context, by access.Caller, key string) (Project, error) {
	p, err := s.Store.ByKey(ctx, FoldKey(key))
	isOwner := by.Kind == access.User && by.Credential == "" && hasPersonal(by.Name) && FoldKey(key) == personalKey(by.Name)
	if !errors.Is(err, ErrUnknown) || !isOwner {
		return p, err
	}
	p, err = s.make(ctx, by, Project{Key: personalKey(by.Name), Name: by.Name, Owner: by.ID}, by.ID)
	if errors.Is(err, ErrKeyTaken) { // another request was first
		return s.Store.ByKey(ctx, FoldKey(key))
	}
	return p, err
}

// personalKey is the key of a user's personal project. Users keep their names.
func personalKey(name string) string { return FoldKey("~" + identity.Fold(name)) }

// hasPersonal reports whether nobody else's name leads to the same key: ı in upper case is I, and i is too.
func hasPersonal(name string) bool {
	return identity.Fold(personalKey(name)) == "~"+identity.Fold(name)
}

// visible hides a project from who may not read it.
func (s *Service) visible(ctx context.Context, by access.Caller) func(Project, error) (Project, error) {
	return access.Visible[Project](ctx, s.Access, by, access.ProjectRead, ErrUnknown)
}

// List returns the installation's projects in the order of their keys.
func (s *Service) List(ctx context.Context, by access.Caller, w page.Window) (page.Page[Project], error) {
	if err := s.Access.Require(ctx, by, access.ProjectRead, access.Installation); err != nil {
		return page.Page[Project]{}, err
	}
	return s.Store.List(ctx, w)
}

// Visible returns, by number, the projects that the caller may read and whose name begins with a text in any case.
func (s *Service) Visible(ctx context.Context, by access.Caller, name string, w page.Window) (page.Page[Project], error) {
	all, ids, err := s.Access.Reach(ctx, by, access.ProjectRead, access.ProjectKind)
	if err != nil {
		return page.Page[Project]{}, err
	}
	open := access.Resource{Kind: access.ProjectKind, Open: true}
	d, err := s.Access.Decide(ctx, by, access.ProjectRead, open)
	if err != nil {
		return page.Page[Project]{}, err
	}
	if !d.Allowed { // a token or key of one place, or one that reads nothing: what anybody may read is not for it (rule G1)
		return s.those(ctx, name, ids, w)
	}
	return s.Store.Some(ctx, name, all, ids, w)
}

// those are the projects of ids whose name begins with a text in any case: of a token or key of one place, at most one.
func (s *Service) those(ctx context.Context, name string, ids []string, w page.Window) (page.Page[Project], error) {
	found := page.Page[Project]{Window: w}
	for _, id := range ids {
		p, err := s.Store.ByID(ctx, id)
		switch {
		case errors.Is(err, ErrUnknown) || err == nil && !strings.HasPrefix(identity.Fold(p.Name), identity.Fold(name)):
			continue
		case err != nil:
			return page.Page[Project]{}, err
		case found.Total >= w.Offset && int64(len(found.Items)) < w.Limit:
			found.Items = append(found.Items, p)
		}
		found.Total++
	}
	return found, nil
}

// Delete removes a project that holds nothing any more. It reports ErrUnknown also to who may not read it, and ErrNotEmpty.
func (s *Service) Delete(ctx context.Context, by access.Caller, id string) error {
	p, err := s.ByID(ctx, by, id)
	if err != nil {
		return err
	}
	if err := s.Access.Require(ctx, by, access.ProjectDelete, p.Resource()); err != nil {
		return err
	}
	e := by.Event(s.Now(), access.ProjectDelete, p.Resource(), audit.Done)
	e.Object.Name = p.Key
	err = s.Store.Delete(ctx, id, e)
	s.Forget(id)
	return err
}

// Change is what an update alters; nil keeps what is there.
type Change struct {
	Name        *string
	Description *string
	Public      *bool
	Restricted  *bool
	Settings    *Settings
}

// Update changes a project. It reports ErrUnknown also to who may not read it.
func (s *Service) Update(ctx context.Context, by access.Caller, id string, in Change) (Project, error) {
	if _, err := s.ByID(ctx, by, id); err != nil {
		return Project{}, err
	}
	if err := s.Access.Require(ctx, by, access.ProjectUpdate, access.Project(id)); err != nil {
		return Project{}, err
	}
	now := s.Now()
	p, err := s.Store.Change(ctx, id, func(p Project) (Project, error) {
		if in.Name != nil {
			p.Name = *in.Name
		}
		if in.Description != nil {
			p.Description = *in.Description
		}
		if in.Public != nil {
			p.Public = *in.Public
		}
		if in.Restricted != nil {
			p.Restricted = *in.Restricted
		}
		if in.Settings != nil {
			p.Settings = *in.Settings
		}
		p.Updated = now
		return p, p.check()
	}, by.Event(now, access.ProjectUpdate, access.Project(id), audit.Done))
	s.Forget(id)
	return p, err
}
