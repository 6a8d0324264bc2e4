package ldap

import (
	"context"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Test tries the settings, the connection, TLS, the service account, the base of the search, and a search. It stops at the first step that fails.
func (d Directory) Test(ctx context.Context, p identity.Provider) []login.Step {
	var t trial
	s, err := settle(p, d.Roots)
	if !t.step("settings", err, "they fit together", describe(err)) {
		return t.steps
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	raw, err := d.reach(ctx, s)
	if !t.step("connect", err, "the directory answers at its address", "look at host and port, and at firewalls on the way") {
		return t.steps
	}
	c, err := s.secure(ctx, raw)
	if !t.step("tls", err, "the certificate is good", "give the authority that signed the directory's certificate as ca, and the name in it as server_name; with ldap:// the directory must offer StartTLS") {
		return t.steps
	}
	defer c.close()
	if !s.serves() {
		t.step("bind", nil, "there is no service account: people can sign in, and nobody is looked for afterwards", "")
		return t.steps
	}
	if err := c.bind("bind the service account", s.BindDN, s.password); !t.step("bind", err, "the service account is let in", "look at bind_dn and its password") {
		return t.steps
	}
	if !t.step("base", s.seesBase(c), "the service account sees the base of the search", "look at base_dn, and let the service account read it") {
		return t.steps
	}
	t.step("search", s.trySearch(c), "a search is answered", "let the service account search below base_dn")
	return t.steps
}

// trySearch searches as a sign-in does. Whether somebody is found does not matter.
func (s settled) trySearch(c *connection) error {
	filter := equality(s.Subject, "nobody")
	if s.Resolve == bySearch {
		filter = presented{"nobody", "nobody"}.fill(s.Filter, goldap.EscapeFilter)
	}
	_, err := c.find(s.BaseDN, goldap.ScopeWholeSubtree, both(filter, s.Active), noAttributes)
	return err
}

// trial collects steps.
type trial struct{ steps []login.Step }

// step notes how a step went and says whether to go on. advice is what to do where it failed.
func (t *trial) step(name string, err error, well, advice string) bool {
	s := login.Step{Name: name, OK: err == nil, Note: well}
	if err != nil {
		s.Note = fault.Text(err)
		if r, ok := err.(refusal); ok { //nolint:errorlint // refusals are made here and never wrapped
			s.Note = r.Error()
		}
		s.Note += ": " + advice
	}
	t.steps = append(t.steps, s)
	return s.OK
}

// describe lists what is wrong with settings.
func describe(err error) string {
	text := ""
	for _, f := range fault.FieldsOf(err) {
		if text != "" {
			text += "; "
		}
		text += f.Path + " " + f.Message
	}
	return text
}
