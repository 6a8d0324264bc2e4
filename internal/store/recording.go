package store

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Recordings keeps what is known of recordings, and the hashes of their segments.
type Recordings struct{ DB *DB }

var _ remote.RecordingStore = Recordings{}

// BeginRecording implements remote.RecordingStore.
func (s Recordings) BeginRecording(ctx context.Context, session string, started time.Time) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, beginRecording, session, Micros(started))
		if err != nil || n > 0 {
			return err
		}
		return whetherBegun(ctx, tx, session, remote.ErrRecorded, remote.ErrUnknown)
	})
}

// whetherBegun explains why nothing was changed: with one reason where there is a recording of the session, with another where there is none.
func whetherBegun(ctx context.Context, tx Tx, session string, begun, none error) error {
	there, err := One(ctx, tx, Value[bool], `SELECT EXISTS (SELECT 1 FROM recordings WHERE session = $1)`, session)
	switch {
	case err != nil:
		return err
	case there:
		return begun
	}
	return none
}

// beginRecording begins none anew, though nothing may have been carried when its node was lost: that one may wake up, and go on with it.
const beginRecording = `INSERT INTO recordings (session, started, bytes, cut, hold, erased, settled)
	SELECT x.id, CAST($2 AS BIGINT), 0, '', x.hold, FALSE, FALSE FROM remote_sessions x WHERE x.id = $1 ON CONFLICT (session) DO NOTHING`

var errOtherPiece = fault.New(fault.Conflict, "the segment is on record with another hash")

// AddPiece implements remote.RecordingStore.
func (s Recordings) AddPiece(ctx context.Context, p remote.Piece) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		added, err := Exec(ctx, tx, `INSERT INTO recording_segments (session, track, number, name, bytes, digest, blocks, closed)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (session, track, number) DO NOTHING`,
			p.Session, p.Track, p.Number, p.Name, p.Bytes, p.Digest[:], notNil(p.Blocks), Micros(p.Closed))
		if err != nil {
			return err
		}
		if added == 0 {
			is, err := One(ctx, tx, Value[[]byte], `SELECT digest FROM recording_segments WHERE session = $1 AND track = $2 AND number = $3`, p.Session, p.Track, p.Number)
			if err == nil && !bytes.Equal(is, p.Digest[:]) {
				err = errOtherPiece
			}
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE recordings SET bytes = bytes + $2 WHERE session = $1`, p.Session, p.Bytes)
		return err
	})
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Pieces implements remote.RecordingStore.
func (s Recordings) Pieces(ctx context.Context, session string) ([]remote.Piece, error) {
	return readAll(ctx, s.DB, func(scan Scan) (remote.Piece, error) {
		p := remote.Piece{Session: session}
		var digest []byte
		err := scan(&p.Track, &p.Number, &p.Name, &p.Bytes, &digest, &p.Blocks, ScanTime(&p.Closed))
		if err == nil && copy(p.Digest[:], digest) != len(p.Digest) {
			err = fmt.Errorf("hash of segment %s has %d bytes", p.Name, len(digest))
		}
		return p, err
	}, `SELECT track, number, name, bytes, digest, blocks, closed FROM recording_segments WHERE session = $1 ORDER BY track, number`, session)
}

// FinishRecording implements remote.RecordingStore.
func (s Recordings) FinishRecording(ctx context.Context, session string, before []byte, ended time.Time, manifest []byte, cut string) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, finishRecording, session, Micros(ended), manifest, cut, before)
		if err != nil || n > 0 {
			return err
		}
		return whetherBegun(ctx, tx, session, remote.ErrSigned, remote.ErrNoRecording)
	})
}

const finishRecording = `UPDATE recordings SET ended = $2, manifest = $3, cut = $4, settled = FALSE WHERE session = $1 AND manifest IS NOT DISTINCT FROM $5`

// SettleRecording implements remote.RecordingStore.
func (s Recordings) SettleRecording(ctx context.Context, session string, manifest []byte) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `UPDATE recordings SET settled = TRUE WHERE session = $1 AND manifest = $2`, session, manifest)
		if err == nil && n == 0 {
			err = remote.ErrSigned
		}
		return err
	})
}

const (
	recordingColumns = `r.session, x.number, x.code, x.user_id, x.user_name, x.username, x.credential, x.target, x.target_host, x.protocol,
		r.started, r.ended, r.bytes, r.cut, r.hold, r.deleted`
	recordingsFrom  = ` FROM recordings r JOIN remote_sessions x ON x.id = r.session`
	selectRecording = `SELECT ` + recordingColumns + recordingsFrom
)

// recordingFields are where a row of recordingColumns goes.
func recordingFields(r *remote.Recording, number **int64, code **string) []any {
	r.User.Kind = access.User
	return []any{
		&r.Session, number, code, &r.User.ID, &r.User.Name, &r.Username, &r.Credential, &r.Target, &r.Host, &r.Protocol,
		ScanTime(&r.Started), ScanTime(&r.Ended), &r.Bytes, &r.Cut, &r.Hold, ScanTime(&r.Deleted),
	}
}

func scanRecording(scan Scan) (remote.Recording, error) { return scanRecordingWith(scan) }

func scanRecordingWith(scan Scan, more ...any) (r remote.Recording, err error) {
	var number *int64
	var code *string
	err = scan(append(recordingFields(&r, &number, &code), more...)...)
	if number != nil {
		r.Number = *number
	}
	if code != nil {
		r.Code = *code
	}
	return r, err
}

// Recording implements remote.RecordingStore.
func (s Recordings) Recording(ctx context.Context, ref string) (r remote.Recording, err error) {
	if ref == "" || strings.ContainsRune(ref, 0) {
		return r, remote.ErrNoRecording
	}
	query, key := recordingByCode, any(ref)
	if number, err := strconv.ParseInt(ref, 10, 64); err == nil {
		query, key = recordingByNumber, number
	} else if len(ref) == len("01930000-0000-7000-8000-000000000000") {
		query = recordingBySession
	}
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		var manifest []byte
		var settled bool
		r, err = One(ctx, tx, func(scan Scan) (remote.Recording, error) { return scanRecordingWith(scan, &settled, &manifest) }, query, key)
		r.Manifest, r.Settled = manifest, settled
		return err
	})
	if Absent(err) {
		return r, remote.ErrNoRecording
	}
	return r, err
}

// One column each: where it may be any of them both databases read all rows.
const (
	recordingBy        = `SELECT ` + recordingColumns + `, r.settled, r.manifest` + recordingsFrom + ` WHERE `
	recordingBySession = recordingBy + `r.session = $1`
	recordingByNumber  = recordingBy + `x.number = $1`
	recordingByCode    = recordingBy + `x.code = $1`
)

const listRecordings = selectRecording + ` WHERE ` + seenRemote + ` AND (NOT $7 OR r.ended IS NULL) AND ($8 = '' OR x.user_id = $8) AND ($9 = '' OR x.target = $9)
	AND r.session < $10 ORDER BY r.session DESC LIMIT $11`

// Recordings implements remote.RecordingStore.
func (s Recordings) Recordings(ctx context.Context, which remote.Which, w page.Window) (page.Page[remote.Recording], error) {
	args := append(seenArgs(which.Seen), which.Active, which.User, which.Device, below(w.After), w.Limit+1)
	all, err := readAll(ctx, s.DB, scanRecording, listRecordings, args...)
	if err != nil {
		return page.Page[remote.Recording]{}, err
	}
	return page.Cut(all, w, func(r remote.Recording) string { return r.Session }), nil
}

// HoldRecording implements remote.RecordingStore.
func (s Recordings) HoldRecording(ctx context.Context, session string, hold bool, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		var deleted time.Time
		was, err := One(ctx, tx, func(scan Scan) (is bool, err error) {
			err = scan(&is, ScanTime(&deleted))
			return is, err
		}, `SELECT hold, deleted FROM recordings WHERE session = $1`+s.DB.ForUpdate(), session)
		switch {
		case Absent(err):
			return remote.ErrNoRecording
		case err != nil:
			return err
		case hold && !deleted.IsZero():
			return remote.ErrErased
		case was == hold:
			return nil
		}
		if _, err := tx.ExecContext(ctx, `UPDATE recordings SET hold = $2 WHERE session = $1`, session, hold); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE remote_sessions SET hold = $2 WHERE id = $1`, session, hold); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

// Stale implements remote.RecordingStore.
func (s Recordings) Stale(ctx context.Context, before time.Time, limit int) ([]remote.Recording, error) {
	return readAll(ctx, s.DB, scanRecording, selectRecording+`
		WHERE NOT r.erased AND r.ended < $1 AND (NOT r.hold OR r.deleted IS NOT NULL) ORDER BY r.ended LIMIT $2`, Micros(before), limit)
}

// EraseRecording implements remote.RecordingStore.
func (s Recordings) EraseRecording(ctx context.Context, session string, now time.Time, e audit.Event) (marked bool, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `UPDATE recordings SET deleted = $2 WHERE session = $1 AND NOT hold AND deleted IS NULL`, session, Micros(now))
		if err != nil {
			return err
		}
		if marked = n > 0; marked {
			return insertEvents(ctx, tx, e)
		}
		marked, err = One(ctx, tx, Value[bool], `SELECT deleted IS NOT NULL FROM recordings WHERE session = $1`, session)
		return err
	})
	return marked, err
}

// Erased implements remote.RecordingStore.
func (s Recordings) Erased(ctx context.Context, session string) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE recordings SET erased = TRUE WHERE session = $1 AND deleted IS NOT NULL`, session)
		return err
	})
}
