// The upstreams that store responses, which later requests can name.

import type { Served } from '../dispatch/choose.ts'

const A_RESPONSE = { dialect: 'openai', method: 'GET', path: '/v1/responses/:id' } as const

/** Their names: the gate must know the owner of each response that they store. */
export const keepersAmong = (served: readonly Served[]): ReadonlySet<string> =>
  new Set(
    served
      .filter(({ upstream }) => upstream.serves(A_RESPONSE))
      .map(({ upstream }) => upstream.name),
  )
