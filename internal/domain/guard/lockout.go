package guard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
)

// Record is what is known of the failed sign-ins under one key.
type Record struct {
	Count int
	Since time.Time // when counting began
	Last  time.Time // the latest failure
}

// LockoutStore keeps records of failed sign-ins.
type LockoutStore interface {
	// Record returns the record of a key; none is the zero Record and no error.
	Record(ctx context.Context, key string) (Record, error)
	// Strike loads the record of key, hands it to decide and stores and returns what that returns, in one
	// transaction. decide may run more than once; it is given the zero Record where there is none.
	Strike(ctx context.Context, key string, decide func(Record) Record) (Record, error)
	// Clear removes records and stores events, all or nothing, and reports how many records there were.
	Clear(ctx context.Context, keys []string, events ...audit.Event) (int, error)
	// SweepRecords removes records whose last failure lies before that time.
	SweepRecords(ctx context.Context, before time.Time) error
}

// Lockout slows down who guesses at passwords and secrets of people and programs.
//
// A name is counted as it was presented, whether it exists or not, in one spelling. From CaptchaAfter failures on a
// right CAPTCHA is due for it; from the next one on it backs off: 2 s after the last failure, then 4 s, 8 s and so on up to MaxWait. An address
// backs off from AddressAfter failures within AddressWindow, 1 s doubling to AddressWait. A program is counted by itself
// and where it comes from together, without CAPTCHA, so that nobody locks it out from elsewhere. Quiet time clears all of it;
// a completed sign-in clears the name.
type Lockout struct {
	Store LockoutStore
	Now   func() time.Time

	CaptchaAfter  int           // failures of a name; 5 by default, 0 never asks for a CAPTCHA
	MaxWait       time.Duration // longest back-off of a name; 15 min
	SolvedWait    time.Duration // longest back-off of a name with a right CAPTCHA; 30 s
	AddressAfter  int           // failures of an address; 20
	AddressWindow time.Duration // within; 10 min
	AddressWait   time.Duration // longest back-off of an address; 60 s
	Quiet         time.Duration // after which everything is forgotten; 24 h
}

// NewLockout returns a Lockout with its defaults.
func NewLockout(store LockoutStore, now func() time.Time) *Lockout {
	return &Lockout{
		Store: store, Now: now, CaptchaAfter: 5, MaxWait: 15 * time.Minute, SolvedWait: 30 * time.Second,
		AddressAfter: 20, AddressWindow: 10 * time.Minute, AddressWait: time.Minute, Quiet: 24 * time.Hour,
	}
}

// freeFailures is how many failures a name or a program has before it backs off.
const freeFailures = 5

// Who is who tries to sign in, as far as it was said. Of Name and Program one is given; with neither the attempt is counted by its address alone.
type Who struct {
	Name    string // presented login name, folded
	Program string // presented id of a program, or account and name
	Address netip.Addr
	Solved  bool // a right CAPTCHA came along
}

// Standing says how things stand for an attempt.
type Standing struct {
	BackOff    bool          // it must not be looked at now
	RetryAfter time.Duration // how long for
	CaptchaDue bool          // a right CAPTCHA is due for the name, whether one came along or not
	Locked     bool          // this failure was the one that began it
	failures   int
}

// Refused says that the attempt must be answered without looking at its secret.
func (s Standing) Refused(w Who) bool { return s.BackOff || s.CaptchaDue && !w.Solved }

// Stands tells how things stand, before the secret is looked at. It counts nothing.
func (l *Lockout) Stands(ctx context.Context, w Who) (Standing, error) {
	now := l.Now()
	s := Standing{}
	if !w.unnamed() {
		own, err := l.Store.Record(ctx, w.key())
		if err != nil {
			return Standing{}, fmt.Errorf("read failed sign-ins: %w", err)
		}
		s = l.standing(own, w, now)
	}
	if w.Program != "" {
		return s, nil
	}
	there, err := l.Store.Record(ctx, addressKey(w.Address))
	if err != nil {
		return Standing{}, fmt.Errorf("read failed sign-ins: %w", err)
	}
	return s.and(there.left(now, l.addressWait(there, now))), nil
}

// Fail counts an attempt whose secret was looked at and was wrong, and tells how things stand now.
func (l *Lockout) Fail(ctx context.Context, w Who) (Standing, error) {
	now := l.Now()
	s, err := l.strike(ctx, w, now)
	if err != nil {
		return Standing{}, fmt.Errorf("count failed sign-in: %w", err)
	}
	if w.Program != "" {
		return s, nil
	}
	there, err := l.Store.Strike(ctx, addressKey(w.Address), func(r Record) Record {
		if l.isQuiet(r, now) || now.Sub(r.Since) > l.AddressWindow && r.left(now, l.addressWait(r, now)) == 0 {
			r = Record{Since: now}
		}
		return r.struck(now)
	})
	if err != nil {
		return Standing{}, fmt.Errorf("count failed sign-in: %w", err)
	}
	return s.and(there.left(now, l.addressWait(there, now))), nil
}

// strike counts a failure under the attempt's own name.
func (l *Lockout) strike(ctx context.Context, w Who, now time.Time) (Standing, error) {
	if w.unnamed() {
		return Standing{}, nil
	}
	own, err := l.Store.Strike(ctx, w.key(), func(r Record) Record {
		if l.isQuiet(r, now) {
			r = Record{Since: now}
		}
		return r.struck(now)
	})
	s := l.standing(own, w, now)
	s.Locked = own.Count == l.firstLock(w)
	return s, err
}

// Succeed forgets the failures of a name or program whose sign-in is complete. before is how things stood: where
// nothing was counted, nothing is written.
func (l *Lockout) Succeed(ctx context.Context, w Who, before Standing) error {
	if before.failures == 0 {
		return nil
	}
	_, err := l.Store.Clear(ctx, []string{w.key()})
	return err
}

// Clear forgets the failures of names, each folded, records e, and reports whether there were any.
func (l *Lockout) Clear(ctx context.Context, e audit.Event, names ...string) (bool, error) {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = Who{Name: name}.key()
	}
	n, err := l.Store.Clear(ctx, keys, e)
	return n > 0, err
}

// Run removes old records every so often until ctx ends. Nothing depends on it but space.
func (l *Lockout) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = l.Store.SweepRecords(ctx, l.Now().Add(-l.Quiet)) // the next tick tries again
		}
	}
}

func (l *Lockout) standing(r Record, w Who, now time.Time) Standing {
	if l.isQuiet(r, now) {
		return Standing{}
	}
	s := Standing{failures: r.Count, CaptchaDue: w.Program == "" && l.CaptchaAfter > 0 && r.Count >= l.CaptchaAfter}
	wait := doubling(2*time.Second, r.Count-freeFailures-1, l.MaxWait)
	if w.Solved {
		wait = min(wait, l.SolvedWait)
	}
	return s.and(r.left(now, wait))
}

// and adds a back-off that must be waited out as well.
func (s Standing) and(left time.Duration) Standing {
	s.RetryAfter = max(s.RetryAfter, left)
	s.BackOff = s.RetryAfter > 0
	return s
}

// firstLock is the number of the failure from which on attempts are refused.
func (l *Lockout) firstLock(w Who) int {
	if w.Program == "" && l.CaptchaAfter > 0 {
		return min(l.CaptchaAfter, freeFailures+1)
	}
	return freeFailures + 1
}

// isQuiet says that a record means nothing any more. One from a clock far ahead was written by mistake.
func (l *Lockout) isQuiet(r Record, now time.Time) bool {
	return r.Count == 0 || now.Sub(r.Last) >= l.Quiet || r.Last.Sub(now) > l.Quiet
}

func (l *Lockout) addressWait(r Record, now time.Time) time.Duration {
	if l.isQuiet(r, now) {
		return 0
	}
	return doubling(time.Second, r.Count-l.AddressAfter, l.AddressWait)
}

func (r Record) struck(now time.Time) Record {
	r.Count++
	if now.After(r.Last) { // a node whose clock is behind moves nothing back
		r.Last = now
	}
	return r
}

// left is what remains of a wait after the last failure.
func (r Record) left(now time.Time, wait time.Duration) time.Duration {
	return max(0, r.Last.Add(wait).Sub(now))
}

// doubling is first for step 0, twice that for 1 and so on up to most, and nothing below step 0.
func doubling(first time.Duration, step int, most time.Duration) time.Duration {
	if step < 0 {
		return 0
	}
	if step > 30 {
		return most
	}
	return min(first<<step, most)
}

func (w Who) unnamed() bool { return w.Name == "" && w.Program == "" }

// key says under what the attempt is counted. What strangers write is hashed: it may be long, hold any byte, or be a
// password that was typed in the wrong place.
func (w Who) key() string {
	if w.Program != "" {
		return "program " + short(w.Program) + " " + source(w.Address)
	}
	return "name " + short(w.Name)
}

func addressKey(a netip.Addr) string { return "address " + source(a) }

func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
