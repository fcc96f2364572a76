// The routes of realtime sessions. What lies behind them is loaded by the first request: most gates have none.

import { Elysia } from 'elysia'
import type { Arrival } from '../arrival.ts'
import { arrivals } from '../arrivals.ts'
import type { ServedRoute } from '../routes.ts'

type Answering = (arrival: Arrival, request: Request, served: ServedRoute) => Promise<Response>

export interface RealtimeDoors {
  /** For the handshake of a session. */
  readonly open: Answering
  /** For a secret that opens sessions. */
  readonly mint: Answering
}

export type LoadDoors = () => Promise<RealtimeDoors>

export interface RealtimeRoutes {
  readonly sessions: ServedRoute
  readonly secrets: ServedRoute
}

export function realtimeRoutes(load: LoadDoors, { sessions, secrets }: RealtimeRoutes) {
  return new Elysia()
    .use(arrivals)
    .get(
      sessions.path,
      async ({ arrival, request }) => (await load()).open(arrival, request, sessions),
      detailsOf(sessions),
    )
    .post(
      secrets.path,
      async ({ arrival, request }) => (await load()).mint(arrival, request, secrets),
      detailsOf(secrets),
    )
}

const detailsOf = ({ about, dialect }: ServedRoute) => ({
  parse: 'none' as const,
  detail: { summary: about, tags: ['relayed', dialect] as string[] },
})
