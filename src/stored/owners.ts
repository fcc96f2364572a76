// Who made what an upstream keeps: noted in memory as answers end, written off the road in small
// transactions, and looked up where somebody asks for an id. What is not found is nobody's. What is
// asked for is remembered anew.

import { createHash } from 'node:crypto'
import type { Database } from 'bun:sqlite'
import type { DatabaseConnection } from '../database/connection.ts'
import { polling } from '../database/polling.ts'
import { unsynced } from '../database/unsynced.ts'
import { describeBug, type Logger } from '../log.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { type Instant, instant } from '../turn/instant.ts'

export interface Owner {
  /** 64 hexadecimal digits. */
  readonly identity: string
  /** By name. */
  readonly upstream: string
}

export interface Owners {
  /** `isLasting`: it stays until it is deleted, and is remembered for a year. */
  note(id: string, owner: Owner, epochMs: number, isLasting?: boolean): void
  /** Undefined: nobody's, or nobody knows. `renews`: what is asked for is remembered for longer. */
  ownerOf(id: string, renews?: boolean): Decision<Owner | undefined>
  /** One turn of the timer. Never throws: what fails is tried again. True where something is left. */
  poll(now: Instant): boolean
  start(): void
  stop(): void
}

export interface OwnersOptions {
  readonly connection: DatabaseConnection
  readonly log: Logger
  readonly maxWaiting?: number
  readonly epochMs?: () => number
}

interface Noted extends Owner {
  readonly day: number
}

const DAY_MS = 86_400_000
/** Since it was made or asked for; providers keep a response for thirty days. */
const KEEP_DAYS = 31
const LASTING_DAYS = 365
/** A transaction of some milliseconds. */
const WRITE_ROWS = 300
const PRUNE_ROWS = 300
const PRUNE_MS = 3_600_000
/** Each some hundred bytes. Beyond, the oldest is nobody's. */
const MAX_WAITING = 50_000

export function owners({
  connection,
  log,
  maxWaiting = MAX_WAITING,
  epochMs: clock = Date.now,
}: OwnersOptions): Owners {
  const waiting = new Map<string, Noted>()
  let isFailing = false
  let isFull = false
  let prunedAtMs = Number.NEGATIVE_INFINITY

  const write = (db: Database): void => {
    if (waiting.size === 0) return
    const rows = [...waiting.entries().take(WRITE_ROWS)]
    const insert = db.transaction(() => {
      for (const [id, { identity, upstream, day }] of rows) {
        db.query(
          `INSERT INTO stored_objects (id, identity, upstream, day) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET day = max(day, excluded.day)`,
        ).run(Buffer.from(id, 'base64'), Buffer.from(identity, 'hex'), upstream, day)
      }
    })
    unsynced(db, () => insert.immediate())
    for (const [id, noted] of rows) if (waiting.get(id) === noted) waiting.delete(id)
    isFull = false
  }
  /** True where there may be more. */
  const prune = (db: Database, { epochSeconds, monotonicMs }: Instant): boolean => {
    if (monotonicMs - prunedAtMs < PRUNE_MS) return false
    const before = dayOf(epochSeconds * 1000) - KEEP_DAYS
    const forget = db.query(
      `DELETE FROM stored_objects WHERE id IN
         (SELECT id FROM stored_objects WHERE day < ?1 LIMIT ${PRUNE_ROWS})`,
    )
    const isMore = unsynced(db, () => forget.run(before)).changes === PRUNE_ROWS
    if (!isMore) prunedAtMs = monotonicMs
    return isMore
  }
  const turn = (now: Instant): boolean => {
    try {
      const db = connection.get()
      write(db)
      const isBehind = prune(db, now) || waiting.size > 0
      if (isFailing) log.info('whose stored objects are can be written again')
      isFailing = false
      return isBehind
    } catch (error) {
      if (!isFailing) log.error(describeBug(error), 'whose stored objects are cannot be written')
      isFailing = true
      return false
    }
  }
  const timer = polling(turn)
  const wait = (key: string, noted: Noted): void => {
    if (waiting.size >= maxWaiting) {
      const [oldest] = waiting.keys()
      if (oldest !== undefined) waiting.delete(oldest)
      if (!isFull) log.error({ waiting: maxWaiting }, 'too many stored objects wait; the oldest go')
      isFull = true
    }
    waiting.set(key, noted)
  }

  return {
    note(id, { identity, upstream }, epochMs, isLasting = false) {
      const key = digestOf(id)
      const day = dayOf(epochMs) + (isLasting ? LASTING_DAYS : 0)
      if (!waiting.has(key)) wait(key, { identity, upstream, day })
    },
    ownerOf(id, renews = true) {
      const key = digestOf(id)
      const noted = waiting.get(key)
      try {
        // What is written goes first: a server that lets a caller choose the id of what it makes would
        // otherwise make another's theirs, until this is written.
        const row = connection
          .get()
          .query<{ identity: Uint8Array; upstream: string; day: number }, [Uint8Array]>(
            'SELECT identity, upstream, day FROM stored_objects WHERE id = ?1',
          )
          .get(Buffer.from(key, 'base64'))
        if (!row) return granted(noted)
        const identity = Buffer.from(row.identity).toString('hex')
        const { upstream } = row
        const today = dayOf(clock())
        // What is still used must not be pruned, and what only waits to be renewed gives way.
        if (renews && row.day < today && waiting.size < maxWaiting / 2) {
          wait(key, { identity, upstream, day: today })
        }
        return granted({ identity, upstream })
      } catch (error) {
        if (noted) return granted(noted)
        return refused('database_unavailable', { reason: describeBug(error).error })
      }
    },
    poll: turn,
    start: timer.start,
    stop() {
      timer.stop()
      while (turn(instant())) continue
    },
  }
}

const dayOf = (epochMs: number): number => Math.floor(epochMs / DAY_MS)

const ID_BYTES = 16

const digestOf = (id: string): string =>
  createHash('sha256').update(id).digest().subarray(0, ID_BYTES).toString('base64')
