package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/store"
)

var (
	errClosed = fmt.Errorf("%w: closed", store.ErrUnavailable)
	errExited = errors.New("write function ended its goroutine")
)

// writer owns the one connection that writes. Its goroutine takes queued functions, runs them one
// after the other in one transaction, and commits them together, so that a hundred callers share
// one fsync. A group forms by itself while the commit before it waits for the disk: an empty queue
// commits at once.
type writer struct {
	options Options
	db      *sql.DB
	conn    *conn // nil: to be opened
	queue   chan *job

	closing sync.RWMutex // held for reading while a job enters the queue
	closed  bool
	ended   chan struct{}

	group []*job // the jobs taken from the queue whose callers wait
	kept  int    // how many of them the open transaction holds
	open  bool   // a transaction is open

	company bool // the group before held more than one job
}

// job is one function on its way through the writer.
type job struct {
	ctx     context.Context
	fn      store.Func
	tx      tx
	state   atomic.Int32
	err     error         // of the function, later of the commit; read after done
	refused error         // what it failed with, told after the commit
	panic   *panicked     // read after done
	done    chan struct{} // closed when the outcome is known
	settled bool          // done is closed
}

// A job is waiting until either the writer begins it or its caller gives up.
const (
	waiting = iota
	begun
	givenUp
)

// maxBegins bounds how often the writer asks for the file's write lock.
const maxBegins = 5

type panicked struct {
	value any
	stack []byte
}

func startWriter(ctx context.Context, options Options) (*writer, error) {
	// temp_store: a savepoint copies the pages it changes, by default into a temporary file; that
	// was a fifth of the writer's time.
	db, err := sql.Open("sqlite", options.dsn("temp_store(MEMORY)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	w := &writer{options: options, db: db, queue: make(chan *job, 4*options.MaxGroup), ended: make(chan struct{})}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	go w.loop()
	return w, nil
}

// write queues fn and waits for its outcome, which is known unless it is an error of ctx from
// before fn began: then fn will never run.
func (w *writer) write(ctx context.Context, fn store.Func) ([]string, error) {
	j := &job{ctx: ctx, fn: fn, done: make(chan struct{})}
	if err := w.enqueue(j); err != nil {
		return nil, err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.state.CompareAndSwap(waiting, givenUp) {
			return nil, ctx.Err()
		}
		<-j.done
	}
	if j.panic != nil {
		panic(fmt.Sprintf("%v\n\nwrite function:\n%s", j.panic.value, j.panic.stack))
	}
	return j.tx.notices, j.err
}

func (w *writer) enqueue(j *job) error {
	w.closing.RLock()
	defer w.closing.RUnlock()
	if w.closed {
		return errClosed
	}
	select {
	case w.queue <- j:
		return nil
	case <-j.ctx.Done():
		return j.ctx.Err()
	}
}

// close refuses new functions, runs what is queued and ends the goroutine.
func (w *writer) close() error {
	w.closing.Lock()
	w.closed = true
	close(w.queue)
	w.closing.Unlock()
	<-w.ended
	return w.db.Close()
}

func (w *writer) loop() {
	finished := false
	defer func() {
		if !finished { // a function called runtime.Goexit, as t.FailNow does: go on without it
			w.lose(errExited)
			go w.loop()
		}
	}()
	for j := range w.queue {
		w.gather(j)
		w.commit()
	}
	if w.conn != nil {
		w.conn.close()
	}
	finished = true
	close(w.ended)
}

// gather runs first and what is queued behind it in one transaction. When the group before had company,
// more is about to come: waiting for it, at most MaxGather, spares commits. A lone caller never waits.
func (w *writer) gather(first *job) {
	begin := time.Now()
	w.run(first)
	busy := w.company
	n := 1
	defer func() { w.company = n > 1 }()
	for ; n < w.options.MaxGroup; n++ {
		left := w.options.MaxGather - time.Since(begin)
		if left <= 0 {
			return
		}
		j, ok := w.next(busy, left)
		if !ok {
			return
		}
		w.run(j)
	}
}

// next takes a queued job. Where there is reason to, it waits for one.
func (w *writer) next(busy bool, patience time.Duration) (*job, bool) {
	if len(w.queue) == 0 && !busy {
		runtime.Gosched() // callers of the group before have just been woken: let them queue again
	}
	select {
	case j, ok := <-w.queue:
		return j, ok
	default:
	}
	if !busy {
		return nil, false
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case j, ok := <-w.queue:
		return j, ok
	case <-timer.C:
		return nil, false
	}
}

// run adds one function to the transaction. A function that fails leaves the transaction as it was.
func (w *writer) run(j *job) {
	w.group = append(w.group, j)
	if err := w.ready(); err != nil {
		w.refuse(err)
		return
	}
	if !j.state.CompareAndSwap(waiting, begun) {
		w.settle(j, context.Canceled) // nobody reads it
		return
	}
	// The first function of a transaction needs no savepoint: to undo it is to roll back.
	if w.kept > 0 {
		if err := w.conn.run("SAVEPOINT write"); err != nil {
			w.lose(err)
			return
		}
	}
	j.tx = tx{conn: w.conn, writing: true}
	err := j.call()
	lost := j.tx.lost
	j.tx.lost = sql.ErrTxDone // whoever kept the Tx cannot write into somebody else's transaction
	switch {
	case lost != nil:
		w.lose(lost)
	case err != nil:
		w.undo(j, err)
	default:
		w.keep()
	}
}

// ready opens the connection and the transaction where they are not.
func (w *writer) ready() error {
	if w.open {
		return nil
	}
	if w.conn == nil {
		c, err := openConn(w.db)
		if err != nil {
			return err
		}
		w.conn = c
	}
	if err := w.begin(); err != nil {
		if !busy(err) {
			w.drop()
		}
		return err
	}
	w.open = true
	return nil
}

// begin waits for the file's write lock, which another process may hold: SQLite itself waits for
// the busy timeout, but gives up at once in some cases (recovery of the log, for one).
func (w *writer) begin() error {
	start := time.Now()
	for try := 1; ; try++ {
		err := w.conn.run("BEGIN IMMEDIATE")
		if err == nil || !busy(err) || try == maxBegins || time.Since(start) >= w.options.BusyTimeout {
			return err
		}
	}
}

// refuse fails everything that is queued: no transaction can begin, and who waited in the queue has
// waited for it as well.
func (w *writer) refuse(err error) {
	for {
		select {
		case j, ok := <-w.queue:
			if ok {
				w.group = append(w.group, j)
				continue
			}
		default:
		}
		w.settleAll(err)
		return
	}
}

func (w *writer) keep() {
	if w.kept > 0 {
		if err := w.conn.run("RELEASE write"); err != nil {
			w.lose(err)
			return
		}
	}
	w.kept++
}

// undo takes back what a function did. Its caller hears why together with the others of the group: it may have failed over what one of them wrote, and whoever
// is told that a name is taken finds who took it.
func (w *writer) undo(j *job, cause error) {
	if w.kept == 0 {
		w.settle(j, cause)
		w.rollback()
		return
	}
	err := w.conn.run("ROLLBACK TO write")
	if err == nil {
		err = w.conn.run("RELEASE write")
	}
	j.refused = cause
	if err != nil {
		w.lose(err)
	}
}

// commit makes the group durable and tells every caller.
func (w *writer) commit() {
	if w.open && w.kept > 0 {
		if err := w.conn.run("COMMIT"); err != nil {
			w.lose(err)
			return
		}
		w.open, w.kept = false, 0
	} else if w.open {
		w.rollback()
	}
	w.settleAll(nil)
}

// lose gives up the transaction: every function in it gets the error.
func (w *writer) lose(err error) {
	w.rollback()
	w.settleAll(fmt.Errorf("write group: %w", err))
	w.drop()
}

// rollback ends the transaction; SQLite may have done so already.
func (w *writer) rollback() {
	if w.open && w.conn != nil && w.conn.run("ROLLBACK") != nil {
		w.drop()
	}
	w.open, w.kept = false, 0
}

// drop closes the connection, so that the next group begins on a fresh one.
func (w *writer) drop() {
	if w.conn != nil {
		w.conn.close()
		w.conn = nil
	}
}

func (w *writer) settleAll(err error) {
	for _, j := range w.group {
		if err == nil {
			w.settle(j, j.refused)
			continue
		}
		w.settle(j, err)
	}
	clear(w.group)
	w.group = w.group[:0]
}

func (w *writer) settle(j *job, err error) {
	if j.settled {
		return
	}
	j.settled = true
	if j.err == nil {
		j.err = err
	}
	close(j.done)
}

// call runs the function. A panic is kept for the caller and must not end the writer.
func (j *job) call() (err error) {
	defer func() {
		if v := recover(); v != nil {
			j.panic = &panicked{v, debug.Stack()}
			err = errors.New("panic")
		}
	}()
	return j.fn(j.ctx, &j.tx)
}
