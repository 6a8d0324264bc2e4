package senhasegura_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// remote is the service of sessions as the program has it, but for what carries them.
func (h *house) remote(credentials *vault.Service) *remote.Service {
	sessions := store.Remotes{DB: h.db}
	return &remote.Service{
		Store: sessions, Access: h.rights, Users: people{h, sessions}, Devices: credentials.Devices, Vault: credentials, Node: "node-1", Now: h.clock.Now, NewID: newID,
		Audit:    &audit.Service{Store: store.Audit{DB: h.db}, Now: h.clock.Now, Folder: audit.NewFolder(time.Minute)},
		Refusals: &guard.Failures{Store: store.Guards{DB: h.db}, Now: h.clock.Now, Threshold: 10, Window: time.Minute},
		OnError:  func(string, error) {},
		Settings: remote.Settings{
			LinkLife: 30 * time.Second, Wait: 10 * time.Minute, Idle: 30 * time.Minute, Absolute: 12 * time.Hour, FinishedKept: 24 * time.Hour, AddressScope: "session",
			RequireCredential: true,
		},
	}
}

// people finds users as the program does.
type people struct {
	*house
	sessions store.Remotes
}

// ForRemote implements remote.Users.
func (p people) ForRemote(ctx context.Context, nameOrID string) (remote.Person, error) {
	u, err := p.person(ctx, nameOrID)
	if fault.Is(err, fault.NotFound) {
		return remote.Person{}, remote.ErrNoUser
	}
	if err != nil {
		return remote.Person{}, err
	}
	groups, err := p.sessions.GroupsOf(ctx, u.ID)
	return remote.Person{User: u, Shut: u.Shut(), Groups: groups}, err
}

// grant lets a user open sessions with a credential.
func (h *house) grant(t *testing.T, user, credential string, terms access.Terms) access.Binding {
	t.Helper()
	x, err := h.dialect.Vault.Find(t.Context(), root(h), credential)
	must(t, err)
	b, err := h.rights.GrantTerms(t.Context(), root(h), access.Subject{Kind: access.User, ID: h.vars[user]}, access.CredentialConnect, x.Resource(), terms)
	must(t, err)
	return b
}

// redeem opens a link as a browser does, and reports its session.
func (h *house) redeem(t *testing.T, link string) remote.Session {
	t.Helper()
	x, _, err := h.dialect.Remote.Redeem(t.Context(), remote.Visit{Link: secret.New(link), Address: netip.MustParseAddr("203.0.113.24"), Door: "test"})
	must(t, err)
	return x
}

// prepare makes what stories of links and sessions need.
func (h *house) prepare(t *testing.T) {
	t.Helper()
	ctx, by, d := t.Context(), root(h), h.dialect
	u, err := h.users.Add(ctx, h.rights.For(by), identity.New{Name: "shut", Email: "shut@example.test"})
	must(t, err)
	h.vars["shut"] = u.ID
	must(t, h.users.SetDisabled(ctx, h.rights.For(by), u.ID, true))
	u, err = h.users.Add(ctx, h.rights.For(by), identity.New{Name: "dleite", Email: "dleite@example.test"})
	must(t, err)
	h.vars["dleite"] = u.ID
	h.addDevice(t, "example", "45.163.147.135", nil, "SSH:22")
	h.addCredential(t, "example", "usrsudonopass", "9", "example-user", "")
	h.grant(t, "dleite", "example-user", access.Terms{})
	h.addDevice(t, "pool", "10.2.0.40", nil, "SSH:22")
	h.addDevice(t, "keys", "10.2.0.41", nil, "SSH:22")
	h.addDevice(t, "asleep", "10.2.0.42", nil, "SSH:22")
	h.addDevice(t, "apart", "10.2.0.43", nil, "SSH:22")
	h.addCredential(t, "pool", "one", "1", "pool-1", "")
	h.addCredential(t, "pool", "two", "2", "pool-2", "")
	h.addCredential(t, "asleep", "root", "3", "asleep-root", "")
	off := h.addCredential(t, "web-01.example.net", "off", "4", "web-off", "")
	h.addCredential(t, "web-01.example.net", "early", "5", "web-early", "")
	h.addCredential(t, "web-01.example.net", "asked", "6", "web-asked", "")
	h.addCredential(t, "web-01.example.net", "ports", "7", "web-ports", "")
	telnet := h.addCredential(t, "web-01.example.net", "telnet", "8", "web-telnet", "")
	key, err := d.Vault.Create(ctx, by, vault.New{Device: h.vars["keys"], Username: "key", Identifier: "keys-key", Type: text(vault.SSHKeyType)})
	must(t, err)
	_, _, err = d.Vault.Update(ctx, by, telnet.ID, vault.New{Protocols: &[]device.Protocol{device.Telnet}})
	must(t, err)
	for _, name := range []string{"web-svc", "corp-ops1", "pool-1", "pool-2", "web-off", "web-telnet", key.Identifier} {
		h.grant(t, "mlopes", name, access.Terms{})
	}
	h.grant(t, "mlopes", "web-early", access.Terms{NotBefore: start.Add(time.Hour)})
	h.grant(t, "mlopes", "web-asked", access.Terms{StepUp: true, Reason: true, Approval: true})
	h.grant(t, "mlopes", "web-ports", access.Terms{Ports: []int{2222}})
	_, _, err = d.Vault.SetDisabled(ctx, by, off.ID, true)
	must(t, err)
	_, _, err = d.Devices.SetDisabled(ctx, by, h.vars["asleep"], true)
	must(t, err)
	for _, name := range []string{"full", "picker"} {
		h.list(t, h.clients[name].id)
		to := access.Subject{Kind: access.Authorization, ID: h.clients[name].id}
		for _, user := range []string{"shut", "dleite"} {
			must(t, h.rights.Grant(ctx, by, to, access.UserListed, access.Resource{Kind: access.UserKind, ID: h.vars[user]}))
		}
	}
}

func text(s string) *string { return &s }

// launched makes a link as a program does, and returns its _sr and its token.
func (h *house) launched(t *testing.T, body string) (link, handle string) {
	t.Helper()
	w := h.call("full", "POST", "/api/remote/session", "application/json", body)
	var out struct{ Session struct{ URL, Token string } }
	if err := json.Unmarshal([]byte(strings.Replace(w.Body.String(), "session_url", "url", 1)), &out); err != nil || w.Code != 200 {
		t.Fatalf("answered %d %s", w.Code, w.Body)
	}
	_, link, _ = strings.Cut(out.Session.URL, "_sr=")
	return link, out.Session.Token
}

// started makes a link and begins its session, as the node that carries it does.
func (h *house) started(t *testing.T, body, code string) remote.Session {
	t.Helper()
	link, _ := h.launched(t, body)
	return h.begin(t, h.redeem(t, link).ID, code)
}

func (h *house) begin(t *testing.T, id, code string) remote.Session {
	t.Helper()
	x, err := h.dialect.Remote.Store.Change(t.Context(), id, nil, func(x remote.Session) (remote.Session, []audit.Event, error) {
		x.State, x.Node, x.Code, x.Started = remote.Active, "node-1", code, h.clock.Now()
		if strings.HasPrefix(code, "5c") {
			x.Request, x.Reference = "01a2065a-0000-7000-8000-000000000001", "CHG-7"
		}
		return x, nil, nil
	})
	must(t, err)
	return x
}

// ended ends a session as time does.
func (h *house) ended(t *testing.T, id string) {
	t.Helper()
	_, err := h.dialect.Remote.Store.Change(t.Context(), id, nil, func(x remote.Session) (remote.Session, []audit.Event, error) {
		x.State, x.Ended, x.End = remote.Ended, h.clock.Now(), remote.Closed
		return x, nil, nil
	})
	must(t, err)
}
