package peers

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// The person whom the SAML identity provider knows.
const (
	SAMLUser     = "dana"
	SAMLPassword = "not-secret-either"
	SAMLMail     = "dana@example.test"
	SAMLDisplay  = "Dana Scully"
)

const simplesamlphp = "/usr/share/simplesamlphp"

// SAMLServiceProvider is who signs people in by a SAML identity provider.
type SAMLServiceProvider struct {
	EntityID, ACS string
	Certificate   []byte // PEM; where there is one assertions are encrypted to its key, and requests must be signed with it

	Session time.Duration // how long the provider says that its sessions last, in whole seconds; 8 hours when zero
	Expired bool          // the provider's own certificate is out of date
}

// SAMLProvider is a SimpleSAMLphp on 127.0.0.1.
type SAMLProvider struct {
	EntityID    string
	SSOURL      string
	Certificate string // PEM, for signatures

	dir string
}

// SAML starts an identity provider that knows one service provider and one person.
func SAML(tb testing.TB, sp SAMLServiceProvider) *SAMLProvider {
	tb.Helper()
	Require(tb, "php")
	if _, err := os.Stat(simplesamlphp + "/www/saml2/idp/SSOService.php"); err != nil {
		missing(tb, "simplesamlphp")
	}
	dir := tb.TempDir()
	base := "http://127.0.0.1:" + strconv.Itoa(Port(tb)) + "/"
	p := &SAMLProvider{EntityID: base + "saml2/idp/metadata.php", SSOURL: base + "saml2/idp/SSOService.php", dir: dir}
	if err := p.configure(base, sp); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command("php", "-d", "display_errors=0", "-d", "log_errors=1", "-d", "session.save_path="+filepath.Join(dir, "sessions"), //nolint:noctx // ended by its process id
		"-S", strings.TrimSuffix(strings.TrimPrefix(base, "http://"), "/"), "-t", simplesamlphp+"/www")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SIMPLESAMLPHP_CONFIG_DIR="+dir)
	process := Start(tb, cmd)
	Await(tb, process, func() error { return answers(tb.Context(), p.EntityID) })
	return p
}

func answers(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, response.Status)
	}
	return nil
}

// configure writes the provider's key and its settings, which are PHP.
func (p *SAMLProvider) configure(base string, sp SAMLServiceProvider) error {
	dir := p.dir
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	own := template("Gatehouse test identity provider")
	if sp.Expired {
		own.NotBefore, own.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, own, own, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	p.Certificate = string(armour("CERTIFICATE", der))
	files := map[string]string{
		"idp.crt":                        p.Certificate,
		"idp.pem":                        string(armour("PRIVATE KEY", private)),
		"config.php":                     samlConfig(dir, base, sp.Session),
		"authsources.php":                samlPeople(samlDefault),
		"metadata/saml20-idp-hosted.php": p.hosted(),
		"metadata/saml20-sp-remote.php":  sp.remote(),
	}
	for _, folder := range []string{"metadata", "log", "data", "temp", "sessions"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, folder), 0o700))
	}
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return err
}

// php writes a text as PHP does.
func php(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

func samlConfig(dir, base string, session time.Duration) string {
	if session == 0 {
		session = 8 * time.Hour
	}
	folder := func(name string) string { return php(filepath.Join(dir, name) + "/") }
	return `<?php
$config = [
	'baseurlpath' => ` + php(base) + `,
	'certdir' => ` + php(dir+"/") + `,
	'loggingdir' => ` + folder("log") + `,
	'datadir' => ` + folder("data") + `,
	'tempdir' => ` + folder("temp") + `,
	'metadatadir' => ` + folder("metadata") + `,
	'attributenamemapdir' => ` + php(simplesamlphp+"/config/attributemap/") + `,
	'technicalcontact_email' => 'nobody@example.test',
	'timezone' => 'UTC',
	'secretsalt' => ` + php(rand.Text()) + `,
	'auth.adminpassword' => ` + php(rand.Text()) + `,
	'enable.saml20-idp' => true,
	'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],
	'session.cookie.secure' => false,
	'session.cookie.samesite' => null,
	'language.cookie.secure' => false,
	'logging.handler' => 'file',
	'logging.level' => 7,
	'showerrors' => true,
	'errorreporting' => false,
	'store.type' => 'phpsession',
	'session.duration' => ` + strconv.Itoa(int(session/time.Second)) + `,
	'session.phpsession.cookiename' => 'SimpleSAML',
	'session.phpsession.savepath' => ` + php(filepath.Join(dir, "sessions")) + `,
	'metadata.sources' => [['type' => 'flatfile']],
];
`
}

// samlDefault is what the provider says of its person at first.
var samlDefault = map[string][]string{"uid": {SAMLUser}, "mail": {SAMLMail}, "displayName": {SAMLDisplay}, "groups": {"agents", "basement"}}

// samlPeople lists the one person, or nobody where there are no attributes.
func samlPeople(attributes map[string][]string) string {
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		all.WriteString(php(name) + " => [")
		for _, value := range attributes[name] {
			all.WriteString(php(value) + ", ")
		}
		all.WriteString("], ")
	}
	person := ""
	if len(attributes) > 0 {
		person = php(SAMLUser+":"+SAMLPassword) + " => [" + all.String() + "],"
	}
	return `<?php
$config = ['people' => ['exampleauth:UserPass', ` + person + `]];
`
}

// Describe replaces what the provider says of its person, whose password stays; nil removes them. Who is signed in there stays as they were.
func (p *SAMLProvider) Describe(tb testing.TB, attributes map[string][]string) {
	tb.Helper()
	path := filepath.Join(p.dir, "authsources.php")
	if err := os.WriteFile(path+".new", []byte(samlPeople(attributes)), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		tb.Fatal(err)
	}
}

func (p *SAMLProvider) hosted() string {
	return `<?php
$metadata[` + php(p.EntityID) + `] = [
	'host' => '__DEFAULT__',
	'privatekey' => 'idp.pem',
	'certificate' => 'idp.crt',
	'auth' => 'people',
];
`
}

func (sp SAMLServiceProvider) remote() string {
	keys := ""
	if block, _ := pem.Decode(sp.Certificate); block != nil {
		armoured := string(bytes.TrimSpace(pem.EncodeToMemory(block)))
		armoured = strings.TrimSuffix(strings.TrimPrefix(armoured, "-----BEGIN CERTIFICATE-----"), "-----END CERTIFICATE-----")
		keys = `
	'certData' => ` + php(strings.Join(strings.Fields(armoured), "")) + `,
	'validate.authnrequest' => true,
	'assertion.encryption' => true,`
	}
	return `<?php
$metadata[` + php(sp.EntityID) + `] = [
	'AssertionConsumerService' => ` + php(sp.ACS) + `,
	'NameIDFormat' => 'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress',
	'simplesaml.nameidattribute' => 'mail',` + keys + `
];
`
}

// SignIn goes through the provider as a browser does: posts the form, types name and password, and returns what the provider then has the
// browser post, and where.
func (p *SAMLProvider) SignIn(tb testing.TB, form url.Values, name, password string) (action string, posted url.Values) {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: Patience}
	page := post(tb, browser, p.SSOURL, form)
	if _, asks := page.fields["password"]; !asks {
		tb.Fatalf("the provider does not ask for a password: %s", page.text)
	}
	page.fields.Set("username", name)
	page.fields.Set("password", password)
	page = post(tb, browser, page.action, page.fields)
	if !page.fields.Has("SAMLResponse") {
		tb.Fatalf("the provider sends no response: %s", page.text)
	}
	return page.action, page.fields
}

// formPage is a page with a form on it.
type formPage struct {
	action string
	fields url.Values
	text   string
}

func post(tb testing.TB, browser *http.Client, address string, form url.Values) formPage {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		tb.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := browser.Do(request)
	if err != nil {
		tb.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		tb.Fatal(err)
	}
	page := formPage{fields: url.Values{}, text: string(text)}
	root, err := html.Parse(bytes.NewReader(text))
	if err != nil {
		tb.Fatal(err)
	}
	for node := range root.Descendants() {
		page.read(node)
	}
	target, err := response.Request.URL.Parse(page.action)
	if err != nil {
		tb.Fatal(err)
	}
	page.action = target.String()
	return page
}

// read takes a form's address and its fields with names. SimpleSAMLphp's pages have one form each, but for the one that chooses a language, which comes later.
func (p *formPage) read(node *html.Node) {
	attributes := map[string]string{}
	for _, a := range node.Attr {
		attributes[a.Key] = a.Val
	}
	switch {
	case node.Type != html.ElementNode:
	case node.Data == "form" && p.action == "":
		p.action = attributes["action"]
	case node.Data == "input" && attributes["name"] != "":
		p.fields.Set(attributes["name"], attributes["value"])
	}
}
