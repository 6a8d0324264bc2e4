package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// visitor is the sample user, who goes to the demo's machine.
const visitor = "ana"

// journey is what takes the visitor to the machine behind the gate.
type journey struct {
	target *target
	house  *app.House
	client string // of the program that makes links
	secret secret.String
	ssh    []string // what the visitor types
}

// visit is a remote session that began or ended, as people are told of it.
type visit struct {
	hook
	number int64  // by which commands and pages know the session; 0: nobody could be asked
	play   string // where its recording is played
	watch  string // where it is seen while it lasts
}

const (
	sessionStarted = "session.started"
	sessionEnded   = "session.ended"
)

// furnishDevice starts a machine and makes what leads there: a device with its host key, a credential, a grant, keys on file for the visitor, a program
// that makes links, and a webhook that tells of sessions.
func (d *demo) furnishDevice(ctx context.Context, h *app.House, by access.Caller, ana identity.User) (err error) {
	d.journey.house = h
	if d.journey.target, err = startTarget(); err != nil {
		return err
	}
	machine, err := d.machine(ctx, h, by)
	if err != nil {
		return err
	}
	if _, err := h.Access.GrantTerms(ctx, by, access.Subject{Kind: access.User, ID: ana.ID}, access.DeviceConnect, machine.Resource(), access.Terms{}); err != nil {
		return err
	}
	for _, k := range d.mine.keys {
		_, err := h.Keys.AddUserKey(ctx, by, ana.ID, sshkey.New{Text: k.SSH(), Label: k.name, Via: sshkey.Wire}) // it opens without a proof before
		if err != nil && fault.Is(err, fault.Internal) {                                                         // what policy refuses does not sign in
			return err
		}
	}
	if err := d.linkMaker(ctx, h, by, ana, machine); err != nil {
		return err
	}
	if _, err := h.Subscriptions.Create(ctx, by, webhook.NewSubscription{
		URL: d.receiver.url, Secret: d.receiver.secret, Events: []string{sessionStarted, sessionEnded}, InitialBackoff: 1, BackoffMultiplier: 2,
	}); err != nil {
		return err
	}
	d.journey.ssh, err = d.sshLine(visitor + ":" + targetUser + "@" + targetName)
	return err
}

// machine registers the target, its host key, and the password that nobody sees.
func (d *demo) machine(ctx context.Context, h *app.House, by access.Caller) (device.Device, error) {
	t := d.journey.target
	ip, err := netip.ParseAddr(t.address)
	if err != nil {
		return device.Device{}, err
	}
	made, err := h.Devices.Create(ctx, by, device.New{Host: targetName, IP: ip, Connect: &[]device.Connectivity{{Name: string(device.SSH), Port: t.port}}})
	if err != nil {
		return made, err
	}
	if _, err := h.Devices.AcceptHostKey(ctx, by, made.ID, t.port, string(ssh.MarshalAuthorizedKey(t.host))); err != nil {
		return made, err
	}
	_, err = h.Vault.Create(ctx, by, vault.New{Device: made.ID, Username: targetUser, Secret: t.password})
	return made, err
}

// linkMaker makes a program that may open sessions for the visitor.
func (d *demo) linkMaker(ctx context.Context, h *app.House, by access.Caller, ana identity.User, machine device.Device) error {
	as := h.Access.For(by)
	program, _, err := h.Apps.Create(ctx, as, identity.NewApplication{Account: identity.DefaultAccount, Name: "demo tool"})
	if err != nil {
		return err
	}
	a, plain, err := h.Authorizations.Create(ctx, as, identity.NewAuthorization{
		Application: program.ID, Name: "links", Resources: []string{identity.WebProxySession}, Writes: true, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	if err != nil {
		return err
	}
	d.journey.client, d.journey.secret = a.ClientID, plain
	for _, list := range []struct {
		role access.Role
		on   access.Resource
	}{
		{access.DeviceListed, machine.Resource()},
		{access.CredentialListed, access.Every(access.CredentialKind)},
		{access.UserListed, access.Resource{Kind: access.UserKind, ID: ana.ID}},
	} {
		if err := h.Access.Grant(ctx, by, access.Subject{Kind: access.Authorization, ID: a.ID}, list.role, list.on); err != nil {
			return err
		}
	}
	return nil
}

// link asks for a link by the API, as any program would: first for a token, then for the link.
func (d *demo) link(ctx context.Context) (string, error) {
	var token struct {
		Access string `json:"access_token"`
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {d.journey.client}, "client_secret": {d.journey.secret.Reveal()}}
	err := d.send(ctx, "/api/oauth2/token", "application/x-www-form-urlencoded", "", []byte(form.Encode()), &token)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]string{"user": visitor, "credential": targetUser, "device": targetName, "protocol": "ssh"})
	if err != nil {
		return "", err
	}
	var made struct {
		Session struct {
			URL string `json:"session_url"`
		} `json:"session"`
	}
	err = d.send(ctx, linkPath, "application/json", "Bearer "+token.Access, body, &made)
	return made.Session.URL, err
}

const linkPath = "/api/pam/remote/session"

// send makes a request of the program that makes links.
func (d *demo) send(ctx context.Context, path, kind, authorization string, body []byte, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", kind)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return d.do(r, into)
}

// told shows that a remote session began or ended, and where it is seen.
func (d *demo) told(ctx context.Context, h hook) {
	v := visit{hook: h}
	by := access.LocalCaller(osUser(), d.journey.house.Now())
	if x, err := d.journey.house.Remote.Find(ctx, by, h.Data.Object.ID); err == nil {
		v.number = x.Number
		public := d.journey.house.Config.PublicURL // sockets are taken from its pages alone
		v.watch, v.play = fmt.Sprintf("%s/ws/watch/%d", public, x.Number), fmt.Sprintf("%s/ws/play/%d", public, x.Number)
	}
	d.view.visited(d, v)
}

// password is that of the administrator of the demo; with it sessions are looked at and recordings played.
func (d *demo) password() string { return d.server.Password.Reveal() }
