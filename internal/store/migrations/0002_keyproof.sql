-- +goose Up

-- What happened. The body is the event's JSON, byte for byte what the digest covers. Digests and links
-- are hex: the same text in both databases. position and link are absent until the event is sealed.
CREATE TABLE audit_events (
  id       TEXT NOT NULL,
  body     TEXT NOT NULL,
  digest   TEXT NOT NULL,
  position BIGINT,
  link     TEXT
);
CREATE UNIQUE INDEX audit_events_position_key ON audit_events (position) WHERE position IS NOT NULL;
CREATE UNIQUE INDEX audit_events_waiting_key ON audit_events (id) WHERE position IS NULL;

-- Signed ends of batches. Columns are named after audit.Seal.
CREATE TABLE audit_seals (
  number         BIGINT PRIMARY KEY,
  first_position BIGINT NOT NULL,
  last_position  BIGINT NOT NULL,
  link           TEXT NOT NULL,
  previous       TEXT NOT NULL,
  at             BIGINT NOT NULL,
  key_id         TEXT NOT NULL,
  signature      TEXT NOT NULL
);

-- The keys that sign, the private halves sealed.
CREATE TABLE signing_keys (
  id      TEXT PRIMARY KEY,
  public  BYTEA NOT NULL,
  sealed  BYTEA NOT NULL,
  created BIGINT NOT NULL
);

-- Verify and collect sessions. Counting failed attempts touches no indexed column; ending a session
-- without expiry touches one index.
CREATE TABLE proof_sessions (
  id               TEXT PRIMARY KEY,
  project          TEXT NOT NULL REFERENCES projects (id),
  kind             TEXT NOT NULL,
  identifier       TEXT NOT NULL,
  status           TEXT NOT NULL,
  external_id      TEXT,
  match_all_keys   BOOLEAN NOT NULL,
  multi_key        BOOLEAN NOT NULL,
  multi_connection BOOLEAN NOT NULL,
  must_confirm     BOOLEAN NOT NULL,
  max_attempts     BIGINT NOT NULL,
  banner           TEXT,
  message          TEXT,
  attempts         BIGINT NOT NULL,
  created          BIGINT NOT NULL,
  updated          BIGINT NOT NULL,
  expires          BIGINT,
  hooks            BIGINT NOT NULL, -- how many webhooks it has: most have none, and are spared the look
  keys             TEXT NOT NULL
);
CREATE UNIQUE INDEX proof_sessions_identifier_key ON proof_sessions (identifier);
CREATE INDEX proof_sessions_list ON proof_sessions (project, kind, created, id);
CREATE INDEX proof_sessions_status ON proof_sessions (project, kind, status, created, id, expires);
CREATE INDEX proof_sessions_lost ON proof_sessions (project, kind, created, id) WHERE status IN ('failed', 'expired');
CREATE INDEX proof_sessions_external ON proof_sessions (project, kind, external_id, created, id) WHERE external_id IS NOT NULL;
CREATE INDEX proof_sessions_ends ON proof_sessions (expires, project, kind) WHERE status = 'pending' AND expires IS NOT NULL;

-- How many sessions a project has, by kind and stored status: see decision 0004. A session counts in
-- the shard that its id gives, so that writers of one project rarely wait for each other.
CREATE TABLE proof_counts (
  project   TEXT NOT NULL,
  kind      TEXT NOT NULL,
  shard     BIGINT NOT NULL,
  pending   BIGINT NOT NULL,
  verified  BIGINT NOT NULL,
  failed    BIGINT NOT NULL,
  completed BIGINT NOT NULL,
  expired   BIGINT NOT NULL,
  PRIMARY KEY (project, kind, shard)
);

CREATE TABLE proof_connections (
  session        TEXT NOT NULL REFERENCES proof_sessions (id) ON DELETE CASCADE,
  id             TEXT NOT NULL,
  address        TEXT NOT NULL,
  client_version TEXT NOT NULL,
  created        BIGINT NOT NULL,
  keys           TEXT NOT NULL,
  PRIMARY KEY (session, id)
);

-- Subscriptions. headers and secret are sealed: both hold credentials of the receiver. NULL is none.
CREATE TABLE webhooks (
  id                 TEXT PRIMARY KEY,
  owner              TEXT NOT NULL REFERENCES proof_sessions (id) ON DELETE CASCADE,
  project            TEXT NOT NULL,
  url                TEXT NOT NULL,
  method             TEXT NOT NULL,
  headers            BYTEA,
  events             TEXT NOT NULL,
  retries            BIGINT NOT NULL,
  initial_backoff    BIGINT NOT NULL,
  backoff_multiplier TEXT NOT NULL, -- shortest decimal that is the same number again
  secret             BYTEA,
  created            BIGINT NOT NULL
);
CREATE INDEX webhooks_owner ON webhooks (owner, created, id);

-- What goes out, and went out. A row outlives its webhook once it has been tried.
CREATE TABLE webhook_deliveries (
  id        TEXT PRIMARY KEY,
  webhook   TEXT NOT NULL,
  owner     TEXT NOT NULL,
  project   TEXT NOT NULL,
  entity    TEXT NOT NULL,
  event     TEXT NOT NULL,
  payload   TEXT NOT NULL,
  triggered BIGINT NOT NULL,
  state     TEXT NOT NULL,
  attempts  BIGINT NOT NULL,
  due       BIGINT NOT NULL,
  status    BIGINT NOT NULL,
  reason    TEXT NOT NULL,
  ended     BIGINT,
  holder    TEXT,
  leased    BIGINT
);
CREATE INDEX webhook_deliveries_first ON webhook_deliveries (id) WHERE state = 'pending' AND attempts = 0;
CREATE INDEX webhook_deliveries_retry ON webhook_deliveries (due, id) WHERE state = 'pending' AND attempts > 0;
CREATE INDEX webhook_deliveries_queue ON webhook_deliveries (webhook, id) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (project, id) WHERE state = 'failed';
CREATE INDEX webhook_deliveries_owner ON webhook_deliveries (owner, id);
CREATE INDEX webhook_deliveries_project ON webhook_deliveries (project, id);
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended) WHERE ended IS NOT NULL;

CREATE TABLE webhook_attempts (
  delivery TEXT NOT NULL REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
  number   BIGINT NOT NULL,
  started  BIGINT NOT NULL,
  took     BIGINT NOT NULL,
  status   BIGINT NOT NULL,
  reason   TEXT NOT NULL,
  answer   BYTEA,
  PRIMARY KEY (delivery, number)
);
