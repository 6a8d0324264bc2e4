package access

import (
	"slices"
	"strings"
)

// scopeOfSelf is what a scope is bound to that reaches the caller alone.
const scopeOfSelf = "self"

// On makes a scope that reaches resources of one kind alone, and what belongs to one. It never reaches the installation as a whole, whatever roles its holder
// has there, nor what is more than reading and writing of a Reserved resource of that kind: that takes a scope on what the resource belongs to.
func (a Action) On(kind string) Action { return a + "@" + Action(kind) }

// OnSelf makes a scope that reaches the caller, and what belongs to the caller alone.
func (a Action) OnSelf() Action { return a.On(scopeOfSelf) }

// scopeFor finds a scope that covers the action on the resource.
func (c Caller) scopeFor(do Action, on Resource) (Action, bool) {
	for _, scope := range c.Scopes {
		what, kind, bound := strings.Cut(string(scope), "@")
		if do.AllowedBy(Action(what)) && (!bound || c.reaches(kind, do, on)) {
			return scope, true
		}
	}
	return "", false
}

// reaches reports whether a scope that is bound to a kind covers the action on the resource.
func (c Caller) reaches(kind string, do Action, on Resource) bool {
	switch {
	case kind == scopeOfSelf:
		return c.ID != "" && on.inside(Resource{Kind: string(c.Kind), ID: c.ID})
	case on.Kind == kind:
		return !on.Reserved || slices.Contains(unreserved, do)
	}
	return slices.ContainsFunc(on.Parents, func(parent Resource) bool { return parent.Kind == kind })
}
