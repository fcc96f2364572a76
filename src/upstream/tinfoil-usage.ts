// What Tinfoil says that a request used: a header, or a trailer after a stream. Nothing here counts
// or estimates.

import type { MeteredUsage } from './tally.ts'

const MAX_HEADER_LENGTH = 1024
const [PROMPT, COMPLETION, CACHED] = ['prompt', 'completion', 'cached_prompt_tokens'].map(
  // The last of them, where one comes twice.
  (name) => new RegExp(`(?:^|.*,)\\s*${name}=(\\d{1,15})\\s*(?:,|$)`),
) as [RegExp, RegExp, RegExp]

/**
 * `X-Tinfoil-Usage-Metrics`: `prompt=67,completion=42,total=109[,cached_prompt_tokens=…,…]`.
 * Undefined where it says less than prompt and completion. What came from a cache is part of the
 * prompt there, and a class of its own here.
 */
export function parseTinfoilUsage(text: string | string[] | undefined): MeteredUsage | undefined {
  if (typeof text !== 'string' || text.length > MAX_HEADER_LENGTH) return undefined
  const prompt = countOf(PROMPT, text)
  const outputTokens = countOf(COMPLETION, text)
  if (prompt === undefined || outputTokens === undefined) return undefined
  const cacheReadTokens = Math.min(countOf(CACHED, text) ?? 0, prompt)
  return {
    state: 'exact',
    inputTokens: prompt - cacheReadTokens,
    outputTokens,
    cacheReadTokens,
    cacheCreationTokens: 0,
    cacheCreation1hTokens: 0,
  }
}

function countOf(pattern: RegExp, text: string): number | undefined {
  const digits = pattern.exec(text)?.[1]
  return digits === undefined ? undefined : Number(digits)
}
