// Who comes in on a relayed route. The table of upstreams says which kinds of callers may; any kind is
// admitted on any route that the table opens to it, in whichever header its credential came.

import type { CallerKind } from '../names.ts'
import type { Admitted } from '../admit/admitted.ts'
import { bearerToken } from '../admit/bearer.ts'
import { kindOfToken, sentAuthorization } from '../admit/credentials.ts'
import { type Decision, type Refusal, refused } from '../refusal.ts'
import type { Arrival } from './arrival.ts'
import { otherKind } from './other-kind.ts'

/** `authorization`: the one credential that was sent, as that header has it; null where none was. */
export type Admission = (
  authorization: string | null,
  arrival: Arrival,
  request: Request,
) => Decision<Admitted> | Promise<Decision<Admitted>>

/** Undefined where nobody of a kind can come. */
export type Admissions = Readonly<Record<CallerKind, Admission | undefined>>

/** No route is served whose credentials nobody can check. */
export const NOT_ADMITTED = refused('internal_error', { reason: 'route without admission' })

/** `kinds`: those that reach anything on the route. */
export interface Door {
  /** Without a promise where the admission itself has none. */
  admit(kinds: readonly CallerKind[], arrival: Arrival, request: Request): ReturnType<Admission>
  /** Of what was refused as invalid: a good credential of a kind that the route does not take. */
  explain(
    refusal: Refusal,
    kinds: readonly CallerKind[],
    arrival: Arrival,
    request: Request,
  ): Promise<Refusal>
}

export function door(admissions: Admissions): Door {
  const admissionOf = (
    kinds: readonly CallerKind[],
    authorization: string | null,
  ): Admission | undefined => {
    const [first] = kinds
    if (first === undefined || kinds.length === 1) return first && admissions[first]
    // A browser sends a session's cookie and no header.
    const sent = authorization === null ? 'session' : kindSent(authorization)
    return admissions[sent !== undefined && kinds.includes(sent) ? sent : first]
  }

  return {
    admit(kinds, arrival, request) {
      const sent = credential(kinds, arrival, request)
      if (sent !== null && typeof sent !== 'string') return sent
      return admissionOf(kinds, sent)?.(sent, arrival, request) ?? NOT_ADMITTED
    },
    async explain(refusal, kinds, arrival, request) {
      const sent = credential(kinds, arrival, request)
      if (typeof sent !== 'string') return refusal
      const kind = kindSent(sent)
      if (kind === undefined || kinds.includes(kind)) return refusal
      const admitted = await admissions[kind]?.(sent, arrival, request)
      return isGenuine(admitted) ? otherKind(kind, kinds, arrival, request.headers) : refusal
    },
  }
}

/**
 * Where users alone come, `Authorization` decides alone, as it always has: clients of OpenAI's API
 * may carry an `x-api-key` that means somebody else.
 */
function credential(
  kinds: readonly CallerKind[],
  { target }: Arrival,
  { headers }: Request,
): ReturnType<typeof sentAuthorization> {
  const usersAlone = kinds.length === 1 && kinds[0] === 'user'
  const authorization = usersAlone ? headers.get('authorization') : null
  return authorization ?? sentAuthorization(headers, target.search.slice(1))
}

function kindSent(authorization: string): CallerKind | undefined {
  const token = bearerToken(authorization, '')
  return token.ok ? kindOfToken(token.value) : undefined
}

/** Whatever it may do. */
const isGenuine = (admitted: Decision<Admitted> | undefined): boolean =>
  admitted !== undefined && (admitted.ok || admitted.code === 'insufficient_scope')
