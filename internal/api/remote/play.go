package remote

import (
	"errors"
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// ticketHeader carries the one-time ticket of a recording: a header, because addresses are kept in histories and logs.
const ticketHeader = "Recording-Ticket"

// play is the page of a recording. It fetches what is played, by the cookie of who plays and a ticket, and hands it to its frame.
func (p *Pages) play(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	ref := r.PathValue("ref")
	rec, err := p.Library.Find(r.Context(), by, ref)
	if err != nil || p.build(w, r) {
		return err
	}
	tracks, err := p.Library.Tracks(r.Context(), by, ref)
	if err != nil {
		return err
	}
	page := newShell(r, "play", "play", remote.Session{Host: rec.Host, Username: rec.Username, User: rec.User})
	page.Path, page.Tracks = "/ws/play/"+rec.Session, tracks
	page.Facts = [][2]string{{"ended.from", rec.Started.UTC().Format(formTime)}}
	if !rec.Ended.IsZero() {
		page.Facts = append(page.Facts, [2]string{"ended.to", rec.Ended.UTC().Format(formTime)})
	}
	switch {
	case !rec.Deleted.IsZero():
		page.Empty = "play.erased"
	case len(tracks) == 0:
		page.Empty = "play.none"
	}
	if rec.Cut != "" {
		page.Alert = "play.cut"
	}
	w.Header().Set("Content-Security-Policy", policy(player, "'none'"))
	return show(w, http.StatusOK, "play", page)
}

// framePolicy is that of the player's frame: an origin of nobody (also where somebody opens it by itself), which reaches nothing and which our own pages
// alone may hold (rule W4). The terminal of the player is WebAssembly, and it sets colours as styles of its own making.
const framePolicy = "sandbox allow-scripts; default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// frame is where a recording is played: nothing of it is secret, so anybody may have it.
func (p *Pages) frame(w http.ResponseWriter, r *http.Request) error {
	if p.build(w, r) {
		return nil
	}
	w.Header().Set("Content-Security-Policy", framePolicy)
	return show(w, http.StatusOK, "frame", view{Language: languageOf(r)})
}

// playTicket gives the page of a recording what fetches it, once.
func (p *Pages) playTicket(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	rec, err := p.Library.Find(r.Context(), by, r.PathValue("ref"))
	if err != nil {
		return err
	}
	plain, err := p.Sessions.MakeTicket(r.Context(), remote.Session{ID: rec.Session}, playPurpose, by.ID, by.Name)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, wireTicket{plain.Reveal()})
}

// data is what is played: asciicast v3 without what could harm whoever plays it (rule W10).
func (p *Pages) data(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	rec, err := p.Library.Find(r.Context(), by, r.PathValue("ref"))
	if err != nil {
		return err
	}
	err = errForeign
	if p.Cookies.BeganHere(r) {
		err = p.useTicket(r.Context(), r.Header.Get(ticketHeader), rec.Session, playPurpose, by.ID)
	}
	if errors.Is(err, errForeign) || errors.Is(err, errTicket) {
		p.foreign(r, remote.Session{ID: rec.Session}, err)
	}
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/x-asciicast")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "no-store")
	return p.Library.Play(r.Context(), by, rec.Session, remote.Export{Track: r.URL.Query().Get("track"), Format: remote.AsciicastV3}, w)
}
