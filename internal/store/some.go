package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/page"
)

// readSome reads a page, by number, of things that somebody may see: all, or those that are public or among ids. like is asked of each: names are
// compared here and not in SQL, because databases fold differently. table is the prefix of its columns.
func readSome[T any](
	ctx context.Context, db *DB, scan func(Scan) (T, error), query string, args []any, table string, all bool, ids []string, w page.Window, like func(T) bool,
) (page.Page[T], error) {
	if !all {
		query += ` AND (` + table + `public`
		if len(ids) > 0 {
			query += ` OR ` + table + `id IN (` + placeholders(len(args)+1, len(ids)) + `)`
		}
		query += `)`
		for _, id := range ids {
			args = append(args, id)
		}
	}
	found, err := readAll(ctx, db, scan, query+` ORDER BY `+table+`number`, args...)
	if err != nil {
		return page.Page[T]{}, err
	}
	p := page.Page[T]{Window: w}
	for _, one := range found {
		if !like(one) {
			continue
		}
		if p.Total >= w.Offset && int64(len(p.Items)) < w.Limit {
			p.Items = append(p.Items, one)
		}
		p.Total++
	}
	return p, nil
}

// placeholders are n of them, from $first on.
func placeholders(first, n int) string {
	marks := make([]string, n)
	for i := range marks {
		marks[i] = fmt.Sprintf("$%d", first+i)
	}
	return strings.Join(marks, ", ")
}
