package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// Account is a person whom servers that a test starts know, and nobody else: their name and password stand in no file of the system. A small library
// that is loaded before the system's answers for them, with the user id of whoever runs the test.
type Account struct {
	Name     string
	Password string
	Home     string
	env      []string // with which a server knows the account
}

const accountPassword = "not-secret: ünïcode"

// NewAccount makes an account of that name with an empty home that is gone after the test.
func NewAccount(tb testing.TB, name string) *Account {
	tb.Helper()
	Require(tb, "gcc", "perl")
	dir := tb.TempDir()
	a := &Account{Name: name, Password: accountPassword, Home: filepath.Join(dir, "home")}
	if err := os.Mkdir(a.Home, 0o700); err != nil {
		tb.Fatal(err)
	}
	hash, err := exec.Command("perl", "-e", `print crypt($ARGV[0], '$6$gatehouse$')`, a.Password).Output() //nolint:noctx // it ends by itself
	if err != nil {
		tb.Fatal(err)
	}
	source, library := filepath.Join(dir, "account.c"), filepath.Join(dir, "account.so")
	if err := os.WriteFile(source, []byte(accountSource), 0o600); err != nil {
		tb.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", library, source, "-ldl").CombinedOutput(); err != nil { //nolint:noctx // it ends by itself
		tb.Fatalf("gcc: %v\n%s", err, out)
	}
	// Servers hand their environment on to their children; shells get one of their own.
	a.env = []string{
		"LD_PRELOAD=" + library, "PEER_NAME=" + a.Name, "PEER_HASH=" + string(hash), "PEER_HOME=" + a.Home,
		"PEER_UID=" + strconv.Itoa(os.Getuid()), "PEER_GID=" + strconv.Itoa(os.Getgid()),
	}
	return a
}

// run has cmd know the account.
func (a *Account) run(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(os.Environ(), a.env...)
	return cmd
}

// accountSource answers for one name, and leaves all others to the system.
const accountSource = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pwd.h>
#include <shadow.h>
#include <stdlib.h>
#include <string.h>

static char *value(const char *name) { char *v = getenv(name); return v ? v : ""; }
static int ours(const char *name) { return name && *value("PEER_NAME") && strcmp(name, value("PEER_NAME")) == 0; }

static void person(struct passwd *p) {
	memset(p, 0, sizeof *p);
	p->pw_name = value("PEER_NAME"); p->pw_passwd = "x"; p->pw_gecos = ""; p->pw_dir = value("PEER_HOME"); p->pw_shell = "/bin/sh";
	p->pw_uid = atoi(value("PEER_UID")); p->pw_gid = atoi(value("PEER_GID"));
}

static void shadow(struct spwd *s) {
	memset(s, 0, sizeof *s);
	s->sp_namp = value("PEER_NAME"); s->sp_pwdp = value("PEER_HASH");
	s->sp_lstchg = 19000; s->sp_min = 0; s->sp_max = 99999; s->sp_warn = 7; s->sp_inact = -1; s->sp_expire = -1;
}

struct passwd *getpwnam(const char *name) {
	static struct passwd p;
	if (ours(name)) { person(&p); return &p; }
	return ((struct passwd *(*)(const char *))dlsym(RTLD_NEXT, "getpwnam"))(name);
}

struct spwd *getspnam(const char *name) {
	static struct spwd s;
	if (ours(name)) { shadow(&s); return &s; }
	return ((struct spwd *(*)(const char *))dlsym(RTLD_NEXT, "getspnam"))(name);
}
`
