-- +goose Up

-- What administrators choose about signing in while the server runs: a JSON body for each name. version counts its changes.
CREATE TABLE policies (
  name    TEXT PRIMARY KEY,
  body    TEXT NOT NULL,
  version BIGINT NOT NULL,
  updated BIGINT NOT NULL
);

-- Who is in a group. provider is the identity provider by whose word, empty where a person put them there.
CREATE TABLE group_members (
  group_id TEXT NOT NULL REFERENCES account_groups (id) ON DELETE CASCADE,
  user_id  TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  provider TEXT NOT NULL,
  created  BIGINT NOT NULL,
  PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_user ON group_members (user_id);

-- The session at the identity provider that a session of ours began by, as hex of its SHA-256; empty where the provider named none.
ALTER TABLE sessions ADD COLUMN provider_session TEXT NOT NULL DEFAULT '';
CREATE INDEX sessions_provider_session ON sessions (provider_session) WHERE provider_session <> '' AND ended IS NULL;

-- When such a session ends at the latest, whatever it is used for.
ALTER TABLE sessions ADD COLUMN until BIGINT;

-- The same two for a sign-in that waits for its second factor, and whose sign-in an answered flow is: hex of the SHA-256 of the subject.
ALTER TABLE factor_conversations ADD COLUMN provider_session TEXT NOT NULL DEFAULT '';
ALTER TABLE factor_conversations ADD COLUMN until BIGINT;
ALTER TABLE login_flows ADD COLUMN provider_session TEXT NOT NULL DEFAULT '';
ALTER TABLE login_flows ADD COLUMN subject TEXT NOT NULL DEFAULT '';

-- Users whom an identity provider made, also when the provider is gone.
ALTER TABLE users ADD COLUMN made BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE users SET made = TRUE WHERE id IN (SELECT user_id FROM provider_links WHERE made);
CREATE INDEX users_made ON users (name_folded) WHERE made;
