package remote_test

import (
	"strings"
	"testing"
)

func TestPlay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.library.cast = "{\"version\":3}\n"
	path := "/ws/play/" + someID
	dana := []string{"Cookie", "gatehouse=dana", "Sec-Fetch-Site", "same-origin"}

	t.Run("shows a page to those who may", func(t *testing.T) {
		if a := h.ask(t, "GET", path, dana...); a.StatusCode != 200 || !strings.Contains(a.text, `sandbox="allow-scripts"`) {
			t.Errorf("%d %s", a.StatusCode, a.text)
		}
		if a := h.ask(t, "GET", path, "Cookie", "gatehouse=mallory"); a.StatusCode != 404 {
			t.Errorf("%d", a.StatusCode)
		}
		if a := h.ask(t, "GET", path, "Cookie", "gatehouse=gone"); a.StatusCode != 303 {
			t.Errorf("%d", a.StatusCode)
		}
	})
	// The frame has an origin of nobody, also where it is opened by itself (rule W4).
	t.Run("plays in a frame that reaches nothing", func(t *testing.T) {
		csp := h.ask(t, "GET", path+"/frame").Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "sandbox allow-scripts; default-src 'none';") || strings.Contains(csp, "connect-src") || strings.Contains(csp, "allow-same-origin") {
			t.Errorf("%s", csp)
		}
	})
	// A recording is given for a ticket, once (rule W1).
	t.Run("gives what is played for a ticket", func(t *testing.T) {
		ticket := h.ticket(t, path, append(dana, "X-Gatehouse-Csrf", "1")...)
		for name, headers := range map[string][]string{
			"without":        dana,
			"made up":        append(dana[:4:4], "Recording-Ticket", "x"),
			"a foreign page": {"Cookie", "gatehouse=dana", "Origin", "https://evil.example", "Recording-Ticket", ticket},
			"nobody":         {"Sec-Fetch-Site", "same-origin", "Recording-Ticket", ticket},
			"mallory":        {"Cookie", "gatehouse=mallory", "Sec-Fetch-Site", "same-origin", "Recording-Ticket", ticket},
		} {
			if a := h.ask(t, "GET", path+"/data", headers...); a.StatusCode < 400 || strings.Contains(a.text, "version") {
				t.Errorf("%s: %d %s", name, a.StatusCode, a.text)
			}
		}
		with := append(dana[:4:4], "Recording-Ticket", ticket)
		if a := h.ask(t, "GET", path+"/data?track=terminal", with...); a.StatusCode != 200 || a.text != h.library.cast || a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%d %s", a.StatusCode, a.text)
		}
		if a := h.ask(t, "GET", path+"/data", with...); a.StatusCode < 400 {
			t.Errorf("a second time: %d", a.StatusCode)
		}
		erik := []string{"Cookie", "gatehouse=erik", "Sec-Fetch-Site", "same-origin", "Recording-Ticket", h.ticket(t, path, append(dana, "X-Gatehouse-Csrf", "1")...)}
		if a := h.ask(t, "GET", path+"/data", erik...); a.StatusCode < 400 {
			t.Errorf("with somebody else's ticket: %d", a.StatusCode)
		}
		for why, most := range map[string]int{"this request did not begin at a page of this server": 1, "the ticket opens nothing": 4} {
			if n := h.sessions.onRecord(why); n != most {
				t.Errorf("%q is on record %d times", why, n)
			}
		}
	})
}
