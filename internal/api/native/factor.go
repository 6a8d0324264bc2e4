package native

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
)

// wireFactorsSum is how many second factors somebody has.
type wireFactorsSum struct {
	App           bool `json:"app" doc:"An authenticator app."`
	Devices       int  `json:"devices" doc:"Security keys."`
	RecoveryCodes int  `json:"recovery_codes" doc:"Unused ones."`
}

func sumOf(set factor.Set) wireFactorsSum {
	sum := wireFactorsSum{App: set.TOTP != nil, Devices: len(set.Devices)}
	for _, c := range set.Codes {
		if c.Used.IsZero() {
			sum.RecoveryCodes++
		}
	}
	return sum
}

// wireFactors is what somebody has enrolled.
type wireFactors struct {
	AppSince      *time.Time   `json:"app_since" nullable:"true" doc:"Since when there is an authenticator app; null where there is none."`
	Devices       []wireDevice `json:"devices" nullable:"false"`
	RecoveryCodes int          `json:"recovery_codes" doc:"Unused ones."`
}

// wireDevice is a security key.
type wireDevice struct {
	ID         string     `json:"id" format:"uuid"`
	Name       string     `json:"name"`
	Kind       string     `json:"kind" enum:"fido2,u2f"`
	Origin     string     `json:"origin" doc:"Where it was enrolled, or the AppID of an imported key."`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at" nullable:"true"`
}

func deviceOf(d factor.Device) wireDevice {
	kind := "fido2"
	if d.Kind == factor.U2F {
		kind = "u2f"
	}
	return wireDevice{ID: d.ID, Name: d.Name, Kind: kind, Origin: d.Origin, CreatedAt: d.Created.UTC(), LastUsedAt: moment(d.LastUsed)}
}

// confirmations are the members of the body that elevate a session.
func confirmations(by []login.Confirmation) []string {
	words := []string{}
	for _, c := range by {
		if c == login.ByPassword {
			words = append(words, "password")
		} else {
			words = append(words, "code")
		}
	}
	return words
}

func (a *API) showFactors(ctx context.Context, by access.Caller, _ none) (wireFactors, error) {
	set, err := a.Login.Factors(ctx, by)
	out := wireFactors{Devices: []wireDevice{}, RecoveryCodes: sumOf(set).RecoveryCodes}
	if set.TOTP != nil {
		out.AppSince = moment(set.TOTP.Enabled)
	}
	for _, d := range set.Devices {
		out.Devices = append(out.Devices, deviceOf(d))
	}
	return out, err
}

type oneDevice struct {
	Device string `path:"device" doc:"Its id."`
}

// device finds one of the caller's own security keys.
func (a *API) device(ctx context.Context, by access.Caller, id string) (factor.Device, error) {
	set, err := a.Login.Factors(ctx, by)
	if err != nil {
		return factor.Device{}, err
	}
	for _, d := range set.Devices {
		if d.ID == id {
			return d, nil
		}
	}
	return factor.Device{}, factor.ErrNoDevice
}

type renameDevice struct {
	oneDevice
	Body wireDeviceChange
}

type wireDeviceChange struct {
	Name string `json:"name" maxLength:"255" example:"blue key"`
}

func (a *API) renameDevice(ctx context.Context, by access.Caller, in renameDevice) (wireDevice, error) {
	d, err := a.device(ctx, by, in.Device)
	if err != nil {
		return wireDevice{}, err
	}
	if err := a.Login.RenameDevice(ctx, by, d.Name, in.Body.Name); err != nil {
		return wireDevice{}, err
	}
	d.Name = in.Body.Name
	return deviceOf(d), nil
}

func (a *API) removeDevice(ctx context.Context, by access.Caller, in oneDevice) (none, error) {
	d, err := a.device(ctx, by, in.Device)
	if err != nil {
		return none{}, err
	}
	return none{}, a.Login.RemoveDevice(ctx, by, by.ID, d.Name)
}

// wireCodes are recovery codes, shown this once.
type wireCodes struct {
	Codes []string `json:"codes" nullable:"false" doc:"Each finishes one sign-in. They are shown this once."`
}

func (a *API) newCodes(ctx context.Context, by access.Caller, _ none) (wireCodes, error) {
	codes, err := a.Login.RecoveryList(ctx, by)
	out := wireCodes{Codes: []string{}}
	for _, c := range codes {
		out.Codes = append(out.Codes, c.Reveal())
	}
	return out, err
}
