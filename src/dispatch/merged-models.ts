// `GET /v1/models` if several upstreams serve a caller: merges their lists, in the settings' order. For an
// upstream that does not answer, its last list counts.

import { type Decision, type Dialect, refused } from '../refusal.ts'
import { allowedModel } from '../token/model-pattern.ts'
import type { Served } from './choose.ts'
import type { ListedModel } from '../upstream/reading/listed-models.ts'
import { paged } from './model-list.ts'
import type { ModelLists } from './model-lists.ts'

export interface ModelsAsked {
  readonly dialect: Dialect
  /** The caller's own query. */
  readonly search: string
  /** The models that the caller may use; undefined means every model. */
  readonly patterns: readonly string[] | undefined
}

/** The response's body; `now` is monotonic milliseconds. */
export type MergeModels = (
  among: readonly Served[],
  asked: ModelsAsked,
  now: number,
) => Promise<Decision<Uint8Array>>

/** Never shared with other callers, because the list depends on the caller's account. */
export const isMerged = (among: readonly Served[]): boolean =>
  among.length > 1 && among.every(({ upstream }) => upstream.credential === undefined)

export function mergingModels(from: ModelLists): MergeModels {
  return async (among, { dialect, search, patterns }, now) => {
    const lists = await Promise.all(among.map(({ upstream }) => from.of(upstream, dialect, now)))
    if (lists.every((list) => list === undefined)) {
      return refused('upstream_unavailable', { reason: 'no list of models' })
    }
    const merged = new Map<string, ListedModel>()
    for (const [index, list] of lists.entries()) {
      const served = among[index]?.models
      for (const model of list ?? []) {
        const isSeen = allowedModel(model.id, served) && allowedModel(model.id, patterns)
        if (isSeen && !merged.has(model.id)) merged.set(model.id, model)
      }
    }
    return paged(dialect, [...merged.values()], search)
  }
}
