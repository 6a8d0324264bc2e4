package oidc_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

const (
	event     = "http://schemas.openid.net/event/backchannel-logout"
	otherKind = "http://schemas.openid.net/event/other"
)

// logoutToken makes a token as OpenID Connect Back-Channel Logout 1.0 section 2.4 wants it, with what a test changes.
func (e *evil) logoutToken(change func(map[string]any)) string {
	now := time.Now()
	said := map[string]any{
		"iss": e.URL, "aud": "gate", "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": "token-1",
		"events": map[string]any{event: map[string]any{}}, "sub": "ann-1", "sid": "session-1",
	}
	change(said)
	maps.DeleteFunc(said, func(_ string, v any) bool { return v == nil })
	head, _ := json.Marshal(e.header)
	body, _ := json.Marshal(said)
	input := encode(head) + "." + encode(body)
	return input + "." + encode(e.sign(input))
}

func asIs(map[string]any) {}

// rule F5: one lie at a time.
func TestLogout_refuses(t *testing.T) {
	t.Parallel()
	claim := func(name string, value any) func(*evil) string {
		return func(e *evil) string { return e.logoutToken(func(c map[string]any) { c[name] = value }) }
	}
	signed := func(header map[string]any, sign func(string) []byte) func(*evil) string {
		return func(e *evil) string { e.header, e.sign = header, sign; return e.logoutToken(asIs) }
	}
	typ := func(typ string) func(*evil) string {
		return func(e *evil) string { e.header["typ"] = typ; return e.logoutToken(asIs) }
	}
	keyOnce.Do(makeKeys)
	const shape, nobody, noEvent, unnamed = "the logout token is malformed, or signed by something other", "none of the provider's keys signed the logout token", "tells of no logout", "names nobody and no session"
	for name, c := range map[string]struct {
		token  func(*evil) string
		reason string
	}{
		"nothing":                    {func(*evil) string { return "" }, shape},
		"garbage":                    {func(*evil) string { return "evil.evil.evil" }, shape},
		"a giant":                    {func(e *evil) string { return e.logoutToken(asIs) + strings.Repeat("x", 64<<10) }, shape},
		"JSON serialization":         {func(e *evil) string { return asJSON(e.logoutToken(asIs)) }, shape},
		"no signature":               {func(e *evil) string { s := e.logoutToken(asIs); return s[:strings.LastIndexByte(s, '.')+1] }, nobody},
		"alg none":                   {signed(map[string]any{"alg": "none"}, func(string) []byte { return nil }), shape},
		"HS256 by the secret":        {signed(map[string]any{"alg": "HS256", "kid": "one"}, signHMAC([]byte(clientSecret))), shape},
		"RS512":                      {signed(map[string]any{"alg": "RS512", "kid": "one"}, signRSA(rsaOne)), shape},
		"another key":                {signed(map[string]any{"alg": "RS256", "kid": "one"}, signRSA(rsaTwo)), nobody},
		"an unknown key id":          {signed(map[string]any{"alg": "RS256", "kid": "evil"}, signRSA(rsaOne)), nobody},
		"an unknown critical header": {signed(map[string]any{"alg": "RS256", "kid": "one", "crit": []string{"evil"}, "evil": true}, signRSA(rsaOne)), nobody},
		"a key in the token itself": {func(e *evil) string {
			e.header["jwk"], e.sign = publicRSA("one", rsaTwo), signRSA(rsaTwo)
			return e.logoutToken(asIs)
		}, nobody},
		"the type of an access token":   {typ("at+jwt"), "says that it is something else"},
		"the type of a security event":  {typ("secevent+jwt"), "says that it is something else"},
		"an ID token":                   {func(e *evil) string { return e.made() }, "has a nonce"},
		"an ID token without a nonce":   {func(e *evil) string { e.claims = func(c map[string]any) { c["nonce"] = nil }; return e.made() }, noEvent},
		"another issuer":                {claim("iss", "https://evil.test"), "was issued by somebody else"},
		"no issuer":                     {claim("iss", nil), "was issued by somebody else"},
		"another audience":              {claim("aud", "evil"), "is for another client"},
		"no audience":                   {claim("aud", nil), "is for another client"},
		"two audiences":                 {claim("aud", []string{"gate", "evil"}), "was given to another client"},
		"expired":                       {claim("exp", time.Now().Add(-61*time.Second).Unix()), "has expired"},
		"never expires":                 {claim("exp", nil), "has expired"},
		"lasts too long":                {claim("exp", time.Now().Add(20*time.Minute).Unix()), "lasts for longer than 10 minutes"},
		"issued long ago":               {claim("iat", time.Now().Add(-9*time.Minute).Unix()), "lasts for longer than 10 minutes"},
		"issued in the future":          {claim("iat", time.Now().Add(10*time.Minute).Unix()), "was issued in the future"},
		"issued at no time":             {claim("iat", nil), "does not say when it was issued"},
		"not valid yet":                 {claim("nbf", time.Now().Add(10*time.Minute).Unix()), "is not valid yet"},
		"a nonce":                       {claim("nonce", "n"), "has a nonce"},
		"an empty nonce":                {claim("nonce", ""), "has a nonce"},
		"no id":                         {claim("jti", nil), "has no id"},
		"an empty id":                   {claim("jti", ""), "has no id"},
		"a number for an id":            {claim("jti", 7), "has no id"},
		"a long id":                     {claim("jti", strings.Repeat("x", 256)), "has no id"},
		"no events":                     {claim("events", nil), noEvent},
		"events that are a list":        {claim("events", []string{event}), noEvent},
		"events that are text":          {claim("events", event), noEvent},
		"another event":                 {claim("events", map[string]any{otherKind: map[string]any{}}), noEvent},
		"an event of another case":      {claim("events", map[string]any{strings.ToUpper(event): map[string]any{}}), noEvent},
		"an event that is null":         {claim("events", map[string]any{event: nil}), noEvent},
		"an event that is no object":    {claim("events", map[string]any{event: true}), noEvent},
		"an event that is a list":       {claim("events", map[string]any{event: []string{}}), noEvent},
		"neither subject nor session":   {func(e *evil) string { return e.logoutToken(func(c map[string]any) { c["sub"], c["sid"] = nil, nil }) }, unnamed},
		"an empty subject":              {claim("sub", ""), unnamed},
		"a subject with a line break":   {claim("sub", "ann\n1"), unnamed},
		"a session that is a number":    {claim("sid", 7), unnamed},
		"a session that is empty":       {claim("sid", ""), unnamed},
		"a session that is a list":      {claim("sid", []string{"session-1"}), unnamed},
		"a session too long to be kept": {claim("sid", strings.Repeat("x", 256)), unnamed},
		"a subject that is a number":    {claim("sub", 7), shape},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEvil(t)
			e.nonce = "n"
			ends, once, err := federation(t, "127.0.0.1").Logout(t.Context(), oidcProvider(e.URL, "gate"), c.token(e))
			refused(t, err, c.reason)
			if ends != (login.Logout{}) || once != nil {
				t.Errorf("%+v, %+v came beside the refusal", ends, once)
			}
		})
	}
}

func TestLogout_takes_what_is_right(t *testing.T) {
	t.Parallel()
	keyOnce.Do(makeKeys)
	both := login.Logout{Subject: "ann-1", Session: "session-1"}
	set := func(name string, value any) func(*evil) string {
		return func(e *evil) string { return e.logoutToken(func(c map[string]any) { c[name] = value }) }
	}
	typ := func(typ any) func(*evil) string {
		return func(e *evil) string { e.header["typ"] = typ; return e.logoutToken(asIs) }
	}
	for name, c := range map[string]struct {
		token func(*evil) string
		want  login.Logout
	}{
		"subject and session":     {func(e *evil) string { return e.logoutToken(asIs) }, both},
		"a subject alone":         {set("sid", nil), login.Logout{Subject: "ann-1"}},
		"a session alone":         {set("sub", nil), login.Logout{Session: "session-1"}},
		"its own type":            {typ("logout+jwt"), both},
		"its own type, in full":   {typ("application/LOGOUT+JWT"), both},
		"the type of any token":   {typ("JWT"), both},
		"several events":          {set("events", map[string]any{event: map[string]any{}, otherKind: map[string]any{}}), both},
		"an event that says more": {set("events", map[string]any{event: map[string]any{"reason": "went home"}}), both},
		"one audience of a list":  {set("aud", []string{"gate"}), both},
		"clocks that differ": {func(e *evil) string {
			return e.logoutToken(func(c map[string]any) {
				c["iat"], c["exp"] = time.Now().Add(50*time.Second).Unix(), time.Now().Add(-50*time.Second).Unix()
			})
		}, both},
		"no key id": {func(e *evil) string { delete(e.header, "kid"); return e.logoutToken(asIs) }, both},
		"ES256": {func(e *evil) string {
			e.keys, e.header, e.sign = append(e.keys, publicEC("ec", "P-256", elliptic256)), map[string]any{"alg": "ES256", "kid": "ec"}, signEC(elliptic256)
			return e.logoutToken(asIs)
		}, both},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEvil(t)
			token := c.token(e)
			f, p := federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate")
			ends, once, err := f.Logout(t.Context(), p, token)
			if err != nil || ends != c.want || len(once) != 1 || !strings.HasPrefix(once[0].Key, "oidc logout token corp ") || !once[0].Until.After(time.Now()) {
				t.Errorf("got %+v, %+v, %v", ends, once, err)
			}
		})
	}
	t.Run("under one key for each id, of each provider", func(t *testing.T) {
		t.Parallel()
		e := newEvil(t)
		f, p := federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate")
		other := p
		other.ID = "other"
		keys := map[string]bool{}
		for _, one := range []struct {
			p     identity.Provider
			token string
		}{{p, e.logoutToken(asIs)}, {p, set("sid", "session-2")(e)}, {p, set("jti", "token-2")(e)}, {other, e.logoutToken(asIs)}} {
			_, once, err := f.Logout(t.Context(), one.p, one.token)
			if err != nil {
				t.Fatal(err)
			}
			keys[once[0].Key] = true
		}
		if len(keys) != 3 {
			t.Errorf("%v", keys)
		}
	})
}

// Nobody who sends tokens makes us ask the provider more often, and one that cannot be asked ends nothing.
func TestLogout_asks_seldom(t *testing.T) {
	t.Parallel()
	e := newEvil(t)
	f, p := federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate")
	now := time.Now()
	var mutex sync.Mutex
	f.Now = func() time.Time { mutex.Lock(); defer mutex.Unlock(); return now }
	e.header["kid"] = "unknown"
	for range 9 {
		_, _, err := f.Logout(t.Context(), p, e.logoutToken(asIs))
		refused(t, err, "none of the provider's keys")
	}
	if e.fetched["/keys"] != 1 || e.fetched["/.well-known/openid-configuration"] != 1 {
		t.Errorf("fetched %v", e.fetched)
	}
	e.Lock() // a new key, which the provider has signed with and published since
	e.keys, e.header["kid"], e.sign = []map[string]any{publicRSA("two", rsaTwo)}, "two", signRSA(rsaTwo)
	e.Unlock()
	mutex.Lock()
	now = now.Add(61 * time.Second)
	mutex.Unlock()
	for range 3 {
		if _, _, err := f.Logout(t.Context(), p, e.logoutToken(asIs)); err != nil {
			t.Error(err)
		}
	}
	if e.fetched["/keys"] != 2 {
		t.Errorf("fetched %v", e.fetched)
	}

	down := httptest.NewServer(http.NotFoundHandler())
	address := down.URL
	down.Close()
	_, _, err := federation(t, "127.0.0.1").Logout(t.Context(), oidcProvider(address, "gate"), e.logoutToken(asIs))
	refused(t, err, "the discovery document: ")
	p.Settings.OIDC.NoDiscovery, p.Settings.OIDC.UserInfoURL = true, "https://userinfo.test"
	_, _, err = f.Logout(t.Context(), p, e.logoutToken(asIs))
	refused(t, err, "no address of keys is set")
	_, _, err = f.Logout(t.Context(), identity.Provider{Kind: identity.SAML}, e.logoutToken(asIs))
	refused(t, err, "does not speak OpenID Connect")
}

// A logout token signs nobody in, where a provider or a thief puts it in an ID token's place.
func TestArrive_takes_no_logout_token(t *testing.T) {
	t.Parallel()
	for typ, reason := range map[string]string{"logout+jwt": "says that it is something else", "JWT": "its nonce differs"} {
		e := newEvil(t)
		e.header["typ"] = typ
		e.idToken = func(string) string {
			return e.logoutToken(func(c map[string]any) {
				if typ == "logout+jwt" {
					c["nonce"] = e.nonce
				}
			})
		}
		_, err := e.arrive(t, federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate"))
		refused(t, err, reason)
	}
}

func TestArrive_says_what_is_provisioned(t *testing.T) {
	t.Parallel()
	ann := identity.Visitor{Subject: "ann-1", Name: "ann", Email: "ann@example.test", EmailVerified: true}
	with := func(change func(*identity.Visitor)) identity.Visitor { v := ann; change(&v); return v }
	groups := func(names ...string) identity.Visitor {
		return with(func(v *identity.Visitor) { v.Groups, v.GroupsSaid = names, true })
	}
	claim := func(name string, value any) func(*evil) {
		return func(e *evil) { e.claims = func(c map[string]any) { c[name] = value } }
	}
	inGroups := identity.JIT{Provision: true, Groups: "roles"}
	for name, c := range map[string]struct {
		set  func(*evil)
		jit  identity.JIT
		want identity.Visitor
	}{
		"groups":                            {claim("roles", []string{"b", "a", "b"}), inGroups, groups("b", "a", "b")},
		"one group as text":                 {claim("roles", "a"), inGroups, groups("a")},
		"groups that are no names":          {claim("roles", []any{"a", 7, map[string]any{"name": "x"}, "", " ", "x\ny", nil, []string{"x"}, strings.Repeat("x", 1025), "ä b"}), inGroups, groups("a", "ä b")},
		"groups that are an object":         {claim("roles", map[string]any{"a": true}), inGroups, groups()},
		"no groups":                         {claim("roles", []string{}), inGroups, groups()},
		"groups that are null":              {claim("roles", nil), inGroups, ann},
		"no claim for groups":               {func(*evil) {}, inGroups, ann},
		"groups by their exact name":        {claim("Roles", []string{"a"}), inGroups, ann},
		"groups that nobody asks for":       {claim("roles", []string{"a"}), identity.JIT{Provision: true}, ann},
		"groups of people who are not kept": {claim("roles", []string{"a"}), identity.JIT{Groups: "roles"}, ann},
		"groups from userinfo":              {func(e *evil) { e.userinfo = map[string]any{"sub": "ann-1", "roles": []string{"a"}} }, inGroups, groups("a")},
		"the token's groups before userinfo's": {func(e *evil) {
			claim("roles", []string{"a"})(e)
			e.userinfo = map[string]any{"sub": "ann-1", "roles": []string{"root"}}
		}, inGroups, groups("a")},
		"groups that have to be asked elsewhere": {func(e *evil) {
			e.claims = func(c map[string]any) {
				c["_claim_names"], c["_claim_sources"] = map[string]any{"roles": "src1"}, map[string]any{"src1": map[string]any{"endpoint": "https://graph.example.test"}}
			}
		}, inGroups, with(func(v *identity.Visitor) {
			v.Unmapped = "the groups: the provider names another place to ask for the claim roles, which is not asked"
		})},
		"an expression without a value": {func(*evil) {}, identity.JIT{Provision: true, Display: "${given_name} ${family_name}"}, with(func(v *identity.Visitor) {
			v.Unmapped = "the display name: there is no value for ${given_name}"
		})},
		"an address without a value": {func(*evil) {}, identity.JIT{Provision: true, Email: "${upn}"}, with(func(v *identity.Visitor) {
			v.Email, v.EmailVerified, v.Unmapped = "", false, "the e-mail address: there is no value for ${upn}"
		})},
		"an address that is not verified": {claim("email_verified", false), identity.JIT{Provision: true, Email: "${email}"}, with(func(v *identity.Visitor) {
			v.Email, v.EmailVerified, v.Unmapped = "", false, "the e-mail address: the provider says that the e-mail address is not verified"
		})},
		"expressions of people who are not kept": {func(*evil) {}, identity.JIT{Display: "${given_name}"}, ann},
		"the provider's session":                 {claim("sid", "session-1"), identity.JIT{}, with(func(v *identity.Visitor) { v.Session = "session-1" })},
		"a session that is no text":              {claim("sid", 7), identity.JIT{}, ann},
		"a session of which userinfo alone tells": {func(e *evil) {
			e.claims, e.userinfo = dropEmail, map[string]any{"sub": "ann-1", "sid": "session-1", "email": "ann@example.test", "email_verified": true}
		}, identity.JIT{}, ann},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEvil(t)
			c.set(e)
			p := oidcProvider(e.URL, "gate")
			p.Settings.JIT = c.jit
			v, err := e.arrive(t, federation(t, "127.0.0.1"), p)
			if err != nil || !reflect.DeepEqual(v, c.want) {
				t.Errorf("got %+v, %v, want %+v", v, err, c.want)
			}
		})
	}
}

func TestDepart_asks_what_provisioning_needs(t *testing.T) {
	t.Parallel()
	e := newEvil(t)
	f, p := federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate")
	p.Settings.OIDC.Scopes, p.Settings.JIT = []string{"offline"}, identity.JIT{Scopes: []string{"groups", "email"}}
	for _, c := range []struct {
		provision bool
		scope     string
	}{{false, "openid email profile offline"}, {true, "openid email profile offline groups"}} {
		p.Settings.JIT.Provision = c.provision
		d, err := f.Depart(t.Context(), p, &login.Flow{})
		if err != nil {
			t.Fatal(err)
		}
		if u, err := url.Parse(d.URL); err != nil || u.Query().Get("scope") != c.scope {
			t.Errorf("asks for %q, want %q", d.URL, c.scope)
		}
	}
	p.Settings.JIT.Scopes = []string{"two words"}
	if f.Check(p) == nil {
		t.Error("a scope of two words is taken")
	}
}

// A certified provider signs somebody out: its token names the session that its ID token named.
func TestLogout_at_a_real_provider(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 9)
	door := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heard <- r.PostFormValue("logout_token") }))
	t.Cleanup(door.Close)
	real := peers.OIDC(t, peers.OIDCOptions{
		Clients: []peers.OIDCClient{{ID: "rs", Secret: clientSecret, Logout: door.URL + "/oauth/logout/1"}}, Redirects: []string{redirect},
	})
	f, p := federation(t, "127.0.0.1"), oidcProvider(real.Issuer, "rs")
	flow, d := depart(t, f, p)
	v, _, err := f.Arrive(t.Context(), p, &flow, back(real.SignIn(t, d.URL, redirect, "ann")))
	if err != nil || v.Session == "" {
		t.Fatalf("%+v, %v", v, err)
	}
	real.SignOut(t, "ann")
	select {
	case token := <-heard:
		ends, once, err := f.Logout(t.Context(), p, token)
		if err != nil || ends != (login.Logout{Subject: v.Subject, Session: v.Session}) || len(once) != 1 {
			t.Errorf("%+v, %+v, %v; the session is %q", ends, once, err, v.Session)
		}
		other := p
		settings := *p.Settings.OIDC
		settings.ClientID, other.ID, other.Settings.OIDC = "public", "other", &settings
		_, _, err = f.Logout(t.Context(), other, token)
		refused(t, err, "is for another client")
	case <-time.After(10 * time.Second):
		t.Fatal("the provider told nobody")
	}
}
