-- +goose Up

-- Grants: bindings by which people open sessions have a number and, as JSON, terms.
ALTER TABLE role_bindings ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
ALTER TABLE role_bindings ADD COLUMN terms TEXT NOT NULL DEFAULT '{}';
CREATE INDEX role_bindings_number ON role_bindings (number) WHERE number > 0;

-- What lies behind the gate. Hosts are unique in any case. connectivities is a list of protocol and port.
CREATE TABLE devices (
  id             TEXT PRIMARY KEY,
  number         BIGINT NOT NULL,
  host           TEXT NOT NULL,
  host_folded    TEXT NOT NULL,
  ip             TEXT NOT NULL,
  model          TEXT NOT NULL,
  type           TEXT NOT NULL,
  vendor         TEXT NOT NULL,
  site           TEXT NOT NULL,
  domains        TEXT NOT NULL,
  tags           TEXT NOT NULL,
  connectivities TEXT NOT NULL,
  script         TEXT NOT NULL,
  unrecorded     BOOLEAN NOT NULL,
  disabled       BOOLEAN NOT NULL,
  created        BIGINT NOT NULL,
  updated        BIGINT NOT NULL
);
CREATE UNIQUE INDEX devices_number_key ON devices (number);
CREATE UNIQUE INDEX devices_host_key ON devices (host_folded);
CREATE INDEX devices_ip ON devices (ip);

-- Domains must be registered before devices and credentials name them.
CREATE TABLE device_domains (
  name_folded TEXT PRIMARY KEY,
  name        TEXT NOT NULL,
  created     BIGINT NOT NULL
);

-- Host keys that an administrator said are a device's own, and those that were seen and wait for one to say so. A pin belongs to one port.
CREATE TABLE device_host_keys (
  id        TEXT PRIMARY KEY,
  device    TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
  port      BIGINT NOT NULL,
  digest    BYTEA NOT NULL,
  blob      BYTEA NOT NULL,
  accepted  BOOLEAN NOT NULL,
  seen      BIGINT NOT NULL,
  decided   BIGINT,
  decided_by TEXT NOT NULL
);
CREATE UNIQUE INDEX device_host_keys_digest_key ON device_host_keys (device, port, digest);

-- Credentials of targets. secret is sealed with the id as associated data; NULL is none yet.
CREATE TABLE credentials (
  id              TEXT PRIMARY KEY,
  number          BIGINT NOT NULL,
  identifier      TEXT NOT NULL,
  device          TEXT NOT NULL REFERENCES devices (id),
  username        TEXT NOT NULL,
  kind            TEXT NOT NULL,
  type            TEXT NOT NULL,
  domain          TEXT NOT NULL,
  additional      TEXT NOT NULL,
  tags            TEXT NOT NULL,
  parent          BIGINT,
  protocols       TEXT,
  remote_app      BOOLEAN NOT NULL,
  extra           TEXT NOT NULL,
  secret          BYTEA,
  never_shown     BOOLEAN NOT NULL,
  exclusive       BOOLEAN NOT NULL,
  needs_rotation  BOOLEAN NOT NULL,
  disabled        BOOLEAN NOT NULL,
  created         BIGINT NOT NULL,
  updated         BIGINT NOT NULL,
  last_used       BIGINT
);
CREATE UNIQUE INDEX credentials_number_key ON credentials (number);
CREATE UNIQUE INDEX credentials_identifier_key ON credentials (identifier);
CREATE UNIQUE INDEX credentials_username_key ON credentials (device, username, domain, kind);

-- Who has checked a credential out. One row for each holder.
CREATE TABLE custodies (
  credential  TEXT NOT NULL REFERENCES credentials (id) ON DELETE CASCADE,
  holder_kind TEXT NOT NULL,
  holder      TEXT NOT NULL,
  taken       BIGINT NOT NULL,
  until       BIGINT NOT NULL,
  PRIMARY KEY (credential, holder_kind, holder)
);
CREATE INDEX custodies_until ON custodies (until);

-- What an application may do by the API of remote sessions. digest is the SHA-256 of the client secret. Whom and what it reaches are role bindings.
CREATE TABLE authorizations (
  id          TEXT PRIMARY KEY,
  application TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
  name        TEXT NOT NULL,
  client_id   TEXT NOT NULL,
  digest      BYTEA NOT NULL,
  enabled     BOOLEAN NOT NULL,
  expires     BIGINT,
  resources   TEXT NOT NULL,
  writes      BOOLEAN NOT NULL,
  addresses   TEXT NOT NULL,
  referrers   TEXT NOT NULL,
  auto_pick   BOOLEAN NOT NULL,
  ancestors   TEXT NOT NULL,
  created     BIGINT NOT NULL,
  updated     BIGINT NOT NULL
);
CREATE UNIQUE INDEX authorizations_client_key ON authorizations (client_id);
CREATE INDEX authorizations_application ON authorizations (application, id);

CREATE TABLE authorization_tokens (
  digest  BYTEA PRIMARY KEY,
  authorization_id TEXT NOT NULL REFERENCES authorizations (id) ON DELETE CASCADE,
  created BIGINT NOT NULL,
  expires BIGINT NOT NULL
);
CREATE INDEX authorization_tokens_expires ON authorization_tokens (expires);
CREATE INDEX authorization_tokens_made ON authorization_tokens (authorization_id, created);

-- Calls of applications, one row each, refused ones too.
CREATE TABLE authorization_calls (
  id            TEXT PRIMARY KEY,
  at            BIGINT NOT NULL,
  client        TEXT NOT NULL,
  name          TEXT NOT NULL,
  address       TEXT NOT NULL,
  resource      TEXT NOT NULL,
  event         TEXT NOT NULL,
  method        TEXT NOT NULL,
  path          TEXT NOT NULL,
  status        BIGINT NOT NULL,
  error         TEXT NOT NULL,
  node          TEXT NOT NULL,
  took          BIGINT NOT NULL
);
CREATE INDEX authorization_calls_at ON authorization_calls (at);

-- Remote sessions, from the link that opens one to its end. sr, handle and cookie are SHA-256 of what was given out. number and code are given when it starts.
CREATE TABLE remote_sessions (
  id            TEXT PRIMARY KEY,
  number        BIGINT,
  code          TEXT,
  state         TEXT NOT NULL,
  way           TEXT NOT NULL,
  sr            BYTEA,
  handle        BYTEA,
  cookie        BYTEA,
  origin        TEXT NOT NULL,
  session       TEXT NOT NULL,
  user_id       TEXT NOT NULL,
  user_name     TEXT NOT NULL,
  credential    TEXT NOT NULL,
  username      TEXT NOT NULL,
  device        TEXT NOT NULL,
  target        TEXT NOT NULL,
  target_host   TEXT NOT NULL,
  target_ip     TEXT NOT NULL,
  protocol      TEXT NOT NULL,
  port          BIGINT NOT NULL,
  screen        TEXT NOT NULL,
  bound         TEXT NOT NULL,
  address       TEXT NOT NULL,
  request_id    TEXT NOT NULL,
  grant_number  BIGINT NOT NULL,
  terms         TEXT NOT NULL,
  stepped_up    BIGINT,
  reason        TEXT NOT NULL,
  reference     TEXT NOT NULL,
  node          TEXT NOT NULL,
  created       BIGINT NOT NULL,
  expires       BIGINT NOT NULL,
  redeemed      BIGINT,
  started       BIGINT,
  ended         BIGINT,
  end_reason    TEXT NOT NULL,
  end_asked     TEXT NOT NULL,
  ended_by      TEXT NOT NULL,
  hold          BOOLEAN NOT NULL
);
CREATE UNIQUE INDEX remote_sessions_number_key ON remote_sessions (number);
CREATE UNIQUE INDEX remote_sessions_code_key ON remote_sessions (code);
CREATE UNIQUE INDEX remote_sessions_sr_key ON remote_sessions (sr);
CREATE UNIQUE INDEX remote_sessions_handle_key ON remote_sessions (handle);
CREATE INDEX remote_sessions_state ON remote_sessions (state, expires);
CREATE INDEX remote_sessions_node ON remote_sessions (node, state);
CREATE INDEX remote_sessions_user ON remote_sessions (user_id, state);
CREATE INDEX remote_sessions_credential ON remote_sessions (credential, state);
CREATE INDEX remote_sessions_device ON remote_sessions (target, state);
CREATE INDEX remote_sessions_spent ON remote_sessions (ended) WHERE ended IS NOT NULL AND (sr IS NOT NULL OR handle IS NOT NULL OR cookie IS NOT NULL);

-- Requests of people whose grant asks for approval.
CREATE TABLE remote_requests (
  id         TEXT PRIMARY KEY,
  number     BIGINT NOT NULL,
  session    TEXT NOT NULL REFERENCES remote_sessions (id) ON DELETE CASCADE,
  user_id    TEXT NOT NULL,
  user_name  TEXT NOT NULL,
  device     TEXT NOT NULL,
  credential TEXT NOT NULL,
  reason     TEXT NOT NULL,
  reference  TEXT NOT NULL,
  state      TEXT NOT NULL,
  created    BIGINT NOT NULL,
  expires    BIGINT NOT NULL,
  decided    BIGINT,
  decided_by TEXT NOT NULL,
  note       TEXT NOT NULL
);
CREATE UNIQUE INDEX remote_requests_number_key ON remote_requests (number);
CREATE UNIQUE INDEX remote_requests_session_key ON remote_requests (session);
CREATE INDEX remote_requests_state ON remote_requests (state, expires);

-- Who answers a request, where its grant names somebody.
CREATE TABLE remote_request_approvers (
  request      TEXT NOT NULL REFERENCES remote_requests (id) ON DELETE CASCADE,
  subject_kind TEXT NOT NULL,
  subject_id   TEXT NOT NULL,
  PRIMARY KEY (request, subject_kind, subject_id)
);
CREATE INDEX remote_request_approvers_subject ON remote_request_approvers (subject_kind, subject_id);

-- One-time tickets for the sockets of a session's page, and for looking on. subject is the cookie's or the caller's.
CREATE TABLE remote_tickets (
  digest  BYTEA PRIMARY KEY,
  session TEXT NOT NULL REFERENCES remote_sessions (id) ON DELETE CASCADE,
  purpose TEXT NOT NULL,
  subject TEXT NOT NULL,
  name    TEXT NOT NULL,
  expires BIGINT NOT NULL
);

-- Nodes that carry sessions, and when each was last seen.
CREATE TABLE nodes (
  id   TEXT PRIMARY KEY,
  seen BIGINT NOT NULL
);

-- Who looks on, until when, and what passed since: written by the node that carries the session, read by those who look on, whichever node serves them.
CREATE TABLE remote_watches (
  id      TEXT PRIMARY KEY,
  session TEXT NOT NULL REFERENCES remote_sessions (id) ON DELETE CASCADE,
  watcher TEXT NOT NULL,
  until   BIGINT NOT NULL
);
CREATE INDEX remote_watches_session ON remote_watches (session, until);

CREATE TABLE remote_frames (
  session  TEXT NOT NULL REFERENCES remote_sessions (id) ON DELETE CASCADE,
  sequence BIGINT NOT NULL,
  at       BIGINT NOT NULL,
  body     BYTEA NOT NULL,
  PRIMARY KEY (session, sequence)
);
CREATE INDEX remote_frames_at ON remote_frames (at);

-- Recordings and their closed segments. manifest is the signed one, once there is one. deleted says that retention erases the segments, erased that it has. settled
-- says that the manifest is where recordings are kept.
CREATE TABLE recordings (
  session  TEXT PRIMARY KEY REFERENCES remote_sessions (id),
  started  BIGINT NOT NULL,
  ended    BIGINT,
  bytes    BIGINT NOT NULL,
  manifest BYTEA,
  cut      TEXT NOT NULL,
  hold     BOOLEAN NOT NULL,
  deleted  BIGINT,
  erased   BOOLEAN NOT NULL,
  settled  BOOLEAN NOT NULL
);
CREATE INDEX recordings_ended ON recordings (ended) WHERE NOT erased;
CREATE INDEX recordings_unsettled ON recordings (session) WHERE NOT settled;

CREATE TABLE recording_segments (
  session TEXT NOT NULL REFERENCES recordings (session) ON DELETE CASCADE,
  track   TEXT NOT NULL,
  number  BIGINT NOT NULL,
  name    TEXT NOT NULL,
  bytes   BIGINT NOT NULL,
  digest  BYTEA NOT NULL,
  blocks  BYTEA NOT NULL,
  closed  BIGINT NOT NULL,
  PRIMARY KEY (session, track, number)
);

-- Who is told of events of the whole installation, and how far along the audit chain each subscription is. headers and secret are sealed, NULL is none.
CREATE TABLE subscriptions (
  id                 TEXT PRIMARY KEY,
  number             BIGINT NOT NULL,
  url                TEXT NOT NULL,
  method             TEXT NOT NULL,
  headers            BYTEA,
  events             TEXT NOT NULL,
  retries            BIGINT NOT NULL,
  initial_backoff    BIGINT NOT NULL,
  backoff_multiplier TEXT NOT NULL,
  secret             BYTEA,
  position           BIGINT NOT NULL,
  created            BIGINT NOT NULL
);
CREATE UNIQUE INDEX subscriptions_number_key ON subscriptions (number);

-- Their deliveries belong to no project; those who follow their own sign-ins read the chain by position.
CREATE INDEX webhook_deliveries_subscription ON webhook_deliveries (webhook, id) WHERE project = '';
CREATE INDEX audit_events_concerns_position ON audit_events (concerns, position) WHERE concerns IS NOT NULL AND position IS NOT NULL;
