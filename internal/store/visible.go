package store

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/page"
)

// visible is a listing, by number, of the things that somebody may see: all, or those that are public or among ids.
type visible[T any] struct {
	scan  func(Scan) (T, error)
	query string // everything up to its WHERE, which goes on here
	args  []any  // of query
	table string // what its columns are called by, with the dot
	all   bool
	ids   []string
	like  func(T) bool // where set, which of them are listed: names are compared here and not in SQL, because databases fold differently
}

// page reads all of them, and keeps those in the window.
func (v visible[T]) page(ctx context.Context, db *DB, w page.Window) (page.Page[T], error) {
	query, args := v.query, v.args
	if !v.all {
		query += ` AND (` + v.table + `public`
		if len(v.ids) > 0 {
			query += ` OR ` + v.table + `id IN (` + places(len(args)+1, len(v.ids)) + `)`
		}
		query += `)`
		for _, id := range v.ids {
			args = append(args, id)
		}
	}
	found, err := readAll(ctx, db, v.scan, query+` ORDER BY `+v.table+`number`, args...)
	if err != nil {
		return page.Page[T]{}, err
	}
	p := page.Page[T]{Window: w}
	for _, one := range found {
		if v.like != nil && !v.like(one) {
			continue
		}
		if p.Total >= w.Offset && int64(len(p.Items)) < w.Limit {
			p.Items = append(p.Items, one)
		}
		p.Total++
	}
	return p, nil
}
