package app

import (
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// callsKept is how long the access log of authorizations goes back.
const callsKept = 90 * 24 * time.Hour

func (h *House) buildAuthorizations() {
	h.Authorizations = &identity.Authorizations{
		Store: store.Authorizations{DB: h.DB}, Now: h.Now, NewID: newID, PerMinute: 600, CallsKept: callsKept, OnError: h.failed,
	}
	h.Login.Authorizations = h.Authorizations
	h.Login.ClientFailures = &guard.Failures{Store: store.Guards{DB: h.DB}, Now: h.Now, Threshold: 9, Window: time.Minute} // the tenth failure blocks
}
