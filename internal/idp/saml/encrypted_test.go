package saml_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/beevik/etree"

	"github.com/gatehouse-project/gatehouse/internal/domain/login"
)

func ourKey() *rsa.PrivateKey { return ours().key.(*rsa.PrivateKey) }

// holding makes a key our own.
func holding(s signer) func(context.Context) (login.KeyPair, error) {
	return func(context.Context) (login.KeyPair, error) {
		return login.KeyPair{Private: s.key.(*rsa.PrivateKey), Certificate: s.certificate}, nil
	}
}

// sealed puts the assertion of a response under encryption to our key.
func sealed(t testing.TB, text, algorithm string) string {
	t.Helper()
	d := tree(t, text)
	e := assertion(d)
	at := e.Index()
	d.Root().RemoveChild(e)
	plain := write(t, etree.NewDocumentWithRoot(e.Copy()))
	d.Root().InsertChildAt(at, tree(t, encryptedXML(t, []byte(plain), algorithm)).Root())
	return write(t, d)
}

func encryptedXML(t testing.TB, plain []byte, algorithm string) string {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	space, text := "http://www.w3.org/2009/xmlenc11#", []byte(nil)
	if strings.HasSuffix(algorithm, "gcm") {
		aead, _ := cipher.NewGCM(block)
		nonce := make([]byte, aead.NonceSize())
		text = aead.Seal(nonce, nonce, plain, nil)
	} else {
		space = "http://www.w3.org/2001/04/xmlenc#"
		padding := 16 - len(plain)%16
		plain = append(append(plain, make([]byte, padding-1)...), byte(padding))
		text = make([]byte, 16+len(plain))
		cipher.NewCBCEncrypter(block, text[:16]).CryptBlocks(text[16:], plain)
	}
	wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &ourKey().PublicKey, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	return `<saml:EncryptedAssertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"><xenc:EncryptedData xmlns:xenc="http://www.w3.org/2001/04/xmlenc#"><xenc:EncryptionMethod Algorithm="` + space + algorithm + `"/>` +
		`<ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><xenc:EncryptedKey><xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"/><xenc:CipherData><xenc:CipherValue>` + base64.StdEncoding.EncodeToString(wrapped) +
		`</xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo><xenc:CipherData><xenc:CipherValue>` + base64.StdEncoding.EncodeToString(text) + `</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData></saml:EncryptedAssertion>`
}

func TestArrive_reads_encrypted_assertions(t *testing.T) {
	t.Parallel()
	gate := federation()
	gate.Key = holding(ours())
	gcm, cbc := sealed(t, signed(t, good), "aes256-gcm"), sealed(t, signed(t, good), "aes256-cbc")
	t.Run("to our key", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{
			gcm,
			signing{by: theirs()}.sign(t, gcm, "_response"),
			signing{by: theirs()}.sign(t, sealed(t, good, "aes256-gcm"), "_response"),
			signing{by: theirs()}.sign(t, cbc, "_response"),
		} {
			if v := welcome(t, gate, provider(theirs()), text); !reflect.DeepEqual(v, dana) {
				t.Fatalf("the visitor is %+v", v)
			}
		}
	})
	t.Run("and nothing without a key", func(t *testing.T) {
		t.Parallel()
		refused(t, federation(), provider(theirs()), flow(), gcm)
	})
	t.Run("and blames nobody when the key cannot be read", func(t *testing.T) {
		t.Parallel()
		broken, down := federation(), errors.New("the database is away")
		broken.Key = func(context.Context) (login.KeyPair, error) { return login.KeyPair{}, down }
		var wrong *login.Wrong
		if _, _, err := arrive(t, broken, provider(theirs()), flow(), gcm); !errors.Is(err, down) || errors.As(err, &wrong) {
			t.Fatal(err)
		}
	})
	t.Run("not with another key", func(t *testing.T) {
		t.Parallel()
		other := federation()
		other.Key = holding(stranger())
		refused(t, other, provider(theirs()), flow(), gcm)
	})
	t.Run("not where nobody signed", func(t *testing.T) {
		t.Parallel()
		refused(t, gate, provider(theirs()), flow(), sealed(t, good, "aes256-gcm"))
	})
	t.Run("not under CBC that no signature protects", func(t *testing.T) {
		t.Parallel()
		refused(t, gate, provider(theirs()), flow(), cbc)
	})
	t.Run("not changed", func(t *testing.T) {
		t.Parallel()
		i := strings.LastIndex(gcm, "<xenc:CipherValue>") + 100
		refused(t, gate, provider(theirs()), flow(), gcm[:i]+"AAAA"+gcm[i+4:])
	})
	t.Run("not two, one of them in the clear", func(t *testing.T) {
		t.Parallel()
		refused(t, gate, provider(theirs()), flow(), strings.Replace(gcm, "</samlp:Response>", goodAssertion+"</samlp:Response>", 1))
	})
	t.Run("not something else that was encrypted", func(t *testing.T) {
		t.Parallel()
		text := strings.Replace(good, goodAssertion, encryptedXML(t, []byte(signed(t, good)), "aes256-gcm"), 1)
		refused(t, gate, provider(theirs()), flow(), signing{by: theirs()}.sign(t, text, "_response"))
	})
}
