package load

import (
	"fmt"
	"time"
)

// Keystrokes orders that keys be typed at several doors in turns, one at each, and their echoes awaited.
type Keystrokes struct {
	Doors   []Door        `json:"doors"`
	Command string        `json:"command"` // reads what is typed; the terminal echoes it
	Count   int           `json:"count"`
	Pause   time.Duration `json:"pause"` // before each: nobody types as fast as a program
}

// KeystrokesDone is what came of Keystrokes, for each door.
type KeystrokesDone struct {
	Latencies []Latencies `json:"latencies"`
	Added     []Latencies `json:"added"` // to that of the first door in the same turn
}

// mark is what is typed first: nothing that is printed before its echo has it.
const mark = '~'

// Keystroke runs Keystrokes.
func Keystroke(o Keystrokes) (KeystrokesDone, error) {
	terminals := make([]*terminal, len(o.Doors))
	for i, door := range o.Doors {
		t, err := door.terminal(o.Command)
		if err != nil {
			return KeystrokesDone{}, fmt.Errorf("door %d: %w", i, err)
		}
		defer t.close()
		terminals[i] = t
		if _, err := t.Write([]byte{mark}); err != nil {
			return KeystrokesDone{}, err
		}
		if err := t.until(mark); err != nil {
			return KeystrokesDone{}, fmt.Errorf("door %d: %w", i, err)
		}
	}
	const warm = 50 // turns that do not count
	took, added := make([][]time.Duration, len(terminals)), make([][]time.Duration, len(terminals))
	for n := range warm + o.Count {
		var direct time.Duration
		for i := range terminals {
			at := (i + n) % len(terminals) // nobody is always the first
			time.Sleep(o.Pause)
			one, err := terminals[at].stroke(byte('a' + n%26))
			if err != nil {
				return KeystrokesDone{}, fmt.Errorf("door %d: %w", at, err)
			}
			if n >= warm {
				took[at] = append(took[at], one)
			}
		}
		if n < warm {
			continue
		}
		direct = took[0][n-warm]
		for i := range terminals {
			added[i] = append(added[i], took[i][n-warm]-direct)
		}
	}
	var done KeystrokesDone
	for i := range terminals {
		done.Latencies = append(done.Latencies, latenciesOf(took[i]))
		done.Added = append(done.Added, latenciesOf(added[i]))
	}
	return done, nil
}

// stroke types a key and awaits its echo.
func (t *terminal) stroke(key byte) (time.Duration, error) {
	began := time.Now()
	if _, err := t.Write([]byte{key}); err != nil {
		return 0, err
	}
	err := t.until(key)
	return time.Since(began), err
}
