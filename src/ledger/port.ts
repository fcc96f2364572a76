// The ledger's port: one row for each admitted request, opened when it is admitted and closed on
// every path. It takes plain values and holds no subject, token or prompt. No request waits for it, and
// none is refused because of it.

import type { End } from '../end.ts'
import type { LedgerEntry } from '../exchange.ts'

/** `lost`: the process died with the request under way; found and written at a later start. */
export type LedgerEnd = End | 'lost'

/**
 * `exact`: the upstream's own final account; or nothing, where nothing left the gate. `partial`: what
 * was seen before client or upstream left. `estimated`: nothing was seen, and somebody guessed.
 * `unknown`: nothing was seen.
 */
export type UsageState = 'exact' | 'partial' | 'estimated' | 'unknown'

/**
 * The four classes that upstreams bill apart; none is part of another. (OpenAI's and Tinfoil's
 * cached prompt tokens are part of their prompt tokens: subtract them first.)
 */
export interface TokenClasses {
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheCreation: number
}

/** Requests of tools that the upstream ran by itself. */
export interface ToolRequests {
  readonly webSearch: number
  readonly webFetch: number
  readonly codeExecution: number
  readonly other: number
}

export interface Measure extends TokenClasses {
  readonly tools?: ToolRequests
  /** What changed the price of its tokens: `speed:fast inference_geo:us`. */
  readonly priceClass?: string
  /** Absent where no price is known, which is not the same as free. */
  readonly costMicroUsd?: number | undefined
}

/** An estimate lies beside what was measured and is never added to it. */
export type Metered =
  | {
      readonly state: 'exact' | 'partial'
      readonly measured: Measure
      readonly estimated?: Measure
    }
  | { readonly state: 'estimated'; readonly estimated: Measure }
  | { readonly state: 'unknown' }

/** What is known when a request is admitted. Text over the ledger's bounds is cut. */
export interface Opening {
  readonly openedAtMs: number
  readonly requestId: string
  /** Hashes, as in the log (token/identity.ts); absent where there is none. */
  readonly identity?: string
  readonly device?: string
  readonly org?: string
  readonly route: string
  readonly model?: string
  readonly upstream: string
}

/** What is known when it has ended. */
export interface Outcome {
  readonly end: End
  /** Absent where a client left before any was sent. */
  readonly status?: number | undefined
  /** Where it was not known yet when the row was opened. */
  readonly model?: string | undefined
  readonly upstream?: string | undefined
  /** From arrival to the first byte of the answer's body. */
  readonly firstByteMs?: number | undefined
  readonly durationMs: number
  readonly usage: Metered
}

export type LedgerHealth = {
  /** Notices not written yet. */
  readonly waiting: number
  /** Rows that no longer fitted, or that the database would not take: gone, since the start. */
  readonly lost: number
} & (
  | { readonly ok: true }
  /** `reason` is a short name, for the log and `/readyz`: it quotes neither path nor content. */
  | { readonly ok: false; readonly sinceMs: number; readonly reason: string }
)

/**
 * `open` and `close` only note: they touch no disk and never throw. What they noted is written
 * within a second, in batches that each hold the event loop for a few milliseconds, and a row
 * whose request is short is written once, whole.
 *
 * The notices are bounded. At the bound the oldest openings are given up first, at no loss: their
 * rows are written whole when they close, and only a process that dies before that leaves no trace
 * of them. Where none is left, the oldest closed rows are lost, counted and logged.
 *
 * While the database can't be written, notices wait, health says why, and the ledger tries again
 * until it can. What it still holds is written then.
 */
export interface Ledger {
  /** The entry holds the opening, so that the ledger need not. */
  open(opening: Opening): LedgerEntry
  /** The first outcome counts; later ones of the same entry are ignored. */
  close(entry: LedgerEntry, outcome: Outcome): void
  /** Writes all that waits, now, as far as the database takes it. True where nothing is left. */
  flush(nowMs: number): Promise<boolean>
  health(): LedgerHealth
  /**
   * Forgets ended requests of before `epochMs`, rounded down to a UTC day, in short steps with
   * pauses between them; their days' sums too, but for those since `sumsSinceMs`, where that is
   * earlier. Resolves with how many rows went; stops early where the database fails.
   */
  deleteBefore(epochMs: number, sumsSinceMs?: number): Promise<number>
  /** The last flush; what is noted afterwards is lost. */
  stop(nowMs: number): Promise<void>
}
