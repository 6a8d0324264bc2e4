package app

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/gatehouse-project/gatehouse/internal/config"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// AuditSource is the audit log of a database, opened to be read: by a verifier, or to export its head.
type AuditSource struct {
	audit.Source
	Keys []ed25519.PublicKey // signing keys that the database itself names, oldest first

	db *store.DB
}

// Close gives the database back.
func (s *AuditSource) Close() error { return s.db.Close() }

// OpenAuditSource opens the audit log of a database without any key: what is verified may be a copy on a
// machine that must not have the master key. Nothing is written.
func OpenAuditSource(ctx context.Context, c config.Config) (_ *AuditSource, err error) {
	h := &House{Config: c}
	engine, err := h.engine(ctx, false)
	if err != nil {
		return nil, err
	}
	s := &AuditSource{db: &store.DB{Engine: engine}}
	s.Source = store.Audit{DB: s.db}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	have, newest, err := engine.SchemaVersion(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read schema version: %w", err)
	case have == 0:
		return nil, errors.New("the database is empty; name the data directory of a server that has run")
	case notNewer(have, newest) != nil:
		return nil, notNewer(have, newest)
	}
	keys, err := store.Audit{DB: s.db}.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	for _, k := range keys {
		s.Keys = append(s.Keys, k.Public)
	}
	return s, nil
}
