// What tokens and server tools cost: the cost of what was used, and the most that a request can cost
// before it is sent. Money is whole micro-dollars, rounded up once for each request.
//
// A price class or tool that the table does not name has no price. It is never charged at the list
// price: under a cap the request is refused, and otherwise its cost is unknown.

import type { Medium } from '../upstream/costly.ts'
import type { TokenCounts } from '../upstream/reading/token-counts.ts'
import { NO_PARTS, type TokenParts } from '../upstream/reading/token-parts.ts'

/** Micro-dollars for a million tokens: an integer, where dollars would be fractions. */
export interface Rates {
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheWrite5m: number
  readonly cacheWrite1h: number
}

/** For audio and image tokens, if their price differs from text. */
export type MediaRates = Readonly<Partial<Record<Medium, Pick<Rates, 'input' | 'output'>>>>

export interface Price {
  readonly rates: Rates
  readonly media?: MediaRates
  /** The rates of the whole request if its prompt, cached tokens included, is longer. */
  readonly longPrompt?: { readonly aboveTokens: number; readonly rates: Rates }
  /** The context window; undefined if the table does not say. */
  readonly contextTokens?: number
  /** The most output in one request, thinking included. */
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
  /** When somebody last compared the table with the provider's prices, `YYYY-MM-DD`. */
  readonly date: string
  /**
   * The price of an exact name, or else of the longest matching pattern; undefined if neither
   * exists.
   */
  priceOf(model: string): Price | undefined
}

/** What an answer reports as used. */
export interface BilledUsage extends TokenCounts {
  readonly priceClasses?: readonly string[]
  /** Part of the tokens above. */
  readonly parts?: TokenParts
  /** Requests of server tools, by their names in `usage.server_tool_use`. */
  readonly serverTools?: Readonly<Record<string, number>>
  /** How long code can have run. */
  readonly codeExecutionMs?: number
}

/** The least container time that a request is billed. */
export const MIN_CODE_EXECUTION_MS = 5 * 60_000

/** Undefined if the table has no price for one of its classes or tools. */
export function costOf(price: Price, billed: BilledUsage): number | undefined {
  const { priceClasses = [], serverTools = {}, codeExecutionMs } = billed
  const factors = factorsOf(price, priceClasses)
  const tools = toolCost(price.tools, serverTools, codeExecutionMs)
  if (!Array.isArray(factors) || typeof tools === 'string') return undefined
  const promptTokens = billed.inputTokens + billed.cacheReadTokens + billed.cacheCreationTokens
  // Of a batch only the mean is known.
  const mean = promptTokens / (billed.requests ?? 1)
  const isLong = price.longPrompt !== undefined && mean > price.longPrompt.aboveTokens
  const rates = isLong ? price.longPrompt.rates : price.rates
  const tokens: Amounts = [
    ...amountsOf('input', billed, rates, price.media),
    ...amountsOf('output', billed, rates, price.media),
    [billed.cacheReadTokens, rates.cacheRead],
    [billed.cacheCreation1hTokens, rates.cacheWrite1h],
    // Unless stated, a cache write is for 5 minutes: the API's default.
    [billed.cacheCreationTokens - billed.cacheCreation1hTokens, rates.cacheWrite5m],
  ]
  return microUsd(tokens, factors, tools)
}

/**
 * Text, audio and images, each at its price. No response says which of them came from a cache:
 * audio and images are assumed not to, which costs more.
 */
function amountsOf(
  side: 'input' | 'output',
  { inputTokens, outputTokens, parts = NO_PARTS }: BilledUsage,
  rates: Rates,
  media: MediaRates = {},
): Amounts {
  const [audio, image] =
    side === 'input'
      ? [parts.audioInputTokens, parts.imageInputTokens]
      : [parts.audioOutputTokens, parts.imageOutputTokens]
  const all = side === 'input' ? inputTokens : outputTokens
  const sound = media.audio ? Math.min(audio, all) : 0
  const pictures = media.image ? Math.min(image, all - sound) : 0
  return [
    [all - sound - pictures, rates[side]],
    [sound, media.audio?.[side] ?? 0],
    [pictures, media.image?.[side] ?? 0],
  ]
}

/** What a request asks for, as far as it affects the cost. */
export interface RequestFacts {
  /** An upper bound, without what the API adds itself. */
  readonly promptTokens: number
  /** How many prompts that is, each in a window of its own; one if absent. */
  readonly prompts?: number
  /** The output that the request allows, thinking included. */
  readonly maxTokens: number
  /** How many answers of `maxTokens` each; one if absent. */
  readonly answers?: number
  readonly media?: readonly Medium[]
  /** The most expensive cache write that it asks for. */
  readonly cacheWrite: 'none' | '5m' | '1h'
  /** From its body's members, by `priceClassesIn`. */
  readonly priceClasses?: readonly string[]
  /** How often the model may read the prompt: server tools make it reread. */
  readonly samplings?: number
  /** The most requests of each server tool, by its name in `usage.server_tool_use`. */
  readonly serverTools?: Readonly<Record<string, number>>
  readonly codeExecutionMs?: number
}

export type WorstCase =
  | { readonly ok: true; readonly microUsd: number }
  /** The price class or server tool that has no price. */
  | { readonly ok: false; readonly unpriced: string }

/**
 * Tokens that Anthropic adds and bills and no body shows: the system prompt for tools (some 500
 * tokens) and marks around messages.
 */
export const HIDDEN_PROMPT_TOKENS = 2048

export const BATCH = 'service_tier:batch'
/** With `service_tier: "auto"`, the default, the account's commitment decides. */
const PRIORITY = 'service_tier:priority'

/**
 * The amount to reserve: every prompt token at its highest possible price, and all the output that
 * was allowed; neither exceeds what the model can read and write.
 */
export function worstCase(price: Price, facts: RequestFacts): WorstCase {
  const { priceClasses = [], serverTools = {}, codeExecutionMs, samplings = 1 } = facts
  const { answers = 1, media = [], prompts = 1 } = facts
  const factors = factorsOf(price, priceClasses)
  if (!Array.isArray(factors)) return { ok: false, unpriced: factors.unpriced }
  const tools = toolCost(price.tools, serverTools, codeExecutionMs)
  if (typeof tools === 'string') return { ok: false, unpriced: tools }
  const isTierOpen = !priceClasses.some((each) => each.startsWith('service_tier:'))
  if (isTierOpen) factors.push(Math.max(ONE, price.multipliers.get(PRIORITY) ?? ONE))

  const { contextTokens = Infinity, longPrompt } = price
  // A batch may allow longer answers than the model's own limit.
  const maxOutput = priceClasses.includes(BATCH) ? Infinity : (price.maxOutputTokens ?? Infinity)
  const promptTokens = Math.min(facts.promptTokens + HIDDEN_PROMPT_TOKENS, contextTokens * prompts)
  const outputTokens = Math.min(facts.maxTokens, maxOutput) * answers
  const own = media.map((each) => price.media?.[each])
  const input = Math.max(0, ...own.map((each) => each?.input ?? 0))
  const output = Math.max(0, ...own.map((each) => each?.output ?? 0))
  const at = (rates: Rates): number =>
    microUsd(
      [
        [promptTokens * samplings, Math.max(input, highestRate(rates, facts.cacheWrite))],
        [outputTokens, Math.max(output, rates.output)],
      ],
      factors,
      tools,
    )
  const short = at(price.rates)
  if (!longPrompt || promptTokens <= longPrompt.aboveTokens) return { ok: true, microUsd: short }
  return { ok: true, microUsd: Math.max(short, at(longPrompt.rates)) }
}

function highestRate(rates: Rates, cacheWrite: RequestFacts['cacheWrite']): number {
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

/** Micro-dollars, or the name of a tool without a price. */
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

/** `max_tokens` comes from a stranger: a sum too large for a number becomes the largest number. */
function microUsd(amounts: Amounts, factors: readonly number[], besides: number): number {
  let total = 0n
  for (const [tokens, rate] of amounts) {
    // Most requests use a few of their classes.
    if (tokens <= 0) continue
    total += BigInt(Math.min(tokens, Number.MAX_SAFE_INTEGER)) * BigInt(rate)
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
