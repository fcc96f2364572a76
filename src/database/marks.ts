// Which files exist at a database's path (the database, its log and the log's index), by their inodes.
// The files are never opened.

import { statSync } from 'node:fs'

/** Undefined where there is no such file. */
export interface Marks {
  readonly main: string | undefined
  readonly log: string | undefined
  readonly index: string | undefined
}

export const LOG = '-wal'
export const INDEX = '-shm'

/** `real`: the file that `path` points to; the log and its index are beside it. */
export function marksOf(path: string, real: string): Marks {
  return { main: markOf(path), log: markOf(real + LOG), index: markOf(real + INDEX) }
}

export const sameMarks = (a: Marks, b: Marks): boolean =>
  a.main === b.main && a.log === b.log && a.index === b.index

/** Undefined where there is no such file. */
export function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size
}

function markOf(path: string): string | undefined {
  try {
    const found = statSync(path, { throwIfNoEntry: false })
    return found && `${found.dev}:${found.ino}`
  } catch {
    // A file where a folder should be, or a folder that we may not enter.
    return undefined
  }
}
