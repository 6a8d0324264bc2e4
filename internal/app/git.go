package app

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api/bitbucket"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/git"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/sshd"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// errNoGit is the answer to who wants a repository made or removed where there is no git.
var errNoGit = fault.New(fault.Conflict, "git is not installed on this machine; install it and try again")

// gitWait is how long git may take to say where its parts are.
const gitWait = 10 * time.Second

// buildRepos makes the service of repositories. Git is looked for when it is first needed: most commands need none, and make no folder for it.
func (h *House) buildRepos() {
	h.git = sync.OnceValues(h.openGit)
	h.Repos = &repo.Service{
		Store: store.Repos{DB: h.DB}, Access: h.Access, Projects: h.Projects, Disk: disk{h}, Now: h.Now, NewID: newID, OnError: h.failed,
	}
}

// Git returns the repositories on disk and the git that serves them. It reports git.ErrNoGit where git is not installed.
func (h *House) Git() (*git.Repositories, error) { return h.git() }

func (h *House) openGit() (*git.Repositories, error) {
	ctx, cancel := context.WithTimeout(context.Background(), gitWait)
	defer cancel()
	c, limits := h.Config.Git, git.DefaultLimits()
	limits.Push, limits.Request, limits.Refs, limits.Memory = c.MaxPush, c.MaxRequest, c.MaxRefs, c.MaxMemory
	limits.Queue, limits.Idle, limits.Total, limits.Recheck = c.QueueWait, c.IdleTimeout, c.Timeout, c.Recheck
	if c.Parallel > 0 {
		limits.Running = c.Parallel
	}
	served, err := git.Open(ctx, filepath.Join(h.Config.Data, "git"), limits)
	if err != nil {
		return nil, err
	}
	served.Observe = h.metrics.gitRan
	return served, nil
}

// disk makes and removes what git keeps.
type disk struct{ h *House }

var _ repo.Disk = disk{}

// Create implements repo.Disk.
func (d disk) Create(ctx context.Context, id, branch string) error {
	served, err := d.served()
	if err != nil {
		return err
	}
	return served.Create(ctx, id, branch)
}

// Remove implements repo.Disk.
func (d disk) Remove(ctx context.Context, id string) error {
	served, err := d.served()
	if err != nil {
		return err
	}
	return served.Remove(ctx, id)
}

func (d disk) served() (*git.Repositories, error) {
	served, err := d.h.Git()
	if errors.Is(err, git.ErrNoGit) {
		return nil, errNoGit
	}
	return served, err
}

// findGit looks for git before the doors open. A machine without it serves everything else.
func (s *Server) findGit() error {
	_, err := s.Git()
	if errors.Is(err, git.ErrNoGit) {
		s.Log.Warn("git is not installed: repositories are not served", slog.String("error", err.Error()))
		return nil
	}
	return err
}

// gitOverHTTP is the door of git's clients below /scm.
func (s *Server) gitOverHTTP() *bitbucket.Git {
	door := &bitbucket.Git{Login: s.Login, Repos: s.Repos, Now: s.Now, Cookies: s.cookies(), Passwords: s.Config.Git.HTTPPassword, BodyWait: bodyWait, OnError: s.failed}
	if served, err := s.Git(); err == nil {
		door.Served = served
	}
	return door
}

// gitOverSSH is what stands behind the SSH user name git.
func (s *Server) gitOverSSH() *sshd.Git {
	door := &sshd.Git{Keys: s.Keys, Repos: s.Repos}
	if served, err := s.Git(); err == nil {
		door.Served = served
	}
	return door
}

// maintainGit clears away what crashes left, now, and then from time to time clears away again and packs what needs it, until ctx ends. All nodes may do
// so: git itself locks a repository that it packs.
func (s *Server) maintainGit(ctx context.Context) {
	served, err := s.Git()
	if err != nil {
		return
	}
	tick := time.NewTicker(s.Config.Git.MaintainEvery)
	defer tick.Stop()
	for {
		if err := served.Sweep(ctx, s.Now()); err != nil && ctx.Err() == nil {
			s.failed("sweep repositories", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.packAll(ctx, served)
		}
	}
}

// packAll packs one repository after the other.
func (s *Server) packAll(ctx context.Context, served *git.Repositories) {
	by := access.SystemCaller(s.Now())
	projects := func(w page.Window) (page.Page[project.Project], error) { return s.Projects.List(ctx, by, w) }
	err := each(projects, func(p project.Project) error {
		repos := func(w page.Window) (page.Page[repo.Repo], error) { return s.Repos.OfProject(ctx, by, p, w) }
		return each(repos, func(r repo.Repo) error {
			if err := served.Maintain(ctx, r.ID); err != nil && ctx.Err() == nil {
				s.failed("maintain repository "+r.ID, err)
			}
			return ctx.Err()
		})
	})
	if err != nil && ctx.Err() == nil {
		s.failed("list repositories to maintain", err)
	}
}

// each does something with all entries of a listing, page by page.
func each[T any](list func(page.Window) (page.Page[T], error), work func(T) error) error {
	for start := int64(0); ; {
		part, err := list(page.Of(start, page.MaxLimit))
		if err != nil {
			return err
		}
		for _, one := range part.Items {
			if err := work(one); err != nil {
				return err
			}
		}
		start += int64(len(part.Items))
		if !part.HasMore() || len(part.Items) == 0 {
			return nil
		}
	}
}

func (m *metrics) gitRan(r git.Ran) {
	service := string(r.Service)
	m.gitEnded.WithLabelValues(service, string(r.Outcome)).Inc()
	m.gitTook.WithLabelValues(service).Observe(r.Took.Seconds())
	m.gitQueued.Observe(r.Waited.Seconds())
	m.gitBytes.WithLabelValues("in").Add(float64(r.In))
	m.gitBytes.WithLabelValues("out").Add(float64(r.Out))
}
