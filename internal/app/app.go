// Package app builds Gatehouse from its rooms: the only place that knows every other.
//
// Open gives a House: the database, the keys and the services, which commands use as they are.
// House.Serve adds what a server has: listeners, doors, and the loops that nouns own.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/config"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
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
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/git"
	"github.com/gatehouse-project/gatehouse/internal/idp/saml"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/recording"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/postgres"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

// cacheFor is how long a node may answer from memory what another node may have changed.
const cacheFor = 2 * time.Second

// Options is what a process adds to its configuration.
type Options struct {
	Version string
	Log     *slog.Logger
	Now     func() time.Time // time.Now, but for tests
}

// House is Gatehouse in one process: its data and its services.
type House struct {
	Config  config.Config
	Version string
	Log     *slog.Logger
	Now     func() time.Time
	Node    string // names this process in leases and logs

	DB     *store.DB
	Sealer *secret.Sealer
	Signer audit.Signer

	Audit    *audit.Service
	Access   *access.Service
	Users    *identity.Service
	Accounts *identity.Accounts
	Groups   *identity.Groups
	Apps     *identity.Applications
	Sessions *session.Service
	Factors  *factor.Service
	Lockout  *guard.Lockout
	Once     guard.OnceStore
	Captcha  *guard.Captcha
	Projects *project.Service
	Tokens   *token.Service // API keys
	Failures *guard.Failures
	Budget   *guard.Budget
	Login    *login.Service
	Webhooks *webhook.Service

	Subscriptions *webhook.Subscriptions // webhooks of the whole installation
	Events        *webhook.Stream        // what happens, as it happens

	Keyproof *keyproof.Service
	Keys     *sshkey.Service // SSH keys on file
	Repos    *repo.Service   // what git keeps of them: Git

	HTTPTokens *token.Accesses
	Policies   *policy.Service

	Authorizations *identity.Authorizations // of applications, for the API of remote sessions

	Devices *device.Service
	Vault   *vault.Service // credentials of devices

	Recordings *recording.Archive // to be opened by OpenRecordings
	Library    *remote.Library    // what was recorded, for people

	Remote *remote.Service

	Providers *identity.Providers

	hasher  *secret.Hasher
	metrics *metrics
	saml    *saml.Federation
	git     func() (*git.Repositories, error)
	unlock  func() // gives the data directory's lock back

	releaseSpool func() // gives the lock of the spool of recordings back
}

// Open opens the data for a command. The schema must be there already: a command changes nothing that
// a running server does not expect.
func Open(ctx context.Context, c config.Config, o Options) (*House, error) {
	return open(ctx, c, o, false)
}

// Migrate brings the schema to this program's version, makes the keys at the first start, and opens the
// data. With SQLite the data directory is locked until Close.
func Migrate(ctx context.Context, c config.Config, o Options) (*House, error) {
	return open(ctx, c, o, true)
}

func open(ctx context.Context, c config.Config, o Options, migrate bool) (*House, error) {
	h := &House{Config: c, Version: o.Version, Log: o.Log, Now: o.Now, Node: uuid.NewString(), metrics: newMetrics(o.Version)}
	if h.Now == nil {
		h.Now = time.Now
	}
	if err := h.open(ctx, migrate); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func (h *House) open(ctx context.Context, migrate bool) (err error) {
	if migrate && !h.Config.IsPostgres() {
		if err := os.MkdirAll(h.Config.Data, 0o700); err != nil {
			return fmt.Errorf("make data directory: %w", err)
		}
		if h.unlock, err = sqlite.LockDir(h.Config.Data); err != nil {
			return err
		}
	}
	if err := h.openDatabase(ctx, migrate); err != nil {
		return err
	}
	if err := h.openKeys(ctx, migrate); err != nil {
		return err
	}
	h.build()
	h.Signer, err = audit.OpenSigner(ctx, store.Audit{DB: h.DB}, h.Sealer, h.Now())
	h.Audit.Signer = h.Signer
	return err
}

// Close gives everything back. It may be called on a House that was opened in part.
func (h *House) Close() {
	if h.Recordings != nil {
		if err := h.Recordings.Close(); err != nil {
			h.failed("close recordings", err)
		}
	}
	if h.releaseSpool != nil {
		h.releaseSpool()
	}
	if h.DB != nil {
		if err := h.DB.Close(); err != nil {
			h.Log.Error("close database", slog.String("error", err.Error()))
		}
	}
	if h.unlock != nil {
		h.unlock()
	}
}

func (h *House) openDatabase(ctx context.Context, migrate bool) error {
	engine, err := h.engine(ctx, migrate)
	if err != nil {
		return err
	}
	h.DB = &store.DB{Engine: engine, Observe: h.metrics.observeStore}
	have, newest, err := engine.SchemaVersion(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if err := notNewer(have, newest); err != nil { // not even migrations may touch it
		return err
	}
	if migrate {
		if err := engine.Migrate(ctx); err != nil {
			return fmt.Errorf("migrate database: %w", err)
		}
		return nil
	}
	if have < newest {
		return fmt.Errorf("the database has schema version %d and this program needs %d; stop the server and run `gatehouse migrate`", have, newest)
	}
	return nil
}

// notNewer refuses a schema that a newer program made: what it means is not known here.
func notNewer(have, newest int64) error {
	if have > newest {
		return fmt.Errorf("the database has schema version %d, newer than this program's %d; use the newer gatehouse", have, newest)
	}
	return nil
}

func (h *House) engine(ctx context.Context, migrate bool) (store.Engine, error) {
	if h.Config.IsPostgres() {
		return postgres.Open(ctx, postgres.Options{URL: h.Config.Database.Reveal(), MaxConns: h.Config.Store.PostgresConns})
	}
	path := filepath.Join(h.Config.Data, "gatehouse.db")
	if _, err := os.Stat(path); !migrate && errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no database in %s; start `gatehouse serve` once, or name another directory with --data", h.Config.Data)
	}
	return sqlite.Open(ctx, sqlite.Options{Path: path, BusyTimeout: h.Config.Store.BusyTimeout})
}

// openKeys opens the keyset with the master key. At the first start it makes both; a database that has
// a keyset already gets no new master key, which could not open it.
func (h *House) openKeys(ctx context.Context, first bool) error {
	keysets := store.Keysets{DB: h.DB}
	k, err := keysets.Current(ctx)
	if err != nil && (!first || !fault.Is(err, fault.NotFound)) {
		return fmt.Errorf("read keyset: %w", err)
	}
	isNew := err != nil
	master, err := h.masterKey(isNew)
	if err != nil {
		return err
	}
	if isNew {
		wrapped, err := secret.NewKeyset(master)
		if err != nil {
			return err
		}
		if k, err = keysets.InsertFirst(ctx, store.Keyset{Wrapped: wrapped, MasterKey: master.ID(), Created: h.Now()}); err != nil {
			return fmt.Errorf("insert keyset: %w", err)
		}
	}
	if k.MasterKey != master.ID() {
		return fmt.Errorf("the database was sealed with master key %s, but %s holds key %s; give the right one", k.MasterKey, h.masterKeyPlace(), master.ID())
	}
	h.Sealer, err = secret.OpenKeyset(master, k.Wrapped)
	return err
}

// masterKeyPlace says where the master key comes from.
func (h *House) masterKeyPlace() string {
	switch {
	case !h.Config.MasterKey.Empty():
		return "GATEHOUSE_MASTER_KEY"
	case h.Config.MasterKeyFile != "":
		return h.Config.MasterKeyFile
	default:
		return filepath.Join(h.Config.Data, "master.key")
	}
}

// masterKey reads the master key from where the operator put it, or from the data directory, where
// the first start makes it.
func (h *House) masterKey(first bool) (secret.MasterKey, error) {
	if !h.Config.MasterKey.Empty() {
		master, err := secret.ParseMasterKey(h.Config.MasterKey.Reveal())
		if err != nil {
			err = fmt.Errorf("read GATEHOUSE_MASTER_KEY: %w", err)
		}
		return master, err
	}
	path := h.masterKeyPlace()
	if first && h.Config.MasterKeyFile == "" {
		master, err := secret.CreateMasterKeyFile(path)
		if !errors.Is(err, secret.ErrMasterKeyExists) {
			return master, err
		}
	}
	master, err := secret.ReadMasterKeyFile(path)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("there is no master key in %s; put the one back with which the database was sealed", path)
	}
	return master, err
}

// build makes the services. Each is a struct whose fields are all it needs.
func (h *House) build() {
	c, now := h.Config, h.Now
	h.Audit = &audit.Service{
		Store: store.Audit{DB: h.DB}, Now: now, SealEvery: c.Audit.SealEvery, SealBatch: c.Audit.SealBatch,
		Folder: audit.NewFolder(time.Minute), OnSeal: h.sealed,
	}
	h.Access = &access.Service{Store: store.Bindings{DB: h.DB}, Now: now, NewID: newID}
	h.buildIdentity()
	h.buildExplanations()
	h.Projects = &project.Service{Store: store.Projects{DB: h.DB}, Access: h.Access, Now: now, NewID: newID, CacheFor: cacheFor}
	h.Tokens = &token.Service{Store: store.Tokens{DB: h.DB}, Access: h.Access, Now: now, NewID: newID, CacheFor: cacheFor, UsedEvery: time.Minute, OnUsedFailed: func(err error) { h.failed("write last use of keys", err) }}
	h.HTTPTokens = &token.Accesses{
		Store: store.HTTPTokens{DB: h.DB}, Access: h.Access, Reports: &guard.Failures{Store: store.Guards{DB: h.DB}, Now: now, Threshold: 20, Window: time.Minute},
		Now: now, NewID: newID, CacheFor: cacheFor, UsedEvery: time.Minute, FreshFor: c.Auth.Fresh, OnUsedFailed: func(err error) { h.failed("write last use of access tokens", err) },
		MaxPerScope: c.Tokens.MaxPerScope, ExpiryRequired: c.Tokens.ExpiryRequired, MaxDays: c.Tokens.MaxDays,
	}
	h.Failures = &guard.Failures{Store: store.Guards{DB: h.DB}, Now: now, Threshold: 20, Window: time.Minute}
	h.Budget = &guard.Budget{Store: store.Guards{DB: h.DB}, Now: now}
	h.buildSignIn()
	h.buildProviders()
	h.buildKeys()
	h.buildRepos()
	h.buildKeyproof()
	h.buildSubscriptions()
	h.buildDevices()
	h.buildRecordings()
	h.buildRemote()
	h.buildAuthorizations()
}

func (h *House) buildKeys() {
	c := h.Config.SSHKey
	h.Keys = &sshkey.Service{
		Store: store.SSHKeys{DB: h.DB}, Access: h.Access, Now: h.Now, NewID: newID, CacheFor: cacheFor, UsedEvery: time.Minute, FreshFor: h.Config.Auth.Fresh,
		RequireProof: sshkey.RequireProof(c.RequireProof), AccessKeys: c.AccessKeys, UnprovenAfter: c.UnprovenAfter, SweepEvery: c.SweepEvery, OnError: h.failed,
	}
}

func (h *House) buildIdentity() {
	c, now := h.Config, h.Now
	parallel := c.Auth.HashParallel
	if parallel == 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	h.hasher = secret.NewHasher(parallel, c.Auth.HashWait)
	h.hasher.Waited = h.metrics.hashQueued
	h.Users = &identity.Service{Store: store.Users{DB: h.DB}, Hasher: h.hasher, Now: now, NewID: newID, TopRoles: access.TopRoles(), SignUp: c.SignUp}
	h.Groups = &identity.Groups{Store: store.Groups{DB: h.DB}, Now: now, NewID: newID, Weigh: h.Access.Weigh}
	h.Accounts = &identity.Accounts{
		Store: store.Accounts{DB: h.DB}, Now: now, NewID: newID, UsersMake: c.AccountsCreate == "users", Weigh: h.Groups.WeighLeaving,
	}
	h.Apps = &identity.Applications{Store: store.Applications{DB: h.DB, Sealer: h.Sealer}, Now: now, NewID: newID}
}

func (h *House) buildSignIn() {
	c, now := h.Config, h.Now
	h.Sessions = &session.Service{
		Store: store.Sessions{DB: h.DB}, Access: h.Access, Accounts: h.Accounts, Now: now, NewID: newID,
		Users: session.Life{Idle: c.Session.UserIdle, Max: c.Session.UserMax, Limit: 100},
		Apps:  session.Life{Idle: c.Session.AppIdle, Max: c.Session.AppMax, Limit: 1000},
		Wait:  c.Session.Pending, CacheFor: cacheFor, KeepFor: c.Session.Retention, Every: c.Session.SweepEvery, OnError: h.failed,
	}
	h.Lockout = guard.NewLockout(store.Guards{DB: h.DB}, now)
	h.Lockout.CaptchaAfter = c.Auth.CaptchaAfter
	h.Once = store.Once{DB: h.DB}
	h.Captcha = &guard.Captcha{Sealer: h.Sealer, Once: h.Once, Now: now, Life: c.Auth.CaptchaLife}
	h.Factors = &factor.Service{
		Store: store.Factors{DB: h.DB, Sealer: h.Sealer}, Now: now, NewID: newID, RPID: c.WebAuthn.RPID, RPName: "Gatehouse", // its origins are known once the door listens
		Wait: c.Session.Pending, Talk: c.TSV.Conversation, Tries: c.TSV.Tries, OnError: h.failed,
	}
	h.Policies = &policy.Service{Store: store.Policies{DB: h.DB}, Access: h.Access, Now: now, CacheFor: cacheFor, Start: policy.Basic{Block: c.Auth.BlockBasic}}
	h.Login = &login.Service{
		Tokens: h.Tokens, HTTPTokens: h.HTTPTokens, Failures: h.Failures, Audit: h.Audit, Now: now,
		Access: h.Access, Users: h.Users, Applications: h.Apps, Sessions: h.Sessions, Lockout: h.Lockout, Gate: &guard.Gate{Width: 4}, Hasher: h.hasher,
		MinFailure: time.Duration(c.Auth.MinFailureMS) * time.Millisecond, QueueWait: c.Auth.HashWait, OnAttempt: h.metrics.signedIn,
		Policy: h.Policies, BasicScope: login.BasicScope(c.Auth.BasicScope), OnBasic: (&basicLog{log: h.Log, now: now}).note, Second: h.Factors, Accounts: h.Accounts, Enforcement: c.TSV.Enforcement, MFAAfterSSO: c.Auth.MFAAfterSSO, RefuseEnrolledBasic: c.Auth.RefuseEnrolledBasic,
		ElevationFor: c.TSV.Elevation, UnlockFor: c.Auth.Config2FA, FreshFor: c.Auth.Fresh, ElevationTries: c.TSV.Tries,
	}
}

func (h *House) buildKeyproof() {
	c, now := h.Config.SSHVerify, h.Now
	reach, err := outbound.NewPolicy(c.WebhookAllow)
	if err != nil {
		panic("config let a bad webhook_allow through: " + err.Error())
	}
	hooks := store.Webhooks{DB: h.DB, Sealer: h.Sealer}
	h.Webhooks = &webhook.Service{
		Store: hooks, Access: h.Access, Sender: outbound.Webhooks{Client: reach.Client()}, Now: now, NewID: newID,
		Allowed: reach.Allowed, UserAgent: "Gatehouse/" + h.Version, Holder: h.Node, Lease: c.WebhookLease, Timeout: c.WebhookTimeout,
		RetryUnit: c.WebhookRetryUnit, Poll: min(time.Second, c.WebhookRetryUnit), Parallel: 64, Batch: 128, MaxPer: c.WebhooksMax, KeepFor: c.InvocationRetention,
		OnDelivery: h.metrics.delivered, OnError: h.failed,
	}
	h.Webhooks.Start()
	h.Keyproof = &keyproof.Service{
		Store: store.Keyproofs{DB: h.DB, Webhooks: hooks}, Access: h.Access, Projects: h.Projects, Webhooks: h.Webhooks, Now: now, NewID: newID,
		MaxKeys: c.KeysMax, MaxHooks: c.WebhooksMax, RecordWait: c.RecordWait, CommitWait: 15 * time.Second, SweepEvery: c.SweepEvery, KeepFor: c.SessionRetention,
		Observe: h.metrics.proved, OnError: h.failed, Keys: h.Keys, OnFile: store.SSHKeyProofs{DB: h.DB}, OnFileTime: h.Config.SSHKey.ProofTime,
	}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// failed logs what no caller sees.
func (h *House) failed(doing string, err error) {
	h.Log.Error(doing, slog.String("error", err.Error()))
}

func (h *House) sealed(events int, took time.Duration, err error) {
	h.metrics.sealed(events, took)
	if err != nil {
		h.failed("seal audit log", err)
	}
}
