package identity

import (
	"context"
	"encoding/base64"
	"net/netip"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// AuthorizationToken is a token that was issued, by its SHA-256.
type AuthorizationToken struct {
	Digest        [32]byte
	Authorization string // id
	Created       time.Time
	Expires       time.Time
}

// Call is one call of an application: a row of its access log. It holds no secret.
type Call struct {
	ID       string // UUIDv7
	At       time.Time
	Client   string // client id, as far as it is known
	Name     string // of the authorization
	Address  string
	Resource string
	Event    string
	Method   string
	Path     string // without what is secret in it
	Status   int
	Error    string
	Node     string
	Took     time.Duration
}

// Prove returns the authorization of a client that has shown its secret, for package login alone. Whatever is wrong, a client that is not known, another
// secret, one that is disabled or over, is ErrBadClient, after the same work; the authorization comes along where it is known.
func (s *Authorizations) Prove(ctx context.Context, clientID string, plain secret.String) (Authorization, error) {
	digest := secret.Digest(plain.Reveal())
	a, err := s.Store.ByClient(ctx, clientID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Authorization{}, err
	}
	same := secret.Equal(digest[:], a.Digest[:])
	if err != nil || !same || plain.Empty() || !a.Opens(s.Now()) {
		return a, ErrBadClient
	}
	return a, nil
}

// Issue gives a client that was proved a token, for package login alone. Those that it has stay good. It reports ErrTooManyTokens.
func (s *Authorizations) Issue(ctx context.Context, a Authorization, address netip.Addr, door string) (plain secret.String, life time.Duration, err error) {
	now, perMinute := s.Now(), s.PerMinute
	if life = s.TokenLife; life == 0 {
		life = time.Hour
	}
	if perMinute == 0 {
		perMinute = 600
	}
	plain = secret.New("gha_" + base64.RawURLEncoding.EncodeToString(secret.Bytes(32)))
	e := audit.NewEvent(now, "a2a.token_issued", audit.Done)
	e.Actor = audit.Actor{Kind: kindAuthorization, ID: a.ID, Name: a.Title(), Method: "client_secret"}
	e.Object = audit.Object{Kind: kindAuthorization, ID: a.ID, Name: a.Title()}
	e.Door = door
	if address.IsValid() {
		e.Address = address.String()
	}
	err = s.Store.InsertToken(ctx, AuthorizationToken{Digest: secret.Digest(plain.Reveal()), Authorization: a.ID, Created: now, Expires: now.Add(life)}, now.Add(-time.Minute), perMinute, e)
	if err != nil {
		return secret.String{}, 0, err
	}
	return plain, life, nil
}

// Check returns the authorization of a token, as it is now, for package login alone. Whatever is wrong is ErrBadClient; the authorization comes along where
// it is known.
func (s *Authorizations) Check(ctx context.Context, plain secret.String) (Authorization, error) {
	if !strings.HasPrefix(plain.Reveal(), "gha_") {
		return Authorization{}, ErrBadClient
	}
	a, err := s.Store.ByToken(ctx, secret.Digest(plain.Reveal()), s.Now())
	switch {
	case fault.Is(err, fault.NotFound), err == nil && !a.Opens(s.Now()):
		return a, ErrBadClient
	case err != nil:
		return Authorization{}, err
	}
	return a, nil
}

// Record adds a row to the access log. What is too long for it is cut.
func (s *Authorizations) Record(ctx context.Context, c Call) error {
	c.ID = s.NewID()
	for _, text := range []*string{&c.Client, &c.Name, &c.Path, &c.Error, &c.Method} {
		*text = strings.ToValidUTF8((*text)[:min(len(*text), 1024)], "")
		*text = strings.ReplaceAll(*text, "\x00", "")
	}
	return s.Store.AddCall(ctx, c)
}

// Calls returns the access log, newest first.
func (s *Authorizations) Calls(ctx context.Context, by Authority, w page.Window) (page.Page[Call], error) {
	if _, err := by.AuthorizeOn(ctx, actionAuthorizationRead, Target{}); err != nil {
		return page.Page[Call]{}, err
	}
	return s.Store.Calls(ctx, w)
}

// Run forgets what has expired, every so often until ctx ends. Nothing depends on it but space.
func (s *Authorizations) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			kept := time.Time{}
			if s.CallsKept > 0 {
				kept = s.Now().Add(-s.CallsKept)
			}
			if err := s.Store.Sweep(ctx, s.Now(), kept); err != nil && s.OnError != nil && ctx.Err() == nil {
				s.OnError("sweep authorizations", err)
			}
		}
	}
}
