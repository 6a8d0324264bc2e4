package bitbucket

import (
	"slices"
	"strconv"
	"strings"
)

const maxCron = 255 // characters

// cronField is what one field of a cron expression may hold.
type cronField struct {
	least, most int
	names       []string // of the values from least on
	endless     bool     // ranges may run over the end, such as FRI-MON
}

// cronFields are those of a Quartz expression, in order; the last may be left out.
var cronFields = []cronField{
	{0, 59, nil, true}, // seconds
	{0, 59, nil, true}, // minutes
	{0, 23, nil, true}, // hours
	{1, 31, nil, true}, // days of the month
	{1, 12, []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}, true},
	{1, 7, []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}, true},
	{1970, 2099, nil, false},
}

const (
	cronMonthDay = 3 // places in cronFields
	cronWeekDay  = 5
)

// isCron reports whether a text is a cron expression as Quartz takes it: six fields, or seven with the year. Exactly one of the
// two kinds of days is left open by a question mark.
func isCron(text string) bool {
	if len(text) > maxCron {
		return false
	}
	parts := strings.Fields(strings.ToUpper(text))
	if len(parts) != len(cronFields) && len(parts) != len(cronFields)-1 {
		return false
	}
	if (parts[cronMonthDay] == "?") == (parts[cronWeekDay] == "?") {
		return false
	}
	for i, part := range parts {
		if !cronFields[i].takes(part, i) {
			return false
		}
	}
	return true
}

// takes reports whether a field may hold that text.
func (f cronField) takes(text string, place int) bool {
	switch place {
	case cronMonthDay:
		if text == "?" || isLastDay(text) || f.isNearest(text) {
			return true
		}
	case cronWeekDay:
		if text == "?" || f.isCounted(text) {
			return true
		}
	}
	return !slices.ContainsFunc(strings.Split(text, ","), func(item string) bool { return !f.isItem(item) })
}

// isItem knows *, a value, a range, and each with a step.
func (f cronField) isItem(item string) bool {
	span, step, stepped := strings.Cut(item, "/")
	if stepped {
		if n, ok := digits(step); !ok || n < 1 || n > f.most {
			return false
		}
	}
	if span == "*" || span == "" && stepped { // Quartz takes /5 for */5
		return true
	}
	first, last, ranged := strings.Cut(span, "-")
	from, ok := f.value(first)
	if !ok || !ranged {
		return ok
	}
	to, ok := f.value(last)
	return ok && (from <= to || f.endless)
}

// value reads a number within bounds, or a name.
func (f cronField) value(text string) (int, bool) {
	if i := slices.Index(f.names, text); i >= 0 {
		return f.least + i, true
	}
	n, ok := digits(text)
	return n, ok && n >= f.least && n <= f.most
}

// isLastDay knows the last day of the month, L, days before it, L-3, and the working day nearest to either, LW and L-3W.
func isLastDay(text string) bool {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(text, "W"), "L")
	if !ok || rest == "" {
		return ok
	}
	before, ok := strings.CutPrefix(rest, "-")
	n, number := digits(before)
	return ok && number && n <= 30
}

// isNearest knows the working day nearest to a day of the month, 15W.
func (f cronField) isNearest(text string) bool {
	day, ok := strings.CutSuffix(text, "W")
	_, value := f.value(day)
	return ok && value
}

// isCounted knows the last day of the week, L, and the last or the third such day of the month, 6L and FRI#3.
func (f cronField) isCounted(text string) bool {
	if day, ok := strings.CutSuffix(text, "L"); ok {
		_, value := f.value(day)
		return day == "" || value
	}
	day, count, ok := strings.Cut(text, "#")
	_, value := f.value(day)
	n, number := digits(count)
	return ok && value && number && n >= 1 && n <= 5
}

// digits reads a short number without sign.
func digits(text string) (int, bool) {
	if text == "" || len(text) > 4 || !isDigits([]byte(text)) {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}
