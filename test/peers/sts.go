package peers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Of AWS there is no program to start, so STS is the one peer that is a double: a strict one, which verifies signatures with the signer
// of AWS's own library, and whose callers are that library's own client.

// STSCaller is somebody with keys, and who STS says that it is.
type STSCaller struct {
	Key, Secret, Token string // Token is that of temporary keys, or ""
	ARN, UserID        string
	Account            string
}

// STSRole is a machine with temporary keys of a role.
func STSRole() STSCaller {
	return STSCaller{
		Key: "ASIAEXAMPLEEXAMPLE12", Secret: "a secret access key of the tests alone", Token: "a session token of the tests alone",
		ARN: "arn:aws:sts::111122223333:assumed-role/deploy/i-0abc", UserID: "AROAEXAMPLE:i-0abc", Account: "111122223333",
	}
}

// STSDouble answers GetCallerIdentity on loopback. It believes the Host header about the region, as its connection says nothing of it.
type STSDouble struct {
	URL string
	// Answer, if set, answers in its place whatever the signature is.
	Answer http.HandlerFunc

	callers []STSCaller
	mutex   sync.Mutex
	calls   []*http.Request
}

// STS starts a double that knows the callers and ends with the test.
func STS(tb testing.TB, callers ...STSCaller) *STSDouble {
	tb.Helper()
	d := &STSDouble{callers: callers}
	server := httptest.NewServer(d)
	tb.Cleanup(server.Close)
	d.URL = server.URL
	return d
}

// Calls returns the requests so far, refused ones too.
func (d *STSDouble) Calls() []*http.Request {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return append([]*http.Request{}, d.calls...)
}

// ServeHTTP implements http.Handler.
func (d *STSDouble) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mutex.Lock()
	d.calls = append(d.calls, r.Clone(context.WithoutCancel(r.Context())))
	answer := d.Answer
	d.mutex.Unlock()
	if answer != nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<10)) // who has read it all learns when the caller goes
		answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	caller, err := d.verify(r)
	if err != nil {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, "<ErrorResponse xmlns=%q><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>%s</Message></Error></ErrorResponse>", stsNamespace, err)
		return
	}
	_, _ = io.WriteString(w, caller.Identity())
}

const stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"

// Identity is the answer of STS about the caller.
func (c STSCaller) Identity() string {
	return fmt.Sprintf(`<GetCallerIdentityResponse xmlns="%s">
  <GetCallerIdentityResult>
    <Arn>%s</Arn>
    <UserId>%s</UserId>
    <Account>%s</Account>
  </GetCallerIdentityResult>
  <ResponseMetadata>
    <RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId>
  </ResponseMetadata>
</GetCallerIdentityResponse>
`, stsNamespace, c.ARN, c.UserID, c.Account)
}

var (
	stsHost   = regexp.MustCompile(`^sts\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?$`)
	stsSigned = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/sts/aws4_request, SignedHeaders=([^,]+), Signature=`)
)

// verify signs what was signed once more and compares.
func (d *STSDouble) verify(r *http.Request) (STSCaller, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
	if err != nil {
		return STSCaller{}, err
	}
	host, sent := stsHost.FindStringSubmatch(r.Host), stsSigned.FindStringSubmatch(r.Header.Get("Authorization"))
	date, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	switch {
	case r.Method != http.MethodPost || r.URL.String() != "/" || !strings.Contains(string(body), "Action=GetCallerIdentity&"):
		return STSCaller{}, errors.New("another request")
	case host == nil || sent == nil || host[1] != sent[2]:
		return STSCaller{}, errors.New("no scope of this host")
	case err != nil || time.Since(date).Abs() > 15*time.Minute:
		return STSCaller{}, errors.New("another time")
	}
	for _, c := range d.callers {
		if c.Key == sent[1] && c.Token == r.Header.Get("X-Amz-Security-Token") {
			return c, c.resign(r, body, strings.Split(sent[3], ";"), sent[2], date)
		}
	}
	return STSCaller{}, errors.New("no such key")
}

// resign compares the signature with one of its own over the same headers.
func (c STSCaller) resign(r *http.Request, body []byte, names []string, region string, date time.Time) error {
	again, err := http.NewRequestWithContext(r.Context(), r.Method, "https://"+r.Host+"/", nil)
	if err != nil {
		return err
	}
	for _, name := range names {
		switch name {
		case "content-length":
			again.ContentLength = r.ContentLength
		case "host":
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	if err := c.sign(again, string(body), region, date); err != nil {
		return err
	}
	if again.Header.Get("Authorization") != r.Header.Get("Authorization") {
		return errors.New("another signature")
	}
	return nil
}

func (c STSCaller) sign(r *http.Request, body, region string, date time.Time) error {
	sum := sha256.Sum256([]byte(body))
	credentials := aws.Credentials{AccessKeyID: c.Key, SecretAccessKey: c.Secret, SessionToken: c.Token}
	return v4.NewSigner().SignHTTP(r.Context(), credentials, r, hex.EncodeToString(sum[:]), "sts", region, date)
}

// Sign returns the headers of a request to STS in that region which has the body and the headers (name, value and so on), by AWS's
// signer alone.
func (c STSCaller) Sign(tb testing.TB, region, body string, date time.Time, headers ...string) map[string]string {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, "https://sts."+region+".amazonaws.com/", nil)
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if err := c.sign(r, body, region, date); err != nil {
		tb.Fatal(err)
	}
	return flat(r)
}

// SignedByClient returns the headers with which AWS's client would ask STS in that region who it is, now: a program signs in with
// them. server is the value of X-Gatehouse-Server-Id, "" for none.
func (c STSCaller) SignedByClient(tb testing.TB, region, server string) map[string]string {
	tb.Helper()
	var caught captured
	options := sts.Options{
		Region: region, HTTPClient: &caught, RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: c.Key, SecretAccessKey: c.Secret, SessionToken: c.Token}, nil
		}),
	}
	if server != "" {
		options.APIOptions = append(options.APIOptions, smithyhttp.SetHeaderValue("X-Gatehouse-Server-Id", server))
	}
	if _, err := sts.New(options).GetCallerIdentity(tb.Context(), &sts.GetCallerIdentityInput{}); !errors.Is(err, errCaptured) {
		tb.Fatalf("nothing was sent: %v", err)
	}
	return flat(caught.request)
}

// captured keeps a request instead of sending it.
type captured struct{ request *http.Request }

var errCaptured = errors.New("captured")

// Do implements the client that AWS's library sends by.
func (c *captured) Do(r *http.Request) (*http.Response, error) {
	c.request = r
	return nil, errCaptured
}

func flat(r *http.Request) map[string]string {
	all := map[string]string{"Host": r.URL.Host}
	for name, values := range r.Header {
		all[name] = strings.Join(values, ",")
	}
	if r.ContentLength > 0 {
		all["Content-Length"] = strconv.FormatInt(r.ContentLength, 10)
	}
	return all
}
