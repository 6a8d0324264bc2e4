package access_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

func TestParseHours(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"mon-fri 08:00-18:00":     "mon,tue,wed,thu,fri 08:00-18:00",
		" Sat,SUN  10:00-14:30 ":  "sat,sun 10:00-14:30",
		"22:00-24:00":             "22:00-24:00",
		"sat-mon,mon 00:00-06:00": "mon,sat,sun 00:00-06:00",
	} {
		if h, err := access.ParseHours(text); err != nil || h.String() != want {
			t.Errorf("%q: %q, %v", text, h, err)
		}
	}
	for _, text := range []string{"", "mon", "mon-fri", "mon 8-18", "mon 18:00-08:00", "mon 08:00-08:00", "mon 08:00-25:00", "noday 08:00-18:00", "mon- 08:00-18:00", "mon 08:00 - 18:00", "mon,,tue 08:00-18:00"} {
		if h, err := access.ParseHours(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q was read as %q, %v", text, h, err)
		}
	}
}

func TestParseHours_reads_what_it_writes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		for _, h := range drawHours(t) {
			got, err := access.ParseHours(h.String())
			if err != nil || got.String() != h.String() || len(got.Days) != len(h.Days) {
				t.Fatalf("%q: %q, %v", h, got, err)
			}
		}
	})
}

func FuzzParseHours(f *testing.F) {
	f.Add("mon-fri 08:00-18:00")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := access.ParseHours(text)
		if err != nil {
			return
		}
		if err := (access.Terms{Hours: []access.Hours{h}}).Check(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
