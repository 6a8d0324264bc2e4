package sshkey_test

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
)

// refusals are all the errors that a caller may see.
var refusals = []error{
	sshkey.ErrNotPublicKey, sshkey.ErrRSATooSmall, sshkey.ErrRSATooLarge, sshkey.ErrDSA,
	sshkey.ErrCertificate, sshkey.ErrOptions, sshkey.ErrPrivateKey,
}

func checkRefusal(t *testing.T, err error) {
	t.Helper()
	for _, known := range refusals {
		if err == known { //nolint:errorlint // bare: anything wrapped around it could echo the input
			return
		}
	}
	t.Errorf("an error of another kind: %v", err)
}

// checkAccepted: an accepted key is of an accepted type, has one spelling, and survives it.
func checkAccepted(t *testing.T, k sshkey.Key) {
	t.Helper()
	pub := k.PublicKey()
	if pub == nil || pub.Type() != k.Type() || !bytes.Equal(pub.Marshal(), k.Blob()) {
		t.Fatalf("%s: the library reads another key", k)
	}
	if _, ok := pub.(*ssh.Certificate); ok || k.Type() == "ssh-dss" {
		t.Fatalf("%s was accepted", k)
	}
	again, err := sshkey.Parse(k.SSH())
	if err != nil || !again.Equal(k) || again.Fingerprint() != k.Fingerprint() {
		t.Fatalf("%s does not survive its line: %v", k, err)
	}
	inner, err := sshkey.Parse(k.PEM())
	if err != nil || inner.Equal(k) == k.Hardware() {
		t.Fatalf("%s does not survive its PEM: %v", k, err)
	}
	if strings.ContainsAny(k.Comment(), "\x00\x1b\n\r") {
		t.Fatalf("%s: comment %q", k, k.Comment())
	}
}

func FuzzParse(f *testing.F) {
	for _, p := range pairs(f) {
		f.Add(lineOf(p.wire) + " ana@laptop")
		f.Add(pemOf(f, p.inner))
		f.Add(rfc4716(p.wire.Marshal(), "Comment: \"ana\\\nlaptop\"\nx-y: z\n"))
		f.Add(`from="10.0.0.1",command="a b" ` + lineOf(p.wire))
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := sshkey.Parse(text)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		checkAccepted(t, k)
	})
}

func FuzzFromWire(f *testing.F) {
	for kind, p := range pairs(f) {
		f.Add(kind, p.wire.Marshal())
		f.Add(kind, (&ssh.Certificate{Key: p.wire, SignatureKey: p.wire, Signature: &ssh.Signature{Format: kind}}).Marshal())
	}
	f.Fuzz(func(t *testing.T, kind string, blob []byte) {
		k, err := sshkey.FromWire(wirePub{kind, blob})
		if err != nil {
			checkRefusal(t, err)
		} else {
			checkAccepted(t, k)
		}
		// What the library makes of the same bytes is judged alike, but for other spellings of a
		// key, which the library has already brought to the canonical one.
		pub, err := ssh.ParsePublicKey(blob)
		if err != nil {
			if k.Type() != "" {
				t.Fatalf("%s is no key to the library: %v", k, err)
			}
			return
		}
		fromLibrary, err := sshkey.FromWire(pub)
		if err != nil {
			checkRefusal(t, err)
			if k.Type() != "" {
				t.Fatalf("%s is refused from the library: %v", k, err)
			}
			return
		}
		checkAccepted(t, fromLibrary)
		if k.Type() != "" && !fromLibrary.Equal(k) {
			t.Fatalf("%s and %s from the same bytes", k, fromLibrary)
		}
	})
}
