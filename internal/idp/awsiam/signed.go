package awsiam

import (
	"mime"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	maxHeaders = 20
	maxValue   = 8 << 10 // bytes
)

// forwarded lists the headers that may come along: any other could change what the request means.
var forwarded = map[string]bool{
	"authorization": true, "x-amz-date": true, "x-amz-security-token": true, "x-amz-content-sha256": true,
	"content-type": true, "content-length": true, "host": true, "accept": true, "accept-encoding": true, "user-agent": true,
	"amz-sdk-invocation-id": true, "amz-sdk-request": true, "amz-sdk-retry": true, "x-amz-user-agent": true, "x-gatehouse-server-id": true,
}

// signed is a signed request as its headers tell of it.
type signed struct {
	authorization
	header map[string]string // by lower-case name
	date   time.Time
	body   string // digest of the body that was signed, where a header says it
}

// readSigned reads headers of a request to that host. What is wrong with their form is the caller's member "headers".
func readSigned(headers map[string]string, host string) (s signed, err error) {
	if s.header, err = fold(headers); err != nil {
		return s, err
	}
	if given, ok := s.header["host"]; ok && given != host {
		return s, invalid("headers", "host: is not that of STS in the region")
	}
	var ok bool
	if s.authorization, ok = parseAuthorization(s.header["authorization"]); !ok {
		return s, invalid("headers", "authorization: is not a signature of version 4")
	}
	if s.date, err = time.Parse(dateFormat, s.header["x-amz-date"]); err != nil || len(s.header["x-amz-date"]) != len(dateFormat) {
		return s, invalid("headers", "x-amz-date: is not YYYYMMDD'T'HHMMSS'Z'")
	}
	s.body = s.header["x-amz-content-sha256"]
	return s, s.complete()
}

// fold returns the headers by lower-case name.
func fold(headers map[string]string) (map[string]string, error) {
	if len(headers) > maxHeaders {
		return nil, invalid("headers", "are too many")
	}
	all := make(map[string]string, len(headers))
	for name, value := range headers {
		name = strings.ToLower(name)
		_, twice := all[name]
		switch {
		case !forwarded[name]:
			return nil, invalid("headers", "hold one that may not come along")
		case twice:
			return nil, invalid("headers", name+": is there twice")
		case len(value) > maxValue || strings.ContainsFunc(value, unprintable):
			return nil, invalid("headers", name+": is too long, or holds what no header may")
		}
		all[name] = strings.Trim(value, " ")
	}
	return all, nil
}

func unprintable(r rune) bool { return r < ' ' || r > '~' }

// complete checks that the signature covers what it must, and that what it covers is there to be sent.
func (s signed) complete() error {
	for _, must := range []string{"host", "x-amz-date"} {
		if !s.covers(must) {
			return invalid("headers", "authorization: does not sign "+must)
		}
	}
	for _, name := range s.names {
		_, sent := s.header[name]
		switch {
		case !forwarded[name] || name == "authorization":
			return invalid("headers", "authorization: signs a header that may not come along")
		case !sent && name != "host" && name != "content-length":
			return invalid("headers", name+": is signed and not there")
		}
	}
	if kind, _, err := mime.ParseMediaType(s.header["content-type"]); s.covers("content-type") && (err != nil || kind != "application/x-www-form-urlencoded") {
		return invalid("headers", "content-type: is not that of a form")
	}
	return nil
}

// authorization is a header of signature version 4.
type authorization struct {
	Key, Day, Region, Service string
	names                     []string // of what is signed, in order
	Signature                 string
}

var authorizationForm = regexp.MustCompile(`^AWS4-HMAC-SHA256 +Credential=([A-Za-z0-9_]{1,128})/(\d{8})/([a-z0-9-]{1,64})/([a-z0-9-]{1,64})/aws4_request, *` +
	`SignedHeaders=([a-z0-9-]+(?:;[a-z0-9-]+)*), *Signature=([0-9a-f]{64})$`)

// parseAuthorization takes the one form that AWS's own programs write, each name once and in order.
func parseAuthorization(header string) (a authorization, ok bool) {
	if len(header) > maxValue {
		return a, false
	}
	m := authorizationForm.FindStringSubmatch(header)
	if m == nil {
		return a, false
	}
	a = authorization{Key: m[1], Day: m[2], Region: m[3], Service: m[4], names: strings.Split(m[5], ";"), Signature: m[6]}
	return a, slices.IsSorted(a.names) && len(slices.Compact(slices.Clone(a.names))) == len(a.names)
}

// String is the one spelling in which it is sent on and remembered: spaces make no other signature of it.
func (a authorization) String() string {
	return "AWS4-HMAC-SHA256 Credential=" + a.Key + "/" + a.Day + "/" + a.Region + "/" + a.Service + "/aws4_request, SignedHeaders=" +
		strings.Join(a.names, ";") + ", Signature=" + a.Signature
}

// key is under what its use is remembered.
func (a authorization) key() string { return "aws " + hexSum(a.String()) }

func (a authorization) covers(name string) bool { return slices.Contains(a.names, name) }
