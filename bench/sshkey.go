package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/bench/load"
	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

const (
	keysOnFile = 1_000_000
	keyHolders = 1000 // people who have them
	keyProvers = 4096 // of the keys: those whose private halves are known
)

// keyLookups orders keys to be looked up, one at a time, by a service of its own on somebody's database.
type keyLookups struct {
	Writes  writes        `json:"writes"` // where
	Keys    int           `json:"keys"`   // on file
	Unknown bool          `json:"unknown"`
	Lasting time.Duration `json:"lasting"`
}

// findKeys runs keyLookups. Nothing is believed without asking the store.
func findKeys(o keyLookups) (load.Timed, error) {
	ctx := context.Background()
	engine, err := o.Writes.open(ctx)
	if err != nil {
		return load.Timed{}, err
	}
	defer engine.Close()
	keys := &sshkey.Service{Store: store.SSHKeys{DB: &store.DB{Engine: engine}}, Now: time.Now, AccessKeys: true}
	const stride = 7919 // a prime, so that neighbours in time are none in the table
	return load.Timing(o.Lasting, func(n int) error {
		i := n * stride % o.Keys
		if o.Unknown {
			i += o.Keys
		}
		key, err := keyOf(i)
		if err != nil {
			return err
		}
		_, err = keys.Find(ctx, key)
		if o.Unknown && errors.Is(err, sshkey.ErrUnknown) {
			return nil
		}
		if o.Unknown && err == nil {
			return errors.New("a key that is not on file was found")
		}
		return err
	})
}

// seedOf is that of the private half of the key of a number. It is no secret.
func seedOf(i int) []byte {
	sum := sha256.Sum256([]byte("bench-" + strconv.Itoa(i)))
	return sum[:]
}

// blobOf is the key of a number as it is on the wire. Past keyProvers nobody has its private half.
func blobOf(i int) []byte {
	public := ed25519.PublicKey(seedOf(i))
	if i < keyProvers {
		public = ed25519.NewKeyFromSeed(seedOf(i)).Public().(ed25519.PublicKey)
	}
	return ssh.Marshal(struct{ Kind, Key string }{ssh.KeyAlgoED25519, string(public)})
}

func keyOf(i int) (key sshkey.Key, err error) { return key, key.UnmarshalBinary(blobOf(i)) }

func measureSSHKey(r *run) section {
	count, database := keysOnFile, r.postgres()
	if r.quick {
		count /= 100
	}
	s := section{Note: fmt.Sprintf("%d ed25519 keys of %d people are on file. Look-ups go one at a time through the service that the SSH door asks, in a process of its own and without its memory of two seconds; "+
		"unknown is a key that is not on file. A login is a whole one of user git, one at a time, each with another one of %d keys: connect, exchange keys (curve25519-sha256), offer, sign, close; the key is looked up when it is "+
		"offered and, from memory, when it has signed.", count, keyHolders, keyProvers)}
	t := table{Head: []string{"database", "keys", "what", "p50, ms", "p99, ms", "a second"}}
	for _, of := range []*postgres{nil, &database} {
		h := r.open(of, nil)
		h.fillKeys(count)
		told := func(what string, l load.Latencies, done int64, took time.Duration) {
			t.add(h.name, fmt.Sprint(count), what, fmt.Sprintf("%.3f", milliseconds(l.P50)), fmt.Sprintf("%.3f", milliseconds(l.P99)), fmt.Sprintf("%.0f", float64(done)/took.Seconds()))
			r.say("  %s, %d keys: %s: p50 %.3f ms, p99 %.3f ms", h.name, count, what, milliseconds(l.P50), milliseconds(l.P99))
		}
		for _, unknown := range []bool{false, true} {
			done := order[load.Timed](r, "find-keys", keyLookups{Writes: h.asWrites(), Keys: count, Unknown: unknown, Lasting: r.lasting})
			what := map[bool]string{false: "look-up", true: "look-up, unknown"}[unknown]
			told(what, done.Latencies, done.Done, done.Took)
			s.figure(fmt.Sprintf("SSH key %s among %d, %s: p99", what, count, h.name), fmt.Sprintf("%.2f ms (p50 %.2f)", milliseconds(done.Latencies.P99), milliseconds(done.Latencies.P50)), "", true)
		}
		seeds := make([][]byte, keyProvers)
		for i := range seeds {
			seeds[i] = seedOf(i)
		}
		done := order[load.LoginsDone](r, "load-login", load.Logins{Address: h.ssh, KeyExchange: ssh.KeyExchangeCurve25519, Seeds: seeds, Users: []string{"git"}, Parallel: 1, Lasting: r.lasting})
		if done.Failed > 0 || done.Done == 0 {
			r.Fatalf("%s: %d logins failed: %s", h.name, done.Failed, done.FirstFail)
		}
		told("login over SSH", done.Latencies, done.Done, done.Took)
		s.figure(fmt.Sprintf("git login over SSH among %d keys, %s: p99", count, h.name), fmt.Sprintf("%.1f ms (p50 %.1f)", milliseconds(done.Latencies.P99), milliseconds(done.Latencies.P50)), "", true)
		h.stop(syscall.SIGTERM)
	}
	s.Tables = append(s.Tables, t)
	return s
}

func (h *house) asWrites() writes {
	if h.database == nil {
		return writes{Path: h.file()}
	}
	return writes{URL: h.database.url}
}

// fillKeys puts keys on file, as copies of one that the product took.
func (h *house) fillKeys(count int) {
	began := time.Now()
	people := h.people(keyHolders)
	var model sshkey.Registered
	h.inside(func(ctx context.Context, in *app.House, by access.Caller) (err error) {
		model, err = in.Keys.AddUserKey(ctx, by, people[0].id, sshkey.New{Text: publicKey(), Label: "bench", Via: sshkey.Wire})
		return err
	})
	h.stop(syscall.SIGTERM)
	db := h.store()
	h.r.must(fillKeys(db, model.ID, people, count), "fill in keys")
	h.r.must(db.Close(), "close database")
	h.settle()
	h.start()
	h.r.say("  %s: %d keys in %v", h.name, count, time.Since(began).Round(time.Second))
}
