// Tokens that have been verified, so that a client pays for its signature once. Told apart by the
// SHA-256 of the whole token (a prefix or the signature alone has been other gateways' undoing),
// bound to the key object that verified it: where that key has left the set, so has the memory.

import type { Instant } from '../instant.ts'
import { Digests, NO_ROW } from './digests.ts'
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
  const digests = new Digests(maxTokens)
  const remembered = Array.from<Verified | undefined>({ length: maxTokens })
  /** Of the token that is being looked at. */
  const digest = Buffer.alloc(32)
  return {
    recall(token, now) {
      Bun.SHA256.hash(token, digest)
      const row = digests.find(digest)
      const found = remembered[row]
      if (!found) return undefined
      const live = found.expiresAt > now.epochSeconds
      if (live && keys.current(found.key.kid, now.monotonicMs) === found.key) return found
      remembered[row] = undefined
      return undefined
    },
    remember(token, verified) {
      Bun.SHA256.hash(token, digest)
      const row = digests.find(digest)
      remembered[row === NO_ROW ? digests.add(digest) : row] = verified
    },
  }
}
