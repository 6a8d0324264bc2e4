package sshd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Remote is what stands behind the names of people.
type Remote struct {
	Keys     *sshkey.Service
	Login    *login.Service
	Sessions *remote.Service
}

// What a key or a password opens at most here (rule W6).
var remoteScopes = []access.Action{access.RemoteOpen, access.RemoteRead, access.RemoteEnd, access.DeviceRead, access.CredentialRead}

// What people read on their way in.
const (
	askPassword  = "Password for %s: "
	askCode      = "Code of your authenticator app, or a recovery code: "
	askReason    = "Why do you need this session? "
	askReference = "Ticket, if there is one: "

	lineWaiting   = "Request %d waits for approval until %s. Keep this open."
	lineBrowser   = "Your second factor is a security key that only a browser can ask: open the session from the web page, or sign in with an ssh key of the kind sk-."
	lineEnrol     = "You must set up a second factor first: sign in on the web page."
	lineQuestions = "Before this session begins you are asked something; with BatchMode=yes it cannot begin."
	lineRecorded  = "This session is recorded."
	lineTooMany   = "Too many failed attempts. Wait a while, or sign in on the web page."
)

// Bounds of what people may answer (rule S20 for passwords).
const (
	maxTries  = 3
	maxAnswer = 4096
	lookEvery = time.Second      // for a decision on a request
	pingEvery = 15 * time.Second // whether somebody who waits is still there
)

// visit is the purpose of a connection under the name of a person: they prove who they are, with a key on file or a password and, where it is due, a
// second factor; then, where they name a device, they do what its grant asks for. All of this is part of the authentication, so that nothing else
// is open meanwhile (rules S13, S15).
type visit struct {
	*connection
	name string       // as whom they come
	to   *RemoteRoute // where to; nil: to see where they may go

	by      access.Caller // zero: nobody has proved anything
	held    sshkey.Registered
	next    login.Next // about a second factor
	proven  bool       // a second factor was proved on this connection
	tries   int        // wrong codes
	shut    *sshkey.Refusal
	broken  bool
	offers  int
	session remote.Session // zero: none
	ready   bool           // nothing is due any more
	refusal error          // why there will be no session: to be told when they are in
	note    string         // what whoever denied it had to say
	said    string         // what came of it, for the log
}

// authorise implements purpose.
func (v *visit) authorise(user string) error {
	if user != v.user {
		v.refuse(user)
		return errRefused
	}
	return nil
}

// wants implements purpose.
func (v *visit) wants(key sshkey.OfferedKey) bool {
	_, err := v.find(key.Key())
	return err == nil
}

// saw implements purpose.
func (v *visit) saw() { v.shut = &sshkey.Refusal{Reason: "it is no key that could be on file"} }

// find returns a key on file that is this person's own.
func (v *visit) find(key sshkey.Key) (sshkey.Registered, error) {
	held, err := v.server.Remote.Keys.Find(v.ctx, key)
	if err == nil && (held.Role != sshkey.UserKey || identity.Login(held.UserName) != identity.Login(v.name)) {
		err = &sshkey.Refusal{Reason: "the key is somebody else's, or opens repositories alone"}
	}
	if err != nil && !errors.As(err, &v.shut) {
		v.failed("find ssh key", err)
	}
	return held, err
}

func (v *visit) failed(doing string, err error) {
	v.broken = true
	v.server.Log.Error(doing, "door", "sshd", "error", err)
}

// proved implements purpose. The key is looked up anew: it may have been removed since it was offered. A key that lies in hardware and was touched is two
// factors in one (rule S4): the library takes no such signature without a touch.
func (v *visit) proved(key sshkey.ProvenKey) (more bool, err error) {
	held, err := v.find(key.Key())
	if err != nil || v.by.ID != "" && v.by.ID != held.User { // rule S3
		return false, errRefused
	}
	by := v.caller(access.Principal{Kind: access.User, ID: held.User, Name: held.UserName}, methodKey)
	by.Credential = held.ID
	next, err := v.server.Remote.Login.Next(v.ctx, by)
	if err != nil { // nobody has proved anything then: the next method must not find somebody of whom nothing more is asked (rule S3)
		v.failed("look at second factors", err)
		return false, errRefused
	}
	v.held, v.by, v.next = held, by, next
	v.server.Remote.Keys.Used(held.ID, v.from, v.server.Now())
	v.proven = v.proven || strings.HasPrefix(held.Key.Type(), "sk-")
	v.leave() // we know who it is: they wait in nobody's way
	due, err := v.due(nil)
	if due {
		v.tell(lineQuestions)
	}
	return due, err
}

// caller is the person, as far as this connection says.
func (v *visit) caller(who access.Principal, method string) access.Caller {
	return access.Caller{Principal: who, Method: method, At: v.server.Now(), Scopes: remoteScopes, Address: v.from, Door: "sshd"}
}

// keyless implements purpose.
func (v *visit) keyless() bool { return false }

// free implements purpose.
func (v *visit) free(user, method string, failure error) bool {
	if user != v.user || method != "publickey" || !errors.Is(failure, errRefused) {
		return false
	}
	v.offers++
	return v.offers <= maxOffers
}

// tell says something before the person is in. A client that has gone is noticed elsewhere.
func (v *visit) tell(text string) {
	if v.before != nil {
		_ = v.before.SendAuthBanner(text + "\n")
	}
}

// converse asks for all that is due (RFC 4256).
func (v *visit) converse(ask ssh.KeyboardInteractiveChallenge) error {
	if v.by.ID == "" {
		if err := v.password(ask); err != nil {
			return err
		}
	}
	_, err := v.due(ask)
	return err
}

// inquire asks one thing.
func inquire(ask ssh.KeyboardInteractiveChallenge, text string, echo bool) (string, error) {
	answers, err := ask("", "", []string{text}, []bool{echo})
	switch {
	case err != nil:
		return "", err
	case len(answers) != 1 || len(answers[0]) > maxAnswer:
		return "", errRefused
	}
	return answers[0], nil
}

// password asks for the first factor. Whoever is named is asked the same, and refused after the same time (rule F6); failures count for the name and
// shut it out.
func (v *visit) password(ask ssh.KeyboardInteractiveChallenge) error {
	text, err := inquire(ask, fmt.Sprintf(askPassword, oneLine(v.name)), false)
	if err != nil {
		return err
	}
	by, next, err := v.server.Remote.Login.Enter(v.ctx, login.Presented{
		Kind: login.Password, Name: v.name, Secret: secret.New(text), Address: v.from, Door: "sshd", Accepts: []login.Kind{login.Password},
	})
	var unread *login.Failed
	switch {
	case errors.As(err, &unread) && unread.Unread:
		v.tell(lineTooMany)
		return errRefused
	case fault.Is(err, fault.Internal):
		v.failed("check password", err)
		return errRefused
	case err != nil:
		return errRefused
	}
	v.by, v.next = v.caller(by.Principal, by.Method), next
	v.leave()
	return nil
}

// due does what must happen before the person is in. Without ask it only says whether there is something to ask.
func (v *visit) due(ask ssh.KeyboardInteractiveChallenge) (more bool, err error) {
	if more, err := v.second(ask); more || err != nil {
		return more, err
	}
	if v.to == nil || v.refusal != nil || v.ready {
		return false, nil
	}
	if v.session.ID == "" {
		x, err := v.begin()
		if err != nil {
			v.turnedAway(err)
			return false, nil
		}
		v.session = x
	}
	for {
		step, err := v.server.Remote.Sessions.Due(v.ctx, v.session)
		if errors.Is(err, remote.ErrNoFactor) && v.proven { // the touch of a key is one
			step, err = remote.Step{Kind: remote.StepUpDue}, nil
		}
		switch {
		case err != nil:
			v.turnedAway(err)
			return false, nil
		case step.Kind == remote.NothingDue:
			v.ready = true
			return false, nil
		case step.Kind == remote.StepUpDue && v.proven:
			v.session, err = v.server.Remote.Sessions.StepUp(v.ctx, v.session, remote.Answer{Proven: true})
		case ask == nil:
			return true, nil
		default:
			err = v.step(ask, step)
		}
		if err != nil {
			return false, err
		}
	}
}

// begin makes the session: over SSH, and over Telnet where device, credential or grant have no SSH.
func (v *visit) begin() (remote.Session, error) {
	want := remote.Want{Device: v.to.Device, Credential: v.to.Credential, Pick: v.to.Credential == "", Protocol: device.SSH}
	x, err := v.server.Remote.Sessions.Begin(v.ctx, v.by, want)
	if errors.Is(err, remote.ErrProtocolOff) || errors.Is(err, remote.ErrNoAccess) || errors.Is(err, remote.ErrNoneFree) {
		want.Protocol = device.Telnet
		if other, none := v.server.Remote.Sessions.Begin(v.ctx, v.by, want); none == nil {
			return other, nil
		}
	}
	return x, err
}

// turnedAway keeps why there is no session. The person is let in all the same, to be told: who they are they have proved.
func (v *visit) turnedAway(err error) {
	if errors.Is(err, remote.ErrOver) {
		if x, lost := v.server.Remote.Sessions.Find(v.ctx, v.by, v.session.ID); lost == nil {
			v.session = x // it says why
			if v.note, lost = v.server.Remote.Sessions.Note(v.ctx, x); lost != nil {
				v.failed("read note", lost)
			}
		}
	}
	v.refusal = err
	if fault.Is(err, fault.Internal) {
		v.failed("begin session", err)
	}
}

// second asks for the second factor of who must prove one (rule S18).
func (v *visit) second(ask ssh.KeyboardInteractiveChallenge) (more bool, err error) {
	if v.proven || v.next == login.NextNothing {
		return false, nil
	}
	switch {
	case v.next == login.NextBrowser:
		v.tell(lineBrowser)
		return false, v.unfit("the second factor is a security key that only a browser can ask")
	case v.next == login.NextEnrol:
		v.tell(lineEnrol)
		return false, v.unfit("a second factor must be enrolled first")
	case ask == nil:
		return true, nil
	}
	return false, v.code(ask)
}

// unfit refuses somebody whom text cannot ask.
func (v *visit) unfit(why string) error {
	if !v.refused {
		v.refused = true
		e := v.by.Event(v.server.Now(), Login, access.Installation, audit.Refused)
		e.Reason = why
		v.record(e)
	}
	return errRefused
}

// code asks for a code until it is right.
func (v *visit) code(ask ssh.KeyboardInteractiveChallenge) error {
	if v.tries >= maxTries {
		return errRefused
	}
	for {
		text, err := inquire(ask, askCode, false)
		if err != nil {
			return err
		}
		err = v.server.Remote.Login.StepUp(v.ctx, v.by, secret.New(strings.TrimSpace(text)))
		switch {
		case err == nil:
			v.proven = true
			return nil
		case fault.Is(err, fault.Internal):
			v.failed("check code", err)
			return errRefused
		}
		if v.tries++; v.tries >= maxTries {
			v.tell(plain(fault.Text(err)))
			return errRefused
		}
		if _, err := ask("", plain(fault.Text(err)), nil, nil); err != nil {
			return err
		}
	}
}

// step does one step that a grant asks for.
func (v *visit) step(ask ssh.KeyboardInteractiveChallenge, step remote.Step) error {
	switch step.Kind {
	case remote.StepUpDue:
		return v.code(ask) // due has it counted for the session
	case remote.ReasonDue:
		return v.reason(ask)
	}
	return v.approval(ask, step)
}

// reason asks why, until there is something to keep.
func (v *visit) reason(ask ssh.KeyboardInteractiveChallenge) error {
	why, err := inquire(ask, askReason, true)
	if err != nil {
		return err
	}
	ticket, err := inquire(ask, askReference, true)
	if err != nil {
		return err
	}
	x, err := v.server.Remote.Sessions.Explain(v.ctx, v.session, why, ticket)
	if fault.Is(err, fault.Invalid) {
		if v.tries++; v.tries >= maxTries {
			return errRefused
		}
		_, err = ask("", plain(fault.Text(err)), nil, nil)
		return err
	}
	if err != nil {
		v.turnedAway(err)
		return nil
	}
	v.session = x
	return nil
}

// approval waits until somebody else has decided. The connection waits no longer than the request.
func (v *visit) approval(ask ssh.KeyboardInteractiveChallenge, step remote.Step) error {
	line := fmt.Sprintf(lineWaiting, step.Request.Number, step.Until.UTC().Format("15:04:05 MST"))
	if _, err := ask("", line, nil, nil); err != nil {
		return err
	}
	v.deadline(time.Now().Add(step.Until.Sub(v.server.Now()) + v.server.Limits.Handshake))
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for asked := time.Now(); ; {
		<-tick.C
		x, err := v.server.Remote.Sessions.Find(v.ctx, v.by, v.session.ID)
		if err != nil {
			return err
		}
		v.session = x
		next, err := v.server.Remote.Sessions.Due(v.ctx, x)
		if err != nil || next.Kind != remote.ApprovalWanted { // due looks closer
			v.deadline(time.Now().Add(v.server.Limits.Auth))
			return nil
		}
		if time.Since(asked) > pingEvery { // a client that has gone does not answer
			if _, err := ask("", "", nil, nil); err != nil {
				return err
			}
			asked = time.Now()
		}
	}
}

// lost implements purpose. That keys were refused is recorded once, and only here; wrong passwords and codes were where they were found wrong.
func (v *visit) lost() {
	switch {
	case v.broken:
		v.outcome = OutcomeFailed
	case v.shut != nil && !v.refused && v.by.ID == "":
		v.outcome, v.refused = OutcomeRefused, true
		e := v.nobody().Event(v.server.Now(), Login, access.Installation, audit.Refused)
		e.Reason = v.shut.Reason
		if known := v.shut.Key; known.ID != "" {
			e = e.With("fingerprint", known.Key.SHA256()).With("label", known.Label)
		}
		v.record(e)
	case v.refused || v.failures > 0:
		v.outcome = OutcomeRefused
	}
}

// serve implements purpose.
func (v *visit) serve(conn *ssh.ServerConn, channels <-chan ssh.NewChannel, globals <-chan *ssh.Request) {
	e := v.by.Event(v.server.Now(), Login, access.Resource{Kind: access.UserKind, ID: v.by.ID}, audit.Done)
	if v.to != nil {
		e = e.With("to", cut(oneLine(v.to.Credential+"@"+v.to.Device), 2*maxName))
	}
	if v.held.ID != "" {
		e = e.With("fingerprint", v.held.Key.SHA256())
	}
	if v.proven {
		e = e.With("second_factor", "proved")
	}
	if err := v.server.Audit.Record(v.ctx, e); err != nil {
		v.failed("record login", err)
		v.refusal = err
	}
	v.busy.Store(true)
	p := &passage{connection: v.connection, visit: v, conn: conn, channels: channels, globals: globals}
	v.outcome = OutcomeRemote
	if v.to == nil {
		v.outcome = OutcomePerson
	}
	p.serve()
}

// end implements purpose. A session that nobody will start any more is over.
func (v *visit) end() {
	if v.session.ID == "" || v.said != "" {
		return
	}
	ctx, cancel := context.WithTimeout(v.ctx, 10*time.Second)
	defer cancel()
	if _, err := v.server.Remote.Sessions.End(ctx, v.by, v.session.ID, remote.Abandoned); err != nil && !errors.Is(err, remote.ErrOver) {
		v.server.Log.Error("end session", "door", "sshd", "session", v.session.ID, "error", err)
	}
}

// line implements purpose.
func (v *visit) line() (slog.Level, string, []slog.Attr) {
	if v.by.ID == "" {
		return slog.LevelDebug, "connection", nil
	}
	return slog.LevelInfo, "remote", []slog.Attr{slog.String("user", v.by.ID), slog.String("session", v.session.ID), slog.String("result", v.said)}
}
