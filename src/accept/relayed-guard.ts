// The guard of the relayed routes for Elysia; entering.ts decides.

import { Elysia } from 'elysia'
import type { Answers } from './answers.ts'
import { arrivals, early } from './arrivals.ts'
import { entering, type EnteringParts } from './entering.ts'
import type { ServedRoute } from './routes.ts'

export interface GuardParts extends EnteringParts {
  readonly answers: Answers
}

/** A plugin with the macro `relayed`, which guards a route and gives its handler `admitted`. */
export function relayedGuard(parts: GuardParts) {
  const { answers } = parts
  const enter = entering(parts)

  return new Elysia().use(arrivals).macro({
    /** Takes several routes if dialects share the path. */
    relayed: (routes: readonly ServedRoute[]) => ({
      // Without a seed Elysia would serialise the argument as JSON to tell uses of the macro apart.
      seed: routes.map(({ method, path }) => `${method} ${path}`),
      // Elysia decides by a hook's text whether to await it; it always awaits an `async` function.
      async resolve({ arrival, request }) {
        const asked = enter(routes, arrival, request)
        const entered = asked instanceof Promise ? await asked : asked
        if (!entered.ok) return early(answers.refuse(arrival.exchange, entered))
        const { admitted, relayed } = entered.value
        return { admitted, relayed }
      },
    }),
  })
}
