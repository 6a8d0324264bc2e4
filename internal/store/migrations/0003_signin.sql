-- +goose Up

-- Accounts hold users, groups and applications together. The first is there from the beginning. Users
-- that exist already get it as their home, and belong to it as ordinary members.
CREATE TABLE accounts (
  id          TEXT PRIMARY KEY,
  name        TEXT NOT NULL,
  name_folded TEXT NOT NULL,
  disabled    BOOLEAN NOT NULL,
  created     BIGINT NOT NULL,
  updated     BIGINT NOT NULL
);
CREATE UNIQUE INDEX accounts_name_key ON accounts (name_folded);

INSERT INTO accounts (id, name, name_folded, disabled, created, updated)
  SELECT '00000000-0000-7000-8000-000000000001', 'default', 'default', FALSE, COALESCE(MIN(created), 0), COALESCE(MIN(created), 0) FROM users;

UPDATE users SET account = '00000000-0000-7000-8000-000000000001';
ALTER TABLE users ADD COLUMN email_verified BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE users ADD COLUMN last_login BIGINT;

-- The binding that makes a user a member of its home account has the id of the user.
INSERT INTO role_bindings (id, subject_kind, subject_id, role, resource_kind, resource_id, created)
  SELECT id, 'user', id, 'account.member', 'account', account, created FROM users;
CREATE INDEX role_bindings_resource ON role_bindings (resource_kind, resource_id, subject_kind, subject_id);

CREATE TABLE account_groups (
  id           TEXT PRIMARY KEY,
  account      TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  name         TEXT NOT NULL,
  name_folded  TEXT NOT NULL,
  creator_kind TEXT NOT NULL,
  creator_id   TEXT NOT NULL,
  created      BIGINT NOT NULL
);
CREATE UNIQUE INDEX account_groups_name_key ON account_groups (account, name_folded);

-- The secret itself is there, sealed, only until sealed_until.
CREATE TABLE applications (
  id            TEXT PRIMARY KEY,
  account       TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  name          TEXT NOT NULL,
  description   TEXT NOT NULL,
  auth_type     TEXT NOT NULL,
  digest        BYTEA NOT NULL,
  old_digest    BYTEA NOT NULL,
  old_until     BIGINT,
  disabled      BOOLEAN NOT NULL,
  addresses     TEXT NOT NULL,
  groups_in     TEXT NOT NULL,
  default_group TEXT NOT NULL,
  role          TEXT NOT NULL,
  creator_kind  TEXT NOT NULL,
  creator_id    TEXT NOT NULL,
  sealed        BYTEA,
  sealed_until  BIGINT,
  created       BIGINT NOT NULL,
  updated       BIGINT NOT NULL,
  last_login    BIGINT
);
CREATE UNIQUE INDEX applications_name_key ON applications (account, name);
CREATE INDEX applications_sealed ON applications (sealed_until) WHERE sealed_until IS NOT NULL;

CREATE TABLE sessions (
  id             TEXT PRIMARY KEY,
  digest         BYTEA NOT NULL,
  kind           TEXT NOT NULL,
  principal      TEXT NOT NULL,
  account        TEXT NOT NULL,
  state          TEXT NOT NULL,
  method         TEXT NOT NULL,
  transport      TEXT NOT NULL,
  created        BIGINT NOT NULL,
  authenticated  BIGINT NOT NULL,
  last_used      BIGINT NOT NULL,
  idle           BIGINT NOT NULL,
  deadline       BIGINT NOT NULL,
  elevated       BIGINT,
  expires        BIGINT NOT NULL,
  ended          BIGINT,
  address        TEXT NOT NULL,
  user_agent     TEXT NOT NULL
);
CREATE UNIQUE INDEX sessions_digest_key ON sessions (digest);
CREATE INDEX sessions_principal ON sessions (kind, principal, last_used) WHERE ended IS NULL;
CREATE INDEX sessions_expires ON sessions (expires) WHERE ended IS NULL;
CREATE INDEX sessions_ended ON sessions (ended) WHERE ended IS NOT NULL;

-- Failed sign-ins by name, address or program, each hashed.
CREATE TABLE lockouts (
  key      TEXT PRIMARY KEY,
  failures BIGINT NOT NULL,
  since    BIGINT NOT NULL,
  last     BIGINT NOT NULL
);
CREATE INDEX lockouts_last ON lockouts (last);
