package api

import (
	"log/slog"
	"net/http"
	"time"
)

// NewServer returns an http.Server for h with limits on what a stranger can hold open: the head of a
// request within 10 s and 64 KiB, two minutes of idleness. Bodies and answers have no deadline here, as
// git and live streams take their time; their owners set their own. What net/http itself complains about
// (broken handshakes of scanners, mostly) goes to the log as debug lines.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
