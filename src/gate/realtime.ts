// The realtime sessions of this gate: their door, and what watches them. Loaded by the first that is asked
// for.

import { openRow } from '../accept/entering.ts'
import { realtimeDoor, type RealtimeParts } from '../accept/realtime/door.ts'
import { minting } from '../accept/realtime/mint.ts'
import type { RealtimeDoors } from '../accept/realtime/route.ts'
import { clientSecrets } from '../realtime/client-secrets.ts'
import { describeBug, type Logger } from '../log.ts'
import type { Settings } from '../config/read.ts'
import type { Timeouts, Transport } from '../http1/transport.ts'
import { clientLimits } from '../realtime/client-limits.ts'
import { handshaking } from '../realtime/handshaking.ts'
import { type RealtimeSessions, sessions } from '../realtime/sessions.ts'

export interface RealtimeOptions extends Omit<
  RealtimeParts,
  'shakeHands' | 'sessions' | 'secrets' | 'hold' | 'openRow'
> {
  readonly transport: Transport
  readonly timeouts: Timeouts
  readonly settings: () => Settings
  readonly bodyTimeoutMs: () => number
  readonly log: Logger
}

export interface Realtime {
  readonly doors: RealtimeDoors
  readonly sessions: RealtimeSessions
}

const NAMED = { route: 'GET /v1/realtime', sealed: false } as const

export function realtime(options: RealtimeOptions): Realtime {
  const { transport, timeouts, settings, log, budget, charges, settle, ledger } = options
  const running = sessions(
    {
      settle,
      onBug: (bug) => log.error(describeBug(bug), 'internal error'),
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
  const secrets = clientSecrets()
  const parts: RealtimeParts = {
    ...options,
    secrets,
    shakeHands: handshaking(transport, timeouts),
    sessions: running,
    hold: (admitted, costly, now) => charges.hold(admitted, costly, NAMED, now),
    openRow: (exchange, admitted) => openRow(ledger, exchange, admitted),
  }
  const mint = minting({ ...options, secrets })
  return { doors: { open: realtimeDoor(parts), mint }, sessions: running }
}
