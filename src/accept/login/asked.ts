// What the guard of all routes under /auth/ decides: who asks, and whether they may.

import { type Decision, refused } from '../../refusal.ts'
import type { Arrival } from '../arrival.ts'
import type { CountAddress } from '../count-address.ts'
import { asksFromElsewhere, harden, knownHost } from './guard.ts'

export interface LoginAsked {
  readonly arrival: Arrival
  readonly request: Request
  readonly query: string
  /** Whether a person will see the response. */
  readonly page: boolean
  /** Null if another page sent the request: it must not see what the cookies open. */
  readonly cookie: string | null
}

export function readAsked(arrival: Arrival, request: Request, known: readonly URL[]): LoginAsked {
  const { headers } = request
  harden(arrival.exchange.headers)
  return {
    arrival,
    request,
    query: arrival.target.search.slice(1),
    page: wantsPage(headers),
    cookie: asksFromElsewhere(headers, known) ? null : headers.get('cookie'),
  }
}

export function mayAsk(
  { arrival, request }: LoginAsked,
  countAddress: CountAddress,
  known: readonly URL[],
): Decision<unknown> {
  const counted = countAddress(arrival.exchange, request, arrival.server)
  if (!counted.ok) return counted
  const host = knownHost(request.headers.get('host'), known)
  if (!host.ok || request.method !== 'POST') return host
  return asksFromElsewhere(request.headers, known) ? refused('foreign_origin') : host
}

/** Browsers accept HTML when they navigate; programs don't ask for it. */
function wantsPage(headers: Headers): boolean {
  return isForm(headers) || /\btext\/html\b/i.test(headers.get('accept') ?? '')
}

export function isForm(headers: Headers): boolean {
  return /^application\/x-www-form-urlencoded\b/i.test(headers.get('content-type') ?? '')
}
