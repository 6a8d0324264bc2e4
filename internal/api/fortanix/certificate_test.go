package fortanix_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// newCertificate makes a client's certificate that by signed, or, where nobody does, an authority.
func newCertificate(t *testing.T, name string, by *tls.Certificate, now time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true, IsCA: by == nil,
	}
	parent, signer := template, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// certified sends a request on a connection that has proved the certificate.
func (h *house) certified(certificate *tls.Certificate, method, path, authorization, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.TLS = &tls.ConnectionState{}
	if certificate != nil {
		r.TLS.PeerCertificates = []*x509.Certificate{certificate.Leaf}
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// program adds an application with that credential.
func (h *house) program(t *testing.T, name string, c identity.Credential) string {
	t.Helper()
	root := h.dialect.Access.For(access.LocalCaller("root", h.clock.Now()))
	a, _, err := h.dialect.Apps.Create(t.Context(), root, identity.NewApplication{Account: identity.DefaultAccount, Name: name, Credential: c})
	must(t, err)
	return a.ID
}

func TestCertificate_signs_in_alone_and_with_a_name(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	authority := newCertificate(t, "authority", nil, start)
	pinned, trusted, stranger := newCertificate(t, "pinned", &authority, start), newCertificate(t, "robot", &authority, start), newCertificate(t, "stranger", &authority, start)
	one := h.program(t, "one", identity.Credential{Type: identity.ByCertificate, Certificate: pinned.Leaf.Raw})
	two := h.program(t, "two", identity.Credential{Type: identity.ByAuthority, Authorities: [][]byte{authority.Leaf.Raw}, Subject: "CN=robot"})
	const auth = "/sys/v1/session/auth"
	for name, c := range map[string]struct {
		certificate *tls.Certificate
		basic       string
		body        string
		status      int
		says        string
	}{
		"the pinned one alone":         {&pinned, "", "", http.StatusOK, one},
		"with an empty body":           {&pinned, "", "{}", http.StatusOK, one},
		"with a kind of token":         {&pinned, "", `{"token_type":"Bearer"}`, http.StatusOK, one},
		"the pinned one with its name": {&pinned, basic(one, ""), "", http.StatusOK, one},
		"of an authority":              {&trusted, "", "", http.StatusOK, two},
		"of an authority with a name":  {&trusted, basic(two, ""), "", http.StatusOK, two},
		"with the name of another":     {&trusted, basic(one, ""), "", http.StatusUnauthorized, refused},
		"with a secret too":            {&pinned, basic(one, "x"), "", http.StatusUnauthorized, refused},
		"of another subject":           {&stranger, "", "", http.StatusUnauthorized, refused},
		"none, with a name":            {nil, basic(one, ""), "", http.StatusUnauthorized, refused},
		"none":                         {nil, "", "", http.StatusUnauthorized, "Authentication required"},
	} {
		t.Run(name, func(t *testing.T) {
			w := h.certified(c.certificate, "POST", auth, c.basic, c.body)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			h.clock.pass(time.Hour) // whatever backs off has done so
		})
	}
	must(t, h.dialect.Apps.Delete(t.Context(), h.dialect.Access.For(access.LocalCaller("root", start)), two))
	h.program(t, "three", identity.Credential{Type: identity.ByCertificate, Certificate: pinned.Leaf.Raw})
	want(t, h.certified(&pinned, "POST", auth, "", ""), http.StatusUnauthorized, refused) // it is that of two
	want(t, h.certified(&pinned, "POST", auth, basic(one, ""), ""), http.StatusOK, "")
}

// Every request of a session that began with a certificate presents it, and one that comes of it does so too.
func TestCertificate_is_what_its_session_is_bound_to(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	authority := newCertificate(t, "authority", nil, start)
	pinned, other := newCertificate(t, "pinned", &authority, start), newCertificate(t, "other", &authority, start)
	id := h.program(t, "one", identity.Credential{Type: identity.ByCertificate, Certificate: pinned.Leaf.Raw})
	w := h.certified(&pinned, "POST", "/sys/v1/session/auth", "", "")
	want(t, w, http.StatusOK, "")
	first := "Bearer " + accessToken(t, w)
	w = h.certified(&pinned, "POST", "/sys/v1/session/reauth", first, "")
	want(t, w, http.StatusOK, "")
	for _, bearer := range []string{first, "Bearer " + accessToken(t, w)} {
		want(t, h.certified(&pinned, "GET", "/sys/v1/accounts", bearer, ""), http.StatusOK, "")
		want(t, h.certified(&other, "GET", "/sys/v1/accounts", bearer, ""), http.StatusUnauthorized, noSession)
		want(t, h.certified(nil, "GET", "/sys/v1/accounts", bearer, ""), http.StatusUnauthorized, noSession)
		want(t, h.call("POST", "/sys/v1/session/terminate", bearer, ""), http.StatusUnauthorized, noSession)
	}
	want(t, h.certified(&pinned, "GET", "/sys/v1/accounts", basic(id, ""), ""), http.StatusUnauthorized, refused) // it begins sessions, and is no API key
}
