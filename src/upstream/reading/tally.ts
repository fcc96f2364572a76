// What one answer says that it used, gathered from every `usage` object in it. Counts are cumulative:
// of each class the largest stands, since some upstreams end a stream with zeros. What is no count
// is not taken and leaves the whole in doubt.

import { PRICE_CLASS_MEMBERS, priceClassOf } from './price-classes.ts'
import { largerParts, NO_PARTS, type TokenParts } from './token-parts.ts'

/**
 * `exact`: all of it was said. `partial`: a lower bound, since the end was not seen or something in
 * it could not be read. `unknown`: nothing was said, and every count is 0.
 */
export type MeterState = 'exact' | 'partial' | 'unknown'

export interface TokenCounts {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cacheReadTokens: number
  /** What was written to a cache, for 5 minutes or for an hour. */
  readonly cacheCreationTokens: number
  /** The part of `cacheCreationTokens` written for an hour, which costs more. */
  readonly cacheCreation1hTokens: number
}

/** What the answer's own model used, and what goes with it. */
export interface MeteredUsage extends TokenCounts {
  readonly state: MeterState
  /** The model that answered, which an alias in the request does not tell. */
  readonly model?: string
  /** The `type` of the error in the stream or the body, never its message. */
  readonly sawError?: string
  /** Of the tokens above; absent where the answer tells of none. */
  readonly parts?: TokenParts
  /** Those that the answer names; absent for the list price. */
  readonly priceClasses?: readonly string[]
  /** Requests of server tools, by their names in `usage.server_tool_use`. */
  readonly serverTools?: Readonly<Record<string, number>>
  /** How often code ran in a container, whose time no answer tells. */
  readonly codeRuns?: number
  /** Other models that the same request ran: an advisor, a fallback. */
  readonly others?: readonly ModelUsage[]
  /** Of an answer without a final count, where all that came could be read. */
  readonly since?: Since
}

export interface ModelUsage extends TokenCounts {
  readonly model: string
}

/** Estimated from what has passed since the last count. */
export interface Since {
  readonly outputTokens: number
  /** A server tool's results make the model read its prompt again. */
  readonly inputTokens: number
  readonly serverTools?: Readonly<Record<string, number>>
  /** How long text came; absent where thinking is counted already. */
  readonly spokenMs?: number
  /** The answer's end was not seen: more may have been made. */
  readonly isUnfinished: boolean
}

/** Of a route that uses no tokens. */
export const NO_USAGE: MeteredUsage = {
  state: 'exact',
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheCreationTokens: 0,
  cacheCreation1hTokens: 0,
}

export interface Tally {
  /** `first` is what a stream says before it has written: its output is not final. */
  note(usage: unknown, which: 'first' | 'last'): void
  model(name: unknown): void
  error(type: unknown): void
  ranCode(): void
  parts(parts: TokenParts): void
  /** Something was said that could not be read. */
  doubt(): void
  /**
   * `whole`: the answer's own end was seen. `since`: what has passed since its last count.
   * `written`: nothing more was being made.
   */
  result(whole: boolean, since?: Omit<Since, 'isUnfinished'>, written?: boolean): MeteredUsage
  /** The prompt, all classes together. */
  readonly promptTokens: number
}

interface TokenTally {
  input: number
  output: number
  cacheRead: number
  cacheCreation: number
  cacheCreation5m: number
  cacheCreation1h: number
}

type CountsOfModels = Map<string, Partial<TokenTally>>

type CountFields = readonly (readonly [string, keyof TokenTally])[]

const FIELDS: CountFields = [
  ['input_tokens', 'input'],
  ['output_tokens', 'output'],
  ['cache_read_input_tokens', 'cacheRead'],
  ['cache_creation_input_tokens', 'cacheCreation'],
]
const CACHE_FIELDS: CountFields = [
  ['ephemeral_5m_input_tokens', 'cacheCreation5m'],
  ['ephemeral_1h_input_tokens', 'cacheCreation1h'],
]

const PROMPT = [
  'input',
  'cacheRead',
  'cacheCreation',
  'cacheCreation5m',
  'cacheCreation1h',
] as const satisfies readonly (keyof TokenTally)[]

/** A name is copied into logs and ledger, so it can be neither long nor text for a terminal. */
const MODEL = /^[\x21-\x7e]{1,128}$/
const ERROR_TYPE = /^[a-z_]{1,64}$/
const TOOL = /^[a-z][a-z0-9_]{0,63}$/
const MAX_TOOLS = 16
/** A request may run a handful of other models. */
const MAX_OTHERS = 16

export function tally(): Tally {
  const said: Partial<TokenTally> = {}
  const besides: Partial<TokenTally> = {}
  const tools = new Map<string, number>()
  const classes = new Map<string, string | undefined>()
  let samplings: Partial<TokenTally> = {}
  /** Samplings of other models than the one that answers, and those of advisors. */
  let foreign: CountsOfModels = new Map()
  let advisors: CountsOfModels = new Map()
  let outputIsFinal = false
  let sawLast = false
  let inDoubt = false
  let codeRuns = 0
  let modelName: string | undefined
  let errorType: string | undefined
  let tokenParts: TokenParts | undefined

  const doubt = (): void => {
    inDoubt = true
  }

  const take = (from: unknown, fields: CountFields, to: Partial<TokenTally>): void => {
    if (from === undefined || from === null) return
    if (typeof from !== 'object') return doubt()
    for (const [field, count] of fields) {
      const value = (from as Readonly<Record<string, unknown>>)[field]
      if (value === undefined || value === null) continue
      if (isCount(value)) to[count] = Math.max(to[count] ?? 0, value)
      else doubt()
    }
  }

  const addToModel = (
    models: CountsOfModels,
    name: string | undefined,
    counts: Partial<TokenTally>,
  ): void => {
    if (name === undefined || (models.size >= MAX_OTHERS && !models.has(name))) doubt()
    else addTo(models.getOrInsert(name, {}), counts)
  }

  /**
   * Beta: a request may run several samplings, and other models. What a `compaction` or an advisor
   * used is billed like the rest and is not part of the counts above it. With what nobody knows yet
   * these counts are a lower bound.
   */
  const takeIterations = (iterations: unknown): void => {
    if (iterations === undefined || iterations === null) return
    if (!Array.isArray(iterations)) return doubt()
    const compacted: Partial<TokenTally> = {}
    const elsewhere: CountsOfModels = new Map()
    const advised: CountsOfModels = new Map()
    const sampled: Partial<TokenTally> = {}
    for (const iteration of iterations as readonly unknown[]) {
      const { type, model, cache_creation: creation } = objectOf(iteration)
      const counts: Partial<TokenTally> = {}
      take(iteration, FIELDS, counts)
      take(creation, CACHE_FIELDS, counts)
      const isSampling = type === 'message' || type === 'fallback_message'
      if (isSampling) addTo(sampled, counts)
      const name = typeof model === 'string' && MODEL.test(model) ? model : undefined
      if (type === 'compaction') addTo(compacted, counts)
      else if (type === 'advisor_message') addToModel(advised, name, counts)
      else if (!isSampling) doubt()
      else if (name !== undefined && name !== modelName) addToModel(elsewhere, name, counts)
    }
    for (const count of Object.keys(compacted) as (keyof TokenTally)[]) {
      besides[count] = Math.max(besides[count] ?? 0, compacted[count] ?? 0)
    }
    if (elsewhere.size >= foreign.size) {
      foreign = elsewhere
      samplings = sampled
    }
    if (advised.size >= advisors.size) advisors = advised
  }

  const takeTools = (used: unknown): void => {
    if (used === undefined || used === null) return
    if (typeof used !== 'object') return doubt()
    for (const [name, count] of Object.entries(used)) {
      if (count === null || count === 0) continue
      if (!isCount(count) || !TOOL.test(name) || (tools.size >= MAX_TOOLS && !tools.has(name))) {
        doubt()
      } else {
        tools.set(name, Math.max(tools.get(name) ?? 0, count))
      }
    }
  }

  /**
   * Where the counts above the iterations include other models' samplings, these are priced apart;
   * where they don't, they come on top.
   */
  const include = (count: keyof TokenTally): number => {
    const all = samplings[count] ?? 0
    const apart = [...foreign.values()].reduce((sum, each) => sum + (each[count] ?? 0), 0)
    const total = said[count] ?? 0
    return apart > 0 && total === all ? Math.max(0, total - apart) : total
  }

  return {
    note(usage, which) {
      if (usage === undefined || usage === null) return
      const now: Partial<TokenTally> = {}
      take(usage, FIELDS, now)
      // A count that goes down is no final one.
      if (now.output !== undefined) {
        outputIsFinal = which === 'last' && now.output >= (said.output ?? 0)
        sawLast ||= which === 'last'
      }
      for (const count of Object.keys(now) as (keyof TokenTally)[]) {
        said[count] = Math.max(said[count] ?? 0, now[count] ?? 0)
      }
      if (typeof usage !== 'object') return
      const members = usage as Readonly<Record<string, unknown>>
      take(members['cache_creation'], CACHE_FIELDS, said)
      takeIterations(members['iterations'])
      takeTools(members['server_tool_use'])
      // Part of the output, and billed like it: what is no count of it leaves nothing in doubt.
      const thought = objectOf(members['output_tokens_details'])['thinking_tokens']
      if (isCount(thought) && thought > 0) {
        const reasoningTokens = Math.min(thought, said.output ?? 0)
        const parts = { ...NO_PARTS, reasoningTokens }
        tokenParts = tokenParts ? largerParts(tokenParts, parts) : parts
      }
      for (const member of PRICE_CLASS_MEMBERS) {
        const value = members[member]
        if (value !== undefined && value !== null) {
          classes.set(member, priceClassOf(member, value))
        }
      }
    },
    model(name) {
      if (typeof name === 'string' && MODEL.test(name)) modelName = name
    },
    error(type) {
      errorType = typeof type === 'string' && ERROR_TYPE.test(type) ? type : 'unknown_error'
    },
    ranCode() {
      codeRuns += 1
    },
    parts(parts) {
      tokenParts = tokenParts ? largerParts(tokenParts, parts) : parts
    },
    doubt,
    result(whole, since, written = whole) {
      const sum = (count: keyof TokenTally): number => include(count) + (besides[count] ?? 0)
      const any = Object.values(said).some((count) => count > 0)
      const nothingSince = since === undefined || since.outputTokens + since.inputTokens === 0
      const isFinal = outputIsFinal || (sawLast && since !== undefined && nothingSince)
      // No prompt is empty: who says so does not count it.
      const isPromptSaid = PROMPT.some((count) => (said[count] ?? 0) > 0)
      const all = whole && isFinal && isPromptSaid && !inDoubt
      const state: MeterState = all ? 'exact' : any ? 'partial' : 'unknown'
      const priceClasses = [...classes.values()].filter((each) => each !== undefined)
      return {
        state,
        inputTokens: sum('input'),
        outputTokens: sum('output'),
        cacheReadTokens: sum('cacheRead'),
        // The parts are said later than their sum, or alone.
        cacheCreationTokens: Math.max(
          sum('cacheCreation'),
          sum('cacheCreation5m') + sum('cacheCreation1h'),
        ),
        cacheCreation1hTokens: sum('cacheCreation1h'),
        ...(modelName === undefined ? {} : { model: modelName }),
        ...(errorType === undefined ? {} : { sawError: errorType }),
        ...(tokenParts && { parts: tokenParts }),
        ...(priceClasses.length === 0 ? {} : { priceClasses }),
        ...(tools.size === 0 ? {} : { serverTools: Object.fromEntries(tools) }),
        ...(codeRuns === 0 ? {} : { codeRuns }),
        ...(foreign.size + advisors.size === 0
          ? {}
          : { others: [...foreign, ...advisors].map(modelUsage) }),
        ...(since === undefined || all || inDoubt
          ? {}
          : { since: { ...since, isUnfinished: !written } }),
      }
    },
    get promptTokens() {
      const { input = 0, cacheRead = 0, cacheCreation = 0 } = said
      return input + cacheRead + cacheCreation
    },
  }
}

function addTo(sums: Partial<TokenTally>, counts: Partial<TokenTally>): void {
  for (const count of Object.keys(counts) as (keyof TokenTally)[]) {
    sums[count] = (sums[count] ?? 0) + (counts[count] ?? 0)
  }
}

function modelUsage([model, counts]: readonly [string, Partial<TokenTally>]): ModelUsage {
  const { cacheCreation5m = 0, cacheCreation1h = 0 } = counts
  return {
    model,
    inputTokens: counts.input ?? 0,
    outputTokens: counts.output ?? 0,
    cacheReadTokens: counts.cacheRead ?? 0,
    cacheCreationTokens: Math.max(counts.cacheCreation ?? 0, cacheCreation5m + cacheCreation1h),
    cacheCreation1hTokens: cacheCreation1h,
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
    ? (value as Readonly<Record<string, unknown>>)
    : {}
}

/** A thousand times the largest context; no sum of what fits in an answer passes 2^53. */
const MAX_TOKENS = 1_000_000_000

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_TOKENS
}
