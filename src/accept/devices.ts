// The other door: a device enrols, and comes back for its next token before the present one ends.

import { Elysia } from 'elysia'
import type { UserAdmission } from '../admit/admit.ts'
import { bearerToken } from '../admit/bearer.ts'
import { deviceToken } from '../admit/device.ts'
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
import { ROUTES } from './routes.ts'

export interface DeviceParts {
  readonly answers: Answers
  readonly enrollment: DeviceEnrollment
  readonly policy: () => BootstrapPolicy
  /** Under the policy `jwt`. */
  readonly enrollingUser: UserAdmission['enrolling'] | undefined
  readonly addressKey: AddressKey
  readonly countAddress: CountAddress
  readonly bodyTimeoutMs: () => number
}

export function deviceRoutes(parts: DeviceParts) {
  const { answers, enrollment, enrollingUser, addressKey, countAddress } = parts

  /** What the caller shows for itself, by the policy that is set. */
  const contextOf = async (
    { exchange, target }: Arrival,
    request: Request,
    server: Peer | null,
  ): Promise<Decision<BootstrapContext>> => {
    const base = { addressKey: addressOf(addressKey, request, server) }
    const authorization = request.headers.get('authorization')
    const query = target.search.slice(1)
    const policy = parts.policy()
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
}

export type DeviceRoutes = ReturnType<typeof deviceRoutes>
