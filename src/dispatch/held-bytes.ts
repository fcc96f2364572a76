// Bounds the memory of large bodies that are held whole because a limit depends on their content. Bytes
// are counted as they arrive, because a declared length may never come, and released when the request
// ends. There is a bound for the gate and one for each identity, so that nobody can use it up for the
// others.

import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import { BodyRefused } from './body.ts'

export interface Share {
  /** Whether there is room now; reserves nothing. A body without room need not arrive. */
  roomFor(bytes: number): Decision<undefined>
  /** Throws a BodyRefused if there is no room, or if everything was already released. */
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
          // A body that arrives after its request has ended would be counted forever.
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
