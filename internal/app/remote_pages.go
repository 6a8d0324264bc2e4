package app

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	remoteapi "github.com/gatehouse-project/gatehouse/internal/api/remote"
	"github.com/gatehouse-project/gatehouse/internal/console"
)

// pingEvery is how often a silent socket is used: less than the minute after which proxies give up on one.
const pingEvery = 25 * time.Second

// remotePages serves what a browser sees of remote sessions.
func (s *Server) remotePages() *remoteapi.Pages {
	o := remoteapi.Options{
		Sessions: s.Remote, Engine: remoteapi.EngineOf(s.Remote), Library: s.Library, Login: s.Login, Cookies: s.cookies(),
		Ancestors: func(ctx context.Context, authorization string) ([]string, error) {
			a, err := s.Authorizations.ForRemote(ctx, authorization)
			return a.Ancestors, err
		},
		Reattach: s.Config.Remote.Reattach, Look: s.Config.Remote.Look, Ping: pingEvery, BodyWait: bodyWait, Now: s.Now, OnError: s.failed,
	}
	if !console.Built() {
		o.Unbuilt = console.Stub
	}
	return remoteapi.New(o)
}

// remoteOwners are the owners of the paths of remote sessions, and of what their pages are drawn with.
func (s *Server) remoteOwners() []api.Owner {
	s.pages = s.remotePages()
	return append(s.pages.Owners(), console.Owner())
}
