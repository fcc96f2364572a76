// The parts of a request's body that limits depend on: each model that it makes the API run, and
// everything that decides its cost.

/** A model that runs if the one before it declines. */
export interface Fallback {
  readonly model: string
  /** Undefined: the same as for the request's own model. */
  readonly maxTokens: number | undefined
  /** Undefined: those of the request, as far as the model has them. */
  readonly priceClasses: readonly string[] | undefined
}

/** A model that another one consults; it reads everything that the other one has read and written. */
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
  /** Without `maxTokens` a response may be as long as its model can write; other APIs require it. */
  readonly isBoundByModel?: boolean
  /** A stream that does not request usage, and so may not report any. */
  readonly isSilentStream?: boolean
  /** The number of responses to one prompt, each of `maxTokens`; one if it is absent. */
  readonly answers?: number
  /** The number of texts, each of which may fill the model's window; one if it is absent. */
  readonly prompts?: number
  /** Some routes name models and run none, such as counting tokens. */
  readonly free: boolean
  /** The bytes of the body without images and documents in base64. */
  readonly textBytes: number
  readonly images: number
  /** The maximum for each; Anthropic's if it is absent. */
  readonly imageTokens?: number
  /** Content or features that may have a price of their own. */
  readonly media?: readonly Medium[]
  /** The prompt includes content outside the body: a document, a thread, a server tool's results. */
  readonly refers: boolean
  readonly cacheWrite: 'none' | '5m' | '1h'
  readonly priceClasses: readonly string[]
  /** The maximum numbers of requests, by their names in `usage.server_tool_use`. */
  readonly serverTools: Readonly<Record<string, number>>
  readonly runsCode: boolean
  /** The API may first compact the conversation, which reads all of it once more. */
  readonly compacts: boolean
  readonly fallbacks: readonly Fallback[]
  readonly advisors: readonly Advisor[]
  /** Models that are named in unknown places. */
  readonly models: readonly string[]
  /** Unknown features that may run a model or cost something, in a few words. */
  readonly unknown: readonly string[]
  /** Features that run no other model and whose cost is unknown. */
  readonly unpriced?: readonly string[]
  /** A batch: the requests that it runs. Everything else here is then that of the first. */
  readonly requests?: readonly Costly[]
}

/** The requests that one body carries, each of which runs and costs by itself; the request's own if there is no batch. */
export const requestsOf = (costly: Costly): readonly Costly[] => costly.requests ?? [costly]

export type Medium = 'audio' | 'image'
