package saml

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"math/big"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// The algorithms that a signature may use: SHA-256 or better, and never a shared key.
var (
	rsaMethods = map[string]crypto.Hash{
		dsig.RSASHA256SignatureMethod: crypto.SHA256,
		dsig.RSASHA384SignatureMethod: crypto.SHA384,
		dsig.RSASHA512SignatureMethod: crypto.SHA512,
	}
	ecdsaMethods = map[string]crypto.Hash{
		dsig.ECDSASHA256SignatureMethod: crypto.SHA256,
		dsig.ECDSASHA384SignatureMethod: crypto.SHA384,
		dsig.ECDSASHA512SignatureMethod: crypto.SHA512,
	}
	digestMethods = map[string]crypto.Hash{
		nsEncrypted + "sha256":                          crypto.SHA256,
		"http://www.w3.org/2001/04/xmldsig-more#sha384": crypto.SHA384,
		nsEncrypted + "sha512":                          crypto.SHA512,
	}
)

const enveloped = nsSignature + "enveloped-signature"

var errUnverified = errors.New("the signature is not the provider's, or what it signs was changed")

// verify checks the signature that is a child of e and signs e, and returns e anew, read from the very bytes that verified (rule F1): who calls
// goes on with that and forgets e. It returns nil without an error where e carries no signature.
//
// Each step reads only what the step before it proved. The canonical bytes of SignedInfo are checked with the provider's keys, and no key that
// came along; they are parsed, and their one reference must name e; the canonical bytes of e without its signature must have the digest that stands there; those are parsed.
func verify(e *etree.Element, keys []*x509.Certificate) (*etree.Element, error) {
	found := children(e, nsSignature, "Signature")
	if len(found) == 0 {
		return nil, nil //nolint:nilnil // unsigned is no fault: the other element may be signed
	}
	if len(found) > 1 {
		return nil, errors.New("more than one signature on an element")
	}
	info, err := signedInfo(found[0], keys)
	if err != nil {
		return nil, err
	}
	r, err := readReference(info)
	if err != nil {
		return nil, err
	}
	if id := attribute(e, "ID"); id == "" || r.uri != "#"+id {
		return nil, errors.New("the signature refers to something else")
	}
	bare := detach(e)
	bare.RemoveChildAt(found[0].Index())
	text, err := canonical(bare, r.prefixes)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(sum(r.hash, text), r.digest) != 1 {
		return nil, errUnverified
	}
	return parse(text)
}

// signedInfo checks the signature over SignedInfo and returns it, read from the bytes that verified.
func signedInfo(signature *etree.Element, keys []*x509.Certificate) (*etree.Element, error) {
	info, err := only(signature, nsSignature, "SignedInfo")
	if err != nil {
		return nil, err
	}
	if len(info.ChildElements()) != 3 {
		return nil, errors.New("a signature with other than one reference")
	}
	value, err := only(signature, nsSignature, "SignatureValue")
	if err != nil {
		return nil, err
	}
	signed, err := bytesOf(value)
	if err != nil {
		return nil, err
	}
	how, err := readMethod(info)
	if err != nil {
		return nil, err
	}
	text, err := canonical(detach(info), how.prefixes)
	if err != nil {
		return nil, err
	}
	if !how.signedByOneOf(keys, text, signed) {
		return nil, errUnverified
	}
	proven, err := parse(text)
	if err != nil {
		return nil, err
	}
	if again, err := readMethod(proven); err != nil || again != how {
		return nil, errors.New("a signature that reads in two ways")
	}
	return proven, nil
}

// method is how SignedInfo was made into bytes and signed.
type method struct {
	algorithm string
	prefixes  string // of exclusive canonicalisation
}

func readMethod(info *etree.Element) (method, error) {
	c14n, err := only(info, nsSignature, "CanonicalizationMethod")
	if err != nil {
		return method{}, err
	}
	prefixes, err := exclusive(c14n)
	if err != nil {
		return method{}, err
	}
	signing, err := only(info, nsSignature, "SignatureMethod")
	if err != nil {
		return method{}, err
	}
	algorithm := attribute(signing, "Algorithm")
	if len(signing.ChildElements()) > 0 || rsaMethods[algorithm] == 0 && ecdsaMethods[algorithm] == 0 {
		return method{}, errors.New("a signature by an algorithm that is not RSA or ECDSA with SHA-256 or better")
	}
	return method{algorithm: algorithm, prefixes: prefixes}, nil
}

func (m method) signedByOneOf(keys []*x509.Certificate, text, signature []byte) bool {
	for _, k := range keys {
		if m.signedBy(k, text, signature) {
			return true
		}
	}
	return false
}

func (m method) signedBy(k *x509.Certificate, text, signature []byte) bool {
	switch key := k.PublicKey.(type) {
	case *rsa.PublicKey:
		hash := rsaMethods[m.algorithm]
		return hash != 0 && rsa.VerifyPKCS1v15(key, hash, sum(hash, text), signature) == nil
	case *ecdsa.PublicKey:
		hash := ecdsaMethods[m.algorithm]
		size := (key.Curve.Params().BitSize + 7) / 8
		if hash == 0 || len(signature) != 2*size { // XML Signature 6.4.3: r and s side by side, not ASN.1
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(key, sum(hash, text), r, s)
	}
	return false
}

// reference is what a signature refers to.
type reference struct {
	uri      string
	prefixes string
	hash     crypto.Hash
	digest   []byte
}

// readReference reads the one reference of a SignedInfo. Its transforms are the two that SAML needs, and no others.
func readReference(info *etree.Element) (reference, error) {
	e, err := only(info, nsSignature, "Reference")
	if err != nil {
		return reference{}, err
	}
	transforms, err := only(e, nsSignature, "Transforms")
	if err != nil {
		return reference{}, err
	}
	steps := children(transforms, nsSignature, "Transform")
	if len(steps) != 2 || len(transforms.ChildElements()) != 2 || attribute(steps[0], "Algorithm") != enveloped || len(steps[0].ChildElements()) > 0 {
		return reference{}, errors.New("a signature with other transforms than enveloped and exclusive")
	}
	prefixes, err := exclusive(steps[1])
	if err != nil {
		return reference{}, err
	}
	hash, digest, err := readDigest(e)
	return reference{uri: attribute(e, "URI"), prefixes: prefixes, hash: hash, digest: digest}, err
}

func readDigest(reference *etree.Element) (crypto.Hash, []byte, error) {
	how, err := only(reference, nsSignature, "DigestMethod")
	if err != nil {
		return 0, nil, err
	}
	hash := digestMethods[attribute(how, "Algorithm")]
	if hash == 0 {
		return 0, nil, errors.New("a signature over a digest that is not SHA-256 or better")
	}
	value, err := only(reference, nsSignature, "DigestValue")
	if err != nil {
		return 0, nil, err
	}
	digest, err := bytesOf(value)
	return hash, digest, err
}

// exclusive demands exclusive canonicalisation and returns the prefixes that it is to keep.
func exclusive(e *etree.Element) (prefixes string, err error) {
	if attribute(e, "Algorithm") != nsExclusive {
		return "", errors.New("a signature without exclusive canonicalisation")
	}
	kept := children(e, nsExclusive, "InclusiveNamespaces")
	if len(e.ChildElements()) != len(kept) || len(kept) > 1 {
		return "", errors.New("a canonicalisation with unknown settings")
	}
	if len(kept) == 1 {
		prefixes = attribute(kept[0], "PrefixList")
	}
	return prefixes, nil
}

// detach copies an element out of its tree together with the namespaces that are declared around it.
func detach(e *etree.Element) *etree.Element {
	out := e.Copy()
	for above := e.Parent(); above != nil; above = above.Parent() {
		for _, a := range above.Attr {
			if (a.Space == "xmlns" || a.Space == "" && a.Key == "xmlns") && !declares(out, a) {
				out.Attr = append(out.Attr, etree.Attr{Space: a.Space, Key: a.Key, Value: a.Value})
			}
		}
	}
	return out
}

func declares(e *etree.Element, declaration etree.Attr) bool {
	for _, a := range e.Attr {
		if a.Space == declaration.Space && a.Key == declaration.Key {
			return true
		}
	}
	return false
}

// canonical writes an element by exclusive canonicalisation. It changes e.
func canonical(e *etree.Element, prefixes string) ([]byte, error) {
	text, err := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList(prefixes).Canonicalize(e)
	if err != nil {
		return nil, errors.New("what is signed cannot be canonicalised") // the cause would repeat what a stranger wrote
	}
	return text, nil
}

func sum(hash crypto.Hash, text []byte) []byte {
	h := hash.New()
	h.Write(text)
	return h.Sum(nil)
}
