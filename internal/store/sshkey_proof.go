package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
)

// SSHKeyProofs keeps the proofs of SSH keys on file: see decision 0009.
type SSHKeyProofs struct{ DB *DB }

var _ keyproof.OnFileStore = SSHKeyProofs{}

// Put implements keyproof.OnFileStore.
func (s SSHKeyProofs) Put(ctx context.Context, p keyproof.Session, e audit.Event) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO ssh_key_proofs (key_id, id, identifier, status, attempts, max_attempts, message, created, updated, expires)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (key_id) DO UPDATE SET id = excluded.id, identifier = excluded.identifier, status = excluded.status,
			attempts = excluded.attempts, max_attempts = excluded.max_attempts, message = excluded.message, created = excluded.created, updated = excluded.updated, expires = excluded.expires`,
			p.OnFile, p.ID, p.Identifier, string(p.Status), p.Attempts, p.MaxAttempts, *p.Message, Micros(p.Created), Micros(p.Updated), Micros(p.Expires))
		if err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	if ViolatesKind(err, ForeignKey) {
		return sshkey.ErrUnknown
	}
	return err
}

// sshKeyProof is a proof with its key as that is now. Whether the person must confirm is no choice here.
const sshKeyProof = `SELECT p.key_id, p.id, p.identifier, p.status, p.attempts, p.max_attempts, p.message, p.created, p.updated, p.expires,
	k.blob, k.label, COALESCE(k.user_id, ''), k.proven FROM ssh_key_proofs p JOIN ssh_keys k ON k.id = p.key_id WHERE `

func scanSSHKeyProof(scan Scan) (keyproof.State, error) {
	p := keyproof.Session{Kind: keyproof.Verify, Options: keyproof.Options{MustConfirm: true}}
	var blob []byte
	var message, label string
	var proven time.Time
	err := scan(&p.OnFile, &p.ID, &p.Identifier, (*string)(&p.Status), &p.Attempts, &p.MaxAttempts, &message, ScanTime(&p.Created), ScanTime(&p.Updated), ScanTime(&p.Expires),
		&blob, &label, &p.Owner, ScanTime(&proven))
	if err != nil {
		return keyproof.State{}, err
	}
	p.Message, p.Keys = &message, []keyproof.Key{{ID: p.OnFile, Verified: proven}}
	if label != "" {
		p.Keys[0].Name = &label
	}
	return keyproof.State{Session: p}, p.Keys[0].Public.UnmarshalBinary(blob)
}

// ByIdentifier implements keyproof.OnFileStore.
func (s SSHKeyProofs) ByIdentifier(ctx context.Context, identifier string) (keyproof.State, error) {
	var state keyproof.State
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		state, err = One(ctx, tx, scanSSHKeyProof, sshKeyProof+`p.identifier = $1`, identifier)
		return err
	})
	if Absent(err) {
		return keyproof.State{}, errNoSession
	}
	return state, err
}

// Change implements keyproof.OnFileStore. The row of the key is locked before that of its proof, as when the key is removed.
func (s SSHKeyProofs) Change(ctx context.Context, id string, decide func(keyproof.State) (keyproof.Change, error)) (keyproof.Session, error) {
	var is keyproof.Session
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := One(ctx, tx, Value[string], `SELECT k.id FROM ssh_keys k WHERE k.id = (SELECT p.key_id FROM ssh_key_proofs p WHERE p.id = $1)`+s.DB.ForUpdate(), id)
		if err != nil {
			return err
		}
		was, err := One(ctx, tx, scanSSHKeyProof, sshKeyProof+`p.id = $1`, id)
		if err != nil {
			return err
		}
		c, err := decide(was)
		if err != nil {
			return err
		}
		if is = was.Session; c.Session != nil {
			is = *c.Session
		}
		return s.apply(ctx, tx, was.Session, c)
	})
	if Absent(err) {
		return keyproof.Session{}, errNoSession
	}
	return is, err
}

func (s SSHKeyProofs) apply(ctx context.Context, tx Tx, was keyproof.Session, c keyproof.Change) error {
	if c.Session != nil {
		n, err := Exec(ctx, tx, `UPDATE ssh_key_proofs SET status = $3, attempts = $4, updated = $5 WHERE id = $1 AND status = $2`,
			was.ID, string(was.Status), string(c.Session.Status), c.Session.Attempts, Micros(c.Session.Updated))
		if err == nil && n != 1 {
			err = fmt.Errorf("proof %s is not %s any more", was.ID, was.Status)
		}
		if err != nil {
			return err
		}
	}
	if c.Proven.IsZero() {
		return insertEvents(ctx, tx, c.Events...)
	}
	_, err := tx.ExecContext(ctx, `UPDATE ssh_keys SET state = 'active', proven = $2 WHERE id = $1 AND proven IS NULL`, was.OnFile, Micros(c.Proven))
	if err != nil {
		return err
	}
	return sshKeyChanged(ctx, tx, was.OnFile, c.Events...)
}

// Purge implements keyproof.OnFileStore.
func (s SSHKeyProofs) Purge(ctx context.Context, before time.Time) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM ssh_key_proofs WHERE expires < $1`, Micros(before))
		return err
	})
}
