// A limit that is decided just before a request goes out. It says itself whether it needs the body, so
// that no limit can be skipped because the body was not read.

import type { Admitted } from '../admit/admitted.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Reservation } from '../state/port.ts'
import type { Instant } from '../turn/instant.ts'
import type { Costly } from '../upstream/costly.ts'

/** What was reserved, and for what. */
export interface HeldReservation {
  readonly reservation: Reservation | undefined
  readonly maxTokens?: number | undefined
  readonly answers?: number | undefined
  /** The most that the request can have cost if it was stopped after this many output tokens. */
  readonly atMost?: ((outputTokens: number) => number) | undefined
}

export interface Limit {
  /**
   * Whether it limits what this caller asks of this route (`POST /v1/messages`), and therefore needs
   * the body.
   */
  needsBody(admitted: Admitted, route: string, sealed: boolean): boolean
  /** Called for a caller whom it limits, with what was read. */
  decide(admitted: Admitted, costly: Costly, now: Instant): Decision<HeldReservation>
}

export const NOTHING_HELD: HeldReservation = { reservation: undefined }
const NOTHING = granted(NOTHING_HELD)

export interface ReadRequest {
  readonly costly: Costly | undefined
  readonly hasBody: boolean
  readonly route: string
  readonly sealed: boolean
}

/**
 * Decides the limits in order, and releases what the first held if another refuses. A body that
 * exists and was not read is a bug of ours, and refused.
 */
export function decideAll(
  limits: readonly Limit[],
  admitted: Admitted,
  read: ReadRequest,
  now: Instant,
): Decision<HeldReservation> {
  let held = NOTHING_HELD
  for (const limit of limits) {
    if (!limit.needsBody(admitted, read.route, read.sealed)) continue
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

const UNREAD = refused('internal_error', { reason: 'a limit needs a body that was not read' })
const TWO_RESERVATIONS = refused('internal_error', { reason: 'two reservations' })
