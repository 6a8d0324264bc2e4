package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Setting describes one thing that an operator may choose.
type Setting struct {
	Name    string // a.b: as in the file
	Flag    string // without dashes; "" where there is none
	Kind    string // what a value looks like, in words
	Default string
	Doc     string

	read func(c *Config, text string) error
}

// Env is the setting's name in the environment.
func (s Setting) Env() string {
	return "GATEHOUSE_" + strings.ToUpper(strings.ReplaceAll(s.Name, ".", "_"))
}

// Settings lists every setting in the order of the reference.
func Settings() []Setting { return table() }

// table is the list of settings, one line each: longer than a function should be, because it is data.
func table() []Setting {
	const maxInt = math.MaxInt32
	return []Setting{
		{"data", "data", "path", "./gatehouse-data", "Directory of the server's own files: database, keys, recordings.", path(func(c *Config) *string { return &c.Data })},
		{"database", "database", "URL", "", "PostgreSQL database, `postgres://user:password@host/name`. Empty: SQLite inside the data directory.", database},
		{"http", "http", "host:port", "127.0.0.1:8080", "Address of the HTTP listener. Port 0 takes a free one.", address(func(c *Config) *string { return &c.HTTP })},
		{"ssh", "ssh", "host:port", "127.0.0.1:2222", "Address of the SSH listener. In a file with an `ssh:` section write it as `ssh.listen`.", address(func(c *Config) *string { return &c.SSH })},
		{"public_url", "public-url", "URL", "", "Where browsers and callers reach the HTTP listener. Empty: `localhost` with the listener's port.", func(*Config, string) error { return nil }}, // read by derive
		{"public_origins", "", "origins", "", "Whose pages may use the session of a browser, each `https://HOST[:PORT]`. Name that of the public URL too. Empty: it alone; on loopback `localhost` and `127.0.0.1` both.", origins(func(c *Config) *[]string { return &c.PublicOrigins })},
		{"public_ssh", "public-ssh", "host:port", "", "Where people reach the SSH listener; shown in commands. Empty: `localhost` with the listener's port.", optional(address(func(c *Config) *string { return &c.PublicSSH }))},
		{"tls.cert", "tls-cert", "file", "", "Certificate chain of the HTTP listener in PEM form. Without one, a listener that other machines reach makes its own.", text(func(c *Config) *string { return &c.TLS.Cert })},
		{"tls.key", "tls-key", "file", "", "Private key of that certificate in PEM form.", text(func(c *Config) *string { return &c.TLS.Key })},
		{"metrics", "metrics", "host:port", "", "Address of a listener for `/metrics` alone. Empty: on the main listener, when the public host is loopback.", optional(address(func(c *Config) *string { return &c.Metrics }))},
		{"trusted_proxies", "trusted-proxies", "CIDRs", "", "Reverse proxies whose `X-Forwarded-For` counts. Everybody else's is ignored.", prefixes(func(c *Config) *[]netip.Prefix { return &c.TrustedProxies })},
		{"proxy_protocol_from", "proxy-protocol-from", "CIDRs", "", "Load balancers that begin their connections with a PROXY protocol header.", prefixes(func(c *Config) *[]netip.Prefix { return &c.ProxyProtocolFrom })},
		{"master_key_file", "master-key-file", "file", "", "Master key that opens everything sealed in the database. Needed with PostgreSQL; with SQLite one is made in the data directory.", text(func(c *Config) *string { return &c.MasterKeyFile })},
		{"log.level", "log-level", "debug, info, warn or error", "info", "Least level that is logged.", level},
		{"log.format", "log-format", "text or json", "text", "Form of the log on standard error.", oneOf(func(c *Config) *string { return &c.Log.Format }, "text", "json")},
		{"shutdown_timeout", "", "duration", "20s", "How long running requests and connections may take to end after SIGTERM.", wait(func(c *Config) *time.Duration { return &c.ShutdownTimeout })},

		{"store.postgres_conns", "", "number", "16", "Most connections that one node opens to PostgreSQL.", whole(func(c *Config) *int { return &c.Store.PostgresConns }, 2, 1000)},
		{"store.busy_timeout", "", "duration", "5s", "How long SQLite waits while another process, such as a command, writes.", wait(func(c *Config) *time.Duration { return &c.Store.BusyTimeout })},
		{"audit.seal_every", "", "duration", "250ms", "How often new audit events are linked into the chain and signed.", wait(func(c *Config) *time.Duration { return &c.Audit.SealEvery })},
		{"audit.seal_batch", "", "number", "1000", "Events after which a seal is made without waiting.", whole(func(c *Config) *int { return &c.Audit.SealBatch }, 1, 100_000)},

		{"ssh.handshake_timeout", "", "duration", "20s", "Version exchange and key exchange of an SSH connection.", wait(func(c *Config) *time.Duration { return &c.SSHDoor.HandshakeTimeout })},
		{"ssh.auth_timeout", "", "duration", "120s", "The whole authentication of an SSH connection, with touches and PINs.", wait(func(c *Config) *time.Duration { return &c.SSHDoor.AuthTimeout })},
		{"ssh.connection_timeout", "", "duration", "300s", "A key proof connection from first to last byte.", wait(func(c *Config) *time.Duration { return &c.SSHDoor.ConnectionTimeout })},
		{"ssh.unauthenticated_per_address", "", "number", "20", "SSH connections of one address that may be unauthenticated at a time.", whole(func(c *Config) *int { return &c.SSHDoor.UnauthenticatedPerAddress }, 1, maxInt)},
		{"ssh.unauthenticated_total", "", "number", "1024", "SSH connections of all addresses that may be unauthenticated at a time.", whole(func(c *Config) *int { return &c.SSHDoor.UnauthenticatedTotal }, 1, maxInt)},

		{"ssh.access_keys", "", "true or false", "true", "SSH keys may be given access to projects and repositories. Where not, none is added and those on file open nothing.", truth(func(c *Config) *bool { return &c.SSHKey.AccessKeys })},
		{"sshkey.require_proof", "", "console, off or all", "console", "Which new SSH keys open nothing before their owner has proved to hold the private half: those added in the console, none, or all.", oneOf(func(c *Config) *string { return &c.SSHKey.RequireProof }, "console", "off", "all")},
		{"sshkey.proof_time", "", "duration", "15m", "How long the proof of an SSH key on file may take.", wait(func(c *Config) *time.Duration { return &c.SSHKey.ProofTime })},
		{"sshkey.unproven_after", "", "duration", "0", "How long an SSH key on file works without proof before it is disabled; 0 never disables one.", waitOrNone(func(c *Config) *time.Duration { return &c.SSHKey.UnprovenAfter })},
		{"sshkey.sweep_every", "", "duration", "60s", "How often SSH keys that have expired, or went unproven for too long, are looked for; expired ones open nothing before that either.", wait(func(c *Config) *time.Duration { return &c.SSHKey.SweepEvery })},

		{"tokens.max_per_scope", "", "number", "100", "HTTP access tokens that one user, project or repository may have; those that have expired do not count.", whole(func(c *Config) *int { return &c.Tokens.MaxPerScope }, 1, 100_000)},
		{"tokens.expiry_required", "", "true or false", "false", "New HTTP access tokens must expire.", truth(func(c *Config) *bool { return &c.Tokens.ExpiryRequired })},
		{"tokens.max_days", "", "number", "0", "New HTTP access tokens must expire after at most so many days; 0 is no limit.", whole(func(c *Config) *int { return &c.Tokens.MaxDays }, 0, 36_500)},

		{"git.http_password", "", "true or false", "true", "People's passwords are taken for git over HTTP. Tokens are whatever this says.", truth(func(c *Config) *bool { return &c.Git.HTTPPassword })},
		{"git.max_push", "", "size", "2GiB", "Most bytes of one push.", size(func(c *Config) *int64 { return &c.Git.MaxPush }, 1<<10)},
		{"git.max_request", "", "size", "64MiB", "Most bytes that a client of git sends to fetch or to archive.", size(func(c *Config) *int64 { return &c.Git.MaxRequest }, 1<<10)},
		{"git.max_refs", "", "number", "10000", "Most branches and tags that one push moves.", whole(func(c *Config) *int { return &c.Git.MaxRefs }, 1, 1_000_000)},
		{"git.max_memory", "", "0 or size", "2GiB", "Most memory of one git process for its data, where the system can bound it; 0 is no bound.", size(func(c *Config) *int64 { return &c.Git.MaxMemory }, 0)},
		{"git.parallel", "", "number", "0", "Operations of git that run at a time on this node; 0 is four for each processor and eight at least.", whole(func(c *Config) *int { return &c.Git.Parallel }, 0, 10_000)},
		{"git.queue_wait", "", "duration", "30s", "How long an operation of git may wait for its turn before it is turned away.", wait(func(c *Config) *time.Duration { return &c.Git.QueueWait })},
		{"git.idle_timeout", "", "duration", "2m", "How long an operation of git may go without a byte in either direction.", wait(func(c *Config) *time.Duration { return &c.Git.IdleTimeout })},
		{"git.timeout", "", "duration", "1h", "One operation of git from first to last byte.", wait(func(c *Config) *time.Duration { return &c.Git.Timeout })},
		{"git.recheck", "", "duration", "5s", "How often it is asked whether a push that is under way may go on.", wait(func(c *Config) *time.Duration { return &c.Git.Recheck })},
		{"git.maintain_every", "", "duration", "1h", "How often repositories are packed that need it, and what crashes left of pushes is cleared away.", wait(func(c *Config) *time.Duration { return &c.Git.MaintainEvery })},

		{"recording.url", "", "URL", "", "Where recordings of remote sessions are kept: `file:///DIR`, or `s3://BUCKET?region=...` with `endpoint`, `use_path_style` and `prefix` where needed. Empty: `recordings` in the data directory, which nodes do not share.", recordings(func(c *Config) *string { return &c.Recording.URL })},
		{"recording.keystrokes", "", "true or false", "false", "What people type in remote sessions is recorded, passwords that they type there included. Where not, it is counted.", truth(func(c *Config) *bool { return &c.Recording.Keystrokes })},
		{"recording.retention", "", "0 or duration", "0", "How long recordings are kept that nobody holds; their manifests and hashes remain. 0 is for ever.", waitOrNone(func(c *Config) *time.Duration { return &c.Recording.Retention })},
		{"recording.segment_bytes", "", "size", "1MiB", "Size at which a segment of a recording is closed.", size(func(c *Config) *int64 { return &c.Recording.SegmentBytes }, 4<<10)},
		{"recording.segment_time", "", "duration", "60s", "Age at which a segment of a recording is closed.", wait(func(c *Config) *time.Duration { return &c.Recording.SegmentTime })},
		{"recording.sync", "", "duration", "1s", "How often recordings under way are synced to the local disk.", wait(func(c *Config) *time.Duration { return &c.Recording.Sync })},
		{"recording.upload_patience", "", "duration", "30s", "How long a closed segment may wait for the place where recordings are kept while none of its session is stored. After that the session counts as unrecorded and ends, unless its device may go on.", wait(func(c *Config) *time.Duration { return &c.Recording.UploadPatience })},
		{"recording.max_bytes", "", "size or 0", "4GiB", "Size of one recording at which its session ends, whatever its device is set to. SFTP and forwards are hashed and do not count; what shells and commands carry does, that of scp and rsync too. 0 is no such size.", size(func(c *Config) *int64 { return &c.Recording.MaxBytes }, 0)},
		{"recording.min_free", "", "size or 0", "500MiB", "What stays free on the disks of spool and recordings. Below it sessions count as unrecorded, those under way and new ones. 0 is nothing.", size(func(c *Config) *int64 { return &c.Recording.MinFree }, 0)},
		{"recording.sweep_every", "", "duration", "10m", "How often recordings that are past their retention are looked for.", wait(func(c *Config) *time.Duration { return &c.Recording.SweepEvery })},

		{"senhasegura.tenant", "", "text", "gatehouse", "What the installation calls itself in answers of the senhasegura API; callers that name a tenant must name this one.", text(func(c *Config) *string { return &c.Remote.Tenant })},
		{"senhasegura.require_credential", "", "true or false", "true", "Callers of the senhasegura API say which credential opens a session, unless their authorization may leave it to Gatehouse.", truth(func(c *Config) *bool { return &c.Remote.RequireCredential })},
		{"senhasegura.remote_addr_scope", "", "session or start", "session", "What the address that a caller names for a session is for: all of the session, which ends when a request of it comes from elsewhere, or its start alone.", oneOf(func(c *Config) *string { return &c.Remote.AddressScope }, "session", "start")},
		{"senhasegura.pin_always", "", "true or false", "false", "Sessions keep to the address that opened their link also where the caller named none.", truth(func(c *Config) *bool { return &c.Remote.PinAlways })},
		{"senhasegura.token_life", "", "duration", "3600s", "How long an access token of the senhasegura API is good.", wait(func(c *Config) *time.Duration { return &c.Remote.TokenLife })},
		{"senhasegura.url_life", "", "duration", "30s", "How long a link that opens a session is good: 30s at most.", atMost(func(c *Config) *time.Duration { return &c.Remote.LinkLife }, 30*time.Second)},
		{"senhasegura.step_up_grace", "", "0 or duration", "5m", "How long a second factor that was proved for one session counts for further ones of the same person in the same browser.", waitOrNone(func(c *Config) *time.Duration { return &c.Remote.Grace })},
		{"senhasegura.launch_wait", "", "duration", "10m", "How long a session waits for its person to prove a second factor, to give a reason, or to start it once it is approved. How long it waits for approval is said by the grant.", wait(func(c *Config) *time.Duration { return &c.Remote.Wait })},
		{"senhasegura.idle", "", "duration", "30m", "How long a remote session may go without a key being pressed, or anything passing in its commands, files and forwards.", wait(func(c *Config) *time.Duration { return &c.Remote.Idle })},
		{"senhasegura.absolute", "", "duration", "12h", "How long a remote session lasts at most.", wait(func(c *Config) *time.Duration { return &c.Remote.Absolute })},
		{"senhasegura.notices", "", "durations", "15m,10m,5m", "How long before an end that is known people are told of it, each time once.", waits(func(c *Config) *[]time.Duration { return &c.Remote.Notices })},
		{"senhasegura.reattach", "", "duration", "60s", "How long a browser may be away before its session ends.", wait(func(c *Config) *time.Duration { return &c.Remote.Reattach })},
		{"senhasegura.custody", "", "duration", "1h", "How long a program holds a credential that it has checked out.", wait(func(c *Config) *time.Duration { return &c.Remote.Custody })},
		{"senhasegura.request_timeout", "", "duration", "60s", "How long a call of the senhasegura API may take.", wait(func(c *Config) *time.Duration { return &c.Remote.RequestTimeout })},
		{"senhasegura.finished_url_kept", "", "duration", "24h", "How long links that are over are remembered, so that who comes late is told why.", wait(func(c *Config) *time.Duration { return &c.Remote.FinishedKept })},
		{"senhasegura.sweep_every", "", "duration", "5s", "How often links and waits that are over are looked for; they open nothing before that either.", wait(func(c *Config) *time.Duration { return &c.Remote.Sweep })},
		{"remote.per_user", "", "number", "0", "Remote sessions, and links to them, that one person may have at a time; 0 is no limit.", whole(func(c *Config) *int { return &c.Remote.PerUser }, 0, maxInt)},
		{"remote.look_every", "", "duration", "1s", "How often a node looks for sessions to end that it did not hear of.", wait(func(c *Config) *time.Duration { return &c.Remote.Look })},
		{"remote.beat_every", "", "duration", "5s", "How often a node says that it lives.", wait(func(c *Config) *time.Duration { return &c.Remote.Beat })},
		{"remote.lost_after", "", "duration", "20s", "How long a node may be silent before its sessions count as lost. Longer than `remote.beat_every`.", wait(func(c *Config) *time.Duration { return &c.Remote.LostAfter })},
		{"remote.dial_timeout", "", "duration", "15s", "How long a device may take to answer and to let Gatehouse sign in.", wait(func(c *Config) *time.Duration { return &c.Remote.DialTimeout })},
		{"remote.channels", "", "number", "32", "Terminals, commands, SFTP connections and forwards that one remote session may have open at a time. Each may hold 2 MiB of what its device sends faster than the person takes.", whole(func(c *Config) *int { return &c.Remote.Channels }, 1, maxInt)},
		{"remote.idle_notice", "", "duration", "1m", "How long before the end of an idle remote session the person is told.", wait(func(c *Config) *time.Duration { return &c.Remote.IdleNotice })},
		{"remote.frame_every", "", "duration", "200ms", "How often what passes in a remote session is handed to those who look on.", wait(func(c *Config) *time.Duration { return &c.Remote.Frame })},
		{"remote.watch_life", "", "duration", "30s", "How long somebody who looks on and whose node is gone counts as looking on.", wait(func(c *Config) *time.Duration { return &c.Remote.WatchLife })},

		{"device.allow", "", "CIDRs", "", "Loopback and link-local addresses, and Gatehouse's own, that callers of an API may give to devices all the same. At the server's command line loopback needs no entry.", prefixes(func(c *Config) *[]netip.Prefix { return &c.Device.Allow })},

		{"session.user_idle", "", "duration", "24h", "How long a person's session lives without being used.", span(func(c *Config) *time.Duration { return &c.Session.UserIdle })},
		{"session.app_idle", "", "duration", "10m", "How long an application's session lives without being used.", span(func(c *Config) *time.Duration { return &c.Session.AppIdle })},
		{"session.user_max", "", "duration", "168h", "How long a person's session lives at most.", wait(func(c *Config) *time.Duration { return &c.Session.UserMax })},
		{"session.app_max", "", "duration", "24h", "How long an application's session lives at most.", wait(func(c *Config) *time.Duration { return &c.Session.AppMax })},
		{"session.pending", "", "duration", "5m", "How long a sign-in may wait for its second factor.", wait(func(c *Config) *time.Duration { return &c.Session.Pending })},
		{"session.sweep_every", "", "duration", "5s", "How often sessions that are over are looked for; they open nothing before that either.", wait(func(c *Config) *time.Duration { return &c.Session.SweepEvery })},
		{"session.retention", "", "duration", "30d", "How long ended sessions are kept.", wait(func(c *Config) *time.Duration { return &c.Session.Retention })},
		{"auth.min_failure_ms", "", "milliseconds", "250", "No failed sign-in is answered sooner, whatever the reason.", whole(func(c *Config) *int { return &c.Auth.MinFailureMS }, 0, 60_000)},
		{"auth.captcha_after", "", "number", "5", "Failed sign-ins of a name after which a CAPTCHA is due; 0 never asks for one. Ways in that have no place for a CAPTCHA stay shut for the name until somebody signs in with one, 24 quiet hours have passed, or `gatehouse user unlock` has run.", whole(func(c *Config) *int { return &c.Auth.CaptchaAfter }, 0, maxInt)},
		{"auth.captcha_life", "", "duration", "5m", "How long a CAPTCHA may be answered.", wait(func(c *Config) *time.Duration { return &c.Auth.CaptchaLife })},
		{"auth.fresh", "", "duration", "10m", "How long ago people may have signed in when they make or change a credential of their own.", wait(func(c *Config) *time.Duration { return &c.Auth.Fresh })},
		{"auth.config2fa", "", "duration", "10m", "How long the password opens the settings of a person's second factors.", wait(func(c *Config) *time.Duration { return &c.Auth.Config2FA })},
		{"auth.mfa_after_sso", "", "true or false", "false", "Who has enrolled a second factor proves it after signing in at an OpenID Connect or SAML provider too. After LDAP it always is.", truth(func(c *Config) *bool { return &c.Auth.MFAAfterSSO })},
		{"auth.hash_parallel", "", "number", "0", "Password hashes that run at a time, 19 MiB each; 0 is one for each processor.", whole(func(c *Config) *int { return &c.Auth.HashParallel }, 0, 1024)},
		{"auth.hash_wait", "", "duration", "10s", "How long a sign-in may queue for its password hash before it is turned away.", wait(func(c *Config) *time.Duration { return &c.Auth.HashWait })},
		{"basicauth.block", "", "true or false", "false", "Passwords sent by HTTP Basic are refused before they are looked at. Programs are not touched. This is the start value: once an administrator has changed the policy, what the administrator chose counts and this setting no longer does.", truth(func(c *Config) *bool { return &c.Auth.BlockBasic })},
		{"basicauth.scope", "", "rest or all", "rest", "Where the policy on HTTP Basic holds: below `/rest`, or at every door that takes a person's Basic.", oneOf(func(c *Config) *string { return &c.Auth.BasicScope }, "rest", "all")},
		{"basic.refuse_2sv_users", "", "true or false", "true", "A password sent with each request opens nobody who has a second factor, or must have one.", truth(func(c *Config) *bool { return &c.Auth.RefuseEnrolledBasic })},
		{"tsv.enforcement", "", "none, system-admins or all", "none", "Of whom a second factor is demanded, whatever their account demands. People whom an identity provider looks after are left to it.", oneOf(func(c *Config) *string { return &c.TSV.Enforcement }, "none", "system-admins", "all")},
		{"tsv.conversation", "", "duration", "10m", "How long a sign-in in steps, or the setting up of an app, may take.", wait(func(c *Config) *time.Duration { return &c.TSV.Conversation })},
		{"tsv.tries", "", "number", "5", "Wrong codes that end a sign-in which waits for its second factor, and wrong confirmations in a row that end a session.", whole(func(c *Config) *int { return &c.TSV.Tries }, 1, 100)},
		{"tsv.elevation", "", "duration", "10m", "How long a session stays elevated after the last change of the settings of two-step verification.", wait(func(c *Config) *time.Duration { return &c.TSV.Elevation })},
		{"webauthn.rp_id", "", "host name", "", "Relying party of security keys: the host of the public URL, or a domain above it. Keys that were enrolled under another one no longer work. Empty: that host.", text(func(c *Config) *string { return &c.WebAuthn.RPID })},
		{"webauthn.origins", "", "origins", "", "Whose pages may use security keys, each `https://HOST[:PORT]`. Empty: as `public_origins`.", origins(func(c *Config) *[]string { return &c.WebAuthn.Origins })},
		{"sso.allow_http", "", "true or false", "false", "Identity providers may have plain http URLs on loopback addresses; for tests.", truth(func(c *Config) *bool { return &c.SSO.AllowHTTP })},
		{"sso.allow", "", "hosts and CIDRs", "", "Private addresses at which OpenID Connect and SAML providers may be asked all the same. Directories need no entry.", hosts(func(c *Config) *[]string { return &c.SSO.Allow })},
		{"sso.jit_admin_groups", "", "true or false", "false", "Identity providers that add people may put them into groups which hold admin or sysadmin on the installation, too. They always take them out.", truth(func(c *Config) *bool { return &c.SSO.JITAdminGroups })},
		{"sso.recheck", "", "duration", "2m", "How often a directory with a service account is asked whether each of its people is still there. Who is gone is out within twice that time.", wait(func(c *Config) *time.Duration { return &c.SSO.Recheck })},
		{"sso.session_max", "", "0 or duration", "0", "How long a session lasts at most that began at an OpenID Connect or SAML provider, so that people prove there anew that they are still welcome; 0 is as long as any other. It ends earlier where the provider says so.", waitOrNone(func(c *Config) *time.Duration { return &c.SSO.Session })},
		{"sso.discover_limit", "", "number", "60", "Sign-ins at identity providers that one address may begin in a minute.", whole(func(c *Config) *int { return &c.SSO.Discover }, 1, maxInt)},
		{"aws.sts_base_url", "", "URL", "", "Where AWS STS is reached, `https://HOST[:PORT]`, instead of the region's public host: a private endpoint.", optional(baseURL(func(c *Config) *string { return &c.AWS.STSBaseURL }))},
		{"aws.regions", "", "regions", "", "AWS regions at which programs may prove who they are. Empty: all.", regions(func(c *Config) *[]string { return &c.AWS.Regions })},
		{"aws.server_id", "", "text", "", "What programs must sign as `X-Gatehouse-Server-Id`, so that what they sign counts here alone. Empty: nothing.", text(func(c *Config) *string { return &c.AWS.ServerID })},
		{"signup.enabled", "", "true or false", "false", "Strangers may register themselves.", truth(func(c *Config) *bool { return &c.SignUp })},
		{"accounts.create", "", "admins or users", "admins", "Who may make an account.", oneOf(func(c *Config) *string { return &c.AccountsCreate }, "admins", "users")},

		{"sshverify.rate_per_hour", "", "number", "500", "API calls of one project in an hour; 0 is unlimited.", whole(func(c *Config) *int { return &c.SSHVerify.RatePerHour }, 0, maxInt)},
		{"sshverify.keys_max", "", "number", "32", "Most keys of one session.", whole(func(c *Config) *int { return &c.SSHVerify.KeysMax }, 1, 32)},
		{"sshverify.webhooks_max", "", "number", "10", "Most webhooks of one session.", whole(func(c *Config) *int { return &c.SSHVerify.WebhooksMax }, 0, 100)},
		{"sshverify.confirm_timeout", "", "duration", "60s", "How long a person may think about the question whether it was them.", wait(func(c *Config) *time.Duration { return &c.SSHVerify.ConfirmTimeout })},
		{"sshverify.channel_wait", "", "duration", "10s", "How long a proven connection may take to open its channel.", wait(func(c *Config) *time.Duration { return &c.SSHVerify.ChannelWait })},
		{"sshverify.leave_wait", "", "duration", "2s", "How long a client may take to read its last line and leave.", wait(func(c *Config) *time.Duration { return &c.SSHVerify.LeaveWait })},
		{"sshverify.record_wait", "", "duration", "50ms", "How long a new connection may go unrecorded while its end is awaited: quick proofs are then one write.", wait(func(c *Config) *time.Duration { return &c.SSHVerify.RecordWait })},
		{"sshverify.sweep_every", "", "duration", "5s", "How often expired sessions are looked for.", wait(func(c *Config) *time.Duration { return &c.SSHVerify.SweepEvery })},
		{"sshverify.webhook_timeout", "", "duration", "10s", "How long a receiver may take to answer one delivery.", wait(func(c *Config) *time.Duration { return &c.SSHVerify.WebhookTimeout })},
		{"sshverify.webhook_lease", "", "duration", "60s", "How long a delivery belongs to the node that took it. Longer than the timeout.", wait(func(c *Config) *time.Duration { return &c.SSHVerify.WebhookLease })},
		{"sshverify.webhook_retry_unit", "", "duration", "1s", "What one second of a webhook's back-off lasts; for tests.", wait(func(c *Config) *time.Duration { return &c.SSHVerify.WebhookRetryUnit })},
		{"sshverify.webhook_allow", "", "hosts and CIDRs", "", "Private addresses that webhooks may reach all the same.", hosts(func(c *Config) *[]string { return &c.SSHVerify.WebhookAllow })},
		{"sshverify.invocation_retention", "", "duration", "30d", "How long finished webhook deliveries are kept.", wait(func(c *Config) *time.Duration { return &c.SSHVerify.InvocationRetention })},
		{"sshverify.session_retention", "", "duration", "90d", "How long finished sessions are kept.", wait(func(c *Config) *time.Duration { return &c.SSHVerify.SessionRetention })},
	}
}

type reader = func(c *Config, text string) error

func text(at func(*Config) *string) reader {
	return func(c *Config, s string) error {
		*at(c) = s
		return nil
	}
}

func path(at func(*Config) *string) reader {
	return func(c *Config, s string) error {
		*at(c) = s
		if s == "" {
			return errors.New("must not be empty; name a directory")
		}
		return nil
	}
}

// optional lets a setting be empty and reads it otherwise.
func optional(read reader) reader {
	return func(c *Config, s string) error {
		if s == "" {
			return nil
		}
		return read(c, s)
	}
}

func address(at func(*Config) *string) reader {
	return func(c *Config, s string) error {
		_, port, err := net.SplitHostPort(s)
		if err != nil {
			return fmt.Errorf("%q is not host:port, such as 127.0.0.1:8080", s)
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return fmt.Errorf("%q has no port from 0 to 65535", s)
		}
		*at(c) = s
		return nil
	}
}

// database never repeats what it was given: a database URL holds a password.
func database(c *Config, s string) error {
	if s == "" {
		return nil
	}
	if !strings.HasPrefix(s, "postgres://") && !strings.HasPrefix(s, "postgresql://") {
		return errors.New("must begin with postgres:// ; leave it empty for SQLite in the data directory")
	}
	c.Database = secret.New(s)
	return nil
}

func level(c *Config, s string) error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, strings.ToLower(s)) {
		return fmt.Errorf("%q is none of debug, info, warn, error", s)
	}
	return c.Log.Level.UnmarshalText([]byte(s))
}

func oneOf(at func(*Config) *string, options ...string) reader {
	return func(c *Config, s string) error {
		if !slices.Contains(options, s) {
			return fmt.Errorf("%q is none of %s", s, strings.Join(options, ", "))
		}
		*at(c) = s
		return nil
	}
}

func whole(at func(*Config) *int, least, most int) reader {
	return func(c *Config, s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return fmt.Errorf("%q is not a whole number from %d to %d", s, least, most)
		}
		*at(c) = n
		return nil
	}
}

// units of sizes, in the order in which they are looked for.
var units = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// size reads a whole number of bytes: plain, or with one of the units.
func size(at func(*Config) *int64, least int64) reader {
	return func(c *Config, s string) error {
		for _, unit := range units {
			digits, ok := strings.CutSuffix(s, unit.name)
			if !ok {
				continue
			}
			n, err := strconv.ParseInt(digits, 10, 64)
			if err != nil || n < 0 || n > math.MaxInt64/unit.bytes || n*unit.bytes < least {
				break
			}
			*at(c) = n * unit.bytes
			return nil
		}
		return fmt.Errorf("%q is not a size of %d bytes or more, such as 512MiB or 2GiB", s, least)
	}
}

// wait reads a duration above zero: in Go's form, in days ("30d"), or as a plain number of seconds.
func wait(at func(*Config) *time.Duration) reader {
	return func(c *Config, s string) error {
		d, err := duration(s)
		if err != nil || d <= 0 {
			return fmt.Errorf("%q is not a duration above zero, such as 10s, 5m or 30d", s)
		}
		*at(c) = d
		return nil
	}
}

// atMost reads a duration that has a longest.
func atMost(at func(*Config) *time.Duration, most time.Duration) reader {
	return func(c *Config, s string) error {
		if wait(at)(c, s) != nil || *at(c) > most {
			return fmt.Errorf("%q is not a duration above zero and up to %s", s, most)
		}
		return nil
	}
}

// waits reads durations, separated by commas; none where there is nothing.
func waits(at func(*Config) *[]time.Duration) reader {
	return func(c *Config, s string) error {
		var all []time.Duration
		for one := range strings.SplitSeq(s, ",") {
			if one = strings.TrimSpace(one); one == "" {
				continue
			}
			d, err := duration(one)
			if err != nil || d <= 0 {
				return fmt.Errorf("%q is not a list of durations above zero, such as 15m,10m,5m", s)
			}
			all = append(all, d)
		}
		*at(c) = all
		return nil
	}
}

// waitOrNone reads a duration, or 0 for none.
func waitOrNone(at func(*Config) *time.Duration) reader {
	return func(c *Config, s string) error {
		if s == "0" {
			*at(c) = 0
			return nil
		}
		if wait(at)(c, s) != nil {
			return fmt.Errorf("%q is neither 0 nor a duration above zero, such as 10s, 5m or 30d", s)
		}
		return nil
	}
}

// span reads an idle window: what callers are told of it fits 31 bits of seconds.
func span(at func(*Config) *time.Duration) reader {
	return func(c *Config, s string) error {
		d, err := duration(s)
		if err != nil || d < time.Minute || d > math.MaxInt32*time.Second {
			return fmt.Errorf("%q is not a duration from 60s to 2147483647s", s)
		}
		*at(c) = d
		return nil
	}
}

// recordings reads where recordings are kept: nowhere is said for the data directory.
func recordings(at func(*Config) *string) reader {
	return func(c *Config, s string) error {
		u, err := url.Parse(s)
		switch {
		case s == "":
		case err != nil:
			return errors.New("is no URL; give file:///DIR or s3://BUCKET?region=REGION")
		case u.User != nil:
			return errors.New("must hold no keys; give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
		case u.Scheme == "s3" && u.Host != "", u.Scheme == "file" && u.Host == "" && u.Path != "":
		default:
			return fmt.Errorf("%q is neither file:///DIR nor s3://BUCKET", s)
		}
		*at(c) = s
		return nil
	}
}

func truth(at func(*Config) *bool) reader {
	return func(c *Config, s string) error {
		if s != "true" && s != "false" {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		*at(c) = s == "true"
		return nil
	}
}

func duration(s string) (time.Duration, error) {
	unit, digits := time.Second, s
	if days, ok := strings.CutSuffix(s, "d"); ok {
		unit, digits = 24*time.Hour, days
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return time.ParseDuration(s)
	}
	d := n * float64(unit)
	if math.IsNaN(d) || math.Abs(d) >= math.MaxInt64 {
		return 0, errors.New("out of range")
	}
	return time.Duration(d), nil
}

func prefixes(at func(*Config) *[]netip.Prefix) reader {
	return func(c *Config, s string) error {
		var wrong []string
		for _, item := range split(s) {
			p, err := prefix(item)
			if err != nil {
				wrong = append(wrong, strconv.Quote(item))
				continue
			}
			*at(c) = append(*at(c), p)
		}
		if wrong != nil {
			return fmt.Errorf("%s: not an address or CIDR, such as 10.0.0.0/8", strings.Join(wrong, ", "))
		}
		return nil
	}
}

// prefix reads a CIDR, or an address as the network of that one address.
func prefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

func hosts(at func(*Config) *[]string) reader {
	return func(c *Config, s string) error {
		for _, item := range split(s) {
			if _, err := prefix(item); err != nil && (!hostName.MatchString(item) || strings.Contains(item, "/")) {
				return fmt.Errorf("%q is neither a host name nor an address or CIDR", item)
			}
			*at(c) = append(*at(c), item)
		}
		return nil
	}
}

// origins reads them as browsers write them in a header: anything else would never match.
func origins(at func(*Config) *[]string) reader {
	return func(c *Config, s string) error {
		for _, item := range split(s) {
			u, err := url.Parse(item)
			if err != nil || item != u.Scheme+"://"+u.Host || !isOrigin(u) {
				return fmt.Errorf("%q is not https://HOST[:PORT] in lower case without the default port; http:// is for loopback alone", item)
			}
			*at(c) = append(*at(c), item)
		}
		return nil
	}
}

func isOrigin(u *url.URL) bool {
	usual := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	return u.Host == strings.ToLower(u.Host) && u.Hostname() != "" && !strings.HasSuffix(u.Host, ":") && usual != "" && u.Port() != usual &&
		(u.Scheme == "https" || loopbackHost(u.Hostname()))
}

// baseURL reads scheme, host and port alone; plain http is for loopback.
func baseURL(at func(*Config) *string) reader {
	return func(c *Config, s string) error {
		u, err := url.Parse(s)
		if err != nil || s != u.Scheme+"://"+u.Host || u.Hostname() == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopbackHost(u.Hostname())) {
			return fmt.Errorf("%q is not https://HOST[:PORT]; http:// is for loopback alone", s)
		}
		*at(c) = s
		return nil
	}
}

var regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d{1,2}$`)

func regions(at func(*Config) *[]string) reader {
	return func(c *Config, s string) error {
		for _, item := range split(s) {
			if !regionName.MatchString(item) {
				return fmt.Errorf("%q is not a region, such as eu-central-1", item)
			}
			*at(c) = append(*at(c), item)
		}
		return nil
	}
}

func split(s string) []string {
	var items []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}
