package bare

import (
	"crypto/rand"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/gatehouse-project/gatehouse/bench/proc"
)

// Hashes orders password hashes: Argon2id with 19 MiB, two passes, one thread.
type Hashes struct {
	Parallel int           `json:"parallel"`
	Lasting  time.Duration `json:"lasting"`
}

// HashesDone is what came of Hashes.
type HashesDone struct {
	Done int64         `json:"done"`
	Took time.Duration `json:"took"`
	CPU  proc.CPU      `json:"cpu"` // of this process
}

// Hash runs Hashes.
func Hash(o Hashes) (HashesDone, error) {
	before, err := proc.Of(os.Getpid())
	if err != nil {
		return HashesDone{}, err
	}
	var done atomic.Int64
	var workers sync.WaitGroup
	began := time.Now()
	for range o.Parallel {
		workers.Go(func() {
			salt := make([]byte, 16)
			for time.Since(began) < o.Lasting {
				_, _ = rand.Read(salt) // never fails
				argon2.IDKey([]byte("not-a-secret-of-anybody"), salt, 2, 19456, 1, 32)
				done.Add(1)
			}
		})
	}
	workers.Wait()
	took := time.Since(began)
	after, err := proc.Of(os.Getpid())
	return HashesDone{done.Load(), took, after.Since(before)}, err
}
