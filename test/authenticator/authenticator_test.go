package authenticator_test

import (
	"encoding/json"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"github.com/gatehouse-project/gatehouse/test/authenticator"
)

func TestKey_signs_with_the_key_that_it_shows(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []int64{authenticator.ES256, authenticator.EdDSA, authenticator.RS256} {
		k := authenticator.New(algorithm)
		public, err := webauthncose.ParsePublicKey(k.Public())
		if err != nil {
			t.Fatal(algorithm, err)
		}
		if ok, err := webauthncose.VerifySignature(public, []byte("message"), k.Sign([]byte("message"))); !ok || err != nil {
			t.Errorf("%d: %v, %v", algorithm, ok, err)
		}
	}
}

func TestKey_writes_what_browsers_send(t *testing.T) {
	t.Parallel()
	k := authenticator.NewU2F("https://gate.test/app")
	c := authenticator.Ceremony{Challenge: []byte("c"), Origin: "https://gate.test", RPID: "gate.test"}
	for _, body := range [][]byte{authenticator.AssertionJSON(k.Get(c)), authenticator.AttestationJSON(k.Create(c))} {
		var is struct {
			ID, Type string
			Response map[string]any
		}
		if err := json.Unmarshal(body, &is); err != nil || is.ID == "" || is.Type != "public-key" || is.Response["clientDataJSON"] == "" {
			t.Errorf("%s, %v", body, err)
		}
	}
	if k.Counter != 2 {
		t.Errorf("counter %d after two answers", k.Counter)
	}
}
