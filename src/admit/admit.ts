// Who is this, and may they? From headers to `Admitted`, or to a refusal. An `Admitted` can be made
// here alone, and nothing behind this folder works without one.

import { compactVerify } from 'jose'
import type { Instant } from '../instant.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { bearerToken } from './bearer.ts'
import { type ClaimRules, type Claims, checkClaims } from './claims.ts'
import type { Identify } from './identity.ts'
import type { KeySource } from './jwks.ts'
import { parseToken } from './token.ts'
import { type Verified, verifiedTokens } from './verified.ts'

declare const proof: unique symbol

export interface Admitted {
  readonly [proof]: true
  /** HMAC of issuer and subject, 64 hexadecimal digits; the subject itself goes no further. */
  readonly identity: string
}

/** The scope that every protected route asks for. */
export const SCOPE = 'inference'

/** `keys_unavailable` is asked again after this long: the key source tries on its own. */
const KEYS_RETRY_SECONDS = 5

export interface Credentials {
  readonly authorization: string | null
  /** The raw query, without its `?`. */
  readonly query: string
}

export type Admit = (credentials: Credentials, now: Instant) => Promise<Decision<Admitted>>

export function admission(keys: KeySource, rules: ClaimRules, identify: Identify): Admit {
  const tokens = verifiedTokens(keys)

  const verify = async (token: string, now: Instant): Promise<Decision<Verified>> => {
    const parsed = parseToken(token)
    if (!parsed.ok) return refused('invalid_token', { reason: parsed.reason })
    const key = await keys.lookup(parsed.value.kid, now.monotonicMs)
    if (!key.ok && key.code === 'keys_unavailable') {
      return refused('keys_unavailable', { retryAfterSeconds: KEYS_RETRY_SECONDS })
    }
    if (!key.ok) return refused('invalid_token', { reason: 'kid is unknown' })
    try {
      await compactVerify(token, key.value.key, { algorithms: ['ES256'] })
    } catch {
      return refused('invalid_token', { reason: 'signature is wrong' })
    }
    const checked = checkClaims(parsed.value.claims, rules, now.epochSeconds)
    if (!checked.ok) {
      const { expired, reason } = checked
      return refused(expired ? 'token_expired' : 'invalid_token', { reason })
    }
    const claims = checked.value
    const identity = identify(claims.issuer, claims.subject)
    const verified = { claims, key: key.value, identity }
    tokens.remember(token, verified)
    return granted(verified)
  }

  return async ({ authorization, query }, now) => {
    const bearer = bearerToken(authorization, query)
    if (!bearer.ok) return bearer
    const known = tokens.recall(bearer.value, now)
    if (known) return permit(known.claims, known.identity)
    const verified = await verify(bearer.value, now)
    if (!verified.ok) return verified
    return permit(verified.value.claims, verified.value.identity)
  }
}

function permit(claims: Claims, identity: string): Decision<Admitted> {
  if (!claims.scopes.has(SCOPE)) return refused('insufficient_scope')
  return granted({ identity } as Admitted)
}
