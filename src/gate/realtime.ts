// The realtime sessions of this gate: their door, and what watches them. Loaded by the first that is asked
// for.

import { openRow } from '../accept/entering.ts'
import { type RealtimeDoor, realtimeDoor, type RealtimeParts } from '../accept/realtime/door.ts'
import type { Settings } from '../config/read.ts'
import type { Timeouts, Transport } from '../http1/transport.ts'
import { clientLimits } from '../realtime/client-limits.ts'
import { handshaking } from '../realtime/handshaking.ts'
import { type RealtimeSessions, sessions } from '../realtime/sessions.ts'

export interface RealtimeOptions extends Omit<
  RealtimeParts,
  'shakeHands' | 'sessions' | 'hold' | 'openRow'
> {
  readonly transport: Transport
  readonly timeouts: Timeouts
  readonly settings: () => Settings
}

export interface Realtime {
  readonly door: RealtimeDoor
  readonly sessions: RealtimeSessions
}

const NAMED = { route: 'GET /v1/realtime', sealed: false } as const

export function realtime(options: RealtimeOptions): Realtime {
  const { transport, timeouts, settings, budget, charges, settle, ledger } = options
  const running = sessions(
    {
      settle,
      check: clientLimits({
        budget,
        needsEvents(admitted) {
          const needed = charges.needsBody(admitted, NAMED.route, NAMED.sealed)
          return !needed.ok || needed.value
        },
      }),
    },
    () => {
      const { realtimeIdleSeconds, realtimeMaxSeconds, idleTimeoutSeconds } = settings()
      return {
        idleMs: realtimeIdleSeconds * 1000,
        maxMs: realtimeMaxSeconds * 1000,
        stallMs: idleTimeoutSeconds * 1000,
      }
    },
  )
  const parts: RealtimeParts = {
    ...options,
    shakeHands: handshaking(transport, timeouts),
    sessions: running,
    hold: (admitted, costly, now) => charges.hold(admitted, costly, NAMED, now),
    openRow: (exchange, admitted) => openRow(ledger, exchange, admitted),
  }
  return { door: realtimeDoor(parts), sessions: running }
}
