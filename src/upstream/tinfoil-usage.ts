// What Tinfoil says that a request used: a header, or a trailer after a stream. Nothing here counts
// or estimates.

import type { MeteredUsage } from './tally.ts'

const MAX_HEADER_LENGTH = 1024

/**
 * `X-Tinfoil-Usage-Metrics`: `prompt=67,completion=42,total=109[,cached_prompt_tokens=…,…]`.
 * Undefined where it says less than prompt and completion. What came from a cache is part of the
 * prompt there, and a class of its own here.
 */
export function parseTinfoilUsage(text: string | string[] | undefined): MeteredUsage | undefined {
  if (typeof text !== 'string' || text.length > MAX_HEADER_LENGTH) return undefined
  const counts = new Map<string, number>()
  for (const part of text.split(',')) {
    const match = /^\s*(\w+)=(\d{1,15})\s*$/.exec(part)
    if (match?.[1] !== undefined) counts.set(match[1], Number(match[2]))
  }
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
