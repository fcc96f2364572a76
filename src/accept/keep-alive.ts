// How long a connection may stand idle after an answer, whatever the answer was. It has to be longer
// than the idle time of the balancer in front: the side that sends must be the one that closes, or a
// request meets a connection that is being closed and is lost.

import { LONGEST_IDLE_SECONDS } from '../config/cautions.ts'

/** Before anything has been asked. Bun counts in ticks of four seconds. */
export const SILENT_IDLE_SECONDS = 10

/** Of one whose request was admitted: all the time that a reader has for an answer's last bytes. */
const ADMITTED_IDLE_SECONDS = 120

const TICK_SECONDS = 4

export interface Peers {
  requestIP(request: Request): { readonly address: string } | null
}

/** Seconds for `server.timeout`, which holds for one request and what follows it; 0 is never. */
export type IdleSeconds = (request: Request, server: Peers | null) => number

/**
 * `isProxy` tells the balancers that are trusted, where there are any. Beyond what Bun's timer can
 * count a connection is left to its balancer to close: to those, and to anybody where none is known.
 */
export function idleSeconds(
  keepAliveSeconds: number,
  isProxy: ((address: string) => boolean) | undefined,
): IdleSeconds {
  const counted = Math.min(keepAliveSeconds, LONGEST_IDLE_SECONDS) + TICK_SECONDS
  // Bun takes 255 at most, and rounds it up to the same tick.
  const seconds = Math.min(counted, 255)
  if (keepAliveSeconds <= LONGEST_IDLE_SECONDS) return () => seconds
  if (!isProxy) return () => 0
  return (request, server) => {
    const peer = server?.requestIP(request)?.address
    return peer !== undefined && isProxy(peer) ? 0 : seconds
  }
}

/** The same where the request was admitted. */
export function admittedIdleSeconds(idle: number): number {
  return idle === 0 ? 0 : Math.max(idle, ADMITTED_IDLE_SECONDS)
}
