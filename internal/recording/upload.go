package recording

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// segment is one that grows no more and is on its way into the bucket.
type segment struct {
	file  *os.File // open until it was synced
	path  string
	piece remote.Piece
}

// uploaders is how many recordings bring segments to the bucket at a time.
const uploaders = 4

// syncers is how many files are synced at a time: a journal takes many at once.
const syncers = 8

// retryEvery is how often what a spool still holds of sessions that are over is tried again, at most.
const retryEvery = 30 * time.Second

// queue holds recorders with something to upload, each at most once.
type queue struct {
	mu    sync.Mutex
	items []*recorder
	wake  chan struct{}
}

func (q *queue) signal() chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.wake == nil {
		q.wake = make(chan struct{}, uploaders)
	}
	return q.wake
}

func (q *queue) add(r *recorder) {
	wake := q.signal()
	q.mu.Lock()
	q.items = append(q.items, r)
	q.mu.Unlock()
	select {
	case wake <- struct{}{}:
	default: // enough are awake
	}
}

func (q *queue) take() *recorder {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return nil
	}
	r := q.items[0]
	q.items[0], q.items = nil, q.items[1:]
	return r
}

// Run syncs spools, uploads closed segments and takes up what was left behind, until ctx ends. Sessions must have ended before.
func (a *Archive) Run(ctx context.Context) {
	var loops sync.WaitGroup
	defer loops.Wait()
	for range uploaders {
		loops.Go(func() { a.uploadLoop(ctx) })
	}
	loops.Go(func() { a.recoverLoop(ctx) })
	loops.Go(func() { a.diskLoop(ctx) })
	loops.Go(func() { a.each(ctx, a.sync) })
	a.each(ctx, a.watch)
}

// each calls what there is to do each time that spools are synced.
func (a *Archive) each(ctx context.Context, do func()) {
	tick := time.NewTicker(a.Settings.Sync)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

func (a *Archive) uploadLoop(ctx context.Context) {
	wake := a.queue.signal()
	for {
		for r := a.queue.take(); r != nil && ctx.Err() == nil; r = a.queue.take() {
			r.serve(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		}
	}
}

func (a *Archive) recoverLoop(ctx context.Context) {
	tick := time.NewTicker(min(retryEvery, max(a.Settings.Patience, a.Settings.Sync)))
	defer tick.Stop()
	var swept time.Time
	for {
		if time.Since(swept) > abandoned {
			swept = time.Now()
			if err := a.sweepLocal(); err != nil {
				a.OnError("remove what a crash left of recordings", err)
			}
		}
		if err := a.Recover(ctx); err != nil && ctx.Err() == nil {
			a.OnError("take up recordings that were left", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// watch looks whether disk and bucket keep up. It waits for neither.
func (a *Archive) watch() {
	now, fault := a.Now(), a.space.short(a.Settings)
	if fault == nil && a.round.hangs(now, a.Settings.Patience) {
		fault = errHangs
	}
	for _, r := range a.recorders() {
		r.patience(now)
		if fault != nil {
			_ = r.fail(fault)
		}
	}
}

var errHangs = errors.New("the disk of the spool does not take what is written")

// round is the syncing that is under way.
type round struct {
	mu    sync.Mutex
	moved time.Time // when it began, or last got on; zero: there is none
}

func (r *round) move(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moved = now
}

func (r *round) hangs(now time.Time, patience time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.moved.IsZero() && now.Sub(r.moved) > patience
}

// sync brings to the disk what was written since the last time, and closes segments that have had their time. A disk that hangs keeps it here: see watch.
func (a *Archive) sync() {
	now := a.Now()
	a.round.move(now)
	defer a.round.move(time.Time{})
	var dirty []unsynced
	for _, r := range a.recorders() {
		for _, t := range r.all() {
			t.old(now)
		}
		for _, f := range r.dirty() {
			dirty = append(dirty, unsynced{r, f})
		}
	}
	a.syncAll(dirty)
}

// unsynced is a file of a spool that was written to.
type unsynced struct {
	r *recorder
	f *os.File
}

// syncAll brings files to the disk, a few at a time.
func (a *Archive) syncAll(dirty []unsynced) {
	if len(dirty) == 0 {
		return
	}
	begun := time.Now()
	var wait sync.WaitGroup
	next := make(chan unsynced)
	for range min(syncers, len(dirty)) {
		wait.Go(func() {
			for u := range next {
				_ = u.r.syncFile(u.f) // it has failed the recording
				a.round.move(a.Now())
			}
		})
	}
	for _, u := range dirty {
		next <- u
	}
	close(next)
	wait.Wait()
	if a.Observe.Synced != nil {
		a.Observe.Synced(len(dirty), time.Since(begun))
	}
}

// patience fails a recording of which a closed segment waits while none has been stored for too long (rule W14), and has the others tried again. That the
// place is slow is not enough: whoever prints fast waits for it in Room, and must not get by that to where nobody records them.
func (r *recorder) patience(now time.Time) {
	r.mu.Lock()
	waits := len(r.pending) > 0
	late := waits && min(now.Sub(r.pending[0].piece.Closed), now.Sub(r.brought)) > r.a.Settings.Patience
	enqueue := waits && !r.serving && !r.queued
	r.queued = r.queued || enqueue
	r.mu.Unlock()
	if late {
		_ = r.fail(errLate)
	}
	if enqueue {
		r.a.queue.add(r)
	}
}

var errLate = errors.New("what was recorded could not be stored in time")

// serve uploads the oldest segment that is pending, and gets in line again: whoever prints most keeps nobody from being recorded. Where it fails the next
// tick tries again.
func (r *recorder) serve(ctx context.Context) {
	r.mu.Lock()
	r.queued = false
	if r.serving {
		r.mu.Unlock()
		return
	}
	r.serving = true
	r.mu.Unlock()
	more, err := r.uploadNext(ctx)
	if err != nil && ctx.Err() == nil {
		r.a.OnError("upload recording "+r.about.Recording, err)
	}
	r.mu.Lock()
	r.serving = false
	left := r.left
	again := more && err == nil && !left && !r.queued
	r.queued = r.queued || again
	r.mu.Unlock()
	if left {
		r.a.leave(r)
	}
	if again {
		r.a.queue.add(r)
	}
}

// uploadAll must be called by one at a time: whoever has set serving. So must uploadNext.
func (r *recorder) uploadAll(ctx context.Context) error {
	for {
		if more, err := r.uploadNext(ctx); err != nil || !more {
			return err
		}
	}
}

// uploadNext uploads the oldest segment that is pending, and says whether there are more.
func (r *recorder) uploadNext(ctx context.Context) (more bool, err error) {
	r.mu.Lock()
	if len(r.pending) == 0 {
		r.mu.Unlock()
		return false, nil
	}
	s := r.pending[0]
	r.mu.Unlock()
	if err := r.a.upload(ctx, s); err != nil {
		return true, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[0], r.pending = nil, r.pending[1:]
	r.brought = r.a.Now()
	close(r.moved)
	r.moved = make(chan struct{})
	return len(r.pending) > 0, nil
}

// deliver uploads what is pending of a session that is over: for as long as patience lasts.
func (r *recorder) deliver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.a.Settings.Patience)
	defer cancel()
	retry := time.NewTicker(min(r.a.Settings.Sync, 200*time.Millisecond))
	defer retry.Stop()
	var last error
	for {
		r.mu.Lock()
		mine := !r.serving
		r.serving = true
		r.mu.Unlock()
		if mine {
			last = r.uploadAll(ctx)
			r.mu.Lock()
			r.serving = false
			r.mu.Unlock()
			if last == nil || r.Err() != nil { // who has failed already was waited for
				return last
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), last)
		case <-retry.C:
		}
	}
}

// upload brings a segment to the disk, its hash to the database and its bytes to the bucket, and removes it from the spool. It may be repeated.
func (a *Archive) upload(ctx context.Context, s *segment) error {
	ctx, cancel := context.WithTimeout(ctx, a.Settings.Patience) // a server that hangs is one that fails
	defer cancel()
	if s.file != nil {
		if err := s.file.Sync(); err != nil {
			return fmt.Errorf("sync segment: %w", err)
		}
		err := s.file.Close()
		s.file = nil
		if err != nil {
			return fmt.Errorf("close segment: %w", err)
		}
	}
	begun := time.Now()
	body, err := os.ReadFile(s.path)
	if err != nil {
		return fmt.Errorf("read segment: %w", err)
	}
	s.piece.Blocks = blocksOf(body)
	if err := a.Store.AddPiece(ctx, s.piece); fault.Is(err, fault.Conflict) {
		a.OnError("upload segment "+s.piece.Name+" of recording "+s.piece.Session, errChanged)
	} else if err != nil {
		return fmt.Errorf("keep hash of segment: %w", err)
	}
	if err := a.bring(ctx, s, body); err != nil {
		return fmt.Errorf("upload segment: %w", err)
	}
	if a.Observe.Uploaded != nil {
		a.Observe.Uploaded(s.piece.Bytes, time.Since(begun))
	}
	return nil
}

// errChanged says that the database has another hash of a segment. That the bytes are those which were written is not looked at again here: whoever
// verifies sees it.
var errChanged = errors.New("the database knows it by another hash")

// bring takes a segment out of the spool, into the bucket. On one disk it stays where it is and changes its name, which is on the disk by the time that the
// spool is given up: a crash of the machine before leaves it in one of the two.
func (a *Archive) bring(ctx context.Context, s *segment, body []byte) error {
	if a.local != "" {
		err := move(s.path, filepath.Join(a.local, s.piece.Session, s.piece.Name))
		if !errors.Is(err, errOtherDisk) {
			return err
		}
	}
	if err := a.put(ctx, s.piece.Session, s.piece.Name, body); err != nil {
		return err
	}
	if err := os.Remove(s.path); err != nil {
		return fmt.Errorf("remove segment from spool: %w", err)
	}
	return nil
}

// move gives a file another name on the same disk. It reports errOtherDisk.
func move(from, to string) error {
	err := os.Rename(from, to)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		err = os.Rename(from, to)
	}
	if errors.Is(err, syscall.EXDEV) {
		return errOtherDisk
	}
	return err
}

var errOtherDisk = errors.New("the spool is on another disk")

// put writes an object. Where the bucket is local, it is on the disk then.
func (a *Archive) put(ctx context.Context, session, name string, body []byte) error {
	if a.local != "" {
		return putLocal(a.local, session, name, body)
	}
	kind := "application/x-ndjson"
	if name == manifestName {
		kind = "application/json"
	}
	return a.Bucket.Upload(ctx, session+"/"+name, bytes.NewReader(body), &blob.WriterOptions{ContentType: kind})
}

// blockSize is how finely a manifest points to what was changed; blockHash how many bytes it has for each.
const blockSize, blockHash = 4 << 10, 8

// blocksOf returns the pointers of a segment.
func blocksOf(body []byte) []byte {
	blocks := make([]byte, 0, (len(body)/blockSize+1)*blockHash)
	for len(body) > 0 {
		n := min(len(body), blockSize)
		sum := sha256.Sum256(body[:n])
		blocks = append(blocks, sum[:blockHash]...)
		body = body[n:]
	}
	return blocks
}

// conclude signs the manifest of a recording whose segments are all in the bucket, and gives its spool up. It may be repeated.
func (a *Archive) conclude(ctx context.Context, dir string, m Manifest) error {
	if err := a.replace(ctx, m, nil); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove spool: %w", err)
	}
	return syncDir(filepath.Dir(dir))
}

// replace publishes what the node of a session knows of it. Another may have taken that one for lost, and signed what it found: whoever has the spool
// knows better, also where both do so at a time.
func (a *Archive) replace(ctx context.Context, m Manifest, missing map[string]bool) error {
	for {
		known, err := a.Store.Recording(ctx, m.Session.Recording)
		if err != nil {
			return err
		}
		if err := a.publish(ctx, m, missing, known.Manifest); !errors.Is(err, remote.ErrSigned) {
			return err
		}
	}
}

// publish adds the segments to a manifest, signs it, and puts it into database and bucket, in place of the one of before, which may be nil. missing names
// segments that never reached the bucket. It reports remote.ErrSigned where the database has another manifest by now, which stays.
func (a *Archive) publish(ctx context.Context, m Manifest, missing map[string]bool, before []byte) error {
	id := m.Session.Recording
	pieces, err := a.Store.Pieces(ctx, id)
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	m.fill(pieces, missing)
	m.Replaces = ""
	if before != nil {
		m.Replaces = hexSum(before)
	}
	text, err := m.sign(a.Signer)
	if err != nil {
		return err
	}
	if err := a.Store.FinishRecording(ctx, id, before, m.Ended, text, m.Cut); err != nil {
		return fmt.Errorf("finish recording: %w", err)
	}
	return a.settle(ctx, id)
}

// settle has the bucket hold the manifest that the database has. Only what the database has is ever put there, and whoever puts it asks after that whether it
// still has it, also where it is being stopped: so whichever of several nodes is last leaves both the same. It may be repeated.
func (a *Archive) settle(ctx context.Context, id string) error {
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.Settings.Patience)
	defer cancel()
	for {
		known, err := a.Store.Recording(ctx, id)
		if err != nil {
			return err
		}
		there, err := a.get(ctx, id, manifestName, maxManifest)
		if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return fmt.Errorf("look for manifest: %w", err)
		}
		if err != nil || !bytes.Equal(there, known.Manifest) {
			if err := a.put(ctx, id, manifestName, known.Manifest); err != nil {
				return fmt.Errorf("write manifest: %w", err)
			}
			ctx = after
		}
		if err := a.Store.SettleRecording(ctx, id, known.Manifest); !errors.Is(err, remote.ErrSigned) {
			return err
		}
	}
}

// get reads an object of at most so many bytes.
func (a *Archive) get(ctx context.Context, session, name string, most int64) (_ []byte, err error) {
	return read(ctx, a.Bucket, session+"/"+name, most)
}

func read(ctx context.Context, b *blob.Bucket, object string, most int64) (_ []byte, err error) {
	r, err := b.NewReader(ctx, object, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if r.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that are read", object, r.Size(), most)
	}
	body, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(body)) > most {
		err = fmt.Errorf("%s has more than %d bytes", object, most)
	}
	return body, err
}
