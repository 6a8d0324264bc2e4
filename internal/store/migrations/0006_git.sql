-- +goose Up

-- Numbers by which wires know users and projects.
ALTER TABLE users ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
UPDATE users SET number = ranked.n FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY created, id) AS n FROM users) AS ranked WHERE users.id = ranked.id;
INSERT INTO numbers (noun, next) SELECT 'user', COUNT(*) + 1 FROM users;
CREATE UNIQUE INDEX users_number_key ON users (number);

ALTER TABLE projects ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
UPDATE projects SET number = ranked.n FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY created, id) AS n FROM projects) AS ranked WHERE projects.id = ranked.id;
INSERT INTO numbers (noun, next) SELECT 'project', COUNT(*) + 1 FROM projects;
CREATE UNIQUE INDEX projects_number_key ON projects (number);
ALTER TABLE projects ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE projects ADD COLUMN public BOOLEAN NOT NULL DEFAULT FALSE;
-- The user whose personal project it is; empty for every other.
ALTER TABLE projects ADD COLUMN owner TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX projects_owner_key ON projects (owner) WHERE owner <> '';
-- Only administrators of the project change its repositories' settings.
ALTER TABLE projects ADD COLUMN restricted BOOLEAN NOT NULL DEFAULT FALSE;

CREATE TABLE repos (
  id             TEXT PRIMARY KEY,
  number         BIGINT NOT NULL,
  project        TEXT NOT NULL REFERENCES projects (id),
  slug           TEXT NOT NULL,
  name           TEXT NOT NULL,
  default_branch TEXT NOT NULL,
  public         BOOLEAN NOT NULL,
  created        BIGINT NOT NULL,
  updated        BIGINT NOT NULL
);
CREATE UNIQUE INDEX repos_number_key ON repos (number);
CREATE UNIQUE INDEX repos_slug_key ON repos (project, slug);

-- Who pushed what. refs is a list of name, old and new.
CREATE TABLE pushes (
  id         TEXT PRIMARY KEY,
  repo       TEXT NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
  actor_kind TEXT NOT NULL,
  actor_id   TEXT NOT NULL,
  actor_name TEXT NOT NULL,
  credential TEXT NOT NULL,
  address    TEXT NOT NULL,
  door       TEXT NOT NULL,
  refs       TEXT NOT NULL,
  at         BIGINT NOT NULL
);
CREATE INDEX pushes_repo ON pushes (repo, id);

-- HTTP access tokens of users, projects and repositories. handle is the number by which wires know one.
CREATE TABLE http_tokens (
  id           TEXT PRIMARY KEY,
  handle       TEXT NOT NULL,
  scope_kind   TEXT NOT NULL,
  scope_id     TEXT NOT NULL,
  name         TEXT NOT NULL,
  permissions  TEXT NOT NULL,
  digest       BYTEA NOT NULL,
  creator      TEXT NOT NULL,
  created      BIGINT NOT NULL,
  expires      BIGINT,
  revoked      BIGINT,
  last_used    BIGINT,
  last_address TEXT NOT NULL,
  last_door    TEXT NOT NULL
);
CREATE UNIQUE INDEX http_tokens_handle_key ON http_tokens (handle);
CREATE INDEX http_tokens_scope ON http_tokens (scope_kind, scope_id, handle);
CREATE INDEX http_tokens_expires ON http_tokens (expires) WHERE expires IS NOT NULL AND revoked IS NULL;

-- SSH keys that are on file for git: of a user, or for access to projects and repositories, never both. digest is the SHA-256 of blob.
CREATE TABLE ssh_keys (
  id           TEXT PRIMARY KEY,
  number       BIGINT NOT NULL,
  digest       BYTEA NOT NULL,
  blob         BYTEA NOT NULL,
  role         TEXT NOT NULL,
  user_id      TEXT REFERENCES users (id) ON DELETE CASCADE,
  label        TEXT NOT NULL,
  label_folded TEXT NOT NULL,
  state        TEXT NOT NULL,
  unsafe       BOOLEAN NOT NULL,
  expiry_days  BIGINT NOT NULL,
  created      BIGINT NOT NULL,
  expires      BIGINT,
  proven       BIGINT,
  last_used    BIGINT,
  last_address TEXT NOT NULL
);
CREATE UNIQUE INDEX ssh_keys_number_key ON ssh_keys (number);
CREATE UNIQUE INDEX ssh_keys_digest_key ON ssh_keys (digest);
CREATE INDEX ssh_keys_user ON ssh_keys (user_id, number) WHERE user_id IS NOT NULL;
CREATE INDEX ssh_keys_expires ON ssh_keys (expires) WHERE expires IS NOT NULL;
CREATE INDEX ssh_keys_unproven ON ssh_keys (state, created) WHERE proven IS NULL;

-- The proof under way for a key on file, at most one: who asks again makes the one before worthless. See decision 0009.
CREATE TABLE ssh_key_proofs (
  key_id       TEXT PRIMARY KEY REFERENCES ssh_keys (id) ON DELETE CASCADE,
  id           TEXT NOT NULL,
  identifier   TEXT NOT NULL,
  status       TEXT NOT NULL,
  attempts     BIGINT NOT NULL,
  max_attempts BIGINT NOT NULL,
  message      TEXT NOT NULL,
  created      BIGINT NOT NULL,
  updated      BIGINT NOT NULL,
  expires      BIGINT NOT NULL
);
CREATE UNIQUE INDEX ssh_key_proofs_id_key ON ssh_key_proofs (id);
CREATE UNIQUE INDEX ssh_key_proofs_identifier_key ON ssh_key_proofs (identifier);
CREATE INDEX ssh_key_proofs_expires ON ssh_key_proofs (expires);

CREATE TABLE ssh_key_grants (
  key_id        TEXT NOT NULL REFERENCES ssh_keys (id) ON DELETE CASCADE,
  resource_kind TEXT NOT NULL,
  resource_id   TEXT NOT NULL,
  permission    TEXT NOT NULL,
  created       BIGINT NOT NULL,
  PRIMARY KEY (key_id, resource_kind, resource_id)
);
CREATE INDEX ssh_key_grants_resource ON ssh_key_grants (resource_kind, resource_id);
