package bitbucket

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// SSHDoor is where people reach the SSH door, and the fingerprint of the Ed25519 key by which they know it.
type SSHDoor struct {
	Host        string
	Port        int
	Fingerprint string // as OpenSSH prints it
}

// address is the part of its addresses behind "ssh://".
func (d SSHDoor) address() string { return net.JoinHostPort(d.Host, strconv.Itoa(d.Port)) }

// wireUser is a user. Programs have the type SERVICE.
type wireUser struct {
	Name    string     `json:"name"`
	Email   string     `json:"emailAddress"`
	Active  bool       `json:"active"`
	Display string     `json:"displayName"`
	ID      int64      `json:"id"`
	Slug    string     `json:"slug"`
	Type    string     `json:"type"`
	Links   *wireLinks `json:"links,omitempty"`
}

// wireProject is a project, with its owner where it is somebody's own.
type wireProject struct {
	Key         string     `json:"key"`
	ID          int64      `json:"id"`
	Name        string     `json:"name"`
	Description *string    `json:"description,omitempty"` // absent inside a repository
	Public      bool       `json:"public"`
	Type        string     `json:"type"`
	Owner       *wireUser  `json:"owner,omitempty"`
	Links       *wireLinks `json:"links,omitempty"`
}

// wireRepository is a repository.
type wireRepository struct {
	Slug          string      `json:"slug"`
	ID            int64       `json:"id"`
	Name          string      `json:"name"`
	SCM           string      `json:"scmId"`
	State         string      `json:"state"`
	StatusMessage string      `json:"statusMessage"`
	Forkable      bool        `json:"forkable"`
	Public        bool        `json:"public"`
	Project       wireProject `json:"project"`
	Links         *wireLinks  `json:"links"`
}

// wireLinks are addresses of a thing.
type wireLinks struct {
	Clone []wireLink `json:"clone,omitempty"`
	Self  []wireLink `json:"self"`
}

type wireLink struct {
	Href string `json:"href"`
	Name string `json:"name,omitempty"`
}

// at is the public address of a path.
func (d *Dialect) at(path ...string) string {
	for i := range path {
		path[i] = url.PathEscape(path[i])
	}
	return strings.TrimSuffix(d.Cookies.PublicURL.String(), "/") + "/" + strings.Join(path, "/")
}

// slug is a user's name in addresses.
func slug(name string) string { return identity.Fold(name) }

// user shows a user with addresses.
func (d *Dialect) user(u identity.User) *wireUser {
	return &wireUser{
		Name: u.Name, Email: u.Email, Active: !u.Shut(), Display: cmp.Or(u.Names.Display, u.Name), ID: u.Number, Slug: slug(u.Name), Type: "NORMAL",
		Links: &wireLinks{Self: []wireLink{{Href: d.at("users", slug(u.Name))}}},
	}
}

// project shows a project with addresses, and with its owner, whose name is in its key.
func (d *Dialect) project(ctx context.Context, p project.Project) (wireProject, error) {
	out := wireProject{Key: p.Key, ID: p.Number, Name: p.Name, Description: &p.Description, Public: p.Public, Type: "NORMAL", Links: &wireLinks{}}
	if !p.Personal() {
		out.Links.Self = []wireLink{{Href: d.at("projects", p.Key)}}
		return out, nil
	}
	u, err := d.Users.ByID(ctx, d.ourselves(), p.Owner)
	if err != nil {
		return out, err
	}
	out.Type, out.Owner = "PERSONAL", d.user(u)
	out.Links.Self = out.Owner.Links.Self
	return out, nil
}

// repository shows a repository with addresses, its project without.
func (d *Dialect) repository(ctx context.Context, r repo.Repo) (wireRepository, error) {
	p, err := d.project(ctx, r.Project)
	if err != nil {
		return wireRepository{}, err
	}
	p.Links, p.Description = nil, nil
	path := strings.ToLower(r.Project.Key) + "/" + r.Slug + ".git"
	self := d.at("projects", r.Project.Key, "repos", r.Slug)
	if r.Project.Personal() {
		self = d.at("users", p.Owner.Slug, "repos", r.Slug)
	}
	return wireRepository{
		Slug: r.Slug, ID: r.Number, Name: r.Name, SCM: "git", State: "AVAILABLE", StatusMessage: "Available", Forkable: true, Public: r.Public, Project: p,
		Links: &wireLinks{
			Clone: []wireLink{{d.at("scm") + "/" + escaped(path), "http"}, {"ssh://git@" + d.SSH().address() + "/" + escaped(path), "ssh"}},
			Self:  []wireLink{{Href: self}},
		},
	}, nil
}

// escaped is a path as an address holds it; slashes stay.
func escaped(path string) string { return (&url.URL{Path: path}).EscapedPath() }

// ourselves looks up what the wire shows to whoever may see the thing that it is part of, and what it tells apart for people who are known: what is not there
// from what they may not.
func (d *Dialect) ourselves() identity.Authority { return d.Access.For(access.SystemCaller(d.Now())) }

// projectIn finds the project that the path names. Whether the caller may see it the verb asks.
func (d *Dialect) projectIn(r *http.Request, by access.Caller) (project.Project, error) {
	return d.findProject(r.Context(), by, r.PathValue("projectKey"))
}

func (d *Dialect) findProject(ctx context.Context, by access.Caller, key string) (project.Project, error) {
	p, err := d.Projects.Find(ctx, by, storable(key))
	if fault.Is(err, fault.NotFound) {
		err = noProject(key)
	}
	return p, err
}

func noProject(key string) error {
	return notThere(noSuchProject, "Project %s does not exist.", project.FoldKey(key))
}

// repoIn finds the repository that the path names. Whether the caller may see it the verb asks.
func (d *Dialect) repoIn(r *http.Request, by access.Caller) (repo.Repo, error) {
	return d.findRepo(r.Context(), by, r.PathValue("projectKey"), r.PathValue("repositorySlug"))
}

func (d *Dialect) findRepo(ctx context.Context, by access.Caller, key, name string) (repo.Repo, error) {
	r, err := d.Repos.Find(ctx, by, storable(key), storable(name))
	switch {
	case errors.Is(err, repo.ErrUnknown):
		err = notThere(noSuchRepository, "Repository %s/%s does not exist.", project.FoldKey(key), strings.ToLower(name))
	case fault.Is(err, fault.NotFound):
		err = noProject(key)
	}
	return r, err
}

// findUser finds a user by name. What the caller may do with the user the verb asks.
func (d *Dialect) findUser(ctx context.Context, name string) (identity.User, error) {
	u, err := d.Users.ByName(ctx, d.ourselves(), storable(name))
	if fault.Is(err, fault.NotFound) {
		err = notThere(noSuchUser, "User %s does not exist.", name)
	}
	return u, err
}

// storable is a text as databases take it: what they do not becomes a character that no name holds.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// millis is a time as the core writes it, nothing where there is none.
func millis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ms := t.UnixMilli()
	return &ms
}
