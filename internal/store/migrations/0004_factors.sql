-- +goose Up

-- Numbers for wires that know things by an integer: one sequence for each noun.
CREATE TABLE numbers (
  noun TEXT PRIMARY KEY,
  next BIGINT NOT NULL
);

ALTER TABLE users ADD COLUMN display_name TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN first_name TEXT;
ALTER TABLE users ADD COLUMN last_name TEXT;
ALTER TABLE users ADD COLUMN description TEXT;
-- The provider whose re-check disabled the user; empty where a person did.
ALTER TABLE users ADD COLUMN disabled_by TEXT NOT NULL DEFAULT '';

ALTER TABLE accounts ADD COLUMN require_factor TEXT NOT NULL DEFAULT '';

ALTER TABLE applications ADD COLUMN certificate BYTEA;
ALTER TABLE applications ADD COLUMN authorities TEXT NOT NULL DEFAULT '';
ALTER TABLE applications ADD COLUMN certificate_subject TEXT NOT NULL DEFAULT '';
ALTER TABLE applications ADD COLUMN provider TEXT NOT NULL DEFAULT '';

ALTER TABLE sessions ADD COLUMN provider TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN unlocked BIGINT;
ALTER TABLE sessions ADD COLUMN tries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN certificate BYTEA;
ALTER TABLE sessions ADD COLUMN login TEXT NOT NULL DEFAULT '';
CREATE INDEX sessions_provider ON sessions (provider) WHERE provider <> '' AND ended IS NULL;

-- What a user proves a sign-in with beside the password. The TOTP secret is sealed.
CREATE TABLE factor_totp (
  user_id   TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  sealed    BYTEA NOT NULL,
  enabled   BIGINT NOT NULL,
  last_step BIGINT NOT NULL
);

CREATE TABLE factor_devices (
  id          TEXT PRIMARY KEY,
  user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name        TEXT NOT NULL,
  kind        TEXT NOT NULL,
  credential  BYTEA NOT NULL,
  public_key  BYTEA NOT NULL,
  counter     BIGINT NOT NULL,
  origin      TEXT NOT NULL,
  transports  TEXT NOT NULL,
  aaguid      BYTEA NOT NULL,
  format      TEXT NOT NULL,
  flags       BIGINT NOT NULL,
  created     BIGINT NOT NULL,
  last_used   BIGINT
);
CREATE UNIQUE INDEX factor_devices_credential_key ON factor_devices (credential);
CREATE UNIQUE INDEX factor_devices_name_key ON factor_devices (user_id, name);

CREATE TABLE factor_codes (
  id       TEXT PRIMARY KEY,
  user_id  TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  kind     TEXT NOT NULL,
  salt     BYTEA NOT NULL,
  hash     BYTEA NOT NULL,
  created  BIGINT NOT NULL,
  used     BIGINT
);
CREATE INDEX factor_codes_user ON factor_codes (user_id, kind);

-- A sign-in, an enrolment or a change of a factor that waits for an answer. Known by the digest of its own token, or by
-- the session that it belongs to.
CREATE TABLE factor_conversations (
  id       TEXT PRIMARY KEY,
  digest   BYTEA NOT NULL,
  kind     TEXT NOT NULL,
  user_id  TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  session  TEXT NOT NULL,
  name     TEXT NOT NULL,
  method   TEXT NOT NULL,
  stamp    TEXT NOT NULL,
  provider TEXT NOT NULL,
  target   TEXT NOT NULL,
  sealed   BYTEA,
  tries    BIGINT NOT NULL,
  created  BIGINT NOT NULL,
  expires  BIGINT NOT NULL
);
CREATE UNIQUE INDEX factor_conversations_digest_key ON factor_conversations (digest);
CREATE INDEX factor_conversations_user ON factor_conversations (user_id, kind);
CREATE INDEX factor_conversations_session ON factor_conversations (session, kind) WHERE session <> '';
CREATE INDEX factor_conversations_expires ON factor_conversations (expires);

-- Outside identity providers. What may be read again lies in settings, its secret is sealed.
CREATE TABLE providers (
  id          TEXT PRIMARY KEY,
  number      BIGINT NOT NULL,
  handle      BYTEA NOT NULL,
  kind        TEXT NOT NULL,
  name        TEXT NOT NULL,
  name_folded TEXT NOT NULL,
  enabled     BOOLEAN NOT NULL,
  settings    TEXT NOT NULL,
  sealed      BYTEA,
  created     BIGINT NOT NULL,
  updated     BIGINT NOT NULL
);
CREATE UNIQUE INDEX providers_number_key ON providers (number);
CREATE UNIQUE INDEX providers_handle_key ON providers (handle);
CREATE UNIQUE INDEX providers_name_key ON providers (name_folded);

-- Who a user is at a provider: identity is the provider and its subject, never an e-mail address alone.
CREATE TABLE provider_links (
  provider TEXT NOT NULL REFERENCES providers (id) ON DELETE CASCADE,
  subject  TEXT NOT NULL,
  user_id  TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  made     BOOLEAN NOT NULL,
  created  BIGINT NOT NULL,
  checked  BIGINT,
  PRIMARY KEY (provider, subject)
);
CREATE UNIQUE INDEX provider_links_user_key ON provider_links (provider, user_id);
CREATE INDEX provider_links_user ON provider_links (user_id);

-- Sign-ins that are under way at a provider.
CREATE TABLE login_flows (
  id       TEXT PRIMARY KEY,
  provider TEXT NOT NULL REFERENCES providers (id) ON DELETE CASCADE,
  state    BYTEA NOT NULL,
  browser  BYTEA NOT NULL,
  code     BYTEA NOT NULL,
  finish   BYTEA NOT NULL,
  target   TEXT NOT NULL,
  sealed   BYTEA NOT NULL,
  created  BIGINT NOT NULL,
  expires  BIGINT NOT NULL
);
CREATE UNIQUE INDEX login_flows_state_key ON login_flows (state);
CREATE UNIQUE INDEX login_flows_code_key ON login_flows (code) WHERE length(code) > 0;
CREATE UNIQUE INDEX login_flows_finish_key ON login_flows (finish) WHERE length(finish) > 0;
CREATE INDEX login_flows_expires ON login_flows (expires);

-- Keys by which providers know the installation, each with its certificate. The private key is sealed.
CREATE TABLE service_keys (
  name        TEXT PRIMARY KEY,
  sealed      BYTEA NOT NULL,
  certificate BYTEA NOT NULL,
  created     BIGINT NOT NULL
);

-- What may be used once: codes, assertions, answers to CAPTCHAs. Keys are digests.
CREATE TABLE used_once (
  key   BYTEA PRIMARY KEY,
  until BIGINT NOT NULL
);
CREATE INDEX used_once_until ON used_once (until);

-- The user to whose sign-ins an event belongs: most events belong to nobody's, and cost no index.
ALTER TABLE audit_events ADD COLUMN concerns TEXT;
CREATE INDEX audit_events_concerns ON audit_events (concerns, id) WHERE concerns IS NOT NULL;
