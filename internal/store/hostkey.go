package store

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
)

// HostKeys keeps the SSH door's host keys, sealed.
type HostKeys struct{ DB *DB }

var _ sshkey.HostKeyStore = HostKeys{}

func scanHostKey(scan Scan) (sshkey.HostKey, error) {
	var k sshkey.HostKey
	err := scan(&k.Type, &k.Sealed, &k.Public, ScanTime(&k.Created))
	return k, err
}

const selectHostKeys = `SELECT type, sealed, public, created FROM ssh_host_keys ORDER BY type`

// HostKeys implements sshkey.HostKeyStore.
func (s HostKeys) HostKeys(ctx context.Context) ([]sshkey.HostKey, error) {
	var all []sshkey.HostKey
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		all, err = All(ctx, tx, scanHostKey, selectHostKeys)
		return err
	})
	return all, err
}

// InsertFirstHostKeys implements sshkey.HostKeyStore.
func (s HostKeys) InsertFirstHostKeys(ctx context.Context, keys []sshkey.HostKey, e audit.Event) ([]sshkey.HostKey, error) {
	var there []sshkey.HostKey
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		if err := tx.Lock(ctx, "host-keys"); err != nil {
			return err
		}
		if there, err = All(ctx, tx, scanHostKey, selectHostKeys); err != nil || len(there) > 0 {
			return err
		}
		for _, k := range keys {
			_, err := tx.ExecContext(ctx, `INSERT INTO ssh_host_keys (type, sealed, public, created) VALUES ($1, $2, $3, $4)`, k.Type, k.Sealed, k.Public, Micros(k.Created))
			if err != nil {
				return err
			}
		}
		there = keys
		return insertEvents(ctx, tx, e)
	})
	return there, err
}
