// What arrived? The Elysia app: every route there is, public and protected, and what holds for all
// of them. Nothing is decided here; the life of a relayed request is in inference-routes.ts.

import { Elysia } from 'elysia'
import { describeBug, type Logger } from '../log.ts'
import { refused } from '../refusal.ts'
import { type AboutParts, aboutRoutes } from './about.ts'
import { adminRoutes, type AdminParts } from './admin/routes.ts'
import type { Answers } from './answers.ts'
import { arrive } from './arrival.ts'
import { arrivals } from './arrivals.ts'
import type { Cors } from './cors.ts'
import type { CountAddress } from './count-address.ts'
import type { DeviceRoutes } from './devices.ts'
import { type InferenceParts, inferenceRoutes } from './inference.ts'
import { type IdleSeconds, SILENT_IDLE_SECONDS } from './keep-alive.ts'
import type { LoginRoutes } from './login/routes.ts'
import { pipelining } from './pipelining.ts'
import { type Probe, probeAt } from './probes.ts'
import { type PublicParts, publicRoutes } from './public.ts'
import { routeFinder } from './route-finder.ts'
import type { Route } from './routes.ts'

export interface Common {
  readonly answers: Answers
  readonly cors: Cors
  readonly countAddress: CountAddress
  readonly idleSeconds: IdleSeconds
  readonly log: Logger
  /** Those that this listener serves. */
  readonly routes: readonly Route[]
}

export interface Parts extends Common {
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

export function gate({ open, inference, about, devices, login, admin, ...common }: Parts) {
  const app = base(common, probeAt(open.probes)).use(publicRoutes(open)).use(aboutRoutes(about))
  if (devices) app.use(devices)
  if (login) app.use(login)
  if (admin) app.use(adminRoutes(admin))
  // Last: what guards this group would guard everything that came after it.
  return app.use(inferenceRoutes(inference))
}

/** The operator's own listener. */
export function adminGate({ admin, ...common }: Common & { readonly admin: AdminParts }) {
  return base(common).use(adminRoutes(admin))
}

function base(
  { answers, cors, countAddress, idleSeconds, log, routes }: Common,
  probes?: ReadonlyMap<string, Probe>,
) {
  const find = routeFinder(routes)
  const isLast = pipelining()
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
  app
    // Before every route, or those declared before it would answer with the runtime's own words.
    .onError(({ error, request, arrival }) => {
      log.error(describeBug(error), 'internal error')
      const { exchange } = arrival ?? arrive(request, find)
      return answers.refuse(exchange, refused('internal_error'))
    })
    .onRequest((context) => {
      const { request } = context
      const arrival = arrive(request, find)
      context.arrival = arrival
      const { exchange, target, refusal } = arrival
      // Not the context's server: to name that has Elysia define it anew for each request.
      const { server } = app
      arrival.idleSeconds = idleSeconds(request, server)
      server?.timeout(request, arrival.idleSeconds)
      if (isLast(request, server)) exchange.headers.set('connection', 'close')
      // Chunks that nobody reads cost as much as those that somebody does: a stranger's would be parsed
      // for as long as they come.
      else if (request.headers.has('transfer-encoding')) {
        arrival.closing = true
        exchange.headers.set('connection', 'close')
      }
      if (exchange.method === 'OPTIONS') {
        const known = find(target.path)
        const preflight = known && cors.preflight(request, exchange, known.methods)
        if (preflight) {
          const counted = countAddress(exchange, request, server)
          return counted.ok ? answers.reply(exchange, preflight) : answers.refuse(exchange, counted)
        }
        // RFC 9110 §9.3.7. A preflight that is not allowed stays a refusal.
        if (known && !request.headers.has('access-control-request-method')) {
          exchange.headers.set('allow', ['OPTIONS', ...known.methods].join(', '))
          cors.permit(request, exchange)
          return answers.reply(
            exchange,
            new Response(null, { status: 204, headers: exchange.headers }),
          )
        }
      }
      cors.permit(request, exchange)
      if (refusal) return answers.refuse(exchange, refusal)
      // Elysia cannot route what has no Host.
      if (arrival.hostless) {
        const probe = probes?.get(target.path)
        return probe ? probe(exchange) : answers.refuse(exchange, refused('bad_host'))
      }
    })
  // Elysia goes by a hook's text, and takes this one for one that has to be waited for.
  for (const hook of app.event.request ?? []) hook.isAsync = false
  return app
}
