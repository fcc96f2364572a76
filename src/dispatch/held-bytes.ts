// The memory of large bodies that are held whole because a limit depends on what they say. Counted as
// they arrive, so that a length that is only declared takes nothing from anybody, until the request
// has ended; bounded in all, and for each identity, so that no one can take it from the others.

import { refused } from '../refusal.ts'
import { BodyRefused } from './body.ts'

export interface Share {
  /** Throws a BodyRefused where there is no room for these bytes. */
  take(bytes: number): void
  giveBack(): void
}

export interface HeldBytes {
  share(identity: string): Share
}

const MAX_BYTES = 268_435_456
const MAX_IDENTITY_BYTES = 67_108_864

export function heldBytes(maxBytes = MAX_BYTES, maxIdentityBytes = MAX_IDENTITY_BYTES): HeldBytes {
  const held = new Map<string, number>()
  let total = 0
  return {
    share(identity) {
      let taken = 0
      return {
        take(bytes) {
          const mine = (held.get(identity) ?? 0) + bytes
          if (mine > maxIdentityBytes) throw full('identity_concurrency_limit')
          if (total + bytes > maxBytes) throw full('upstream_concurrency_limit')
          taken += bytes
          total += bytes
          held.set(identity, mine)
        },
        giveBack() {
          const left = (held.get(identity) ?? 0) - taken
          total -= taken
          taken = 0
          if (left > 0) held.set(identity, left)
          else held.delete(identity)
        },
      }
    },
  }
}

function full(code: 'identity_concurrency_limit' | 'upstream_concurrency_limit'): BodyRefused {
  return new BodyRefused(refused(code, { reason: 'held bodies', retryAfterSeconds: 1 }))
}
