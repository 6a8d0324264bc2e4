package sshrelay

import (
	"slices"

	"golang.org/x/crypto/ssh"
)

// algorithms are what is spoken with targets. AES-GCM and AES-CTR only, as at our own door: without ChaCha20-Poly1305 and CBC there is nothing that a
// truncated prefix could work on (Terrapin), even where a target knows no strict key exchange, which the library always offers (rule S9). The first
// cipher is the one with the least work for each byte.
func algorithms() ssh.Config {
	return ssh.Config{
		KeyExchanges: []string{
			ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
			ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521,
			ssh.KeyExchangeDH16SHA512, ssh.KeyExchangeDH14SHA256,
		},
		Ciphers: []string{
			ssh.CipherAES128GCM, ssh.CipherAES256GCM,
			ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
		},
		MACs: []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512},
	}
}

// hostKeyAlgorithms are those of host keys, the strongest first: no certificates, no SHA-1, no DSA.
var hostKeyAlgorithms = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

// prefer lists the algorithms of accepted keys before all others, so that a target with several keys shows one that is known. The others are asked
// for too: a target that has only those is told apart from one that cannot be spoken with.
func prefer(accepted []ssh.PublicKey) []string {
	var first []string
	for _, algorithm := range hostKeyAlgorithms {
		if slices.ContainsFunc(accepted, func(k ssh.PublicKey) bool { return k.Type() == keyType(algorithm) }) {
			first = append(first, algorithm)
		}
	}
	for _, algorithm := range hostKeyAlgorithms {
		if !slices.Contains(first, algorithm) {
			first = append(first, algorithm)
		}
	}
	return first
}

// keyType is the type of the keys that sign by an algorithm.
func keyType(algorithm string) string {
	if algorithm == ssh.KeyAlgoRSASHA512 || algorithm == ssh.KeyAlgoRSASHA256 {
		return ssh.KeyAlgoRSA
	}
	return algorithm
}
