package sqlite_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/store"
)

// One write of the benchmark is what a small Store method does: two inserts, one select, one update.
func fourStatements(n int64) store.Func {
	return func(ctx context.Context, tx store.Tx) error {
		id := fmt.Sprintf("0190a3b4-5678-7abc-8def-%012d", n)
		if _, err := tx.ExecContext(ctx, `INSERT INTO things (id, name, size) VALUES ($1, $2, $3)`, id, id, n); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO events (id, thing, body) VALUES ($1, $2, $3)`, id, id, "a line of what happened"); err != nil {
			return err
		}
		var size int64
		if err := tx.QueryRowContext(ctx, `SELECT size FROM things WHERE id = $1`, id).Scan(&size); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE things SET size = $2 WHERE id = $1`, id, size+1)
		return err
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			db := open(b)
			var n atomic.Int64
			b.SetParallelism(max(callers/2, 1)) // times GOMAXPROCS, which is 2 where the figures were taken
			b.ReportAllocs()
			b.ResetTimer()
			defer reportCPU(b)()
			if callers == 1 {
				for b.Loop() {
					must(b, db.Write(b.Context(), fourStatements(n.Add(1))))
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					must(b, db.Write(b.Context(), fourStatements(n.Add(1))))
				}
			})
		})
	}
}

func BenchmarkReadByKey(b *testing.B) {
	db := open(b)
	for n := range int64(1000) {
		must(b, db.Write(b.Context(), fourStatements(n)))
	}
	b.ReportAllocs()
	b.ResetTimer()
	defer reportCPU(b)()
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			id := fmt.Sprintf("0190a3b4-5678-7abc-8def-%012d", n%1000)
			var name string
			var size int64
			must(b, db.Read(b.Context(), func(ctx context.Context, tx store.Tx) error {
				return tx.QueryRowContext(ctx, `SELECT name, size FROM things WHERE id = $1`, id).Scan(&name, &size)
			}))
		}
	})
}

// reportCPU adds the processor time of the whole process: the wall clock of a shared machine says little.
func reportCPU(b *testing.B) (report func()) {
	used := func() int64 {
		var u syscall.Rusage
		must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return u.Utime.Nano() + u.Stime.Nano()
	}
	begin := used()
	return func() { b.ReportMetric(float64(used()-begin)/float64(b.N), "cpu-ns/op") }
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
