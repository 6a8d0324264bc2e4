package oidc_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/idp/oidc"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// evil is a provider that lies where a test tells it to. It is honest otherwise.
type evil struct {
	*httptest.Server
	sync.Mutex
	document func(map[string]any)                             // changes the discovery document
	claims   func(map[string]any)                             // changes the ID token's claims
	header   map[string]any                                   // of the ID token
	sign     func(input string) []byte                        // instead of RS256 by the first key
	keys     []map[string]any                                 // published
	token    func(w http.ResponseWriter, honest func(string)) // instead of the token endpoint
	userinfo map[string]any
	idToken  func(string) string // changes the finished token
	nonce    string
	fetched  map[string]int
	form     map[string]string
}

var (
	keyOnce        sync.Once
	rsaOne, rsaTwo *rsa.PrivateKey
	elliptic256    *ecdsa.PrivateKey
	elliptic384    *ecdsa.PrivateKey
	shortRSA       *rsa.PrivateKey
	makeKeys       = func() {
		rsaOne, rsaTwo = newRSA(2048), newRSA(2048)
		shortRSA = newRSA(1024)
		elliptic256, elliptic384 = newEC(elliptic.P256()), newEC(elliptic.P384())
	}
	encode          = base64.RawURLEncoding.EncodeToString
	accessTokenText = "evil-access-token"
)

func newRSA(bits int) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

func newEC(c elliptic.Curve) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

func publicRSA(id string, k *rsa.PrivateKey) map[string]any {
	return map[string]any{"kty": "RSA", "kid": id, "use": "sig", "n": encode(k.N.Bytes()), "e": encode(big.NewInt(int64(k.E)).Bytes())}
}

func publicEC(id, curve string, k *ecdsa.PrivateKey) map[string]any {
	size := (k.Curve.Params().BitSize + 7) / 8
	return map[string]any{"kty": "EC", "kid": id, "crv": curve, "x": encode(k.X.FillBytes(make([]byte, size))), "y": encode(k.Y.FillBytes(make([]byte, size)))}
}

func signRSA(k *rsa.PrivateKey) func(string) []byte {
	return func(input string) []byte {
		sum := sha256.Sum256([]byte(input))
		signature, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return signature
	}
}

func signEC(k *ecdsa.PrivateKey) func(string) []byte {
	return func(input string) []byte {
		sum := sha256.Sum256([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			panic(err)
		}
		size := (k.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	}
}

func signHMAC(key []byte) func(string) []byte {
	return func(input string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
}

func newEvil(t *testing.T) *evil {
	t.Helper()
	keyOnce.Do(makeKeys)
	e := &evil{header: map[string]any{"alg": "RS256", "kid": "one"}, keys: []map[string]any{publicRSA("one", rsaOne)}, sign: signRSA(rsaOne), fetched: map[string]int{}, form: map[string]string{}}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *evil) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.Lock()
	defer e.Unlock()
	e.fetched[r.URL.Path]++
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		doc := map[string]any{"issuer": e.URL, "authorization_endpoint": e.URL + "/auth?tenant=7", "token_endpoint": e.URL + "/token", "jwks_uri": e.URL + "/keys"}
		if e.userinfo != nil {
			doc["userinfo_endpoint"] = e.URL + "/userinfo"
		}
		if e.document != nil {
			e.document(doc)
		}
		_ = json.NewEncoder(w).Encode(doc)
	case "/keys":
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": e.keys})
	case "/userinfo":
		if r.Header.Get("Authorization") != "Bearer "+accessTokenText {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_ = json.NewEncoder(w).Encode(e.userinfo)
	case "/token":
		for _, name := range []string{"code_verifier", "client_secret", "grant_type", "redirect_uri"} {
			e.form[name] = r.PostFormValue(name)
		}
		honest := func(idToken string) {
			_ = json.NewEncoder(w).Encode(map[string]any{"access_token": accessTokenText, "token_type": "Bearer", "id_token": idToken})
		}
		if e.token != nil {
			e.token(w, honest)
			return
		}
		honest(e.made())
	}
}

// made makes an ID token.
func (e *evil) made() string {
	now := time.Now()
	claims := map[string]any{
		"iss": e.URL, "sub": "ann-1", "aud": "gate", "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix(), "nonce": e.nonce,
		"preferred_username": "ann", "email": "ann@example.test", "email_verified": true,
	}
	if e.claims != nil {
		e.claims(claims)
	}
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	head, _ := json.Marshal(e.header)
	body, _ := json.Marshal(claims)
	input := encode(head) + "." + encode(body)
	token := input + "." + encode(e.sign(input))
	if e.idToken != nil {
		token = e.idToken(token)
	}
	return token
}

// arrive signs in with a code that the provider gave.
func (e *evil) arrive(t *testing.T, f *oidc.Federation, p identity.Provider) (identity.Visitor, error) {
	t.Helper()
	flow, _ := depart(t, f, p)
	e.Lock()
	e.nonce = flow.Nonce.Reveal()
	e.Unlock()
	v, _, err := f.Arrive(t.Context(), p, &flow, login.Return{Code: secret.Token(32), State: flow.State.Reveal()})
	return v, err
}

// rule F5: one lie at a time.
func TestArrive_refuses_what_is_not_signed_for_us(t *testing.T) {
	t.Parallel()
	claim := func(name string, value any) func(*evil) {
		return func(e *evil) { e.claims = func(c map[string]any) { c[name] = value } }
	}
	signed := func(alg, kid string, sign func(string) []byte) func(*evil) {
		return func(e *evil) { e.header, e.sign = map[string]any{"alg": alg, "kid": kid}, sign }
	}
	keyOnce.Do(makeKeys)
	der, err := x509.MarshalPKIXPublicKey(rsaOne.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	const shape, nobody = "malformed, or signed by something other", "none of the provider's keys signed"
	for name, c := range map[string]struct {
		lie    func(*evil)
		reason string
	}{
		"wrong nonce":               {claim("nonce", "evil"), "its nonce differs"},
		"no nonce":                  {claim("nonce", nil), "its nonce differs"},
		"wrong issuer":              {claim("iss", "https://evil.test"), "was issued by somebody else"},
		"no issuer":                 {claim("iss", nil), "was issued by somebody else"},
		"wrong audience":            {claim("aud", "evil"), "is for another client"},
		"no audience":               {claim("aud", nil), "is for another client"},
		"two audiences, no azp":     {claim("aud", []string{"gate", "evil"}), "was given to another client"},
		"another azp":               {claim("azp", "evil"), "was given to another client"},
		"azp is no text":            {claim("azp", []string{"gate"}), "was given to another client"},
		"expired":                   {claim("exp", time.Now().Add(-61*time.Second).Unix()), "has expired"},
		"never expires":             {claim("exp", nil), "has expired"},
		"issued in the future":      {claim("iat", time.Now().Add(10*time.Minute).Unix()), "was issued in the future"},
		"issued at no time":         {claim("iat", nil), "does not say when it was issued"},
		"not valid yet":             {claim("nbf", time.Now().Add(10*time.Minute).Unix()), "is not valid yet"},
		"another access token":      {claim("at_hash", encode(make([]byte, 16))), "belongs to another access token"},
		"no subject":                {claim("sub", nil), "names nobody"},
		"a long subject":            {claim("sub", strings.Repeat("x", 256)), "names nobody"},
		"a subject with a zero":     {claim("sub", "ann\x00"), "names nobody"},
		"a subject with a space":    {claim("sub", " ann"), "names nobody"},
		"a number as subject":       {claim("sub", 7), shape},
		"alg none":                  {signed("none", "one", func(string) []byte { return nil }), shape},
		"alg NONE":                  {signed("NONE", "one", func(string) []byte { return nil }), shape},
		"HS256 by the secret":       {signed("HS256", "one", signHMAC([]byte(clientSecret))), shape},
		"HS256 by the public key":   {signed("HS256", "one", signHMAC(publicPEM)), shape},
		"RS512":                     {signed("RS512", "one", signRSA(rsaOne)), shape},
		"RS256 called PS256":        {signed("PS256", "one", signRSA(rsaOne)), nobody},
		"RS256 called ES256":        {signed("ES256", "one", signRSA(rsaOne)), nobody},
		"another key":               {signed("RS256", "one", signRSA(rsaTwo)), nobody},
		"unknown key id":            {signed("RS256", "evil", signRSA(rsaOne)), nobody},
		"no key id, another key":    {signed("RS256", "", signRSA(rsaTwo)), nobody},
		"no signature":              {func(e *evil) { e.idToken = func(s string) string { return s[:strings.LastIndexByte(s, '.')+1] } }, nobody},
		"changed after signing":     {func(e *evil) { e.idToken = func(s string) string { return strings.Replace(s, ".ey", ".eyA", 1) } }, nobody},
		"garbage":                   {func(e *evil) { e.idToken = func(string) string { return "evil" } }, shape},
		"three dots of garbage":     {func(e *evil) { e.idToken = func(string) string { return "evil.evil.evil" } }, shape},
		"JSON serialization":        {func(e *evil) { e.idToken = asJSON }, shape},
		"unknown critical header":   {func(e *evil) { e.header["crit"], e.header["evil"] = []string{"evil"}, true }, nobody},
		"a key in the token itself": {func(e *evil) { e.header["jwk"], e.sign = publicRSA("one", rsaTwo), signRSA(rsaTwo) }, nobody},
		"a P-384 key": {func(e *evil) {
			e.keys, e.header, e.sign = append(e.keys, publicEC("big", "P-384", elliptic384)), map[string]any{"alg": "ES256", "kid": "big"}, signEC(elliptic384)
		}, nobody},
		"a short key":           {func(e *evil) { e.keys, e.sign = []map[string]any{publicRSA("one", shortRSA)}, signRSA(shortRSA) }, "publishes no key that may sign"},
		"a key for encryption":  {func(e *evil) { e.keys[0]["use"] = "enc" }, "publishes no key that may sign"},
		"a key for another alg": {func(e *evil) { e.keys[0]["alg"] = "PS256" }, nobody},
		"a shared key": {func(e *evil) {
			e.keys = []map[string]any{{"kty": "oct", "kid": "one", "k": encode([]byte(clientSecret))}}
		}, "publishes no key that may sign"},
		"nothing": {func(e *evil) { e.idToken = func(string) string { return "" } }, "there is no userinfo endpoint"},
		"somebody else's userinfo": {func(e *evil) {
			e.claims, e.userinfo = dropEmail, map[string]any{"sub": "evil", "email": "root@example.test"}
		}, "userinfo speaks of somebody else"},
		"userinfo of nobody":       {func(e *evil) { e.claims, e.userinfo = dropEmail, map[string]any{"email": "root@example.test"} }, "userinfo speaks of somebody else"},
		"no name":                  {claim("preferred_username", nil), "there is no value for ${preferred_username}"},
		"a name with a line break": {claim("preferred_username", "a\nb"), "there is no value for ${preferred_username}"},
		"a name too long":          {claim("preferred_username", strings.Repeat("x", 1025)), "there is no value for ${preferred_username}"},
		"a name that is an object": {claim("preferred_username", map[string]any{"evil": 1}), "there is no value for ${preferred_username}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEvil(t)
			c.lie(e)
			v, err := e.arrive(t, federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate"))
			refused(t, err, c.reason)
			if !reflect.DeepEqual(v, identity.Visitor{}) {
				t.Errorf("a visitor came beside the refusal: %+v", v)
			}
		})
	}
}

func dropEmail(c map[string]any) { delete(c, "email") }

func asJSON(compact string) string {
	parts := strings.Split(compact, ".")
	text, _ := json.Marshal(map[string]string{"protected": parts[0], "payload": parts[1], "signature": parts[2]})
	return string(text)
}

func TestArrive_takes_what_is_right(t *testing.T) {
	t.Parallel()
	keyOnce.Do(makeKeys)
	sum := sha256.Sum256([]byte(accessTokenText))
	ann := identity.Visitor{Subject: "ann-1", Name: "ann", Email: "ann@example.test", EmailVerified: true}
	with := func(change func(*identity.Visitor)) identity.Visitor { v := ann; change(&v); return v }
	for name, c := range map[string]struct {
		set  func(*evil)
		want identity.Visitor
	}{
		"an honest token": {func(*evil) {}, ann},
		"azp and two audiences": {func(e *evil) {
			e.claims = func(c map[string]any) { c["aud"], c["azp"] = []string{"other", "gate"}, "gate" }
		}, ann},
		"at_hash": {func(e *evil) { e.claims = func(c map[string]any) { c["at_hash"] = encode(sum[:16]) } }, ann},
		"clocks that differ": {func(e *evil) {
			e.claims = func(c map[string]any) {
				c["iat"], c["exp"] = time.Now().Add(50*time.Second).Unix(), time.Now().Add(-50*time.Second).Unix()
			}
		}, ann},
		"no key id": {func(e *evil) { delete(e.header, "kid") }, ann},
		"the second of two keys": {func(e *evil) {
			e.keys, e.header["kid"], e.sign = append(e.keys, publicRSA("two", rsaTwo)), "two", signRSA(rsaTwo)
		}, ann},
		"two keys, no id": {func(e *evil) {
			e.keys, e.sign = append(e.keys, publicRSA("two", rsaTwo)), signRSA(rsaTwo)
			delete(e.header, "kid")
		}, ann},
		"ES256": {func(e *evil) {
			e.keys, e.header, e.sign = append(e.keys, publicEC("ec", "P-256", elliptic256)), map[string]any{"alg": "ES256", "kid": "ec"}, signEC(elliptic256)
		}, ann},
		"keys of unknown kinds": {func(e *evil) {
			e.keys = append([]map[string]any{{"kty": "OKP", "crv": "X448", "x": "AA"}, {"kty": "RSA"}, {"kid": 7}}, e.keys...)
		}, ann},
		"email_verified as text":  {func(e *evil) { e.claims = func(c map[string]any) { c["email_verified"] = "true" } }, ann},
		"email_verified false":    {func(e *evil) { e.claims = func(c map[string]any) { c["email_verified"] = false } }, with(func(v *identity.Visitor) { v.Email, v.EmailVerified = "", false })},
		"email_verified as no":    {func(e *evil) { e.claims = func(c map[string]any) { c["email_verified"] = "no" } }, with(func(v *identity.Visitor) { v.Email, v.EmailVerified = "", false })},
		"email_verified left out": {func(e *evil) { e.claims = func(c map[string]any) { c["email_verified"] = nil } }, with(func(v *identity.Visitor) { v.EmailVerified = false })},
		"an address and its flag come from one place": {func(e *evil) {
			e.claims = func(c map[string]any) { delete(c, "email_verified"); delete(c, "preferred_username") }
			e.userinfo = map[string]any{"sub": "ann-1", "email": "other@example.test", "email_verified": true, "preferred_username": "ann"}
		}, with(func(v *identity.Visitor) { v.EmailVerified = false })},
		"a flag alone says nothing of userinfo's address": {func(e *evil) {
			e.claims, e.userinfo = dropEmail, map[string]any{"sub": "ann-1", "email": "ann@example.test"}
		}, with(func(v *identity.Visitor) { v.EmailVerified = false })},
		"claims by their exact names": {func(e *evil) {
			e.claims = func(c map[string]any) {
				c["EMAIL"], c["Sub"], c["Preferred_Username"] = "root@example.test", "ann-1", "root"
			}
		}, ann},
		"the first of several names": {func(e *evil) { e.claims = func(c map[string]any) { c["preferred_username"] = []string{"ann", "root"} } }, ann},
		"userinfo alone": {func(e *evil) {
			e.idToken = func(string) string { return "" }
			e.userinfo = map[string]any{"sub": "ann-1", "email": "ann@example.test", "email_verified": true, "preferred_username": "ann"}
		}, ann},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEvil(t)
			c.set(e)
			v, err := e.arrive(t, federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate"))
			if err != nil || !reflect.DeepEqual(v, c.want) {
				t.Errorf("got %+v, %v, want %+v", v, err, c.want)
			}
			if len(e.form["code_verifier"]) < 43 || e.form["redirect_uri"] != redirect || e.form["grant_type"] != "authorization_code" {
				t.Errorf("the token endpoint was sent %v", e.form)
			}
		})
	}
}

// What a discovery document says is believed only of the issuer that was typed, and its addresses only over https.
func TestDepart_refuses_documents(t *testing.T) {
	t.Parallel()
	set := func(name string, value any) func(map[string]any) { return func(d map[string]any) { d[name] = value } }
	for name, c := range map[string]struct {
		document func(map[string]any)
		reason   string
	}{
		"of another issuer":                 {set("issuer", "https://evil.test"), "issuer is not the one that is set"},
		"without an issuer":                 {set("issuer", nil), "issuer is not the one that is set"},
		"with a slash too many":             {func(d map[string]any) { d["issuer"] = d["issuer"].(string) + "/" }, "by a slash at the end"},
		"without keys":                      {set("jwks_uri", ""), "keys' address is missing"},
		"without a token endpoint":          {set("token_endpoint", nil), "token endpoint is missing"},
		"with plain http elsewhere":         {set("token_endpoint", "http://evil.test/token"), "token endpoint must be an https URL"},
		"with a script":                     {set("authorization_endpoint", "javascript:evil()"), "authorization endpoint is no URL"},
		"with a file":                       {set("jwks_uri", "file:///etc/passwd"), "keys' address is no URL"},
		"with a user":                       {set("userinfo_endpoint", "https://evil@evil.test/"), "userinfo endpoint must hold neither a user"},
		"with a host that only begins well": {set("token_endpoint", "http://localhost.evil.test/"), "token endpoint must be an https URL"},
		"with numbers":                      {set("issuer", 7), "is not the JSON that it should be"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEvil(t)
			e.document = c.document
			f, p := federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate")
			_, err := f.Depart(t.Context(), p, &login.Flow{})
			refused(t, err, c.reason)
			if steps := f.Test(t.Context(), p); steps[len(steps)-1].OK || !strings.Contains(steps[len(steps)-1].Note, c.reason) {
				t.Errorf("the test call says %+v", steps)
			}
		})
	}
	// rule W8: a document may point inward, and is not followed there.
	for _, inner := range []string{"https://10.0.0.1/token", "https://169.254.169.254/", "https://[::1]/"} {
		e := newEvil(t)
		e.document = set("token_endpoint", inner)
		_, err := e.arrive(t, federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate"))
		refused(t, err, "the token endpoint: target address is not allowed")
		e = newEvil(t)
		e.document = set("jwks_uri", inner)
		_, err = e.arrive(t, federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate"))
		refused(t, err, "the provider's keys: target address is not allowed")
	}
}

func TestArrive_survives_bad_servers(t *testing.T) {
	t.Parallel()
	var second atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { second.Store(true) }))
	t.Cleanup(elsewhere.Close)
	giant := strings.Repeat("evil ", 1<<19)
	for name, c := range map[string]struct {
		token  func(w http.ResponseWriter, honest func(string))
		reason string
	}{
		"a redirect": {func(w http.ResponseWriter, _ func(string)) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, "the token endpoint answered 307"},
		"a giant":       {func(_ http.ResponseWriter, honest func(string)) { honest(giant) }, "the token endpoint's answer cannot be read"},
		"garbage":       {func(w http.ResponseWriter, _ func(string)) { fmt.Fprint(w, "{evil") }, "the token endpoint's answer cannot be read"},
		"an empty page": {func(http.ResponseWriter, func(string)) {}, "the token endpoint's answer cannot be read"},
		"no token":      {func(w http.ResponseWriter, _ func(string)) { fmt.Fprint(w, "{}") }, "the token endpoint's answer cannot be read"},
		"a failure": {func(w http.ResponseWriter, _ func(string)) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, clientSecret)
		}, "the token endpoint answered 500"},
		"an error with gossip": {func(w http.ResponseWriter, _ func(string)) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"evil %s","error_description":"evil"}`, clientSecret)
		}, "refused the code, in a word of its own"},
		"an error that looks well": {func(w http.ResponseWriter, _ func(string)) { fmt.Fprint(w, `{"error":"invalid_grant"}`) }, "refused the code: invalid_grant"},
		"a broken connection":      {func(http.ResponseWriter, func(string)) { panic(http.ErrAbortHandler) }, "the token endpoint: the connection broke off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEvil(t)
			e.token = c.token
			_, err := e.arrive(t, federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate"))
			refused(t, err, c.reason)
		})
	}
	t.Cleanup(func() {
		if second.Load() {
			t.Error("a redirect was followed, with the code and the secret")
		}
	})
}

// Whatever is fetched is bounded, even where it would be good JSON, and garbage is called garbage.
func TestArrive_bounds_what_it_reads(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path, body, reason string
	}{
		{"/.well-known/openid-configuration", "{evil", "the discovery document: the answer is not the JSON"},
		{"/.well-known/openid-configuration", "", "the discovery document: the answer is not the JSON"},
		{"/keys", "<html>evil</html>", "the provider's keys: the answer is not the JSON"},
		{"/keys", `{"keys":[]}`, "publishes no key that may sign"},
		{"/keys", `null`, "publishes no key that may sign"},
		{"/userinfo", `["evil"]`, "the userinfo endpoint: the answer is not the JSON"},
		{"/.well-known/openid-configuration", "giant", "the discovery document: the answer is larger than"},
		{"/keys", "giant", "the provider's keys: the answer is larger than"},
		{"/userinfo", "giant", "the userinfo endpoint: the answer is larger than"},
		{"/userinfo", "moved", "the userinfo endpoint: answered 302"},
		{"/keys", "moved", "the provider's keys: answered 302"},
	} {
		e := newEvil(t)
		e.claims, e.userinfo = dropEmail, map[string]any{"sub": "ann-1", "email": "ann@example.test"}
		f, p := federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate")
		honest := e.Config.Handler
		e.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path != c.path:
				honest.ServeHTTP(w, r)
			case c.body == "moved":
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
			case c.body == "giant":
				fmt.Fprintf(w, `{"sub":"ann-1","issuer":%q,"padding":"%s"}`, e.URL, strings.Repeat("x", 2<<20))
			default:
				fmt.Fprint(w, c.body)
			}
		})
		_, err := e.arriveKnown(t, f, p)
		refused(t, err, c.reason)
		if e.fetched["/elsewhere"] != 0 {
			t.Errorf("%s: a redirect was followed", c.path)
		}
	}
}

func TestArrive_does_not_wait_for_slow_servers(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	e := newEvil(t)
	t.Cleanup(func() { close(stop) }) // before the server is closed
	f, p := federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate")
	flow, _ := depart(t, f, p)
	e.token = func(http.ResponseWriter, func(string)) { <-stop }
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := f.Arrive(ctx, p, &flow, login.Return{Code: "code"})
	refused(t, err, "the token endpoint: no answer in time")

	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(slow.Close)
	f.Timeout = 50 * time.Millisecond
	_, err = f.Depart(t.Context(), oidcProvider(slow.URL, "gate"), &login.Flow{})
	refused(t, err, "the discovery document: no answer in time")

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err = f.Arrive(gone, p, &flow, login.Return{Code: "code"}); !errors.Is(err, context.Canceled) && !errors.As(err, new(*login.Wrong)) {
		t.Errorf("got %v", err)
	}
}

// A provider that is down lets nobody in and is not asked again at once; what it said before serves while only part of it is away.
func TestArrive_while_the_provider_is_down(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	address := gone.URL
	gone.Close()
	f := federation(t, "127.0.0.1")
	for range 2 {
		_, err := f.Depart(t.Context(), oidcProvider(address, "gate"), &login.Flow{})
		refused(t, err, "the discovery document: ")
	}
	for _, c := range []struct{ path, reason string }{
		{"/token", "the token endpoint answered 503"}, {"/userinfo", "the userinfo endpoint: answered 503"}, {"/keys", "the provider's keys: answered 503"},
	} {
		e := newEvil(t)
		e.claims, e.userinfo = dropEmail, map[string]any{"sub": "ann-1", "email": "ann@example.test"}
		f, p := federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate")
		now := time.Now()
		f.Now = func() time.Time { return now }
		var down atomic.Bool
		honest := e.Config.Handler
		e.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if down.Load() && r.URL.Path == c.path {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			honest.ServeHTTP(w, r)
		})
		down.Store(true)
		_, err := e.arrive(t, f, p)
		refused(t, err, c.reason)
		down.Store(false)
		now = now.Add(11 * time.Second)
		if _, err := e.arrive(t, f, p); err != nil {
			t.Errorf("%s: it is back: %v", c.path, err)
		}
		down.Store(true)
		e.claims = func(said map[string]any) {
			dropEmail(said)
			said["iat"], said["exp"] = now.Unix(), now.Add(time.Minute).Unix()
		}
		now = now.Add(2 * time.Hour)
		_, err = e.arrive(t, f, p)
		if known := c.path == "/keys"; known != (err == nil) {
			t.Errorf("%s: two hours later: %v", c.path, err)
		}
	}
}

// Strangers begin sign-ins as often as they like; how often that makes us call the provider is up to us.
func TestCalls_are_few(t *testing.T) {
	t.Parallel()
	e := newEvil(t)
	f, p := federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate")
	now := time.Now()
	var mutex sync.Mutex
	f.Now = func() time.Time { mutex.Lock(); defer mutex.Unlock(); return now }
	pass := func(d time.Duration) { mutex.Lock(); defer mutex.Unlock(); now = now.Add(d) }
	count := func(path string, want int) {
		t.Helper()
		e.Lock()
		defer e.Unlock()
		if e.fetched[path] != want {
			t.Errorf("%s was fetched %d times, want %d", path, e.fetched[path], want)
		}
	}
	const document, keys = "/.well-known/openid-configuration", "/keys"
	e.document = func(d map[string]any) { d["issuer"] = "https://evil.test" }
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			_, err := f.Depart(t.Context(), p, &login.Flow{})
			refused(t, err, "issuer is not the one")
		})
	}
	all.Wait()
	count(document, 1) // the failure is remembered for a moment
	pass(11 * time.Second)
	e.document = nil
	for range 8 {
		all.Go(func() { _, _ = depart(t, f, p) })
	}
	all.Wait()
	count(document, 2)

	e.header["kid"] = "unknown"
	for range 5 {
		_, err := e.arrive(t, f, p)
		refused(t, err, "none of the provider's keys")
	}
	count(keys, 1)
	pass(61 * time.Second)
	for range 5 {
		_, err := e.arrive(t, f, p)
		refused(t, err, "none of the provider's keys")
	}
	count(keys, 2)
	e.header["kid"] = "one"
	if _, err := e.arrive(t, f, p); err != nil {
		t.Error(err)
	}
	count(keys, 2)

	e.claims = func(c map[string]any) { c["exp"], c["iat"] = now.Add(time.Minute).Unix(), now.Unix() }
	pass(time.Hour)
	if _, err := e.arrive(t, f, p); err != nil {
		t.Error(err)
	}
	count(document, 3)
	count(keys, 3)
	pass(time.Hour)
	e.document = func(d map[string]any) { d["issuer"] = "https://evil.test" }
	if _, err := e.arrive(t, f, p); err != nil { // what was known serves for a day
		t.Error(err)
	}
	pass(24 * time.Hour)
	_, err := e.arriveKnown(t, f, p)
	refused(t, err, "issuer is not the one that is set")

	e.document = nil
	changed := p
	settings := *p.Settings.OIDC
	settings.Issuer = e.URL + "/"
	changed.Settings.OIDC = &settings
	_, err = f.Depart(t.Context(), changed, &login.Flow{}) // other settings, so nothing is known
	refused(t, err, "by a slash at the end")
}

// arriveKnown arrives with a flow that was begun earlier.
func (e *evil) arriveKnown(t *testing.T, f *oidc.Federation, p identity.Provider) (identity.Visitor, error) {
	t.Helper()
	flow := login.Flow{Provider: p.ID, State: secret.New("s"), Nonce: secret.New("n"), Verifier: secret.New(strings.Repeat("v", 43))}
	e.Lock()
	e.nonce = "n"
	e.Unlock()
	v, _, err := f.Arrive(t.Context(), p, &flow, login.Return{Code: secret.Token(32)})
	return v, err
}

func TestArrive_refuses_what_does_not_belong(t *testing.T) {
	t.Parallel()
	e := newEvil(t)
	f, p := federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate")
	good, _ := depart(t, f, p)
	other := good
	other.Provider = "other"
	saml := good
	saml.Nonce = secret.String{}
	for _, c := range []struct {
		flow   login.Flow
		back   login.Return
		reason string
	}{
		{good, login.Return{Refused: "access_denied"}, "the provider refused: access_denied"},
		{good, login.Return{Refused: "evil", Code: "x"}, "the provider refused, in a word of its own"},
		{good, login.Return{}, "no code came back"},
		{good, login.Return{Code: strings.Repeat("x", 4097)}, "no code came back"},
		{good, login.Return{Code: "x", State: "evil"}, "the state is another one's"},
		{good, login.Return{Code: "x", Issuer: "https://evil.test"}, "another issuer than the provider's"},
		{other, login.Return{Code: "x"}, "begun at another provider"},
		{saml, login.Return{Code: "x"}, "not begun as one of OpenID Connect"},
	} {
		_, _, err := f.Arrive(t.Context(), p, &c.flow, c.back)
		refused(t, err, c.reason)
	}
	if e.fetched["/token"] != 0 {
		t.Error("the token endpoint was asked")
	}
	p.Kind = identity.SAML
	_, _, err := f.Arrive(t.Context(), p, &good, login.Return{Code: "x"})
	refused(t, err, "does not speak OpenID Connect")
}

// A provider of an authority of its own is reached with that authority, and only with it.
func TestAuthority(t *testing.T) {
	t.Parallel()
	e := newEvil(t)
	e.Close()
	e.Server = httptest.NewTLSServer(e)
	t.Cleanup(e.Close)
	f, p := federation(t, "127.0.0.1"), oidcProvider(e.URL, "gate")
	f.AllowHTTP = false
	_, err := f.Depart(t.Context(), p, &login.Flow{})
	refused(t, err, "the certificate was not accepted")
	p.Settings.OIDC.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Certificate().Raw}))
	if v, err := e.arrive(t, f, p); err != nil || v.Name != "ann" {
		t.Errorf("got %+v, %v", v, err)
	}
	inner := federation(t)
	_, err = inner.Depart(t.Context(), p, &login.Flow{})
	refused(t, err, "target address is not allowed") // rule W8: with an authority too
}
