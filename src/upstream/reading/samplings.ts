// Beta: a request may run several samplings, and other models. The usage of a `compaction` or an advisor
// is billed like the rest and is not part of the counts above it. With unknown kinds these counts are a
// lower bound.

import { objectIn } from './json-object.ts'
import {
  type ClassCounts,
  type ModelUsage,
  takeCacheCreation,
  takeUsage,
  type TokenClass,
} from './token-counts.ts'

type CountsOfModels = Map<string, ClassCounts>

/** Names go into logs and the ledger, so they must be short and safe for a terminal. */
export const MODEL = /^[\x21-\x7e]{1,128}$/
/** A request runs a handful of other models at most. */
const MAX_OTHERS = 16

export class Samplings {
  readonly #besides: ClassCounts = {}
  #sampled: ClassCounts = {}
  /** Samplings of models other than the answering one, and those of advisors. */
  #foreign: CountsOfModels = new Map()
  #advisors: CountsOfModels = new Map()

  /** `own`: the answering model. False if something could not be read. */
  note(iterations: readonly unknown[], own: string | undefined): boolean {
    let isRead = true
    const compacted: ClassCounts = {}
    const elsewhere: CountsOfModels = new Map()
    const advised: CountsOfModels = new Map()
    const sampled: ClassCounts = {}
    for (const iteration of iterations) {
      const { type, model, cache_creation: creation } = objectIn(iteration) ?? {}
      const counts: ClassCounts = {}
      if (!takeUsage(iteration, counts)) isRead = false
      if (!takeCacheCreation(creation, counts)) isRead = false
      const isSampling = type === 'message' || type === 'fallback_message'
      if (isSampling) addTo(sampled, counts)
      const name = typeof model === 'string' && MODEL.test(model) ? model : undefined
      if (type === 'compaction') addTo(compacted, counts)
      else if (type === 'advisor_message') isRead = addToModel(advised, name, counts) && isRead
      else if (!isSampling) isRead = false
      else if (name !== undefined && name !== own) {
        isRead = addToModel(elsewhere, name, counts) && isRead
      }
    }
    for (const count of Object.keys(compacted) as TokenClass[]) {
      this.#besides[count] = Math.max(this.#besides[count] ?? 0, compacted[count] ?? 0)
    }
    if (elsewhere.size >= this.#foreign.size) {
      this.#foreign = elsewhere
      this.#sampled = sampled
    }
    if (advised.size >= this.#advisors.size) this.#advisors = advised
    return isRead
  }

  /**
   * The answering model's usage of a class, given the `total` above the iterations. If the total includes
   * other models' samplings, those are priced separately; if not, they come on top.
   */
  own(count: TokenClass, total: number): number {
    const apart = [...this.#foreign.values()].reduce((sum, each) => sum + (each[count] ?? 0), 0)
    const includes = apart > 0 && total === (this.#sampled[count] ?? 0)
    return (includes ? Math.max(0, total - apart) : total) + (this.#besides[count] ?? 0)
  }

  get others(): readonly ModelUsage[] {
    return [...this.#foreign, ...this.#advisors].map(modelUsage)
  }
}

function addToModel(
  models: CountsOfModels,
  name: string | undefined,
  counts: ClassCounts,
): boolean {
  if (name === undefined || (models.size >= MAX_OTHERS && !models.has(name))) return false
  addTo(models.getOrInsert(name, {}), counts)
  return true
}

function addTo(sums: ClassCounts, counts: ClassCounts): void {
  for (const count of Object.keys(counts) as TokenClass[]) {
    sums[count] = (sums[count] ?? 0) + (counts[count] ?? 0)
  }
}

function modelUsage([model, counts]: readonly [string, ClassCounts]): ModelUsage {
  const { cacheCreation5m = 0, cacheCreation1h = 0 } = counts
  return {
    model,
    inputTokens: counts.input ?? 0,
    outputTokens: counts.output ?? 0,
    cacheReadTokens: counts.cacheRead ?? 0,
    cacheCreationTokens: Math.max(counts.cacheCreation ?? 0, cacheCreation5m + cacheCreation1h),
    cacheCreation1hTokens: cacheCreation1h,
  }
}
