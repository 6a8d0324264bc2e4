package app

import "strings"

// heard is told what a transaction of some node changed: it drops what this node remembers of it, or
// wakes what waits. It must be quick.
func (s *Server) heard(payload string) {
	topic, id, _ := strings.Cut(payload, " ")
	switch topic {
	case "webhook":
		s.Webhooks.Wake()
	case "audit":
		s.Subscriptions.Wake()
		s.Events.Wake()
	case "keyproof.gone":
		s.Keyproof.Gone(id)
	case "token":
		s.Tokens.Forget(id)
		s.HTTPTokens.Forget(id)
	case "tokens":
		s.Tokens.ForgetAll()
		s.HTTPTokens.ForgetAll()
	case "project":
		s.Projects.Forget(id)
	case "session":
		s.Sessions.Forget(id)
	case "sshkey":
		s.Keys.Forget(id)
	case "sshkeys":
		s.Keys.ForgetAll()
	case "user":
		s.Sessions.ForgetPrincipal(id)
		s.Keys.ForgetUser(id)
		s.HTTPTokens.ForgetUser(id)
		s.Remote.HeardGrants()
	case "binding":
		s.Remote.HeardGrants()
	case "remote.request":
		s.pages.Heard(id)
	case "remote":
		s.pages.Heard(id)
		s.Remote.Heard(id)
	case "remote.watch":
		s.Remote.HeardWatch(id)
	case "application":
		s.Sessions.ForgetPrincipal(id)
	case "account":
		s.Sessions.ForgetAll()
		s.Keys.ForgetAll()
		s.HTTPTokens.ForgetAll()
	case "provider":
		s.Sessions.ForgetAll()
	case "policy":
		s.Policies.Forget()
	}
}

// missed is called when notices may have been lost: whatever is remembered may be stale.
func (s *Server) missed() {
	s.Tokens.ForgetAll()
	s.HTTPTokens.ForgetAll()
	s.Projects.ForgetAll()
	s.Sessions.ForgetAll()
	s.Keys.ForgetAll()
	s.Policies.Forget()
	s.Webhooks.Wake()
	s.Subscriptions.Wake()
	s.Events.Wake()
	s.Remote.HeardGrants()
}
