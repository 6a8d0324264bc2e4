package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// hook is one webhook as it arrived.
type hook struct {
	Entity    string    `json:"entity"`
	Session   string    `json:"id"`
	Event     string    `json:"event"`
	Triggered time.Time `json:"trigger_time"`
	Attempt   int       `json:"attempt"`
	Payload   struct {
		Address       string `json:"ip_address"`
		Client        string `json:"client_version"`
		Fingerprint   string `json:"public_key_sha256"`
		Algorithm     string `json:"public_key_algorithm"`
		Reason        string `json:"reason"`
		VerifyStatus  string `json:"verify_session_status"`
		CollectStatus string `json:"collect_session_status"`
	} `json:"payload"`

	// Of an event of the installation, which has no other of these members.
	Type string    `json:"type"`
	At   time.Time `json:"timestamp"`
	Data struct {
		Object struct {
			ID string `json:"id"`
		} `json:"object"`
		Detail struct {
			User       string `json:"user"`
			Device     string `json:"device"`
			Credential string `json:"credential"`
			Protocol   string `json:"protocol"`
			Why        string `json:"why"`
		} `json:"detail"`
	} `json:"data"`

	arrived time.Time
	signed  error // nil when the signature is good
}

func (h hook) status() string { return h.Payload.VerifyStatus + h.Payload.CollectStatus }

// latency is how long after the event the webhook was here.
func (h hook) latency() time.Duration {
	at := h.Triggered
	if h.Type != "" {
		at = h.At
	}
	return h.arrived.Sub(at).Round(time.Millisecond)
}

// receiver is the endpoint of a program that is told what happens. It believes only what is signed with
// its own secret, and checks that with the library of the Standard Webhooks project, not with ours.
type receiver struct {
	url      string
	secret   secret.String
	arrivals chan hook
	server   *http.Server
	ended    chan struct{}
}

const maxHook = 1 << 20 // bytes

func startReceiver(key secret.String) (*receiver, error) {
	check, err := standardwebhooks.NewWebhook(key.Reveal())
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + l.Addr().String() + "/hook", secret: key, arrivals: make(chan hook, 256), ended: make(chan struct{})}
	r.server = &http.Server{Handler: r.handler(check), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second}
	go func() {
		defer close(r.ended)
		_ = r.server.Serve(l) // ends by close
	}()
	return r, nil
}

func (r *receiver) handler(check *standardwebhooks.Webhook) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxHook))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		h := hook{arrived: time.Now(), signed: check.Verify(body, req.Header)}
		if json.Unmarshal(body, &h) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		select {
		case r.arrivals <- h:
		default: // nobody looks any more
		}
		if h.signed != nil {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
}

func (r *receiver) close() {
	_ = r.server.Close()
	<-r.ended
}
