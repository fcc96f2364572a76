// The bearer token of the control routes, read by Elysia's plugin from the header alone: tokens in URLs
// end up in other people's logs. The plugin copies all headers and parses the query of each request
// (1.1 µs of 50), so relayed routes do without it.

import { bearer } from '@elysiajs/bearer'
import { type DeviceCredentials } from '../admit/device.ts'
import type { Arrival } from './arrival.ts'

/** Turns a source off: UTF-8 cannot encode a lone surrogate, so no member has this name. */
const NOWHERE = '\ud800'

/**
 * Its hook is global: without a `group` around it, every later route of the app gets it, and every route
 * of the app pays for the headers and the query.
 */
export const bearerOfHeader = bearer({
  extract: { header: 'Bearer', query: NOWHERE, body: NOWHERE },
})

/**
 * The credentials that were sent. The plugin skips seven characters after checking six (`Bearersecret`
 * has a token for it), and knows no lower case (RFC 9110 §11.1). Unless the header starts with `Bearer `,
 * it is handed on unchanged, and admit/bearer.ts judges it.
 */
export function sentCredentials(
  { target }: Arrival,
  { headers }: Request,
  token: string | undefined,
): DeviceCredentials {
  const sent = headers.get('authorization')
  return {
    authorization: token !== undefined && sent?.[6] === ' ' ? `Bearer ${token}` : sent,
    apiKey: headers.get('x-api-key'),
    query: target.search.slice(1),
  }
}
