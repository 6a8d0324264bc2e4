package device_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

func newKey(t testing.TB) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rule S16: a pin belongs to one port of one device, and counts only once somebody with the right has accepted it.
func TestHostKeys(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx, key := t.Context(), newKey(t)
	d, err := s.Create(ctx, local, device.New{Host: "web-01", IP: ip, Connect: &[]device.Connectivity{{Name: "ssh", Port: 22}}})
	must(t, err)
	m.give("dana", access.DeviceConnect, d.Resource())
	m.give("mona", access.DeviceManage, d.Resource())

	must(t, s.Saw(ctx, d.ID, 22, key.Marshal()))
	if e := m.last(t); e.Action != "device.hostkey" || e.Detail["host_key"] != ssh.FingerprintSHA256(key) || e.Detail["port"] != "22" || e.Actor.Kind != "system" {
		t.Errorf("%+v", e)
	}
	accepted := func(port int) int {
		blobs, err := s.Accepted(ctx, d.ID, port)
		must(t, err)
		return len(blobs)
	}
	if accepted(22) != 0 {
		t.Error("a key counts that nobody has accepted")
	}
	denied(t, second(s.AcceptHostKey(ctx, person("dana"), d.ID, 22, ssh.FingerprintSHA256(key))))
	is(t, second(s.AcceptHostKey(ctx, person("gus"), d.ID, 22, ssh.FingerprintSHA256(key))), device.ErrUnknown)
	is(t, second(s.AcceptHostKey(ctx, person("mona"), d.ID, 2222, ssh.FingerprintSHA256(key))), device.ErrUnknownHostKey) // seen on another port
	k, err := s.AcceptHostKey(ctx, person("mona"), d.ID, 0, ssh.FingerprintSHA256(key))
	if err != nil || k.Port != 22 || !k.Accepted || k.DecidedBy != "mona" || k.Fingerprint() != ssh.FingerprintSHA256(key) || k.Type() != "ssh-ed25519" {
		t.Errorf("%+v, %v", k, err)
	}
	if accepted(22) != 1 || accepted(2222) != 0 {
		t.Error("a pin does not belong to its port alone")
	}
	line := string(ssh.MarshalAuthorizedKey(newKey(t)))
	other, err := s.AcceptHostKey(ctx, person("mona"), d.ID, 2222, line)
	if err != nil || other.Line()+"\n" != line || accepted(2222) != 1 {
		t.Errorf("%+v, %v", other, err)
	}
	all, err := s.HostKeys(ctx, person("dana"), d.ID)
	if err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
	denied(t, s.RemoveHostKey(ctx, person("dana"), d.ID, k.ID))
	is(t, s.RemoveHostKey(ctx, person("mona"), d.ID, "x"), device.ErrUnknownHostKey)
	must(t, s.RemoveHostKey(ctx, person("mona"), d.ID, k.Fingerprint()))
	if e := m.last(t); accepted(22) != 0 || accepted(2222) != 1 || e.Detail["accepted"] != "false" {
		t.Errorf("%v", e.Detail)
	}
}

func TestHostKeys_that_are_none(t *testing.T) {
	t.Parallel()
	s, _ := newService(t)
	ctx := t.Context()
	d, err := s.Create(ctx, local, device.New{Host: "web-01", IP: ip})
	must(t, err)
	is(t, second(s.AcceptHostKey(ctx, local, d.ID, 0, "x")), device.ErrNotSSH)
	invalid(t, second(s.AcceptHostKey(ctx, local, d.ID, 65536, "x")))
	good := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(newKey(t))))
	_, signer, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	authority, err := ssh.NewSignerFromKey(signer)
	must(t, err)
	certificate := &ssh.Certificate{Key: newKey(t), CertType: ssh.HostCert, ValidBefore: ssh.CertTimeInfinity}
	must(t, certificate.SignCert(rand.Reader, authority))
	for _, line := range []string{"", "hello", "ssh-ed25519", `from="10.0.0.0/8" ` + good, good + "\n" + good, string(ssh.MarshalAuthorizedKey(certificate))} {
		is(t, second(s.AcceptHostKey(ctx, local, d.ID, 22, line)), device.ErrNotHostKey)
	}
	for _, blob := range [][]byte{nil, {0}, certificate.Marshal(), append(newKey(t).Marshal(), 0), make([]byte, 1<<20)} {
		is(t, s.Saw(ctx, d.ID, 22, blob), device.ErrNotHostKey)
	}
	is(t, s.Saw(ctx, "gone", 22, newKey(t).Marshal()), device.ErrUnknown)
	if all, err := s.HostKeys(ctx, local, d.ID); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// showing is a Scanner of a target that shows these, or none.
type showing struct {
	blobs [][]byte
	err   error
	at    *netip.AddrPort
}

func (s showing) HostKeys(_ context.Context, at netip.AddrPort) ([][]byte, error) {
	*s.at = at
	return s.blobs, s.err
}

func TestScan(t *testing.T) {
	t.Parallel()
	s, m := newService(t)
	ctx, at := t.Context(), netip.AddrPort{}
	d, err := s.Create(ctx, local, device.New{Host: "web-01", IP: ip, Connect: &[]device.Connectivity{{Name: "SSH", Port: 2222}}})
	must(t, err)
	m.give("dana", access.DeviceConnect, d.Resource())
	if err := second(s.Scan(ctx, local, d.ID, 0)); !fault.Is(err, fault.Conflict) {
		t.Errorf("without a scanner: %v", err)
	}
	one, two := newKey(t).Marshal(), newKey(t).Marshal()
	must(t, s.Saw(ctx, d.ID, 22, one)) // on another port: not of this answer
	s.Scanner = showing{blobs: [][]byte{one, two, []byte("no key")}, at: &at}
	denied(t, second(s.Scan(ctx, person("dana"), d.ID, 0)))
	keys, err := s.Scan(ctx, local, d.ID, 0)
	if err != nil || len(keys) != 2 || keys[0].Accepted || keys[0].Port != 2222 || at.String() != "10.2.0.11:2222" {
		t.Errorf("%v at %v, %v", keys, at, err)
	}
	if blobs, err := s.Accepted(ctx, d.ID, 2222); err != nil || len(blobs) != 0 {
		t.Errorf("a scan accepts %d keys, %v", len(blobs), err)
	}
	s.Scanner = showing{err: errors.New("connection refused"), at: &at}
	if err := second(s.Scan(ctx, local, d.ID, 22)); !fault.Is(err, fault.Conflict) || strings.Contains(fault.Text(err), "refused") {
		t.Errorf("%v", err)
	}
}

func TestParseConnect(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"SSH:22": "SSH:22", "ssh": "ssh:22", " Telnet : 2323 ": "Telnet:2323", "RDP": "RDP:3389", "X11:6000": "X11:6000", "https": "https:443", "vnc": "vnc:5900", "http": "http:80", "telnet": "telnet:23",
		"": "", "X11": "", "SSH:": "", "SSH:0": "", "SSH:65536": "", "SSH:22:23": "", ":22": "", "SSH:x": "", "S\x00H:22": "", "SSH:-1": "",
	} {
		c, err := device.ParseConnect(text)
		if want == "" && !fault.Is(err, fault.Invalid) || want != "" && (err != nil || c.String() != want) {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
	if _, err := device.ParseConnects([]string{"ssh", "x"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}

// What ParseConnect takes it also writes, and takes again as the same.
func FuzzParseConnect(f *testing.F) {
	for _, text := range []string{"SSH:22", "ssh", "X11:6000", "a b:1", ":", "ssh:99999999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := device.ParseConnect(text)
		if err != nil {
			return
		}
		again, err := device.ParseConnect(c.String())
		if err != nil || again != c || c.Port < 1 || c.Port > 65535 {
			t.Errorf("%q: %+v, then %+v, %v", text, c, again, err)
		}
	})
}

// Targets are hostile: whatever they show as host key, what is kept is one that has one fingerprint.
func FuzzHostKey(f *testing.F) {
	f.Add(newKey(f).Marshal())
	f.Add([]byte("\x00\x00\x00\x07ssh-rsa\x00\x00\x00\x01\x03\x00\x00\x00\x01\x05"))
	f.Fuzz(func(t *testing.T, blob []byte) {
		s, m := newService(t)
		d, err := s.Create(t.Context(), local, device.New{Host: "web-01", IP: ip})
		must(t, err)
		if err := s.Saw(t.Context(), d.ID, 22, blob); err != nil {
			if len(m.keys) != 0 || !errors.Is(err, device.ErrNotHostKey) {
				t.Errorf("%d keys, %v", len(m.keys), err)
			}
			return
		}
		k, err := s.AcceptHostKey(t.Context(), local, d.ID, 22, m.keys[0].Line())
		if err != nil || string(k.Blob) != string(blob) || len(blob) > 2048 {
			t.Errorf("%+v, %v", k, err)
		}
	})
}
