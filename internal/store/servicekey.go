package store

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// ServiceKeys keeps the keys by which providers know the installation, sealed.
type ServiceKeys struct{ DB *DB }

var _ login.ServiceKeyStore = ServiceKeys{}

func scanServiceKey(scan Scan) (login.ServiceKey, error) {
	var k login.ServiceKey
	err := scan(&k.Name, &k.Sealed, &k.Certificate, ScanTime(&k.Created))
	return k, err
}

const selectServiceKey = `SELECT name, sealed, certificate, created FROM service_keys WHERE name = $1`

// ServiceKey implements login.ServiceKeyStore.
func (s ServiceKeys) ServiceKey(ctx context.Context, name string) (login.ServiceKey, error) {
	var k login.ServiceKey
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		k, err = One(ctx, tx, scanServiceKey, selectServiceKey, name)
		return err
	})
	if Absent(err) {
		return k, fault.New(fault.NotFound, "no service key of that name yet")
	}
	return k, err
}

// InsertFirstServiceKey implements login.ServiceKeyStore.
func (s ServiceKeys) InsertFirstServiceKey(ctx context.Context, k login.ServiceKey, e audit.Event) (login.ServiceKey, error) {
	var there login.ServiceKey
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		if err := tx.Lock(ctx, "service-keys"); err != nil {
			return err
		}
		if there, err = One(ctx, tx, scanServiceKey, selectServiceKey, k.Name); !Absent(err) {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO service_keys (name, sealed, certificate, created) VALUES ($1, $2, $3, $4)`, k.Name, k.Sealed, k.Certificate, Micros(k.Created))
		if err != nil {
			return err
		}
		there = k
		return insertEvents(ctx, tx, e)
	})
	return there, err
}
