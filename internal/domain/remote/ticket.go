package remote

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// MakeTicket makes a one-time ticket by which a socket of the session is opened. subject is the id of who may use it.
func (s *Service) MakeTicket(ctx context.Context, x Session, purpose, subject, name string) (secret.String, error) {
	plain := secret.Token(43)
	err := s.Store.AddTicket(ctx, Ticket{
		Digest: secret.Digest(plain), Session: x.ID, Purpose: purpose, Subject: subject, Name: name, Expires: s.Now().Add(orDefault(s.Settings.TicketLife, 30*time.Second)),
	})
	return secret.New(plain), err
}

// UseTicket takes a ticket, once. It reports ErrUnknown.
func (s *Service) UseTicket(ctx context.Context, plain secret.String, purpose string) (Ticket, error) {
	return s.Store.UseTicket(ctx, secret.Digest(plain.Reveal()), purpose, s.Now())
}

// hexadecimal is n random bytes in lower-case hexadecimal.
func hexadecimal(n int) string { return hex.EncodeToString(secret.Bytes(n)) }
