package sshd

import (
	"errors"
	"log/slog"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// maxProven stops asking for more keys before the library's 128 requests run out: three for each key
// in the worst case, and one that must still be free to succeed.
const maxProven = 50

// shownOfIdentifier is how many characters of an identifier may be written down.
const shownOfIdentifier = 4

// proof is the purpose of a connection to an open session: keys are proven there.
type proof struct {
	*connection
	attempt *keyproof.Attempt
	seated  chan struct{} // closed when the desk, or the end, takes over from watch
	asked   bool          // the client asked to authenticate
	proven  int

	committed bool
	result    keyproof.Result
	failed    error
}

// beginProof looks the session up and returns what the connection is for, and the banner.
func (c *connection) beginProof(route ProofRoute, meta ssh.ConnMetadata) (purpose, string) {
	c.code = true
	attempt, err := c.server.Keyproof.Begin(c.ctx, route.Identifier, keyproof.Peer{
		Caller: c.nobody(), ClientVersion: printable(meta.ClientVersion()),
	})
	switch {
	case errors.Is(err, keyproof.ErrNotValid):
		return &stranger{connection: c}, fault.Text(err) + "\n"
	case err != nil:
		c.server.Log.Error("begin attempt", "door", "sshd", "error", err)
		return &stranger{connection: c, broken: true}, lineBroken + "\n"
	}
	p := &proof{connection: c, attempt: attempt, seated: make(chan struct{})}
	c.busy.Store(true)
	go p.watch(attempt.Gone(), p.seated)
	if banner := attempt.Session().Banner; banner != nil {
		return p, plain(*banner) + "\n"
	}
	return p, ""
}

// authorise implements purpose.
func (p *proof) authorise(user string) error {
	if user != p.user {
		p.refuse(user)
		return errRefused
	}
	p.asked = true
	p.attempt.Connected(p.ctx)
	return nil
}

// wants implements purpose.
func (p *proof) wants(key sshkey.OfferedKey) bool { return p.attempt.Wants(key) }

// saw implements purpose.
func (p *proof) saw() { p.attempt.Saw() }

// proved implements purpose.
func (p *proof) proved(key sshkey.ProvenKey) (more bool, err error) {
	p.proven++
	return p.attempt.Prove(key) && p.proven < maxProven, nil
}

// keyless lets everybody in who names an open session. What was proven is not its business (rule S18).
func (p *proof) keyless() bool { return true }

// free implements purpose: whoever knows the identifier may offer all their keys.
func (p *proof) free(user, _ string, _ error) bool { return user == p.user }

// lost implements purpose. Whatever was proven counts all the same: BatchMode ends here.
func (p *proof) lost() {
	switch {
	case p.asked:
		p.commit(p.dropped())
	case p.refused:
		p.outcome = OutcomeRefused
	}
}

// serve implements purpose.
func (p *proof) serve(conn *ssh.ServerConn, channels <-chan ssh.NewChannel, globals <-chan *ssh.Request) {
	p.unwatch()
	p.serveDesk(conn, channels, globals)
}

// end implements purpose.
func (p *proof) end() {
	p.unwatch()
	p.attempt.End()
}

// line implements purpose. The identifier is a capability: its first characters do.
func (p *proof) line() (slog.Level, string, []slog.Attr) {
	if !p.asked {
		return slog.LevelDebug, "connection", nil
	}
	session := p.attempt.Session()
	return slog.LevelInfo, "key proof", []slog.Attr{slog.String("session", session.ID), slog.String("identifier", session.Identifier[:shownOfIdentifier])}
}

// dropped is how an attempt ends that nobody can confirm any more.
func (p *proof) dropped() keyproof.End {
	if p.attempt.Session().MustConfirm {
		return keyproof.Disconnected
	}
	return keyproof.Finished
}

// commit ends the attempt in the domain, once.
func (p *proof) commit(end keyproof.End) {
	if p.committed {
		return
	}
	p.committed = true
	p.result, p.failed = p.attempt.Commit(p.ctx, end)
	if fault.Is(p.failed, fault.NotFound) { // the session was deleted
		p.result, p.failed = keyproof.Result{Verdict: keyproof.LostRace}, nil
	}
	p.outcome = string(p.result.Verdict)
	if p.failed != nil {
		p.outcome = OutcomeFailed
		p.server.Log.Error("commit attempt", "door", "sshd", "session", p.attempt.Session().ID, "error", p.failed)
	}
}

// watch closes the connection when its session is deleted while it authenticates. Later the desk looks
// by itself: connections that wait are many, and a goroutine each would cost.
func (p *proof) watch(gone, seated <-chan struct{}) {
	select {
	case <-gone:
		p.socket.Close()
	case <-seated:
	}
}

// unwatch ends watch, once.
func (p *proof) unwatch() {
	if p.seated != nil {
		close(p.seated)
		p.seated = nil
	}
}
