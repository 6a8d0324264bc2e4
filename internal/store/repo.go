package store

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Repos keeps git repositories, but not what git keeps of them.
type Repos struct{ DB *DB }

var _ repo.Store = Repos{}

const selectRepo = `SELECT r.id, r.number, r.slug, r.name, r.default_branch, r.public, r.created, r.updated,
	p.id, p.key, p.name, p.strict_status, p.rate_per_hour, p.created, p.updated, p.number, p.description, p.public, p.restricted, p.owner
	FROM repos r JOIN projects p ON p.id = r.project`

func scanRepo(scan Scan) (repo.Repo, error) {
	var r repo.Repo
	p, err := scanProject(func(dest ...any) error {
		return scan(append([]any{&r.ID, &r.Number, &r.Slug, &r.Name, &r.DefaultBranch, &r.Public, ScanTime(&r.Created), ScanTime(&r.Updated)}, dest...)...)
	})
	r.Project = p
	return r, err
}

func takenRepo(err error) error {
	switch {
	case Violates(err, "repos_slug_key"):
		return repo.ErrTaken
	case ViolatesKind(err, ForeignKey):
		return project.ErrUnknown
	case Absent(err):
		return repo.ErrUnknown
	}
	return err
}

// Insert implements repo.Store.
func (s Repos) Insert(ctx context.Context, r repo.Repo, e audit.Event) (repo.Repo, error) {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		if r.Number, err = nextNumber(ctx, tx, "repo"); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO repos (id, number, project, slug, name, default_branch, public, created, updated) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			r.ID, r.Number, r.Project.ID, r.Slug, r.Name, r.DefaultBranch, r.Public, Micros(r.Created), Micros(r.Updated))
		if err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	return r, takenRepo(err)
}

// Change implements repo.Store.
func (s Repos) Change(ctx context.Context, id string, decide func(repo.Repo) (repo.Repo, error), e audit.Event) (repo.Repo, error) {
	var is repo.Repo
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		was, err := One(ctx, tx, scanRepo, selectRepo+` WHERE r.id = $1`+s.DB.ForUpdate(), id)
		if err != nil {
			return err
		}
		if is, err = decide(was); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE repos SET name = $2, default_branch = $3, public = $4, updated = $5 WHERE id = $1`, id, is.Name, is.DefaultBranch, is.Public, Micros(is.Updated))
		if err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	return is, takenRepo(err)
}

// Delete implements repo.Store.
func (s Repos) Delete(ctx context.Context, id string, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `DELETE FROM repos WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return repo.ErrUnknown
		}
		if err := s.DB.forgetPlace(ctx, tx, access.RepoKind, id); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

// ByID implements repo.Store.
func (s Repos) ByID(ctx context.Context, id string) (repo.Repo, error) {
	return s.one(ctx, selectRepo+` WHERE r.id = $1`, id)
}

// BySlug implements repo.Store.
func (s Repos) BySlug(ctx context.Context, project, slug string) (repo.Repo, error) {
	return s.one(ctx, selectRepo+` WHERE r.project = $1 AND r.slug = $2`, project, slug)
}

func (s Repos) one(ctx context.Context, query string, args ...any) (repo.Repo, error) {
	var r repo.Repo
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		r, err = One(ctx, tx, scanRepo, query, args...)
		return err
	})
	return r, takenRepo(err)
}

// OfProject implements repo.Store.
func (s Repos) OfProject(ctx context.Context, project string, all bool, ids []string, w page.Window) (page.Page[repo.Repo], error) {
	return visible[repo.Repo]{scan: scanRepo, query: selectRepo + ` WHERE r.project = $1`, args: []any{project}, table: "r.", all: all, ids: ids}.page(ctx, s.DB, w)
}

func scanPush(scan Scan) (repo.Pushed, error) {
	var p repo.Pushed
	err := scan(&p.ID, &p.Repo, &p.Actor.Kind, &p.Actor.ID, &p.Actor.Name, &p.Credential, &p.Address, &p.Door, ScanJSON(&p.Refs), ScanTime(&p.At))
	return p, err
}

const pushColumns = `id, repo, actor_kind, actor_id, actor_name, credential, address, door, refs, at`

// InsertPush implements repo.Store.
func (s Repos) InsertPush(ctx context.Context, p repo.Pushed, e audit.Event) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO pushes (`+pushColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			p.ID, p.Repo, string(p.Actor.Kind), p.Actor.ID, p.Actor.Name, p.Credential, p.Address, p.Door, JSON(p.Refs), Micros(p.At))
		if err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	if ViolatesKind(err, ForeignKey) {
		return repo.ErrUnknown
	}
	return err
}

// Pushes implements repo.Store.
func (s Repos) Pushes(ctx context.Context, of string, w page.Window) (page.Page[repo.Pushed], error) {
	all, err := readAll(ctx, s.DB, scanPush, `SELECT `+pushColumns+` FROM pushes WHERE repo = $1 AND id < $2 ORDER BY id DESC LIMIT $3`, of, below(w.After), w.Limit+1)
	return page.Cut(all, w, func(p repo.Pushed) string { return p.ID }), err
}
