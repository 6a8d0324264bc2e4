package bitbucket

import (
	"maps"
	"net/http"
	"strconv"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// What is kept beside the policy and read by nothing here.
const (
	showToJSM   = "show-login-form-for-jsm"
	refreshCron = "discovery-refresh-cron"
)

var errCron = fault.New(fault.Invalid, refreshCron+" is not a valid cron expression.")

// wireSSO is a SsoConfigEntity.
type wireSSO struct {
	ShowForm  bool      `json:"show-login-form"`
	Fallback  bool      `json:"enable-authentication-fallback"`
	ShowToJSM bool      `json:"show-login-form-for-jsm"`
	Cron      string    `json:"discovery-refresh-cron,omitempty"`
	Updated   *wireTime `json:"last-updated,omitempty"`
}

func ssoOf(p policy.SSO) wireSSO {
	w := wireSSO{ShowForm: !p.HideForm, Fallback: p.Fallback, ShowToJSM: p.Extra[showToJSM] != "false", Cron: p.Extra[refreshCron]}
	if !p.Updated.IsZero() {
		at := wireTime(p.Updated)
		w.Updated = &at
	}
	return w
}

// showSSO shows how the sign-in page treats identity providers.
func (d *Dialect) showSSO(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	is, err := d.Policy.ReadSSO(r.Context(), by)
	if err != nil {
		return err
	}
	return reply(w, ssoOf(is))
}

// changeSSO changes the members that come.
func (d *Dialect) changeSSO(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	show, fallback, toJSM, cron := body.flag("show-login-form"), body.flag("enable-authentication-fallback"), body.flag(showToJSM), body.line(refreshCron, maxText)
	switch {
	case body.wrong() != nil:
		return body.wrong()
	case cron != nil && !isCron(*cron):
		return errCron
	}
	is, err := d.Policy.ChangeSSO(r.Context(), by, func(is policy.SSO) (policy.SSO, error) {
		if show != nil {
			is.HideForm = !*show
		}
		if fallback != nil {
			is.Fallback = *fallback
		}
		kept := map[string]string{}
		maps.Copy(kept, is.Extra)
		if toJSM != nil {
			kept[showToJSM] = strconv.FormatBool(*toJSM)
		}
		if cron != nil {
			kept[refreshCron] = *cron
		}
		is.Extra = kept
		return is, nil
	})
	if err != nil {
		return err
	}
	return reply(w, ssoOf(is))
}

// wireOption is one way to sign in: the form, or a provider.
type wireOption struct {
	Type string `json:"type"`
	ID   int64  `json:"id"`
	Text string `json:"buttonText,omitempty"`
	Link string `json:"loginLink,omitempty"`
}

// loginOptions tells everybody what the sign-in page offers.
func (d *Dialect) loginOptions(w http.ResponseWriter, r *http.Request) error {
	offered, err := d.Login.LoginOptions(r.Context())
	if err != nil {
		return err
	}
	var all []wireOption
	if offered.Form {
		all = append(all, wireOption{Type: "LOGIN_FORM"})
	}
	for _, p := range offered.Providers {
		if !foreign(p) {
			all = append(all, wireOption{"IDP", p.Number, label(p), "/login/sso/" + strconv.FormatInt(p.Number, 10)})
		}
	}
	return reply(w, results(all, windowOf(r)))
}
