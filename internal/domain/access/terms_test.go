package access_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// zones have changes of the clock at every hour of the night: at midnight, at two, by half an hour; and none at all.
var zones = []string{"", "Europe/Berlin", "America/New_York", "Africa/Cairo", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata", "Asia/Beirut"}

// onTheWall says by the clock on the wall alone whether the hours hold.
func onTheWall(hours []access.Hours, at time.Time) bool {
	return slices.ContainsFunc(hours, func(h access.Hours) bool {
		clock := at.Format("15:04")
		return (len(h.Days) == 0 || slices.Contains(h.Days, at.Weekday())) && h.From <= clock && clock < h.To
	})
}

func drawHours(t *rapid.T) []access.Hours {
	text := func(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) access.Hours {
		from := rapid.SampledFrom([]int{0, 30, 60, 115, 120, 150, 180, 480, 1080, 1380, 1439}).Draw(t, "from")
		to := rapid.SampledFrom([]int{30, 60, 121, 150, 180, 185, 1080, 1110, 1439, 1440}).Filter(func(m int) bool { return m > from }).Draw(t, "to")
		days := rapid.SliceOfNDistinct(rapid.SampledFrom([]time.Weekday{0, 1, 2, 3, 4, 5, 6}), 0, 7, rapid.ID[time.Weekday]).Draw(t, "days")
		return access.Hours{Days: days, From: text(from), To: text(to)}
	}), 1, 4).Draw(t, "hours")
}

// Hours are read off the clock on the wall, minute by minute, over changes of the clock too; and Until is the first minute at which they are over.
func TestTerms_hours_follow_the_clock_on_the_wall(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		zone, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		terms := access.Terms{Hours: drawHours(t), Zone: zone.String()}
		if err := terms.Check(); err != nil {
			t.Fatal(err)
		}
		begin := time.Date(2026, time.Month(rapid.IntRange(1, 12).Draw(t, "month")), 1, 0, 0, 0, 0, time.UTC)
		at := begin.Add(time.Duration(rapid.IntRange(0, 31*24*60).Draw(t, "minute")) * time.Minute)
		if _, change := at.In(zone).ZoneBounds(); !change.IsZero() && rapid.Bool().Draw(t, "near a change") {
			at = change.Add(time.Duration(rapid.IntRange(-300, 300).Draw(t, "from it")) * time.Minute)
		}
		at = at.Add(time.Duration(rapid.IntRange(0, 59).Draw(t, "second")) * time.Second)

		open := terms.Shut(at) == ""
		if want := onTheWall(terms.Hours, at.In(zone)); open != want {
			t.Fatalf("at %s in %s open is %v: %+v", at.In(zone), zone, open, terms.Hours)
		}
		if !open {
			return
		}
		until, step := terms.Until(at), at.Truncate(time.Minute)
		for onTheWall(terms.Hours, step.In(zone)) && step.Before(at.AddDate(0, 0, 8)) {
			step = step.Add(time.Minute)
		}
		if step.Before(at.AddDate(0, 0, 8)) && !until.Equal(step) || until.Before(step) {
			t.Fatalf("from %s it ends %s, not %s: %+v", at.In(zone), until, step.In(zone), terms.Hours)
		}
	})
}

func TestTerms_over_the_night_the_clock_changes(t *testing.T) {
	t.Parallel()
	night := []access.Hours{{From: "22:00", To: "24:00"}, {From: "00:00", To: "06:00"}}
	for _, c := range []struct {
		zone, at string
		left     time.Duration
	}{
		{"Europe/Berlin", "2026-03-28T22:00:00+01:00", 7 * time.Hour},    // 02:00 is skipped
		{"Europe/Berlin", "2026-10-24T22:00:00+02:00", 9 * time.Hour},    // 02:00 comes twice
		{"Africa/Cairo", "2026-04-23T23:00:00+02:00", 6 * time.Hour},     // midnight is skipped
		{"", "2026-06-01T22:00:00Z", 8 * time.Hour},                      //
		{"Asia/Kolkata", "2026-06-01T23:30:00+05:30", 390 * time.Minute}, //
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if left := (access.Terms{Hours: night, Zone: c.zone}).Until(at).Sub(at); left != c.left {
			t.Errorf("%s %s: %s left, not %s", c.zone, c.at, left, c.left)
		}
	}
}

func TestTerms_begin_and_end(t *testing.T) {
	t.Parallel()
	terms := access.Terms{NotBefore: now, NotAfter: now.Add(time.Hour), Hours: []access.Hours{{From: "00:00", To: "08:30"}}}
	for at, shut := range map[time.Duration]string{
		-time.Second: "it begins at 2026-11-20T08:00:00Z", 0: "", 29 * time.Minute: "", 30 * time.Minute: "it is outside the hours of the grant", time.Hour: "it ended at 2026-11-20T09:00:00Z",
	} {
		if got := terms.Shut(now.Add(at)); got != shut {
			t.Errorf("after %s: %q, not %q", at, got, shut)
		}
	}
	if until := terms.Until(now); !until.Equal(now.Add(30 * time.Minute)) {
		t.Errorf("until %s", until)
	}
	terms.Hours = nil
	if until := terms.Until(now); !until.Equal(now.Add(time.Hour)) {
		t.Errorf("until %s", until)
	}
	if until := (access.Terms{}).Until(now); !until.IsZero() {
		t.Errorf("terms without end end %s", until)
	}
}

func TestTerms_Check(t *testing.T) {
	t.Parallel()
	day := []access.Hours{{Days: []time.Weekday{time.Monday}, From: "08:00", To: "24:00"}}
	good := access.Terms{
		Protocols: []string{"ssh"}, Ports: []int{1, 65535}, Hours: day, Zone: "Europe/Berlin", Approval: true, Approvers: []access.Subject{{Kind: access.Group, ID: "g"}},
		ApprovalFor: time.Hour, Features: []access.Feature{access.Shell},
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]access.Terms{
		"feature":         {Features: []access.Feature{"everything"}},
		"protocol":        {Protocols: []string{"SSH"}},
		"port":            {Ports: []int{0}},
		"zone":            {Zone: "Atlantis/Capital"},
		"machine's zone":  {Zone: "Local"},
		"hours backwards": {Hours: []access.Hours{{From: "18:00", To: "08:00"}}},
		"no hour":         {Hours: []access.Hours{{From: "8", To: "18:00"}}},
		"day of 25 hours": {Hours: []access.Hours{{From: "08:00", To: "25:00"}}},
		"ends before":     {NotBefore: now, NotAfter: now},
		"long request":    {Approval: true, ApprovalFor: 31 * 24 * time.Hour},
		"approver":        {Approval: true, Approvers: []access.Subject{{Kind: access.APIKey, ID: "k"}}},
		"idle approvers":  {Approvers: []access.Subject{{Kind: access.User, ID: "u"}}},
	} {
		if err := bad.Check(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTerms_Gives(t *testing.T) {
	t.Parallel()
	if t0 := (access.Terms{}); t0.Gives(access.Forward) || !t0.Gives(access.Shell) || !t0.Gives(access.Files) {
		t.Error("without a list the features are the usual ones, which hold no forwards")
	}
	if only := (access.Terms{Features: []access.Feature{access.Forward}}); !only.Gives(access.Forward) || only.Gives(access.Shell) {
		t.Error("a list is all there is")
	}
}
