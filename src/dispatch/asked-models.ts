// Upstreams with `ask_models`: their own lists replace the model names of the settings, within the
// patterns that the settings allow.

import { type Decision, type Dialect, granted } from '../refusal.ts'
import { allowedModel } from '../token/model-pattern.ts'
import { type Served, servedModel } from './choose.ts'
import type { ModelLists, Models } from './model-lists.ts'

export interface AskedModels {
  /** Adds the current models of each upstream; synchronous if all lists are known. */
  told(
    among: readonly Served[],
    dialect: Dialect,
    now: number,
  ): readonly Served[] | Promise<readonly Served[]>
  /** For `GET /v1/models/:id`: the first upstream that lists the model, or may have it unlisted. */
  having(
    among: readonly Served[],
    model: string,
    dialect: Dialect,
    now: number,
  ): Promise<Decision<Served>>
}

/** Called for each request: with a single upstream, as in most gates, it creates no closure. */
export const someAsk = (among: readonly Served[]): boolean =>
  among.length === 1 ? among[0]?.asks === true : among.some(asksItself)

const asksItself = ({ asks }: Served): boolean => asks

interface Told {
  readonly list: Models
  readonly as: Served
}

export function askedModels(lists: ModelLists): AskedModels {
  const kept = new WeakMap<Served, Told>()

  /** Returns the same object until the list changes. */
  const withList = (on: Served, list: Models): Served => {
    const known = kept.get(on)
    if (known && known.list === list) return known.as
    const models = (list ?? [])
      .map(({ id }) => id)
      // A listed name is not a pattern: with `*` a server would claim every model.
      .filter((id) => !id.endsWith('*') && allowedModel(id, on.models))
    const as: Served = { ...on, models, isUnknown: list === undefined }
    kept.set(on, { list, as })
    return as
  }

  return {
    told(among, dialect, now) {
      const found: Served[] = []
      for (const on of among) {
        if (!on.asks) {
          found.push(on)
          continue
        }
        const last = lists.last(on.upstream, dialect, now)
        if (last instanceof Promise) return waiting(among, dialect, now)
        found.push(withList(on, last.told))
      }
      return found
    },
    async having(among, model, dialect, now) {
      const serving = among.filter(({ models }) => allowedModel(model, models))
      // There is no choice.
      if (serving.length < 2 && !someAsk(serving)) return servedModel(serving, model)
      const all = await Promise.all(
        serving.map(({ upstream }) => lists.last(upstream, dialect, now)),
      )
      const told = all.map((each) => (each && 'told' in each ? each.told : each))
      const found = serving.find((_, at) => told[at]?.some(({ id }) => id === model))
      if (found) return granted(found)
      // No list contains aliases; only the upstream's own list decides.
      const others = serving.flatMap((on, at) => (on.asks ? [withList(on, told[at])] : [on]))
      return servedModel(others, model)
    },
  }

  async function waiting(
    among: readonly Served[],
    dialect: Dialect,
    now: number,
  ): Promise<readonly Served[]> {
    return Promise.all(
      among.map(async (on) => {
        if (!on.asks) return on
        const last = await lists.last(on.upstream, dialect, now)
        return withList(on, last && 'told' in last ? last.told : last)
      }),
    )
  }
}
