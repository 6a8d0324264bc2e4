package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// algorithms sign tokens. There is no "none", and none whose key the client shares (rule F5).
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256}

const (
	maxKeys = 100 // of a provider; a token without a key id is tried with each
	minRSA  = 2048
	maxRSA  = 8192 // bits
)

// key is a key that may sign tokens.
type key = jose.JSONWebKey

// fetchKeys reads the provider's keys, less those that cannot sign ID tokens.
func (k *provider) fetchKeys(ctx context.Context, address string) ([]key, error) {
	if err := k.checkURL(address); err != nil {
		return nil, wrong("the keys' address " + err.Error())
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.get(ctx, address, "", &set); err != nil {
		return nil, wrong("the provider's keys: " + err.Error())
	}
	var keys []key
	for _, raw := range set.Keys {
		var one key
		if json.Unmarshal(raw, &one) == nil && signs(one) && len(keys) < maxKeys { // RFC 7517 section 5: unknown keys are passed over
			keys = append(keys, one)
		}
	}
	if len(keys) == 0 {
		return nil, wrong("the provider publishes no key that may sign: RSA of 2048 bits or more, or P-256")
	}
	return keys, nil
}

// signs says whether a key may sign ID tokens.
func signs(k key) bool {
	if k.Use != "" && k.Use != "sig" || k.Algorithm != "" && !slices.Contains(algorithms, jose.SignatureAlgorithm(k.Algorithm)) || !k.Valid() {
		return false
	}
	switch public := k.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= minRSA && public.N.BitLen() <= maxRSA
	case *ecdsa.PublicKey:
		return public.Curve == elliptic.P256()
	}
	return false
}

// keySet verifies one token. Its error is kept beside, because the library that asks passes on only its text.
type keySet struct {
	*provider
	address string
	as      kind
	typ     string // what the token calls itself
	err     error
}

// VerifySignature returns the payload of a token that one of the provider's keys signed. Where none did, the keys are looked up once
// more: they may have been changed since. That happens at most once a minute.
func (s *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		s.err = s.as.malformed()
		return nil, s.err
	}
	s.typ, _ = signed.Signatures[0].Header.ExtraHeaders[jose.HeaderType].(string)
	fetch := func(ctx context.Context) ([]key, error) { return s.fetchKeys(ctx, s.address) }
	keys, err := s.keys.read(ctx, s.now, lasts, fetch)
	if err == nil {
		if payload := verify(signed, keys); payload != nil {
			return payload, nil
		}
		keys, err = s.keys.read(ctx, s.now, seldom, fetch)
	}
	if err != nil {
		s.err = err
		return nil, err
	}
	payload := verify(signed, keys)
	if payload == nil {
		s.err = wrong("none of the provider's keys signed the " + string(s.as))
		return nil, errors.New("no key fits")
	}
	return payload, nil
}

// verify returns the payload if one of the keys signed it: the key of its id, or any where the token names none.
func verify(signed *jose.JSONWebSignature, keys []key) []byte {
	header := signed.Signatures[0].Header
	for _, k := range keys {
		if header.KeyID != "" && header.KeyID != k.KeyID || k.Algorithm != "" && k.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := signed.Verify(k.Key); err == nil {
			return payload
		}
	}
	return nil
}
