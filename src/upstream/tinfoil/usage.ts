// Reads the usage that Tinfoil reports in a header, or in a trailer after a stream. It counts and estimates
// nothing.

import type { MeteredUsage } from '../reading/tally.ts'

const MAX_HEADER_LENGTH = 1024
const COUNT = /^\d{1,15}$/

/**
 * `X-Tinfoil-Usage-Metrics`: `prompt=67,completion=42,total=109[,cached_prompt_tokens=…,…]`.
 * Undefined without both prompt and completion. Cached tokens are part of the prompt there, and a separate
 * class here.
 */
export function parseTinfoilUsage(text: string | string[] | undefined): MeteredUsage | undefined {
  if (typeof text !== 'string' || text.length > MAX_HEADER_LENGTH) return undefined
  const parts = text.split(',')
  const prompt = lastOf('prompt=', parts)
  const outputTokens = lastOf('completion=', parts)
  if (prompt === undefined || outputTokens === undefined) return undefined
  const cacheReadTokens = Math.min(lastOf('cached_prompt_tokens=', parts) ?? 0, prompt)
  return {
    state: 'exact',
    inputTokens: prompt - cacheReadTokens,
    outputTokens,
    cacheReadTokens,
    cacheCreationTokens: 0,
    cacheCreation1hTokens: 0,
  }
}

/** The last valid one, if there are several. */
function lastOf(name: string, parts: readonly string[]): number | undefined {
  for (let at = parts.length - 1; at >= 0; at -= 1) {
    const part = (parts[at] ?? '').trim()
    if (!part.startsWith(name)) continue
    const digits = part.slice(name.length)
    if (COUNT.test(digits)) return Number(digits)
  }
  return undefined
}
