package awsiam_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/idp/awsiam"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

const (
	region   = "eu-west-1"
	question = "Action=GetCallerIdentity&Version=2011-06-15"
	form     = "application/x-www-form-urlencoded; charset=utf-8"
)

// cloud asks a double, which knows one role.
type cloud struct {
	*awsiam.Cloud
	double *peers.STSDouble
	role   peers.STSCaller

	mutex sync.Mutex
	once  map[string]time.Time
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	policy, err := outbound.NewPolicy([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{role: peers.STSRole(), once: map[string]time.Time{}}
	c.double = peers.STS(t, c.role)
	c.Cloud = &awsiam.Cloud{Client: policy.Client(), BaseURL: c.double.URL}
	return c
}

// used remembers as the shared store does.
func (c *cloud) used(_ context.Context, o login.Once) (bool, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	_, was := c.once[o.Key]
	c.once[o.Key] = o.Until
	return was, nil
}

func (c *cloud) identify(t *testing.T, region string, headers map[string]string) (string, error) {
	t.Helper()
	return c.Identify(t.Context(), region, headers, c.used)
}

// sign signs the question now, with a content type.
func (c *cloud) sign(t *testing.T, more ...string) map[string]string {
	t.Helper()
	return c.role.Sign(t, region, question, time.Now(), append([]string{"Content-Type", form}, more...)...)
}

// letIn expects the role's ARN.
func (c *cloud) letIn(t *testing.T, region string, headers map[string]string) {
	t.Helper()
	arn, err := c.identify(t, region, headers)
	if arn != c.role.ARN || err != nil {
		t.Errorf("%q, %v", arn, err)
	}
}

// refused expects a refusal for a reason, which repeats nothing of the other side.
func (c *cloud) refused(t *testing.T, headers map[string]string, reason string) {
	t.Helper()
	arn, err := c.identify(t, region, headers)
	var wrong *login.Wrong
	if arn != "" || !errors.As(err, &wrong) || !strings.Contains(wrong.Reason, reason) {
		t.Errorf("%q, %v, want %q", arn, err, reason)
	}
}

// malformed expects that nothing was asked, remembered or repeated.
func (c *cloud) malformed(t *testing.T, region string, headers map[string]string, member string) {
	t.Helper()
	arn, err := c.identify(t, region, headers)
	fields := fault.FieldsOf(err)
	if arn != "" || !fault.Is(err, fault.Invalid) || len(fields) != 1 || fields[0].Path != member || fields[0].Value != nil {
		t.Errorf("%q, %v, want %s", arn, err, member)
	}
	if len(c.double.Calls()) > 0 || len(c.once) > 0 {
		t.Error("something malformed was asked or remembered")
	}
}

// with returns the headers with changes: name and value, where "" takes one away.
func with(headers map[string]string, changes ...string) map[string]string {
	headers = maps.Clone(headers)
	for i := 0; i < len(changes); i += 2 {
		maps.DeleteFunc(headers, func(name, _ string) bool { return strings.EqualFold(name, changes[i]) })
		if changes[i+1] != "" {
			headers[changes[i]] = changes[i+1]
		}
	}
	return headers
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	t.Run("believes STS about what AWS's own client signed", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		headers := c.role.SignedByClient(t, region, "")
		for _, extra := range []string{"Amz-Sdk-Invocation-Id", "Amz-Sdk-Request", "User-Agent", "Content-Length", "X-Amz-Security-Token"} {
			if headers[extra] == "" {
				t.Errorf("the client sends no %s any more", extra)
			}
		}
		c.letIn(t, region, headers)
		c.ServerID = "gate.example.test"
		c.letIn(t, region, c.role.SignedByClient(t, region, "gate.example.test"))
	})
	t.Run("takes the headers in any case, and the fewest that there can be", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		lower := map[string]string{}
		for name, value := range c.sign(t) {
			lower[strings.ToLower(name)] = value
		}
		delete(lower, "host")
		c.letIn(t, region, lower)
		c.letIn(t, "us-gov-east-1", c.role.Sign(t, "us-gov-east-1", question, time.Now()))
	})
	t.Run("knows where China lies", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		_, err := c.identify(t, "cn-north-1", with(c.role.Sign(t, "cn-north-1", question, time.Now()), "Host", ""))
		if len(c.double.Calls()) != 1 || c.double.Calls()[0].Host != "sts.cn-north-1.amazonaws.com.cn" {
			t.Errorf("asked %d times, %v", len(c.double.Calls()), err)
		}
	})
	t.Run("sends nothing on that was not signed", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		c.letIn(t, region, with(c.sign(t), "Accept", "application/json", "User-Agent", "somebody", "X-Amz-User-Agent", "somebody"))
		got := c.double.Calls()[0]
		want := []string{"Authorization", "Content-Length", "Content-Type", "User-Agent", "X-Amz-Date", "X-Amz-Security-Token"}
		if names := slices.Sorted(maps.Keys(got.Header)); !slices.Equal(names, want) || got.UserAgent() != "Gatehouse" || got.Method != "POST" || got.RequestURI != "/" {
			t.Errorf("%s %s %v", got.Method, got.RequestURI, got.Header)
		}
	})
	t.Run("remembers a use for fifteen minutes, before it asks", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		c.double.Answer = func(w http.ResponseWriter, _ *http.Request) {
			if len(c.once) != 1 { // read by the one who waits for this answer
				t.Error("STS was asked first")
			}
			w.WriteHeader(http.StatusInternalServerError)
		}
		headers := c.sign(t)
		c.refused(t, headers, "STS answered 500")
		for key, until := range c.once {
			if d := time.Until(until); d < 14*time.Minute || d > 15*time.Minute || strings.Contains(key, c.role.Key) {
				t.Errorf("%q for %v", key, d)
			}
		}
		c.refused(t, headers, "used before")
	})
	t.Run("asks nobody when nobody knows whether it was used", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		broken := errors.New("no database")
		_, err := c.Identify(t.Context(), region, c.sign(t), func(context.Context, login.Once) (bool, error) { return false, broken })
		if !errors.Is(err, broken) || len(c.double.Calls()) > 0 {
			t.Errorf("%v, asked %d times", err, len(c.double.Calls()))
		}
	})
	t.Run("blames nobody when the caller has gone", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		ctx, cancel := context.WithCancel(t.Context())
		c.double.Answer = func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		}
		if _, err := c.Identify(ctx, region, c.sign(t), c.used); !errors.Is(err, context.Canceled) || errors.Is(err, login.ErrFailed) {
			t.Error(err)
		}
	})
}

// rule F9: a signature is good once, on every node, however it is spelled.
func TestIdentify_refuses_replays(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	headers := c.sign(t)
	var in atomic.Int32
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if arn, err := c.Identify(t.Context(), region, headers, c.used); arn == c.role.ARN && err == nil {
				in.Add(1)
			}
		})
	}
	all.Wait()
	if in.Load() != 1 || len(c.double.Calls()) != 1 {
		t.Errorf("let in %d times, asked %d times", in.Load(), len(c.double.Calls()))
	}
	c.refused(t, with(headers, "Authorization", strings.ReplaceAll(headers["Authorization"], ", ", ",")), "used before")
	c.refused(t, with(headers, "Authorization", strings.ReplaceAll(headers["Authorization"], ", ", ",   ")+" "), "used before")
	c.refused(t, with(headers, "Accept", "text/xml"), "used before")
}

// rule F9: what could change where the request goes, or what it means, is malformed.
func TestIdentify_refuses_what_is_malformed(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	good := c.sign(t)
	authorization := good["Authorization"]
	signature := func(old, new string) map[string]string {
		t.Helper()
		if !strings.Contains(authorization, old) {
			t.Fatalf("%s has no %s", authorization, old)
		}
		return with(good, "Authorization", strings.Replace(authorization, old, new, 1))
	}
	many := maps.Clone(good)
	for i := range 30 {
		many["accept"+strings.Repeat("t", i)] = "x"
	}
	for name, headers := range map[string]map[string]string{
		"nothing":                     nil,
		"foreign host":                with(good, "Host", "sts.evil.test"),
		"host of another region":      with(good, "Host", "sts.us-east-1.amazonaws.com"),
		"host with a port":            with(good, "Host", "sts.eu-west-1.amazonaws.com:443"),
		"extra header":                with(good, "X-Forwarded-Host", "sts.evil.test"),
		"extra amz header":            with(good, "X-Amz-Target", "AssumeRole"),
		"override of the method":      with(good, "X-Http-Method-Override", "GET"),
		"transfer encoding":           with(good, "Transfer-Encoding", "chunked"),
		"name with a colon":           with(good, "Accept:", "x"),
		"name that is empty":          with(good, "", "x"),
		"CR LF in a value":            with(good, "Accept", "x\r\nX-Amz-Target: AssumeRole"),
		"LF in a value":               with(good, "Accept", "x\nHost: evil.test"),
		"CR in a value":               with(good, "Accept", "x\ry"),
		"NUL in a value":              with(good, "Accept", "x\x00"),
		"not ASCII":                   with(good, "Accept", "\u00e9"),
		"too long":                    with(good, "Accept", strings.Repeat("x", 8<<10+1)),
		"too many":                    many,
		"twice by case":               func() map[string]string { h := maps.Clone(good); h["x-amz-date"] = good["X-Amz-Date"]; return h }(),
		"no authorization":            with(good, "Authorization", ""),
		"Basic":                       with(good, "Authorization", "Basic eDp5"),
		"another algorithm":           signature("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
		"no scope":                    signature("/aws4_request", ""),
		"another end of the scope":    signature("aws4_request", "aws5_request"),
		"another order":               with(good, "Authorization", "AWS4-HMAC-SHA256 Signature="+strings.Repeat("a", 64)+", SignedHeaders=host;x-amz-date, Credential=A/20261122/eu-west-1/sts/aws4_request"),
		"upper-case signature":        with(good, "Authorization", authorization[:len(authorization)-64]+strings.Repeat("A", 64)),
		"short signature":             with(good, "Authorization", authorization[:len(authorization)-1]),
		"something after":             with(good, "Authorization", authorization+", Region=x"),
		"host is not signed":          signature("host;", ""),
		"date is not signed":          signature("x-amz-date;", ""),
		"signed names out of order":   signature("content-type;host", "host;content-type"),
		"signed name twice":           signature("content-type;", "content-type;content-type;"),
		"signs an extra header":       signature("x-amz-date;", "x-amz-date;x-amz-foo;"),
		"signs itself":                signature("content-type;", "authorization;content-type;"),
		"signed header is not there":  with(good, "Content-Type", ""),
		"no date":                     with(good, "X-Amz-Date", ""),
		"date in another form":        with(good, "X-Amz-Date", "2026-11-22T10:00:00Z"),
		"date with a fraction":        with(good, "X-Amz-Date", strings.Replace(good["X-Amz-Date"], "Z", ".5Z", 1)),
		"content type of another API": c.role.Sign(t, region, question, time.Now(), "Content-Type", "application/x-amz-json-1.1"),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "name that is empty" {
				headers[""] = "x"
			}
			c.malformed(t, region, headers, "headers")
		})
	}
}

// rule F9: the region chooses among hosts of AWS, and operators choose among regions.
func TestIdentify_refuses_regions(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	headers := c.sign(t)
	for _, wrong := range []string{
		"", "eu-west", "EU-WEST-1", "eu-west-1 ", "eu-west-1\n", "eu-west-100", "eu-west-1.evil.test/", "eu-west-1@evil.test", "../eu-west-1", "e-west-1", "eu--1", "eu-w\u00e9st-1",
		"eu-" + strings.Repeat("a", 64) + "-1",
	} {
		c.malformed(t, wrong, headers, "region")
	}
	c.Regions = []string{"us-east-1", "us-east-2"}
	c.malformed(t, region, headers, "region")
	c.Regions = []string{"us-east-1", region}
	c.letIn(t, region, headers)
}

// rule F9: what was signed for somebody or something else is refused, by us before STS is asked or by STS.
func TestIdentify_refuses_what_was_signed_otherwise(t *testing.T) {
	t.Parallel()
	const server = "gate.example.test"
	now := time.Now()
	role, stranger := peers.STSRole(), peers.STSRole()
	stranger.Secret = "another secret"
	other := "Action=GetSessionToken&Version=2011-06-15"
	sum := sha256.Sum256([]byte(other))
	named := []string{"X-Gatehouse-Server-Id", server}
	tests := []struct {
		name, server string
		headers      map[string]string
		reason       string
		asked        int
	}{
		{"scope of another region", "", with(role.Sign(t, "us-east-1", question, now), "Host", ""), "another region", 0},
		{"scope of another service", "", with(role.Sign(t, region, question, now), "Authorization", strings.Replace(role.Sign(t, region, question, now)["Authorization"], "/sts/", "/iam/", 1)), "another region or service", 0},
		{"stale date", "", role.Sign(t, region, question, now.Add(-5*time.Minute-2*time.Second)), "five minutes", 0},
		{"date ahead", "", role.Sign(t, region, question, now.Add(5*time.Minute+30*time.Second)), "five minutes", 0},
		{"day of the scope is another", "", with(role.Sign(t, region, question, now.Add(-24*time.Hour)), "X-Amz-Date", now.UTC().Format("20060102T150405Z")), "another day", 0},
		{"fresh date over a stale signature", "", with(role.Sign(t, region, question, now.Add(-6*time.Minute)), "X-Amz-Date", now.UTC().Format("20060102T150405Z")), "", -1},
		{"another action", "", role.Sign(t, region, other, now), "STS answered 403", 1},
		{"another action, and it says so", "", role.Sign(t, region, other, now, "X-Amz-Content-Sha256", hex.EncodeToString(sum[:])), "another action", 0},
		{"body unsigned", "", role.Sign(t, region, question, now, "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), "another action", 0},
		{"key of somebody else", "", stranger.Sign(t, region, question, now), "STS answered 403", 1},
		{"no server id", server, role.Sign(t, region, question, now), "this server", 0},
		{"unsigned server id", server, with(role.Sign(t, region, question, now), named...), "this server", 0},
		{"id of another server", server, role.Sign(t, region, question, now, "X-Gatehouse-Server-Id", "evil.test"), "this server", 0},
		{"server id in another case", server, role.Sign(t, region, question, now, "X-Gatehouse-Server-Id", "GATE.example.test"), "this server", 0},
		{"server id changed after signing", server, with(role.Sign(t, region, question, now, "X-Gatehouse-Server-Id", "evil.test"), named...), "STS answered 403", 1},
		{"id of a server where there is none", "", role.Sign(t, region, question, now, named...), "this one has none", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			c.ServerID = tt.server
			c.refused(t, tt.headers, tt.reason)
			if n := len(c.double.Calls()); tt.asked >= 0 && n != tt.asked {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// rules F9, W8: STS is believed in one form alone.
func TestIdentify_refuses_answers(t *testing.T) {
	t.Parallel()
	right := peers.STSRole().Identity()
	body := func(status int, kind, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		reason string
	}{
		"JSON":            {body(200, "application/json", `{"GetCallerIdentityResponse":{}}`), "not XML"},
		"JSON called XML": {body(200, "text/xml", `{"GetCallerIdentityResponse":{}}`), "not as it must be"},
		"XML called JSON": {body(200, "application/json", right), "not XML"},
		"no type":         {body(200, "", right), "not XML"},
		"another status":  {body(201, "text/xml", right), "STS answered 201"},
		"refusal":         {body(403, "text/xml", right), "STS answered 403"},
		"DTD":             {body(200, "text/xml", `<!DOCTYPE x [<!ENTITY a "b">]>`+right), "not as it must be"},
		"trailing data":   {body(200, "text/xml", right+"<x/>"), "not as it must be"},
		"oversize":        {body(200, "text/xml", right+strings.Repeat(" ", 16<<10)), "too long"},
		"endless":         {body(200, "text/xml", strings.Repeat("x", 1<<20)), "too long"},
		"cut off":         {body(200, "text/xml", right[:100]), "not as it must be"},
		"nothing":         {body(200, "text/xml", ""), "not as it must be"},
		"broken off":      {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "STS: "},
		"slow":            {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer in time"},
		"slow to the end": {slowly(right), "no answer in time"},
		"redirect elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				t.Error("the redirect was followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, "STS answered 307"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			c.double.Answer, c.Patience = tt.answer, 20*time.Second
			if strings.HasPrefix(name, "slow") {
				c.Patience = 100 * time.Millisecond
			}
			c.refused(t, c.sign(t), tt.reason)
			if strings.HasPrefix(name, "slow") && len(c.double.Calls()) == 0 { // a slow machine did not come to ask
				c.Patience = 5 * time.Second
				c.refused(t, c.sign(t), tt.reason)
			}
			if n := len(c.double.Calls()); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// slowly begins an answer and does not end it.
func slowly(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, text[:50])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

func TestIdentify_needs_a_trusted_connection(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	server := httptest.NewTLSServer(c.double)
	t.Cleanup(server.Close)
	c.BaseURL = server.URL
	c.refused(t, c.sign(t), "certificate")
	c.BaseURL = "https://127.0.0.2:1" // the policy allows another address
	c.refused(t, c.sign(t, "Accept", "text/xml"), "not allowed")
	if len(c.double.Calls()) > 0 {
		t.Error("it was asked all the same")
	}
}

func TestIdentify_asks_through_no_proxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	c := newCloud(t)
	c.letIn(t, region, c.sign(t))
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, right := range []awsiam.Cloud{
		{}, {Regions: []string{"eu-west-1", "cn-north-1"}}, {BaseURL: "https://vpce-1.sts.eu-west-1.vpce.amazonaws.com"}, {BaseURL: "http://127.0.0.1:8080/"}, {BaseURL: "http://localhost:1"},
	} {
		if err := right.Check(); err != nil {
			t.Errorf("%+v: %v", right, err)
		}
	}
	for _, wrong := range []awsiam.Cloud{
		{Regions: []string{"eu-west"}},
		{Regions: []string{"eu-west-1", ""}},
		{BaseURL: "http://sts.example.test"},
		{BaseURL: "https://"},
		{BaseURL: "sts.example.test"},
		{BaseURL: "https://u:p@sts.example.test"},
		{BaseURL: "https://sts.example.test/path"},
		{BaseURL: "https://sts.example.test?x=y"},
		{BaseURL: "ftp://sts.example.test"},
	} {
		if wrong.Check() == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
}
