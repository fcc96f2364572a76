// The upstreams that keep responses which a later request may name.

import type { Served } from '../dispatch/choose.ts'

const A_RESPONSE = { dialect: 'openai', method: 'GET', path: '/v1/responses/:id' } as const

/** Those of whose stored responses an owner has to be known, by name. */
export const keepersAmong = (served: readonly Served[]): ReadonlySet<string> =>
  new Set(
    served
      .filter(({ upstream }) => upstream.serves(A_RESPONSE))
      .map(({ upstream }) => upstream.name),
  )
