-- +goose Up

-- The keyset that seals everything recoverable, wrapped by the master key of that id. One row.
CREATE TABLE keysets (
  name       TEXT PRIMARY KEY,
  wrapped    BYTEA NOT NULL,
  master_key TEXT NOT NULL,
  created    BIGINT NOT NULL
);

-- The SSH door's host keys, sealed.
CREATE TABLE ssh_host_keys (
  type    TEXT PRIMARY KEY,
  sealed  BYTEA NOT NULL,
  public  TEXT NOT NULL,
  created BIGINT NOT NULL
);

CREATE TABLE users (
  id            TEXT PRIMARY KEY,
  account       TEXT NOT NULL,
  name          TEXT NOT NULL,
  name_folded   TEXT NOT NULL,
  email         TEXT NOT NULL,
  email_folded  TEXT NOT NULL,
  password_hash TEXT NOT NULL,
  disabled      BOOLEAN NOT NULL,
  created       BIGINT NOT NULL,
  updated       BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_name_key ON users (account, name_folded);
CREATE UNIQUE INDEX users_email_key ON users (account, email_folded);

CREATE TABLE role_bindings (
  id            TEXT PRIMARY KEY,
  subject_kind  TEXT NOT NULL,
  subject_id    TEXT NOT NULL,
  role          TEXT NOT NULL,
  resource_kind TEXT NOT NULL,
  resource_id   TEXT NOT NULL,
  created       BIGINT NOT NULL
);
CREATE UNIQUE INDEX role_bindings_subject_key ON role_bindings (subject_kind, subject_id, resource_kind, resource_id, role);

CREATE TABLE projects (
  id            TEXT PRIMARY KEY,
  key           TEXT NOT NULL,
  name          TEXT NOT NULL,
  strict_status BOOLEAN NOT NULL,
  rate_per_hour BIGINT,
  created       BIGINT NOT NULL,
  updated       BIGINT NOT NULL
);
CREATE UNIQUE INDEX projects_key_key ON projects (key);

CREATE TABLE tokens (
  id           TEXT PRIMARY KEY,
  kind         TEXT NOT NULL,
  name         TEXT NOT NULL,
  project      TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
  digest       BYTEA NOT NULL,
  created      BIGINT NOT NULL,
  expires      BIGINT,
  revoked      BIGINT,
  last_used    BIGINT,
  last_address TEXT NOT NULL
);
CREATE UNIQUE INDEX tokens_digest_key ON tokens (digest);
CREATE INDEX tokens_project ON tokens (project, id);

-- Failed attempts by kind and address, one fixed window each.
CREATE TABLE failures (
  key      TEXT PRIMARY KEY,
  attempts BIGINT NOT NULL,
  ends     BIGINT NOT NULL
);

-- Request budgets: what is left of each bucket, in millionths of a request.
CREATE TABLE buckets (
  key          TEXT PRIMARY KEY,
  micro_tokens BIGINT NOT NULL,
  size         BIGINT NOT NULL,
  at           BIGINT NOT NULL
);
