package bitbucket

import (
	"cmp"
	"net/http"
	"net/url"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// userKeys are the routes of SSH keys of people, and of what people should know of the SSH door.
func (d *Dialect) userKeys() []api.Route {
	const at = "/rest/ssh/{v}"
	return []api.Route{
		d.core("GET", at+"/keys", access.SSHKeyRead, d.listKeys),
		d.core("POST", at+"/keys", access.SSHKeyAdd, d.addKey),
		d.core("DELETE", at+"/keys", access.SSHKeyRemove, d.removeKeys),
		d.core("GET", at+"/keys/{keyId}", access.SSHKeyRead, d.showKey),
		d.core("DELETE", at+"/keys/{keyId}", access.SSHKeyRemove, d.removeKey),
		d.core("GET", at+"/settings", access.SSHKeyRead, d.sshSettings),
	}
}

// userIn is the id of the user whose keys are meant: by one of two parameters, or the caller.
func (d *Dialect) userIn(r *http.Request, by access.Caller, params ...string) (string, error) {
	name := firstOf(r.URL.Query(), params)
	if name == "" {
		return by.ID, nil
	}
	u, err := d.findUser(r.Context(), name)
	return u.ID, err
}

func firstOf(q url.Values, params []string) (name string) {
	for _, p := range params {
		name = cmp.Or(name, q.Get(p))
	}
	return name
}

// listKeys lists a user's keys.
func (d *Dialect) listKeys(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	user, err := d.userIn(r, by, "user", "userName")
	if err != nil {
		return err
	}
	all, err := listed(r, func(w page.Window) (page.Page[sshkey.Registered], error) {
		return d.Keys.ListOf(r.Context(), by, user, w)
	}, func(k sshkey.Registered) (wireKey, error) { return keyOf(k), nil })
	if err != nil {
		return err
	}
	return coreReply(w, http.StatusOK, all)
}

// addKey puts a key of a user on file.
func (d *Dialect) addKey(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	user, err := d.userIn(r, by, "user")
	if err != nil {
		return err
	}
	if err := d.Access.Require(r.Context(), by, access.SSHKeyAdd, access.Resource{Kind: access.UserKind, ID: user}); err != nil {
		return err // before the body is looked at
	}
	body, err := read(r)
	if err != nil {
		return err
	}
	n := newKey(body)
	if err := body.wrong(); err != nil {
		return err
	}
	k, err := d.Keys.AddUserKey(r.Context(), by, user, n)
	if err != nil {
		return keyFault(r, err)
	}
	return coreReply(w, http.StatusCreated, keyOf(k))
}

// removeKeys takes all keys of a user off file.
func (d *Dialect) removeKeys(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	user, err := d.userIn(r, by, "user", "userName")
	if err != nil {
		return err
	}
	if err := d.Keys.RemoveAllOf(r.Context(), by, user); err != nil {
		return err
	}
	return done(w)
}

// showKey shows a user's key.
func (d *Dialect) showKey(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	k, err := d.Keys.ByNumber(r.Context(), by, keyNumber(r))
	if err != nil {
		return keyFault(r, err)
	}
	return coreReply(w, http.StatusOK, keyOf(k))
}

// removeKey takes a user's key off file, whether it was there or not.
func (d *Dialect) removeKey(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	if err := d.Keys.RemoveUserKey(r.Context(), by, keyNumber(r)); err != nil {
		return err
	}
	return done(w)
}

// wireSSHSettings is a RestSshSettings.
type wireSSHSettings struct {
	AccessKeys  bool            `json:"accessKeysEnabled"`
	BaseURL     string          `json:"baseUrl"`
	Enabled     bool            `json:"enabled"`
	Fingerprint wireFingerprint `json:"fingerprint"`
	Port        int             `json:"port"`
}

type wireFingerprint struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"value"`
}

// sshSettings tells whoever has logged in where the SSH door is, and how it shows that it is the right one.
func (d *Dialect) sshSettings(w http.ResponseWriter, _ *http.Request, _ access.Caller) error {
	door := d.SSH()
	return coreReply(w, http.StatusOK, wireSSHSettings{
		AccessKeys: d.Keys.AccessKeys, BaseURL: "ssh://" + door.address(), Enabled: true, Fingerprint: wireFingerprint{"SHA256", bare(door.Fingerprint)}, Port: door.Port,
	})
}
