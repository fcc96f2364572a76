// Pages of the configured origins may send requests from a browser. Origins are compared as a whole
// (attack 18); there is no `*`, and credentials are never allowed, because cookies are not used.

import type { Exchange } from '../exchange.ts'

export interface Cors {
  /** Adds the headers that let this origin read the response. */
  permit(request: Request, exchange: Exchange): void
  /** Whether a WebSocket may be opened: by a program, by our own page, or by a page of these origins. */
  welcomes(request: Request): boolean
  /** The response to a preflight; undefined if the request is not one, or is not allowed. */
  preflight(request: Request, exchange: Exchange, methods: Iterable<string>): Response | undefined
}

const MAX_AGE_SECONDS = 600
/** The header with the name of a response's upstream, if a policy asks for it. */
export const UPSTREAM_HEADER = 'postern-upstream'

const EXPOSED = [
  UPSTREAM_HEADER,
  'x-request-id',
  'request-id',
  'retry-after',
  'x-should-retry',
  'ehbp-response-nonce',
  'ratelimit',
  'ratelimit-policy',
  ...['limit', 'remaining', 'reset'].flatMap((each) => [
    `x-ratelimit-${each}-requests`,
    `anthropic-ratelimit-requests-${each}`,
  ]),
].join(', ')
/** Browsers list the names in lower case. */
const HEADER_NAMES = /^[a-z0-9-]+(?: *, *[a-z0-9-]+)*$/
const MAX_HEADER_NAMES_LENGTH = 2048

export function cors(origins: readonly string[]): Cors {
  const allowed = new Set(origins)
  const permits = (request: Request, { headers }: Exchange): boolean => {
    if (allowed.size === 0) return false
    headers.set('vary', 'Origin')
    const origin = request.headers.get('origin')
    if (origin === null || !allowed.has(origin)) return false
    headers.set('access-control-allow-origin', origin)
    return true
  }
  return {
    permit(request, exchange) {
      if (permits(request, exchange)) {
        exchange.headers.set('access-control-expose-headers', EXPOSED)
      }
    },
    welcomes({ headers }) {
      const origin = headers.get('origin')
      if (origin === null || allowed.has(origin)) return true
      const host = headers.get('host')?.toLowerCase()
      return origin === `http://${host}` || origin === `https://${host}`
    },
    preflight(request, exchange, methods) {
      if (request.method !== 'OPTIONS' || !request.headers.has('access-control-request-method')) {
        return undefined
      }
      if (!permits(request, exchange)) return undefined
      const { headers } = exchange
      const asked = request.headers.get('access-control-request-headers')
      headers.set('access-control-allow-methods', [...methods].join(', '))
      headers.set('access-control-max-age', String(MAX_AGE_SECONDS))
      if (asked && asked.length <= MAX_HEADER_NAMES_LENGTH && HEADER_NAMES.test(asked)) {
        headers.set('access-control-allow-headers', asked)
      }
      return new Response(null, { status: 204, headers })
    },
  }
}
