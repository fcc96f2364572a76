// Routes that anybody may ask are limited by address; and by the /48 around it where it is IPv6, so that
// the owner of one can't fill the table of addresses, which would shut out everybody who is new.

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

/** How many of its networks one /48 may use at the same time as if each were alone. */
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
    // One network that is too fast takes nothing from its neighbours.
    if (site !== undefined) sites?.giveBack(site, monotonicMs)
    return tooFast(decision)
  }
}

/** For the public routes: what each address may, and what all networks of one site may together. */
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
