// What enrolment keeps on disk, and how its connection is set up. It is separate from the code that
// uses it, which a gate without devices never loads.

const CODES = `
CREATE TABLE IF NOT EXISTS enrolment_codes (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  code_sha256 TEXT NOT NULL UNIQUE,
  label TEXT NOT NULL,
  entitlements TEXT NOT NULL,
  uses INTEGER NOT NULL,
  uses_left INTEGER NOT NULL CHECK (uses_left >= 0),
  created_at REAL NOT NULL,
  expires_at REAL NOT NULL
) STRICT;
`

const FAMILIES = `
CREATE TABLE IF NOT EXISTS device_families (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  family TEXT NOT NULL UNIQUE,
  device_hash TEXT NOT NULL,
  device_key TEXT NOT NULL,
  owner TEXT NOT NULL,
  entitlements TEXT NOT NULL,
  app_version TEXT,
  created_at REAL NOT NULL,
  head_jti TEXT NOT NULL,
  head_iat INTEGER NOT NULL,
  head_exp INTEGER NOT NULL,
  dead_at INTEGER NOT NULL,
  revoked_at REAL
) STRICT;
CREATE INDEX IF NOT EXISTS device_families_device_hash ON device_families (device_hash);
CREATE INDEX IF NOT EXISTS device_families_device_key ON device_families (device_key);
CREATE INDEX IF NOT EXISTS device_families_owner ON device_families (owner);
CREATE INDEX IF NOT EXISTS device_families_head_jti ON device_families (head_jti);
CREATE INDEX IF NOT EXISTS device_families_dead_at ON device_families (dead_at);
`

const REVOCATIONS = `
CREATE TABLE IF NOT EXISTS withdrawals (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL CHECK (kind IN ('retired', 'token', 'family')),
  name TEXT NOT NULL,
  family TEXT,
  at REAL NOT NULL,
  until REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS withdrawals_name ON withdrawals (name);
CREATE INDEX IF NOT EXISTS withdrawals_until ON withdrawals (until);
`

const AUDIT = `
CREATE TABLE IF NOT EXISTS audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL
) STRICT;
`

/** Idempotent. */
export const ENROLL_SCHEMA: string = [CODES, FAMILIES, REVOCATIONS, AUDIT].join('')

/**
 * What an operator distinguishes devices by and finds them by, and when they were last seen. The
 * latter is a table of its own, because it is small and written often. `seq` is that of the family.
 */
const NAMES = `
CREATE TABLE IF NOT EXISTS device_names (
  seq INTEGER PRIMARY KEY,
  label TEXT,
  name TEXT,
  user_id TEXT,
  org_id TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS device_names_label ON device_names (label);
CREATE INDEX IF NOT EXISTS device_names_user_id ON device_names (user_id);
CREATE INDEX IF NOT EXISTS device_names_org_id ON device_names (org_id);
CREATE TABLE IF NOT EXISTS device_seen (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL
) STRICT;
`

/** This schema came later, and is idempotent too. */
export const ENROLL_NAMES_SCHEMA = `${NAMES}
INSERT OR IGNORE INTO device_names (seq, label, user_id, org_id)
  SELECT seq,
    (SELECT nullif(label, '') FROM enrolment_codes
     WHERE owner LIKE 'code:%' AND id = CAST(substr(owner, 6) AS INTEGER)),
    json_extract(entitlements, '$.user_id'),
    json_extract(entitlements, '$.org_id')
  FROM device_families;
`

/**
 * Revocations of more families than one short transaction can end. A row says what is left, so that
 * another process can finish what one has begun. This schema came later, and is idempotent too.
 */
export const ENROLL_UNFINISHED_SCHEMA = `
CREATE TABLE IF NOT EXISTS unfinished_revocations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  -- The column of device_families or device_names in which all of them have this value.
  named_by TEXT NOT NULL,
  value TEXT NOT NULL,
  -- Families that are later than this one, up to that one, are left.
  after INTEGER NOT NULL,
  up_to INTEGER NOT NULL,
  at REAL NOT NULL,
  actor TEXT NOT NULL,
  -- When somebody was last at it, in seconds since the epoch.
  worked_at REAL NOT NULL
) STRICT;
`

/** What the three above leave, for a new file. */
export const ENROLL_LATEST: string = [ENROLL_SCHEMA, NAMES, ENROLL_UNFINISHED_SCHEMA].join('')

/**
 * For enrolment's connection. bun:sqlite is synchronous: while another process holds the lock,
 * the whole gate waits, so the wait is short and ends in a 503 from /bootstrap or /refresh. What is
 * answered is on the disk first (`FULL`); otherwise a power cut would lose which token of a family
 * is the newest.
 */
export const ENROLL_PRAGMAS = `
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA busy_timeout = 50;
`
