package sshd_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/sshd"
)

// Rule F6: every user name has one reading.
func TestParseRoute(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]sshd.Route{
		"7k2m9qxw4tbz0hdn":                  sshd.ProofRoute{Identifier: "7k2m9qxw4tbz0hdn"},
		"7K2M9QXW4TBZ0HDN":                  sshd.ProofRoute{Identifier: "7k2m9qxw4tbz0hdn"},
		"7k2m9qxw4tbz0hdl":                  sshd.PersonRoute{User: "7k2m9qxw4tbz0hdl"}, // l is no such letter, and no 1
		"7k2m9qxw4tbz0hd":                   sshd.PersonRoute{User: "7k2m9qxw4tbz0hd"},
		"git":                               sshd.GitRoute{},
		"GIT":                               sshd.NoRoute{},
		"ana":                               sshd.PersonRoute{User: "ana"},
		"ana:db-1":                          sshd.RemoteRoute{User: "ana", Device: "db-1"},
		"ana:root@db-1":                     sshd.RemoteRoute{User: "ana", Credential: "root", Device: "db-1"},
		"ana:dom:root@corp@db-1":            sshd.RemoteRoute{User: "ana", Credential: "dom:root@corp", Device: "db-1"},
		"ana:@db-1":                         sshd.NoRoute{},
		"ana:":                              sshd.NoRoute{},
		"ana:root@":                         sshd.NoRoute{},
		":db-1":                             sshd.NoRoute{},
		"git:db-1":                          sshd.NoRoute{},
		"7k2m9qxw4tbz0hdn:db-1":             sshd.NoRoute{},
		"":                                  sshd.NoRoute{},
		"ana@db-1":                          sshd.NoRoute{},
		"a/b":                               sshd.NoRoute{},
		"ana\x00":                           sshd.NoRoute{},
		"ana:db\x1b[2J":                     sshd.NoRoute{},
		"\xff\xfe":                          sshd.NoRoute{},
		"ana:" + strings.Repeat("d", 1<<20): sshd.NoRoute{},
		strings.Repeat("a", 65):             sshd.NoRoute{},
	} {
		if got := sshd.ParseRoute(user); got != want {
			t.Errorf("%.40q is %#v, want %#v", user, got, want)
		}
	}
}

func FuzzRoute(f *testing.F) {
	for _, seed := range []string{"7k2m9qxw4tbz0hdn", "git", "ana", "ana:db", "ana:root@db", "a:b:c@d@e", "", ":", "@", "\x00", "ſ:d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, user string) {
		switch r := sshd.ParseRoute(user).(type) {
		case sshd.ProofRoute:
			if len(r.Identifier) != 16 || r.Identifier != strings.ToLower(user) || identity.CheckName(user) == nil {
				t.Errorf("%q is the identifier %q and perhaps a user", user, r.Identifier)
			}
		case sshd.RemoteRoute:
			spelled := r.User + ":" + r.Device
			if r.Credential != "" {
				spelled = r.User + ":" + r.Credential + "@" + r.Device
			}
			if spelled != user || r.User == "" || r.Device == "" || strings.Contains(r.Device, "@") || identity.CheckName(r.User) != nil {
				t.Errorf("%q was read as %#v", user, r)
			}
		case sshd.PersonRoute:
			if r.User != user || identity.CheckName(user) != nil {
				t.Errorf("%q was read as %#v", user, r)
			}
		case sshd.GitRoute:
			if user != "git" {
				t.Errorf("%q was read as git", user)
			}
		}
	})
}
