// Admits the person who has signed in, and their programs: by the session's key in a header, or by the
// browser's cookie. Any page can make a browser send its cookies, so the cookie counts only if the request
// comes from our own page (Fetch Metadata, or Origin of RFC 6454 without it).

import type { Policy } from '../policy/policy.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { type Admitted, permitted } from './admitted.ts'
import { bearerToken } from './bearer.ts'
import { sentAuthorization } from './credentials.ts'
import { formerIdentities, type Identify } from '../token/identity.ts'

/** `method`: a cookie is trusted more for a request that changes nothing. */
export type AdmitSession = (headers: Headers, query: string, method?: string) => Decision<Admitted>

export interface SessionAdmissionOptions {
  /** The session of a key; `session_invalid` if there is none. */
  readonly find: (key: string) => Decision<{ readonly id: string }>
  /** The cookie's value, if there is exactly one. */
  readonly cookie: (headers: Headers) => string | undefined
  /** Whether the request comes from our own page, or from no page. */
  readonly ownPage: (headers: Headers, method: string) => boolean
  readonly identify: Identify
  /** The identities under former keys. */
  readonly former?: () => readonly Identify[]
  /** Read for each request; undefined if the gate has no policy for sessions. */
  readonly policy: Policy | undefined
}

/** Stands for the issuer in the identity of a session. */
const ISSUER = 'session'

export function sessionAdmission(options: SessionAdmissionOptions): AdmitSession {
  const { find, cookie, ownPage, identify } = options
  return (headers, query, method = 'GET') => {
    const sent = sentKey(headers, query)
    if (!sent.ok) return sent
    const key = sent.value ?? (ownPage(headers, method) ? cookie(headers) : undefined)
    if (key === undefined) return refused('missing_authorization', { message: HINT })
    const session = find(key)
    if (!session.ok) return session
    const { policy } = options
    if (!policy) return refused('policy_unknown')
    const { id } = session.value
    const former = formerIdentities(options.former?.() ?? [], ISSUER, id)
    return granted(permitted('session', sessionIdentity(identify, id), policy, { former }))
  }
}

export const sessionIdentity = (identify: Identify, id: string): string => identify(ISSUER, id)

const HINT = 'missing authorization; sign in at /auth/device or with postern login'

/** A credential in a header counts before a cookie, which browsers add by themselves. */
export function sentKey(headers: Headers, query: string): Decision<string | undefined> {
  const sent = sentAuthorization(headers, query)
  if (sent !== null && typeof sent !== 'string') return sent
  const key = bearerToken(sent, query)
  return !key.ok && key.code === 'missing_authorization' ? granted(undefined) : key
}
