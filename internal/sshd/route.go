package sshd

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
)

// Route is what an SSH user name asks for: a ProofRoute, RemoteRoute, GitRoute, PersonRoute or
// NoRoute. No name has two readings, because no user is called like an identifier, like "git", or with
// one of the separators (rule F6).
type Route interface{ route() }

// ProofRoute is a connection identifier, in lower case: a key proof.
type ProofRoute struct{ Identifier string }

// RemoteRoute is a session on a device: "user:device" or "user:credential@device". The first colon ends
// the user, the last @ begins the device.
type RemoteRoute struct{ User, Credential, Device string }

// GitRoute is the user name of git commands.
type GitRoute struct{}

// PersonRoute is a user name alone.
type PersonRoute struct{ User string }

// NoRoute is a name that means nothing.
type NoRoute struct{}

func (ProofRoute) route()  {}
func (RemoteRoute) route() {}
func (GitRoute) route()    {}
func (PersonRoute) route() {}
func (NoRoute) route()     {}

// gitUser is the one user name under which git commands are taken.
const gitUser = "git"

// maxRouted bounds a user name before anything looks inside: a name, a credential and a device of 255.
const maxRouted = 1024

// ParseRoute reads an SSH user name; the first rule that matches counts.
func ParseRoute(user string) Route {
	if identifier, ok := keyproof.Identifier(user); ok {
		return ProofRoute{identifier}
	}
	if len(user) > maxRouted || !utf8.ValidString(user) || strings.ContainsFunc(user, unicode.IsControl) {
		return NoRoute{}
	}
	if name, rest, ok := strings.Cut(user, ":"); ok {
		return parseRemote(name, rest)
	}
	if user == gitUser {
		return GitRoute{}
	}
	if identity.CheckName(user) == nil {
		return PersonRoute{user}
	}
	return NoRoute{}
}

func parseRemote(name, rest string) Route {
	r := RemoteRoute{User: name, Device: rest}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		r.Credential, r.Device = rest[:at], rest[at+1:]
		if r.Credential == "" {
			return NoRoute{}
		}
	}
	if r.Device == "" || identity.CheckName(name) != nil {
		return NoRoute{}
	}
	return r
}
