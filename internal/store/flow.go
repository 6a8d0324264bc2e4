package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Flows keeps sign-ins that are under way at a provider: digests to find them by, and the rest sealed.
type Flows struct {
	DB     *DB
	Sealer *secret.Sealer
}

var _ login.FlowStore = Flows{}

const flowColumns = `id, provider, target, sealed, created, expires`

// sealedFlow is what of a flow is sealed.
type sealedFlow struct {
	State, Browser, Nonce, Verifier, Finish string
	Visitor                                 identity.Visitor
}

func flowSealedAt(id string) string { return "login_flows/sealed/" + id }

func (s Flows) seal(f login.Flow) ([]byte, error) {
	text, err := json.Marshal(sealedFlow{f.State.Reveal(), f.Browser.Reveal(), f.Nonce.Reveal(), f.Verifier.Reveal(), f.Finish.Reveal(), f.Visitor})
	if err != nil {
		return nil, err
	}
	return s.Sealer.Seal(text, flowSealedAt(f.ID))
}

func (s Flows) scan(scan Scan) (login.Flow, error) {
	var f login.Flow
	var sealed []byte
	if err := scan(&f.ID, &f.Provider, &f.Target, &sealed, ScanTime(&f.Created), ScanTime(&f.Expires)); err != nil {
		return f, err
	}
	text, err := s.Sealer.Open(sealed, flowSealedAt(f.ID))
	if err != nil {
		return f, fmt.Errorf("open flow %s: %w", f.ID, err)
	}
	var in sealedFlow
	err = json.Unmarshal(text, &in)
	f.State, f.Browser, f.Nonce, f.Verifier, f.Finish = secret.New(in.State), secret.New(in.Browser), secret.New(in.Nonce), secret.New(in.Verifier), secret.New(in.Finish)
	f.Visitor = in.Visitor
	return f, err
}

// digestOf is how a flow's names are kept: nothing for an absent one.
func digestOf(name string) []byte {
	if name == "" {
		return []byte{}
	}
	digest := secret.Digest(name)
	return digest[:]
}

// Insert implements login.FlowStore.
func (s Flows) Insert(ctx context.Context, f login.Flow) error {
	sealed, err := s.seal(f)
	if err != nil {
		return err
	}
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO login_flows (id, provider, state, browser, code, finish, target, sealed, created, expires) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			f.ID, f.Provider, digestOf(f.State.Reveal()), digestOf(f.Browser.Reveal()), []byte{}, digestOf(f.Finish.Reveal()), f.Target, sealed, Micros(f.Created), Micros(f.Expires))
		return err
	})
	if ViolatesKind(err, ForeignKey) {
		return identity.ErrNoProvider
	}
	return err
}

// ByState implements login.FlowStore.
func (s Flows) ByState(ctx context.Context, state string, now time.Time) (login.Flow, error) {
	return s.find(ctx, `SELECT `+flowColumns+` FROM login_flows WHERE state = $1 AND length(finish) = 0 AND expires > $2`, state, now)
}

// ByCode implements login.FlowStore.
func (s Flows) ByCode(ctx context.Context, code string, now time.Time) (login.Flow, error) {
	return s.find(ctx, `SELECT `+flowColumns+` FROM login_flows WHERE code = $1 AND length(code) > 0 AND length(finish) = 0 AND expires > $2`, code, now)
}

func (s Flows) find(ctx context.Context, query, name string, now time.Time) (login.Flow, error) {
	if name == "" {
		return login.Flow{}, login.ErrNoFlow
	}
	var f login.Flow
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		f, err = One(ctx, tx, s.scan, query, digestOf(name), Micros(now))
		return err
	})
	return f, noFlow(err)
}

func noFlow(err error) error {
	if Absent(err) || Violates(err, "login_flows_code_key") {
		return login.ErrNoFlow
	}
	return err
}

// TieCode implements login.FlowStore. A flow has one code: another one finds it no more.
func (s Flows) TieCode(ctx context.Context, state, code string, now time.Time) (login.Flow, error) {
	if state == "" || code == "" {
		return login.Flow{}, login.ErrNoFlow
	}
	return s.take(ctx, `UPDATE login_flows SET code = $2 WHERE state = $1 AND (length(code) = 0 OR code = $2) AND length(finish) = 0 AND expires > $3 RETURNING `+flowColumns,
		digestOf(state), digestOf(code), Micros(now))
}

// Take implements login.FlowStore.
func (s Flows) Take(ctx context.Context, id string, now time.Time) (login.Flow, error) {
	return s.take(ctx, `DELETE FROM login_flows WHERE id = $1 AND length(finish) = 0 AND expires > $2 RETURNING `+flowColumns, id, Micros(now))
}

// Answered implements login.FlowStore.
func (s Flows) Answered(ctx context.Context, f login.Flow, now time.Time) error {
	sealed, err := s.seal(f)
	if err != nil {
		return err
	}
	_, err = s.take(ctx, `UPDATE login_flows SET finish = $2, expires = $3, sealed = $4, subject = $6, provider_session = $7
		WHERE id = $1 AND length(finish) = 0 AND expires > $5 RETURNING `+flowColumns,
		f.ID, digestOf(f.Finish.Reveal()), Micros(f.Expires), sealed, Micros(now), session.AtProvider(f.Visitor.Subject), session.AtProvider(f.Visitor.Session))
	return err
}

// TakeFinished implements login.FlowStore.
func (s Flows) TakeFinished(ctx context.Context, finish, browser string, now time.Time) (login.Flow, error) {
	if finish == "" || browser == "" {
		return login.Flow{}, login.ErrNoFlow
	}
	return s.take(ctx, `DELETE FROM login_flows WHERE finish = $1 AND browser = $2 AND expires > $3 RETURNING `+flowColumns, digestOf(finish), digestOf(browser), Micros(now))
}

// take runs a statement that changes one flow, which of many that try at once exactly one does.
func (s Flows) take(ctx context.Context, statement string, args ...any) (login.Flow, error) {
	var f login.Flow
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		f, err = One(ctx, tx, s.scan, statement, args...)
		return err
	})
	if err != nil {
		return login.Flow{}, noFlow(err)
	}
	return f, nil
}

// Sweep implements login.FlowStore.
func (s Flows) Sweep(ctx context.Context, before time.Time) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM login_flows WHERE expires < $1`, Micros(before))
		return err
	})
}
