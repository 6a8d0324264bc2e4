package session

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Start begins a session of somebody who has just proved who they are: by is what login made of it. The token is
// returned this once. It reports ErrChanged when the principal was disabled, or got another credential, meanwhile, or in.Until is over.
func (s *Service) Start(ctx context.Context, by access.Caller, in New) (secret.String, Session, error) {
	if by.Kind != access.User && by.Kind != access.Application {
		return secret.String{}, Session{}, fault.New(fault.Denied, "only a user or an application has sessions")
	}
	if !slices.Contains([]State{Pending, EnrolOnly, Active}, in.State) {
		return secret.String{}, Session{}, ErrNotActive
	}
	now := s.Now()
	x := s.begin(by, in, now)
	if !in.Until.IsZero() && !now.Before(in.Until) {
		return secret.String{}, Session{}, ErrChanged
	}
	if x.State == Pending {
		x.Deadline = before(now.Add(s.Wait), x.Until)
	}
	if in.Elevated > 0 && x.settles() {
		x.Elevated = now.Add(in.Elevated)
	}
	return s.insert(ctx, by, x, in.Stamp)
}

func (s *Service) begin(by access.Caller, in New, now time.Time) Session {
	life := s.life(by.Kind)
	x := Session{
		ID: s.NewID(), Principal: by.Principal, Account: by.Account, State: in.State, Method: by.Method, Transport: in.Transport,
		Created: now, Authenticated: by.At, LastUsed: now, Idle: min(life.Idle, life.Max), Deadline: before(now.Add(life.Max), in.Until), UserAgent: cut(in.UserAgent),
		Provider: in.Provider, Certificate: in.Certificate, Login: in.Login, ProviderSession: in.ProviderSession, Until: in.Until,
	}
	if x.Transport == "" {
		x.Transport = Bearer
	}
	if by.Address.IsValid() {
		x.Address = by.Address.String()
	}
	return x
}

// cut makes a header that a stranger wrote fit to be kept.
func cut(userAgent string) string {
	if len(userAgent) > maxUserAgent {
		userAgent = userAgent[:maxUserAgent]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(userAgent, ""), "\x00", "")
}

func (s *Service) insert(ctx context.Context, by access.Caller, x Session, stamp string) (secret.String, Session, error) {
	token := newToken()
	x.Digest = secret.Digest(token.Reveal())
	e := by.Event(x.Created, access.SessionStart, x.resource(), audit.Done).With("transport", string(x.Transport)).With("state", string(x.State))
	evict := func(old Session) audit.Event {
		e := access.SystemCaller(x.Created).Event(x.Created, access.SessionEnd, old.resource(), audit.Done)
		e.Reason = "the principal has too many sessions, and this was the least recently used"
		return e
	}
	if err := s.Store.Insert(ctx, x, stamp, s.life(by.Kind).Limit, e, evict); err != nil {
		return secret.String{}, Session{}, fmt.Errorf("insert session: %w", err)
	}
	return token, x, nil
}

// Reauth begins a further session of an application. The one it came with goes on, and its deadline holds for both.
// It reports ErrUsersAlone to users.
func (s *Service) Reauth(ctx context.Context, by access.Caller, userAgent string) (secret.String, Session, error) {
	if by.Kind != access.Application {
		return secret.String{}, Session{}, ErrUsersAlone
	}
	old, err := s.own(ctx, by, access.SessionStart)
	if err != nil {
		return secret.String{}, Session{}, err
	}
	now := s.Now()
	x := s.begin(by, New{
		State: Active, UserAgent: userAgent, Provider: old.Provider, ProviderSession: old.ProviderSession, Until: old.Until, Certificate: old.Certificate,
	}, now)
	x.Method, x.Authenticated, x.Deadline = old.Method, old.Authenticated, old.Deadline
	return s.insert(ctx, by, x, "")
}

// own loads the living, active session that the caller came with.
func (s *Service) own(ctx context.Context, by access.Caller, do access.Action) (Session, error) {
	if by.Session == "" {
		return Session{}, ErrInvalid
	}
	x, err := s.Store.ByID(ctx, by.Session)
	if fault.Is(err, fault.NotFound) {
		return Session{}, ErrInvalid
	}
	if err != nil {
		return Session{}, err
	}
	if why := s.over(x); why != "" {
		return Session{}, &Refusal{why, x}
	}
	if x.Subject() != (access.Subject{Kind: by.Kind, ID: by.ID}) || x.State != Active {
		return Session{}, ErrNotActive
	}
	return x, s.Access.Require(ctx, by, do, x.resource())
}
