package sshkey_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
)

// pair is a key as the crypto library has it beside its wire form.
type pair struct {
	inner any // crypto public key
	wire  ssh.PublicKey
}

// pairs makes a fresh key of every accepted type.
func pairs(t testing.TB) map[string]pair {
	t.Helper()
	out := map[string]pair{}
	add := func(inner any) {
		wire, err := ssh.NewPublicKey(inner)
		must(t, err)
		out[wire.Type()] = pair{inner, wire}
	}
	edPub, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	add(edPub)
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		must(t, err)
		add(&key.PublicKey)
		if curve == elliptic.P256() {
			point, err := key.PublicKey.Bytes()
			must(t, err)
			out[ssh.KeyAlgoSKECDSA256] = pair{&key.PublicKey, parseBlob(t, skECDSA(point, "ssh:"))}
		}
	}
	add(rsaOf(3072))
	out[ssh.KeyAlgoSKED25519] = pair{edPub, parseBlob(t, skEd25519(edPub, "ssh:"))}
	if len(out) != 7 {
		t.Fatalf("%d types", len(out))
	}
	return out
}

func skEd25519(pub ed25519.PublicKey, application string) []byte {
	return ssh.Marshal(struct {
		Type        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, pub, application})
}

func skECDSA(point []byte, application string) []byte {
	return ssh.Marshal(struct {
		Type, Curve string
		Point       []byte
		Application string
	}{ssh.KeyAlgoSKECDSA256, "nistp256", point, application})
}

// rsaOf makes an odd modulus of that many bits: no key that anyone could sign with, and enough to parse.
func rsaOf(bits int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
}

func parseBlob(t testing.TB, blob []byte) ssh.PublicKey {
	t.Helper()
	pub, err := ssh.ParsePublicKey(blob)
	must(t, err)
	return pub
}

func lineOf(pub ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub)))
}

func pemOf(t testing.TB, inner any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(inner)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustParse(t testing.TB, text string) sshkey.Key {
	t.Helper()
	key, err := sshkey.Parse(text)
	if err != nil {
		t.Fatalf("parse %.60q: %v", text, err)
	}
	return key
}

func TestKey_tells_what_the_libraries_tell(t *testing.T) {
	t.Parallel()
	for kind, p := range pairs(t) {
		k := mustParse(t, lineOf(p.wire)+" ana@laptop, the blue one")
		sum := md5.Sum(p.wire.Marshal())
		for what, c := range map[string][2]string{
			"Type":    {k.Type(), kind},
			"Comment": {k.Comment(), "ana@laptop, the blue one"},
			"SSH":     {k.SSH(), lineOf(p.wire)},
			"SHA256":  {k.SHA256(), ssh.FingerprintSHA256(p.wire)},
			"MD5":     {k.MD5(), "MD5:" + ssh.FingerprintLegacyMD5(p.wire)},
			"MD5 hex": {strings.ReplaceAll(k.MD5(), ":", ""), fmt.Sprintf("MD5%x", sum)},
			"PEM":     {k.PEM(), pemOf(t, p.inner)},
			"String":  {k.String(), kind + " " + ssh.FingerprintSHA256(p.wire)},
		} {
			if c[0] != c[1] {
				t.Errorf("%s: %s is %q, want %q", kind, what, c[0], c[1])
			}
		}
		if !bytes.Equal(k.Blob(), p.wire.Marshal()) || !bytes.Equal(k.PublicKey().Marshal(), p.wire.Marshal()) {
			t.Errorf("%s: another blob", kind)
		}
		if k.Fingerprint() != sha256.Sum256(p.wire.Marshal()) {
			t.Errorf("%s: another fingerprint", kind)
		}
		if k.Hardware() != strings.HasPrefix(kind, "sk-") {
			t.Errorf("%s: Hardware is %v", kind, k.Hardware())
		}
	}
}

// TestKey_known_answer pins the output to what ssh-keygen prints for a fixed key: 32 bytes of 0x01.
func TestKey_known_answer(t *testing.T) {
	t.Parallel()
	pub := ed25519.PublicKey(bytes.Repeat([]byte{1}, 32))
	wire, err := ssh.NewPublicKey(pub)
	must(t, err)
	k := mustParse(t, lineOf(wire))
	const line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
	const block = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n-----END PUBLIC KEY-----\n"
	if k.SSH() != line || k.PEM() != block {
		t.Errorf("got %q and %q", k.SSH(), k.PEM())
	}
	const md5Print, sha256Print = "MD5:d6:9a:30:45:17:cf:91:c4:27:94:f3:22:92:a3:00:0e", "SHA256:RXm/ruZ0eTzRXKwi1AQEDynB0VgHQ2ac9KPSFdf/YnA"
	if k.MD5() != md5Print || k.SHA256() != sha256Print {
		t.Errorf("fingerprints %q and %q", k.MD5(), k.SHA256())
	}
}

func TestKey_Equal(t *testing.T) {
	t.Parallel()
	all := pairs(t)
	for a, p := range all {
		for b, q := range all {
			if got := mustParse(t, lineOf(p.wire)+" one").Equal(mustParse(t, lineOf(q.wire)+" two")); got != (a == b) {
				t.Errorf("%s and %s: %v", a, b, got)
			}
		}
	}
	var zero sshkey.Key
	if zero.Equal(zero) || zero.PublicKey() != nil || zero.PEM() != "" || zero.SSH() != "" {
		t.Error("the zero Key is a key")
	}
	if _, err := zero.MarshalText(); err == nil {
		t.Error("the zero Key can be stored")
	}
}

func TestKey_cannot_be_changed_through_its_blob(t *testing.T) {
	t.Parallel()
	k := mustParse(t, lineOf(pairs(t)[ssh.KeyAlgoED25519].wire))
	before := k.SSH()
	k.Blob()[40] ^= 1
	if k.SSH() != before {
		t.Error("the blob is shared")
	}
}

func TestKey_survives_JSON(t *testing.T) {
	t.Parallel()
	for kind, p := range pairs(t) {
		k := mustParse(t, lineOf(p.wire)+" dropped")
		text, err := json.Marshal([]sshkey.Key{k})
		must(t, err)
		if want := `["` + k.SSH() + `"]`; string(text) != want {
			t.Errorf("%s is stored as %s", kind, text)
		}
		var back []sshkey.Key
		must(t, json.Unmarshal(text, &back))
		if !back[0].Equal(k) || back[0].Fingerprint() != k.Fingerprint() {
			t.Errorf("%s comes back as %s", kind, back[0])
		}
	}
	var k sshkey.Key
	if err := json.Unmarshal([]byte(`""`), &k); !errors.Is(err, sshkey.ErrNotPublicKey) {
		t.Errorf("an empty text: %v", err)
	}
}

// TestParse_property: every key survives both of its texts, and the comment survives beside it.
func TestParse_property(t *testing.T) {
	t.Parallel()
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	point, err := ecKey.PublicKey.Bytes()
	must(t, err)
	rapid.Check(t, func(r *rapid.T) {
		seed := rapid.SliceOfN(rapid.Byte(), 32, 32)
		var pub ssh.PublicKey
		switch rapid.IntRange(0, 3).Draw(r, "type") {
		case 0:
			pub, err = ssh.NewPublicKey(ed25519.PublicKey(seed.Draw(r, "ed25519")))
		case 1:
			odd := append(append([]byte{rapid.ByteRange(1, 255).Draw(r, "top")},
				rapid.SliceOfN(rapid.Byte(), 256, 1000).Draw(r, "middle")...), 1)
			pub, err = ssh.NewPublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(odd), E: rapid.SampledFrom([]int{3, 17, 65537, 1<<24 - 1}).Draw(r, "e")})
		case 2:
			pub, err = ssh.ParsePublicKey(skEd25519(seed.Draw(r, "sk"), rapid.StringN(0, 200, 800).Draw(r, "application")))
		case 3:
			pub, err = ssh.ParsePublicKey(skECDSA(point, rapid.StringN(0, 200, 800).Draw(r, "application")))
		}
		if err != nil {
			r.Fatal(err)
		}
		k, err := sshkey.FromWire(pub)
		if err != nil {
			r.Fatalf("from the wire: %v", err)
		}
		comment := rapid.StringMatching(`([!-~]([ -~]{0,30}[!-~])?)?`).Draw(r, "comment")
		again, err := sshkey.Parse("\n " + k.SSH() + " " + comment + " \r\n")
		if err != nil || !again.Equal(k) || again.Comment() != comment {
			r.Fatalf("from its line: %v, comment %q", err, again.Comment())
		}
		fromPEM, err := sshkey.Parse(k.PEM())
		if err != nil || fromPEM.Equal(k) == k.Hardware() {
			r.Fatalf("from its PEM: %v", err)
		}
		print, err := sshkey.ParseFingerprint(k.SHA256())
		if err != nil || print != k.Fingerprint() {
			r.Fatalf("from its fingerprint: %v", err)
		}
	})
}

func TestParseFingerprint_refuses(t *testing.T) {
	t.Parallel()
	good := sshkey.Fingerprint{1, 2, 3}.String()
	for _, bad := range []string{
		"", "SHA256:", good[7:], "sha256:" + good[7:], good + "=", good + "A", good[:len(good)-1], " " + good, good + "\n",
		good[:20] + "\n" + good[20:], "MD5:" + strings.Repeat("00:", 15) + "00", good[:len(good)-1] + "B", good[:10] + "%" + good[11:],
	} {
		if _, err := sshkey.ParseFingerprint(bad); !errors.Is(err, sshkey.ErrFingerprint) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	folded, err := sshkey.ParseFingerprint("SHA256:" + strings.ToLower(good[7:]))
	if err == nil && folded == (sshkey.Fingerprint{1, 2, 3}) {
		t.Error("case does not count")
	}
}

// TestOfferedKey_does_not_convert_to_ProvenKey is rule S1 as the compiler sees it.
func TestOfferedKey_does_not_convert_to_ProvenKey(t *testing.T) {
	t.Parallel()
	offered, proven := reflect.TypeFor[sshkey.OfferedKey](), reflect.TypeFor[sshkey.ProvenKey]()
	if offered.ConvertibleTo(proven) || proven.ConvertibleTo(offered) {
		t.Error("an offered key converts to a proven one")
	}
	for m := range offered.Methods() {
		for i := range m.Type.NumOut() {
			if m.Type.Out(i) == proven {
				t.Errorf("OfferedKey.%s gives a ProvenKey", m.Name)
			}
		}
	}
	if reflect.TypeFor[sshkey.Key]().Comparable() {
		t.Error("keys can be compared with ==")
	}
}

func TestProven(t *testing.T) {
	t.Parallel()
	for kind, p := range pairs(t) {
		accepted := map[string]bool{kind: true}
		if kind == ssh.KeyAlgoRSA {
			accepted = map[string]bool{"rsa-sha2-256": true, "rsa-sha2-512": true}
		}
		for _, algorithm := range []string{
			"", "ssh-dss", "ssh-rsa", "rsa-sha2-256", "rsa-sha2-512", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
			"ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", "ssh-ed25519-cert-v01@openssh.com",
		} {
			proven, err := sshkey.Proven(p.wire, algorithm)
			if accepted[algorithm] {
				must(t, err)
				if proven.Algorithm() != algorithm || proven.Key().Type() != kind {
					t.Errorf("%s signed with %s: %s, %s", kind, algorithm, proven.Key(), proven.Algorithm())
				}
			} else if !errors.Is(err, sshkey.ErrSignatureAlgorithm) || proven.Key().Type() != "" {
				t.Errorf("%s signed with %q: %v", kind, algorithm, err)
			}
		}
		offered, err := sshkey.Offered(p.wire)
		must(t, err)
		if offered.Key().SSH() != lineOf(p.wire) {
			t.Errorf("%s offered is %s", kind, offered.Key())
		}
	}
}

func b64(blob []byte) string { return base64.StdEncoding.EncodeToString(blob) }
