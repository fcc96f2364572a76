// Admits users of identity providers: from headers to `Admitted`, or to a refusal. The token's `iss`,
// unverified, chooses the issuer; from there on nothing of any other issuer counts: not its keys, its
// audiences or its algorithms.

import type { EnrollingUser } from '../enroll/bootstrap.ts'
import type { PolicyOf } from '../policy/select.ts'
import type { Instant } from '../turn/instant.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { formerIdentities, type Identify } from '../token/identity.ts'
import { MAX_TOKEN_BYTES, TOO_LONG } from '../token/compact.ts'
import { type Admitted, permitted } from './admitted.ts'
import type { Algorithm } from './algorithms.ts'
import { bearerToken } from './bearer.ts'
import { type ClaimRules, type Claims, checkClaims } from './claims.ts'
import { keptGroups } from './groups.ts'
import type { KeySource } from './jwks.ts'
import { isSigned } from './signature.ts'
import { parseToken } from './token.ts'
import { verifiedTokens } from './verified.ts'

/** The Retry-After of `keys_unavailable`: the key source retries on its own. */
const KEYS_RETRY_SECONDS = 5

export interface Credentials {
  readonly authorization: string | null
  /** The raw query, without its `?`. */
  readonly query: string
}

/** An issuer whose users are admitted. */
export interface Issuer {
  /** Its name in the settings. */
  readonly name: string
  readonly rules: ClaimRules
  /** The scope that every route requires; undefined if the audience is enough. */
  readonly scope: string | undefined
  /** Undefined means the algorithms of its keys. */
  readonly algorithms: ReadonlySet<Algorithm> | undefined
  readonly keys: Pick<KeySource, 'current' | 'lookup'>
}

export interface UserAdmission {
  /** Synchronous if the token is remembered, as nearly all are. */
  admit(credentials: Credentials, now: Instant): Decision<Admitted> | Promise<Decision<Admitted>>
  /** The same for an enrolment, which takes its entitlements from the claims. */
  enrolling(credentials: Credentials, now: Instant): Promise<Decision<EnrollingUser>>
}

/** No two issuers may share an `iss`; see issuers.ts. */
export function userAdmission(
  issuers: readonly Issuer[],
  identify: Identify,
  policyOf: PolicyOf,
  former: () => readonly Identify[] = () => [],
  /** Called when a token is verified whose user has former identities. */
  onFormer: (identity: string, former: readonly string[]) => void = () => {},
): UserAdmission {
  const tokens = verifiedTokens()
  const byIss = new Map<unknown, Issuer>(issuers.map((each) => [each.rules.issuer, each]))
  const groupsOf = keptGroups()

  const decide = (by: Issuer, claims: Claims): Decision<Admitted> => {
    const { issuer, subject, scopes, groups, organisation: org } = claims
    if (by.scope !== undefined && !scopes.has(by.scope)) return scopeMissing(by.scope)
    const more = { issuer: by.name, groups: groupsOf(groups), org }
    const policy = policyOf({ kind: 'user', ...more })
    if (!policy) return refused('policy_unknown')
    const before = formerIdentities(former(), issuer, subject)
    const identity = identify(issuer, subject)
    if (before) onFormer(identity, before)
    return granted(permitted('user', identity, policy, { ...more, former: before }))
  }
  const verify = async (token: string, now: Instant): Promise<Decision<Admitted>> => {
    const parsed = parseToken(token)
    if (!parsed.ok) return parsed.reason === TOO_LONG ? LONG : notTaken(parsed.reason)
    const { kid, alg, claims } = parsed.value
    const by = byIss.get(claims['iss'])
    if (!by) return notTaken('iss is another')
    if (by.algorithms && !by.algorithms.has(alg)) return notTaken("alg is not one of the issuer's")
    const key = await by.keys.lookup(kid, now.monotonicMs)
    if (!key.ok && key.code === 'keys_unavailable') {
      return refused('keys_unavailable', { retryAfterSeconds: KEYS_RETRY_SECONDS })
    }
    if (!key.ok) return notTaken('kid is unknown')
    if (!(await isSigned(token, key.value, parsed.value))) return notTaken('signature is wrong')
    const checked = checkClaims(claims, by.rules, now.epochSeconds)
    if (!checked.ok) {
      const { expired, reason } = checked
      return refused(expired ? 'token_expired' : 'invalid_token', { reason })
    }
    const decision = decide(by, checked.value)
    const { expiresAt } = checked.value
    tokens.remember(token, { expiresAt, key: key.value, keys: by.keys, decision })
    return decision
  }
  const admit: UserAdmission['admit'] = ({ authorization, query }, now) => {
    const bearer = bearerToken(authorization, query)
    if (!bearer.ok) return bearer
    return tokens.recall(bearer.value, now)?.decision ?? verify(bearer.value, now)
  }

  return {
    admit,
    async enrolling(credentials, now) {
      const found = await admit(credentials, now)
      if (!found.ok) return found
      // Read again: less is remembered of a token than it says.
      const bearer = bearerToken(credentials.authorization, credentials.query)
      const parsed = bearer.ok ? parseToken(bearer.value) : undefined
      if (!parsed?.ok) return refused('invalid_token')
      const { identity, former = [], org, policy } = found.value
      const isNamed = policyOf({ kind: 'user', policy: policy.name }) === policy
      const more = { org, policy: isNamed ? policy.name : undefined }
      return granted({ identity, former, claims: parsed.value.claims, ...more })
    },
  }
}

const notTaken = (reason: string): Decision<never> => refused('invalid_token', { reason })

const LONG = refused('invalid_token', {
  reason: TOO_LONG,
  message: `the token has more than ${MAX_TOKEN_BYTES} bytes; have the issuer put fewer roles or groups into it`,
})

function scopeMissing(scope: string): Decision<never> {
  return refused('insufficient_scope', { message: `${scope} scope required`, scope })
}
