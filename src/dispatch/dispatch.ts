// Where a request goes, and as what. From an admitted request with its reservation to the outgoing
// one; the body is read here where it is small.

import type { Admitted } from '../admit/admit.ts'
import type { Reserved } from '../budget/budget.ts'
import type { Exchange } from '../exchange.ts'
import { type Decision, granted } from '../refusal.ts'
import type { Tinfoil } from '../upstream/tinfoil.ts'
import type { Call } from '../upstream/transport.ts'
import { MAX_HELD_BYTES, passOn, readWhole } from './body.ts'
import { headersToUpstream } from './headers.ts'
import type { Inspected } from './inspect.ts'

declare const proof: unique symbol

export interface Outgoing {
  readonly [proof]: true
  readonly call: Call
  readonly sealed: boolean
}

export interface Incoming {
  readonly request: Request
  readonly method: 'GET' | 'POST'
  /** The route's own path; the path that was sent is not parsed a second time. */
  readonly path: string
  /** The raw query with its `?`, or ''. */
  readonly search: string
}

export interface DispatchRules {
  readonly maxRequestBodyBytes: number
  /** How long a held body may take to arrive. */
  readonly bodyTimeoutMs: number
}

export type Dispatch = (
  permitted: { readonly admitted: Admitted; readonly reserved: Reserved },
  incoming: Incoming,
  inspected: Inspected,
  exchange: Exchange,
) => Promise<Decision<Outgoing>>

export function dispatching(upstream: Tinfoil, rules: DispatchRules): Dispatch {
  const bodyOf = async (
    { request, method }: Incoming,
    { length }: Inspected,
    exchange: Exchange,
  ): Promise<Decision<Call['body']>> => {
    if (method === 'GET') return granted(undefined)
    if (request.body === null) return granted(new Uint8Array())
    if (length !== undefined && length <= MAX_HELD_BYTES) {
      const body = await readWhole(request, rules.bodyTimeoutMs)
      if (body.ok) exchange.bytesIn = body.value.byteLength
      return body
    }
    return granted(
      passOn(request, length, rules.maxRequestBodyBytes, (bytes) => {
        exchange.bytesIn += bytes
      }),
    )
  }

  return async (_permitted, incoming, inspected, exchange) => {
    const { method, path, search, request } = incoming
    const destination = await upstream.destination(
      path,
      search,
      inspected.enclaveHost,
      exchange.at.monotonicMs,
    )
    if (!destination.ok) return destination
    const body = await bodyOf(incoming, inspected, exchange)
    if (!body.ok) return body
    const headers = headersToUpstream(request.headers, upstream.headers)
    const call: Call = { method, ...destination.value, headers, body: body.value }
    return granted({ call, sealed: inspected.sealed } as Outgoing)
  }
}
