// The door to a realtime session: everything that admits a request to a relayed route admits the handshake
// of a WebSocket, and refuses it by an HTTP response. The upstream's handshake comes first, so that the
// client's is answered only if there is somebody to talk to.

import type { Admitted } from '../../admit/admitted.ts'
import type { Budget, Reserved } from '../../budget/budget.ts'
import type { Charges } from '../../budget/charge.ts'
import type { HeldReservation } from '../../budget/limit.ts'
import { modelNotAllowed } from '../../budget/refusals.ts'
import type { Served } from '../../dispatch/choose.ts'
import type { End } from '../../end.ts'
import type { Exchange } from '../../exchange.ts'
import { allows, bounded } from '../../policy/allows.ts'
import {
  type Decision,
  granted,
  type Refusal,
  refusalResponse,
  refused,
  statusOf,
} from '../../refusal.ts'
import {
  type ClientSecret,
  type ClientSecrets,
  isClientSecret,
} from '../../realtime/client-secrets.ts'
import type { ShakeHands } from '../../realtime/handshaking.ts'
import type { ChargingParts } from '../../realtime/response-charges.ts'
import { ResponseCharges } from '../../realtime/response-charges.ts'
import { costOfOne } from '../../realtime/session-cost.ts'
import type { RealtimeSession } from '../../realtime/session.ts'
import type { RealtimeSessions } from '../../realtime/sessions.ts'
import { RelayClient, type SetIdleTimeout } from '../../relay/client.ts'
import { NOTHING_OWED } from '../../settle/bill.ts'
import { allowedModel } from '../../token/model-pattern.ts'
import { instant } from '../../turn/instant.ts'
import type { KeyRefused } from '../../upstream/key-refused.ts'
import { asksForWebSocket } from '../../websocket/handshake.ts'
import type { Answers } from '../answers.ts'
import { type Arrival, routed } from '../arrival.ts'
import { choosing, type ChoosingParts } from '../choosing.ts'
import { type Cors, UPSTREAM_HEADER } from '../cors.ts'
import { door, NOT_ADMITTED } from '../door.ts'
import { entering, type EnteringParts } from '../entering.ts'
import { admittedIdleSeconds } from '../keep-alive.ts'
import type { ServedRoute } from '../routes.ts'
import { headersWith, offeredIn, type OfferedProtocols } from './offered.ts'
import type { RealtimeDoors } from './route.ts'
import { realtimeQuery, type RealtimeQuery } from './query.ts'
import { MAX_MESSAGE_BYTES } from './sockets.ts'

export type Upgrade = (
  request: Request,
  options: { readonly headers: Headers; readonly data: RealtimeSession },
) => boolean

export interface RealtimeParts extends EnteringParts, ChoosingParts, ChargingParts {
  readonly answers: Answers
  readonly cors: Pick<Cors, 'welcomes'>
  readonly budget: Budget
  readonly charges: Charges
  readonly shakeHands: ShakeHands
  /** As the upstreams are by now; undefined if none serves the route any more. */
  readonly servedNow: () => ServedRoute | undefined
  readonly sessions: RealtimeSessions
  readonly secrets: Pick<ClientSecrets, 'find'>
  readonly keyRefused: KeyRefused
  readonly setIdleTimeout: SetIdleTimeout
  readonly upgrade: Upgrade
}

/** A client that was let in, and where it may go. */
interface Visitor {
  readonly admitted: Admitted
  readonly on: Served
  readonly query: RealtimeQuery
  readonly offered: OfferedProtocols
  readonly headers: Headers
  readonly route: ServedRoute
  /** The event that begins the session. */
  readonly opening: string | undefined
}

interface Taken {
  readonly reserved: Reserved
  readonly held: HeldReservation
}

const NAMED = 'GET /v1/realtime'

export function realtimeDoor(parts: RealtimeParts): RealtimeDoors['open'] {
  const { answers, budget, charges, settle, sessions, secrets, keyRefused, cors } = parts
  const enter = entering(parts)
  const choose = choosing(parts)
  const { admit } = door(parts.admissions)

  const allowed = (
    admitted: Admitted,
    on: Served,
    model: string | undefined,
  ): Decision<Admitted> => {
    const plain = { sealed: false, length: undefined }
    const passes = allows(admitted.policy, 'realtime', on.upstream.name, true, plain)
    if (!passes.ok) return passes
    for (const patterns of [admitted.policy.models, on.models]) {
      if (!patterns) continue
      if (model === undefined) return refused('invalid_model', { message: NAME_MODEL })
      if (!allowedModel(model, patterns)) return modelNotAllowed(model, patterns)
    }
    return granted(admitted)
  }

  /** The credential that a client secret stands for takes its place. */
  const redeemed = (headers: Headers, { at }: Exchange): Decision<ClientSecret | undefined> => {
    const [, sent = ''] = /^bearer +(\S+)$/i.exec(headers.get('authorization') ?? '') ?? []
    if (!isClientSecret(sent)) return granted(undefined)
    const secret = secrets.find(sent, at.epochSeconds)
    if (!secret) return UNKNOWN_SECRET
    headers.set('authorization', secret.authorization.reveal())
    return granted(secret)
  }

  const come = async (
    arrival: Arrival,
    request: Request,
    served: ServedRoute,
  ): Promise<Decision<Visitor>> => {
    const { exchange, target } = arrival
    routed(exchange, served.path, served.dialect)
    if (!asksForWebSocket(request.headers)) return refused('upgrade_required')
    if (!cors.welcomes(request)) return refused('foreign_origin')
    const offered = offeredIn(request.headers)
    if (!offered.ok) return offered
    const headers = headersWith(request.headers, offered.value)
    if (!headers.ok) return headers
    const secret = redeemed(headers.value, exchange)
    if (!secret.ok) return secret
    const query = realtimeQuery(target.search, secret.value?.model)
    if (!query.ok) return query
    const entered = await enter([served], arrival, asSent(headers.value))
    if (!entered.ok) return entered
    const { admitted, relayed: route } = entered.value
    const isByCookie = admitted.kind === 'session' && !headers.value.has('authorization')
    // Any page can open a WebSocket with a browser's cookies, and only Origin tells which one does.
    if (isByCookie && !request.headers.has('origin')) return refused('missing_authorization')
    const { model } = query.value
    const asked = {
      request,
      path: served.path,
      hasBody: false,
      isOwned: false,
      model,
      group: served.group,
      lists: undefined,
    }
    const chosen = await choose(route.choices, admitted, asked, exchange)
    if (!chosen.ok) return chosen
    const { on } = chosen.value
    exchange.model = model
    exchange.upstream = on.upstream.name
    const may = allowed(admitted, on, model)
    if (!may.ok) return may
    return granted({
      admitted,
      on,
      query: query.value,
      offered: offered.value,
      headers: headers.value,
      route,
      opening: secret.value?.opening,
    })
  }

  const refuse = (exchange: Exchange, refusal: Refusal, end: End): Response => {
    exchange.status = statusOf(refusal)
    exchange.code = refusal.code
    if (refusal.reason !== undefined) exchange.reason = refusal.reason
    settle(exchange, end, NOTHING_OWED)
    return refusalResponse(refusal, exchange)
  }

  const begin = async (
    arrival: Arrival,
    request: Request,
    client: RelayClient,
    visitor: Visitor,
    { reserved, held }: Taken,
    pass: Parameters<ShakeHands>[0]['pass'],
  ): Promise<Response> => {
    const { exchange, target } = arrival
    const { admitted, on, query, offered, headers, route, opening } = visitor
    const { upstream } = on
    const release = (): void => {
      client.release()
      held.reservation?.release()
      reserved.release()
    }
    const asked = { method: 'GET', path: route.path, search: query.search, sealed: false }
    const to = await upstream.destination(
      { ...asked, identity: admitted.identity },
      exchange.at.monotonicMs,
    )
    const sizes = upstream.inspect(request.headers, true)
    const failed = to.ok ? (sizes.ok ? undefined : sizes) : to
    if (failed || !to.ok || !sizes.ok) {
      pass.report('neutral', performance.now())
      release()
      return answers.refuse(exchange, failed ?? NOT_ADMITTED)
    }
    const maxBytes = Math.min(MAX_MESSAGE_BYTES, bounded(admitted.policy, sizes.value).maxBytes)
    const { signal } = request
    let leave = (): void => {}
    const found = await parts.shakeHands({
      upstream,
      to: to.value,
      headers,
      protocol: offered.protocol,
      maxBytes: MAX_MESSAGE_BYTES,
      pass,
      onFlight(flight) {
        leave = () => flight.cancel()
        signal.addEventListener('abort', leave)
      },
    })
    // The signal of a request that was upgraded fires at the end of its WebSocket.
    signal.removeEventListener('abort', leave)
    if (!found.ok) {
      release()
      const { refusal, end, passes, keyStatus } = found
      if (keyStatus !== undefined) keyRefused(upstream, keyStatus, performance.now())
      if (signal.aborted) return answers.left(exchange, refusal)
      if (!passes) return refuse(exchange, refusal, end)
      exchange.status = passes.status
      exchange.bytesOut = passes.body.byteLength
      passes.to(exchange.headers)
      settle(exchange, 'complete', NOTHING_OWED)
      return new Response(passes.body, { status: passes.status, headers: exchange.headers })
    }
    exchange.headersMs = performance.now() - exchange.at.monotonicMs
    const sent = asSent(headers)
    let models = on.models
    const still = (decided: Decision<Admitted>): Decision<Admitted> => {
      if (!decided.ok) return decided
      const now = parts.servedNow()?.choices[decided.value.kind]
      const serving = now?.find((each) => each.upstream.name === upstream.name)
      if (!serving) return refused('upstream_not_allowed')
      models = serving.models
      return allowed(decided.value, serving, query.model)
    }
    const session = sessions.start({
      exchange,
      admitted,
      reserved,
      upstream: found.socket,
      charges: new ResponseCharges(parts, exchange, held),
      maxBytes,
      served: () => models,
      readmit() {
        const again = { ...arrival, target, exchange: { ...exchange, at: instant() } }
        const decided = admit(route.kinds, again, sent)
        return decided instanceof Promise ? decided.then(still) : still(decided)
      },
      opening,
    })
    if (admitted.policy.tellsUpstream) exchange.headers.set(UPSTREAM_HEADER, upstream.name)
    const answer = new Headers(exchange.headers)
    answer.delete('connection')
    if (offered.protocol !== undefined) answer.set('sec-websocket-protocol', offered.protocol)
    client.release()
    if (!parts.upgrade(request, { headers: answer, data: session })) session.abandon()
    // Bun has answered already.
    return new Response()
  }

  return async (arrival, request, served) => {
    const { exchange, idleSeconds } = arrival
    const visitor = await come(arrival, request, served)
    if (!visitor.ok) return answers.refuse(exchange, visitor)
    const { admitted, on, query } = visitor.value
    const slot = budget.reserve(admitted, exchange)
    if (!slot.ok) return answers.refuse(exchange, slot)
    const reserved = slot.value
    const client = new RelayClient(request, admittedIdleSeconds(idleSeconds), parts.setIdleTimeout)
    client.hold()
    try {
      const { model } = query
      const costly = model === undefined ? undefined : costOfOne(model)
      const asking = { host: '', route: NAMED, hasBody: true, sealed: false, model }
      const charge = charges.take(admitted, costly, on.breaker, asking, instant())
      if (!charge.ok) {
        client.release()
        reserved.release()
        const isUnnamed = model === undefined && charge.code === 'internal_error'
        return answers.refuse(exchange, isUnnamed ? UNNAMED : charge)
      }
      const { pass, ...held } = charge.value
      return await begin(arrival, request, client, visitor.value, { reserved, held }, pass)
    } catch (bug) {
      // A bug of ours must not keep the concurrency slot.
      reserved.release()
      throw bug
    }
  }
}

/** What of a request admission reads. As POST, since a session can change much: see admit/session.ts. */
const asSent = (headers: Headers): Request => ({ headers, method: 'POST' }) as Request

const NAME_MODEL =
  'this token is limited in models or spending, so the query must name a model: /v1/realtime?model=…'
const UNKNOWN_SECRET = refused('invalid_token', {
  reason: 'client secret',
  message: 'the client secret is unknown or has expired; ask for a new one',
})
const UNNAMED = refused('invalid_model', { message: NAME_MODEL, reason: 'missing_model' })
