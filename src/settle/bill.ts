// What a request is charged when it has ended, and how much of that was measured. Pure.
//
// An answer that was cut is charged its counts, an estimate for what has passed since, and a remainder
// for what was being generated at that moment (REMAINDER_TOKENS of output); together never more than
// was reserved. Measured and estimated amounts are kept apart.

import { costOf, type Price } from '../budget/prices.ts'
import type { Reservation } from '../state/port.ts'
import type { End } from '../end.ts'
import {
  HIDDEN_TOKENS_PER_SECOND,
  MAX_TOKENS_PER_SECOND,
  REMAINDER_TOKENS,
} from '../upstream/reading/passed.ts'
import { type MeteredUsage, NO_USAGE, type Since } from '../upstream/reading/tally.ts'
import type { TokenCounts } from '../upstream/reading/token-counts.ts'
import type { Measure, Metered, ToolRequests } from '../ledger/port.ts'

/** For a request that went out. */
export interface Bill {
  readonly reservation: Reservation | undefined
  /** The most that the request can have cost if it was stopped after this many output tokens. */
  readonly atMost?: ((outputTokens: number) => number) | undefined
  /** `max_tokens` of the request; undefined if nobody read its body. */
  readonly maxTokens?: number | undefined
  /** How many answers of that length it asks for. */
  readonly answers?: number | undefined
  /** What the upstream reported; undefined if it reported nothing. */
  readonly usage: MeteredUsage | undefined
  /**
   * Whether the upstream may bill the request. It bills neither its own errors nor what never
   * reached it.
   */
  readonly owed: boolean
  /** No byte of it left the gate, because no connection was made. */
  readonly isUnsent?: boolean
}

/** What the amounts depend on besides the bill. */
export interface EndedRequest {
  readonly end: End
  readonly durationMs: number
  /** The price of the requested model, or of the name under which it answered. */
  readonly price: Price | undefined
  priceOf(model: string): Price | undefined
}

/** For responses that the gate makes itself. */
export const NOTHING_OWED: Bill = { reservation: undefined, usage: NO_USAGE, owed: false }

const UNKNOWN: Metered = { state: 'unknown' }
const NO_TOKENS = { input: 0, output: 0, cacheRead: 0, cacheCreation: 0 }
const NOTHING: Metered = { state: 'exact', measured: { ...NO_TOKENS, costMicroUsd: 0 } }

/** Settles or releases the reservation, and returns what the ledger records. */
export function charge(bill: Bill, ended: EndedRequest): Metered {
  const { reservation, usage, owed } = bill
  const metered = meteredOf(bill, ended)
  const measured = 'measured' in metered ? metered.measured : undefined
  const estimated = 'estimated' in metered ? metered.estimated : undefined
  const seen = measured?.costMicroUsd ?? 0
  const guessed = estimated?.costMicroUsd ?? 0
  if (usage?.state === 'exact' || owed) reservation?.settle(seen + guessed, guessed)
  else reservation?.release()
  return metered
}

function meteredOf(bill: Bill, ended: EndedRequest): Metered {
  const { reservation, usage, owed, isUnsent } = bill
  if (isUnsent) return NOTHING
  if (!usage || usage.state === 'unknown') {
    const isFree = !owed || (usage !== undefined && failedAtOnce(usage))
    if (!reservation || isFree) return free(bill)
    return { state: 'estimated', estimated: unseen(bill, ended, reservation) }
  }
  const measured = measureOf(usage, ended)
  // Released here, so it must be released in the ledger too: a restart charges what the ledger has.
  if (usage.state === 'partial' && !owed) {
    return { state: 'partial', measured: { ...measured, costMicroUsd: 0 } }
  }
  const estimated = usage.state === 'exact' ? undefined : beyond(bill, ended, usage, measured)
  const unpriced = reservation && measured.costMicroUsd === undefined
  const whole = unpriced
    ? { ...NO_TOKENS, ...estimated, costMicroUsd: reservation.amountMicroUsd }
    : estimated
  return { state: usage.state, measured, ...(whole && { estimated: whole }) }
}

/** An error instead of an answer is no answer, whatever the status. */
const failedAtOnce = ({ sawError, since }: MeteredUsage): boolean =>
  sawError !== undefined && (since === undefined || since.outputTokens === 0)

/** Releases the reservation. */
function free({ reservation }: Bill): Metered {
  reservation?.release()
  return UNKNOWN
}

/**
 * The charge for an answer that did not report its usage. If it was stopped, no more can have been
 * generated than has passed and than was thought in its silences, or than a model can generate in that
 * time; otherwise the whole reservation counts.
 */
function unseen({ usage, atMost }: Bill, ended: EndedRequest, reservation: Reservation): Measure {
  const { amountMicroUsd } = reservation
  const passed = usage?.since && usage.since.outputTokens + thoughtIn(usage.since, ended)
  const output = { ...NO_TOKENS, output: passed ?? 0 }
  if (ended.end === 'complete' || !atMost) return { ...output, costMicroUsd: amountMicroUsd }
  const made = passed ?? (ended.durationMs / 1000) * MAX_TOKENS_PER_SECOND
  return { ...output, costMicroUsd: atMost(made + REMAINDER_TOKENS) }
}

/** A model that does not show what it thinks is silent meanwhile, and billed for it. */
function thoughtIn({ spokenMs }: Since, { durationMs }: EndedRequest): number {
  if (spokenMs === undefined) return 0
  return Math.ceil((Math.max(0, durationMs - spokenMs) / 1000) * HIDDEN_TOKENS_PER_SECOND)
}

/** What a partial answer is charged beyond its counts. */
function beyond(
  { reservation, maxTokens, answers = 1 }: Bill,
  ended: EndedRequest,
  usage: MeteredUsage,
  measured: Measure,
): Measure | undefined {
  const { since } = usage
  const seen = measured.costMicroUsd
  const reserved = reservation?.amountMicroUsd
  // Part of it could not be read: only the reservation bounds its cost.
  if (!since) {
    return reserved === undefined
      ? undefined
      : { ...NO_TOKENS, costMicroUsd: Math.max(0, reserved - (seen ?? 0)) }
  }
  const most = answers * Math.min(maxTokens ?? Infinity, ended.price?.maxOutputTokens ?? Infinity)
  const room = Math.max(0, most - usage.outputTokens)
  const remainder = since.isUnfinished ? REMAINDER_TOKENS : 0
  const output = Math.min(since.outputTokens + remainder, room)
  const input = since.inputTokens
  const total = costOfUsage(withSince(usage, since, output), ended)
  const limit = reserved === undefined ? Infinity : Math.max(reserved, seen ?? 0)
  const costMicroUsd =
    total === undefined || seen === undefined ? undefined : Math.min(total, limit) - seen
  return { ...NO_TOKENS, input, output, costMicroUsd }
}

function withSince(usage: MeteredUsage, since: Since, output: number): MeteredUsage {
  const serverTools: Record<string, number> = { ...usage.serverTools }
  for (const [name, count] of Object.entries(since.serverTools ?? {})) {
    serverTools[name] = (serverTools[name] ?? 0) + count
  }
  return {
    ...usage,
    inputTokens: usage.inputTokens + since.inputTokens,
    outputTokens: usage.outputTokens + output,
    serverTools,
  }
}

function measureOf(usage: MeteredUsage, ended: EndedRequest): Measure {
  const { others, priceClasses, parts, serverTools, codeRuns } = usage
  const counts = others ? others.reduce<TokenCounts>(plus, usage) : usage
  const measure = {
    input: counts.inputTokens,
    output: counts.outputTokens,
    cacheRead: counts.cacheReadTokens,
    cacheCreation: counts.cacheCreationTokens,
    costMicroUsd: costOfUsage(usage, ended),
  }
  // Most answers tell no more.
  if (!priceClasses && !parts && !serverTools && !codeRuns) return measure
  return {
    ...measure,
    ...(priceClasses && { priceClass: priceClasses.join(' ') }),
    ...(parts && { reasoning: parts.reasoningTokens }),
    ...((serverTools || codeRuns) && { tools: toolsOf(usage) }),
  }
}

const plus = (a: TokenCounts, b: TokenCounts): TokenCounts => ({
  inputTokens: a.inputTokens + b.inputTokens,
  outputTokens: a.outputTokens + b.outputTokens,
  cacheReadTokens: a.cacheReadTokens + b.cacheReadTokens,
  cacheCreationTokens: a.cacheCreationTokens + b.cacheCreationTokens,
  cacheCreation1hTokens: a.cacheCreation1hTokens + b.cacheCreation1hTokens,
})

function toolsOf({ serverTools = {}, codeRuns = 0 }: MeteredUsage): ToolRequests {
  const { web_search_requests: webSearch = 0, web_fetch_requests: webFetch = 0 } = serverTools
  const all = Object.values(serverTools).reduce((sum, each) => sum + each, 0)
  return { webSearch, webFetch, codeExecution: codeRuns, other: all - webSearch - webFetch }
}

/** Undefined if something in it has no price. */
function costOfUsage(
  usage: MeteredUsage,
  { price, priceOf, durationMs }: EndedRequest,
): number | undefined {
  const own =
    price && costOf(price, usage.codeRuns ? { ...usage, codeExecutionMs: durationMs } : usage)
  const { others } = usage
  if (!others) return own
  // Another model of the same request runs in the same region and tier, at its own speed.
  const priceClasses = (usage.priceClasses ?? []).filter((each) => !each.startsWith('speed:'))
  return others.reduce<number | undefined>((total, other) => {
    const its = priceOf(other.model)
    const cost = its && costOf(its, { ...other, priceClasses })
    return total === undefined || cost === undefined ? undefined : total + cost
  }, own)
}
