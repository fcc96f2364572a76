// What is no mistake in settings, and has to be known all the same.

import { isEverybody } from './networks.ts'
import type { Values } from './table.ts'

/**
 * The longest that the runtime's timer keeps an idle connection for sure: it counts to 64 ticks of
 * four seconds, and the first of them may be nearly over.
 */
export const LONGEST_IDLE_SECONDS = 252

export function cautions({ keepAliveSeconds = 0, trustedProxies }: Values): string[] {
  if (trustedProxies?.some(isEverybody)) {
    return ['TRUSTED_PROXIES holds everybody: any client can give itself any address']
  }
  if (keepAliveSeconds <= LONGEST_IDLE_SECONDS || trustedProxies) return []
  return [
    `KEEP_ALIVE_SECONDS is above ${LONGEST_IDLE_SECONDS} and TRUSTED_PROXIES is not set: no idle connection is ever closed; name the load balancer in TRUSTED_PROXIES to leave open its connections alone`,
  ]
}
