// The port for an operator's corrections of spending. A correction is added and never changed; each
// running gate learns of it.

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
   * then: that would be a second cap. `beside` is called before the correction is committed; if it
   * throws, nothing is added.
   */
  add(correction: NewCorrection, beside: () => void): Promise<CorrectionAdded>
}
