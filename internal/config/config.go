// Package config turns flags, environment and a YAML file into one checked Config.
//
// A setting a.b is given by its flag where it has one, by GATEHOUSE_A_B in the environment, or by a.b in
// the file, and the first of these that has it wins. Load reports every mistake at once, each with where
// it came from and what to do. The table in settings.go is the only list of settings: the reference in
// docs/configuration.md is written from it.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Config is everything that an operator may choose, as plain values.
type Config struct {
	Data      string        // directory of the server's own files
	Database  secret.String // URL of a PostgreSQL database, with its password; empty is SQLite inside Data
	HTTP      string        // address of the HTTP listener
	SSH       string        // address of the SSH listener
	PublicURL *url.URL      // where browsers and callers reach HTTP; no path, never nil
	PublicSSH string        // host:port where people reach SSH
	Metrics   string        // address of a listener for /metrics alone; "" is none

	PublicOrigins []string // whose pages may use a browser's session, as browsers write them; empty: those of PublicURL

	TLS struct{ Cert, Key string } // files; both or neither

	TrustedProxies    []netip.Prefix // whose X-Forwarded-For counts
	ProxyProtocolFrom []netip.Prefix // whose PROXY header counts

	MasterKeyFile string
	MasterKey     secret.String // from the environment alone
	AdminPassword secret.String // of the first administrator; from the environment alone

	Log struct {
		Level  slog.Level
		Format string // text or json
	}
	ShutdownTimeout time.Duration

	Store     Store
	Audit     Audit
	Session   Session
	Auth      Auth
	TSV       TSV
	WebAuthn  WebAuthn
	SSHDoor   SSHDoor
	SSHKey    SSHKey
	Tokens    Tokens
	SSHVerify SSHVerify
	Git       Git
	Device    Device
	Remote    Remote
	Recording Recording

	SSO SSO
	AWS AWS

	SignUp         bool   // strangers may register themselves
	AccountsCreate string // admins or users

	// Warnings are choices that work and are seldom meant, one line each.
	Warnings []string
}

// Store is how the database is used.
type Store struct {
	PostgresConns int           // connections of one node
	BusyTimeout   time.Duration // how long SQLite waits for another process
}

// Audit is how the audit log is sealed.
type Audit struct {
	SealEvery time.Duration
	SealBatch int
}

// Session is how long people and programs stay signed in.
type Session struct {
	UserIdle, UserMax time.Duration
	AppIdle, AppMax   time.Duration
	Pending           time.Duration // for the second factor
	SweepEvery        time.Duration
	Retention         time.Duration // of ended sessions
}

// Auth is how signing in is guarded.
type Auth struct {
	MinFailureMS int
	CaptchaAfter int // failures of a name; 0 never asks
	CaptchaLife  time.Duration
	Fresh        time.Duration
	HashParallel int // password hashes at a time; 0 is one for each processor
	HashWait     time.Duration

	Config2FA           time.Duration // how long the password opens the settings of second factors
	MFAAfterSSO         bool
	RefuseEnrolledBasic bool
	BlockBasic          bool
	BasicScope          string // rest or all
}

// TSV is two-step verification.
type TSV struct {
	Enforcement  string // none, system-admins or all
	Conversation time.Duration
	Tries        int
	Elevation    time.Duration
}

// WebAuthn is what security keys are told about us.
type WebAuthn struct {
	RPID    string   // never empty
	Origins []string // empty: as PublicOrigins
}

// SSO is how outside identity providers are asked.
type SSO struct {
	AllowHTTP bool          // plain http, of loopback addresses alone
	Allow     []string      // host names and CIDRs that calls may reach although they are private
	Recheck   time.Duration // how often each person of a directory is looked up
	Discover  int           // sign-ins that one address may begin in a minute
	Session   time.Duration // how long a session lasts at most after OpenID Connect or SAML; 0: as long as any other

	JITAdminGroups bool // people join groups that administer the installation by a provider's word
}

// AWS is how programs prove their AWS identity.
type AWS struct {
	STSBaseURL string   // where to connect to instead of the region's own host; empty: that
	Regions    []string // that may be asked; empty: all
	ServerID   string   // what programs must sign; empty: nothing
}

// SSHDoor holds the limits of the SSH listener.
type SSHDoor struct {
	HandshakeTimeout          time.Duration // version and key exchange
	AuthTimeout               time.Duration // the whole of authentication, touches and PINs included
	ConnectionTimeout         time.Duration // a key proof connection in all
	UnauthenticatedPerAddress int
	UnauthenticatedTotal      int
}

// SSHKey is how SSH keys on file are used.
type SSHKey struct {
	RequireProof  string        // console, off or all
	ProofTime     time.Duration // how long a proof may take
	UnprovenAfter time.Duration // after which keys without proof are disabled; 0 is never
	SweepEvery    time.Duration
	AccessKeys    bool // keys may open projects and repositories by themselves
}

// Tokens is how HTTP access tokens are made.
type Tokens struct {
	MaxPerScope    int  // of one user, project or repository
	ExpiryRequired bool // new ones expire
	MaxDays        int  // new ones expire after at most so many days; 0 is no limit
}

// Git is what clients of git may occupy, and how they may prove who they are.
type Git struct {
	HTTPPassword  bool          // people's passwords are taken over HTTP
	MaxPush       int64         // bytes of one push
	MaxRequest    int64         // bytes that a client may send to fetch
	MaxRefs       int           // refs that one push may move
	MaxMemory     int64         // bytes of data of one git process; 0 is no bound
	Parallel      int           // operations at a time; 0 goes by the processors
	QueueWait     time.Duration // for a turn
	IdleTimeout   time.Duration
	Timeout       time.Duration // one operation from start to end
	Recheck       time.Duration // between two questions whether a push may go on
	MaintainEvery time.Duration // between two rounds of packing and of clearing away
}

// Remote is how people are taken to devices, and how the API of applications that send them answers.
type Remote struct {
	Tenant            string // how the installation calls itself in that API
	RequireCredential bool   // callers of it name the credential, unless their authorization may leave it to us
	AddressScope      string // session or start
	PinAlways         bool
	TokenLife         time.Duration
	LinkLife          time.Duration // at most 30 s
	Grace             time.Duration // of a second factor in one browser
	Wait              time.Duration // for the person
	Idle, Absolute    time.Duration
	Notices           []time.Duration
	Reattach          time.Duration
	Custody           time.Duration // of a credential that was checked out
	RequestTimeout    time.Duration
	FinishedKept      time.Duration // of links
	Sweep             time.Duration

	PerUser     int // sessions at a time; 0 is no limit
	Look        time.Duration
	Beat        time.Duration
	LostAfter   time.Duration // longer than Beat
	DialTimeout time.Duration
	Channels    int
	IdleNotice  time.Duration
	Frame       time.Duration
	WatchLife   time.Duration
}

// Recording is how remote sessions are recorded.
type Recording struct {
	URL            string // where recordings are kept; empty: in Data
	Keystrokes     bool   // what is typed is kept, not only counted
	Retention      time.Duration
	SegmentBytes   int64
	SegmentTime    time.Duration
	Sync           time.Duration // between two syncs of the spool to disk
	UploadPatience time.Duration // how long a closed segment may wait while none of its recording is stored
	MaxBytes       int64         // of one recording; 0: as many as come
	MinFree        int64         // bytes that stay free on the disks of recordings; 0: none
	SweepEvery     time.Duration
}

// Device is where devices may lie.
type Device struct {
	Allow []netip.Prefix // addresses that callers of an API may register although they lead to Gatehouse's own machine or are link-local
}

// SSHVerify holds the limits and waits of key proofs and their webhooks.
type SSHVerify struct {
	RatePerHour         int // API calls of one project; 0 is unlimited
	KeysMax             int // keys in one session
	WebhooksMax         int // webhooks of one session
	ConfirmTimeout      time.Duration
	ChannelWait         time.Duration // for the client to open a channel
	LeaveWait           time.Duration // for the client to read its last line
	RecordWait          time.Duration // a connection may go unrecorded so long, to be written with its end
	SweepEvery          time.Duration
	WebhookTimeout      time.Duration
	WebhookLease        time.Duration // how long a node may hold a delivery
	WebhookRetryUnit    time.Duration // what one second of back-off lasts
	WebhookAllow        []string      // host names and CIDRs that webhooks may reach although they are private
	InvocationRetention time.Duration
	SessionRetention    time.Duration // of finished sessions
}

// IsPostgres says that the database is PostgreSQL rather than SQLite in the data directory.
func (c Config) IsPostgres() bool { return !c.Database.Empty() }

// Load reads all sources and checks the whole. flags holds the flags that were given, by the name of the
// flag without dashes; env is in the form of os.Environ; file may be "", then GATEHOUSE_CONFIG names it, or there is none.
// The error lists every mistake, one a line.
func Load(flags map[string]string, env []string, file string) (Config, error) {
	var c Config
	given, wrong := gather(flags, env, file)
	for _, s := range table() {
		v, ok := given[s.Name]
		if !ok {
			v = value{text: s.Default, from: "the default"}
		}
		if err := s.read(&c, v.text); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w (from %s)", s.Name, err, v.from))
		}
	}
	c.MasterKey, c.AdminPassword = lookup(env, "GATEHOUSE_MASTER_KEY"), lookup(env, "GATEHOUSE_ADMIN_PASSWORD")
	wrong = append(wrong, c.derive(given)...)
	wrong = append(wrong, c.check(given)...)
	return c, errors.Join(wrong...)
}

// derive fills what follows from other settings.
func (c *Config) derive(given map[string]value) (wrong []error) {
	scheme := "http"
	if c.ServesTLS() {
		scheme = "https"
	}
	text := given["public_url"].text
	if text == "" {
		text = scheme + "://" + net.JoinHostPort("localhost", portOf(c.HTTP))
	}
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		wrong = append(wrong, mistake("public_url", given, "must be http://HOST[:PORT] or https://HOST[:PORT]"))
		u = &url.URL{Scheme: scheme, Host: "localhost"}
	case u.User != nil, u.RawQuery != "", u.Fragment != "", strings.Trim(u.Path, "/") != "":
		wrong = append(wrong, mistake("public_url", given, "must not have user, path, query or fragment; Gatehouse needs a host of its own"))
	}
	u.Path = ""
	c.PublicURL = u
	if c.WebAuthn.RPID == "" {
		c.WebAuthn.RPID = strings.ToLower(u.Hostname())
	}
	if host := strings.ToLower(u.Hostname()); host != c.WebAuthn.RPID && !strings.HasSuffix(host, "."+c.WebAuthn.RPID) {
		wrong = append(wrong, mistake("webauthn.rp_id", given, "is neither the host of public_url nor a domain above it; browsers would refuse every security key"))
	}
	if c.PublicSSH == "" {
		c.PublicSSH = net.JoinHostPort("localhost", portOf(c.SSH))
	}
	return wrong
}

// ServesTLS says that the HTTP listener speaks TLS: with the given certificate, or with one of its own
// making where the listener can be reached from other machines.
func (c Config) ServesTLS() bool { return c.TLS.Cert != "" || !loopback(c.HTTP) }

// check holds the rules between settings.
func (c *Config) check(given map[string]value) (wrong []error) {
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		wrong = append(wrong, errors.New("tls.cert and tls.key: one is given without the other; give both or neither"))
	}
	if c.IsPostgres() && c.MasterKeyFile == "" && c.MasterKey.Empty() {
		wrong = append(wrong, errors.New("master_key_file: PostgreSQL needs a master key that all nodes share; give --master-key-file or GATEHOUSE_MASTER_KEY"))
	}
	if c.MasterKeyFile != "" && !c.MasterKey.Empty() {
		wrong = append(wrong, mistake("master_key_file", given, "is given as well as GATEHOUSE_MASTER_KEY; give one of them"))
	}
	if c.HTTP == c.SSH && c.HTTP != "" && portOf(c.HTTP) != "0" {
		wrong = append(wrong, errors.New("http and ssh: both want "+c.HTTP+"; give them different addresses"))
	}
	if c.Remote.LostAfter <= c.Remote.Beat {
		wrong = append(wrong, mistake("remote.lost_after", given, "must be longer than remote.beat_every, or nodes that live would count as lost"))
	}
	if c.SSHVerify.WebhookLease <= c.SSHVerify.WebhookTimeout {
		wrong = append(wrong, mistake("sshverify.webhook_lease", given, "must be longer than sshverify.webhook_timeout, or no delivery would ever be started"))
	}
	if c.PublicURL.Scheme == "http" && !loopbackHost(c.PublicURL.Hostname()) {
		c.warn("public_url is plain http on %s: browsers cannot sign in there, as cookies need TLS; use https", c.PublicURL.Hostname())
	}
	if !loopback(c.HTTP) && c.TLS.Cert == "" && len(c.TrustedProxies) == 0 {
		c.warn("http listens on %s without tls.cert: a self-signed certificate is used, which clients must be told to trust", c.HTTP)
	}
	for _, p := range append(append([]netip.Prefix{}, c.TrustedProxies...), c.ProxyProtocolFrom...) {
		if p.Bits() == 0 {
			c.warn("%s trusts every machine to say where requests come from", p)
		}
	}
	return wrong
}

func (c *Config) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

func mistake(name string, given map[string]value, what string) error {
	from := given[name].from
	if from == "" {
		from = "the default"
	}
	return fmt.Errorf("%s: %s (from %s)", name, what, from)
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func loopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	return loopbackHost(host)
}

func loopbackHost(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// MetricsOnMain says that /metrics is on the main listener: nobody gave it one of its own, and the
// public host is this machine alone.
func (c Config) MetricsOnMain() bool {
	return c.Metrics == "" && loopbackHost(c.PublicURL.Hostname()) && loopback(c.HTTP)
}
