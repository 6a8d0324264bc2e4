package api

import "net/http"

// WarningHeader carries what administrators tell callers about the way they signed in.
const WarningHeader = "X-Gatehouse-Warning"

// Warn adds a warning to the answer, whatever it will be; an empty text is none.
func Warn(w http.ResponseWriter, text string) {
	if text != "" {
		w.Header().Set(WarningHeader, text)
	}
}
