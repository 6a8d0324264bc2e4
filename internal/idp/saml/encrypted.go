package saml

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	_ "crypto/sha1" //nolint:gosec // G505: inside OAEP, where nothing rests on collisions, it is the default that providers use
	"crypto/subtle"
	"errors"
	"slices"

	"github.com/beevik/etree"
)

// How assertions may be encrypted. The old padding of RSA is left out: it makes an oracle of whoever decrypts.
var (
	gcmKeys = map[string]int{nsEnc11 + "aes128-gcm": 16, nsEnc11 + "aes192-gcm": 24, nsEnc11 + "aes256-gcm": 32}
	cbcKeys = map[string]int{"http://www.w3.org/2001/04/xmlenc#aes128-cbc": 16, "http://www.w3.org/2001/04/xmlenc#aes192-cbc": 24, "http://www.w3.org/2001/04/xmlenc#aes256-cbc": 32}

	oaepDigests = map[string]crypto.Hash{
		"":                     crypto.SHA1, // XML Encryption 5.5.2
		nsSignature + "sha1":   crypto.SHA1,
		nsEncrypted + "sha256": crypto.SHA256,
		nsEncrypted + "sha512": crypto.SHA512,
	}
	oaepMasks = map[string]crypto.Hash{
		"":                     crypto.SHA1,
		nsEnc11 + "mgf1sha1":   crypto.SHA1,
		nsEnc11 + "mgf1sha256": crypto.SHA256,
		nsEnc11 + "mgf1sha512": crypto.SHA512,
	}
)

var errSealed = errors.New("the assertion is encrypted in a way or to a key that is not ours")

// open decrypts an assertion. Every failure looks the same. CBC, which nothing protects from being changed, is read only inside a response
// whose signature verified: else strangers could send variations and learn the text from what becomes of them.
func (a *arrival) open(ctx context.Context, sealed *etree.Element, signed bool) (*etree.Element, error) {
	if a.Key == nil {
		return nil, errors.New("the assertion is encrypted, and this installation has no key to read it")
	}
	ours, err := a.Key(ctx)
	if err != nil {
		a.failed = err
		return nil, err
	}
	data, err := only(sealed, nsEncrypted, "EncryptedData")
	if err != nil {
		return nil, err
	}
	key, err := contentKey(ours.Private, sealed, data)
	if err != nil {
		return nil, errSealed
	}
	text, err := decrypt(data, key, signed)
	if err != nil {
		return nil, errSealed
	}
	assertion, err := parse(text)
	if err != nil {
		return nil, errSealed
	}
	if !is(assertion, nsAssertion, "Assertion") || count(assertion, "Assertion") != 1 || count(assertion, "EncryptedAssertion")+count(assertion, "Response") > 0 ||
		count(assertion, "Signature") != len(children(assertion, nsSignature, "Signature")) {
		return nil, errSealed
	}
	return assertion, nil
}

// contentKey opens the key that the assertion is encrypted with. It lies in the data's KeyInfo, or beside the data.
func contentKey(ours *rsa.PrivateKey, sealed, data *etree.Element) ([]byte, error) {
	found := children(sealed, nsEncrypted, "EncryptedKey")
	for _, info := range children(data, nsSignature, "KeyInfo") {
		found = append(found, children(info, nsEncrypted, "EncryptedKey")...)
	}
	if len(found) != 1 {
		return nil, errSealed
	}
	how, err := only(found[0], nsEncrypted, "EncryptionMethod")
	if err != nil {
		return nil, err
	}
	options, err := oaep(how)
	if err != nil {
		return nil, err
	}
	text, err := cipherText(found[0])
	if err != nil {
		return nil, err
	}
	return ours.Decrypt(nil, text, options)
}

// oaep reads the parameters of the one way in which keys are encrypted.
func oaep(how *etree.Element) (*rsa.OAEPOptions, error) {
	digest, mask := setting(how, nsSignature, "DigestMethod"), setting(how, nsEnc11, "MGF")
	switch attribute(how, "Algorithm") {
	case nsEncrypted + "rsa-oaep-mgf1p": // its mask is fixed
		mask = ""
	case nsEnc11 + "rsa-oaep":
	default:
		return nil, errSealed
	}
	options := &rsa.OAEPOptions{Hash: oaepDigests[digest], MGFHash: oaepMasks[mask]}
	if options.Hash == 0 || options.MGFHash == 0 || len(children(how, nsEncrypted, "OAEPparams")) > 0 {
		return nil, errSealed
	}
	return options, nil
}

// setting is the algorithm that a child names, "" without such a child; what is there twice is none.
func setting(e *etree.Element, space, tag string) string {
	found := children(e, space, tag)
	switch len(found) {
	case 0:
		return ""
	case 1:
		return attribute(found[0], "Algorithm")
	}
	return "twice"
}

func cipherText(e *etree.Element) ([]byte, error) {
	data, err := only(e, nsEncrypted, "CipherData")
	if err != nil {
		return nil, err
	}
	value, err := only(data, nsEncrypted, "CipherValue")
	if err != nil {
		return nil, err
	}
	return bytesOf(value)
}

func decrypt(data *etree.Element, key []byte, signed bool) ([]byte, error) {
	algorithm := setting(data, nsEncrypted, "EncryptionMethod")
	sealed, err := cipherText(data)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	switch {
	case gcmKeys[algorithm] == len(key):
		return openGCM(block, sealed)
	case cbcKeys[algorithm] == len(key) && signed:
		return openCBC(block, sealed)
	}
	return nil, errSealed
}

func openGCM(block cipher.Block, sealed []byte) ([]byte, error) {
	aead, err := cipher.NewGCM(block)
	if err != nil || len(sealed) < aead.NonceSize() {
		return nil, errSealed
	}
	return aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], nil)
}

// openCBC reads CBC with the padding of XML Encryption 5.2: the last byte says how many there are, the others may be anything.
func openCBC(block cipher.Block, sealed []byte) ([]byte, error) {
	size := block.BlockSize()
	if len(sealed) < 2*size || len(sealed)%size != 0 {
		return nil, errSealed
	}
	text := slices.Clone(sealed[size:])
	cipher.NewCBCDecrypter(block, sealed[:size]).CryptBlocks(text, text)
	padding := int(text[len(text)-1])
	if subtle.ConstantTimeLessOrEq(1, padding)&subtle.ConstantTimeLessOrEq(padding, size) != 1 {
		return nil, errSealed
	}
	return text[:len(text)-padding], nil
}
