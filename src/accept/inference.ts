// The protected group, and the whole life of a relayed request in the order in which it is lived.

import { Elysia } from 'elysia'
import type { Admitted } from '../admit/admitted.ts'
import type { AdmitDevice } from '../admit/device.ts'
import type { UserAdmission } from '../admit/admit.ts'
import type { AdmitSession } from '../admit/session.ts'
import type { Breaker } from '../budget/breaker.ts'
import type { Budget, Reserved } from '../budget/budget.ts'
import type { Charges } from '../budget/charge.ts'
import type { Dispatch } from '../dispatch/dispatch.ts'
import { modelHint } from '../dispatch/model-hint.ts'
import type { Exchange } from '../exchange.ts'
import { instant } from '../turn/instant.ts'
import { allows, bounded, routeGroup } from '../policy/allows.ts'
import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import { Client, type SetIdleTimeout } from '../relay/client.ts'
import type { Relay } from '../relay/relay.ts'
import type { Ledger } from '../ledger/port.ts'
import type { UpstreamRequest } from '../http1/request.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { Answers } from './answers.ts'
import type { Arrival } from './arrival.ts'
import { arrivals } from './arrivals.ts'
import { admittedIdleSeconds } from './keep-alive.ts'
import { otherKind } from './other-kind.ts'
import { INFERENCE_ROUTES } from './routes.ts'

export interface Served {
  readonly upstream: Upstream
  readonly breaker: Breaker
}

export interface InferenceParts {
  readonly answers: Answers
  readonly admitUser: UserAdmission['admit'] | undefined
  readonly admitDevice: AdmitDevice | undefined
  readonly admitSession: AdmitSession | undefined
  readonly budget: Budget
  readonly charges: Charges
  readonly dispatch: Dispatch
  readonly relay: Relay
  readonly ledger: Ledger
  /** Of the listener; not by Elysia's `server`, which would be defined anew on each request. */
  readonly setIdleTimeout: SetIdleTimeout
  readonly served: Readonly<Record<string, Served>>
}

const hintOf = (body: UpstreamRequest['body']): string | undefined =>
  body instanceof Uint8Array ? modelHint(body) : undefined

const NO_BODY = granted(false)

/** No route is served whose credentials nobody can check. */
const NOT_ADMITTED = refused('internal_error', { reason: 'route without admission' })

export function inferenceRoutes(parts: InferenceParts) {
  const { answers, budget, charges, dispatch, relay, ledger } = parts

  const admit = (
    { exchange, target, route }: Arrival,
    request: Request,
  ): Decision<Admitted> | Promise<Decision<Admitted>> => {
    const query = target.search.slice(1)
    const authorization = request.headers.get('authorization')
    if (route?.access === 'user' && parts.admitUser) {
      return parts.admitUser({ authorization, query }, exchange.at)
    }
    if (route?.access === 'device' && parts.admitDevice) {
      const apiKey = request.headers.get('x-api-key')
      return parts.admitDevice({ authorization, apiKey, query }, exchange.at)
    }
    if (route?.access === 'session' && parts.admitSession) {
      return parts.admitSession(request.headers, query, request.method)
    }
    return NOT_ADMITTED
  }
  const begin = (exchange: Exchange, admitted: Admitted, route: Arrival['route']) => {
    const { identity, kind, org } = admitted
    exchange.upstream = route?.needs ?? '-'
    const opening = {
      openedAtMs: exchange.at.epochSeconds * 1000,
      requestId: exchange.requestId,
      identity,
      route: exchange.route,
      upstream: exchange.upstream,
    }
    // A key's usage is summed, kept and shown to it as a device's is.
    const hasOwn = kind === 'device' || kind === 'key'
    exchange.entry = ledger.open(
      hasOwn || org !== undefined
        ? { ...opening, ...(hasOwn && { device: identity }), ...(org && { org }) }
        : opening,
    )
  }

  /** Of a request that got as far as a place of its own. */
  const giveUp = (
    refusal: Refusal,
    reserved: Reserved,
    client: Client,
    exchange: Exchange,
  ): Response => {
    client.release()
    reserved.release()
    return client.signal.aborted
      ? answers.left(exchange, refusal)
      : answers.refuse(exchange, refusal)
  }

  /** An answer to whoever may not go on. */
  const enter = (arrival: Arrival, admitted: Decision<Admitted>): Response | undefined => {
    const { exchange, route } = arrival
    if (!admitted.ok) return answers.refuse(exchange, admitted)
    exchange.identity = admitted.value.identity
    if (admitted.value.org !== undefined) exchange.org = admitted.value.org
    const spent = budget.spend(admitted.value, exchange)
    if (!spent.ok) return answers.refuse(exchange, spent)
    if (arrival.closing) exchange.headers.delete('connection')
    begin(exchange, admitted.value, route)
    arrival.admitted = admitted.value
  }

  const answerTo = (arrival: Arrival, admitted: Decision<Admitted>, { headers }: Request) =>
    admitted.ok || admitted.code !== 'invalid_token'
      ? enter(arrival, admitted)
      : otherKind(admitted, arrival, headers, parts).then((instead) => enter(arrival, instead))

  const protectedGroup = new Elysia({ name: 'protected' })
    .use(arrivals)
    // The one door: no route of this group is reached but through it. `scoped`, because an Elysia
    // hook is local by default, and would leave open what another instance adds to the group.
    .onBeforeHandle({ as: 'scoped' }, ({ arrival, request }) => {
      const asked = admit(arrival, request)
      return asked instanceof Promise
        ? asked.then((admitted) => answerTo(arrival, admitted, request))
        : answerTo(arrival, asked, request)
    })
  // Elysia goes by a hook's text: it has to wait for this one, and to heed what it returns.
  for (const hook of protectedGroup.event.beforeHandle ?? []) {
    hook.isAsync = true
    hook.hasReturn = true
  }

  // Where two dialects share a path, one Elysia route serves both.
  const distinct = new Map(INFERENCE_ROUTES.map((each) => [`${each.method} ${each.path}`, each]))
  for (const { method, path } of distinct.values()) {
    if (method === 'HEAD') continue
    const named = `${method} ${path}`
    const group = routeGroup(path)
    protectedGroup.route(
      method,
      path,
      async ({ arrival: { exchange, target, route, admitted, idleSeconds }, request }) => {
        // However Elysia may scope a hook: what has not passed the door goes no further.
        if (!admitted) return answers.refuse(exchange, NOT_ADMITTED)
        const on = route?.needs && parts.served[route.needs]
        if (!on) return answers.refuse(exchange, refused('not_found'))
        const hasBody = method === 'POST'
        const inspected = on.upstream.inspect(request.headers, hasBody)
        if (!inspected.ok) return answers.refuse(exchange, inspected)
        const { sealed, length } = inspected.value
        const { policy } = admitted
        const { name } = on.upstream
        const passes = allows(policy, { route: group, upstream: name, hasBody, sealed, length })
        if (!passes.ok) return answers.refuse(exchange, passes)
        const limited = hasBody ? charges.needsBody(admitted, sealed) : NO_BODY
        if (!limited.ok) return answers.refuse(exchange, limited)
        const reserved = budget.reserve(admitted, exchange)
        if (!reserved.ok) return answers.refuse(exchange, reserved)

        const client = new Client(request, admittedIdleSeconds(idleSeconds), parts.setIdleTimeout)
        client.hold()
        const permitted = { admitted, reserved: reserved.value }
        const { path: to, search } = target
        const incoming = {
          request,
          method,
          path: to,
          search,
          upstream: on.upstream,
          limited: limited.value,
        }
        const within = bounded(policy, inspected.value)
        try {
          const outgoing = await dispatch(permitted, incoming, within, exchange)
          if (!outgoing.ok) return giveUp(outgoing, reserved.value, client, exchange)
          const { costly, asked, call } = outgoing.value
          const asking = {
            host: asked.enclaveHost ?? '',
            route: named,
            hasBody,
            model: costly?.model ?? (asked.sealed ? undefined : hintOf(call.body)),
          }
          const charge = charges.take(admitted, costly, on.breaker, asking, instant())
          if (!charge.ok) return giveUp(charge, reserved.value, client, exchange)
          const taken = { reserved: reserved.value, charge: charge.value }
          return await relay.send(outgoing.value, taken, exchange, client)
        } catch (bug) {
          // Even a bug of ours must not keep somebody's place.
          reserved.value.release()
          throw bug
        }
      },
      { parse: 'none' },
    )
  }
  return protectedGroup
}
