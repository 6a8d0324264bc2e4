package keyproof_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
)

// A program lists a key, a person connects with it, and the program reads that it is verified.
func ExampleService() {
	ctx, ana := context.Background(), people(1)[0]
	w := newWorld(nil)
	session, err := w.service.Create(ctx, w.by, "p1", keyproof.Verify, keyproof.Draft{
		Options: keyproof.Options{MaxAttempts: 3}, Keys: []keyproof.KeyDraft{{Public: ana.key}}, Timeout: 5 * time.Minute,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	// The SSH door: somebody comes with the identifier as user name.
	attempt, err := w.service.Begin(ctx, session.Identifier, peer())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer attempt.End()
	attempt.Connected(ctx)
	offered, _ := sshkey.Offered(ana.public)
	if attempt.Wants(offered) { // the client signs, and the SSH library checks the signature
		proven, _ := sshkey.Proven(ana.public, "ssh-ed25519")
		attempt.Prove(proven)
	}
	result, err := attempt.Commit(ctx, keyproof.Finished)
	fmt.Println(result.Verdict, len(result.Keys), err)

	after, err := w.service.Session(ctx, w.by, "p1", keyproof.Verify, session.ID)
	fmt.Println(after.Status, err)
	// Output:
	// proven 1 <nil>
	// verified <nil>
}
