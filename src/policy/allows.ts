// Whether a policy allows a request to an upstream, as far as its headers tell. src/budget decides
// what depends on the body, just before the request goes out. Pure.

import { NAMED_GROUPS, type RouteGroup } from '../names.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Policy } from './policy.ts'

/** What a request's headers say about its body. */
export interface DeclaredBody {
  /** Only the enclave can read it. */
  readonly sealed: boolean
  /** A body larger than declared is cut off when it arrives. */
  readonly length: number | undefined
}

const ALLOWED = granted(undefined)
const UNNAMED = refused('route_not_allowed', {
  message: 'the policy of this credential has to name the group of this route, and does not',
})
const UNSEALED = refused('encryption_required', {
  message: 'the policy of this credential demands a sealed body: Ehbp-Encapsulated-Key is missing',
})

const NAMED: ReadonlySet<RouteGroup | undefined> = new Set(NAMED_GROUPS)

/**
 * `upstream`: the name of the upstream. `isOwnAccount`: what the upstream keeps and charges is the caller's
 * own. Allocates nothing, because it runs for every request.
 */
export function allows(
  { routes, upstreams, maxBodyBytes, plaintext }: Policy,
  route: RouteGroup | undefined,
  upstream: string,
  hasBody: boolean,
  { sealed, length }: DeclaredBody,
  isOwnAccount = false,
): Decision<undefined> {
  if (routes) {
    if (route === undefined || !routes.includes(route)) return refused('route_not_allowed')
  } else if (!isOwnAccount && NAMED.has(route)) return UNNAMED
  if (upstreams && !upstreams.includes(upstream)) return refused('upstream_not_allowed')
  if (!hasBody) return ALLOWED
  if (!plaintext && !sealed) return UNSEALED
  if (maxBodyBytes !== undefined && length !== undefined && length > maxBodyBytes) {
    return refused('request_too_large', { message: `request body exceeds ${maxBodyBytes} bytes` })
  }
  return ALLOWED
}

/** The smaller of the upstream's and the policy's maximum; `of` itself if that is the smaller. */
export function bounded<T extends { readonly maxBytes: number }>(
  { maxBodyBytes = Infinity }: Policy,
  of: T,
): T {
  return maxBodyBytes < of.maxBytes ? { ...of, maxBytes: maxBodyBytes } : of
}
