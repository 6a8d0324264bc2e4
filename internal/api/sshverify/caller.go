package sshverify

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// keyHeader carries the API key of a project, the one credential that opens this door (rule W6).
const keyHeader = "X-Api-Key"

// authenticate finds out whose key came with the request. Two keys are none: whatever stands before
// us may have looked at the other one.
func (d *Dialect) authenticate(r *http.Request) (access.Caller, error) {
	key := ""
	if sent := r.Header.Values(keyHeader); len(sent) == 1 {
		key = sent[0]
	}
	return d.Login.Authenticate(r.Context(), login.Presented{
		Kind:    login.APIKey,
		Secret:  secret.New(key),
		Address: api.Remote(r.Context()),
		Door:    Name,
		Accepts: []login.Kind{login.APIKey},
		Request: api.RequestID(r.Context()),
	})
}

// projectOf is the project of the caller's key: the only one that it can name here.
func projectOf(by access.Caller) string { return by.Limit.ID }

// withinBudget lets a call through as long as the project has requests left, and tells how many.
func (d *Dialect) withinBudget(h api.Handler) api.Handler {
	return func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		settings, err := d.Projects.SettingsOf(r.Context(), projectOf(by))
		if err != nil {
			return err
		}
		budget, err := d.Budget.Take(r.Context(), Name+" "+projectOf(by), settings.Rate(d.RatePerHour))
		if err != nil {
			return err
		}
		tell(w.Header(), budget)
		if !budget.Allowed {
			return errBudget
		}
		return h(w, r, by)
	}
}

// tell writes what is left of the budget, where there is one, into the head of the answer.
func tell(h http.Header, s guard.State) {
	if s.Limit == 0 {
		return
	}
	h.Set("RateLimit-Limit", strconv.Itoa(s.Limit))
	h.Set("RateLimit-Remaining", strconv.Itoa(s.Remaining))
	h.Set("RateLimit-Reset", seconds(s.Reset))
	if !s.Allowed {
		h.Set("Retry-After", seconds(s.RetryAfter))
	}
}

// seconds writes a time span as headers do, rounded up.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
