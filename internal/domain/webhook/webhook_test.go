package webhook_test

import (
	"encoding/base64"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// public stands for the installation's policy.
func public(a netip.Addr) bool {
	a = a.Unmap()
	return !a.IsLoopback() && !a.IsPrivate() && !a.IsLinkLocalUnicast() && !a.IsMulticast() && !a.IsUnspecified()
}

// rule W8: what names a forbidden address by itself is refused before anything is stored.
func TestCheckURL(t *testing.T) {
	t.Parallel()
	for text, reason := range map[string]string{
		"https://shop.example/hook":                            "",
		"http://shop.example:8080/a?b=c":                       "",
		"https://[2606:4700::1111]/":                           "",
		"HTTPS://shop.example/":                                "",
		"https://shop.example/" + strings.Repeat("a", 2048-21): "",
		"https://shop.example/" + strings.Repeat("a", 2048-20): "expected length <= 2048",
		"":                                  "expected an http or https address",
		"shop.example/hook":                 "expected an http or https address",
		"ftp://shop.example/":               "expected an http or https address",
		"file:///etc/passwd":                "expected an http or https address",
		"javascript:alert(1)":               "expected an http or https address",
		"https:shop.example":                "expected an http or https address",
		"https:///hook":                     "expected an http or https address",
		"https://:443/":                     "expected an http or https address",
		"https://shop.example:0/":           "expected an http or https address",
		"https://shop.example:65536/":       "expected an http or https address",
		"https://shop.example/\u0085":       "expected an http or https address",
		"https://shop.example/a\r\nHost: b": "expected an http or https address",
		"https://shop.example/\xff":         "expected an http or https address",
		"https://ana@shop.example/":         "must not contain user information",
		"https://ana:pw@shop.example/":      "must not contain user information",
		"https://@shop.example/":            "must not contain user information",
		"https://shop.example/#":            "must not contain a fragment",
		"https://shop.example/#top":         "must not contain a fragment",
		"http://127.0.0.1/":                 "target address is not allowed",
		"http://127.0.0.1./":                "target address is not allowed",
		"http://[::1]:80/":                  "target address is not allowed",
		"http://[::ffff:10.0.0.1]/":         "target address is not allowed",
		"http://[fe80::1%25eth0]/":          "target address is not allowed",
		"http://169.254.169.254/latest/":    "target address is not allowed",
		"http://shop.example\\@127.0.0.1/":  "expected an http or https address",
		"http://2130706433/":                "", // a name for the resolver; the dialer looks at its answer
	} {
		got := ""
		if err := webhook.CheckURL(text, public); err != nil {
			got = fault.Text(err)
		}
		if got != reason {
			t.Errorf("%q: %q, want %q", text, got, reason)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://shop.example/hook", "http://127.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://a@b/", "http://a/#", "ftp://a/",
		"http://a\x00/", "http://[fe80::1%25lo]/", "http://127.0.0.1.:80", "http://a:99999/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if webhook.CheckURL(text, public) != nil {
			return
		}
		u, err := url.Parse(text)
		switch {
		case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
			t.Errorf("no address: %q", text)
		case u.User != nil, strings.Contains(text, "#"), strings.ContainsFunc(text, unicode.IsControl), len(text) > webhook.MaxURL:
			t.Errorf("accepted %q", text)
		}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && !public(a.WithZone("")) {
			t.Errorf("accepted a forbidden address: %q", text)
		}
	})
}

func TestCheckHeaders(t *testing.T) {
	t.Parallel()
	many, big := map[string][]string{}, map[string][]string{"X-Big": {strings.Repeat("a", 8<<10)}}
	for i := range 33 {
		many["X-"+strings.Repeat("a", i+1)] = nil
	}
	for name, c := range map[string]struct {
		headers map[string][]string
		reason  string
	}{
		"none":            {nil, ""},
		"own":             {map[string][]string{"X-Token": {"a", "b"}, "content-type": {"text/plain"}, "User-Agent": {"x"}}, ""},
		"too many":        {many, "expected at most 32 header names"},
		"too big":         {big, "expected at most 8192 bytes of headers"},
		"long name":       {map[string][]string{strings.Repeat("a", 8193): nil}, "expected at most 8192 bytes of headers"},
		"host":            {map[string][]string{"hOsT": {"x"}}, "header hOsT cannot be set"},
		"length":          {map[string][]string{"Content-Length": {"1"}}, "header Content-Length cannot be set"},
		"connection":      {map[string][]string{"Connection": {"close"}}, "header Connection cannot be set"},
		"transfer":        {map[string][]string{"Transfer-Encoding": {"chunked"}}, "header Transfer-Encoding cannot be set"},
		"te":              {map[string][]string{"TE": {"x"}}, "header TE cannot be set"},
		"trailer":         {map[string][]string{"trailer": nil}, "header trailer cannot be set"},
		"upgrade":         {map[string][]string{"Upgrade": {"x"}}, "header Upgrade cannot be set"},
		"proxy":           {map[string][]string{"Proxy-Authorization": {"x"}}, "header Proxy-Authorization cannot be set"},
		"signature":       {map[string][]string{"WEBHOOK-Signature": {"v1,x"}}, "header WEBHOOK-Signature cannot be set"},
		"empty name":      {map[string][]string{"": {"x"}}, "a header name is not valid"},
		"space in name":   {map[string][]string{"X Y": {"x"}}, "a header name is not valid"},
		"CRLF in name":    {map[string][]string{"X\r\nY": {"x"}}, "a header name is not valid"},
		"CRLF in a value": {map[string][]string{"X-Y": {"hush\r\nHost: b"}}, "the value of header X-Y is not valid"},
	} {
		got := ""
		if err := webhook.CheckHeaders(c.headers); err != nil {
			got = err.Error()
		}
		if got != c.reason {
			t.Errorf("%s: %q, want %q", name, got, c.reason)
		}
	}
}

func whsec(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }

func TestCheckSecret(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		whsec(24): true, whsec(32): true, whsec(64): true, "": false, whsec(23): false, whsec(65): false, "whsec_": false, "whsec_%%%": false,
		strings.TrimPrefix(whsec(24), "whsec_"): false, whsec(24) + "\n": false, whsec(32)[:20] + "\n" + whsec(32)[20:]: false, " " + whsec(24): false,
	} {
		err := webhook.CheckSecret(secret.New(text))
		if (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && len(text) > 12 && strings.Contains(err.Error(), text[6:12]) {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	w := webhook.Webhook{InitialBackoff: 10, BackoffMultiplier: 2}
	for n, seconds := range map[int]float64{1: 10, 2: 20, 3: 40, 14: 81920, 15: 86400, 500: 86400} {
		if got := w.Delay(n, time.Second).Seconds(); got != seconds {
			t.Errorf("after attempt %d: %g s, want %g", n, got, seconds)
		}
	}
	if got := w.Delay(2, time.Millisecond); got != 20*time.Millisecond {
		t.Errorf("in a shorter unit: %s", got)
	}
	if got := (webhook.Webhook{InitialBackoff: 7, BackoffMultiplier: 1}).Delay(9, time.Second); got != 7*time.Second {
		t.Errorf("without growth: %s", got)
	}
}

func TestWants(t *testing.T) {
	t.Parallel()
	if !(webhook.Webhook{}).Wants("verified") || !(webhook.Webhook{Events: []string{"a", "verified"}}).Wants("verified") || (webhook.Webhook{Events: []string{"a"}}).Wants("verified") {
		t.Error("the subscription is not what was said")
	}
}
