// Routes that anybody may ask are limited by address.

import { type RateLimiter, tooFast } from '../budget/budget.ts'
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

export function addressCounter(
  limiter: RateLimiter | undefined,
  addressKey: AddressKey,
): CountAddress {
  return (exchange, request, server) => {
    const decision = limiter?.take(addressOf(addressKey, request, server), exchange)
    return decision?.allowed === false ? tooFast(decision) : granted(undefined)
  }
}
