// The port for questions about the past: what was used, what was spent, which requests there were.
// Answers come when they come; no request waits for one, and a question that cannot be answered now is
// a refusal. Every implementation bounds how many questions it works on at once.

import type { Decision } from '../refusal.ts'
import type { RequestPage } from './sqlite/last-requests.ts'
import type { SpentSums, UsageFilter, UsageStats } from './sqlite/usage-report.ts'

export interface PageWanted {
  readonly limit?: number
  /** A page's `next`. */
  readonly before?: string
}

export interface Reports {
  stats(filter: UsageFilter): Promise<Decision<UsageStats>>
  /** The last requests first. */
  requests(filter: UsageFilter, page: PageWanted): Promise<Decision<RequestPage>>
  /** What each device and organisation was charged since, estimates included. */
  spent(sinceMs: number): Promise<Decision<Spent>>
}

export interface Spent {
  readonly device: ReadonlyMap<string, SpentSums>
  readonly org: ReadonlyMap<string, SpentSums>
}
