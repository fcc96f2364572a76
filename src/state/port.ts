// The port for what requests count against: rates, concurrency slots and spend caps. Decisions are
// synchronous, so that no two requests count on the same room. If several gates share a limit, each
// gate decides from the share it holds.

import type { Decision } from '../refusal.ts'
import type { Period } from '../turn/calendar.ts'
import type { BucketRate } from './rate.ts'

/** Makes tables; each counts separately. */
export interface Counters {
  buckets(options: BucketOptions): Buckets
  ratedBuckets(): RatedBuckets
  /** `maxTotal` is read whenever a slot is requested. */
  concurrency(maxTotal: () => number): Concurrency
  spendCaps(): SpendCaps
}

export interface BucketOptions {
  readonly perMinute: number
  readonly burst: number
}

export interface BucketDecision {
  readonly allowed: boolean
  /** Whole requests that may follow at once. */
  readonly remaining: number
  /** Until the bucket is full again. */
  readonly resetSeconds: number
  /** For a refused request: until it may come again. */
  readonly retryAfterSeconds: number
}

export interface Buckets {
  /** Monotonic milliseconds. */
  take(key: string, now: number): BucketDecision
  /** Returns what `take` took, for a request that went nowhere through no fault of its own. */
  giveBack(key: string, now: number): BucketDecision
  readonly size: number
}

/**
 * One table for callers with different rates. A key that returns with another rate keeps its debt,
 * which is a time: a caller who switches between two rates gets a share of each and never their
 * sum.
 */
export interface RatedBuckets {
  /** `former`: earlier names of the same caller, whose debt counts. */
  take(
    key: string,
    rate: BucketRate,
    now: number,
    former?: readonly string[] | undefined,
  ): BucketDecision
  giveBack(key: string, rate: BucketRate, now: number): BucketDecision
  readonly size: number
}

export interface Lease {
  release(): void
  /** Adds something to release together with the lease. */
  also(giveBack: () => void): void
}

export interface Concurrency {
  /** Undefined means no limit. An organisation without a limit is not counted. */
  acquire(
    identity: string,
    most: number | undefined,
    org?: string | undefined,
    mostOfOrg?: number | undefined,
    /** Earlier names of the same identity, whose slots count. */
    former?: readonly string[] | undefined,
  ): Decision<Lease>
  readonly underWay: number
}

/** One cap that a request counts against. Keys of different kinds need different prefixes. */
export interface SpendScope {
  readonly key: string
  readonly period: Period
  readonly capMicroUsd: number
  /** Earlier names of the same spender: what they have spent and hold counts too. */
  readonly former?: readonly string[] | undefined
}

/** Ends once, by `settle` or `release`; later calls do nothing. */
export interface Reservation {
  readonly amountMicroUsd: number
  /** The day and the month of this moment are charged, whenever it ends. */
  readonly atEpochMs: number
  /**
   * Settles the actual cost and the estimated part of it. A value that is no amount (NaN, negative,
   * infinite) costs what was reserved: a request whose cost nobody could measure must not be free.
   */
  settle(actualMicroUsd: number, estimatedMicroUsd?: number): void
  /** For a request that went nowhere or that the upstream refused: it cost nothing. */
  release(): void
}

/**
 * `exceeds_cap`: the request alone may cost more than the whole cap. `cap_reached`: it may cost
 * more than is left in the period. `reserved`: running requests hold what is left, and may free it
 * when they end. `table_full`: no further key can be added.
 */
export type SpendRefusalReason = 'exceeds_cap' | 'cap_reached' | 'reserved' | 'table_full'

export type SpendDecision =
  | { readonly ok: true; readonly reservation: Reservation }
  | {
      readonly ok: false
      /** The first scope without room. */
      readonly scope: SpendScope
      readonly reason: SpendRefusalReason
      /** Until the period ends; for `reserved`, a polite interval. */
      readonly retryAfterSeconds: number
    }

export interface SpendStanding {
  /** What counts against a cap: charges minus credits, never below 0. */
  readonly spentMicroUsd: number
  /** The part of the charges that was estimated because an answer was cut. */
  readonly estimatedMicroUsd: number
  /** Credits minus debits by the operator; below 0 if debits exceed credits. */
  readonly creditedMicroUsd: number
  readonly reservedMicroUsd: number
}

export interface SpendCaps {
  /** Reserves in all scopes or in none. */
  reserve(scopes: readonly SpendScope[], amountMicroUsd: number, nowEpochMs: number): SpendDecision
  /**
   * Restores what the ledger knows about a month or day (`2026-11`, `2026-11-20`), at start and
   * before the first request. It only ever raises the known amount. False if it was not kept: the
   * period is past, or the table is full, in which case newcomers are refused anyway.
   */
  restore(
    key: string,
    chargedMicroUsd: number,
    written: string,
    estimatedMicroUsd?: number,
  ): boolean
  /**
   * Applies an operator's correction: a credit, or a debit if negative. False if it was not kept,
   * as for `restore`.
   */
  credit(key: string, microUsd: number, written: string): boolean
  read(key: string, nowEpochMs: number, period?: Period, former?: readonly string[]): SpendStanding
  /** What running requests hold, for each key with a reservation. */
  reservations(nowEpochMs: number): readonly SpendReservation[]
  /** Keys held. */
  readonly size: number
}

export interface SpendReservation {
  readonly key: string
  readonly period: Period
  readonly reservedMicroUsd: number
}
