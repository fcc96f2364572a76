// The one who has signed in, or a program of theirs: the session's key as `x-api-key` or Bearer, or
// the cookie that a browser holds. A browser sends a cookie whoever asks it to, so that one counts
// only where the page that asks is our own (Fetch Metadata, and RFC 6454 where there is none).

import type { Policy } from '../policy/policy.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { type Admitted, permitted } from './admitted.ts'
import { bearerToken } from './bearer.ts'
import { sentAuthorization } from './credentials.ts'
import { formerIdentities, type Identify } from '../token/identity.ts'

/** `method` decides how much of a cookie is believed: reading changes nothing. */
export type AdmitSession = (headers: Headers, query: string, method?: string) => Decision<Admitted>

export interface SessionAdmissionOptions {
  /** Whose key it is; `session_invalid` where it is nobody's. */
  readonly find: (key: string) => Decision<{ readonly id: string }>
  /** The cookie's value, where there is exactly one. */
  readonly cookie: (headers: Headers) => string | undefined
  /** Whether it is a page of ours that asks, or no page at all. */
  readonly ownPage: (headers: Headers, method: string) => boolean
  readonly identify: Identify
  /** By the keys of before. */
  readonly former?: () => readonly Identify[]
  /** As it is when it is read; undefined where the gate has none for a session. */
  readonly policy: Policy | undefined
}

/** The issuer of sessions, where identities are told apart by issuer. */
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

/** What was sent on purpose, before what a browser adds. */
export function sentKey(headers: Headers, query: string): Decision<string | undefined> {
  const sent = sentAuthorization(headers, query)
  if (sent !== null && typeof sent !== 'string') return sent
  const key = bearerToken(sent, query)
  return !key.ok && key.code === 'missing_authorization' ? granted(undefined) : key
}
