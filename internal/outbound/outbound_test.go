package outbound_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
)

func policy(t *testing.T, allow ...string) outbound.Policy {
	t.Helper()
	p, err := outbound.NewPolicy(allow)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rule W8: every way to write an inner address is refused, whatever it is wrapped in.
func TestAllowed_judges_the_address_itself(t *testing.T) {
	t.Parallel()
	p := policy(t)
	for _, inner := range []string{
		"127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
		"224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::", "::127.0.0.1",
	} {
		if p.Allowed(netip.MustParseAddr(inner)) {
			t.Errorf("%s may be called", inner)
		}
	}
	for _, public := range []string{"1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1"} {
		if !p.Allowed(netip.MustParseAddr(public)) {
			t.Errorf("%s may not be called", public)
		}
	}
}

func TestAllowed_obeys_the_operator(t *testing.T) {
	t.Parallel()
	p := policy(t, "127.0.0.1", "10.1.0.0/16", "fd00::/8")
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.2": false, "10.1.2.3": true, "10.2.0.1": false, "fd00::5": true, "fe80::1": false, "::ffff:127.0.0.1": true,
	} {
		if got := p.Allowed(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: allowed %v, want %v", addr, got, want)
		}
	}
	for _, bad := range []string{"10.0.0.0/99", "a b", "", "host:80"} {
		if _, err := outbound.NewPolicy([]string{bad}); err == nil {
			t.Errorf("%q was taken as an exception", bad)
		}
	}
}

func send(t *testing.T, p outbound.Policy, target string, timeout time.Duration) webhook.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return outbound.Webhooks{Client: p.Client()}.Send(ctx, webhook.Request{Method: "POST", URL: target, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte(`{}`)})
}

// rule W8: a name that resolves to an inner address is refused when it is dialled, and says why.
func TestSend_refuses_names_that_resolve_inward(t *testing.T) {
	t.Parallel()
	var called atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called.Store(true) }))
	defer server.Close()
	u, _ := url.Parse(server.URL)
	for _, host := range []string{"localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"} {
		r := send(t, policy(t), "http://"+host+":"+u.Port()+"/hook?token=hush", 5*time.Second)
		if r.Reason == "" || strings.Contains(r.Reason, "hush") {
			t.Errorf("%s: reason %q", host, r.Reason)
		}
	}
	if called.Load() {
		t.Error("an inner address was called")
	}
	if r := send(t, policy(t), "http://localhost:"+u.Port(), 5*time.Second); r.Reason != "target address is not allowed" {
		t.Errorf("reason %q", r.Reason)
	}
	if r := send(t, policy(t, "localhost"), "http://localhost:"+u.Port(), 5*time.Second); r.Reason != "" {
		t.Errorf("the operator's own exception is refused: %q", r.Reason)
	}
}

// A redirect is an answer like any other that is not 2xx, and its target is not called.
func TestSend_follows_no_redirect(t *testing.T) {
	t.Parallel()
	var second atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/second" {
			second.Store(true)
			return
		}
		http.Redirect(w, r, "/second", http.StatusFound)
	}))
	defer server.Close()
	r := send(t, policy(t, "127.0.0.1"), server.URL, 5*time.Second)
	if r.Status != 302 || r.Reason != "answered 302" || second.Load() {
		t.Errorf("got %+v, second called: %v", r, second.Load())
	}
}

// rule W8: no environment proxy, bounded answers, and reasons that repeat nothing of the target.
func TestSend_is_bounded(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	block := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		case "/silent":
			select {
			case <-block:
			case <-r.Context().Done():
			}
		case "/fails":
			http.Error(w, "secret of the target", http.StatusTeapot)
		}
	}))
	defer server.Close()
	defer close(block)
	p := policy(t, "127.0.0.1")
	if r := send(t, p, server.URL+"/endless", 10*time.Second); len(r.Answer) != 4<<10 || r.Reason != "" {
		t.Errorf("endless: %d bytes kept, reason %q", len(r.Answer), r.Reason)
	}
	if r := send(t, p, server.URL+"/silent", 50*time.Millisecond); r.Reason != "no answer in time" {
		t.Errorf("silent: %q", r.Reason)
	}
	if r := send(t, p, server.URL+"/fails", 20*time.Second); r.Status != 418 || r.Reason != "answered 418" {
		t.Errorf("fails: %+v", r)
	}
	if r := send(t, p, "http://127.0.0.1:1/", 20*time.Second); r.Reason != "the target refused the connection" {
		t.Errorf("closed port: %q", r.Reason)
	}
	tls := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer tls.Close()
	if r := send(t, p, tls.URL, 20*time.Second); r.Reason != "the certificate was not accepted" {
		t.Errorf("own certificate: %q", r.Reason)
	}
	for why, reason := range map[x509.InvalidReason]string{x509.Expired: "the certificate is out of date, or not valid yet", x509.IncompatibleUsage: "the certificate was not accepted"} {
		if got := outbound.Reason(fmt.Errorf("handshake: %w", x509.CertificateInvalidError{Reason: why})); got != reason {
			t.Errorf("%q, want %q", got, reason)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	for _, seed := range []string{"127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "fe80::1%lo"} {
		f.Add(seed)
	}
	p, err := outbound.NewPolicy(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return
		}
		plain := addr.WithZone("").Unmap()
		if p.Allowed(addr) && (plain.IsLoopback() || plain.IsPrivate() || plain.IsLinkLocalUnicast() || plain.IsMulticast() || plain.IsUnspecified()) {
			t.Errorf("%s may be called", text)
		}
	})
}
