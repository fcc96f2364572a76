// What an engine of the ledger provides: one set of ports for a running gate, one for a command. An
// engine is a folder beside this file; src/gate/ledger.ts chooses among them, and nothing else names one.

import type { Correction, Corrections } from './corrections.ts'
import type { FormerNames } from './former-names.ts'
import type { Ledger } from './port.ts'
import type { Reports, ReportsAtOnce, Spent } from './reports.ts'

export interface GateLedger {
  readonly ledger: Ledger
  readonly reports: Reports
  readonly formerNames: FormerNames
  /**
   * What each was charged since then, for a gate before its first request. Rejects if the ledger
   * cannot be read.
   */
  spentAtStart(sinceMs: number): Promise<Spent>
  /**
   * Calls `onCorrection` once for each correction of this month, those of the past first, and within
   * a second for each that another process adds. Resolves once those of the past are told; rejects if
   * they cannot be read.
   */
  followCorrections(onCorrection: (correction: Correction) => void): Promise<FollowedCorrections>
}

export interface FollowedCorrections {
  stop(): void
}

export interface CommandLedger {
  readonly reports: ReportsAtOnce
  readonly corrections: Corrections
  /** Closes what the engine has opened for the command. */
  close(): Promise<void>
}
