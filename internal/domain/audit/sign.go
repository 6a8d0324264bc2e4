package audit

import "crypto/ed25519"

// Sign signs something other than the chain for the installation. purpose names what it is, such as "recording manifest v1": it keeps a signature
// of one thing from passing for that of another, seals among them.
func (s Signer) Sign(purpose string, body []byte) []byte {
	return ed25519.Sign(s.key, signed(purpose, s.id, body))
}

// SignedFor reports whether a signature is the key's, of that body, for that purpose.
func SignedFor(key ed25519.PublicKey, purpose string, body, signature []byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, signed(purpose, KeyIDOf(key), body), signature)
}

// signed is the message: a seal's begins with another line.
func signed(purpose, keyID string, body []byte) []byte {
	return append([]byte("gatehouse "+purpose+"\n"+keyID+"\n"), body...)
}
