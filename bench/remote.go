package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/gatehouse-project/gatehouse/bench/bare"
	"github.com/gatehouse-project/gatehouse/bench/load"
	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	visitor = "visitor" // a user who opens sessions, with the key of all clients
	device  = "target"  // where to
)

// leadTo registers an SSH server as a device of the house, which signs in there with the key of all clients, and lets a user do there all that can be done.
// It returns the user's door.
func (h *house) leadTo(target server) load.Door {
	h.inside(func(ctx context.Context, in *app.House, by access.Caller) error {
		u, err := in.Users.Add(ctx, in.Access.For(by), identity.New{Name: visitor, Email: visitor + "@bench.test", Password: secret.New(password)})
		if err != nil {
			return err
		}
		_, err = in.Keys.AddUserKey(ctx, by, u.ID, sshkey.New{Text: publicKey(), Label: "bench", Via: sshkey.Wire})
		return err
	})
	_, port, err := net.SplitHostPort(target.ssh)
	h.r.must(err, "read address of "+target.name)
	h.command("device", "add", device, "--ip", "127.0.0.1", "--connect", "ssh:"+port, "--accept-host-keys")
	h.command("credential", "add", "--device", device, "--username", me(h.r), "--key-file", h.r.keyFile())
	grant := []string{"grant", "add", "--user", visitor, "--device", device}
	for _, feature := range access.Features {
		grant = append(grant, "--feature", string(feature))
	}
	h.command(grant...)
	return load.Door{Address: h.ssh, User: visitor + ":" + me(h.r) + "@" + device, Seed: seed}
}

// directly is the door of a server itself.
func (r *run) directly(s server) load.Door { return load.Door{Address: s.ssh, User: me(r), Seed: seed} }

// bareRelay starts the relay with nothing behind it, to a target.
func (r *run) bareRelay(to server) server {
	order, err := json.Marshal(bare.Relayed{To: to.ssh, User: me(r), Seed: seed})
	r.must(err, "write order")
	s, address := r.speak(r.self("bare-relay"), order)
	return server{name: "plain Go relay", pid: s.cmd.Process.Pid, ssh: address}
}

func measureLaunch(r *run) section {
	count := 50
	if r.quick {
		count = 5
	}
	daemon := r.sshd()
	h := r.open(nil, nil)
	native := h.leadTo(daemon)
	h.command("app", "add", "tool")
	var client struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	text := h.command("authorization", "add", "--app", "tool", "--resources", "pam-core,web-proxy-session", "--write", "--allow-ip", "*", "--all-devices", "--all-credentials", "--user", visitor)
	r.must(json.Unmarshal([]byte(text), &client), "read authorization")
	body, err := json.Marshal(map[string]string{"user": visitor, "credential": me(r), "device": device, "protocol": "ssh"})
	r.must(err, "write request")
	done := order[load.LaunchesDone](r, "load-launch", load.Launches{
		URL: "http://" + h.http, Token: h.accessToken(client.ID, client.Secret), Body: string(body), Direct: r.directly(daemon), Native: native, Lines: 2, Count: count,
	})
	s := section{Note: fmt.Sprintf("From `POST /api/pam/remote/session` over the link, its page, its ticket and its WebSocket to the first byte that the shell of a real sshd prints, %d times one after "+
		"the other. In turns with it: the same shell by SSH from the same machine, straight and through the gate. "+
		"The recorder has begun, the session and its audit events are durable, before anything reaches the target.", count)}
	t := table{Head: []string{"way", "p50, ms", "p99, ms", "slowest, ms"}}
	for _, row := range []struct {
		way  string
		took load.Latencies
	}{
		{"link made", done.Link},
		{"link opened, page there", done.Page},
		{"first byte of the shell in the browser", done.Prompt},
		{"first byte of the shell by SSH through the gate", done.Native},
		{"first byte of the shell by SSH straight to the target", done.Direct},
	} {
		t.add(row.way, fmt.Sprintf("%.1f", milliseconds(row.took.P50)), fmt.Sprintf("%.1f", milliseconds(row.took.P99)), fmt.Sprintf("%.1f", milliseconds(row.took.Max)))
	}
	s.Tables = append(s.Tables, t)
	s.figure("remote session: from the API call to the first prompt, p50", fmt.Sprintf("%.0f ms (straight by SSH %.0f)", milliseconds(done.Prompt.P50), milliseconds(done.Direct.P50)), "", true)
	s.figure("remote session: from the API call to the first prompt, p99", fmt.Sprintf("%.0f ms (straight by SSH %.0f)", milliseconds(done.Prompt.P99), milliseconds(done.Direct.P99)), "", true)
	return s
}

// accessToken gets a token of the API for a client.
func (h *house) accessToken(id, plain string) string {
	done := h.request(load.Requests{
		Method: http.MethodPost, Path: "/api/oauth2/token", Authorize: []string{basic(id, plain)}, Body: `{"grant_type":"client_credentials"}`, Want: http.StatusOK, Count: 1, Parallel: 1, Keep: true,
	})
	var token struct {
		Text string `json:"access_token"`
	}
	h.r.must(json.Unmarshal([]byte(done.Bodies[0]), &token), "read token")
	return token.Text
}

// calm waits until a server has done what it does afterwards, and returns what it has spent.
func (r *run) calm(s server) time.Duration {
	const quiet, most = 300 * time.Millisecond, 20 * time.Second
	spent := r.spent(s).Sum()
	for end := time.Now().Add(most); time.Now().Before(end); {
		time.Sleep(quiet)
		now := r.spent(s).Sum()
		if now-spent < quiet/20 {
			return now
		}
		spent = now
	}
	return spent
}
