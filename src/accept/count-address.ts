// Public routes are limited by address, and IPv6 also by the /48 around it: otherwise the owner of a /48
// could fill the table of addresses, and every new client would be refused.

import type { Buckets, Counters } from '../state/port.ts'
import { type RateLimiter, rateLimiter, tooFast } from '../budget/budget.ts'
import { widerNetworks } from '../config/networks.ts'
import type { Exchange } from '../exchange.ts'
import { type Decision, granted } from '../refusal.ts'
import type { AddressKey } from './address.ts'

export interface Peer {
  requestIP(request: Request): { readonly address: string } | null
}

export type CountAddress = (
  exchange: Exchange,
  request: Request,
  server: Peer | null,
) => Decision<undefined>

/** The key under which limits count a request's address. */
export function addressOf(addressKey: AddressKey, request: Request, server: Peer | null): string {
  const peer = server?.requestIP(request)?.address
  const { headers } = request
  return addressKey(peer, headers.get('x-forwarded-for'), headers.get('forwarded'))
}

/** This many networks of a /48 may each use their full limit at the same time. */
const NETWORKS_OF_A_SITE = 16

export function addressCounter(
  limiter: RateLimiter | undefined,
  addressKey: AddressKey,
  sites?: Buckets,
): CountAddress {
  return (exchange, request, server) => {
    if (!limiter) return granted(undefined)
    const key = addressOf(addressKey, request, server)
    const { monotonicMs } = exchange.at
    const site = key.endsWith('::/64') ? widerNetworks(key)?.site : undefined
    const ofSite = site === undefined ? undefined : sites?.take(site, monotonicMs)
    if (ofSite?.allowed === false) return tooFast(ofSite)
    const decision = limiter.take(key, exchange)
    if (decision.allowed) return granted(undefined)
    // A network that is too fast must not use up its site's limit.
    if (site !== undefined) sites?.giveBack(site, monotonicMs)
    return tooFast(decision)
  }
}

/** For the public routes: the limit of each address, and of all networks of a site together. */
export function publicCounter(
  counters: Counters,
  perMinute: number,
  burst: number,
  addressKey: AddressKey,
): CountAddress {
  if (perMinute === 0) return addressCounter(undefined, addressKey)
  const [ofSite, burstOfSite] = [perMinute * NETWORKS_OF_A_SITE, burst * NETWORKS_OF_A_SITE]
  const sites = counters.buckets({ perMinute: ofSite, burst: burstOfSite })
  return addressCounter(rateLimiter(counters, perMinute, burst), addressKey, sites)
}
