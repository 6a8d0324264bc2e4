package peers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Directory is an OpenLDAP server on 127.0.0.1 with entries of its own. Its certificate is for localhost and 127.0.0.1.
//
// People lie in People, each with their uid and "-password" as password, and an entry cn=staff in Groups, of which memberOf tells:
//
//	dana   dana@example.test, in staff
//	eve    eve@example.test, not in staff
//	twin1, twin2   both twins@example.test, in staff
//	st*r (odd)     star@example.test, in staff
//	away   a referral to another server
//
// Nobody reads anything before a bind; people read themselves, and the service account reads all but passwords.
type Directory struct {
	CA              []byte // PEM
	Base            string
	People          string
	Groups          string
	Service         string // the service account's DN
	ServicePassword string

	dir         string
	plain, safe int // ports
	process     *Process
}

const (
	ldapBase     = "dc=example,dc=test"
	ldapRoot     = "cn=admin," + ldapBase
	ldapPassword = "not-secret"
)

var sharedSlapd = sync.OnceValues(func() (*Directory, error) {
	d, err := newDirectory()
	if err == nil {
		untilMainEnds(d.remove)
	}
	return d, err
})

// Slapd returns the directory that all tests of this process share. They may add people of their own; who stops it or changes others
// wants OwnSlapd.
func Slapd(tb testing.TB) *Directory {
	tb.Helper()
	requireSlapd(tb)
	d, err := sharedSlapd()
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// OwnSlapd starts a directory for one test, which may stop and start it.
func OwnSlapd(tb testing.TB) *Directory {
	tb.Helper()
	requireSlapd(tb)
	d, err := newDirectory()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			d.process.logTo(tb)
		}
		d.remove()
	})
	return d
}

func requireSlapd(tb testing.TB) {
	tb.Helper()
	Require(tb, slapdPath(), "ldapmodify", "ldapdelete")
}

// slapdPath finds the server: Debian keeps it out of an ordinary PATH.
func slapdPath() string {
	if path, err := exec.LookPath("slapd"); err == nil {
		return path
	}
	return "/usr/sbin/slapd"
}

func newDirectory() (d *Directory, err error) {
	dir, err := os.MkdirTemp("", "gatehouse-slapd-")
	if err != nil {
		return nil, err
	}
	d = &Directory{
		Base: ldapBase, People: "ou=people," + ldapBase, Groups: "ou=groups," + ldapBase,
		Service: "cn=gate,ou=services," + ldapBase, ServicePassword: "gate-password", dir: dir,
	}
	defer func() {
		if err != nil {
			d.remove()
		}
	}()
	if err := d.configure(); err != nil {
		return nil, err
	}
	if err := d.start(); err != nil {
		return nil, err
	}
	return d, d.run(ldapSeed(d), "ldapmodify", "-a", "-M") // -M: the referral is an entry too
}

func (d *Directory) configure() (err error) {
	certificate, err := newCertificate("localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	d.CA = certificate.CA
	if d.plain, err = freePort(); err != nil {
		return err
	}
	if d.safe, err = freePort(); err != nil {
		return err
	}
	return errors.Join(
		os.Mkdir(d.file("db"), 0o700),
		os.WriteFile(d.file("cert.pem"), certificate.Chain, 0o600),
		os.WriteFile(d.file("key.pem"), certificate.Key, 0o600),
		os.WriteFile(d.file("slapd.conf"), []byte(d.settings()), 0o600),
	)
}

func (d *Directory) file(name string) string { return filepath.Join(d.dir, name) }

func (d *Directory) settings() string {
	return `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile ` + d.file("slapd.pid") + `
TLSCertificateFile ` + d.file("cert.pem") + `
TLSCertificateKeyFile ` + d.file("key.pem") + `
database mdb
dbnosync
suffix ` + ldapBase + `
rootdn ` + ldapRoot + `
rootpw ` + ldapPassword + `
directory ` + d.file("db") + `
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="` + d.Service + `" read by self read by anonymous auth by * none
overlay memberof
`
}

func (d *Directory) start() error {
	cmd := exec.Command(slapdPath(), "-h", d.PlainURL()+" "+d.URL(), "-f", d.file("slapd.conf"), "-d", "0") //nolint:noctx // ended by its process id
	cmd.Dir = d.dir
	p, err := start(cmd, d.file("slapd.log"))
	if err != nil {
		return err
	}
	d.process = p
	ready := func() error { return d.run("", "ldapsearch", "-LLL", "-s", "base", "-b", "", "1.1") }
	if err := await(p, ready); err != nil {
		text, _ := os.ReadFile(p.Output)
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

// run gives LDIF to one of OpenLDAP's tools, as the directory's administrator.
func (d *Directory) run(ldif, tool string, args ...string) error {
	args = append([]string{"-x", "-H", d.PlainURL(), "-D", ldapRoot, "-w", ldapPassword}, args...)
	cmd := exec.Command(tool, args...) //nolint:noctx // it ends by itself
	cmd.Stdin = strings.NewReader(ldif)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", tool, err, out)
	}
	return nil
}

// URL is the address for TLS from the first byte.
func (d *Directory) URL() string { return "ldaps://127.0.0.1:" + strconv.Itoa(d.safe) }

// PlainURL is the address that offers StartTLS, and does without it too.
func (d *Directory) PlainURL() string { return "ldap://127.0.0.1:" + strconv.Itoa(d.plain) }

// DN is the name of somebody's entry. uid must hold nothing that a DN would have to escape.
func (d *Directory) DN(uid string) string { return "uid=" + uid + "," + d.People }

// AddPerson adds somebody with uid@example.test and the password uid-password; more are further lines of LDIF. It is gone after the test.
func (d *Directory) AddPerson(tb testing.TB, uid string, more ...string) {
	tb.Helper()
	d.Modify(tb, "dn: "+d.DN(uid)+"\nchangetype: add\n"+ldapPerson(uid, uid+"@example.test")+strings.Join(more, "\n")+"\n")
	tb.Cleanup(func() { _ = d.run("", "ldapdelete", d.DN(uid)) }) // the test may have done so
}

// Modify changes entries: LDIF with a changetype.
func (d *Directory) Modify(tb testing.TB, ldif string) {
	tb.Helper()
	if err := d.run(ldif, "ldapmodify"); err != nil {
		tb.Fatal(err)
	}
}

// Delete removes an entry.
func (d *Directory) Delete(tb testing.TB, dn string) {
	tb.Helper()
	if err := d.run("", "ldapdelete", dn); err != nil {
		tb.Fatal(err)
	}
}

// Stop takes the server away; its ports refuse connections.
func (d *Directory) Stop(tb testing.TB) {
	tb.Helper()
	if err := d.process.End(syscall.SIGTERM); err != nil {
		tb.Fatal(err)
	}
}

// Start brings the server back on the same ports with the same entries.
func (d *Directory) Start(tb testing.TB) {
	tb.Helper()
	if err := d.start(); err != nil {
		tb.Fatal(err)
	}
}

func (d *Directory) remove() {
	if d.process != nil {
		_ = d.process.End(syscall.SIGTERM)
	}
	_ = os.RemoveAll(d.dir)
}

func ldapSeed(d *Directory) string {
	var b strings.Builder
	entry := func(dn, rest string) { fmt.Fprintf(&b, "dn: %s\n%s\n", dn, rest) }
	entry(d.Base, "objectClass: dcObject\nobjectClass: organization\no: Example\n")
	for _, ou := range []string{"people", "groups", "services"} {
		entry("ou="+ou+","+d.Base, "objectClass: organizationalUnit\n")
	}
	entry(d.Service, "objectClass: organizationalRole\nobjectClass: simpleSecurityObject\nuserPassword: "+d.ServicePassword+"\n")
	entry(d.DN("dana"), ldapPerson("dana", "dana@example.test"))
	entry(d.DN("eve"), ldapPerson("eve", "eve@example.test"))
	entry(d.DN("twin1"), ldapPerson("twin1", "twins@example.test"))
	entry(d.DN("twin2"), ldapPerson("twin2", "twins@example.test"))
	entry(d.DN("st*r (odd)"), ldapPerson("st*r (odd)", "star@example.test"))
	entry(d.DN("away"), "objectClass: referral\nobjectClass: extensibleObject\nref: ldap://127.0.0.1:1/uid=away\n")
	members := ""
	for _, uid := range []string{"dana", "twin1", "twin2", "st*r (odd)"} {
		members += "member: " + d.DN(uid) + "\n"
	}
	entry("cn=staff,"+d.Groups, "objectClass: groupOfNames\n"+members)
	return b.String()
}

func ldapPerson(uid, mail string) string {
	return "objectClass: inetOrgPerson\nuid: " + uid + "\ncn: Person " + uid + "\nsn: " + uid + "\nmail: " + mail + "\nuserPassword: " + uid + "-password\n"
}
