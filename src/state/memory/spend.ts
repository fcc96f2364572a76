// Spend caps: what a person and their organisation may spend in a calendar month or day (UTC), in
// whole micro-USD. The most that a request can cost is reserved before it goes out, and its actual
// cost is settled when it ends. A request is admitted only if all reservations together stay within
// the cap. This gives the bound:
//
//   Spend exceeds a cap by at most the sum, over the requests that ran when the cap was reached, of what
//   each cost beyond its reservation; the number of requests does not matter.
//
// With worst-case.ts that excess is 0 except for what no body reveals: how often the API's own loop
// rereads a prompt for a server tool, and what an advisor without limits does. The next request is
// refused.
//
// Spend belongs to the month and day in which it was reserved: a request that runs past midnight is
// settled in the day it began, and takes nothing from the new one.
//
// It is synchronous, so that no two requests count on the same money. It is bounded: a full table
// refuses newcomers and never forgets a spender (see MAX_KEYS). Nothing here reads a clock or knows a
// price.

import { type Period, periodFrom, type Span, spanOf } from '../../turn/calendar.ts'
import type { SpendCaps, SpendRefusalReason, SpendReservation } from '../port.ts'

/** About 400 bytes each, for the current and the previous month and day: 240 MB at most. */
const MAX_KEYS = 150_000
const MOST = Number.MAX_SAFE_INTEGER
/** Nobody can tell when a running request will end. */
const RESERVED_RETRY_AFTER_SECONDS = 5

interface Account {
  charged: number
  /** Part of `charged`. */
  estimated: number
  credited: number
  reserved: number
  underWay: number
}

interface Book extends Span {
  readonly accounts: Map<string, Account>
}

/** The accounts of the current month or day. */
class Books {
  readonly #period: Period
  readonly #maxKeys: number
  #current: Book | undefined
  /**
   * Kept in case the clock is set back past the start of the period; otherwise that would clear
   * every debt.
   */
  #previous: Book | undefined
  /**
   * Kept as the newest: otherwise a clock that is set back twice would evict it and clear its
   * debts.
   */
  #latest: Book | undefined

  constructor(period: Period, maxKeys: number) {
    this.#period = period
    this.#maxKeys = maxKeys
  }

  get size(): number {
    return this.#kept().reduce((size, { accounts }) => size + accounts.size, 0)
  }

  turnTo(epochMs: number): Book {
    if (this.#current && covers(this.#current, epochMs)) return this.#current
    const book = this.#find(epochMs) ?? { ...spanOf(this.#period, epochMs), accounts: new Map() }
    this.#previous = this.#current
    this.#current = book
    if (!this.#latest || book.startMs > this.#latest.startMs) this.#latest = book
    return book
  }

  /** Undefined if the key is new and the table is full. */
  account({ accounts }: Book, key: string): Account | undefined {
    const found = accounts.get(key)
    if (found || accounts.size >= this.#maxKeys) return found
    const account = { charged: 0, estimated: 0, credited: 0, reserved: 0, underWay: 0 }
    accounts.set(key, account)
    return account
  }

  /** Undefined for a past period, and if the table is full. */
  accountFrom(startMs: number, key: string): Account | undefined {
    if (this.#current && startMs < this.#current.startMs) return undefined
    return this.account(this.turnTo(startMs), key)
  }

  read(key: string, epochMs: number): Account | undefined {
    return this.#find(epochMs)?.accounts.get(key)
  }

  reservations(epochMs: number): SpendReservation[] {
    const held: SpendReservation[] = []
    for (const [key, { reserved }] of this.#find(epochMs)?.accounts ?? []) {
      if (reserved > 0) held.push({ key, period: this.#period, reservedMicroUsd: reserved })
    }
    return held
  }

  #kept(): Book[] {
    const kept = [this.#current, this.#previous, this.#latest].filter((each) => each !== undefined)
    return [...new Set(kept)]
  }

  #find(epochMs: number): Book | undefined {
    return this.#kept().find((each) => covers(each, epochMs))
  }
}

export function spendCaps({ maxKeys = MAX_KEYS }: { readonly maxKeys?: number } = {}): SpendCaps {
  const books = { month: new Books('month', maxKeys), day: new Books('day', maxKeys) }

  const accountIn = (written: string, key: string): Account | undefined => {
    const { period, startMs } = periodFrom(written)
    return books[period].accountFrom(startMs, key)
  }

  return {
    reserve(scopes, amountMicroUsd, nowEpochMs) {
      mustBeAmount(amountMicroUsd)
      for (const { capMicroUsd } of scopes) mustBeAmount(capMicroUsd)
      const held: [string, Account, Book][] = []
      const end = (actual: number, estimated: number): void => {
        for (const [key, account, book] of held.splice(0)) {
          account.reserved -= amountMicroUsd
          account.charged = Math.min(MOST, account.charged + actual)
          account.estimated = Math.min(MOST, account.estimated + estimated)
          account.underWay -= 1
          dropEmpty(book, key, account)
        }
      }
      for (const scope of scopes) {
        const { key, period, capMicroUsd, former } = scope
        const book = books[period].turnTo(nowEpochMs)
        const account = books[period].account(book, key)
        const reason = account
          ? obstacle(together(account, book, former), capMicroUsd, amountMicroUsd)
          : 'table_full'
        if (!account || reason) {
          if (account) dropEmpty(book, key, account)
          end(0, 0)
          const toEnd = Math.max(1, Math.ceil((book.endMs - nowEpochMs) / 1000))
          const soon = reason === 'reserved'
          const retryAfterSeconds = soon ? RESERVED_RETRY_AFTER_SECONDS : toEnd
          return { ok: false, scope, reason: reason ?? 'table_full', retryAfterSeconds }
        }
        account.reserved += amountMicroUsd
        account.underWay += 1
        held.push([key, account, book])
      }
      return {
        ok: true,
        reservation: {
          amountMicroUsd,
          atEpochMs: nowEpochMs,
          settle(actual, estimated = 0) {
            const known = Number.isFinite(actual) && actual >= 0
            const charged = known ? Math.ceil(actual) : amountMicroUsd
            end(charged, known ? Math.min(charged, Math.max(0, Math.ceil(estimated))) : charged)
          },
          release: () => end(0, 0),
        },
      }
    },
    restore(key, chargedMicroUsd, written, estimatedMicroUsd = 0) {
      mustBeAmount(chargedMicroUsd)
      mustBeAmount(estimatedMicroUsd)
      const account = accountIn(written, key)
      if (!account) return false
      account.charged = Math.max(account.charged, chargedMicroUsd)
      account.estimated = Math.max(account.estimated, estimatedMicroUsd)
      return true
    },
    credit(key, microUsd, written) {
      mustBeAmount(Math.abs(microUsd))
      const account = accountIn(written, key)
      if (!account) return false
      account.credited = Math.max(-MOST, Math.min(MOST, account.credited + microUsd))
      return true
    },
    read(key, nowEpochMs, period = 'month', former = []) {
      const [first = NOTHING, ...others] = [key, ...former].flatMap(
        (each) => books[period].read(each, nowEpochMs) ?? [],
      )
      const account = others.reduce(sum, first)
      return {
        spentMicroUsd: spentOf(account),
        estimatedMicroUsd: account.estimated,
        creditedMicroUsd: account.credited,
        reservedMicroUsd: account.reserved,
      }
    },
    reservations: (nowEpochMs) => [
      ...books.month.reservations(nowEpochMs),
      ...books.day.reservations(nowEpochMs),
    ],
    get size() {
      return books.month.size + books.day.size
    },
  }
}

type SpendSums = Omit<Account, 'underWay'>

const NOTHING: SpendSums = { charged: 0, estimated: 0, credited: 0, reserved: 0 }

/** The accounts of one spender under several names. */
function together(
  account: SpendSums,
  { accounts }: Book,
  former: readonly string[] = [],
): SpendSums {
  return former.reduce((all, key) => sum(all, accounts.get(key) ?? NOTHING), account)
}

const sum = (a: SpendSums, b: SpendSums): SpendSums => ({
  charged: Math.min(MOST, a.charged + b.charged),
  estimated: Math.min(MOST, a.estimated + b.estimated),
  credited: Math.max(-MOST, Math.min(MOST, a.credited + b.credited)),
  reserved: Math.min(MOST, a.reserved + b.reserved),
})

/** Uses only subtraction: sums near the largest safe integer would not be exact. */
function obstacle(account: SpendSums, cap: number, amount: number): SpendRefusalReason | undefined {
  const { reserved } = account
  const spent = spentOf(account)
  if (amount > cap) return 'exceeds_cap'
  if (spent > cap - amount) return 'cap_reached'
  return reserved > cap - amount - spent ? 'reserved' : undefined
}

/**
 * Drops an account that says no more than an absent one. A running request may still spend on it.
 */
function dropEmpty({ accounts }: Book, key: string, account: Account): void {
  const { charged, credited, underWay } = account
  if (charged === 0 && credited === 0 && underWay === 0) accounts.delete(key)
}

const spentOf = ({ charged, credited }: Pick<Account, 'charged' | 'credited'>): number =>
  Math.max(0, Math.min(MOST, charged - credited))

function covers({ startMs, endMs }: Span, epochMs: number): boolean {
  return epochMs >= startMs && epochMs < endMs
}

/** A fraction or NaN here is a bug of ours; NaN would pass every comparison with a cap. */
function mustBeAmount(microUsd: number): void {
  if (!Number.isSafeInteger(microUsd) || microUsd < 0) {
    throw new RangeError('an amount is a whole number of micro-USD')
  }
}
