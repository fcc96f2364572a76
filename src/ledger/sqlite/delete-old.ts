// Deletes what is old, in short steps with pauses: each step takes the lock of all other writers.

import type { Logger } from '../../log.ts'
import { codeOf, DatabaseUnusable, troubleOf } from '../../database/trouble.ts'
import { DAY_MS } from '../../turn/calendar.ts'
import type { LedgerFile } from './file.ts'

const MAX_DELETED_AT_ONCE = 100
const DELETE_PAUSE_MS = 20
/** Attempts in a row while another writer holds the lock. */
const MAX_DELETE_TRIES = 50

export interface DeletingOptions {
  /** Throws if there is no file that can be used. */
  readonly file: () => LedgerFile
  readonly isStopped: () => boolean
  readonly log: Pick<Logger, 'warn'>
}

/** Returns how many rows were deleted; stops early if the database fails. */
export async function deleteOld(
  epochMs: number,
  sumsSinceMs: number,
  { file, isStopped, log }: DeletingOptions,
): Promise<number> {
  const day = Math.floor(epochMs / DAY_MS)
  const sumsDay = Math.min(day, Math.floor(sumsSinceMs / DAY_MS))
  let deleted = 0
  let tries = 0
  while (tries < MAX_DELETE_TRIES && !isStopped()) {
    try {
      const { rows, days } = file().deleteBefore(day, sumsDay, MAX_DELETED_AT_ONCE)
      deleted += rows
      tries = 0
      if (rows + days === 0) break
    } catch (error) {
      tries += 1
      if (error instanceof DatabaseUnusable || troubleOf(error) !== 'locked') {
        log.warn({ code: codeOf(error) }, 'the ledger could not delete old rows')
        break
      }
    }
    await Bun.sleep(DELETE_PAUSE_MS)
  }
  return deleted
}
