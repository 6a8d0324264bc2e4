package native

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
)

// wireRepo is a git repository.
type wireRepo struct {
	ID            string    `json:"id" format:"uuid"`
	Project       string    `json:"project" doc:"Key of its project."`
	Slug          string    `json:"slug" doc:"What stands in addresses; it never changes."`
	Name          string    `json:"name"`
	DefaultBranch string    `json:"default_branch"`
	Public        bool      `json:"public" doc:"Anybody may read it, by itself."`
	Open          bool      `json:"open" doc:"Anybody may read it: it is public, or its project is."`
	CloneHTTP     string    `json:"clone_http"`
	CloneSSH      string    `json:"clone_ssh"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

func (a *API) repoOf(r repo.Repo) wireRepo {
	path := strings.ToLower(r.Project.Key) + "/" + r.Slug + ".git"
	host, port := a.SSH()
	ssh := url.URL{Scheme: "ssh", User: url.User("git"), Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: "/" + path}
	return wireRepo{
		ID: r.ID, Project: r.Project.Key, Slug: r.Slug, Name: r.Name, DefaultBranch: r.DefaultBranch, Public: r.Public, Open: r.Open(),
		CloneHTTP: a.Cookies.PublicURL.JoinPath("scm", path).String(), CloneSSH: ssh.String(), CreatedAt: r.Created.UTC(), UpdatedAt: r.Updated.UTC(),
	}
}

type listRepos struct {
	place
	window
}

func (a *API) listRepos(ctx context.Context, by access.Caller, in listRepos) (wirePage[wireRepo], error) {
	w, err := in.counted()
	if err != nil {
		return wirePage[wireRepo]{}, err
	}
	of, err := a.project(ctx, by, in.place)
	if err != nil {
		return wirePage[wireRepo]{}, err
	}
	p, err := a.Repos.OfProject(ctx, by, of, w)
	return countedOf(p, a.repoOf), err
}

type createRepo struct {
	place
	Body wireRepoDraft
}

type wireRepoDraft struct {
	Name          string  `json:"name" maxLength:"4096" example:"infra" doc:"1 to 128 characters. The slug is made from it."`
	DefaultBranch *string `json:"default_branch,omitempty" maxLength:"4096" doc:"main where it is left out."`
	Public        bool    `json:"public,omitempty" doc:"Anybody may read it."`
}

func (a *API) createRepo(ctx context.Context, by access.Caller, in createRepo) (wireRepo, error) {
	of, err := a.project(ctx, by, in.place)
	if err != nil {
		return wireRepo{}, err
	}
	draft := repo.New{Name: in.Body.Name, Public: in.Body.Public}
	if in.Body.DefaultBranch != nil {
		draft.DefaultBranch = *in.Body.DefaultBranch
	}
	r, err := a.Repos.Create(ctx, by, of, draft)
	if err != nil {
		return wireRepo{}, err
	}
	return a.repoOf(r), nil
}

func (a *API) showRepo(ctx context.Context, by access.Caller, in place) (wireRepo, error) {
	r, err := a.repo(ctx, by, in)
	if err != nil {
		return wireRepo{}, err
	}
	return a.repoOf(r), nil
}

type changeRepo struct {
	place
	Body wireRepoChange
}

type wireRepoChange struct {
	Name          *string `json:"name,omitempty" maxLength:"4096" doc:"The slug stays."`
	DefaultBranch *string `json:"default_branch,omitempty" maxLength:"4096"`
	Public        *bool   `json:"public,omitempty" doc:"Anybody may read it."`
}

func (a *API) changeRepo(ctx context.Context, by access.Caller, in changeRepo) (wireRepo, error) {
	r, err := a.repo(ctx, by, in.place)
	if err != nil {
		return wireRepo{}, err
	}
	r, err = a.Repos.Update(ctx, by, r, repo.Change{Name: in.Body.Name, DefaultBranch: in.Body.DefaultBranch, Public: in.Body.Public})
	if err != nil {
		return wireRepo{}, err
	}
	return a.repoOf(r), nil
}

func (a *API) deleteRepo(ctx context.Context, by access.Caller, in place) (none, error) {
	r, err := a.repo(ctx, by, in)
	if err != nil {
		return none{}, err
	}
	return none{}, a.Repos.Delete(ctx, by, r)
}

// wirePush is what one push did.
type wirePush struct {
	ID         string    `json:"id" format:"uuid"`
	At         time.Time `json:"at"`
	Actor      wireActor `json:"actor"`
	Credential *string   `json:"credential_id" nullable:"true" doc:"Id of the token or SSH key by which it came; null: a session or a password."`
	Address    string    `json:"address"`
	Door       string    `json:"door"`
	Refs       []wireRef `json:"refs" nullable:"false"`
}

// wireRef is a reference that a push moved.
type wireRef struct {
	Name string `json:"name" example:"refs/heads/main"`
	Old  string `json:"old" doc:"Object name; all zeros where there was none."`
	New  string `json:"new" doc:"All zeros where it was deleted."`
}

func pushOf(p repo.Pushed) wirePush {
	out := wirePush{ID: p.ID, At: p.At.UTC(), Actor: wireActor{Kind: string(p.Actor.Kind), ID: p.Actor.ID, Name: p.Actor.Name}, Address: p.Address, Door: p.Door, Refs: []wireRef{}}
	if p.Credential != "" {
		out.Credential = &p.Credential
	}
	for _, r := range p.Refs {
		out.Refs = append(out.Refs, wireRef(r))
	}
	return out
}

func (a *API) listPushes(ctx context.Context, by access.Caller, in listRepos) (wirePage[wirePush], error) {
	w, err := in.page()
	if err != nil {
		return wirePage[wirePush]{}, err
	}
	r, err := a.repo(ctx, by, in.place)
	if err != nil {
		return wirePage[wirePush]{}, err
	}
	p, err := a.Repos.Pushes(ctx, by, r, w)
	return pageOf(p, pushOf), err
}
