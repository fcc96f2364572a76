// Who opens a realtime session, and where it may go: everything that is decided before a slot is taken. The
// same is asked again while the session lasts.

import type { Admitted } from '../../admit/admitted.ts'
import { modelNotAllowed } from '../../budget/refusals.ts'
import type { Served } from '../../dispatch/choose.ts'
import type { Exchange } from '../../exchange.ts'
import { allows } from '../../policy/allows.ts'
import {
  type ClientSecret,
  type ClientSecrets,
  isClientSecret,
} from '../../realtime/client-secrets.ts'
import { type Decision, granted, refused } from '../../refusal.ts'
import { allowedModel } from '../../token/model-pattern.ts'
import { instant } from '../../turn/instant.ts'
import { asksForWebSocket } from '../../websocket/handshake.ts'
import { type Arrival, routed } from '../arrival.ts'
import { choosing, type ChoosingParts } from '../choosing.ts'
import type { Cors } from '../cors.ts'
import { door } from '../door.ts'
import { entering, type EnteringParts } from '../entering.ts'
import type { ServedRoute } from '../routes.ts'
import { headersWith, offeredIn, type OfferedProtocols } from './offered.ts'
import { realtimeQuery, type RealtimeQuery } from './query.ts'

export interface VisitingParts extends EnteringParts, ChoosingParts {
  readonly cors: Pick<Cors, 'welcomes'>
  readonly secrets: Pick<ClientSecrets, 'find'>
  /** As the upstreams are by now; undefined if none serves the route any more. */
  readonly servedNow: () => ServedRoute | undefined
}

/** A client that was let in, and where it may go. */
export interface Visitor {
  readonly admitted: Admitted
  readonly on: Served
  readonly query: RealtimeQuery
  readonly offered: OfferedProtocols
  /** With the credential in its usual place. */
  readonly headers: Headers
  readonly route: ServedRoute
  /** The event that begins the session. */
  readonly opening: string | undefined
  /** Its client secret is for the model alone. */
  readonly isBound: boolean
}

/** What is decided about a visitor by now. */
export interface StillAdmitted {
  readonly admitted: Admitted
  /** With the models that its upstream serves now. */
  readonly on: Served
}

export interface Visiting {
  visit(arrival: Arrival, request: Request, served: ServedRoute): Promise<Decision<Visitor>>
  /** Returns a promise only if the admission does. */
  again(
    visitor: Visitor,
    arrival: Arrival,
  ): Decision<StillAdmitted> | Promise<Decision<StillAdmitted>>
}

export function visiting(parts: VisitingParts): Visiting {
  const { secrets, cors, servedNow } = parts
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

  const visit = async (
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
      isBound: secret.value?.model !== undefined,
    })
  }

  const still = (
    decided: Decision<Admitted>,
    { on: { upstream }, query }: Visitor,
  ): Decision<StillAdmitted> => {
    if (!decided.ok) return decided
    const now = servedNow()?.choices[decided.value.kind]
    const on = now?.find((each) => each.upstream.name === upstream.name)
    if (!on) return refused('upstream_not_allowed')
    const may = allowed(decided.value, on, query.model)
    return may.ok ? granted({ admitted: may.value, on }) : may
  }

  return {
    visit,
    again(visitor, arrival) {
      const now = { ...arrival, exchange: { ...arrival.exchange, at: instant() } }
      const decided = admit(visitor.route.kinds, now, asSent(visitor.headers))
      return decided instanceof Promise
        ? decided.then((found) => still(found, visitor))
        : still(decided, visitor)
    },
  }
}

/** What of a request admission reads. As POST, since a session can change much: see admit/session.ts. */
const asSent = (headers: Headers): Request => ({ headers, method: 'POST' }) as Request

export const NAME_MODEL =
  'this token is limited in models or spending, so the query must name a model: /v1/realtime?model=…'
const UNKNOWN_SECRET = refused('invalid_token', {
  reason: 'client secret',
  message: 'the client secret is unknown or has expired; ask for a new one',
})
