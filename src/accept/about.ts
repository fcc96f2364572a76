// `GET /device`: tells a caller about itself, by the credential of its requests.

import type { UserAdmission } from '../admit/admit.ts'
import { bearerToken } from '../admit/bearer.ts'
import { kindOfToken, sentAuthorization } from '../admit/credentials.ts'
import type { Charges } from '../budget/charge.ts'
import type { DeviceEnrollment } from '../enroll/enrollment.ts'
import type { CallerKind } from '../names.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Counters } from '../state/port.ts'
import { bareToken } from '../token/bare.ts'
import type { Answers } from './answers.ts'
import type { Arrival } from './arrival.ts'
import { routesFor } from './arrivals.ts'
import { callerAbout, type CredentialAbout, deviceAbout, userAbout } from './caller-about.ts'
import { type Admissions, NOT_ADMITTED } from './door.ts'

export interface AboutParts {
  readonly answers: Answers
  readonly counters: Counters
  readonly admissions: Admissions
  readonly charges: Pick<Charges, 'standing'>
  /** Absent in a gate without devices. */
  readonly enrollment: Pick<DeviceEnrollment, 'about'> | undefined
  /** Undefined if the key is unknown. */
  readonly aboutKey: (key: string) => CredentialAbout | undefined
  /** What a user's verified token says; absent in a gate without users. */
  readonly claimsOf: UserAdmission['enrolling'] | undefined
}

/** A limit for each caller, separate from its other limits and from that of its address. */
const ASKS = { perMinute: 60, burst: 60 }

export function aboutRoutes(parts: AboutParts) {
  const { answers, admissions, enrollment, aboutKey, claimsOf } = parts
  const asks = parts.counters.buckets(ASKS)

  /** `authorization` belongs to an admitted caller. */
  const credentialAbout = async (
    kind: CallerKind,
    authorization: string,
    { exchange, target }: Arrival,
  ): Promise<Decision<CredentialAbout>> => {
    const token = bearerToken(authorization, target.search.slice(1))
    if (!token.ok) return token
    switch (kind) {
      case 'session':
        return granted({})
      case 'key': {
        const about = aboutKey(bareToken(token.value))
        return about ? granted(about) : NOT_ADMITTED
      }
      case 'device': {
        if (!enrollment) return NOT_ADMITTED
        const about = await enrollment.about(token.value, exchange.at)
        return about.ok ? granted(deviceAbout(about.value)) : about
      }
      case 'user': {
        if (!claimsOf) return NOT_ADMITTED
        const query = target.search.slice(1)
        const user = await claimsOf({ authorization, query }, exchange.at)
        return user.ok ? granted(userAbout(user.value.claims)) : user
      }
    }
  }

  return routesFor('caller', 'anthropic').get(
    '/device',
    async ({ arrival, request }) => {
      const { exchange, target } = arrival
      const sent = sentAuthorization(request.headers, target.search.slice(1))
      if (sent !== null && typeof sent !== 'string') return answers.refuse(exchange, sent)
      const token = bearerToken(sent, target.search.slice(1))
      if (!token.ok) return answers.refuse(exchange, token)
      const admission = admissions[kindOfToken(token.value) ?? 'device']
      const admitted = await admission?.(sent, arrival, request)
      if (!admitted) return answers.refuse(exchange, refused('invalid_token'))
      if (!admitted.ok) return answers.refuse(exchange, admitted)
      const { identity, kind } = admitted.value
      exchange.identity = identity
      const counted = asks.take(identity, exchange.at.monotonicMs)
      if (!counted.allowed) {
        const { retryAfterSeconds } = counted
        return answers.refuse(exchange, refused('rate_limit_exceeded', { retryAfterSeconds }))
      }
      const about = await credentialAbout(kind, sent ?? '', arrival)
      if (!about.ok) return answers.refuse(exchange, about)
      // Every running device asks once a minute.
      exchange.silent = true
      const caps = parts.charges.standing(admitted.value, exchange.at)
      return answers.json(exchange, 200, callerAbout(admitted.value, about.value, caps))
    },
    { detail: { summary: "Returns the caller's own policy, caps and credential." } },
  )
}
