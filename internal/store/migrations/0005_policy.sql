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
