// `POST /v1/realtime/client_secrets`: a caller gets a secret of this gate's for a browser. What the caller
// may not do, nobody can do with it.

import type { Admitted } from '../../admit/admitted.ts'
import { sentAuthorization } from '../../admit/credentials.ts'
import { modelNotAllowed } from '../../budget/refusals.ts'
import type { ClientSecrets } from '../../realtime/client-secrets.ts'
import { type Decision, refused } from '../../refusal.ts'
import { Secret } from '../../secret.ts'
import { allowedModel } from '../../token/model-pattern.ts'
import type { Answers } from '../answers.ts'
import type { Arrival } from '../arrival.ts'
import { choosing, type ChoosingParts } from '../choosing.ts'
import { entering, type EnteringParts } from '../entering.ts'
import type { ServedRoute } from '../routes.ts'
import { readSmallBody } from '../small-body.ts'
import { secretRequest, type SecretRequest } from './secret-body.ts'

export interface MintParts extends EnteringParts, ChoosingParts {
  readonly answers: Answers
  readonly secrets: ClientSecrets
  readonly bodyTimeoutMs: () => number
}

const MAX_BODY_BYTES = 65_536

export function minting(parts: MintParts) {
  const { answers, secrets, bodyTimeoutMs } = parts
  const enter = entering(parts)
  const choose = choosing(parts)

  const mint = async (
    arrival: Arrival,
    request: Request,
    served: ServedRoute,
  ): Promise<Decision<Uint8Array>> => {
    const { exchange } = arrival
    const entered = await enter([served], arrival, request)
    if (!entered.ok) return entered
    const { admitted, relayed } = entered.value
    const authorization = sentAuthorization(request.headers, '')
    // A cookie is no credential that could be kept.
    if (typeof authorization !== 'string') return authorization ?? refused('missing_authorization')
    const bounds = { maxBytes: MAX_BODY_BYTES, timeoutMs: bodyTimeoutMs }
    const body = await readSmallBody(arrival, request, bounds)
    if (!body.ok) return body
    const asked = secretRequest(body.value)
    if (!asked.ok) return asked
    const may = await mayUse(arrival, request, relayed, admitted, asked.value)
    if (!may.ok) return may
    const now = exchange.at.epochSeconds
    const expiresAtSeconds = Math.floor(now) + asked.value.lifetimeSeconds
    const { model, opening, session } = asked.value
    const { identity } = admitted
    const kept = { identity, authorization: new Secret(authorization), model, opening }
    const value = secrets.add({ ...kept, expiresAtSeconds }, now)
    if (!value.ok) return value
    const id = `sess_${Bun.randomUUIDv7().replaceAll('-', '')}`
    const answer = {
      value: value.value,
      expires_at: expiresAtSeconds,
      session: { ...session, object: 'realtime.session', id },
    }
    return { ok: true, value: Buffer.from(JSON.stringify(answer)) }
  }

  /** What a connection would be refused for is told here. */
  const mayUse = async (
    { exchange }: Arrival,
    request: Request,
    { path, group, choices }: ServedRoute,
    admitted: Admitted,
    { model }: SecretRequest,
  ): Promise<Decision<unknown>> => {
    const named = { request, path, hasBody: false, isOwned: false, model, group, lists: undefined }
    const chosen = await choose(choices, admitted, named, exchange)
    if (!chosen.ok) return chosen
    exchange.model = model
    exchange.upstream = chosen.value.on.upstream.name
    const { models } = admitted.policy
    return model !== undefined && models && !allowedModel(model, models)
      ? modelNotAllowed(model, models)
      : chosen
  }

  return async (arrival: Arrival, request: Request, served: ServedRoute): Promise<Response> => {
    const { exchange } = arrival
    const made = await mint(arrival, request, served)
    if (!made.ok) return answers.refuse(exchange, made)
    exchange.headers.set('cache-control', 'no-store')
    return answers.free(exchange, made.value)
  }
}
