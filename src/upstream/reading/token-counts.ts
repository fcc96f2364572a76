// Token counts by class, and how they are read from JSON with the names of Anthropic's API.

export interface TokenCounts {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cacheReadTokens: number
  /** Tokens written to a cache, for 5 minutes or an hour. */
  readonly cacheCreationTokens: number
  /** The part of `cacheCreationTokens` written for an hour, which costs more. */
  readonly cacheCreation1hTokens: number
  /** How many requests of a batch used them; one if absent. */
  readonly requests?: number
}

export interface ModelUsage extends TokenCounts {
  readonly model: string
}

interface TokenTally {
  input: number
  output: number
  cacheRead: number
  cacheCreation: number
  cacheCreation5m: number
  cacheCreation1h: number
}

export type ClassCounts = Partial<TokenTally>
export type TokenClass = keyof TokenTally

type CountFields = readonly (readonly [string, TokenClass])[]

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

/** False if a member is not a count. */
export const takeUsage = (usage: unknown, to: ClassCounts): boolean => take(usage, FIELDS, to)

/** The same for the `cache_creation` of a usage. */
export const takeCacheCreation = (creation: unknown, to: ClassCounts): boolean =>
  take(creation, CACHE_FIELDS, to)

function take(from: unknown, fields: CountFields, to: ClassCounts): boolean {
  if (from === undefined || from === null) return true
  if (typeof from !== 'object') return false
  let isRead = true
  for (const [field, count] of fields) {
    const value = (from as Readonly<Record<string, unknown>>)[field]
    if (value === undefined || value === null) continue
    if (isCount(value)) to[count] = Math.max(to[count] ?? 0, value)
    else isRead = false
  }
  return isRead
}

/** A thousand times the largest context; no sum of counts in one response exceeds 2^53. */
const MAX_TOKENS = 1_000_000_000

export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_TOKENS
}
