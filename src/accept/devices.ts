// A device enrols (`/bootstrap`), and gets its next token before the current one expires (`/refresh`).

import type { UserAdmission } from '../admit/admit.ts'
import { bearerToken } from '../admit/bearer.ts'
import { deviceToken } from '../admit/device.ts'
import type { BootstrapContext, BootstrapPolicy } from '../enroll/bootstrap.ts'
import type { DeviceEnrollment } from '../enroll/enrollment.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { AddressKey } from './address.ts'
import type { Answers } from './answers.ts'
import type { Arrival } from './arrival.ts'
import { routesFor } from './arrivals.ts'
import { bearerOfHeader, sentCredentials } from './bearer.ts'
import { BOOTSTRAP_BODY, bootstrapRequest, MAX_BOOTSTRAP_BODY_BYTES } from './bootstrap-body.ts'
import { addressOf, type CountAddress } from './count-address.ts'
import { counted } from './counted.ts'
import { jsonBody } from './small-body.ts'

export interface DeviceParts {
  readonly answers: Answers
  readonly enrollment: DeviceEnrollment
  readonly policy: () => BootstrapPolicy
  /** For the policy `jwt`. */
  readonly enrollingUser: UserAdmission['enrolling'] | undefined
  readonly addressKey: AddressKey
  readonly countAddress: CountAddress
  readonly bodyTimeoutMs: () => number
}

export function deviceRoutes(parts: DeviceParts) {
  const { answers, enrollment, countAddress, bodyTimeoutMs } = parts
  const contextOf = contexts(parts)
  const bounds = { maxBytes: MAX_BOOTSTRAP_BODY_BYTES, timeoutMs: bodyTimeoutMs }

  return routesFor('public', 'anthropic').group('', (enrolment) =>
    enrolment
      .use(bearerOfHeader)
      .derive(counted(answers, countAddress))
      .post(
        '/refresh',
        async ({ arrival, bearer, request }) => {
          const { exchange } = arrival
          const token = deviceToken(sentCredentials(arrival, request, bearer))
          if (!token.ok) return answers.refuse(exchange, token)
          const minted = await enrollment.refresh(token.value, exchange.at)
          return minted.ok
            ? answers.json(exchange, 200, minted.value)
            : answers.refuse(exchange, minted)
        },
        {
          parse: 'none',
          detail: { summary: "Returns a device's next token for its current one." },
        },
      )
      .use(jsonBody(answers, bounds))
      .post(
        '/bootstrap',
        async ({ arrival, bearer, body, request }) => {
          const { exchange } = arrival
          const context = await contextOf(arrival, request, bearer)
          if (!context.ok) return answers.refuse(exchange, context)
          const asked = bootstrapRequest(body)
          const minted = await enrollment.bootstrap(asked, context.value, exchange.at)
          return minted.ok
            ? answers.json(exchange, 200, minted.value)
            : answers.refuse(exchange, minted)
        },
        { body: BOOTSTRAP_BODY, detail: { summary: 'Enrols a device and returns its token.' } },
      ),
  )
}

/** The credentials for an enrolment, by the configured policy. */
function contexts({ policy, enrollingUser, addressKey }: DeviceParts) {
  return async (
    arrival: Arrival,
    request: Request,
    bearer: string | undefined,
  ): Promise<Decision<BootstrapContext>> => {
    const base = { addressKey: addressOf(addressKey, request, arrival.server) }
    const { authorization, query } = sentCredentials(arrival, request, bearer)
    const now = policy()
    if (now === 'jwt' && enrollingUser) {
      if (authorization === null) return refused('enrollment_required')
      const user = await enrollingUser({ authorization, query }, arrival.exchange.at)
      return user.ok ? granted({ ...base, credential: undefined, user: user.value }) : user
    }
    if (now !== 'code' || authorization === null) {
      return granted({ ...base, credential: undefined, user: undefined })
    }
    const code = bearerToken(authorization, query)
    return code.ok ? granted({ ...base, credential: code.value, user: undefined }) : code
  }
}

export type DeviceRoutes = ReturnType<typeof deviceRoutes>
