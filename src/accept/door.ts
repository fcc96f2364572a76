// Identifies the caller of a relayed route. The settings decide which kinds of callers reach a route; each is
// admitted by its credential, in whichever header it is.

import type { CallerKind } from '../names.ts'
import type { Admitted } from '../admit/admitted.ts'
import { bearerToken } from '../admit/bearer.ts'
import { kindOfToken, sentAuthorization } from '../admit/credentials.ts'
import { type Decision, type Refusal, refused } from '../refusal.ts'
import type { Arrival } from './arrival.ts'
import { otherKind } from './other-kind.ts'

/** `authorization`: the one credential that was sent, in that header's form; null if none was sent. */
export type Admission = (
  authorization: string | null,
  arrival: Arrival,
  request: Request,
) => Decision<Admitted> | Promise<Decision<Admitted>>

/** Undefined for a kind that this gate does not admit. */
export type Admissions = Readonly<Record<CallerKind, Admission | undefined>>

/** For a route whose credentials nobody can check, which is a bug. */
export const NOT_ADMITTED = refused('internal_error', { reason: 'route without admission' })

/** `kinds`: the kinds of callers that reach an upstream on the route. */
export interface Door {
  /** Returns a promise only if the admission does. */
  admit(kinds: readonly CallerKind[], arrival: Arrival, request: Request): ReturnType<Admission>
  /** Refines an `invalid_token`: the credential may be good, but of a kind that the route refuses. */
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
 * A route for users only uses `Authorization` and ignores `x-api-key`: clients of OpenAI's API may send one
 * that is for somebody else.
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

/** Valid, whether or not it has the scope. */
const isGenuine = (admitted: Decision<Admitted> | undefined): boolean =>
  admitted !== undefined && (admitted.ok || admitted.code === 'insufficient_scope')
