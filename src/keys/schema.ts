// What is stored of keys: never a key, only its hash.

/**
 * One row for each key ever printed; a rotation adds a row with the same name and identity.
 * `changed` increases with each change of any row, so that a gate reads only what is new.
 */
export const KEYS_SCHEMA = `
CREATE TABLE IF NOT EXISTS api_keys (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  changed INTEGER NOT NULL UNIQUE,
  name TEXT NOT NULL,
  key_sha256 TEXT NOT NULL UNIQUE,
  -- Who it is to limits, logs and the ledger: 64 hexadecimal digits, kept over rotations.
  identity TEXT NOT NULL,
  policy TEXT,
  org TEXT,
  created_at REAL NOT NULL,
  -- NULL: never.
  expires_at REAL,
  revoked_at REAL,
  -- Of the row that a rotation made, and how long this one stays good beside it.
  replaced_by INTEGER,
  overlap_ends_at REAL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS api_keys_name ON api_keys (name)
  WHERE revoked_at IS NULL AND replaced_by IS NULL;
CREATE INDEX IF NOT EXISTS api_keys_identity ON api_keys (identity);
-- Apart, because it is written often and is small; by hash, because another file may number its rows anew.
CREATE TABLE IF NOT EXISTS api_key_seen (
  key_sha256 TEXT PRIMARY KEY,
  at INTEGER NOT NULL
) STRICT;
`
