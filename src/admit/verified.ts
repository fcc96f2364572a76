// Tokens that have been verified, so that a client pays for its signature once: each bound to the key
// object that verified it, so that where that key has left the set, so has the memory.

import type { Instant } from '../turn/instant.ts'
import { TokenMemory } from '../token/memory.ts'
import type { KeySource, VerifyKey } from './jwks.ts'

export interface Verified {
  /** Seconds since the epoch. */
  readonly expiresAt: number
  /** Whether the token's scope is ours; see admit.ts. */
  readonly scoped: boolean
  readonly key: VerifyKey
  /** See identity.ts. */
  readonly identity: string
}

export interface VerifiedTokens {
  recall(token: string, now: Instant): Verified | undefined
  remember(token: string, verified: Verified): void
}

/** About 250 bytes each. Beyond it the oldest is forgotten, and costs a signature once more. */
const MAX_TOKENS = 20_000

export function verifiedTokens(keys: KeySource, maxTokens: number = MAX_TOKENS): VerifiedTokens {
  const remembered = new TokenMemory<Verified>(maxTokens)
  return {
    recall(token, now) {
      const found = remembered.get(token)
      if (!found) return undefined
      const live = found.expiresAt > now.epochSeconds
      if (live && keys.current(found.key.kid, now.monotonicMs) === found.key) return found
      remembered.delete(token)
      return undefined
    },
    remember(token, verified) {
      remembered.set(token, verified)
    },
  }
}
