package remote_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/api"
	remoteapi "github.com/gatehouse-project/gatehouse/internal/api/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

const link = "/modulos/auth?_sr=Vb3q0m7n9wXy2kLr8tZa1cEoHs5uJdQf4gTiPxN6vRM"

// Each refusal has its page: status, heading and advice, reference and time, no script, no name of anything (rule W2).
func TestRedeem_refuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, c := range []struct {
		name                     string
		err                      error
		status                   int
		english, german, portugu string
	}{
		{"late", remote.ErrLinkLate, 410, "This link has expired", "Dieser Link ist abgelaufen", "Este link expirou"},
		{"reused", remote.ErrLinkUsed, 410, "This link was already used", "Dieser Link wurde bereits benutzt", "Este link já foi usado"},
		{"cancelled", remote.ErrLinkCancelled, 410, "This link was cancelled", "Dieser Link wurde zurückgezogen", "Este link foi cancelado"},
		{"unknown", remote.ErrLinkUnknown, 410, "This link is not valid", "Dieser Link ist nicht gültig", "Este link não é válido"},
		{"wrong address", remote.ErrLinkElsewhere, 403, "This link is for another computer or network", "Dieser Link gilt für einen anderen Rechner", "Este link é para outro computador"},
		{"denied", remote.ErrLinkDenied, 403, "You cannot start this session now", "Sie können diese Sitzung jetzt nicht starten", "Você não pode iniciar esta sessão agora"},
		{"too many", remote.ErrTooManyLinks, 429, "Too many requests", "Zu viele Anfragen", "Solicitações demais"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.sessions.redeem = func(remote.Visit) (remote.Session, error) {
				return remote.Session{ID: someID, Host: "web-01.example.test", State: remote.Expired}, c.err
			}
			for language, heading := range map[string]string{
				"": c.english, "fr": c.english, "de-AT,de;q=0.9,en;q=0.5": c.german, "en;q=0.2, pt-BR": c.portugu, "pt;q=0, xx": c.english,
			} {
				a := h.ask(t, "GET", link, "Accept-Language", language)
				if a.StatusCode != c.status || !strings.Contains(a.text, "<h1>"+heading) {
					t.Errorf("%q: %d %s", language, a.StatusCode, a.text)
				}
				aRefusalPage(t, a)
			}
			if c.status == 429 && h.ask(t, "GET", link).Header.Get("Retry-After") != "60" {
				t.Error("it does not say when to come again")
			}
		})
	}
}

func aRefusalPage(t *testing.T, a answer) {
	t.Helper()
	if strings.Contains(a.text, "<script") || strings.Contains(a.text, "web-01") || strings.Contains(a.text, "<form") || strings.Contains(a.text, "_sr") {
		t.Errorf("a refusal has a script, a form or a name in it: %s", a.text)
	}
	if id := a.Header.Get("X-Request-Id"); id == "" || !strings.Contains(a.text, id) {
		t.Errorf("no reference: %s", a.text)
	}
	if !regexp.MustCompile(`<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC</time>`).MatchString(a.text) {
		t.Errorf("no time: %s", a.text)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if csp := a.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "script-src") {
		t.Errorf("Content-Security-Policy: %s", csp)
	}
}

func TestRedeem(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sessions.redeem = func(remote.Visit) (remote.Session, error) { return waiting(), nil }

	t.Run("gives a cookie and leads on", func(t *testing.T) {
		a := h.ask(t, "GET", link, "Cookie", "gatehouse=dana")
		if a.StatusCode != 303 || a.Header.Get("Location") != "/ws/"+someID {
			t.Fatalf("%d %s", a.StatusCode, a.Header.Get("Location"))
		}
		if got, want := a.Header.Get("Set-Cookie"), "gh_ws="+someID+"."+token+"; Path=/; HttpOnly; SameSite=Lax"; got != want { // rule W12
			t.Errorf("%q, want %q", got, want)
		}
		v := h.sessions.visits[len(h.sessions.visits)-1]
		if v.Link.Reveal() != "Vb3q0m7n9wXy2kLr8tZa1cEoHs5uJdQf4gTiPxN6vRM" || v.Session != "session of dana" || v.Address.String() != "127.0.0.1" || v.Request == "" || v.Door != "remote" {
			t.Errorf("%+v", v)
		}
	})
	t.Run("keeps what the browser holds of other sessions, sixteen in all", func(t *testing.T) {
		var held []string
		for _, c := range "abcdefghijklmnopqrstuvwxyz" {
			held = append(held, "session-"+string(c)+".token-"+string(c))
		}
		a := h.ask(t, "GET", link, "Cookie", "gh_ws="+strings.Join(held, "~"))
		value, _, _ := strings.Cut(strings.TrimPrefix(a.Header.Get("Set-Cookie"), "gh_ws="), ";")
		got := strings.Split(value, "~")
		if len(got) != 16 || got[0] != someID+"."+token || got[1] != held[0] || got[15] != held[14] {
			t.Errorf("%q", got)
		}
		v := h.sessions.visits[len(h.sessions.visits)-1]
		if len(v.Earlier) != 26 || v.Earlier[0].Reveal() != "token-a" || v.Session != "" {
			t.Errorf("%d earlier, session %q", len(v.Earlier), v.Session)
		}
	})
	t.Run("is found in any case", func(t *testing.T) {
		for _, path := range []string{"/Modulos/Auth", "/MODULOS/AUTH/", "//modulos//auth"} {
			if a := h.ask(t, "GET", path+"?_sr=x"); a.StatusCode != 303 {
				t.Errorf("%s: %d", path, a.StatusCode)
			}
		}
	})
	t.Run("uses nothing up for those who only look", func(t *testing.T) {
		before := len(h.sessions.visits)
		for _, headers := range [][]string{{"HEAD"}, {"OPTIONS"}, {"GET", "Sec-Purpose", "prefetch;prerender"}, {"GET", "Purpose", "prefetch"}, {"GET", "X-Moz", "Prefetch"}} {
			if a := h.ask(t, headers[0], link, headers[1:]...); a.StatusCode != 204 || a.Header.Get("Set-Cookie") != "" {
				t.Errorf("%v: %d", headers, a.StatusCode)
			}
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			if a := h.ask(t, method, link); a.StatusCode != 405 || a.Header.Get("Allow") != "GET" {
				t.Errorf("%s: %d, Allow %q", method, a.StatusCode, a.Header.Get("Allow"))
			}
		}
		if len(h.sessions.visits) != before {
			t.Error("the link was looked at")
		}
	})
	t.Run("shows the way back to whoever used the link already", func(t *testing.T) {
		h.sessions.redeem = func(remote.Visit) (remote.Session, error) {
			x := waiting()
			x.State = remote.Active
			return x, remote.ErrLinkUsed
		}
		if a := h.ask(t, "GET", link, mine()...); a.StatusCode != 410 || !strings.Contains(a.text, `href="/ws/`+someID+`"`) {
			t.Errorf("%d %s", a.StatusCode, a.text)
		}
		if a := h.ask(t, "GET", link); strings.Contains(a.text, someID) {
			t.Errorf("the way is shown to anybody: %s", a.text)
		}
	})
}

// Cookies need TLS, but on loopback (rule W12): nothing is used up where there can be none.
func TestRedeem_over_plain_http(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(o *remoteapi.Options) {
		o.Cookies = api.Cookies{PublicURL: &url.URL{Scheme: "http", Host: "gate.example.test"}}
	})
	a := h.ask(t, "GET", link)
	if a.StatusCode != 403 || !strings.Contains(a.text, "https") || len(h.sessions.visits) != 0 {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	aRefusalPage(t, a)

	h = newHouse(t, func(o *remoteapi.Options) {
		o.Cookies = api.Cookies{PublicURL: &url.URL{Scheme: "https", Host: "gate.example.test"}}
	})
	h.sessions.redeem = func(remote.Visit) (remote.Session, error) { return waiting(), nil }
	a = h.ask(t, "GET", link)
	if got, want := a.Header.Get("Set-Cookie"), "__Host-gh_ws="+someID+"."+token+"; Path=/; Secure; HttpOnly; SameSite=Lax"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Pages may be framed by whom the authorisation names, and by nobody else.
func TestPages_name_who_may_frame_them(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for id, want := range map[string]string{"tool": "frame-ancestors https://tool.example.test", "other": "frame-ancestors 'none'"} {
		x := waiting()
		x.Origin = access.Subject{Kind: access.Authorization, ID: id}
		h.sessions.put(x)
		h.sessions.due = []remote.Step{{Kind: remote.ReasonDue}}
		h.sessions.redeem = func(remote.Visit) (remote.Session, error) { return x, remote.ErrLinkLate }
		for _, path := range []string{"/ws/" + someID, link} {
			csp := h.ask(t, "GET", path, mine()...).Header.Get("Content-Security-Policy")
			if !strings.HasSuffix(csp, want) {
				t.Errorf("%s %s: %q", id, path, csp)
			}
		}
	}
}

func TestTexts_are_in_every_language(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sessions.put(waiting())
	for _, kind := range []remote.StepKind{remote.StepUpDue, remote.ReasonDue, remote.ApprovalWanted} {
		h.sessions.due = []remote.Step{{Kind: kind}}
		for _, language := range []string{"en", "de", "pt"} {
			a := h.ask(t, "GET", "/ws/"+someID, append(mine(), "Accept-Language", language)...)
			if a.StatusCode != http.StatusOK || !strings.Contains(a.text, `<html lang="`+language+`">`) || strings.Contains(a.text, ">"+string(kind)) {
				t.Errorf("%s in %s: %d %s", kind, language, a.StatusCode, a.text)
			}
		}
	}
}
