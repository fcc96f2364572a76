// Remembers verified tokens, so that a client pays for its signature once. Each is bound to the key
// object that verified it, so a token is forgotten when its key leaves the issuer's set.

import type { Decision } from '../refusal.ts'
import type { Instant } from '../turn/instant.ts'
import { TokenMemory } from '../token/memory.ts'
import type { Admitted } from './admitted.ts'
import type { KeySource, VerifyKey } from './jwks.ts'

export interface Verified {
  /** Seconds since the epoch. */
  readonly expiresAt: number
  readonly key: VerifyKey
  /** The set that the key belongs to: two issuers may use the same `kid`. */
  readonly keys: Pick<KeySource, 'current'>
  /** Created once, so that a request with a remembered token allocates nothing. */
  readonly decision: Decision<Admitted>
}

export interface VerifiedTokens {
  recall(token: string, now: Instant): Verified | undefined
  remember(token: string, verified: Verified): void
}

/** About 400 bytes each. Beyond this the oldest is forgotten, and costs another signature check. */
const MAX_TOKENS = 20_000

export function verifiedTokens(maxTokens: number = MAX_TOKENS): VerifiedTokens {
  const remembered = new TokenMemory<Verified>(maxTokens)
  return {
    recall(token, now) {
      const found = remembered.get(token)
      if (!found) return undefined
      const { key, keys } = found
      const live = found.expiresAt > now.epochSeconds
      if (live && keys.current(key.kid, now.monotonicMs) === key) return found
      remembered.delete(token)
      return undefined
    },
    remember(token, verified) {
      remembered.set(token, verified)
    },
  }
}
