package bitbucket

import (
	"net/http"
	"strconv"
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
	if err != nil || start < 0 {
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
