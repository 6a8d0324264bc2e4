package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
)

const (
	keptAnswer    = 4 << 10  // of an answer's body, for people who look into a failure
	drainedAnswer = 64 << 10 // read at most, so that the connection can be used again
)

// Webhooks sends deliveries.
type Webhooks struct{ Client *http.Client }

var _ webhook.Sender = Webhooks{}

// Send makes one request. Only a 2xx answer is success; a redirect is not followed and so is a failure.
func (w Webhooks) Send(ctx context.Context, r webhook.Request) webhook.Result {
	request, err := http.NewRequestWithContext(ctx, r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return webhook.Result{Reason: "the address cannot be used"}
	}
	request.Header = http.Header(r.Header).Clone()
	response, err := w.Client.Do(request)
	if err != nil {
		return webhook.Result{Reason: Reason(err)}
	}
	defer func() { _ = response.Body.Close() }() // what was read is all we want
	answer, err := io.ReadAll(io.LimitReader(response.Body, keptAnswer))
	if err == nil {
		_, err = io.CopyN(io.Discard, response.Body, drainedAnswer)
	}
	result := webhook.Result{Status: response.StatusCode, Answer: answer}
	switch {
	case response.StatusCode < 200 || response.StatusCode > 299:
		result.Reason = fmt.Sprintf("answered %d", response.StatusCode)
	case err != nil && !errors.Is(err, io.EOF):
		result.Reason = "the answer broke off: " + Reason(err)
	}
	return result
}

// Reason says in a few words why a request failed. It never repeats the address, which may hold a
// token, nor what the other side sent.
func Reason(err error) string {
	var (
		dns       *net.DNSError
		unknown   x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		operation *net.OpError
	)
	switch {
	case errors.Is(err, ErrForbidden):
		return ErrForbidden.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "the server is stopping"
	case errors.As(err, &dns):
		return "the host name could not be resolved"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate is out of date, or not valid yet"
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid):
		return "the certificate was not accepted"
	case errors.As(err, &record):
		return "the target does not speak TLS"
	case errors.As(err, &operation) && operation.Op == "dial":
		return "the target refused the connection"
	default:
		return "the connection broke off"
	}
}
