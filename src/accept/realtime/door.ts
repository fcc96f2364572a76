// The door to a realtime session: everything that admits a request to a relayed route admits the handshake
// of a WebSocket, and refuses it by an HTTP response. The upstream's handshake comes first, so that the
// client's is answered only if there is somebody to talk to.

import type { Budget, Reserved } from '../../budget/budget.ts'
import type { Charge, Charges } from '../../budget/charge.ts'
import type { Exchange } from '../../exchange.ts'
import { bounded } from '../../policy/allows.ts'
import type { Handshaken, ShakeHands } from '../../realtime/handshaking.ts'
import { type ChargingParts, ResponseCharges } from '../../realtime/response-charges.ts'
import { costOfOne } from '../../realtime/session-cost.ts'
import type { RealtimeSession } from '../../realtime/session.ts'
import type { RealtimeSessions } from '../../realtime/sessions.ts'
import { type Decision, granted, refusalResponse, refused, statusOf } from '../../refusal.ts'
import { RelayClient, type SetIdleTimeout } from '../../relay/client.ts'
import { NOTHING_OWED } from '../../settle/bill.ts'
import { instant } from '../../turn/instant.ts'
import type { KeyRefused } from '../../upstream/key-refused.ts'
import type { Answers } from '../answers.ts'
import type { Arrival } from '../arrival.ts'
import { UPSTREAM_HEADER } from '../cors.ts'
import { admittedIdleSeconds } from '../keep-alive.ts'
import type { RealtimeDoors } from './route.ts'
import { MAX_MESSAGE_BYTES } from './sockets.ts'
import { NAME_MODEL, visiting, type VisitingParts, type Visitor } from './visiting.ts'

export type Upgrade = (
  request: Request,
  options: { readonly headers: Headers; readonly data: RealtimeSession },
) => boolean

export interface RealtimeParts extends VisitingParts, ChargingParts {
  readonly answers: Answers
  readonly budget: Budget
  readonly charges: Charges
  readonly shakeHands: ShakeHands
  readonly sessions: RealtimeSessions
  readonly keyRefused: KeyRefused
  readonly setIdleTimeout: SetIdleTimeout
  readonly upgrade: Upgrade
}

/** What is held for a visitor until there is a session. */
interface Taken {
  readonly reserved: Reserved
  readonly charge: Charge
}

const NAMED = 'GET /v1/realtime'

export function realtimeDoor(parts: RealtimeParts): RealtimeDoors['open'] {
  const { answers, budget, charges, settle, sessions, keyRefused } = parts
  const { visit, again } = visiting(parts)

  const take = (
    { admitted, on, query: { model } }: Visitor,
    exchange: Exchange,
  ): Decision<Taken> => {
    const slot = budget.reserve(admitted, exchange)
    if (!slot.ok) return slot
    const costly = model === undefined ? undefined : costOfOne(model)
    const asking = { host: '', route: NAMED, hasBody: true, sealed: false, model }
    const charge = charges.take(admitted, costly, on.breaker, asking, instant())
    if (charge.ok) return granted({ reserved: slot.value, charge: charge.value })
    slot.value.release()
    return model === undefined && charge.code === 'internal_error' ? UNNAMED : charge
  }

  const shake = async (
    { exchange }: Arrival,
    request: Request,
    { admitted, on: { upstream }, query, offered, headers, route }: Visitor,
    { pass }: Charge,
  ): Promise<Handshaken> => {
    const { identity } = admitted
    const asked = { method: 'GET', path: route.path, search: query.search, sealed: false, identity }
    const to = await upstream.destination(asked, exchange.at.monotonicMs)
    if (!to.ok) {
      pass.report('neutral', performance.now())
      return { ok: false, refusal: to, end: 'refused' }
    }
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
        if (signal.aborted) leave()
      },
    })
    // The signal of a request that was upgraded fires at the end of its WebSocket.
    signal.removeEventListener('abort', leave)
    return found
  }

  const refuse = (
    exchange: Exchange,
    request: Request,
    { on: { upstream } }: Visitor,
    { refusal, end, passes, keyStatus }: Extract<Handshaken, { ok: false }>,
  ): Response => {
    if (keyStatus !== undefined) keyRefused(upstream, keyStatus, performance.now())
    if (request.signal.aborted) return answers.left(exchange, refusal)
    const { headers } = exchange
    exchange.status = passes?.status ?? statusOf(refusal)
    if (passes) {
      exchange.bytesOut = passes.body.byteLength
      passes.to(headers)
      settle(exchange, 'complete', NOTHING_OWED)
      return new Response(passes.body, { status: passes.status, headers })
    }
    exchange.code = refusal.code
    if (refusal.reason !== undefined) exchange.reason = refusal.reason
    settle(exchange, end, NOTHING_OWED)
    return refusalResponse(refusal, exchange)
  }

  const begin = (
    arrival: Arrival,
    request: Request,
    visitor: Visitor,
    { reserved, charge }: Taken,
    { socket: upstream, echo }: Extract<Handshaken, { ok: true }>,
  ): Response => {
    const { exchange } = arrival
    const { admitted, on, offered, opening, isBound } = visitor
    exchange.headersMs = performance.now() - exchange.at.monotonicMs
    const session = sessions.start({
      exchange,
      admitted,
      reserved,
      upstream,
      echo,
      charges: new ResponseCharges(parts, exchange, charge),
      maxBytes: largestMessage(visitor),
      models: on.models,
      readmit: () => again(visitor, arrival),
      opening,
      isBound,
    })
    if (admitted.policy.tellsUpstream) exchange.headers.set(UPSTREAM_HEADER, on.upstream.name)
    const headers = new Headers(exchange.headers)
    headers.delete('connection')
    // Without a value Bun answers what was offered first, which may be the credential.
    headers.set('sec-websocket-protocol', offered.protocol ?? '')
    // If Bun has answered, it ignores this response.
    if (parts.upgrade(request, { headers, data: session })) return new Response()
    session.abandon()
    return refusalResponse(NO_UPGRADE, exchange)
  }

  return async (arrival, request, served) => {
    const { exchange, idleSeconds } = arrival
    const visitor = await visit(arrival, request, served)
    if (!visitor.ok) return answers.refuse(exchange, visitor)
    const taken = take(visitor.value, exchange)
    if (!taken.ok) return answers.refuse(exchange, taken)
    const { reserved, charge } = taken.value
    const client = new RelayClient(request, admittedIdleSeconds(idleSeconds), parts.setIdleTimeout)
    client.hold()
    const release = (): void => {
      client.release()
      charge.reservation?.release()
      reserved.release()
    }
    try {
      const found = await shake(arrival, request, visitor.value, charge)
      if (found.ok) {
        client.release()
        return begin(arrival, request, visitor.value, taken.value, found)
      }
      release()
      return refuse(exchange, request, visitor.value, found)
    } catch (bug) {
      // A bug of ours must not keep the concurrency slot.
      release()
      throw bug
    }
  }
}

/** As of a body of this length. */
function largestMessage({ admitted: { policy }, on: { upstream } }: Visitor): number {
  const sizes = upstream.inspect(NO_HEADERS, true)
  return sizes.ok ? Math.min(MAX_MESSAGE_BYTES, bounded(policy, sizes.value).maxBytes) : 0
}

const NO_HEADERS = new Headers()
const NO_UPGRADE = refused('bad_request', { reason: 'no upgrade' })
const UNNAMED = refused('invalid_model', { message: NAME_MODEL, reason: 'missing_model' })
