package access

import "slices"

// owned is what people and programs may do to themselves without any role: no binding says that
// somebody may sign out.
var owned = []Action{UserRead, UserPassword, UserRename, ApplicationRead, SessionStart, SessionRead, SessionKeep, SessionEnd, FactorRead, FactorEnrol, FactorRemove, FactorCodes, AccessExplain, SSHKeyRead, SSHKeyAdd, SSHKeyRemove, TokenIssue, TokenRead, TokenUpdate, TokenRevoke, RemoteRead, RemoteEnd}

// owns reports whether the resource is the caller, or something that belongs to the caller alone, and the action is
// one that needs no role then. A program may see the account that it belongs to as well.
func (c Caller) owns(do Action, on Resource) (why string, ok bool) {
	self := Resource{Kind: string(c.Kind), ID: c.ID}
	switch {
	case c.ID == "":
		return "", false
	case on.inside(self) && slices.Contains(owned, do):
		return on.String() + " is the caller's own", true
	case c.Kind == Application && do == AccountRead && on.is(Account(c.Account)):
		return "the application belongs to " + on.String(), true
	}
	return "", false
}
