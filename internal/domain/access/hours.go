package access

import (
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// weekdays are the names of days as people write them in hours, the week's first day first.
var weekdays = []struct {
	name string
	day  time.Weekday
}{
	{"mon", time.Monday}, {"tue", time.Tuesday}, {"wed", time.Wednesday}, {"thu", time.Thursday}, {"fri", time.Friday}, {"sat", time.Saturday}, {"sun", time.Sunday},
}

// errHours says how hours are written.
var errHours = fault.Fields(`hours are written as days and times, such as "mon-fri 08:00-18:00", "sat,sun 10:00-14:00" or "22:00-24:00" for every day`,
	fault.Field{Path: "hours", Message: "days and times"})

// ParseHours reads a part of the week as people write it: "mon-fri 08:00-18:00". Without days it is every day. Hours over midnight are two parts.
func ParseHours(text string) (Hours, error) {
	parts := strings.Fields(strings.ToLower(text))
	var h Hours
	switch len(parts) {
	case 1:
	case 2:
		var err error
		if h.Days, err = parseDays(parts[0]); err != nil {
			return Hours{}, err
		}
	default:
		return Hours{}, errHours
	}
	from, to, ok := strings.Cut(parts[len(parts)-1], "-")
	if !ok {
		return Hours{}, errHours
	}
	h.From, h.To = from, to
	if minutes(from) < 0 || minutes(to) < 0 || minutes(from) >= minutes(to) {
		return Hours{}, errHours
	}
	return h, nil
}

// parseDays reads days and ranges of days, which may lead over the end of the week.
func parseDays(text string) ([]time.Weekday, error) {
	var days []time.Weekday
	for one := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(one, "-")
		if !isRange {
			last = first
		}
		from, to := dayNamed(first), dayNamed(last)
		if from < 0 || to < 0 {
			return nil, errHours
		}
		for i := from; ; i = (i + 1) % len(weekdays) {
			if day := weekdays[i].day; !slices.Contains(days, day) {
				days = append(days, day)
			}
			if i == to {
				break
			}
		}
	}
	return days, nil
}

func dayNamed(name string) int {
	for i, w := range weekdays {
		if w.name == name {
			return i
		}
	}
	return -1
}

// String writes hours as ParseHours reads them.
func (h Hours) String() string {
	times := h.From + "-" + h.To
	if len(h.Days) == 0 {
		return times
	}
	var names []string
	for _, w := range weekdays {
		if slices.Contains(h.Days, w.day) {
			names = append(names, w.name)
		}
	}
	return strings.Join(names, ",") + " " + times
}
