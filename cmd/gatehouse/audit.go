package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/term"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
)

type auditCommands struct {
	List   auditList   `cmd:"" help:"List what happened last."`
	Head   auditHead   `cmd:"" help:"Export the end of the chain, to be kept where this server's owner cannot reach it."`
	Verify auditVerify `cmd:"" help:"Check the whole record: events, chain, seals and signatures."`
	Key    auditKey    `cmd:"" help:"Print the public key that verifies the record."`
}

// withAudit opens the audit log to be read. It needs no master key: the data may be a copy.
func (p *process) withAudit(ctx context.Context, work func(*app.AuditSource) error) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	from, err := app.OpenAuditSource(ctx, c)
	if err != nil {
		return failed("open audit log", err, "check --data and --database")
	}
	return errors.Join(work(from), from.Close())
}

// lastSeal finds the newest seal by halving, as chains grow long. ok is false for an empty chain.
func lastSeal(ctx context.Context, from audit.Source) (last audit.Seal, ok bool, err error) {
	after := func(n int64) ([]audit.Seal, error) { return from.Seals(ctx, n, 1) }
	low, high := int64(0), int64(1) // a seal lies above low, as far as any does; none above high, once found
	for {
		found, err := after(high)
		if err != nil {
			return last, false, err
		}
		if len(found) == 0 {
			break
		}
		low, high = high, high*2
	}
	for low < high {
		middle := low + (high-low)/2
		found, err := after(middle)
		if err != nil {
			return last, false, err
		}
		if len(found) == 0 {
			high = middle
		} else {
			low, last, ok = found[0].Number, found[0], true
		}
	}
	if !ok && low > 0 { // found while doubling
		found, err := from.Seals(ctx, low-1, 1)
		if err != nil || len(found) == 0 {
			return last, false, err
		}
		last, ok = found[0], true
	}
	return last, ok, nil
}

type auditHead struct {
	Place
	Out string `placeholder:"FILE" help:"Write to a file instead of standard output."`
}

// Run exports the head.
func (c *auditHead) Run(ctx context.Context, p *process) error {
	return p.withAudit(ctx, func(from *app.AuditSource) error {
		head, err := headOf(ctx, from)
		if err != nil {
			return failed("export head", err, "run `gatehouse audit verify`")
		}
		if waiting, err := from.Waiting(ctx); err == nil && waiting > 0 {
			p.note("%d events are not sealed yet and not covered; a running server seals them at once", waiting)
		}
		if c.Out == "" {
			return p.printJSON(head)
		}
		text, err := json.MarshalIndent(head, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.Out, append(text, '\n'), 0o644); err != nil { //nolint:gosec // a head is meant to be shown to others
			return failed("export head", err, "choose another file")
		}
		p.note("wrote the head at seal %d, event %d, to %s", head.Seal, head.Position, c.Out)
		return nil
	})
}

func headOf(ctx context.Context, from *app.AuditSource) (audit.Head, error) {
	seal, ok, err := lastSeal(ctx, from)
	if err != nil {
		return audit.Head{}, err
	}
	if !ok {
		return audit.Head{}, errors.New("nothing is sealed yet; start `gatehouse serve` once")
	}
	i := slices.IndexFunc(from.Keys, seal.SignedBy)
	if i < 0 {
		return audit.Head{}, fmt.Errorf("seal %d is not signed by a key of this database", seal.Number)
	}
	return audit.HeadOf(seal, from.Keys[i]), nil
}

type auditVerify struct {
	Place
	Output
	Head string   `placeholder:"FILE" help:"An exported head: reveals a tail that was cut off, and a chain that was written anew."`
	Key  []string `placeholder:"FILE" help:"The public key to trust, in hex or PEM. Without it the key in the database is trusted."`
}

// verdict is what a verification found, for programs.
type verdict struct {
	Whole bool `json:"whole"`
	audit.Report
	Trusted string `json:"trusted_key"` // "given", or "database" where the database vouches for itself
}

// Run verifies, and fails when there is any problem.
func (c *auditVerify) Run(ctx context.Context, p *process) error {
	against, err := c.against()
	if err != nil {
		return err
	}
	return p.withAudit(ctx, func(from *app.AuditSource) error {
		found := verdict{Trusted: "given"}
		if len(c.Key) == 0 {
			found.Trusted, against.Keys = "database", from.Keys
		}
		done := p.progress(&against)
		found.Report, err = audit.Verify(ctx, from, against)
		done()
		if err != nil {
			return failed("verify audit log", err, "check that the database is readable")
		}
		found.Whole = len(found.Problems) == 0
		if err := p.printVerdict(found, against.Head != nil); err != nil {
			return err
		}
		if !found.Whole {
			return fmt.Errorf("verify audit log: %s; compare with a backup", count(len(found.Problems), "problem"))
		}
		return nil
	})
}

// against reads what to hold the chain against.
func (c *auditVerify) against() (v audit.Verification, err error) {
	for _, name := range c.Key {
		key, err := readPublicKey(name)
		if err != nil {
			return v, &usageError{fmt.Errorf("--key %s: %w", name, err)}
		}
		v.Keys = append(v.Keys, key)
	}
	if c.Head == "" {
		return v, nil
	}
	text, err := os.ReadFile(c.Head)
	if err == nil {
		v.Head = &audit.Head{}
		err = json.Unmarshal(text, v.Head)
	}
	if err == nil && (v.Head.Seal < 1 || v.Head.SealHash == "") {
		err = errors.New("it is no exported head")
	}
	if err != nil {
		return v, usagef("--head %s: %w; give a file that `gatehouse audit head` wrote", c.Head, err)
	}
	return v, nil
}

// readPublicKey reads an Ed25519 public key in hex or PEM.
func readPublicKey(name string) (ed25519.PublicKey, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w; name a file with the public key", err)
	}
	if block, _ := pem.Decode(text); block != nil {
		if parsed, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			if key, ok := parsed.(ed25519.PublicKey); ok {
				return key, nil
			}
		}
		return nil, errors.New("the PEM block is no Ed25519 public key; give what `gatehouse audit key` prints")
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, errors.New("neither PEM nor 64 hex digits; give what `gatehouse audit key` prints")
	}
	return ed25519.PublicKey(raw), nil
}

// progress shows on a terminal how far a verification is. The function it returns wipes that away.
func (p *process) progress(v *audit.Verification) (done func()) {
	f, ok := p.err.(*os.File)
	if !ok || !term.IsTerminal(fd(f)) {
		return func() {}
	}
	v.Progress = func(events int64) { fmt.Fprintf(p.err, "\r%d events", events) }
	return func() { fmt.Fprintf(p.err, "\r%30s\r", "") }
}

func (p *process) printVerdict(v verdict, withHead bool) error {
	if p.json {
		return p.printJSON(v)
	}
	for _, problem := range v.Problems {
		line := "problem: " + problem.What
		if problem.EventID != "" {
			line += " (event id " + problem.EventID + ")"
		}
		fmt.Fprintln(p.out, clean(line))
	}
	is := "whole"
	if !v.Whole {
		is = "BROKEN"
	}
	fmt.Fprintf(p.out, "the record is %s: %s under %s read", is, count(int(v.Events), "event"), count(int(v.Seals), "seal"))
	if v.Waiting > 0 {
		fmt.Fprintf(p.out, ", %s not sealed yet", count(int(v.Waiting), "event"))
	}
	fmt.Fprintln(p.out)
	if v.Trusted == "database" {
		p.note("no --key was given, so the key in the database itself was trusted: who could write the database could have put another there. Keep `gatehouse audit key` elsewhere and give it with --key.")
	}
	if !withHead {
		p.note("no --head was given, so a tail that was cut off would not be seen. Keep `gatehouse audit head` elsewhere and give it with --head.")
	}
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

type auditKey struct {
	Place
	Output
}

// Run prints the public keys, oldest first: PEM, or hex in JSON.
func (c *auditKey) Run(ctx context.Context, p *process) error {
	return p.withAudit(ctx, func(from *app.AuditSource) error {
		type keyJSON struct {
			ID     string `json:"key_id"`
			Public string `json:"public_key"` // hex
		}
		keys := []keyJSON{}
		for _, key := range from.Keys {
			keys = append(keys, keyJSON{audit.KeyIDOf(key), hex.EncodeToString(key)})
			der, err := x509.MarshalPKIXPublicKey(key)
			if err != nil {
				return failed("print key "+audit.KeyIDOf(key), err, "the database was changed by hand: restore it")
			}
			if p.json {
				continue
			}
			if err := pem.Encode(p.out, &pem.Block{Type: "PUBLIC KEY", Bytes: der}); err != nil {
				return err
			}
		}
		if p.json {
			return p.printJSON(keys)
		}
		return nil
	})
}

type auditList struct {
	Place
	Output
	Limit int64 `placeholder:"N" default:"50" help:"At most so many (${default})."`
}

// Run lists the newest sealed events, oldest first, so that the last line is the last that happened.
func (c *auditList) Run(ctx context.Context, p *process) error {
	if err := limited(c.Limit); err != nil {
		return err
	}
	return p.withAudit(ctx, func(from *app.AuditSource) error {
		last, _, err := lastSeal(ctx, from)
		if err != nil {
			return failed("list audit log", err, "run `gatehouse audit verify`")
		}
		entries, err := from.Entries(ctx, max(0, last.Last-c.Limit), int(c.Limit))
		if err != nil {
			return failed("list audit log", err, "run `gatehouse audit verify`")
		}
		shown := make([]entryJSON, len(entries))
		for i, e := range entries {
			shown[i] = entryJSON{Position: e.Position}
			if json.Unmarshal(e.Body, &shown[i].Event) != nil {
				shown[i].Action = "(unreadable: run `gatehouse audit verify`)"
			}
		}
		return print(p, shown, []string{"#", "WHEN", "WHO", "DID", "TO", "OUTCOME", "FROM", "WHY"}, entryJSON.row)
	})
}

type entryJSON struct {
	Position int64 `json:"position"`
	audit.Event
}

func (e entryJSON) row() []string {
	who := strings.TrimSpace(e.Actor.Kind + " " + firstOf(e.Actor.Name, e.Actor.ID))
	to := strings.TrimSpace(e.Object.Kind + " " + firstOf(e.Object.Name, e.Object.ID))
	outcome := string(e.Outcome)
	if e.Count > 1 {
		outcome += " x" + strconv.Itoa(e.Count)
	}
	return []string{strconv.FormatInt(e.Position, 10), moment(e.At), who, e.Action, to, outcome, e.Address, e.Reason}
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
