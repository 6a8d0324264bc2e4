package bitbucket

import (
	"net/http"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

// managed tells whether an identity provider looks after the caller.
func (d *Dialect) managed(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	is, err := d.Login.Managed(r.Context(), by)
	if err != nil {
		return err
	}
	return reply(w, wireManaged{is})
}

// status tells whether the caller has set up an app, and when.
func (d *Dialect) status(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	set, err := d.Login.Factors(r.Context(), by)
	if err != nil {
		return err
	}
	method := wireMethod{Type: "TOTP", Enabled: set.TOTP != nil}
	if set.TOTP != nil {
		at := wireTime(set.TOTP.Enabled)
		method.EnabledAt = &at
	}
	return reply(w, wireStatus{Methods: []wireMethod{method}, Active: method.Enabled})
}

// wireManaged says whether an identity provider looks after somebody.
type wireManaged struct {
	IsManaged bool `json:"isManaged"`
}

// wireStatus is the state of somebody's two-step verification.
type wireStatus struct {
	Methods []wireMethod `json:"methods"`
	Active  bool         `json:"twoSVActive"`
}

// wireMethod is one way to verify; this wire knows apps alone.
type wireMethod struct {
	Type      string    `json:"type"`
	Enabled   bool      `json:"enabled"`
	EnabledAt *wireTime `json:"enabledAt,omitempty"`
}

// wireTime is a time as plugins write it.
type wireTime time.Time

// MarshalText implements encoding.TextMarshaler.
func (t wireTime) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, "2006-01-02T15:04:05.000Z"), nil
}
