// For `postern check`: whether the upstreams that stand in for one another know a model by one name, since
// nothing is translated.

import type { FallbackEntry } from '../config/fallback.ts'
import { allowedModel } from '../token/model-pattern.ts'
import type { CheckOutcome } from './check-outcome.ts'

/** What an upstream lists, as far as the settings let it serve that. */
export interface ListedBy {
  readonly name: string
  readonly ids: readonly string[]
  readonly models: readonly string[] | undefined
}

export function checkFallback(
  entries: readonly FallbackEntry[],
  listed: readonly ListedBy[],
): CheckOutcome[] {
  return entries.map(({ routes, from }) => {
    const what = `fallback of ${routes.join(', ')} from ${from.join(', ')}`
    const known = listed.filter(({ name }) => from.includes(name))
    const served = known.map(
      ({ ids, models }) => new Set(ids.filter((id) => allowedModel(id, models))),
    )
    const shared = new Set(
      served.flatMap((mine, at) =>
        [...mine].filter((id) => served.some((other, its) => its > at && other.has(id))),
      ),
    )
    if (known.length < 2) {
      return { ok: true, warning: true, what: `${what}: too few of them list their models` }
    }
    if (shared.size > 0) return { ok: true, what: `${what}: ${counted(shared.size)} by one name` }
    const todo = 'no two of them list a model by the same name, so nothing falls back'
    return { ok: true, warning: true, what: `${what}: ${todo}` }
  })
}

const counted = (count: number): string => (count === 1 ? '1 model' : `${count} models`)
