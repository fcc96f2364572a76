// What a person is told when the database cannot be used: what is wrong, and what to do.

import type { Unusable } from './trouble.ts'

export interface Advice {
  readonly what: string
  readonly todo: string
}

export const ADVICE: Readonly<Record<Unusable, Advice>> = {
  missing: {
    what: 'there is no file of that name',
    todo: 'set DATABASE_URL as for the gate; a gate creates the file when it starts',
  },
  corrupt: {
    what: 'the file is damaged, or is not an SQLite database',
    todo:
      'stop the gate, keep a copy of the file with its -wal, and put back a backup; ' +
      'sqlite3 FILE .recover saves what can still be read',
  },
  foreign_file: {
    what: "the file is another program's database",
    todo: 'name another file in DATABASE_URL',
  },
  newer_schema: {
    what: 'a later version of postern has written the file',
    todo: 'run that version, or put back a backup from before it',
  },
  older_schema: {
    what: 'an earlier version of postern has written the file',
    todo: 'start a gate of this version once; it brings the file up to date',
  },
  disk_full: {
    what: 'the disk is full',
    todo: 'make room on it; nothing in the file is lost',
  },
  disk_error: {
    what: 'the disk fails to read or write',
    todo: "look at the system's log, and copy the file to another disk",
  },
  read_only: {
    what: 'this user may not write the file or its folder',
    todo: 'let this user write both (SQLite keeps -wal and -shm beside the file), or mount it writable',
  },
  locked: {
    what: 'another program holds the lock of the file',
    todo: 'end the transaction of that program (fuser -v FILE names it), and try again',
  },
  cannot_open: {
    what: 'the file cannot be opened',
    todo: 'DATABASE_URL must name a file, in a folder that this user may enter and write',
  },
  failed: {
    what: 'SQLite failed',
    todo: 'run postern check; if the file is sound, report this as a bug',
  },
}

const LASTING: ReadonlySet<Unusable> = new Set(['corrupt', 'foreign_file', 'newer_schema'])

/** A restart does not help; a supervisor has to leave it to a person. */
export const isLasting = (reason: Unusable): boolean => LASTING.has(reason)
