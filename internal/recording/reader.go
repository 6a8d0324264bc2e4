package recording

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
)

// maxLine is the longest line that is read: of a hostile recording too (rule W5).
const maxLine = 1 << 20

var errLongLine = fmt.Errorf("a line is longer than %d bytes", maxLine)

// line is one of a segment.
type line struct {
	number int   // 1, 2, 3, ...
	offset int64 // of its first byte
	text   []byte
	whole  bool // a newline ended it
}

// scanLines hands each line to take, without its newline. The text is valid only within the call.
func scanLines(r io.Reader, take func(line) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	at := line{}
	var long []byte
	for {
		part, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			if long = append(long, part...); len(long) > maxLine {
				return errLongLine
			}
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		text := part
		if len(long) > 0 {
			long = append(long, part...)
			text = long
		}
		if len(text) > maxLine {
			return errLongLine
		}
		if len(text) > 0 {
			at.number++
			at.text, at.whole = bytes.CutSuffix(text, []byte{'\n'})
			if err := take(at); err != nil {
				return err
			}
			at.offset += int64(len(text))
		}
		long = long[:0]
		if err != nil {
			return nil
		}
	}
}

// event is one of an asciicast v3.
type event struct {
	interval time.Duration
	code     byte
	data     string
}

var errEvent = errors.New(`it is no event: [interval, "code", "data"]`)

// parseEvent reads [interval, "code", "data"] strictly.
func parseEvent(text []byte) (e event, err error) {
	var parts []json.RawMessage
	if len(text) == 0 || text[0] != '[' || json.Unmarshal(text, &parts) != nil || len(parts) != 3 {
		return e, errEvent
	}
	seconds, err := strconv.ParseFloat(string(parts[0]), 64)
	if err != nil || seconds < 0 || seconds > math.MaxInt32 {
		return e, errEvent
	}
	var code *string
	var data *string
	if json.Unmarshal(parts[1], &code) != nil || json.Unmarshal(parts[2], &data) != nil || code == nil || data == nil || len(*code) != 1 {
		return e, errEvent
	}
	return event{interval: time.Duration(math.Round(seconds*1e6)) * time.Microsecond, code: (*code)[0], data: *data}, nil
}

// cast is a line of an asciicast v3, told apart.
type cast struct {
	header *castHeader
	link   *Link // of a segment
	event  *event
}

var (
	errHeader = errors.New("it is no header of an asciicast v3")
	errLink   = errors.New("it is no link to the segment before")
)

// parseCast reads a line. A comment that is no link, and an empty line, is nothing.
func parseCast(text []byte) (c cast, err error) {
	switch {
	case len(text) == 0:
		return c, nil
	case text[0] == '{':
		var h castHeader
		if json.Unmarshal(text, &h) != nil || h.Version != 3 {
			return c, errHeader
		}
		c.header = &h
		return c, nil
	case bytes.HasPrefix(text, []byte(linkPrefix)):
		c.link, err = parseLink(text[len(linkPrefix):])
		return c, err
	case text[0] == '#':
		return c, nil
	default:
		e, err := parseEvent(text)
		c.event = &e
		return c, err
	}
}

func parseLink(text []byte) (*Link, error) {
	var l Link
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if d.Decode(&l) != nil || d.More() || l.Segment < 1 {
		return nil, errLink
	}
	return &l, nil
}
