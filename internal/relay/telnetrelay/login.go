package telnetrelay

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// Bounds of a sign-in (rule W5).
const (
	maxSteps = 16
	maxText  = 64 << 10 // of what a target says meanwhile
)

// step waits for something that a target asks, and types the answer.
type step struct {
	expect   func(text string) bool // of all that was said since the last answer
	skip     func(text string) bool // the target asks for the next already; nil: never
	fill     string
	password bool // the fill has it inside
}

// What targets ask where a device has no script. The question is the last thing said: before it may stand anything.
var (
	asksName     = regexp.MustCompile(`(?i)(login|user ?name|user|account)\s*:\s*$`)
	asksPassword = regexp.MustCompile(`(?i)(password|passwort|passcode|passphrase)[^\r\n:]{0,64}:\s*$`)
)

// parseScript reads the Telnet steps of a device's script, "Telnet:EXPECT:FILL" with commas between: the first colon ends the protocol, the last begins
// what is typed. There, {username}, {password} and {domain} stand for those of the credential. Steps of other protocols are none of ours. Where there is
// no step, the usual questions for name and password are answered.
func parseScript(to remote.Target) ([]step, error) {
	var steps []step
	for entry := range strings.SplitSeq(to.Script, ",") {
		protocol, rest, ok := strings.Cut(strings.TrimSpace(entry), ":")
		if !ok || !strings.EqualFold(protocol, "telnet") {
			continue
		}
		last := strings.LastIndexByte(rest, ':')
		if last < 0 || strings.TrimSpace(rest[:last]) == "" {
			return nil, fmt.Errorf("%w: the device's script is not Telnet:EXPECT:FILL", remote.ErrTargetLogin)
		}
		wanted := strings.ToLower(strings.TrimSpace(rest[:last]))
		steps = append(steps, step{
			expect:   func(text string) bool { return strings.Contains(strings.ToLower(text), wanted) },
			fill:     fill(rest[last+1:], to),
			password: strings.Contains(rest[last+1:], "{password}"),
		})
	}
	if len(steps) == 0 {
		steps = []step{
			{expect: lastLine(asksName), skip: lastLine(asksPassword), fill: to.Username},
			{expect: lastLine(asksPassword), fill: to.Password.Reveal(), password: true},
		}
	}
	if len(steps) > maxSteps {
		return nil, fmt.Errorf("%w: the device's script has more than %d steps", remote.ErrTargetLogin, maxSteps)
	}
	for _, s := range steps {
		if strings.ContainsFunc(s.fill, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("%w: what is to be typed has control characters", remote.ErrTargetLogin)
		}
	}
	return steps, nil
}

// lastLine matches the line that a target has not ended.
func lastLine(question *regexp.Regexp) func(text string) bool {
	return func(text string) bool { return question.MatchString(text[strings.LastIndexAny(text, "\r\n")+1:]) }
}

// fill puts the credential into what is typed.
func fill(text string, to remote.Target) string {
	return strings.NewReplacer("{username}", to.Username, "{password}", to.Password.Reveal(), "{domain}", to.Domain).Replace(text)
}

// signIn is one sign-in at a target.
type signIn struct {
	link           *link
	steps          []step
	quiet, silence time.Duration
	last           time.Time // when it must be done
	said           string    // by the target, since the last answer
	buffer         [4096]byte
}

var errEnded = errors.New("the target ended the connection")

// run answers what the target asks, and returns what it says once it has let us in.
func (s *signIn) run() ([]byte, error) {
	for _, step := range s.steps {
		asked, err := s.await(step)
		if err != nil {
			return nil, err
		}
		if !asked {
			continue
		}
		s.said = ""
		if _, err := s.link.typed([]byte(step.fill + "\r")); err != nil {
			return nil, fmt.Errorf("%w: %w", remote.ErrUnreachable, err)
		}
	}
	text, err := s.settle()
	if err != nil {
		return nil, err
	}
	for _, step := range s.steps {
		if step.password && step.fill != "" { // a target that shows what is typed shows this too
			text = strings.ReplaceAll(text, step.fill, "")
		}
	}
	return []byte(text), s.link.conn.SetReadDeadline(time.Time{})
}

// await reads until the target asks what a step waits for. It reports false where the step is not needed.
func (s *signIn) await(step step) (bool, error) {
	for {
		if step.skip != nil && step.skip(s.said) {
			return false, nil
		}
		if step.expect(s.said) {
			return true, nil
		}
		if err := s.read(s.last); err != nil {
			return false, s.unheard(err)
		}
	}
}

// unheard says what the end of a connection means on which nothing was asked that we know.
func (s *signIn) unheard(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(s.last) {
		return fmt.Errorf("%w: the target did not ask what the script waits for", remote.ErrTargetLogin)
	}
	return fmt.Errorf("%w: %w", remote.ErrUnreachable, err)
}

// read adds what the target says to what it said since the last answer.
func (s *signIn) read(until time.Time) error {
	if err := s.link.conn.SetReadDeadline(until); err != nil {
		return err
	}
	n, err := s.link.conn.Read(s.buffer[:])
	said, bad := s.link.take(s.buffer[:n])
	s.said += string(said)
	switch {
	case bad != nil:
		return bad
	case len(s.said) > maxText:
		return errors.New("the target says too much before the sign-in")
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		return err
	}
	return fmt.Errorf("%w: %w", errEnded, err)
}

// settle reads what the target says to the last answer, until it says no more, and judges it: a target that ends the connection, or asks again, has
// refused us.
func (s *signIn) settle() (string, error) {
	until := time.Now().Add(s.silence)
	for {
		if until.After(s.last) {
			until = s.last
		}
		err := s.read(until)
		switch {
		case refused(s.said), errors.Is(err, errEnded):
			return "", fmt.Errorf("%w: the target asks again, or has closed", remote.ErrTargetLogin)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return s.said, nil
		case err != nil:
			return "", fmt.Errorf("%w: %w", remote.ErrUnreachable, err)
		}
		if strings.TrimSpace(s.without(s.said)) != "" {
			until = time.Now().Add(s.quiet)
		}
	}
}

// without is what the target said of itself: not what was typed.
func (s *signIn) without(text string) string {
	if fill := s.steps[len(s.steps)-1].fill; fill != "" {
		return strings.ReplaceAll(text, fill, "")
	}
	return text
}

// refusals are last lines by which targets say no before they ask again.
var refusals = regexp.MustCompile(`(?i)^[% *]*(login incorrect|login invalid|login failed|authentication failed|access denied|bad passwords?|password incorrect|incorrect password|invalid (login|password)|user(name)? or password.{0,40})[.! ]*$`)

// refused reports whether the target said no.
func refused(text string) bool {
	text = strings.TrimRight(text, "\r\n ")
	last := text[strings.LastIndexAny(text, "\r\n")+1:]
	return asksName.MatchString(last) || asksPassword.MatchString(last) || refusals.MatchString(strings.TrimSpace(last))
}
