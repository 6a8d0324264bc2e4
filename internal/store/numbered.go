package store

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/page"
)

// byNumber reads a page of things that have numbers: all, or those that somebody may see. Statements are made of constants and of the numbers of
// parameters; values travel as these (rule W9).
type byNumber[T any] struct {
	db       *DB
	scan     func(Scan) (T, error)
	query    string // up to its WHERE, behind which conditions go on
	count    string // the same, of how many there are
	number   string // its column
	numberOf func(T) int64
	window   page.Window

	some bool // only what lies in one of reach
	args []any
	have []string // conditions, of which one must hold
	sift []func(T) bool
}

// within is a set of ids in a column.
type within[T any] struct {
	column string
	ids    []string
	idOf   func(T) string
}

// mostIn is how many ids one statement names; a set that is larger is looked for among all things, once they are read.
const mostIn = 1024

// of bounds the page to what is in one of the sets.
func (l byNumber[T]) of(sets ...within[T]) byNumber[T] {
	l.some = true
	for _, set := range sets {
		if len(set.ids) > mostIn {
			return l.sifted(sets)
		}
		if len(set.ids) == 0 {
			continue
		}
		ids := padded(set.ids)
		l.have = append(l.have, set.column+` IN (`+places(len(l.args)+1, len(ids))+`)`)
		for _, id := range ids {
			l.args = append(l.args, id)
		}
	}
	return l
}

// padded repeats the last id until there are 2^n, so that there are few texts of statements.
func padded(ids []string) []string {
	out := slices.Clone(ids)
	for len(out)&(len(out)-1) != 0 {
		out = append(out, ids[len(ids)-1])
	}
	return out
}

func (l byNumber[T]) sifted(sets []within[T]) byNumber[T] {
	l.have, l.args = nil, nil
	for _, set := range sets {
		ids := make(map[string]bool, len(set.ids))
		for _, id := range set.ids {
			ids[id] = true
		}
		l.sift = append(l.sift, func(one T) bool { return ids[set.idOf(one)] })
	}
	return l
}

func (l byNumber[T]) read(ctx context.Context) (page.Page[T], error) {
	switch {
	case l.some && len(l.have) == 0 && len(l.sift) == 0:
		return page.Page[T]{Window: l.window}, nil
	case len(l.sift) > 0:
		return l.readSifted(ctx)
	case l.window.Keyed:
		return l.readBehind(ctx)
	}
	p := page.Page[T]{Window: l.window}
	args := append(slices.Clone(l.args), l.window.Limit, l.window.Offset)
	n := len(l.args)
	err := l.db.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
		if p.Total, err = One(ctx, tx, Value[int64], l.count+l.where(), l.args...); err != nil {
			return err
		}
		p.Items, err = All(ctx, tx, l.scan, l.query+l.where()+` ORDER BY `+l.number+` LIMIT $`+strconv.Itoa(n+1)+` OFFSET $`+strconv.Itoa(n+2), args...)
		return err
	})
	return p, err
}

func (l byNumber[T]) where() string {
	if len(l.have) == 0 {
		return `TRUE`
	}
	return `(` + strings.Join(l.have, ` OR `) + `)`
}

// after is the number behind which the page begins.
func (l byNumber[T]) after() int64 {
	n, err := strconv.ParseInt(l.window.After, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (l byNumber[T]) keyOf(one T) string { return strconv.FormatInt(l.numberOf(one), 10) }

func (l byNumber[T]) readBehind(ctx context.Context) (page.Page[T], error) {
	args := append(slices.Clone(l.args), l.after(), l.window.Limit+1)
	n := len(l.args)
	all, err := readAll(ctx, l.db, l.scan, l.query+l.where()+` AND `+l.number+` > $`+strconv.Itoa(n+1)+
		` ORDER BY `+l.number+` LIMIT $`+strconv.Itoa(n+2), args...)
	return page.Cut(all, l.window, l.keyOf), err
}

func (l byNumber[T]) readSifted(ctx context.Context) (page.Page[T], error) {
	all, err := readAll(ctx, l.db, l.scan, l.query+l.where()+` ORDER BY `+l.number)
	if err != nil {
		return page.Page[T]{}, err
	}
	all = slices.DeleteFunc(all, func(one T) bool {
		return !slices.ContainsFunc(l.sift, func(in func(T) bool) bool { return in(one) })
	})
	if l.window.Keyed {
		after := l.after()
		return page.Cut(slices.DeleteFunc(all, func(one T) bool { return l.numberOf(one) <= after }), l.window, l.keyOf), nil
	}
	p := page.Page[T]{Window: l.window, Total: int64(len(all))}
	begin := min(l.window.Offset, p.Total)
	p.Items = all[begin:min(begin+l.window.Limit, p.Total)]
	return p, nil
}
