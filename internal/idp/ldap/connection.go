package ldap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	maxAnswers  = 64 << 10 // bytes that one connection may bring; parsed, each costs many times that
	maxStartTLS = 1 << 10  // bytes of the answer to StartTLS, which anybody on the way could have written
	maxHits     = 2        // entries are asked for: one is right, and a second one wrong
)

// refusal is a reason in our own words.
type refusal string

func (r refusal) Error() string { return string(r) }

var (
	errTooMuch    = errors.New("the directory answered too much")
	errNoStartTLS = errors.New("the directory does not do StartTLS")
)

// connection is a connection to a directory that proved its name.
type connection struct {
	ldap   *goldap.Conn
	ctx    context.Context
	bounds *bounded
}

// connect reaches the directory and speaks TLS to it. What was connected ends with ctx, which has a deadline.
func (d Directory) connect(ctx context.Context, s settled) (*connection, error) {
	raw, err := d.reach(ctx, s)
	if err != nil {
		return nil, err
	}
	return s.secure(ctx, raw)
}

// reach opens the connection.
func (d Directory) reach(ctx context.Context, s settled) (net.Conn, error) {
	raw, err := d.Dial(ctx, "tcp", s.address)
	if err != nil {
		return nil, said(ctx, "connect", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = raw.SetDeadline(deadline)
	}
	if err != nil {
		raw.Close()
		return nil, said(ctx, "connect", err)
	}
	context.AfterFunc(ctx, func() { raw.Close() })
	return raw, nil
}

// secure makes sure who answers, on every connection and before anything is said that matters.
func (s settled) secure(ctx context.Context, raw net.Conn) (*connection, error) {
	if !s.implicit {
		if err := startTLS(raw); err != nil {
			raw.Close()
			return nil, said(ctx, "start TLS", err)
		}
	}
	safe := tls.Client(raw, s.tls)
	if err := safe.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, said(ctx, "start TLS", err)
	}
	bounds := &bounded{Conn: safe, left: maxAnswers}
	c := &connection{ldap: goldap.NewConn(bounds, true), ctx: ctx, bounds: bounds}
	c.ldap.Start()
	return c, nil
}

// startTLS asks for TLS and reads the answer, no byte more: what somebody slipped in behind it becomes part of the handshake, which then fails
// (RFC 4511 section 4.14). The library's own StartTLS hides why a handshake failed.
func startTLS(raw net.Conn) error {
	request := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	request.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, ""))
	extended := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationExtendedRequest, nil, "")
	extended.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, "1.3.6.1.4.1.1466.20037", ""))
	request.AppendChild(extended)
	if _, err := raw.Write(request.Bytes()); err != nil {
		return err
	}
	return startsTLS(io.LimitReader(raw, maxStartTLS))
}

// startsTLS reads the answer to our first message, which was StartTLS.
func startsTLS(answer io.Reader) error {
	packet, err := ber.ReadPacket(answer)
	if err != nil {
		return err
	}
	if len(packet.Children) < 2 || packet.Children[0].Value != int64(1) {
		return errNoStartTLS
	}
	if op := packet.Children[1]; op.ClassType != ber.ClassApplication || op.Tag != goldap.ApplicationExtendedResponse {
		return errNoStartTLS
	}
	if goldap.GetLDAPError(packet) != nil {
		return errNoStartTLS
	}
	return nil
}

func (c *connection) close() { _ = c.ldap.Close() }

// bind proves who we are. Neither name nor password is ever empty: that would be an anonymous bind, which mostly succeeds (RFC 4513 section 5.1).
func (c *connection) bind(what, dn string, password secret.String) error {
	if dn == "" || password.Empty() {
		return refusal(what + ": there is nothing to bind with")
	}
	err := c.ldap.Bind(dn, password.Reveal())
	if goldap.IsErrorWithCode(err, goldap.LDAPResultInvalidCredentials) {
		return refusal(what + ": the directory does not take name and password")
	}
	return c.said(what, err)
}

// find searches and returns no entry, one, or two for two and more. A base that does not exist has no entries. Nothing is asked of other servers:
// who lies there cannot sign in here, and so is not there.
func (c *connection) find(base string, scope int, filter string, attributes []string) ([]*goldap.Entry, error) {
	r, err := c.ldap.Search(goldap.NewSearchRequest(base, scope, goldap.NeverDerefAliases, maxHits, c.seconds(), false, filter, attributes, nil))
	switch {
	case goldap.IsErrorWithCode(err, goldap.LDAPResultSizeLimitExceeded):
		return make([]*goldap.Entry, maxHits), nil
	case goldap.IsErrorWithCode(err, goldap.LDAPResultNoSuchObject) && scope == goldap.ScopeBaseObject:
		return nil, nil
	case err != nil:
		return nil, c.said("search", err)
	}
	return r.Entries, nil
}

// seconds is how long the directory itself may search.
func (c *connection) seconds() int {
	deadline, _ := c.ctx.Deadline()
	return max(1, int(time.Until(deadline).Seconds()))
}

// said turns an error of the connection into a refusal.
func (c *connection) said(what string, err error) error {
	if err != nil && c.bounds.exceeded() {
		err = errTooMuch
	}
	return said(c.ctx, what, err)
}

// said says what went wrong while we did something. It repeats nothing of what the other side sent: neither its diagnostic messages
// nor the names in its certificate.
func said(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	return refusal(what + ": " + words(ctx, err))
}

func words(ctx context.Context, err error) string {
	var (
		answer  *goldap.Error
		dns     *net.DNSError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		dial    *net.OpError
	)
	switch {
	case errors.Is(err, outbound.ErrForbidden):
		return outbound.ErrForbidden.Error()
	case errors.Is(err, errTooMuch), errors.Is(err, errNoStartTLS):
		return err.Error()
	case errors.Is(ctx.Err(), context.Canceled):
		return "the attempt was given up"
	case ctx.Err() != nil, timedOut(err), late(ctx):
		return "no answer in time"
	case errors.As(err, &answer) && answer.ResultCode < goldap.ErrorNetwork:
		return fmt.Sprintf("the directory answered %d %s", answer.ResultCode, goldap.LDAPResultCodeMap[answer.ResultCode])
	case errors.As(err, &dns):
		return "the host name could not be resolved"
	case errors.As(err, &unknown):
		return "the certificate is signed by no authority that is trusted"
	case errors.As(err, &host):
		return "the certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate is out of date, or not valid yet"
	case errors.As(err, &verify):
		return "the certificate was not accepted"
	case errors.As(err, &record):
		return "the directory does not speak TLS there"
	case errors.As(err, &dial) && dial.Op == "dial":
		return "the directory cannot be reached"
	default:
		return "the connection broke off"
	}
}

// late says that the time is over. The connection may notice that before the context does, and the library keeps to itself what the
// connection said.
func late(ctx context.Context) bool {
	deadline, bounded := ctx.Deadline()
	return bounded && !time.Now().Before(deadline)
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
