package bitbucket

import (
	"strings"
	"testing"
)

func TestIsCron(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"0 0 0 * * ?", "0 0 0 ? * *", "0 0 12 * * ? 2030", "0 0 12 * * ? *", "0/5 * * ? * MON-FRI", "*/5 */10 0-6/2 1,15 JAN,jul ?",
		"0 15 10 L * ?", "0 15 10 LW * ?", "0 15 10 L-3 * ?", "0 15 10 L-3W * ?", "0 15 10 15W * ?", "0 15 10 ? * 6L", "0 15 10 ? * FRIL", "0 15 10 ? * L",
		"0 15 10 ? * 6#3", "0 15 10 ? * fri#5", "0 0 22-2 ? * FRI-MON", "  0  0\t0 * * ?  ", "59 59 23 31 12 ? 1970-2099", "/5 * * * * ?", "0 0 0 ? 1/3 2,4,6 2030/2",
	} {
		if !isCron(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{
		"", " ", "<string>", "@daily", "0 0 0 * *", "0 0 0 * * ? 2030 1", "0 0 * * *",
		"0 0 0 * * *", "0 0 0 ? * ?", "? 0 0 * * ?", "0 0 0 1,? * ?", // the two kinds of days
		"60 0 0 * * ?", "0 60 0 * * ?", "0 0 24 * * ?", "0 0 0 0 * ?", "0 0 0 32 * ?", "0 0 0 * 0 ?", "0 0 0 * 13 ?", "0 0 0 ? * 0", "0 0 0 ? * 8", "0 0 0 * * ? 1969", "0 0 0 * * ? 2100",
		"-1 0 0 * * ?", "+1 0 0 * * ?", "1- 0 0 * * ?", "1-2-3 0 0 * * ?", "1, 0 0 * * ?", ",1 0 0 * * ?", "/ 0 0 * * ?", "*/0 0 0 * * ?", "*/60 0 0 * * ?", "0/5/5 0 0 * * ?", "0 0 0 * * ? 2031-2030",
		"0 0 0 MON * ?", "0 0 0 ? MON *", "0 0 0 ? * JAN", "0 0 0 ? * MONDAY", "JAN 0 0 * * ?",
		"0 0 0 L-31 * ?", "0 0 0 L- * ?", "0 0 0 L3 * ?", "0 0 0 W * ?", "0 0 0 32W * ?", "0 0 0 L,15 * ?", "0 0 0 15W,16 * ?", "0 0 0 ? * 6#0", "0 0 0 ? * 6#6", "0 0 0 ? * #1", "0 0 0 ? * 6#", "0 0 0 ? * 8L", "0 0 L ? * *",
		"0 0 0 * * ?\x00", "٣ 0 0 * * ?", "0 0 0 * * ? " + strings.Repeat(" ", 255),
	} {
		if isCron(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
}

// Administrators write it, programs send it: whatever it is, it is judged without a panic, alike in either case and with any blanks.
func FuzzIsCron(f *testing.F) {
	f.Add("0 0 12 ? * MON-FRI 2030")
	f.Add("0/5 1,2 * L-3W JAN ?")
	f.Add("<string>")
	f.Add("0 15 10 ? * 6#3")
	f.Fuzz(func(t *testing.T, text string) {
		is := isCron(text)
		if is && isCron(strings.ToLower(text)) != is {
			t.Errorf("%q depends on its case", text)
		}
		if n := len(strings.Fields(text)); is && n != 6 && n != 7 {
			t.Errorf("%q has %d fields", text, n)
		}
	})
}
