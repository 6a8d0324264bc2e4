// Package project keeps projects: what API keys, proofs and their limits belong to.
//
// A project has a key, upper case and unique, by which people name it, and an id by which everything
// else does. Who may not see a project is told that there is none.
package project

import (
	"context"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Project is one project.
type Project struct {
	ID   string
	Key  string // upper case, unique in the installation, never changed
	Name string
	Settings
	Created time.Time
	Updated time.Time
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

const (
	maxName = 255 // characters
	maxRate = 1_000_000
)

// The faults of this room.
var (
	ErrUnknown  = fault.New(fault.NotFound, "project not found")
	ErrKeyTaken = fault.New(fault.Conflict, "a project with that key exists")
)

// Store keeps projects.
type Store interface {
	// Insert adds p and records e, both or neither. It reports ErrKeyTaken.
	Insert(ctx context.Context, p Project, e audit.Event) error
	// Change loads the project, hands it to decide and stores what that returns together with e, all
	// or nothing. decide may run more than once. It reports ErrUnknown.
	Change(ctx context.Context, id string, decide func(Project) (Project, error), e audit.Event) (Project, error)
	// ByID reports ErrUnknown.
	ByID(ctx context.Context, id string) (Project, error)
	// ByKey finds a project by its folded key. It reports ErrUnknown.
	ByKey(ctx context.Context, key string) (Project, error)
	// List returns projects in the order of their keys.
	List(ctx context.Context, w page.Window) (page.Page[Project], error)
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

var keyPattern = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,127}$`)

// CheckKey returns why a project cannot have the key, or nil.
func CheckKey(key string) error {
	if !isASCII(key) || !keyPattern.MatchString(FoldKey(key)) {
		return fault.New(fault.Invalid, "a project key begins with a letter and holds up to 128 letters, digits and underscores")
	}
	return nil
}

// isASCII keeps out letters such as ı, whose upper case is a letter that the pattern allows.
func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}

func checkName(name string) error {
	if n := utf8.RuneCountInString(name); n < 1 || n > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fault.Newf(fault.Invalid, "a project name has 1 to %d characters and no control characters", maxName)
	}
	return nil
}

// Create makes a project with default settings.
func (s *Service) Create(ctx context.Context, by access.Caller, key, name string) (Project, error) {
	id := s.NewID()
	if err := s.Access.Require(ctx, by, access.ProjectCreate, access.Installation); err != nil {
		return Project{}, err
	}
	if err := CheckKey(key); err != nil {
		return Project{}, err
	}
	if err := checkName(name); err != nil {
		return Project{}, err
	}
	now := s.Now()
	p := Project{ID: id, Key: FoldKey(key), Name: name, Created: now, Updated: now}
	e := by.Event(now, access.ProjectCreate, access.Project(id), audit.Done)
	e.Object.Name = p.Key
	if err := s.Store.Insert(ctx, p, e); err != nil {
		return Project{}, err
	}
	return p, nil
}

// ByID finds a project. It reports ErrUnknown also to who may not read it.
func (s *Service) ByID(ctx context.Context, by access.Caller, id string) (Project, error) {
	return s.visible(ctx, by)(s.Store.ByID(ctx, id))
}

// ByKey finds a project by its key in any case. It reports ErrUnknown also to who may not read it.
func (s *Service) ByKey(ctx context.Context, by access.Caller, key string) (Project, error) {
	return s.visible(ctx, by)(s.Store.ByKey(ctx, FoldKey(key)))
}

// visible hides a project from who may not read it.
func (s *Service) visible(ctx context.Context, by access.Caller) func(Project, error) (Project, error) {
	return func(p Project, err error) (Project, error) {
		if err == nil {
			err = s.Access.Require(ctx, by, access.ProjectRead, access.Project(p.ID))
		}
		if fault.Is(err, fault.Denied) {
			err = ErrUnknown
		}
		if err != nil {
			return Project{}, err
		}
		return p, nil
	}
}

// List returns the installation's projects in the order of their keys.
func (s *Service) List(ctx context.Context, by access.Caller, w page.Window) (page.Page[Project], error) {
	if err := s.Access.Require(ctx, by, access.ProjectRead, access.Installation); err != nil {
		return page.Page[Project]{}, err
	}
	return s.Store.List(ctx, w)
}

// Change is what an update alters; nil keeps what is there.
type Change struct {
	Name     *string
	Settings *Settings
}

// Update changes a project. It reports ErrUnknown also to who may not read it.
func (s *Service) Update(ctx context.Context, by access.Caller, id string, in Change) (Project, error) {
	if _, err := s.ByID(ctx, by, id); err != nil {
		return Project{}, err
	}
	if err := s.Access.Require(ctx, by, access.ProjectUpdate, access.Project(id)); err != nil {
		return Project{}, err
	}
	if err := in.check(); err != nil {
		return Project{}, err
	}
	now := s.Now()
	p, err := s.Store.Change(ctx, id, func(p Project) (Project, error) {
		if in.Name != nil {
			p.Name = *in.Name
		}
		if in.Settings != nil {
			p.Settings = *in.Settings
		}
		p.Updated = now
		return p, nil
	}, by.Event(now, access.ProjectUpdate, access.Project(id), audit.Done))
	s.Forget(id)
	return p, err
}

func (c Change) check() error {
	if c.Name != nil {
		if err := checkName(*c.Name); err != nil {
			return err
		}
	}
	if c.Settings == nil || c.Settings.RatePerHour == nil {
		return nil
	}
	if rate := *c.Settings.RatePerHour; rate < 0 || rate > maxRate {
		return fault.Newf(fault.Invalid, "requests per hour lie between 0 and %d", maxRate)
	}
	return nil
}
