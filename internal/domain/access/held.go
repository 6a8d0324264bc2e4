package access

import (
	"context"
	"time"
)

// Held is what a user held at one moment, for whoever asks about many openings.
type Held struct {
	bindings []Binding
	at       time.Time
}

// Held returns what a user holds now, by themselves and by their groups.
func (s *Service) Held(ctx context.Context, user string) (Held, error) {
	bindings, err := s.Store.BindingsOf(ctx, Subject{User, user})
	return Held{bindings, s.Now()}, err
}

// Keeps reports whether what was opened by the grant of that number may stay open: the user has that very grant yet, and it still covers the opening. Another
// grant does not stand in for it, since it may ask for what nobody asked here.
func (h Held) Keeps(number int64, o Opening) bool {
	for _, b := range h.bindings {
		if b.Number == number && b.covers(o) && b.Terms.Shut(h.at) == "" {
			return true
		}
	}
	return false
}
