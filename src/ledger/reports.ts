// The port for questions about the past: what was used, what was spent, which requests there were.
// Answers come when they come; no request waits for one, and a question that cannot be answered now is
// a refusal. Every implementation bounds how many questions it works on at once.

import type { Decision } from '../refusal.ts'
import type { Spender } from './corrections.ts'
import type { LedgerEnd, TokenClasses, ToolRequests, UsageState } from './port.ts'

export interface Reports {
  stats(filter: UsageFilter): Promise<Decision<UsageStats>>
  /** The last requests first. */
  requests(filter: UsageFilter, page: PageWanted): Promise<Decision<RequestPage>>
  /** What each caller and organisation was charged since, estimates included. */
  spent(sinceMs: number): Promise<Decision<Spent>>
}

/**
 * The same past, told whole to one who waits for it alone: a command, or a gate before its first
 * request. Everything here rejects where the ledger cannot be read.
 */
export interface ReportsAtOnce {
  usage(by: UsageGroup, filter: UsageFilter): Promise<UsageTable>
  /** `userOf` says whose a device is; the ledger knows hashes of devices alone. */
  usageByUser(filter: UsageFilter, userOf: ReadonlyMap<string, string>): Promise<UsageTable>
  spent(sinceMs: number): Promise<Spent>
  spentBy(kind: Spender['kind'], filter: UsageFilter): Promise<ReadonlyMap<string, SpentSums>>
  /** Whether anything was ever counted as theirs. */
  knows(spender: Spender): Promise<boolean>
}

export interface UsageFilter {
  /** From the start of this moment's UTC day on, where sums are asked for. */
  readonly sinceMs?: number
  /** Before this moment; where sums are asked for, up to the end of the day before it. */
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
  /** A page's `next`. */
  readonly before?: string
}

export interface RequestPage {
  readonly rows: readonly RequestRow[]
  /** For the page after; a page may be short, even empty, and have one. */
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
  /** Null while it is under way. */
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
}

export interface SpentSums {
  /** Estimates included: what a cap counts. */
  readonly chargedMicroUsd: number
  readonly estimatedMicroUsd: number
}

export interface Spent {
  readonly device: ReadonlyMap<string, SpentSums>
  /** Everybody who is no device: users, keys, sessions. */
  readonly person: ReadonlyMap<string, SpentSums>
  readonly org: ReadonlyMap<string, SpentSums>
}

/** Requests that have ended. Averages are 0 and the rate is 0 where there are none. */
export interface UsageSums {
  readonly requests: number
  /** Answered below 400 and not broken off by us, the upstream or a crash. */
  readonly succeeded: number
  readonly lost: number
  readonly partial: number
  readonly estimated: number
  readonly unknown: number
  /** With measured tokens, and a model that has no price. */
  readonly unpriced: number
  readonly tokens: TokenClasses
  readonly costMicroUsd: number
  /** What upstreams ran by themselves; its cost is in the cost. */
  readonly tools: ToolRequests
  /** Beside what was measured, never in it. */
  readonly estimate: TokenClasses & { readonly costMicroUsd: number }
  readonly averageLatencyMs: number
  readonly averageFirstByteMs: number
}

export const USAGE_GROUPS = ['day', 'model', 'device', 'org'] as const
export type UsageGroup = (typeof USAGE_GROUPS)[number]

export interface UsageRow extends UsageSums {
  /** `2026-11-20` for a day; '' where a request named no model, device or organisation. */
  readonly key: string
}

export interface UsageTable {
  readonly by: UsageGroup | 'user'
  /** Days in order; everything else by cost, the dearest first. */
  readonly rows: readonly UsageRow[]
  /** Groups over the limit; the total has them all. */
  readonly leftOff: number
  readonly total: UsageSums
}
