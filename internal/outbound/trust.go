package outbound

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
)

// Client is an HTTP client that obeys a policy. Rooms that call out hold one of these, and make none (rule W8).
type Client = http.Client

// Trusting returns a client that obeys the same policy as c, follows no redirect, and trusts the authorities of a PEM text instead of the
// system's; "" leaves those. Errors may be shown. A client with authorities has connections of its own: close the idle ones at its end.
func Trusting(c *Client, authorities string) (*Client, error) {
	fresh := *c
	fresh.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if authorities == "" {
		return &fresh, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(authorities)) {
		return nil, errors.New("the authority's certificate is no PEM certificate")
	}
	transport, ok := c.Transport.(*http.Transport)
	if !ok {
		return nil, errors.New("this server cannot use an authority of a provider's own")
	}
	transport = transport.Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	fresh.Transport = transport
	return &fresh, nil
}
