package guard

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Captcha asks people to read a picture. A challenge lies sealed in its own id, so that strangers who ask for
// many fill no table; only a checked one leaves a row.
type Captcha struct {
	Sealer *secret.Sealer
	Once   OnceStore
	Now    func() time.Time
	Life   time.Duration // how long a challenge may be answered; 5 min
	Choose func() string // texts of new challenges; nil chooses them at random
}

// captchaLetters lack those that look like another one in some typeface. Answers are compared in either case.
const captchaLetters = "ACDEFHJKMNPRTVWXY3479"

const (
	captchaLength = 6
	captchaPlace  = "captcha" // what ids are sealed for
	captchaName   = 16        // bytes that name a challenge where used ones are kept
	captchaHead   = captchaName + 8
	maxCaptchaID  = 256 // bytes; more is not looked at
)

// New makes a challenge and returns its id, which may go into a path of a URL.
func (c *Captcha) New() (id string, err error) {
	plain := make([]byte, captchaName, captchaHead+captchaLength)
	rand.Read(plain) // never fails: crypto/rand ends the program instead
	plain, err = binary.Append(plain, binary.BigEndian, c.Now().Add(c.Life).UnixMicro())
	if err != nil {
		return "", fmt.Errorf("make CAPTCHA: %w", err)
	}
	choose := c.Choose
	if choose == nil {
		choose = captchaText
	}
	sealed, err := c.Sealer.Seal(append(plain, choose()...), captchaPlace)
	if err != nil {
		return "", fmt.Errorf("make CAPTCHA: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// Text returns what the picture of a challenge shows. It is for drawing and nothing else; false is an id that is none of
// ours, or one that is over.
func (c *Captcha) Text(id string) (string, bool) {
	_, text, _, ok := c.open(id)
	return text, ok
}

// Check reports whether the answer is right. A challenge is checked once, whatever the answer: of many checks
// at once one may be right and all others are false, as are ids that are none of ours or over.
func (c *Captcha) Check(ctx context.Context, id, answer string) (bool, error) {
	name, text, until, ok := c.open(id)
	if !ok {
		return false, nil
	}
	first, err := c.Once.Use(ctx, captchaPlace+" "+name, until, c.Now())
	if err != nil {
		return false, fmt.Errorf("check CAPTCHA: %w", err)
	}
	right := subtle.ConstantTimeCompare([]byte(upper(answer)), []byte(upper(text))) == 1
	return first && right, nil
}

// upper folds ASCII alone: no foreign letter turns into one of ours.
func upper(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, s)
}

func (c *Captcha) open(id string) (name, text string, until time.Time, ok bool) {
	if len(id) > maxCaptchaID {
		return "", "", time.Time{}, false
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil {
		return "", "", time.Time{}, false
	}
	plain, err := c.Sealer.Open(sealed, captchaPlace)
	if err != nil || len(plain) < captchaHead {
		return "", "", time.Time{}, false
	}
	var micros int64
	if _, err := binary.Decode(plain[captchaName:captchaHead], binary.BigEndian, &micros); err != nil {
		return "", "", time.Time{}, false
	}
	until = time.UnixMicro(micros)
	return hex.EncodeToString(plain[:captchaName]), string(plain[captchaHead:]), until, c.Now().Before(until)
}

// captchaText chooses each letter with the same chance (rule F10).
func captchaText() string {
	const fair = 256 / len(captchaLetters) * len(captchaLetters) // bytes from here on would favour the first letters
	text, one := make([]byte, 0, captchaLength), make([]byte, 1)
	for len(text) < captchaLength {
		if rand.Read(one); int(one[0]) < fair {
			text = append(text, captchaLetters[int(one[0])%len(captchaLetters)])
		}
	}
	return string(text)
}
