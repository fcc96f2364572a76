// The port for reports: what was used, what was spent, which requests there were. No request waits for
// a report, and a report that cannot be made now is a refusal. Every implementation bounds how many
// reports it works on at once.

import type { Decision } from '../refusal.ts'
import type { Spender } from './corrections.ts'
import type { Counter } from './columns.ts'
import type { LedgerEnd, TokenClasses, ToolRequests, UsageState } from './port.ts'

export interface Reports {
  stats(filter: UsageFilter): Promise<Decision<UsageStats>>
  /** The latest requests first. */
  requests(filter: UsageFilter, page: PageWanted): Promise<Decision<RequestPage>>
  /**
   * What each caller and organisation was charged since then, estimates included; under the names
   * that it was recorded with, since caps add former names up themselves.
   */
  spent(sinceMs: number): Promise<Decision<Spent>>
}

/**
 * The same reports for a caller that waits for nothing else: a command, or a gate before its first
 * request. Everything here rejects if the ledger cannot be read.
 */
export interface ReportsAtOnce {
  usage(by: UsageGroup, filter: UsageFilter): Promise<UsageTable>
  /**
   * `userOf` maps devices to users, and former names of users to those of now; the ledger knows only
   * hashes.
   */
  usageByUser(filter: UsageFilter, userOf: ReadonlyMap<string, string>): Promise<UsageTable>
  spent(sinceMs: number): Promise<Spent>
  spentBy(kind: Spender['kind'], filter: UsageFilter): Promise<ReadonlyMap<string, SpentSums>>
  /** For everybody who is neither device nor key, or for one of them. */
  spentByPersons(filter: UsageFilter, identity?: string): Promise<ReadonlyMap<string, PersonSpent>>
  /**
   * Callers whose hash begins with this, two at most: a table shows only the beginning of a hash.
   */
  callersBeginning(prefix: string): Promise<readonly string[]>
  /** From each former name to the name of now (former-names.ts). */
  formerNames(): Promise<ReadonlyMap<string, string>>
  /** Whether anything was ever charged to this spender. */
  knows(spender: Spender): Promise<boolean>
}

export interface UsageFilter {
  /** For sums, from the start of the UTC day that contains this moment. */
  readonly sinceMs?: number
  /** Before this moment; for sums, up to the end of the day before it. */
  readonly untilMs?: number
  readonly device?: string
  readonly org?: string
  readonly model?: string
}

/** For `GET /admin/stats`; apps read its names and units. */
export interface UsageStats {
  readonly totalRequests: number
  readonly totalInputTokens: number
  readonly totalOutputTokens: number
  readonly totalCacheReadTokens: number
  readonly totalCacheCreationTokens: number
  readonly totalCostMicroUsd: number
  /** Milliseconds, from arrival to the last byte. */
  readonly averageLatency: number
  /** Percent, two decimals. */
  readonly successRate: number
}

export interface PageWanted {
  readonly limit?: number
  /** The `next` of an earlier page. */
  readonly before?: string
}

export interface RequestPage {
  readonly rows: readonly RequestRow[]
  /** Asks for the following page. A page may be short or even empty and still have one. */
  readonly next?: string
}

export interface RequestRow {
  readonly requestId: string
  readonly openedAt: string
  readonly identity: string
  readonly device: string
  readonly org: string
  readonly route: string
  readonly model: string
  readonly upstream: string
  readonly status: number | null
  /** Null while the request runs. */
  readonly end: LedgerEnd | null
  readonly usage: UsageState
  readonly inputTokens: number | null
  readonly outputTokens: number | null
  readonly cacheReadTokens: number | null
  readonly cacheCreationTokens: number | null
  readonly costMicroUsd: number | null
  readonly estimatedInputTokens: number | null
  readonly estimatedOutputTokens: number | null
  readonly estimatedCacheReadTokens: number | null
  readonly estimatedCacheCreationTokens: number | null
  readonly estimatedCostMicroUsd: number | null
  readonly firstByteMs: number | null
  readonly durationMs: number | null
  readonly webSearchRequests: number | null
  readonly webFetchRequests: number | null
  readonly codeExecutionRequests: number | null
  readonly otherToolRequests: number | null
  /** What changed the price of its tokens: `speed:fast inference_geo:us`. */
  readonly priceClass: string
  /** The part of the output tokens that was reasoning; null where the answer tells nothing of it. */
  readonly reasoningTokens: number | null
}

export interface SpentSums {
  /** Includes estimates, as caps do. */
  readonly chargedMicroUsd: number
  readonly estimatedMicroUsd: number
}

/** The spending of one who is neither device nor key. */
export interface PersonSpent extends SpentSums {
  /** The name of the policy of their last request; '' if it was not kept. */
  readonly policy: string
  /** The organisation of that request; '' for none. */
  readonly org: string
}

export interface Spent {
  readonly device: ReadonlyMap<string, SpentSums>
  /** Everybody who is not a device: users, keys, sessions. */
  readonly person: ReadonlyMap<string, SpentSums>
  readonly org: ReadonlyMap<string, SpentSums>
}

/** Sums over ended requests. Averages and rates are 0 if there are none. */
export interface UsageSums extends Readonly<Record<Counter, number>> {
  readonly tokens: TokenClasses
  /** The part of the output that was reasoning, as far as answers tell of it. */
  readonly reasoningTokens: number
  readonly costMicroUsd: number
  /** Tools that upstreams ran themselves; their cost is included in the cost. */
  readonly tools: ToolRequests
  /** Kept beside what was measured, never included in it. */
  readonly estimate: TokenClasses & { readonly costMicroUsd: number }
  readonly averageLatencyMs: number
  readonly averageFirstByteMs: number
}

export const USAGE_GROUPS = ['day', 'model', 'device', 'org'] as const
export type UsageGroup = (typeof USAGE_GROUPS)[number]

export interface UsageRow extends UsageSums {
  /** `2026-11-20` for a day; '' for requests without a model, device or organisation. */
  readonly key: string
}

export interface UsageTable {
  readonly by: UsageGroup | 'user'
  /** Days in order; everything else by cost, the most expensive first. */
  readonly rows: readonly UsageRow[]
  /** Groups beyond the limit; the total includes them. */
  readonly leftOff: number
  readonly total: UsageSums
}
