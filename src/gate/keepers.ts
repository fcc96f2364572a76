// The upstreams that store responses, chats or conversations, which later requests can name.

import type { Served } from '../dispatch/choose.ts'

const STORED = ['/v1/responses/:id', '/v1/conversations/:id', '/v1/chat/completions/:id']

/** Their names: the gate must know the owner of each object that they store. */
export const keepersAmong = (served: readonly Served[]): ReadonlySet<string> =>
  new Set(
    served
      .filter(({ upstream }) =>
        STORED.some((path) => upstream.serves({ dialect: 'openai', method: 'GET', path })),
      )
      .map(({ upstream }) => upstream.name),
  )
