// The ledger in an SQLite file: when to write, and when to try again after that failed. The only
// clock it reads is that of its own timer; it never throws, and never gives up on a database.

import { randomUUID } from 'node:crypto'
import type { Logger } from '../../log.ts'
import type { DatabaseConnection } from '../../database/connection.ts'
import { codeOf, DatabaseUnusable, troubleOf } from '../../database/trouble.ts'
import type { LedgerEntry } from '../../exchange.ts'
import { notices, type PendingEntry, pendingEntry } from '../notices.ts'
import { outage } from '../outage.ts'
import type { Ledger, Opening } from '../port.ts'
import { deleteOld } from './delete-old.ts'
import { type LedgerFile, ledgerFile } from './file.ts'
import type { LedgerRun } from './runs.ts'

export interface SqliteLedgerOptions {
  readonly log: Pick<Logger, 'error' | 'warn' | 'info'>
  readonly nowMs: number
  readonly flushEveryMs?: number
  /** The interval after a failure. */
  readonly retryEveryMs?: number
  /** About 700 bytes each: 35 MB at the most. */
  readonly maxWaiting?: number
  readonly maxBatchRows?: number
}

const FLUSH_EVERY_MS = 250
const RETRY_EVERY_MS = 1000
const MAX_WAITING = 50_000
/** A batch holds the event loop for half a millisecond, or 3 ms if its commit checkpoints. */
const MAX_BATCH_ROWS = 200
/** Requests get a turn between two batches. */
const YIELD_MS = 4
/** How often this process reports that it is alive, and looks for others that no longer do. */
const TEND_EVERY_MS = 5000
const MAX_LOST_ROWS_AT_ONCE = 200
/** Another writer's lock counts as a failure only after this time. */
const LOCKED_GRACE_MS = 3000

/**
 * `connection` belongs to the ledger alone and has LEDGER_SCHEMA's tables; it is reopened after a
 * failure. `health()` reports at once a database that cannot be opened.
 */
export function sqliteLedger(
  connection: DatabaseConnection,
  {
    log,
    nowMs: startedMs,
    flushEveryMs = FLUSH_EVERY_MS,
    retryEveryMs = RETRY_EVERY_MS,
    maxWaiting = MAX_WAITING,
    maxBatchRows = MAX_BATCH_ROWS,
  }: SqliteLedgerOptions,
): Ledger {
  const waiting = notices(maxWaiting)
  const run: LedgerRun = { token: randomUUID(), file: 0, id: undefined }
  let file: LedgerFile | undefined
  const failing = outage(log)
  let unwritable = 0
  /** Whether dead processes may have left rows. */
  let searching = true
  let stopped = false
  let timer: ReturnType<typeof setTimeout> | undefined
  let soon: ReturnType<typeof setImmediate> | undefined

  const lost = (): number => waiting.lost + unwritable

  const disconnect = (): void => {
    file = undefined
    connection.close()
  }

  const connected = (nowMs: number): LedgerFile => {
    const opened = connection.open()
    if (!opened.ok) throw new DatabaseUnusable(opened.reason, opened.code)
    if (file?.database === opened.database) return file
    file = undefined
    file = ledgerFile(opened.database, run, nowMs)
    searching = true
    return file
  }

  const attempt = (nowMs: number): boolean => {
    try {
      const into = connected(nowMs)
      if (searching) searching = into.closeLost(MAX_LOST_ROWS_AT_ONCE, nowMs) > 0
      const batch = waiting.next(maxBatchRows)
      if (batch.length > 0) {
        const written = into.write(batch, nowMs)
        waiting.done(batch.slice(0, written.taken))
        unwritable += written.unwritable.length
        const [first] = written.unwritable
        if (first) log.error({ code: first.code }, 'the ledger refused a row')
      }
      failing.recovered(waiting.size, nowMs)
      return true
    } catch (error) {
      failed(error, nowMs)
      return false
    }
  }

  const failed = (error: unknown, nowMs: number): void => {
    const { reason, code } =
      error instanceof DatabaseUnusable ? error : { reason: troubleOf(error), code: codeOf(error) }
    const graceMs = reason === 'locked' ? LOCKED_GRACE_MS : 0
    failing.failed({ reason, code, graceMs }, waiting.size, nowMs)
    // After a full disk or a lock the file is the same; after anything else it may have to be
    // reopened.
    if (reason !== 'disk_full' && reason !== 'locked') disconnect()
  }

  const schedule = (afterMs: number): void => {
    if (stopped || timer !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      step(Date.now())
    }, afterMs)
    timer.unref()
  }

  /**
   * Writes a full batch at the end of this turn: under load every few milliseconds, so that its
   * rows die young and cost the collector nothing. Open rows wait for the timer, because most
   * requests are short. So does a backlog, so that requests are not held up.
   */
  const hasten = (): void => {
    if (soon || failing.isNow) return
    soon = setImmediate(() => {
      soon = undefined
      if (waiting.closedSize < maxBatchRows) return
      attempt(Date.now())
      failing.tellLost(lost())
    })
  }

  const step = (nowMs: number): void => {
    const wrote = attempt(nowMs)
    failing.tellLost(lost())
    if (!wrote) schedule(retryEveryMs)
    else if (waiting.size > 0 || searching) schedule(YIELD_MS)
  }

  const tending = setInterval(() => {
    searching = true
    if (timer !== undefined || stopped) return
    const nowMs = Date.now()
    step(nowMs)
    try {
      if (file) connected(nowMs).beat(nowMs)
    } catch (error) {
      failed(error, nowMs)
    }
  }, TEND_EVERY_MS)
  tending.unref()

  const flush = (nowMs: number): boolean => {
    const pending = (): boolean => !stopped && (waiting.size > 0 || searching)
    while (pending() && attempt(nowMs));
    failing.tellLost(lost())
    return waiting.size === 0
  }

  step(startedMs)

  const open = (opening: Opening): LedgerEntry => {
    const entry = pendingEntry(opening)
    if (!stopped) {
      waiting.opened(entry)
      schedule(flushEveryMs)
    }
    return entry
  }

  return {
    open,
    follow: (entry, openedAtMs) => open({ ...(entry as PendingEntry).opening, openedAtMs }),
    close(entry: LedgerEntry, outcome) {
      const pending = entry as PendingEntry
      if (pending.outcome) return
      pending.outcome = outcome
      if (stopped) {
        unwritable += 1
        return
      }
      waiting.closed(pending)
      schedule(flushEveryMs)
      if (waiting.closedSize % maxBatchRows === 0) hasten()
    },
    flush: async (nowMs) => flush(nowMs),
    health: () => failing.health(waiting.size, lost()),
    deleteBefore: (epochMs, sumsSinceMs = epochMs) =>
      deleteOld(epochMs, sumsSinceMs, {
        file: () => connected(Date.now()),
        isStopped: () => stopped,
        log,
      }),
    async stop(nowMs) {
      if (stopped) return
      flush(nowMs)
      stopped = true
      clearTimeout(timer)
      clearImmediate(soon)
      clearInterval(tending)
      const left = waiting.size
      if (left > 0) log.error({ lost: left }, 'the ledger stopped before it could write all rows')
      try {
        if (file) connected(nowMs).leave()
      } catch {
        // A later start finds the open rows.
      }
      disconnect()
    },
  }
}
