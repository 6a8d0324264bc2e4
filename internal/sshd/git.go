package sshd

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/git"
)

// Git is what stands behind the user name git.
type Git struct {
	Keys   *sshkey.Service
	Repos  *repo.Service
	Served Repositories // nil where git is not installed
}

// Repositories serves git to clients: a *git.Repositories.
type Repositories interface {
	Upload(ctx context.Context, id string, with git.Exchange) error
	Archive(ctx context.Context, id string, with git.Exchange) error
	Receive(ctx context.Context, id string, with git.Exchange, allow func(context.Context, []git.Move) error) ([]git.Moved, error)
}

var _ Repositories = (*git.Repositories)(nil)

// maxOffers is how many keys that open nothing a client of git may offer, on top of maxFailures: people have many in their agents, and
// to look one up costs us no signature (rule S7).
const maxOffers = 32

// methodKey is how callers of git over SSH were authenticated.
const methodKey = "ssh_key"

// What a key opens at most here, whoever its user is: a key for git is no key to anything else (rule W6).
var (
	readScopes  = []access.Action{access.RepoRead, access.ProjectRead}
	writeScopes = append(slices.Clone(readScopes), access.RepoWrite)
)

// What a client is told whose push is ended because the right to it is gone, or because we cannot tell.
var (
	errNoPush   = fault.New(fault.Denied, "this key may not push here")
	errNotAsked = fault.New(fault.Limited, "rights cannot be looked up now; try again later")
)

// gitVisit is the purpose of a connection under the name git: one key on file that signs, then one git command.
type gitVisit struct {
	*connection
	held   sshkey.Registered // the key that signed
	shut   *sshkey.Refusal   // why the last key that was tried opens nothing
	broken bool              // keys could not be looked up
	offers int

	said string // what came of the visit, for the log
	repo string // id of the repository
}

// authorise implements purpose.
func (v *gitVisit) authorise(user string) error {
	if user != v.user {
		v.refuse(user)
		return errRefused
	}
	return nil
}

// wants implements purpose: a key that opens nothing now is not worth a signature.
func (v *gitVisit) wants(key sshkey.OfferedKey) bool {
	_, err := v.find(key.Key())
	return err == nil
}

// saw implements purpose.
func (v *gitVisit) saw() { v.shut = &sshkey.Refusal{Reason: "it is no key that could be on file"} }

// proved implements purpose. The key is looked up anew: it may have been removed since it was offered.
func (v *gitVisit) proved(key sshkey.ProvenKey) (more bool, err error) {
	held, err := v.find(key.Key())
	if err != nil {
		return false, errRefused
	}
	v.held = held
	v.server.Git.Keys.Used(held.ID, v.from, v.server.Now())
	return false, nil
}

// find returns the key on file, and remembers why there is none.
func (v *gitVisit) find(key sshkey.Key) (sshkey.Registered, error) {
	held, err := v.server.Git.Keys.Find(v.ctx, key)
	if err != nil && !errors.As(err, &v.shut) {
		v.broken = true
		v.server.Log.Error("find ssh key", "door", "sshd", "error", err)
	}
	return held, err
}

// keyless implements purpose.
func (v *gitVisit) keyless() bool { return false }

// free implements purpose.
func (v *gitVisit) free(user, method string, failure error) bool {
	if user != v.user || method != "publickey" || !errors.Is(failure, errRefused) {
		return false
	}
	v.offers++
	return v.offers <= maxOffers
}

// lost implements purpose. That keys were refused is recorded once, and only here: among the keys of an agent the right one is seldom the first.
func (v *gitVisit) lost() {
	switch {
	case v.broken:
		v.outcome = OutcomeFailed
	case v.shut != nil && !v.refused:
		v.outcome = OutcomeRefused
		v.refused = true
		e := v.nobody().Event(v.server.Now(), Login, access.Installation, audit.Refused)
		e.Actor.Name, e.Reason = gitUser, v.shut.Reason
		if known := v.shut.Key; known.ID != "" {
			e = e.With("fingerprint", known.Key.SHA256()).With("label", known.Label)
		}
		v.record(e)
	case v.refused:
		v.outcome = OutcomeRefused
	}
}

// serve implements purpose.
func (v *gitVisit) serve(_ *ssh.ServerConn, channels <-chan ssh.NewChannel, globals <-chan *ssh.Request) {
	v.outcome = OutcomeGit
	counter := &gitCounter{intake: intake{connection: v.connection}, visit: v, channels: channels, globals: globals}
	counter.serve()
}

// end implements purpose.
func (v *gitVisit) end() {}

// line implements purpose.
func (v *gitVisit) line() (slog.Level, string, []slog.Attr) {
	if v.held.ID == "" {
		return slog.LevelDebug, "connection", nil
	}
	return slog.LevelInfo, "git", []slog.Attr{slog.String("key", v.held.ID), slog.String("repository", v.repo), slog.String("result", v.said)}
}

// caller is who acts by a key on file as far as the key says: its user, or the key itself, which has no place yet.
func (v *gitVisit) caller(held sshkey.Registered) access.Caller {
	by := access.Caller{
		Principal: access.Principal{Kind: access.User, ID: held.User, Name: held.UserName}, Method: methodKey, Credential: held.ID,
		At: v.server.Now(), Scopes: writeScopes, Address: v.from, Door: "sshd",
	}
	if held.Role == sshkey.AccessKey {
		by.Principal, by.Scopes = access.Principal{Kind: access.ServiceIdentity, ID: held.ID, Name: held.Label}, nil
	}
	return by
}

// within is who acts by an access key in a repository: the key itself, there alone, and with the permission that it was given there or on the project
// (rule G1). A user key acts as its user everywhere.
func (v *gitVisit) within(held sshkey.Registered, r repo.Repo) access.Caller {
	by := v.caller(held)
	if held.Role != sshkey.AccessKey {
		return by
	}
	most, ok := v.server.Git.Keys.PermissionAt(held, r.Resource())
	switch {
	case !ok:
		return by // a service without scopes may do nothing
	case most == sshkey.Write:
		by.Scopes = writeScopes
	default:
		by.Scopes = readScopes
	}
	by.Limit = r.Resource()
	return by
}

// open finds the repository that a command is about, and who acts there. It reports faults that are all one to the client.
func (v *gitVisit) open(ctx context.Context, c git.Command) (access.Caller, repo.Repo, error) {
	repos, by := v.server.Git.Repos, v.caller(v.held)
	if v.held.Role == sshkey.AccessKey {
		r, err := repos.Find(ctx, by, c.Project, c.Slug)
		if err != nil {
			return by, r, err
		}
		by = v.within(v.held, r)
	}
	r, err := repos.Open(ctx, by, c.Project, c.Slug, c.Service.Writes())
	return by, r, err
}

// again answers, while a push is under way, whether it may go on: the key must still be on file, and still open the repository.
func (v *gitVisit) again(ctx context.Context, r repo.Repo) error {
	held, err := v.server.Git.Keys.Find(ctx, v.held.Key)
	if err == nil {
		err = v.server.Git.Repos.Allow(ctx, v.within(held, r), r, true)
	}
	switch {
	case err == nil:
		return nil
	case fault.Is(err, fault.Internal):
		v.server.Log.Error("ask again about a push", "door", "sshd", "repository", r.ID, "error", err)
		return errNotAsked
	}
	return errNoPush
}

// recordPush keeps what a push did.
func (v *gitVisit) recordPush(ctx context.Context, by access.Caller, r repo.Repo, moved []git.Moved) {
	var refs []repo.Ref
	for _, m := range moved {
		if m.Done {
			refs = append(refs, repo.Ref{Name: m.Ref, Old: m.Old, New: m.New})
		}
	}
	if err := v.server.Git.Repos.RecordPush(ctx, by, r, refs); err != nil {
		v.server.Log.Error("record push", "door", "sshd", "repository", r.ID, "error", err)
	}
}
