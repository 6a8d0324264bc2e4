// Package page holds the offsets and limits of listings.
package page

// MaxLimit is the most items that one page holds.
const MaxLimit = 100

// Window selects a part of a listing by offset.
type Window struct {
	Offset int64 // items to skip, >= 0
	Limit  int64 // items to return, 1 to MaxLimit
}

// Of returns the window with a limit above MaxLimit capped to it.
func Of(offset, limit int64) Window {
	return Window{Offset: offset, Limit: min(limit, MaxLimit)}
}

// Page is one part of a listing together with the exact size of the whole.
type Page[T any] struct {
	Items  []T
	Total  int64
	Window Window
}

// HasMore says whether items lie behind this page.
func (p Page[T]) HasMore() bool { return p.Window.Offset+int64(len(p.Items)) < p.Total }
