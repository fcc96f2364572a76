// Which models a caller may use. Every model that a request names must be on the list; a member that
// this gate does not know may name one, so it is refused.

import { granted, type Refusal } from '../refusal.ts'
import { allowedModel } from '../token/model-pattern.ts'
import { type Costly, requestsOf } from '../upstream/costly.ts'
import { type Limit, NOTHING_HELD } from './limit.ts'
import { modelNotAllowed, unknownCost } from './refusals.ts'

const ALLOWED = granted(NOTHING_HELD)

export const modelLimit: Limit = {
  needsBody: ({ policy }) => policy.models !== undefined,
  decide({ policy }, costly) {
    return foreignModel(costly, policy.models ?? []) ?? ALLOWED
  },
}

/** The refusal for a request that names, or may name, a model that is not on the list. */
export function foreignModel(costly: Costly, patterns: readonly string[]): Refusal | undefined {
  for (const each of requestsOf(costly)) {
    const refusal = foreignIn(each, patterns)
    if (refusal) return refusal
  }
  return undefined
}

function foreignIn(
  { model, fallbacks, advisors, models, unknown }: Costly,
  patterns: readonly string[],
): Refusal | undefined {
  const named = [model, ...[...fallbacks, ...advisors].map((each) => each.model), ...models]
  const denied = named.find((each) => !allowedModel(each, patterns))
  if (denied !== undefined) return modelNotAllowed(denied, patterns)
  const [what] = unknown
  return what === undefined || patterns.includes('*') ? undefined : unknownCost(what)
}
