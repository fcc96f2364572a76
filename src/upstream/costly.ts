// What of a request's body limits are decided by: each model that it makes the API run, and what its
// cost depends on.

/** A model that is asked where the one before it declines. */
export interface Fallback {
  readonly model: string
  /** Undefined: as many as the request's own. */
  readonly maxTokens: number | undefined
  /** Undefined: the request's own, as far as the model has them. */
  readonly priceClasses: readonly string[] | undefined
}

/** A model that another consults, and that reads all of what that one reads and has written. */
export interface Advisor {
  readonly model: string
  readonly maxUses: number | undefined
  /** For each call. */
  readonly maxTokens: number | undefined
  readonly cacheWrite: 'none' | '5m' | '1h'
}

export interface Costly {
  readonly model: string
  readonly maxTokens: number | undefined
  /** Without `maxTokens` an answer is as long as its model writes; elsewhere it has to be given. */
  readonly isBoundByModel?: boolean
  /** A stream that does not ask for its usage, and so may tell none. */
  readonly isSilentStream?: boolean
  /** So many to one prompt, each of `maxTokens`; one where it is absent. */
  readonly answers?: number
  /** So many texts, each of which may fill the model's window; one where it is absent. */
  readonly prompts?: number
  /** Some routes name models and run none: counting tokens. */
  readonly free: boolean
  /** All of the body but what is an image or a document in base64. */
  readonly textBytes: number
  readonly images: number
  /** Of each at the most; Anthropic's where it is absent. */
  readonly imageTokens?: number
  /** What it carries or asks for that may have a price of its own. */
  readonly media?: readonly Medium[]
  /** Its prompt has more in it than the body has: a document, a thread, what a server tool finds. */
  readonly refers: boolean
  readonly cacheWrite: 'none' | '5m' | '1h'
  readonly priceClasses: readonly string[]
  /** At most so many requests, by their names in `usage.server_tool_use`. */
  readonly serverTools: Readonly<Record<string, number>>
  readonly runsCode: boolean
  /** The API may first sum up what was said, which reads all of it once more. */
  readonly compacts: boolean
  readonly fallbacks: readonly Fallback[]
  readonly advisors: readonly Advisor[]
  /** Named in a place that nobody here knows. */
  readonly models: readonly string[]
  /** What may run a model or cost something, and nobody here knows; in a few words. */
  readonly unknown: readonly string[]
  /** What runs no other model and costs something that nobody here can tell. */
  readonly unpriced?: readonly string[]
}

export type Medium = 'audio' | 'image'
