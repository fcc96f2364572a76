// The ledger in an SQLite file: when to write, what to do when that fails, and how to report it. The
// only clock it reads is that of its own timer; it never throws, and never gives up on a database.

import { randomUUID } from 'node:crypto'
import type { Logger } from '../../log.ts'
import type { DatabaseConnection } from '../../database/connection.ts'
import { type OpenedDatabase } from '../../database/database.ts'
import { codeOf, troubleOf, type Unusable } from '../../database/trouble.ts'
import type { LedgerEntry } from '../../exchange.ts'
import type { Ledger, LedgerHealth } from '../port.ts'
import { type LedgerFile, ledgerFile } from './file.ts'
import { notices, type PendingEntry, pendingEntry } from '../notices.ts'
import type { LedgerRun } from './runs.ts'
import { DAY_MS } from '../../turn/calendar.ts'

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
const MAX_DELETED_AT_ONCE = 100
const DELETE_PAUSE_MS = 20
/** Attempts in a row while another writer holds the lock. */
const MAX_DELETE_TRIES = 50
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
  let trouble: Failing | undefined
  let unwritable = 0
  let lostTold = 0
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
    if (!opened.ok) throw new Unopened(opened)
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
      recovered(nowMs)
      return true
    } catch (error) {
      failed(error, nowMs)
      return false
    }
  }

  const failed = (error: unknown, nowMs: number): void => {
    const reason = error instanceof Unopened ? error.opened.reason : troubleOf(error)
    const code = error instanceof Unopened ? error.opened.code : codeOf(error)
    trouble ??= { sinceMs: nowMs, reason, told: false }
    trouble.reason = reason
    if (!trouble.told && !isPatient(trouble, nowMs)) {
      trouble.told = true
      log.error(
        { reason, code, waiting: waiting.size },
        'the ledger cannot be written; inference goes on, and rows wait in memory',
      )
    }
    // After a full disk or a lock the file is the same; after anything else it may have to be
    // reopened.
    if (reason !== 'disk_full' && reason !== 'locked') disconnect()
  }

  const recovered = (nowMs: number): void => {
    if (trouble?.told) {
      const afterMs = nowMs - trouble.sinceMs
      log.info({ after_ms: afterMs, waiting: waiting.size }, 'the ledger is written again')
    }
    trouble = undefined
  }

  /** Logged once when losses begin during a failure, and once after it with the total. */
  const tellLost = (): void => {
    if (lost() === lostTold || trouble?.lossTold) return
    lostTold = lost()
    if (trouble) trouble.lossTold = true
    log.error({ lost: lostTold }, 'the ledger has lost rows')
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
    if (soon || trouble) return
    soon = setImmediate(() => {
      soon = undefined
      if (waiting.closedSize < maxBatchRows) return
      attempt(Date.now())
      tellLost()
    })
  }

  const step = (nowMs: number): void => {
    const wrote = attempt(nowMs)
    tellLost()
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
    tellLost()
    return waiting.size === 0
  }

  step(startedMs)

  return {
    open(opening) {
      const entry = pendingEntry(opening)
      if (!stopped) {
        waiting.opened(entry)
        schedule(flushEveryMs)
      }
      return entry
    },
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
    health(): LedgerHealth {
      const counts = { waiting: waiting.size, lost: lost() }
      if (!trouble?.told) return { ok: true, ...counts }
      return { ok: false, sinceMs: trouble.sinceMs, reason: trouble.reason, ...counts }
    },
    async deleteBefore(epochMs, sumsSinceMs = epochMs) {
      const day = Math.floor(epochMs / DAY_MS)
      const sumsDay = Math.min(day, Math.floor(sumsSinceMs / DAY_MS))
      let deleted = 0
      let tries = 0
      while (tries < MAX_DELETE_TRIES) {
        if (stopped) break
        try {
          const from = connected(Date.now())
          const { rows, days } = from.deleteBefore(day, sumsDay, MAX_DELETED_AT_ONCE)
          deleted += rows
          tries = 0
          if (rows + days === 0) break
        } catch (error) {
          tries += 1
          if (error instanceof Unopened || troubleOf(error) !== 'locked') {
            log.warn({ code: codeOf(error) }, 'the ledger could not delete old rows')
            break
          }
        }
        await Bun.sleep(DELETE_PAUSE_MS)
      }
      return deleted
    },
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

interface Failing {
  readonly sinceMs: number
  reason: Unusable
  told: boolean
  lossTold?: boolean
}

const isPatient = ({ reason, sinceMs }: Failing, nowMs: number): boolean =>
  reason === 'locked' && nowMs - sinceMs < LOCKED_GRACE_MS

class Unopened extends Error {
  readonly opened: Extract<OpenedDatabase, { ok: false }>

  constructor(opened: Extract<OpenedDatabase, { ok: false }>) {
    super(opened.reason)
    this.opened = opened
  }
}
