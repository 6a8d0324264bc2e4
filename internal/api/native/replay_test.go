package native_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/api/apitest"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// Every operation stands in testdata with what it answers and what it refuses.
func TestExchanges(t *testing.T) {
	t.Parallel()
	apitest.Dir(t, "testdata/*.txtar", func(t *testing.T) apitest.Replay {
		t.Helper()
		h := newHouse(t)
		vars := map[string]string{"shop": h.shop, "home": identity.DefaultAccount, "key": h.key, "point": base64.StdEncoding.EncodeToString(point()), "danacookie": h.cookie(t, "dana")}
		for _, which := range []string{"first", "second", "third", "fourth", "fifth"} {
			vars[which+"key"] = newKey(t)
		}
		for _, who := range []string{"root", "adam", "beth", "dana"} {
			vars["as"+who], vars[who], vars[who+"session"] = h.signIn(t, who), h.ids[who], h.ids[who+"session"]
		}
		vars["asfinn"] = h.signIn(t, "finn")
		h.secondFactor(t, vars["asfinn"])
		vars["finn"], vars["ci"] = h.ids["finn"], h.ids["ci"]
		return apitest.Replay{Handler: h, Vars: vars, Steps: map[string]func(*testing.T){
			"a minute passes":               func(*testing.T) { h.clock.pass(time.Minute) },
			"ten minutes and more pass":     func(*testing.T) { h.clock.pass(11 * time.Minute) },
			"a proof with a webhook begins": h.proof,
			"deliveries fail":               h.fail,
			"gina comes from a provider":    h.arrive,
			"there is an unsupported one":   h.unsupported,
			"dana pushes to OPS/infra":      h.push,
			"dana comes by her last link":   h.comes,
			"her session begins":            h.begins,
		}}
	})
}

// newKey is a fresh SSH key, without a comment.
func newKey(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	key, err := ssh.NewPublicKey(public)
	must(t, err)
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// point is a public key on P-256, uncompressed.
func point() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return public
}
