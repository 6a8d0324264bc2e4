package bitbucket

import (
	"math"
	"net/http"
	"strconv"

	"github.com/gatehouse-project/gatehouse/internal/page"
)

const (
	usualLimit = 25
	unlimited  = -1 // as a limit: everything
)

// window is which part of a listing is wanted.
type window struct{ start, limit int }

// windowOf reads start and limit of a query. What makes no sense is as good as absent.
func windowOf(r *http.Request) window {
	q := r.URL.Query()
	start, err := strconv.Atoi(q.Get("start"))
	if err != nil || start < 0 || start > math.MaxInt32 {
		start = 0
	}
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit == 0 || limit < unlimited {
		limit = usualLimit
	}
	return window{start, limit}
}

// wireResults is a page of a plugin's listing.
type wireResults[T any] struct {
	Size       int  `json:"size"`
	Limit      int  `json:"limit"`
	IsLastPage bool `json:"isLastPage"`
	Results    []T  `json:"results"`
	Start      int  `json:"start"`
}

// results cuts the wanted part out of all.
func results[T any](all []T, want window) wireResults[T] {
	from := min(want.start, len(all))
	to := len(all)
	if want.limit != unlimited {
		to = from + min(want.limit, len(all)-from)
	}
	part := append([]T{}, all[from:to]...) // an empty list is none in JSON unless it is made
	return wireResults[T]{len(part), want.limit, to == len(all), part, want.start}
}

// most is how many items a page of the core holds.
const most = 1000

// corePage is a page of the core's listings.
type corePage[T any] struct {
	Size       int  `json:"size"`
	Limit      int  `json:"limit"`
	IsLastPage bool `json:"isLastPage"`
	Values     []T  `json:"values"`
	Start      int  `json:"start"`
	Next       *int `json:"nextPageStart"` // null on the last page
}

// listed is the wanted page of what list returns part by part, for pages of the core hold more than those of the house, each item as the wire shows it.
func listed[T, W any](r *http.Request, list func(page.Window) (page.Page[T], error), show func(T) (W, error)) (corePage[W], error) {
	want := windowOf(r)
	if want.limit == unlimited {
		want.limit = usualLimit
	}
	out := corePage[W]{Limit: min(want.limit, most), IsLastPage: true, Values: []W{}, Start: want.start}
	for out.Size < out.Limit {
		part, err := list(page.Of(int64(want.start+out.Size), int64(out.Limit-out.Size)))
		if err != nil {
			return out, err
		}
		for _, item := range part.Items {
			shown, err := show(item)
			if err != nil {
				return out, err
			}
			out.Values = append(out.Values, shown)
		}
		out.Size = len(out.Values)
		if out.IsLastPage = !part.HasMore(); out.IsLastPage || len(part.Items) == 0 {
			break
		}
	}
	if !out.IsLastPage {
		next := out.Start + out.Size
		out.Next = &next
	}
	return out, nil
}
