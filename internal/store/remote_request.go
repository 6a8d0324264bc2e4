package store

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

const requestColumns = `r.id, r.number, r.session, r.user_id, r.user_name, r.device, r.credential, r.reason, r.reference, r.state, r.created, r.expires, r.decided, r.decided_by, r.note`

const selectRequest = `SELECT ` + requestColumns + ` FROM remote_requests r WHERE `

func scanRequest(scan Scan) (remote.Request, error) {
	var r remote.Request
	err := scan(&r.ID, &r.Number, &r.Session, &r.User.ID, &r.User.Name, &r.Device, &r.Credential, &r.Reason, &r.Reference, &r.State,
		ScanTime(&r.Created), ScanTime(&r.Expires), ScanTime(&r.Decided), &r.DecidedBy, &r.Note)
	r.User.Kind = access.User
	return r, err
}

// InsertRequest implements remote.Store. The session's row is locked, so of two who ask one finds what the other asked.
func (s Remotes) InsertRequest(ctx context.Context, r remote.Request, e func(remote.Request) audit.Event) (remote.Request, error) {
	is := r
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		x, err := s.locked(ctx, tx, r.Session)
		if err != nil {
			return err
		}
		is, err = oneRequest(ctx, tx, selectRequest+`r.session = $1`, r.Session)
		if !Absent(err) {
			return err
		}
		if x.State != remote.Waiting {
			return remote.ErrOver
		}
		is = r
		if is.Number, err = nextNumber(ctx, tx, "remote_request"); err != nil {
			return err
		}
		if err := insertRequest(ctx, tx, is); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE remote_sessions SET expires = $2, request_id = $3 WHERE id = $1`, r.Session, Micros(r.Expires), r.ID); err != nil {
			return err
		}
		if err := tx.Notify(ctx, "remote.request "+r.Session); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e(is))
	})
	return is, unknownRemote(err)
}

func insertRequest(ctx context.Context, tx Tx, r remote.Request) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO remote_requests (id, number, session, user_id, user_name, device, credential, reason, reference, state, created, expires, decided_by, note)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, '', '')`,
		r.ID, r.Number, r.Session, r.User.ID, r.User.Name, r.Device, r.Credential, r.Reason, r.Reference, string(r.State), Micros(r.Created), Micros(r.Expires))
	if err != nil {
		return err
	}
	for _, a := range r.Approvers {
		if _, err := tx.ExecContext(ctx, `INSERT INTO remote_request_approvers (request, subject_kind, subject_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, r.ID, string(a.Kind), a.ID); err != nil {
			return err
		}
	}
	return nil
}

// oneRequest reads a request with its approvers.
func oneRequest(ctx context.Context, tx Tx, query string, arg any) (remote.Request, error) {
	r, err := One(ctx, tx, scanRequest, query, arg)
	if err != nil {
		return r, err
	}
	return r, approversOf(ctx, tx, &r)
}

func approversOf(ctx context.Context, tx Tx, r *remote.Request) (err error) {
	r.Approvers, err = All(ctx, tx, func(scan Scan) (a access.Subject, err error) {
		err = scan(&a.Kind, &a.ID)
		return a, err
	}, `SELECT subject_kind, subject_id FROM remote_request_approvers WHERE request = $1 ORDER BY subject_kind, subject_id`, r.ID)
	return err
}

// RequestOf implements remote.Store.
func (s Remotes) RequestOf(ctx context.Context, session string) (remote.Request, error) {
	return s.request(ctx, selectRequest+`r.session = $1`, session)
}

// RequestByNumber implements remote.Store.
func (s Remotes) RequestByNumber(ctx context.Context, number int64) (remote.Request, error) {
	return s.request(ctx, selectRequest+`r.number = $1`, number)
}

func (s Remotes) request(ctx context.Context, query string, arg any) (remote.Request, error) {
	var r remote.Request
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		r, err = oneRequest(ctx, tx, query, arg)
		return err
	})
	if Absent(err) {
		err = remote.ErrNoRequest
	}
	return r, err
}

const (
	requestsListed = ` FROM remote_requests r JOIN remote_sessions x ON x.id = r.session WHERE (` + seenRemote + ` OR EXISTS (SELECT 1 FROM remote_request_approvers a
		WHERE a.request = r.id AND CAST($7 AS TEXT) LIKE '%"' || a.subject_kind || ' ' || a.subject_id || '"%')) AND ($8 = '' OR r.state = $8)`
	countRequests = `SELECT COUNT(*)` + requestsListed
	listRequests  = `SELECT ` + requestColumns + requestsListed + ` ORDER BY r.number DESC LIMIT $9 OFFSET $10`
)

// Requests implements remote.Store.
func (s Remotes) Requests(ctx context.Context, which remote.WhichRequests, w page.Window) (page.Page[remote.Request], error) {
	named := make([]string, len(which.Approvers))
	for i, a := range which.Approvers {
		named[i] = string(a.Kind) + " " + a.ID
	}
	args := append(seenArgs(which.Seen), JSON(named), string(which.State))
	p, err := readPart(ctx, s.DB, scanRequest, countRequests, listRequests, args, w)
	if err != nil {
		return p, err
	}
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		for i := range p.Items {
			if err := approversOf(ctx, tx, &p.Items[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return p, err
}

// ChangeRequest implements remote.Store. The session is locked before the request, as wherever both change.
func (s Remotes) ChangeRequest(
	ctx context.Context, id string, decide func(remote.Request, remote.Session) (remote.Request, remote.Session, []audit.Event, error),
) (remote.Request, error) {
	var is remote.Request
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		session, err := One(ctx, tx, Value[string], `SELECT session FROM remote_requests WHERE id = $1`, id)
		if err != nil {
			return err
		}
		x, err := s.locked(ctx, tx, session)
		if err != nil {
			return err
		}
		was, err := oneRequest(ctx, tx, selectRequest+`r.id = $1`+s.DB.ForUpdate(), id)
		if err != nil {
			return err
		}
		r, y, events, err := decide(was, x)
		if err != nil {
			return err
		}
		is = r
		if _, err := tx.ExecContext(ctx, `UPDATE remote_requests SET state = $2, expires = $3, decided = $4, decided_by = $5, note = $6 WHERE id = $1`,
			id, string(r.State), Micros(r.Expires), NullMicros(r.Decided), r.DecidedBy, r.Note); err != nil {
			return err
		}
		if _, err := changeRemote(ctx, tx, x, y); err != nil {
			return err
		}
		if err := tx.Notify(ctx, "remote.request "+session); err != nil {
			return err
		}
		return insertEvents(ctx, tx, events...)
	})
	if Absent(err) {
		err = remote.ErrNoRequest
	}
	return is, err
}
