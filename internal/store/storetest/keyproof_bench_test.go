package storetest_test

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

// BenchmarkVerification is the store's part of one key verification over SSH: find the session, record
// the connection, end the session with its proof and its audit event. The session is made outside the
// measured time. cpu-us/op is processor time of the whole process, fsync waits left out.
func BenchmarkVerification(b *testing.B) {
	for name, parallel := range map[string]int{"callers=2": 1, "callers=32": 16} {
		b.Run(name, func(b *testing.B) {
			s := openBench(b)
			sessions := make(chan keyproof.Session, b.N)
			for range b.N {
				sessions <- insertSession(b, s, newSession(b))
			}
			b.SetParallelism(parallel)
			b.ReportAllocs()
			b.ResetTimer()
			begin := cpu(b)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					verifyOnce(b, s, <-sessions)
				}
			})
			b.ReportMetric(float64((cpu(b)-begin).Microseconds())/float64(b.N), "cpu-us/op")
		})
	}
}

func openBench(b *testing.B) store.Keyproofs {
	b.Helper()
	engine, err := sqlite.Open(b.Context(), sqlite.Options{Path: filepath.Join(b.TempDir(), "gatehouse.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = engine.Close() })
	if err := engine.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	return proofs(b, &store.DB{Engine: engine})
}

func verifyOnce(b *testing.B, s store.Keyproofs, of keyproof.Session) {
	state, err := s.ByIdentifier(b.Context(), of.Identifier)
	if err != nil {
		b.Error(err)
		return
	}
	c := keyproof.Connection{ID: newID(), Session: of.ID, Address: "192.0.2.1", ClientVersion: "SSH-2.0-OpenSSH_9.2", Created: start}
	c.Keys = []keyproof.ConnectionKey{{ID: newID(), Key: state.Session.Keys[0].ID, Public: state.Session.Keys[0].Public, At: start}}
	e := happened("keyproof.attempt")
	e.Actor, e.Object, e.Project, e.Address = audit.Actor{Kind: "nobody"}, audit.Object{Kind: "verify_session", ID: of.ID}, "p", "192.0.2.1"
	e.Detail = map[string]string{"connection": c.ID, "offers": "1", "status": "verified", "fingerprints": state.Session.Keys[0].Public.SHA256()}
	_, err = s.Change(b.Context(), of.ID, func(was keyproof.State) (keyproof.Change, error) {
		is := was.Session
		is.Status, is.Updated, is.Keys = keyproof.Verified, start, append([]keyproof.Key(nil), is.Keys...)
		is.Keys[0].Verified = start
		return keyproof.Change{Session: &is, Connection: &c, NewConnection: true, Events: []audit.Event{e}}, nil
	})
	if err != nil {
		b.Error(err)
	}
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
