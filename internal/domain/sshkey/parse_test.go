package sshkey_test

import (
	"crypto/dsa" //nolint:staticcheck // named to be refused
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

func rfc4716(blob []byte, headers string) string {
	body := b64(blob)
	var out strings.Builder
	out.WriteString("---- BEGIN SSH2 PUBLIC KEY ----\n" + headers)
	for len(body) > 70 {
		out.WriteString(body[:70] + "\n")
		body = body[70:]
	}
	out.WriteString(body + "\n---- END SSH2 PUBLIC KEY ----\n")
	return out.String()
}

func TestParse_accepts_every_form_of_every_type(t *testing.T) {
	t.Parallel()
	for kind, p := range pairs(t) {
		line, block := lineOf(p.wire), rfc4716(p.wire.Marshal(), "Comment: \"ana\"\nx-tag: a b\\\nc\n")
		for form, text := range map[string]string{
			"line": line, "line with spaces": " \t\n" + strings.Replace(line, " ", " \t ", 1) + "  \n\n", "line with CRLF": line + " ana\r\n",
			"line with BOM": "\ufeff" + line + "\n", "line with a comment in UTF-8": line + " Ana Müller 鍵",
			"RFC 4716": block, "RFC 4716 with CRLF": strings.ReplaceAll(block, "\n", "\r\n"), "RFC 4716 with CR": strings.ReplaceAll(block, "\n", "\r"),
			"RFC 4716 without headers": rfc4716(p.wire.Marshal(), ""), "RFC 4716 with spaces": "\n\n  " + strings.ReplaceAll(block, "\n", " \n"),
		} {
			if form == "RFC 4716 with spaces" {
				text = strings.ReplaceAll(text, "\\ \n", "\\\n") // a continuation ends its line
			}
			k := mustParse(t, text)
			if k.SSH() != line {
				t.Errorf("%s as %s gives %s", kind, form, k.SSH())
			}
		}
		if !strings.HasPrefix(kind, "sk-") {
			text := pemOf(t, p.inner)
			for form, text := range map[string]string{"PEM": text, "CRLF": "\r\n" + strings.ReplaceAll(text, "\n", "\r\n"), "no newline": strings.TrimSpace(text), "BOM": "\ufeff" + text} {
				if k := mustParse(t, text); k.SSH() != line || k.Comment() != "" {
					t.Errorf("%s as PEM, %s, gives %s", kind, form, k.SSH())
				}
			}
		}
	}
}

// TestParse_rfc4716_by_hand reads blocks written after the examples of RFC 4716 section 3.6.
func TestParse_rfc4716_by_hand(t *testing.T) {
	t.Parallel()
	const line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
	for file, comment := range map[string]string{
		"plain.pub":        "",
		"comment.pub":      "ed25519 key, converted by hand: ana@example.com",
		"continuation.pub": "This is a comment that goes on over more than one line of the file",
		"private-tags.pub": "me@example.com",
	} {
		text, err := os.ReadFile(filepath.Join("testdata", "rfc4716", file))
		must(t, err)
		if k := mustParse(t, string(text)); k.SSH() != line || k.Comment() != comment {
			t.Errorf("%s: %s, comment %q", file, k.SSH(), k.Comment())
		}
	}
}

func TestParse_refuses_what_is_no_public_key(t *testing.T) {
	t.Parallel()
	all := pairs(t)
	ed, ec := all[ssh.KeyAlgoED25519], all[ssh.KeyAlgoECDSA256]
	line, blob := lineOf(ed.wire), ed.wire.Marshal()
	block, pkix := rfc4716(blob, ""), pemOf(t, ed.inner)
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(t, err)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	must(t, err)
	offCurve := append([]byte{}, ec.wire.Marshal()...)
	offCurve[len(offCurve)-1] ^= 1
	for name, text := range map[string]string{
		"nothing": "", "white space": " \r\n\t ", "a word": "hello", "a BOM": "\ufeff", "only the type": "ssh-ed25519", "a type and a space": "ssh-ed25519 ",
		"two lines": line + "\n" + line, "two lines of CR": line + "\r" + line, "a comment line first": "# mine\n" + line,
		"a block and a line": block + line, "a line and a block": line + "\n" + block, "two blocks": block + block, "two PEM blocks": pkix + pkix,
		"PEM after a broken PEM": "-----BEGIN PUBLIC KEY-----\n!\n" + pkix, "PEM and junk": pkix + "x", "junk and PEM": "x\n" + pkix,
		"PEM headers": strings.Replace(pkix, "-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1), "half a PEM": pkix[:60],
		"PKCS#1": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(rsaOf(2048))})),
		"X25519": pemOf(t, x25519.Public()), "P-224": pemOf(t, &p224.PublicKey), "an X.509 certificate": strings.ReplaceAll(pkix, "PUBLIC KEY", "CERTIFICATE"),
		"NUL in the line": line[:20] + "\x00" + line[20:], "NUL in the comment": line + " a\x00b", "NUL at the end": line + "\x00",
		"escape in the comment": line + " \x1b]0;x\x07", "C1 in the comment": line + " \u009b31m", "broken UTF-8": line + " \xff", "UTF-16": "\xff\xfes\x00s\x00h\x00",
		"another type on the line": "ssh-rsa " + b64(blob), "a signature algorithm": "rsa-sha2-512 " + b64(all[ssh.KeyAlgoRSA].wire.Marshal()),
		"type in capitals": "SSH-ED25519 " + b64(blob), "no type": b64(blob), "trailing bytes": "ssh-ed25519 " + b64(append(blob[:len(blob):len(blob)], 0)),
		"a short key": "ssh-ed25519 " + b64(blob[:len(blob)-1]), "base64 cut": line[:len(line)-2], "base64 with a loose bit": looseBit(ec.wire),
		"unpadded base64": strings.TrimRight(lineOf(ec.wire), "="), "URL base64": "ssh-ed25519 " + strings.ReplaceAll(b64(blob), "A", "_"),
		"a point off its curve": "ecdsa-sha2-nistp256 " + b64(offCurve), "block without end": strings.Split(block, "---- END")[0],
		"block that ends in a continuation": "---- BEGIN SSH2 PUBLIC KEY ----\nComment: x\\\n---- END SSH2 PUBLIC KEY ----", "empty block": "---- BEGIN SSH2 PUBLIC KEY ----\n---- END SSH2 PUBLIC KEY ----",
		"the begin line alone": "---- BEGIN SSH2 PUBLIC KEY ----", "a header in the body": strings.Replace(block, "\n---- END", "\nComment: x\n---- END", 1),
		"too long": line + " " + strings.Repeat("x", 16<<10), "a huge application": "sk-ssh-ed25519@openssh.com " + b64(skEd25519(ed.inner.(ed25519.PublicKey), strings.Repeat("x", 4000))),
		"SSH 1": "2048 65537 123456789 ana", "ML-DSA": "ssh-mldsa-44 " + b64(blob),
	} {
		refuses(t, name, text, sshkey.ErrNotPublicKey)
	}
	if _, err := sshkey.Parse(line + " " + strings.Repeat("x", 16<<10-len(line)-1)); err != nil {
		t.Errorf("16 KiB: %v", err)
	}
}

// looseBit sets a bit of the last base64 character that no byte holds: another spelling of the same key.
func looseBit(pub ssh.PublicKey) string {
	line := lineOf(pub)
	body := strings.TrimRight(line, "=")
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := strings.IndexByte(alphabet, body[len(body)-1])
	return body[:len(body)-1] + string(alphabet[last|1]) + line[len(body):]
}

// refuses checks the reason, its kind, and that the error holds none of the input.
func refuses(t *testing.T, name, text string, want *fault.Error) {
	t.Helper()
	k, err := sshkey.Parse(text)
	if !errors.Is(err, want) || fault.KindOf(err) != fault.Invalid {
		t.Errorf("%s: %v, want %v", name, err, want)
		return
	}
	if err.Error() != want.Text || k.Type() != "" {
		t.Errorf("%s: the error says more than its text, or a key came with it: %v", name, err)
	}
}

func TestParse_texts_of_the_contract(t *testing.T) {
	t.Parallel()
	for err, text := range map[*fault.Error]string{
		sshkey.ErrNotPublicKey: "not a public key in OpenSSH, PEM or RFC 4716 form",
		sshkey.ErrRSATooSmall:  "RSA keys must have at least 2048 bits",
		sshkey.ErrRSATooLarge:  "RSA keys must have at most 8192 bits",
		sshkey.ErrDSA:          "DSA keys are not accepted",
		sshkey.ErrCertificate:  "SSH certificates are not accepted; send the plain public key",
		sshkey.ErrOptions:      "authorized_keys options are not accepted",
		sshkey.ErrPrivateKey:   "this is a private key; send only the public key, and replace this key pair",
	} {
		if err.Text != text || err.Kind != fault.Invalid {
			t.Errorf("%v: %q", err.Kind, err.Text)
		}
	}
}

func TestParse_refuses_options(t *testing.T) {
	t.Parallel()
	all := pairs(t)
	line := lineOf(all[ssh.KeyAlgoED25519].wire) + " ana"
	for _, options := range []string{
		"restrict", "no-pty,no-X11-forwarding", `command="echo hi"`, `command="say \"a b\" c",no-pty`, `from="10.0.0.0/8,!10.1.2.3"`, "cert-authority",
		`environment="A=ssh-rsa AAAA"`, "unknown-option", "cert-authority,restrict\t ",
	} {
		refuses(t, options, options+" "+line, sshkey.ErrOptions)
		refuses(t, options+" before a certificate", options+" ssh-ed25519-cert-v01@openssh.com AAAA", sshkey.ErrOptions)
	}
	refuses(t, "an unclosed quote", `command="x `+line, sshkey.ErrNotPublicKey)
}

func TestParse_refuses_certificates(t *testing.T) {
	t.Parallel()
	for name, cert := range certificates(t) {
		refuses(t, name+" as a line", lineOf(cert), sshkey.ErrCertificate)
		refuses(t, name+" as RFC 4716", rfc4716(cert.Marshal(), ""), sshkey.ErrCertificate)
		refuses(t, name+" behind a plain type", cert.Key.Type()+" "+b64(cert.Marshal()), sshkey.ErrCertificate)
	}
	for _, kind := range []string{"ssh-rsa-cert-v00@openssh.com", "ssh-dss-cert-v01@openssh.com", "sk-ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519-cert-v02@openssh.com"} {
		refuses(t, kind, kind+" AAAA", sshkey.ErrCertificate)
	}
}

// certificates are of both kinds, over every type that can sign here, with hostile principals among them (rules S5, S10, S11).
func certificates(t *testing.T) map[string]*ssh.Certificate {
	t.Helper()
	_, authority, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(authority)
	must(t, err)
	out := map[string]*ssh.Certificate{}
	for kind, p := range pairs(t) {
		for name, c := range map[string]*ssh.Certificate{
			"user":              {CertType: ssh.UserCert, ValidPrincipals: []string{"ana"}},
			"host":              {CertType: ssh.HostCert, ValidPrincipals: []string{"gate.example"}},
			"no principals":     {CertType: ssh.UserCert},
			"odd principals":    {CertType: ssh.UserCert, ValidPrincipals: []string{"", "a,b", "a b", "a\x00b"}},
			"no known type":     {CertType: 77},
			"critical options":  {CertType: ssh.UserCert, Permissions: ssh.Permissions{CriticalOptions: map[string]string{"source-address": "no address"}}},
			"valid for no time": {CertType: ssh.UserCert, ValidAfter: 2, ValidBefore: 1},
		} {
			c.Key = p.wire
			must(t, c.SignCert(rand.Reader, signer))
			out[kind+", "+name] = c
		}
	}
	return out
}

func TestFromWire_refuses_certificates(t *testing.T) {
	t.Parallel()
	for name, cert := range certificates(t) {
		for how, err := range wireErrors(cert) {
			if !errors.Is(err, sshkey.ErrCertificate) {
				t.Errorf("%s, %s: %v", name, how, err)
			}
		}
	}
	for how, err := range wireErrors(&ssh.Certificate{}) { // nothing inside is looked at
		if !errors.Is(err, sshkey.ErrCertificate) {
			t.Errorf("an empty certificate, %s: %v", how, err)
		}
	}
	for how, err := range wireErrors(nil) {
		if !errors.Is(err, sshkey.ErrNotPublicKey) {
			t.Errorf("no key, %s: %v", how, err)
		}
	}
}

func wireErrors(pub ssh.PublicKey) map[string]error {
	_, wire := sshkey.FromWire(pub)
	_, offered := sshkey.Offered(pub)
	_, proven := sshkey.Proven(pub, "ssh-ed25519")
	return map[string]error{"FromWire": wire, "Offered": offered, "Proven": proven}
}

func TestParse_refuses_DSA(t *testing.T) {
	t.Parallel()
	params := dsa.Parameters{P: new(big.Int).SetBit(big.NewInt(1), 1023, 1), Q: new(big.Int).SetBit(big.NewInt(1), 159, 1), G: big.NewInt(2)}
	key := dsa.PublicKey{Parameters: params, Y: big.NewInt(4)}
	pub, err := ssh.NewPublicKey(&key)
	must(t, err)
	refuses(t, "a line", lineOf(pub), sshkey.ErrDSA)
	refuses(t, "RFC 4716", rfc4716(pub.Marshal(), ""), sshkey.ErrDSA)
	refuses(t, "behind another type", "ssh-rsa "+b64(pub.Marshal()), sshkey.ErrDSA)
	refuses(t, "without a key", "ssh-dss AAAA", sshkey.ErrDSA)
	refuses(t, "PEM", dsaPEM(t, key), sshkey.ErrDSA)
	if _, err := sshkey.FromWire(pub); !errors.Is(err, sshkey.ErrDSA) {
		t.Errorf("on the wire: %v", err)
	}
}

// dsaPEM writes what the standard library no longer writes: RFC 3279 section 2.3.2.
func dsaPEM(t *testing.T, key dsa.PublicKey) string {
	t.Helper()
	type algorithm struct {
		OID    asn1.ObjectIdentifier
		Params struct{ P, Q, G *big.Int }
	}
	y, err := asn1.Marshal(key.Y)
	must(t, err)
	der, err := asn1.Marshal(struct {
		Algorithm algorithm
		Key       asn1.BitString
	}{algorithm{asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, struct{ P, Q, G *big.Int }{key.P, key.Q, key.G}}, asn1.BitString{Bytes: y, BitLength: len(y) * 8}})
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestParse_refuses_private_keys(t *testing.T) {
	t.Parallel()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ed)
	must(t, err)
	sec1, err := x509.MarshalECPrivateKey(ec)
	must(t, err)
	open, err := ssh.MarshalPrivateKey(ed, "ana")
	must(t, err)
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(ed, "ana", []byte("x"))
	must(t, err)
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	public := lineOf(pairs(t)[ssh.KeyAlgoED25519].wire)
	for name, text := range map[string]string{
		"OpenSSH": string(pem.EncodeToMemory(open)), "OpenSSH with a passphrase": string(pem.EncodeToMemory(locked)), "OpenSSH without its frame": b64(open.Bytes),
		"PKCS#8": block("PRIVATE KEY", pkcs8), "PKCS#8 with a passphrase": block("ENCRYPTED PRIVATE KEY", pkcs8), "SEC 1": block("EC PRIVATE KEY", sec1),
		"PKCS#1": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), "DSA": block("DSA PRIVATE KEY", []byte{1}),
		"PuTTY 2": "PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\nComment: x\n", "PuTTY 3": "PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\n",
		"ssh.com": "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: x\nP2/56wAAA\n---- END SSH2 ENCRYPTED PRIVATE KEY ----\n", "SSH 1": "SSH PRIVATE KEY FILE FORMAT 1.1\n\x00\x00",
	} {
		for where, text := range map[string]string{
			"alone": text, "after junk": "here you are:\r\n\x00\xff " + text, "after its public half": public + "\n" + text, "in quotes": "> " + strings.ReplaceAll(text, "\n", "\n> "),
			"on one line": strings.ReplaceAll(text, "\n", " "), "far down": strings.Repeat("x\n", 16<<10) + text, "in lower case": strings.ToLower(text),
		} {
			refuses(t, name+" "+where, text, sshkey.ErrPrivateKey)
		}
	}
}

func rsaBlob(e, n []byte) []byte {
	return ssh.Marshal(struct {
		Type string
		E, N []byte
	}{ssh.KeyAlgoRSA, e, n})
}

// mpint is the encoding of RFC 4251 section 5.
func mpint(n *big.Int) []byte {
	if n.BitLen()%8 == 0 {
		return append([]byte{0}, n.Bytes()...)
	}
	return n.Bytes()
}

// wirePub is a key of the caller's own making, as a library that checks nothing would hand it over.
type wirePub struct {
	kind string
	blob []byte
}

func (w wirePub) Type() string                        { return w.kind }
func (w wirePub) Marshal() []byte                     { return w.blob }
func (w wirePub) Verify([]byte, *ssh.Signature) error { return errors.New("never") }

// TestRSA_sizes is rule S6: at both entrances, before any maths.
func TestRSA_sizes(t *testing.T) {
	t.Parallel()
	start := time.Now()
	e := []byte{1, 0, 1}
	good := mpint(rsaOf(2048).N)
	evenModulus := mpint(new(big.Int).Lsh(big.NewInt(1), 3000))
	huge := append([]byte{0x7f}, make([]byte, 200<<10)...)
	for _, c := range []struct {
		name string
		e, n []byte
		want *fault.Error
	}{
		{"1024", e, mpint(rsaOf(1024).N), sshkey.ErrRSATooSmall},
		{"2047", e, mpint(rsaOf(2047).N), sshkey.ErrRSATooSmall},
		{"2048", e, good, nil},
		{"2049", e, mpint(rsaOf(2049).N), nil},
		{"8192", e, mpint(rsaOf(8192).N), nil},
		{"8193", e, mpint(rsaOf(8193).N), sshkey.ErrRSATooLarge},
		{"8200", e, mpint(rsaOf(8200).N), sshkey.ErrRSATooLarge},
		{"16384", e, mpint(rsaOf(16384).N), sshkey.ErrRSATooLarge},
		{"200 KiB of modulus", e, huge, sshkey.ErrRSATooLarge},
		{"exponent 3", []byte{3}, good, nil},
		{"exponent of 24 bits", []byte{0, 0xff, 0xff, 0xff}, good, nil},
		{"exponent of 25 bits", []byte{1, 0, 0, 1}, good, sshkey.ErrNotPublicKey},
		{"200 KiB of exponent", append(huge[:len(huge):len(huge)], 1), good, sshkey.ErrNotPublicKey},
		{"exponent 0", nil, good, sshkey.ErrNotPublicKey},
		{"exponent 1", []byte{1}, good, sshkey.ErrNotPublicKey},
		{"exponent 2", []byte{2}, good, sshkey.ErrNotPublicKey},
		{"even exponent", []byte{1, 0, 0}, good, sshkey.ErrNotPublicKey},
		{"negative exponent", []byte{0x81}, good, sshkey.ErrNotPublicKey},
		{"padded exponent", []byte{0, 1, 0, 1}, good, sshkey.ErrNotPublicKey},
		{"even modulus", e, evenModulus, sshkey.ErrNotPublicKey},
		{"negative modulus", e, good[1:], sshkey.ErrNotPublicKey},
		{"padded modulus", e, append([]byte{0}, good...), sshkey.ErrNotPublicKey},
		{"small modulus padded to size", e, append(make([]byte, 256), 1), sshkey.ErrNotPublicKey},
		{"no modulus", e, nil, sshkey.ErrNotPublicKey},
	} {
		blob := rsaBlob(c.e, c.n)
		_, wire := sshkey.FromWire(wirePub{ssh.KeyAlgoRSA, blob})
		checkSize(t, c.name+" on the wire", wire, c.want)
		if line := "ssh-rsa " + b64(blob); len(line) <= 16<<10 {
			_, err := sshkey.Parse(line)
			checkSize(t, c.name+" as a line", err, c.want)
		}
	}
	for bits, want := range map[int]*fault.Error{1024: sshkey.ErrRSATooSmall, 2047: sshkey.ErrRSATooSmall, 2048: nil, 8192: nil, 8200: sshkey.ErrRSATooLarge, 60_000: sshkey.ErrRSATooLarge} {
		_, err := sshkey.Parse(pemOf(t, rsaOf(bits)))
		checkSize(t, "PEM", err, want)
	}
	// All of it takes milliseconds; a single modular power at these sizes takes longer than the bound.
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func checkSize(t *testing.T, name string, got error, want *fault.Error) {
	t.Helper()
	if want == nil {
		if got != nil {
			t.Errorf("%s: %v", name, got)
		}
		return
	}
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", name, got, want)
	}
}

func TestFromWire_refuses_a_type_that_is_not_the_blob(t *testing.T) {
	t.Parallel()
	all := pairs(t)
	for kind := range all {
		for other, p := range all {
			k, err := sshkey.FromWire(wirePub{kind, p.wire.Marshal()})
			if (err == nil) != (kind == other) || k.Type() != map[bool]string{true: kind}[kind == other] {
				t.Errorf("%s holding %s: %v", kind, other, err)
			}
		}
	}
	blob := all[ssh.KeyAlgoED25519].wire.Marshal()
	for _, bad := range [][]byte{nil, {0}, {0, 0, 0, 99}, {255, 255, 255, 255}, blob[:15], blob[:len(blob)-1], append(blob[:len(blob):len(blob)], 0)} {
		if _, err := sshkey.FromWire(wirePub{ssh.KeyAlgoED25519, bad}); !errors.Is(err, sshkey.ErrNotPublicKey) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}
