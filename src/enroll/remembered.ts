// Remembers verified device tokens until their `exp`, so that a device pays for its signature once. It
// knows nothing of revocations: every caller checks a token's standing each time, so a revocation
// takes effect at once.

import { TokenMemory } from '../token/memory.ts'
import type { DeviceClaims } from './device-token.ts'

export interface RememberedToken {
  readonly claims: DeviceClaims
  /** The minute of the last request that was noted (seen.ts). */
  seenMinute: number
}

export interface RememberedTokens {
  recall(bare: string, nowSeconds: number): RememberedToken | undefined
  remember(bare: string, claims: DeviceClaims): RememberedToken
}

/** About 450 bytes each. Beyond this the oldest is forgotten, and costs another signature check. */
const MAX_TOKENS = 20_000

export function rememberedTokens(maxTokens: number = MAX_TOKENS): RememberedTokens {
  const remembered = new TokenMemory<RememberedToken>(maxTokens)
  return {
    recall(bare, nowSeconds) {
      const found = remembered.get(bare)
      if (!found || found.claims.expiresAt > nowSeconds) return found
      remembered.delete(bare)
      return undefined
    },
    remember(bare, claims) {
      const known = { claims, seenMinute: 0 }
      remembered.set(bare, known)
      return known
    },
  }
}
