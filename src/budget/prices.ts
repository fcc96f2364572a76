// What tokens and server tools cost: the cost of what was used, and the most that a request can
// cost before it is sent. Money is whole micro-dollars, rounded up once for each request.
//
// A price class or a tool that the table does not name has no price here. It is never charged at
// the list price: before a request it is refused under a cap, and after it the cost is unknown.

import type { TokenCounts } from '../upstream/reading/tally.ts'

/** Micro-dollars for a million tokens: an integer, where dollars would be fractions. */
export interface Rates {
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheWrite5m: number
  readonly cacheWrite1h: number
}

export interface Price {
  readonly rates: Rates
  /** The whole request is billed at these, where its prompt (cached tokens too) is longer. */
  readonly longPrompt?: { readonly aboveTokens: number; readonly rates: Rates }
  /** What the model can read at once; undefined where the table does not say. */
  readonly contextTokens?: number
  /** What it can write in one request, thinking included. */
  readonly maxOutputTokens?: number
  /** By price class (`speed:fast`), in millionths: each multiplies the price of every token. */
  readonly multipliers: ReadonlyMap<string, number>
  readonly tools: ToolPrices
}

export interface ToolPrices {
  /** Micro-dollars for a thousand requests, by the name in `usage.server_tool_use`. */
  readonly requests: ReadonlyMap<string, number>
  /** Micro-dollars for an hour of a container. */
  readonly codeExecutionHour?: number
}

export interface Prices {
  /** When somebody last compared the table with what the provider asks, `YYYY-MM-DD`. */
  readonly date: string
  /** Of an exact name, else of the longest pattern that fits; undefined where neither does. */
  priceOf(model: string): Price | undefined
}

/** What an answer says that it used. */
export interface BilledUsage extends TokenCounts {
  readonly priceClasses?: readonly string[]
  /** Requests of server tools, by their names in `usage.server_tool_use`. */
  readonly serverTools?: Readonly<Record<string, number>>
  /** How long code can have run. */
  readonly codeExecutionMs?: number
}

/** A request bills this much container time at the least. */
export const MIN_CODE_EXECUTION_MS = 5 * 60_000

/** Undefined where the table has no price for a class or a tool of it. */
export function costOf(price: Price, billed: BilledUsage): number | undefined {
  const { priceClasses = [], serverTools = {}, codeExecutionMs } = billed
  const factors = factorsOf(price, priceClasses)
  const tools = toolCost(price.tools, serverTools, codeExecutionMs)
  if (!Array.isArray(factors) || typeof tools === 'string') return undefined
  const promptTokens = billed.inputTokens + billed.cacheReadTokens + billed.cacheCreationTokens
  const isLong = price.longPrompt !== undefined && promptTokens > price.longPrompt.aboveTokens
  const rates = isLong ? price.longPrompt.rates : price.rates
  const tokens: Amounts = [
    [billed.inputTokens, rates.input],
    [billed.outputTokens, rates.output],
    [billed.cacheReadTokens, rates.cacheRead],
    [billed.cacheCreation1hTokens, rates.cacheWrite1h],
    // Where it is not said for how long, it is for 5 minutes: the default of the API.
    [billed.cacheCreationTokens - billed.cacheCreation1hTokens, rates.cacheWrite5m],
  ]
  return microUsd(tokens, factors, tools)
}

/** What a request asks for, as far as its cost depends on it. */
export interface RequestFacts {
  /** At most so many; what the API adds by itself is added here. */
  readonly promptTokens: number
  /** What the request allows for output, thinking included. */
  readonly maxTokens: number
  /** The dearest cache write that it asks for. */
  readonly cacheWrite: 'none' | '5m' | '1h'
  /** Of its body's members, by `priceClassesIn`. */
  readonly priceClasses?: readonly string[]
  /** How often the model may read a prompt of that length: server tools make it read again. */
  readonly samplings?: number
  /** At most so many requests of server tools, by their names in `usage.server_tool_use`. */
  readonly serverTools?: Readonly<Record<string, number>>
  readonly codeExecutionMs?: number
}

export type WorstCase =
  | { readonly ok: true; readonly microUsd: number }
  /** What the table has no price for: a price class, a server tool. */
  | { readonly ok: false; readonly unpriced: string }

/**
 * Tokens that Anthropic adds and bills and no body shows: the prompt that tools bring along (some
 * 500 tokens), marks around messages.
 */
export const HIDDEN_PROMPT_TOKENS = 2048

export const BATCH = 'service_tier:batch'
/** With `service_tier: "auto"`, the default, the account's own commitment decides. */
const PRIORITY = 'service_tier:priority'

/**
 * What to reserve: every token of the prompt at the dearest price that it can have, and all the
 * output that was allowed; neither is more than the model can read and write.
 */
export function worstCase(price: Price, facts: RequestFacts): WorstCase {
  const { priceClasses = [], serverTools = {}, codeExecutionMs, samplings = 1 } = facts
  const factors = factorsOf(price, priceClasses)
  if (!Array.isArray(factors)) return { ok: false, unpriced: factors.unpriced }
  const tools = toolCost(price.tools, serverTools, codeExecutionMs)
  if (typeof tools === 'string') return { ok: false, unpriced: tools }
  const isTierOpen = !priceClasses.some((each) => each.startsWith('service_tier:'))
  if (isTierOpen) factors.push(Math.max(ONE, price.multipliers.get(PRIORITY) ?? ONE))

  const { contextTokens = Infinity, longPrompt } = price
  // A batch may be allowed longer answers than the model's own limit.
  const maxOutput = priceClasses.includes(BATCH) ? Infinity : (price.maxOutputTokens ?? Infinity)
  const promptTokens = Math.min(facts.promptTokens + HIDDEN_PROMPT_TOKENS, contextTokens)
  const outputTokens = Math.min(facts.maxTokens, maxOutput)
  const at = (rates: Rates): number =>
    microUsd(
      [
        [promptTokens * samplings, dearest(rates, facts.cacheWrite)],
        [outputTokens, rates.output],
      ],
      factors,
      tools,
    )
  const short = at(price.rates)
  if (!longPrompt || promptTokens <= longPrompt.aboveTokens) return { ok: true, microUsd: short }
  return { ok: true, microUsd: Math.max(short, at(longPrompt.rates)) }
}

function dearest(rates: Rates, cacheWrite: RequestFacts['cacheWrite']): number {
  return Math.max(
    rates.input,
    rates.cacheRead,
    cacheWrite === 'none' ? 0 : rates.cacheWrite5m,
    cacheWrite === '1h' ? rates.cacheWrite1h : 0,
  )
}

function factorsOf(
  { multipliers }: Price,
  priceClasses: readonly string[],
): number[] | { readonly unpriced: string } {
  const factors: number[] = []
  for (const each of priceClasses) {
    const factor = multipliers.get(each)
    if (factor === undefined) return { unpriced: each }
    factors.push(factor)
  }
  return factors
}

/** Micro-dollars, or the name of what has no price. */
function toolCost(
  { requests, codeExecutionHour }: ToolPrices,
  used: Readonly<Record<string, number>>,
  codeExecutionMs: number | undefined,
): number | string {
  let total = 0
  for (const [name, count] of Object.entries(used)) {
    if (count <= 0) continue
    const perThousand = requests.get(name)
    if (perThousand === undefined) return name
    total += Math.ceil((count * perThousand) / 1000)
  }
  if (codeExecutionMs === undefined) return total
  if (codeExecutionHour === undefined) return 'code_execution_hours'
  const ms = Math.max(codeExecutionMs, MIN_CODE_EXECUTION_MS)
  return total + Math.ceil((ms * codeExecutionHour) / 3_600_000)
}

type Amounts = readonly (readonly [tokens: number, rate: number])[]

const ONE = 1_000_000
const MILLION = 1_000_000n

/** `max_tokens` is a stranger's: a sum too large for a number is the largest there is. */
function microUsd(amounts: Amounts, factors: readonly number[], besides: number): number {
  let total = 0n
  for (const [tokens, rate] of amounts) {
    total += BigInt(Math.min(Math.max(0, tokens), Number.MAX_SAFE_INTEGER)) * BigInt(rate)
  }
  let unit = MILLION
  for (const factor of factors) {
    if (factor === ONE) continue
    total *= BigInt(factor)
    unit *= MILLION
  }
  const rounded = (total + unit - 1n) / unit + BigInt(Math.min(besides, Number.MAX_SAFE_INTEGER))
  return rounded > Number.MAX_SAFE_INTEGER ? Number.MAX_SAFE_INTEGER : Number(rounded)
}
