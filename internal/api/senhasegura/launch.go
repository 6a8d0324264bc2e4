package senhasegura

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// wireLink is what a link is given out as. The token ends the session, and opens nothing.
type wireLink struct {
	URL   string `json:"session_url"`
	Token string `json:"token"`
}

// launch makes a link by which a person opens a session.
func (d *Dialect) launch(w http.ResponseWriter, c *call) error {
	want, err := d.wanted(c)
	if err != nil {
		return err
	}
	made, err := d.Remote.Launch(c.Context(), c.by, want)
	if err != nil {
		return err
	}
	a := d.success(http.StatusOK, "Session created successfully")
	a.Session = wireLink{d.PublicURL + "/modulos/auth?_sr=" + made.Link.Reveal(), made.Handle.Reveal()}
	return reply(w, a)
}

// wanted reads what is to be opened, field by field in the order in which they are refused.
func (d *Dialect) wanted(c *call) (remote.Want, error) {
	f := c.body
	want := remote.Want{User: f.text("user"), Credential: f.text("credential"), Device: f.text("device"), Target: f.text("remotedevice")}
	want.Pick = !f.has("credential") && (c.from.AutoPick || !d.Remote.Settings.RequireCredential)
	if err := f.wrong(); err != nil {
		return want, err
	}
	switch {
	case want.User == "":
		return want, errNoUserGiven
	case want.Credential == "" && !want.Pick:
		return want, errNoCredentialGiven
	case want.Device == "":
		return want, errNoDeviceGiven
	}
	want.Protocol = device.Protocol(strings.ToLower(f.text("protocol")))
	if want.Protocol.DefaultPort() == 0 {
		return want, errProtocol
	}
	want.Port = int(f.integer("port", 1, 65535, errPort))
	want.Screen = f.screen("screensize")
	want.Bound = f.address("remoteAddr")
	want.RemoteApp = f.remoteApp("remoteapp")
	return want, f.wrong()
}

// remoteApp reads the number of an application; absent is 0. What is no number is none that there is: whether there is one is asked last of all.
func (f *fields) remoteApp(name string) int {
	text := strings.TrimSpace(f.text(name))
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 {
		return -1
	}
	return int(n)
}

const (
	leastWidth, mostWidth   = 320, 7680
	leastHeight, mostHeight = 200, 4320
)

// screen reads a size such as 1920x1080, which is also the one of those who name none.
func (f *fields) screen(name string) remote.Screen {
	text := strings.ToLower(strings.TrimSpace(f.text(name)))
	if text == "" {
		return remote.Screen{Width: 1920, Height: 1080}
	}
	wide, high, _ := strings.Cut(text, "x")
	width, notWide := strconv.Atoi(wide)
	height, notHigh := strconv.Atoi(high)
	if notWide != nil || notHigh != nil || width < leastWidth || width > mostWidth || height < leastHeight || height > mostHeight {
		f.refuse(errScreen)
	}
	return remote.Screen{Width: width, Height: height}
}

// address reads one address; absent is none.
func (f *fields) address(name string) netip.Addr {
	text := strings.TrimSpace(f.text(name))
	if text == "" {
		return netip.Addr{}
	}
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" {
		f.refuse(errAddress)
	}
	return address.Unmap()
}
