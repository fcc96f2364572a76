// The route of realtime sessions. What lies behind it is loaded by the first request: most gates have none.

import { Elysia } from 'elysia'
import { arrivals } from '../arrivals.ts'
import type { ServedRoute } from '../routes.ts'
import type { RealtimeDoor } from './door.ts'

export type LoadDoor = () => Promise<RealtimeDoor>

export function realtimeRoute(load: LoadDoor, served: ServedRoute) {
  return new Elysia()
    .use(arrivals)
    .get(served.path, async ({ arrival, request }) => (await load())(arrival, request, served), {
      parse: 'none',
      detail: { summary: served.about, tags: ['relayed', served.dialect] },
    })
}
