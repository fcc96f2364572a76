// The ledger's port: one row for each attempt of an admitted request, opened on admission and closed on
// every path.
// It takes plain values and holds no subject, token or prompt. No request waits for it, and no request
// is refused because of it.

import type { End } from '../end.ts'
import type { LedgerEntry } from '../exchange.ts'

/** `retried`: an attempt without an answer; the same request went to another upstream. */
export type AttemptEnd = End | 'retried'

/** `lost`: the process died while the request ran; a later start finds and marks it. */
export type LedgerEnd = AttemptEnd | 'lost'

/**
 * `exact`: the upstream's final account, or zero if nothing left the gate. `partial`: what was seen
 * before the client or the upstream left. `estimated`: nothing was seen, and the cost was
 * estimated. `unknown`: nothing was seen.
 */
export type UsageState = 'exact' | 'partial' | 'estimated' | 'unknown'

/**
 * The four classes that upstreams bill separately; they do not overlap. (OpenAI's and Tinfoil's
 * cached prompt tokens are part of their prompt tokens: subtract them first.)
 */
export interface TokenClasses {
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheCreation: number
}

/** Requests of tools that the upstream ran itself. */
export interface ToolRequests {
  readonly webSearch: number
  readonly webFetch: number
  readonly codeExecution: number
  readonly other: number
}

export interface Measure extends TokenClasses {
  /** The part of `output` that was reasoning; absent if nothing reports it. */
  readonly reasoning?: number
  readonly tools?: ToolRequests
  /** What changed the price of the tokens: `speed:fast inference_geo:us`. */
  readonly priceClass?: string
  /** Absent if no price is known, which is not the same as free. */
  readonly costMicroUsd?: number | undefined
}

/** An estimate is kept beside what was measured and never added to it. */
export type Metered =
  | {
      readonly state: 'exact' | 'partial'
      readonly measured: Measure
      readonly estimated?: Measure
    }
  | { readonly state: 'estimated'; readonly estimated: Measure }
  | { readonly state: 'unknown' }

/** What is known when a request is admitted. Text beyond the ledger's bounds is cut. */
export interface Opening {
  readonly openedAtMs: number
  readonly requestId: string
  /** Hashes, as in the log (token/identity.ts); absent if there is none. */
  readonly identity?: string
  readonly device?: string
  readonly org?: string
  /** The name of the policy under which it was admitted. */
  readonly policy?: string
  readonly route: string
  readonly model?: string
  readonly upstream: string
}

/** What is known when a request has ended. */
export interface Outcome {
  readonly end: AttemptEnd
  /** Absent if the client left before a status was sent. */
  readonly status?: number | undefined
  /** Present if it was not yet known when the row was opened. */
  readonly model?: string | undefined
  readonly upstream?: string | undefined
  /** From the request's arrival to the first byte of the response body. */
  readonly firstByteMs?: number | undefined
  readonly durationMs: number
  readonly usage: Metered
  /** The moment whose day a cap was charged, if that is not the arrival's. */
  readonly chargedAtMs?: number | undefined
}

export type LedgerHealth = {
  /** Entries not written yet. */
  readonly waiting: number
  /** Rows dropped since the start, because they no longer fitted or the database refused them. */
  readonly lost: number
} & (
  | { readonly ok: true }
  /** `reason` is a short name for the log and `/readyz`; it quotes neither path nor content. */
  | { readonly ok: false; readonly sinceMs: number; readonly reason: string }
)

/**
 * `open` and `close` only take notes: they touch no disk and never throw. The notes are written
 * within a second, in batches that each hold the event loop for a few milliseconds. The row of a
 * short request is written once, whole.
 *
 * The notes are bounded. At the bound the oldest openings are dropped first, which loses nothing:
 * their rows are written whole when they close, and only a process that dies before that leaves no
 * trace of them. When no opening is left, the oldest closed rows are lost, counted and logged.
 *
 * While the database cannot be written, the notes wait, `health` says why, and the ledger retries
 * until it succeeds. Then it writes what it still holds.
 */
export interface Ledger {
  /** The returned entry holds the opening, so that the ledger need not. */
  open(opening: Opening): LedgerEntry
  /** The first outcome counts; later ones for the same entry are ignored. */
  close(entry: LedgerEntry, outcome: Outcome): void
  /** Opens a row for another attempt of the same request. */
  follow(entry: LedgerEntry, openedAtMs: number): LedgerEntry
  /**
   * Writes everything that waits, now, as far as the database accepts it. True if nothing is left.
   */
  flush(nowMs: number): Promise<boolean>
  health(): LedgerHealth
  /**
   * Deletes ended requests older than `epochMs`, rounded down to a UTC day, in short steps with
   * pauses between them. Daily sums of the same age are deleted too, except those since
   * `sumsSinceMs` if that is earlier. Resolves with the number of rows deleted; stops early if the
   * database fails.
   */
  deleteBefore(epochMs: number, sumsSinceMs?: number): Promise<number>
  /** Flushes for the last time; later notes are lost. */
  stop(nowMs: number): Promise<void>
}
