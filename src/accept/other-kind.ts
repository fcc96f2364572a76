// The refusal of a good credential on a route that takes another kind. "Invalid token" would make its
// owner search for a fault in it.

import type { CallerKind } from '../names.ts'
import { type Refusal, refused } from '../refusal.ts'
import type { Arrival } from './arrival.ts'
import { dialectOf } from './dialect.ts'

const ONE_MODEL = '/v1/models/:id'

const GOOD: Readonly<Record<CallerKind, string>> = {
  user: 'this token is good, but it is that of a user; this route takes',
  device: 'this token is good, but it is that of a device; this route takes',
  key: 'this API key is good, but this route takes',
  session: 'this session key is good, but this route takes',
}
const TAKEN: Readonly<Record<CallerKind, string>> = {
  user: "a user's token",
  device: "a device's token",
  key: 'an API key',
  session: 'a session key',
}
/** After "it is that of". */
const THAT: Readonly<Record<CallerKind, string>> = {
  ...TAKEN,
  user: 'that of a user',
  device: 'that of a device',
}
const REASON: Readonly<Record<CallerKind, string>> = {
  user: "is a user's",
  device: "is a device's",
  key: 'is a key',
  session: "is a session's",
}

/** `taken`: what the route takes. */
export function otherKind(
  kind: CallerKind,
  taken: readonly CallerKind[],
  { exchange }: Arrival,
  headers: Headers,
): Refusal {
  const reason = REASON[kind]
  if (kind === 'user' && exchange.route === ONE_MODEL) {
    exchange.dialect = dialectOf(headers) ?? 'openai'
    const message = 'no such route for the token of a user; GET /v1/models lists the models'
    return refused('not_found', { reason, message })
  }
  const words = kind === 'user' || kind === 'device' ? THAT : TAKEN
  const takes = taken.map((each) => words[each]).join(' or ')
  return refused('invalid_token', { reason, message: `${GOOD[kind]} ${takes}` })
}
