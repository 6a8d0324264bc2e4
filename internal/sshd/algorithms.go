package sshd

import "golang.org/x/crypto/ssh"

// version is what the door says it is.
const version = "SSH-2.0-Gatehouse"

// baseConfig is what all connections share. This is the one place where algorithms are chosen.
//
// MaxAuthTries: the library's own limit cuts off a person with eight keys. Its cap of 128 requests a
// connection stays, and the door counts failures itself where there is no identifier (rule S7).
func baseConfig(hostKeys []ssh.Signer) ssh.ServerConfig {
	config := ssh.ServerConfig{
		Config: ssh.Config{
			// The library's secure default: its own default still has one with SHA-1.
			KeyExchanges: []string{
				ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
				ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521,
				ssh.KeyExchangeDH14SHA256,
			},
			// AES-GCM and AES-CTR only. Without ChaCha20-Poly1305 and CBC there is nothing that a
			// truncated prefix could work on (Terrapin), even for clients without strict key exchange,
			// which the library always offers (rule S9).
			Ciphers: []string{
				ssh.CipherAES128GCM, ssh.CipherAES256GCM,
				ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
			},
			MACs: []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512},
		},
		// No SHA-1, no DSA. The library reads a certificate's algorithm as its plain one, so certificates
		// come as far as the callbacks, where they are refused before anything looks inside (rule S5).
		PublicKeyAuthAlgorithms: []string{
			ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519,
			ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256,
			ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
		},
		MaxAuthTries:  -1,
		ServerVersion: version,
	}
	for _, k := range hostKeys {
		config.AddHostKey(k)
	}
	return config
}
