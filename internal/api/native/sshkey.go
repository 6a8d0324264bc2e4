package native

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// wireSSHKey is an SSH key on file.
type wireSSHKey struct {
	ID          string     `json:"id" format:"uuid"`
	Number      int64      `json:"number" doc:"By which other APIs know it."`
	User        *string    `json:"user_id" format:"uuid" nullable:"true" doc:"Whose it is; null of an access key."`
	Text        string     `json:"text" doc:"As a line of authorized_keys."`
	Label       string     `json:"label"`
	Algorithm   string     `json:"algorithm" enum:"rsa,ecdsa,ed25519,ecdsa-sk,ed25519-sk"`
	Bits        int        `json:"bits"`
	Fingerprint string     `json:"fingerprint" example:"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"`
	State       string     `json:"state" enum:"active,waiting,disabled" doc:"Only an active key opens anything. A waiting one waits for its proof; a proof brings a disabled one back."`
	Unproven    bool       `json:"unproven" doc:"Nobody has proved to hold the private half."`
	Unsafe      bool       `json:"unsafe" doc:"Others can work out the private half: replace it."`
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   *time.Time `json:"expires_at" nullable:"true"`
	ProvenAt    *time.Time `json:"proven_at" nullable:"true"`
	LastUsedAt  *time.Time `json:"last_used_at" nullable:"true" doc:"Up to a minute behind."`
	LastAddress string     `json:"last_address"`
}

func sshKeyOf(r sshkey.Registered) wireSSHKey {
	out := wireSSHKey{
		ID: r.ID, Number: r.Number, Text: r.Text(), Label: r.Label, Algorithm: string(r.Key.Algorithm()), Bits: r.Key.Bits(), Fingerprint: r.Key.SHA256(),
		State: string(r.State), Unproven: r.Unproven(), Unsafe: r.Unsafe, CreatedAt: r.Created.UTC(), ExpiresAt: moment(r.Expires), ProvenAt: moment(r.Proven),
		LastUsedAt: moment(r.LastUsed), LastAddress: r.LastFrom,
	}
	if r.Role == sshkey.UserKey {
		out.User = &r.User
	}
	return out
}

func (a *API) listSSHKeys(ctx context.Context, by access.Caller, in window) (wirePage[wireSSHKey], error) {
	return a.sshKeysOf(ctx, by, by.ID, in)
}

type listSSHKeysOf struct {
	oneUser
	window
}

func (a *API) listSSHKeysOf(ctx context.Context, by access.Caller, in listSSHKeysOf) (wirePage[wireSSHKey], error) {
	if _, err := a.Users.ByID(ctx, a.Access.For(by), in.User); err != nil {
		return wirePage[wireSSHKey]{}, err
	}
	return a.sshKeysOf(ctx, by, in.User, in.window)
}

func (a *API) sshKeysOf(ctx context.Context, by access.Caller, user string, in window) (wirePage[wireSSHKey], error) {
	w, err := in.page()
	if err != nil {
		return wirePage[wireSSHKey]{}, err
	}
	p, err := a.Keys.ListOf(ctx, by, user, w)
	return pageOf(p, sshKeyOf), err
}

type listUnproven struct {
	window
	Days int64 `query:"older_than_days" minimum:"0" doc:"Only keys that have been on file for so long."`
}

func (a *API) listUnproven(ctx context.Context, by access.Caller, in listUnproven) (wirePage[wireSSHKey], error) {
	w, err := in.page()
	if err != nil {
		return wirePage[wireSSHKey]{}, err
	}
	const longest = 36_500 // days, so that no duration overflows
	p, err := a.Keys.Unproven(ctx, by, time.Duration(min(in.Days, longest))*24*time.Hour, w)
	return pageOf(p, sshKeyOf), err
}

type addSSHKey struct {
	Body wireSSHKeyDraft
}

// wireSSHKeyDraft is a key to put on file.
type wireSSHKeyDraft struct {
	Text       string  `json:"text" maxLength:"65536" doc:"One line, as in a .pub file, without options."`
	Label      *string `json:"label,omitempty" maxLength:"4096" doc:"The comment of the line where it is left out."`
	ExpiryDays *int64  `json:"expiry_days,omitempty" minimum:"1" doc:"It opens nothing after so many days. Without it, never."`
}

func (d wireSSHKeyDraft) asNew() sshkey.New {
	n := sshkey.New{Text: d.Text, ExpiryDays: days(d.ExpiryDays), Via: sshkey.Console}
	if d.Label != nil {
		n.Label = *d.Label
	}
	return n
}

// days narrows a number of days. Whatever lies beyond a thousand years is kept as never coming.
func days(n *int64) *int {
	if n == nil {
		return nil
	}
	narrow := int(min(*n, 1_000_000))
	return &narrow
}

func (a *API) addSSHKey(ctx context.Context, by access.Caller, in addSSHKey) (wireSSHKey, error) {
	r, err := a.Keys.AddUserKey(ctx, by, by.ID, in.Body.asNew())
	if err != nil {
		return wireSSHKey{}, err
	}
	return sshKeyOf(r), nil
}

type importSSHKeys struct {
	Body wireKeyFile
}

type wireKeyFile struct {
	Text string `json:"text" doc:"An authorized_keys file, of at most 1 MiB and 1000 keys."`
}

// wireImport says what became of each line.
type wireImport struct {
	Added int               `json:"added"`
	Lines []wireImportedKey `json:"lines" nullable:"false" doc:"Those that are neither empty nor comments."`
}

type wireImportedKey struct {
	Line   int         `json:"line" doc:"From 1 on."`
	Key    *wireSSHKey `json:"key,omitempty" doc:"On file now; not there where the line was refused."`
	Reason string      `json:"reason" doc:"Why it was refused; empty where it was not."`
}

func (a *API) importSSHKeys(ctx context.Context, by access.Caller, in importSSHKeys) (wireImport, error) {
	outcomes, err := a.Keys.Import(ctx, by, by.ID, in.Body.Text, sshkey.Console)
	if err != nil {
		return wireImport{}, err
	}
	out := wireImport{Lines: []wireImportedKey{}}
	for _, o := range outcomes {
		l := wireImportedKey{Line: o.Line}
		if o.Err != nil {
			l.Reason = sentence(fault.Text(o.Err))
		} else {
			key := sshKeyOf(o.Key)
			l.Key, out.Added = &key, out.Added+1
		}
		out.Lines = append(out.Lines, l)
	}
	return out, nil
}

type oneKey struct {
	Key string `path:"key" doc:"Its id."`
}

func (a *API) removeSSHKey(ctx context.Context, by access.Caller, in oneKey) (none, error) {
	r, err := a.Keys.ByID(ctx, by, in.Key)
	if err == nil && r.Role != sshkey.UserKey {
		err = sshkey.ErrUnknown
	}
	if err != nil {
		return none{}, err
	}
	return none{}, a.Keys.RemoveUserKey(ctx, by, r.Number)
}

func (a *API) disableSSHKey(ctx context.Context, by access.Caller, in oneKey) (none, error) {
	return none{}, a.Keys.Disable(ctx, by, in.Key)
}

// wireKeyProof is how to prove a key on file.
type wireKeyProof struct {
	Identifier string     `json:"identifier" doc:"The SSH user name."`
	Host       string     `json:"host"`
	Port       int        `json:"port"`
	Command    string     `json:"command" doc:"What its owner types, with -i FILE where the client would offer another key first, and then answers."`
	ExpiresAt  *time.Time `json:"expires_at" nullable:"true"`
}

func (a *API) proveSSHKey(ctx context.Context, by access.Caller, in oneKey) (wireKeyProof, error) {
	d, err := a.Keyproof.ProveRegistered(ctx, by, in.Key)
	if err != nil {
		return wireKeyProof{}, err
	}
	host, port := a.SSH()
	return wireKeyProof{Identifier: d.Identifier, Host: host, Port: port, Command: fmt.Sprintf("ssh -p %d %s@%s", port, d.Identifier, host), ExpiresAt: moment(d.Expires)}, nil
}

// wireAccessKey is what an access key was given.
type wireAccessKey struct {
	Key        wireSSHKey `json:"key"`
	On         string     `json:"on" enum:"project,repo" doc:"What it was given: this very place, or, in a list of effective ones, the repository's project."`
	Permission string     `json:"permission" enum:"read,write"`
	Since      time.Time  `json:"since"`
}

func accessKeyOf(h sshkey.Held) wireAccessKey {
	return wireAccessKey{Key: sshKeyOf(h.Key), On: h.Grant.Place.Kind, Permission: string(h.Grant.Permission), Since: h.Grant.Created.UTC()}
}

type listAccessKeys struct {
	place
	window
	Label     string `query:"label" doc:"Only those whose label begins so, in any case."`
	Effective bool   `query:"effective" doc:"Of a repository: with those of its project, which open it too."`
}

func (a *API) listAccessKeys(ctx context.Context, by access.Caller, in listAccessKeys) (wirePage[wireAccessKey], error) {
	w, err := in.counted()
	if err != nil {
		return wirePage[wireAccessKey]{}, err
	}
	on, err := a.at(ctx, by, in.place)
	if err != nil {
		return wirePage[wireAccessKey]{}, err
	}
	p, err := a.Keys.ListAt(ctx, by, sshkey.At{Place: on, Label: in.Label, Effective: in.Effective, Window: w})
	return countedOf(p, accessKeyOf), err
}

type addAccessKey struct {
	place
	Body wireAccessKeyDraft
}

type wireAccessKeyDraft struct {
	Text       string  `json:"text" maxLength:"65536" doc:"One line, as in a .pub file, without options. A key that is an access key elsewhere opens this place too, with the label and expiry that it has."`
	Label      *string `json:"label,omitempty" maxLength:"4096" doc:"The comment of the line where it is left out."`
	ExpiryDays *int64  `json:"expiry_days,omitempty" minimum:"1" doc:"It opens nothing after so many days. Without it, never."`
	Permission string  `json:"permission" enum:"read,write"`
}

func (a *API) addAccessKey(ctx context.Context, by access.Caller, in addAccessKey) (wireAccessKey, error) {
	on, err := a.at(ctx, by, in.place)
	if err != nil {
		return wireAccessKey{}, err
	}
	draft := wireSSHKeyDraft{Text: in.Body.Text, Label: in.Body.Label, ExpiryDays: in.Body.ExpiryDays}
	held, err := a.Keys.AddAccessKey(ctx, by, on, sshkey.Permission(in.Body.Permission), draft.asNew())
	if err != nil {
		return wireAccessKey{}, err
	}
	return accessKeyOf(held), nil
}

type keyAt struct {
	place
	oneKey
}

type changeAccessKey struct {
	keyAt
	Body wireAccessKeyChange
}

type wireAccessKeyChange struct {
	Permission string `json:"permission" enum:"read,write"`
}

// accessKey finds an access key that somebody administers, and its place.
func (a *API) accessKey(ctx context.Context, by access.Caller, in keyAt) (access.Resource, int64, error) {
	on, err := a.at(ctx, by, in.place)
	if err != nil {
		return on, 0, err
	}
	if err := a.Access.Require(ctx, by, access.SSHKeyGrant, on); err != nil {
		return on, 0, err
	}
	r, err := a.Keys.ByID(ctx, by, in.Key)
	return on, r.Number, err
}

func (a *API) changeAccessKey(ctx context.Context, by access.Caller, in changeAccessKey) (wireAccessKey, error) {
	on, number, err := a.accessKey(ctx, by, in.keyAt)
	if err != nil {
		return wireAccessKey{}, err
	}
	held, err := a.Keys.SetPermission(ctx, by, on, number, sshkey.Permission(in.Body.Permission))
	if err != nil {
		return wireAccessKey{}, err
	}
	return accessKeyOf(held), nil
}

func (a *API) removeAccessKey(ctx context.Context, by access.Caller, in keyAt) (none, error) {
	on, number, err := a.accessKey(ctx, by, in)
	if err != nil {
		return none{}, err
	}
	if _, err := a.Keys.AccessAt(ctx, by, on, number); err != nil {
		return none{}, err
	}
	return none{}, a.Keys.RemoveAccess(ctx, by, on, number)
}
