// A user of the identity provider: who is this, and may they? From headers to `Admitted`, or to a
// refusal.

import { compactVerify } from 'jose'
import type { EnrollingUser } from '../enroll/bootstrap.ts'
import type { Instant } from '../turn/instant.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { type Admitted, permitted } from './admitted.ts'
import { bearerToken } from './bearer.ts'
import { type ClaimRules, checkClaims } from './claims.ts'
import type { Identify } from '../token/identity.ts'
import type { KeySource, VerifyKey } from './jwks.ts'
import { parseToken } from './token.ts'
import { type Verified, verifiedTokens } from './verified.ts'

/** The scope that every protected route asks for. */
export const SCOPE = 'inference'

/** `keys_unavailable` is asked again after this long: the key source tries on its own. */
const KEYS_RETRY_SECONDS = 5

export interface Credentials {
  readonly authorization: string | null
  /** The raw query, without its `?`. */
  readonly query: string
}

export interface UserAdmission {
  /** Without a promise where the token is remembered, as nearly all are. */
  admit(credentials: Credentials, now: Instant): Decision<Admitted> | Promise<Decision<Admitted>>
  /** The same for an enrolment, whose entitlements are in the claims. */
  enrolling(credentials: Credentials, now: Instant): Promise<Decision<EnrollingUser>>
}

async function isSigned(token: string, { keys }: VerifyKey): Promise<boolean> {
  for (const key of keys) {
    try {
      await compactVerify(token, key, { algorithms: ['ES256'] })
      return true
    } catch {
      // By another of the keys, perhaps.
    }
  }
  return false
}

export function userAdmission(
  keys: KeySource,
  rules: ClaimRules,
  identify: Identify,
): UserAdmission {
  const tokens = verifiedTokens(keys)

  const verify = async (token: string, now: Instant): Promise<Decision<Verified>> => {
    const parsed = parseToken(token)
    if (!parsed.ok) return refused('invalid_token', { reason: parsed.reason })
    const key = await keys.lookup(parsed.value.kid, now.monotonicMs)
    if (!key.ok && key.code === 'keys_unavailable') {
      return refused('keys_unavailable', { retryAfterSeconds: KEYS_RETRY_SECONDS })
    }
    if (!key.ok) return refused('invalid_token', { reason: 'kid is unknown' })
    if (!(await isSigned(token, key.value))) {
      return refused('invalid_token', { reason: 'signature is wrong' })
    }
    const checked = checkClaims(parsed.value.claims, rules, now.epochSeconds)
    if (!checked.ok) {
      const { expired, reason } = checked
      return refused(expired ? 'token_expired' : 'invalid_token', { reason })
    }
    const { issuer, subject, expiresAt, scopes } = checked.value
    const identity = identify(issuer, subject)
    const verified = { expiresAt, scoped: scopes.has(SCOPE), key: key.value, identity }
    tokens.remember(token, verified)
    return granted(verified)
  }

  const verified = (
    { authorization, query }: Credentials,
    now: Instant,
  ): Decision<Verified> | Promise<Decision<Verified>> => {
    const bearer = bearerToken(authorization, query)
    if (!bearer.ok) return bearer
    const known = tokens.recall(bearer.value, now)
    return known ? granted(known) : verify(bearer.value, now)
  }
  const scoped = (found: Decision<Verified>): Decision<Verified> =>
    found.ok && !found.value.scoped ? refused('insufficient_scope') : found
  const admitted = (verified: Decision<Verified>): Decision<Admitted> => {
    const found = scoped(verified)
    return found.ok ? granted(permitted(found.value.identity)) : found
  }

  return {
    admit(credentials, now) {
      const found = verified(credentials, now)
      return found instanceof Promise ? found.then(admitted) : admitted(found)
    },
    async enrolling(credentials, now) {
      const found = scoped(await verified(credentials, now))
      if (!found.ok) return found
      // Read once more: what is remembered of a token is less than all that it says.
      const bearer = bearerToken(credentials.authorization, credentials.query)
      const parsed = bearer.ok ? parseToken(bearer.value) : undefined
      if (!parsed?.ok) return refused('invalid_token')
      return granted({ identity: found.value.identity, claims: parsed.value.claims })
    },
  }
}
