package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// startWait bounds the start of a session: the recorder, the target, and the sign-in there.
const startWait = time.Minute

// passage is where a person who is in goes through the gate: channels and requests are decided one by one (rule S14), each in a goroutine of its own. serve
// runs in the connection's goroutine until the client is gone.
type passage struct {
	connection *connection
	visit      *visit
	conn       *ssh.ServerConn
	channels   <-chan ssh.NewChannel
	globals    <-chan *ssh.Request

	live    *remote.Live // nil: there is no session
	failed  error        // why
	work    sync.WaitGroup
	leaving *time.Timer // closes the connection of somebody who does not; nil before there is a reason

	mu     sync.Mutex
	opened int       // channels that are open
	spent  int       // requests in this second
	second int64     //
	shown  []*caller // session channels, in the order of their opening
}

// serve answers until the client has gone. Like a desk's, its one way out is the end of the channel list.
func (p *passage) serve() {
	ctx, leave := context.WithCancel(p.connection.ctx)
	defer leave()
	p.connection.deadline(time.Time{}) // the session has limits of its own, and silence ends it
	p.work.Go(func() { p.ping(ctx) })
	p.start(ctx)
	var done <-chan struct{}
	var notices <-chan remote.Notice
	if p.live != nil {
		done, notices = p.live.Done(), p.live.Notices()
	} else {
		p.leaveBy(p.connection.server.Limits.Channel)
	}
	for {
		select {
		case ch, ok := <-p.channels:
			if !ok {
				leave()
				p.gone()
				return
			}
			p.take(ctx, ch)
		case r, ok := <-p.globals:
			if !ok {
				p.globals = nil
			} else if p.affords() {
				p.global(r)
			}
		case n := <-notices:
			p.show(n.Text)
		case <-done: // each channel says why
			done = nil
			p.leaveBy(p.connection.server.Limits.Leave + time.Second)
		}
	}
}

// start takes the session to its target. While it does channels wait, and nothing of them is read.
func (p *passage) start(ctx context.Context) {
	v := p.visit
	if v.to == nil || v.refusal != nil {
		p.failed, v.said = v.refusal, "refused"
		if v.to == nil {
			v.said = "listed"
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	v.session.Address = v.from
	p.live, p.failed = v.server.Remote.Sessions.Start(ctx, v.session, remote.Size{})
	if p.failed == nil {
		v.said = "carried"
		return
	}
	if !errors.Is(p.failed, remote.ErrNotWaiting) && !errors.Is(p.failed, remote.ErrDraining) {
		v.said = "failed" // it is over
	}
	if fault.Is(p.failed, fault.Internal) {
		v.server.Log.Error("start session", "door", "sshd", "session", v.session.ID, "error", p.failed)
	}
}

// leaveBy ends the connection of a client that does not end it by itself.
func (p *passage) leaveBy(in time.Duration) {
	if p.leaving == nil {
		p.leaving = time.AfterFunc(in, func() { p.connection.socket.Close() })
	}
}

// gone ends the session of a client that has left, and waits until all is over.
func (p *passage) gone() {
	if p.leaving != nil {
		p.leaving.Stop()
	}
	if p.live != nil {
		p.live.Close(remote.Closed, "")
		<-p.live.Done()
		p.visit.said = string(p.live.Ended())
	}
	p.work.Wait()
}

// ping asks a client now and then whether it is there, and closes the connection of one that is not.
func (p *passage) ping(ctx context.Context) {
	every := p.connection.server.Limits.Alive
	if every <= 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	answers := make(chan struct{}, 1)
	for waiting := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-answers:
			waiting = false
		case <-tick.C:
			if waiting {
				p.connection.socket.Close()
				return
			}
			waiting = true
			go func() { // ends with the connection
				_, _, _ = p.conn.SendRequest("keepalive@openssh.com", true, nil)
				answers <- struct{}{}
			}()
		}
	}
}

// affords counts a request against the connection's allowance, and ends connections that flood (rule S7).
func (p *passage) affords() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now().Unix(); now != p.second {
		p.second, p.spent = now, 0
	}
	if p.spent++; p.spent <= p.connection.server.Limits.RequestsPerSecond {
		return true
	}
	p.connection.socket.Close()
	return false
}

// enter counts a channel that is opened.
func (p *passage) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened >= p.connection.server.Limits.ChannelsPerConnection {
		return false
	}
	p.opened++
	return true
}

func (p *passage) left() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened--
}

// global answers what is asked of the connection: nothing is done. Listening at our side, or the target's, would open doors that no grant knows of.
func (p *passage) global(r *ssh.Request) {
	switch r.Type {
	case "keepalive@openssh.com", "no-more-sessions@openssh.com", "hostkeys-prove-00@openssh.com":
	default:
		p.refuse(r.Type, "")
	}
	_ = r.Reply(false, nil) // fails only when the client has gone
}

// refuse keeps a refusal in the recording and the audit log.
func (p *passage) refuse(kind, what string) {
	if p.live != nil {
		p.live.Refuse(cut(oneLine(kind), maxName), cut(oneLine(what), maxName))
	}
}

// take decides on a channel by its kind. All that are not listed are refused: X11, agents, tunnels.
func (p *passage) take(ctx context.Context, ch ssh.NewChannel) {
	if !p.affords() {
		return
	}
	if !p.enter() {
		_ = ch.Reject(ssh.ResourceShortage, "too many channels")
		return
	}
	serve := p.refuseChannel
	switch ch.ChannelType() {
	case "session":
		serve = p.session
	case "direct-tcpip":
		serve = p.forward
	}
	p.work.Go(func() {
		defer p.left()
		defer p.connection.guard()
		serve(ctx, ch)
	})
}

func (p *passage) refuseChannel(_ context.Context, ch ssh.NewChannel) {
	p.refuse("channel", ch.ChannelType())
	_ = ch.Reject(ssh.Prohibited, "not offered here")
}

// maxHost is how long a name of a host may be.
const maxHost = 255

// forward carries a connection onward from the target (RFC 4254 section 7.2), where the grant gives that.
func (p *passage) forward(ctx context.Context, ch ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}
	bad := ssh.Unmarshal(ch.ExtraData(), &to) != nil || to.Host == "" || len(to.Host) > maxHost || oneLine(to.Host) != to.Host || strings.ContainsRune(to.Host, ' ') ||
		to.Port < 1 || to.Port > 65535
	switch {
	case bad:
		p.refuse("direct-tcpip", "malformed")
		_ = ch.Reject(ssh.Prohibited, "malformed")
		return
	case p.live == nil:
		_ = ch.Reject(ssh.Prohibited, p.why())
		return
	}
	far, err := p.live.Forward(ctx, to.Host, int(to.Port))
	if err != nil {
		reason := ssh.ConnectionFailed
		if errors.Is(err, remote.ErrFeature) || errors.Is(err, remote.ErrNotOffered) {
			reason = ssh.Prohibited
		}
		_ = ch.Reject(reason, plain(fault.Text(err)))
		return
	}
	defer far.Close()
	near, requests, err := ch.Accept()
	if err != nil {
		return
	}
	defer near.Close()
	go ssh.DiscardRequests(requests)
	both(near, far)
}

// both carries bytes in both directions until both have ended. Each end of input is passed on.
func both(near ssh.Channel, far io.ReadWriteCloser) {
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(near, far)
		_ = near.CloseWrite()
	}()
	_, err := io.Copy(far, near)
	if half, ok := far.(interface{ CloseWrite() error }); ok && err == nil {
		_ = half.CloseWrite()
		<-back
		return
	}
	far.Close()
	<-back
}

// why is why there is no session, for the person.
func (p *passage) why() string {
	if p.failed == nil {
		return ""
	}
	var strange *remote.StrangeKey
	if errors.As(p.failed, &strange) {
		return fault.Text(remote.ErrHostKey)
	}
	if text, over := endings[p.visit.session.End]; over && errors.Is(p.failed, remote.ErrOver) {
		if p.visit.note != "" {
			text += " " + plain(p.visit.note)
		}
		return text
	}
	return plain(fault.Text(p.failed))
}

// show prints a line on all terminals.
func (p *passage) show(text string) {
	p.mu.Lock()
	shown := append([]*caller(nil), p.shown...)
	p.mu.Unlock()
	for _, c := range shown {
		c.show(text)
	}
}

// endings are the reasons for which sessions end, as people read them.
var endings = map[remote.Reason]string{
	remote.Closed:     "The session was closed.",
	remote.Idle:       "The session ended because nobody typed for too long.",
	remote.Dropped:    "The session was ended by an administrator.",
	remote.Window:     "The session ended because the time of its grant is over.",
	remote.Absolute:   "The session ended because it lasted as long as sessions may.",
	remote.Moved:      "The session ended because a request came from another address.",
	remote.Revoked:    "The session ended because your access was withdrawn.",
	remote.Failed:     "The session ended because the connection to the target was lost.",
	remote.Unrecorded: "The session ended because it could not be recorded any more.",
	remote.NodeLost:   "The session ended because a part of Gatehouse failed.",
	remote.Drained:    "The session ended because this part of Gatehouse is being stopped. Connect again.",
	remote.Refused:    "Your request was denied.",
	remote.Abandoned:  "Nobody did in time what this session waited for.",
}

// ending is why the session is over.
func (p *passage) ending() string {
	if text, ok := endings[p.live.Ended()]; ok {
		return text
	}
	return "The session is over."
}

// places is the answer to who named no device.
func (p *passage) places(ctx context.Context) string {
	v := p.visit
	places, more, err := v.server.Remote.Sessions.Places(ctx, v.by)
	if err != nil {
		v.failed("list places", err)
		return lineBroken + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "You are signed in as %s.\n", oneLine(v.by.Name))
	if len(places) == 0 {
		b.WriteString("No grant takes you anywhere now.\n")
		return b.String()
	}
	b.WriteString("You may go to:\n")
	for _, at := range places {
		fmt.Fprintf(&b, "  ssh %s", v.server.address(oneLine(v.by.Name+":"+at.Username+"@"+at.Host)))
		if len(at.Asks) > 0 {
			fmt.Fprintf(&b, "   (asks: %s)", strings.Join(at.Asks, ", "))
		}
		b.WriteByte('\n')
	}
	if more {
		b.WriteString("and more.\n")
	}
	return b.String()
}
