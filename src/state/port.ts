// The port for what requests count against: rates, concurrency slots and spend caps. Each is decided at
// once, so that no two requests see the same room; where several gates share a limit, a gate decides from
// the share that it holds.

import type { Decision } from '../refusal.ts'
import type { Period } from '../turn/calendar.ts'
import type { BucketRate } from './rate.ts'

/** Makes tables, each of which counts apart. */
export interface Counters {
  buckets(options: BucketOptions): Buckets
  ratedBuckets(): RatedBuckets
  /** `maxTotal` as it is when a place is asked for. */
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
  /** Gives back what `take` took, where the request went nowhere for no fault of its own. */
  giveBack(key: string, now: number): BucketDecision
  readonly size: number
}

/**
 * One table for callers of different rates. A key that comes with another rate keeps its debt, which
 * is a time: whoever changes between two rates has a share of each and never the sum of both.
 */
export interface RatedBuckets {
  take(key: string, rate: BucketRate, now: number): BucketDecision
  giveBack(key: string, rate: BucketRate, now: number): BucketDecision
  readonly size: number
}

export interface Lease {
  release(): void
  /** Something that is given back with it. */
  also(giveBack: () => void): void
}

export interface Concurrency {
  /** Undefined is no limit; an organisation without one is not counted. */
  acquire(
    identity: string,
    most: number | undefined,
    org?: string | undefined,
    mostOfOrg?: number | undefined,
  ): Decision<Lease>
  readonly underWay: number
}

/** One cap that a request counts against. Keys of different kinds need different prefixes. */
export interface SpendScope {
  readonly key: string
  readonly period: Period
  readonly capMicroUsd: number
}

/** Ends once, by `settle` or by `release`; whatever follows does nothing. */
export interface Reservation {
  readonly amountMicroUsd: number
  /**
   * What it cost, and how much of that is an estimate. Anything that is no amount (NaN, negative,
   * infinite) costs what was reserved: an end that nobody could measure must not be a free one.
   */
  settle(actualMicroUsd: number, estimatedMicroUsd?: number): void
  /** It went nowhere, or the upstream refused it: it cost nothing. */
  release(): void
}

/**
 * `exceeds_cap`: alone it may cost more than the whole cap. `cap_reached`: more than is left of the
 * period. `reserved`: what is left is held by requests under way, and may come free when they end.
 * `table_full`: a newcomer where no key can be added.
 */
export type SpendRefusalReason = 'exceeds_cap' | 'cap_reached' | 'reserved' | 'table_full'

export type SpendDecision =
  | { readonly ok: true; readonly reservation: Reservation }
  | {
      readonly ok: false
      /** The first that has no room. */
      readonly scope: SpendScope
      readonly reason: SpendRefusalReason
      /** To the period's end; for `reserved`, a polite pace. */
      readonly retryAfterSeconds: number
    }

export interface SpendStanding {
  /** What counts against a cap: all that was charged, less what was credited; never below 0. */
  readonly spentMicroUsd: number
  /** What of the charges was estimated, because an answer was cut. */
  readonly estimatedMicroUsd: number
  /** What an operator gave back, and took back again; below 0 where they added to it. */
  readonly creditedMicroUsd: number
  readonly reservedMicroUsd: number
}

export interface SpendCaps {
  /** In all scopes or in none. */
  reserve(scopes: readonly SpendScope[], amountMicroUsd: number, nowEpochMs: number): SpendDecision
  /**
   * What the ledger knows of a month or a day (`2026-11`, `2026-11-20`), told at the start and before
   * the first request. It only ever raises what is known. False where it was not kept: a period that
   * is past, or a full table, whose newcomers are refused anyway.
   */
  restore(
    key: string,
    chargedMicroUsd: number,
    written: string,
    estimatedMicroUsd?: number,
  ): boolean
  /**
   * An operator's correction: a credit, or a debit where it is below 0. False where it was not kept,
   * as with `restore`.
   */
  credit(key: string, microUsd: number, written: string): boolean
  read(key: string, nowEpochMs: number, period?: Period): SpendStanding
  /** Keys held. */
  readonly size: number
}
