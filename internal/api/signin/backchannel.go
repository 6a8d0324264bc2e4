package signin

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/login"
)

const (
	maxLogout = 64 << 10 // a form with one logout token
	noLogout  = `{"error":"invalid_request","error_description":"The logout token was not accepted."}` + "\n"
)

// loggedOut takes the word of an OpenID Connect provider that somebody has signed out there, as OpenID Connect Back-Channel Logout 1.0 section 2.5 says.
// The provider calls it, no browser: there is no cookie, and where it was sent from says nothing. What is wrong looks the same, whatever it is.
func (p *Pages) loggedOut(w http.ResponseWriter, r *http.Request) error {
	h := guarded(w.Header())
	token, err := logoutToken(w, r)
	if err != nil { // nothing was said, so there is nothing to look at, nor to count as a guess; the request counts as over, so nobody could
		refuseLogout(w, http.StatusBadRequest)
		return nil
	}
	number, _ := strconv.ParseInt(r.PathValue("number"), 10, 64) // what is no number is no provider's
	err = p.Login.LoggedOut(r.Context(), number, token, p.presented(r, login.LogoutToken))
	var blocked *login.Blocked
	switch {
	case err == nil:
		w.WriteHeader(http.StatusOK)
		return nil
	case errors.As(err, &blocked):
		h.Set("Retry-After", strconv.Itoa(int((blocked.RetryAfter+time.Second-1)/time.Second)))
		refuseLogout(w, http.StatusTooManyRequests)
		return nil
	case errors.Is(err, login.ErrNoLogout):
		refuseLogout(w, http.StatusBadRequest)
		return nil
	}
	return err
}

func refuseLogout(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, noLogout) // the provider has gone: nobody is left to tell
}

// logoutToken reads the one field of the form. What is no such form holds none, and is as wrong as any other. It reports what does not arrive whole, or not in time.
func logoutToken(w http.ResponseWriter, r *http.Request) (string, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return "", nil
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxLogout)
	switch err := r.ParseForm(); {
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF):
		return "", err
	case err != nil || len(r.PostForm["logout_token"]) != 1:
		return "", nil
	}
	return r.PostForm.Get("logout_token"), nil
}
