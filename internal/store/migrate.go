package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations is the forward-only list of schema changes for both databases.
func Migrations() fs.FS {
	list, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the path is a constant
	}
	return list
}

// MigrateWith applies what p has not applied yet. A nil provider has nothing to apply.
func MigrateWith(ctx context.Context, p *goose.Provider) error {
	if p == nil {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate schema: %w", err)
	}
	return nil
}

// VersionWith tells the schema's version and the newest that p knows.
func VersionWith(ctx context.Context, p *goose.Provider) (have, newest int64, err error) {
	if p == nil {
		return 0, 0, nil
	}
	have, newest, err = p.GetVersions(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("read schema version: %w", err)
	}
	return have, newest, nil
}

// ProviderOf takes what goose.NewProvider returned; an empty list of migrations gives nil.
func ProviderOf(p *goose.Provider, err error) (*goose.Provider, error) {
	if errors.Is(err, goose.ErrNoMigrations) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return p, nil
}
