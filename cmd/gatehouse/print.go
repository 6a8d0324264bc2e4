package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// clean makes a text that came from outside safe to show on a terminal (rule W10). What would not be
// seen as a mark on paper is written out: control bytes, escape sequences, invisible and direction
// characters, and bytes that are no text. The rest stays as it is.
func clean(text string) string {
	var b strings.Builder
	for rest := text; rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, rest[0])
		case unicode.IsGraphic(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		rest = rest[size:]
	}
	return b.String()
}

// table prints rows in columns. Every cell is cleaned.
func table(w io.Writer, head []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = clean(cell)
			if cells[i] == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	t.Flush() //nolint:errcheck // as with Fprint, nobody can act on it
}

// print prints a list: as JSON where that was asked for, else as a table.
func print[T any](p *process, items []T, head []string, row func(T) []string) error {
	if p.json {
		if items == nil {
			items = []T{}
		}
		return p.printJSON(items)
	}
	rows := make([][]string, len(items))
	for i, item := range items {
		rows[i] = row(item)
	}
	table(p.out, head, rows)
	return nil
}

// printJSON prints a value for programs. The encoder escapes control bytes below space; what else would
// not be seen, escape sequences of one character among it, is escaped here (rule W10).
func (p *process) printJSON(v any) error {
	var encoded strings.Builder
	e := json.NewEncoder(&encoded)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range encoded.String() {
		if r < 0x7f || unicode.IsGraphic(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	_, err := io.WriteString(p.out, b.String())
	return err
}

// note tells a person what was done. Programs read the exit code.
func (p *process) note(format string, args ...any) {
	fmt.Fprintln(p.err, clean(fmt.Sprintf(format, args...)))
}

// moment writes a time for a table, "" for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// optionalTime is a time that JSON shows as null where there is none.
func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// ifAny writes an optional time for a table.
func ifAny(t *time.Time) string {
	if t == nil {
		return ""
	}
	return moment(*t)
}
