package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/gatehouse-project/gatehouse/internal/config"
)

// SchemaVersion returns the version of the schema that a configuration's database has, 0 where there is
// none yet, and the newest that this program knows. It changes nothing.
func SchemaVersion(ctx context.Context, c config.Config) (have, newest int64, err error) {
	h := &House{Config: c}
	if !c.IsPostgres() {
		if _, err := os.Stat(filepath.Join(c.Data, "gatehouse.db")); errors.Is(err, os.ErrNotExist) {
			return 0, 0, nil
		}
	}
	engine, err := h.engine(ctx, false)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	return engine.SchemaVersion(ctx)
}
