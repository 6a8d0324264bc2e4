package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

// The test binary runs itself again as a child that writes and is killed.
const childVariable = "GATEHOUSE_TEST_WRITE_UNTIL_KILLED"

func inChild() string { return os.Getenv(childVariable) }

// writeUntilKilled prints the number of every row whose write has returned.
func writeUntilKilled(path string) {
	engine, err := sqlite.Open(context.Background(), sqlite.Options{Path: path})
	if err != nil {
		panic(err)
	}
	var printing sync.Mutex
	for writer := range 8 {
		go func() {
			for n := writer; ; n += 8 {
				err := engine.Write(context.Background(), fourStatements(int64(n)))
				printing.Lock()
				if err != nil {
					fmt.Println("error", err)
				} else {
					fmt.Println(n)
				}
				printing.Unlock()
			}
		}()
	}
	select {}
}

func TestWrite_keeps_every_acknowledged_row_when_the_process_is_killed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "killed.db")
	first := openAt(t, path)
	must(t, first.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.ExecContext(ctx, schema)
		return err
	}))
	must(t, first.Close())

	acknowledged := killedAfter(t, path, 300)

	db := openAt(t, path)
	for _, n := range acknowledged {
		id := fmt.Sprintf("0190a3b4-5678-7abc-8def-%012d", n)
		must(t, db.Read(t.Context(), func(ctx context.Context, tx store.Tx) error {
			var size, events int64
			err := tx.QueryRowContext(ctx, `SELECT size, (SELECT COUNT(*) FROM events WHERE thing = $1) FROM things WHERE id = $1`,
				id).Scan(&size, &events)
			if err != nil {
				return fmt.Errorf("acknowledged row %d: %w", n, err)
			}
			if size != int64(n)+1 || events != 1 {
				t.Errorf("row %d is not whole: size %d, events %d", n, size, events)
			}
			return nil
		}))
	}
}

// killedAfter starts the child, reads so many acknowledgements and kills it in mid-work.
func killedAfter(t *testing.T, path string, rows int) (acknowledged []int) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("child says %q", lines.Text())
		}
		if acknowledged = append(acknowledged, n); len(acknowledged) == rows {
			must(t, child.Process.Kill())
		}
	}
	_ = child.Wait() // it was killed
	if len(acknowledged) < rows {
		t.Fatalf("child acknowledged %d rows only", len(acknowledged))
	}
	return acknowledged
}
