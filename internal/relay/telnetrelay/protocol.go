package telnetrelay

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// The commands of RFC 854.
const (
	iac  = 255
	dont = 254
	do   = 253
	wont = 252
	will = 251
	sb   = 250
	brk  = 243
	ip   = 244
	se   = 240
)

// The options that we know: RFC 856, 857, 858, 1091, 1073.
const (
	optBinary = 0
	optEcho   = 1
	optSGA    = 3
	optTTYPE  = 24
	optNAWS   = 31
)

// Sub-commands of RFC 1091.
const (
	ttypeIs   = 0
	ttypeSend = 1
)

// terminalType is the kind of terminal that people have.
const terminalType = "xterm-256color"

const (
	maxParameters = 512  // bytes of one subnegotiation that are kept; more is none of ours (rule W5)
	maxAnswers    = 2000 // negotiations of one connection that are answered: more is a quarrel
)

var errQuarrel = errors.New("the target negotiates without end")

// ours are the options that we have, theirs those that a target may have.
var (
	ours   = [256]bool{optBinary: true, optSGA: true, optTTYPE: true, optNAWS: true}
	theirs = [256]bool{optBinary: true, optEcho: true, optSGA: true}
)

// state is where the decoder stands.
type state uint8

const (
	inText state = iota
	afterCR
	afterIAC
	afterVerb
	inParameters
	afterParametersIAC
)

// protocol is what both ends have agreed on, and the state of the stream from the target.
type protocol struct {
	state      state
	verb       byte
	parameters []byte
	us, them   [256]bool // options that are on
	answered   int
	size       remote.Size
}

// decode takes bytes from the target. It returns what it prints, and what to answer. It never asks for an option by itself, and answers only what
// changes something, so that two ends cannot go on for ever (RFC 854, RFC 1143).
func (p *protocol) decode(from []byte) (text, answers []byte, err error) {
	text = make([]byte, 0, len(from))
	for _, b := range from {
		switch p.state {
		case inText, afterCR:
			text = p.plain(text, b)
		case afterIAC:
			text = p.command(text, b)
		case afterVerb:
			answers = p.negotiate(answers, b)
			p.state = inText
		case inParameters:
			if b == iac {
				p.state = afterParametersIAC
			} else {
				p.keep(b)
			}
		case afterParametersIAC:
			switch b {
			case iac:
				p.keep(b)
				p.state = inParameters
			case se:
				answers = p.subnegotiate(answers)
				p.state = inText
			default: // malformed: a command in the middle ends it
				text = p.command(text, b)
			}
		}
		if p.answered > maxAnswers {
			return text, nil, errQuarrel
		}
	}
	return text, answers, nil
}

// plain takes a byte of text. A return without a line feed is sent with a NUL behind it, unless the target sends binary.
func (p *protocol) plain(text []byte, b byte) []byte {
	after := p.state == afterCR
	p.state = inText
	switch {
	case b == iac:
		p.state = afterIAC
		return text
	case b == 0 && after:
		return text
	case b == '\r' && !p.them[optBinary]:
		p.state = afterCR
	}
	return append(text, b)
}

// command takes the byte behind an IAC.
func (p *protocol) command(text []byte, b byte) []byte {
	p.state = inText
	switch b {
	case iac:
		return append(text, b)
	case will, wont, do, dont:
		p.verb, p.state = b, afterVerb
	case sb:
		p.parameters, p.state = p.parameters[:0], inParameters
	} // the others are for humans at teletypes
	return text
}

// keep takes a byte of parameters.
func (p *protocol) keep(b byte) {
	if len(p.parameters) <= maxParameters {
		p.parameters = append(p.parameters, b)
	}
}

// negotiate answers one wish of the target.
func (p *protocol) negotiate(answers []byte, option byte) []byte {
	var on *bool
	var may, wants bool
	var yes, no byte
	switch p.verb {
	case will, wont:
		on, may, wants, yes, no = &p.them[option], theirs[option], p.verb == will, do, dont
	default:
		on, may, wants, yes, no = &p.us[option], ours[option], p.verb == do, will, wont
	}
	switch {
	case wants && !may:
		yes = no
	case wants == *on:
		return answers
	case !wants:
		*on, yes = false, no
	default:
		*on = true
	}
	p.answered++
	answers = append(answers, iac, yes, option)
	if option == optNAWS && p.us[optNAWS] {
		answers = append(answers, p.window()...)
	}
	return answers
}

// subnegotiate answers the question for the kind of terminal.
func (p *protocol) subnegotiate(answers []byte) []byte {
	if !p.us[optTTYPE] || !bytes.Equal(p.parameters, []byte{optTTYPE, ttypeSend}) {
		return answers
	}
	p.answered++
	answers = append(answers, iac, sb, optTTYPE, ttypeIs)
	answers = append(answers, terminalType...)
	return append(answers, iac, se)
}

// resize says how large the terminal is from now on, and what to send: nil where the target does not want to know.
func (p *protocol) resize(s remote.Size) []byte {
	p.size = s
	if !p.us[optNAWS] {
		return nil
	}
	return p.window()
}

// window is RFC 1073.
func (p *protocol) window() []byte {
	cols, rows := min(max(p.size.Cols, 0), 0xffff), min(max(p.size.Rows, 0), 0xffff)
	message := []byte{iac, sb, optNAWS}
	for _, b := range binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(cols)), uint16(rows)) {
		if message = append(message, b); b == iac {
			message = append(message, iac)
		}
	}
	return append(message, iac, se)
}

// encode makes text that was typed into bytes for the target.
func (p *protocol) encode(text []byte) []byte {
	if bytes.IndexByte(text, iac) < 0 && (p.us[optBinary] || bytes.IndexByte(text, '\r') < 0) {
		return text
	}
	out := make([]byte, 0, len(text)+16)
	for i, b := range text {
		out = append(out, b)
		switch {
		case b == iac:
			out = append(out, iac)
		case b == '\r' && !p.us[optBinary] && (i+1 == len(text) || text[i+1] != '\n'):
			out = append(out, 0)
		}
	}
	return out
}

// echo is what to show of text that was typed: nothing where the target echoes.
func (p *protocol) echo(text []byte) []byte {
	if p.them[optEcho] {
		return nil
	}
	out := make([]byte, 0, len(text)+1)
	for _, b := range text {
		switch {
		case b == '\r' || b == '\n':
			out = append(out, '\r', '\n')
		case b == 0x7f || b == '\b':
			out = append(out, "\b \b"...)
		case b >= ' ' || b == '\t':
			out = append(out, b)
		}
	}
	return out
}
