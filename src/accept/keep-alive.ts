// How long a connection may stay idle after a response, errors too. It must be longer than the idle
// timeout of the balancer in front: the side that sends requests must be the one that closes, or a
// request is sent into a closing connection and lost.

import { LONGEST_IDLE_SECONDS } from '../config/cautions.ts'

/** Before the first request. Bun counts in ticks of four seconds. */
export const SILENT_IDLE_SECONDS = 10

/** After an admitted request: the time that its client has to read the last bytes. */
const ADMITTED_IDLE_SECONDS = 120

const TICK_SECONDS = 4

export interface Peers {
  requestIP(request: Request): { readonly address: string } | null
}

/** Seconds for `server.timeout`, which holds for a request and the time after it; 0 means never. */
export type IdleSeconds = (request: Request, server: Peers | null) => number

/**
 * `isProxy` recognises the trusted balancers, if any are configured. Above the longest time that Bun can
 * count, the balancer closes its connections; without a list, every client counts as one.
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

/** The same for an admitted request. */
export function admittedIdleSeconds(idle: number): number {
  return idle === 0 ? 0 : Math.max(idle, ADMITTED_IDLE_SECONDS)
}
