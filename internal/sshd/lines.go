package sshd

import (
	"fmt"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
)

// What the person reads, and the exit status of their ssh command (SSHVerify spec section 7.3).
const (
	lineAgain     = "You can connect again with another key, or go back to the web page."
	lineNoMatch   = "None of your keys matches. Try: ssh -o IdentitiesOnly=yes -i <key file> %s"
	lineNoRecord  = "None of your keys can be recorded. Use an ed25519, ECDSA or RSA key (2048 bits or more), not a certificate."
	lineNoKey     = "Your SSH client offered no key. Add one to your agent or use -i <key file>."
	lineUsedUp    = "This code can no longer be used."
	lineCancelled = "Cancelled. Nothing was recorded."
	lineNoAnswer  = "No answer. Nothing was recorded."
	lineLost      = "This code was already used by another connection."
	lineExpired   = "This code has expired. Ask for a new one."
	lineBroken    = "Something went wrong on our side. Try again."
	lineAgent     = "You forwarded your agent; this is not needed here."

	lineGitOnly      = "You are signed in as %s; git over SSH only."
	lineNoGit        = "git is not installed here; ask who runs this server."
	lineNoRepository = "There is no such repository, or this key may not do that."

	prompt = "Press y to confirm, any other key to cancel: "
)

// fixedLines are the verdicts whose text is always the same. Whatever is not here and not in lines
// shows as our fault.
var fixedLines = map[keyproof.Verdict]string{
	keyproof.NoKey:     lineNoKey,
	keyproof.Cancelled: lineCancelled,
	keyproof.TimedOut:  lineNoAnswer,
	keyproof.Dropped:   lineCancelled,
	keyproof.LostRace:  lineLost,
	keyproof.TooLate:   lineExpired,
}

// lines says how an attempt went and with which status the client's command exits. address is how to
// connect: identifier@host, with a port where it is not 22.
func lines(kind keyproof.Kind, r keyproof.Result, failed error, address string) (said []string, exit uint32) {
	if failed != nil {
		return []string{lineBroken}, 1
	}
	switch r.Verdict {
	case keyproof.Proven:
		for _, k := range r.Keys {
			said = append(said, "Verified with "+named(k)+".")
		}
		if r.Open {
			said = append(said, lineAgain)
		}
		return said, 0
	case keyproof.Recorded:
		for _, k := range r.Keys {
			said = append(said, "Recorded "+k.Key.SHA256())
		}
		return said, 0
	case keyproof.Incomplete:
		said = []string{fmt.Sprintf("%d of %d keys verified. All are needed.", r.Have, r.Of)}
	case keyproof.NoMatch:
		said = []string{fmt.Sprintf(lineNoMatch, address)}
		if kind == keyproof.Collect { // nothing has to match there
			said = []string{lineNoRecord}
		}
	default:
		line, ok := fixedLines[r.Verdict]
		if !ok {
			line = lineBroken
		}
		said = []string{line}
	}
	if r.Last {
		said = append(said, lineUsedUp)
	}
	return said, 1
}

func named(k keyproof.BroughtKey) string {
	if k.Name == "" {
		return k.Key.SHA256()
	}
	return k.Key.SHA256() + " (" + oneLine(k.Name) + ")"
}

// question lists the keys that wait for confirmation, and asks.
func question(keys []keyproof.BroughtKey) string {
	text := ""
	for _, k := range keys {
		if k.Name != "" {
			text += oneLine(k.Name) + "  "
		}
		text += k.Key.SHA256() + "\n"
	}
	return text + prompt
}
