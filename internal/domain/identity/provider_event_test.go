package identity_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Who looks at the record learns what was changed about a provider, and whom Gatehouse believes from then on, but no secret.
func TestProviders_record_what_changed(t *testing.T) {
	t.Parallel()
	type detail = map[string]string
	for name, c := range map[string]struct {
		change func(p *identity.Provider)
		want   detail
	}{
		"the_issuer_with_its_address": {
			func(p *identity.Provider) { p.Settings.OIDC.Issuer = "https://evil.test" },
			detail{"changed": "oidc.issuer", "oidc.issuer": "https://evil.test"},
		},
		"endpoints_with_their_addresses": {func(p *identity.Provider) {
			p.Settings.OIDC.NoDiscovery, p.Settings.OIDC.TokenURL = true, "https://evil.test/token"
		}, detail{"changed": "oidc.no_discovery, oidc.token_url", "oidc.token_url": "https://evil.test/token"}},
		"an_endpoint_that_is_gone": {func(p *identity.Provider) { p.Settings.OIDC.KeysURL = "" }, detail{"changed": "oidc.keys_url"}},
		"an_address_that_may_hold_a_secret_by_its_name_alone": {func(p *identity.Provider) {
			p.Settings.OIDC.AuthURL, p.Settings.OIDC.TokenURL = "https://id.test/?key=hidden", "https://hidden@id.test/"
		}, detail{"changed": "oidc.auth_url, oidc.token_url"}},
		"a_long_address_by_its_name_alone": {func(p *identity.Provider) { p.Settings.OIDC.AuthURL = "https://id.test/" + strings.Repeat("x", 256) }, detail{"changed": "oidc.auth_url"}},
		"who_is_added_and_linked": {
			func(p *identity.Provider) { p.Settings.Link, p.Settings.JIT.Provision = identity.LinkByEmail, true },
			detail{"changed": "jit.provision, link"},
		},
		"the_secret_without_it": {func(p *identity.Provider) { p.Secret = secret.New("hidden") }, detail{"changed": "secret"}},
		"what_a_wire_keeps_by_one_name": {
			func(p *identity.Provider) { p.Settings.Extra = map[string]string{"note": "hidden"} },
			detail{"changed": "extra"},
		},
		"the_name_and_whether_people_come": {
			func(p *identity.Provider) { p.Name, p.Enabled = "Other", false },
			detail{"changed": "name, disabled", "name": "Other"},
		},
		"nothing": {func(*identity.Provider) {}, detail{"changed": "nothing"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, o := newProviders()
			p, err := s.Add(t.Context(), providing, identity.NewProvider{
				Kind: identity.OIDC, Name: "Corp", Secret: secret.New("client secret"),
				Settings: identity.ProviderSettings{OIDC: &identity.OIDCSettings{Issuer: "https://id.test", KeysURL: "https://id.test/keys"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err = s.Change(t.Context(), providing, p.ID, func(is identity.Provider) (identity.Provider, error) {
				c.change(&is) // in place: it is a copy
				return is, nil
			}); err != nil {
				t.Fatal(err)
			}
			e := o.events[len(o.events)-1]
			if e.Action != "provider.update" || !reflect.DeepEqual(e.Detail, c.want) || strings.Contains(fmt.Sprint(e), "hidden") {
				t.Errorf("%+v", e)
			}
		})
	}
}
