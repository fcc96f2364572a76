// Tokens that have been verified, so that a client pays for its signature once. Keyed by the
// SHA-256 of the whole token (a prefix or the signature alone has been other gateways' undoing),
// bound to the key object that verified it: where that key has left the set, so has the memory.

import { hash } from 'node:crypto'
import type { Instant } from '../instant.ts'
import type { Claims } from './claims.ts'
import type { KeySource, VerifyKey } from './jwks.ts'

export interface Verified {
  readonly claims: Claims
  readonly key: VerifyKey
  /** See identity.ts. */
  readonly identity: string
}

export interface VerifiedTokens {
  recall(token: string, now: Instant): Verified | undefined
  remember(token: string, verified: Verified): void
}

/** About 600 bytes each. Beyond it the oldest is forgotten, and costs a signature once more. */
const MAX_TOKENS = 20_000

export function verifiedTokens(keys: KeySource, maxTokens: number = MAX_TOKENS): VerifiedTokens {
  const remembered = new Map<string, Verified>()
  return {
    recall(token, now) {
      const digest = hash('sha256', token, 'base64')
      const found = remembered.get(digest)
      if (!found) return undefined
      const live = found.claims.expiresAt > now.epochSeconds
      if (live && keys.current(found.key.kid, now.monotonicMs) === found.key) return found
      remembered.delete(digest)
      return undefined
    },
    remember(token, verified) {
      if (remembered.size >= maxTokens) {
        const oldest = remembered.keys().next()
        if (!oldest.done) remembered.delete(oldest.value)
      }
      remembered.set(hash('sha256', token, 'base64'), verified)
    },
  }
}
