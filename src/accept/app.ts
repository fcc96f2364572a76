// What arrived? The Elysia app: every route, the public ones and the protected group, and the whole
// life of a request in the order in which it is lived. Nothing is decided here.

import { Elysia } from 'elysia'
import type { Admit } from '../admit/admit.ts'
import type { KeySource } from '../admit/jwks.ts'
import { type Budget, type RateLimiter, tooFast } from '../budget/budget.ts'
import { readBounded } from '../dispatch/body.ts'
import type { Dispatch } from '../dispatch/dispatch.ts'
import { type InspectRules, inspect } from '../dispatch/inspect.ts'
import type { Exchange } from '../exchange.ts'
import { describeBug, type Logger } from '../log.ts'
import {
  type Decision,
  granted,
  type Refusal,
  refusalResponse,
  refused,
  statusOf,
} from '../refusal.ts'
import { clientOf } from '../relay/client.ts'
import type { Relay } from '../relay/relay.ts'
import type { Settle } from '../settle/settle.ts'
import type { Document, Documents } from '../upstream/documents.ts'
import type { AddressKey } from './address.ts'
import { type Arrival, arrive } from './arrival.ts'
import { INFERENCE_ROUTES, ROUTES } from './routes.ts'

/** Before a request is admitted. Bun counts in ticks of four seconds. */
const STRANGER_IDLE_SECONDS = 10
/** `{"enclaveUrl":…,"repo":…}` and nothing more. */
const MAX_ATTESTATION_BODY_BYTES = 4096

export interface Parts {
  readonly admit: Admit
  readonly keys: KeySource
  readonly budget: Budget
  readonly publicLimit: RateLimiter | undefined
  readonly addressKey: AddressKey
  readonly rules: InspectRules & { readonly bodyTimeoutMs: number }
  readonly dispatch: Dispatch
  readonly relay: Relay
  readonly documents: Documents
  readonly settle: Settle
  readonly log: Logger
  readonly draining: () => boolean
}

export function gate(parts: Parts) {
  const { admit, keys, budget, publicLimit, rules, dispatch, relay, documents, settle, log } = parts

  const refuse = (exchange: Exchange, refusal: Refusal): Response => {
    exchange.status = statusOf(refusal)
    exchange.reason = refusal.reason ?? refusal.code
    settle(exchange, 'refused')
    return refusalResponse(refusal, exchange.headers)
  }
  const reply = (exchange: Exchange, response: Response): Response => {
    exchange.status = response.status
    settle(exchange, 'complete')
    return response
  }
  const health = (exchange: Exchange, status: 200 | 503, body: object): Response => {
    const { headers } = exchange
    headers.set('cache-control', 'no-store')
    return reply(exchange, Response.json(body, { status, headers }))
  }
  const document = (exchange: Exchange, asked: Decision<Document>): Response => {
    if (!asked.ok) return refuse(exchange, asked)
    const { status, contentType, body } = asked.value
    const { headers } = exchange
    if (contentType !== undefined) headers.set('content-type', contentType)
    exchange.bytesOut = body.byteLength
    return reply(exchange, new Response(body, { status, headers }))
  }
  /** Anybody can ask for these, so what an address may ask for is counted. */
  const countAddress = (
    { exchange }: Arrival,
    request: Request,
    peer: string | undefined,
  ): Decision<undefined> => {
    const key = parts.addressKey(peer, request.headers.get('x-forwarded-for'))
    const decision = publicLimit?.take(key, exchange.headers, exchange.at)
    return decision?.allowed === false ? tooFast(decision) : granted(undefined)
  }

  /** What every request carries through the app; set before anything else looks at it. */
  const arrivals = new Elysia({ name: 'arrivals' }).decorate(
    'arrival',
    undefined as never as Arrival,
  )

  const publicRoutes = new Elysia({ name: 'public' })
    .use(arrivals)
    .get(ROUTES.health.path, ({ arrival: { exchange } }) =>
      health(exchange, 200, { status: 'ok', backend: 'tinfoil' }),
    )
    .get(ROUTES.healthz.path, ({ arrival: { exchange } }) =>
      health(exchange, 200, { status: 'ok' }),
    )
    .get(ROUTES.readyz.path, ({ arrival: { exchange } }) => {
      if (parts.draining())
        return health(exchange, 503, { status: 'not_ready', reason: 'draining' })
      return keys.ready(exchange.at.monotonicMs)
        ? health(exchange, 200, { status: 'ready' })
        : health(exchange, 503, { status: 'not_ready', reason: 'keys_unavailable' })
    })
    .get(ROUTES.hpkeKeys.path, async ({ arrival, request, server }) => {
      const { exchange } = arrival
      const counted = countAddress(arrival, request, server?.requestIP(request)?.address)
      if (!counted.ok) return refuse(exchange, counted)
      return document(exchange, await documents.hpkeKeys(exchange.at.monotonicMs))
    })
    .get(ROUTES.attestation.path, async ({ arrival, request, server }) => {
      const { exchange } = arrival
      const counted = countAddress(arrival, request, server?.requestIP(request)?.address)
      if (!counted.ok) return refuse(exchange, counted)
      return document(exchange, await documents.attestation(undefined, exchange.at.monotonicMs))
    })
    .post(
      ROUTES.attestationFor.path,
      async ({ arrival, request, server }) => {
        const { exchange } = arrival
        const counted = countAddress(arrival, request, server?.requestIP(request)?.address)
        if (!counted.ok) return refuse(exchange, counted)
        const body = await readBounded(request, MAX_ATTESTATION_BODY_BYTES, rules.bodyTimeoutMs)
        if (!body.ok) return refuse(exchange, body)
        exchange.bytesIn = body.value.byteLength
        return document(exchange, await documents.attestation(body.value, exchange.at.monotonicMs))
      },
      { parse: 'none' },
    )

  const protectedRoutes = new Elysia({ name: 'protected' })
    .use(arrivals)
    // The one door: no route of this group is reached but through it. `scoped`, because an Elysia
    // hook is local by default, and would leave open what another instance adds to the group.
    .resolve({ as: 'scoped' }, async ({ arrival: { exchange, target }, request, status }) => {
      const authorization = request.headers.get('authorization')
      const admitted = await admit({ authorization, query: target.search.slice(1) }, exchange.at)
      if (!admitted.ok) return status(statusOf(admitted), refuse(exchange, admitted))
      exchange.identity = admitted.value.identity
      const spent = budget.spend(admitted.value, exchange.headers, exchange.at)
      if (!spent.ok) return status(statusOf(spent), refuse(exchange, spent))
      return { admitted: admitted.value }
    })

  for (const { method, path } of INFERENCE_ROUTES) {
    protectedRoutes.route(
      method,
      path,
      async ({ arrival: { exchange, target }, admitted, request, server }) => {
        const inspected = inspect(request.headers, method === 'POST', rules)
        if (!inspected.ok) return refuse(exchange, inspected)
        const reserved = budget.reserve(admitted, exchange.headers, exchange.at)
        if (!reserved.ok) return refuse(exchange, reserved)
        const client = clientOf(request, (of, seconds) => server?.timeout(of, seconds))
        client.hold()
        const permitted = { admitted, reserved: reserved.value }
        const incoming = { request, method, path, search: target.search }
        const outgoing = await dispatch(permitted, incoming, inspected.value, exchange)
        if (!outgoing.ok) {
          client.release()
          reserved.value.release()
          if (!client.signal.aborted) return refuse(exchange, outgoing)
          settle(exchange, 'client_gone')
          return refusalResponse(outgoing, exchange.headers)
        }
        return relay.send(outgoing.value, reserved.value, exchange, client)
      },
      { parse: 'none' },
    )
  }

  return (
    new Elysia({
      // Elysia routes by our check of the Host (target.ts), never by Bun's own router beside it.
      systemRouter: false,
      nativeStaticResponse: false,
      strictPath: true,
      handler: { standardHostname: false },
      serve: {
        development: false,
        idleTimeout: STRANGER_IDLE_SECONDS,
        // Linux would let a second, stale process share the port without a word.
        reusePort: false,
        // Sizes are refused by us, after the credential and in the route's own words.
        maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      },
    })
      .use(arrivals)
      // Before every route, or those declared before it would answer with the runtime's own words.
      .onError(({ error, request, arrival = arrive(request) }) => {
        log.error(describeBug(error), 'internal error')
        return refuse(arrival.exchange, refused('internal_error'))
      })
      .onRequest((context) => {
        const arrival = arrive(context.request)
        context.arrival = arrival
        if (arrival.refusal) return refuse(arrival.exchange, arrival.refusal)
      })
      .use(publicRoutes)
      .use(protectedRoutes)
  )
}
