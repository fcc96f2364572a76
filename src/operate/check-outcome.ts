// One line of `postern check`.

export interface CheckOutcome {
  readonly ok: boolean
  /** Shown, but not a failure. */
  readonly warning?: true
  readonly what: string
}
