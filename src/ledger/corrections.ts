// The port for an operator's corrections of spending. A correction is added and never changed; each
// running gate learns of it.

import { usd } from './usd.ts'

export interface Spender {
  /** `device`: any single caller; their hashes never collide. */
  readonly kind: 'device' | 'org'
  /** The caller's hash, or an organisation's id. */
  readonly name: string
}

export interface NewCorrection extends Spender {
  readonly atMs: number
  /** `2026-11`, or a day of it: `2026-11-20`. */
  readonly month: string
  /** A debit is below 0. */
  readonly creditMicroUsd: number
  readonly reason: string
  readonly actor: string
}

export interface Correction extends NewCorrection {
  readonly seq: number
}

export type CorrectionAdded =
  | { readonly ok: true }
  /** It gives back more than was spent and not yet given back, which is this amount. */
  | { readonly ok: false; readonly spentMicroUsd: number }

export interface Corrections {
  /** The corrections of one month or one day, the oldest first. */
  in(period: string): Promise<readonly Correction[]>
  /**
   * A correction of a day also counts in its month. Refuses a credit larger than what was spent
   * then: that would be a second cap. The correction and its entry in the audit trail are written
   * together, or neither is. `former`: names under which the same person spent, too.
   */
  add(correction: NewCorrection, former?: readonly string[]): Promise<CorrectionAdded>
}

/** A correction as the audit trail has it. */
export interface CorrectionEntry {
  /** Seconds since the epoch. */
  readonly at: number
  readonly actor: string
  readonly action: 'credit' | 'debit'
  readonly subject: string
}

export function entryOf(correction: NewCorrection): CorrectionEntry {
  const { atMs, actor, creditMicroUsd, kind, name, month } = correction
  const action = creditMicroUsd > 0 ? 'credit' : 'debit'
  const subject = `${kind}:${name} ${month} ${usd(Math.abs(creditMicroUsd))}`
  return { at: atMs / 1000, actor, action, subject }
}

/** What is spent on a day is also spent in its month: the periods that a correction counts in. */
export function periodsOf(written: string): readonly string[] {
  const month = written.slice(0, '2026-11'.length)
  return month === written ? [month] : [month, written]
}
