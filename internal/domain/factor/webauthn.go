package factor

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// The COSE algorithms that keys here may have.
const (
	ES256 int64 = -7
	EdDSA int64 = -8
	RS256 int64 = -257
)

const (
	formatNone   = "none"
	formatPacked = "packed"
	formatU2F    = "fido-u2f"

	publicKey   = "public-key"
	aaguidBytes = 16
	minRSABytes = 256  // 2048 bits
	maxRSABytes = 1024 // what costs too much to check is refused
	maxID       = 1023 // WebAuthn Level 2, section 4
	maxAnswer   = 64 << 10
)

// The reasons why an assertion is refused, for the audit log alone.
const (
	reasonCeremony  = "the answer of the security key is for another purpose"
	reasonChallenge = "the answer of the security key is to another challenge"
	reasonOrigin    = "the answer of the security key comes from another origin"
	reasonForeign   = "the security key is not one of the user's"
	reasonHandle    = "the security key names another user"
	reasonParty     = "the security key answered for another relying party"
	reasonTouch     = "the security key was not touched"
	reasonSignature = "the signature of the security key is wrong"
	reasonCounter   = "the counter of the security key went back"
)

// clientData is what the browser says; the security key signs its hash (WebAuthn Level 2, section 5.8.1).
type clientData struct {
	Type        string `json:"type"`
	Challenge   string `json:"challenge"`
	Origin      string `json:"origin"`
	CrossOrigin bool   `json:"crossOrigin"`
}

func malformed(member string) error {
	return fault.Newf(fault.Invalid, "%s is malformed", member)
}

func parseClientData(raw []byte) (c clientData, err error) {
	if len(raw) > maxAnswer || json.Unmarshal(raw, &c) != nil {
		return clientData{}, malformed("clientDataJSON")
	}
	return c, nil
}

// against compares what the browser says with what we asked; an empty reason says that it fits.
func (c clientData) against(ceremony string, challenge []byte, origins []string) (reason string) {
	given, err := base64.RawURLEncoding.DecodeString(c.Challenge)
	switch {
	case c.Type != ceremony:
		return reasonCeremony
	case err != nil || len(challenge) == 0 || !secret.Equal(given, challenge):
		return reasonChallenge
	case !slices.Contains(origins, c.Origin) || c.CrossOrigin:
		return reasonOrigin
	default:
		return ""
	}
}

// assert checks an assertion (WebAuthn Level 2, section 7.2) and notes in the set that the key was used. What is
// malformed is a fault, what is wrong a reason.
func (s *Service) assert(a *Assertion, c Conversation, set *Set) (reason string, err error) {
	client, data, err := a.parse()
	if err != nil {
		return "", err
	}
	if reason := client.against("webauthn.get", challengeOf(c), s.Origins); reason != "" {
		return reason, nil
	}
	i := set.deviceOf(a.ID)
	if i < 0 {
		return reasonForeign, nil
	}
	d := &set.Devices[i]
	if len(a.UserHandle) > 0 && !bytes.Equal(a.UserHandle, handleOf(set.User)) {
		return reasonHandle, nil
	}
	if reason := s.judge(*d, a, data); reason != "" {
		return reason, nil
	}
	d.Counter, d.LastUsed = data.Counter, s.Now()
	return "", nil
}

func (a *Assertion) parse() (c clientData, data protocol.AuthenticatorData, err error) {
	switch {
	case a == nil:
		return c, data, malformed("the answer of the security key")
	case len(a.ID) == 0 || len(a.ID) > maxID:
		return c, data, malformed("id")
	case a.Type != "" && a.Type != publicKey:
		return c, data, malformed("type")
	case len(a.Signature) == 0 || len(a.Signature) > maxAnswer:
		return c, data, malformed("signature")
	case len(a.AuthenticatorData) > maxAnswer || data.Unmarshal(a.AuthenticatorData) != nil:
		return c, data, malformed("authenticatorData")
	}
	c, err = parseClientData(a.ClientData)
	return c, data, err
}

// judge checks what the security key signed. User verification is preferred, not demanded: the bit says nothing here.
func (s *Service) judge(d Device, a *Assertion, data protocol.AuthenticatorData) (reason string) {
	scope := s.RPID
	if d.Kind == U2F && a.AppID {
		scope = d.Origin // WebAuthn Level 2, section 10.1
	}
	hash := sha256.Sum256([]byte(scope))
	client := sha256.Sum256(a.ClientData)
	switch {
	case scope == "" || !bytes.Equal(data.RPIDHash, hash[:]):
		return reasonParty
	case !data.Flags.HasUserPresent():
		return reasonTouch
	case !verifies(d.PublicKey, slices.Concat(a.AuthenticatorData, client[:]), a.Signature):
		return reasonSignature
	case data.Counter <= d.Counter && (data.Counter > 0 || d.Counter > 0):
		return reasonCounter
	default:
		return ""
	}
}

func verifies(cose, message, signature []byte) bool {
	key, _, err := parseKey(cose)
	if err != nil {
		return false
	}
	ok, err := webauthncose.VerifySignature(key, message, signature)
	return ok && err == nil
}

// parseKey reads a COSE key and its algorithm, if that is one of ours.
func parseKey(cose []byte) (key any, algorithm int64, err error) {
	if key, err = webauthncose.ParsePublicKey(cose); err != nil {
		return nil, 0, malformed("the public key")
	}
	switch k := key.(type) {
	case webauthncose.EC2PublicKeyData:
		algorithm = k.Algorithm
	case webauthncose.OKPPublicKeyData:
		algorithm = k.Algorithm
	case webauthncose.RSAPublicKeyData:
		algorithm = k.Algorithm
		if n := len(bytes.TrimLeft(k.Modulus, "\x00")); n < minRSABytes || n > maxRSABytes {
			return nil, 0, fault.New(fault.Invalid, "an RSA key has 2048 to 8192 bits")
		}
	}
	if algorithm != ES256 && algorithm != EdDSA && algorithm != RS256 {
		return nil, 0, fault.New(fault.Invalid, "the algorithm of the security key is not one of those that were offered")
	}
	return key, algorithm, nil
}

// attest checks an attestation (WebAuthn Level 2, section 7.1) and returns the key that it enrols, without id and name.
func (s *Service) attest(a Attestation, challenge []byte, algorithms []int64) (Device, error) {
	client, err := parseClientData(a.ClientData)
	if err != nil {
		return Device{}, err
	}
	if reason := client.against("webauthn.create", challenge, s.Origins); reason != "" {
		return Device{}, fault.New(fault.Invalid, reason)
	}
	object, err := parseObject(a)
	if err != nil {
		return Device{}, err
	}
	if err := s.judgeNew(a, object, algorithms); err != nil {
		return Device{}, err
	}
	data := object.AuthData
	return Device{
		Kind: WebAuthn, Credential: data.AttData.CredentialID, PublicKey: data.AttData.CredentialPublicKey, Counter: data.Counter, Origin: client.Origin,
		Transports: transports(a.Transports), AAGUID: data.AttData.AAGUID, Format: object.Format, Flags: byte(data.Flags),
	}, nil
}

func parseObject(a Attestation) (o protocol.AttestationObject, err error) {
	if a.Type != "" && a.Type != publicKey {
		return o, malformed("type")
	}
	if len(a.Object) > maxAnswer || webauthncbor.Unmarshal(a.Object, &o) != nil || o.AuthData.Unmarshal(o.RawAuthData) != nil {
		return o, malformed("attestationObject")
	}
	if !o.AuthData.Flags.HasAttestedCredentialData() {
		return o, malformed("attestationObject")
	}
	return o, nil
}

// judgeNew checks what a new security key says. Who made it is not asked: the trust chain of a statement is not evaluated, its signature is.
func (s *Service) judgeNew(a Attestation, o protocol.AttestationObject, algorithms []int64) error {
	id := o.AuthData.AttData.CredentialID
	party, client := sha256.Sum256([]byte(s.RPID)), sha256.Sum256(a.ClientData)
	switch {
	case !bytes.Equal(o.AuthData.RPIDHash, party[:]):
		return fault.New(fault.Invalid, reasonParty)
	case !o.AuthData.Flags.HasUserPresent():
		return fault.New(fault.Invalid, reasonTouch)
	case len(id) == 0 || !bytes.Equal(id, a.ID):
		return fault.New(fault.Invalid, "id is not that of the credential")
	}
	_, algorithm, err := parseKey(o.AuthData.AttData.CredentialPublicKey)
	if err != nil {
		return err
	}
	if !slices.Contains(algorithms, algorithm) {
		return fault.New(fault.Invalid, "the algorithm of the security key is not one of those that were offered")
	}
	_, chained := o.AttStatement["x5c"]
	if known := o.Format == formatNone || o.Format == formatU2F || o.Format == formatPacked && !chained; !known {
		return fault.New(fault.Invalid, "the format of the attestation is not one of none, packed (self) and fido-u2f")
	}
	if o.VerifyAttestation(client[:], nil, protocol.AttestationPolicy{}, protocol.SignaturePolicy{}) != nil {
		return fault.New(fault.Invalid, "the attestation does not verify")
	}
	return nil
}

// transports keeps those that the standard names: what else a client says is of no use.
func transports(given []string) []string {
	var known []string
	for _, t := range given[:min(len(given), maxTransports)] {
		if slices.Contains([]string{"usb", "nfc", "ble", "smart-card", "hybrid", "internal"}, t) && !slices.Contains(known, t) {
			known = append(known, t)
		}
	}
	return known
}

// coseOf writes a raw P-256 point as a COSE key.
func coseOf(point []byte) ([]byte, error) {
	key, err := webauthncose.ParseFIDOPublicKey(point)
	if err != nil {
		return nil, fault.New(fault.Invalid, "a public key of U2F is a point of P-256 in 65 bytes")
	}
	cose, err := webauthncbor.Marshal(map[int]any{1: key.KeyType, 3: key.Algorithm, -1: key.Curve, -2: key.XCoord, -3: key.YCoord})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "write COSE key", err)
	}
	return cose, nil
}
