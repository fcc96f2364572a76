// The Elysia app: all groups of routes, and the hooks for all of them. It decides nothing; inference.ts
// handles relayed requests.

import { Elysia } from 'elysia'
import { describeBug, type Logger } from '../log.ts'
import { refused } from '../refusal.ts'
import { type AboutParts, aboutRoutes } from './about.ts'
import type { AdminParts } from './admin/parts.ts'
import { operatorRoutes } from './admin/operator.ts'
import { usageRoutes } from './admin/usage.ts'
import type { Answers } from './answers.ts'
import { arrive } from './arrival.ts'
import { arrivals } from './arrivals.ts'
import type { DeviceRoutes } from './devices.ts'
import { type InferenceParts, inferenceRoutes } from './inference.ts'
import { invalid } from './invalid.ts'
import { SILENT_IDLE_SECONDS } from './keep-alive.ts'
import type { LoginRoutes } from './login/routes.ts'
import { type Probe, probeAt } from './probes.ts'
import { documentRoutes, greetings, probeRoutes, type PublicParts } from './public.ts'
import { type LoadDoors, type RealtimeRoutes, realtimeRoutes } from './realtime/route.ts'
import { sockets } from './realtime/sockets.ts'
import { receiving, type ReceivingParts } from './receive.ts'
import { type FindRoute, routeFinder, routesOf } from './route-table.ts'
import type { ServedRoute } from './routes.ts'
import { strayed } from './stray.ts'

export interface Common extends Omit<ReceivingParts, 'find' | 'probes'> {
  readonly answers: Answers
  readonly log: Logger
  /** The server that listens; by default the app's own. */
  readonly listener?: () => Bun.Server<undefined> | null
}

const LISTENER = {
  development: false,
  idleTimeout: SILENT_IDLE_SECONDS,
  // We check sizes ourselves, after the credential, and answer in the route's dialect.
  maxRequestBodySize: Number.MAX_SAFE_INTEGER,
} as const

/** The options with which a server switches to this app; open connections and responses go on. */
export const answeringBy = ({ fetch }: ReturnType<typeof gate>) => ({
  ...LISTENER,
  fetch,
  websocket: sockets as never,
})

export interface Parts extends Common {
  /** The relayed routes that some caller reaches. */
  readonly routes: readonly ServedRoute[]
  readonly open: PublicParts
  readonly inference: InferenceParts
  /** Undefined if no caller reaches an upstream with it. */
  readonly realtime: RealtimeRoutes | undefined
  readonly realtimeDoors: LoadDoors
  readonly about: AboutParts
  /** Undefined if no device can enrol. */
  readonly devices: DeviceRoutes | undefined
  /** Undefined if nobody can sign in. */
  readonly login: LoginRoutes | undefined
  /** Undefined if the operator has a separate listener. */
  readonly admin: AdminParts | undefined
}

export function gate(parts: Parts) {
  const {
    routes,
    open,
    inference,
    realtime,
    realtimeDoors,
    about,
    devices,
    login,
    admin,
    ...common
  } = parts
  const app = base(common, probeAt(open.probes)).use(probeRoutes(open.probes))
  if (open.documents) app.use(documentRoutes(open, open.documents))
  if (devices || login) app.use(greetings(open.answers))
  if (devices) app.use(devices)
  app.use(aboutRoutes(about))
  if (login) app.use(login)
  if (admin) app.use(usageRoutes(admin)).use(operatorRoutes(admin))
  if (realtime) app.use(realtimeRoutes(realtimeDoors, realtime))
  return app.use(inferenceRoutes(inference, routes))
}

/** The operator's own listener. */
export function adminGate({ admin, ...common }: Common & { readonly admin: AdminParts }) {
  return base(common).use(usageRoutes(admin)).use(operatorRoutes(admin))
}

function base({ answers, log, ...common }: Common, probes?: ReadonlyMap<string, Probe>) {
  const listener = common.listener ?? (() => app.server)
  let table: FindRoute | undefined
  /** Built from all routes of the app when a request first needs it. */
  const find: FindRoute = (path) => (table ??= routeFinder(routesOf(app.routes)))(path)
  const receive = receiving({ ...common, answers, find, probes })
  const app = new Elysia({
    // target.ts checks the Host before Elysia routes. Bun's own router would route before that.
    systemRouter: false,
    nativeStaticResponse: false,
    strictPath: true,
    handler: { standardHostname: false },
    serve: {
      ...LISTENER,
      // On Linux a second, stale process could otherwise share the port unnoticed.
      reusePort: false,
    },
  }).use(arrivals)
  return (
    app
      // Declared before every route: routes declared earlier would answer with the runtime's message.
      .onError(({ code, error, request, arrival }) => {
        const arrived = arrival ?? arrive(request, listener())
        const { exchange } = arrived
        if (code === 'NOT_FOUND') {
          const refusal = strayed(arrived, request, find) ?? refused('not_found')
          return answers.refuse(exchange, refusal)
        }
        if (code === 'VALIDATION') {
          // A path with a malformed name is no route.
          const stray = error.type === 'params' ? strayed(arrived, request, find) : undefined
          const refusal = stray ?? invalid(error)
          return arrived.refuse?.(refusal) ?? answers.refuse(exchange, refusal)
        }
        log.error(describeBug(error), 'internal error')
        return answers.refuse(exchange, refused('internal_error'))
      })
      // Not an arrow function, and it returns no call: Elysia decides by a hook's text, minified too,
      // whether it may return a promise, and would await this one on each request (0.1 µs).
      .onRequest(function receiveFirst(context) {
        const { request } = context
        const arrival = arrive(request, listener())
        context.arrival = arrival
        const answer = receive(arrival, request)
        if (answer) return answer
      })
  )
}
