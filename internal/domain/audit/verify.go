package audit

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Head is the end of the chain at one moment, exported to where the database's owner cannot reach it.
type Head struct {
	Position  int64     `json:"position"`
	Link      string    `json:"link"` // hex
	Seal      int64     `json:"seal"`
	SealHash  string    `json:"seal_hash"` // hex
	At        time.Time `json:"at"`
	KeyID     string    `json:"key_id"`
	PublicKey string    `json:"public_key"` // hex, Ed25519
}

// HeadOf returns the head that a seal stands for.
func HeadOf(s Seal, key ed25519.PublicKey) Head {
	hash := s.Hash()
	return Head{
		Position: s.Last, Link: hex.EncodeToString(s.Link[:]), Seal: s.Number, SealHash: hex.EncodeToString(hash[:]),
		At: s.At, KeyID: s.KeyID, PublicKey: hex.EncodeToString(key),
	}
}

// Problem is one break in the chain.
type Problem struct {
	Position int64  `json:"position,omitempty"` // of the event, 0 where a seal is meant
	Seal     int64  `json:"seal,omitempty"`
	EventID  string `json:"event_id,omitempty"`
	What     string `json:"what"`
}

// Report is what a verification found. The chain is whole when Problems is empty.
type Report struct {
	Events   int64     `json:"events"`
	Seals    int64     `json:"seals"`
	Waiting  int64     `json:"waiting"` // events not yet sealed: nothing can be said of them
	Problems []Problem `json:"problems"`
	Head     *Head     `json:"head,omitempty"` // the end of the chain as found
}

// maxProblems ends a verification that would only repeat itself.
const maxProblems = 100

// Verification is what to hold the chain against.
type Verification struct {
	Keys     []ed25519.PublicKey // trusted signing keys; a seal of any other is a problem
	Head     *Head               // an exported head, or nil
	Progress func(events int64)  // hears how far it is, where set
}

// Verify reads the whole chain and checks digests, links, positions, seals, signatures and, where one
// is given, the exported head. An error means that the chain could not be read.
func Verify(ctx context.Context, from Source, v Verification) (Report, error) {
	c := checker{Verification: v, from: from}
	c.report.Problems = []Problem{}
	if err := c.seals(ctx); err != nil {
		return c.report, err
	}
	c.end()
	waiting, err := from.Waiting(ctx)
	c.report.Waiting = waiting
	return c.report, err
}

// checker walks seal by seal and, inside each, event by event.
type checker struct {
	Verification
	from     Source
	report   Report
	previous Seal
	link     Hash  // computed link of the last event read
	position int64 // position of the last event read
	headSeen bool
	anew     bool // the link at the exported head's position is another one
}

func (c *checker) problem(p Problem) {
	if len(c.report.Problems) < maxProblems {
		c.report.Problems = append(c.report.Problems, p)
	}
}

func (c *checker) seals(ctx context.Context) error {
	for {
		seals, err := c.from.Seals(ctx, c.previous.Number, 200)
		if err != nil {
			return fmt.Errorf("read seals: %w", err)
		}
		for _, s := range seals {
			c.seal(s)
			if err := c.events(ctx, s.Last); err != nil {
				return err
			}
			if c.link != s.Link {
				c.problem(Problem{Seal: s.Number, What: fmt.Sprintf("the events up to position %d are not those that seal %d signed", s.Last, s.Number)})
				c.link = s.Link // name the next break by itself
			}
			c.head(s)
			c.previous = s
			c.report.Seals++
		}
		if len(seals) > 0 {
			continue
		}
		if grown, err := c.unsealedTail(ctx); !grown || err != nil {
			return err
		}
	}
}

// seal checks what a seal says of itself and of the seal before.
func (c *checker) seal(s Seal) {
	if s.Number != c.previous.Number+1 {
		c.problem(Problem{Seal: s.Number, What: fmt.Sprintf("seals %d to %d are missing", c.previous.Number+1, s.Number-1)})
	} else if c.previous.Number > 0 && s.Previous != c.previous.Hash() {
		c.problem(Problem{Seal: s.Number, What: fmt.Sprintf("seal %d does not follow seal %d: one of them was changed", s.Number, c.previous.Number)})
	}
	if s.First != c.previous.Last+1 {
		c.problem(Problem{Seal: s.Number, What: fmt.Sprintf("seal %d starts at position %d, expected %d", s.Number, s.First, c.previous.Last+1)})
	}
	for _, key := range c.Keys {
		if s.SignedBy(key) {
			return
		}
	}
	c.problem(Problem{Seal: s.Number, What: fmt.Sprintf("seal %d is not signed by a trusted key (it names key %s)", s.Number, s.KeyID)})
}

// events checks every event up to position last.
func (c *checker) events(ctx context.Context, last int64) error {
	for c.position < last {
		entries, err := c.from.Entries(ctx, c.position, int(min(1000, last-c.position)))
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		if len(entries) == 0 || entries[0].Position > last {
			c.problem(Problem{Position: c.position + 1, What: fmt.Sprintf("events %d to %d are missing", c.position+1, last)})
			c.position = last
			return nil
		}
		for _, e := range entries {
			if e.Position > last {
				break
			}
			c.event(e)
		}
		if c.Progress != nil {
			c.Progress(c.report.Events)
		}
	}
	return nil
}

func (c *checker) event(e Entry) {
	if e.Position != c.position+1 {
		c.problem(Problem{Position: c.position + 1, What: fmt.Sprintf("events %d to %d are missing", c.position+1, e.Position-1)})
	}
	digest := DigestOf(e.Body)
	if digest != e.Digest {
		c.problem(Problem{Position: e.Position, EventID: e.ID, What: fmt.Sprintf("event %d was changed after it was written", e.Position)})
	}
	var body struct{ ID string }
	if json.Unmarshal(e.Body, &body) != nil || body.ID != e.ID {
		c.problem(Problem{Position: e.Position, EventID: e.ID, What: fmt.Sprintf("event %d does not carry its own id", e.Position)})
	}
	c.link = LinkOf(c.link, digest)
	if c.link != e.Link && digest == e.Digest {
		c.problem(Problem{Position: e.Position, EventID: e.ID, What: fmt.Sprintf("event %d does not follow the event before it", e.Position)})
		c.link = e.Link
	} else if digest != e.Digest {
		c.link = e.Link // named already; go on from what was sealed
	}
	c.position = e.Position
	c.report.Events++
	c.atHead()
}

// atHead compares the exported head with the link at its position: whoever writes the chain anew may
// end batches elsewhere, so that no seal of the same number is there to differ.
func (c *checker) atHead() {
	if c.Head != nil && c.position == c.Head.Position {
		c.anew = hex.EncodeToString(c.link[:]) != c.Head.Link
	}
}

// unsealedTail names entries that have a position but lie behind the last seal. A server at work may
// have sealed them since the seals were read: then the chain has grown, and nothing is wrong.
func (c *checker) unsealedTail(ctx context.Context) (grown bool, err error) {
	entries, err := c.from.Entries(ctx, max(c.position, c.previous.Last), 1)
	if err != nil {
		return false, fmt.Errorf("read events: %w", err)
	}
	if len(entries) == 0 {
		return false, nil
	}
	seals, err := c.from.Seals(ctx, c.previous.Number, 1)
	if err != nil {
		return false, fmt.Errorf("read seals: %w", err)
	}
	if len(seals) > 0 {
		return true, nil
	}
	c.problem(Problem{Position: entries[0].Position, What: fmt.Sprintf("events from position %d on have no seal: seals were removed", entries[0].Position)})
	return false, nil
}

// head compares the exported head with the seal of the same number.
func (c *checker) head(s Seal) {
	if c.Head == nil || s.Number != c.Head.Seal {
		return
	}
	c.headSeen = true
	hash := s.Hash()
	if hex.EncodeToString(hash[:]) != c.Head.SealHash || hex.EncodeToString(s.Link[:]) != c.Head.Link || s.Last != c.Head.Position {
		c.problem(Problem{Seal: s.Number, What: fmt.Sprintf("seal %d differs from the exported head: the chain was written anew", s.Number)})
	}
}

// end looks at the end of the chain as a whole.
func (c *checker) end() {
	switch {
	case c.Head == nil || c.headSeen:
	case c.anew:
		c.problem(Problem{Position: c.Head.Position, What: fmt.Sprintf("event %d differs from the exported head: the chain was written anew", c.Head.Position)})
	case c.previous.Number > c.Head.Seal:
		c.problem(Problem{Seal: c.Head.Seal, What: fmt.Sprintf("seal %d, which the exported head names, is missing", c.Head.Seal)})
	case c.previous.Last >= c.Head.Position:
		c.problem(Problem{Seal: c.Head.Seal, What: fmt.Sprintf("seal %d, which the exported head names, is missing, and no event: the seals were written anew", c.Head.Seal)})
	default:
		c.problem(Problem{Seal: c.Head.Seal, Position: c.previous.Last + 1, What: fmt.Sprintf(
			"the chain ends at seal %d, event %d; the exported head names seal %d, event %d: the tail was cut off",
			c.previous.Number, c.previous.Last, c.Head.Seal, c.Head.Position)})
	}
	if c.previous.Number > 0 {
		var key ed25519.PublicKey
		for _, k := range c.Keys {
			if c.previous.SignedBy(k) {
				key = k
			}
		}
		head := HeadOf(c.previous, key)
		c.report.Head = &head
	}
}
