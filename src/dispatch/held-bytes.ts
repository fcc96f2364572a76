// The memory of large bodies that are held whole because a limit depends on what they say. Counted as
// they arrive, so that a length that is only declared takes nothing from anybody, until the request
// has ended; bounded in all, and for each identity, so that no one can take it from the others.

import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import { BodyRefused } from './body.ts'

export interface Share {
  /** Whether so much could be taken now, which takes nothing: what can't fit need not arrive. */
  roomFor(bytes: number): Decision<undefined>
  /** Throws a BodyRefused where there is no room for these bytes, or where all was given back. */
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
      let over = false
      const lacking = (bytes: number): Lacking | undefined => {
        if ((held.get(identity) ?? 0) + bytes > maxIdentityBytes)
          return 'identity_concurrency_limit'
        return total + bytes > maxBytes ? 'upstream_concurrency_limit' : undefined
      }
      return {
        roomFor(bytes) {
          const code = lacking(bytes)
          return code ? full(code) : granted(undefined)
        },
        take(bytes) {
          // A body that still comes when its request has ended would be counted for ever.
          const code = over ? 'upstream_concurrency_limit' : lacking(bytes)
          if (code) throw new BodyRefused(full(code))
          const mine = (held.get(identity) ?? 0) + bytes
          taken += bytes
          total += bytes
          held.set(identity, mine)
        },
        giveBack() {
          const left = (held.get(identity) ?? 0) - taken
          total -= taken
          taken = 0
          over = true
          if (left > 0) held.set(identity, left)
          else held.delete(identity)
        },
      }
    },
  }
}

type Lacking = 'identity_concurrency_limit' | 'upstream_concurrency_limit'

const full = (code: Lacking): Refusal =>
  refused(code, { reason: 'held bodies', retryAfterSeconds: 1 })
