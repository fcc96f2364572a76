// Tokens that are part of an answer's input or output and that a provider counts apart: what a model
// thought, and what was sound or picture. Some have a price of their own, all are worth a look.

export interface TokenParts {
  /** Of the output, and billed like it. */
  readonly reasoningTokens: number
  /** Of the input, whether it came from a cache or not. */
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

/** Counts are cumulative: of each the larger stands. */
export const largerParts = (a: TokenParts, b: TokenParts): TokenParts => ({
  reasoningTokens: Math.max(a.reasoningTokens, b.reasoningTokens),
  audioInputTokens: Math.max(a.audioInputTokens, b.audioInputTokens),
  imageInputTokens: Math.max(a.imageInputTokens, b.imageInputTokens),
  audioOutputTokens: Math.max(a.audioOutputTokens, b.audioOutputTokens),
  imageOutputTokens: Math.max(a.imageOutputTokens, b.imageOutputTokens),
})

export const hasParts = (parts: TokenParts): boolean => NAMES.some((name) => parts[name] > 0)
