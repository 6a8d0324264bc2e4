package sshkey

import (
	"context"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Limits of an authorized_keys file.
const (
	maxImport      = 1 << 20 // bytes
	maxImportLines = 1000    // keys
)

// Outcome is what became of one line of an authorized_keys file.
type Outcome struct {
	Line int // from 1 on
	Key  Registered
	Err  error // why the line was refused; nil where Key is on file now
}

// Import adds the keys of an authorized_keys file to a user, line by line as AddUserKey does; empty lines and comments are passed over.
// A refused line stops nothing, so a file may be imported again: what is on file gets its conflict. An error besides outcomes means
// that we could not go on, and that the lines after the last outcome were not tried.
func (s *Service) Import(ctx context.Context, by access.Caller, user, text string, via Via) ([]Outcome, error) {
	if err := s.mayAdd(ctx, by, user); err != nil {
		return nil, err
	}
	lines, err := importable(text)
	if err != nil {
		return nil, err
	}
	var outcomes []Outcome
	for _, line := range lines {
		r, err := s.AddUserKey(ctx, by, user, New{Text: line.text, Via: via})
		if err != nil && fault.Is(err, fault.Internal) {
			return outcomes, err
		}
		outcomes = append(outcomes, Outcome{Line: line.number, Key: r, Err: err})
	}
	return outcomes, nil
}

type numberedLine struct {
	number int
	text   string
}

// importable are the lines that should hold a key.
func importable(text string) ([]numberedLine, error) {
	if len(text) > maxImport {
		return nil, fault.Newf(fault.Invalid, "the file has more than %d bytes", maxImport)
	}
	text = strings.TrimPrefix(text, "\ufeff")
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	var lines []numberedLine
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if lines = append(lines, numberedLine{number, line}); len(lines) > maxImportLines {
			return nil, fault.Newf(fault.Invalid, "the file has more than %d keys", maxImportLines)
		}
	}
	return lines, nil
}
