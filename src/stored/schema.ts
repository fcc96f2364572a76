// Whose an object is that an upstream keeps under the operator's key, and where it is kept.

/** Neither ids nor names: digests of both are half as long, and tell nobody anything. */
export const STORED_SCHEMA = `
CREATE TABLE IF NOT EXISTS stored_objects (
  -- The first half of the id's SHA-256.
  id BLOB PRIMARY KEY,
  -- Who made it, as in the ledger: 32 bytes.
  identity BLOB NOT NULL,
  upstream TEXT NOT NULL,
  -- In UTC.
  day INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS stored_objects_by_day ON stored_objects (day);
`
