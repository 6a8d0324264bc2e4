package sshd

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
)

// The actions under which this door's own refusals are recorded.
const (
	Login     access.Action = "ssh.login"     // no door behind a user name
	Negotiate access.Action = "ssh.negotiate" // no common algorithm
	Connect   access.Action = "ssh.connect"   // over a cap on connections that have not authenticated
)

const (
	// maxFailures ends connections without an identifier (rule S7).
	maxFailures = 6
	// maxVersion is how much of a client's version line is kept.
	maxVersion = 255
	// maxName is how much of a refused user name is recorded.
	maxName = 64
)

// errRefused is the door's one answer to whatever it refuses. Clients are told that it failed, not why.
var errRefused = errors.New("refused")

// bind looks at the first user name, which settles what the connection is for, and returns the banner. The
// library calls it at the first request of any method, before that request is judged.
func (c *connection) bind(meta ssh.ConnMetadata) (banner string) {
	c.user = meta.User()
	switch route := ParseRoute(c.user).(type) {
	case ProofRoute:
		c.purpose, banner = c.beginProof(route, meta)
	case GitRoute:
		if c.server.Git != nil {
			c.purpose = &gitVisit{connection: c}
		}
	case RemoteRoute:
		if c.server.Remote != nil {
			c.purpose = &visit{connection: c, name: route.User, to: &route}
		}
	case PersonRoute:
		if c.server.Remote != nil {
			c.purpose = &visit{connection: c, name: route.User}
		}
	}
	return banner
}

// refuse records once that this connection asked in vain.
func (c *connection) refuse(user string) {
	if c.refused {
		return
	}
	c.refused = true
	action, reason := Login, "no door behind this user name"
	switch {
	case user != c.user:
		reason = "a second user name"
	case c.code:
		action, reason = access.KeyproofAttempt, "not the code of an open session"
	}
	e := c.nobody().Event(c.server.Now(), action, access.Installation, audit.Refused)
	e.Reason = reason
	if c.code { // not as name: guesses are folded together whatever they are
		e = e.With("identifier_prefix", strings.ToLower(c.user[:shownOfIdentifier]))
	} else {
		e.Actor.Name = cut(oneLine(user), maxName)
	}
	c.record(e)
}

// offered answers whether the client should sign with a key. It proves nothing (rule S1): it is called
// for a bare question, and before the signature is looked at. Certificates and odd keys end in
// sshkey.Offered (rules S5 and S6).
func (c *connection) offered(meta ssh.ConnMetadata, pub ssh.PublicKey) (*ssh.Permissions, error) {
	if err := c.purpose.authorise(meta.User()); err != nil {
		return nil, err
	}
	key, err := sshkey.Offered(pub)
	if err != nil {
		c.purpose.saw()
		return nil, errRefused
	}
	if !c.purpose.wants(key) {
		return nil, errRefused
	}
	return nil, nil
}

// verified hears of a key whose signature the library has verified on this connection: the only source
// of proven keys (rule S1). No permissions are ever given, so nothing can waive the touch of a security
// key (rule S4) or get lost on the way (rule S3).
func (c *connection) verified(meta ssh.ConnMetadata, pub ssh.PublicKey, _ *ssh.Permissions, algorithm string) (*ssh.Permissions, error) {
	if err := c.purpose.authorise(meta.User()); err != nil {
		return nil, err
	}
	key, err := sshkey.Proven(pub, algorithm)
	if err != nil {
		c.purpose.saw()
		return nil, errRefused
	}
	more, err := c.purpose.proved(key)
	if err != nil {
		return nil, err
	}
	if _, asks := c.purpose.(*visit); more && asks { // OpenSSH would come with the same key again, for ever
		return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{KeyboardInteractiveCallback: c.interactive}}
	}
	if more {
		return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{
			PublicKeyCallback: c.offered,
			// dbclient and plink try each key once and then need another method to end with.
			KeyboardInteractiveCallback: c.interactive,
		}}
	}
	return nil, nil
}

// interactive asks what a purpose wants to know. Where that is nothing it lets those in who need no key.
func (c *connection) interactive(meta ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	refusal := c.purpose.authorise(meta.User())
	if asks, ok := c.purpose.(*visit); ok && refusal == nil {
		return nil, asks.converse(ask)
	}
	if refusal == nil && !c.purpose.keyless() {
		refusal = errRefused
	}
	if _, err := ask("", "", nil, nil); err != nil {
		return nil, err
	}
	return nil, refusal
}

// answered hears of every request and its answer. It counts failures where keys are not unlimited (rule
// S7), and notices keys that the library refuses by itself: DSA, SHA-1, unreadable ones.
func (c *connection) answered(meta ssh.ConnMetadata, method string, err error) {
	var more *ssh.PartialSuccessError
	if err == nil || errors.As(err, &more) {
		return
	}
	if method == "none" {
		if c.nones++; c.nones == 1 { // how clients ask which methods there are
			return
		}
	} else if method == "publickey" && !errors.Is(err, errRefused) {
		if c.purpose.authorise(meta.User()) == nil {
			c.purpose.saw()
		}
	} else if s, nowhere := c.purpose.(*stranger); nowhere && method != "keyboard-interactive" {
		_ = s.authorise(meta.User()) // methods that are not offered, such as password, are put on record
	}
	if c.purpose.free(meta.User(), method, err) {
		return
	}
	if c.failures++; c.failures >= maxFailures {
		c.socket.Close()
	}
}

// printable is a client's version line as it may be shown and stored.
func printable(line []byte) string {
	shown := []byte(string(line[:min(len(line), maxVersion)]))
	for i, b := range shown {
		if b < 0x20 || b > 0x7e {
			shown[i] = '?'
		}
	}
	return string(shown)
}

// cut shortens text to n characters.
func cut(text string, n int) string {
	for i := range text {
		if n--; n < 0 {
			return text[:i] + string(utf8.RuneError)
		}
	}
	return text
}
