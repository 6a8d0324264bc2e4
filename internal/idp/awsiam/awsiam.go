// Package awsiam finds out as whom a program is known to AWS: it sends the program's own signed question on to STS and believes the answer.
//
// The program signs a GetCallerIdentity request and gives us nothing but its headers. All else is written here (rule F9): the
// host, from a region that an operator may narrow; the path; the one action; and of the headers only those that are on a list and
// were signed. What was signed for another host, another action or another Gatehouse is therefore refused, by us or by STS. A
// signature is good for five minutes around our clock and for one use. No redirect is followed, and the answer is read strictly.
package awsiam

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
)

const (
	question    = "Action=GetCallerIdentity&Version=2011-06-15"
	contentType = "application/x-www-form-urlencoded; charset=utf-8" // where none was signed
	userAgent   = "Gatehouse"

	window     = 5 * time.Minute  // how far a signature's date may lie from our clock
	usedFor    = 15 * time.Minute // for so long a signature is remembered: longer than it is good for
	patience   = 5 * time.Second
	maxAnswer  = 16 << 10 // bytes
	dateFormat = "20060102T150405Z"
)

// Cloud asks STS. Its fields do not change once it is in use.
type Cloud struct {
	Client   *outbound.Client // obeys the policy for outward calls
	BaseURL  string           // scheme, host and port to connect to instead of the region's own; "" for that one
	Regions  []string         // that may be asked; empty: all
	ServerID string           // what programs sign as X-Gatehouse-Server-Id, so that it counts here alone; "" for none
	Now      func() time.Time // time.Now when nil
	Patience time.Duration    // for the whole call; 5 s when zero
}

var _ login.Cloud = (*Cloud)(nil)

var regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d{1,2}$`)

// Check returns why the settings cannot work, or nil, without asking anybody.
func (c *Cloud) Check() error {
	for _, r := range c.Regions {
		if !isRegion(r) {
			return fmt.Errorf("%q is no region, such as eu-west-1", r)
		}
	}
	if c.BaseURL == "" {
		return nil
	}
	u, err := url.Parse(c.BaseURL)
	if err != nil || u.Host == "" || strings.TrimRight(c.BaseURL, "/") != u.Scheme+"://"+u.Host || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return errors.New("must be https://HOST[:PORT]; http:// is for loopback alone")
	}
	return nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Identify implements login.Cloud. The ARN it returns is STS's, byte for byte.
func (c *Cloud) Identify(ctx context.Context, region string, headers map[string]string, used func(context.Context, login.Once) (bool, error)) (string, error) {
	if !isRegion(region) || len(c.Regions) > 0 && !slices.Contains(c.Regions, region) {
		return "", invalid("region", "is not one that may be asked")
	}
	host := hostOf(region)
	s, err := readSigned(headers, host)
	if err != nil {
		return "", err
	}
	now := c.now()
	if err := c.judge(s, region, now); err != nil {
		return "", err
	}
	was, err := used(ctx, login.Once{Key: s.key(), Until: now.Add(usedFor)})
	if err != nil {
		return "", fmt.Errorf("note use of AWS signature: %w", err)
	}
	if was {
		return "", wrong("the signature was used before")
	}
	arn, err := c.ask(ctx, host, s)
	if errors.Is(ctx.Err(), context.Canceled) { // the caller has gone: nobody's fault
		return "", ctx.Err()
	}
	return arn, err
}

func (c *Cloud) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// isRegion bounds the length as well: a region becomes part of a host name.
func isRegion(region string) bool { return len(region) <= 32 && regionName.MatchString(region) }

// hostOf is where STS answers for a region.
func hostOf(region string) string {
	host := "sts." + region + ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		host += ".cn"
	}
	return host
}

// judge refuses what was signed for somebody else, or at another time.
func (c *Cloud) judge(s signed, region string, now time.Time) error {
	switch server := s.header["x-gatehouse-server-id"]; {
	case s.Region != region || s.Service != "sts":
		return wrong("it was signed for another region or service")
	case s.Day != s.date.Format("20060102"):
		return wrong("it was signed with the key of another day")
	case s.date.Before(now.Add(-window)) || s.date.After(now.Add(window)):
		return wrong("it was not signed within the last five minutes, or the clocks differ")
	case s.body != "" && s.body != hexSum(question):
		return wrong("it was signed for another action")
	case c.ServerID != "" && server != c.ServerID, c.ServerID != "" && !s.covers("x-gatehouse-server-id"):
		return wrong("it was not signed for this server")
	case c.ServerID == "" && server != "":
		return wrong("it was signed for a server that has an id, and this one has none")
	}
	return nil
}

// ask sends the question on.
func (c *Cloud) ask(ctx context.Context, host string, s signed) (string, error) {
	limit := c.Patience
	if limit == 0 {
		limit = patience
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := c.request(ctx, host, s)
	if err != nil {
		return "", err
	}
	client := *c.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.Do(r)
	if err != nil {
		return "", &login.Wrong{Reason: "STS: " + outbound.Reason(err), Away: true}
	}
	defer func() { _ = answer.Body.Close() }() // what was read is all we want
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	kind, _, wrongType := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	switch {
	case answer.StatusCode != http.StatusOK:
		return "", wrong(fmt.Sprintf("STS answered %d", answer.StatusCode))
	case err != nil:
		return "", wrong("STS: " + outbound.Reason(err))
	case len(body) > maxAnswer:
		return "", wrong("the answer of STS is too long")
	case wrongType != nil || kind != "text/xml" && kind != "application/xml":
		return "", wrong("the answer of STS is not XML")
	}
	arn, err := readAnswer(body)
	if err != nil {
		return "", wrong("the answer of STS is not as it must be: " + err.Error())
	}
	return arn, nil
}

// request writes the request that was signed. Of the headers it takes those that the signature covers: the others
// could say anything.
func (c *Cloud) request(ctx context.Context, host string, s signed) (*http.Request, error) {
	base := "https://" + host
	if c.BaseURL != "" {
		base = strings.TrimRight(c.BaseURL, "/")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/", strings.NewReader(question))
	if err != nil {
		return nil, fmt.Errorf("ask STS: %w", err)
	}
	r.Host = host
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("User-Agent", userAgent)
	for _, name := range s.names {
		if name != "host" && name != "content-length" { // those are ours; STS refuses the signature where they differ
			r.Header.Set(name, s.header[name])
		}
	}
	r.Header.Set("Authorization", s.String())
	return r, nil
}

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func wrong(reason string) *login.Wrong { return &login.Wrong{Reason: reason} }

// invalid names a member of the caller's input. What was sent is not repeated: it holds a signature.
func invalid(member, message string) error {
	return fault.Fields("the signed request cannot be read", fault.Field{Path: member, Message: message})
}
