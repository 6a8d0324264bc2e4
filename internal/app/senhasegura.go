package app

import (
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api/senhasegura"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// callsKept is how long the access log of authorizations goes back.
const callsKept = 90 * 24 * time.Hour

func (h *House) buildAuthorizations() {
	h.Authorizations = &identity.Authorizations{
		Store: store.Authorizations{DB: h.DB}, Now: h.Now, NewID: newID, TokenLife: h.Config.Remote.TokenLife, PerMinute: 600, CallsKept: callsKept, OnError: h.failed,
	}
	h.Login.Authorizations = h.Authorizations
	h.Login.ClientFailures = &guard.Failures{Store: store.Guards{DB: h.DB}, Now: h.Now, Threshold: 9, Window: time.Minute} // the tenth failure blocks
}

// senhasegura is the dialect of remote sessions, devices and credentials.
func (s *Server) senhasegura() *senhasegura.Dialect {
	return &senhasegura.Dialect{
		Login: s.Login, Authorizations: s.Authorizations, Devices: s.Devices, Vault: s.Vault, Remote: s.Remote, Tenant: s.Config.Remote.Tenant,
		PublicURL: strings.TrimSuffix(s.Config.PublicURL.String(), "/"), Node: s.Node, Timeout: s.Config.Remote.RequestTimeout, BodyWait: bodyWait, Now: s.Now, OnError: s.failed,
	}
}
