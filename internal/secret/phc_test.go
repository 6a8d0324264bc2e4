package secret

import (
	"strings"
	"testing"
)

const (
	goodSalt = "AAAAAAAAAAAAAAAAAAAAAA"
	goodHash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

func TestParsePHC(t *testing.T) {
	t.Parallel()
	if p, err := parsePHC(decoy.String()); err != nil || !p.current() {
		t.Fatalf("today's own string: %v", err)
	}
	bad := []string{
		"", "$", "$$$$$", "plain", strings.Repeat("$", 5), strings.Repeat("A", 1<<20),
		"$argon2i$v=19$m=19456,t=2,p=1$" + goodSalt + "$" + goodHash,
		"$argon2id$v=16$m=19456,t=2,p=1$" + goodSalt + "$" + goodHash,
		"$argon2id$m=19456,t=2,p=1$" + goodSalt + "$" + goodHash,
		"$argon2id$v=19$m=19456,t=2,p=1$" + goodSalt + "$" + goodHash + "$",
		"$argon2id$v=19$m=19456,t=2,p=1$" + goodSalt + "$",
		"$argon2id$v=19$m=19456,t=2,p=1$AAAA$" + goodHash,
		"$argon2id$v=19$m=19456,t=2,p=1$" + goodSalt + "=$" + goodHash,
		"$argon2id$v=19$m=19456,t=2,p=1$" + goodSalt + "$" + strings.Repeat("A", 128),
		"$argon2id$v=19$m=19456,t=2,p=1$" + goodSalt[:10] + "\n" + goodSalt[10:] + "$" + goodHash,
	}
	for _, cost := range []string{
		"m=4294967295,t=2,p=1", "m=65537,t=2,p=1", "m=99999999999999999999,t=2,p=1", // memory that an attacker would like
		"m=19456,t=11,p=1", "m=19456,t=4294967295,p=1", "m=19456,t=2,p=5", "m=19456,t=2,p=256",
		"m=0,t=2,p=1", "m=7,t=2,p=1", "m=15,t=2,p=2", "m=19456,t=0,p=1", "m=19456,t=2,p=0", // argon2 panics on the last two
		"m=+19456,t=2,p=1", "m=019456,t=2,p=1", "m=-1,t=2,p=1", "m=0x10,t=2,p=1", "m=1_0,t=2,p=1", "m=,t=2,p=1",
		"t=2,m=19456,p=1", "m=19456,t=2", "m=19456,t=2,p=1,x=1", "m=19456;t=2;p=1",
	} {
		bad = append(bad, "$argon2id$v=19$"+cost+"$"+goodSalt+"$"+goodHash)
	}
	for _, text := range bad {
		if _, err := parsePHC(text); err != errPHC { //nolint:errorlint // exactly this value: nothing of the string is in it
			t.Errorf("%.80q: %v", text, err)
		}
	}
}

// FuzzParsePHC: whatever parses is within bounds and is the one spelling of itself.
func FuzzParsePHC(f *testing.F) {
	f.Add(decoy.String())
	f.Add("$argon2id$v=19$m=65536,t=10,p=4$" + goodSalt + "$" + goodHash)
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$$")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePHC(text)
		if err != nil {
			return
		}
		if p.String() != text {
			t.Errorf("%q is also written %q", text, p.String())
		}
		if p.memory < 8 || p.memory > maxMemory || p.time < 1 || p.time > maxTime || p.threads < 1 || p.threads > maxThreads {
			t.Errorf("%q asks for %+v", text, p.cost)
		}
	})
}
