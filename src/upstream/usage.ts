// What an upstream says that a request used, in the upstream's own account; nothing here counts
// or estimates.

export interface Usage {
  readonly inputTokens: number
  readonly outputTokens: number
  /** Part of `inputTokens` that came from a cache, where the upstream says so. */
  readonly cachedInputTokens?: number
}

const MAX_HEADER_LENGTH = 1024

/**
 * Tinfoil's `X-Tinfoil-Usage-Metrics`, a header or a trailer:
 * `prompt=67,completion=42,total=109[,cached_prompt_tokens=…,…]`. Undefined where it says less than
 * prompt and completion.
 */
export function parseTinfoilUsage(text: string | undefined): Usage | undefined {
  if (text === undefined || text.length > MAX_HEADER_LENGTH) return undefined
  const counts = new Map<string, number>()
  for (const part of text.split(',')) {
    const match = /^\s*(\w+)=(\d{1,15})\s*$/.exec(part)
    if (match?.[1] !== undefined) counts.set(match[1], Number(match[2]))
  }
  const inputTokens = counts.get('prompt')
  const outputTokens = counts.get('completion')
  if (inputTokens === undefined || outputTokens === undefined) return undefined
  const cached = counts.get('cached_prompt_tokens')
  return {
    inputTokens,
    outputTokens,
    ...(cached === undefined ? {} : { cachedInputTokens: cached }),
  }
}
