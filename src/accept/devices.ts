// The other door: a device enrols, and comes back for its next token before the present one ends.

import { Elysia } from 'elysia'
import type { UserAdmission } from '../admit/admit.ts'
import { bearerToken } from '../admit/bearer.ts'
import { type AdmitDevice, deviceToken } from '../admit/device.ts'
import type { Counters } from '../state/port.ts'
import type { Charges } from '../budget/charge.ts'
import { readBounded } from '../dispatch/body.ts'
import {
  type BootstrapContext,
  type BootstrapPolicy,
  MAX_BOOTSTRAP_BODY_BYTES,
  parseBootstrap,
} from '../enroll/bootstrap.ts'
import type { DeviceEnrollment } from '../enroll/enrollment.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { AddressKey } from './address.ts'
import type { Answers } from './answers.ts'
import type { Arrival } from './arrival.ts'
import { arrivals } from './arrivals.ts'
import { addressOf, type CountAddress, type Peer } from './count-address.ts'
import { aboutDevice } from './device-about.ts'
import { ROUTES } from './routes.ts'

export interface DeviceParts {
  readonly answers: Answers
  readonly counters: Counters
  readonly enrollment: DeviceEnrollment
  readonly policy: BootstrapPolicy
  /** Under the policy `jwt`. */
  readonly enrollingUser: UserAdmission['enrolling'] | undefined
  readonly addressKey: AddressKey
  readonly countAddress: CountAddress
  readonly bodyTimeoutMs: () => number
  readonly admitDevice: AdmitDevice
  /** Where there are users: only to tell one of them what the matter is. */
  readonly admitUser?: UserAdmission['admit'] | undefined
  readonly charges: Pick<Charges, 'standing'>
}

/** Of `GET /device`, for each device: apart from what its requests may cost, and from its address. */
const ASKS = { perMinute: 60, burst: 60 }

const A_KEY = refused('invalid_token', {
  reason: 'is a key',
  message: 'this is an API key, and GET /device answers to the token of a device',
})
const A_USER = "this is a user's token, and GET /device answers to the token of a device"

export function deviceRoutes(parts: DeviceParts) {
  const { answers, enrollment, policy, enrollingUser, addressKey, countAddress } = parts
  const asks = parts.counters.buckets(ASKS)

  /** What the caller shows for itself, by the policy that is set. */
  const contextOf = async (
    { exchange, target }: Arrival,
    request: Request,
    server: Peer | null,
  ): Promise<Decision<BootstrapContext>> => {
    const base = { addressKey: addressOf(addressKey, request, server) }
    const authorization = request.headers.get('authorization')
    const query = target.search.slice(1)
    if (policy === 'jwt' && enrollingUser) {
      if (authorization === null) return refused('enrollment_required')
      const user = await enrollingUser({ authorization, query }, exchange.at)
      return user.ok ? granted({ ...base, credential: undefined, user: user.value }) : user
    }
    if (policy !== 'code' || authorization === null) {
      return granted({ ...base, credential: undefined, user: undefined })
    }
    const code = bearerToken(authorization, query)
    return code.ok ? granted({ ...base, credential: code.value, user: undefined }) : code
  }

  return new Elysia({ name: 'devices' })
    .use(arrivals)
    .post(
      ROUTES.bootstrap.path,
      async ({ arrival, request, server }) => {
        const { exchange } = arrival
        const counted = countAddress(exchange, request, server)
        if (!counted.ok) return answers.refuse(exchange, counted)
        const body = await readBounded(request, MAX_BOOTSTRAP_BODY_BYTES, parts.bodyTimeoutMs())
        if (!body.ok) return answers.refuse(exchange, body)
        exchange.bytesIn = body.value.byteLength
        const asked = parseBootstrap(Buffer.from(body.value).toString('utf8'))
        if (!asked.ok) return answers.refuse(exchange, asked)
        const context = await contextOf(arrival, request, server)
        if (!context.ok) return answers.refuse(exchange, context)
        const minted = await enrollment.bootstrap(asked.value, context.value, exchange.at)
        return minted.ok
          ? answers.json(exchange, 200, minted.value)
          : answers.refuse(exchange, minted)
      },
      { parse: 'none' },
    )
    .post(
      ROUTES.refresh.path,
      async ({ arrival: { exchange, target }, request, server }) => {
        const counted = countAddress(exchange, request, server)
        if (!counted.ok) return answers.refuse(exchange, counted)
        const token = deviceToken({
          authorization: request.headers.get('authorization'),
          apiKey: request.headers.get('x-api-key'),
          query: target.search.slice(1),
        })
        if (!token.ok) return answers.refuse(exchange, token)
        const minted = await enrollment.refresh(token.value, exchange.at)
        return minted.ok
          ? answers.json(exchange, 200, minted.value)
          : answers.refuse(exchange, minted)
      },
      { parse: 'none' },
    )
    .get(ROUTES.device.path, async ({ arrival: { exchange, target }, request }) => {
      const sent = {
        authorization: request.headers.get('authorization'),
        apiKey: request.headers.get('x-api-key'),
        query: target.search.slice(1),
      }
      const token = deviceToken(sent)
      if (!token.ok) return answers.refuse(exchange, token)
      const admitted = await parts.admitDevice(sent, exchange.at)
      if (!admitted.ok) {
        const user =
          admitted.code === 'invalid_token' && (await parts.admitUser?.(sent, exchange.at))
        return answers.refuse(
          exchange,
          user && user.ok ? { ...admitted, message: A_USER } : admitted,
        )
      }
      exchange.identity = admitted.value.identity
      if (admitted.value.kind === 'key') return answers.refuse(exchange, A_KEY)
      const counted = asks.take(admitted.value.identity, exchange.at.monotonicMs)
      if (!counted.allowed) {
        const { retryAfterSeconds } = counted
        return answers.refuse(exchange, refused('rate_limit_exceeded', { retryAfterSeconds }))
      }
      const about = await enrollment.about(token.value, exchange.at)
      if (!about.ok) return answers.refuse(exchange, about)
      // Asked once a minute by each device that runs.
      exchange.silent = true
      const caps = parts.charges.standing(admitted.value, exchange.at)
      return answers.json(exchange, 200, aboutDevice(about.value, admitted.value.policy, caps))
    })
}

export type DeviceRoutes = ReturnType<typeof deviceRoutes>
