// Package page holds the offsets, keys and limits of listings.
package page

// MaxLimit is the most items that one page holds.
const MaxLimit = 100

// Window selects a part of a listing: by offset or, where it is Keyed, what comes behind an item. The latter costs the same wherever
// it lies, and does not move when items are added before it.
type Window struct {
	Offset int64 // items to skip, >= 0
	Limit  int64 // items to return, 1 to MaxLimit

	Keyed bool
	After string // Page.Next of the part before; empty is the beginning
}

// Of returns the window with a limit above MaxLimit capped to it.
func Of(offset, limit int64) Window {
	return Window{Offset: offset, Limit: min(limit, MaxLimit)}
}

// Behind returns the Keyed window of what comes behind an item, with a limit above MaxLimit capped to it.
func Behind(after string, limit int64) Window {
	return Window{Keyed: true, After: after, Limit: min(limit, MaxLimit)}
}

// Page is one part of a listing together with the exact size of the whole, which is not counted for a Keyed window.
type Page[T any] struct {
	Items  []T
	Total  int64
	Window Window
	Next   string // of a Keyed window: the key of the last item where more lie behind it
}

// HasMore says whether items lie behind this page.
func (p Page[T]) HasMore() bool {
	return p.Next != "" || !p.Window.Keyed && p.Window.Offset+int64(len(p.Items)) < p.Total
}

// Cut makes the page of a Keyed window from up to Limit+1 items that come behind After.
func Cut[T any](items []T, w Window, key func(T) string) Page[T] {
	p := Page[T]{Items: items, Window: w}
	if int64(len(items)) > w.Limit {
		p.Items = items[:w.Limit]
		p.Next = key(p.Items[w.Limit-1])
	}
	return p
}
