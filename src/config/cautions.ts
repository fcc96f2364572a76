// Warnings about settings that are valid and may surprise.

import { isEverybody } from './networks.ts'
import type { Values } from './table.ts'

/**
 * The longest time for which the runtime surely keeps an idle connection: it counts up to 64 ticks of four
 * seconds, and the first tick may be almost over.
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
