// What arrived? The Elysia app: every group of routes there is, public and protected, and what holds
// for all of them. Nothing is decided here; the life of a relayed request is in inference.ts.

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
import { receiving, type ReceivingParts } from './receive.ts'
import { type FindRoute, routeFinder, routesOf } from './route-table.ts'
import type { ServedRoute } from './routes.ts'
import { strayed } from './stray.ts'

export interface Common extends Omit<ReceivingParts, 'find' | 'probes'> {
  readonly answers: Answers
  readonly log: Logger
}

export interface Parts extends Common {
  /** Those of the upstreams that somebody reaches. */
  readonly routes: readonly ServedRoute[]
  readonly open: PublicParts
  readonly inference: InferenceParts
  readonly about: AboutParts
  /** Absent where no device can be. */
  readonly devices: DeviceRoutes | undefined
  /** Absent where nobody can sign in. */
  readonly login: LoginRoutes | undefined
  /** Absent where the operator has a listener of its own. */
  readonly admin: AdminParts | undefined
}

export function gate(parts: Parts) {
  const { routes, open, inference, about, devices, login, admin, ...common } = parts
  const app = base(common, probeAt(open.probes)).use(probeRoutes(open.probes))
  if (open.documents) app.use(documentRoutes(open, open.documents))
  if (devices || login) app.use(greetings(open.answers))
  if (devices) app.use(devices)
  app.use(aboutRoutes(about))
  if (login) app.use(login)
  if (admin) app.use(usageRoutes(admin)).use(operatorRoutes(admin))
  return app.use(inferenceRoutes(inference, routes))
}

/** The operator's own listener. */
export function adminGate({ admin, ...common }: Common & { readonly admin: AdminParts }) {
  return base(common).use(usageRoutes(admin)).use(operatorRoutes(admin))
}

function base({ answers, log, ...common }: Common, probes?: ReadonlyMap<string, Probe>) {
  let table: FindRoute | undefined
  /** Made when a request first needs it, of all the routes that the app then has. */
  const find: FindRoute = (path) => (table ??= routeFinder(routesOf(app.routes)))(path)
  const receive = receiving({ ...common, answers, find, probes })
  const app = new Elysia({
    // Elysia routes by our check of the Host (target.ts), never by Bun's own router beside it.
    systemRouter: false,
    nativeStaticResponse: false,
    strictPath: true,
    handler: { standardHostname: false },
    serve: {
      development: false,
      idleTimeout: SILENT_IDLE_SECONDS,
      // Linux would let a second, stale process share the port without a word.
      reusePort: false,
      // Sizes are refused by us, after the credential and in the route's own words.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    },
  }).use(arrivals)
  return (
    app
      // Before every route, or those declared before it would answer with the runtime's own words.
      .onError(({ code, error, request, arrival }) => {
        const arrived = arrival ?? arrive(request, app.server)
        const { exchange } = arrived
        if (code === 'NOT_FOUND') {
          const refusal = strayed(arrived, request, find) ?? refused('not_found')
          return answers.refuse(exchange, refusal)
        }
        if (code === 'VALIDATION') {
          // A name that is none is part of no path.
          const stray = error.type === 'params' ? strayed(arrived, request, find) : undefined
          const refusal = stray ?? invalid(error)
          return arrived.refuse?.(refusal) ?? answers.refuse(exchange, refusal)
        }
        log.error(describeBug(error), 'internal error')
        return answers.refuse(exchange, refused('internal_error'))
      })
      // No arrow function, and none that returns a call: by its text, minified as well, Elysia would take
      // it for one that may return a promise, and wait for it on each request (0.1 µs).
      .onRequest(function receiveFirst(context) {
        const { request } = context
        const arrival = arrive(request, app.server)
        context.arrival = arrival
        const answer = receive(arrival, request)
        if (answer) return answer
      })
  )
}
