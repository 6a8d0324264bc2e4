package secret

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// errPHC never holds the string: it is a hash of somebody's password.
var errPHC = errors.New("stored password hash is not understood")

// What a stored string may ask for. It comes from a database that an import or an attacker may have
// filled: above these bounds one login would take gigabytes or minutes.
const (
	maxPHC     = 512
	maxMemory  = 64 << 10 // KiB
	maxTime    = 10
	maxThreads = 4
)

// parsePHC reads a PHC string of Argon2id. Only the one spelling that phc.String writes is taken.
func parsePHC(text string) (phc, error) {
	if len(text) > maxPHC {
		return phc{}, errPHC
	}
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return phc{}, errPHC
	}
	c, ok := parseCost(parts[3])
	if !ok {
		return phc{}, errPHC
	}
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	hash, err2 := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if err1 != nil || err2 != nil || !between(len(salt), 8, 64) || !between(len(hash), 16, 64) {
		return phc{}, errPHC
	}
	p := phc{cost: c, salt: salt, hash: hash}
	if p.String() != text { // leading zeros, line breaks inside the base64
		return phc{}, errPHC
	}
	return p, nil
}

// parseCost reads "m=19456,t=2,p=1" and refuses what is out of bounds.
func parseCost(text string) (cost, bool) {
	fields := strings.Split(text, ",")
	if len(fields) != 3 {
		return cost{}, false
	}
	memory, ok1 := parseField(fields[0], "m=", maxMemory)
	passes, ok2 := parseField(fields[1], "t=", maxTime)
	threads, ok3 := parseField(fields[2], "p=", maxThreads)
	if !ok1 || !ok2 || !ok3 || memory < 8*threads { // RFC 9106 section 3.1: at least 8 KiB a lane
		return cost{}, false
	}
	return cost{memory: memory, time: passes, threads: uint8(threads)}, true //nolint:gosec // at most maxThreads
}

func parseField(text, name string, most uint32) (uint32, bool) {
	digits, ok := strings.CutPrefix(text, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), ok && err == nil && n >= 1 && n <= uint64(most)
}

func between(n, least, most int) bool { return least <= n && n <= most }
