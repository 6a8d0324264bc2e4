package keyproof

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

// To is a new value for a field, or none.
type To[T any] struct {
	Set   bool
	Value T
}

// SetTo returns a new value for a field.
func SetTo[T any](value T) To[T] { return To[T]{true, value} }

func (t To[T]) apply(field *T) {
	if t.Set {
		*field = t.Value
	}
}

// Edit is what a caller wants to change; fields that are not set stay.
type Edit struct {
	ExternalID, Banner, Message                          To[*string]
	MatchAllKeys, MultiKey, MultiConnection, MustConfirm To[bool]
	MaxAttempts                                          To[int]
	Keys                                                 To[[]KeyDraft]
	Timeout                                              To[time.Duration] // from the moment of the update; 0 clears
	Expires                                              To[time.Time]     // zero clears
}

// Update changes a pending session. Connections under way keep the banner, message and confirmation
// that they began with; their end is judged by the session as it is then.
func (s *Service) Update(ctx context.Context, by access.Caller, projectID string, kind Kind, id string, edit Edit) (Detail, error) {
	return s.change(ctx, by, access.KeyproofUpdate, projectID, kind, id, func(was Session, now time.Time) (Session, error) {
		return s.edited(was, edit, now)
	})
}

func (s *Service) edited(was Session, edit Edit, now time.Time) (Session, error) {
	is := was
	edit.ExternalID.apply(&is.ExternalID)
	edit.Banner.apply(&is.Banner)
	edit.Message.apply(&is.Message)
	edit.MatchAllKeys.apply(&is.MatchAllKeys)
	edit.MultiKey.apply(&is.MultiKey)
	edit.MultiConnection.apply(&is.MultiConnection)
	edit.MustConfirm.apply(&is.MustConfirm)
	edit.MaxAttempts.apply(&is.MaxAttempts)
	var err error
	if edit.Timeout.Set || edit.Expires.Set {
		if is.Expires, err = expiry(edit.Timeout.Value, edit.Expires.Value, now); err != nil {
			return was, err
		}
	}
	if edit.Keys.Set {
		if is.Keys, err = s.listKeys(was.Keys, edit.Keys.Value); err != nil {
			return was, err
		}
	}
	if err := is.check(s.MaxKeys); err != nil {
		return was, err
	}
	if was.At(now) != Pending { // after the rules of the input: a caller mends those first
		return was, errEnded(was, now)
	}
	is.Updated = now
	if is.Kind == Verify && !is.MultiConnection && is.Met() { // kept proofs meet the rules that now hold
		is.Status = Verified
	}
	is, _ = exhausted(is) // fewer attempts allowed than were made
	return is, nil
}
