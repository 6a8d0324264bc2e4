package repo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Create makes an empty repository in a project. On disk it is made first: a row without a directory would be a repository that nobody can push to.
func (s *Service) Create(ctx context.Context, by access.Caller, in project.Project, n New) (Repo, error) {
	if err := s.Access.Require(ctx, by, access.RepoCreate, in.Resource()); err != nil {
		return Repo{}, err
	}
	if n.DefaultBranch == "" {
		n.DefaultBranch = DefaultBranch
	}
	if err := checkName(n.Name); err != nil {
		return Repo{}, err
	}
	if err := checkBranch(n.DefaultBranch); err != nil {
		return Repo{}, err
	}
	now := s.Now()
	r := Repo{ID: s.NewID(), Project: in, Slug: Slug(n.Name), Name: n.Name, DefaultBranch: n.DefaultBranch, Public: n.Public, Created: now, Updated: now}
	if _, err := s.Store.BySlug(ctx, in.ID, r.Slug); err == nil {
		return Repo{}, ErrTaken
	}
	if err := s.Disk.Create(ctx, r.ID, r.DefaultBranch); err != nil {
		return Repo{}, fmt.Errorf("make repository on disk: %w", err)
	}
	made, err := s.Store.Insert(ctx, r, s.event(by, access.RepoCreate, r))
	if err != nil {
		s.clear(ctx, r.ID)
		return Repo{}, err
	}
	return made, nil
}

// event is the event of something done to a repository.
func (s *Service) event(by access.Caller, do access.Action, r Repo) audit.Event {
	e := by.Event(s.Now(), do, r.Resource(), audit.Done)
	e.Object.Name = r.Path()
	return e
}

// Path is how people name the repository: KEY/slug.
func (r Repo) Path() string { return r.Project.Key + "/" + r.Slug }

// clear removes what lies on disk for nobody any more.
func (s *Service) clear(ctx context.Context, id string) {
	if err := s.Disk.Remove(context.WithoutCancel(ctx), id); err != nil && s.OnError != nil {
		s.OnError("remove repository from disk", err)
	}
}

// ByPath finds a repository by its project's key and its slug, both in any case. It reports ErrUnknown also to who may not read it, and project.ErrUnknown for a project that is not there.
func (s *Service) ByPath(ctx context.Context, by access.Caller, key, slug string) (Repo, error) {
	return s.visible(ctx, by)(s.Find(ctx, by, key, slug))
}

// Find is ByPath for rooms that ask for rights themselves: it hides nothing.
func (s *Service) Find(ctx context.Context, by access.Caller, key, slug string) (Repo, error) {
	p, err := s.Projects.Find(ctx, by, key)
	if err != nil {
		return Repo{}, err
	}
	return s.Store.BySlug(ctx, p.ID, strings.ToLower(slug))
}

// ByID reports ErrUnknown also to who may not read it.
func (s *Service) ByID(ctx context.Context, by access.Caller, id string) (Repo, error) {
	return s.visible(ctx, by)(s.Store.ByID(ctx, id))
}

// visible hides a repository from who may not read it.
func (s *Service) visible(ctx context.Context, by access.Caller) func(Repo, error) (Repo, error) {
	return access.Visible[Repo](ctx, s.Access, by, access.RepoRead, ErrUnknown)
}

// Open finds the repository that a git command is about, for whoever may read it, or write to it. It reports ErrUnknown to who may not read it, a Denied fault to who may read and not write.
func (s *Service) Open(ctx context.Context, by access.Caller, key, slug string, write bool) (Repo, error) {
	r, err := s.ByPath(ctx, by, key, slug)
	if fault.Is(err, fault.NotFound) {
		err = ErrUnknown // whether the project is there is no stranger's to know
	}
	if err != nil || !write {
		return r, err
	}
	return r, s.Allow(ctx, by, r, true)
}

// Allow returns nil where the caller may read the repository now, or write to it, and a Denied fault otherwise.
func (s *Service) Allow(ctx context.Context, by access.Caller, r Repo, write bool) error {
	do := access.RepoRead
	if write {
		do = access.RepoWrite
	}
	return s.Access.Require(ctx, by, do, r.Resource())
}

// OfProject returns, by number, those repositories of a project that the caller may read.
func (s *Service) OfProject(ctx context.Context, by access.Caller, in project.Project, w page.Window) (page.Page[Repo], error) {
	anywhere := access.Resource{Kind: access.RepoKind, Parents: []access.Resource{access.Project(in.ID)}, Open: in.Public}
	d, err := s.Access.Decide(ctx, by, access.RepoRead, anywhere)
	if err != nil {
		return page.Page[Repo]{}, err
	}
	if d.Allowed {
		return s.Store.OfProject(ctx, in.ID, true, nil, w)
	}
	_, ids, err := s.Access.Reach(ctx, by, access.RepoRead, access.RepoKind)
	if err != nil {
		return page.Page[Repo]{}, err
	}
	anywhere.Open = true
	if d, err = s.Access.Decide(ctx, by, access.RepoRead, anywhere); err != nil {
		return page.Page[Repo]{}, err
	}
	if !d.Allowed { // a token or key of another place, or one that reads nothing: what anybody may read is not for it (rule G1)
		return s.those(ctx, in, ids, w)
	}
	return s.Store.OfProject(ctx, in.ID, false, ids, w)
}

// those are the repositories of ids that lie in a project: of a token or key of one place, at most one.
func (s *Service) those(ctx context.Context, in project.Project, ids []string, w page.Window) (page.Page[Repo], error) {
	p := page.Page[Repo]{Window: w}
	for _, id := range ids {
		r, err := s.Store.ByID(ctx, id)
		switch {
		case fault.Is(err, fault.NotFound) || err == nil && r.Project.ID != in.ID:
			continue
		case err != nil:
			return page.Page[Repo]{}, err
		case p.Total >= w.Offset && int64(len(p.Items)) < w.Limit:
			p.Items = append(p.Items, r)
		}
		p.Total++
	}
	return p, nil
}

// Change is what an update alters; nil keeps what is there. The slug stays: addresses of clones hold it.
type Change struct {
	Name          *string
	DefaultBranch *string
	Public        *bool
}

// Update changes a repository.
func (s *Service) Update(ctx context.Context, by access.Caller, r Repo, in Change) (Repo, error) {
	if err := s.Access.Require(ctx, by, access.RepoUpdate, r.Resource()); err != nil {
		return Repo{}, err
	}
	now := s.Now()
	return s.Store.Change(ctx, r.ID, func(r Repo) (Repo, error) {
		if in.Name != nil {
			r.Name = *in.Name
		}
		if in.DefaultBranch != nil {
			r.DefaultBranch = *in.DefaultBranch
		}
		if in.Public != nil {
			r.Public = *in.Public
		}
		r.Updated = now
		if err := checkName(r.Name); err != nil {
			return Repo{}, err
		}
		return r, checkBranch(r.DefaultBranch)
	}, s.event(by, access.RepoUpdate, r))
}

// Delete removes a repository, and then what git kept of it.
func (s *Service) Delete(ctx context.Context, by access.Caller, r Repo) error {
	if err := s.Access.Require(ctx, by, access.RepoDelete, r.Resource()); err != nil {
		return err
	}
	if err := s.Store.Delete(ctx, r.ID, s.event(by, access.RepoDelete, r)); err != nil {
		return err
	}
	s.clear(ctx, r.ID)
	return nil
}

// maxSaid is how many moved references the audit event of a push names.
const maxSaid = 20

// RecordPush keeps which references a push moved: who did it, by which credential, when and from where. What is done is kept even where ctx has ended
// meanwhile, because the client has gone. A push that moved nothing leaves nothing behind.
func (s *Service) RecordPush(ctx context.Context, by access.Caller, r Repo, refs []Ref) error {
	if len(refs) == 0 {
		return nil
	}
	p := Pushed{ID: s.NewID(), Repo: r.ID, Actor: by.Principal, Credential: by.Credential, Door: by.Door, At: s.Now(), Refs: slices.Clone(refs)}
	if by.Address.IsValid() {
		p.Address = by.Address.String()
	}
	for i := range p.Refs {
		p.Refs[i].fill()
	}
	e := s.event(by, access.RepoWrite, r)
	for i, ref := range p.Refs[:min(len(p.Refs), maxSaid)] {
		e = e.With("ref_"+strconv.Itoa(i+1), ref.Name+" "+ref.Old+" "+ref.New)
	}
	e = e.With("refs", strconv.Itoa(len(p.Refs)))
	return s.Store.InsertPush(context.WithoutCancel(ctx), p, e)
}

// Pushes lists who pushed what to a repository, newest first, for who may change it.
func (s *Service) Pushes(ctx context.Context, by access.Caller, r Repo, w page.Window) (page.Page[Pushed], error) {
	if err := s.Access.Require(ctx, by, access.RepoUpdate, r.Resource()); err != nil {
		return page.Page[Pushed]{}, err
	}
	return s.Store.Pushes(ctx, r.ID, w)
}
