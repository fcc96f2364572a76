// What a sign-in keeps on disk, and how the connection that writes it is set up.

/** For `openDatabase`. */
export const LOGIN_SCHEMA = `
CREATE TABLE login_session (
  -- One session can hold tokens, and so there is one row at most.
  only INTEGER PRIMARY KEY CHECK (only = 1),
  -- Counts up over all sessions, and stays when one ends: none comes back unnoticed.
  version INTEGER NOT NULL,
  -- NULL where nobody is signed in.
  id TEXT,
  -- The tokens and the hash of the session key (sessions.ts), sealed for this id and version.
  sealed BLOB,
  -- For an operator who looks; nothing is decided by them.
  began_ms INTEGER NOT NULL,
  written_ms INTEGER NOT NULL,
  CHECK ((id IS NULL) = (sealed IS NULL))
) STRICT;
`

/**
 * For the sign-in's own connection. Losing a rotated refresh token in a power cut would lose the
 * session, so it is on disk (`FULL`) before anybody gets it. Old sealed content is overwritten in
 * the file, and not only unlinked. While another process holds the lock, the whole gate waits with
 * the connection, so the timeout is short; writes that are worth a longer wait are retried.
 */
export const LOGIN_PRAGMAS = `
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
PRAGMA busy_timeout = 20;
`
