package signin

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// grid reads the dark modules back from the drawing.
func grid(t *testing.T, drawn string) []string {
	t.Helper()
	box := regexp.MustCompile(`viewBox="0 0 (\d+) (\d+)"`).FindStringSubmatch(drawn)
	if box == nil || box[1] != box[2] {
		t.Fatalf("no square: %s", drawn)
	}
	size, err := strconv.Atoi(box[1])
	if err != nil {
		t.Fatal(err)
	}
	rows := make([][]byte, size)
	for y := range rows {
		rows[y] = []byte(strings.Repeat(".", size))
	}
	for _, m := range regexp.MustCompile(`M(\d+) (\d+)h1v1h-1z`).FindAllStringSubmatch(drawn, -1) {
		x, _ := strconv.Atoi(m[1])
		y, _ := strconv.Atoi(m[2])
		rows[y][x] = '#'
	}
	all := make([]string, size)
	for y, row := range rows {
		all[y] = string(row)
	}
	return all
}

// What does not depend on the text stands in every code of version 1 (ISO/IEC 18004): quiet zone, finders, timing, the dark module.
func TestDrawQR(t *testing.T) {
	t.Parallel()
	drawn, err := drawQR("HELLO")
	if err != nil {
		t.Fatal(err)
	}
	rows := grid(t, string(drawn))
	if len(rows) != 21+2*quiet {
		t.Fatalf("%d modules", len(rows))
	}
	at := func(x, y int) byte { return rows[y+quiet][x+quiet] }
	finder := []string{"#######", "#.....#", "#.###.#", "#.###.#", "#.###.#", "#.....#", "#######"}
	for y := range 7 {
		for x := range 7 {
			if at(x, y) != finder[y][x] || at(x+14, y) != finder[y][x] || at(x, y+14) != finder[y][x] {
				t.Fatalf("finders differ at %d, %d:\n%s", x, y, strings.Join(rows, "\n"))
			}
		}
	}
	for i := 8; i < 13; i++ {
		if dark := i%2 == 0; (at(i, 6) == '#') != dark || (at(6, i) == '#') != dark {
			t.Errorf("the timing differs at %d", i)
		}
	}
	if at(8, 13) != '#' {
		t.Error("the dark module is light")
	}
	for i := range quiet {
		if strings.Contains(rows[i]+rows[len(rows)-1-i], "#") || rows[10][i] == '#' {
			t.Error("the quiet zone is not quiet")
		}
	}
	// Format information: error correction M is 00 in its first two bits, under the mask 101010000010010 (section 7.9).
	if first, second := at(0, 8) == '#', at(1, 8) == '#'; !first || second {
		t.Errorf("the level is not M: %v, %v", first, second)
	}
}

func TestDrawQR_refuses_what_does_not_fit(t *testing.T) {
	t.Parallel()
	if _, err := drawQR(strings.Repeat("x", 4000)); err == nil {
		t.Error("no error")
	}
}
