package recording

import (
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// Channel is one line of the coverage statement.
type Channel = remote.Covered

// What became of a channel.
const (
	recorded    = "recorded"
	refused     = "refused"
	notRecorded = "not recorded"
)

// maxChannels bounds what a session costs in memory; what is beyond is summed up by kind, and stands one by one in the track of events.
const (
	maxChannels = 256
	maxLabel    = 256 // bytes of a text
)

// coverage gathers the statement from notes, as they come or as they are read back.
type coverage struct {
	at    map[coverageKey]int
	lines []Channel
	open  map[string]Channel // forwards and SFTP that were opened and are not closed, by name
}

type coverageKey struct{ name, kind, is string }

// restOf is the name of the line for channels beyond maxChannels.
const restOf = "*"

func (c *coverage) note(n remote.Note) {
	switch n.Kind {
	case "opened":
		c.opened(n)
	case "closed", "forward":
		delete(c.open, n.Channel)
	}
	switch n.Kind {
	case "refused":
		c.add(n, Channel{Name: n.Channel, Kind: firstOf(n.Way, "channel"), Is: refused, To: n.Name, Text: n.Text})
	case "unrecorded":
		c.add(n, Channel{Name: n.Channel, Kind: n.Kind, Is: notRecorded, Text: n.Text})
	case "file", "forward":
		c.add(n, Channel{Name: n.Channel, Kind: n.Kind, Is: notRecorded, Text: "counted and hashed"})
	}
}

// opened keeps a channel without a track in mind, so that one which nobody lived to close is not passed over.
func (c *coverage) opened(n remote.Note) {
	sftp := n.Way == remote.WayFiles && n.Name == "" // scp is a command, and has a track
	if n.Way != remote.WayForward && !sftp || len(c.open) >= maxChannels {
		return
	}
	if c.open == nil {
		c.open = map[string]Channel{}
	}
	c.open[n.Channel] = Channel{
		Name: boundedTo(n.Channel, maxLabel), Kind: strings.TrimSuffix(n.Way, "s"), Is: notRecorded, To: boundedTo(n.Name, maxLabel), Times: 1,
		Text: "open at the end of the recording: what passed since the last line of it is not known",
	}
}

func (c *coverage) add(n remote.Note, first Channel) {
	if c.at == nil {
		c.at = map[coverageKey]int{}
	}
	key := coverageKey{first.Name, first.Kind, first.Is}
	i, known := c.at[key]
	if !known && len(c.lines) >= maxChannels {
		key.name, first.Name, first.To = restOf, restOf, ""
		i, known = c.at[key]
	}
	if !known {
		i = len(c.lines)
		c.at[key] = i
		first.Name, first.To, first.Text = boundedTo(first.Name, maxLabel), boundedTo(first.To, maxLabel), boundedTo(first.Text, maxLabel)
		c.lines = append(c.lines, first)
	}
	line := &c.lines[i]
	line.Times++
	line.Bytes += n.Bytes
	line.Sent += n.Sent
	if first.Is == notRecorded {
		line.To, line.SHA256, line.SentSum = boundedTo(n.Name, maxLabel), boundedTo(n.SHA256, maxLabel), boundedTo(n.SentSum, maxLabel)
	}
	if line.Times > 1 {
		line.To, line.SHA256, line.SentSum = "", "", ""
	}
}

// statement is the whole: tracks first.
func (c *coverage) statement(tracks []Track) []Channel {
	all := []Channel{}
	for _, t := range tracks {
		if t.Format != castFormat || t.Output == nil {
			continue
		}
		line := Channel{Name: t.Name, Kind: t.Kind, Is: recorded, Bytes: t.Output.Bytes, SHA256: t.Output.SHA256}
		if t.Input != nil {
			line.Sent = t.Input.Bytes
			if t.Input.SHA256 == "" {
				line.Text = "what was typed is counted, not recorded"
			}
		}
		all = append(all, line)
		if t.Lost > 0 {
			all = append(all, Channel{Name: t.Name, Kind: t.Kind, Is: notRecorded, Bytes: t.Lost, Text: "recording had failed"})
		}
	}
	all = append(all, c.lines...)
	for _, name := range slices.Sorted(maps.Keys(c.open)) {
		all = append(all, c.open[name])
	}
	return all
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
