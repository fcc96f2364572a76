// What Tinfoil says that a request used: a header, or a trailer after a stream. Nothing here counts
// or estimates.

import type { MeteredUsage } from './tally.ts'

const MAX_HEADER_LENGTH = 1024
const COUNT = /^([a-z_]{1,40})=(\d{1,15})$/

/**
 * `X-Tinfoil-Usage-Metrics`: `prompt=67,completion=42,total=109[,cached_prompt_tokens=…,…]`.
 * Undefined where it says less than prompt and completion. What came from a cache is part of the
 * prompt there, and a class of its own here.
 */
export function parseTinfoilUsage(text: string | string[] | undefined): MeteredUsage | undefined {
  if (typeof text !== 'string' || text.length > MAX_HEADER_LENGTH) return undefined
  const counts = countsIn(text)
  const prompt = counts.get('prompt')
  const outputTokens = counts.get('completion')
  if (prompt === undefined || outputTokens === undefined) return undefined
  const cacheReadTokens = Math.min(counts.get('cached_prompt_tokens') ?? 0, prompt)
  return {
    state: 'exact',
    inputTokens: prompt - cacheReadTokens,
    outputTokens,
    cacheReadTokens,
    cacheCreationTokens: 0,
    cacheCreation1hTokens: 0,
  }
}

/** The last of each, where one comes twice. */
function countsIn(text: string): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const part of text.split(',')) {
    const [, name, digits] = COUNT.exec(part.trim()) ?? []
    if (name !== undefined) counts.set(name, Number(digits))
  }
  return counts
}
