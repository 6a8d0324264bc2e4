package remote

import (
	"context"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// maxPlaces is how many places a person is told of at a time.
const maxPlaces = 200

// Place is somewhere that a grant takes a person now.
type Place struct {
	Host     string
	Username string // at the target
	Asks     []string
}

// Places tells where by, a user, may go by their own grants and those of their groups at this moment, by host and user name: the first 200, and whether
// there are more.
func (s *Service) Places(ctx context.Context, by access.Caller) (places []Place, more bool, err error) {
	if by.Kind != access.User || !by.Covers(access.RemoteOpen, access.Resource{Kind: access.CredentialKind}) {
		return nil, false, access.ErrNoGrant
	}
	bindings, err := s.Access.Store.BindingsOf(ctx, access.Subject{Kind: access.User, ID: by.ID})
	if err != nil {
		return nil, false, err
	}
	for _, b := range bindings {
		if b.Role != access.DeviceConnect && b.Role != access.CredentialConnect || b.Terms.Shut(s.Now()) != "" {
			continue
		}
		found, err := s.behind(ctx, b)
		if err != nil {
			return nil, false, err
		}
		for _, c := range found {
			if !c.Disabled && !c.Device.Disabled {
				places = append(places, Place{Host: c.Device.Host, Username: c.Username, Asks: asks(b.Terms)})
			}
		}
	}
	slices.SortStableFunc(places, func(a, b Place) int {
		return strings.Compare(a.Host+"\x00"+a.Username, b.Host+"\x00"+b.Username)
	})
	places = slices.CompactFunc(places, func(a, b Place) bool { return a.Host == b.Host && a.Username == b.Username })
	more = len(places) > maxPlaces
	return places[:min(len(places), maxPlaces)], more, nil
}

// behind are the credentials that a grant opens where they are registered.
func (s *Service) behind(ctx context.Context, b access.Binding) ([]vault.Credential, error) {
	switch {
	case b.Resource.ID == access.Every("").ID:
		return s.everywhere(ctx)
	case b.Resource.Kind == access.DeviceKind:
		return s.Vault.OfDevice(ctx, b.Resource.ID)
	case b.Resource.Kind == access.CredentialKind:
		c, err := s.Vault.Get(ctx, b.Resource.ID)
		if fault.Is(err, fault.NotFound) {
			return nil, nil
		}
		return []vault.Credential{c}, err
	}
	return nil, nil
}

// everywhere are the credentials of the first devices.
func (s *Service) everywhere(ctx context.Context) (all []vault.Credential, err error) {
	var devices page.Page[device.Device]
	devices, err = s.Devices.Store.List(ctx, true, nil, page.Window{Limit: maxPlaces})
	for _, d := range devices.Items {
		of, bad := s.Vault.OfDevice(ctx, d.ID)
		if bad != nil {
			return nil, bad
		}
		if all = append(all, of...); len(all) > maxPlaces {
			break
		}
	}
	return all, err
}

// asks says in words what terms ask of a person.
func asks(t access.Terms) (words []string) {
	if t.StepUp {
		words = append(words, "second factor")
	}
	if t.Reason {
		words = append(words, "reason")
	}
	if t.Approval {
		words = append(words, "approval")
	}
	return words
}
