// Parts of the input or output that a provider counts separately: reasoning, audio and image tokens. Some
// have their own price.

export interface TokenParts {
  /** Part of the output, and billed like it. */
  readonly reasoningTokens: number
  /** Part of the input, cached or not. */
  readonly audioInputTokens: number
  readonly imageInputTokens: number
  readonly audioOutputTokens: number
  readonly imageOutputTokens: number
}

export const NO_PARTS: TokenParts = {
  reasoningTokens: 0,
  audioInputTokens: 0,
  imageInputTokens: 0,
  audioOutputTokens: 0,
  imageOutputTokens: 0,
}

const NAMES = Object.keys(NO_PARTS) as readonly (keyof TokenParts)[]

/** Counts are cumulative, so the larger one counts. */
export const largerParts = (a: TokenParts, b: TokenParts): TokenParts => ({
  reasoningTokens: Math.max(a.reasoningTokens, b.reasoningTokens),
  audioInputTokens: Math.max(a.audioInputTokens, b.audioInputTokens),
  imageInputTokens: Math.max(a.imageInputTokens, b.imageInputTokens),
  audioOutputTokens: Math.max(a.audioOutputTokens, b.audioOutputTokens),
  imageOutputTokens: Math.max(a.imageOutputTokens, b.imageOutputTokens),
})

export const hasParts = (parts: TokenParts): boolean => NAMES.some((name) => parts[name] > 0)
