package storetest_test

import (
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func TestMigrations_of_the_product_apply_to_both_databases(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		have, newest, err := db.SchemaVersion(t.Context())
		must(t, err)
		if have != newest || newest == 0 {
			t.Errorf("version %d of %d", have, newest)
		}
	})
}
