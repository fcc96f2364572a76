// A good token at a route that takes another kind of it. "Invalid token" would send its owner looking
// for a fault that it does not have.

import type { UserAdmission } from '../admit/admit.ts'
import type { Admitted } from '../admit/admitted.ts'
import type { AdmitDevice } from '../admit/device.ts'
import { type Decision, type Refusal, refused } from '../refusal.ts'
import type { Arrival } from './arrival.ts'
import { dialectOf } from './dialect.ts'

export interface Admissions {
  readonly admitUser: UserAdmission['admit'] | undefined
  readonly admitDevice: AdmitDevice | undefined
}

const ONE_MODEL = '/v1/models/:id'

/** Asked once a route's own admission has found the token invalid: what it is instead. */
export async function otherKind(
  refusal: Refusal,
  arrival: Arrival,
  headers: Headers,
  { admitUser, admitDevice }: Admissions,
): Promise<Decision<Admitted>> {
  const authorization = headers.get('authorization')
  if (refusal.code !== 'invalid_token' || authorization === null) return refusal
  const { exchange, target, route } = arrival
  const sent = { authorization, query: target.search.slice(1) }
  if (route?.access === 'device') {
    const user = await admitUser?.(sent, exchange.at)
    if (!isKnown(user)) return refusal
    if (exchange.route === ONE_MODEL) {
      exchange.dialect = dialectOf(headers) ?? 'openai'
      return refused('not_found', {
        reason: "is a user's",
        message: 'no such route for the token of a user; GET /v1/models lists the models',
      })
    }
    return refused('invalid_token', {
      reason: "is a user's",
      message: 'this token is good, but it is that of a user; this route takes that of a device',
    })
  }
  const device = await admitDevice?.({ ...sent, apiKey: null }, exchange.at)
  if (!isKnown(device)) return refusal
  return device?.ok && device.value.kind === 'key'
    ? refused('invalid_token', {
        reason: 'is a key',
        message: "this API key is good, but this route takes a user's token",
      })
    : refused('invalid_token', {
        reason: "is a device's",
        message: 'this token is good, but it is that of a device; this route takes that of a user',
      })
}

/** Genuine, whatever it may do. */
const isKnown = (admitted: Decision<Admitted> | undefined): boolean =>
  admitted !== undefined && (admitted.ok || admitted.code === 'insufficient_scope')
