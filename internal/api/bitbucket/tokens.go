package bitbucket

import (
	"errors"
	"net/http"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// accessTokens are the routes of HTTP access tokens.
func (d *Dialect) accessTokens() []api.Route {
	const at = "/rest/access-tokens/{v}"
	return slices.Concat(
		d.tokensOf(at+"/projects/{projectKey}", d.ofProject), d.tokensOf(at+"/projects/{projectKey}/repos/{repositorySlug}", d.ofRepo), d.tokensOf(at+"/users/{userSlug}", d.ofUser),
	)
}

// tokensOf are those of one kind of tokenHolder.
func (d *Dialect) tokensOf(base string, find func(*http.Request, access.Caller) (tokenHolder, error)) []api.Route {
	route := func(method, pattern string, do access.Action, h func(http.ResponseWriter, *http.Request, access.Caller, tokenHolder) error) api.Route {
		of := d.core(method, pattern, do, func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
			of, err := find(r, by)
			if err != nil {
				return err
			}
			if err := d.Access.Require(r.Context(), by, do, of.scope); err != nil {
				return err // before the body is looked at
			}
			return h(w, r, by, of)
		})
		of.Handler = sparing("repos", of.Handler)
		return of
	}
	return []api.Route{
		route("GET", base, access.TokenRead, d.listTokens),
		route("PUT", base, access.TokenIssue, d.issueToken),
		route("GET", base+"/{tokenId}", access.TokenRead, d.showToken),
		route("POST", base+"/{tokenId}", access.TokenUpdate, d.changeToken),
		route("DELETE", base+"/{tokenId}", access.TokenRevoke, d.removeToken),
	}
}

// sparing leaves a word that is a part of other paths to them: no token has it for its id, so it is no route here.
func sparing(word string, h http.Handler) http.Handler {
	missing := unrouted(errNotFound, http.StatusNotFound)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("tokenId") == word {
			missing(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// tokenHolder is whose a token is, and how it is shown: one of the three.
type tokenHolder struct {
	scope      access.Resource
	user       *wireUser
	project    *wireProject
	repository *wireRepository
}

func (d *Dialect) ofUser(r *http.Request, _ access.Caller) (tokenHolder, error) {
	u, err := d.findUser(r.Context(), r.PathValue("userSlug"))
	if err != nil {
		return tokenHolder{}, err
	}
	shown := d.user(u)
	shown.Links = nil
	return tokenHolder{scope: token.OfUser(u.ID), user: shown}, nil
}

func (d *Dialect) ofProject(r *http.Request, by access.Caller) (tokenHolder, error) {
	p, err := d.projectIn(r, by)
	if err != nil {
		return tokenHolder{}, err
	}
	shown, err := d.project(r.Context(), p)
	return tokenHolder{scope: p.Resource(), project: &shown}, err
}

func (d *Dialect) ofRepo(r *http.Request, by access.Caller) (tokenHolder, error) {
	in, err := d.repoIn(r, by)
	if err != nil {
		return tokenHolder{}, err
	}
	shown, err := d.repository(r.Context(), in)
	return tokenHolder{scope: in.Resource(), repository: &shown}, err
}

// listTokens lists the tokens of somebody or something that have not expired.
func (d *Dialect) listTokens(w http.ResponseWriter, r *http.Request, by access.Caller, of tokenHolder) error {
	all, err := listed(r, func(want page.Window) (page.Page[token.Access], error) {
		return d.Login.HTTPTokens.List(r.Context(), by, of.scope, want)
	}, func(t token.Access) (wireToken, error) { return tokenOf(t, of), nil })
	if err != nil {
		return err
	}
	return coreReply(w, http.StatusOK, all)
}

// issueToken makes a token and shows its plain text, this once.
func (d *Dialect) issueToken(w http.ResponseWriter, r *http.Request, by access.Caller, of tokenHolder) error {
	in, err := readToken(r)
	if err != nil {
		return err
	}
	draft := token.Draft{Permissions: in.Permissions, ExpiryDays: in.ExpiryDays}
	if in.Name != nil {
		draft.Name = *in.Name
	}
	plain, t, err := d.Login.HTTPTokens.Issue(r.Context(), by, of.scope, draft)
	if err != nil {
		return d.inTokenWords(err)
	}
	shown := tokenOf(t, of)
	shown.Plain = plain.Reveal()
	return coreReply(w, http.StatusOK, shown)
}

// showToken shows one.
func (d *Dialect) showToken(w http.ResponseWriter, r *http.Request, by access.Caller, of tokenHolder) error {
	t, err := d.Login.HTTPTokens.Show(r.Context(), by, of.scope, r.PathValue("tokenId"))
	return shownToken(w, r, of, t, err)
}

// changeToken changes the members that come.
func (d *Dialect) changeToken(w http.ResponseWriter, r *http.Request, by access.Caller, of tokenHolder) error {
	in, err := readToken(r)
	if err != nil {
		return err
	}
	t, err := d.Login.HTTPTokens.Change(r.Context(), by, of.scope, r.PathValue("tokenId"), in)
	return shownToken(w, r, of, t, d.inTokenWords(err))
}

// removeToken ends one at once.
func (d *Dialect) removeToken(w http.ResponseWriter, r *http.Request, by access.Caller, of tokenHolder) error {
	if err := d.Login.HTTPTokens.Remove(r.Context(), by, of.scope, r.PathValue("tokenId")); err != nil {
		return notThisToken(r, err)
	}
	return done(w)
}

func shownToken(w http.ResponseWriter, r *http.Request, of tokenHolder, t token.Access, err error) error {
	if err != nil {
		return notThisToken(r, err)
	}
	return coreReply(w, http.StatusOK, tokenOf(t, of))
}

func notThisToken(r *http.Request, err error) error {
	if errors.Is(err, token.ErrNoAccess) {
		return notThere(noSuchToken, "No access token with ID %s exists.", storable(r.PathValue("tokenId")))
	}
	return err
}
