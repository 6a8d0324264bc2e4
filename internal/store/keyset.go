package store

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Keysets keeps the keyset that seals everything recoverable, wrapped by the master key.
type Keysets struct{ DB *DB }

// Keyset is the wrapped keyset with the id of the master key that opens it.
type Keyset struct {
	Wrapped   []byte
	MasterKey string
	Created   time.Time
}

const keysetName = "main"

func scanKeyset(scan Scan) (Keyset, error) {
	var k Keyset
	err := scan(&k.Wrapped, &k.MasterKey, ScanTime(&k.Created))
	return k, err
}

const selectKeyset = `SELECT wrapped, master_key, created FROM keysets WHERE name = $1`

// Current returns the keyset, or fault.NotFound before the first start.
func (s Keysets) Current(ctx context.Context) (Keyset, error) {
	var k Keyset
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		k, err = One(ctx, tx, scanKeyset, selectKeyset, keysetName)
		return err
	})
	if Absent(err) {
		return k, fault.New(fault.NotFound, "no keyset yet")
	}
	return k, err
}

// InsertFirst adds k unless there is a keyset, and returns the one that is there then: nodes that
// start at the same moment agree on one.
func (s Keysets) InsertFirst(ctx context.Context, k Keyset) (Keyset, error) {
	var is Keyset
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO keysets (name, wrapped, master_key, created) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING`,
			keysetName, k.Wrapped, k.MasterKey, Micros(k.Created))
		if err != nil {
			return err
		}
		is, err = One(ctx, tx, scanKeyset, selectKeyset, keysetName)
		return err
	})
	return is, err
}
