// The `usage` objects of one answer of Anthropic's, gathered: each count is cumulative, so the last
// one said wins, and one that is no count is not taken and leaves the whole in doubt.

/**
 * `exact`: all of it was said. `partial`: a lower bound, since the end was not seen or something in
 * it could not be read. `unknown`: nothing was said, and every count is 0.
 */
export type UsageState = 'exact' | 'partial' | 'unknown'

export interface TokenCounts {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cacheReadTokens: number
  /** What was written to a cache, for 5 minutes or for an hour. */
  readonly cacheCreationTokens: number
  /** The part of `cacheCreationTokens` written for an hour, which costs more. */
  readonly cacheCreation1hTokens: number
}

export interface MeteredUsage extends TokenCounts {
  readonly state: UsageState
  /** The model that answered, which an alias in the request does not tell. */
  readonly model?: string
  /** The `type` of the error in the stream or the body, never its message. */
  readonly sawError?: string
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
  /** Something was said that could not be read. */
  doubt(): void
  /** `whole`: the answer's own end was seen. */
  result(whole: boolean): MeteredUsage
}

interface Counts {
  input: number
  output: number
  cacheRead: number
  cacheCreation: number
  cacheCreation5m: number
  cacheCreation1h: number
}

const FIELDS: readonly (readonly [string, keyof Counts])[] = [
  ['input_tokens', 'input'],
  ['output_tokens', 'output'],
  ['cache_read_input_tokens', 'cacheRead'],
  ['cache_creation_input_tokens', 'cacheCreation'],
]
const CACHE_FIELDS: readonly (readonly [string, keyof Counts])[] = [
  ['ephemeral_5m_input_tokens', 'cacheCreation5m'],
  ['ephemeral_1h_input_tokens', 'cacheCreation1h'],
]

/** A name is copied into logs and ledger, so it can be neither long nor text for a terminal. */
const MODEL = /^[\x21-\x7e]{1,128}$/
const ERROR_TYPE = /^[a-z_]{1,64}$/

export function tally(): Tally {
  const said: Partial<Counts> = {}
  let besides: Partial<Counts> = {}
  let outputIsFinal = false
  let inDoubt = false
  let modelName: string | undefined
  let errorType: string | undefined

  const doubt = (): void => {
    inDoubt = true
  }

  const take = (
    from: unknown,
    fields: readonly (readonly [string, keyof Counts])[],
    to: Partial<Counts>,
  ): void => {
    if (from === undefined || from === null) return
    if (typeof from !== 'object') return doubt()
    for (const [field, count] of fields) {
      const value = (from as Readonly<Record<string, unknown>>)[field]
      if (value === undefined || value === null) continue
      if (isCount(value)) to[count] = value
      else doubt()
    }
  }

  /**
   * Beta: a request may run several samplings. The context that a `compaction` read and wrote is
   * billed like the rest and is not part of the counts above it; an advisor is another model with
   * prices of its own, so with one, and with what we don't know, these counts are a lower bound.
   */
  const takeIterations = (iterations: unknown): void => {
    if (iterations === undefined || iterations === null) return
    if (!Array.isArray(iterations)) return doubt()
    besides = {}
    for (const iteration of iterations as readonly unknown[]) {
      const type = (iteration as { type?: unknown } | null)?.type
      if (type === 'message' || type === 'fallback_message') continue
      if (type !== 'compaction') {
        doubt()
        continue
      }
      const its: Partial<Counts> = {}
      take(iteration, FIELDS, its)
      take((iteration as { cache_creation?: unknown }).cache_creation, CACHE_FIELDS, its)
      for (const count of Object.keys(its) as (keyof Counts)[]) {
        besides[count] = (besides[count] ?? 0) + (its[count] ?? 0)
      }
    }
  }

  return {
    note(usage, which) {
      if (usage === undefined || usage === null) return
      const now: Partial<Counts> = {}
      take(usage, FIELDS, now)
      if (now.output !== undefined) outputIsFinal = which === 'last'
      Object.assign(said, now)
      if (typeof usage !== 'object') return
      const { cache_creation: creation, iterations } = usage as Readonly<Record<string, unknown>>
      take(creation, CACHE_FIELDS, said)
      takeIterations(iterations)
    },
    model(name) {
      if (typeof name === 'string' && MODEL.test(name)) modelName = name
    },
    error(type) {
      errorType = typeof type === 'string' && ERROR_TYPE.test(type) ? type : 'unknown_error'
    },
    doubt,
    result(whole) {
      const sum = (count: keyof Counts): number => (said[count] ?? 0) + (besides[count] ?? 0)
      const all = whole && outputIsFinal && said.input !== undefined
      const any = Object.keys(said).length > 0
      const state: UsageState = all && !inDoubt ? 'exact' : any ? 'partial' : 'unknown'
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
      }
    },
  }
}

/** A thousand times the largest context; no sum of what fits in an answer passes 2^53. */
const MAX_TOKENS = 1_000_000_000

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_TOKENS
}
