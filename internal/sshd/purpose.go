package sshd

import (
	"log/slog"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
)

// purpose is what a connection is for, as its first user name says: a *proof, a *gitVisit, a *visit, or a *stranger where there is no door. It is
// asked in the order of its methods, and every method of authentication asks authorise before anything else (rule S13).
type purpose interface {
	// authorise says no, on record, to a second user name and to whom nothing is open.
	authorise(user string) error
	// wants answers whether the client should sign with a key that it offers. It proves nothing (rule S1).
	wants(key sshkey.OfferedKey) bool
	// saw hears of a key that nobody could ever use here.
	saw()
	// proved takes a key whose signature was verified, and says whether another may come. An error refuses it.
	proved(key sshkey.ProvenKey) (more bool, err error)
	// keyless says whether who is let in needs no key: to be told how it went.
	keyless() bool
	// free says whether a failure does not count towards the end of the connection (rule S7).
	free(user, method string, failure error) bool

	// lost settles a connection that ended before authentication did.
	lost()
	// serve has the connection after authentication, until it has ended.
	serve(conn *ssh.ServerConn, channels <-chan ssh.NewChannel, globals <-chan *ssh.Request)
	// end gives back what was taken. It is called once, last.
	end()
	// line is what the log says of the connection.
	line() (slog.Level, string, []slog.Attr)
}

// stranger is the purpose of connections for which there is no door: whatever they ask for is refused.
type stranger struct {
	*connection
	broken bool // we could not find out what it is for
}

func (s *stranger) authorise(user string) error {
	if !s.broken {
		s.refuse(user)
	}
	return errRefused
}

func (s *stranger) wants(sshkey.OfferedKey) bool { return false }

func (s *stranger) saw() {}

func (s *stranger) proved(sshkey.ProvenKey) (bool, error) { return false, errRefused }

func (s *stranger) keyless() bool { return false }

// free lets who has the form of an identifier in their user name try on: their keys are as many as they have.
func (s *stranger) free(user, _ string, _ error) bool { return s.code && user == s.user }

func (s *stranger) lost() {
	switch {
	case s.broken:
		s.outcome = OutcomeFailed
	case s.refused:
		s.outcome = OutcomeRefused
	}
}

// serve is never reached: authorise lets nobody through.
func (s *stranger) serve(*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request) {
	s.socket.Close()
}

func (s *stranger) end() {}

func (s *stranger) line() (slog.Level, string, []slog.Attr) {
	return slog.LevelDebug, "connection", nil
}
