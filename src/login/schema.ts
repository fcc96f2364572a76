// What a sign-in keeps on disk, and how the connection that writes it wants to be set up.

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
 * For a connection of its own. A rotated refresh token that a power cut forgets is a session lost,
 * and so it is on the disk (`FULL`) before anybody hears of it; what was sealed before is
 * overwritten in the file, and not only unlinked. Where another process holds the lock, all of the gate
 * waits with the connection: only for a moment, and what is worth a longer wait is tried again.
 */
export const LOGIN_PRAGMAS = `
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
PRAGMA busy_timeout = 20;
`
