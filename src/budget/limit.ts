// A limit that is decided just before a request goes out. It says itself whether it has to know what
// the body says, so that no limit can be forgotten where bodies are read, and pass what it never saw.

import type { Admitted } from '../admit/admitted.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Reservation } from '../state/port.ts'
import type { Instant } from '../turn/instant.ts'
import type { Costly } from '../upstream/costly.ts'

/** What was reserved, and what it was reserved for. */
export interface HeldReservation {
  readonly reservation: Reservation | undefined
  readonly maxTokens?: number | undefined
  /** What the request can have cost if it was stopped after so many tokens of output. */
  readonly atMost?: ((outputTokens: number) => number) | undefined
}

export interface Limit {
  /** Whether it limits this caller, and so has to know the body of each of their requests. */
  needsBody(admitted: Admitted): boolean
  /** Asked of a caller whom it limits, with what was read. */
  decide(admitted: Admitted, costly: Costly, now: Instant): Decision<HeldReservation>
}

export const NOTHING_HELD: HeldReservation = { reservation: undefined }
const NOTHING = granted(NOTHING_HELD)

/**
 * One after the other; what the first held is released where another refuses. A body that there is
 * and that nobody has read is a mistake of ours, and refuses.
 */
export function decideAll(
  limits: readonly Limit[],
  admitted: Admitted,
  read: { readonly costly: Costly | undefined; readonly hasBody: boolean },
  now: Instant,
): Decision<HeldReservation> {
  let held = NOTHING_HELD
  for (const limit of limits) {
    if (!limit.needsBody(admitted)) continue
    const { costly, hasBody } = read
    if (!costly && !hasBody) continue
    const decided = costly ? limit.decide(admitted, costly, now) : UNREAD
    if (!decided.ok) {
      held.reservation?.release()
      return decided
    }
    if (decided.value.reservation && held.reservation) {
      // One request has one reservation, which is settled once.
      held.reservation.release()
      decided.value.reservation.release()
      return TWO_RESERVATIONS
    }
    if (decided.value.reservation) held = decided.value
  }
  return held === NOTHING_HELD ? NOTHING : granted(held)
}

const UNREAD = refused('internal_error', { reason: 'a limit without the body that it goes by' })
const TWO_RESERVATIONS = refused('internal_error', { reason: 'two reservations' })
