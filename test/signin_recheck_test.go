package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// Whom a directory definitely has not any more is out at every door of every node, soon; who is back is let in again, unless a person shut
// them out; and a directory that is away throws nobody out (rule F12).
func TestDirectory_who_is_gone_is_out(t *testing.T) {
	t.Parallel()
	d := peers.OwnSlapd(t)
	const recheck = 2 * time.Second
	p := newPair(t, "sso.recheck", recheck.String())
	number := addLDAP(t, p.a, d, "Directory", "--link-by", "email", "--active", "(!(employeeType=left))")
	handle := discover(t, p.a.Visitor(t), "Directory").IDP
	within := 2*recheck + 2*time.Second // for asking, and for the other node to hear of it

	// come signs somebody in by the page and by a program, at one node each, and returns them as both nodes see them.
	come := func(t *testing.T, uid string) []*gate.Visitor {
		t.Helper()
		v := p.a.Visitor(t)
		if a := enterByForm(t, v, uid+"@example.test", uid+"-password", number); who(v) != uid {
			t.Fatalf("%s is not in: %d %s", uid, a.Status, a.Body)
		}
		program := bearer(t, p.b.Visitor(t), map[string]any{"method": "ldap-basic-auth", "idp_id": handle, "email": uid + "@example.test", "password": uid + "-password"})
		all := []*gate.Visitor{v, v.At(p.b), program, program.At(p.a)}
		for _, one := range all {
			wantOpen(t, one)
		}
		return all
	}
	shutOut := func(t *testing.T, uid string) {
		t.Helper()
		for how, answer := range map[string]gate.Answer{
			"by the directory":        enterByForm(t, p.b.Visitor(t), uid+"@example.test", uid+"-password", number),
			"by a password":           enterByForm(t, p.a.Visitor(t), uid, danaPassword, ""),
			"by a password at tsv":    p.b.Visitor(t).JSON(tsv+"/authenticate", map[string]any{"username": uid, "password": danaPassword}),
			"by a password, fortanix": p.a.Visitor(t).JSON(sys+"/session/auth", byPassword(uid)),
		} {
			if answer.Status != http.StatusUnauthorized {
				t.Errorf("%s %s: %d", uid, how, answer.Status)
			}
		}
	}
	disabled := func(uid string) bool {
		return p.a.Count(t, "SELECT count(*) FROM users WHERE name = $1 AND disabled", uid) == 1
	}
	awaitDisabled := func(t *testing.T, uid string, want bool) {
		t.Helper()
		gate.Eventually(t, func() error {
			if disabled(uid) != want {
				return fmt.Errorf("%s: disabled is %v", uid, !want)
			}
			return nil
		})
	}
	retire := func(t *testing.T, uid, as string) {
		d.Modify(t, "dn: "+d.DN(uid)+"\nchangetype: modify\nreplace: employeeType\nemployeeType: "+as+"\n")
	}
	move := func(t *testing.T, uid, from, to string) {
		d.Modify(t, "dn: uid="+uid+","+from+"\nchangetype: modrdn\nnewrdn: uid="+uid+"\ndeleteoldrdn: 0\nnewsuperior: "+to+"\n")
	}
	elsewhere := "ou=services," + d.Base

	t.Run("while it answers", func(t *testing.T) {
		for _, c := range []struct {
			uid         string
			leave, back func(t *testing.T)
		}{
			{"mara", func(t *testing.T) { move(t, "mara", d.People, elsewhere) }, func(t *testing.T) { move(t, "mara", elsewhere, d.People) }},
			{"nils", func(t *testing.T) { retire(t, "nils", "left") }, func(t *testing.T) { retire(t, "nils", "clerk") }},
		} {
			t.Run(c.uid+" leaves and comes back", func(t *testing.T) {
				addPeople(t, p.a, c.uid)
				d.AddPerson(t, c.uid)
				all := come(t, c.uid)
				c.leave(t)
				wantShut(t, time.Now(), within, all...)
				shutOut(t, c.uid)
				e := p.a.AwaitAudited(t, "user.update", "done", "Directory was asked")
				if e.Actor.Kind != "system" {
					t.Errorf("on record: %+v", e)
				}
				c.back(t)
				awaitDisabled(t, c.uid, false)
				wantShut(t, time.Now(), 0, all...) // the old sessions stay ended
				come(t, c.uid)
			})
		}
		t.Run("oona is removed, and somebody new has her name", func(t *testing.T) {
			addPeople(t, p.a, "oona")
			d.AddPerson(t, "oona")
			all := come(t, "oona")
			d.Delete(t, d.DN("oona"))
			wantShut(t, time.Now(), within, all...)
			d.AddPerson(t, "oona") // with another entryUUID
			rounds := p.a.Count(t, "SELECT max(checked) FROM provider_links")
			gate.Eventually(t, func() error { // everybody was looked up twice meanwhile
				if now := p.a.Count(t, "SELECT max(checked) FROM provider_links"); now-rounds < int(2*recheck.Microseconds()) {
					return fmt.Errorf("looked up %d µs later", now-rounds)
				}
				return nil
			})
			if !disabled("oona") {
				t.Error("somebody else's entry let her in again")
			}
			shutOut(t, "oona")
		})
		t.Run("pete is disabled by a person meanwhile", func(t *testing.T) {
			addPeople(t, p.a, "pete")
			d.AddPerson(t, "pete")
			come(t, "pete")
			retire(t, "pete", "left")
			awaitDisabled(t, "pete", true)
			p.a.Must(t, "user", "disable", "pete")
			retire(t, "pete", "clerk")
			rounds := p.a.Count(t, "SELECT max(checked) FROM provider_links")
			gate.Eventually(t, func() error {
				if now := p.a.Count(t, "SELECT max(checked) FROM provider_links"); now-rounds < int(2*recheck.Microseconds()) {
					return fmt.Errorf("looked up %d µs later", now-rounds)
				}
				return nil
			})
			if !disabled("pete") {
				t.Error("the directory let in whom a person shut out")
			}
		})
	})
	t.Run("while it is away", func(t *testing.T) {
		addPeople(t, p.a, "rosa")
		d.AddPerson(t, "rosa")
		all := come(t, "rosa")
		d.Stop(t)
		asked := func() int {
			n := 0
			for _, g := range []*gate.Gate{p.a, p.b} {
				n += strings.Count(g.Log(t), "look up people at identity provider Directory")
			}
			return n
		}
		before := asked()
		gate.Eventually(t, func() error { // it was asked in vain, more than once
			if n := asked(); n < before+3 {
				return fmt.Errorf("asked %d times in vain", n-before)
			}
			return nil
		})
		for _, one := range all {
			wantOpen(t, one)
		}
		if disabled("rosa") {
			t.Error("rosa is disabled")
		}
		d.Start(t)
		come(t, "rosa")
		retire(t, "rosa", "left")
		wantShut(t, time.Now(), within, all...) // it is asked again
	})
}
