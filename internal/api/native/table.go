package native

import (
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
)

// name is the door's name among owners of paths, in logs and in the audit record.
const name = "native"

// API answers the operations with what the services behind it do.
type API struct {
	Login     *login.Service
	Sessions  *session.Service
	Access    *access.Service
	Users     *identity.Service
	Accounts  *identity.Accounts
	Groups    *identity.Groups
	Apps      *identity.Applications
	Providers *identity.Providers
	Policy    *policy.Service
	Projects  *project.Service
	Repos     *repo.Service
	Tokens    *token.Accesses
	Keys      *sshkey.Service
	Keyproof  *keyproof.Service
	Webhooks  *webhook.Service
	Devices   *device.Service
	Vault     *vault.Service
	Remote    *remote.Service
	Library   *remote.Library

	Subscriptions *webhook.Subscriptions
	Events        *webhook.Stream

	Authorizations *identity.Authorizations // of applications, for the API of remote sessions

	SSH func() (host string, port int) // where people reach the SSH door, which may listen later than this one

	Cookies  api.Cookies
	BodyWait time.Duration // how long a request may take to arrive; 0 is for ever
	SendWait time.Duration // how long a client of a stream or a file may take to accept one piece of it: one that does not read is let go
	FreshFor time.Duration // how long ago people may have signed in who change how a person signs in
	Now      func() time.Time
}

// tag is a group of operations in the document: one line for each.
type tag struct {
	name, text string
	lines      []line
}

// tags are the table, in the order of the page.
func (a *API) tags() []tag {
	return []tag{
		a.signInState(),
		a.secondFactors(),
		a.decisions(),
		a.accounts(),
		a.users(),
		a.applications(),
		a.authorizations(),
		a.providers(),
		a.settings(),
		a.accessTokens(),
		a.sshKeys(),
		a.projects(),
		a.repositories(),
		a.keyProofs(),
		a.devices(),
		a.credentials(),
		a.grants(),
		a.requests(),
		a.remoteSessions(),
		a.recordings(),
		a.subscriptions(),
	}
}

// operations are the lines of all tags.
func (a *API) operations() []line {
	var all []line
	for _, t := range a.tags() {
		for _, o := range t.lines {
			o.tag = t.name
			all = append(all, o)
		}
	}
	return all
}

func (a *API) signInState() tag {
	return tag{"Sign-in state", "Who is signed in. Everything here but the proofs of keys is opened by the session of a user: as a cookie, or as Authorization: Bearer. Answers that fail are problems of RFC 9457; their code tells programs what to do.", []line{
		op("GET", "/api/v1/session", access.SessionRead, "Show who is signed in", a.showSession),
		op("DELETE", "/api/v1/session", access.SessionEnd, "Sign out", a.signOut, gone),
		op("PUT", "/api/v1/session/account", access.SessionKeep, "Choose the account to work in", a.selectAccount),
		op("POST", "/api/v1/session/elevate", access.SessionKeep, "Prove once more who you are", a.elevate, says("Answers with the code elevation_required ask for this. A wrong proof counts as a failed sign-in, and the fifth in a row ends the session. A browser gets another cookie.")),
		op("PUT", "/api/v1/session/password", access.UserPassword, "Change one's own password", a.changePassword, says("The old password is the fresh proof. All other sessions end.")),
		op("GET", "/api/v1/sessions", access.SessionRead, "List sessions, newest first", a.listSessions, says("One's own; by right those of a user, or everybody's.")),
		op("DELETE", "/api/v1/sessions", access.SessionEnd, "Sign out everywhere but here", a.endSessions, says("By right all sessions of a user.")),
		op("DELETE", "/api/v1/sessions/{session}", access.SessionEnd, "End a session", a.endSession),
		op("GET", "/api/v1/sign-ins", access.SessionRead, "List what happened to sign-ins, newest first", a.listSignIns, says("Sessions that began and ended, refused attempts, changes of second factors and of the password.")),
	}}
}

func (a *API) secondFactors() tag {
	return tag{"Second factors", "One's own. Enrolling happens in the browser, at /login/enrol.", []line{
		op("GET", "/api/v1/factors", access.FactorRead, "Show one's second factors", a.showFactors),
		op("PATCH", "/api/v1/factors/devices/{device}", access.FactorEnrol, "Rename a security key", a.renameDevice, fresh),
		op("DELETE", "/api/v1/factors/devices/{device}", access.FactorRemove, "Remove a security key", a.removeDevice, fresh),
		op("POST", "/api/v1/factors/recovery-codes", access.FactorCodes, "Make the recovery codes anew", a.newCodes, fresh, created),
	}}
}

func (a *API) decisions() tag {
	return tag{"Access", "One decision for all doors, which explains itself.", []line{
		op("GET", "/api/v1/access/explain", access.AccessExplain, "Explain whether somebody may do something", a.explain, says("About oneself, for the session that asks; about others by right.")),
	}}
}

func (a *API) accounts() tag {
	return tag{"Accounts", "They hold users, groups and applications together.", []line{
		op("GET", "/api/v1/accounts", access.AccountRead, "List one's accounts", a.listAccounts),
		op("POST", "/api/v1/accounts", access.AccountCreate, "Create an account", a.createAccount, created),
		op("GET", "/api/v1/accounts/{account}", access.AccountRead, "Show an account", a.showAccount),
		op("PATCH", "/api/v1/accounts/{account}", access.AccountUpdate, "Change an account", a.changeAccount),
		op("GET", "/api/v1/accounts/{account}/members", access.UserRead, "List the members of an account", a.listMembers),
		op("PUT", "/api/v1/accounts/{account}/members/{user}", access.AccountMembers, "Add a member, or change what one is", a.setMember, fresh),
		op("DELETE", "/api/v1/accounts/{account}/members/{user}", access.AccountMembers, "Remove a member", a.removeMember),
		op("GET", "/api/v1/accounts/{account}/groups", access.GroupRead, "List the groups of an account", a.listGroups),
		op("POST", "/api/v1/accounts/{account}/groups", access.GroupCreate, "Create a group", a.createGroup, created),
		op("DELETE", "/api/v1/groups/{group}", access.GroupDelete, "Delete a group", a.deleteGroup, says("What its members held by it, they lose.")),
		op("GET", "/api/v1/groups/{group}/members", access.GroupRead, "List who is in a group", a.listGroupMembers),
		op("PUT", "/api/v1/groups/{group}/members/{user}", access.GroupMembers, "Put a user into a group", a.addGroupMember, fresh, says("Nobody can give more by it than they could give themselves.")),
		op("DELETE", "/api/v1/groups/{group}/members/{user}", access.GroupMembers, "Take a user out of a group", a.removeGroupMember),
		op("PUT", "/api/v1/groups/{group}/roles/{role}", access.AccessGrant, "Give a group a role on the installation", a.grantToGroup, fresh, says("All its members have it, now and later.")),
		op("DELETE", "/api/v1/groups/{group}/roles/{role}", access.AccessRevoke, "Take a role on the installation from a group", a.revokeFromGroup, fresh),
	}}
}

func (a *API) users() tag {
	return tag{"Users", "People who can sign in. Whoever stands below a user in rights on the installation cannot change how that user signs in.", []line{
		op("GET", "/api/v1/users", access.UserRead, "List users by name", a.listUsers),
		op("POST", "/api/v1/users", access.UserCreate, "Create a user", a.createUser, fresh, created),
		op("GET", "/api/v1/users/{user}", access.UserRead, "Show a user", a.showUser),
		op("PATCH", "/api/v1/users/{user}", access.UserRename, "Change what a user is called", a.changeUser),
		op("POST", "/api/v1/users/{user}/enable", access.UserUpdate, "Let a user in again", a.setDisabled(false)),
		op("POST", "/api/v1/users/{user}/disable", access.UserUpdate, "Shut a user out and end their sessions", a.setDisabled(true)),
		op("PUT", "/api/v1/users/{user}/password", access.UserUpdate, "Give a user another password", a.setPassword, fresh, says("All of the user's sessions end.")),
		op("POST", "/api/v1/users/{user}/unlock", access.GuardUnlock, "Forget a user's failed sign-ins", a.unlockUser),
		op("POST", "/api/v1/users/{user}/reset-factors", access.FactorReset, "Take a user's second factors away", a.resetFactors, fresh, says("All of the user's sessions end.")),
		op("POST", "/api/v1/users/{user}/devices", access.FactorImport, "Import a U2F key", a.importKey, fresh, created, says("Gives a user a security key that was enrolled elsewhere.")),
		op("POST", "/api/v1/users/{user}/grant-admin", access.AccessGrant, "Give a user every right", a.grantAdmin, fresh),
		op("GET", "/api/v1/users/{user}/groups", access.UserRead, "List the groups that a user is in", a.listGroupsOfUser),
		op("GET", "/api/v1/users/{user}/links", access.UserRead, "List who a user is at identity providers", a.listLinks),
		op("POST", "/api/v1/users/{user}/links", access.ProviderLink, "Say who a user is at an identity provider", a.createLink, fresh, created),
		op("DELETE", "/api/v1/users/{user}/links/{provider}", access.ProviderUnlink, "Say that a user is nobody there any more", a.deleteLink, fresh),
	}}
}

func (a *API) applications() tag {
	return tag{"Applications", "Programs that sign in with a secret of their own, by the dialects.", []line{
		op("GET", "/api/v1/accounts/{account}/applications", access.ApplicationRead, "List the applications of an account", a.listApplications),
		op("POST", "/api/v1/accounts/{account}/applications", access.ApplicationCreate, "Create an application", a.createApplication, created, says("Its secret is shown this once.")),
		op("GET", "/api/v1/applications/{application}", access.ApplicationRead, "Show an application", a.showApplication),
		op("POST", "/api/v1/applications/{application}/secret", access.ApplicationReset, "Give an application another secret", a.resetSecret, says("It is shown this once.")),
		op("POST", "/api/v1/applications/{application}/enable", access.ApplicationUpdate, "Let an application in again", a.setApplicationDisabled(false)),
		op("POST", "/api/v1/applications/{application}/disable", access.ApplicationUpdate, "Shut an application out and end its sessions", a.setApplicationDisabled(true)),
		op("DELETE", "/api/v1/applications/{application}", access.ApplicationDelete, "Delete an application", a.deleteApplication),
	}}
}

func (a *API) providers() tag {
	return tag{"Identity providers", "Directories, OpenID Connect and SAML providers that say who people are.", []line{
		op("GET", "/api/v1/providers", access.ProviderRead, "List identity providers", a.listProviders),
		op("POST", "/api/v1/providers", access.ProviderCreate, "Create an identity provider", a.createProvider, fresh, created),
		op("GET", "/api/v1/providers/{provider}", access.ProviderRead, "Show an identity provider", a.showProvider, says("Its secret is never shown.")),
		op("PATCH", "/api/v1/providers/{provider}", access.ProviderUpdate, "Change an identity provider", a.changeProvider, fresh),
		op("DELETE", "/api/v1/providers/{provider}", access.ProviderDelete, "Delete an identity provider with its links", a.deleteProvider, fresh, says("Users stay; sessions that began by it end.")),
		op("POST", "/api/v1/providers/{provider}/enable", access.ProviderUpdate, "Let people come from a provider", a.setEnabled(true), fresh),
		op("POST", "/api/v1/providers/{provider}/disable", access.ProviderUpdate, "Let nobody come from a provider", a.setEnabled(false), fresh, says("Sessions that began by it end.")),
		op("POST", "/api/v1/providers/{provider}/test", access.ProviderTest, "Try a provider, step by step", a.testProvider, says("Everything that can be tried without a person; a provider that is disabled too.")),
		op("GET", "/api/v1/jit-users", access.ProviderRead, "List the users whom providers have added", a.listMade),
	}}
}

func (a *API) settings() tag {
	return tag{"Settings", "What administrators choose about signing in while the server runs; what lies in the configuration is not here.", []line{
		op("GET", "/api/v1/settings/sso", access.SSORead, "Show what the sign-in page offers", a.showSSO),
		op("PATCH", "/api/v1/settings/sso", access.SSOUpdate, "Change what the sign-in page offers", a.changeSSO, says("Who is signed in stays so.")),
		op("GET", "/api/v1/settings/basic-auth", access.BasicAuthRead, "Show who may send a password by HTTP Basic", a.showBasicAuth),
		op("PATCH", "/api/v1/settings/basic-auth", access.BasicAuthUpdate, "Change who may send a password by HTTP Basic", a.changeBasicAuth, says("After the first change the setting basicauth.block no longer counts.")),
	}}
}

func (a *API) accessTokens() tag {
	return tag{"Access tokens", "With which programs speak HTTP and git for a person, or for a project or repository. Secrets are shown once.", []line{
		op("GET", "/api/v1/tokens", access.TokenRead, "List one's own access tokens", a.listTokens),
		op("POST", "/api/v1/tokens", access.TokenIssue, "Make an access token", a.createToken, fresh, created, says("For oneself alone.")),
		op("GET", "/api/v1/tokens/expiring", access.TokenRead, "List access tokens that expire soon, the first first", a.listExpiring, says("One's own; by right everybody's.")),
		op("POST", "/api/v1/tokens/leaked", access.Public, "Report an access token that was found", a.reportLeaked, public, says("It is revoked. Anybody may ask; the answer is the same for what is no token.")),
		op("GET", "/api/v1/tokens/{token}", access.TokenRead, "Show an access token", a.showToken),
		op("PATCH", "/api/v1/tokens/{token}", access.TokenUpdate, "Change an access token", a.changeToken, fresh),
		op("DELETE", "/api/v1/tokens/{token}", access.TokenRevoke, "Revoke an access token", a.revokeToken, says("At once.")),
		op("GET", "/api/v1/users/{user}/tokens", access.TokenRead, "List a user's access tokens", a.listTokens),
		op("DELETE", "/api/v1/users/{user}/tokens/{token}", access.TokenRevoke, "Revoke a user's access token", a.revokeToken),
		op("GET", "/api/v1/projects/{project}/tokens", access.TokenRead, "List the access tokens of a project", a.listTokens),
		op("POST", "/api/v1/projects/{project}/tokens", access.TokenIssue, "Make an access token of a project", a.createToken, created, says("It acts inside the project, for nobody.")),
		op("GET", "/api/v1/projects/{project}/tokens/{token}", access.TokenRead, "Show an access token of a project", a.showToken),
		op("PATCH", "/api/v1/projects/{project}/tokens/{token}", access.TokenUpdate, "Change an access token of a project", a.changeToken),
		op("DELETE", "/api/v1/projects/{project}/tokens/{token}", access.TokenRevoke, "Revoke an access token of a project", a.revokeToken),
		op("GET", "/api/v1/projects/{project}/repos/{repo}/tokens", access.TokenRead, "List the access tokens of a repository", a.listTokens),
		op("POST", "/api/v1/projects/{project}/repos/{repo}/tokens", access.TokenIssue, "Make an access token of a repository", a.createToken, created, says("It acts inside the repository, for nobody.")),
		op("GET", "/api/v1/projects/{project}/repos/{repo}/tokens/{token}", access.TokenRead, "Show an access token of a repository", a.showToken),
		op("PATCH", "/api/v1/projects/{project}/repos/{repo}/tokens/{token}", access.TokenUpdate, "Change an access token of a repository", a.changeToken),
		op("DELETE", "/api/v1/projects/{project}/repos/{repo}/tokens/{token}", access.TokenRevoke, "Revoke an access token of a repository", a.revokeToken),
	}}
}

func (a *API) sshKeys() tag {
	return tag{"SSH keys", "With which git comes over SSH: a person's keys act for that person; access keys open projects and repositories for programs.", []line{
		op("GET", "/api/v1/ssh-keys", access.SSHKeyRead, "List one's own SSH keys", a.listSSHKeys),
		op("POST", "/api/v1/ssh-keys", access.SSHKeyAdd, "Put an SSH key on file", a.addSSHKey, fresh, created, says("Where the settings ask for a proof it waits, and opens nothing before it is proven.")),
		op("POST", "/api/v1/ssh-keys/import", access.SSHKeyAdd, "Put the keys of an authorized_keys file on file", a.importSSHKeys, fresh, says("Line by line: one that is refused stops none behind it, so a file may be imported again.")),
		op("GET", "/api/v1/ssh-keys/unproven", access.SSHKeyRead, "List keys that nobody has proved", a.listUnproven, says("Of all users and places.")),
		op("DELETE", "/api/v1/ssh-keys/{key}", access.SSHKeyRemove, "Take a user's SSH key off file", a.removeSSHKey),
		op("POST", "/api/v1/ssh-keys/{key}/prove", access.SSHKeyAdd, "Begin to prove an SSH key", a.proveSSHKey, says("For its owner: one's own key, or an access key of a place that one administers. A proof that was begun before is void.")),
		op("POST", "/api/v1/ssh-keys/{key}/disable", access.SSHKeyDisable, "Shut an SSH key out until it is proven anew", a.disableSSHKey),
		op("GET", "/api/v1/users/{user}/ssh-keys", access.SSHKeyRead, "List a user's SSH keys", a.listSSHKeysOf),
		op("GET", "/api/v1/projects/{project}/access-keys", access.SSHKeyGrant, "List the access keys of a project", a.listAccessKeys),
		op("POST", "/api/v1/projects/{project}/access-keys", access.SSHKeyGrant, "Let an SSH key open a project", a.addAccessKey, created, says("And all its repositories.")),
		op("PATCH", "/api/v1/projects/{project}/access-keys/{key}", access.SSHKeyGrant, "Change what an access key may do in a project", a.changeAccessKey),
		op("DELETE", "/api/v1/projects/{project}/access-keys/{key}", access.SSHKeyGrant, "Take a project away from an access key", a.removeAccessKey, says("With its last place it goes off file.")),
		op("GET", "/api/v1/projects/{project}/repos/{repo}/access-keys", access.SSHKeyGrant, "List the access keys of a repository", a.listAccessKeys),
		op("POST", "/api/v1/projects/{project}/repos/{repo}/access-keys", access.SSHKeyGrant, "Let an SSH key open a repository", a.addAccessKey, created),
		op("PATCH", "/api/v1/projects/{project}/repos/{repo}/access-keys/{key}", access.SSHKeyGrant, "Change what an access key may do in a repository", a.changeAccessKey),
		op("DELETE", "/api/v1/projects/{project}/repos/{repo}/access-keys/{key}", access.SSHKeyGrant, "Take a repository away from an access key", a.removeAccessKey, says("With its last place it goes off file.")),
	}}
}

func (a *API) projects() tag {
	return tag{"Projects", "What repositories, API keys and proofs belong to. Marked operations here and on repositories are opened by a personal access token too, as far as its permissions go.", []line{
		op("GET", "/api/v1/projects", access.ProjectRead, "List the projects that one may see", a.listProjects, byToken),
		op("POST", "/api/v1/projects", access.ProjectCreate, "Create a project", a.createProject, created, says("Whoever makes it administers it.")),
		op("GET", "/api/v1/projects/{project}", access.ProjectRead, "Show a project", a.showProject, byToken, says("One's own personal one has the key ~NAME and is made when it is first asked for.")),
		op("PATCH", "/api/v1/projects/{project}", access.ProjectUpdate, "Change a project", a.changeProject, byToken),
		op("DELETE", "/api/v1/projects/{project}", access.ProjectDelete, "Delete a project that holds nothing any more", a.deleteProject, byToken),
		op("GET", "/api/v1/projects/{project}/permissions", access.AccessGrant, "List who may what in a project", a.listPermissions, byToken),
		op("PUT", "/api/v1/projects/{project}/permissions/users/{user}", access.AccessGrant, "Give a user a permission in a project", a.setUserPermission, says("Nobody gives more than they hold.")),
		op("DELETE", "/api/v1/projects/{project}/permissions/users/{user}", access.AccessRevoke, "Take a user's permission in a project away", a.removeUserPermission),
		op("PUT", "/api/v1/projects/{project}/permissions/groups/{group}", access.AccessGrant, "Give a group a permission in a project", a.setGroupPermission, says("Nobody gives more than they hold.")),
		op("DELETE", "/api/v1/projects/{project}/permissions/groups/{group}", access.AccessRevoke, "Take a group's permission in a project away", a.removeGroupPermission),
	}}
}

func (a *API) repositories() tag {
	return tag{"Repositories", "Git repositories: what they are called, who may what in them, and who pushed what.", []line{
		op("GET", "/api/v1/projects/{project}/repos", access.RepoRead, "List those repositories of a project that one may see", a.listRepos, byToken),
		op("POST", "/api/v1/projects/{project}/repos", access.RepoCreate, "Create a repository", a.createRepo, byToken, created),
		op("GET", "/api/v1/projects/{project}/repos/{repo}", access.RepoRead, "Show a repository", a.showRepo, byToken),
		op("PATCH", "/api/v1/projects/{project}/repos/{repo}", access.RepoUpdate, "Change a repository", a.changeRepo, byToken),
		op("DELETE", "/api/v1/projects/{project}/repos/{repo}", access.RepoDelete, "Delete a repository with all that is in it", a.deleteRepo, byToken),
		op("GET", "/api/v1/projects/{project}/repos/{repo}/pushes", access.RepoUpdate, "List the pushes to a repository, newest first", a.listPushes, byToken),
		op("GET", "/api/v1/projects/{project}/repos/{repo}/permissions", access.AccessGrant, "List who may what in a repository, by itself", a.listPermissions, byToken),
		op("PUT", "/api/v1/projects/{project}/repos/{repo}/permissions/users/{user}", access.AccessGrant, "Give a user a permission in a repository", a.setUserPermission, says("Nobody gives more than they hold.")),
		op("DELETE", "/api/v1/projects/{project}/repos/{repo}/permissions/users/{user}", access.AccessRevoke, "Take a user's permission in a repository away", a.removeUserPermission),
		op("PUT", "/api/v1/projects/{project}/repos/{repo}/permissions/groups/{group}", access.AccessGrant, "Give a group a permission in a repository", a.setGroupPermission, says("Nobody gives more than they hold.")),
		op("DELETE", "/api/v1/projects/{project}/repos/{repo}/permissions/groups/{group}", access.AccessRevoke, "Take a group's permission in a repository away", a.removeGroupPermission),
	}}
}

func (a *API) keyProofs() tag {
	return tag{"Key proofs", "What happens to proofs of keys and to deliveries of webhooks; programs make them with an API key.", []line{
		op("GET", "/api/v1/projects/{project}/proofs", access.KeyproofRead, "List the proofs of a project, newest first", a.listProofs),
		op("GET", "/api/v1/projects/{project}/deliveries", access.DeliveryRead, "List deliveries of webhooks, newest first", a.listDeliveries),
		op("GET", "/api/v1/deliveries/{delivery}", access.DeliveryRead, "Show a delivery with its attempts", a.showDelivery),
		op("POST", "/api/v1/deliveries/{delivery}/resend", access.DeliveryResend, "Send a delivery once more", a.resendDelivery, says("Under the same invocation id.")),
	}}
}
