package ldap_test

import (
	"crypto/tls"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// hostile is a server that answers as a test says, where slapd is too honest.
type hostile struct {
	url   string
	ca    string
	binds atomic.Int64
}

// answers is what a server says to each operation; nil is silence.
type answers func(op *ber.Packet) []*ber.Packet

// newHostile listens for TLS at once where scheme is ldaps.
func newHostile(t *testing.T, scheme string, say answers) *hostile {
	t.Helper()
	c := peers.NewCertificate(t, "127.0.0.1")
	pair, err := tls.X509KeyPair(c.Chain, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &hostile{url: scheme + "://" + l.Addr().String(), ca: string(c.CA)}
	if scheme == "ldaps" {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.serve(conn, say) })
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return s
}

func (s *hostile) serve(conn net.Conn, say answers) {
	defer conn.Close()
	for {
		packet, err := ber.ReadPacket(conn)
		if err != nil || len(packet.Children) < 2 {
			return
		}
		op := packet.Children[1]
		if op.Tag == goldap.ApplicationBindRequest {
			s.binds.Add(1)
		}
		for _, answer := range say(op) {
			m := ber.NewSequence("")
			m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, packet.Children[0].Value, ""))
			m.AppendChild(answer)
			if _, err := conn.Write(m.Bytes()); err != nil {
				return
			}
		}
	}
}

// result is an answer with a result code and what servers write beside it.
func result(tag ber.Tag, code int64, note string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	p.AppendChild(text(note))
	p.AppendChild(text(note))
	return p
}

func text(value string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, value, "")
}

// entry is one hit of a search: a DN, and names and values in turn.
func entry(dn string, attributes ...string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(text(dn))
	list := ber.NewSequence("")
	for i := 0; i < len(attributes); i += 2 {
		one, values := ber.NewSequence(""), ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		values.AppendChild(text(attributes[i+1]))
		one.AppendChild(text(attributes[i]))
		one.AppendChild(values)
		list.AppendChild(one)
	}
	p.AppendChild(list)
	return p
}

// lets takes every password, and finds these entries whatever is asked.
func lets(entries ...*ber.Packet) answers {
	return func(op *ber.Packet) []*ber.Packet {
		switch op.Tag {
		case goldap.ApplicationBindRequest:
			return []*ber.Packet{result(goldap.ApplicationBindResponse, 0, "")}
		case goldap.ApplicationSearchRequest:
			return append(append([]*ber.Packet{}, entries...), result(goldap.ApplicationSearchResultDone, 0, ""))
		}
		return nil
	}
}

func (s *hostile) provider(changes ...func(*identity.LDAPSettings)) identity.Provider {
	p := identity.Provider{Kind: identity.LDAP, Secret: secret.New("gate-password"), Settings: identity.ProviderSettings{LDAP: &identity.LDAPSettings{
		URL: s.url, CA: s.ca, Resolve: "search", BindDN: "cn=gate,dc=example,dc=test", BaseDN: "dc=example,dc=test", Filter: "(uid={login})",
	}}}
	for _, change := range changes {
		change(p.Settings.LDAP)
	}
	return p
}

func asUPN(s *identity.LDAPSettings) {
	s.Resolve, s.Filter, s.Subject, s.Name = "upn", "", "objectGUID", "sAMAccountName"
}

// Whoever sits on the way can answer StartTLS. Nothing that matters was said before, and nothing is said after.
func TestBind_says_nothing_without_TLS(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		say  answers
		want string
	}{
		"StartTLS refused": {func(*ber.Packet) []*ber.Packet {
			return []*ber.Packet{result(goldap.ApplicationExtendedResponse, 52, "come back later")}
		}, "start TLS: the directory does not do StartTLS"},
		"StartTLS taken for something else": {func(*ber.Packet) []*ber.Packet {
			return []*ber.Packet{result(goldap.ApplicationBindResponse, 0, "")}
		}, "start TLS: the directory does not do StartTLS"},
		"an answer slipped in behind": {func(*ber.Packet) []*ber.Packet {
			return []*ber.Packet{result(goldap.ApplicationExtendedResponse, 0, ""), result(goldap.ApplicationBindResponse, 0, "")}
		}, "start TLS: the directory does not speak TLS there"},
		"an answer without end": {func(*ber.Packet) []*ber.Packet {
			return []*ber.Packet{result(goldap.ApplicationExtendedResponse, 0, strings.Repeat("a", 8<<10))}
		}, "start TLS: the connection broke off"},
	} {
		h, s := newHouse(t), newHostile(t, "ldap", c.say)
		if got := h.refused(t, s.provider(), "dana", "dana-password"); got != c.want {
			t.Errorf("%s: %s", what, got)
		}
		if n := s.binds.Load(); n != 0 {
			t.Errorf("%s: %d binds were sent", what, n)
		}
	}
}

func TestBind_is_bounded(t *testing.T) {
	t.Parallel()
	t.Run("in what it reads", func(t *testing.T) {
		t.Parallel()
		endless := make([]*ber.Packet, 100)
		for i := range endless {
			endless[i] = entry("uid=dana,dc=example,dc=test", "uid", strings.Repeat("a", 1<<10))
		}
		h, s := newHouse(t), newHostile(t, "ldaps", lets(endless...))
		if got := h.refused(t, s.provider(), "dana", "dana-password"); got != "search: the directory answered too much" {
			t.Errorf("got %s", got)
		}
	})
	for _, scheme := range []string{"ldap", "ldaps"} {
		t.Run("in how long it waits, "+scheme, func(t *testing.T) {
			t.Parallel()
			h, s := newHouse(t), newHostile(t, scheme, func(*ber.Packet) []*ber.Packet { return nil })
			h.Timeout = 200 * time.Millisecond
			if got := h.refused(t, s.provider(), "dana", "dana-password"); !strings.HasSuffix(got, ": no answer in time") {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestBind_repeats_nothing_that_the_directory_wrote(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newHostile(t, "ldaps", func(*ber.Packet) []*ber.Packet {
		return []*ber.Packet{result(goldap.ApplicationBindResponse, 53, "visit evil.example")}
	})
	if got := h.refused(t, s.provider(), "dana", "dana-password"); got != "bind the service account: the directory answered 53 Unwilling To Perform" {
		t.Errorf("got %s", got)
	}
	for _, step := range h.Test(t.Context(), s.provider()) {
		if strings.Contains(step.Note, "evil") {
			t.Errorf("%s says %s", step.Name, step.Note)
		}
	}
}

func TestBind_does_not_believe_a_generous_directory(t *testing.T) {
	t.Parallel()
	dana := entry("uid=dana,dc=example,dc=test", "uid", "dana", "entryUUID", "one", "mail", "dana@example.test")
	h := newHouse(t)
	for what, c := range map[string]struct {
		found []*ber.Packet
		name  string
		want  string
	}{
		// rule F6: a spelling that only the directory thinks equal is another name for lock-out, so it opens nothing.
		"an accent":        {[]*ber.Packet{dana}, "dána", "the entry does not hold the name as it was presented"},
		"an unseen letter": {[]*ber.Packet{dana}, "da\u200bna", "the entry does not hold the name as it was presented"},
		"somebody else":    {[]*ber.Packet{dana}, "eve", "the entry does not hold the name as it was presented"},
		"an empty DN":      {[]*ber.Packet{entry("", "uid", "dana")}, "dana", "the directory has an entry without a DN"},
		"two at once":      {[]*ber.Packet{dana, dana}, "dana", "the directory has several entries of that name"},
		"more than asked":  {[]*ber.Packet{dana, dana, dana}, "dana", "the directory has several entries of that name"},
	} {
		s := newHostile(t, "ldaps", lets(c.found...))
		if got := h.refused(t, s.provider(), c.name, "dana-password"); got != c.want {
			t.Errorf("%s: %s", what, got)
		}
	}
	s := newHostile(t, "ldaps", lets(dana))
	if v := h.admitted(t, s.provider(), "DANA", "dana-password"); v.Subject != "one" {
		t.Errorf("got %+v", v)
	}
}

// rule F6: a name that nobody has takes the directory as many steps as a wrong password.
func TestBind_asks_as_often_about_nobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	nobody := newHostile(t, "ldaps", lets())
	h.refused(t, nobody.provider(), "frank", "frank-password")
	found := lets(entry("uid=dana,dc=example,dc=test", "uid", "dana"))
	var binds atomic.Int64
	known := newHostile(t, "ldaps", func(op *ber.Packet) []*ber.Packet {
		if op.Tag == goldap.ApplicationBindRequest && binds.Add(1) == 2 {
			return []*ber.Packet{result(goldap.ApplicationBindResponse, 49, "")}
		}
		return found(op)
	})
	h.refused(t, known.provider(), "dana", "wrong")
	if nobody.binds.Load() != known.binds.Load() {
		t.Errorf("%d binds for nobody, %d for a wrong password", nobody.binds.Load(), known.binds.Load())
	}
}

func TestBind_takes_a_user_principal_name(t *testing.T) {
	t.Parallel()
	guid := string([]byte{0, 1, 0xfe, 0xff, '=', ')', '*', '\\', 8, 9, 10, 11, 12, 13, 14, 15})
	var filters sync.Map
	known := lets(entry("CN=Dana,DC=example,DC=test", "userPrincipalName", "dana@corp.test", "objectGUID", guid, "sAMAccountName", "dana", "mail", "dana@example.test", "cn", "Dana"))
	h, s := newHouse(t), newHostile(t, "ldaps", func(op *ber.Packet) []*ber.Packet {
		if op.Tag == goldap.ApplicationSearchRequest {
			filter, _ := goldap.DecompileFilter(op.Children[6])
			filters.Store(filter, true)
		}
		return known(op)
	})
	p := s.provider(asUPN)
	v := h.admitted(t, p, "dana@corp.test", "dana-password")
	want := identity.Visitor{Subject: "0001feff3d292a5c08090a0b0c0d0e0f", Name: "dana", Email: "dana@example.test", EmailVerified: true, Display: "Dana"}
	if !reflect.DeepEqual(v, want) {
		t.Errorf("got %+v", v)
	}
	if yes, err := h.Present(t.Context(), p, v.Subject); err != nil || !yes {
		t.Errorf("present %v, error %v", yes, err)
	}
	if _, ok := filters.Load(`(&(objectGUID=` + goldap.EscapeFilter(guid) + `)(objectClass=*))`); !ok {
		t.Error("the subject was not looked for by its bytes")
	}
	before := s.binds.Load()
	for _, name := range []string{"dana", `CORP\dana@corp.test`, "CN=Dana,DC=x@y", "dana/admin@corp.test"} {
		if got := h.refused(t, p, name, "dana-password"); got != "the name is no user principal name" {
			t.Errorf("%q: %s", name, got)
		}
	}
	if s.binds.Load() != before {
		t.Error("a name that is none was bound with")
	}
	if got := h.refused(t, p, "dana@other.test", "dana-password"); got != "the entry does not hold the name as it was presented" {
		t.Errorf("got %s", got)
	}
}

// A bind that is answered with a referral is no bind, and nobody goes where it points.
func TestBind_follows_no_referral(t *testing.T) {
	t.Parallel()
	elsewhere := newHostile(t, "ldaps", lets())
	h, s := newHouse(t), newHostile(t, "ldaps", func(*ber.Packet) []*ber.Packet {
		answer := result(goldap.ApplicationBindResponse, int64(goldap.LDAPResultReferral), "")
		list := ber.Encode(ber.ClassContext, ber.TypeConstructed, 3, nil, "")
		list.AppendChild(text(elsewhere.url))
		answer.AppendChild(list)
		return []*ber.Packet{answer}
	})
	if got := h.refused(t, s.provider(), "dana", "dana-password"); got != "bind the service account: the directory answered 10 Referral" {
		t.Errorf("got %s", got)
	}
	if elsewhere.binds.Load() != 0 || h.dialled.Load() != 1 {
		t.Errorf("%d connections", h.dialled.Load())
	}
}
