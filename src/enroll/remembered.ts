// Device tokens that have been verified, so that a device pays for its signature once. Keyed by the
// SHA-256 of the whole token, never past its `exp`. Nothing is said here of withdrawal: whoever
// recalls a token asks for its standing each time, so that a revocation beats this memory at once.

import { hash } from 'node:crypto'
import type { DeviceClaims } from './device-token.ts'

export interface RememberedTokens {
  recall(bare: string, nowSeconds: number): DeviceClaims | undefined
  remember(bare: string, claims: DeviceClaims): void
  readonly size: number
}

/** About 800 bytes each. Beyond it the oldest is forgotten, and costs a signature once more. */
const MAX_TOKENS = 20_000

export function rememberedTokens(maxTokens: number = MAX_TOKENS): RememberedTokens {
  const remembered = new Map<string, DeviceClaims>()
  return {
    recall(bare, nowSeconds) {
      const digest = hash('sha256', bare, 'base64')
      const found = remembered.get(digest)
      if (!found || found.expiresAt > nowSeconds) return found
      remembered.delete(digest)
      return undefined
    },
    remember(bare, claims) {
      if (remembered.size >= maxTokens) {
        const oldest = remembered.keys().next()
        if (!oldest.done) remembered.delete(oldest.value)
      }
      remembered.set(hash('sha256', bare, 'base64'), claims)
    },
    get size() {
      return remembered.size
    },
  }
}
